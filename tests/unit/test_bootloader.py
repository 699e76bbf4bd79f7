"""The order of boot, written as libostree writes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from apt_ostree.errors import ChangedError, SysrootError
from apt_ostree.host import proc
from apt_ostree.system import bootloader
from apt_ostree.system.sysroot import load
from tests.unit.fake import Fake


def test_of_equal_versions_a_reordering_means_the_deployment_that_was_shown(tmp_path: Path) -> None:
    """ostree writes none; whatever wrote them, an index has to mean one deployment."""
    fake = Fake(tmp_path / "sysroot")
    for number, letter in enumerate("abc"):
        fake.deploy(letter * 64, "1", file=f"ostree-{number}.conf")
    before = load(fake.path).deployments
    bootloader._reorder(fake.path, 1)
    after = load(fake.path).deployments
    assert [d.id for d in after] == [before[1].id, before[0].id, before[2].id]


def test_a_newer_ostree_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake(tmp_path / "sysroot")
    fake.deploy("a" * 64, "2")
    fake.deploy("b" * 64, "1")
    calls: list[tuple[str, ...]] = []
    monkeypatch.setattr("apt_ostree.tools.ostree.has_admin", lambda command: command == "set-default")
    monkeypatch.setattr("apt_ostree.tools.ostree.admin", lambda path, *words: calls.append(words))
    bootloader.set_default(load(fake.path), 1)
    assert calls == [("set-default", "1")]


def test_a_reordering_that_was_done_is_not_undone_by_what_failed_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A damaged repository stops ostree's clearing up; one that did nothing is an error."""
    fake = Fake(tmp_path / "sysroot")
    fake.deploy("a" * 64, "2")
    fake.deploy("b" * 64, "1")

    def fail(path: Path, *words: str) -> str:
        raise proc.ChildError(proc.Result(("ostree", "admin", *words), 1, "", "error: no"))

    monkeypatch.setattr("apt_ostree.tools.ostree.admin", fail)
    monkeypatch.setattr("apt_ostree.tools.ostree.has_admin", lambda command: True)
    with pytest.raises(proc.ChildError):
        bootloader.set_default(load(fake.path), 1)
    monkeypatch.setattr("apt_ostree.tools.ostree.has_admin", lambda command: False)
    after = bootloader.set_default(load(fake.path), 1)
    assert [d.checksum[0] for d in after.deployments] == ["b", "a"]


def test_while_ostree_itself_works_nothing_is_reordered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake(tmp_path / "sysroot")
    fake.deploy("a" * 64, "2")
    fake.deploy("b" * 64, "1")
    monkeypatch.setattr("apt_ostree.tools.ostree.has_admin", lambda command: False)
    before = load(fake.path)
    with bootloader._ostree_locked(fake.path), pytest.raises(ChangedError, match="ostree is changing"):
        bootloader.set_default(before, 1)
    assert load(fake.path) == before


@pytest.mark.parametrize("menu", ["loader", "grub2", "grub.cfg"])
def test_a_boot_loader_with_a_menu_of_its_own_is_left_alone(tmp_path: Path, menu: str) -> None:
    fake = Fake(tmp_path / "sysroot")
    fake.deploy("a" * 64, "2")
    fake.deploy("b" * 64, "1")
    if menu == "loader":
        (fake.path / "boot/loader/grub.cfg").touch()
    elif menu == "grub2":
        (fake.path / "ostree/repo/config").write_text("[sysroot]\nbootloader=grub2\n")
    else:
        place = fake.path / "boot/efi/EFI/debian"
        place.mkdir(parents=True)
        (place / "grub.cfg").write_text("linux /x ostree=/ostree/boot.1/debian/d/0\n")
    with pytest.raises(SysrootError, match="too old to roll back"):
        bootloader._reorder(fake.path, 1)
    assert [d.checksum[0] for d in load(fake.path).deployments] == ["a", "b"]


