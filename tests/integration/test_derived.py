"""What tools compute in /etc is computed again at a boot, where the machine has its own version of it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.archive import Deb
from tests.integration.system import System

RECORD = "etc/.apt-ostree-derived"


def library(deployment: Path) -> bytes:
    """A real shared library, for ldconfig(8) to find."""
    return next((deployment / "usr/lib").glob("*-linux-gnu/libacl.so.1")).read_bytes()


def boot(system: System) -> subprocess.CompletedProcess[str]:
    """What the unit does in what boots next."""
    program = ["chroot", str(system.deployment()), "/usr/lib/apt-ostree/derive-etc"]
    return subprocess.run(program, check=False, capture_output=True, text=True)


def known(system: System) -> set[str]:
    """The libraries in directories of our own that the deployment's cache names."""
    listing = subprocess.run(
        ["ldconfig", "-r", system.deployment(), "-p"], check=True, capture_output=True, text=True
    ).stdout  # fmt: skip
    return {line.split("=> ")[1] for line in listing.splitlines() if "=> /opt/" in line or "=> /usr/lib/pack/" in line}


def administer(system: System) -> None:
    """A library of the administrator's own, and ldconfig run for it."""
    deployment = system.deployment()
    own = deployment / "opt/own"
    own.mkdir(parents=True)
    (own / "libacl.so.1").write_bytes(library(deployment))
    (deployment / "etc/ld.so.conf.d/own.conf").write_text("/opt/own\n")
    subprocess.run(["ldconfig", "-X", "-r", deployment], check=True)


@pytest.fixture
def package(sysroot: System, tmp_path: Path) -> str:
    deb = Deb("pack", files={"/etc/ld.so.conf.d/pack.conf": "/usr/lib/pack\n", "/usr/lib/pack/libacl.so.1": "x"})
    stage = deb.build(tmp_path)
    # Built once more with a real library: Deb takes text.
    tree = tmp_path / "tree"
    subprocess.run(["dpkg-deb", "-R", stage, tree], check=True)
    (tree / "usr/lib/pack/libacl.so.1").write_bytes(library(sysroot.deployment()))
    (tree / "DEBIAN/md5sums").unlink(missing_ok=True)
    (tree / "DEBIAN/triggers").write_text("activate-noawait ldconfig\n")
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", tree, stage], check=True, capture_output=True)
    return str(stage)


def test_a_layers_library_is_found_beside_the_administrators(sysroot: System, package: str) -> None:
    administer(sysroot)
    sysroot.install(package)
    # The administrator's own is no part of the new tree.
    own = sysroot.deployment() / "opt/own"
    own.mkdir(parents=True)
    (own / "libacl.so.1").write_bytes(library(sysroot.deployment()))
    assert known(sysroot) == {"/opt/own/libacl.so.1"}
    assert boot(sysroot).returncode == 0
    assert known(sysroot) == {"/opt/own/libacl.so.1", "/usr/lib/pack/libacl.so.1"}
    record = (sysroot.deployment() / RECORD).read_text()
    (sysroot.deployment() / "etc/ld.so.cache").write_bytes(b"the administrator's again")
    assert boot(sysroot).returncode == 0
    assert (sysroot.deployment() / "etc/ld.so.cache").read_bytes() == b"the administrator's again"
    assert (sysroot.deployment() / RECORD).read_text() == record


def test_where_the_machine_has_the_images_nothing_is_done(sysroot: System, package: str) -> None:
    sysroot.install(package)
    before = (sysroot.deployment() / "etc/ld.so.cache").stat()
    assert boot(sysroot).returncode == 0
    assert (sysroot.deployment() / "etc/ld.so.cache").stat().st_mtime_ns == before.st_mtime_ns
    assert "ld.so.cache" not in (sysroot.deployment() / RECORD).read_text()


def test_a_bundle_of_certificates_is_made_again_by_its_tool(sysroot: System, tmp_path: Path) -> None:
    certificates = Deb("ca-certificates", files={"/usr/sbin/update-ca-certificates": """#!/bin/sh
cat /usr/share/ca-certificates/*.crt /etc/own-ca/*.crt 2>/dev/null >/etc/ssl/certs/ca-certificates.crt
[ ! -e /etc/own-ca/broken ]
""", "/usr/share/ca-certificates/a.crt": "a\n"}, scripts={"postinst": """
mkdir -p /etc/ssl/certs
update-ca-certificates
"""})  # fmt: skip
    more = Deb(
        "more-certificates",
        control="Depends: ca-certificates\n",
        files={"/usr/share/ca-certificates/b.crt": "b\n"},
        scripts={"postinst": "update-ca-certificates\n"},
    )
    sysroot.install(str(certificates.build(tmp_path)))
    etc = sysroot.deployment() / "etc"
    (etc / "own-ca").mkdir()
    (etc / "own-ca/own.crt").write_text("own\n")
    (etc / "ssl/certs/ca-certificates.crt").write_text("a\nown\n")
    sysroot.install(str(more.build(tmp_path)))
    bundle = sysroot.deployment() / "etc/ssl/certs/ca-certificates.crt"
    assert bundle.read_text() == "a\nown\n"
    (sysroot.deployment() / "etc/own-ca/broken").touch()
    failed = boot(sysroot)
    assert failed.returncode == 1
    assert "/etc/ssl/certs/ca-certificates.crt may lack what this deployment adds" in failed.stderr
    # It is tried again.
    (sysroot.deployment() / "etc/own-ca/broken").unlink()
    assert boot(sysroot).returncode == 0
    assert bundle.read_text() == "a\nb\nown\n"
