"""``make torture``: kills at every point, at every line of a rollback, and at random instants, as many as told.

Prints a table of what was tried and what was left. Exits with 1 where that was neither the old state nor the new.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from tests.archive import FIXTURES, build_archive, public_directory, small_base, unpack_base
from tests.faults.trial import (
    HEAD,
    SCENARIOS,
    Tally,
    at_instants,
    at_lines,
    at_points,
    has_set_default,
    make_pattern,
    run_trials,
)
from tests.integration.system import REPOSITORY, commit_base, make_template


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--instants", type=int, default=2000, help="random instants of an install")
    parser.add_argument("--others", type=int, default=200, help="random instants of each other command")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--place", type=Path, default=Path("/dev/shm"), help="where the sysroots are made")
    given = parser.parse_args()
    print(f"seed {given.seed}", file=sys.stderr)
    tallies: dict[str, Tally] = {}
    # Failures stay there, to be looked at; all else is removed trial by trial.
    work = Path(tempfile.mkdtemp(prefix="torture-", dir=given.place))
    with public_directory() as directory:
        archive = build_archive(FIXTURES, directory / "archive")
        unpack_base(small_base(REPOSITORY / "build"), work / "plain")
        (work / "base").mkdir()
        template = make_template(commit_base(work / "plain", archive, work / "base"), work / "template")
        for name, scenario in SCENARIOS.items():
            pattern = make_pattern(scenario, template, work)
            count = given.instants if name == "install" else given.others
            runs = {f"{name}, points": at_points(pattern), f"{name}, instants": at_instants(pattern, count, given.seed)}
            if name == "rollback" and not has_set_default():
                runs["rollback, lines"] = at_lines(pattern, "loader")
            for title, trials in runs.items():
                tallies[title] = run_trials(pattern, work, trials, progress=True)
                for failure in tallies[title].failures:
                    print(failure, file=sys.stderr, flush=True)
    print(HEAD, *(tally.row(title) for title, tally in tallies.items()), sep="\n")
    failed = any(tally.failures or not tally.both for tally in tallies.values())
    if failed:
        print(f"the sysroots of the failures are in {work}", file=sys.stderr)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
