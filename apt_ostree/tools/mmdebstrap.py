"""mmdebstrap(1): a plain Debian root from the archives."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ..errors import ResolveError, UsageError
from ..host import proc
from ..model import Package
from ..reporter import Reporter
from . import apt

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
"""Where the package debian-archive-keyring keeps the archive's keys, here and in the image."""


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
    return [f"deb {uri} {suite}{suffix} {' '.join(components)}" for uri, suffix in found]


def host_archives(targets: Sequence[dict[str, str]]) -> list[tuple[str, str]]:
    """From apt's index targets, the Debian archives: URI and what follows the code name (-updates, -security)."""
    found = []
    for target in targets:
        match = re.fullmatch(r"[a-z]+(-updates|-security)?", target["release"])
        if match and target["origin"] == "Debian":
            found.append((target["uri"].rstrip("/"), match[1] or ""))
    return list(dict.fromkeys(found))


def bootstrap(
    root: Path,
    suite: str,
    architecture: str,
    sources: Sequence[str],
    packages: Sequence[str],
    *,
    variant: str,
    recommends: bool,
    keyring: str | None,
    reporter: Reporter,
    log: Path,
    dry_run: bool = False,
) -> list[Package]:
    """Make a plain root at ``root``; with ``dry_run`` only say which packages it would have.

    The kernel package's hook makes no initramfs: that comes once, at the end, with ostree's module. Raises
    ResolveError with mmdebstrap's last lines.
    """
    listing = root.parent / "bootstrap.list"
    listing.write_text("".join(f"{line}\n" for line in sources))
    command = [
        "mmdebstrap",
        f"--variant={variant}",
        "--mode=root",
        *(["--simulate", "--verbose", "--format=null"] if dry_run else ["--format=directory"]),
        f"--architectures={architecture}",
        f'--aptopt=APT::Install-Recommends "{str(recommends).lower()}"',
        '--aptopt=Acquire::Languages "none"',
        # The root is thrown away if anything fails: fsync would only cost a third of the time.
        "--dpkgopt=force-unsafe-io",
        *([f"--keyring={keyring}"] if keyring else []),
        *([f"--include={','.join(packages)}"] if packages else []),
        suite,
        "/dev/null" if dry_run else str(root),
        str(listing),
    ]
    found: set[Package] = set()

    def on_line(line: str) -> None:
        reporter.log(line)
        found.update(action.package for action in apt.parse_simulation(line) if action.verb == "Inst")

    result = proc.logged(command, log, on_line, env={"INITRD": "No"})
    if result.returncode != 0:
        raise ResolveError(
            "cannot bootstrap the root",
            proc.tail(result.stdout) + f"\nthe whole log: {log}",
            "Nothing was changed.",
        )
    for setting in ("etc/apt/apt.conf.d/99mmdebstrap", "etc/dpkg/dpkg.cfg.d/99mmdebstrap"):
        (root / setting).unlink(missing_ok=True)
    return sorted(found)
