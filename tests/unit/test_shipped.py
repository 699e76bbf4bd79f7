"""What dpkg's lists in a stack of trees say of some names."""

from __future__ import annotations

import os
import stat
import tracemalloc
from pathlib import Path

import pytest

from apt_ostree.tree import shipped


def put(tree: Path, **lists: str) -> Path:
    (tree / shipped.INFO).mkdir(parents=True, exist_ok=True)
    for name, text in lists.items():
        (tree / shipped.INFO / name.replace("__", ".")).write_bytes(os.fsencode(text))
    return tree


@pytest.fixture
def stack(tmp_path: Path) -> list[Path]:
    """A layer over a base."""
    base = put(tmp_path / "base", kept__list="/.\n/usr/kept\n", other__list="/usr/old\n", gone__list="/usr/gone\n")
    listed = "/usr/new\n/var/a b\n/usr/\udcff\n/usr/last"
    layer = put(tmp_path / "layer", other__list=listed, x__conffiles="/usr/conf\n")
    os.mknod(layer / shipped.INFO / "gone.list", stat.S_IFCHR, os.makedev(0, 0))
    return [layer, base]


def test_the_topmost_list_of_a_package_counts_and_one_that_is_gone_does_not(stack: list[Path]) -> None:
    names = ["usr/kept", "usr/old", "usr/gone", "usr/new", "var/a b", "usr/\udcff", "usr/last", "usr/conf", ""]
    found = {"usr/kept", "usr/new", "var/a b", "usr/\udcff", "usr/last"}
    assert shipped.listed(stack, names) == found
    assert shipped.listed(stack, names, kind=shipped.CONFFILES) == {"usr/conf"}
    assert shipped.listed(stack, ()) == frozenset()


def test_a_path_may_stand_for_another_place(stack: list[Path]) -> None:
    ways = {"/var/": "", "/usr/": "lib/"}
    assert shipped.listed(stack, ["a b", "lib/new", "usr/new", "var/a b"], ways=ways) == {"a b", "lib/new"}


def test_lists_of_any_length_take_no_memory(tmp_path: Path) -> None:
    tree = put(tmp_path, a__list="".join(f"/etc/{number}\n" for number in range(200_000)))
    tracemalloc.start()
    assert shipped.listed([tree], {"etc/7", "etc/x"}) == {"etc/7"}
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_a_line_longer_than_a_path_is_none_and_takes_no_memory(tmp_path: Path) -> None:
    tree = put(tmp_path, a__list="/etc/first\n", b__list="/etc/last")
    with (tree / shipped.INFO / "a.list").open("ab") as file:
        file.truncate(64 << 20)
        file.seek(0, os.SEEK_END)
        file.write(b"/etc/inside\n/etc/after\n")
    tracemalloc.start()
    names = {"etc/first", "etc/inside", "etc/after", "etc/last"}
    assert shipped.listed([tree], names) == names - {"etc/inside"}
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
