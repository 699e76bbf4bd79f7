"""Lines end where their format ends them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import apt_ostree
from apt_ostree.text import lines, text_of
from apt_ostree.tree import users


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", []), ("\n", [""]), ("a", ["a"]), ("a\n", ["a"]), ("a\n\n", ["a", ""]), ("a\n\nb\n", ["a", "", "b"])],
)
def test_a_newline_ends_each_line(text: str, expected: list[str]) -> None:
    assert lines(text) == expected


@pytest.mark.parametrize("end", ["\r", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029", "\r\n"])
def test_nothing_else_ends_a_line(end: str) -> None:
    assert lines(f"a{end}b\n") == (["a\r", "b"] if end == "\r\n" else [f"a{end}b"])


def test_a_form_feed_in_a_users_name_begins_no_other_account() -> None:
    passwd = "me:x:1000:1000:Me\x0croot2:x:0:0:x:/:/bin/sh:/home/me:/bin/sh\n"
    assert list(users.parse(passwd, "").passwd) == ["me"]


def test_a_file_s_text_keeps_its_carriage_returns(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"a\rb\r\nc\xff")
    assert text_of(tmp_path / "x") == "a\rb\r\nc\udcff"


def test_nothing_reads_lines_in_pythons_way() -> None:
    found = [
        f"{file.name}: {node.attr}"
        for file in Path(apt_ostree.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in {"splitlines", "read_text", "readlines"}
    ]
    assert found == []
