"""A repository of bases, signed by a throwaway key and served over HTTP on loopback; it can be made to fail."""

from __future__ import annotations

import http.server
import json
import os
import re
import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.archive import SUITE, Archive, build_archive, generate_key, gpg, signing_home
from tests.integration.system import DATABASE, REF, Base, output

DAY = 86400

HALF = "half"
"""A fault: half of what was announced arrives."""
WRONG = "wrong"
"""A fault: half arrives, and is announced as all."""
BROKEN = "500"
"""A fault: the server's own error."""
SLOW = "slow"
"""Every answer takes its time, and is right."""


@dataclass(frozen=True, slots=True)
class Version:
    """A published base."""

    commit: str
    version: str
    timestamp: int


class Served:
    """The repository, its key, and the server's state."""

    def __init__(self, repo: Path, home: Path) -> None:
        self.repo = repo
        self.home = home
        self.key = repo.parent / "key.gpg"
        self.url = ""
        self.fault: tuple[str, str] | None = None
        """A pattern for paths, and what happens to those that match."""
        self.asked: list[str] = []
        """The paths that were asked for."""

    def publish(
        self,
        version: str,
        *,
        ref: str = REF,
        day: int = 0,
        packages: Mapping[str, str] | None = None,
        files: Mapping[str, str] | None = None,
        described: bool = True,
        parent: str | None = None,
    ) -> Version:
        """Commit another version of the base: ``packages`` are those that it has of other versions, or besides.

        ``day`` is its age against the first base; ``described`` says whether the commit lists its packages.
        """
        first = output("ostree", "rev-parse", f"--repo={self.repo}", "first").strip()
        status = _with_packages(output("ostree", "cat", f"--repo={self.repo}", first, f"/{DATABASE}/status"), packages)
        stage = self.repo.parent / "stage"
        written = {f"{DATABASE}/status": status, "usr/lib/base-version": f"{version}\n", **(files or {})}
        for name in packages or {}:
            written.setdefault(f"{DATABASE}/info/{name}.list", "/.\n")
            written.setdefault(f"{DATABASE}/info/{name}.md5sums", "")
        for name, text in written.items():
            (stage / name).parent.mkdir(parents=True, exist_ok=True)
            (stage / name).write_text(text)
            (stage / name).chmod(0o755 if "bin/" in name else 0o644)
        timestamp = _timestamp(self.repo, first) + day * DAY
        before = parent or _resolve(self.repo, ref)
        listed = re.findall(r"^Package: (\S+)\n(?:.+\n)*?Architecture: (\S+)\n(?:.+\n)*?Version: (\S+)$", status, re.M)
        pkglist = json.dumps([[name, number, architecture] for name, architecture, number in listed])
        commit = output(
            "ostree", "commit",
            f"--repo={self.repo}",
            f"--branch={ref}",
            f"--parent={before or 'none'}",
            f"--tree=ref={first}",
            f"--tree=dir={stage}",
            f"--timestamp=@{timestamp}",
            "--owner-uid=0", "--owner-gid=0",
            "--fsync=false",
            "--add-metadata=ostree.bootable=true",
            "--add-metadata-string=ostree.linux=0.0",
            *([f"--add-metadata-string=version={version}"] if described else []),
            *([f"--add-metadata-string=apt-ostree.pkglist={pkglist}"] if described else []),
            f"--gpg-homedir={self.home}",
            f"--gpg-sign={_key_id(self.home)}",
        ).strip()  # fmt: skip
        shutil.rmtree(stage)
        return Version(commit, version, timestamp)

    def point(self, ref: str, commit: str) -> None:
        """Let a ref lead to another commit."""
        output("ostree", "refs", f"--repo={self.repo}", f"--create={ref}", "--force", commit)


def _key_id(home: Path) -> str:
    listed = output("gpg", f"--homedir={home}", "--list-keys", "--with-colons")
    return next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr"))


