"""What make-identity does at a boot with what users of services left in directories of /etc that are theirs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from apt_ostree.tree import units

DATA = Path(units.__file__).parents[1] / "data"
PROGRAM, WALL = DATA / "make-identity", DATA / "without-links"

SECONDS = 20
"""More than this counts as held up; a run takes a tenth of a second."""


class Machine:
    """A machine whose package ``app`` has a file and a directory of its own in /etc, and ``other`` one key."""

    def __init__(self, top: Path) -> None:
        self.top = top
        for name in ("etc/app/keys", "etc/other", "var/lib", "lib/identity.d", "run"):
            (top / name).mkdir(parents=True)
        (top / "lib/identity.d/base").write_text("app:amd64 app/key\napp:amd64 app/keys/\nother:amd64 other/key\n")
        (top / "none").touch()
        program = top / "make-identity"
        program.write_text(PROGRAM.read_text().replace("lists=/usr/lib/apt-ostree", f"lists={top}/lib"))
        program.chmod(0o755)
        self.etc, self.kept = top / "etc", top / "var/lib/apt-ostree/identity"
        for name in ("app/key", "app/keys/one", "other/key"):
            (self.etc / name).write_text("first")

    def boot(self, *, walled: bool = True) -> str:
        """Run the program as at a boot, with the machine's /etc and /var, and return what it said. Without the wall
        nothing but the program's own care keeps it from following a link."""
        binds = {
            "/usr/sbin/make-ssl-cert": "none",
            "/usr/bin/ssh-keygen": "none",
            **{f"/{name}": name for name in ("var", "run", "etc")},
        }
        mounts = [f"[ ! -e {place} ] || mount --bind {self.top / name} {place}" for place, name in binds.items()]
        wall = f"{WALL} /etc /var -- " if walled else ""
        script = "\n".join(["set -e", "mount --make-rprivate /", *mounts, f"exec {wall}{self.top}/make-identity"])
        done = subprocess.run(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script],
            capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stderr

    def found(self) -> dict[str, str]:
        """The files that are kept."""
        return {
            os.fspath(place.relative_to(self.kept)): place.read_text()
            for place in self.kept.rglob("*")
            if place.is_file()
        }


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path)
    assert made.boot() == ""
    assert made.found() == dict.fromkeys(("app/key", "app/keys/one", "other/key"), "first")
    return made


def holes(place: Path) -> None:
    with place.open("w") as file:
        file.truncate(4 << 40)


def many(place: Path) -> None:
    place.mkdir()
    for number in range(1001):
        (place / str(number)).touch()


def pipe_inside(place: Path) -> None:
    place.mkdir()
    os.mkfifo(place / "pipe")


@pytest.mark.parametrize("name", ["app/key", "app/keys/one"])
@pytest.mark.parametrize("plant", [holes, os.mkfifo, many, pipe_inside])
def test_nothing_in_the_place_of_a_machines_own_file_holds_up_the_boot(
    machine: Machine, name: str, plant: Callable[[Path], None]
) -> None:
    """What was kept stays, and what others have is kept all the same."""
    (machine.etc / name).unlink()
    plant(machine.etc / name)
    (machine.etc / "other/key").write_text("second")
    for _ in range(2):
        assert machine.boot().startswith(f"<4>/etc/{name} is left alone: it is no file, or has more than")
    assert machine.found() == {**dict.fromkeys(("app/key", "app/keys/one"), "first"), "other/key": "second"}


def test_a_name_with_a_line_break_keeps_nothing_else(machine: Machine) -> None:
    (machine.etc / "shadow").write_text("secret")
    (machine.etc / "app/keys/x").write_text("mine")
    (machine.etc / "app/keys/x\nshadow").touch()
    (machine.etc / "app/keys/ blank ").write_text("mine")
    (machine.etc / "other/key").write_text("second")
    assert machine.boot() == ""
    assert machine.found() == {
        **dict.fromkeys(("app/key", "app/keys/one"), "first"),
        **dict.fromkeys(("app/keys/x", "app/keys/ blank "), "mine"),
        "other/key": "second",
    }


