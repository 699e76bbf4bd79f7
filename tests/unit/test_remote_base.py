"""Which commit of a ref becomes the next base."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from apt_ostree.errors import RemoteError, UsageError
from apt_ostree.model import CommitInfo, Intent
from apt_ostree.ops import remote_base
from apt_ostree.ops.goal import Goal
from apt_ostree.ops.remote_base import Revision
from apt_ostree.system.remote import Refspec

REF = Refspec("debian", "debian/13")


def commit(digit: str, version: str = "", timestamp: int = 0) -> CommitInfo:
    return CommitInfo(digit * 64, None, timestamp, "", {"version": version} if version else {})


def test_an_older_base_is_refused_and_one_of_the_same_time_is_not() -> None:
    used = commit("a", "13.2", 100)
    remote_base.refuse_older(REF, commit("b", "13.1", 100), used)
    with pytest.raises(RemoteError, match="older than the base in use") as caught:
        remote_base.refuse_older(REF, commit("b", "13.3", 99), used)
    assert caught.value.detail.splitlines() == [
        "in use: 13.2 (1970-01-01 00:01 UTC)",
        "debian:debian/13: 13.3 (1970-01-01 00:01 UTC)",
    ]
    assert "--allow-downgrade" in caught.value.resolution


@pytest.mark.parametrize("allowed", [False, True])
def test_the_newest_base_of_a_ref_may_be_older_only_where_that_is_allowed(
    monkeypatch: pytest.MonkeyPatch, allowed: bool
) -> None:
    older, unused = commit("b", "13.1", 1), None
    current: Any = unused
    monkeypatch.setattr(remote_base, "_look", lambda *_: older)
    monkeypatch.setattr(remote_base, "_bring", lambda _current, _refspec, wanted: wanted)
    now = Goal(commit("a", "13.2", 2), str(REF), Intent())
    if allowed:
        assert remote_base.newest(current, REF, now, cache_only=False, allow_downgrade=True) == older
    else:
        with pytest.raises(RemoteError):
            remote_base.newest(current, REF, now, cache_only=False, allow_downgrade=False)


@pytest.mark.parametrize(
    ("text", "info", "matches"),
    [
        ("13.1", commit("a", "13.1"), True),
        ("13.1", commit("a", "13.10"), False),
        ("a" * 7, commit("a"), True),
        ("a" * 6, commit("a"), False),
        ("a" * 64, commit("a"), True),
        ("b" * 7, commit("a"), False),
        ("version=13.1", commit("a", "13.1"), True),
        ("version=" + "a" * 64, commit("a"), False),
        ("version=" + "a" * 64, commit("b", "a" * 64), True),
        ("revision=" + "a" * 7, commit("a"), True),
        ("revision=13.1", commit("a", "13.1"), False),
        ("other=1", commit("a", "other=1"), True),
    ],
)
def test_a_revision_is_a_version_or_the_start_of_a_checksum(text: str, info: CommitInfo, matches: bool) -> None:
    assert Revision.of(text).matches(info) is matches


@pytest.mark.parametrize("text", ["", "version=", "revision="])
def test_an_empty_revision_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="name a revision"):
        Revision.of(text)


def test_a_history_is_read_up_to_the_commit_that_is_meant() -> None:
    def history() -> Iterator[CommitInfo]:
        yield commit("a", "13.2")
        yield commit("b", "13.1")
        pytest.fail("the rest of the history was read")

    assert remote_base.in_history(Revision.of("13.1"), history(), REF) == commit("b", "13.1")


@pytest.mark.parametrize(
    ("count", "known"),
    [
        (0, "it has: "),
        (2, "it has: 13.0, 13.1"),
        (remote_base.KNOWN_SHOWN, "it has: " + ", ".join(f"13.{n}" for n in range(remote_base.KNOWN_SHOWN))),
        (
            remote_base.KNOWN_SHOWN + 1,
            "it has: " + ", ".join(f"13.{n}" for n in range(remote_base.KNOWN_SHOWN)) + ", …",
        ),
    ],
)
def test_a_revision_that_is_not_there_is_an_error_with_those_that_are(count: int, known: str) -> None:
    with pytest.raises(RemoteError) as caught:
        remote_base.in_history(Revision.of("14"), [commit(chr(97 + n), f"13.{n}") for n in range(count)], REF)
    assert (caught.value.brief, caught.value.detail) == ("14 is not in the history of debian:debian/13", known)


def test_a_commit_that_is_found_twice_is_told_once() -> None:
    found = [commit("a", "A1"), commit("b", "A1"), commit("a", "A1")]
    with pytest.raises(RemoteError) as caught:
        remote_base.in_history(Revision.of("42"), found, REF)
    assert caught.value.detail == "it has: A1, A1"
    with pytest.raises(RemoteError) as caught:
        remote_base.in_history(Revision.of("42"), found[::2], REF)
    assert caught.value.detail == "it has: A1"


def test_a_base_of_the_year_10000_is_told_by_its_seconds() -> None:
    """Anybody can make a commit of any time."""
    assert remote_base.described(commit("a", "13.2", 253_402_300_800)) == "13.2 (253402300800 s after 1970)"
