"""What CI runs: every stage, whichever fails before it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.integration.system import REPOSITORY, environment

MAKEFILE = "good also-good:\n\t@echo '$@ ran'\nbad:\n\t@echo '$@ ran'; exit 3\n"


@pytest.mark.parametrize(
    ("targets", "status", "outcomes"),
    [
        (("good", "bad", "also-good"), 1, ["passed", "FAILED", "passed"]),
        (("good", "also-good"), 0, ["passed", "passed"]),
    ],
)
def test_all_stages_run_and_the_end_lists_outcomes_and_times(
    tmp_path: Path, targets: tuple[str, ...], status: int, outcomes: list[str]
) -> None:
    (tmp_path / "Makefile").write_text(MAKEFILE)
    done = subprocess.run(
        [REPOSITORY / "scripts/run-stages", *targets],
        cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == status, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines if line.endswith(" ran")] == list(targets)
    summary = [re.fullmatch(r"(\S+) +(\w+) +\d+ s", line) for line in lines[-len(targets) :]]
    assert [(found[1], found[2]) for found in summary if found] == list(zip(targets, outcomes, strict=True))
