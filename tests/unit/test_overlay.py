"""Layers over trees, as far as plain files go: marks and whiteouts need root, see tests/integration."""

from __future__ import annotations

import inspect
import os
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from apt_ostree.errors import TreeError
from apt_ostree.host import door
from apt_ostree.layering import overlay

Tree = Mapping[str, str | None]
"""Path -> content; None is a directory, a text that begins with ``->`` a link, and "gone" what stands for a whiteout
(``marks``)."""


def make(top: Path, tree: Tree) -> Path:
    top.mkdir(exist_ok=True)
    for name, content in tree.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            path.mkdir(exist_ok=True)
        elif content.startswith("->"):
            path.symlink_to(content[2:])
        elif content == "gone":
            os.mkfifo(path)
        else:
            path.write_text(content)
    return top


def read(top: Path) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for path in top.rglob("*"):
        name = str(path.relative_to(top))
        if path.is_symlink():
            found[name] = f"->{path.readlink()}"
        else:
            found[name] = None if path.is_dir() else path.read_text()
    return found


BASE: Tree = {"usr/bin/a": "1", "usr/lib/d/x": "2", "usr/link": "->lib", "lib": "->usr/lib"}


@pytest.mark.parametrize(
    ("layer", "union"),
    [
        pytest.param({}, True, id="nothing"),
        pytest.param({"usr/bin/new": "3", "opt/x/y": "4"}, True, id="new names"),
        pytest.param({"usr/bin/a": "other"}, True, id="another content"),
        pytest.param({"usr/bin/a": "->b"}, True, id="a link for a file"),
        pytest.param({"usr/link": "text"}, True, id="a file for a link"),
        pytest.param({"usr/link": "->bin"}, True, id="another target"),
        pytest.param({"usr/lib/d": None}, True, id="the same directory"),
        pytest.param({"usr/bin/a": None}, False, id="a directory for a file"),
        pytest.param({"usr/bin/a/b": "3"}, False, id="a path below a file"),
        pytest.param({"usr/lib/d": "3"}, False, id="a file for a directory"),
        pytest.param({"usr/lib/d": "->e"}, False, id="a link for a directory"),
        pytest.param({"usr/link": None}, False, id="a directory for a link to one"),
        pytest.param({"lib/new": "3"}, False, id="a path through a link"),
    ],
)
def test_a_layer_is_a_union_unless_it_changes_a_type(tmp_path: Path, layer: Tree, union: bool) -> None:
    base = make(tmp_path / "base", BASE)
    above, empty = make(tmp_path / "layer", layer), make(tmp_path / "empty", {})
    assert overlay.is_union(base, [above]) is union
    assert overlay.is_union(base, [empty, above]) is union
    assert overlay.is_union(empty, [base, above]) is union
    assert overlay.is_union(empty, [above]) is True


@pytest.mark.parametrize(
    ("layer", "changed"),
    [
        pytest.param({}, {}, id="nothing"),
        pytest.param({"usr/bin/new": "3", "opt/x": "4"}, {"opt": None}, id="new names"),
        pytest.param({"usr/bin/a": "other"}, {}, id="another content"),
        pytest.param({"usr/bin/a": "->b"}, {}, id="a link for a file"),
        pytest.param({"usr/link": "text"}, {}, id="a file for a link"),
        pytest.param({"usr/bin/a": None}, {}, id="a directory for a file"),
        pytest.param({"usr/bin/a/b": "3"}, {"usr/bin/a": None}, id="a path below a file"),
        pytest.param({"usr/lib/d": "3"}, {"usr/lib/d/x": "gone"}, id="a file for a directory"),
        pytest.param({"usr/lib/d": "->/etc"}, {"usr/lib/d/x": "gone"}, id="a link for a directory"),
        pytest.param({"lib/new": "3"}, {"lib": None}, id="a directory for a link"),
    ],
)
def test_apply_makes_what_the_mount_showed(tmp_path: Path, layer: Tree, changed: Tree) -> None:
    tree = make(tmp_path / "tree", BASE)
    overlay.apply(make(tmp_path / "layer", layer), tree)
    whole = {"usr": None, "usr/bin": None, "usr/lib": None, "usr/lib/d": None, **BASE, **changed, **layer}
    assert read(tree) == {name: content for name, content in whole.items() if content != "gone"}


def test_apply_links_files_and_copies_the_modes_of_directories(tmp_path: Path) -> None:
    tree, layer = make(tmp_path / "tree", BASE), make(tmp_path / "layer", {"usr/bin/a": "new", "usr/s": "->x"})
    (layer / "usr/bin").chmod(0o2750)
    overlay.apply(layer, tree)
    assert os.path.samefile(tree / "usr/bin/a", layer / "usr/bin/a")
    assert (tree / "usr/bin").stat().st_mode & 0o7777 == 0o2750
    assert (tree / "usr/s").readlink() == Path("x")


