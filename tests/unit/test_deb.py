"""The .deb format: what is written and read without dpkg-deb."""

from __future__ import annotations

import io
import tarfile

import pytest

from apt_ostree.tools import deb


@pytest.mark.parametrize(
    ("name", "size", "header"),
    [
        ("debian-binary", 4, b"debian-binary   0           0     0     100644  4         `\n"),
        ("control.tar", 10240, b"control.tar     0           0     0     100644  10240     `\n"),
        ("data.tar", 9_999_999_999, b"data.tar        0           0     0     100644  9999999999`\n"),
    ],
)
def test_ar_header(name: str, size: int, header: bytes) -> None:
    assert deb._ar_header(name, size) == header
    assert len(header) == deb._AR_HEADER


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (None, set()),
        ("", set()),
        ("/etc/a\n/etc/b\n", {"/etc/a", "/etc/b"}),
        ("\n/etc/a", {"/etc/a"}),
        ("remove-on-upgrade /etc/old\n/etc/a\n", {"/etc/old", "/etc/a"}),
    ],
)
def test_conffiles_are_those_that_the_control_archive_declares(text: str | None, found: set[str]) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("./control"))
        if text is not None:
            info = tarfile.TarInfo("./conffiles")
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    assert deb.conffiles(file.getvalue()) == found
