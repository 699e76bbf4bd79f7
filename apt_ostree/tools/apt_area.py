"""The area that apt works in: a configuration that names every directory, and copies of the target's settings.

Nothing of the running system's own apt configuration takes part. The area holds copies of the target's
sources, keys, preferences and credentials; it has no hooks, since a hook would run the target's
commands as root here (apt.conf(5)).
"""

from __future__ import annotations

import hashlib
import os
import pwd
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import ToolError
from ..host import proc
from ..host.files import remove_tree
from ..host.paths import resolve
from . import dpkg

_CONFIGURATION = re.compile(r'^(?P<key>[A-Za-z0-9_:./+-]+) "(?P<value>.*)";$')

_TAKEN_OVER = re.compile(
    r"(?i)^(Acquire::(?!.*(auto-?detect|gpgv|cdrom|ssh|rsh|ForceHash|Languages|AllowInsecure|AllowWeak|AllowDowngrade|GzipIndexes))"
    r"|APT::Default-Release$|APT::Install-(Recommends|Suggests)$|APT::Solver$)"
)
"""The target's settings that decide what is fetched and from where. ProxyAutoDetect names a program to run, the
gpgv's options and the Allow… ones weaken verification; all stay behind."""

_PATIENCE = {
    "Acquire::http::Timeout": "30",
    "Acquire::https::Timeout": "30",
    "Acquire::ftp::Timeout": "30",
    "Acquire::Retries": "1",
}
"""Seconds without a byte after which a server counts as gone, and how often a file is asked for again: apt's own
default is three more times, with growing delays. The target's own settings win."""


@dataclass(frozen=True, slots=True)
class Target:
    """The system that apt resolves for: a base tree and the /etc/apt that its administrator keeps.

    ``tree`` holds the dpkg database and keyrings below /usr; ``etc`` is the directory to read ``apt`` in.
    """

    tree: Path
    etc: Path
    architectures: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Apt:
    """A prepared area: every call below reads ``config`` and nothing else."""

    area: Path
    config: Path
    sources_digest: str

    def run(self, *words: str, check: bool = True) -> proc.Result:
        return proc.run([words[0], *words[1:]], env={"APT_CONFIG": os.fspath(self.config)}, check=check)


def prepare(area: Path, target: Target, cache_key: str, recommends: bool | None, *, lists: Path | None = None) -> Apt:
    """Write the area's copies and its configuration.

    ``area`` must be reachable for the user _apt; ``cache_key`` names the base, because apt judges its cache
    by a status file's size and time, and ostree sets every time to 0. With ``lists``, another area's, nothing can
    be fetched, and anybody may ask: credentials are neither needed nor read. Raises ToolError, and OSError where
    sources may not be read.
    """
    fetcher = _fetcher() if lists is None else pwd.getpwuid(os.geteuid()).pw_name
    for name in ("lists", "archives", "lists/partial", "archives/partial") if lists is None else ():
        _hand_over(area / name, "root" if name == "lists" else fetcher)
    (area / "cache" / cache_key).mkdir(parents=True, exist_ok=True)
    for stale in (area / "cache").iterdir():
        if stale.is_dir() and stale.name != cache_key:
            remove_tree(stale)
    settings = _PATIENCE | _settings(area, target)
    digest = _copy_sources(area, target, fetcher if lists is None else None)
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
    lines = [f'{key} "{value}";' for key, value in settings.items()]
    lines.append("APT::Architectures { " + " ".join(f'"{name}";' for name in target.architectures) + " };")
    config = area / "apt.conf"
    # Proxy settings may hold a password.
    write(config, "\n".join(lines) + "\n", 0o600)
    return Apt(area, config, digest)


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


def write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", errors="surrogateescape") as file:
        os.fchmod(descriptor, mode)
        file.write(text)


def _settings(area: Path, target: Target) -> dict[str, str]:
    """The target's own settings that matter here, as ``apt-config dump`` reads them from its /etc/apt."""
    reader = area / "reader.conf"
    apt = target.etc / "apt"
    write(reader, f'Dir::Etc::main "{apt}/apt.conf";\nDir::Etc::parts "{apt}/apt.conf.d";\n', 0o600)
    result = proc.run(["apt-config", "dump"], env={"APT_CONFIG": os.fspath(reader)}, check=False)
    if result.returncode != 0:
        raise ToolError(
            "cannot read the target's apt configuration", proc.tail(result.stderr), f"Check the files in {apt}."
        )
    return parse_configuration(result.stdout)


