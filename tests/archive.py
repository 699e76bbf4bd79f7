"""Builds the packages of ``fixtures/`` and a signed archive of them that real apt accepts; also a small base.

A fixture is a directory, ``fixtures/NAME`` or ``fixtures/NAME_VERSION``:

- ``control``, a real DEBIAN/control; beside it, optionally, maintainer scripts and other control files;
- ``root/``, its files. Modes become 0755 and 0644, as a checkout's own depend on the umask;
- ``make.sh``, run with ``sh -e`` in the staged root, makes what git cannot hold: modes, links, odd names;
- ``no-md5sums``, an empty file: leave out the list of checksums that packages usually have.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

FIXTURES = Path(__file__).parents[1] / "fixtures"

SCRIPTS = ("preinst", "postinst", "prerm", "postrm", "config")
CONTROL_FILES = ("control", "conffiles", "triggers", "templates")

EPOCH = 1704067200
"""2024-01-01: no file of a package is younger, so that a package built twice is the same bytes."""

SUITE = "stable"
COMPONENT = "main"
LABEL = "apt-ostree-tests"

BASE_RECIPE = "2"
"""Part of the small base's cache key: raise it when its recipe changes in a way that the key does not see."""

WITH_TOOLS = ("adduser", "apparmor", "systemd")
"""The packages that a small base needs for each way to make a user (adduser(8), useradd(8), systemd-sysusers(8)), for
what a boot runs, and to compile rules of AppArmor."""


@dataclass(frozen=True, slots=True)
class Archive:
    """A signed package archive on disk, and the public key that verifies it."""

    root: Path
    keyring: Path
    suite: str = SUITE

    @property
    def uri(self) -> str:
        """The URI of the archive, as a sources entry names it."""
        return self.root.as_uri()


def sources_line(archive: Archive) -> str:
    """The deb822 stanza (sources.list(5)) that makes apt use ``archive`` and trust its key alone."""
    return (
        f"Types: deb\nURIs: {archive.uri}\nSuites: {archive.suite}\nComponents: {COMPONENT}\n"
        f"Signed-By: {archive.keyring}\n"
    )


def fixture_sources(fixtures: Path = FIXTURES) -> list[Path]:
    """The directory of each fixture package, sorted by name."""
    return sorted(path.parent for path in fixtures.glob("*/control"))


def host_architecture() -> str:
    """The Debian name of this machine's architecture."""
    return _run(["dpkg", "--print-architecture"]).strip()


