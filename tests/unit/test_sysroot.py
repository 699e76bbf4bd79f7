"""A sysroot read from its files: a fake one, with the links and entries that ostree 2022.7 makes."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from apt_ostree.errors import SysrootError
from apt_ostree.model import Deployment
from apt_ostree.system import sysroot
from apt_ostree.system.staged import Staged
from apt_ostree.system.sysroot import Sysroot, load, parse_entry
from tests.unit.fake import BOOTCSUM, Fake

A, B, C = "a" * 64, "b" * 64, "c" * 64

ENTRY = """\
title Debian GNU/Linux 13 (trixie) 20260101.0 (ostree:1)
version 2
options root=UUID=1 rw ostree=/ostree/boot.1/debian/{}/0 quiet
linux /ostree/debian-{}/vmlinuz-6.12
initrd /ostree/debian-{}/initramfs-6.12.img
""".format(*[BOOTCSUM] * 3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("version 2\ntitle A B  C\n", {"version": "2", "title": "A B  C"}),
        ("# version 1\n\n  options   a=b  c \nlinux\n", {"options": "a=b  c", "linux": ""}),
        ("version 1\nversion 2", {"version": "2"}),
    ],
)
def test_parse_entry(text: str, expected: dict[str, str]) -> None:
    assert parse_entry(text) == expected


def test_only_a_newline_ends_a_line_of_an_entry() -> None:
    assert parse_entry("options a\x0cversion 9\nversion 1\n") == {"options": "a\x0cversion 9", "version": "1"}


def test_parse_entry_reads_what_ostree_writes() -> None:
    assert parse_entry(ENTRY) == {
        "title": "Debian GNU/Linux 13 (trixie) 20260101.0 (ostree:1)",
        "version": "2",
        "options": f"root=UUID=1 rw ostree=/ostree/boot.1/debian/{BOOTCSUM}/0 quiet",
        "linux": f"/ostree/debian-{BOOTCSUM}/vmlinuz-6.12",
        "initrd": f"/ostree/debian-{BOOTCSUM}/initramfs-6.12.img",
    }


@pytest.fixture
def fake(tmp_path: Path) -> Fake:
    return Fake(tmp_path / "sysroot")


def test_load_reads_a_deployment_whole(fake: Fake) -> None:
    fake.deploy(A, "1", "[origin]\nbaserefspec=d:x\n[packages]\nrequested=vim;\n", serial=3)
    assert load(fake.path) == Sysroot(
        fake.path,
        (
            Deployment(
                0,
                "debian",
                A,
                3,
                "root=LABEL=x quiet",
                {"origin": {"baserefspec": "d:x"}, "packages": {"requested": "vim;"}},
                boot_checksum=BOOTCSUM,
            ),
        ),
    )


def test_blanks_in_quotes_stay_as_they_are(fake: Fake) -> None:
    fake.deploy(A, "1", options='dyndbg="file a  +p" {}')
    assert load(fake.path).deployments[0].kargs == 'dyndbg="file a  +p"'


def test_a_pin_for_retention_is_not_the_administrator_s(fake: Fake) -> None:
    fake.deploy(A, "2", "[libostree-transient]\npinned=true\n[apt-ostree]\nretained=true\n")
    fake.deploy(B, "1", "[libostree-transient]\npinned=true\n")
    assert [(d.pinned, d.retained) for d in load(fake.path).deployments] == [(False, True), (True, False)]


def test_deployments_come_in_boot_order_by_the_entries_versions(fake: Fake) -> None:
    fake.deploy(A, "9", file="ostree-1-debian.conf")
    fake.deploy(B, "10", file="ostree-0-debian.conf")
    fake.deploy(C, "2", file="ostree-9-debian.conf", osname="other")
    found = load(fake.path).deployments
    assert [(d.index, d.checksum, d.osname) for d in found] == [(0, B, "debian"), (1, A, "debian"), (2, C, "other")]
    assert not any(d.booted or d.staged or d.pinned for d in found)


def test_two_deployments_of_one_commit_are_told_apart(fake: Fake) -> None:
    fake.deploy(A, "2", serial=1)
    fake.deploy(A, "1", serial=0)
    assert [d.id for d in load(fake.path).deployments] == [f"debian-{A}.1", f"debian-{A}.0"]


def test_a_pinned_deployment_is_known_by_its_origin(fake: Fake) -> None:
    fake.deploy(A, "2", "[origin]\nrefspec=d:x\n[libostree-transient]\npinned=true\n")
    fake.deploy(B, "1")
    assert [d.pinned for d in load(fake.path).deployments] == [True, False]


def test_a_deployment_without_an_origin_has_an_empty_one(fake: Fake) -> None:
    fake.deploy(A, "1", None)
    assert load(fake.path).deployments[0].origin == {}


@pytest.mark.parametrize(
    ("options", "kargs"),
    [("{}", ""), ("{} a", "a"), ("a b=c {}", "a b=c"), ("x.ostree=1 {}", "x.ostree=1"), ("a  {}   b", "a b")],
)
def test_kernel_arguments_are_the_entrys_without_ostrees(fake: Fake, options: str, kargs: str) -> None:
    fake.deploy(A, "1", options=options)
    assert load(fake.path).deployments[0].kargs == kargs


def test_entries_of_others_are_not_ours(fake: Fake) -> None:
    fake.deploy(A, "1")
    fake.entry("memtest.conf", "title Memtest\nefi /memtest.efi\n")
    fake.entry("ostree-2.bak", "garbage")
    assert [d.checksum for d in load(fake.path).deployments] == [A]


def test_a_sysroot_without_deployments_is_one(fake: Fake) -> None:
    assert load(fake.path).deployments == ()


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("\0garbage", "its options do not name a deployment (ostree=)"),
        ("version 1\noptions root=x\n", "its options do not name a deployment (ostree=)"),
        ("version 1\noptions ostree=/elsewhere/0\n", "its options do not name a deployment (ostree=)"),
        (f"options ostree=/ostree/boot.1/debian/{BOOTCSUM}/0\n", "it does not have a version number"),
        (f"version x\noptions ostree=/ostree/boot.1/debian/{BOOTCSUM}/0\n", "it does not have a version number"),
        (f"version ²\noptions ostree=/ostree/boot.1/debian/{BOOTCSUM}/0\n", "it does not have a version number"),
    ],
)
def test_an_entry_that_cannot_be_read_is_named(fake: Fake, text: str, detail: str) -> None:
    fake.deploy(A, "2")
    fake.entry("ostree-1-debian.conf", text)
    with pytest.raises(SysrootError) as caught:
        load(fake.path)
    assert caught.value.brief == f"cannot read {fake.path}/boot/loader/entries/ostree-1-debian.conf"
    assert caught.value.detail == detail


@pytest.mark.parametrize("damage", ["pipe", "directory", "link"])
def test_an_entry_that_is_not_a_file_is_named_and_not_waited_for(fake: Fake, tmp_path: Path, damage: str) -> None:
    fake.deploy(A, "1")
    place = fake.path / "boot/loader.1/entries/ostree-1-debian.conf"
    host = place.rename(fake.path / "host")
    if damage == "pipe":
        os.mkfifo(place)
    elif damage == "directory":
        place.mkdir()
    else:
        place.symlink_to(host)
    with pytest.raises(SysrootError) as caught:
        load(fake.path)
    assert (caught.value.brief, caught.value.detail) == (
        f"cannot read {fake.path}/boot/loader/entries/ostree-1-debian.conf",
        "it is not a file",
    )


@pytest.mark.parametrize("damage", ["no link", "no directory", "elsewhere"])
def test_an_entry_that_leads_to_no_deployment_is_named(fake: Fake, damage: str) -> None:
    fake.deploy(A, "1")
    link = fake.path / f"ostree/boot.1.1/debian/{BOOTCSUM}/0"
    if damage == "no directory":
        (fake.path / f"ostree/deploy/debian/deploy/{A}.0").rmdir()
    else:
        link.unlink()
    if damage == "elsewhere":
        link.symlink_to("../../..")
    with pytest.raises(SysrootError, match=f"for /ostree/boot.1/debian/{BOOTCSUM}/0 does not lead to a deployment"):
        load(fake.path)


def test_a_broken_origin_is_named(fake: Fake) -> None:
    fake.deploy(A, "1", "garbage")
    with pytest.raises(SysrootError, match=rf"cannot read .*{A}\.0\.origin"):
        load(fake.path)


@pytest.mark.parametrize(
    "text",
    ["garbage", "[packages]\nrequested-local=x;\n", "[origin]\n" + "#" * (1 << 20)],
    ids=["form", "intent", "size"],
)
def test_a_broken_origin_is_marked_where_that_is_enough(fake: Fake, text: str) -> None:
    fake.deploy(A, "1", text)
    with pytest.raises(SysrootError, match="cannot read"):
        load(fake.path)
    loaded = load(fake.path, lenient=True)
    assert loaded.deployments[0].damaged
    assert loaded.deployments[0].origin == {}
    assert loaded.again() == loaded


def test_a_path_that_is_no_sysroot_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SysrootError, match="absent does not exist"):
        load(tmp_path / "absent")
    with pytest.raises(SysrootError, match="is not an OSTree sysroot"):
        load(tmp_path)


def deployment(index: int, osname: str = "debian", *, booted: bool = False) -> Deployment:
    return Deployment(index, osname, A, index, "", {}, booted=booted)


@pytest.mark.parametrize(
    ("deployments", "named", "expected"),
    [
        ((deployment(0), deployment(1, "other", booted=True)), None, "other"),
        ((deployment(0, "other"), deployment(1)), None, "other"),
        ((deployment(0, booted=True),), "other", "other"),
        ((), "debian", "debian"),
    ],
)
def test_the_stateroot_is_the_named_the_booted_or_the_first(
    tmp_path: Path, deployments: tuple[Deployment, ...], named: str | None, expected: str
) -> None:
    for name in ("debian", "other"):
        (tmp_path / "ostree/deploy" / name).mkdir(parents=True)
    assert Sysroot(tmp_path, deployments).stateroot(named) == expected


def test_an_unknown_stateroot_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SysrootError, match="stateroot x does not exist"):
        Sysroot(tmp_path, (deployment(0),)).stateroot("x")
    with pytest.raises(SysrootError, match="has no deployment"):
        Sysroot(tmp_path, ()).stateroot(None)


def test_of_lists_the_deployments_of_one_stateroot() -> None:
    loaded = Sysroot(Path("/x"), (deployment(0), deployment(1, "other"), deployment(2)))
    assert [d.index for d in loaded.of("debian")] == [0, 2]
    with pytest.raises(SysrootError, match="stateroot absent of /x has no deployment"):
        loaded.of("absent")


@pytest.mark.parametrize(
    ("deployments", "expected"),
    [
        ((deployment(0), deployment(1, booted=True)), 1),
        ((deployment(0), deployment(1)), 0),
        # What another stateroot has booted is nothing to this one.
        ((deployment(0), deployment(1, "other", booted=True), deployment(2)), 0),
        ((replace(deployment(0), staged=True), deployment(1), deployment(2)), 1),
        ((replace(deployment(0), staged=True),), 0),
    ],
)
def test_a_new_etc_starts_from_the_booted_deployment_or_what_boots_next(
    deployments: tuple[Deployment, ...], expected: int
) -> None:
    assert Sysroot(Path("/x"), deployments).merge("debian").index == expected


def test_the_work_area_is_in_the_repository_and_not_in_its_tmp() -> None:
    loaded = Sysroot(Path("/x"), ())
    assert (loaded.repo, loaded.area) == (Path("/x/ostree/repo"), Path("/x/ostree/repo/extensions/apt-ostree"))


def test_the_staged_deployment_is_the_one_of_the_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it is locked or not: what ostree prints of it differs."""
    fake = Fake(tmp_path / "sysroot")
    fake.deploy(B, "1", "[origin]\nrefspec=d:x\n")
    waiting = fake.path / f"ostree/deploy/debian/deploy/{A}.1"
    waiting.mkdir()
    waiting.with_name(f"{A}.1.origin").write_text("[origin]\nrefspec=d:y\n")
    monkeypatch.setattr("apt_ostree.system.staged.read", lambda: Staged("debian", f"{A}.1", ("rw", "x=1"), locked=True))
    found = sysroot._staged(fake.path)
    assert found is not None
    assert (found.index, found.checksum, found.serial, found.kargs) == (0, A, 1, "rw x=1")
    assert (found.staged, found.locked, found.booted) == (True, True, False)
    waiting.rmdir()
    with pytest.raises(SysrootError, match="the staged deployment is missing"):
        sysroot._staged(fake.path)
