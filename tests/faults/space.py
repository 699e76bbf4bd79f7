"""A sysroot whose parts are small file systems of their own, of which one is nearly full, or is full from a point on;
in a mount namespace that ends with this process:
``python -m tests.faults.space IMAGES PLACE PART FREE|POINT -- WORDS``.

Runs the command, looks at what is left, gives the space back, runs it again, and prints what came of it as JSON.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from apt_ostree.host import mounts
from tests.faults import plant
from tests.faults.trial import planted, shape, swept, whole
from tests.integration.system import STATEROOT, Base, Result, System, output, run_cli

PARTS = {"sysroot": "", "boot": "boot", "var": f"ostree/deploy/{STATEROOT}/var"}
"""Where each file system is mounted, in this order."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What a full disk did to a command."""

    status: int
    error: str
    phase: str
    outcome: str
    then: str


def make_images(system: System, images: Path) -> None:
    """A file system for each part, without a journal or anything to spare; takes the sysroot apart."""
    for name, megabytes in (("var", 8), ("boot", 8), ("sysroot", 300)):
        top = system.path / PARTS[name]
        output(
            "mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0",
            "-d", top, images / f"{name}.img", f"{megabytes}M",
        )  # fmt: skip
        if name != "sysroot":
            output("find", top, "-mindepth", "1", "-delete")


def trial(images: Path, place: Path, part: str, free: str, words: list[str]) -> Trial:
    mounts.enter_private_namespace()
    for name, below in PARTS.items():
        output("mount", "-o", "loop", images / f"{name}.img", place / below)
    system = System(place, Base(place / "ostree/repo", (place / "base").read_text()))
    names = system.deployments()
    if free.isdecimal():
        plant.fill(place / PARTS[part], int(free))
        done = run_cli("--sysroot", place, *words, status=None)
    else:
        ran = planted(system, free, "before", "full", *words)
        assert ran.returncode != plant.UNREACHED, ran.stderr
        done = Result((), ran.returncode, ran.stdout, ran.stderr)
    left = shape(system, names)
    for filler in plant.FILLERS:
        (place / PARTS[part] / filler).unlink(missing_ok=True)
    whole(system)
    outcome = "old" if left == tuple((name,) for name in names) else "new"
    if outcome == "new":
        assert left[1:] == tuple((name,) for name in names)[: len(left) - 1]
    history = run_cli("--sysroot", place, "history", "--json").document["transactions"]
    phase = history[0]["phases"][-1]["name"] if history and history[0]["state"] == "failed" else ""
    then = run_cli("--sysroot", place, *words)
    swept(system)
    whole(system)
    error = done.failure if done.status else None
    said = f"{error.brief}\n{error.detail}\n{error.resolution}" if error else done.stderr
    return Trial(done.status, said, phase, outcome, then.stdout)


if __name__ == "__main__":
    images, place, part, free, separator, *words = sys.argv[1:]
    assert separator == "--"
    print(json.dumps(asdict(trial(Path(images), Path(place), part, free, words))))
