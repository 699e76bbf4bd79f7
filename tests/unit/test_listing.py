"""The entries of a commit's directories: each is asked for once."""

from __future__ import annotations

from pathlib import Path

import pytest

from apt_ostree.tools import listing, ostree
from tests.unit.test_layout import Commits

COMMIT = "4" * 64
REPO = Path("/repo")
TREE: dict[str, str | None] = {"usr": None, "usr/lib": None, "usr/lib/deep": "file", "etc": "usr/etc", "boot": None}


class Counted(Commits):
    """Notes for what paths ostree was asked."""

    def __init__(self, commit: str) -> None:
        super().__init__()
        self.trees = {commit: TREE}
        self.asked: list[tuple[str, ...]] = []

    def run(self, repo: Path, *words: str) -> str:
        if "--checksum" in words:
            self.asked.append(tuple(word for word in words[1:] if word.startswith("/")))
        return super().run(repo, *words)


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> Counted:
    commits = Counted(COMMIT)
    commits.patch(monkeypatch)
    listing._kept.cache_clear()
    return commits


def test_a_directory_of_a_commit_is_asked_for_once(commits: Counted) -> None:
    for _ in range(2):
        listing.of(REPO, COMMIT).levels(("/usr",))
    listing.of(REPO, COMMIT).levels(("/usr", "/boot"), ("/usr/lib",))
    assert commits.asked == [("/",), ("/usr",), ("/boot",), ("/usr/lib",)]


def test_only_what_is_in_the_directories_is_returned(commits: Counted) -> None:
    assert listing.of(REPO, COMMIT).inside("/").keys() == {"/usr", "/etc", "/boot"}
    assert listing.of(REPO, COMMIT).inside("/boot").keys() == set()
    found = listing.of(REPO, COMMIT).levels(("/usr", "/etc", "/missing"))
    assert found.keys() == {"/usr", "/etc", "/boot", "/usr/lib"}


def test_a_ref_is_asked_for_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    commits = Counted("branch")
    commits.patch(monkeypatch)
    for _ in range(2):
        listing.of(REPO, "branch").inside("/")
    assert commits.asked == [("/",), ("/",)]


def test_another_repository_is_another_listing(commits: Counted) -> None:
    listing.of(REPO, COMMIT).inside("/")
    listing.of(Path("/other"), COMMIT).inside("/")
    assert commits.asked == [("/",), ("/",)]


def test_a_look_that_failed_is_not_kept(commits: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(ostree, "ls", lambda *words, **options: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            listing.of(REPO, COMMIT).inside("/")
    assert listing.of(REPO, COMMIT).inside("/").keys() == {"/usr", "/etc", "/boot"}
