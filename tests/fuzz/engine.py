"""Damaged input by the thousand: seeds, and what hypothesis makes of them.

An input is a real one with a few edits: bytes removed, repeated, exchanged for others, or for words that parsers
stumble over. What comes of it may be a value or one of the errors that users are told of; any other exception is a bug.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apt_ostree.errors import AptOstreeError

WORDS = (
    b"", b"\0", b"\n", b"\r", b"\x85", "\u2028".encode(), "\u00b2".encode(), "\u0661".encode(), b"\xff\xfe", b"\xe4",
    b"-1", b"0", b"9" * 5000, b"1e999", b"NaN", b"Infinity", b"true", b"null", b"[]", b"{}", b'""', b"[" * 2000,
    b"{\"a\":" * 2000, b"'", b'"', b"\\", b";", b":", b"::", b"=", b"/", b"//", b"/..", b"../../x", b"/etc/passwd",
    b"%", b"%s", b"${x}", b"`id`", b" ", b"\t", b"--x", b"-", b"<", b">", b"(", b")", b"[", b"]", b"{", b"}", b",",
    b"#", b"10000-01-01T00:00:00+00:00", b"9223372036854775808", b"\xed\xb3\xbf",
)  # fmt: skip


SEEDS = Path(__file__).parent / "seeds"
"""SEEDS/TARGET/NAME: inputs that once raised what no user should see."""


@dataclass(frozen=True)
class Target:
    """A parser of bytes that somebody else wrote."""

    name: str
    parse: Callable[[bytes], object]
    seeds: tuple[bytes, ...]
    allowed: tuple[type[Exception], ...] = (AptOstreeError,)

    def try_on(self, data: bytes) -> None:
        """Raises whatever exception is a bug."""
        with contextlib.suppress(*self.allowed):
            self.parse(data)


class Found(Exception):
    """An input that is a bug; its cause is the exception that it raised."""

    def __init__(self, target: Target, data: bytes) -> None:
        super().__init__(f"{target.name}: {data!r}")
        self.target, self.data = target, data


@st.composite
def edited(draw: st.DrawFn, seeds: Sequence[bytes]) -> bytes:
    """A seed with up to six edits; sometimes bytes out of nothing."""
    if draw(st.integers(0, 19)) == 0:
        return draw(st.binary(max_size=300))
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(data)))
        # Mostly near each other: a token, not half of a file.
        end = min(len(data), start + draw(st.integers(0, 40) | st.integers(0, len(data))))
        part = draw(
            st.sampled_from(WORDS)
            | st.binary(max_size=8)
            | st.just(data[start:end] * 2)
            | st.sampled_from([seed[: len(seed) // 2] for seed in seeds])
        )
        data = data[:start] + part + data[end:]
    return data


def search(target: Target, examples: int, *, derandomize: bool = False) -> None:
    """Try that many inputs; raises Found for one of the smallest that are a bug."""
    failing: list[bytes] = []

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=derandomize,
        suppress_health_check=list(HealthCheck),
    )
    @given(edited(target.seeds))
    def run(data: bytes) -> None:
        try:
            target.try_on(data)
        except Exception:
            # hypothesis tries the smallest one last.
            failing.append(data)
            raise

    try:
        run()
    except Exception as error:
        if not failing:
            raise
        raise Found(target, failing[-1]) from error
