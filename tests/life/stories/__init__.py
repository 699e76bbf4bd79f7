"""The stories, by theme; each is data alone."""

from __future__ import annotations

from . import computed, keys, own, servers, systems

STORIES = {story.name: story for theme in (own, keys, computed, servers, systems) for story in theme.STORIES}
