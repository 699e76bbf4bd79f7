"""Which packages are unpacked whole, and before which ones a round begins."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from apt_ostree.errors import TreeError
from apt_ostree.layering.base import BaseTree
from apt_ostree.layering.cache import Cached
from apt_ostree.layering.rounds import ROUNDS_MAX, arrange, cut, needing_content
from apt_ostree.model import Package, Plan, Round, Solved


def packages(names: Iterable[str]) -> tuple[Package, ...]:
    return tuple(Package(name, "1", "all") for name in names)


def test_a_round_is_cut_before_each_package_that_begins_one() -> None:
    given = [Round(packages("abCdE"), packages("a"), ("x",)), Round(packages("F"), ())]
    rounds, whole = cut(given, packages("CEF"))
    assert rounds == [
        Round(packages("ab"), (), ("x",)),
        Round(packages("Cd"), ()),
        Round(packages("E"), packages("a")),
        Round(packages("F"), ()),
    ]
    assert whole == set()


def test_beyond_the_layers_that_the_kernel_stacks_packages_are_unpacked_whole() -> None:
    given = [Round(packages("aBcD"), packages("a")), Round(packages("eFg"), ())]
    rounds, whole = cut(given, packages("BDF"), limit=3)
    assert rounds == [
        Round(packages("a"), ()),
        Round(packages("BcD"), packages("a")),
        Round(packages("eFg"), ()),
    ]
    assert whole == set(packages("aBcDeFg"))
    with pytest.raises(TreeError, match="cannot be installed in 1 rounds"):
        cut(given, packages("BDF"), limit=1)
    assert len(cut([Round(packages("A" * 900), ())], packages("A"))[0]) == ROUNDS_MAX


@pytest.fixture
def base(tmp_path: Path) -> BaseTree:
    """A base with two packages, a program, a directory behind a link, and a diversion."""
    base = tmp_path / "base"
    for name in ("usr/bin/rm", "usr/lib/real/file", "usr/lib/sysimage/dpkg/status", "usr/etc/x"):
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).touch()
    (base / "bin").symlink_to("usr/bin")
    (base / "usr/lib/alias").symlink_to("/usr/lib/real")
    database = base / "usr/lib/sysimage/dpkg"
    (database / "diversions").write_text("/usr/bin/away\n/usr/bin/away.distrib\nbased\n")
    return BaseTree("", base, tuple(Package(name, "0", "all") for name in ("based", "old")), ("amd64",))


def plan_of(place: Path, paths: dict[str, list[str]], control: str = "") -> tuple[Plan, dict[Package, Cached]]:
    solved, cached = [], {}
    for package in packages(paths):
        hollow = place / package.name / "hollow.deb"
        hollow.parent.mkdir()
        hollow.with_name("paths").write_text("".join(f"{path}\0" for path in paths[package.name]))
        cached[package] = Cached("", package, 0, f"Package: {package.name}\n{control}", hollow, {}, frozenset())
        solved.append(Solved(package, "", 0, 0))
    return Plan(tuple(solved), (Round(packages(paths), ()),)), cached


@pytest.mark.parametrize(
    ("path", "needed"),
    [
        ("usr/bin/rm", True),
        ("bin/rm", True),
        ("usr/lib/alias/file", True),
        ("usr/bin/away", True),
        ("usr/bin/new", False),
        ("bin/new", False),
        ("usr/lib/alias/new", False),
        ("usr/share/new/file", False),
    ],
)
def test_what_lies_where_the_base_has_something_is_unpacked_whole(
    base: BaseTree, tmp_path: Path, path: str, needed: bool
) -> None:
    plan, cached = plan_of(tmp_path, {"p": ["usr/share/p/new", path]})
    assert needing_content(base, plan, cached) == set(packages(["p"]) if needed else ())


def test_another_version_of_a_base_package_is_unpacked_whole_and_begins_a_round(base: BaseTree, tmp_path: Path) -> None:
    plan, cached = plan_of(tmp_path, {"a": ["usr/a"], "based": ["usr/b"], "c": ["usr/c"]})
    rounds, whole = arrange(base, plan, cached)
    assert [[package.name for package in one.unpack] for one in rounds] == [["a"], ["based", "c"]]
    assert whole == set(packages(["based"]))


def test_a_package_with_a_preinst_begins_a_round_and_stays_hollow(base: BaseTree, tmp_path: Path) -> None:
    plan, cached = plan_of(tmp_path, {"a": ["usr/a"], "b": ["usr/b"], "c": ["usr/c"]})
    (b,) = packages(["b"])
    cached[b] = replace(cached[b], control_files=frozenset({"preinst"}))
    rounds, whole = arrange(base, plan, cached)
    assert [[package.name for package in one.unpack] for one in rounds] == [["a"], ["b", "c"]]
    assert whole == set()


def test_what_may_put_a_changed_base_package_out_of_order_begins_a_round(base: BaseTree, tmp_path: Path) -> None:
    plan, cached = plan_of(tmp_path, {"a": ["usr/a"], "b": ["usr/b"]}, "Breaks: old (<< 1)\n")
    assert len(arrange(base, plan, cached)[0]) == 1
    changing = Plan(plan.packages, plan.rounds, removed=packages(["old"]))
    assert len(arrange(base, changing, cached)[0]) == 2


def test_a_path_of_more_directories_than_calls_in_each_other_is_looked_up(tmp_path: Path, base: BaseTree) -> None:
    plan, cached = plan_of(tmp_path, {"deep": ["/".join("d" * 1500)], "taken": ["bin/rm"]})
    assert needing_content(base, plan, cached) == set(packages(["taken"]))
