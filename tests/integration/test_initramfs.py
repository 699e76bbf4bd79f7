"""When an initramfs is made anew, by whom and from what: on the small base, with a dracut that is a script."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from apt_ostree.layering import stubs
from tests.archive import Deb
from tests.integration.system import System

OLD = "0.0"
"""The small base's own kernel, which no package has."""

DRACUT = Deb(
    "dracut",
    files={
        "/usr/bin/dracut": '#!/bin/sh\nimage=$1 version=$2\nshift 2\n[ ! -e "$image" ]\n'
        '{ echo "$version: $*"; grep ^walker: /etc/passwd; ls /etc/ssh; cat /opt/walker/x; } >"$image" 2>&1\nexit 0\n',
        "/usr/bin/lsinitrd": "#!/bin/sh\necho ostree\n",
    },
)
FIRMWARE = Deb("firmware-one", files={"/usr/lib/firmware/one.bin": ""})
MODULE = Deb("dracut-one", files={"/usr/lib/dracut/modules.d/99one/module-setup.sh": ""})
CONFIGURATION = Deb("dracut-config-one", files={"/etc/dracut.conf.d/one.conf": ""})
ASKING = Deb("asks-for-one", scripts={"postinst": "dracut --force\n"})
OTHER = Deb("other", files={"/usr/share/other": ""})

INITRAMFS_TOOLS = Deb("initramfs-tools", files={"/usr/sbin/update-initramfs": "#!/bin/sh\n"})


def kernel_package(version: str) -> Deb:
    return Deb(
        f"linux-image-{version.replace('~', '-')}",
        files={f"/boot/vmlinuz-{version}": version, f"/usr/lib/modules/{version}/modules.order": ""},
    )


def add(system: System, place: Path, *debs: Deb) -> str:
    """Lay packages over the base; returns what was told."""
    return system.install(*(os.fspath(deb.build(place)) for deb in debs)).stderr


def made(system: System, version: str = OLD) -> str:
    """What a kernel's initramfs holds."""
    return (system.deployment() / f"usr/lib/modules/{version}/initramfs.img").read_text()


@pytest.mark.parametrize("deb", [MODULE, CONFIGURATION, ASKING], ids=lambda deb: deb.name)
def test_what_it_is_made_of_has_it_made_anew(sysroot: System, tmp_path: Path, deb: Deb) -> None:
    add(sysroot, tmp_path, DRACUT, deb)
    assert made(sysroot).startswith(f"{OLD}: --force")


def test_what_it_is_not_made_of_leaves_the_bases(sysroot: System, tmp_path: Path) -> None:
    add(sysroot, tmp_path, DRACUT, OTHER)
    assert made(sysroot) == "initramfs.img\n"


def test_after_firmware_came_it_holds_what_the_finished_tree_has(sysroot: System, tmp_path: Path) -> None:
    etc = sysroot.deployment() / "etc"
    (etc / "passwd").write_text((etc / "passwd").read_text() + "walker:x:321:321::/:/usr/sbin/nologin\n")
    (etc / "group").write_text((etc / "group").read_text() + "walker:x:321:\n")
    script = "useradd --system walker\nmkdir -p /etc/ssh\necho key >/etc/ssh/ssh_host_rsa_key\n: >/etc/ssh/config\n"
    walker = Deb("walker", control="Depends: passwd\n", scripts={"postinst": script}, files={"/opt/walker/x": "opt\n"})
    add(sysroot, tmp_path, DRACUT, FIRMWARE, walker)
    lines = made(sysroot).splitlines()
    assert lines[1].startswith("walker:x:321:321:")
    assert lines[2:] == ["config", "opt"]


def test_what_else_dracut_writes_is_in_no_layer(sysroot: System, tmp_path: Path) -> None:
    """It is a package's program, and what scripts left has been judged when it runs."""
    writes = "echo key >/etc/dracut-key; echo evil:x:321:321::/:/bin/false >>/etc/passwd; mkfifo /usr/lib/pipe\n"
    body = f'#!/bin/sh\n{writes}mkdir -p /usr/lib/evil; echo image >"$1"; chmod 4755 "$1"\n'
    evil = Deb("dracut", files={"/usr/bin/dracut": body, "/usr/bin/lsinitrd": "#!/bin/sh\necho ostree\n"})
    add(sysroot, tmp_path, evil, MODULE)
    tree = sysroot.deployment()
    assert made(sysroot) == "image\n"
    image = tree / f"usr/lib/modules/{OLD}/initramfs.img"
    assert image.stat().st_mode & 0o7777 == 0o755
    assert not [name for name in ("usr/etc/dracut-key", "usr/lib/pipe", "usr/lib/evil") if (tree / name).exists()]
    assert "evil" not in (tree / "usr/etc/passwd").read_text()


