"""The boot's program for accounts: what an image changed arrives in /etc, and files in /var stay their owner's."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from apt_ostree.tree import units

SCRIPT = Path(units.__file__).parents[1] / "data/settle-accounts"

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

    def boot(self, *words: str, tools: Path | None = None) -> str:
        """What the unit tells the journal. ``tools`` come before the system's own."""
        path = f"{tools}:{os.environ['PATH']}" if tools else os.environ["PATH"]
        done = subprocess.run(
            ["sh", SCRIPT, *words, self.root],
            check=tools is None,
            capture_output=True,
            text=True,
            env={"PATH": path},
        )
        assert done.stdout == ""
        return done.stderr

    def edit(self, place: Path, name: str, old: str, new: str) -> None:
        """Change a list, where that is possible."""
        text = (place / name).read_text()
        assert old in text
        self.write(place, {name: text.replace(old, new)})

    def release(self, **texts: str) -> None:
        """Another image comes: what nobody edited here is as in the image, as OSTree merges /etc."""
        for name, text in texts.items():
            if self.text(name) == (self.image / name).read_text():
                self.write(self.etc, {name: text})
        self.write(self.image, texts)

    def keep(self, copy: Path) -> None:
        """Keep a deployment, with an /etc of its own."""
        for place, name in ((self.etc, "etc"), (self.image, "image")):
            shutil.copytree(place, copy / name)

    def switch_to(self, copy: Path) -> None:
        for place, name in ((self.etc, "etc"), (self.image, "image")):
            shutil.rmtree(place)
            shutil.copytree(copy / name, place)

    def file(self, name: str, uid: int, gid: int = 0, mode: int = 0o644) -> Path:
        """A file in /var."""
        path = self.var / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
        os.chown(path, uid, gid)
        path.chmod(mode)
        return path

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
    assert sorted(os.listdir(machine.etc)) == sorted([*HERE, ".apt-ostree-image"])


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
    assert "user svc of the image cannot have its id 101, which is mine's here" in told
    assert "svc" not in machine.text("passwd") + machine.text("shadow")


def test_a_name_with_another_number_is_told(machine: Machine) -> None:
    machine.write(machine.etc, {"passwd": HERE["passwd"] + "svc:x:105:102::/:/bin/sh\n"})
    assert "user svc has the id 105 here, 101 in the image" in machine.boot()
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


TWO = {
    "passwd": IMAGE["passwd"].replace("svc:x:101:102", "new:x:101:101::/:/bin/false\nsvc:x:102:103"),
    "group": IMAGE["group"].replace("docker:x:101:\nsvc:x:102:", "new:x:101:\ndocker:x:102:\nsvc:x:103:"),
    "shadow": IMAGE["shadow"] + "new:!:20000::::::\n",
    "gshadow": IMAGE["gshadow"] + "new:!::\n",
}
"""The next image: its first user and group have the numbers that others had."""


@pytest.fixture(params=["edited", "unedited"])
def either(machine: Machine, request: pytest.FixtureRequest) -> Machine:
    """A machine that was booted, and whose lists somebody edited or nobody."""
    if request.param == "unedited":
        machine.write(machine.etc, IMAGE)
    machine.boot()
    return machine


def numbers(machine: Machine, name: str) -> dict[str, int]:
    lines = [line.split(":") for line in machine.text(name).splitlines()]
    return {words[0]: int(words[2]) for words in lines}


