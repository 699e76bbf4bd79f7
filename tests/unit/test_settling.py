"""Settling: what the host reads of a finished tree, and what it leaves in the layer."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from apt_ostree.errors import SpaceError, TreeError
from apt_ostree.inputs import debconf
from apt_ostree.layering import settling
from apt_ostree.model import Package, Plan
from apt_ostree.tree.state import SYSIMAGE
from tests.unit import fake

STATES = f"{SYSIMAGE}/extended_states"
AUTOMATIC = Plan(automatic=frozenset({Package("new", "1", "all")}))


@pytest.fixture
def top(tmp_path: Path) -> Path:
    (tmp_path / "top").mkdir()
    return tmp_path / "top"


def put(tree: Path, name: str, text: str = "") -> Path:
    path = tree / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


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


def test_what_a_commit_cannot_hold_is_named_wherever_a_script_left_it(tmp_path: Path, top: Path) -> None:
    job = fake.job(tmp_path)
    os.mkfifo(job.var / "allowed")
    (top / "usr/lib").mkdir(parents=True)
    (top / "usr/lib/out").symlink_to(tmp_path)
    settling.check_written(job, [top])
    os.mkfifo(top / "usr/lib/fifo")
    with pytest.raises(TreeError) as raised:
        settling.check_written(job, [top])
    assert (raised.value.brief, raised.value.detail) == (
        "a script made what OSTree cannot hold: a FIFO", "/usr/lib/fifo",
    )  # fmt: skip


def test_holes_count_as_what_they_would_take(tmp_path: Path, top: Path) -> None:
    os.truncate(put(top, "usr/huge"), 1 << 42)
    with pytest.raises(SpaceError):
        settling.check_written(fake.job(tmp_path), [top])


def test_a_file_counts_as_often_as_it_is_copied(tmp_path: Path, top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job, counted = fake.job(tmp_path), list[int]()
    monkeypatch.setattr(settling, "check_space", lambda place, needed, what, reserve: counted.append(needed * reserve))
    # A commit has one copy of a script's own file of several names; an object is in the repository already.
    for name, content in (("usr/own", "1"), ("usr/object", "22")):
        put(top, name, content)
    os.link(top / "usr/own", top / "usr/again")
    os.link(top / "usr/object", tmp_path / "in the repository")
    settling.check_written(job, [top])
    # What is carried of /var and /boot is copied under each name.
    put(job.var, "state", "333")
    os.link(job.var / "state", job.var / "again")
    put(job.boot, "vmlinuz-1", "4444")
    settling.check_written(job, [top])
    assert counted == [1, 1 + 3 + 3 + 4]


def test_what_is_left_in_boot_is_told(tmp_path: Path, top: Path) -> None:
    warnings: list[str] = []

    class Warned(fake.Silent):
        def warn(self, message: str) -> None:
            warnings.append(message)

    job = fake.job(tmp_path, reporter=Warned())
    for name in ("vmlinuz-6.1", "b", "a"):
        put(job.boot, name)
    settling.check_written(job, [top])
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
