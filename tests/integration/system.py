"""A sysroot under test: runs the command line on it as a user would, and sees what became of it.

Results are read with ostree, with dpkg and from the files themselves, never with apt-ostree's own code: that is what
these tests judge.
"""

from __future__ import annotations

import configparser
import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema

from apt_ostree.tree import layout
from tests.archive import Archive, public_directory, sources_line

REPOSITORY = Path(__file__).parents[2]
BINARY = REPOSITORY / "dist/apt-ostree"

STATEROOT = "debian"
REF = "debian/test/base"
VERSION = "12.1"

EXAMPLE_REF = "debian/13/x86_64/minimal"
"""The ref that examples/debian-13-minimal.toml makes: an image with a kernel, which boots."""

DATABASE = "usr/lib/sysimage/dpkg"

TIMEOUT = 600
"""Seconds. Nothing here takes ten of an idle machine; a hang must not stop the suite."""

SOON = 20
"""Seconds in which what ends at once has ended on a busy machine, too; the scripts that wait do so for 30."""


def chosen_cli() -> list[str]:
    """The command under test: what APT_OSTREE names ("module" is ``python -m``), or else dist/apt-ostree if it is not
    older than the sources, or else the module."""
    named = os.environ.get("APT_OSTREE")
    if named and named != "module":
        return [named]
    if not named and BINARY.is_file():
        newest = max(path.stat().st_mtime for path in (REPOSITORY / "apt_ostree").rglob("*.py"))
        if BINARY.stat().st_mtime >= newest:
            return [os.fspath(BINARY)]
    return [sys.executable, "-m", "apt_ostree"]


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of the command under test, which has no terminal either."""
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "PYTHONPATH": os.fspath(REPOSITORY),
        # Otherwise ostree marks deployments immutable, and the test's directory could not be removed.
        "OSTREE_SYSROOT_DEBUG": "mutable-deployments",
        **(extra or {}),
    }


def output(*argv: str | os.PathLike[str]) -> str:
    """The standard output of a tool that has to succeed."""
    done = subprocess.run(
        argv,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        check=False,
    )
    assert done.returncode == 0, f"{argv}: exit {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def wait_until(condition: Callable[[], bool], seconds: float, what: str, pause: float = 0.02) -> None:
    """Look until ``condition`` holds; fail after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(pause)


SCHEMAS = [json.loads(path.read_text()) for path in sorted((REPOSITORY / "docs/schema").glob("*.json"))]
ERROR_SCHEMA = next(schema for schema in SCHEMAS if "failed" in schema["title"])


def schemas_of(argv: Sequence[str]) -> list[dict[str, Any]]:
    """The schemas that a command's document may have, by their titles: "apt-ostree COMMAND [OPTION] --json, ..."."""
    found: list[tuple[int, int, dict[str, Any]]] = []
    for schema in SCHEMAS:
        for form in schema["title"].split(", "):
            words = [word for word in form.split()[1:] if not word.startswith("-")]
            places = [at for at in range(len(argv)) if list(argv[at : at + len(words)]) == words]
            if words and places:
                found.append((places[0], -len(words), schema))
    # A command stands before its arguments, and the longest name that fits is its own.
    assert found, argv
    return [schema for place, length, schema in found if (place, length) == min(entry[:2] for entry in found)]


@dataclass(frozen=True, slots=True)
class Failure:
    """The three parts of an error, as standard error shows them."""

    brief: str
    detail: str
    resolution: str


@dataclass(frozen=True, slots=True)
class Result:
    """A finished command."""

    argv: tuple[str, ...]
    status: int
    stdout: str
    stderr: str

    @property
    def document(self) -> dict[str, Any]:
        """The JSON document on standard output, and nothing else there. It has to fit its schema."""
        document = json.loads(self.stdout)
        schemas = [ERROR_SCHEMA] if "error" in document else schemas_of(self.argv)
        problems = [next(jsonschema.Draft202012Validator(schema).iter_errors(document), None) for schema in schemas]
        assert None in problems, (self.argv, problems)
        return dict(document)

    @property
    def failure(self) -> Failure:
        """The error, which is the last thing on standard error."""
        lines = self.stderr.splitlines()
        starts = [number for number, line in enumerate(lines) if line.startswith("error: ")]
        assert len(starts) == 1, self.stderr
        rest = lines[starts[0] + 1 :]
        detail = [line[2:] for line in rest if line.startswith("  ")]
        assert rest[: len(detail)] == ["  " + line for line in detail], self.stderr
        return Failure(lines[starts[0]].removeprefix("error: "), "\n".join(detail), "\n".join(rest[len(detail) :]))


