"""Bases of other authors: what their trees and their commits say that is not believed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.system import System, output


def publish(system: System, *words: str, ref: str = "other") -> str:
    """A commit of another author with the base's files, as a local ref; further words of ``ostree commit``."""
    return output(
        "ostree", "commit", f"--repo={system.repo}", f"--branch={ref}", f"--tree=ref={system.base.commit}",
        "--fsync=false", "--add-metadata-string=version=66", "--add-metadata=ostree.bootable=true",
        "--add-metadata-string=ostree.linux=0.0", *words,
    ).strip()  # fmt: skip


@pytest.mark.parametrize(
    ("place", "name"),
    [("boot", "vmlinuz-9\noptions quiet\nz"), ("boot", "vmlinuz-9 quiet z"), ("usr/lib/ostree-boot", "vmlinuz-9")],
)
def test_a_base_writes_no_line_of_the_boot_menu(sysroot: System, tmp_path: Path, place: str, name: str) -> None:
    """libostree would take such a kernel, and write its name into the loader entry."""
    directory = tmp_path / "more" / place
    directory.mkdir(parents=True)
    for kind in ("vmlinuz", "initramfs"):
        (directory / f"{name.replace('vmlinuz', kind)}-{'a' * 64}").write_text(kind)
    publish(sysroot, f"--tree=dir={tmp_path / 'more'}")
    before = (sysroot.deployments(), sysroot.entry())
    failed = sysroot.run("rebase", ":other", status=1).failure
    assert "Nothing was published" in failed.resolution
    assert (sysroot.deployments(), sysroot.entry()) == before
