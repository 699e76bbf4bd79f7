"""Lines of tmpfiles.d: words that each systemd reads alike."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apt_ostree.tree import tmpfiles

NAMES = st.one_of(
    st.binary().map(lambda raw: os.fsdecode(raw.replace(b"\0", b"").replace(b"/", b""))),
    st.text(" %\\\"'07a=-", max_size=8),
).filter(lambda name: name not in {"", ".", ".."} and len(os.fsencode(name)) < 255)


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("lib/plain-1.0_x+y@z", "lib/plain-1.0_x+y@z"),
        ("Mullvad VPN", '"Mullvad VPN"'),
        ("100%", "100%%"),
        ("back\\slash", '"back\\\\slash"'),
        ("\\040", '"\\\\040"'),
        ('it\'s "x"', '"it\'s \\"x\\""'),
        ("übung", "übung"),
        ("line\u2028end", '"line\u2028end"'),
        ("a\tb", None),
        ("a\nb", None),
        ("a\rb", None),
        ("a\x7fb", None),
    ],
)
def test_a_path_is_one_word_in_quotes_or_none(name: str, word: str | None) -> None:
    assert tmpfiles.quote(name) == word


@given(NAMES)
def test_a_line_gives_back_the_name_it_was_written_for(name: str) -> None:
    line = tmpfiles.directory(f"lib/{name}", 0o750, 7, 8)
    if line is not None:
        assert tmpfiles.named(line) == f"lib/{name}"
        assert tmpfiles.Line.parse(line) == tmpfiles.Line(f"lib/{name}", 0o750, 7, 8)


@pytest.mark.parametrize(
    "line", ["", "d", 'd "/var/x', 'd /var/a"b', r"d /var/a\040b :0755 :0 :0", "d /etc/x :0755 :0 :0"]
)
def test_another_line_names_nothing(line: str) -> None:
    assert tmpfiles.named(line) == ""
    assert tmpfiles.Line.parse(line) is None
