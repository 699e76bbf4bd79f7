"""The tool at work on the machine that it changes: what is staged is there after a reboot, and can be undone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.archive import Deb
from tests.integration.system import BINARY, EXAMPLE_REF, STATEROOT, Base, System, output, run_cli
from tests.vm.machine import Boot, Machine

TOOL = "/var/tool/apt-ostree"

GREETER = Deb(
    "booted-greeter",
    files={
        "/usr/bin/booted-greeter": "#!/bin/sh\necho hello\n",
        "/usr/share/pam-configs/greeter": "Name: Greeter\nDefault: yes\nPriority: 0\nSession-Type: Additional\n"
        "Session:\n\toptional\t\tpam_permit.so\n",
    },
    scripts={
        "postinst": "mkdir -p /var/lib/booted-greeter; echo made >/var/lib/booted-greeter/state\n"
        "cp /usr/bin/id /usr/lib/greeter-id; chmod 4755 /usr/lib/greeter-id\n"
        "update-alternatives --install /usr/bin/pager pager /usr/bin/booted-greeter 99\n"
        "pam-auth-update --package\nsed -i '/^hosts:/s/files/files greeter/' /etc/nsswitch.conf\n"
    },
)

# The image has neither; what is said of them does not depend on what they are.
OTHER_TOOLS = Deb("other-tools", files=dict.fromkeys(("/usr/sbin/locale-gen", "/usr/bin/ucf"), "#!/bin/sh\n"))

WORK = """
export DEBIAN_FRONTEND=noninteractive
update-alternatives --set pager /bin/more
pam-auth-update --enable mkhomedir
echo Europe/Berlin >/etc/timezone; ln -sf /usr/share/zoneinfo/Europe/Berlin /etc/localtime
dpkg-reconfigure tzdata
update-rc.d dbus disable
sed -i 's/^hosts:.*/hosts: files mine dns/' /etc/nsswitch.conf
"""
"""Debian's tools that work on the machine, and an edit."""

WORKED = """
readlink /etc/alternatives/pager; update-alternatives --query pager | grep Status
grep -c -e pam_mkhomedir -e 'optional.*pam_permit' /etc/pam.d/common-session
cat /etc/timezone; ls /etc/rc2.d | grep dbus; grep ^hosts: /etc/nsswitch.conf
"""

AS_DONE = ["1", "Europe/Berlin", "K01dbus"]

INSTEAD = {
    "debconf-set-selections /dev/null": "--debconf",
    "dpkg --add-architecture armel": "manifest",
    "dpkg --install /var/tool/*.deb": "apt-ostree install ./NAME.deb",
    "dpkg-divert --add /usr/bin/id": "preinst",
    "dpkg-statoverride --add root root 0755 /usr/bin/id": "postinst",
    "apt-get install -y hello": "apt-ostree install NAME",
    "apt-mark hold dbus": "apt-ostree install NAME=VERSION",
    "apt-mark auto dbus": "apt-ostree uninstall NAME",
    "locale-gen": "apt-ostree install locales-all",
    "ucf /etc/hostname /etc/x": "can be edited as it is",
}
"""Those that say what to do instead, and a part of that."""

ASK = "".join(f"{command} 2>&1 && echo done; " for command in INSTEAD) + "true"

UNSEEN = "booted-greeter 2>&1; mount | grep -c extensions/apt-ostree; touch /sysroot/x 2>&1; true"

FLAGS = """
for place in /sysroot / /usr /var /etc /boot; do
    echo $place $(findmnt --noheadings --output VFS-OPTIONS --target $place)
done
"""

# As on a machine that was booted into a tree without the unit.
OPEN = "mount --options-source mtab -o remount,bind,rw,suid /sysroot"
AS_USER = "setpriv --reuid 12345 --regid 12345 --clear-groups"
BEFORE_BOOT = f"{AS_USER} /ostree/deploy/*/deploy/*/usr/lib/greeter-id -u"


FINALIZING = "systemctl show --property=ExecStop --value ostree-finalize-staged.service"


def without_set_user_id(boot: Boot) -> list[str]:
    """The places on mounts that are nosuid."""
    lines = [line.partition(" ") for line in boot[FLAGS].splitlines()]
    return [place for place, _, flags in lines if "nosuid" in flags.split(",")]


@pytest.fixture(scope="module")
def system(example_repo: Path, tmp_path_factory: pytest.TempPathFactory) -> System:
    """An image that has what apt-ostree runs, deployed."""
    work = tmp_path_factory.mktemp("booted")
    run_cli("compose", "sysroot", "--repo", example_repo, "--stateroot", STATEROOT, EXAMPLE_REF, work / "maker")
    commit = output("ostree", f"--repo={example_repo}", "rev-parse", EXAMPLE_REF).strip()
    maker = System(work / "maker", Base(example_repo, commit))
    maker.install("python3", "bubblewrap", "cpio", str(OTHER_TOOLS.build(work)))
    # Its layer, as somebody's image: a base to the guest.
    output(
        "ostree", "commit", f"--repo={maker.repo}", "--branch=booted", f"--tree=ref={maker.commit()}", "--bootable",
        "--add-metadata-string=version=1",
    )  # fmt: skip
    kargs = ("--karg=root=LABEL=root", "--karg=rw", "--karg=systemd.firstboot=off")
    path = work / "sysroot"
    run_cli("compose", "sysroot", "--repo", maker.repo, "--stateroot", STATEROOT, *kargs, "booted", path)
    return System(path, Base(maker.repo, output("ostree", f"--repo={maker.repo}", "rev-parse", "booted").strip()))


