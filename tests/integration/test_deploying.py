"""What libostree would run, open or write of a tree, as the host's root, while it deploys it: nothing gets that far."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.integration.system import System, environment
from tests.integration.test_hostile import package

RUNS = "#!/bin/sh\ntouch /usr/ran\necho --rebuild-if-modules-changed --refresh\n"
"""A program that leaves a mark in the deployment where it is run."""


def ran(system: System) -> list[Path]:
    return list(system.path.glob("ostree/deploy/*/deploy/*/usr/ran"))


def test_no_semodule_of_a_package_is_run(sysroot: System, tmp_path: Path) -> None:
    policy = "mkdir -p /etc/selinux; echo SELINUXTYPE=x >/etc/selinux/config"
    evil = package(tmp_path, "evil-policy", {"postinst": policy}, {"usr/sbin/semodule": RUNS})
    before = sysroot.deployment()
    failed = sysroot.run("install", evil, status=1).failure
    assert failed.brief == "SELinux policies are not supported"
    assert (sysroot.deployment(), ran(sysroot)) == (before, [])


def test_no_semodule_is_run_for_a_policy_of_the_machine(sysroot: System, tmp_path: Path) -> None:
    """With the file in its /etc already, everything else works: status, rollback, cleaning up."""
    sysroot.run("install", package(tmp_path, "evil", None, {"usr/sbin/semodule": RUNS}))
    place = sysroot.deployment() / "etc/selinux"
    place.mkdir(exist_ok=True)
    (place / "config").write_text("SELINUX=disabled\n")
    failed = sysroot.run("install", "greeter", status=1).failure
    assert failed.brief == "SELinux policies are not supported"
    assert "Remove that file" in failed.resolution
    sysroot.run("status")
    sysroot.run("rollback")
    sysroot.run("cleanup", "-r")
    assert ran(sysroot) == []


def test_no_grub_mkconfig_of_a_package_is_run(sysroot: System, tmp_path: Path) -> None:
    """Not by us, and not by libostree either with the variable that it gets from us."""
    sysroot.run("install", package(tmp_path, "evil-grub", None, {"usr/sbin/grub-mkconfig": RUNS}))
    (sysroot.path / "boot/grub").mkdir()
    (sysroot.path / "boot/grub/grub.cfg").symlink_to("../loader/grub.cfg")
    for menu in sysroot.path.glob("boot/loader.[01]"):
        (menu / "grub.cfg").touch()
    before = sysroot.deployment()
    for words in (["uninstall", "evil-grub"], ["rollback"]):
        assert sysroot.run(*words, status=1).failure.brief == "only the running system can write its boot menu"
    assert (sysroot.deployment(), ran(sysroot)) == (before, [])
    argv = ["ostree", "admin", "undeploy", "1", f"--sysroot={sysroot.path}"]
    told = subprocess.run(argv, env=environment({"OSTREE_GRUB2_EXEC": "/bin/false"}), capture_output=True, check=False)
    assert (told.returncode, ran(sysroot)) == (1, []), told
    # Without it, libostree does: otherwise this test would show nothing.
    subprocess.run(argv, env=environment(), capture_output=True, check=False)
    assert len(ran(sysroot)) == 1


LAST = """#!/bin/sh
case "$*" in *--audit*) mv /usr/etc /usr/etc.x; ln -s {host} /usr/etc;; *) exec /usr/bin/dpkg.real "$@";; esac
"""


@pytest.mark.parametrize("what", ["initramfs", "policy", "etc"])
def test_nothing_of_the_host_is_read_through_a_link_of_a_package(sysroot: System, tmp_path: Path, what: str) -> None:
    host = tmp_path / "host"
    host.mkdir()
    (host / "passwd").write_text("root:x:0:0::/:/bin/sh\n")
    script = {
        "initramfs": f"rm /usr/lib/modules/0.0/initramfs.img; ln -s {host}/passwd /usr/lib/modules/0.0/initramfs.img",
        "policy": "mkdir -p /etc/selinux; ln -s /dev/zero /etc/selinux/config",
        "etc": "mv /usr/bin/dpkg /usr/bin/dpkg.real; "
        f"printf %s {shlex.quote(LAST.format(host=host))} >/usr/bin/dpkg; chmod 755 /usr/bin/dpkg",
    }[what]
    before = sysroot.deployment()
    failed = sysroot.run("install", package(tmp_path, "evil", {"postinst": script}), status=1).failure
    assert failed.brief.startswith("SELinux" if what == "policy" else "OSTree must not deploy this tree"), failed
    assert sysroot.deployment() == before
    assert os.listdir(host) == ["passwd"]


def test_nothing_of_the_host_is_written_through_a_link_of_a_package(sysroot: System, tmp_path: Path) -> None:
    """libostree carries what the machine changed in a directory of /etc to where the new tree has a link."""
    host = tmp_path / "host"
    host.mkdir()
    (sysroot.deployment() / "etc/default/own").write_text("the machine's\n")
    evil = package(tmp_path, "evil", {"postinst": f"mv /etc/default /etc/x; ln -s {host} /etc/default"})
    failed = sysroot.run("install", evil, status=1).failure
    assert failed.brief == f"/etc/default is a directory on this machine and a link to {host} in the new tree"
    assert os.listdir(host) == []
