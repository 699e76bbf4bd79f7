"""The suite's own rules: in CI nothing is skipped, and what a run leaves out is counted at its end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.system import REPOSITORY

SUITE = """
import pytest

def test_runs() -> None: pass

@pytest.mark.skipif({skip}, reason="nothing here")
def test_skips() -> None: pass
"""


@pytest.mark.parametrize(("ci", "skip", "status"), [("true", True, 1), ("", True, 0), ("true", False, 0)])
def test_in_ci_a_skipped_test_fails_the_run(tmp_path: Path, ci: str, skip: bool, status: int) -> None:
    (tmp_path / "test_it.py").write_text(SUITE.format(skip=skip))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "--rootdir", tmp_path, tmp_path],
        cwd=REPOSITORY,
        env={**os.environ, "CI": ci},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert ("CI=true: a skipped test counts as a failure" in done.stdout) is (status == 1)


SLOW = """
import pytest

def test_quick() -> None: pass

@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 2])
def test_slow(number: int) -> None: pass
"""


def test_slow_tests_that_workers_leave_out_are_counted(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(SLOW)
    done = subprocess.run(
        [
            sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "--strict-markers",
            "-c", REPOSITORY / "pyproject.toml", "--rootdir", tmp_path, "-n2", "-m", "not slow", tmp_path,
        ],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed, 2 deselected" in done.stdout
