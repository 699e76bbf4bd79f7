"""What users of this system can do to a deployment of another sysroot while OSTree makes one there: nothing."""

from __future__ import annotations

import fcntl
import signal
import stat
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from apt_ostree.errors import TreeError
from apt_ostree.host import mounts
from apt_ostree.system import seclusion

DEPLOYING = """
import sys
from pathlib import Path
from apt_ostree.system import seclusion

sysroot, scratch = map(Path, sys.argv[1:])
deployment = sysroot / "ostree/deploy/debian/deploy/x.0"
with seclusion.away(sysroot, "debian"), seclusion.etc_of(deployment, scratch):
    print("ready", flush=True)
    sys.stdin.readline()
    print((deployment / "etc/svc/sub/file").read_text(), (deployment / "etc/link").is_symlink())
"""


@pytest.fixture
def sysroot(tmp_path: Path) -> Path:
    etc = tmp_path / "sysroot/ostree/deploy/debian/deploy/x.0/etc"
    (etc / "svc/sub").mkdir(parents=True)
    (etc / "svc/sub/file").write_text("mine")
    (etc / "link").symlink_to("/nowhere")
    (tmp_path / "scratch").mkdir()
    return tmp_path / "sysroot"


def test_nobody_changes_what_libostree_merges(sysroot: Path, tmp_path: Path) -> None:
    """Not even who has one of its directories open; and nobody else gets to the new deployment."""
    deploy, closed = sysroot / "ostree/deploy/debian/deploy", tmp_path / "closed"
    closed.mkdir()
    (closed / "file").write_text("secret")
    with subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", sys.executable, "-c", DEPLOYING,
         sysroot, tmp_path / "scratch"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as child:  # fmt: skip
        assert child.stdin is not None and child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        assert stat.S_IMODE(deploy.stat().st_mode) == 0o700
        (deploy / "x.0/etc/svc/sub").rename(deploy / "x.0/etc/svc/moved")
        (deploy / "x.0/etc/svc/sub").symlink_to(closed)
        assert child.communicate("\n")[0] == "mine True\n"
    assert stat.S_IMODE(deploy.stat().st_mode) == 0o755
    assert list((tmp_path / "scratch").iterdir()) == []
    assert (deploy / "x.0/etc/svc/moved/file").read_text() == "mine"


def test_a_copy_that_takes_too_long_is_an_error(sysroot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seclusion, "_COPY_SECONDS", 1)
    monkeypatch.setattr(mounts, "shown", lambda source, target: nullcontext())
    # The kernel lets whoever opens the file wait, and tells who has the lease by this signal.
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    with (sysroot / "ostree/deploy/debian/deploy/x.0/etc/svc/sub/file").open("r+") as file:
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        try:
            _copied(sysroot, tmp_path)
        finally:
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
            signal.signal(signal.SIGIO, before)


def _copied(sysroot: Path, tmp_path: Path) -> None:
    with (
        pytest.raises(TreeError, match="cannot copy the machine's /etc") as caught,
        seclusion.etc_of(sysroot / "ostree/deploy/debian/deploy/x.0", tmp_path / "scratch"),
    ):
        pass
    assert "lease" in caught.value.detail


def test_what_a_killed_command_closed_is_opened_by_the_next(sysroot: Path) -> None:
    deploy = sysroot / "ostree/deploy/debian/deploy"
    deploy.chmod(0o700)
    seclusion.reopen(sysroot)
    assert stat.S_IMODE(deploy.stat().st_mode) == 0o755
    deploy.chmod(0o750)
    seclusion.reopen(sysroot)
    assert stat.S_IMODE(deploy.stat().st_mode) == 0o750