def test_what_cannot_be_kept_keeps_nothing_else_from_being_kept(machine: Machine) -> None:
    """What is kept in the place of a directory that is needed goes; something immutable is left out."""
    for place in (machine.kept / "app/keys/one", machine.kept / "app/key"):
        place.unlink()
    (machine.kept / "app/keys").rmdir()
    (machine.kept / "app/keys").touch()
    (machine.etc / "other/key").write_text("second")
    (machine.kept / "other/key").unlink()
    subprocess.run(["chattr", "+i", machine.kept / "other"], check=True)
    try:
        assert "other/key" in machine.boot()
    finally:
        subprocess.run(["chattr", "-i", machine.kept / "other"], check=True)
    assert machine.found() == dict.fromkeys(("app/key", "app/keys/one"), "first")
    assert machine.boot() == ""
    assert machine.found()["other/key"] == "second"


@pytest.mark.parametrize("name", ["app/key", "app/keys/one"])
def test_a_kept_file_comes_back(machine: Machine, name: str) -> None:
    (machine.etc / name).unlink()
    assert machine.boot() == ""
    assert (machine.etc / name).read_text() == "first"


@pytest.mark.parametrize("walled", [True, False])
def test_a_link_that_was_kept_is_not_followed(machine: Machine, walled: bool) -> None:
    """What one image lists whole may have had a link where the next lists what is in a directory."""
    lists = machine.top / "lib/identity.d/base"
    lists.write_text("app:amd64 app\n")
    target = machine.top / "var/lib/others"
    target.mkdir()
    keys = machine.etc / "app/keys"
    keys.rename(machine.top / "aside")
    keys.symlink_to("/var/lib/others")
    machine.boot(walled=walled)
    assert (machine.kept / "app/keys").is_symlink()
    keys.unlink()
    keys.mkdir()
    (keys / "own").write_text("mine")
    lists.write_text("app:amd64 app/key\napp:amd64 app/keys/\n")
    assert machine.boot(walled=walled) == ""
    assert os.listdir(target) == []
    assert machine.found()["app/keys/own"] == "mine"


def test_names_that_are_gone_are_kept_no_longer_where_there_are_others(machine: Machine) -> None:
    """Or a user who renames files before each boot would fill the disk. An empty directory gets all back."""
    keys = machine.etc / "app/keys"
    (keys / "one").rename(keys / "two")
    assert machine.boot() == ""
    assert machine.found() == dict.fromkeys(("app/key", "app/keys/two", "other/key"), "first")
    (keys / "two").unlink()
    assert machine.boot() == ""
    assert (keys / "two").read_text() == "first"


def test_no_path_leads_through_a_link(tmp_path: Path) -> None:
    """Of the directories that the wall has, with what is mounted below them; links are read and copied."""
    inner = tmp_path / "in/a b%d"
    inner.mkdir(parents=True)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("secret")
    script = f"""
        set -eu
        mount -t tmpfs tmpfs '{inner}'
        ln -s {outside} {tmp_path}/in/link
        ln -s {outside} '{inner}/link'
        ln -s {outside} {tmp_path}/beside
        exec {WALL} /var {tmp_path}/in -- sh -c "
            cat {tmp_path}/beside/file
            ! cat {tmp_path}/in/link/file 2>/dev/null
            ! cat '{inner}/link/file' 2>/dev/null
            cp -a '{inner}/link' {tmp_path}/in/copy
            readlink {tmp_path}/in/copy
        "
    """
    done = subprocess.run(["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == f"secret{outside}\n"


def test_what_is_kept_of_a_directory_has_a_size(machine: Machine) -> None:
    for number in range(6):
        with (machine.etc / f"app/keys/{number}").open("w") as file:
            file.truncate(14 << 20)
    assert machine.boot().count("with what is beside it, it has more than") == 2
    assert len(machine.found()) == 7
