"""Ranges of subordinate ids: a layer's touch nobody's on the machine."""

from __future__ import annotations

import pytest

from apt_ostree.tree.subids import allot


@pytest.mark.parametrize(
    ("text", "base", "reserved", "expected"),
    [
        pytest.param("a:100000:65536\n", "", "", "a:100000:65536\n", id="as the script had it"),
        pytest.param("a:100000:65536\n", "", "me:100000:65536\n", "a:165536:65536\n", id="the first is a person's"),
        pytest.param("a:100000:65536\n", "", "me:165535:65536\n", "a:231071:65536\n", id="overlaps by one"),
        pytest.param("a:100000:65536\n", "", "me:165536:65536\n", "a:100000:65536\n", id="touches"),
        pytest.param(
            "a:100000:65536\n",
            "",
            "a:300000:65536\nme:100000:65536\n",
            "a:300000:65536\n",
            id="a name keeps its range",
        ),
        pytest.param(
            "a:100000:65536\n",
            "",
            "a:100000:65536\nme:100000:65536\n",
            "a:165536:65536\n",
            id="unless that is somebody's",
        ),
        pytest.param(
            "old:100000:65536\na:165536:65536\n",
            "old:100000:65536\n",
            "a:100000:65536\n",
            "old:100000:65536\na:165536:65536\n",
            id="the base's is not moved, nor met",
        ),
        pytest.param(
            "a:100000:65536\nb:165536:65536\n",
            "",
            "me:100000:65536\n",
            "a:165536:65536\nb:231072:65536\n",
            id="nor do two of a layer meet",
        ),
        pytest.param("# kept\nbroken:x\n1000:5:\n", "", "", "# kept\nbroken:x\n1000:5:\n", id="other lines"),
    ],
)
def test_ranges(text: str, base: str, reserved: str, expected: str) -> None:
    assert allot(text, base, reserved) == expected
