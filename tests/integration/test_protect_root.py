"""The root of a deployment becomes read-only, and what is the machine's stays writable."""

from __future__ import annotations

import subprocess
from pathlib import Path

from apt_ostree.tree import units

PROGRAM = Path(units.__file__).parents[1] / "data/protect-root"

_SCRIPT = """
mount --bind "$1" "$1"
mount -o remount,bind,nosuid,nodev "$1"
for name in usr lib lib64 bin sbin dev proc; do
    [ ! -d "/$name" ] || { mkdir "$1/$name"; mount --rbind "/$name" "$1/$name"; }
done
cd "$1"
pivot_root . old
sh -eu /program
for place in / /top /etc /tmp /etc/below; do
    (: >"$place/file") 2>/dev/null && echo "$place"
done
findmnt --noheadings --output VFS-OPTIONS /
cat /etc/kept
"""


def test_the_root_is_read_only_with_the_flags_that_it_had_and_etc_and_tmp_are_not(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for name in ("top", "etc/below", "tmp", "old"):
        (root / name).mkdir(parents=True)
    (root / "etc/kept").write_text("kept\n")
    (root / "program").write_bytes(PROGRAM.read_bytes())
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-uc", _SCRIPT, "sh", root],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    *writable, flags, kept = done.stdout.splitlines()
    assert writable == ["/etc", "/tmp", "/etc/below"], done.stderr
    assert {"ro", "nosuid", "nodev"} <= set(flags.split(","))
    assert kept == "kept"