def owner(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_uid, status.st_gid


def test_an_image_that_gives_a_number_to_another_is_followed(either: Machine) -> None:
    state = either.file("lib/svc/state", 101, 102)
    either.release(**TWO)
    assert "svc has the id 102 now" in either.boot()
    assert numbers(either, "passwd").items() >= {"new": 101, "svc": 102}.items()
    assert numbers(either, "group").items() >= {"new": 101, "docker": 102, "svc": 103}.items()
    assert "svc:x:102:103::" in either.text("passwd")
    assert "new:" in either.text("shadow") and "new:" in either.text("gshadow")
    assert owner(state) == (102, 103)
    assert either.boot() == ""
    assert owner(state) == (102, 103)


def test_what_was_changed_of_an_account_stays_and_the_rest_follows(machine: Machine) -> None:
    machine.boot()
    machine.edit(machine.etc, "passwd", "/var/lib/svc:/bin/false", "/var/lib/svc:/bin/bash")
    machine.release(**{**TWO, "passwd": TWO["passwd"].replace("/var/lib/svc", "/srv/svc")})
    machine.boot()
    assert "svc:x:102:103::/srv/svc:/bin/bash\n" in machine.text("passwd")


def test_an_account_of_the_machine_is_not_the_image_s_for_its_name(machine: Machine) -> None:
    machine.boot()
    mine = "later:x:500:1000::/:/bin/sh\n"
    machine.write(machine.etc, {"passwd": machine.text("passwd") + mine})
    machine.release(passwd=IMAGE["passwd"] + "later:x:103:102:The image's:/srv:/bin/false\n")
    assert "user later has the id 500 here, 103 in the image" in machine.boot()
    assert machine.text("passwd").endswith(mine)


def test_a_password_of_the_machine_stays(machine: Machine) -> None:
    machine.boot()
    machine.edit(machine.etc, "shadow", "svc:!:20000", "svc:$y$mine:20500")
    machine.release(shadow=IMAGE["shadow"].replace("svc:!:20000", "svc:*:20600"))
    machine.boot()
    assert "svc:$y$mine:20500:" in machine.text("shadow")


def test_a_person_of_the_machine_stays_in_a_group_whose_number_changed(machine: Machine) -> None:
    machine.boot()
    machine.edit(machine.etc, "group", "docker:x:101:", "docker:x:101:alice")
    machine.edit(machine.etc, "passwd", "alice:x:1000:1000", "alice:x:1000:101")
    machine.release(**TWO)
    machine.boot()
    assert "docker:x:102:alice\n" in machine.text("group")
    assert "alice:x:1000:102:" in machine.text("passwd")


DEBIAN = {
    "passwd": IMAGE["passwd"] + "debian:x:1000:1000::/home/debian:/bin/bash\n",
    "group": IMAGE["group"] + "sudo:x:27:debian\ndebian:x:1000:\n",
    "shadow": IMAGE["shadow"] + "debian:$y$known:1::::::\n",
    "gshadow": IMAGE["gshadow"] + "sudo:*::debian\ndebian:!::\n",
    "subuid": "debian:100000:65536\n",
    "subgid": "debian:100000:65536\n",
}
"""An image with a login."""


def test_a_deleted_login_does_not_return_with_the_next_image(machine: Machine) -> None:
    for place in (machine.image, machine.etc):
        machine.write(place, DEBIAN)
    machine.boot()
    mine = {name: text.replace("sudo:x:27:debian", "sudo:x:27:").replace("sudo:*::debian", "sudo:*::")
            for name, text in DEBIAN.items()}  # fmt: skip
    mine = {
        name: "".join(line for line in text.splitlines(True) if not line.startswith("debian:"))
        for name, text in mine.items()
    }
    machine.write(machine.etc, mine)
    machine.release(
        passwd=DEBIAN["passwd"] + "later:x:103:102::/:/bin/false\n",
        group=DEBIAN["group"].replace("adm:x:4:svc", "adm:x:4:svc,debian").replace("27:debian", "27:debian,later"),
        shadow=DEBIAN["shadow"].replace("$known", "$other") + "later:!:1::::::\n",
    )
    machine.boot()
    assert "later:x:103:" in machine.text("passwd") and "later:" in machine.text("shadow")
    assert "sudo:x:27:later\n" in machine.text("group") and "adm:x:4:svc\n" in machine.text("group")
    assert all("debian" not in machine.text(name) for name in DEBIAN)


def test_a_login_and_its_rights_stay_where_an_image_drops_them(machine: Machine) -> None:
    for place in (machine.image, machine.etc):
        machine.write(place, DEBIAN)
    machine.boot()
    for name in DEBIAN:
        with (machine.etc / name).open("a") as file:
            file.write(HERE[name].splitlines(True)[-1])
    before = {name: machine.text(name) for name in ("passwd", "group", "shadow", "subuid")}
    machine.release(**IMAGE)
    machine.boot()
    assert {name: machine.text(name) for name in before} == before


def test_an_account_that_leaves_the_image_goes_with_all_its_lines(machine: Machine) -> None:
    machine.boot()
    gone = {
        name: "".join(line for line in text.splitlines(True) if not line.startswith("svc:")).replace("svc", "")
        for name, text in IMAGE.items()
    }
    machine.release(**gone)
    assert machine.boot() == ""
    assert [name for name in IMAGE if "svc" in machine.text(name)] == []


def test_an_account_that_leaves_the_image_stays_where_somebody_changed_it(machine: Machine) -> None:
    machine.boot()
    machine.edit(machine.etc, "passwd", "svc:/bin/false", "svc:/bin/bash")
    machine.edit(machine.etc, "group", "docker:x:101:", "docker:x:101:alice")
    before = {name: machine.text(name) for name in ("passwd", "shadow")}
    machine.release(passwd="root:x:0:0:root:/root:/bin/sh\n", group="root:x:0:\n", shadow="root:*:1::::::\n")
    machine.boot()
    assert {name: machine.text(name) for name in before} == before
    # With the group that is its own.
    assert numbers(machine, "group") == {"root": 0, "adm": 4, "alice": 1000, "docker": 101, "svc": 102}


def test_who_cannot_have_a_new_number_keeps_the_old_one(machine: Machine) -> None:
    machine.boot()
    machine.edit(machine.etc, "passwd", "alice:x", "mine:x:102:1000::/:/bin/sh\nalice:x")
    machine.release(**TWO)
    told = machine.boot()
    assert "user svc has the id 101 here, 102 in the image" in told
    assert "user new of the image cannot have its id 101, which is svc's here" in told
    assert numbers(machine, "passwd").items() >= {"mine": 102, "svc": 101}.items()


def test_a_user_does_not_come_without_its_group(machine: Machine) -> None:
    """Else an administrator's group of that number would be its own."""
    machine.write(machine.etc, {"group": HERE["group"] + "admins:x:102:alice\n"})
    told = machine.boot()
    assert "group svc of the image cannot have its id 102, which is admins's here" in told
    assert "user svc of the image is missing, as is its group svc" in told
    assert "svc" not in machine.text("passwd") + machine.text("shadow") + machine.text("subgid")


def test_a_group_that_is_here_with_another_number_is_its_user_s(machine: Machine) -> None:
    machine.write(machine.etc, {"group": HERE["group"] + "svc:x:300:\n"})
    machine.boot()
    assert "svc:x:101:300:" in machine.text("passwd")


def test_ranges_of_subordinate_ids_do_not_overlap(machine: Machine) -> None:
    machine.write(machine.etc, {"subgid": "alice:165535:65536\n"})
    assert "svc gets no range svc:100000:65536 in subgid: alice:165535:65536 overlaps" in machine.boot()
    assert machine.text("subgid") == "alice:165535:65536\n"


def tool(place: Path, name: str, script: str) -> Path:
    """A directory with a program that stands before the system's of that name, which $real is."""
    place.mkdir()
    (place / name).write_text(f"#!/bin/sh\nreal={shutil.which(name)}\n{script}")
    (place / name).chmod(0o755)
    return place


def test_a_list_that_cannot_be_written_keeps_no_other_back(machine: Machine, tmp_path: Path) -> None:
    tools = tool(tmp_path / "tools", "mv", f'case $* in *" {machine.etc}/shadow") exit 1 ;; esac\nexec $real "$@"')
    assert f"{machine.etc}/shadow cannot be written" in machine.boot(tools=tools)
    assert "svc:" in machine.text("passwd") and "svc:" in machine.text("gshadow")
    assert machine.text("shadow") == HERE["shadow"]
    assert machine.boot() == ""
    assert machine.text("shadow") == HERE["shadow"] + "svc:!:20000::::::\n"


def test_a_rollback_keeps_the_files_of_two_users_apart(either: Machine) -> None:
    """Each deployment has an /etc of its own."""
    older, newer = either.root / "older", either.root / "newer"
    either.keep(older)
    state = either.file("svc", 101, 102)
    either.release(**TWO)
    either.boot()
    newcomer = either.file("new", 101, 101)
    either.keep(newer)
    for _ in range(2):
        either.switch_to(older)
        either.boot()
        assert owner(state) == (101, 102)
        assert min(owner(newcomer)) >= 65536
        either.switch_to(newer)
        either.boot()
        assert (owner(state), owner(newcomer)) == ((102, 103), (101, 101))
    assert "1879" not in (either.var / "lib/apt-ostree/accounts").read_text()


def test_files_stay_with_the_number_where_an_administrator_renamed_the_user(machine: Machine) -> None:
    machine.boot()
    state = machine.file("svc", 101)
    machine.edit(machine.etc, "passwd", "svc:x:101:", "mine:x:101:")
    with (machine.etc / "passwd").open("a") as file:
        file.write("svc:x:998:102::/:/bin/false\n")
    # A layer that is made for this machine.
    machine.release(passwd=IMAGE["passwd"].replace("svc:x:101", "svc:x:998"))
    machine.boot()
    assert owner(state) == (101, 0)
    assert machine.boot() == ""
    assert owner(state) == (101, 0)


@pytest.mark.parametrize("moves", [1, 2])
def test_a_power_cut_while_files_move_does_no_harm(machine: Machine, tmp_path: Path, moves: int) -> None:
    """Two change places."""
    image = IMAGE["passwd"] + "two:x:103:102::/:/bin/false\n"
    for place in (machine.image, machine.etc):
        machine.write(place, {"passwd": image})
    machine.boot()
    mine, two = machine.file("mine", 101, 102), machine.file("two", 103, 102)
    machine.release(
        passwd=image.replace("svc:x:101", "svc:x:0").replace("x:103", "x:101").replace("svc:x:0", "svc:x:103")
    )
    tools = tool(
        tmp_path / "tools",
        "find",
        f'echo >>{tmp_path}/calls\n$real "$@"\n[ "$(wc -l <{tmp_path}/calls)" != {moves} ] || kill -9 $PPID\n',
    )
    machine.boot(tools=tools)
    assert mine.stat().st_uid != 101
    machine.boot()
    assert (owner(mine), owner(two)) == ((103, 102), (101, 102))
    assert machine.boot() == ""


def test_files_of_the_machine_s_own_etc_follow_and_the_image_s_do_not(either: Machine) -> None:
    own, modified, new = either.etc / "own", either.etc / "modified", either.etc / "new"
    of_image = {either.image / "modified": 103, either.image / "new": 102}
    for path, group in ({own: 102, modified: 102, new: 102} | of_image).items():
        path.write_text(path.name)
        path.chmod(0o640)
        os.chown(path, 0, group)
    either.release(**TWO)
    either.boot("--lists")
    assert [owner(path) for path in (own, modified, new)] == [(0, 103), (0, 103), (0, 102)]
    assert either.boot("--lists") == ""
    assert [owner(path) for path in (own, modified, new)] == [(0, 103), (0, 103), (0, 102)]


def test_files_keep_their_modes_and_capabilities(machine: Machine) -> None:
    machine.boot()
    program = machine.file("program", 101, 102, 0o4755)
    capability = bytes.fromhex("0100000200200000000000000000000000000000")
    os.setxattr(program, "security.capability", capability)
    machine.release(**TWO)
    machine.boot()
    assert owner(program) == (102, 103)
    assert stat.S_IMODE(program.stat().st_mode) == 0o4755
    assert os.getxattr(program, "security.capability") == capability


def test_var_is_settled_where_etc_cannot_be_written(machine: Machine) -> None:
    machine.write(machine.etc, IMAGE)
    machine.boot()
    state = machine.file("svc", 101)
    machine.release(**TWO)
    script = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && exec sh "$2" "$3"'
    subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", machine.etc, SCRIPT, machine.root],
        check=True,
    )
    assert owner(state) == (102, 0)


