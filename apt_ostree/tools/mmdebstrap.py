"""mmdebstrap(1): a plain Debian root from the archives."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from ..errors import ResolveError, UsageError
from ..host import fetching, proc
from ..host.door import Tree
from ..model import Package
from ..reporter import Reporter
from ..text import text_of
from . import apt, apt_area, apt_settings, apt_sources

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
"""The archive's keys, as the package debian-archive-keyring installs them here and in the image."""


@dataclass(frozen=True, slots=True)
class Root:
    """A plain root to make."""

    suite: str
    architecture: str
    sources: tuple[str, ...]
    """One-line entries (sources.list(5))."""
    packages: tuple[str, ...]
    """Added to those of the variant; a name followed by a minus stays out (apt-get(8))."""
    variant: str
    recommends: bool
    keyring: str | None
    """The keys that sign the sources, where these do not name their own."""


def default_sources(suite: str, components: Sequence[str]) -> list[str]:
    """The host's own Debian sources with another suite put in, as one-line entries (sources.list(5)).

    A Debian 12 host whose archives carry bookworm, its updates and its security updates composes Debian 13
    from the same servers. Raises UsageError when the host has no Debian source.
    """
    found = host_archives(apt.host_sources())
    if not found:
        raise UsageError(
            "this host has no Debian archive in its apt configuration",
            resolution="Run 'apt-get update', or name mirrors in the manifest.",
        )
    return [f"deb {apt_sources.copied(uri)} {suite}{suffix} {' '.join(components)}" for uri, suffix in found]


def host_archives(targets: Sequence[dict[str, str]]) -> list[tuple[str, str]]:
    """From apt's index targets, the Debian archives: URI and what follows the code name (-updates, -security)."""
    found = []
    for target in targets:
        match = re.fullmatch(r"[a-z]+(-updates|-security)?", target["release"])
        uri = _of_list(target["uri"]).rstrip("/")
        # Where no list was fetched, a Debian mirror is known by its directory.
        is_debian = target["origin"] == "Debian" or (not target["origin"] and uri.rpartition("/")[2] in _DIRECTORIES)
        if match and is_debian:
            found.append((uri, match[1] or ""))
    return list(dict.fromkeys(found))


def _of_list(uri: str) -> str:
    """The first mirror of a list that is a file of this host's (mirror+file, as in Debian's cloud images), which an
    image would not have; another URI as it is. Raises UsageError."""
    place = apt_sources.path_of_list(uri)
    if place is None:
        return uri
    path = Path(unquote(place).rstrip("/"))
    try:
        found = apt_sources.read_mirrors(text_of(path))
    except (OSError, apt_sources.SyntaxProblem) as error:
        raise UsageError(f"cannot read the list of mirrors {path}", str(error)) from error
    if not found:
        raise UsageError(f"the list of mirrors {path} names none")
    return found[0].partition("\t")[0]


_DIRECTORIES = frozenset({"debian", "debian-security"})


def bootstrap(wanted: Root, root: Path, log: Path, reporter: Reporter) -> list[Package]:
    """Make a plain root at ``root``; return its packages.

    The kernel package's hook makes no initramfs: that comes once, at the end, with ostree's module. Raises
    ResolveError with mmdebstrap's last lines.
    """
    packages = _run(wanted, ["--format=directory"], root, root.parent, log, reporter)
    for setting in ("etc/apt/apt.conf.d/99mmdebstrap", "etc/dpkg/dpkg.cfg.d/99mmdebstrap"):
        Tree(root).remove(setting)
    return packages


def simulate(wanted: Root, work: Path, log: Path, reporter: Reporter) -> list[Package]:
    """The packages that such a root would have; only the directory ``work`` is written to. Raises ResolveError."""
    return _run(wanted, ["--simulate", "--verbose", "--format=null"], Path("/dev/null"), work, log, reporter)


def _run(wanted: Root, mode: Sequence[str], target: Path, work: Path, log: Path, reporter: Reporter) -> list[Package]:
    found: set[Package] = set()

    def on_line(line: str) -> None:
        reporter.log(line)
        found.update(action.package for action in apt.parse_simulation(line) if action.verb == "Inst")

    def failed(why: str) -> ResolveError:
        return ResolveError(f"cannot bootstrap {wanted.suite}", f"{why}\nthe whole log: {log}", "Nothing was changed.")

    watch = fetching.Watch([work], failed, fetching.PULL_SECONDS)
    command, env = arguments(wanted, mode, target, work), {"INITRD": "No", "TMPDIR": os.fspath(work)}
    result = proc.logged(command, log, on_line, env=env, during=watch.over)
    if result.returncode != 0:
        raise failed(proc.tail(result.stdout))
    return sorted(found)


def settings(wanted: Root, file: Path) -> dict[str, str]:
    """How apt is configured in ``file`` while it makes a root: it starts no program to fetch but its own, whatever a
    server says."""
    return {
        **apt_area.TIMEOUTS,
        **apt_area.own_methods(file),
        "APT::Install-Recommends": str(wanted.recommends).lower(),
        "Acquire::Languages": "none",
    }


def arguments(wanted: Root, mode: Sequence[str], target: Path, work: Path) -> list[str]:
    """The command that makes a root, with what it reads written to ``work``, a whole path: mmdebstrap takes any file
    whose name is an option's value, and whoever owns the working directory may have one there."""
    sources, apt_conf, dpkg_cfg = (work / f"bootstrap.{name}" for name in ("list", "apt", "dpkg"))
    texts = {
        sources: "".join(f"{line}\n" for line in wanted.sources),
        apt_conf: apt_settings.render(settings(wanted, apt_conf)),
        # The root is thrown away if anything fails: fsync would only cost a third of the time.
        dpkg_cfg: "force-unsafe-io\n",
    }
    for file, text in texts.items():
        file.write_text(text)
    return [
        "mmdebstrap",
        f"--variant={wanted.variant}",
        "--mode=root",
        *mode,
        f"--architectures={wanted.architecture}",
        f"--aptopt={apt_conf}",
        f"--dpkgopt={dpkg_cfg}",
        *([f"--keyring={wanted.keyring}"] if wanted.keyring else []),
        *([f"--include={','.join(wanted.packages)}"] if wanted.packages else []),
        wanted.suite,
        str(target),
        str(sources),
    ]
