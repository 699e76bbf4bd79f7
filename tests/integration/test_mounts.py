"""Mounts of a namespace of our own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.integration.system import REPOSITORY

OPEN = """
import sys
from pathlib import Path
from apt_ostree.host import mounts
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


REMOVE = """
import sys
from pathlib import Path
from apt_ostree import errors
from apt_ostree.host import files, mounts
place = Path(sys.argv[1])
assert str(place / "in" / "b d\\u00e9\\u0142\\udcff") in mounts.points(), mounts.points()
for path in (place, place / "in", place / "in/b d\\u00e9\\u0142\\udcff", place / "link"):
    try:
        files.remove_tree(path)
    except errors.ToolError as error:
        print(error.detail.encode(errors="surrogateescape"))
"""


def test_a_tree_in_which_something_is_mounted_is_not_removed(tmp_path: Path) -> None:
    """A bind mount of the same filesystem has the same device; its name may hold anything but a slash."""
    host, place = tmp_path / "host", tmp_path / "place"
    (host / "home").mkdir(parents=True)
    (host / "home/file").touch()
    target = place / "in" / "b d\u00e9\u0142\udcff"
    target.mkdir(parents=True)
    (place / "in/first").touch()
    (place / "link").symlink_to("in")
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", 'mount --bind "$1" "$2"; shift 2; exec "$@"', "sh", host, target,
         sys.executable, "-c", REMOVE, place],
        cwd=REPOSITORY, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.count("something is mounted on ") == 3
    assert (host / "home/file").exists()
    assert (place / "in/first").exists()
    # Of a link, the link alone goes.
    assert not (place / "link").is_symlink()
