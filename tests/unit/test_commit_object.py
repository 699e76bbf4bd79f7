"""Commit objects, in bytes as libglib itself lays them out."""

from __future__ import annotations

import tracemalloc

import pytest

from apt_ostree.errors import ToolError
from apt_ostree.model import CommitInfo
from apt_ostree.tools import commit_object
from tests.unit import fake

CHECKSUM = "0b61a941baa75f30a67ed475d513b46929b8c1ba67d6f781435ac0a44d6ba61d"

METADATA = (
    r"""{'version': <'13.1'>, 'q': <"it's">, 'nl': <'two\nlines\ttab\\back'>, 'uni': <'grün ☃ 😀'>, """
    r"""'ctl': <'\u0001\u007f'>, 'empty': <''>, 'brackets': <'a(b[c{d<e>,f:g'>, 'ostree.bootable': <true>, """
    r"""'arr': <['a', 'b,c']>, 'one': <['a']>, 'tup': <('x', (16777216, [uint16 512]), {'k': <'v'>})>, """
    r"""'num': <uint32 117440512>, 'emptyarr': <@as []>, 'by': <b'ab'>, 'false': <false>, 'inner': <<'x'>>, """
    r"""'path': <objectpath '/x'>, 'maybe': <@ms 'x'>}"""
)


def parse(*words: str, **more: str) -> CommitInfo:
    return commit_object.parse(CHECKSUM, fake.commit(*words, **more))


def test_every_field_is_read() -> None:
    info = parse("{'version': <'13.1'>}", subject=r'''"Layer 'vim', \"x\""''', body=r"'line1\nline2'")
    assert info == CommitInfo(CHECKSUM, None, 1700000000, "Layer 'vim', \"x\"", {"version": "13.1"})
    assert info.version == "13.1"


@pytest.mark.parametrize("second", ["<'13.2'>", "<uint32 7>"])
def test_a_commit_that_says_a_thing_twice_is_not_read(second: str) -> None:
    """libostree takes the first, such as a version that is another line of the boot menu."""
    with pytest.raises(ToolError, match="cannot read commit"):
        parse(f"{{'version': <'1\\nlinux /evil'>, 'version': {second}}}")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("version", "13.1"),
        ("q", "it's"),
        ("nl", "two\nlines\ttab\\back"),
        ("uni", "grün ☃ 😀"),
        ("ctl", "\x01\x7f"),
        ("empty", ""),
        ("brackets", "a(b[c{d<e>,f:g"),
        ("ostree.bootable", "true"),
        ("false", "false"),
        *((key, None) for key in ("arr", "one", "tup", "k", "num", "emptyarr", "by", "inner", "path", "maybe")),
    ],
)
def test_strings_and_booleans_alone_are_kept(key: str, value: str | None) -> None:
    assert parse(METADATA).metadata.get(key) == value


@pytest.mark.parametrize("count", [0, 1, 10, 200, 20000])
def test_metadata_of_any_size_is_read(count: int) -> None:
    """The offsets have one, two and four bytes."""
    entries = ", ".join(f"'key{n}': <'{n}'>" for n in range(count))
    assert parse(f"@a{{sv}} {{{entries}}}").metadata == {f"key{n}": str(n) for n in range(count)}


def test_a_parent_is_its_checksum() -> None:
    assert parse(parent=f"[{', '.join(f'byte {n}' for n in range(32))}]").parent == bytes(range(32)).hex()


def test_numbered_pieces_are_joined_by_number() -> None:
    pieces = ", ".join(f"'lock{f'.{n}' if n else ''}': <'<{n}>'>" for n in (10, 2, 0, 1, *range(3, 10), 11))
    assert parse("{" + pieces + "}").metadata == {"lock": "".join(f"<{n}>" for n in range(12))}


@pytest.mark.parametrize(
    "metadata",
    [
        {"a.1": "x", "a.2": "y"}, {"ostree.linux": "6.12", "ostree": "x"}, {"version": "1", "other.1": "y"},
        {"lock": "x", "lock.\u00b2": "y"}, {"lock": "x", f"lock.{'9' * 5000}": "y"},
    ],
)  # fmt: skip
def test_keys_that_only_look_like_pieces_stay_apart(metadata: dict[str, str]) -> None:
    assert commit_object.join_pieces(metadata) == metadata


WHOLE = fake.commit("{'version': <'13.1'>, 'flag': <true>}")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\0" * 200, id="zeros"),
        pytest.param(WHOLE[:-1], id="cut"),
        pytest.param(WHOLE + b"\0", id="longer"),
        pytest.param(WHOLE.replace(b"13.1\0", b"13\0001\0"), id="two ends of a string"),
        pytest.param(WHOLE.replace(b"13.1\0", b"13.1."), id="no end of a string"),
        pytest.param(WHOLE.replace(b"13.1\0", b"13.\xff\0"), id="no text"),
        pytest.param(WHOLE.replace(b"flag\0\0\0\0\1", b"flag\0\0\0\0\2"), id="neither true nor false"),
        pytest.param(WHOLE.replace(b"flag\0\0\0\0", b"flag\0\0\0x"), id="something between"),
        pytest.param(fake.commit(parent="[byte 1]"), id="a short parent"),
        pytest.param(fake.commit(tree="@ay []"), id="no tree"),
    ],
)
def test_what_is_not_in_the_form_of_a_commit_is_refused(data: bytes) -> None:
    assert data != WHOLE
    with pytest.raises(ToolError, match=f"cannot read commit {CHECKSUM}"):
        commit_object.parse(CHECKSUM, data)


def test_a_long_value_that_nobody_needs_takes_no_memory() -> None:
    data = fake.commit(f"{{'version': <'1'>, 'long': <b'{'x' * 1_900_000}'>}}")
    tracemalloc.start()
    try:
        assert commit_object.parse(CHECKSUM, data).metadata == {"version": "1"}
        assert tracemalloc.get_traced_memory()[1] < 8 * len(data)
    finally:
        tracemalloc.stop()
