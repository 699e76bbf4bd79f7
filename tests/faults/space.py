"""A sysroot whose parts are small file systems of their own, of which one is nearly full; in a mount namespace that
ends with this process: ``python -m tests.faults.space IMAGES PLACE PART FREE -- WORDS``.

Runs the command, looks at what is left, gives the space back, runs it again, and prints what came of it as JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from apt_ostree import mounts
from tests.faults.trial import shape, swept, whole
from tests.integration.system import STATEROOT, Base, System, output, run_cli

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


def _free(place: Path) -> int:
    status = os.statvfs(place)
    return status.f_bavail * status.f_frsize


def fill(place: Path, free: int) -> list[Path]:
    """Leave ``free`` bytes of a file system: none at all where that is 0."""
    fillers = [place / ".filler", place / ".filler2"]
    # Most of it at once; the rest block by block, since both files' own metadata take some.
    if (size := _free(place) - free - (1 << 20)) > 0:
        output("fallocate", "-l", str(size), fillers[0])
    with fillers[1].open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while _free(place) > free:
            file.write(bytes(1024))
            os.fsync(file.fileno())
    return fillers


def trial(images: Path, place: Path, part: str, free: int, words: list[str]) -> Trial:
    mounts.enter_private_namespace()
    for name, below in PARTS.items():
        output("mount", "-o", "loop", images / f"{name}.img", place / below)
    system = System(place, Base(place / "ostree/repo", (place / "base").read_text()))
    names = system.deployments()
    fillers = fill(place / PARTS[part], free)
    done = run_cli("--sysroot", place, *words, status=None)
    left = shape(system, names)
    for filler in fillers:
        filler.unlink(missing_ok=True)
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
    print(json.dumps(asdict(trial(Path(images), Path(place), part, int(free), words))))
