"""Debian changelogs: their entries, and which of them are news."""

from __future__ import annotations

from pathlib import Path

import pytest

from apt_ostree.errors import ToolError
from apt_ostree.model import Package
from apt_ostree.tree import changelog
from apt_ostree.tree.changelog import Release, newer, parse

ONE = """jq (1.7.1-6+deb13u1) trixie-security; urgency=medium

  * Non-maintainer upload.
    (Closes: #1)

 -- A Name <a@example.org>  Mon, 01 Sep 2025 10:00:00 +0200"""
TWO = """jq (1.7.1-6) unstable; urgency=low, binary-only=yes

  jq (no header) is mentioned; here.

 -- A Name <a@example.org>  Sun, 01 Jun 2025 10:00:00 +0200"""
OLD = "jq (1.6-2) unstable; urgency=low\n\n  * Old.\n\n -- A Name <a@example.org>  Wed, 01 Jan 2020 10:00:00 +0200"
TEXT = f"\n{ONE}\n\n{TWO}\n\n{OLD}\n\nLocal variables:\nmode: debian-changelog\n"


def test_a_changelog_is_its_entries() -> None:
    found = list(parse(TEXT))
    assert found[:2] == [Release("1.7.1-6+deb13u1", ONE), Release("1.7.1-6", TWO)]
    assert [release.version for release in found] == ["1.7.1-6+deb13u1", "1.7.1-6", "1.6-2"]


@pytest.mark.parametrize("text", ["", "no changelog\n", "jq 1.6\n\n * x\n"])
def test_what_is_no_changelog_has_no_entry(text: str) -> None:
    assert list(parse(text)) == []


@pytest.mark.parametrize(
    ("than", "versions"),
    [
        ("1.6-2", ["1.7.1-6+deb13u1", "1.7.1-6"]),
        ("1.7.1-6", ["1.7.1-6+deb13u1"]),
        # A version that no entry has: a rebuild's, or another archive's.
        ("1.7.1-6+b1", ["1.7.1-6+deb13u1"]),
        ("1.7.1-6+deb13u1", []),
        ("1:0", []),
        ("0", ["1.7.1-6+deb13u1", "1.7.1-6", "1.6-2"]),
    ],
)
def test_news_are_the_entries_that_are_newer(than: str, versions: list[str]) -> None:
    assert [release.version for release in newer(TEXT, than)] == versions


def test_news_without_end_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = [(Package(name, "1", "all"), Package(name, "2", "all")) for name in ("a", "b", "c")]
    entry = f"{{}} (2) unstable; urgency=low\n\n  * {'x' * 100}\n"
    read: list[str] = []

    def text(repo: Path, checksum: str) -> str:
        read.append(checksum)
        return entry.format(checksum)

    monkeypatch.setattr(changelog, "source_versions", lambda repo, commit: {})
    monkeypatch.setattr(changelog, "_object", lambda repo, commit, name: "same" if name != "a" else name)
    monkeypatch.setattr(changelog, "_text", text)
    # What packages of one source share is read once.
    size = sum(len(entry.format(name)) for name in ("same", "a"))
    monkeypatch.setattr(changelog, "TOTAL", size)
    assert [news.packages for news in changelog.news(Path(), "old", "new", changed)] == [("a",), ("b", "c")]
    assert read == ["a", "same"]
    monkeypatch.setattr(changelog, "SHOWN", size - 3)
    with pytest.raises(ToolError, match="too long"):
        changelog.news(Path(), "old", "new", changed)
    monkeypatch.setattr(changelog, "SHOWN", size)
    monkeypatch.setattr(changelog, "TOTAL", size - 1)
    with pytest.raises(ToolError, match="too long"):
        changelog.news(Path(), "old", "new", changed)