def test_apply_follows_no_link_of_the_tree(tmp_path: Path) -> None:
    host = make(tmp_path / "host", {"file": "host's"})
    tree = make(tmp_path / "tree", {"dir": f"->{host}", "name": f"->{host}/file"})
    overlay.apply(make(tmp_path / "layer", {"dir/file": "ours", "name": "ours"}), tree)
    assert read(host) == {"file": "host's"}
    assert read(tree) == {"dir": None, "dir/file": "ours", "name": "ours"}


def test_apply_leaves_the_layer_as_it_is(tmp_path: Path) -> None:
    layer = make(tmp_path / "layer", {"usr/bin/a": "new", "x": None, "l": "->y"})
    before = read(layer)
    overlay.apply(layer, make(tmp_path / "tree", BASE))
    assert read(layer) == before


def test_plain_entries_are_not_whiteouts(tmp_path: Path) -> None:
    make(tmp_path, {"a": "", "d": None, "l": "->absent"})
    assert [overlay.is_whiteout((tmp_path / name).lstat()) for name in "adl"] == [False, False, False]
    assert overlay.is_whiteout(Path("/dev/null").lstat()) is False


def test_strip_leaves_plain_layers_alone(tmp_path: Path) -> None:
    layer = make(tmp_path / "layer", {"usr/bin/a": "new", "l": "->y"})
    before = read(layer)
    overlay.strip(layer)
    assert read(layer) == before


@pytest.fixture
def marks(monkeypatch: pytest.MonkeyPatch) -> None:
    """overlayfs's marks under names that a user may set, and whiteouts that are FIFOs: the real ones need root."""
    monkeypatch.setattr(overlay, "PREFIX", "user.overlay.")
    for name in ("OPAQUE", "REDIRECT", "METACOPY"):
        monkeypatch.setattr(overlay, f"_{name}", f"user.overlay.{name.lower()}")
    monkeypatch.setattr(overlay, "is_whiteout", lambda status: stat.S_ISFIFO(status.st_mode))


def mark(path: Path, name: str, value: bytes = b"y") -> None:
    os.setxattr(path, f"user.overlay.{name}", value)


@pytest.mark.parametrize(
    ("layer", "marked", "name", "union"),
    [
        pytest.param({"usr/lib/d/new": "3"}, "usr/lib/d", "opaque", False, id="a directory that hides another"),
        pytest.param({"usr/new/file": "3"}, "usr/new", "opaque", True, id="a directory that hides nothing"),
        pytest.param({"usr/moved": None}, "usr/moved", "redirect", False, id="a directory from elsewhere"),
        pytest.param({"usr/bin/a": ""}, "usr/bin/a", "metacopy", False, id="a file whose content is below"),
    ],
)
@pytest.mark.usefixtures("marks")
def test_a_layer_is_a_union_unless_a_mark_tells_of_what_is_below(
    tmp_path: Path, layer: Tree, marked: str, name: str, union: bool
) -> None:
    base, above = make(tmp_path / "base", BASE), make(tmp_path / "layer", layer)
    assert overlay.is_union(base, [above]) is True
    mark(above / marked, name)
    assert overlay.is_union(base, [above]) is union


@pytest.mark.usefixtures("marks")
def test_an_opaque_directory_hides_what_an_earlier_layer_has(tmp_path: Path) -> None:
    first, second = make(tmp_path / "1", {"opt/x/old": "1"}), make(tmp_path / "2", {"opt/x/new": "2"})
    mark(second / "opt/x", "opaque")
    assert overlay.is_union(make(tmp_path / "base", {}), [first, second]) is False


@pytest.mark.usefixtures("marks")
def test_apply_honours_opaque_directories(tmp_path: Path) -> None:
    tree, layer = make(tmp_path / "tree", BASE), make(tmp_path / "layer", {"usr/lib/d/new": "3"})
    mark(layer / "usr/lib/d", "opaque")
    overlay.apply(layer, tree)
    assert read(tree / "usr/lib") == {"d": None, "d/new": "3"}


@pytest.mark.parametrize("origin", [b"/usr/lib/d", b"d"])
@pytest.mark.usefixtures("marks")
def test_apply_honours_redirects(tmp_path: Path, origin: bytes) -> None:
    tree, layer = make(tmp_path / "tree", BASE), make(tmp_path / "layer", {"usr/lib/e/new": "3", "usr/lib/d": "gone"})
    mark(layer / "usr/lib/e", "redirect", origin)
    overlay.apply(layer, tree)
    assert read(tree / "usr/lib") == {"e": None, "e/x": "2", "e/new": "3"}
    assert sorted(os.listdir(tmp_path)) == ["layer", "tree"]


