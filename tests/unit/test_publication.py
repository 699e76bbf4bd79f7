"""What is published, what goes with it, and that nothing is while another tool changes the deployments."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from apt_ostree.errors import ChangedError, SysrootError, ToolError, TreeError
from apt_ostree.host import proc
from apt_ostree.model import CommitInfo, Deployment
from apt_ostree.system import origin, publication, retention, seclusion
from apt_ostree.system.sysroot import Sysroot, load
from apt_ostree.tree import deploying, merging
from tests.unit.fake import Fake

A, B, C, NEW = (letter * 64 for letter in "abcd")


class Admin:
    """Stands for ``ostree admin``: keeps the words of each call, and what the origin file for a deployment held."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.origin = ""
        self.fails = False

    def __call__(self, path: Path, *words: str | os.PathLike[str]) -> str:
        call = [os.fspath(word) for word in words]
        self.calls.append(call)
        for word in call:
            if word.startswith("--origin-file="):
                self.origin = Path(word.partition("=")[2]).read_text()
        if self.fails:
            raise proc.ChildError(proc.Result(("ostree", "admin", *call), 1, "", "error: no"))
        return ""


@pytest.fixture
def admin(monkeypatch: pytest.MonkeyPatch) -> Admin:
    found = Admin()
    monkeypatch.setattr("apt_ostree.tools.ostree.admin", found)
    return found


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Two deployments, A before B, and a work area with objects that are not synced yet. Commits are not judged, and
    nothing is mounted."""
    monkeypatch.setattr(deploying, "check", lambda repo, commit: None)
    monkeypatch.setattr(merging, "check", lambda repo, commit, deployment: None)
    monkeypatch.setattr(seclusion, "etc_of", lambda deployment, scratch: nullcontext())
    monkeypatch.setattr(retention, "_kernel_size", lambda repo, commit, deployed: 0)
    fake = Fake(tmp_path / "sysroot")
    fake.deploy(A, "2", "[origin]\nrefspec=d:x\n", options="root=x {} quiet")
    fake.deploy(B, "1", "[origin]\nrefspec=d:x\n")
    loaded = load(fake.path)
    (loaded.area / "tmp").mkdir(parents=True)
    loaded.unsynced.touch()
    return fake


def pinned(fake: Fake) -> None:
    """As ``ostree admin pin`` does it."""
    file = fake.path / f"ostree/deploy/debian/deploy/{B}.0.origin"
    file.write_text(file.read_text() + "[libostree-transient]\npinned=true\n")


def deployed(fake: Fake) -> None:
    fake.deploy(C, "3")


def removed(fake: Fake) -> None:
    (fake.path / "boot/loader/entries/ostree-1-debian.conf").unlink()


def with_arguments(fake: Fake) -> None:
    entry = fake.path / "boot/loader/entries/ostree-2-debian.conf"
    entry.write_text(entry.read_text().replace("quiet", "debug"))


CHANGES: list[Callable[[Fake], None]] = [pinned, deployed, removed, with_arguments]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("late", [False, True])
def test_nothing_is_deployed_over_what_another_tool_changed(
    fake: Fake, admin: Admin, monkeypatch: pytest.MonkeyPatch, change: Callable[[Fake], None], late: bool
) -> None:
    """Before anything is done, or while the disk is synced, which may take minutes."""
    before = load(fake.path)
    if late:
        monkeypatch.setattr(publication, "sync_filesystem", lambda path: change(fake))
    else:
        change(fake)
        monkeypatch.setattr(publication, "sync_filesystem", lambda path: pytest.fail("synced in vain"))
    held: list[Any] = []
    monkeypatch.setattr(retention, "hold", lambda *words: held.append(words))
    with pytest.raises(ChangedError, match="the deployments changed"):
        publication.publish(before, "debian", NEW, before.deployments[0].origin)
    assert (admin.calls, held) == ([], [])
    assert list((before.area / "tmp").iterdir()) == []


@pytest.mark.parametrize("change", CHANGES)
def test_nothing_is_removed_or_pinned_after_such_a_change(
    fake: Fake, admin: Admin, change: Callable[[Fake], None]
) -> None:
    before = load(fake.path)
    change(fake)
    now = load(fake.path)
    with pytest.raises(ChangedError):
        publication.undeploy(before, before.deployments[1])
    with pytest.raises(ChangedError):
        publication.pin(before, before.deployments[0], pinned=True)
    assert admin.calls == []
    assert load(fake.path) == now


def test_a_commit_is_deployed_with_its_origin_and_the_arguments_of_what_boots_next(fake: Fake, admin: Admin) -> None:
    before = load(fake.path)
    after = publication.publish(
        before, "debian", NEW, {"origin": {"refspec": "d:y"}, "packages": {"requested": "vim;"}}
    )
    file = before.area / "tmp/origin"
    assert admin.calls == [
        ["deploy", "--os=debian", f"--origin-file={file}", "--karg-none", "--karg-append=root=x", "--karg-append=quiet",
         NEW]
    ]  # fmt: skip
    assert origin.parse(admin.origin) == {"origin": {"refspec": "d:y"}, "packages": {"requested": "vim;"}}
    assert not file.exists()
    assert after.path == before.path


def test_arguments_that_were_asked_for_are_all_that_it_gets(fake: Fake, admin: Admin) -> None:
    before = load(fake.path)
    publication.publish(before, "debian", NEW, {}, arguments=['dyndbg="a b"'])
    assert [word for word in admin.calls[0] if "karg" in word] == ["--karg-none", '--karg-append=dyndbg="a b"']


def test_what_was_written_without_fsync_is_on_disk_before_it_is_deployed(
    fake: Fake, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = load(fake.path)
    seen: list[tuple[Path, bool, int]] = []
    monkeypatch.setattr(
        publication, "sync_filesystem", lambda path: seen.append((path, before.unsynced.exists(), len(admin.calls)))
    )
    publication.publish(before, "debian", NEW, {})
    # The mark goes after the sync: a power cut between them must still find it.
    assert seen == [(before.repo, True, 0)]
    assert not before.unsynced.exists()


def test_a_running_system_gets_a_staged_deployment(fake: Fake, admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    place = (fake.path / f"ostree/deploy/debian/deploy/{B}.0").stat()
    monkeypatch.setattr("apt_ostree.system.staged.booted_root", lambda: (place.st_dev, place.st_ino))
    before = load(fake.path)
    assert before.booted == before.deployments[1]
    publication.publish(before, "debian", NEW, {})
    assert "--stage" in admin.calls[-1]


def test_room_in_boot_is_made_from_the_last_deployment_on(
    fake: Fake, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An index counts what is left: removing a lower one first would make the next one mean another deployment."""
    before = load(fake.path)
    monkeypatch.setattr(retention, "first_to_go", lambda *words: list(before.deployments))
    publication.publish(before, "debian", NEW, {})
    assert [call[:2] for call in admin.calls[:2]] == [["undeploy", "1"], ["undeploy", "0"]]
    assert admin.calls[2][0] == "deploy"