def status(boot: Boot) -> list[dict[str, Any]]:
    """The deployments as the guest's own ``status`` tells of them."""
    return list(json.loads(boot[f"{TOOL} status --json"])["deployments"])


def test_a_booted_machine_installs_reboots_into_it_and_rolls_back(system: System, tmp_path: Path) -> None:
    assert BINARY.is_file(), "make binary"
    machine = Machine(system, tmp_path / "machine")
    place = f"ostree/deploy/{STATEROOT}/var/tool"
    machine.on_disk(f'mkdir {place}; cp "$1" "$2" {place}', BINARY, GREETER.build(tmp_path))
    deb = "/var/tool/booted-greeter_1.0_all.deb"

    first = machine.boot(
        f"{TOOL} status",
        OPEN,
        f"{TOOL} install -C {deb}",
        FLAGS,
        BEFORE_BOOT,
        f"{AS_USER} {TOOL} status",
        f"{AS_USER} {TOOL} history",
        f"{TOOL} install -C {deb} --unchanged-exit-77 || echo $?",
        f"{TOOL} kargs --append=story.told",
        "echo edited after the install >/etc/motd",
        WORK,
        WORKED,
        ASK,
        f"{TOOL} rollback; true",
        f"{TOOL} status --json",
        UNSEEN,
        f"{TOOL} status --sysroot /sysroot --json",
        FINALIZING,
    )
    assert "booted" in first[f"{TOOL} status"]
    assert "Reboot to use it" in first[f"{TOOL} install -C {deb}"]
    assert without_set_user_id(first) == ["/sysroot"]
    assert first[BEFORE_BOOT] == "12345"
    assert "booted" in first[f"{AS_USER} {TOOL} status"]
    assert "install" in first[f"{AS_USER} {TOOL} history"]
    assert first[f"{TOOL} install -C {deb} --unchanged-exit-77 || echo $?"].endswith("77")
    assert "Read-only" not in first[WORK]
    assert first[WORKED].splitlines() == ["/bin/more", "Status: manual", *AS_DONE, "hosts: files mine dns"]
    asked = first[ASK].splitlines()
    assert len(asked) == len(INSTEAD), asked
    assert [line for line, part in zip(asked, INSTEAD.values(), strict=True) if part not in line] == []
    assert "a staged deployment would be lost" in first[f"{TOOL} rollback; true"]
    staged, booted = status(first)
    assert (staged["staged"], staged["pending"], staged["booted"]) == (True, True, False)
    assert (booted["booted"], booted["staged"]) == (True, False)
    assert booted["id"] != staged["id"]
    # By another name of the same place nothing else is seen.
    assert first[f"{TOOL} status --sysroot /sysroot --json"] == first[f"{TOOL} status --json"]
    unseen = first[UNSEEN].splitlines()
    assert "not found" in unseen[0]
    assert unseen[1] == "0"
    assert "Read-only file system" in unseen[2]
    # Where libostree follows no link of this machine's /etc.
    assert "/usr/lib/apt-ostree/finalize-staged" in first[FINALIZING]
    assert "/usr/bin/ostree" not in first[FINALIZING]
    assert "story.told" in staged["kargs"].split()
    assert "story.told" not in booted["kargs"].split()

    second = machine.boot(
        "systemctl --failed --no-legend",
        FLAGS,
        BEFORE_BOOT,
        f"{AS_USER} /usr/lib/greeter-id -u",
        "booted-greeter",
        "cat /proc/cmdline",
        "cat /var/lib/booted-greeter/state",
        "cat /etc/motd",
        WORKED,
        f"{TOOL} status --json",
        f"{TOOL} rollback",
    )
    assert second.state == "running", second["systemctl --failed --no-legend"]
    # Booted, it has its rights, by its own name alone.
    assert without_set_user_id(second) == ["/sysroot"]
    assert (second[BEFORE_BOOT], second[f"{AS_USER} /usr/lib/greeter-id -u"]) == ("12345", "0")
    assert second["booted-greeter"] == "hello"
    # Changed on top of what was staged, which had to stay.
    assert "story.told" in second["cat /proc/cmdline"].split()
    assert second["cat /var/lib/booted-greeter/state"] == "made"
    # What was edited after the install counts: the merge happens at the shutdown.
    assert second["cat /etc/motd"] == "edited after the install"
    # What the tools did stays, and what the layer adds is there.
    layered = second[WORKED].splitlines()
    assert layered[:2] == ["/bin/more", "Status: manual"]
    assert layered[2] == str(int(AS_DONE[0]) + 1)
    assert layered[3:] == [*AS_DONE[1:], "hosts: files greeter mine dns"]
    assert [entry["id"] for entry in status(second)] == [staged["id"], booted["id"]]
    assert status(second)[0]["booted"]
    assert "boots next" in second[f"{TOOL} rollback"]

    third = machine.boot("booted-greeter 2>&1 || true", "cat /etc/motd", WORKED, f"{TOOL} status --json")
    assert third[WORKED] == first[WORKED]
    assert "not found" in third["booted-greeter 2>&1 || true"]
    # Its own /etc, where that edit was made, too.
    assert third["cat /etc/motd"] == "edited after the install"
    assert [entry["id"] for entry in status(third)] == [booted["id"], staged["id"]]
    assert status(third)[0]["booted"]
