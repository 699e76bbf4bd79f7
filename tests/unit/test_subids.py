"""Ranges of subordinate ids: a layer's touch nobody's on the machine."""

from __future__ import annotations

import pytest

from apt_ostree.errors import TreeError
from apt_ostree.tree.subids import NEW_MAX, NEW_SIZES_MAX, allot

from .steps import assert_linear


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


def test_many_overlapping_ranges_take_a_time_that_grows_with_their_number() -> None:
    assert_linear(lambda count: allot("".join(f"u{n}:100000:65536\n" for n in range(count)), "", ""), 100)


def test_many_ranges_that_lie_apart_take_a_time_that_grows_with_their_number() -> None:
    apart = "".join(f"r{n}:{100000 + n * 200000}:65536\n" for n in range(500))
    assert_linear(lambda count: allot("".join(f"u{n}:100000:65536\n" for n in range(count)), apart, apart), 100)


def test_names_that_have_ranges_take_a_time_that_grows_with_their_number() -> None:
    def work(count: int) -> None:
        text = "".join(f"u{n}:{100000 + n * 10}:10\n" for n in range(count))
        allot(text, "", "".join(f"u{n % count}:{10**9 + n * 11}:10\n" for n in range(20 * count)))

    assert_linear(work, 50)


def test_a_name_with_many_ranges_takes_a_time_that_grows_with_their_number() -> None:
    def work(count: int) -> None:
        text = "".join(f"u:{100000 + n * 10}:10\n" for n in range(count))
        allot(text, f"b:1:{10**9}\n", "".join(f"u:{100000 + n * 11}:10\n" for n in range(count)))

    assert_linear(work, 100)


@pytest.mark.parametrize(
    "text",
    [
        "".join(f"u{n}:100000:65536\n" for n in range(NEW_MAX + 1)),
        "".join(f"u{n}:100000:{n}\n" for n in range(NEW_SIZES_MAX + 1)),
    ],
    ids=["ranges", "sizes"],
)
def test_more_ranges_than_a_layer_may_add_are_refused(text: str) -> None:
    with pytest.raises(TreeError, match="too many"):
        allot(text, "", "")


def test_ranges_of_several_sizes_fill_the_gaps() -> None:
    text = "a:100000:10\nb:100000:5\nc:100000:5\nd:100000:6\n"
    assert allot(text, "x:100010:5\ny:5:10\n", "z:100020:5\n") == "a:100000:10\nb:100015:5\nc:100025:5\nd:100030:6\n"
