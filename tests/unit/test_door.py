"""The door to trees that others wrote: whatever a name says and whatever lies there, nothing outside is touched."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from apt_ostree.errors import TreeError
from apt_ostree.host import entries, lookup, syscalls
from apt_ostree.host.door import Tree

SECRET = b"the host's\n"


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A place outside of the tree that must stay as it is."""
    place = tmp_path / "host"
    (place / "directory").mkdir(parents=True)
    (place / "file").write_bytes(SECRET)
    return place


@pytest.fixture
def tree(tmp_path: Path, host: Path) -> Tree:
    """A tree with a file, and with links to the host: absolute, relative, of a directory, and a looping one."""
    top = tmp_path / "tree"
    (top / "usr/bin").mkdir(parents=True)
    (top / "usr/bin/dash").write_bytes(b"#!\n")
    (top / "usr/bin/sh").symlink_to("dash")
    (top / "bin").symlink_to("usr/bin")
    (top / "absolute").symlink_to(host / "file")
    (top / "relative").symlink_to("../host/file")
    (top / "out").symlink_to(host)
    (top / "up").symlink_to("..")
    (top / "loop").symlink_to("loop")
    (top / "magic").symlink_to("/proc/self/root")
    os.mkfifo(top / "fifo")
    return Tree(top)


def listing(place: Path) -> list[tuple[str, int, bytes]]:
    return sorted(
        (os.fspath(path), path.lstat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in place.rglob("*")
    )


OUTSIDE = ["absolute", "relative", "out/file", "out/directory", "up/host/file", "loop", "loop/x", "magic/etc/passwd"]
UNSAFE = [
    "/etc/passwd", "../host/file", "usr/../../host/file", "usr/..", "usr//bin", "usr/./bin", "", ".", "a\0b",
    "x" * 256, "ü" * 128, "x/" * 2048 + "x",
]  # fmt: skip


@pytest.mark.parametrize("name", OUTSIDE)
def test_no_read_leaves_the_tree(tree: Tree, name: str) -> None:
    assert tree.read(name) is None
    # What a link means is looked up in the tree alone.
    assert (found := tree.find(name)) is None or not os.path.isabs(found)


@pytest.mark.parametrize("name", [*UNSAFE, "/absolute"])
def test_a_name_that_is_absolute_or_goes_up_names_nothing(tree: Tree, name: str) -> None:
    assert tree.read(name) is None
    assert name == "" or tree.status(name) is None
    assert name == "" or tree.names(name) == []
    assert tree.link(name) is None


@pytest.mark.parametrize("name", ["out/file", "out/directory", "up/host/file", "loop/x"])
def test_what_lies_behind_a_link_is_not_there(tree: Tree, name: str) -> None:
    assert (tree.status(name), tree.names(name), tree.attributes(name)) == (None, [], {})
    assert not (tree.has(name) or tree.has_file(name) or tree.has_directory(name) or tree.has_link(name))


CHANGES: dict[str, Callable[[Tree, str], object]] = {
    "make_directory": lambda tree, name: tree.make_directory(name),
    "write": lambda tree, name: tree.write(name, b"x", owner=(os.getuid(), os.getgid())),
    "symlink": lambda tree, name: tree.symlink(name, "x"),
    "move to": lambda tree, name: tree.move("usr/bin/dash", tree, name),
    "move from": lambda tree, name: tree.move(name, tree, "new"),
    "replace_content": lambda tree, name: tree.replace_content(name, b"x"),
    "set_owner": lambda tree, name: tree.set_owner(name, os.getuid(), os.getgid()),
    "set_mode": lambda tree, name: tree.set_mode(name, 0o777),
    "set_attribute": lambda tree, name: tree.set_attribute(name, "user.x", b"x"),
    "copy": lambda tree, name: tree.copy(tree, "usr/bin/dash", name),
    "hard_link": lambda tree, name: tree.hard_link(tree, "usr/bin/dash", name),
    "remove_attribute": lambda tree, name: tree.remove_attribute(name, "user.x"),
}


OF_THE_TREE_ITSELF = {"make_directory", "set_owner", "set_mode", "set_attribute", "remove_attribute"}
"""Changes for which the empty name is the tree."""


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (change, name)
        for change in CHANGES
        for name in ("out/file", "out/directory", "out/new", "up/host/file", "up/new", *UNSAFE)
        if name or change not in OF_THE_TREE_ITSELF
    ],
)
def test_no_change_leaves_the_tree(tree: Tree, host: Path, change: str, name: str) -> None:
    before = listing(host)
    with pytest.raises((TreeError, OSError)):
        CHANGES[change](tree, name)
    assert listing(host) == before


