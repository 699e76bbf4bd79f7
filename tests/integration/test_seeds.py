"""What seed-var makes of an image's lists and templates, version after version, whatever the owner did meanwhile."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import pytest

from apt_ostree.host.door import Tree
from apt_ostree.tree import follow, state, units

OWNER = 101
ACL = "system.posix_acl_access"
# setfacl -m u:101:rw (acl(5)): a version, then tag, permissions and id of each entry.
ACL_OF_OWNER = bytes.fromhex(
    "02000000 01000600ffffffff 0200060065000000 04000400ffffffff 10000600ffffffff 20000000ffffffff"
)


class Machine:
    """A root whose /usr is exchanged, and whose /var stays."""

    def __init__(self, place: Path) -> None:
        self.place, self.root, self.var = place, place / "root", place / "root/var"
        self.var.mkdir(parents=True)

    def image(
        self,
        files: Mapping[str, str],
        more: Callable[[Path], object] = lambda var: None,
        follows: Collection[str] = (),
    ) -> None:
        """Make an image whose /var is ``files`` (a name with a slash at its end is a directory) and what ``more``
        makes of it; ``follows`` are those that follow the image."""
        made = self.place / "made"
        shutil.rmtree(made, ignore_errors=True)
        shutil.rmtree(self.root / "usr", ignore_errors=True)
        made.mkdir()
        for name, text in files.items():
            (made / name).parent.mkdir(parents=True, exist_ok=True)
            if name.endswith("/"):
                (made / name).mkdir(exist_ok=True)
            else:
                (made / name).write_text(text)
        more(made)
        (self.root / state.SYSIMAGE / "dpkg").mkdir(parents=True)
        captured = state.capture(made, {})
        state.write(captured, made, self.root, "base")
        follow.write(captured, Tree(made), Tree(self.root), "base", follows)
        units.write(self.root)

    def boot(self, status: int = 0) -> str:
        """Run the program; returns what it said."""
        program = self.root / "usr/lib/apt-ostree/seed-var"
        done = subprocess.run([program, self.root], check=False, capture_output=True, text=True)
        assert done.returncode == status, done.stderr
        return done.stderr

    def has(self, name: str) -> bool:
        return os.path.lexists(self.var / name)

    def read(self, name: str) -> str:
        return (self.var / name).read_text()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_all_arrives_with_owner_mode_and_xattrs(machine: Machine) -> None:
    def more(var: Path) -> None:
        for name in ("lib/foo", "lib/foo/file"):
            os.chown(var / name, OWNER, OWNER)
        (var / "lib/foo").chmod(0o2750)
        (var / "lib/foo/file").chmod(0o4640)
        os.setxattr(var / "lib/foo", "user.of-a-directory", b"1")
        os.setxattr(var / "lib/foo/file", ACL, ACL_OF_OWNER)
        (var / "lib/foo/link").symlink_to("nowhere")
        os.lchown(var / "lib/foo/link", OWNER, OWNER)

    machine.image({"lib/foo/file": "1", "lib/empty/": "", "spool/a b%\n'/\\x\n": "odd"}, more)
    assert machine.boot() == ""
    place = machine.var / "lib/foo"
    assert stat.S_IMODE(place.stat().st_mode) == 0o2750
    assert stat.S_IMODE((place / "file").stat().st_mode) == 0o4660
    assert os.getxattr(place, "user.of-a-directory") == b"1"
    assert os.getxattr(place / "file", ACL) == ACL_OF_OWNER
    assert [(place / name).lstat().st_uid for name in ("", "file", "link")] == [OWNER, OWNER, OWNER]
    assert os.readlink(place / "link") == "nowhere"
    assert machine.read("spool/a b%\n'/\\x\n") == "odd"
    assert machine.has("lib/empty")


def test_equal_files_of_the_image_are_two_files_of_the_machine(machine: Machine) -> None:
    """OSTree deploys them as one file by two names."""
    machine.image({"www/app/index": "1", "www/app/style": "1"})
    templates = machine.root / state.FACTORY / "www/app"
    (templates / "style").unlink()
    (templates / "style").hardlink_to(templates / "index")
    assert machine.boot() == ""
    (machine.var / "www/app/style").write_text("changed here")
    assert machine.read("www/app/index") == "1"


def test_a_build_sees_the_var_that_the_first_boot_has(machine: Machine, tmp_path: Path) -> None:
    def more(var: Path) -> None:
        os.chown(var / "lib/foo", OWNER, OWNER)
        os.setxattr(var / "lib/foo/file", ACL, ACL_OF_OWNER)
        os.setxattr(var / "lib/empty", "user.own", b"1")

    machine.image({"lib/foo/file": "1", "lib/foo/sub/x": "", "lib/empty/": "", "log/foo/log": ""}, more)
    machine.boot()
    state.populate(machine.root, tmp_path / "build")

    def found(var: Path) -> dict[str, tuple[object, ...]]:
        return {name: (*facts[:4], facts[5]) for name, facts in state.snapshot(var).items()}

    build = found(tmp_path / "build")
    # The rest is systemd-tmpfiles'.
    assert {name: facts for name, facts in build.items() if name in found(machine.var)} == found(machine.var)


def test_a_layers_word_on_a_directory_of_the_base_reaches_the_first_boot(machine: Machine) -> None:
    machine.image({"lib/foo/file": "1"})
    var, top = machine.place / "layer-var", machine.place / "layer"
    top.mkdir()
    state.populate(machine.root, var)
    before = state.snapshot(var)
    os.chown(var / "lib/foo", OWNER, OWNER)
    (var / "lib/foo").chmod(0o700)
    os.setxattr(var / "lib/foo/file", ACL, ACL_OF_OWNER)
    captured = state.capture(var, before)
    assert captured.paths == ("lib", "lib/foo", "lib/foo/file")
    state.write(captured, var, top, "layer")
    subprocess.run(["cp", "-aT", top, machine.root], check=True)
    machine.boot()
    place = machine.var / "lib/foo"
    assert (stat.S_IMODE(place.stat().st_mode), place.stat().st_uid) == (0o700, OWNER)
    assert os.getxattr(place / "file", ACL) == ACL_OF_OWNER


@pytest.mark.parametrize("first", ["lib/foo/sub/y", "lib/foo/"])
def test_a_later_versions_file_arrives_in_an_earlier_ones_directory(machine: Machine, first: str) -> None:
    machine.image({first: "1"})
    machine.boot()
    machine.image({first: "1", "lib/foo/x": "2"})
    machine.boot()
    assert machine.read("lib/foo/x") == "2"


def test_a_later_versions_file_arrives_where_a_service_made_the_directory(machine: Machine) -> None:
    machine.image({"lib/other/x": ""})
    machine.boot()
    (machine.var / "lib/foo").mkdir(0o700)
    machine.image({"lib/foo/x": "2"})
    machine.boot()
    assert machine.read("lib/foo/x") == "2"
    assert stat.S_IMODE((machine.var / "lib/foo").stat().st_mode) == 0o700


def test_what_was_deleted_stays_away_through_rollbacks(machine: Machine) -> None:
    versions: list[dict[str, str]] = [{"lib/foo/a": "1"}, {"lib/foo/a": "2", "lib/foo/b": "2"}]
    for version in versions:
        machine.image(version)
        machine.boot()
    (machine.var / "lib/foo/b").unlink()
    for version in (*versions, {"lib/foo/b": "3", "lib/foo/c": "3"}):
        machine.image(version)
        machine.boot()
    assert not machine.has("lib/foo/b")
    assert machine.read("lib/foo/a") == "1"
    assert machine.read("lib/foo/c") == "3"


def test_a_deleted_directory_stays_away_whatever_is_beside_it_later(machine: Machine) -> None:
    machine.image({"lib/foo/a": "1", "lib/foo/sub/b": "1"})
    machine.boot()
    shutil.rmtree(machine.var / "lib/foo/sub")
    machine.image({"lib/foo/sub/b": "2", "lib/foo/sub/new": "2"})
    machine.boot()
    assert not machine.has("lib/foo/sub")
    assert machine.boot() == ""


def test_state_comes_back_when_its_lines_are_removed_from_the_record(machine: Machine) -> None:
    machine.image({"lib/foo/a": "1", "lib/foo/sub/b": "1", "lib/food": ""})
    machine.boot()
    shutil.rmtree(machine.var / "lib/foo")
    (machine.var / "lib/food").unlink()
    machine.boot()
    assert not machine.has("lib/foo")
    record = machine.var / "lib/apt-ostree/delivered"
    subprocess.run(["sed", "-i", r"\,^lib/foo\(/\|$\),d", record], check=True)
    machine.boot()
    assert machine.read("lib/foo/sub/b") == "1"
    assert not machine.has("lib/food")
    assert record.read_text().split() == ["lib", "lib/food", "lib/foo", "lib/foo/a", "lib/foo/sub", "lib/foo/sub/b"]


@pytest.mark.parametrize("way", ["link", "file"])
def test_what_is_in_the_place_of_a_directory_hinders_only_what_is_below_it(
    machine: Machine, way: str, tmp_path: Path
) -> None:
    machine.image({"lib/foo/": ""})
    machine.boot()
    (machine.var / "lib/foo").rmdir()
    outside = tmp_path / "outside"
    outside.mkdir()
    if way == "link":
        (machine.var / "lib/foo").symlink_to(outside)
    else:
        (machine.var / "lib/foo").write_text("")
    machine.image({"lib/foo/sub/x": "", "lib/foo/y": "", "lib/goo/z": "", "lib/foo-2/z": ""})
    told = "".join(
        f"<4>/var/lib/foo/{name} is left alone: there is a link or a file in the place of a directory above it\n"
        for name in ("sub", "y")
    )
    assert machine.boot() == told
    assert machine.has("lib/goo/z")
    assert machine.has("lib/foo-2/z")
    assert list(outside.iterdir()) == []
    # Told at each boot, until it is out of the way.
    assert machine.boot() == told
    (machine.var / "lib/foo").unlink()
    (machine.var / "lib/foo").mkdir()
    assert machine.boot() == ""
    assert machine.has("lib/foo/sub/x")


def test_one_that_cannot_be_made_hinders_no_other(machine: Machine) -> None:
    files = {"lib/foo/a": "", "lib/foo/n\nl": "", "lib/goo/x": ""}
    machine.image(files)
    template = machine.root / state.FACTORY / "lib/foo/n\nl"
    machine.boot()
    machine.image({**files, "lib/foo/new\nline": "", "lib/hoo/x": ""})
    template = machine.root / state.FACTORY / "lib/foo/new\nline"
    template.rename(machine.place / "away")
    assert "/var/lib/foo/new\nline could not be made" in machine.boot(status=1)
    assert machine.has("lib/hoo/x")
    (machine.place / "away").rename(template)
    assert machine.boot() == ""
    assert machine.has("lib/foo/new\nline")
    assert not [path for path in machine.var.rglob("*") if ".apt-ostree-" in path.name]


def test_a_name_as_long_as_a_name_can_be_arrives(machine: Machine) -> None:
    machine.image({f"lib/foo/{'n' * 255}": "1"})
    machine.boot()
    assert machine.has(f"lib/foo/{'n' * 255}")


def test_state_from_before_is_joined_and_not_overwritten(machine: Machine) -> None:
    (machine.var / "lib/foo").mkdir(parents=True)
    (machine.var / "lib/foo/a").write_text("from a backup")
    machine.image({"lib/foo/a": "1", "lib/foo/b": "1"})
    machine.boot()
    assert (machine.read("lib/foo/a"), machine.read("lib/foo/b")) == ("from a backup", "1")
