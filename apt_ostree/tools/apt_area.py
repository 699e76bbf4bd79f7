"""The area that apt works in: a configuration that names every directory, and copies of the target's settings.

Nothing of the running system's own apt configuration takes part, and nothing of the target's is evaluated here: its
settings and sources are parsed (apt_settings.py, apt_sources.py), its keys, preferences and credentials are copied
(apt_copies.py). There are no hooks, since a hook would run the target's commands as root
here (apt.conf(5)).
"""

from __future__ import annotations

import hashlib
import os
import pwd
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import unquote

from ..errors import ToolError, redact
from ..host import proc
from ..host.files import remove_tree
from . import apt_settings, apt_sources, dpkg
from .apt_copies import Copies, write, write_bytes
from .apt_target import Target

TIMEOUTS = {"Acquire::http::Timeout": "30", "Acquire::https::Timeout": "30"}
"""Seconds without a byte after which a server counts as gone."""

_PATIENCE = TIMEOUTS | {"Acquire::Retries": "1"}
"""How often a file is asked for again: apt's own default is three more times, with growing delays. The target's own
settings win."""


METHODS = apt_sources.SCHEMES | {"store", "rred", "gpgv", "sqv"}
"""apt's programs that fetch, unpack and verify: it can start no others. ssh, for one, runs ssh(1) with a host name that
may be an option."""

KEY_BYTES = 256 << 10
"""Of a key that stands in the sources themselves; Debian's whole keyring has a fourth of it."""


@dataclass(frozen=True, slots=True)
class Apt:
    """A prepared area: every call below reads ``config`` and nothing else."""

    area: Path
    config: Path
    sources_digest: str
    originals: Mapping[str, str] = field(default_factory=dict)
    """The paths of copies that apt may name in its messages -> what the target calls them."""
    sources: tuple[tuple[str, apt_sources.Source], ...] = ()
    """What it fetches from, each with the name of its file below /etc/apt."""

    def run(
        self, *words: str, check: bool = True, cwd: Path | None = None, during: proc.During = proc.unwatched
    ) -> proc.Result:
        """One of apt's programs, run in the area; in its messages the target's own paths stand for those of copies."""
        # The host's own place for temporary files may be read-only.
        env = {"APT_CONFIG": os.fspath(self.config), "TMPDIR": os.fspath(self.area / "tmp")}
        result = proc.run(list(words), env=env, cwd=cwd, check=False, during=during)
        message = result.stderr
        for copy, original in self.originals.items():
            message = message.replace(copy, original)
        result = replace(result, stderr=message)
        if check and result.returncode != 0:
            raise proc.ChildError(result)
        return result


