"""The root of a deployment becomes read-only, and what is the machine's stays writable; of what was not booted, no
program runs with its owner's rights."""

from __future__ import annotations

import subprocess
from pathlib import Path

from apt_ostree.tree import units
from tests.integration.system import REPOSITORY

DATA = Path(units.__file__).parents[1] / "data"
PROGRAM = DATA / "protect-root"

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


_SYSROOT = """
for name in usr lib lib64 bin sbin dev proc; do
    [ ! -d "/$name" ] || { mkdir "$1/$name"; mount --rbind "/$name" "$1/$name"; }
done
mount --bind "$1" "$1"
cd "$1"
# What lies on it could be nosuid itself.
mount -t tmpfs -o mode=755 tmpfs sysroot
mkdir sysroot/tree sysroot/other
cp /usr/bin/id sysroot/tree
cp /usr/bin/id sysroot/other
chmod 4755 sysroot/tree/id sysroot/other/id
mount --bind sysroot/tree booted
mount -o remount,bind,ro,nodev sysroot
for name in usr lib lib64 bin sbin dev proc; do
    [ ! -d "/$name" ] || mount --rbind "/$name" "$name"
done
pivot_root . old
shift
"$@"
for place in sysroot/other sysroot/tree booted; do
    setpriv --reuid 12345 --regid 12345 --clear-groups "/$place/id" -u
done
findmnt --noheadings --output VFS-OPTIONS /sysroot
"""


def in_a_booted_system(root: Path, *words: str) -> tuple[list[str], set[str]]:
    """Run a command where /sysroot is a mount, and one directory of it is mounted elsewhere: what a set-user-ID program
    in another directory, in that one and at that place calls the user that runs it; and the flags of /sysroot."""
    for name in ("sysroot", "booted", "old"):
        (root / name).mkdir(parents=True)
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-euc", _SYSROOT, "sh", root, *words],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    *users, flags = done.stdout.splitlines()
    return users, set(flags.split(","))


def test_no_user_runs_a_set_user_id_program_of_a_deployment_that_was_not_booted(tmp_path: Path) -> None:
    users, _ = in_a_booted_system(tmp_path / "before", "true")
    assert users == ["0", "0", "0"]
    text = (DATA / "apt-ostree-sysroot.service").read_text()
    commands = [line.removeprefix("ExecStart=") for line in text.splitlines() if line.startswith("ExecStart=")]
    script = "; ".join(["mount -o remount,bind,rw,nodev /sysroot", *commands])
    users, flags = in_a_booted_system(tmp_path / "after", "sh", "-euc", script)
    assert users == ["12345", "12345", "0"]
    assert {"ro", "nosuid", "nodev"} <= flags


def test_what_only_the_running_command_may_do_leaves_that_so(tmp_path: Path) -> None:
    script = (
        f"import sys; sys.path.insert(0, '/old{REPOSITORY}');"
        "from pathlib import Path; from apt_ostree.host import mounts;"
        "mounts.close_to_others(Path('/sysroot')); mounts.make_writable(Path('/sysroot'));"
        "mounts.close_to_others(Path('/booted/id'))"
    )
    users, flags = in_a_booted_system(tmp_path / "root", "python3", "-c", script)
    assert users == ["12345", "12345", "0"]
    assert "ro" not in flags
    assert {"nosuid", "nodev"} <= flags
