"""Users and groups: the numbers stay, an administrator's entries stay, and the image's arrive."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from apt_ostree import support
from tests.archive import Deb
from tests.integration.system import System, output

SCRIPT = Path(support.__file__).parent / "data/settle-accounts"

IMAGE = {
    "passwd": "root:x:0:0:root:/root:/bin/sh\nsvc:x:101:102::/var/lib/svc:/bin/false\n",
    "group": "root:x:0:\nadm:x:4:svc\ndocker:x:101:\nsvc:x:102:\n",
    "shadow": "root:*:1::::::\nsvc:!:20000::::::\n",
    "gshadow": "root:*::\nadm:*::svc\ndocker:!::\nsvc:!::\n",
    "subuid": "",
    "subgid": "svc:100000:65536\n",
}
HERE = {
    "passwd": "root:x:0:0:Me:/root:/bin/bash\nalice:x:1000:1000::/home/alice:/bin/bash\n",
    "group": "root:x:0:\nadm:x:4:alice\nalice:x:1000:\n",
    "shadow": "root:$y$hash:1::::::\nalice:$y$hers:1::::::\n",
    "gshadow": "root:*::\nadm:*::alice\nalice:!::\n",
    "subuid": "alice:100000:65536\n",
    "subgid": "alice:165536:65536\n",
}


class Machine:
    """A root directory with an image's /usr/etc and a /etc that somebody edited."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.etc, self.image, self.var = root / "etc", root / "usr/etc", root / "var"
        for place in (self.etc, self.image, self.var):
            place.mkdir(parents=True)
        self.write(self.image, IMAGE)
        self.write(self.etc, HERE)

    def write(self, place: Path, texts: dict[str, str]) -> None:
        for name, text in texts.items():
            (place / name).write_text(text)
            (place / name).chmod(0o640 if "shadow" in name else 0o644)

    def boot(self, *words: str) -> str:
        """What the unit tells the journal."""
        done = subprocess.run(["sh", SCRIPT, *words, self.root], check=True, capture_output=True, text=True)
        assert done.stdout == ""
        return done.stderr

    def text(self, name: str) -> str:
        return (self.etc / name).read_text()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "root")


def test_missing_entries_and_members_arrive_beside_the_administrators(machine: Machine) -> None:
    assert machine.boot() == ""
    assert machine.text("passwd") == HERE["passwd"] + IMAGE["passwd"].splitlines(True)[1]
    assert machine.text("group") == ("root:x:0:\nadm:x:4:alice,svc\nalice:x:1000:\ndocker:x:101:\nsvc:x:102:\n")
    assert machine.text("shadow") == HERE["shadow"] + "svc:!:20000::::::\n"
    assert machine.text("gshadow") == "root:*::\nadm:*::alice,svc\nalice:!::\ndocker:!::\nsvc:!::\n"
    assert machine.text("subuid") == HERE["subuid"]
    assert machine.text("subgid") == HERE["subgid"] + IMAGE["subgid"]


def test_modes_stay_and_no_copy_is_left(machine: Machine) -> None:
    machine.boot()
    assert stat.S_IMODE((machine.etc / "shadow").stat().st_mode) == 0o640
    assert sorted(os.listdir(machine.etc)) == sorted([*HERE, ".apt-ostree-accounts"])


def test_what_an_administrator_removes_later_stays_removed(machine: Machine) -> None:
    machine.boot()
    (machine.etc / "group").write_text(machine.text("group").replace("adm:x:4:alice,svc", "adm:x:4:alice"))
    before = machine.text("group")
    machine.boot()
    assert machine.text("group") == before


def test_the_next_image_is_settled_again(machine: Machine) -> None:
    machine.boot()
    with (machine.image / "passwd").open("a") as file:
        file.write("later:x:103:102::/:/bin/false\n")
    machine.boot()
    assert machine.text("passwd").endswith("\nlater:x:103:102::/:/bin/false\n")


def test_a_number_is_not_given_twice(machine: Machine) -> None:
    machine.write(machine.etc, {"passwd": HERE["passwd"] + "mine:x:101:1000::/:/bin/sh\n"})
    told = machine.boot()
    assert "user svc of the image is missing: its id 101 is mine's here" in told
    assert "svc" not in machine.text("passwd") + machine.text("shadow")