def parse_configuration(text: str) -> dict[str, str]:
    """From the output of ``apt-config dump``, the settings that are taken over from a target."""
    found = {}
    for line in text.splitlines():
        match = _CONFIGURATION.match(line)
        # Items of lists ("KEY::") would need to be told apart; none of them matters here.
        if match and not match["key"].endswith("::") and _TAKEN_OVER.match(match["key"]):
            found[match["key"]] = match["value"]
    return found


def _copy_sources(area: Path, target: Target, fetcher: str | None) -> str:
    """Copy sources, keys and preferences, and the credentials for a fetcher; returns a digest of what decides the
    lists."""
    etc = area / "etc"
    remove_tree(etc)
    for name in ("sources.list.d", "trusted.gpg.d", "preferences.d", "auth.conf.d", "keyrings"):
        (etc / name).mkdir(parents=True)
    etc.chmod(0o755)
    # An address may hold a password, and the copies would be for everybody, whatever the originals are.
    (etc / "sources.list.d").chmod(0o700)
    digest = hashlib.sha256(" ".join(target.architectures).encode())

    def text(source: Path) -> str:
        return source.read_text(errors="surrogateescape")

    for number, (name, source) in enumerate(_listed(target, "sources.list", "sources.list.d")):
        if Path(name).suffix in {".list", ".sources"}:
            relocated = _relocate_keys(text(source), etc / "keyrings", target)
            write(etc / "sources.list.d" / f"{number:03}-{Path(name).name}", relocated)
            digest.update(relocated.encode(errors="surrogateescape"))
    for name, source in _listed(target, "trusted.gpg", "trusted.gpg.d"):
        shutil.copyfile(source, etc / name)
    for name, source in _listed(target, "preferences", "preferences.d"):
        write(etc / "preferences.d" / Path(name).name, text(source))
    if fetcher is not None:
        shutil.chown(etc / "auth.conf.d", fetcher)
        for name, source in _listed(target, "auth.conf", "auth.conf.d"):
            write(etc / name, text(source), 0o600)
            shutil.chown(etc / name, fetcher)
    for key in sorted(etc.glob("keyrings/*")) + sorted(etc.glob("trusted.gpg*/*")):
        digest.update(key.read_bytes())
    return digest.hexdigest()


def _listed(target: Target, file: str, directory: str) -> Iterator[tuple[str, Path]]:
    """A file of the target's /etc/apt and those in a directory there: the name, and what it is a link to, if it is
    one, in the target. A link that leads to a file of the running system is not what the target means."""
    found = resolve(f"/etc/apt/{directory}", target.tree, target.etc)
    names = sorted(path.name for path in found[1].glob("*")) if found is not None else []
    for name in (file, *(f"{directory}/{name}" for name in names)):
        if (source := _in_target(f"/etc/apt/{name}", target)) is not None:
            yield name, source


def _relocate_keys(text: str, keyrings: Path, target: Target) -> str:
    """Make Signed-By point to copies of the target's keys rather than to files of the running system."""

    def relocate(match: re.Match[str]) -> str:
        path = match[0]
        source = _in_target(path, target)
        if source is None:
            # apt itself then says which key is missing.
            return path
        copied = keyrings / (hashlib.sha256(path.encode()).hexdigest()[:12] + "-" + source.name)
        shutil.copyfile(source, copied)
        copied.chmod(0o644)
        return os.fspath(copied)

    def field(match: re.Match[str]) -> str:
        return re.sub(r"/[^\s,\]]+", relocate, match[0])

    return re.sub(r"(?im)^Signed-By:\s*/[^\n]*(?:\n[ \t]+/[^\n]*)*|signed-by=[^\s\]]+", field, text)


def _in_target(path: str, target: Target) -> Path | None:
    """The target's file of that absolute path, links followed inside the target alone; None where it has none."""
    found = resolve(path, target.tree, target.etc)
    return found[1] if found is not None and found[1].is_file() else None
