"""Boots: noted by the tree's own unit, counted by ``history``."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from apt_ostree.cli.history import _json, _text
from apt_ostree.ops.history import History
from apt_ostree.system import boot_counts, journal, staged
from apt_ostree.system.journal import Entry
from apt_ostree.tree import units

NOTE = Path(units.__file__).parents[1] / "data/note-boot"
ONE, TWO = f"debian-{'a' * 64}.0", f"debian-{'b' * 64}.1"


def boot(root: Path, deployment: str, identifier: str, *, arguments: str = "rw * quiet") -> None:
    """What a boot leaves in /proc and at /sysroot, and the unit's program."""
    osname, _, name = deployment.partition("-")
    tree = root / f"sysroot/ostree/deploy/{osname}/deploy/{name}"
    tree.mkdir(parents=True, exist_ok=True)
    link = root / f"sysroot/ostree/boot.1/{osname}/csum/0"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(f"../../../deploy/{osname}/deploy/{name}")
    (root / "proc/sys/kernel/random").mkdir(parents=True, exist_ok=True)
    (root / "proc/sys/kernel/random/boot_id").write_text(f"{identifier}\n")
    (root / "proc/cmdline").write_text(f"{arguments} ostree=/ostree/boot.1/{osname}/csum/0\n")
    subprocess.run(["sh", NOTE, root], check=True)


def test_each_boot_is_noted_and_counted_once(tmp_path: Path) -> None:
    assert boot_counts.read(tmp_path) is None
    for deployment, identifier in ((ONE, "1"), (TWO, "2"), (TWO, "3"), (TWO, "3")):
        boot(tmp_path, deployment, identifier)
    assert boot_counts.read(tmp_path) == {ONE: 1, TWO: 2}
    assert (tmp_path / boot_counts.PLACE).stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("kind", ["file", "link", "none"])
def test_a_boot_notes_that_nothing_was_finalised_before(tmp_path: Path, kind: str) -> None:
    """libostree's own note is gone once its unit has read it."""
    for name in ("boot/ostree", "run"):
        (tmp_path / name).mkdir(parents=True)
    stamp = tmp_path / "boot/ostree/finalize-failure.stamp"
    if kind == "link":
        stamp.symlink_to("/etc/hostname")
    elif kind == "file":
        stamp.write_text("Modified config file newly defaults to directory 'app/sub', cannot merge" + "x" * 9000)
    boot(tmp_path, ONE, "1")
    found = staged.not_finalised(tmp_path / "run/apt-ostree-not-finalised")
    assert (found[:8], len(found)) == (("Modified", 4096) if kind == "file" else ("", 0))


@pytest.mark.parametrize(("booted", "said"), [(ONE, "it took too long"), (TWO, "")])
def test_a_boot_notes_that_finalising_was_ended_before(tmp_path: Path, booted: str, said: str) -> None:
    """Who fills a directory of its own in /etc can have systemd end it, of which libostree leaves no note. Where the
    new deployment was booted, it was done."""
    boot(tmp_path, ONE, "1")
    for name in ("boot/ostree", "run"):
        (tmp_path / name).mkdir(parents=True)
    note = tmp_path / "var/lib/apt-ostree/finalizing"
    osname, _, name = ONE.partition("-")
    note.write_text(f"/sysroot/ostree/deploy/{osname}/deploy/{name}\n")
    boot(tmp_path, booted, "2")
    assert staged.not_finalised(tmp_path / "run/apt-ostree-not-finalised")[: len("it took too long")] == said
    assert not note.exists()


def test_the_note_does_not_grow_for_ever(tmp_path: Path) -> None:
    (tmp_path / "var/lib/apt-ostree").mkdir(parents=True)
    (tmp_path / boot_counts.PLACE).write_text("".join(f"{ONE} {number}\n" for number in range(1500)))
    boot(tmp_path, TWO, "x")
    lines = (tmp_path / boot_counts.PLACE).read_text().splitlines()
    assert (len(lines), lines[-1].split()[0]) == (1000, TWO)


@pytest.mark.parametrize("cmdline", ["rw quiet\n", "rw ostree=/ostree/boot.1/none/csum/0\n"])
def test_another_system_notes_nothing(tmp_path: Path, cmdline: str) -> None:
    for name in ("proc", "sysroot"):
        (tmp_path / name).mkdir()
    (tmp_path / "proc/cmdline").write_text(cmdline)
    subprocess.run(["sh", NOTE, tmp_path], check=True)
    assert boot_counts.read(tmp_path) is None


@pytest.mark.parametrize("link", ["var", "var/lib", "var/lib/apt-ostree", boot_counts.PLACE])
def test_no_note_is_read_through_a_link(tmp_path: Path, link: str) -> None:
    boot(tmp_path, ONE, "1")
    (tmp_path / link).rename(tmp_path / "host")
    (tmp_path / link).symlink_to(tmp_path / "host")
    assert boot_counts.read(tmp_path) is None


def test_a_note_that_is_a_pipe_or_too_large_counts_as_none(tmp_path: Path) -> None:
    place = tmp_path / boot_counts.PLACE
    place.parent.mkdir(parents=True)
    os.mkfifo(place)
    assert boot_counts.read(tmp_path) is None
    place.unlink()
    place.write_text(f"{ONE} 1\n" * (boot_counts.SIZE_MAX // len(ONE)))
    assert boot_counts.read(tmp_path) is None


@pytest.mark.parametrize("text", ["", "\n", "x\n", "\0\n"])
def test_what_is_no_note_counts_nothing(text: str) -> None:
    assert boot_counts.parse(text) == {}


@pytest.mark.parametrize(
    ("counted", "line", "number"),
    [({ONE: 3}, "       Booted  3 times", 3), ({ONE: 1}, "       Booted  once", 1), ({}, "       Booted  never", 0)],
)
def test_history_tells_how_often_what_came_of_it_was_booted(counted: dict[str, int], line: str, number: int) -> None:
    began = journal.now()
    entry = Entry("i", 1, 0, ("apt-ostree", "upgrade"), began, state="done", ended=began, old=TWO, new=ONE)
    history = History("debian", (entry,), counted)
    assert line in list(_text(history, verbose=False))
    assert _json(history)["transactions"][0]["boots"] == number
    unknown = History("debian", (entry,))
    assert not any("Booted" in text for text in _text(unknown, verbose=False))
    assert _json(unknown)["transactions"][0]["boots"] is None
