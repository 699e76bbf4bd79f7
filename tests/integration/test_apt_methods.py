"""apt starts no program but its own methods, by their names, whatever a target, a mirror or a proxy names."""

from __future__ import annotations

import hashlib
import http.server
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path

import pytest

from apt_ostree.errors import ResolveError, ToolError
from apt_ostree.host import proc
from apt_ostree.tools import apt as tools_apt
from apt_ostree.tools import apt_area, mmdebstrap
from apt_ostree.tools.apt_area import Apt
from apt_ostree.tools.apt_target import Target
from tests.unit.fake import Silent

UP = "../../../.."
"""From where apt has its methods to the root."""


@pytest.fixture
def target(tmp_path: Path) -> Target:
    """A target that its /etc alone makes; the fetcher reaches all that is below the test's directory."""
    for directory in (tmp_path, *tmp_path.parents):
        if not directory.stat().st_mode & 0o001:
            directory.chmod(directory.stat().st_mode | 0o011)
    tree, etc = tmp_path / "tree", tmp_path / "etc"
    for directory in (tree / "usr/lib/sysimage/dpkg", etc / "apt/sources.list.d", tmp_path / "area"):
        directory.mkdir(parents=True)
    (tree / "usr/lib/sysimage/dpkg/status").touch()
    return Target(tree, etc, ("amd64",))


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A program of the host, which leaves a note when it runs."""
    path = tmp_path / "program"
    path.write_text(f"#!/bin/sh\nid >{tmp_path}/ran\n")
    path.chmod(0o755)
    return path


def prepared(target: Target, source: str, settings: str = "") -> Apt:
    (target.etc / "apt/sources.list.d/x.list").write_text(f"deb [trusted=yes] {source} stable main\n")
    (target.etc / "apt/apt.conf").write_text(f'Acquire::Retries "0"; Acquire::http::Timeout "5"; {settings}')
    return apt_area.prepare(target.etc.parent / "area", target, "base", None)


def update(apt: Apt) -> proc.Result:
    return apt.run("timeout", "60", "apt-get", "update", "-q", "-o", "APT::Update::Error-Mode=any", check=False)


@contextmanager
def server(answer: Callable[[str], tuple[str, str]]) -> Iterator[str]:
    """A server, or a proxy: ``answer`` gives the Location and the body for what is asked for."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            location, body = answer(self.path)
            self.send_response(302 if location else 200)
            if location:
                self.send_header("Location", location)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.server_port}"
        finally:
            listening.shutdown()
            thread.join()


def test_a_list_of_mirrors_of_the_target_starts_no_program(target: Target, program: Path, tmp_path: Path) -> None:
    (target.etc / "mirrors").write_text(f"{UP}{program}:/x\n")
    with pytest.raises(ToolError, match="list of mirrors"):
        prepared(target, "mirror+file:/etc/mirrors")
    # And where apt got such a list nevertheless, it does not obey it.
    (target.etc / "mirrors").write_text("http://127.0.0.1:1/\n")
    apt = prepared(target, "mirror+file:/etc/mirrors")
    (copy,) = (apt.area / "etc/files").iterdir()
    copy.write_text(f"{UP}{program}:/x\n")
    assert "could not be found" in update(apt).stderr
    assert not (tmp_path / "ran").exists()


