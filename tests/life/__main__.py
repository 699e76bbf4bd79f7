"""Let machines live: ``python -m tests.life [STORY...]``. Exit 1 where a story shows a difference."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from tests.integration.system import EXAMPLE_REF, REPOSITORY, run_cli

from .life import tell
from .stories import STORIES


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
        begun = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="life-", dir=options.place, ignore_cleanup_errors=True) as place:
            differences = tell(STORIES[name], repo, Path(place), REPOSITORY / "build/life")
        print(f"== {name} ({time.monotonic() - begun:.0f} s): {len(differences)} differences")
        for difference in differences:
            print(difference, flush=True)
        differs = differs or bool(differences)
    return int(differs)


if __name__ == "__main__":
    sys.exit(main())
