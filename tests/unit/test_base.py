"""What a base says of itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from apt_ostree.errors import TreeError
from apt_ostree.layering import base
from apt_ostree.model import Package

STATUS = """\
Package: zlib1g
Status: install ok installed
Version: 1
Architecture: arm64

Package: dpkg
Status: install ok installed
Version: 2
Architecture: arm64
"""


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """The package database of a base."""
    place = tmp_path / "usr/lib/sysimage/dpkg"
    place.mkdir(parents=True)
    (place / "arch").write_text("arm64\narmhf\n")
    return place


def test_a_base_is_read_with_its_packages_and_architectures(tmp_path: Path, database: Path) -> None:
    (database / "status").write_text(STATUS)
    found = base.read(tmp_path, "commit")
    assert found == base.BaseTree(
        "commit", tmp_path, (Package("dpkg", "2", "arm64"), Package("zlib1g", "1", "arm64")), ("arm64", "armhf")
    )
    assert found.native == "arm64"


def test_a_base_without_dpkg_is_refused(tmp_path: Path, database: Path) -> None:
    (database / "status").write_text(STATUS.partition("\n\n")[0])
    with pytest.raises(TreeError, match="the base has no dpkg"):
        base.read(tmp_path, "commit")