def test_a_list_of_mirrors_that_a_server_has_starts_no_program_and_names_no_file(
    target: Target, program: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("line of the host\n")
    lines = f"{UP}{program}:/x\nfile:{tmp_path}\nmirror+file:{secret}\nmirror+copy:{secret}\ncopy:{tmp_path}\nssh://x\n"
    with server(lambda path: ("", lines)) as address:
        result = update(prepared(target, f"mirror+{address}/mirrors"))
    said = result.stdout + result.stderr
    # apt has the list, and none of its lines counts.
    assert "Mirrorlist" in said and "mirror file failed" in said
    assert "line of the host" not in said
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("through_a_proxy", [False, True])
@pytest.mark.parametrize(
    "location",
    [
        f"{UP}PROGRAM:/x",
        f"/{UP}PROGRAM:/x",
        # A URI without a host is asked of the proxy; a path that this redirects to is no longer put behind one.
        "http:/again",
        "file:DIRECTORY",
        "copy:DIRECTORY",
        "mirror+file:DIRECTORY/secret",
        "store:DIRECTORY/secret",
    ],
)
def test_a_redirection_starts_no_program_and_names_no_file(
    target: Target, program: Path, tmp_path: Path, location: str, through_a_proxy: bool
) -> None:
    (tmp_path / "secret").write_text("line of the host\n")

    def answer(path: str) -> tuple[str, str]:
        chosen = f"/{UP}PROGRAM:/x" if path.endswith("again") else location
        return chosen.replace("PROGRAM", str(program)).replace("DIRECTORY", str(tmp_path)), ""

    with server(answer) as address:
        proxy = f'Acquire::http::Proxy "{address}";' if through_a_proxy else 'Acquire::http::Proxy "DIRECT";'
        result = update(prepared(target, "http://127.0.0.1:1/d" if through_a_proxy else f"{address}/d", proxy))
    assert result.returncode != 0
    assert "line of the host" not in result.stdout + result.stderr
    assert not (tmp_path / "ran").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="mmdebstrap needs root")
@pytest.mark.parametrize("through_a_proxy", [True, False])
def test_no_redirection_starts_a_program_while_an_image_is_composed(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, through_a_proxy: bool
) -> None:
    def answer(path: str) -> tuple[str, str]:
        return (f"/{UP}{program}:/x" if path.endswith("again") else "http:/again"), ""

    with server(answer) as address:
        monkeypatch.setenv("http_proxy", address if through_a_proxy else "")
        source = "http://127.0.0.1:1/d" if through_a_proxy else f"{address}/d"
        wanted = mmdebstrap.Root("stable", "amd64", (f"deb {source} stable main",), (), "apt", False, None)
        with pytest.raises(ResolveError, match="cannot bootstrap stable"):
            mmdebstrap.simulate(wanted, tmp_path, tmp_path / "log", Silent())
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("scheme", ["file", "mirror+file"])
def test_of_an_index_on_this_disk_apt_keeps_a_copy(target: Target, tmp_path: Path, scheme: str) -> None:
    """Whoever can write where it lies could exchange it after it was verified."""
    packages = b"Package: x\nVersion: 1\nArchitecture: all\nFilename: x.deb\nSize: 1\nSHA256: " + b"0" * 64 + b"\n"
    index = tmp_path / "archive/dists/stable/main/binary-amd64/Packages"
    index.parent.mkdir(parents=True)
    index.write_bytes(packages)
    # As of an archive that has its indexes in this form alone.
    (tmp_path / "archive/dists/stable/Release").write_text(
        "Suite: stable\nCodename: stable\nArchitectures: amd64\nComponents: main\n"
        f"Date: {formatdate(usegmt=True)}\nSHA256:\n"
        f" {hashlib.sha256(packages).hexdigest()} {len(packages)} main/binary-amd64/Packages\n"
    )
    source = f"file:{tmp_path}/archive"
    if scheme == "mirror+file":
        (target.etc / "mirrors").write_text(f"{source}\n")
        source = "mirror+file:/etc/mirrors"
    apt = prepared(target, source)
    assert update(apt).returncode == 0
    kept = [path for path in (apt.area / "lists").iterdir() if path.name.endswith("_Packages")]
    assert [path.is_symlink() for path in kept] == [False]
    index.write_bytes(b"")
    assert "Version: 1" in apt.run("apt-cache", "show", "x").stdout


def test_a_question_that_takes_apt_hours_is_ended(
    target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one about a stanza of a megabyte of dependencies is; meanwhile the lock is held."""
    common = f"Version: 1\nArchitecture: all\nSize: 1\nSHA256: {'0' * 64}\n"
    many = ", ".join(["b"] * 10_000)
    text = f"Package: a\nFilename: a.deb\nDepends: {many}\n{common}\nPackage: b\nFilename: b.deb\n{common}"
    (tmp_path / "Packages").write_text(text)
    apt = prepared(target, "copy:/nowhere")
    monkeypatch.setattr(tools_apt, "SOLVE_SECONDS", 0.0)
    with pytest.raises(ResolveError, match="no solution in time") as caught:
        tools_apt.simulate(apt, ["a"], tmp_path / "Packages")
    assert "it took longer than 0 s, and was ended" in caught.value.detail