@pytest.mark.parametrize(("keep", "retained"), [(2, []), (3, [B])])
def test_what_the_setting_keeps_is_pinned_for_retention(
    fake: Fake, admin: Admin, keep: int, retained: list[str]
) -> None:
    before = load(fake.path)
    after = publication.publish(before, "debian", NEW, {}, keep=keep)
    assert [d.checksum for d in after.deployments if d.retained] == retained
    assert not any(d.pinned for d in after.deployments)


def test_a_failed_deployment_leaves_no_files(fake: Fake, admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    before = load(fake.path)
    monkeypatch.setattr("apt_ostree.tools.ostree.cleanup", lambda path: None)
    admin.fails = True
    with pytest.raises(proc.ChildError):
        publication.publish(before, "debian", NEW, {})
    assert list((before.area / "tmp").iterdir()) == []


def test_nothing_half_made_remains_of_a_failed_deployment(
    fake: Fake, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have filled the disk. The error to show is the first one."""
    cleaned: list[Path] = []

    def cleanup(path: Path) -> None:
        cleaned.append(path)
        raise ToolError("no")

    monkeypatch.setattr("apt_ostree.tools.ostree.cleanup", cleanup)
    admin.fails = True
    with pytest.raises(proc.ChildError):
        publication.publish(load(fake.path), "debian", NEW, {})
    assert cleaned == [fake.path]


def test_a_deployment_is_removed_by_its_index(fake: Fake, admin: Admin) -> None:
    before = load(fake.path)
    publication.undeploy(before, before.deployments[1])
    assert admin.calls == [["undeploy", "1"]]


@pytest.mark.parametrize("pin", [True, False])
def test_a_pin_is_the_users_own(fake: Fake, pin: bool) -> None:
    pinned(fake)
    before = load(fake.path)
    after = publication.pin(before, before.deployments[1], pinned=pin)
    assert [(d.pinned, d.retained) for d in after.deployments] == [(False, False), (pin, False)]


def one(letter: str, index: int, *, osname: str = "debian", **facts: Any) -> Deployment:
    return Deployment(index, osname, letter * 64, 0, "", {}, **facts)


@pytest.mark.parametrize(
    ("deployments", "osname", "brief"),
    [
        ((one("a", 0, booted=True), one("b", 1)), "debian", None),
        ((one("a", 0, staged=True), one("b", 1, booted=True)), "debian", None),
        ((one("a", 0, staged=True, locked=True), one("b", 1, booted=True)), "debian", "is locked"),
        # ostree keeps one staged deployment in all stateroots.
        ((one("a", 0, staged=True, osname="other"), one("b", 1, booted=True)), "debian", "would be lost"),
        # Its /etc would come from the staged one, which goes.
        ((one("a", 0, staged=True, osname="other"), one("b", 1, booted=True)), "other", "would be lost"),
    ],
)
def test_what_is_staged_is_never_lost(deployments: tuple[Deployment, ...], osname: str, brief: str | None) -> None:
    before = Sysroot(Path("/"), deployments)
    if brief is None:
        publication._check_staged(before, osname)
    else:
        with pytest.raises(SysrootError, match=brief):
            publication._check_staged(before, osname)


def test_a_staged_deployment_is_looked_for_before_anything_is_published(
    fake: Fake, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = load(fake.path)

    def refuse(before: Sysroot, osname: str) -> None:
        raise SysrootError("a staged deployment would be lost")

    monkeypatch.setattr(publication, "_check_staged", refuse)
    with pytest.raises(SysrootError):
        publication.publish(before, "debian", NEW, {})
    assert admin.calls == []


def test_a_commit_whose_version_has_a_second_line_is_not_published(
    fake: Fake, admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = CommitInfo(C, None, 0, "", {"version": "1\nlinux /evil"})
    monkeypatch.setattr("apt_ostree.tools.ostree.commit_info", lambda *_: info)
    with pytest.raises(ToolError, match="damaged metadata"):
        publication.publish(load(fake.path), "debian", C, {})
    assert admin.calls == []


@pytest.mark.parametrize("judge", [deploying, merging])
def test_what_libostree_must_not_meet_is_not_published(
    fake: Fake, admin: Admin, monkeypatch: pytest.MonkeyPatch, judge: ModuleType
) -> None:
    """The commit, whatever made it, and the /etc of the merge deployment."""
    before, seen = load(fake.path), []

    def refuse(*words: object) -> None:
        seen.append(words)
        raise TreeError("no")

    monkeypatch.setattr(judge, "check", refuse)
    with pytest.raises(TreeError):
        publication.publish(before, "debian", NEW, {})
    where = [before.path / before.merge("debian").path] if judge is merging else []
    assert seen == [(before.repo, NEW, *where)]
    assert admin.calls == []


def grub(path: Path) -> None:
    (path / "boot/grub").mkdir()
    (path / "boot/grub/grub.cfg").symlink_to("../loader/grub.cfg")
    (path / "boot/loader/grub.cfg").touch()


def policy(path: Path) -> None:
    place = path / f"ostree/deploy/debian/deploy/{B}.0/etc/selinux"
    place.mkdir(parents=True)
    (place / "config").symlink_to("/dev/zero")


@pytest.mark.parametrize("plant", [grub, policy])
def test_ostree_does_not_write_a_menu_that_it_must_not(fake: Fake, admin: Admin, plant: Callable[[Path], None]) -> None:
    plant(fake.path)
    before = load(fake.path)
    with pytest.raises(SysrootError, match="menu"):
        publication.publish(before, "debian", NEW, {})
    with pytest.raises(SysrootError, match="menu"):
        publication.undeploy(before, before.deployments[1])
    assert admin.calls == []