@pytest.mark.usefixtures("marks")
def test_marks_are_stripped_and_other_xattrs_stay(tmp_path: Path) -> None:
    layer = make(tmp_path / "layer", {"usr/bin/a": "new", "usr/bin/gone": "gone"})
    places = (layer, layer / "usr", layer / "usr/bin/a")
    for place in places:
        for name in ("opaque", "redirect", "metacopy", "origin"):
            mark(place, name)
        os.setxattr(place, "user.other", b"")
    overlay.strip(layer)
    assert [os.listxattr(place) for place in places] == [["user.other"]] * 3
    assert read(layer / "usr/bin") == {"a": "new"}


@pytest.mark.usefixtures("marks")
def test_apply_strips_files(tmp_path: Path) -> None:
    tree, layer = make(tmp_path / "tree", BASE), make(tmp_path / "layer", {"usr/bin/a": "new"})
    for name in ("overlay.metacopy", "overlay.origin", "other"):
        os.setxattr(layer / "usr/bin/a", f"user.{name}", b"")
    overlay.apply(layer, tree)
    assert os.listxattr(tree / "usr/bin/a") == ["user.other"]


@pytest.mark.usefixtures("marks")
def test_what_a_later_layer_removes_goes_unless_a_directory_was_moved(tmp_path: Path) -> None:
    layers = [make(tmp_path / "1", {"etc/x.dpkg-new": "1", "etc/d": None}), make(tmp_path / "2", {})]
    layers.append(make(tmp_path / "3", {"etc/x.dpkg-new": "gone"}))
    mark(layers[0] / "etc/d", "redirect", b"c")
    overlay.drop_removed(layers)
    assert (layers[0] / "etc/x.dpkg-new").exists()
    os.removexattr(layers[0] / "etc/d", "user.overlay.redirect")
    overlay.drop_removed(layers)
    assert not (layers[0] / "etc/x.dpkg-new").exists()


@pytest.mark.parametrize("name", ["opaque", "redirect"])
@pytest.mark.usefixtures("marks")
def test_nothing_below_shows_through_a_directory_of_another_origin(tmp_path: Path, name: str) -> None:
    layer = make(tmp_path / "layer", {"usr/bin/a": "1"})
    assert overlay.is_merged(door.Tree(layer), "usr/bin/a")
    mark(layer / "usr", name)
    assert not overlay.is_merged(door.Tree(layer), "usr/bin/a")


@pytest.mark.usefixtures("marks")
def test_what_a_layer_has_again_after_another_removed_it_stays(tmp_path: Path) -> None:
    trees: list[Tree] = [{"x": "1"}, {"x": "gone"}, {"x": "3"}, {"y": "4"}]
    layers = [make(tmp_path / str(number), tree) for number, tree in enumerate(trees)]
    overlay.drop_removed(layers)
    assert [os.path.lexists(layer / "x") for layer in layers] == [False, True, True, False]


@pytest.mark.parametrize("origin", [b"../../host", b"/../host", b"link", b"absent", b"/usr/bin/a"])
@pytest.mark.usefixtures("marks")
def test_a_redirect_that_names_no_directory_of_the_tree_is_refused(tmp_path: Path, origin: bytes) -> None:
    host = make(tmp_path / "host", {"file": "host's"})
    tree = make(tmp_path / "tree", {**BASE, "usr/lib/link": f"->{host}"})
    layer = make(tmp_path / "layer", {"usr/lib/e": None})
    mark(layer / "usr/lib/e", "redirect", origin)
    with pytest.raises(TreeError):
        overlay.apply(layer, tree)
    assert (host / "file").stat().st_nlink == 1


def test_trees_deeper_than_calls_may_be_in_each_other_are_applied(tmp_path: Path) -> None:
    layer, tree = make(tmp_path / "layer", {}), make(tmp_path / "tree", {})
    deep = "/".join("d" * 100)
    (layer / deep).mkdir(parents=True)
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 60)
    try:
        overlay.apply(layer, tree)
    finally:
        sys.setrecursionlimit(before)
    assert (tree / deep).is_dir()


@pytest.mark.usefixtures("marks")
def test_nothing_behind_a_link_of_a_layer_is_stripped_or_removed(tmp_path: Path) -> None:
    host = make(tmp_path / "host", {"file": "host's", "other": "gone"})
    mark(host / "file", "origin")
    layer = make(tmp_path / "layer", {"directory": f"->{host}", "file": f"->{host}/file"})
    overlay.strip(layer)
    overlay.drop_removed([layer, make(tmp_path / "above", {"directory/file": "gone"})])
    assert os.listxattr(host / "file") == ["user.overlay.origin"]
    assert sorted(os.listdir(host)) == ["file", "other"]
