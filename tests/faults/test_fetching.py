"""Who is on the way to an archive or a remote cannot hold the lock for ever, or fill the host's disk."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.archive import Archive
from tests.faults.test_server import use
from tests.integration.system import REPOSITORY, Base, System, environment, output

WINDOW = 3
SOON = 60


def hurried(system: System, *words: str) -> str:
    """Run a command that has to fail soon; returns its last words."""
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.hurried", str(WINDOW), "--sysroot", os.fspath(system.path), *words],
        env=environment(), cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, time.monotonic() - begun < SOON) == (1, True), done.stderr
    return done.stderr


class Handler(SimpleHTTPRequestHandler):
    """Serves a directory, but for the name ``sick``: of that it sends a few bytes, or many, without end."""

    server: Server

    def do_GET(self) -> None:
        if not self.path.endswith(self.server.sick):
            return super().do_GET()
        self.server.met.set()
        self.send_response(200)
        if self.path.endswith("InRelease"):
            self.send_header("Content-Length", "4000000")
        self.end_headers()
        try:
            while not self.server.over.wait(self.server.pause):
                self.wfile.write(self.server.piece)
        except OSError:
            pass
        return None

    def log_message(self, format: str, *words: object) -> None:
        """Nothing."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, root: Path, sick: str, piece: bytes, pause: float) -> None:
        super().__init__(("127.0.0.1", 0), lambda *words: Handler(*words, directory=os.fspath(root)))
        self.sick, self.piece, self.pause = sick, piece, pause
        self.over, self.met = threading.Event(), threading.Event()


@contextmanager
def serving(root: Path, sick: str, piece: bytes, pause: float) -> Iterator[str]:
    with Server(root, sick, piece, pause) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
            assert server.met.is_set()
        finally:
            server.over.set()
            server.shutdown()


@pytest.mark.parametrize("what", ["InRelease", "Packages", "greeter"])
def test_a_pipe_in_the_place_of_an_archives_file_ends_the_command_in_time(
    sysroot: System, own_archive: Archive, what: str
) -> None:
    """Whoever owns the directory of a ``file:`` source can put one there."""
    is_list = what != "greeter"
    sysroot.use_archive(own_archive, *(["own"] if is_list else []))
    if not is_list:
        sysroot.run("refresh-md", "--force")
    for file in own_archive.root.rglob(f"{what}*" if is_list else f"{what}*.deb"):
        file.unlink()
        os.mkfifo(file, 0o644)
    said = hurried(sysroot, *(("refresh-md", "--force") if is_list else ("install", "greeter")))
    assert f"cannot {'refresh the package lists' if is_list else 'download packages'}" in said
    assert f"less than 256 kB arrived in {WINDOW} s" in said


def test_an_archive_that_sends_drops_ends_the_command_in_time(sysroot: System, archive: Archive) -> None:
    with serving(archive.root, "InRelease", b"\n", 0.5) as uri:
        use(sysroot, archive, uri)
        said = hurried(sysroot, "refresh-md", "--force")
    assert "cannot refresh the package lists" in said and "less than 256 kB arrived" in said


@pytest.fixture
def image(base_repo: Base, tmp_path: Path) -> Path:
    """A repository that is served, with a commit of one new file over the base."""
    repo, tree = tmp_path / "served", tmp_path / "tree"
    (tree / "usr/share").mkdir(parents=True)
    (tree / "usr/share/new").write_text("new")
    output("ostree", "init", f"--repo={repo}", "--mode=archive")
    output("ostree", f"--repo={repo}", "pull-local", base_repo.repo, base_repo.commit)
    output(
        "ostree", f"--repo={repo}", "commit", "--branch=vendor", f"--tree=ref={base_repo.commit}", f"--tree=dir={tree}",
        "--no-bindings", "--add-metadata-string=version=66",
    )  # fmt: skip
    return repo


@pytest.mark.parametrize("endless", [False, True])
def test_a_remote_that_sends_drops_or_bytes_without_end_ends_the_command_in_time(
    sysroot: System, image: Path, tmp_path: Path, endless: bool
) -> None:
    """libostree minds no reserve where they arrive: in unnamed files in /var/tmp, or newer ones in the repository. Both
    are on small disks here."""
    piece, pause = (bytes(1 << 16), 0.002) if endless else (b"x", 0.5)
    place = tmp_path / "small"
    place.mkdir()
    with serving(image, ".filez", piece, pause) as uri:
        output("ostree", f"--repo={sysroot.repo}", "remote", "add", "--no-gpg-verify", "vendor", uri)
        program = ["unshare", "--mount", "--propagation=private", "sh", "-euc"]
        script = (
            'mount -t tmpfs -o size=300m tmpfs /var/tmp; mount -t tmpfs -o size=400m tmpfs "$1"; cp -a "$0/." "$1"; '
            'shift; exec "$@"'
        )
        begun = time.monotonic()
        done = subprocess.run(
            [*program, script, sysroot.path, place, sys.executable, "-m", "tests.faults.hurried", str(WINDOW),
             "--sysroot", place, "rebase", "vendor:vendor"],
            env=environment(), cwd=REPOSITORY, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, time.monotonic() - begun < SOON) == (1, True), done.stderr
    if endless:
        assert "what is fetched filled the disk" in done.stderr
        assert re.search(r"only [1-9]\d* MB were left free in (/var/tmp|\S+/small/ostree/repo),", done.stderr)
    else:
        assert "cannot pull vendor:vendor" in done.stderr and "less than 256 kB arrived" in done.stderr
