"""Signals that wait while something must not be interrupted."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from apt_ostree.proc import signals_held


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
