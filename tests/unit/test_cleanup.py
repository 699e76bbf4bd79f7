"""What a cleanup says that it removes."""

from __future__ import annotations

import os
from pathlib import Path

from apt_ostree.host.files import remove_tree
from apt_ostree.ops import deployments


def test_the_size_of_caches_is_that_of_their_own_files(tmp_path: Path) -> None:
    (tmp_path / "host").write_bytes(bytes(1 << 20))
    area = tmp_path / "area"
    area.mkdir()
    (area / "own").write_bytes(bytes(4096))
    (area / "shared").write_bytes(bytes(1 << 20))
    (tmp_path / "other").hardlink_to(area / "shared")
    (area / "link").symlink_to(tmp_path / "host")
    assert 4096 <= deployments._size([area / "own", area]) < 1 << 20


def test_directories_too_deep_for_a_path_stop_no_cleanup(tmp_path: Path) -> None:
    """A script makes them by the thousand, in a tree that is kept as a cache."""
    above = os.open(tmp_path, os.O_DIRECTORY)
    for _ in range(30):
        os.mkdir("d" * 200, dir_fd=above)
        inner = os.open("d" * 200, os.O_DIRECTORY, dir_fd=above)
        os.close(above)
        above = inner
    os.close(above)
    assert deployments._size([tmp_path]) >= 0
    remove_tree(tmp_path / ("d" * 200))