def prepare(area: Path, target: Target, cache_key: str, recommends: bool | None, *, lists: Path | None = None) -> Apt:
    """Write the area's copies and its configuration.

    ``area`` must be reachable for the user _apt; ``cache_key`` names the base, because apt judges its cache
    by a status file's size and time, and ostree sets every time to 0. With ``lists``, another area's, nothing can
    be fetched, and anybody may ask: credentials are neither needed nor read. Raises ToolError, and OSError where
    sources may not be read.
    """
    # apt changes to no other user for who only asks; who that is may have no name.
    fetcher = _fetcher() if lists is None else "root"
    remove_tree(area / "tmp")
    for name in ("lists", "archives", "lists/partial", "archives/partial", "tmp") if lists is None else ():
        _hand_over(area / name, "root" if name == "lists" else fetcher)
    (area / "tmp").mkdir(mode=0o700, exist_ok=True)
    (area / "cache" / cache_key).mkdir(parents=True, exist_ok=True)
    for stale in (area / "cache").iterdir():
        if stale.is_dir() and stale.name != cache_key:
            remove_tree(stale)
    remove_tree(area / "etc")
    copies = Copies(target, area / "etc", fetcher if lists is None else None)
    settings = _PATIENCE | _settings(copies)
    digest, sources = _copy_sources(copies, target.architectures)
    if recommends is not None:
        settings["APT::Install-Recommends"] = "true" if recommends else "false"
    settings |= {
        "Dir": "/",
        "Dir::Etc": f"{area}/etc",
        "Dir::Etc::main": "/dev/null",
        "Dir::Etc::parts": "/dev/null",
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": f"{area}/etc/sources.list.d",
        "Dir::Etc::trusted": f"{area}/etc/trusted.gpg",
        "Dir::Etc::trustedparts": f"{area}/etc/trusted.gpg.d",
        "Dir::Etc::preferences": "/dev/null",
        "Dir::Etc::preferencesparts": f"{area}/etc/preferences.d",
        "Dir::Etc::netrc": f"{area}/etc/auth.conf",
        "Dir::Etc::netrcparts": f"{area}/etc/auth.conf.d",
        "Dir::State": os.fspath(area),
        "Dir::State::lists": os.fspath(lists or area / "lists"),
        "Dir::State::status": os.fspath(dpkg.database(target.tree) / "status"),
        "Dir::State::extended_states": f"{area}/extended_states",
        "Dir::Cache": f"{area}/cache/{cache_key}",
        "Dir::Cache::archives": f"{area}/archives",
        "Dir::Cache::pkgcache": f"{area}/cache/{cache_key}/pkgcache.bin",
        "Dir::Cache::srcpkgcache": f"{area}/cache/srcpkgcache.bin",
        "Dir::Log": "/dev/null",
        "APT::Architecture": target.architectures[0],
        "APT::Sandbox::User": fetcher,
        "Acquire::ForceHash": "SHA256",
        # Else a name that no package has is a regular expression (apt-get(8)).
        "APT::Cmd::Pattern-Only": "true",
        "Acquire::Languages": "none",
    }
    config = area / "apt.conf"
    settings |= own_methods(config)
    # Proxy settings may hold a password.
    write(config, apt_settings.render(settings, {"APT::Architectures": target.architectures}), 0o600)
    return Apt(area, config, digest, copies.originals, tuple(sources))


def own_methods(file: Path) -> dict[str, str]:
    """The settings with which apt starts no program to fetch but METHODS, for every apt that fetches; ``file`` is any.

    A method that is not given is the file in Dir::Bin::Methods with the name that all of a URI up to its first colon
    makes, with ".." too; and through a proxy, a server can redirect apt to what is no URI at all. Below a file there is
    nothing. (/dev/null is none for apt.)
    """
    given = {f"Dir::Bin::Methods::{name}": f"/usr/lib/apt/methods/{name}" for name in sorted(METHODS)}
    return {"Dir::Bin::Methods": f"{file}/none", **given}


def _hand_over(path: Path, user: str) -> None:
    """Make a directory and give it to ``user``. Its parent may be that user's: a link in its place goes."""
    if path.is_symlink():
        path.unlink()
    path.mkdir(exist_ok=True)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchown(descriptor, pwd.getpwnam(user).pw_uid, -1)
    finally:
        os.close(descriptor)


def _fetcher() -> str:
    """The unprivileged user apt downloads as; a rescue system may lack it."""
    try:
        return pwd.getpwnam("_apt").pw_name
    except KeyError:
        return "root"


def _settings(copies: Copies) -> dict[str, str]:
    """The target's own settings that matter here. Raises ToolError where apt could not read them either."""
    # In apt's own order: the parts, and then the file.
    files = dict(copies.listed("apt.conf", "apt.conf.d", {"", ".conf"}))
    texts = [files[name] for name in sorted(files, key=lambda name: (name == "apt.conf", name))]

    def include(path: str) -> list[str]:
        names = [f"{path}{name}" for name in copies.target.names(path)] if path.endswith("/") else [path]
        return [inner.text for name in names if (inner := copies.read(name)) is not None]

    try:
        found = apt_settings.read((file.text for file in texts), include)
    except apt_settings.SyntaxProblem as error:
        raise ToolError(
            "cannot read the target's apt configuration", str(error), "Check its /etc/apt/apt.conf and apt.conf.d."
        ) from error
    return {
        # The key of a client's certificate is for the user who fetches alone.
        key: copies.of(value, secret="sslkey" in key.lower()) if apt_settings.names_a_file(key) else value
        for key, value in apt_settings.taken_over(found).items()
    }