def test_one_that_dracut_leaves_out_is_not_the_bases_own(sysroot: System, tmp_path: Path) -> None:
    idle = Deb("dracut", files={"/usr/bin/dracut": "#!/bin/sh\nexit 0\n", "/usr/bin/lsinitrd": "#!/bin/sh\n"})
    with sysroot.unchanged():
        debs = [os.fspath(deb.build(tmp_path)) for deb in (idle, FIRMWARE)]
        failure = sysroot.run("install", *debs, status=1).failure
    assert failure.brief == f"dracut made no initramfs for kernel {OLD}"


def test_a_base_with_initramfs_tools_is_told_that_only_dracut_can(sysroot: System, tmp_path: Path) -> None:
    debs = [os.fspath(deb.build(tmp_path)) for deb in (INITRAMFS_TOOLS, kernel_package("1.0"))]
    with sysroot.unchanged():
        sysroot.run("install", *debs, status=1)
        odd = Deb("kernel-one", files=kernel_package("1.0").files).build(tmp_path)
        failure = sysroot.run("install", debs[0], os.fspath(odd), status=1).failure
    assert failure.brief == "the tree cannot make an initramfs that boots OSTree"
    assert failure.detail == "only dracut can, and the tree has initramfs-tools"


def test_the_last_kernel_cannot_be_removed(sysroot: System, tmp_path: Path) -> None:
    remover = Deb("remover", scripts={"postinst": f"rm /boot/vmlinuz-{OLD}\n"}).build(tmp_path)
    with sysroot.unchanged():
        failure = sysroot.run("install", os.fspath(remover), status=1).failure
    assert failure.brief == "no kernel would be left to boot"
    assert failure.detail == f"{OLD} would be removed, and no other kernel installed"


def test_several_kernels_are_told_once(sysroot: System, tmp_path: Path) -> None:
    assert f"kernel 1.0 will boot, not {OLD}" in add(sysroot, tmp_path, DRACUT, kernel_package("1.0"))
    assert "will boot" not in add(sysroot, tmp_path, OTHER)
    assert f"kernel 2.0 will boot, not {OLD}, 1.0" in add(sysroot, tmp_path, kernel_package("2.0"))


def test_modules_are_built_for_the_kernel_that_will_boot(sysroot: System, tmp_path: Path) -> None:
    """As dkms does: for the kernel that runs, if the tree has it. That one may be the host's, or any."""
    script = "cd /usr/share; uname -r >built-for; uname -s -m >>built-for; ls -d /lib/modules/$(uname -r)\n"
    module = Deb("module-dkms", files={"/usr/share/module": ""}, scripts={"postinst": script})
    add(sysroot, tmp_path, DRACUT, module)
    place = sysroot.deployment() / "usr/share/built-for"
    assert place.read_text().splitlines() == [OLD, f"Linux {os.uname().machine}"]
    add(sysroot, tmp_path, kernel_package("0.0.1~older"))
    assert (sysroot.deployment() / "usr/share/built-for").read_text().splitlines()[0] == "0.0.1~older"
    assert made(sysroot, "0.0.1~older").startswith("0.0.1~older: ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Linux"),
        (["-r"], "6.6-x"),
        (["--kernel-release"], "6.6-x"),
        (["-m", "-r"], f"6.6-x {os.uname().machine}"),
        (["-snr"], f"Linux {os.uname().nodename} 6.6-x"),
        (["-p"], "unknown"),
        (
            ["-a"],
            " ".join(["Linux", os.uname().nodename, "6.6-x", os.uname().version, os.uname().machine, "GNU/Linux"]),
        ),
        (["-o"], "GNU/Linux"),
        (["-x"], None),
        (["-rx"], None),
        (["what"], None),
    ],
)
def test_uname(tmp_path: Path, words: list[str], said: str | None) -> None:
    (tmp_path / "uname").write_text(stubs.uname("6.6-x"))
    done = subprocess.run(["sh", tmp_path / "uname", *words], check=False, capture_output=True, text=True)
    assert (done.stdout.strip() or None, done.returncode) == (said, 0 if said else 1)
