"""Files that a script makes another of each time it runs: this machine's own, in whatever layer its package is."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.archive import Deb
from tests.integration.system import System

POSTINST = """
[ "$1" = configure ] || exit 0
# Some only do so where nothing is yet, some only the first time.
if [ -z "$2" ]; then
    [ -e /etc/own/name ] || echo "name $(cat /proc/sys/kernel/random/uuid)" >/etc/own/name
    if [ ! -d /etc/own/store ]; then
        mkdir -m 0700 /etc/own/store
        cat /proc/sys/kernel/random/uuid >/etc/own/store/a
        echo constant >/etc/own/store/b
        ln -s a /etc/own/store/c
    fi
    ls /etc/own/keys/*.key >/dev/null 2>&1 || : >/etc/own/keys/$(cat /proc/sys/kernel/random/uuid).key
    chmod 0640 /etc/own/name
    chown root:games /etc/own/name
    mkdir -p /var/lib/own
    [ -e /var/lib/own/state ] || cat /proc/sys/kernel/random/uuid >/var/lib/own/state
fi
# As ucf does, which leaves alone what an administrator deleted.
if [ ! -e /var/lib/ucf/own ]; then
    mkdir -p /var/lib/ucf
    cp /etc/own/name /var/lib/ucf/own
    cp /etc/own/name /etc/own/managed
fi
echo "packages: $(dpkg-query -W -f '.' | wc -c)" >/etc/own/rendered
echo always the same >/etc/own/same
"""


def deb(version: str = "1.0") -> Deb:
    return Deb(
        "own", version, files={"/etc/own/keys/README": "keys\n", "/usr/share/own/data": version},
        scripts={"postinst": POSTINST},
    )  # fmt: skip


OTHER = Deb("other", "1.0", files={"/usr/share/other/data": "other\n"})


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    return [str(package.build(tmp_path)) for package in (deb(), OTHER, deb("2.0"))]


def own(system: System, index: int = 0) -> dict[str, str]:
    """The files below /etc/own of what a deployment's unit delivers, and their content."""
    top = system.deployment(index) / "usr/lib/apt-ostree/identity/own"
    return {
        path.relative_to(top).as_posix(): path.read_text()
        for path in sorted(top.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def shipped(system: System, index: int = 0) -> set[str]:
    top = system.deployment(index) / "usr/etc/own"
    return {path.relative_to(top).as_posix() for path in top.rglob("*") if not path.is_dir()}


def deliver(system: System) -> Path:
    """What the unit does at a boot; returns the directory of the machine's own files."""
    program = system.deployment() / "usr/lib/apt-ostree/make-identity"
    subprocess.run([program, system.deployment()], check=True)
    return system.deployment() / "etc/own"


def test_what_scripts_make_differently_is_kept_through_layers_upgrades_and_rollbacks(
    sysroot: System, files: list[str]
) -> None:
    sysroot.install(files[0])
    first = own(sysroot)
    (key,) = (name for name in first if name.startswith("keys/"))
    assert set(first) == {"name", "managed", "store/a", "store/b", key}
    # What came out the same follows the image, as does what packages list.
    assert shipped(sysroot) == {"rendered", "same", "keys/README"}
    etc = deliver(sysroot)
    name = etc / "name"
    assert name.read_text() == first["name"]
    assert (name.stat().st_mode & 0o7777, name.stat().st_gid) == (0o640, 60)
    assert (etc / "store").stat().st_mode & 0o7777 == 0o700
    assert (etc / "store/c").readlink() == Path("a")

    sysroot.install(files[1])
    assert own(sysroot) == first
    etc = deliver(sysroot)
    assert (etc / "name").read_text() == first["name"]
    rendered = (sysroot.deployment() / "usr/etc/own/rendered").read_text()
    assert rendered != (sysroot.deployment(1) / "usr/etc/own/rendered").read_text()

    sysroot.run("uninstall", "own")
    # Like dpkg, which leaves what no list has until a purge.
    assert (deliver(sysroot) / "name").read_text() == first["name"]
    sysroot.run("rollback")
    sysroot.install(files[2])
    assert own(sysroot) == first
    sysroot.fsck()


def test_a_boot_delivers_only_what_is_missing_and_through_no_link(sysroot: System, files: list[str]) -> None:
    sysroot.install(files[0])
    etc = sysroot.deployment() / "etc/own"
    elsewhere = sysroot.path / "elsewhere"
    elsewhere.mkdir()
    (etc / "name").write_text("the administrator's\n")
    for path in (etc / "keys").iterdir():
        path.unlink()
    (etc / "keys").rmdir()
    (etc / "keys").symlink_to(elsewhere)
    deliver(sysroot)
    assert (etc / "name").read_text() == "the administrator's\n"
    assert (etc / "store/b").read_text() == "constant\n"
    assert list(elsewhere.iterdir()) == []