@pytest.mark.parametrize("target", ["loader.x", "elsewhere/loader.1", "loader.2", "loader.\u0661", None])
def test_where_it_cannot_be_told_which_entries_are_in_force_nothing_is_reordered(
    tmp_path: Path, target: str | None
) -> None:
    fake = Fake(tmp_path / "sysroot")
    fake.deploy("a" * 64, "2")
    fake.deploy("b" * 64, "1")
    loader = fake.path / "boot/loader"
    if target is None:
        loader.unlink()
        (fake.path / "boot/loader.1").rename(loader)
    else:
        loader.unlink()
        (fake.path / "boot/loader.1").rename(fake.path / "boot/moved")
        loader.symlink_to(target)
        (fake.path / "boot" / target).parent.mkdir(exist_ok=True)
        (fake.path / "boot/moved").rename(fake.path / "boot" / target)
    with pytest.raises(SysrootError, match="cannot tell which loader entries are in force"):
        bootloader._reorder(fake.path, 1)
    assert [d.checksum[0] for d in load(fake.path).deployments] == ["a", "b"]


def test_a_repositorys_configuration_may_hold_any_bytes(tmp_path: Path) -> None:
    fake = Fake(tmp_path / "sysroot")
    (fake.path / "ostree/repo/config").write_bytes(b"[core]\n# caf\xe9\n")
    assert bootloader._menus(fake.path) == []


def test_what_an_older_ostree_is_spared_it_clears_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake(tmp_path / "sysroot")
    fake.deploy("a" * 64, "2")
    fake.deploy("b" * 64, "1")
    calls: list[tuple[str, ...]] = []
    monkeypatch.setattr("apt_ostree.tools.ostree.has_admin", lambda command: False)
    monkeypatch.setattr("apt_ostree.tools.ostree.admin", lambda path, *words: calls.append(words))
    after = bootloader.set_default(load(fake.path), 1)
    assert (calls, [d.checksum[0] for d in after.deployments]) == ([("cleanup",)], ["b", "a"])


@pytest.mark.parametrize("newer", [True, False])
def test_what_another_tool_changed_is_not_reordered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, newer: bool
) -> None:
    """An index may mean another deployment by now."""
    fake = Fake(tmp_path / "sysroot")
    fake.deploy("a" * 64, "2")
    fake.deploy("b" * 64, "1")
    before = load(fake.path)
    fake.deploy("c" * 64, "3")
    now = load(fake.path)
    monkeypatch.setattr("apt_ostree.tools.ostree.has_admin", lambda command: newer)
    monkeypatch.setattr("apt_ostree.tools.ostree.admin", lambda path, *words: pytest.fail(str(words)))
    with pytest.raises(ChangedError, match="the deployments changed"):
        bootloader.set_default(before, 1)
    assert load(fake.path) == now


def test_ostree_is_not_asked_where_it_would_read_an_endless_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program of the machine made a link of it; the rollback is what leads away from there."""
    fake = Fake(tmp_path / "sysroot")
    fake.deploy("a" * 64, "2")
    fake.deploy("b" * 64, "1")
    place = fake.path / f"ostree/deploy/debian/deploy/{'a' * 64}.0/etc/selinux"
    place.mkdir(parents=True)
    (place / "config").symlink_to("/dev/zero")
    calls: list[tuple[str, ...]] = []
    monkeypatch.setattr("apt_ostree.tools.ostree.has_admin", lambda command: True)
    monkeypatch.setattr("apt_ostree.tools.ostree.admin", lambda path, *words: calls.append(words))
    after = bootloader.set_default(load(fake.path), 1)
    assert [d.checksum[0] for d in after.deployments] == ["b", "a"]
    assert calls == [("cleanup",)]


def test_no_program_of_a_deployment_writes_the_menu_for_a_rollback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = Fake(tmp_path / "sysroot")
    fake.deploy("a" * 64, "2")
    fake.deploy("b" * 64, "1")
    (fake.path / "boot/grub").mkdir()
    (fake.path / "boot/grub/grub.cfg").touch()
    monkeypatch.setattr("apt_ostree.tools.ostree.has_admin", lambda command: pytest.fail("asked"))
    with pytest.raises(SysrootError, match="only the running system can write its boot menu"):
        bootloader.set_default(load(fake.path), 1)
