"""Numbers in text that others wrote."""

from __future__ import annotations

import pytest

from apt_ostree.numbers import decimal


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("007", 7), ("9" * 19, int("9" * 19))])
def test_ascii_digits_are_a_number(text: str, number: int) -> None:
    assert decimal(text) == number


@pytest.mark.parametrize(
    "text", ["", " 1", "1\n", "-1", "+1", "1_0", "0x1", "\u00b2", "\u0661", "9" * 20, "9" * 5000, "1.0", "\udcff"]
)
def test_anything_else_is_not(text: str) -> None:
    assert decimal(text) is None
