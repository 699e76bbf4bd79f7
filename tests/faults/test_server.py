"""A server of packages that misbehaves, and archives that nobody may believe: an error within a bounded time, and
the command works once the server does."""

from __future__ import annotations

import shutil
import signal
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.archive import FIXTURES, Archive, build_archive, public_directory, sources_line
from tests.integration.system import SOON, System, chosen_cli, output, run_cli, wait_until

TIMEOUT = 2
"""Seconds, set in the target's /etc/apt: the default would make the tests wait."""


class Handler(SimpleHTTPRequestHandler):
    """Serves a directory; files whose names end as the server's ``sick`` says are served as its ``how`` says."""

    server: Server

    def do_GET(self) -> None:
        if not self.server.sick or not self.path.endswith(self.server.sick):
            return super().do_GET()
        self.server.met += 1
        match self.server.how:
            case "stalls":
                self.server.over.wait(60)
            case "resets":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
            case "answers 500":
                self.send_error(500)
            case "sends a short body":
                self.send_response(200)
                self.send_header("Content-Length", "100000")
                self.end_headers()
                self.wfile.write(b"short")
            case "stalls in the middle":
                self.send_response(200)
                self.send_header("Content-Length", "100000")
                self.end_headers()
                self.wfile.write(b"short")
                self.wfile.flush()
                self.server.over.wait(60)
        self.close_connection = True
        return None

    def log_message(self, format: str, *words: object) -> None:
        """Nothing."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), partial(Handler, directory=str(root)))
        self.sick: tuple[str, ...] = ()
        self.how = ""
        self.met = 0
        self.over = threading.Event()

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that was reset is what was asked for."""


@contextmanager
def serving(root: Path) -> Iterator[Server]:
    with Server(root) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.over.set()
            server.shutdown()
            thread.join()


def use(system: System, archive: Archive, uri: str) -> None:
    """Name a served archive in what boots next, and be impatient there."""
    apt = system.deployment() / "etc/apt"
    shutil.copy(archive.keyring, apt / "keyrings/fixtures.gpg")
    text = (
        sources_line(archive).replace(archive.uri, uri).replace(str(archive.keyring), "/etc/apt/keyrings/fixtures.gpg")
    )
    (apt / "sources.list.d/fixtures.sources").write_text(text)
    (apt / "apt.conf.d").mkdir(exist_ok=True)
    (apt / "apt.conf.d/impatient").write_text(f'Acquire::http::Timeout "{TIMEOUT}"; Acquire::Retries "0";\n')


@pytest.mark.parametrize("how", ["stalls", "stalls in the middle", "resets", "answers 500", "sends a short body"])
@pytest.mark.parametrize(
    ("sick", "brief"),
    [(("InRelease", "/Release"), "cannot refresh the package lists"), ((".deb",), "cannot download")],
    ids=["lists", "packages"],
)
def test_a_server_that_misbehaves_is_an_error_in_time(
    sysroot: System, archive: Archive, how: str, sick: tuple[str, ...], brief: str
) -> None:
    with serving(archive.root) as server:
        use(sysroot, archive, f"http://127.0.0.1:{server.server_port}")
        server.sick, server.how = sick, how
        began = time.monotonic()
        with sysroot.unchanged():
            failure = sysroot.run("install", "rec-a", status=1).failure
        assert time.monotonic() - began < 60
        assert server.met > 0
        assert failure.brief.startswith(brief), failure
        assert f"127.0.0.1:{server.server_port}" in failure.detail
        assert failure.resolution
        server.sick = ()
        sysroot.install("rec-a")
    assert sysroot.requested() == ["rec-a"]


def test_a_signal_ends_a_download_that_stalls(sysroot: System, archive: Archive) -> None:
    with serving(archive.root) as server:
        use(sysroot, archive, f"http://127.0.0.1:{server.server_port}")
        (sysroot.deployment() / "etc/apt/apt.conf.d/impatient").unlink()
        server.sick, server.how = ("rec-a_1.0_all.deb",), "stalls in the middle"
        with sysroot.unchanged(), sysroot.running("install", "rec-a", "greeter", "user-maker") as child:
            wait_until(lambda: server.met > 0, 60, "it waits for the server")
            child.terminate()
            assert child.wait(SOON) == 128 + signal.SIGTERM


def test_a_server_counts_as_gone_after_half_a_minute(sysroot: System, archive: Archive) -> None:
    """Twice, rather than four times with growing delays as apt has it: docs/transactions.md."""
    sysroot.install("greeter")
    text = output("apt-config", "-c", sysroot.area / "apt/apt.conf", "dump")
    for line in ('Acquire::http::Timeout "30";', 'Acquire::https::Timeout "30";', 'Acquire::Retries "1";'):
        assert line in text.splitlines()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One fixture, to build archives of."""
    place = tmp_path_factory.mktemp("small")
    shutil.copytree(FIXTURES / "rec-a", place / "rec-a")
    return place


# The test machine's own apt would believe everything.
GULLIBLE = """\
Acquire::AllowInsecureRepositories "true";
Acquire::AllowDowngradeToInsecureRepositories "true";
Acquire::AllowWeakRepositories "true";
Acquire::Check-Valid-Until "false";
APT::Get::AllowUnauthenticated "true";
"""


@pytest.mark.parametrize(
    ("release", "signed", "own_key", "said"),
    [
        ("", False, True, "not signed"),
        ("Valid-Until: Tue, 02 Jan 2024 00:00:00 UTC\n", True, True, "expired"),
        ("", True, False, "not signed"),
    ],
    ids=["unsigned", "expired", "signed by another key"],
)
def test_an_archive_that_nobody_may_believe_is_refused_whatever_the_host_believes(
    sysroot: System, archive: Archive, small: Path, tmp_path: Path, release: str, signed: bool, own_key: bool, said: str
) -> None:
    (tmp_path / "host").mkdir()
    (tmp_path / "host/gullible").write_text(GULLIBLE)
    with public_directory() as directory:
        other = build_archive(small, directory / "archive", release=release, signed=signed)
        sysroot.use_archive(other if own_key else replace(other, keyring=archive.keyring))
        script = 'mount --bind "$1" /etc/apt/apt.conf.d; shift; exec "$@"'
        with sysroot.unchanged():
            failure = run_cli(
                "--sysroot", sysroot.path, "install", "rec-a",
                cli=["unshare", "-m", "sh", "-ec", script, "sh", str(tmp_path / "host"), *chosen_cli()],
                status=1,
            ).failure  # fmt: skip
    assert failure.brief == "cannot refresh the package lists"
    assert said in failure.detail, failure.detail
    assert failure.resolution
