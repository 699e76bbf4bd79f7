"""Hollow packages: their markers, and what has one."""

from __future__ import annotations

import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apt_ostree.layering import hollow
from apt_ostree.layering.hollow import marker, read_marker

CHECKSUM = "0123456789abcdef" * 4


def test_a_marker_names_its_object() -> None:
    assert marker(CHECKSUM) == b"apt-ostree object " + CHECKSUM.encode() + b"\n"
    assert len(marker(CHECKSUM)) == hollow.MARKER_SIZE == 83
    assert read_marker(marker(CHECKSUM)) == CHECKSUM


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"apt-ostree object \n",
        marker(CHECKSUM)[:-1],
        marker(CHECKSUM) + b"\n",
        marker(CHECKSUM.upper()),
        marker(CHECKSUM[:-1] + "g"),
        marker(CHECKSUM[:-1]) + b"\n",
        b" " + marker(CHECKSUM)[:-1],
        marker(CHECKSUM).replace(b"0", b"\xff", 1),
        bytes(hollow.MARKER_SIZE),
    ],
)
def test_other_content_is_not_a_marker(content: bytes) -> None:
    assert read_marker(content) is None


@given(st.binary(max_size=100))
def test_only_what_marker_writes_is_a_marker(content: bytes) -> None:
    found = read_marker(content)
    assert found is None or marker(found) == content


def member(name: str, size: int = 10, kind: bytes = tarfile.REGTYPE, linkname: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = size, kind, linkname
    return info


CONFFILES = {"/usr/share/x/conf", "/etc/x"}


@pytest.mark.parametrize(
    ("info", "hollowed"),
    [
        (member("./usr/bin/jq"), True),
        (member("usr/bin/jq"), True),
        (member("./bin/sh"), True),
        (member("./sbin/init"), True),
        (member("./lib/x.so"), True),
        (member("./lib64/ld.so"), True),
        (member("./usr/share/x/conf.d"), True),
        (member("./usr/etcetera"), True),
        (member("./usr/share/doc/a b\nc"), True),
        (member("./usr/bin/empty", 0), False),
        (member("./etc/x"), False),
        (member("./etc/other"), False),
        (member("./usr/etc/other"), False),
        (member("./usr/share/x/conf"), False),
        (member("./var/lib/x"), False),
        (member("./opt/x/bin"), False),
        (member("./boot/vmlinuz"), False),
        (member("./srv/usr/x"), False),
        (member("./usr/bin", 0, tarfile.DIRTYPE), False),
        (member("./usr/bin/l", 0, tarfile.SYMTYPE, "jq"), False),
        (member("./usr/bin/h", 0, tarfile.LNKTYPE, "./usr/bin/jq"), False),
    ],
)
def test_what_is_hollowed(info: tarfile.TarInfo, hollowed: bool) -> None:
    assert hollow.is_hollowed(info, CONFFILES) is hollowed
