"""apt: the running system's resolver and downloader, over another tree's package database.

Nothing of the running system's own apt configuration takes part. The area holds copies of the target's
sources, keys, preferences and credentials, and a configuration that names every directory; no hook of
anybody is in it, since a hook would run the target's commands as root here (apt.conf(5)).
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import pwd
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import DownloadError, ResolveError, ToolError, UnavailableError
from ..host import proc
from ..host.fs import check_space, remove_tree, resolve
from ..model import Intent, Package, Round, Solved
from . import dpkg

LISTS_MAX_AGE = 24 * 3600
"""Seconds after which an operation that may use the network refreshes the package lists by itself."""

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

PRIORITY_BASE = 1001
"""Above 1000 apt would even downgrade to the pinned version (apt_preferences(5)): the base stays as it is."""
PRIORITY_LOCK = 1002


@dataclass(frozen=True, slots=True)
class Target:
    """What apt resolves for: a base tree and the /etc/apt that its administrator keeps.

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


@dataclass(frozen=True, slots=True)
class Action:
    """One line of a simulation: ``verb`` is Inst, Conf or Remv; ``old`` the version that goes away, ``provides``
    the virtual package that was asked for, where apt chose this one for it."""

    verb: str
    name: str
    architecture: str
    version: str
    old: str | None = None
    sources: str = ""
    provides: str = ""

    @property
    def package(self) -> Package:
        return Package(self.name, self.version, self.architecture)


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
    _write(config, "\n".join(lines) + "\n", 0o600)
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


def _write(path: Path, text: str, mode: int = 0o644) -> None:
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
    _write(reader, f'Dir::Etc::main "{apt}/apt.conf";\nDir::Etc::parts "{apt}/apt.conf.d";\n', 0o600)
    result = proc.run(["apt-config", "dump"], env={"APT_CONFIG": os.fspath(reader)}, check=False)
    if result.returncode != 0:
        raise ToolError("cannot read the target's apt configuration", proc.tail(result.stderr), f"Look in {apt}.")
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
            _write(etc / "sources.list.d" / f"{number:03}-{Path(name).name}", relocated)
            digest.update(relocated.encode(errors="surrogateescape"))
    for name, source in _listed(target, "trusted.gpg", "trusted.gpg.d"):
        shutil.copyfile(source, etc / name)
    for name, source in _listed(target, "preferences", "preferences.d"):
        _write(etc / "preferences.d" / Path(name).name, text(source))
    if fetcher is not None:
        shutil.chown(etc / "auth.conf.d", fetcher)
        for name, source in _listed(target, "auth.conf", "auth.conf.d"):
            _write(etc / name, text(source), 0o600)
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


def host_sources() -> list[dict[str, str]]:
    """The running system's own sources of packages, as apt reads them: TYPE, URI and SUITE of each index."""
    form = "$(SITE)\t$(REPO_URI)\t$(RELEASE)\t$(SUITE)\t$(CODENAME)\t$(ORIGIN)\t$(SIGNED_BY)"
    result = proc.run(["apt-get", "indextargets", "--format", form, "Created-By: Packages"])
    keys = ("site", "uri", "release", "suite", "codename", "origin", "signed-by")
    return [dict(zip(keys, line.split("\t"), strict=False)) for line in result.stdout.splitlines()]


def refresh(apt: Apt, *, force: bool = False) -> bool:
    """Fetch the package lists where they are missing, of other sources, or older than a day.

    Returns whether it fetched. Raises DownloadError when an index cannot be had or verified.
    """
    stamp = apt.area / "lists.json"
    try:
        known = json.loads(stamp.read_text())
    except (OSError, ValueError):
        known = {}
    fresh = known.get("sources") == apt.sources_digest and time.time() - known.get("time", 0) < LISTS_MAX_AGE
    if fresh and not force:
        return False
    # Error-Mode=any: without it apt-get update exits 0 when a server cannot be reached.
    result = apt.run("apt-get", "update", "-q", "-o", "APT::Update::Error-Mode=any", check=False)
    if result.returncode != 0:
        raise DownloadError(
            "cannot refresh the package lists",
            _apt_errors(result) or proc.tail(result.stderr),
            "Check the network and /etc/apt of the target; -C works from what is cached.",
        )
    _write(stamp, json.dumps({"sources": apt.sources_digest, "time": time.time()}))
    return True


def have_lists(apt: Apt) -> bool:
    """Whether lists of these very sources were fetched before, however long ago."""
    try:
        return bool(json.loads((apt.area / "lists.json").read_text())["sources"] == apt.sources_digest)
    except (OSError, ValueError, KeyError):
        return False


def write_pins(apt: Apt, pins: Iterable[tuple[Package, int]]) -> None:
    """Hold packages at their versions, through the priority given with each (apt_preferences(5))."""
    native = apt.run("apt-config", "shell", "A", "APT::Architecture").stdout.split("'")[1]
    text = "".join(
        f"Package: {package.name}:{native if package.architecture == 'all' else package.architecture}\n"
        f"Pin: version {package.version}\nPin-Priority: {priority}\n\n"
        for package, priority in pins
    )
    _write(apt.area / "etc/preferences.d/apt-ostree.pref", text)