@pytest.mark.parametrize("name", ["absolute", "relative", "out"])
def test_a_link_at_the_end_is_changed_itself_or_not_at_all(tree: Tree, host: Path, name: str) -> None:
    before = listing(host)
    with pytest.raises((TreeError, OSError)):
        tree.set_mode(name, 0o777)
    with pytest.raises(TreeError):
        tree.replace_content(name, b"x")
    with pytest.raises(TreeError):
        tree.make_directory(f"{name}/x")
    with pytest.raises(TreeError):
        tree.make_directory(name)
    tree.write(name, b"new", owner=(os.getuid(), os.getgid()))
    assert (tree.read(name), listing(host)) == (b"new", before)


def test_a_file_is_written_from_another_with_mode_and_owner(tree: Tree, host: Path) -> None:
    with (host / "file").open("rb") as source:
        tree.write("usr/new", source, 0o4750, (os.getuid(), os.getgid()))
    status = tree.status("usr/new")
    assert status is not None and stat.S_IMODE(status.st_mode) == 0o4750
    assert tree.read("usr/new") == SECRET


def test_remove_removes_a_link_and_not_what_it_names(tree: Tree, host: Path) -> None:
    before = listing(host)
    tree.make_directory("usr/lib/a/b")
    tree.symlink("usr/lib/a/link", os.fspath(host))
    for name in ("out", "usr/lib", "not-there"):
        tree.remove(name)
        assert not tree.has(name)
    with pytest.raises(TreeError):
        tree.remove("up/host")
    with pytest.raises(TreeError):
        tree.remove("/etc")
    assert listing(host) == before


def test_what_is_no_regular_file_is_not_opened(tree: Tree) -> None:
    assert tree.open_file("fifo") is None  # and does not wait for a writer
    assert tree.open_file("usr") is None


def test_a_file_over_the_limit_is_an_error(tree: Tree) -> None:
    assert tree.read("usr/bin/dash", limit=3) == b"#!\n"
    with pytest.raises(TreeError, match="too large"):
        tree.read("usr/bin/dash", limit=2)


def test_text_keeps_the_line_ends_that_a_file_has(tree: Tree) -> None:
    tree.write("text", b"a\rb\r\n\xff\n", owner=(os.getuid(), os.getgid()))
    assert tree.text("text") == "a\rb\r\n\udcff\n"


@pytest.mark.parametrize(
    ("name", "real"),
    [
        ("usr/bin/dash", "usr/bin/dash"),
        ("bin/sh", "usr/bin/dash"),
        ("/bin/../bin/./sh", "usr/bin/dash"),
        ("up/up/usr", "usr"),  # above the root is the root
        ("loop", None),
        ("absolute", None),  # the tree has no such path
        ("nowhere/x", None),
        ("usr/bin/dash/x", None),
    ],
)
def test_resolve_means_what_the_trees_own_root_would_find(tree: Tree, name: str, real: str | None) -> None:
    assert tree.find(name) == real


def test_a_link_into_the_tree_by_an_absolute_path_is_resolved_there(tree: Tree) -> None:
    tree.symlink("usr/lib", "/usr/bin")
    assert tree.find("usr/lib/sh") == "usr/bin/dash"
    assert tree.read("usr/lib/sh") is None


def test_etc_may_be_another_directory(tree: Tree, tmp_path: Path) -> None:
    etc = tmp_path / "etc"
    (etc / "apt").mkdir(parents=True)
    (etc / "apt/x").write_bytes(b"the machine's")
    (etc / "apt/out").symlink_to("/usr/bin/sh")
    (etc / "apt/up").symlink_to("../../usr/bin/dash")
    both = Tree(tree.top, etc)
    assert (both.read("etc/apt/x"), both.names("etc"), both.has_directory("etc")) == (b"the machine's", ["apt"], True)
    assert (both.find("etc/apt/out"), both.find("etc/apt/up")) == ("usr/bin/dash", "usr/bin/dash")
    assert (both.read("usr/bin/dash"), tree.read("etc/apt/x")) == (b"#!\n", None)
    assert [entry.name for entry in both.walk("etc")] == ["etc/apt", "etc/apt/out", "etc/apt/up", "etc/apt/x"]


def test_a_walk_gives_parents_first_in_order_and_goes_through_no_link(tree: Tree) -> None:
    assert [entry.name for entry in tree.walk()] == [
        "absolute", "bin", "fifo", "loop", "magic", "out", "relative", "up",
        "usr", "usr/bin", "usr/bin/dash", "usr/bin/sh",
    ]  # fmt: skip
    assert [entry.name for entry in tree.walk("usr/bin") if entry.is_file] == ["usr/bin/dash"]
    assert list(tree.walk("out")) == []


