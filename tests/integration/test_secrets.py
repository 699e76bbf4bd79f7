"""Credentials of archives and proxies: used, and told to nobody."""

from __future__ import annotations

import base64
import functools
import http.server
import pwd
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.archive import Archive
from tests.integration.system import System, output

SECRET = "t0p-s3cret"
EXPECTED = "Basic " + base64.b64encode(f"me:{SECRET}".encode()).decode()


class Guarded(http.server.SimpleHTTPRequestHandler):
    """Serves files to who knows the password, and refuses what the name ``refused`` is in."""

    refused = "nothing"

    def do_GET(self) -> None:
        if EXPECTED not in (self.headers["Authorization"], self.headers["Proxy-Authorization"]):
            self.send_error(401)
        elif self.refused in self.path:
            self.send_error(500, f"no http://me:{SECRET}@{self.headers['Host']}/ today")
        else:
            super().do_GET()

    def log_message(self, format: str, *arguments: object) -> None: ...


@contextmanager
def served(root: Path, refused: str = "nothing") -> Iterator[int]:
    """Serve a directory on the loopback interface; yields the port."""
    handler = type("Handler", (Guarded,), {"refused": refused})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=str(root)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def told(system: System) -> str:
    """All that is kept of an operation: logs, lock, origins, and what commits say of themselves."""
    kept = [*(system.var / "log/apt-ostree").glob("*"), *(system.var / "lib").rglob("*.json"), system.note]
    kept += system.deployment().parent.glob("*.origin")
    text = "".join(path.read_text(errors="replace") for path in kept if path.is_file())
    shown = [
        output("ostree", "show", "--raw", f"--repo={system.repo}", name.split(".")[0]) for name in system.deployments()
    ]
    return text + "".join(shown)


def use(system: System, uri: str, more: str = "") -> None:
    apt = system.deployment() / "etc/apt"
    source = apt / "sources.list.d/fixtures.sources"
    text = "".join(
        f"URIs: {uri}\n" if line.startswith("URIs") else line for line in source.read_text().splitlines(True)
    )
    source.write_text(text)
    (apt / "apt.conf.d").mkdir(exist_ok=True)
    (apt / "apt.conf.d/proxy").write_text(more)


def test_a_password_in_a_source_is_used_and_not_kept(sysroot: System, archive: Archive) -> None:
    with served(archive.root) as port:
        use(sysroot, f"http://me:{SECRET}@127.0.0.1:{port}/")
        result = sysroot.run("install", "-v", "--json", "greeter")
    assert sysroot.dpkg_status()["greeter"][0] == "2.0"
    assert SECRET not in result.stdout + result.stderr + told(sysroot)


@pytest.mark.parametrize("refused", ["Release", "greeter_2.0"])
def test_a_password_in_a_source_is_in_no_error(sysroot: System, archive: Archive, refused: str) -> None:
    with served(archive.root, refused) as port:
        use(sysroot, f"http://me:{SECRET}@127.0.0.1:{port}/")
        result = sysroot.run("install", "-v", "greeter", status=1)
    assert f"127.0.0.1:{port}" in result.failure.detail
    assert "500" in result.failure.detail
    assert SECRET not in result.stdout + result.stderr + told(sysroot)


def test_a_password_of_a_proxy_is_in_no_error(sysroot: System, archive: Archive) -> None:
    with served(archive.root) as port:
        # The proxy has no such host.
        use(sysroot, "http://archive.example.org/", f'Acquire::http::Proxy "http://me:{SECRET}@127.0.0.1:{port}/";\n')
        result = sysroot.run("install", "-v", "greeter", status=1)
    assert result.failure.detail
    assert SECRET not in result.stdout + result.stderr + told(sysroot)


def test_a_password_of_auth_conf_is_used_and_not_told(sysroot: System, archive: Archive) -> None:
    with served(archive.root, "greeter_2.0") as port:
        use(sysroot, f"http://127.0.0.1:{port}/")
        place = sysroot.deployment() / "etc/apt/auth.conf.d"
        place.mkdir(exist_ok=True)
        (place / "ours.conf").write_text(f"machine http://127.0.0.1:{port}/\nlogin me\npassword {SECRET}\n")
        (place / "ours.conf").chmod(0o600)
        failed = sysroot.run("install", "-v", "greeter", status=1)
        done = sysroot.run("install", "-v", "rec-b")
    assert "500" in failed.failure.detail
    assert SECRET not in failed.stdout + failed.stderr + done.stdout + done.stderr + told(sysroot)
    # Nor is it left where the fetcher, or anybody, may read it.
    for path in (sysroot.area / "apt").rglob("*"):
        if path.is_file() and SECRET.encode() in path.read_bytes():
            assert path.stat().st_mode & 0o077 == 0, path
    # The copy is the fetcher's, but not the directory: root would give away what the fetcher puts there meanwhile.
    copies = sysroot.area / "apt/etc/auth.conf.d"
    assert (copies.stat().st_uid, (copies / "ours.conf").stat().st_uid) == (0, pwd.getpwnam("_apt").pw_uid)


def test_a_password_of_the_environments_proxy_is_used_and_not_told(sysroot: System, archive: Archive) -> None:
    with served(archive.root) as port:
        use(sysroot, "http://archive.example.org/")
        env = {"http_proxy": f"http://me:{SECRET}@127.0.0.1:{port}/"}
        result = sysroot.run("install", "-v", "greeter", env=env, status=1)
    # The proxy was asked, and has no such host.
    assert "does not have a Release file" in result.failure.detail
    assert SECRET not in result.stdout + result.stderr + told(sysroot)


def test_a_password_of_a_remote_is_in_no_error(sysroot: System) -> None:
    # ostree's own command takes it, ours does not.
    url = f"http://me:{SECRET}@127.0.0.1:1/repo"
    output("ostree", f"--repo={sysroot.repo}", "remote", "add", "--no-gpg-verify", "r", url)
    result = sysroot.run("rebase", "r:no/such", "-v", status=1)
    assert "127.0.0.1" in result.stderr
    assert SECRET not in result.stdout + result.stderr + told(sysroot)
    assert SECRET not in sysroot.run("status", "-v", "--json").stdout + sysroot.run("remote", "list", "-u").stdout


def test_a_password_on_the_command_line_is_not_in_the_lock(sysroot: System) -> None:
    answers = f"http://me:{SECRET}@127.0.0.1:1/x"
    with sysroot.running("kargs", "--wait", f"--append=proxy={answers}") as child:
        noted = ""
        while child.poll() is None:
            noted = sysroot.note.read_text() or noted
            time.sleep(0.005)
    assert "kargs" in noted
    assert SECRET not in noted
