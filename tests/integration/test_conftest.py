"""The suite's own rule: in CI nothing is skipped."""

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
