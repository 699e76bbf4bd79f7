"""One story on both machines, and the verdict."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.archive import Archive, index_archive, public_directory

from .decisions import DECISIONS
from .judge import Difference, compare
from .machines import RUNNING, Machine, OurMachine, PlainMachine
from .observe import Seen, observe
from .story import Story


def tell(story: Story, repo: Path, place: Path, kept: Path) -> list[Difference]:
    """Let a plain machine and ours live the story in ``place``; return what they differ in.

    ``kept`` is a directory for the packages that were fetched; what was seen is left there as well, to look at.
    """
    debs = kept / "debs" / story.name
    plain, ours = PlainMachine(place / "plain", debs), OurMachine(place / "ours", repo)
    with public_directory() as work:
        archives = _archives(story, plain, debs, work)
        with ThreadPoolExecutor() as threads:
            lives = list(threads.map(lambda machine: _live(story, machine, archives), (plain, ours)))
    (kept / f"{story.name}.json").write_text(json.dumps(dict(zip(("plain", "ours"), lives, strict=True)), indent=1))
    differences = compare(lives[0], lives[1], story, DECISIONS)
    if said := ours.fsck():
        differences.append(Difference("at the end", "ostree fsck", "repo", None, said))
    return differences


@dataclass(frozen=True, slots=True)
class Archives:
    """Beside Debian's own archive: what the story makes, the second versions, and the first of the same packages."""

    made: Archive | None
    second: Archive
    replaced: Archive | None


def _archives(story: Story, plain: PlainMachine, debs: Path, work: Path) -> Archives:
    second = {deb.name: deb.build(work) for deb in story.made if deb.version == "2"}
    first = {deb.name: deb.build(work) for deb in story.made if deb.version != "2"}
    for packages in (RUNNING if story.runs else (), story.first, story.second):
        if fetched := [name for name in packages if name not in first]:
            plain.fetch(fetched)
    made = [*first.values(), *(debs.glob("*.deb") if story.runs else ())]
    replaced = [first[name] for name in second]
    return Archives(
        index_archive(made, work / "made") if made else None,
        index_archive(list(second.values()) or [_second_version(story.first[0], debs, work)], work / "second"),
        index_archive(replaced, work / "replaced") if replaced else None,
    )


def _live(story: Story, machine: Machine, archives: Archives) -> dict[str, Seen]:
    """What was seen at each moment."""
    if story.runs:
        machine.run_itself()
    if archives.made:
        machine.know(archives.made)
    steps: list[tuple[str, Callable[[], None]]] = [
        ("new", lambda: None),
        ("installed", lambda: machine.install(story.first)),
        ("used", lambda: None),
        ("second installed", lambda: machine.install(story.second)),
        ("upgraded", lambda: machine.upgrade(archives.second)),
    ]
    if story.returns and archives.replaced:
        before, after = archives.replaced, archives.second
        steps += [("back", lambda: machine.go_back(before)), ("forward", lambda: machine.go_back(after))]
    steps.append(("second removed", lambda: machine.remove(story.second)))
    seen: dict[str, Seen] = {}
    for moment, step in steps:
        step()
        with machine.boot() as running:
            if moment != "new":
                seen[moment] = observe(running, story.checks)
            for when, script in (("new", story.before), ("installed", story.use)):
                if when == moment and script:
                    running.say(script)
            running.power_off()
    return seen


def _second_version(package: str, debs: Path, place: Path) -> Path:
    """The package in a version that is newer than all, with a file more."""
    deb = max(debs.glob(f"{package}_*.deb"))
    stage = place / package
    subprocess.run(["dpkg-deb", "--raw-extract", deb, stage], check=True, capture_output=True)
    control = stage / "DEBIAN/control"
    control.write_text(re.sub(r"^(Version: .*)$", r"\1+life2", control.read_text(), flags=re.MULTILINE))
    added = stage / "usr/share" / package / "life"
    added.parent.mkdir(parents=True, exist_ok=True)
    added.write_text("second version\n")
    result = place / f"{package}_life2.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", stage, result], check=True, capture_output=True
    )
    return result
