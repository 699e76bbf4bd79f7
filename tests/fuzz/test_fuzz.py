"""A minute of damaged input for every parser, the same each time; inputs that were bugs once, for ever."""

from __future__ import annotations

import pytest

from .engine import SEEDS, Target, search
from .targets import TARGETS

EXAMPLES = 40
"""For each parser: about a minute for all of them."""


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_no_damaged_input_raises_anything_but_an_error_for_the_user(target: Target) -> None:
    for kept in sorted((SEEDS / target.name).glob("*")):
        target.try_on(kept.read_bytes())
    search(target, EXAMPLES, derandomize=True)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_the_seeds_themselves_are_read(target: Target) -> None:
    for seed in target.seeds:
        target.try_on(seed)
