"""Which deployments stay beside a new one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from apt_ostree.model import Deployment
from apt_ostree.system import origin, retention
from apt_ostree.system.sysroot import load
from tests.unit.fake import Fake


def deployments(letters: str) -> list[Deployment]:
    """A letter a deployment: b booted, p pinned, s staged, x none of these."""
    return [
        Deployment(
            number, "debian", f"{number}" * 64, 0, "", {}, booted=letter == "b", staged=letter == "s",
            pinned=letter == "p",
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