def test_an_image_without_lists_of_its_own_changes_nothing(machine: Machine) -> None:
    machine.boot()
    record = machine.var / "lib/apt-ostree/accounts"
    before = [record.read_text(), *map(machine.text, HERE)]
    for name in IMAGE:
        (machine.image / name).unlink()
    assert machine.boot() == ""
    assert [record.read_text(), *map(machine.text, HERE)] == before


def test_numbers_in_a_container_are_its_own(machine: Machine) -> None:
    machine.boot()
    inner = machine.file("lib/docker/overlay2/layer/file", 101)
    machine.release(**TWO)
    machine.boot()
    assert owner(inner) == (101, 0)


def test_access_control_lists_follow_too(machine: Machine) -> None:
    """The number is another's from now on, who was let into nothing."""
    machine.boot()
    secret = machine.file("lib/db/se cret\n", 0, mode=0o600)
    subprocess.run(["setfacl", "-m", "u:101:rw,g:102:r", secret], check=True)
    subprocess.run(["setfacl", "-m", "d:u:101:rwx", secret.parent], check=True)
    (machine.var / "lib/link").symlink_to(secret)
    other = machine.file("lib/docker/containers-own", 0)
    subprocess.run(["setfacl", "-m", "u:101:rw", other], check=True)
    machine.release(
        passwd="root:x:0:0:root:/root:/bin/sh\nsvc:x:105:102::/var/lib/svc:/bin/false\nnew:x:101:101::/:/bin/false\n"
    )
    machine.boot()
    assert "svc:x:105:" in machine.text("passwd")

    def named(path: Path) -> list[str]:
        done = subprocess.run(["getfacl", "-nsp", path], check=True, capture_output=True, text=True)
        return re.findall(r"^(?:default:)?(?:user|group):[0-9]+:.*$", done.stdout, re.MULTILINE)

    assert named(secret) == ["user:105:rw-", "group:102:r--"]
    assert named(secret.parent) == ["default:user:105:rwx"]
    assert named(other) == ["user:101:rw-"]
    assert stat.S_IMODE(secret.stat().st_mode) == 0o660
