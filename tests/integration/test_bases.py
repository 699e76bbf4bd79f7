"""Bases of other authors: what their trees and their commits say that is not believed."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.archive import public_directory, sources_line
from tests.integration.served import small_archive
from tests.integration.system import REF, System, output


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


def test_packages_come_from_the_new_base_s_sources_and_what_names_the_old_release_is_said(
    sysroot: System, tmp_path: Path
) -> None:
    was = re.search(r"^VERSION_CODENAME=(\w+)$", (sysroot.deployment() / "usr/lib/os-release").read_text(), re.M)
    assert was is not None
    with public_directory() as one, public_directory() as two:
        new = small_archive(one, {"only-there": ("2", "")}, suite="forky")
        own = small_archive(two, {"only-mine": ("1", "")}, suite=was[1])
        sysroot.use_archive(own, "mine")
        stage = {
            "usr/lib/os-release": "ID=debian\nVERSION_CODENAME=forky\n",
            "usr/etc/apt/sources.list.d/fixtures.sources": sources_line(new).replace(
                str(new.keyring), "/etc/apt/keyrings/fixtures.gpg"
            ),
        }
        for name, text in stage.items():
            (place := tmp_path / "more" / name).parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        (tmp_path / "more/usr/etc/apt/keyrings").mkdir()
        shutil.copy(new.keyring, tmp_path / "more/usr/etc/apt/keyrings/fixtures.gpg")
        publish(sysroot, f"--tree=dir={tmp_path / 'more'}", "--owner-uid=0", "--owner-gid=0")
        done = sysroot.run("rebase", ":other", "--install", "only-there")
    assert sysroot.dpkg_status()["only-there"] == ("2", "install ok installed")
    line = "/etc/apt/sources.list.d/mine.sources, line 1"
    assert f"{line}, names {was[1]}, but the new base is forky: change that line" in done.stderr
    assert done.stderr.count("the new base is forky") == 1


def test_a_file_where_a_new_base_has_a_directory_is_named_before_anything_is_built(
    sysroot: System, tmp_path: Path
) -> None:
    sysroot.install("greeter")
    (tmp_path / "more/usr/etc/foo.d").mkdir(parents=True)
    publish(sysroot, f"--tree=dir={tmp_path / 'more'}", "--owner-uid=0", "--owner-gid=0")
    place = sysroot.deployment() / "etc/foo.d"
    place.write_text("mine\n")
    for words in (["--dry-run"], []):
        failed = sysroot.run("rebase", ":other", *words, status=1)
        assert failed.failure.brief == "/etc/foo.d is a file on this machine and a directory in the new tree"
        assert str(place) in failed.failure.resolution
        assert "Laying" not in failed.stderr and "Resolving" not in failed.stderr


def test_what_an_author_or_an_installer_says_against_upgrades_is_told(sysroot: System) -> None:
    publish(
        sysroot, "--add-metadata-string=ostree.endoflife=12 is over",
        "--add-metadata-string=ostree.endoflife-rebase=debian/14",
    )  # fmt: skip
    warned = "the base is at its end of life: 12 is over; its author names a successor: apt-ostree rebase debian/14"
    assert warned in sysroot.run("rebase", ":other").stderr
    assert warned in sysroot.run("upgrade").stderr
    assert "End of life  12 is over" in sysroot.run("status").stdout
    assert sysroot.run("status", "--json").document["deployments"][0]["end-of-life"] == "12 is over"
    place = sysroot.deployment().with_name(f"{sysroot.deployment().name}.origin")
    place.write_text(place.read_text() + "\n[origin]\nunconfigured-state=Register first.\n")
    assert sysroot.run("upgrade", status=1).failure.detail == "Register first."


def deployed(system: System) -> dict[str, object]:
    """What boots next, as status shows it."""
    found: dict[str, object] = system.run("status", "--json").document["deployments"][0]
    assert found["damaged"] is None
    return found


LIES = {
    "clientlayer": "true", "engine": "6", "uid": "x", "command": "x", "packages": "7", "lock": "[[1]]", "left-out": "7",
    "removed-base-packages": "[[]]", "replaced-base-packages": "[1]", "pkglist": '{"a": 1}', "kernel-args": "7",
}  # fmt: skip


def test_a_base_that_says_it_is_a_layer_stops_nothing(sysroot: System) -> None:
    """Its parent is whatever its author names."""
    words = [f"--add-metadata-string=apt-ostree.{key}={text}" for key, text in LIES.items()]
    base = publish(sysroot, *words, f"--parent={sysroot.base.commit}")
    sysroot.run("rebase", ":other")
    found = deployed(sysroot)
    assert (found["checksum"], found["base-checksum"], found["packages"]) == (base, base, [])
    assert "(no layer)" in sysroot.run("status").stdout
    sysroot.run("upgrade")
    sysroot.install("greeter")
    assert deployed(sysroot)["base-checksum"] == base
    sysroot.run("upgrade")
    sysroot.run("rebase", f"debian:{REF}", "--uninstall", "greeter")
    assert sysroot.commit() == sysroot.base.commit


def test_a_layer_that_was_published_is_a_base_like_any_other(sysroot: System) -> None:
    sysroot.install("greeter")
    image = sysroot.commit()
    output("ostree", "refs", f"--repo={sysroot.repo}", "--create=image", image)
    sysroot.run("rebase", ":image", "--uninstall", "greeter")
    found = deployed(sysroot)
    assert (found["checksum"], found["base-checksum"], found["packages"]) == (image, image, [])
    sysroot.install("rec-b")
    assert deployed(sysroot)["base-checksum"] == image
    assert {"greeter", "rec-a", "rec-b"} <= sysroot.dpkg_status().keys()
    assert "Already up to date" in sysroot.run("upgrade").stdout
    sysroot.run("uninstall", "rec-b")
    assert sysroot.commit() == image


def test_a_layer_of_another_author_is_not_used_again(sysroot: System) -> None:
    """All inputs of a layer are public, and so is their digest: its commit may say whatever this machine's would."""
    sysroot.install("greeter")
    made = sysroot.commit()
    claims = output("ostree", "show", f"--repo={sysroot.repo}", "--raw", made)
    inputs = sysroot.origin()["apt-ostree"]["inputs"]
    assert inputs not in claims
    sysroot.run("cleanup", "-r")
    metadata = {"clientlayer": "true", "inputs-sha256": inputs}
    words = [f"--add-metadata-string=apt-ostree.{key}={text}" for key, text in metadata.items()]
    forged = publish(sysroot, *words, f"--parent={sysroot.base.commit}")
    sysroot.run("rebase", ":other", "--uninstall", "greeter")
    sysroot.run("rebase", f"debian:{REF}")
    assert sysroot.deployment(1).name.startswith(forged)
    assert "the same layer as before" not in sysroot.install("greeter").stdout
    assert sysroot.commit() not in {forged, sysroot.base.commit}
    assert "greeter" in sysroot.dpkg_status()
    sysroot.run("kargs", "--append=quiet")
    assert "Already up to date" in sysroot.run("upgrade").stdout
    assert sysroot.origin()["apt-ostree"]["inputs"] == inputs