def simulate(
    apt: Apt, requests: Sequence[str], sources: Path | None = None, *, replacing: bool = False
) -> list[Action] | proc.Result:
    """Let apt solve ``requests`` over the target; the failed child where it finds no solution.

    ``sources`` is a Packages file of cached .debs that count as available besides the archives;
    ``replacing`` lets a package become an older version.
    """
    result = apt.run(
        # Only so it says what it chose for a virtual package.
        "apt-get", "install", "--simulate", "-q=0", "-y",
        *(["--with-source", os.fspath(sources)] if sources else []),
        *(["--allow-downgrades"] if replacing else []),
        "--", *requests,
        check=False,
    )  # fmt: skip
    # Of its progress, each line is written over the one before.
    result = replace(result, stdout=re.sub(r"[^\n]*\r", "", result.stdout))
    return parse_simulation(result.stdout) if result.returncode == 0 else result


_ACTION = re.compile(
    r"^(?P<verb>Inst|Conf) (?P<name>[^\s:]+)(?::\S+)?(?: \[(?P<old>[^\]\s]+)\])?"
    r" \((?P<version>\S+) (?P<sources>.*?) ?\[(?P<architecture>[^\]\s]+)\]\)"
)
_CHOSEN = re.compile(r"Note, selecting '(?P<name>[^':]+)(?::\S+)?' instead of '(?P<virtual>[^']+)'")
_REMOVAL = re.compile(r"^(?:Remv|Purg) (?P<name>[^\s:]+)(?::(?P<architecture>\S+))? \[(?P<old>[^\]\s]+)\]")


def parse_simulation(text: str) -> list[Action]:
    """The steps that ``apt-get --simulate`` prints, in its order."""
    actions = []
    chosen: dict[str, str] = {}
    for line in text.splitlines():
        if match := _ACTION.match(line):
            actions.append(
                Action(
                    match["verb"], match["name"], match["architecture"], match["version"],
                    match["old"], match["sources"], chosen.get(match["name"], ""),
                )
            )  # fmt: skip
        elif match := _CHOSEN.match(line):
            chosen[match["name"]] = match["virtual"]
        elif match := _REMOVAL.match(line):
            actions.append(Action("Remv", match["name"], match["architecture"] or "", "", match["old"]))
    return actions


def rounds(actions: Sequence[Action]) -> tuple[Round, ...]:
    """Cut apt's order where it configures packages before it unpacks further ones (Pre-Depends, policy 7.2), or
    removes one after others."""
    done: list[Round] = []
    remove: list[str] = []
    unpack: list[Package] = []
    configure: list[Package] = []
    for action in actions:
        if configure if action.verb == "Inst" else (unpack or configure) if action.verb == "Remv" else False:
            done.append(Round(tuple(unpack), tuple(configure), tuple(remove)))
            remove, unpack, configure = [], [], []
        if action.verb == "Remv":
            remove.append(action.name + (f":{action.architecture}" if action.architecture else ""))
        elif action.verb == "Inst":
            unpack.append(action.package)
        else:
            configure.append(action.package)
    if remove or unpack or configure:
        done.append(Round(tuple(unpack), tuple(configure), tuple(remove)))
    return tuple(done)


def show(apt: Apt, packages: Sequence[Package]) -> dict[Package, list[Mapping[str, str]]]:
    """The archives' stanzas of exact versions; several where archives differ about the same version."""
    if not packages:
        return {}
    result = apt.run("apt-cache", "show", "--", *(package.exactly for package in packages), check=False)
    found: dict[Package, list[Mapping[str, str]]] = {}
    for fields in dpkg.parse_stanzas(result.stdout):
        if "sha256" in fields:
            found.setdefault(dpkg.identity(fields), []).append(fields)
    return found


def from_security(apt: Apt, packages: Iterable[Package]) -> set[Package]:
    """Those of the packages whose very version a security suite has (its name ends so by Debian's custom)."""
    wanted = {(package.name, package.version): package for package in packages}
    if not wanted:
        return set()
    result = apt.run("apt-cache", "madison", "--", *sorted({name for name, _ in wanted}), check=False)
    return {
        wanted[key]
        for line in result.stdout.splitlines()
        if len(parts := [part.strip() for part in line.split("|")]) == 3
        and (key := (parts[0], parts[1])) in wanted
        and re.search(r"-security/", parts[2])
    }


def solved(action: Action, fields: Mapping[str, str]) -> Solved:
    """A plan's package, from apt's step and the archive's stanza."""
    size = fields.get("installed-size", "0")
    return Solved(
        action.package,
        fields["sha256"],
        int(fields["size"]),
        int(size) * 1024 if size.isdigit() else 0,
        action.sources,
    )


