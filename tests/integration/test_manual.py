"""The completion for bash, in bash."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.system import REPOSITORY


@pytest.fixture(scope="module")
def completions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("manual")
    subprocess.run([sys.executable, "-m", "scripts.build_manual", place], cwd=REPOSITORY, check=True)
    return place / "completions/apt-ostree.bash"


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["st"], ["status"]),
        (["override", "re"], ["remove", "replace", "reset"]),
        (["install", "vim", "--wait"], ["--wait", "--wait-timeout"]),
        (["-q", "--sysroot=/mnt", "unin"], ["uninstall"]),
        (["install", "vi"], []),
    ],
)
def test_bash_completes(completions: Path, words: list[str], offered: list[str]) -> None:
    script = (
        'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _apt_ostree; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-uc", script, "bash", completions, "apt-ostree", *words], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == offered
