"""Credentials, which no error may show."""

from __future__ import annotations

import ast
import time
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
        ("//me@a@host/x http:/a:b@c@d", "//***@host/x http:/***@d"),
        ("see uri=me:secret@host 'a=b:secret@host'", "see ***@host '***@host'"),
        ("a@b:c@d a@(b:c@d", "a@b:c@d a@(***@d"),
        ("http:" + "u" * 300 + ":" + "p" * 900 + "@host", "***@host"),
        ("/usr/lib/systemd/system/getty@tty1.service: gone", "/usr/lib/systemd/system/getty@tty1.service: gone"),
    ],
)
def test_redact(text: str, shown: str) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize(
    "line",
    [
        ("=" * 199 + ":") * 327,
        ("=" * 199 + ":") * 327 + "@",
        "=" * 65_000 + "'@",
        "@" + "=" * 65_000 + "'@",
        ":" * 65_000 + "@",
        "@" * 65_000,
        "<a" * 32_000 + "@",
        "@<a" * 20_000,
        "'a:" * 20_000,
        "//" * 32_000 + "@",
        "//a@" * 16_000,
    ],
)
def test_no_line_takes_longer_than_its_length_says(line: str) -> None:
    def spent(text: str) -> float:
        times = []
        for _ in range(3):
            begun = time.process_time()
            redact(text)
            times.append(time.process_time() - begun)
        return min(times)

    assert spent(line) < 10 * spent("deb a:b@c " * 6_500)


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
