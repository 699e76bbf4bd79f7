"""The lock: one holder, named for everybody, and told apart from a process that only has its number."""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from pathlib import Path

import pytest

from apt_ostree.errors import LockedError
from apt_ostree.host.lifetime import start_ticks
from apt_ostree.system.lock import Holder, holder, lock, locked_file, parse


def test_the_holder_is_named_while_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with lock(path, identifier="20260101T000000Z-1"):
        found = holder(path)
        assert found is not None
        assert (found.pid, found.id, found.ticks) == (os.getpid(), "20260101T000000Z-1", start_ticks(os.getpid()))
        with pytest.raises(LockedError) as caught, lock(path):
            pass
        assert caught.value.detail == str(found)
    assert holder(path) is None
    assert path.read_bytes() == b""


def test_a_holder_that_was_killed_is_told_to_the_next(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text(json.dumps({"pid": 7, "id": "x"}))
    assert holder(path) is None
    with lock(path) as before:
        assert before == Holder(7, id="x")
    with lock(path) as before:
        assert before is None


def test_only_root_can_lock_and_anybody_reads_who_does(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with lock(path):
        assert locked_file(path).stat().st_mode & 0o777 == 0o600
        assert path.stat().st_mode & 0o777 == 0o644
    # A lock on what anybody may open holds up nobody.
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with lock(path):
            pass


def test_who_may_not_look_at_the_lock_believes_the_note_of_a_process_that_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"

    def closed(*_: object) -> Path:
        raise PermissionError

    with lock(path):
        monkeypatch.setattr("apt_ostree.system.lock.locked_file", closed)
        found = holder(path)
        assert found is not None
        assert found.pid == os.getpid()
    assert holder(path) is None
    path.write_text(json.dumps({"pid": os.getpid(), "ticks": 1}))
    assert holder(path) is None


def test_a_look_at_the_lock_makes_no_command_fail(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            holder(path)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        for _ in range(200):
            with lock(path):
                pass
    finally:
        over.set()
        thread.join()


def test_a_command_that_waits_for_nobody_fails_soon(tmp_path: Path) -> None:
    with lock(tmp_path / "lock"):
        began = time.monotonic()
        with pytest.raises(LockedError), lock(tmp_path / "lock"):
            pass
        assert time.monotonic() - began < 1


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\0" * 10,
        b"{",
        b"[]",
        b'"x"',
        b"{}",
        b'{"pid": "7"}',
        b'{"pid": -1}',
        b'{"pid": true}',
        b"[" * 100_000,
        b'{"pid": 2147483648}',
        b'{"pid": Infinity}',
        b'{"pid": 1e999}',
        b'{"pid": 7.0}',
        b'{"pid": null}',
    ],
)
def test_a_note_that_makes_no_sense_names_nobody(text: bytes) -> None:
    assert parse(text) == Holder()
    assert str(parse(text)) == "the process that holds it is unknown"


def test_of_a_later_note_what_is_known_is_read() -> None:
    assert parse(b'{"pid": 7, "command": "x", "ticks": "y", "more": 1}') == Holder(7)


@pytest.mark.parametrize("worker", ["[]", "[1]", "[1, 2, 3]", "[2147483648, 2]", "[true, 2]", '{"0": 1}', "[1, 1e9]"])
def test_a_worker_that_is_none_is_not_waited_for(worker: str) -> None:
    assert parse(f'{{"pid": 7, "ticks": 9223372036854775808, "worker": {worker}}}'.encode()) == Holder(7)


def test_a_process_has_a_time_of_its_own(tmp_path: Path) -> None:
    ticks = start_ticks(os.getpid())
    assert ticks is not None
    assert ticks > 0
    assert start_ticks(2**22 + 1) is None


def test_a_holder_is_the_process_that_took_the_lock_and_no_other(tmp_path: Path) -> None:
    """A number may be another process's by now."""
    own, ticks = os.getpid(), start_ticks(os.getpid())
    assert ticks is not None
    descriptor = Holder(own, ticks=ticks).open()
    assert descriptor is not None
    os.close(descriptor)
    assert Holder(own, ticks=ticks + 1).open() is None
    assert Holder(own).open() is None
    assert Holder(ticks=ticks).open() is None
    assert Holder(2**22 + 1, ticks=ticks).open() is None


def test_the_end_of_a_holders_work_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    lives = [5, 5, None]
    monkeypatch.setattr("apt_ostree.system.lock.lifetime.start_ticks", lambda number: lives.pop(0))
    Holder(7, worker=(8, 5)).wait_for_end()
    assert lives == []
    # Another process has the number, or nobody said who works.
    lives[:] = [6]
    Holder(7, worker=(8, 5)).wait_for_end()
    Holder(7).wait_for_end()


def test_who_waits_gets_the_lock_once_it_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apt_ostree.system.lock.POLL_SECONDS", 0.01)
    path, taken = tmp_path / "lock", threading.Event()

    def wait() -> None:
        with lock(path, wait=None):
            taken.set()

    thread = threading.Thread(target=wait)
    with lock(path):
        thread.start()
        assert not taken.wait(0.1)
    assert taken.wait(10)
    thread.join()


def test_a_lock_is_not_taken_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("kept")
    (tmp_path / "lock").symlink_to("elsewhere")
    with pytest.raises(OSError, match="symbolic links"), lock(tmp_path / "lock"):
        pass
    assert (tmp_path / "elsewhere").read_text() == "kept"


@pytest.mark.parametrize(("state", "ticks"), [("S", 4711), ("R", 4711), ("Z", None), ("X", None)])
def test_a_process_that_waits_to_be_reaped_counts_as_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str, ticks: int | None
) -> None:
    (tmp_path / "7").mkdir()
    # The 22nd field; the second one is a name that was chosen to mislead.
    (tmp_path / "7/stat").write_text(f"7 (x) S 1) {state} " + "1 " * 18 + "4711 1 1\n")
    directory = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    monkeypatch.setattr("apt_ostree.host.lifetime._processes", directory)
    try:
        assert start_ticks(7) == ticks
    finally:
        os.close(directory)
