"""Try damaged input on every parser, other each time, until the time is over or something is a bug.

python -m tests.fuzz --seconds 1800 [TARGET...]
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
import traceback

from .engine import SEEDS, Found, search
from .targets import TARGETS

EXAMPLES = 200
"""Inputs for a parser before the next one has its turn."""


def main() -> int:
    """0 where nothing was found; 1 with the input kept in seeds/TARGET, where the tests try it from now on."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1800)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="the parsers to try (default: all)")
    arguments = parser.parse_args()
    chosen = [target for target in TARGETS if not arguments.targets or target.name in arguments.targets]
    if not chosen:
        parser.error(f"there is no such target; there are: {', '.join(target.name for target in TARGETS)}")
    found, inputs, deadline = set[str](), 0, time.monotonic() + arguments.seconds
    while time.monotonic() < deadline:
        for target in chosen:
            if time.monotonic() >= deadline:
                break
            if target.name in found:
                # Its next bug may be the same one; that is mended first.
                continue
            try:
                search(target, EXAMPLES)
            except Found as bug:
                found.add(target.name)
                place = SEEDS / target.name / hashlib.sha256(bug.data).hexdigest()[:16]
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(bug.data)
                traceback.print_exception(bug.__cause__ or bug)
                print(f"{target.name}: kept as {place}", flush=True)
            inputs += EXAMPLES
        if found == {target.name for target in chosen}:
            break
    print(f"{inputs} inputs, {len(found)} parsers with a bug: {', '.join(sorted(found)) or 'none'}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