@contextmanager
def public_directory() -> Iterator[Path]:
    """A temporary directory that ``_apt`` can read, removed on exit.

    pytest's ``tmp_path`` is below a 0700 directory that each new pytest process closes again, so opening it
    would not last.
    """
    with tempfile.TemporaryDirectory(prefix="apt-ostree-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def build_deb(source: Path, out: Path) -> Path:
    """Build the fixture in ``source`` into the directory ``out``; returns ``out/NAME_VERSION_ARCH.deb``."""
    fields = _control_fields((source / "control").read_text())
    # In a pool, a file's name is without the epoch.
    version = fields["Version"].partition(":")[2] or fields["Version"]
    deb = out / f"{fields['Package']}_{version}_{fields['Architecture']}.deb"
    with tempfile.TemporaryDirectory(prefix="fixture-") as name:
        stage = Path(name)
        _stage_files(source, stage)
        _stage_control(source, stage)
        _run(
            ["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", stage, deb],
            environment={"SOURCE_DATE_EPOCH": str(EPOCH)},
        )
    return deb


def build_archive(
    fixtures: Path, out: Path, label: str = LABEL, *, suite: str = SUITE, release: str = "", signed: bool = True
) -> Archive:
    """Build every fixture below ``fixtures`` and index and sign the result, with a new key, in ``out``.

    ``release`` is put at the top of the Release file. An archive that is not ``signed`` still has a key.

    Everybody can read the files; the caller sees to it that ``_apt`` can reach ``out`` (``public_directory``).
    """

    def build(pool: Path) -> None:
        with ThreadPoolExecutor() as threads:
            list(threads.map(lambda source: build_deb(source, pool), fixture_sources(fixtures)))

    return _archive(build, out, label, suite, release=release, signed=signed)


def index_archive(debs: Sequence[Path], out: Path, label: str = LABEL) -> Archive:
    """Index and sign finished packages in ``out``, as ``build_archive`` does."""

    def copy(pool: Path) -> None:
        for deb in debs:
            shutil.copy(deb, pool)

    return _archive(copy, out, label)


def _archive(
    fill: Callable[[Path], None], out: Path, label: str, name: str = SUITE, *, release: str = "", signed: bool = True
) -> Archive:
    pool = out / "pool" / COMPONENT
    suite = out / "dists" / name
    index = suite / COMPONENT / f"binary-{host_architecture()}"
    pool.mkdir(parents=True)
    index.mkdir(parents=True)
    with ThreadPoolExecutor() as threads, signing_home() as home:
        key = threads.submit(generate_key, home)
        fill(pool)
        packages = _run(
            ["dpkg-scanpackages", "--multiversion", "--hash", "sha256", pool.relative_to(out)], cwd=out
        ).encode()
        (index / "Packages").write_bytes(packages)
        (index / "Packages.gz").write_bytes(gzip.compress(packages, compresslevel=1, mtime=EPOCH))
        (suite / "Release").write_text(release + _release(suite, label))
        key.result()
        if signed:
            _sign(home, suite)
        keyring = out / "archive.gpg"
        gpg(home, "--export", "--output", keyring)
    for path in (out, *out.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return Archive(out, keyring, name)


@dataclass(frozen=True, slots=True)
class Deb:
    """One package. ``files`` maps a path to its content, ``links`` to a link's target."""

    name: str
    version: str = "1.0"
    architecture: str = "all"
    control: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    conffiles: Sequence[str] = ()
    triggers: str = ""
    scripts: Mapping[str, str] = field(default_factory=dict)
    maintscript: str = ""
    """Lines of dpkg-maintscript-helper(1), for all the scripts that need them, as dh_installdeb(1) writes them."""

    def build(self, out: Path) -> Path:
        """Make the .deb in the directory ``out``."""
        stage = out / f"{self.name}.stage"
        (stage / "DEBIAN").mkdir(parents=True)
        control = (
            f"Package: {self.name}\nVersion: {self.version}\nArchitecture: {self.architecture}\n"
            f"Maintainer: apt-ostree tests <tests@example.org>\n{self.control}Description: proves a point\n"
        )
        members = {
            "control": control,
            "triggers": self.triggers,
            "conffiles": "".join(f"{c}\n" for c in self.conffiles),
        }
        for name, text in members.items():
            if text:
                (stage / "DEBIAN" / name).write_text(text)
        scripts = dict(self.scripts)
        if self.maintscript:
            helper = "".join(
                f'dpkg-maintscript-helper {line} -- "$@"\n' for line in self.maintscript.strip().splitlines()
            )
            scripts = {name: helper + scripts.get(name, "") for name in ("preinst", "postinst", "prerm", "postrm")}
        for name, text in scripts.items():
            (stage / "DEBIAN" / name).write_text(f"#!/bin/sh\nset -e\n{text}")
            (stage / "DEBIAN" / name).chmod(0o755)
        for path, text in self.files.items():
            (place := stage / path.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
            place.chmod(0o755 if "bin/" in path else 0o644)
        for path, target in self.links.items():
            (place := stage / path.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(target)
        deb = out / f"{self.name}_{self.version.replace(':', '%3a')}_{self.architecture}.deb"
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", stage, deb],
            check=True, capture_output=True, env={**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH)},
        )  # fmt: skip
        stage.rename(out / f"{deb.name}.built")
        return deb


def small_base(cache: Path, suite: str | None = None, more: Sequence[str] = ()) -> Path:
    """A tar of a small Debian root: the essential packages, passwd, mount and the fixture base-lib; no apt sources.

    It comes from the real archive, by way of mmdebstrap and the host's apt settings (root; some 10 s), and
    stays in ``cache`` for the next call. ``suite`` is by default the host's own; ``more`` packages are added.
    """
    suite = suite or _host_suite()
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="base-", dir=cache) as name:
        base_lib = build_deb(FIXTURES / "base-lib", Path(name))
        recipe = hashlib.sha256(base_lib.read_bytes() + " ".join([BASE_RECIPE, *more]).encode()).hexdigest()[:12]
        tarball = cache / f"base-{suite}-{host_architecture()}-{recipe}.tar"
        # Tests run in several processes, which would all make it.
        with (cache / f"{tarball.name}.lock").open("w") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            if tarball.exists():
                return tarball
            made = Path(name) / tarball.name
            # Sources and resolver belong to the host; a test that forgets its own must not reach the network.
            clean = 'rm -rf "$1"/etc/apt/sources.list* "$1"/etc/resolv.conf "$1"/etc/hostname'
            _run(
                [
                    "mmdebstrap",
                    "--variant=essential",
                    f"--include={','.join(['passwd', 'mount', *more])}",
                    "--format=tar",
                    "--skip=output/dev",
                    f'--customize-hook=dpkg --root="$1" --install {shlex.quote(str(base_lib))}',
                    f"--customize-hook={clean}",
                    suite,
                    made,
                ],
                environment={"SOURCE_DATE_EPOCH": str(EPOCH)},
            )  # fmt: skip
            made.rename(tarball)
    return tarball


def unpack_base(tarball: Path, root: Path) -> None:
    """Unpack ``small_base``'s tar into ``root``, with owners, modes and extended attributes (needs root)."""
    root.mkdir(parents=True, exist_ok=True)
    _run(
        [
            "tar", "--extract",
            "--file", tarball,
            "--directory", root,
            "--numeric-owner", "--same-owner", "--preserve-permissions",
            "--xattrs", "--xattrs-include=*",
        ]
    )  # fmt: skip


def _control_fields(text: str) -> dict[str, str]:
    lines = [line for line in text.splitlines() if line and not line.startswith((" ", "\t"))]
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _stage_files(source: Path, stage: Path) -> None:
    if (source / "root").is_dir():
        shutil.copytree(source / "root", stage, symlinks=True, dirs_exist_ok=True)
    for path in (stage, *stage.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
    if (source / "make.sh").exists():
        _run(["sh", "-e", source.resolve() / "make.sh"], cwd=stage)


def _stage_control(source: Path, stage: Path) -> None:
    # Listed while DEBIAN does not exist yet: it must not list itself.
    sums = _md5sums(source, stage)
    debian = stage / "DEBIAN"
    debian.mkdir()
    for name in (*CONTROL_FILES, *SCRIPTS):
        if (source / name).exists():
            shutil.copyfile(source / name, debian / name)
            (debian / name).chmod(0o755 if name in SCRIPTS else 0o644)
    if sums and not (source / "no-md5sums").exists():
        (debian / "md5sums").write_bytes(sums)
        (debian / "md5sums").chmod(0o644)
    debian.chmod(0o755)


def _md5sums(source: Path, stage: Path) -> bytes:
    """The list that dh_md5sums(1) writes: a line for each regular file that is not a conffile."""
    conffiles = (source / "conffiles").read_text().split() if (source / "conffiles").exists() else []
    lines = []
    for path in sorted(stage.rglob("*")):
        name = path.relative_to(stage)
        if path.is_file() and not path.is_symlink() and f"/{name}" not in conffiles:
            digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
            lines.append(digest.encode() + b"  " + os.fsencode(name) + b"\n")
    return b"".join(lines)


def _release(suite: Path, label: str) -> str:
    """The Release file of a suite; its index files are listed with their size and SHA256."""
    indexes = sorted(path for path in suite.rglob("Packages*") if path.is_file())
    sums = [
        f" {hashlib.sha256(path.read_bytes()).hexdigest()} {path.stat().st_size} {path.relative_to(suite)}\n"
        for path in indexes
    ]
    return (
        "Origin: apt-ostree-tests\n"
        f"Label: {label}\n"
        f"Suite: {suite.name}\n"
        f"Codename: {suite.name}\n"
        "Date: Mon, 01 Jan 2024 00:00:00 UTC\n"
        f"Architectures: {host_architecture()}\n"
        f"Components: {COMPONENT}\n"
        "SHA256:\n" + "".join(sums)
    )


@contextmanager
def signing_home() -> Iterator[Path]:
    """A GNUPGHOME of its own; the agent that gpg starts in it ends with it."""
    # Not below the archive: the path of an agent's socket is limited to 107 bytes.
    with tempfile.TemporaryDirectory(prefix="gpg-") as name:
        home = Path(name)
        try:
            yield home
        finally:
            _run(["gpgconf", "--kill", "all"], environment={"GNUPGHOME": name})


def generate_key(home: Path) -> None:
    """Make the one key of a GNUPGHOME."""
    gpg(home, "--quick-generate-key", "Fixture archive <tests@example.org>", "ed25519", "sign", "never")


def _sign(home: Path, suite: Path) -> None:
    gpg(home, "--clearsign", "--output", suite / "InRelease", suite / "Release")
    gpg(home, "--armor", "--detach-sign", "--output", suite / "Release.gpg", suite / "Release")


def gpg(home: Path, *arguments: str | Path) -> None:
    """Run gpg with the keys of a GNUPGHOME."""
    _run(["gpg", "--batch", "--quiet", "--passphrase", "", *arguments], environment={"GNUPGHOME": str(home)})


def _host_suite() -> str:
    with Path("/etc/os-release").open() as lines:
        fields = dict(line.rstrip("\n").split("=", 1) for line in lines if "=" in line)
    return fields["VERSION_CODENAME"].strip('"')


def _run(argv: Sequence[str | Path], cwd: Path | None = None, environment: Mapping[str, str] | None = None) -> str:
    """Run a tool and return its output; a failure shows what the tool said."""
    done = subprocess.run(
        argv,
        cwd=cwd,
        env={**os.environ, "LC_ALL": "C.UTF-8", **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        umask=0o022,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{shlex.join(map(str, argv))}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout
