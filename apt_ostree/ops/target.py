"""The sources of packages that the next deployment will have: those of a new base, where nobody edited them here."""

from __future__ import annotations

from ..host.door import Tree
from ..layering.base import ETC, BaseTree
from ..system import commits
from ..text import lines
from ..tools import apt_area, listing
from ..tools.apt_target import LINK, Target
from .transaction import Transaction

_OS_RELEASE = "usr/lib/os-release"

_TOLD = 10
"""Lines of sources that are named."""


def of_base(current: Transaction, base: BaseTree) -> Target:
    """What apt resolves for: ``base``, with /etc as OSTree will merge it from the merge deployment's."""
    deployed = current.sysroot.path / current.merge.path
    if not Tree(deployed).has_directory("etc"):
        return Target(base.path, base.path / ETC, base.architectures)
    old = commits.base_of(current.repo, current.merge).checksum

    def shipped(name: str) -> str | None:
        entries = listing.of(current.repo, old)
        entry = entries.find(f"/usr/{name}")
        if entry is None or entry.kind == "d":
            return None
        return f"{LINK}{entry.target}" if entry.kind == "l" else entries.read(entry.path)

    return Target(base.path, deployed / "etc", base.architectures, deployed, shipped if old != base.checksum else None)


def warn_of_release(current: Transaction, base: BaseTree, solver: apt_area.Apt) -> None:
    """Name the sources of an administrator's own that go on naming the release that a new base leaves behind."""
    old = commits.base_of(current.repo, current.merge).checksum
    if old == base.checksum:
        return
    was = codename(listing.of(current.repo, old).read(f"/{_OS_RELEASE}") or "")
    now = codename(Tree(base.path).text(_OS_RELEASE) or "")
    if not was or not now or was == now:
        return
    for name, source in [(name, source) for name, source in solver.sources if names(source.suite, was)][:_TOLD]:
        current.reporter.warn(
            f"/etc/apt/{name}, line {source.line}, names {source.suite}, but the new base is {now}: change that line, "
            "or packages of both releases are mixed"
        )


def names(suite: str, release: str) -> bool:
    """True for the suites of a release: ``bookworm``, ``bookworm-updates``, ``bookworm/updates``."""
    return suite.partition("/")[0].partition("-")[0] == release


def codename(text: str) -> str:
    """The code name of a release in the text of its os-release(5); empty where that has none."""
    found = dict(line.split("=", 1) for line in lines(text) if "=" in line)
    return found.get("VERSION_CODENAME", "").strip("\"' ")
