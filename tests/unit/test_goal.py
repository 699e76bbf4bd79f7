"""The decisions of an operation before and after apt is asked, as functions of values."""

from __future__ import annotations

from dataclasses import replace

import pytest

from apt_ostree.model import CommitInfo, Intent, LocalPackage, Package, Plan, Solved
from apt_ostree.ops import upgrade
from apt_ostree.ops.goal import Goal, Options, is_reached
from apt_ostree.ops.resolve import Asked
from apt_ostree.ops.solution import kept_lock, optional_requests, without_provided

BASE = CommitInfo("b" * 64, None, 0, "", {"version": "13.1"})
NOW = Goal(BASE, "debian:debian/13", Intent(("vim",)))
ALONE = replace(NOW, intent=Intent())


def solved(name: str, version: str = "1", sha256: str = "") -> Solved:
    return Solved(Package(name, version, "all"), sha256 or name * 8, 1, 1)


@pytest.mark.parametrize(
    ("goal", "now", "refresh", "reached"),
    [
        (NOW, NOW, False, True),
        # Layered packages may be newer in the archives.
        (NOW, NOW, True, False),
        (ALONE, ALONE, True, True),
        (replace(ALONE, free=frozenset({Package("vim", "1", "all")})), ALONE, True, True),
        (replace(NOW, again=frozenset({"vim"})), NOW, False, False),
        (replace(NOW, free=frozenset({Package("vim", "1", "all")})), NOW, False, False),
        (replace(NOW, intent=Intent(("vim", "jq"))), NOW, False, False),
        (replace(NOW, pinned="c" * 64), NOW, False, False),
        (replace(ALONE, pinned="c" * 64), ALONE, False, False),
        (replace(ALONE, base=replace(BASE, checksum="c" * 64)), ALONE, False, False),
        (ALONE, NOW, False, False),
    ],
)
def test_a_goal_is_reached_where_nothing_of_it_differs(goal: Goal, now: Goal, refresh: bool, reached: bool) -> None:
    assert is_reached(goal, now, refresh=refresh) is reached


@pytest.mark.parametrize(
    ("options", "optional"),
    [
        (Options(), ["gone"]),
        (Options(refresh=True), []),
        (Options(skip_missing=True), ["vim", "gone"]),
        (Options(refresh=True, skip_missing=True), ["vim", "gone"]),
    ],
)
def test_requests_that_were_left_out_stay_optional_unless_the_lists_are_fetched(
    options: Options, optional: list[str]
) -> None:
    assert list(optional_requests(["vim", "gone"], ["gone"], options)) == optional


FILE = LocalPackage("f" * 64, Package("agent", "1", "all"))
LOCK = [solved("vim"), solved("agent", sha256="f" * 64)]


def test_a_file_that_is_dropped_does_not_stand_in_for_the_archives_package() -> None:
    before = Intent(("vim",), (FILE,))
    assert kept_lock(LOCK, before, replace(NOW, intent=before)) == LOCK
    # The same name is asked for from the archive now: its package may be another one of that version.
    after = Intent(("vim", "agent"))
    assert kept_lock(LOCK, before, replace(NOW, intent=after)) == LOCK[:1]


def test_a_file_that_replaced_a_package_of_the_base_is_dropped_from_the_lock_too() -> None:
    before = Intent(("vim",), replace_local=(FILE,))
    assert kept_lock(LOCK, before, replace(NOW, intent=Intent(("vim",)))) == LOCK[:1]


def test_the_lock_lets_go_of_the_packages_that_the_goal_names_and_of_no_others() -> None:
    goal = replace(NOW, free=frozenset({Package("vim", "1", "all"), Package("agent", "2", "all")}))
    assert kept_lock(LOCK, Intent(), goal) == LOCK[1:]


LIB, FOREIGN = Package("lib", "1.0", "amd64"), Package("tool", "2", "i386")


@pytest.mark.parametrize(
    ("request_", "kept"),
    [
        ("lib", False),
        ("lib=1.0", False),
        ("lib:amd64", False),
        ("lib=2.0", True),
        ("lib/sid", True),
        ("lib:i386", True),
        ("tool", True),
        ("tool:i386", False),
        ("other", True),
    ],
)
def test_a_new_request_that_the_base_fulfils_is_left_to_it(request_: str, kept: bool) -> None:
    requested, messages = without_provided([request_], [], [LIB, FOREIGN], "amd64")
    assert requested == ([request_] if kept else [])
    assert len(messages) == (0 if kept else 1)


def test_a_request_on_record_stays_although_this_base_fulfils_it() -> None:
    requested, messages = without_provided(["lib", "tool:i386"], ["lib"], [LIB, FOREIGN], "amd64")
    assert (requested, messages) == (["lib"], ["tool 2 is part of the base"])


@pytest.mark.parametrize(
    ("new", "failed", "blamed"),
    [
        (("-base-lib", "vim"), ["base-lib"], ["-base-lib"]),
        (("needy",), ["needy"], ["needy"]),
        (("needy", "tree"), ["needy"], ["needy"]),
        (("needy=1",), ["needy"], ["needy=1"]),
        # A dependency of it failed.
        (("needy", "tree"), ["libneedy"], ["needy", "tree"]),
        ((), ["vim", "jq"], ["jq", "vim"]),
        ((), [], ["vim", "jq"]),
    ],
)
def test_an_error_names_what_was_newly_asked(new: tuple[str, ...], failed: list[str], blamed: list[str]) -> None:
    assert Asked(Intent(("vim", "jq")), new).blamed(failed) == blamed


@pytest.mark.parametrize(
    ("base", "count", "message"),
    [
        (BASE, 2, "Already up to date: base 13.1 (1970-01-01 00:00 UTC), 2 layered packages."),
        (BASE, 0, "Already up to date: base 13.1 (1970-01-01 00:00 UTC)."),
        (None, 1, "Already up to date: 1 layered package."),
        (None, 0, "Already up to date."),
    ],
)
def test_an_upgrade_without_a_change_says_what_is_the_newest(base: CommitInfo | None, count: int, message: str) -> None:
    assert upgrade.up_to_date(base, Plan(tuple(solved(f"p{n}") for n in range(count)))) == message
