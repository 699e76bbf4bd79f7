"""Settling: what the host reads of a finished tree, and what it leaves in the layer."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from apt_ostree.errors import TreeError
from apt_ostree.inputs import debconf
from apt_ostree.layering import settling
from apt_ostree.model import Package, Plan
from apt_ostree.tree.state import SYSIMAGE
from tests.unit import fake
from tests.unit.fake import put

STATES = f"{SYSIMAGE}/extended_states"
AUTOMATIC = Plan(automatic=frozenset({Package("new", "1", "all")}))


@pytest.fixture
def top(tmp_path: Path) -> Path:
    (tmp_path / "top").mkdir()
    return tmp_path / "top"


def test_what_came_only_for_others_is_added_to_what_the_base_says(tmp_path: Path, top: Path) -> None:
    job = fake.job(tmp_path, plan=AUTOMATIC)
    put(job.base.path, STATES, "Package: old\n\n")
    settling._mark_automatic(job, top)
    assert (top / STATES).read_text() == ("Package: old\n\nPackage: new\nArchitecture: amd64\nAuto-Installed: 1\n\n")


PLANTS: dict[str, Callable[[Path, Path], None]] = {
    "a link": lambda place, host: place.symlink_to(host),
    "a FIFO": lambda place, host: os.mkfifo(place),
    "a directory": lambda place, host: place.mkdir(),
}


@pytest.mark.parametrize("plant", PLANTS)
def test_what_a_base_has_in_the_place_of_apts_list_is_not_read(tmp_path: Path, top: Path, plant: str) -> None:
    job = fake.job(tmp_path, plan=AUTOMATIC)
    place = put(job.base.path, STATES)
    place.unlink()
    PLANTS[plant](place, put(tmp_path, "shadow", "the host's secret\n"))
    settling._mark_automatic(job, top)
    assert (top / STATES).read_text() == "Package: new\nArchitecture: amd64\nAuto-Installed: 1\n\n"


def test_a_list_of_holes_that_fills_the_memory_is_refused(tmp_path: Path, top: Path) -> None:
    job = fake.job(tmp_path, plan=AUTOMATIC)
    os.truncate(put(job.base.path, STATES), 65 << 20)
    with pytest.raises(TreeError, match="too large"):
        settling._mark_automatic(job, top)


def test_answers_are_kept_for_root_alone(tmp_path: Path, top: Path) -> None:
    settling._keep_answers(fake.job(tmp_path, answers="d d/password password x\n"), top)
    assert (top / debconf.PLACE).read_text() == "d d/password password x\n"
    assert stat.S_IMODE((top / debconf.PLACE).stat().st_mode) == 0o600


def test_what_is_left_in_boot_is_told(tmp_path: Path) -> None:
    warnings: list[str] = []

    class Warned(fake.Silent):
        def warn(self, message: str) -> None:
            warnings.append(message)

    job = fake.job(tmp_path, reporter=Warned())
    for name in ("vmlinuz-6.1", "b", "a"):
        put(job.boot, name)
    settling.tell_what_is_left_in_boot(job)
    assert [warning.rpartition(": ")[2] for warning in warnings] == ["/boot/a, /boot/b"]


def test_litter_goes_unless_the_base_has_it_and_never_behind_a_link(tmp_path: Path, top: Path) -> None:
    base, host = tmp_path / "base", tmp_path / "host"
    put(base, f"{SYSIMAGE}/dpkg/lock")
    for name in ("dpkg/lock", "dpkg/status-old", "debconf/config.dat-old"):
        put(top, f"{SYSIMAGE}/{name}")
    (top / "etc").mkdir()
    (top / "vmlinuz").symlink_to("boot/vmlinuz")
    put(top, "initrd.img", "a file of somebody's")
    settling._remove_litter(top, base)
    assert sorted(str(path.relative_to(top)) for path in top.rglob("*") if not path.is_dir()) == [
        "initrd.img", f"{SYSIMAGE}/dpkg/lock",
    ]  # fmt: skip
    assert not (top / "etc").exists()
    put(host, "status-old", "the host's")
    (top / SYSIMAGE / "dpkg").rename(top / "away")
    (top / SYSIMAGE / "dpkg").symlink_to(host)
    (top / "var").symlink_to(host)
    settling._remove_litter(top, base)
    assert (host / "status-old").read_text() == "the host's"


def test_a_layer_with_files_at_a_mount_point_is_refused(tmp_path: Path, top: Path) -> None:
    put(top, "var/lib/x")
    with pytest.raises(TreeError, match="the layer holds files in /var") as raised:
        settling._remove_litter(top, tmp_path)
    assert raised.value.detail == "lib"
