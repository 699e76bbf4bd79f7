"""Mounts of a namespace of our own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.integration.system import REPOSITORY

OPEN = """
import sys
from pathlib import Path
from apt_ostree import mounts
place = Path(sys.argv[1])
mounts.enter_private_namespace()
mounts.make_writable(place)
(place / "written").touch()
"""


def test_a_read_only_mount_of_the_same_filesystem_is_opened_for_us_alone(tmp_path: Path) -> None:
    """As / and /sysroot of a booted deployment are: two mounts of one filesystem."""
    place = tmp_path / "sysroot"
    place.mkdir()
    script = """
        set -eu
        mount --bind "$1" "$1"; mount -o remount,bind,ro "$1"
        "$2" -c "$3" "$1"
        touch "$1/other" 2>/dev/null && exit 9
        exit 0
    """
    words = ["unshare", "--mount", "sh", "-c", script, "sh", str(place), sys.executable, OPEN]
    subprocess.run(words, cwd=REPOSITORY, check=True)
    assert [path.name for path in place.iterdir()] == ["written"]
