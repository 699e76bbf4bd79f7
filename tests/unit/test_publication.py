"""What may become of the deployments, and what stops it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from apt_ostree.errors import SysrootError
from apt_ostree.model import Deployment
from apt_ostree.system import publication
from apt_ostree.system.sysroot import Sysroot


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
