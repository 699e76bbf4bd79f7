"""dpkg and debconf in a round: how far dpkg is, and whose script failed."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..errors import ScriptError, SpaceError, TreeError
from ..host import proc
from ..host.door import Tree
from ..sandbox import bwrap
from .base import as_seen
from .job import Job
from .stack import DEBS
from .status import Status

_DPKG = [
    "dpkg",
    "--force-unsafe-io",  # nothing of the work area needs to survive a crash
    "--force-confdef",
    "--force-confold",  # there is nobody to ask
]

_SHOWN = 300
"""Characters of a line that are looked at: those of dpkg are shorter, and a script may print a line of any length."""

_PROGRESS = re.compile(r"(?:Unpacking|Setting up) (\S+)")


class Dpkg:
    """dpkg in the rounds of one assembly. Only what it has done so far changes."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.links = links(job.base.path)
        self.known = {package.name for package in (*job.base.packages, *(s.package for s in job.plan.packages))}
        self.total = 2 * len(job.plan.packages)
        self.done = 0
        self.triggered: list[str] = []
        """The packages whose triggers it ran."""

    def run(self, sandbox: bwrap.Sandbox, words: Sequence[str]) -> None:
        """One dpkg in the sandbox. Raises ScriptError with the failing script and the last lines, SpaceError."""

        def on_line(line: str) -> None:
            self.job.reporter.log(line)
            # Who prints such a line changes what is shown meanwhile, and nothing else.
            if match := _PROGRESS.match(line[:_SHOWN]):
                self.done += 1
                self.job.reporter.progress(min(self.done, self.total), self.total, match[1])

        log = self.job.log
        with Status(self.known) as status:
            descriptor = status.descriptor
            argv = [*_DPKG, f"--status-fd={descriptor}", *words]
            try:
                result = sandbox.run(argv, log=log, on_line=on_line, doing=lambda: status.doing, pass_fds=(descriptor,))
            except (ScriptError, SpaceError) as error:
                raise type(error)(
                    error.brief, f"{error.detail}\nthe whole log: {log}".lstrip("\n"), error.resolution
                ) from None
        self.triggered += status.triggered
        if result.returncode != 0:
            raise script_error(status.failure, result, log)
        self._restore_links(sandbox.root)

    def _restore_links(self, root: Path) -> None:
        """Put back what dpkg takes away with the last package that lists it: a plain root has a directory there,
        which stays for as long as it holds anything."""
        tree = Tree(root)
        for name, target in self.links.items():
            # Where a script has put something else in the way, nothing is made.
            with contextlib.suppress(TreeError):
                tree.make_directory(os.path.dirname(name))
                if not tree.has(name):
                    tree.symlink(name, target)

    def audit(self, sandbox: bwrap.Sandbox) -> None:
        """dpkg --audit of the finished tree: a half-configured package is not a success. Raises ScriptError.

        Of fields that a package lacks (Maintainer, Description) dpkg warns each time it reads its database.
        """
        result = sandbox.run(["sh", "-c", "exec dpkg --audit 2>/dev/null"])
        if result.returncode != 0 or result.stdout.strip():
            raise ScriptError(
                "the packages are not all configured",
                proc.tail(result.stdout) + f"\nthe whole log: {self.job.log}",
                "Nothing was changed.",
            )


def links(base: Path) -> dict[str, str]:
    """The base's links at the top and /usr/local, and where from the top they lead."""
    tree = Tree(base)
    names = sorted([*tree.names(), "usr/local"])
    return {name: target for name in names if (target := tree.link(name)) is not None}


def script_error(failure: str | None, result: proc.Result, log: Path) -> ScriptError:
    """The error of a dpkg that ended with a status: what it says ``failure`` is, and the last lines of its output."""
    signum = ended_by(result.returncode)
    # Then it did not come to say what failed, if anything did.
    what = f"dpkg was ended by signal {signum}" if signum else failure or "dpkg failed"
    return ScriptError(what, f"{proc.tail(result.stdout)}\nthe whole log: {log}", "Nothing was changed.")


def ended_by(status: int) -> int:
    """The number of the signal that ended dpkg; 0 where it was none. bwrap says 128 more of what ran in it; dpkg itself
    has no status above 2 (dpkg(1))."""
    return -status if status < 0 else max(status - 128, 0)


def preseed(job: Job, sandbox: bwrap.Sandbox) -> None:
    """Tell debconf what it is to be answered (debconf-set-selections(1)). Raises TreeError, ScriptError."""
    if not job.answers:
        return
    if as_seen(job.base.path).find("usr/bin/debconf-set-selections") is None:
        raise TreeError(
            "the base cannot take answers for debconf",
            "it has no /usr/bin/debconf-set-selections",
            "Without --debconf the packages' own defaults are taken.",
        )
    debs = Tree(job.debs)
    debs.write("selections", job.answers.encode(errors="surrogateescape"), 0o600)
    result = sandbox.run(["debconf-set-selections", f"{DEBS}/selections"])
    # Scripts get answers from debconf alone.
    debs.remove("selections")
    if result.returncode != 0:
        # Its message may quote a line, and that a password.
        raise ScriptError(
            "debconf did not take the answers", f"debconf-set-selections exited with status {result.returncode}"
        )


def preconfigure(job: Job, sandbox: bwrap.Sandbox, files: Iterable[str]) -> None:
    """Let debconf ask all questions of ``files`` first, as apt does before its first dpkg (dpkg-preconfigure(8)).

    Only where the tree has what it needs; like apt, whatever its outcome.
    """
    asking = [f"{DEBS}/{name}" for name in files]
    extractors = ("usr/lib/apt/apt-extracttemplates", "usr/bin/apt-extracttemplates")
    if asking and any(as_seen(job.base.path).find(name) is not None for name in extractors):
        sandbox.run(["dpkg-preconfigure", *asking], log=job.log, on_line=job.reporter.log)
