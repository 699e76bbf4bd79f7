"""Numbers that others wrote: in text, and as times."""

from __future__ import annotations

import pytest

from apt_ostree.numbers import decimal, moment


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("007", 7), ("9" * 19, int("9" * 19))])
def test_ascii_digits_are_a_number(text: str, number: int) -> None:
    assert decimal(text) == number


@pytest.mark.parametrize(
    "text", ["", " 1", "1\n", "-1", "+1", "1_0", "0x1", "\u00b2", "\u0661", "9" * 20, "9" * 5000, "1.0", "\udcff"]
)
def test_anything_else_is_not(text: str) -> None:
    assert decimal(text) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "1970-01-01 00:00 UTC"),
        (1_700_000_000, "2023-11-14 22:13 UTC"),
        (253_402_300_800, "253402300800 s after 1970"),
        (2**64 - 1, "18446744073709551615 s after 1970"),
        (2**90, f"{2**90} s after 1970"),
    ],
)
def test_a_moment_is_in_utc_as_long_as_a_calendar_has_it(seconds: int, text: str) -> None:
    assert moment(seconds) == text