def test_a_name_with_another_number_is_told(machine: Machine) -> None:
    machine.write(machine.etc, {"passwd": HERE["passwd"] + "svc:x:105:102::/:/bin/sh\n"})
    assert "svc in passwd: id 105 here, 101 in the image" in machine.boot()
    assert machine.text("passwd").count("svc:") == 1


def test_an_unedited_etc_stays_byte_for_byte(machine: Machine) -> None:
    machine.write(machine.etc, IMAGE)
    before = {name: (machine.etc / name).stat().st_ino for name in IMAGE}
    assert machine.boot() == ""
    assert {name: (machine.etc / name).stat().st_ino for name in IMAGE} == before


def test_nis_lines_stay_the_last(machine: Machine) -> None:
    machine.write(machine.etc, {"passwd": HERE["passwd"] + "+::::::\n"})
    machine.boot()
    assert machine.text("passwd").splitlines()[-2:] == ["svc:x:101:102::/var/lib/svc:/bin/false", "+::::::"]


def test_a_link_in_etc_is_left_alone(machine: Machine, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.copy(machine.etc / "passwd", elsewhere)
    (machine.etc / "passwd").unlink()
    (machine.etc / "passwd").symlink_to(elsewhere)
    assert "no regular file" in machine.boot()
    assert elsewhere.read_text() == HERE["passwd"]


def test_a_gshadow_that_says_more_than_group_is_cut(machine: Machine) -> None:
    """Where group was edited and gshadow was not; systemd-sysusers(8) would refuse both."""
    machine.write(machine.etc, {"gshadow": IMAGE["gshadow"] + "gone:!::\n"})
    machine.boot()
    assert machine.text("gshadow") == "root:*::\nadm:*::svc\ndocker:!::\nsvc:!::\n"


def test_the_lists_are_settled_before_var_is_there(machine: Machine) -> None:
    machine.var.rmdir()
    machine.boot("--lists")
    assert machine.text("passwd") == HERE["passwd"] + IMAGE["passwd"].splitlines(True)[1]
    assert not machine.var.exists()


def test_the_machine_remembers_numbers_of_names_that_are_gone(machine: Machine) -> None:
    machine.boot()
    record = machine.var / "lib/apt-ostree/accounts"
    assert "u svc 101\n" in record.read_text()
    assert "alice" not in record.read_text()
    machine.write(machine.etc, HERE)
    machine.write(machine.image, HERE)
    machine.boot()
    assert "u svc 101\n" in record.read_text()


def test_files_in_var_follow_a_new_number_even_where_two_change_places(machine: Machine) -> None:
    with (machine.image / "passwd").open("a") as file:
        file.write("two:x:103:102::/:/bin/false\n")
    machine.boot()
    mine, two = machine.var / "mine", machine.var / "two"
    for place, number in ((mine, 101), (two, 103)):
        place.write_text("")
        os.chown(place, number, 102)
    passwd = machine.text("passwd").replace("svc:x:101:", "svc:x:0103:").replace("two:x:103:", "two:x:101:")
    machine.write(machine.etc, {"passwd": passwd.replace(":0103:", ":103:")})
    assert "svc had the id 101 and has 103 now" in machine.boot()
    assert (mine.stat().st_uid, two.stat().st_uid, mine.stat().st_gid) == (103, 101, 102)
    assert machine.boot() == ""
    assert (mine.stat().st_uid, two.stat().st_uid) == (103, 101)


def number(sysroot: System, name: str, of: str = "usr/etc/passwd") -> int:
    lines = (sysroot.deployment() / of).read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{name}:")).split(":")[2])


def owned(sysroot: System, name: str) -> tuple[int, int]:
    """Owner and group of the fixture's state, where the layer keeps it."""
    status = (sysroot.deployment() / "usr/share/factory/var/lib" / name / "state").stat()
    return status.st_uid, status.st_gid


def test_a_user_keeps_its_number_whatever_else_is_layered(sysroot: System) -> None:
    sysroot.install("user-maker")
    first = number(sysroot, "user-maker")
    # Configured before it, and picks from the same end.
    sysroot.install("a-user-maker")
    assert number(sysroot, "user-maker") == first
    assert number(sysroot, "a-user-maker") != first
    assert owned(sysroot, "user-maker") == (first, number(sysroot, "user-maker", "usr/etc/group"))
    sysroot.run("uninstall", "a-user-maker")
    assert number(sysroot, "user-maker") == first


def test_a_number_that_the_machine_uses_is_not_taken(sysroot: System) -> None:
    sysroot.install("greeter")
    etc = sysroot.deployment() / "etc"
    for name, line in (("passwd", "mine:x:999:999::/:/bin/sh\n"), ("group", "mine:x:999:\n")):
        with (etc / name).open("a") as file:
            file.write(line)
    sysroot.install("user-maker")
    assert number(sysroot, "user-maker") == 998
    assert owned(sysroot, "user-maker") == (998, 998)
    # The edited file won the merge; the unit brings the package's user in.
    assert "user-maker" not in (sysroot.deployment() / "etc/passwd").read_text()
    booted(sysroot)
    assert number(sysroot, "user-maker", "etc/passwd") == 998
    assert number(sysroot, "mine", "etc/passwd") == 999


def test_a_name_that_the_machine_has_keeps_the_machine_s_number(sysroot: System) -> None:
    sysroot.install("greeter")
    etc = sysroot.deployment() / "etc"
    for name, line in (("passwd", "user-maker:x:444:445::/:/bin/sh\n"), ("group", "user-maker:x:445:\n")):
        with (etc / name).open("a") as file:
            file.write(line)
    sysroot.install("user-maker")
    assert owned(sysroot, "user-maker") == (444, 445)
    lines = (sysroot.deployment() / "usr/lib/sysusers.d/apt-ostree-layer.conf").read_text()
    assert "u user-maker 444:445 " in lines


def gitty(place: Path) -> Path:
    """A package whose user is not a system's: useradd(8) gives it a person's number, and subordinate ids."""
    deb = Deb(
        "gitty",
        control="Depends: passwd\n",
        files={"/usr/share/gitty/file": ""},
        scripts={"postinst": "getent passwd gitty || useradd -F gitty\nchown gitty:gitty /usr/share/gitty/file\n"},
    )
    return deb.build(place)


def add_lines(etc: Path, **lines: str) -> None:
    """What an administrator's useradd(8) does."""
    for name, line in lines.items():
        with (etc / name).open("a") as file:
            file.write(f"{line}\n")


def test_a_plain_useradd_of_a_package_takes_nothing_of_a_person(sysroot: System, tmp_path: Path) -> None:
    sysroot.install("greeter")
    add_lines(
        sysroot.deployment() / "etc",
        passwd="alice:x:1000:1000::/home/alice:/bin/bash",
        group="alice:x:1000:",
        subuid="alice:100000:65536",
        subgid="alice:100000:65536",
    )
    deb = gitty(tmp_path)
    for _ in range(2):
        sysroot.run("install", deb)
        assert number(sysroot, "gitty") == number(sysroot, "gitty", "usr/etc/group") == 1001
        status = (sysroot.deployment() / "usr/share/gitty/file").stat()
        assert (status.st_uid, status.st_gid) == (1001, 1001)
        booted(sysroot)
        etc = sysroot.deployment() / "etc"
        assert number(sysroot, "alice", "etc/passwd") == 1000
        assert number(sysroot, "gitty", "etc/passwd") == 1001
        for name in ("subuid", "subgid"):
            assert (etc / name).read_text() == "alice:100000:65536\ngitty:165536:65536\n"
        # Made anew, it keeps them.
        sysroot.run("uninstall", "gitty")
        booted(sysroot)


def test_the_number_of_a_removed_package_s_user_is_not_given_to_another(sysroot: System) -> None:
    sysroot.install("user-maker")
    first = number(sysroot, "user-maker")
    booted(sysroot)
    sysroot.run("uninstall", "--all")
    sysroot.run("cleanup", "-r", "-p")
    assert len(sysroot.deployments()) == 1
    sysroot.install("a-user-maker")
    assert number(sysroot, "a-user-maker") != first
    sysroot.install("user-maker")
    assert number(sysroot, "user-maker") == first


def booted(sysroot: System) -> None:
    """Run the units' programs as the boot of what boots next would: /var is the stateroot's."""
    deployment = sysroot.deployment()
    place = sysroot.path / "booted"
    place.mkdir()
    try:
        (place / "usr").symlink_to(deployment / "usr")
        (place / "etc").symlink_to(deployment / "etc")
        (place / "var").symlink_to(sysroot.var)
        output("sh", deployment / "usr/lib/apt-ostree/settle-accounts", place)
    finally:
        shutil.rmtree(place)