def run_cli(
    *words: str | os.PathLike[str],
    status: int | None = 0,
    cli: Sequence[str] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = TIMEOUT,
) -> Result:
    """Run the command line. Its exit status has to be ``status``, unless that is None."""
    argv = [*(cli or chosen_cli()), *(os.fspath(word) for word in words)]
    done = subprocess.run(
        argv,
        env=environment(env),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=timeout,
        check=False,
    )
    result = Result(tuple(argv), done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in result.stderr, result.stderr
    if status is not None:
        assert result.status == status, f"{argv}: exit {result.status}\n{result.stdout}{result.stderr}"
    return result


@dataclass(frozen=True, slots=True)
class Base:
    """A repository that holds one base commit under REF."""

    repo: Path
    commit: str


class System:
    """One sysroot on disk."""

    def __init__(self, path: Path, base: Base) -> None:
        self.path = path
        self.base = base

    @property
    def repo(self) -> Path:
        return self.path / "ostree/repo"

    @property
    def area(self) -> Path:
        """apt-ostree's work area."""
        return self.repo / "extensions/apt-ostree"

    @property
    def note(self) -> Path:
        """The file that names the lock's holder."""
        return self.path / "ostree/apt-ostree.lock"

    @property
    def lock(self) -> Path:
        """The file that is locked."""
        return self.path / "ostree/apt-ostree.flock"

    @property
    def var(self) -> Path:
        """The stateroot's /var, which all its deployments share."""
        return self.path / "ostree/deploy" / STATEROOT / "var"

    def run(
        self,
        *words: str | os.PathLike[str],
        status: int | None = 0,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Result:
        """Run one command on this sysroot."""
        return run_cli("--sysroot", self.path, *words, status=status, env=env, cwd=cwd)

    def run_as_nobody(self, *words: str, status: int | None = 0, uid: int = 65534) -> Result:
        """Run one command as a user without rights. First, everybody may enter the directories above."""
        # Otherwise only root can enter pytest's directories, and the project may lie in root's home.
        for path in self.path.parents:
            if not path.stat().st_mode & 0o001:
                path.chmod(path.stat().st_mode | 0o011)
        with public_directory() as directory:
            argv = chosen_cli()
            if len(argv) == 1:
                argv = [os.fspath(shutil.copy(argv[0], directory / "apt-ostree"))]
            else:
                shutil.copytree(REPOSITORY / "apt_ostree", directory / "apt_ostree")
            return run_cli(
                "--sysroot", self.path, *words,
                cli=["setpriv", f"--reuid={uid}", "--regid=65534", "--clear-groups", *argv],
                status=status,
                env={"PYTHONPATH": os.fspath(directory)},
                cwd=directory,
            )  # fmt: skip

    @contextmanager
    def running(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        """Run the block while a command runs. It is killed at the end if it still runs."""
        argv = [*chosen_cli(), "--sysroot", os.fspath(self.path), *words]
        with subprocess.Popen(
            argv,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as child:
            try:
                yield child
            finally:
                child.kill()

    def install(self, *words: str) -> Result:
        return self.run("install", *words)

    def deployments(self) -> list[str]:
        """CHECKSUM.SERIAL of each deployment in boot order, from ``ostree admin status``."""
        status = output("ostree", "admin", "status", f"--sysroot={self.path}")
        return re.findall(rf"^[* ] {STATEROOT} ([0-9a-f]{{64}}\.\d+)", status, re.MULTILINE)

    def entry(self) -> dict[str, list[str]]:
        """The loader entry of what boots next: the one with the highest version."""
        entries = []
        for file in (self.path / "boot/loader/entries").iterdir():
            found: dict[str, list[str]] = {}
            for line in file.read_text().splitlines():
                key, _, value = line.partition(" ")
                found.setdefault(key, []).append(value)
            entries.append(found)
        return max(entries, key=lambda entry: int(entry["version"][0]))

    def deployment(self, index: int = 0) -> Path:
        """The deployed tree."""
        return self.path / "ostree/deploy" / STATEROOT / "deploy" / self.deployments()[index]

    def commit(self, index: int = 0) -> str:
        """The checksum of a deployment's commit."""
        return self.deployments()[index].partition(".")[0]

    def content(self, index: int = 0) -> str:
        """The checksum of the content of a deployment's commit, without its metadata."""
        shown = output("ostree", "show", f"--repo={self.repo}", self.commit(index))
        match = re.search(r"^ContentChecksum: +([0-9a-f]{64})$", shown, re.MULTILINE)
        assert match is not None, shown
        return match[1]

    def origin(self, index: int = 0) -> configparser.RawConfigParser:
        """A deployment's origin file."""
        parser = configparser.RawConfigParser()
        deployment = self.deployment(index)
        parser.read_string(deployment.with_name(f"{deployment.name}.origin").read_text())
        return parser

    def requested(self, index: int = 0) -> list[str]:
        """The requests that an origin records."""
        return [name for name in self.origin(index).get("packages", "requested", fallback="").split(";") if name]

    def ls(self, path: str, index: int = 0) -> list[str]:
        """The lines of ``ostree ls -R`` below ``path`` of a deployment's commit."""
        return output("ostree", "ls", f"--repo={self.repo}", "-R", self.commit(index), path).splitlines()

    def dpkg_status(self, index: int = 0) -> dict[str, tuple[str, str]]:
        """Package -> version and status, as dpkg reads a deployment's database."""
        text = output(
            "dpkg-query",
            f"--admindir={self.deployment(index) / DATABASE}",
            "--show",
            "--showformat=${Package}\\t${Version}\\t${Status}\\n",
        )
        rows = (line.split("\t") for line in text.splitlines())
        return {name: (version, status) for name, version, status in rows}

    def fsck(self) -> None:
        """Check that every object matches its checksum."""
        output("ostree", "fsck", f"--repo={self.repo}", "--quiet")

    def use_archive(self, archive: Archive, name: str = "fixtures") -> None:
        """Put another archive into the /etc/apt of what boots next; with a new ``name``, an additional one."""
        _add_source(self.deployment() / "etc/apt", archive, name)

    def processes(self) -> list[str]:
        """Every process that works on this sysroot or sees it mounted, except the test's own."""
        needle = re.compile(os.fsencode(self._mounted_name))
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            if int(place.name) == os.getpid():
                continue
            try:
                words = (place / "cmdline").read_bytes()
                known = words + (place / "mountinfo").read_bytes() + os.fsencode(os.readlink(place / "cwd"))
            except OSError:
                continue
            if needle.search(known):
                found.append(f"{place.name} {words.replace(bytes(1), b' ').decode(errors='replace')}")
        return found

    def mounts(self) -> list[str]:
        """Every mount of the test's own namespace that shows something of this sysroot."""
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        return [line for line in lines if re.search(self._mounted_name, line)]

    @property
    def _mounted_name(self) -> str:
        """A regular expression for the sysroot's path within its filesystem, by which mountinfo names it. It does not
        match a longer name that begins with this one."""
        mount_point = next(parent for parent in self.path.parents if parent.is_mount())
        return re.escape(f"/{self.path.relative_to(mount_point)}") + r"(?![\w.-])"

    def snapshot(self) -> dict[str, object]:
        """Everything that a failing command must leave as it was: not caches, and not records."""
        deploy = self.path / "ostree/deploy" / STATEROOT
        # Logs and journal. Newer releases of ostree do not make even the directories above them.
        records = (f"{deploy}/var/log/apt-ostree", f"{deploy}/var/lib/apt-ostree")
        above = (f"{deploy}/var/log", f"{deploy}/var/lib")
        return {
            "status": output("ostree", "admin", "status", f"--sysroot={self.path}"),
            "refs": {
                os.fspath(path.relative_to(self.repo)): path.read_text()
                for path in sorted((self.repo / "refs").rglob("*"))
                if path.is_file() and "/apt-ostree/pkg/" not in os.fspath(path)
            },
            "boot": listing(self.path / "boot"),
            "links": {
                os.fspath(path): os.readlink(path)
                for path in sorted((self.path / "ostree").glob("boot.*/**/*"))
                if path.is_symlink()
            },
            "deployments": sorted(path.name for path in (deploy / "deploy").iterdir()),
            "origins": {path.name: path.read_text() for path in sorted((deploy / "deploy").glob("*.origin"))},
            "etc": {path.parent.name: listing(path) for path in sorted((deploy / "deploy").glob("*/etc"))},
            "var": {
                name: facts
                for name, facts in listing(deploy / "var").items()
                if name not in above and not name.startswith(records)
            },
            "processes": self.processes(),
            "mounts": self.mounts(),
            "lock": self.note.read_text() if self.note.exists() else "",
        }

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Check that the block leaves the sysroot as it was."""
        before = self.snapshot()
        yield
        after = self.snapshot()
        for key in before:
            assert after[key] == before[key], key

    def clone(self, target: Path) -> System:
        """A copy of the sysroot. Both share what is never written to: the objects and what is linked to them."""
        shared = [
            self.repo / "objects",
            self.area / "base",
            *(self.path / "ostree/deploy" / STATEROOT / "deploy").glob("*/usr"),
        ]
        output("cp", "-a", "--link", self.path, target)
        ours = {os.fspath(target / path.relative_to(self.path)) for path in shared}
        for top, directories, files in os.walk(target):
            directories[:] = [name for name in directories if os.path.join(top, name) not in ours]
            for name in files:
                path = Path(top, name)
                status = path.lstat()
                if stat.S_ISREG(status.st_mode):
                    copy = path.with_name(f"{name}.copy")
                    shutil.copy2(path, copy)
                    os.chown(copy, status.st_uid, status.st_gid)
                    copy.rename(path)
        return System(target, self.base)

    def remove(self) -> None:
        shutil.rmtree(self.path)


def configure(system: System, text: str) -> None:
    """Write the administrator's configuration of what boots next."""
    place = system.deployment() / "etc/apt-ostree"
    place.mkdir(exist_ok=True)
    (place / "config.toml").write_text(text)


def listing(top: Path) -> dict[str, tuple[int, int, int, str]]:
    """Each path below ``top`` with mode, owner, group, and its content's digest or a link's target."""
    found = {}
    for directory, directories, files in os.walk(top):
        for name in (*directories, *files):
            path = os.path.join(directory, name)
            status = os.lstat(path)
            content = ""
            if stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(status.st_mode):
                content = hashlib.sha256(Path(path).read_bytes()).hexdigest()
            found[path] = (status.st_mode, status.st_uid, status.st_gid, content)
    return found


def _add_source(apt: Path, archive: Archive, name: str = "fixtures") -> None:
    shutil.copy(archive.keyring, apt / f"keyrings/{name}.gpg")
    text = sources_line(archive).replace(str(archive.keyring), f"/etc/apt/keyrings/{name}.gpg")
    (apt / f"sources.list.d/{name}.sources").write_text(text)


def commit_base(plain: Path, archive: Archive, work: Path) -> Base:
    """Convert a copy of the plain root, with ``archive`` as its apt source, and commit it to a new repository."""
    root, repo = work / "root", work / "repo"
    output("cp", "-a", plain, root)
    for name in ("keyrings", "sources.list.d"):
        (root / "etc/apt" / name).mkdir(parents=True, exist_ok=True)
    _add_source(root / "etc/apt", archive)
    # ostree deploys nothing without a kernel; it never looks inside.
    modules = root / "usr/lib/modules/0.0"
    modules.mkdir(parents=True)
    for name in ("vmlinuz", "initramfs.img"):
        (modules / name).write_text(f"{name}\n")
    layout.convert(root)
    output("ostree", "init", f"--repo={repo}", "--mode=bare")
    commit = output(
        "ostree", "commit",
        f"--repo={repo}",
        f"--branch={REF}",
        f"--tree=dir={root}",
        "--consume",
        "--fsync=false",
        f"--add-metadata-string=version={VERSION}",
        "--add-metadata=ostree.bootable=true",
        "--add-metadata-string=ostree.linux=0.0",
        '--add-metadata-string=apt-ostree.kernel-args=["root=LABEL=root", "rw"]',
    ).strip()  # fmt: skip
    return Base(repo, commit)


def make_template(base: Base, path: Path) -> System:
    """A new sysroot with the base deployed by apt-ostree itself, and everything cached that a dry run caches."""
    run_cli("compose", "sysroot", "--repo", base.repo, "--stateroot", STATEROOT, REF, path)
    system = System(path, base)
    system.run("install", "--dry-run", "greeter")
    return system
