"""Debian's own tools on a machine whose /usr is read-only: what they do is kept through layers, or they say what to do
instead. And what a layer adds to what they made in /etc."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.archive import Deb
from tests.integration import running
from tests.integration.system import System

KEPT = "etc/.apt-ostree-kept"


def alternative(name: str, priority: int, **more: str) -> Deb:
    """A package with an alternative for /usr/bin/edit, and a manual page that goes with it."""
    return Deb(
        f"edit-{name}",
        files={f"/usr/bin/edit-{name}": "", f"/usr/share/edit/{name}.1": ""},
        scripts={
            "postinst": f"update-alternatives --install /usr/bin/edit edit /usr/bin/edit-{name} {priority}"
            f" --slave /usr/share/edit.1 edit.1 /usr/share/edit/{name}.1\n" + more.get("postinst", ""),
            "prerm": f"update-alternatives --remove edit /usr/bin/edit-{name}\n" + more.get("prerm", ""),
        },
    )


def profile(name: str) -> str:
    """A profile of pam-auth-update(8)."""
    return (
        f"Name: {name}\nDefault: yes\nPriority: 0\nSession-Type: Additional\nSession:\n\toptional\t\tpam_{name}.so\n"
        f"Auth-Type: Additional\nAuth:\n\toptional\t\tpam_{name}.so\n"
    )


def etc(system: System, name: str) -> str:
    """A file of /etc, or where a link there leads."""
    place = system.deployment() / "etc" / name
    return os.readlink(place) if place.is_symlink() else place.read_text()


def chosen(system: System) -> tuple[str, str]:
    """What the alternative is, and the manual page."""
    return etc(system, "alternatives/edit"), etc(system, "alternatives/edit.1")


@pytest.fixture
def machine(sysroot: System, tmp_path: Path) -> System:
    """A machine with two editors, of which the first one is the image's choice, and a profile that is not in use."""
    own = Deb(
        "own-profile", files={"/usr/share/pam-configs/own": profile("own").replace("Default: yes", "Default: no")}
    )
    debs = [alternative("a", 50), alternative("b", 10), own]
    sysroot.install(*(str(deb.build(tmp_path)) for deb in debs))
    running.run(sysroot)
    return sysroot


def test_what_was_chosen_on_the_machine_stays_beside_what_layers_bring(machine: System, tmp_path: Path) -> None:
    assert chosen(machine) == ("/usr/bin/edit-a", "/usr/share/edit/a.1")
    said = running.run(
        machine,
        """
        update-alternatives --set edit /usr/bin/edit-b && update-alternatives --query edit
        pam-auth-update --enable own && cat /etc/pam.d/common-session
        sed -i 's/^hosts:.*/hosts: files mine dns/' /etc/nsswitch.conf
        echo nameserver 192.0.2.1 >/etc/resolv.conf
        ln -sf /usr/bin/id /etc/alternatives/pager
        ln -sf /usr/bin/gone /etc/alternatives/which
        touch /usr/x
        command -v locale-gen || echo no locale-gen
        """,
    )
    assert "no locale-gen" in said
    assert "Status: manual" in said
    assert "pam_own.so" in said
    assert "touch: cannot touch '/usr/x': Read-only file system" in said
    assert chosen(machine) == ("/usr/bin/edit-b", "/usr/share/edit/b.1")

    more = Deb(
        "more",
        files={"/usr/share/pam-configs/more": profile("more")},
        scripts={
            "postinst": "pam-auth-update --package\nsed -i '/^hosts:/s/files/files more/' /etc/nsswitch.conf\n"
            "ln -sf ../run/more/resolv.conf /etc/resolv.conf\n",
            "prerm": "pam-auth-update --package --remove more\n",
            "postrm": "rm -f /etc/resolv.conf\n",
        },
    )
    machine.install(str(alternative("c", 90).build(tmp_path)), str(more.build(tmp_path)))
    # OSTree keeps what was edited here, whole.
    assert "more" not in etc(machine, "nsswitch.conf")
    assert "pam_more.so" not in etc(machine, "pam.d/common-session")
    said = running.run(machine, "update-alternatives --query edit")
    assert "Status: manual" in said and "Alternative: /usr/bin/edit-c" in said
    assert chosen(machine) == ("/usr/bin/edit-b", "/usr/share/edit/b.1")
    # No alternative, but made by hand; and a link to nothing.
    assert etc(machine, "alternatives/pager") == "/usr/bin/id"
    assert etc(machine, "alternatives/which") == "/usr/bin/which.debianutils"
    for name in ("session", "auth"):
        assert "pam_more.so" in etc(machine, f"pam.d/common-{name}")
    assert "pam_own.so" in etc(machine, "pam.d/common-session")
    assert "hosts: files more mine dns" in etc(machine, "nsswitch.conf").splitlines()
    assert etc(machine, "resolv.conf") == "../run/more/resolv.conf"

    machine.run("uninstall", "more", "edit-b")
    assert chosen(machine)[0] == "/usr/bin/edit-b"
    said = running.run(machine, "update-alternatives --query edit")
    assert "Status: auto" in said
    assert chosen(machine) == ("/usr/bin/edit-c", "/usr/share/edit/c.1")
    assert "pam_more.so" not in etc(machine, "pam.d/common-session") + etc(machine, "pam.d/common-auth")
    assert "pam_own.so" in etc(machine, "pam.d/common-session")
    assert "hosts: files mine dns" in etc(machine, "nsswitch.conf").splitlines()
    assert etc(machine, "resolv.conf") == "nameserver 192.0.2.1\n"

    # Each deployment has what it had.
    machine.run("rollback")
    running.run(machine)
    assert chosen(machine) == ("/usr/bin/edit-b", "/usr/share/edit/b.1")
    assert "pam_more.so" in etc(machine, "pam.d/common-session")
    machine.fsck()


