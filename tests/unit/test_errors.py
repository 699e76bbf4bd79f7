"""Credentials, which no error may show."""

from __future__ import annotations

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
    ],
)
def test_redact(text: str, shown: str) -> None:
    assert redact(text) == shown


def test_no_part_of_an_error_holds_credentials() -> None:
    error = AptOstreeError(*["http://me:secret@example.org/"] * 3)
    assert "secret" not in f"{error} {error.brief} {error.detail} {error.resolution}"
