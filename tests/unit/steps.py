"""How much work a function does, in numbers that no busy machine changes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def lines(work: Callable[[], object]) -> int:
    """The number of Python lines that run."""
    count = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def assert_linear(work: Callable[[int], object], count: int) -> None:
    """Twice as much is not much more than twice the work; the rest is for what is sorted."""
    assert lines(lambda: work(2 * count)) < 2.5 * lines(lambda: work(count))
