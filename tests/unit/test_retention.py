"""Which deployments stay beside a new one."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from apt_ostree.errors import SpaceError
from apt_ostree.model import Deployment
from apt_ostree.system import origin, retention
from apt_ostree.system.sysroot import load
from tests.unit.fake import Fake
from tests.unit.repository import Repository


def deployments(letters: str) -> list[Deployment]:
    """A letter a deployment: b booted, p pinned, B both, s staged, x none of these."""
    return [
        Deployment(
            number, "debian", f"{number}" * 64, 0, "", {}, booted=letter in "bB", staged=letter == "s",
            pinned=letter in "pB",
        )
        for number, letter in enumerate(letters)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("letters", "merge", "count", "expected"),
    [
        # Not booted: the new one and the one it follows.
        ("x", 0, 2, [0]),
        ("xx", 0, 2, [0]),
        ("xxx", 0, 3, [0, 1]),
        ("xpx", 0, 2, [0, 1]),
        ("xpx", 0, 3, [0, 1, 2]),
        ("pxx", 0, 2, [0, 1]),
        # Booted: that one stays wherever it is, a staged one is replaced.
        ("bx", 0, 2, [0]),
        ("bx", 0, 3, [0, 1]),
        ("sbx", 1, 2, [1]),
        ("sbx", 1, 3, [1, 2]),
        # What a rollback has chosen stays until a boot has tried it.
        ("xbx", 1, 2, [0, 1]),
        ("xbx", 1, 3, [0, 1, 2]),
        ("xbx", 1, 9, [0, 1, 2]),
        # A pinned one takes nobody's place, whatever else it is.
        ("Bx", 0, 2, [0, 1]),
        ("Bxx", 0, 2, [0, 1]),
        ("Bxx", 0, 1, [0]),
        # The last that boots stays, however few are asked for.
        ("b", 0, 1, [0]),
        ("xb", 1, 1, [0, 1]),
    ],
)
def test_who_stays(letters: str, merge: int, count: int, expected: list[int]) -> None:
    own = deployments(letters)
    assert [d.index for d in retention.kept(own, own[merge], count)] == expected


@pytest.mark.parametrize(
    ("kernels", "staying", "expected"),
    [
        ("ab", [0], [[1]]),
        ("abc", [0], [[2], [1]]),
        # The kernel of one that stays is no room.
        ("aba", [0], [[1]]),
        ("abab", [0], [[3, 1]]),
        ("ab", [0, 1], []),
    ],
)
def test_room_is_made_by_kernels_the_oldest_first(kernels: str, staying: list[int], expected: list[list[int]]) -> None:
    own = [replace(d, boot_checksum=kernel) for d, kernel in zip(deployments("x" * len(kernels)), kernels, strict=True)]
    groups = retention.by_kernel(own, [own[index] for index in staying])
    assert [[d.index for d in group] for group in groups] == expected


def test_a_note_in_the_origin_keeps_what_ostree_would_drop(tmp_path: Path) -> None:
    fake = Fake(tmp_path / "sysroot")
    for number, letter in enumerate("abc"):
        fake.deploy(letter * 64, str(3 - number), "[origin]\nrefspec=d:x\n[custom]\nkept=1\n")
    own = load(fake.path).deployments
    retention.hold(fake.path, own, own[0], own[:2])
    held = load(fake.path).deployments
    assert [(d.pinned, d.retained) for d in held] == [(False, False), (False, True), (False, False)]
    assert held[1].origin["libostree-transient"] == {"pinned": "true"}
    assert held[1].origin["custom"] == {"kept": "1"}
    retention.hold(fake.path, held, held[0], held[:1])
    assert [d.origin for d in load(fake.path).deployments] == [d.origin for d in own]


def test_no_new_deployment_inherits_a_pin() -> None:
    held = origin.with_pin({"origin": {"refspec": "d:x"}}, pin=True, for_retention=True)
    assert origin.retained(held)
    inherited = origin.with_intent(held, origin.intent(held))
    assert not origin.has_pin(inherited)
    assert "retained" not in origin.render(inherited)


def test_pins_of_the_user_and_staged_deployments_are_not_touched(tmp_path: Path) -> None:
    fake = Fake(tmp_path / "sysroot")
    pin = "[origin]\nrefspec=d:x\n[libostree-transient]\npinned=true\n"
    fake.deploy("a" * 64, "3", pin)
    fake.deploy("b" * 64, "2")
    fake.deploy("c" * 64, "1")
    first, second, third = load(fake.path).deployments
    own = (first, replace(second, staged=True), replace(third, booted=True))
    retention.hold(fake.path, own, third, own)
    assert load(fake.path).deployments == (first, second, third)


MEGABYTE = 1 << 20


@pytest.fixture
def small_boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sysroot whose /boot has 1 MB free, and one kernel of 2 MB for each of the kernels a, b and c."""
    for letter in "abc":
        place = tmp_path / f"boot/ostree/debian-{letter}"
        place.mkdir(parents=True)
        (place / "vmlinuz").write_bytes(bytes(2 * MEGABYTE))
    status = os.statvfs(tmp_path)
    free = os.statvfs_result((MEGABYTE, MEGABYTE, *list(status)[2:4], 1, *list(status)[5:]))
    monkeypatch.setattr(os, "statvfs", lambda place: free)
    monkeypatch.setattr(retention, "_has_own_boot", lambda path: True)
    return tmp_path


