"""What two machines that lived the same story may differ in, and what they may not.

There is no second plain run to excuse anything: what a machine made for itself is compared with its own value of
before. What differs all the same is in DECISIONS, each with the words of docs/filesystem.md that give its reason.
"""

from __future__ import annotations

import fnmatch
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from .observe import Seen
from .story import Story


@dataclass(frozen=True, slots=True)
class Decision:
    """Something that may differ. ``section`` and ``name`` are regular expressions that fit it whole."""

    section: str
    name: str
    documented: str
    """Words of docs/filesystem.md, which say that it is so, and why."""
    moments: str = ".*"
    gone: bool = False
    """It is only decided that ours has nothing there."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One name of one section at one moment, with what each machine has (None: nothing)."""

    moment: str
    section: str
    name: str
    plain: str | None
    ours: str | None

    def __str__(self) -> str:
        return f"{self.moment}: {self.section}: {self.name}\n    plain: {self.plain}\n    ours:  {self.ours}"


NEVER_COMPARED = re.compile(
    "|".join(
        [
            # Clocks, seeds, logs and locks: another value at each boot of any machine.
            r"/var/(log|tmp|backups)/.*",
            r"/var/lib/systemd/.*",
            r"/var/cache/ldconfig/aux-cache",
            r"/(etc|var/lib/dbus)/machine-id",
            r"/etc/(\.updated|\.pwd\.lock|adjtime|(passwd|group|shadow|gshadow|subuid|subgid)-?)",
            r"/var/\.updated",
            r"/var/lib/munge/munged\.seed",
            # The names are digests of what has the time.
            r"/etc/\.git/objects/.*",
            # So are those of images and containers, or random.
            r"/var/lib/(docker/(image|containers|overlay2|buildkit|network)|containerd)/.*",
            # What named had not finished when it was ended.
            r"/var/cache/bind/tmp-.*",
            # What apt fetched, and from where: ours does so on the machine that makes the layer.
            r"/var/(lib|cache)/apt/.*",
            r"/etc/apt/(sources\.list.*|keyrings/.*|trusted.*)",
            r"/var/(cache/debconf|lib/dpkg)(/.*)?",
            r"/var/cache/life.*",
            r"/etc/resolv\.conf|/etc/hostname",
        ]
    )
)
"""Of both machines alike: what says nothing of either. Users and groups are compared as accounts."""


def compare(
    plain: Mapping[str, Seen], ours: Mapping[str, Seen], story: Story, decisions: Sequence[Decision]
) -> list[Difference]:
    """The differences of two lives that follow the story; both have the same moments, in order."""
    individual = (*story.own, *story.data)
    found: list[Difference] = []
    last = list(plain)[-1]
    for moment in plain:
        for section in plain[moment]:
            one, other = plain[moment][section], ours[moment][section]
            for name in sorted({*one, *other}):
                if one.get(name) == other.get(name) or NEVER_COMPARED.fullmatch(name):
                    continue
                if section == "content" and (name not in one or name not in other or _fits_any(name, individual)):
                    # That it is there at all is the other section's.
                    continue
                if moment != last and other.get(name) is None and _fits_any(name, story.data):
                    # apt-get starts a plain machine once more, so that a program may have written there already.
                    continue
                found.append(Difference(moment, section, name, one.get(name), other.get(name)))
    found += _changed(plain, "plain", story.own)
    found += _changed(ours, "ours", story.own)
    found += _exchanged(plain, ours, story.data)
    return [difference for difference in found if not any(_fits(decision, difference) for decision in decisions)]


def _fits_any(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


def _fits(decision: Decision, difference: Difference) -> bool:
    return bool(
        re.fullmatch(decision.section, difference.section)
        and re.fullmatch(decision.name, difference.name)
        and re.fullmatch(decision.moments, difference.moment)
        and not (decision.gone and difference.ours is not None)
    )


def _changed(life: Mapping[str, Seen], whose: str, own: Sequence[str]) -> Iterator[Difference]:
    """Where a machine's own file is another than it was, or none."""
    known: dict[str, str] = {}
    for moment, seen in life.items():
        content = {name: digest for name, digest in seen["content"].items() if _fits_any(name, own)}
        for name, digest in known.items():
            if content.get(name) != digest:
                was, now = (digest, content.get(name))
                yield Difference(f"{moment} ({whose}, own)", "content", name, was, now)
        known.update(content)
    for pattern in own:
        if not any(fnmatch.fnmatch(name, pattern) for name in known):
            yield Difference(f"always ({whose})", "own", pattern, "some file", None)


def _exchanged(plain: Mapping[str, Seen], ours: Mapping[str, Seen], data: Sequence[str]) -> Iterator[Difference]:
    """Where ours has other data than before though nothing ever wrote them on the plain machine, or has lost some."""
    for name in sorted({name for seen in ours.values() for name in seen["content"] if _fits_any(name, data)}):
        kept = len({seen["content"][name] for seen in plain.values() if name in seen["content"]}) == 1
        for before, moment in itertools.pairwise(ours):
            was, now = ours[before]["content"].get(name), ours[moment]["content"].get(name)
            lost = now is None and name in plain[moment]["content"]
            if was is not None and was != now and (kept or lost):
                yield Difference(f"{moment} (ours, data)", "content", name, was, now)


def uncovered(decisions: Sequence[Decision], page: str) -> list[Decision]:
    """The decisions whose words are not on the page."""
    words = " ".join(page.split())
    return [decision for decision in decisions if " ".join(decision.documented.split()) not in words]