def test_contents_are_compared_of_regular_files_alone(tree: Tree) -> None:
    for name, content in (("one", b"same"), ("two", b"same"), ("three", b"else"), ("four", b"")):
        tree.write(name, content)
    assert tree.has_same_content("one", tree, "two")
    for name in ("three", "four", "absolute", "fifo", "usr", "missing"):
        assert not tree.has_same_content("one", tree, name)
        assert not tree.has_same_content(name, tree, "one")


def test_a_walk_may_leave_out_what_the_caller_may_not_read(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.scandir

    def scandir(directory: int) -> Iterator[os.DirEntry[str]]:
        if os.readlink(f"/proc/self/fd/{directory}").endswith("/usr"):
            raise PermissionError(13, "Permission denied")
        return real(directory)

    monkeypatch.setattr(os, "scandir", scandir)
    assert [entry.name for entry in tree.walk(readable=True)][-2:] == ["up", "usr"]
    with pytest.raises(PermissionError):
        list(tree.walk())


def test_a_directory_of_too_many_names_is_an_error_however_it_is_read(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not taken for one that is not there."""
    monkeypatch.setattr(entries, "NAMES_MAX", len(tree.names()) - 1)
    for read in (tree.names, lambda: list(tree.walk()), lambda: list(tree.directories())):
        with pytest.raises(TreeError, match="a directory has more than"):
            read()


def test_a_directory_that_is_too_deep_is_an_error(tmp_path: Path) -> None:
    top = tmp_path / "deep"
    top.mkdir()
    before = os.open(".", os.O_RDONLY)
    try:
        os.chdir(top)
        for _ in range(20):
            os.mkdir("d" * 250)
            os.chdir("d" * 250)
    finally:
        os.fchdir(before)
        os.close(before)
    with pytest.raises(TreeError, match="too deep"):
        list(Tree(top).walk())


def test_new_content_keeps_owner_mode_and_attributes_and_leaves_other_names_alone(tree: Tree) -> None:
    place = tree.top / "usr/bin/dash"
    os.link(place, tree.top / "other")
    place.chmod(0o4711)
    os.setxattr(place, "user.note", b"kept")
    tree.replace_content("usr/bin/dash", b"new")
    assert (tree.read("usr/bin/dash"), tree.read("other")) == (b"new", b"#!\n")
    status = tree.status("usr/bin/dash")
    assert status is not None and stat.S_IMODE(status.st_mode) == 0o4711
    assert tree.attributes("usr/bin/dash") == {"user.note": b"kept"}
    assert [name for name in tree.names("usr/bin") if name.startswith(".")] == []


def test_a_copy_has_owner_mode_and_attributes_but_those_of_overlayfs(tree: Tree, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    os.setxattr(tree.top / "usr/bin/dash", "user.note", b"kept")
    (tree.top / "usr").chmod(0o2750)
    for name in ("usr", "usr/bin", "usr/bin/dash", "usr/bin/sh"):
        Tree(other).copy(tree, name, name)
    assert Tree(other).attributes("usr/bin/dash") == {"user.note": b"kept"}
    assert os.readlink(other / "usr/bin/sh") == "dash"
    assert stat.S_IMODE((other / "usr").stat().st_mode) == 0o2750
    with pytest.raises(TreeError, match="cannot copy"):
        Tree(other).copy(tree, "fifo", "fifo")


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tree: Tree) -> None:
    class Broken:
        def read(self, size: int) -> bytes:
            raise OSError("broken")

    with pytest.raises(OSError, match="broken"):
        tree.replace_content("usr/bin/dash", Broken())  # type: ignore[arg-type]
    assert (tree.read("usr/bin/dash"), tree.names("usr/bin")) == (b"#!\n", ["dash", "sh"])


def test_an_error_names_the_entry_by_its_path(tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(directory: int, name: str, flags: int, resolve: int) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(syscalls, "openat2", refused)
    for root, name in ((tree, tree.top / "etc/x/y"), (Tree(tree.top, tmp_path / "host"), tmp_path / "host/x/y")):
        with pytest.raises(PermissionError) as raised:
            root.open_file("etc/x/y")
        assert raised.value.filename == str(name)


def test_directories_are_given_parents_first_held_open_and_no_link_is_one(tree: Tree, host: Path) -> None:
    found = []
    for directory in tree.directories():
        found.append((directory.name, [entry.name for entry in directory.entries if entry.is_file]))
        # What is held open stays itself, whatever is done to its name.
        if directory.name == "usr/bin":
            (tree.top / "usr/bin").rename(tree.top / "usr/away")
            (tree.top / "usr/bin").symlink_to(host)
            assert directory.tree.read("dash") == b"#!\n"
            assert (directory.tree.read("file"), directory.tree.names()) == (None, ["dash", "sh"])
    assert found == [("", []), ("usr", []), ("usr/bin", ["usr/bin/dash"])]
    assert [entry.own for entry in next(tree.directories()).entries if entry.is_special] == ["fifo"]
    assert list(Tree(tree.top / "absent").directories()) == []


def test_a_directory_that_is_removed_on_the_way_is_left_out(tree: Tree) -> None:
    names = []
    for directory in tree.directories():
        names.append(directory.name)
        if directory.name == "usr":
            directory.tree.remove("bin")
    assert names == ["", "usr"]


def test_directories_of_a_tree_that_is_too_deep_are_an_error(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=descriptor)
        inner = os.open("d" * 250, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
    os.close(descriptor)
    with pytest.raises(TreeError, match="too deep"):
        list(Tree(tmp_path).directories())


@pytest.mark.parametrize("name", ["out", "absolute", "loop", "fifo", "absent", "usr/bin/dash", "up/host", "..", "/etc"])
def test_what_is_no_directory_of_the_tree_is_not_held_open(tree: Tree, name: str) -> None:
    with pytest.raises(TreeError), tree.opened(name):
        pass


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", ["..", "../host/file", "/etc/passwd", "out/file", "up/new"])
def test_no_change_leaves_a_tree_that_is_held_open(tree: Tree, host: Path, change: str, name: str) -> None:
    before = listing(host)
    with tree.opened() as held, pytest.raises((TreeError, OSError)):
        CHANGES[change](held, name)
    assert listing(host) == before


@pytest.mark.parametrize("name", ["absolute", "relative", "out", "magic", "fifo", "loop"])
def test_no_link_right_in_a_directory_that_is_held_open_is_followed(tree: Tree, host: Path, name: str) -> None:
    before = listing(host)
    with tree.opened() as held:
        assert (held.read(name), held.names(name), held.has_directory(name)) == (None, [], False)
        with pytest.raises((TreeError, OSError)):
            held.make_directory(f"{name}/x")
        with pytest.raises((TreeError, OSError)):
            held.replace_content(name, b"x")
    assert listing(host) == before


def test_a_hard_link_is_another_name_of_a_link_or_file_itself(tree: Tree, host: Path) -> None:
    tree.hard_link(tree, "usr/bin/dash", "usr/new")
    tree.hard_link(tree, "absolute", "usr/link")
    assert (tree.top / "usr/new").samefile(tree.top / "usr/bin/dash")
    assert tree.link("usr/link") == os.fspath(host / "file")
    for source, to in (("out/file", "x"), ("usr/new", "out/x"), ("../host/file", "x"), ("usr/new", "usr/bin/dash")):
        with pytest.raises((TreeError, OSError)):
            tree.hard_link(tree, source, to)
    assert (host / "file").stat().st_nlink == 1


def test_an_attribute_is_taken_from_an_entry_of_the_tree_alone(tree: Tree, host: Path) -> None:
    os.setxattr(host / "file", "user.note", b"the host's")
    tree.set_attribute("usr/bin/dash", "user.note", b"x")
    tree.remove_attribute("usr/bin/dash", "user.note")
    assert tree.attributes("usr/bin/dash") == {}
    for name in ("absolute", "out/file"):
        with pytest.raises((TreeError, OSError)):
            tree.remove_attribute(name, "user.note")
    assert os.listxattr(host / "file") == ["user.note"]


def test_new_directories_have_their_mode_whatever_the_umask(tree: Tree) -> None:
    before = os.umask(0o077)
    try:
        tree.make_directory("usr/new/inner")
    finally:
        os.umask(before)
    assert {stat.S_IMODE((tree.top / name).stat().st_mode) for name in ("usr/new", "usr/new/inner")} == {0o755}


def test_an_entry_has_no_more_attributes_than_fit_into_memory(tree: Tree) -> None:
    place = tree.top / "usr/bin/dash"
    for number in range(lookup.ATTRIBUTES_MAX):
        os.setxattr(place, f"user.{number}", b"x")
    assert len(tree.attributes("usr/bin/dash")) == 64
    os.setxattr(place, "user.more", b"x")
    with pytest.raises(TreeError, match="more than 64 extended attributes"):
        tree.attributes("usr/bin/dash")


def test_attributes_that_nobody_can_list_are_too_many(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """listxattr(2): XFS, Btrfs and tmpfs hold more names than 64 KiB."""

    def listed(*_: object, **__: object) -> list[str]:
        raise OSError(errno.E2BIG, "Argument list too long")

    monkeypatch.setattr(os, "listxattr", listed)
    with pytest.raises(TreeError, match="more than 64 extended attributes"):
        tree.attributes("usr/bin/dash")
