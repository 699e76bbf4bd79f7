"""What a transaction does on the running system before anything else."""

from __future__ import annotations

from pathlib import Path

import pytest

from apt_ostree.errors import ToolError
from apt_ostree.host import mounts
from apt_ostree.ops import transaction
from tests.unit import fake


def test_a_sysroot_that_cannot_be_closed_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rollback has to work there, too."""
    asked: list[Path] = []
    warnings: list[str] = []

    class Warned(fake.Silent):
        def warn(self, message: str) -> None:
            warnings.append(message)

    def refuse(place: Path) -> None:
        asked.append(place)
        raise ToolError("cannot forbid it", "Function not implemented")

    monkeypatch.setattr(mounts, "close_to_others", refuse)
    transaction._close_to_others(Warned())
    assert asked == [Path("/sysroot")]
    assert warnings == [
        "cannot forbid it: Function not implemented; users may reach what packages that were not booted have there"
    ]
