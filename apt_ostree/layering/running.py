"""dpkg and debconf in a round: how far dpkg is, and whose script failed, as what they print tells."""

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

_DPKG = [
    "dpkg",
    "--force-unsafe-io",  # nothing of the work area needs to survive a crash
    "--force-confdef",
    "--force-confold",  # there is nobody to ask
]

_SCRIPTS = {
    "pre-installation": "preinst",
    "post-installation": "postinst",
    "pre-removal": "prerm",
    "post-removal": "postrm",
}
_SHOWN = 300
"""Characters of a line that are looked at: those of dpkg are shorter, and a script may print a line of any length."""

_FAILED = re.compile(r"dpkg: error processing (?:package|archive) (?P<what>\S+) \(--[a-z-]+\):")
_HOW = re.compile(r"exit status|signal|killed")
_SUMMARY = "Errors were encountered while processing:"
_NAME = r"([a-z0-9][a-z0-9+.-]*)"
_PROGRESS = re.compile(r"(?:Unpacking|Setting up) (\S+)")
_TRIGGERED = re.compile(r"Processing triggers for ([a-z0-9][a-z0-9+.-]*(?::[a-z0-9-]+)?) \(")
_STEPS = {
    re.compile(rf"Preparing to unpack (?:\S*/)?{_NAME}_"): "preinst",
    re.compile(rf"Setting up {_NAME}(?::[a-z0-9-]+)? \("): "postinst",
    re.compile(rf"Processing triggers for {_NAME}(?::[a-z0-9-]+)? \("): "postinst",
    re.compile(rf"Removing {_NAME}(?::[a-z0-9-]+)? \("): "prerm",
}
"""Lines that dpkg prints before it runs a script."""


class Dpkg:
    """dpkg in the rounds of one assembly. Only what it has done so far changes."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.links = links(job.base.path)
        self.total = 2 * len(job.plan.packages)
        self.done = 0
        self.triggered: list[str] = []
        """The packages whose triggers it ran."""

    def run(self, sandbox: bwrap.Sandbox, words: Sequence[str]) -> None:
        """One dpkg in the sandbox. Raises ScriptError with the failing script and the last lines."""
        doing = "dpkg"

        def on_line(line: str) -> None:
            nonlocal doing
            self.job.reporter.log(line)
            line = line[:_SHOWN]
            doing = step(line) or doing
            if match := _TRIGGERED.match(line):
                self.triggered.append(match[1])
            if match := _PROGRESS.match(line):
                self.done += 1
                self.job.reporter.progress(min(self.done, self.total), self.total, match[1])

        log = self.job.log
        try:
            result = sandbox.run([*_DPKG, *words], log=log, on_line=on_line, doing=lambda: doing)
        except (ScriptError, SpaceError) as error:
            raise type(error)(
                error.brief, f"{error.detail}\nthe whole log: {log}".lstrip("\n"), error.resolution
            ) from None
        if result.returncode != 0:
            raise script_error(result.stdout, result.returncode, log)
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
        """dpkg --audit of the finished tree: a half-configured package is not a success. Raises ScriptError."""
        result = sandbox.run(["dpkg", "--audit"])
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


def step(line: str) -> str | None:
    """Return whose script dpkg runs after it has printed ``line``, as text; None where the line does not tell."""
    for pattern, script in _STEPS.items():
        if match := pattern.match(line[:_SHOWN]):
            return f"the {script} script of {match[1]}"
    return None


def script_error(output: str, status: int, log: Path) -> ScriptError:
    """Tell from dpkg's output which package's script failed, and how."""
    shown = [line[:_SHOWN] for line in output.split("\n")]
    what = "dpkg failed"
    if failed := _failed(shown):
        package, said = failed
        name = Path(package).name.partition("_")[0].partition(":")[0]
        what = f"{name} could not be installed"
        script, _, ended = said.partition(" script subprocess ")
        if how := _HOW.search(ended):
            kind = next((short for long, short in _SCRIPTS.items() if script.endswith(long)), "maintainer")
            what = f"the {kind} script of {name} failed ({ended[how.start() :]})"
    elif status < 0:
        what = f"dpkg was ended by signal {-status}"
    lines = proc.tail(output)
    return ScriptError(what, f"{lines}\nthe whole log: {log}", "Nothing was changed.")


def _failed(shown: Sequence[str]) -> tuple[str, str] | None:
    """The package, or the file of one, that failed, and what dpkg says of its script; "" where it says nothing of one.

    Scripts may print the same lines. dpkg's own come last: in the end it lists all that failed.
    """
    last = max((number for number, line in enumerate(shown) if line == _SUMMARY), default=None)
    listed = {line.strip() for line in shown[last + 1 :]} if last is not None else None
    found: tuple[str, str] | None = None
    for line, after in zip(shown, [*shown[1:], ""], strict=True):
        match = _FAILED.match(line)
        if match is None or not (listed is None or match["what"] in listed):
            continue
        said = after if after.startswith(" ") and " script subprocess " in after else ""
        # A script's failure says more than the dependency problems that it causes or that come before it.
        if said or found is None or not found[1]:
            found = match["what"], said
    return found


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
