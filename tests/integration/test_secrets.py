"""Credentials of archives and proxies: used, and told to nobody."""

from __future__ import annotations

import base64
import functools
import http.server
import threading
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
