"""How much of the machine a sandbox may take."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from apt_ostree.sandbox import guard
from apt_ostree.sandbox.limits import Limits

MB = 1 << 20
PLACE = Path("/")


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A filesystem of 100 GB with a million inodes, half of each free."""
    status = SimpleNamespace(f_frsize=MB, f_blocks=100_000, f_bavail=50_000, f_files=1_000_000, f_favail=500_000)
    monkeypatch.setattr(os, "statvfs", lambda place: status)
    return status


MEMINFO = "MemTotal:        8388608 kB\nMemFree:         1000 kB\nSwapTotal:       2097152 kB\n"


def test_a_run_gets_half_of_the_memory_and_of_the_swap() -> None:
    assert guard._memory(Limits(), MEMINFO) == (4 << 30, 1 << 30)


def test_a_small_machine_s_run_gets_enough_for_an_initramfs() -> None:
    assert guard._memory(Limits(), "MemTotal: 524288 kB\nSwapTotal: 0 kB\n") == (1 << 30, 0)


def test_a_watch_goes_by_the_reserve_of_its_start(disk: SimpleNamespace) -> None:
    disk.f_bavail = 400
    with guard.Guard(PLACE, lambda: "the script", Limits(reserve=512 * MB)) as watch:
        assert (watch._reserve, watch._inode_reserve) == (200 * MB, 30_000)
