"""What a commit carries instead of /var, on small trees made from a dict."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apt_ostree.errors import SpaceError, TreeError
from apt_ostree.host import door
from apt_ostree.tree import state

UID, GID = os.getuid(), os.getgid()


@dataclass(frozen=True)
class Dir:
    mode: int = 0o755


@dataclass(frozen=True)
class File:
    text: str = ""
    mode: int = 0o644


@dataclass(frozen=True)
class Link:
    target: str


Tree = Mapping[str, Dir | File | Link]


def make(top: Path, tree: Tree) -> Path:
    """Make ``tree`` at ``top``; parents that it does not name are 0755."""
    top.mkdir(exist_ok=True)
    top.chmod(0o755)
    for name, entry in sorted(tree.items()):
        path = top / name
        for parent in reversed(path.relative_to(top).parents):
            if not (top / parent).is_dir():
                (top / parent).mkdir()
                (top / parent).chmod(0o755)
        if isinstance(entry, Link):
            path.symlink_to(entry.target)
            continue
        if isinstance(entry, Dir):
            path.mkdir(exist_ok=True)
        else:
            path.write_text(entry.text)
        path.chmod(entry.mode)
    return top


def read(top: Path) -> dict[str, Dir | File | Link]:
    """The tree at ``top``, in the words of ``make``."""
    found: dict[str, Dir | File | Link] = {}
    for path in top.rglob("*"):
        name, mode = str(path.relative_to(top)), path.lstat().st_mode
        if stat.S_ISLNK(mode):
            found[name] = Link(str(path.readlink()))
        elif stat.S_ISDIR(mode):
            found[name] = Dir(stat.S_IMODE(mode))
        else:
            found[name] = File(path.read_text(), stat.S_IMODE(mode))
    return found


def capture(var: Path, before: state.Snapshot | None = None) -> tuple[list[str], list[str]]:
    """The lines and the paths of what is new; owners are ours, so they are left out of the lines."""
    captured = state.capture(var, before or {})
    return [line.removesuffix(f" :{UID} :{GID}") for line in captured.lines], list(captured.paths)


SHOWN = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
# File names are bytes: what is not UTF-8 shows as lone surrogates.
BYTES = st.binary().map(lambda raw: os.fsdecode(raw.replace(b"\0", b"")))
NAMES = st.one_of(SHOWN, BYTES, st.text(" \t\n%\\\"'07a", max_size=8))


@given(NAMES)
def test_unescape_gives_back_what_was_escaped(name: str) -> None:
    assert state.unescape(state.escape(name)) == name


@given(NAMES)
def test_an_escaped_name_is_one_word_on_one_line(name: str) -> None:
    escaped = state.escape(name)
    assert escaped.split() == ([escaped] if name else [])
    assert len(escaped.splitlines()) <= 1
    assert not set(escaped) & {'"', "'"}


@given(NAMES)
def test_an_escaped_name_has_no_specifier(name: str) -> None:
    assert state.escape(name).replace("%%", "").find("%") == -1


@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        ("lib/plain-1.0_x+y@z", "lib/plain-1.0_x+y@z"),
        ("a b", r"a\040b"),
        ("a\tb\nc", r"a\011b\012c"),
        ("100%", "100%%"),
        ("%%", "%%%%"),
        ("back\\slash", "back\\\\slash"),
        ("\\040", "\\\\040"),
        ('it\'s "x"', r"it\047s\040\042x\042"),
        ("übung", "übung"),
        ("no\u00a0break", r"no\302\240break"),
        ("line\u2028end", r"line\342\200\250end"),
        ("\udcff", "\udcff"),
    ],
)
def test_escape_writes_what_printf_reads(name: str, escaped: str) -> None:
    assert state.escape(name) == escaped


def test_state_tmpfiles_links_what_belongs_to_usr() -> None:
    lines = state.state_tmpfiles().splitlines()
    assert lines[:7] == [
        "# State that must match /usr lives with it.",
        "L+ /var/lib/dpkg - - - - ../../usr/lib/sysimage/dpkg",
        "L+ /var/cache/debconf - - - - ../../usr/lib/sysimage/debconf",
        "L+ /var/lib/ucf - - - - ../../usr/lib/sysimage/ucf",
        "L+ /var/lib/pam - - - - ../../usr/lib/sysimage/pam",
        "L+ /var/lib/dictionaries-common - - - - ../../usr/lib/sysimage/dictionaries-common",
        "L+ /var/cache/dictionaries-common - - - - ../../usr/lib/sysimage/dictionaries-common-cache",
    ]
    assert lines[-5:] == [
        "d /var/lib/apt :0755 :0 :0",
        "L+ /var/lib/apt/extended_states - - - - ../../../usr/lib/sysimage/extended_states",
        # Or systemd would call it an error at each boot that they are no directories.
        "L /home - - - - var/home",
        "L /root - - - - var/roothome",
        "L /srv - - - - var/srv",
    ]
    assert lines.count("d /var/lib/systemd :0755 :0 :0") == 1


@pytest.mark.parametrize("name", [*state.LINKED, *state.LINKED_FILES])
def test_each_linked_state_has_a_link_that_leads_to_its_place(name: str) -> None:
    line = next(line for line in state.state_tmpfiles().splitlines() if line.startswith(f"L+ /var/{name} "))
    target = os.path.normpath(f"/var/{name}/../{line.split(' ')[-1]}")
    assert target == f"/usr/lib/sysimage/{state.sysimage_name(name)}"


def test_no_two_linked_states_share_a_place() -> None:
    names = [state.sysimage_name(name) for name in (*state.LINKED, *state.LINKED_FILES)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("tree", "lines", "paths"),
    [
        pytest.param({}, [], [], id="nothing"),
        pytest.param(
            {"lib/a": Dir(0o2750)},
            ["d /var/lib :0755", "d /var/lib/a :2750"],
            ["lib", "lib/a"],
            id="an empty directory",
        ),
        pytest.param(
            {"lib/a/x": File(), "lib/a/sub/y": File()},
            ["d /var/lib :0755"],
            ["lib", "lib/a", "lib/a/sub", "lib/a/sub/y", "lib/a/x"],
            id="a subtree with a file",
        ),
        pytest.param(
            {"lib/a/sub/y": File()},
            ["d /var/lib :0755", "d /var/lib/a :0755"],
            ["lib", "lib/a", "lib/a/sub", "lib/a/sub/y"],
            id="a directory of directories comes back",
        ),
        pytest.param(
            {"lib/a/x": File(), "lib/a/l": Link("x"), "lib/a/empty": Dir(0o700)},
            ["d /var/lib :0755"],
            ["lib", "lib/a", "lib/a/empty", "lib/a/l", "lib/a/x"],
            id="links and directories go with their subtree",
        ),
        pytest.param(
            {"lib/ab/x": File(), "lib/a/x": File(), "lib/a-b": Dir()},
            ["d /var/lib :0755", "d /var/lib/a-b :0755"],
            ["lib", "lib/a", "lib/a/x", "lib/a-b", "lib/ab", "lib/ab/x"],
            id="names that begin alike",
        ),
        pytest.param(
            {"lib/one": File(), "lib/a": Dir()},
            ["d /var/lib :0755", "d /var/lib/a :0755"],
            ["lib", "lib/a", "lib/one"],
            id="a file right in a shared directory",
        ),
        pytest.param(
            {"lib/a/l": Link("/usr/lib/a b"), "lib/100%": Link("../x")},
            ["d /var/lib :0755", "d /var/lib/a :0755"],
            ["lib", "lib/100%", "lib/a", "lib/a/l"],
            id="links",
        ),
        pytest.param(
            {"lib/dpkg": Link("/usr/lib/sysimage/dpkg"), "lib/x": File()},
            ["d /var/lib :0755"],
            ["lib", "lib/x"],
            id="a link to linked state",
        ),
        pytest.param(
            {"lib/other": Link("/usr/lib/sysimage/dpkg")},
            ["d /var/lib :0755"],
            ["lib", "lib/other"],
            id="another link there",
        ),
    ],
)
def test_capture(tmp_path: Path, tree: Tree, lines: list[str], paths: list[str]) -> None:
    assert capture(make(tmp_path / "var", tree)) == (lines, paths)


@pytest.mark.parametrize(
    ("owners", "lines"),
    [
        ({}, ["a", "a/b", "a/b/c"]),
        ({"a": 101}, ["a"]),
        ({"a": 101, "a/b": 101}, ["a", "a/b"]),
        ({"a/b/c": 101}, ["a", "a/b", "a/b/c"]),
        ({"a": 101, "a/b": 102, "a/b/c": 102}, ["a"]),
    ],
)
def test_no_line_leads_through_a_users_directory_to_anothers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owners: Mapping[str, int], lines: list[str]
) -> None:
    var = make(tmp_path / "var", {"lib/a/b/c": Dir()})
    real = door.Tree.walk

    def walk(tree: door.Tree, name: str = "") -> Iterator[door.Entry]:
        for entry in real(tree, name):
            status = list(entry.status)
            status[stat.ST_UID] = owners.get(entry.name.removeprefix("lib/"), 0)
            yield door.Entry(entry.name, os.stat_result(status))

    monkeypatch.setattr(door.Tree, "walk", walk)
    captured = state.capture(var, {})
    assert [line.split()[1] for line in captured.lines] == ["/var/lib", *(f"/var/lib/{name}" for name in lines)]
    assert captured.paths == ("lib", "lib/a", "lib/a/b", "lib/a/b/c")


@pytest.mark.parametrize("name", state._SHARED)
def test_a_directory_of_many_packages_comes_back_although_it_holds_a_file(tmp_path: Path, name: str) -> None:
    lines, _ = capture(make(tmp_path / "var", {f"{name}/file": File()}))
    assert lines[-1] == f"d /var/{name} :0755"


@pytest.mark.parametrize("name", state._IGNORED)
def test_records_of_the_run_are_ignored(tmp_path: Path, name: str) -> None:
    var = make(tmp_path / "var", {f"{name}/below": File(), f"{name}-not": Dir()})
    lines, paths = capture(var)
    assert f"d /var/{name}-not :0755" in lines
    assert not [line for line in lines if line.startswith((f"d /var/{name} ", f"d /var/{name}/"))]
    assert paths == [*state._parents(name), f"{name}-not"]


def test_what_was_there_before_is_not_captured(tmp_path: Path) -> None:
    var = make(tmp_path / "var", {"lib/a/x": File("1"), "lib/l": Link("x"), "lib/d": Dir()})
    before = state.snapshot(var)
    assert capture(var, before) == ([], [])


@pytest.mark.parametrize(
    ("change", "lines", "paths"),
    [
        pytest.param("rm -r lib/a", [], [], id="a removal"),
        pytest.param("write lib/a/x", [], ["lib", "lib/a", "lib/a/x"], id="another content"),
        pytest.param("write lib/a/new", [], ["lib", "lib/a", "lib/a/new"], id="a file beside older ones"),
        pytest.param("chmod lib/d", ["d /var/lib/d :0700"], ["lib", "lib/d"], id="another mode of a directory"),
        pytest.param("chmod lib/a/x", [], ["lib", "lib/a", "lib/a/x"], id="another mode of a file"),
        pytest.param("link lib/l", [], ["lib", "lib/l"], id="another target of a link"),
        pytest.param("setxattr lib/a/x", [], ["lib", "lib/a", "lib/a/x"], id="an attribute"),
    ],
)
def test_only_changes_since_a_snapshot_are_captured(
    tmp_path: Path, change: str, lines: list[str], paths: list[str]
) -> None:
    tree: Tree = {"lib/a/x": File("1"), "lib/l": Link("x"), "lib/d": Dir()}
    var = make(tmp_path / "var", tree)
    before = state.snapshot(var)
    verb, _, name = change.rpartition(" ")
    place = var / name
    if verb == "rm -r":
        (place / "x").unlink()
        place.rmdir()
    elif verb == "write":
        place.write_text("other")
    elif verb == "chmod":
        place.chmod(0o700)
    elif verb == "setxattr":
        os.setxattr(place, "user.own", b"1")
    else:
        place.unlink()
        place.symlink_to("elsewhere")
    assert capture(var, before) == (lines, paths)


def test_write_puts_lines_paths_and_templates_where_first_boot_reads_them(tmp_path: Path) -> None:
    tree: Tree = {"lib/a b": Dir(0o750), "lib/a b/x": File("1", 0o600), "spool": Dir(0o1777), "spool/a b": Dir()}
    var = make(tmp_path / "var", tree)
    captured = state.capture(var, {})
    state.write(captured, var, make(tmp_path / "tree", {}), "layer")
    assert {name: entry for name, entry in read(tmp_path / "tree").items() if not isinstance(entry, Dir)} == {
        "usr/lib/tmpfiles.d/00-apt-ostree-layer.conf": File(
            f"d /var/lib :0755 :{UID} :{GID}\nd /var/spool :1777 :{UID} :{GID}\n"
            f'd "/var/spool/a b" :0755 :{UID} :{GID}\n'
        ),
        "usr/lib/apt-ostree/seeds.d/layer": File("lib\nlib/a\\040b\nlib/a\\040b/x\nspool\nspool/a\\040b\n"),
        "usr/share/factory/var/lib/a b/x": File("1", 0o600),
    }
    assert read(tmp_path / "tree")["usr/share/factory/var/lib/a b"] == Dir(0o750)


def test_write_of_nothing_writes_nothing(tmp_path: Path) -> None:
    tree = make(tmp_path / "tree", {})
    state.write(state.Captured((), ()), make(tmp_path / "var", {}), tree, "layer")
    assert read(tree) == {}


OURS: Tree = {"usr/lib/sysimage/dpkg/status": File()}


def test_populate_of_a_foreign_base_makes_the_standard_directories(tmp_path: Path) -> None:
    state.populate(make(tmp_path / "tree", {}), tmp_path / "var")
    assert read(tmp_path / "var") == {
        "lib": Dir(), "lib/systemd": Dir(), "cache": Dir(), "log": Dir(), "tmp": Dir(0o1777)
    }  # fmt: skip


def test_populate_links_the_state_that_the_tree_has(tmp_path: Path) -> None:
    tree = make(tmp_path / "tree", {**OURS, "usr/lib/sysimage/extended_states": File()})
    state.populate(tree, tmp_path / "var")
    links = {name: entry for name, entry in read(tmp_path / "var").items() if isinstance(entry, Link)}
    assert links == {
        "lib/dpkg": Link("/usr/lib/sysimage/dpkg"),
        "lib/apt/extended_states": Link("/usr/lib/sysimage/extended_states"),
    }


def test_populate_reads_our_own_rules_alone(tmp_path: Path) -> None:
    rules = {
        "usr/lib/tmpfiles.d/00-apt-ostree-base.conf": File(f"d /var/lib/ours :0700 :{UID} :{GID}\n"),
        "usr/lib/tmpfiles.d/vendor.conf": File(f"d /var/lib/theirs :0700 :{UID} :{GID}\n"),
    }
    state.populate(make(tmp_path / "tree", {**OURS, **rules}), tmp_path / "var")
    assert (tmp_path / "var/lib/ours").is_dir()
    assert not (tmp_path / "var/lib/theirs").exists()


@pytest.mark.parametrize("rule", [f"d /var/run/x :0755 :{UID} :{GID}", "L /var/run/x - - - - y"])
def test_populate_makes_nothing_through_a_link(tmp_path: Path, rule: str) -> None:
    host = make(tmp_path / "host", {})
    text = f"L /var/run - - - - {host}\n{rule}\n"
    tree = make(tmp_path / "tree", {**OURS, "usr/lib/tmpfiles.d/00-apt-ostree-base.conf": File(text)})
    state.populate(tree, tmp_path / "var")
    assert read(host) == {}


RULES = "usr/lib/tmpfiles.d/00-apt-ostree-base.conf"


@pytest.mark.parametrize(
    "rule",
    [
        f"d /var/{{host}}/new :0777 :{UID} :{GID}",
        f"d /var//{{host}}/new :0777 :{UID} :{GID}",
        f"d /var/lib/../../host/new :0777 :{UID} :{GID}",
        f"d /var/lib/\\056./\\056./host/new :0777 :{UID} :{GID}",
        "L /var/{host}/new - - - - y",
        "L+ /var/lib/../../host/new - - - - y",
    ],
)
def test_populate_makes_nothing_by_a_name_that_leads_out_of_var(tmp_path: Path, rule: str) -> None:
    host = make(tmp_path / "host", {})
    tree = make(tmp_path / "tree", {**OURS, RULES: File(rule.format(host=host) + "\n")})
    state.populate(tree, tmp_path / "var")
    assert read(host) == {}


@pytest.mark.parametrize(
    "rule",
    [
        "", "d", "d /var/x", "d /var/x zzz", "d /var/x :0755 :0", "d /var/x :0755 zero :0", "d /var/x :0755 :0 :²",
        "d /var/x :9999 :0 :0", "d /var/x :77777 :0 :0", "d /var/x :-755 :0 :0", "d /var/x :0755 :-1 :0",
        "d /var/x :0755 :4294967295 :0", "d /var/x :0755 :" + "9" * 5000 + " :0", "d /var/ :0755 :0 :0",
        "d /var/x/\\777 zzz", "d /var/x\\000 :0755 :0 :0", "d /var/" + "x" * 256 + " :0755 :0 :0",
        "d /var/" + "x/" * 3000 + "x :0755 :0 :0",
        "L /var/x", "L /var/x - - - -", "L /var/x - - - - ", "L /var/x - - - - \\000", "L /var/x - - - - " + "y" * 4096,
    ],
)  # fmt: skip
def test_populate_leaves_out_lines_of_another_form(tmp_path: Path, rule: str) -> None:
    good = f"d /var/lib/good :0700 :{UID} :{GID}"
    tree = make(tmp_path / "tree", {**OURS, RULES: File(f"{rule}\n{good}\n")})
    state.populate(tree, tmp_path / "var")
    assert {name for name in read(tmp_path / "var") if not name.startswith("lib/")} == {"lib", "cache", "log", "tmp"}
    assert read(tmp_path / "var")["lib/good"] == Dir(0o700)


@pytest.mark.parametrize("seed", ["{host}/new", "../host/new", "/{host}/new", "lib/../../host/new"])
def test_populate_delivers_nothing_by_a_name_that_leads_out_of_var(tmp_path: Path, seed: str) -> None:
    host = make(tmp_path / "host", {"secret": File("the host's")})
    name = seed.format(host=host)
    tree = make(tmp_path / "tree", {**OURS, "usr/lib/apt-ostree/seeds.d/base": File(f"lib\n{name}\n")})
    template = Path(os.path.normpath(f"{tree}/usr/share/factory/var/{name.lstrip('/')}"))
    template.parent.mkdir(parents=True, exist_ok=True)
    template.write_text("planted")
    before = read(host)
    state.populate(tree, tmp_path / "var")
    assert read(host) == before


def test_populate_copies_nothing_that_leaves_too_little_of_the_disk(tmp_path: Path) -> None:
    tree = make(
        tmp_path / "tree",
        {
            **OURS,
            "usr/lib/apt-ostree/seeds.d/base": File("lib\nlib/a\nlib/b\n"),
            "usr/share/factory/var/lib/a": File("a"),
            "usr/share/factory/var/lib/b": File(""),
        },
    )
    status = os.statvfs(tmp_path)
    os.truncate(tree / "usr/share/factory/var/lib/b", status.f_bavail * status.f_frsize)
    with pytest.raises(SpaceError, match="the base's /var"):
        state.populate(tree, tmp_path / "var")
    assert read(tmp_path / "var") == {}


@pytest.mark.parametrize("name", ["lib", "tmp", "log"])
def test_populate_changes_nothing_through_a_template_that_is_a_link(tmp_path: Path, name: str) -> None:
    host = make(tmp_path / "host", {})
    mode = host.stat().st_mode
    tree = make(
        tmp_path / "tree",
        {
            **OURS,
            "usr/lib/apt-ostree/seeds.d/base": File(f"{name}\n"),
            f"usr/share/factory/var/{name}": Link(str(host)),
        },
    )
    with pytest.raises(TreeError, match=f"/{name} is not a directory"):
        state.populate(tree, tmp_path / "var")
    assert (read(host), host.stat().st_mode) == ({}, mode)


@pytest.mark.parametrize("place", ["usr/lib/tmpfiles.d", "usr/lib/apt-ostree", "usr/share/factory"])
def test_nothing_is_written_through_a_link_of_the_tree(tmp_path: Path, place: str) -> None:
    host, tree = make(tmp_path / "host", {}), make(tmp_path / "tree", {})
    make(tree, {place: Link(str(host))})
    with pytest.raises(TreeError, match=f"/{place} is"):
        state.write(state.capture(make(tmp_path / "var", {"lib/a": Dir()}), {}), tmp_path / "var", tree, "base")
    assert read(host) == {}


def test_no_list_is_read_through_a_link(tmp_path: Path) -> None:
    host = make(tmp_path / "host", {"rules": File(f"d /var/lib/planted :0700 :{UID} :{GID}\n")})
    state.populate(make(tmp_path / "tree", {**OURS, RULES: Link(f"{host}/rules")}), tmp_path / "var")
    assert "lib/planted" not in read(tmp_path / "var")


@pytest.mark.parametrize("seed", ["run/x", "run/sub/x"])
def test_populate_copies_no_seed_through_a_link(tmp_path: Path, seed: str) -> None:
    host = make(tmp_path / "host", {})
    tree = make(
        tmp_path / "tree",
        {
            **OURS,
            "usr/lib/apt-ostree/seeds.d/base": File(f"{seed}\n"),
            f"usr/share/factory/var/{seed}": File("1"),
        },
    )
    state.populate(tree, make(tmp_path / "var", {"run": Link(str(host))}))
    assert read(host) == {}


def round_trip(tree: Tree) -> tuple[dict[str, Dir | File | Link], dict[str, Dir | File | Link]]:
    """A /var as made, and as the first boot of a tree that was captured from it has it."""
    with tempfile.TemporaryDirectory(prefix="apt-ostree-") as name:
        top = Path(name)
        var = make(top / "var", tree)
        # As the first boot has it, too: see populate.
        for standard in ("lib", "cache", "log", "tmp", "lib/systemd"):
            (var / standard).mkdir(exist_ok=True)
        (var / "tmp").chmod(0o1777)
        system = make(top / "tree", OURS)
        state.write(state.capture(var, {}), var, system, "base")
        state.populate(system, top / "again")
        links = {"lib/dpkg": Link("/usr/lib/sysimage/dpkg")}
        return {**read(var), **links}, read(top / "again")


MODES = st.sampled_from([0o755, 0o700, 0o2775, 0o1777])
NAME = st.sampled_from(
    ["a", "b", "a b", "%", "100%n", "n\nl", "q'\"", "\\", "\\040", "-", "ü", "lib", "a.conf", "\u2028"]
)
ENTRIES = st.one_of(
    MODES.map(Dir),
    st.builds(File, st.sampled_from(["", "x", "two\nlines"]), st.sampled_from([0o644, 0o600, 0o4755])),
    NAME.map(Link),
)
TOPS = st.sampled_from(["lib", "lib/misc", "cache", "spool", "srv", "lib/apt"])


def whole(found: list[tuple[str, list[str], Dir | File | Link]]) -> Tree:
    """A tree of the found entries: each below directories alone; the first one of a name stands."""
    tree: dict[str, Dir | File | Link] = {}
    for top, names, entry in found:
        path = Path(top, *names)
        parents = [str(parent) for parent in path.parents]
        if str(path) in tree or any(isinstance(tree.get(parent), File | Link) for parent in parents):
            continue
        if not isinstance(entry, Dir) and any(name.startswith(f"{path}/") for name in tree):
            continue
        tree[str(path)] = entry
    return tree


TREES = st.lists(st.tuples(TOPS, st.lists(NAME, min_size=1, max_size=3), ENTRIES), max_size=8).map(whole)


@settings(max_examples=25, deadline=None)
@given(TREES)
def test_the_first_boot_has_the_var_that_was_captured(tree: Tree) -> None:
    expected, found = round_trip(tree)
    assert found == expected


def test_a_layers_files_join_the_bases(tmp_path: Path) -> None:
    var = make(tmp_path / "var", {"lib/a/x": File("base")})
    tree = make(tmp_path / "tree", OURS)
    state.write(state.capture(var, {}), var, tree, "base")
    before = state.snapshot(var)
    make(var, {"lib/a/y": File("layer"), "lib/b": Dir(0o700)})
    state.write(state.capture(var, before), var, tree, "layer")
    state.populate(tree, tmp_path / "again")
    again = read(tmp_path / "again")
    assert (again["lib/a/x"], again["lib/a/y"], again["lib/b"]) == (File("base"), File("layer"), Dir(0o700))


def test_what_a_layer_took_away_does_not_come_back(tmp_path: Path) -> None:
    var = make(
        tmp_path / "var", {"lib/a/x": File("base"), "lib/a/y": File("base"), "lib/b": Dir(), "lib/c": Dir(0o700)}
    )
    base = make(tmp_path / "base", OURS)
    state.write(state.capture(var, {}), var, base, "base")
    state.forget(base, make(tmp_path / "top", {}), {"lib/a/y", "lib/b"})
    assert {name for name, kind in read(tmp_path / "top").items() if isinstance(kind, File)} == {
        "usr/lib/apt-ostree/seeds.d/base", "usr/lib/tmpfiles.d/00-apt-ostree-base.conf",
    }  # fmt: skip
    shutil.copytree(tmp_path / "top", base, dirs_exist_ok=True)
    state.populate(base, tmp_path / "again")
    again = read(tmp_path / "again")
    assert {"lib/a/x", "lib/c"} <= again.keys()
    assert not {"lib/a/y", "lib/b"} & again.keys()


def test_lists_that_have_nothing_of_it_stay_the_bases(tmp_path: Path) -> None:
    var = make(tmp_path / "var", {"lib/a/x": File("base")})
    base = make(tmp_path / "base", OURS)
    state.write(state.capture(var, {}), var, base, "base")
    state.forget(base, make(tmp_path / "top", {}), {"lib/other"})
    assert read(tmp_path / "top") == {}


def test_the_lists_of_a_base_that_is_a_layer_stay(tmp_path: Path) -> None:
    var = make(tmp_path / "var", {"lib/a/x": File("base")})
    base = make(tmp_path / "base", OURS)
    assert state.free_name(base) == "layer"
    state.write(state.capture(var, {}), var, base, "layer")
    assert state.free_name(base) == "layer1"


def test_populate_delivers_templates_before_the_lines_directories(tmp_path: Path) -> None:
    tree, var = tmp_path / "tree", tmp_path / "var"
    (tree / state.SYSIMAGE / "dpkg").mkdir(parents=True)
    (tree / state.FACTORY / "roothome").mkdir(parents=True, mode=0o700)
    (tree / state.FACTORY / "roothome/.profile").write_text("profile\n")
    for place, text in (
        (f"{state.SEEDS}/base", "roothome\nroothome/.profile\n"),
        (f"{state.TMPFILES}/00-apt-ostree-layer.conf", f"d /var/roothome/.cache :0700 :{os.getuid()} :{os.getgid()}\n"),
    ):
        (tree / place).parent.mkdir(parents=True, exist_ok=True)
        (tree / place).write_text(text)
    state.populate(tree, var)
    assert (var / "roothome/.profile").read_text() == "profile\n"
    assert (var / "roothome/.cache").is_dir()
