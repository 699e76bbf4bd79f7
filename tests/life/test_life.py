"""A story of our own packages in CI, and that the judge sees what it is there for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest

from tests.integration.system import REPOSITORY

from .decisions import DECISIONS
from .judge import Decision, compare, uncovered
from .life import tell
from .observe import Seen
from .stories import STORIES
from .story import Story


def test_each_decision_is_documented() -> None:
    assert uncovered(DECISIONS, (REPOSITORY / "docs/filesystem.md").read_text()) == []


NOTHING = Story("nothing", ())


def seen(**sections: Mapping[str, str]) -> Seen:
    return {"files": {}, "content": {}, **sections}


def test_a_story_asks_for_what_is_in_the_data_that_are_not_compared() -> None:
    assert [story.name for story in STORIES.values() if story.data and not story.checks] == []


def life(*digests: str, name: str = "/etc/key") -> dict[str, Seen]:
    """What was seen of one file, moment by moment; an empty digest is no file."""
    return {str(moment): seen(content={name: digest} if digest else {}) for moment, digest in enumerate(digests)}


def moments(plain: Mapping[str, Seen], ours: Mapping[str, Seen], story: Story) -> list[str]:
    return [found.moment for found in compare(plain, ours, story, ())]


def test_a_machine_s_own_file_may_be_another_s_but_has_to_stay() -> None:
    story = Story("story", (), own=("/etc/key",))
    plain = life("a", "a")
    assert moments(plain, life("b", "b"), story) == []
    assert moments(plain, life("b", "c"), story) == ["1 (ours, own)"]
    assert "1 (ours, own)" in moments(plain, life("b", ""), story)
    # A pattern of a story that fits nothing proves nothing.
    assert moments(life(""), life(""), story) == ["always (plain)", "always (ours)"]


def test_data_may_be_others_but_not_where_nothing_wrote_them() -> None:
    story = Story("story", (), data=("/var/lib/*",))
    one = partial(life, name="/var/lib/data")
    assert moments(one("a", "b"), one("c", "d"), story) == []
    assert moments(one("a", "a"), one("c", "c"), story) == []
    assert moments(one("a", "a"), one("c", "d"), story) == ["1 (ours, data)"]
    assert moments(one("a", "b"), one("c", ""), story) == ["1 (ours, data)"]
    # Where it comes later, nothing is lost.
    assert moments(one("a", "b"), one("", "d"), story) == []
    # And the machine's own key is no data.
    both = Story("story", (), own=("/var/lib/data",), data=("/var/lib/*",))
    assert moments(one("a", "b"), one("c", "d"), both) == ["1 (plain, own)", "1 (ours, own)"]


def test_what_one_machine_alone_has_is_a_difference() -> None:
    (found,) = compare({"one": seen(units={"a.service": "active"})}, {"one": seen(units={})}, NOTHING, ())
    assert (found.section, found.name, found.plain, found.ours) == ("units", "a.service", "active", None)


def test_that_something_is_gone_excuses_nothing_else_there() -> None:
    decision = Decision("files", "/etc/.*", "", gone=True)
    plain = {"one": seen(files={"/etc/file": "f 644 root root"})}
    assert compare(plain, {"one": seen()}, NOTHING, [decision]) == []
    assert len(compare(plain, {"one": seen(files={"/etc/file": "f 600 root root"})}, NOTHING, [decision])) == 1


@pytest.mark.archive
def test_a_life(example_repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "OSTREE_SYSROOT_DEBUG", "mutable-deployments")
    differences = tell(STORIES["agent"], example_repo, tmp_path, REPOSITORY / "build/life")
    assert differences == [], "\n" + "\n".join(map(str, differences))