def _copy_sources(copies: Copies, architectures: Sequence[str]) -> tuple[str, list[tuple[str, apt_sources.Source]]]:
    """Copy sources, keys and preferences, and the credentials for a fetcher; returns a digest of what decides the
    lists, and the sources."""
    etc = copies.place
    for name in ("sources.list.d", "trusted.gpg.d", "preferences.d", "auth.conf.d", "files"):
        (etc / name).mkdir(parents=True, exist_ok=True)
    etc.chmod(0o755)
    # An address may hold a password, and the copies would be for everybody, whatever the originals are.
    (etc / "sources.list.d").chmod(0o700)
    digest = hashlib.sha256(" ".join(architectures).encode())
    room = apt_sources.ENTRIES
    every: list[tuple[str, apt_sources.Source]] = []
    for number, (name, found) in enumerate(copies.listed("sources.list", "sources.list.d", {".list", ".sources"})):
        sources = _sources(name, found.text, copies, room)
        room -= sum(source.entries for source in sources)
        every += [(name, source) for source in sources]
        text = apt_sources.render(sources)
        copy = etc / "sources.list.d" / f"{number:03}-{Path(name).name.removesuffix('.list')}.list"
        copies.originals[os.fspath(copy)] = f"/etc/apt/{name}"
        write(copy, text)
        # Anybody may read it: of a password with few possibilities it would tell which one it is.
        digest.update(redact(unquote(text, errors="surrogateescape")).encode(errors="surrogateescape"))
    for name, found in copies.listed("trusted.gpg", "trusted.gpg.d", {".gpg", ".asc"}):
        copies.write(etc / name, found)
    for name, found in copies.listed("preferences", "preferences.d", {"", ".pref"}):
        write_bytes(etc / "preferences.d" / Path(name).name, found.content, found.mode)
    if copies.fetcher is not None:
        for name, found in copies.listed("auth.conf", "auth.conf.d", {"", ".conf"}):
            copies.write(etc / name, replace(found, mode=0o600))
    for key in sorted(etc.glob("files/*")) + sorted(etc.glob("trusted.gpg*/*")):
        digest.update(key.read_bytes())
    return digest.hexdigest(), every


_KEY_BLOCK = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
_FINGERPRINT = re.compile(r"(?:0x)?[0-9A-Fa-f]{8,64}!?")


def _sources(name: str, text: str, copies: Copies, room: int = apt_sources.ENTRIES) -> list[apt_sources.Source]:
    """The sources of a file of the target's: where they name a file, it is the target's copy. Raises ToolError."""
    keys: dict[str, str] = {}
    try:
        found = apt_sources.read(text, deb822=name.endswith(".sources"), room=room)
        return [_of_copies(source, copies, keys) for source in found]
    except apt_sources.SyntaxProblem as error:
        raise ToolError(
            "cannot read the target's package sources",
            f"/etc/apt/{name}, {error}",
            "Correct the file (sources.list(5)).",
        ) from error


def _of_copies(source: apt_sources.Source, copies: Copies, keys: dict[str, str]) -> apt_sources.Source:
    options = dict(source.options)
    if (signed_by := options.get("signed-by")) is not None:
        # A stanza has one value for many sources.
        if signed_by not in keys:
            keys[signed_by] = _keys(signed_by, source, copies)
        options["signed-by"] = keys[signed_by]
    if (uri := apt_sources.copied(source.uri)) != source.uri:
        copies.originals[uri] = source.uri
    if (mirrors := apt_sources.path_of_list(uri)) is not None:
        # apt puts a slash behind each URI.
        path = unquote(mirrors, errors="surrogateescape").rstrip("/")
        uri = f"{apt_sources.LIST}:{copies.mirrors(path)}"
    return replace(source, options=options, uri=uri)


def _keys(value: str, source: apt_sources.Source, copies: Copies) -> str:
    """What Signed-By has to say: the key itself, or paths of keys and fingerprints (sources.list(5))."""
    if len(value) > KEY_BYTES:
        raise apt_sources.SyntaxProblem(source.line, "Signed-By is too long")
    if _KEY_BLOCK in value:
        # A blank line is written as a dot (deb822(5)).
        lines = (line.strip() for line in value.split("\n"))
        return copies.made("".join(f"{'' if line == '.' else line}\n" for line in lines))
    words = [word for word in re.split(r"[\s,]+", value) if word]
    for word in words:
        if not word.startswith("/") and not _FINGERPRINT.fullmatch(word):
            raise apt_sources.SyntaxProblem(source.line, "Signed-By has neither a path nor a fingerprint")
    return ",".join(copies.of(word) if word.startswith("/") else word for word in words)
