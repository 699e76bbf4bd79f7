"""Kernels in a layer, and the initramfs: on the example image, with its own dracut."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from apt_ostree.tree import kernel
from tests.archive import Deb, host_architecture
from tests.integration.system import EXAMPLE_REF, STATEROOT, Base, System, output, run_cli

NEW = "9.9-test"


def kernel_package(version: str = "9.9-1", content: str = "kernel\n") -> Deb:
    """A kernel as Debian's packages have it: an image in /boot, modules, and scripts that run the hooks."""
    config = "CONFIG_BLK_DEV_INITRD=y\n"
    hook = f'linux-run-hooks image postinst {NEW} /boot/vmlinuz-{NEW} -- "$@"\n'
    return Deb(
        f"linux-image-{NEW}",
        version=version,
        architecture=host_architecture(),
        control="Depends: linux-base\n",
        files={
            f"/boot/vmlinuz-{NEW}": content,
            f"/boot/config-{NEW}": config,
            f"/boot/System.map-{NEW}": "map\n",
            f"/usr/lib/modules/{NEW}/kernel/readme": "",
            f"/usr/lib/modules/{NEW}/modules.order": "",
            f"/usr/lib/modules/{NEW}/modules.builtin": "",
        },
        scripts={
            "postinst": f'[ "$1" = configure ] || exit 0\ndepmod {NEW}\n'
            f"linux-update-symlinks install {NEW} /boot/vmlinuz-{NEW}\n{hook}",
            # It would refuse the running kernel's removal; here it must not matter which one runs.
            "prerm": f'[ "$1" != remove ] || linux-check-removal "$(uname -r)"\n# {NEW}\n',
        },
    )


CONFIGURATION = Deb(
    "dracut-marker",
    control="Depends: dracut\n",
    files={
        "/usr/lib/dracut/dracut.conf.d/50-marker.conf": 'install_items+=" /usr/share/dracut-marker/file "\n',
        "/usr/share/dracut-marker/file": "marker\n",
        "/usr/lib/dracut/modules.d/99marker/module-setup.sh": "#!/bin/bash\ncheck() { return 0; }\n"
        "depends() { return 0; }\ninstall() { inst_simple /usr/lib/firmware/marker.bin; }\n",
        "/usr/lib/firmware/marker.bin": "firmware\n",
    },
)
"""A file by configuration, and one of firmware by a module of dracut's own."""


@pytest.fixture(scope="module")
def example(example_repo: Path, tmp_path_factory: pytest.TempPathFactory) -> System:
    """A sysroot with the example image deployed. Not to be changed: see ``sysroot``."""
    path = tmp_path_factory.mktemp("example") / "sysroot"
    run_cli("compose", "sysroot", "--repo", example_repo, "--stateroot", STATEROOT, EXAMPLE_REF, path)
    commit = output("ostree", f"--repo={example_repo}", "rev-parse", EXAMPLE_REF).strip()
    return System(path, Base(example_repo, commit))


@pytest.fixture
def machine(example: System, tmp_path: Path) -> Iterator[System]:
    system = example.clone(tmp_path / "sysroot")
    yield system
    system.remove()


def modules(system: System, version: str) -> set[str]:
    """What a deployment has of a kernel besides its modules."""
    place = system.deployment() / "usr/lib/modules" / version
    return {path.name for path in place.iterdir() if not path.name.startswith("modules.")} if place.is_dir() else set()


def old(system: System) -> str:
    """The version of the image's own kernel."""
    shown = output("ostree", "show", f"--repo={system.repo}", "--print-metadata-key=ostree.linux", system.base.commit)
    return shown.strip().strip("'")


def listed(system: System, version: str) -> str:
    """What lsinitrd(1) of the tree says of its initramfs."""
    tree = system.deployment()
    return output("chroot", tree, "lsinitrd", f"/usr/lib/modules/{version}/initramfs.img")


def test_a_second_kernel_boots_and_the_base_s_stays_as_a_spare(machine: System, tmp_path: Path) -> None:
    done = machine.install(*(os.fspath(deb.build(tmp_path)) for deb in (kernel_package(), CONFIGURATION)))
    before = old(machine)
    assert f"kernel {NEW} will boot, not {before}" in done.stderr
    assert modules(machine, NEW) == {"vmlinuz", "initramfs.img", "config", "System.map", "kernel"}
    assert modules(machine, before) >= {"vmlinuz.unused", "kernel"}
    assert not modules(machine, before) & {"vmlinuz", "initramfs.img"}
    assert machine.entry()["linux"][0].endswith(f"vmlinuz-{NEW}")
    boot = machine.path / "boot" / machine.entry()["linux"][0].lstrip("/")
    assert boot.read_text() == "kernel\n"
    text = listed(machine, NEW)
    assert "ostree-prepare-root" in text
    assert "usr/share/dracut-marker/file" in text
    assert "usr/lib/firmware/marker.bin" in text
    # Nothing of /boot, nor the links at the top that Debian's boot loaders use.
    assert list((machine.deployment() / "boot").iterdir()) == []
    assert not [path.name for path in machine.deployment().iterdir() if path.name.startswith(("vmlinuz", "initrd"))]
    status = machine.run("status", "--json").document["deployments"]
    assert [deployment["kernel"] for deployment in status] == [NEW, before]
    machine.fsck()
    machine.run("uninstall", f"linux-image-{NEW}", "dracut-marker")
    assert machine.commit() == machine.base.commit
    assert machine.entry()["linux"][0].endswith(f"vmlinuz-{before}")


def test_the_base_s_kernel_makes_room_for_another(machine: System, tmp_path: Path) -> None:
    before = old(machine)
    deb = kernel_package().build(tmp_path)
    names = [name for name in machine.dpkg_status() if name.startswith("linux-image-")]
    machine.run("override", "remove", *names, "--install", deb)
    assert modules(machine, NEW) >= {"vmlinuz", "initramfs.img"}
    assert not modules(machine, before) & {"vmlinuz", "vmlinuz.unused", "initramfs.img", "kernel"}
    status = machine.run("status", "--json").document["deployments"]
    assert status[0]["kernel"] == NEW
    # Its next version has the same name, and another image.
    later = kernel_package("9.9-2", "kernel two\n").build(tmp_path)
    machine.install(os.fspath(later))
    assert (machine.path / "boot" / machine.entry()["linux"][0].lstrip("/")).read_text() == "kernel two\n"


def test_an_initramfs_made_here_with_arguments(machine: System) -> None:
    before = old(machine)
    # Most of the time goes into the modules.
    arguments = ("--arg=--no-kernel", "--arg=--install", "--arg=/usr/bin/less")
    machine.run("initramfs", "--enable", *arguments)
    recorded = dict(machine.origin()["apt-ostree"])
    assert recorded.pop("inputs")
    assert recorded == {"regenerate-initramfs": "true", "initramfs-args": "--no-kernel;--install;/usr/bin/less;"}
    assert "usr/bin/less" in listed(machine, before)
    first = machine.content()
    again = machine.run("initramfs", "--enable", *arguments)
    assert again.stdout.startswith("Nothing to do: ")
    assert machine.run("initramfs").stdout.splitlines()[1] == "Arguments    --no-kernel --install /usr/bin/less"
    machine.run("initramfs", "--disable")
    assert machine.commit() == machine.base.commit
    assert not machine.origin().has_section("apt-ostree")
    # Byte for byte the same.
    machine.run("cleanup", "-r")
    machine.run("initramfs", "--enable", *arguments)
    assert machine.content() == first


def test_an_argument_that_is_no_option_is_not_taken_for_the_image(machine: System) -> None:
    with machine.unchanged():
        failure = machine.run("initramfs", "--enable", "--arg=/usr/bin/less", status=1).failure
    assert "Unknown arguments: /usr/bin/less" in failure.detail


def test_the_last_kernel_cannot_be_removed(machine: System) -> None:
    names = [name for name in machine.dpkg_status() if name.startswith("linux-image-")]
    with machine.unchanged():
        failure = machine.run("override", "remove", "--dry-run", *names, status=1).failure
    assert failure.brief == "no kernel would be left to boot"


def test_files_of_etc_beside_the_initramfs(machine: System, tmp_path: Path) -> None:
    etc = machine.deployment() / "etc"
    (etc / "crypttab").write_text("root /dev/vda2 none luks\n")
    (etc / "crypttab").chmod(0o600)
    (etc / "deep/er").mkdir(parents=True)
    (etc / "deep").chmod(0o700)
    (etc / "deep/er/file").write_text("x\n")
    commit = machine.commit()
    machine.run("initramfs-etc", "--track", "/etc/crypttab", "--track", "/etc/deep/er/file")
    assert machine.commit() == commit
    assert machine.origin()["apt-ostree"]["initramfs-etc"] == "/etc/crypttab;/etc/deep/er/file;"
    assert unpacked(machine, tmp_path / "one") == {
        "etc/crypttab": "root /dev/vda2 none luks\n",
        "etc/deep/er/file": "x\n",
    }
    # The kernel gives the modes of directories to those that are there already.
    assert (tmp_path / "one/etc/deep").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "one/etc/deep/er").stat().st_mode & 0o777 == 0o755
    # Repeated by what follows, from the /etc of then.
    (machine.deployment() / "etc/crypttab").write_text("changed\n")
    machine.run("initramfs-etc", "--untrack", "/etc/deep/er/file")
    assert unpacked(machine, tmp_path / "two") == {"etc/crypttab": "changed\n"}
    # OSTree calls the archive by its digest, in what anybody may read: it tells nothing of a short secret.
    salt = machine.area / "salt"
    assert salt.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "two" / kernel.SALT).read_bytes() == salt.read_bytes()
    name = machine.entry()["initrd"][1]
    machine.run("kargs", "--append=quiet")
    assert machine.entry()["initrd"][1] == name
    salt.unlink()
    machine.run("kargs", "--append=splash")
    assert machine.entry()["initrd"][1] != name
    assert machine.run("initramfs-etc", "--json").document["initramfs-etc"] == ["/etc/crypttab"]
    machine.run("initramfs-etc", "--untrack", "/etc/deep/er/file", "--unchanged-exit-77", status=77)
    machine.run("initramfs-etc", "--untrack-all")
    assert len(machine.entry()["initrd"]) == 1


def unpacked(system: System, target: Path) -> dict[str, str]:
    """The files of the second initramfs, as cpio(1) reads it."""
    image = system.path / "boot" / system.entry()["initrd"][1].lstrip("/")
    target.mkdir()
    with image.open("rb") as file:
        subprocess.run(["cpio", "--extract", "--quiet"], cwd=target, stdin=file, check=True)
    assert (target / "etc/crypttab").stat().st_mode & 0o777 == 0o600
    return {
        path.relative_to(target).as_posix(): path.read_text()
        for path in target.rglob("*")
        if path.is_file() and path.name != kernel.SALT
    }


@pytest.mark.parametrize(
    ("name", "status"),
    [("/etc/absent", 1), ("/usr/bin/sh", 2), ("/etc/../usr/bin/sh", 2), ("/etc/os-release", 1), ("/etc/a;b", 2)],
)
def test_what_cannot_be_tracked_is_refused(machine: System, name: str, status: int) -> None:
    with machine.unchanged():
        machine.run("initramfs-etc", "--track", name, status=status)


def test_a_base_without_dracut_is_told_so_before_anything_is_done(sysroot: System, tmp_path: Path) -> None:
    linux_base = Deb("linux-base", files={"/usr/share/linux-base": ""}).build(tmp_path)
    with sysroot.unchanged():
        failure = sysroot.run("initramfs", "--enable", status=1).failure
        assert failure.brief == "the tree cannot make an initramfs that boots OSTree"
        failure = sysroot.run("install", linux_base, kernel_package().build(tmp_path), status=1).failure
        assert failure.detail == "only dracut can, and the tree has no dracut"