def download(apt: Apt, packages: Sequence[Package]) -> None:
    """Fetch .debs into ``archives`` as the unprivileged user; apt verifies each against its signed index.

    Raises DownloadError, and SpaceError.
    """
    result = proc.run(
        ["apt-get", "download", "-q", "--", *(package.exactly for package in packages)],
        cwd=apt.area / "archives",
        env={"APT_CONFIG": os.fspath(apt.config)},
        check=False,
    )
    if result.returncode != 0:
        raise DownloadError(
            "cannot download packages",
            _apt_errors(result) or proc.tail(result.stderr),
            "Nothing was changed. Check the network; 'apt-ostree cleanup -m' makes the next run fetch the lists anew.",
        )
    # From a file: source apt copies what it can, and ends well where the disk is full.
    check_space(apt.area / "archives", ONE_BLOCK, "the downloads")


ONE_BLOCK = 1 << 16
"""Bytes; larger than the blocks of any filesystem: with less, a file may have been cut short."""


def archive_name(package: Package) -> str:
    """The file name under which apt stores a .deb: the epoch's colon is quoted."""
    version = package.version.replace("%", "%25").replace(":", "%3a")
    return f"{package.name}_{version}_{package.architecture}.deb"


def suggestion(known: Sequence[str], name: str) -> str:
    """The end of a message about ``name``: which of the known names look like it, the nearest first."""
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.7)
    return f"; did you mean {', '.join(near)}?" if near else ""


def _apt_errors(result: proc.Result) -> str:
    lines = [line[3:] for line in result.stderr.splitlines() if line.startswith(("E: ", "W: "))]
    errors = [line[3:] for line in result.stderr.splitlines() if line.startswith("E: ")]
    return "\n".join(dict.fromkeys(errors or lines))


def explain_failure(apt: Apt, failed: proc.Result, intent: Intent) -> ResolveError:
    """The error for a request that apt cannot fulfil: names it does not know, all at once, with near ones."""
    essential = re.search(r"essential packages will be removed\.\n.*\n((?: +.*\n)+)", failed.stdout)
    if essential and "--allow-remove-essential" in failed.stderr:
        return ResolveError(
            "essential packages would be removed",
            " ".join(essential[1].split()),
            "Nothing was changed. They can be replaced, not removed.",
        )
    if problems := _unavailable(apt, failed):
        return UnavailableError(list(problems), "\n".join(problems.values()))
    unmet = re.search(r"(The following packages have unmet dependencies:.*)", failed.stdout, re.DOTALL)
    detail = proc.tail((unmet[1] if unmet else failed.stdout) + "\n" + _apt_errors(failed))
    return ResolveError(f"cannot lay {', '.join(intent.names)} over this base", detail, "Nothing was changed.")


def _unavailable(apt: Apt, failed: proc.Result) -> dict[str, str]:
    """The names that no archive can serve as asked -> what is wrong with each."""
    problems = {}
    for name in re.findall(r"^E: Unable to locate package (\S+)$", failed.stderr, re.MULTILINE):
        known = apt.run("apt-cache", "pkgnames").stdout.split()
        problems[name] = f"no package is named {name}{suggestion(known, name)}"
    for version, name in re.findall(r"^E: Version '(.+?)' for '(.+?)' was not found$", failed.stderr, re.MULTILINE):
        have = sorted(
            {f["version"] for f in dpkg.parse_stanzas(apt.run("apt-cache", "show", name, check=False).stdout)},
            key=dpkg.version_key,
        )
        problems[name] = f"{name} has no version {version}; there is {', '.join(have) or 'none'}"
    for release, name in re.findall(r"^E: Release '(.+?)' for '(.+?)' was not found$", failed.stderr, re.MULTILINE):
        problems[name] = f"{name} is in no suite {release}"
    for name in re.findall(r"^E: Package '(\S+?)' has no installation candidate$", failed.stderr, re.MULTILINE):
        problems[name] = f"{name} is a virtual package or is in no archive; name the package that provides it"
    return {name.partition(":")[0]: problem for name, problem in problems.items()}


@dataclass(frozen=True, slots=True)
class Unmet:
    """A dependency that apt could not fulfil; ``found`` is the version that stands in its way."""

    package: str
    dependency: str
    found: str

    @property
    def name(self) -> str:
        """The package that the dependency is on."""
        return re.split("[ :]", self.dependency, maxsplit=1)[0]

    def __str__(self) -> str:
        return f"{self.package} needs {self.dependency}, and there is {self.found}"


_UNMET = re.compile(
    r"^ (?:(?P<package>[^\s:]+)(?::\S+)?)? *:? (?:Pre)?Depends: (?P<dependency>.+?)"
    r" but (?P<found>\S+) is to be installed$"
)


def unmet(failed: proc.Result) -> list[Unmet]:
    """The version conflicts in what ``apt-get install`` prints when it finds no solution."""
    found, package = [], ""
    for line in failed.stdout.splitlines():
        if match := _UNMET.match(line):
            package = match["package"] or package
            found.append(Unmet(package, match["dependency"], match["found"]))
    return found
