"""What a machine wrote to /opt and /usr/local, over one image's files and then another's."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from apt_ostree.tree import overlays, state, units
from apt_ostree.tree.view import View
from tests.integration.test_seeds import ACL, ACL_OF_OWNER

OWNER = 65534


class Machine:
    """A root whose image is exchanged, and whose /var stays."""

    def __init__(self, root: Path) -> None:
        self.root, self.own = root, root / "var/lib/apt-ostree/overlays/opt"
        self.upper = self.own / "upper"
        (root / "var").mkdir(parents=True)

    def image(self, files: Mapping[str, str], conffiles: str = "", links: Mapping[str, str] | None = None) -> None:
        """Make an image that has ``files`` and ``links`` of one package in /opt."""
        for name in ("opt", "usr", "run"):
            shutil.rmtree(self.root / name, ignore_errors=True)
        (self.root / "opt").mkdir()
        for name, text in files.items():
            place = self.root / "opt" / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        for name, target in (links or {}).items():
            (self.root / "opt" / name).symlink_to(target)
        info = self.root / state.SYSIMAGE / "dpkg/info"
        info.mkdir(parents=True)
        shipped = "".join(f"/opt/{name}\n" for name in (*files, *(links or {})))
        (info / "agent.list").write_text(f"/.\n/opt\n{shipped}")
        (info / "agent.conffiles").write_text(conffiles)
        overlays.write(View([self.root]), self.root)
        units.write(self.root)

    def boot(self, script: str = "true") -> str:
        """Run the program, mount as the units do, and run a script in /opt; returns what they said."""
        done = subprocess.run(
            ["unshare", "--mount", "--propagation", "private", "sh", "-euc",
             '"$1/usr/lib/apt-ostree/settle-overlays" "$1"\nmount -t overlay -o "$2" overlay "$1/opt"\ncd "$1/opt"\n'
             + script,
             "sh", self.root, self.options()],
            check=False, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def options(self) -> str:
        text = (self.root / "usr/lib/systemd/system/opt.mount").read_text()
        (line,) = [line.removeprefix("Options=") for line in text.splitlines() if line.startswith("Options=")]
        return ",".join(
            f"{key}={self.root}{value}" if value.startswith("/") else f"{key}={value}"
            for key, _, value in (word.partition("=") for word in line.split(","))
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "root")


def test_the_machine_writes_beside_the_image_s_files_and_keeps_it(machine: Machine) -> None:
    machine.image({"agent/bin": "1"})
    (machine.root / "opt").chmod(0o2775)
    os.chown(machine.root / "opt", OWNER, 50)
    script = "mkdir agent/run; echo own >agent/run/own; echo other >other"
    assert machine.boot(script) == ""
    status = machine.upper.stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o2775, OWNER, 50)
    assert stat.S_IMODE(machine.own.stat().st_mode) == stat.S_IMODE(machine.own.parent.stat().st_mode) == 0o700
    machine.image({"agent/bin": "2", "agent/run/shipped": "2"})
    assert machine.boot("cat agent/bin agent/run/own agent/run/shipped other") == "2own\n2other\n"


CHANGES = {
    "written": ("echo mine >agent/bin", "2"),
    "deleted": ("rm agent/bin", "2"),
    "its mode": ("chmod 700 agent/bin", "2"),
    "replaced by a link": ("ln -sf /etc/passwd agent/bin", "2"),
    "its directory deleted": ("rm -r agent", "2"),
    "its directory made again": ("rm -r agent; mkdir -p agent/run; echo own >agent/run/own", "2"),
    "all deleted and made again": ("rm -r agent; mkdir agent; echo mine >agent/bin", "2"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_where_the_image_s_file_is_another_the_machine_s_copy_goes(machine: Machine, change: str) -> None:
    script, text = CHANGES[change]
    machine.image({"agent/bin": "1", "agent/same": "same"})
    machine.boot(script)
    hidden = machine.boot("cat agent/bin || true")
    assert hidden != "1" or change == "its mode"
    machine.image({"agent/bin": "2", "agent/same": "same"})
    assert machine.boot("cat agent/bin") == text
    assert machine.boot("cat agent/bin; stat -c :%a agent/bin") == f"{text}:644\n"
    if "run" in script:
        assert machine.boot("cat agent/run/own") == "own\n"
    # Back to the first.
    machine.boot("echo mine >agent/bin")
    machine.image({"agent/bin": "1", "agent/same": "same"})
    assert machine.boot("cat agent/bin") == "1"


def test_what_the_image_did_not_change_the_machine_keeps(machine: Machine) -> None:
    machine.image({"agent/bin": "1", "agent/same": "same", "agent/gone": "gone"})
    machine.boot("echo mine >agent/same; rm agent/gone")
    machine.image({"agent/bin": "2", "agent/same": "same", "agent/gone": "gone"})
    assert machine.boot("cat agent/bin agent/same; ls agent") == "2mine\nbin\nsame\n"


def test_a_copy_of_what_the_image_has_no_more_goes(machine: Machine) -> None:
    machine.image({"agent/old": "1", "agent/bin": "1"})
    machine.boot("echo mine >agent/old; echo own >agent/own")
    machine.image({"agent/bin": "1"})
    assert machine.boot("ls agent") == "bin\nown\n"


def test_a_conffile_stays_as_the_machine_has_it(machine: Machine) -> None:
    for version in "12":
        machine.image({"agent/conf": version}, "/opt/agent/conf\n")
        said = machine.boot(f"cat agent/conf; [ {version} = 2 ] || echo mine >agent/conf")
    assert said == "mine\n"


def test_a_new_file_of_the_image_does_not_replace_the_machine_s(machine: Machine) -> None:
    machine.image({"agent/bin": "1"})
    machine.boot("echo mine >agent/tool; mkdir new; echo mine >new/tool")
    machine.image({"agent/bin": "1", "agent/tool": "2", "new/other": "2", "new/tool": "2"})
    said = machine.boot("cat agent/tool new/tool new/other").splitlines()
    assert said[:3] == ["mine", "mine", "2<4>/opt/agent/tool of the image is hidden by this machine's own"]
    assert machine.boot("true") == ""


def test_no_link_that_the_machine_has_is_followed(machine: Machine, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "agent").mkdir(parents=True)
    (outside / "agent/bin").write_text("outside")
    machine.image({"agent/bin": "1"})
    machine.boot(f"rm -r agent; ln -s {outside}/agent agent")
    machine.image({"agent/bin": "2"})
    assert "hidden: there is a link" in machine.boot()
    assert (outside / "agent/bin").read_text() == "outside"


def test_names_are_no_words_of_a_shell(machine: Machine) -> None:
    names = ("agent/a b%d\\n'\"$HOME", "agent/-rf", "agent/*")
    machine.image(dict.fromkeys(names, "1"), links={"agent/l": "1"})
    machine.boot('for name in agent/*; do rm -- "$name"; ln -s mine "$name"; done')
    machine.image(dict.fromkeys(names, "2"), links={"agent/l": "2"})
    assert machine.boot("cat agent/[!l]*; readlink agent/l") == "2222\n"
    assert list((machine.upper / "agent").iterdir()) == []


def test_a_power_cut_while_a_directory_is_made_again_loses_nothing(machine: Machine) -> None:
    machine.image({"agent/bin": "1"})
    machine.boot("rm -r agent; mkdir agent; echo a >agent/a; echo b >agent/b")
    machine.image({"agent/bin": "2"})
    # It was moved away, made again, and has one of its files back.
    (machine.own / "opening.path").write_text("agent\n")
    (machine.upper / "agent").rename(machine.own / "opening")
    (machine.upper / "agent").mkdir(0o700)
    (machine.own / "opening/a").rename(machine.upper / "agent/a")
    assert machine.boot("cat agent/*") == "a\nb\n2"
    assert sorted(path.name for path in machine.own.iterdir()) == ["list", "upper", "work"]


def test_a_directory_that_is_made_again_keeps_its_owner_mode_list_and_attributes(machine: Machine) -> None:
    """Without its access control list, the mode would give its group what the mask has."""
    machine.image({"agent/bin": "1"})
    machine.boot(f"rm -r agent; mkdir -m 2700 agent; chown {OWNER}:{OWNER} agent")
    made = machine.upper / "agent"
    os.setxattr(made, "user.own", b"1")
    os.setxattr(made, ACL, ACL_OF_OWNER)
    kept = (stat.S_IMODE(made.stat().st_mode), made.stat().st_uid, made.stat().st_gid, os.getxattr(made, ACL))
    before = made.stat().st_ino
    machine.image({"agent/bin": "2"})
    assert machine.boot("cat agent/bin") == "2"
    assert made.stat().st_ino != before
    assert (stat.S_IMODE(made.stat().st_mode), made.stat().st_uid, made.stat().st_gid, os.getxattr(made, ACL)) == kept
    assert os.getxattr(made, "user.own") == b"1"


def test_a_boot_with_the_same_image_changes_nothing(machine: Machine) -> None:
    machine.image({"agent/bin": "1"})
    machine.boot("echo mine >agent/bin")
    before = (machine.own / "list").stat().st_mtime_ns
    assert machine.boot("cat agent/bin") == "mine\n"
    assert (machine.own / "list").stat().st_mtime_ns == before


def test_a_place_that_is_a_link_into_var_is_left_alone(machine: Machine) -> None:
    machine.image({})
    (machine.root / "opt").rmdir()
    (machine.root / "opt").symlink_to("var/opt")
    subprocess.run([machine.root / "usr/lib/apt-ostree/settle-overlays", machine.root], check=True)
    assert not (machine.root / "run/apt-ostree/overlays/opt").exists()


def test_where_var_cannot_be_an_upper_layer_the_place_stays_read_only(machine: Machine) -> None:
    machine.image({})
    script = (
        'mkdir -p "$1/run"; mount -t tmpfs none "$1/run"; mkdir "$1/run/u" "$1/run/w"\n'
        'mount -t overlay -o "lowerdir=$1/var,upperdir=$1/run/u,workdir=$1/run/w" overlay "$1/var"\n'
        '"$1/usr/lib/apt-ostree/settle-overlays" "$1"; ls "$1/run/apt-ostree/overlays"'
    )
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-uc", script, "sh", machine.root],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert "/opt stays read-only" in done.stderr
    assert "opt\n" not in done.stdout
