"""Hollow packages: their markers, and what has one."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apt_ostree.host.files import Room
from apt_ostree.layering import hollow
from apt_ostree.layering.cache import Cached, Object
from apt_ostree.layering.hollow import marker, read_marker
from apt_ostree.model import Package
from apt_ostree.tools import deb, ostree

CHECKSUM = "0123456789abcdef" * 4
_OBJECT = Object(0o100644, 0, 0)


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


def test_a_package_is_whole_again_where_there_is_room_for_each_of_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "object").write_bytes(b"x" * 5000)
    (tmp_path / "hollow.deb").write_bytes(bytes(700))
    cached = Cached(
        "0" * 64, Package("x", "1", "all"), 1, "", tmp_path / "hollow.deb", {CHECKSUM: _OBJECT}, frozenset()
    )

    def unpack(_: Path, target: Path) -> None:
        with tarfile.open(target, "w") as data:
            for name in ("usr/a", "usr/b"):
                data.addfile(member(name, hollow.MARKER_SIZE), io.BytesIO(marker(CHECKSUM)))
            # Only what the package brought counts.
            data.addfile(member("usr/c", hollow.MARKER_SIZE), io.BytesIO(marker("f" * 64)))

    held: list[list[int]] = []

    @contextmanager
    def hold(files: Collection[int], what: str) -> Iterator[None]:
        held.append(list(files))
        yield

    monkeypatch.setattr(deb, "unpack_tar", unpack)
    monkeypatch.setattr(deb, "control_archive", lambda _: b"")
    monkeypatch.setattr(ostree, "object_path", lambda repo, checksum: tmp_path / "object")
    hollow.refill(tmp_path, cached, tmp_path / "x.deb", cast("Room", SimpleNamespace(hold=hold)))
    assert held == [[700], [700, 5000, 5000]]
    assert (tmp_path / "x.deb").read_bytes().count(b"x" * 5000) == 2


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
