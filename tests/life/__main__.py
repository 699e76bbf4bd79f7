"""Let machines live: ``python -m tests.life [STORY...]``. Exit 1 where a story shows a difference."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.integration.system import EXAMPLE_REF, REPOSITORY, run_cli

from .life import tell
from .stories import STORIES


def processor_seconds() -> float:
    """What children that have ended took: it hardly depends on what else the host does."""
    times = os.times()
    return times.children_user + times.children_system


def main() -> int:
    parser = argparse.ArgumentParser(prog="life", description=__doc__)
    parser.add_argument("--place", type=Path, default=Path("/dev/shm"), help="where the machines are made")
    parser.add_argument("stories", nargs="*", metavar="STORY", help=f"of {', '.join(STORIES)}; all without one")
    options = parser.parse_args()
    if unknown := set(options.stories) - set(STORIES):
        parser.error(f"no story is called {', '.join(sorted(unknown))}")
    os.environ["OSTREE_SYSROOT_DEBUG"] = "mutable-deployments"
    repo = REPOSITORY / "build/fidelity/repo"
    if not (repo / "refs/heads" / EXAMPLE_REF).exists():
        run_cli("compose", "tree", "--repo", repo, REPOSITORY / "examples/debian-13-minimal.toml", timeout=900)
    differs = False
    for name in options.stories or STORIES:
        begun, used = time.monotonic(), processor_seconds()
        differences: Sequence[object]
        try:
            with tempfile.TemporaryDirectory(prefix="life-", dir=options.place, ignore_cleanup_errors=True) as place:
                differences = tell(STORIES[name], repo, Path(place), REPOSITORY / "build/life")
        except AssertionError as failure:
            differences = [f"it does not come to its end: {failure}"]
        took = f"{time.monotonic() - begun:.0f} s, {processor_seconds() - used:.0f} s of processors"
        print(f"== {name} ({took}): {len(differences)} differences", flush=True)
        for difference in differences:
            print(difference, flush=True)
        differs = differs or bool(differences)
    return int(differs)


if __name__ == "__main__":
    sys.exit(main())
