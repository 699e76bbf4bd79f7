"""Times of sources in byte-compiled Python."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from apt_ostree.host.door import Tree
from apt_ostree.tree import bytecode

MAGIC = bytes.fromhex("cb0d0d0a")
TIMESTAMP = MAGIC + bytes(4) + (1700000000).to_bytes(4, "little") + (7).to_bytes(4, "little") + b"code"
ZEROED = MAGIC + bytes(8) + (7).to_bytes(4, "little") + b"code"
HASHED = MAGIC + (1).to_bytes(4, "little") + b"hashhash" + b"code"
UNCHECKED = MAGIC + (3).to_bytes(4, "little") + b"hashhash" + b"code"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(TIMESTAMP, ZEROED, id="by time"),
        pytest.param(ZEROED, ZEROED, id="by time, zeroed"),
        pytest.param(HASHED, HASHED, id="by checked hash"),
        pytest.param(UNCHECKED, UNCHECKED, id="by unchecked hash"),
        pytest.param(TIMESTAMP[:15], TIMESTAMP[:15], id="cut short"),
        pytest.param(b"", b"", id="empty"),
        pytest.param(b"\1\2\3\4" + TIMESTAMP[4:], b"\1\2\3\4" + TIMESTAMP[4:], id="not byte code"),
    ],
)
def test_zero_source_time_sets_the_source_time_alone(tmp_path: Path, before: bytes, after: bytes) -> None:
    path = tmp_path / "x.pyc"
    path.write_bytes(before)
    bytecode.zero_source_time(Tree(tmp_path), "x.pyc")
    assert path.read_bytes() == after


def test_zero_source_time_never_writes_to_a_file_with_another_name(tmp_path: Path) -> None:
    path, shared = tmp_path / "x.pyc", tmp_path / "object"
    shared.write_bytes(TIMESTAMP)
    shared.chmod(0o640)
    os.link(shared, path)
    bytecode.zero_source_time(Tree(tmp_path), "x.pyc")
    assert (shared.read_bytes(), path.read_bytes()) == (TIMESTAMP, ZEROED)
    assert path.stat().st_mode & 0o7777 == 0o640
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["object", "x.pyc"]


def test_zero_source_times_leaves_what_a_package_ships_and_what_lies_elsewhere(tmp_path: Path) -> None:
    names = (
        "usr/lib/python3/__pycache__/made.pyc", "usr/lib/python3/__pycache__/shipped.pyc", "usr/lib/python3/data.pyc",
        "opt/x/__pycache__/shipped.pyc", "usr/local/lib/__pycache__/shipped.pyc",
    )  # fmt: skip
    for name in names:
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_bytes(TIMESTAMP)
    (tmp_path / "tree/info").mkdir()
    (tmp_path / "tree/info/x.list").write_text(
        "/.\n/lib/python3/__pycache__/shipped.pyc\n/opt/x/__pycache__/shipped.pyc\n"
        "/usr/local/lib/__pycache__/shipped.pyc\n/usr/lib/python3/made.py\n"
    )
    bytecode.zero_source_times([tmp_path / "tree"], info="info")
    found = [(tmp_path / "tree" / name).read_bytes() for name in names]
    assert found == [ZEROED, TIMESTAMP, TIMESTAMP, TIMESTAMP, TIMESTAMP]
