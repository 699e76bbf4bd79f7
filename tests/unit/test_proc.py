"""Signals that wait while something must not be interrupted, and what an interruption lets start."""

from __future__ import annotations

import io
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from apt_ostree.errors import ToolError
from apt_ostree.host import proc
from apt_ostree.host.proc import signals_held


@pytest.fixture
def caught() -> Iterator[list[int]]:
    """The signals that the handler in force was called for."""
    found: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: found.append(number))
    yield found
    signal.signal(signal.SIGTERM, before)


def test_a_signal_waits_for_the_end_of_the_block(caught: list[int]) -> None:
    with signals_held():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.05)
        assert caught == []
    assert caught == [signal.SIGTERM]


def test_a_thread_that_blocks_nothing_does_not_let_a_signal_through(caught: list[int]) -> None:
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    try:
        with signals_held():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.05)
            assert caught == []
        assert caught == [signal.SIGTERM]
    finally:
        over.set()
        thread.join()


def test_after_an_interruption_only_the_main_thread_starts_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which cleans up; a retry in another one would hold up the end."""
    monkeypatch.setattr(proc, "_ended", True)
    with ThreadPoolExecutor(1) as pool, pytest.raises(ToolError, match="interrupted"):
        pool.submit(proc.run, ["true"]).result()

    def spawn() -> None:
        with proc.spawn(["true"]):
            pass

    with ThreadPoolExecutor(1) as pool, pytest.raises(ToolError, match="interrupted"):
        pool.submit(spawn).result()


def test_a_line_that_is_cut_is_left_out_whole() -> None:
    """The rest of a URI shows its password to no pattern."""
    line = b"https://user:secret@example.org/" + b"y" * (proc._BLOCK - 30)
    assert proc._last_block(io.BytesIO(b"first\n" + line + b"\nlast\n")) == b"last\n"
    assert proc._last_block(io.BytesIO(b"first\nlast\n")) == b"first\nlast\n"