def _resolve(repo: Path, ref: str) -> str | None:
    place = repo / "refs/heads" / ref
    return place.read_text().strip() if place.exists() else None


def _timestamp(repo: Path, commit: str) -> int:
    from datetime import datetime

    shown = re.search(r"^Date: +(.+)$", output("ostree", "show", f"--repo={repo}", commit), re.MULTILINE)
    assert shown is not None
    return int(datetime.fromisoformat(shown[1]).timestamp())


def _with_packages(status: str, packages: Mapping[str, str] | None) -> str:
    stanzas = [stanza for stanza in status.strip().split("\n\n") if stanza]
    for name, version in (packages or {}).items():
        old = next((stanza for stanza in stanzas if stanza.startswith(f"Package: {name}\n")), None)
        if old is not None:
            stanzas[stanzas.index(old)] = re.sub(r"(?m)^Version: .*$", f"Version: {version}", old)
        else:
            stanzas.append(
                f"Package: {name}\nStatus: install ok installed\nPriority: optional\nSection: misc\n"
                f"Maintainer: apt-ostree tests <tests@example.org>\nArchitecture: all\nVersion: {version}\n"
                "Description: part of the base"
            )
    return "\n\n".join(stanzas) + "\n\n"


@contextmanager
def serving(base: Base, work: Path) -> Iterator[Served]:
    """Serve a repository with ``base``'s content under the ref ``first``, and no ref that anybody follows yet."""
    repo = work / "served"
    output("ostree", "init", f"--repo={repo}", "--mode=archive")
    output("ostree", "config", f"--repo={repo}", "set", "archive.zlib-level", "1")
    output("ostree", "pull-local", f"--repo={repo}", "--disable-fsync", base.repo, base.commit)
    output("ostree", "refs", f"--repo={repo}", "--create=first", base.commit)
    with signing_home() as home:
        generate_key(home)
        served = Served(repo, home)
        gpg(home, "--export", "--output", served.key)
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(served)) as server:
            served.url = f"http://127.0.0.1:{server.server_address[1]}"
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
            yield served
            server.shutdown()


def _handler(served: Served) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            served.asked.append(self.path)
            file = served.repo / self.path.lstrip("/")
            fault = served.fault[1] if served.fault and re.search(served.fault[0], self.path) else ""
            if fault == BROKEN or not file.is_file():
                self.send_response(500 if fault == BROKEN else 404)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            content = file.read_bytes()
            if fault == SLOW:
                time.sleep(0.3)
            part = content[: len(content) // 2] if fault in (HALF, WRONG) else content
            self.send_response(200)
            self.send_header("Content-Length", str(len(content if fault == HALF else part)))
            self.end_headers()
            self.wfile.write(part)
            if fault == HALF:
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


def small_archive(
    directory: Path, packages: Mapping[str, tuple[str, str]], label: str = "apt-ostree-tests", suite: str = SUITE
) -> Archive:
    """An archive of empty packages: name -> version and further lines of its control file."""
    fixtures = directory / "fixtures"
    for name, (version, more) in packages.items():
        (fixtures / name / "root/usr/lib" / name).mkdir(parents=True)
        (fixtures / name / "root/usr/lib" / name / "version").write_text(f"{version}\n")
        (fixtures / name / "control").write_text(
            f"Package: {name}\nVersion: {version}\nArchitecture: all\n"
            f"Maintainer: apt-ostree tests <tests@example.org>\nSection: misc\nPriority: optional\n{more}"
            "Description: proves a point\n"
        )
    return build_archive(fixtures, directory / "archive", label, suite=suite)


def tree_file(repo: Path, commit: str, path: str) -> str:
    """A file of a commit."""
    return output("ostree", "cat", f"--repo={repo}", commit, path)


def refs(repo: Path, below: str) -> Sequence[str]:
    """The names of all refs below ``below``, heads or remotes."""
    top = repo / "refs" / below
    return sorted(os.fspath(path.relative_to(top)) for path in top.rglob("*") if path.is_file())
