"""Credentials, which no error may show."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from apt_ostree.errors import AptOstreeError, redact


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("E: Failed to fetch http://me:secret@example.org/x  404", "E: Failed to fetch http://***@example.org/x  404"),
        ("https://token@example.org", "https://***@example.org"),
        ("http://me:se@cret@example.org:80/a@b", "http://***@example.org:80/a@b"),
        ("socks5h://me:s%40@[::1]:1080/", "socks5h://***@[::1]:1080/"),
        ("http://a:b@x/ and ftp://c:d@y/", "http://***@x/ and ftp://***@y/"),
        ("[http://me:secret@example.org]", "[http://***@example.org]"),
        ("http://example.org/a@b mail@example.org", "http://example.org/a@b mail@example.org"),
        ("file:///srv/debian", "file:///srv/debian"),
        ("https//me:secret@127.0.0.1/x", "https//***@127.0.0.1/x"),
        ("http:/me:secret@127.0.0.1:1/x", "http:/***@127.0.0.1:1/x"),
        ("http:me:secret@127.0.0.1:1/x", "***@127.0.0.1:1/x"),
        ("//me:secret@host/x", "//***@host/x"),
        ("'me:secret@host/x'", "'***@host/x'"),
        ("deb me:secret@host/x a", "deb ***@host/x a"),
        ("line 3: me@example.org", "line 3: me@example.org"),
        ("https://deb.example.org/x: see a@b", "https://deb.example.org/x: see a@b"),
        ("/usr/lib/systemd/system/getty@tty1.service: gone", "/usr/lib/systemd/system/getty@tty1.service: gone"),
    ],
)
def test_redact(text: str, shown: str) -> None:
    assert redact(text) == shown


def test_no_part_of_an_error_holds_credentials() -> None:
    error = AptOstreeError(*["http://me:secret@example.org/"] * 3)
    assert "secret" not in f"{error} {error.brief} {error.detail} {error.resolution}"


def _caught(handler: ast.ExceptHandler) -> set[str]:
    return {node.id for node in ast.walk(handler.type or ast.Pass()) if isinstance(node, ast.Name)}


SHOWING = {"main", "end", "_recorded"}
"""Functions that show an error, or record the end of a transaction: no signal can end that."""

WAYS = [
    pytest.param(node, id=f"{path.parent.name}.{path.stem}:{node.lineno}")
    for path in sorted((Path(__file__).parents[2] / "apt_ostree").rglob("*.py"))
    for function in ast.walk(ast.parse(path.read_text()))
    if isinstance(function, ast.FunctionDef) and function.name not in SHOWING
    for node in ast.walk(function)
    if isinstance(node, ast.Try) and any("AptOstreeError" in _caught(handler) for handler in node.handlers)
]


@pytest.mark.parametrize("node", WAYS)
def test_what_goes_on_after_an_error_does_not_go_on_after_a_signal(node: ast.Try) -> None:
    """Interrupted is an error like others, but once it is raised every later signal is ignored."""
    first = next(handler for handler in node.handlers if _caught(handler) & {"Interrupted", "AptOstreeError"})
    assert _caught(first) == {"Interrupted"}
    assert isinstance(first.body[-1], ast.Raise)


def test_there_are_places_that_go_on_after_an_error() -> None:
    assert len(WAYS) >= 6
