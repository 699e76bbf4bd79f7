"""Machines that lack what others have: a /tmp to write to, /proc, a filesystem that holds layers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from tests.archive import Archive, Deb
from tests.integration.system import Result, System, chosen_cli, run_cli


def run_where(mounts: str, sysroot: Path, *words: str, status: int = 0, more: Sequence[str] = ()) -> Result:
    """Run a command after the shell's ``mounts``, in a mount namespace of its own; these have ``more`` as $1, $2…"""
    script = "set -e; count=$1; shift; " + mounts + '; shift "$count"; cd /; exec "$@"'
    wrapper = ["unshare", "--mount", "sh", "-c", script, "sh", str(len(more)), *more]
    return run_cli("--sysroot", sysroot, *words, cli=[*wrapper, *chosen_cli()], status=status)


NO_TMP = "for place in /tmp /var/tmp; do mount --bind $place $place; mount -o remount,bind,ro $place; done"


def test_a_tmp_that_cannot_be_written_to_stops_nothing(sysroot: System, archive: Archive, tmp_path: Path) -> None:
    file = Deb("own", "1.0", files={"/usr/bin/own": "#!/bin/sh\n"}).build(tmp_path)
    run_where(NO_TMP, sysroot.path, "refresh-md", "--force")
    run_where(NO_TMP, sysroot.path, "install", os.fspath(file), "greeter")
    assert (sysroot.deployment() / "usr/bin/own").is_file()


def test_without_proc_a_command_says_what_is_missing(sysroot: System) -> None:
    for words in (["status"], ["install", "greeter"]):
        failure = run_where("mount -t tmpfs none /proc", sysroot.path, *words, status=1).failure
        assert failure.brief == "/proc is not mounted"


def test_a_sysroot_on_an_overlay_says_that_it_cannot_hold_layers(sysroot: System, tmp_path: Path) -> None:
    places = [tmp_path / name for name in ("upper", "work", "merged")]
    for place in places:
        place.mkdir()
    mount = 'mount -t overlay overlay -o "lowerdir=$1,upperdir=$2,workdir=$3" "$4"'
    more = [os.fspath(path) for path in (sysroot.path, *places)]
    result = run_where(mount, places[2], "install", "greeter", status=1, more=more)
    assert result.failure.brief == "the filesystem of the sysroot cannot hold layers"
    assert "is on the type overlay" in result.failure.detail
    assert "ext4" in result.failure.resolution
