"""A child that fetches is ended where it does not get on, or fills the disk, and otherwise left alone."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from apt_ostree.errors import DownloadError, SpaceError
from apt_ostree.host import fetching, files, proc

SECONDS = 20
"""Much less than the children below take, and much more than it takes to end them."""


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "WINDOW", 0.4)
    monkeypatch.setattr(fetching, "_INTERVAL", 0.01)


def fetch(script: str, place: Path, seconds: float = 60) -> str:
    """What a shell prints that runs as something that fetches."""
    watch = fetching.Watch([place], lambda why: DownloadError("cannot fetch", why), seconds)
    begun = time.monotonic()
    try:
        return proc.run(["sh", "-c", script], cwd=place, during=watch.over).stdout
    finally:
        assert time.monotonic() - begun < SECONDS


def wait_until_gone(group: int) -> None:
    """A process that was killed may be there until somebody asks for its status, as a zombie."""
    end = time.monotonic() + SECONDS
    while any(group == int(fields[2]) and fields[0] != "Z" for fields in processes()):
        assert time.monotonic() < end
        time.sleep(0.01)


def processes() -> Iterator[list[str]]:
    for place in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            yield place.read_text().rpartition(")")[2].split()


@pytest.mark.parametrize(
    "script",
    [
        "sleep 60",
        # Nobody ever writes to it; it is a child's child that waits.
        "mkfifo pipe; cat pipe; true",
        "while :; do printf x >>file; sleep 0.1; done",
    ],
    ids=["silence", "pipe", "drops"],
)
def test_what_does_not_get_on_is_ended(tmp_path: Path, script: str) -> None:
    with pytest.raises(DownloadError, match="cannot fetch") as caught:
        fetch(f"echo $$ >pid; {script}", tmp_path)
    assert caught.value.detail == "less than 256 kB arrived in 0 s, and it was ended"
    wait_until_gone(int((tmp_path / "pid").read_text()))


@pytest.mark.parametrize(
    "step",
    ["head -c 400000 /dev/zero >file; sleep 0.1", "n=0; while [ $n -lt 30000 ]; do n=$((n + 1)); done"],
    ids=["bytes", "work"],
)
def test_what_gets_on_is_left_alone(tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on until it was judged, however late: a machine with much to do gives it little of a processor."""
    gets_on = fetching._Seen.gets_on

    def judge(seen: fetching._Seen, seconds: float) -> bool:
        verdict = gets_on(seen, seconds)
        (tmp_path / "judged").touch()
        return verdict

    monkeypatch.setattr(fetching._Seen, "gets_on", judge)
    monkeypatch.setattr(fetching, "WINDOW", 1.5)
    monkeypatch.setattr(fetching, "BUSY_SHARE", 0.005)
    assert fetch(f"until [ -e judged ]; do {step}; done; echo done", tmp_path) == "done\n"


def test_what_was_done_before_does_not_count_for_ever(tmp_path: Path) -> None:
    with pytest.raises(DownloadError):
        fetch("head -c 4000000 /dev/zero >file; exec sleep 60", tmp_path)


def test_a_fetch_has_a_time_that_is_the_last(tmp_path: Path) -> None:
    """However much arrives."""
    with pytest.raises(DownloadError) as caught:
        fetch("while :; do head -c 4000000 /dev/zero >file; done", tmp_path, 1)
    assert caught.value.detail == "it took longer than 1 s, and was ended"


def test_a_fetch_leaves_what_the_host_needs_of_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of any that it writes to: what it has written is taken from what is free."""
    free, inodes = files.free(tmp_path)

    def left(place: Path) -> tuple[int, int]:
        file = place / "file"
        return free - (file.stat().st_size << 30 if file.exists() else 0), inodes

    monkeypatch.setattr(files, "free", left)
    with pytest.raises(SpaceError, match="what is fetched filled the disk"):
        fetch("while :; do head -c 4000 /dev/zero >>file; sleep 0.01; done", tmp_path)


def test_the_error_of_a_child_that_failed_by_itself_is_its_own(tmp_path: Path) -> None:
    with pytest.raises(proc.ChildError):
        fetch("exit 3", tmp_path)


def test_what_has_a_known_size_has_a_time_for_it() -> None:
    """A kernel's 100 MB may take seven hours; an answer that always leads elsewhere gets on, and arrives at nothing."""
    assert fetching.seconds_for(0) == 1800
    assert 6 * 3600 < fetching.seconds_for(100_000_000) < 8 * 3600