def kernels(letters: str) -> list[Deployment]:
    return [replace(d, boot_checksum=k) for d, k in zip(deployments("x" * len(letters)), letters, strict=True)]


@pytest.mark.parametrize(
    ("staying", "expected"), [([0], [0, 1]), ([0, 1], [0, 1]), ([0, 2], [0, 2]), ([1], [1, 0]), ([0, 1, 2], [0, 1, 2])]
)
def test_one_deployment_to_go_back_to_stays_until_the_new_one_is_in_place(
    staying: list[int], expected: list[int]
) -> None:
    own = kernels("abc")
    found = retention.staying_meanwhile(own, [own[index] for index in staying])
    assert [d.index for d in found] == expected


def test_a_staged_deployment_is_none_to_go_back_to() -> None:
    staged, booted, older = kernels("abc")
    own = (replace(staged, staged=True), booted, older)
    assert retention.staying_meanwhile(own, [booted]) == [booted, older]


@pytest.mark.parametrize(
    ("size", "besides", "expected"),
    [
        (1, 0, []),
        (2, 0, [2]),
        (3, 0, [2]),
        # An overlay initramfs lies in /boot, too.
        (2, 1, [2]),
    ],
)
def test_no_more_goes_from_boot_than_the_new_kernel_needs(
    small_boot: Path, monkeypatch: pytest.MonkeyPatch, size: int, besides: int, expected: list[int]
) -> None:
    monkeypatch.setattr(retention, "_kernel_size", lambda *words: size * MEGABYTE)
    own = kernels("abc")
    going = retention.first_to_go(small_boot, "n" * 64, own, own[:1], besides * MEGABYTE)
    assert [d.index for d in going] == expected


def test_a_kernel_that_does_not_fit_beside_what_stays_is_an_error(
    small_boot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last one to go back to would make the room."""
    monkeypatch.setattr(retention, "_kernel_size", lambda *words: 4 * MEGABYTE)
    own = kernels("abc")
    with pytest.raises(SpaceError, match="too little space in /boot") as caught:
        retention.first_to_go(small_boot, "n" * 64, own, own[:1])
    assert "apt-ostree cleanup -r" in caught.value.resolution


def test_a_boot_on_the_disk_of_the_rest_needs_room_beside_its_reserve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tree may have any number of names of one large file where libostree copies each to /boot."""
    (tmp_path / "boot").mkdir()
    (tmp_path / "ostree").mkdir()
    monkeypatch.setattr(retention, "_kernel_size", lambda *words: MEGABYTE)
    assert retention.first_to_go(tmp_path, "n" * 64, kernels("ab"), []) == []
    monkeypatch.setattr(retention, "_kernel_size", lambda *words: 1 << 60)
    with pytest.raises(SpaceError, match="too little space for the kernel"):
        retention.first_to_go(tmp_path, "n" * 64, kernels("ab"), [])


BLOCK = 4096


@pytest.mark.parametrize(
    ("others", "blocks"),
    [
        ([], 0),
        (["initramfs.img"], 2),
        # libostree takes one of each.
        (["initramfs.img", "initramfs"], 2),
        (["initramfs"], 2),
        (["devicetree", "dtb"], 2),
        (["dtb"], 4),
        ([".vmlinuz.hmac", "aboot.img"], 4),
    ],
)
def test_the_size_of_a_kernel_is_that_of_all_that_is_copied_to_boot(
    tmp_path: Path, others: list[str], blocks: int
) -> None:
    version = "usr/lib/modules/6.12"
    made = Repository(tmp_path / "repo")
    one, two, three = (made.store("file", bytes(number * BLOCK - 1)) for number in (1, 2, 3))
    # One whose image lies elsewhere does not boot (tree/kernel.py).
    elsewhere = made.directory({"initramfs.img": three}, {})
    trees = {"dtb": made.directory({"a.dtb": two}, {"b": made.directory({"b.dtb": two}, {})})}
    directories = {name: trees[name] for name in others if name in trees}
    files = {"vmlinuz": one, **{name: two for name in others if name not in trees}}
    top = made.directory({}, {"6.11": elsewhere, "6.12": made.directory({**files, "modules.dep": three}, directories)})
    for name in ("modules", "lib", "usr"):
        top = made.directory({}, {name: top})
    commit = made.commit(top)
    size = (1 + blocks) * BLOCK
    assert retention._kernel_size(made.path, commit, []) == size
    # Unless a deployment has the very same.
    tree = tmp_path / "tree"
    inner = {f"dtb/{name}": two for name in ("a.dtb", "b/b.dtb") if directories and "devicetree" not in others}
    for name, checksum in {**files, **inner}.items():
        if name != "initramfs" or "initramfs.img" not in others:
            assert retention._kernel_size(made.path, commit, [tree]) == size
        (tree / version / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / version / name).hardlink_to(made.place(checksum, "file"))
    assert retention._kernel_size(made.path, commit, [tree]) == 0
    (tree / version).rename(tmp_path / "host")
    (tree / version).symlink_to(tmp_path / "host")
    assert retention._kernel_size(made.path, commit, [tree]) == size
    assert retention._kernel_size(made.path, made.commit(made.directory({}, {})), []) == 0