SAID = {
    "dpkg-divert --add /usr/bin/edit-a": "Let the preinst script of a package of your own divert",
    "dpkg-divert --local --rename --add /usr/bin/edit-a": "Let the preinst script of a package of your own divert",
    "dpkg-statoverride --add root root 0755 /usr/bin/edit-a": "In /etc and /var use chown and chmod",
    "dpkg --add-architecture armel": "An image has its architectures",
    "dpkg -i /tmp/x.deb": "To install a file: apt-ostree install ./NAME.deb",
    "dpkg --purge edit-a": "to remove a package: apt-ostree uninstall NAME",
    "dpkg --set-selections": "To stay at a version: apt-ostree install NAME=VERSION",
    "apt-get -y install edit-c": "To install a package: apt-ostree install NAME",
    "apt remove edit-a": "To remove a package: apt-ostree uninstall NAME",
    "apt full-upgrade": "To upgrade: apt-ostree upgrade",
    "apt-mark hold edit-a": "To stay at a version: apt-ostree install NAME=VERSION",
    "apt-mark auto edit-a": "To keep a package, ask for it: apt-ostree install NAME",
    "debconf-set-selections /dev/null": "apt-ostree install --debconf FILE NAME",
    "locale-gen": "To have more locales: apt-ostree install locales-all",
    "ucf /etc/hostname /etc/x": "A file in /etc can be edited as it is",
    "ucfr edit-a /etc/x": "A file in /etc can be edited as it is",
    "update-alternatives --install /usr/bin/edit edit /usr/bin/id 99": "ln -s PROGRAM /usr/local/bin/NAME",
}
"""Commands, and what they say is to be done instead."""

PASSED_ON = {
    "dpkg-divert --list": "",
    "dpkg-statoverride --version": "Debian dpkg-statoverride",
    "dpkg --print-architecture": "",
    "dpkg-query --show edit-a": "edit-a\t1.0",
    "apt-mark showhold": "tool showhold",
    "apt-get update": "tool update",
    "apt-get --simulate install edit-c": "tool --simulate install edit-c",
    "debconf-set-selections --checkonly /dev/null": "",
    "dpkg --root=/tmp/other --print-architecture": "",
    "apt-get -o Dir=/tmp/other install edit-c": "tool -o Dir=/tmp/other install edit-c",
    "env APT_CONFIG=/tmp/other apt-get install edit-c": "tool install edit-c",
    "update-alternatives --list edit": "/usr/bin/edit-a\n/usr/bin/edit-b",
}
"""Commands that ask, or do nothing to this machine, and with what their output begins."""


def test_tools_that_cannot_work_say_in_a_line_what_to_do_instead(machine: System, tmp_path: Path) -> None:
    tool = '#!/bin/sh\necho "tool $*"\n'
    in_bin = ("apt", "apt-get", "apt-mark", "ucf", "ucfr")
    names = ("/usr/sbin/locale-gen", *(f"/usr/bin/{name}" for name in in_bin))
    write = "echo $1 $2 >/etc/writer\n[ ! -e /etc/both ] || : >/usr/lib/written\n"
    writer = Deb("writer", scripts={"postinst": write})
    tools = Deb("tools", files=dict.fromkeys(names, tool))
    machine.install(*(str(deb.build(tmp_path)) for deb in (tools, writer)))
    commands = [*SAID, *PASSED_ON]
    story = "".join(f"{command} </dev/null\necho === $?\n" for command in commands)
    *said, rest = running.run(machine, story).split("=== ")
    outputs = [text.partition("\n")[2] if number else text for number, text in enumerate(said)]
    statuses = [text.partition("\n")[0] for text in [*said[1:], rest]]
    for command, text, status in zip(commands, outputs, statuses, strict=True):
        if command in SAID:
            assert (status, text.count("\n")) == ("1", 1), (command, text)
            assert SAID[command] in text
        else:
            assert status == "0", (command, text)
            assert text.startswith(PASSED_ON[command])
    again = "dpkg-reconfigure writer; echo $?"
    reconfigured = running.run(machine, f"{again}; touch /etc/both; {again}")
    assert reconfigured.splitlines()[0] == "0"
    assert etc(machine, "writer") == "configure 1.0\n"
    assert "not kept, since /usr is read-only here: 1 files, such as /usr/lib/written" in reconfigured
    assert "apt-ostree install --debconf FILE NAME" in reconfigured
    assert reconfigured.splitlines()[-1] == "1"
