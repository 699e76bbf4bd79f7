"""The demo of the README, on the small base: the built program does what the README shows, in those words."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.system import BINARY, REF, REPOSITORY, Base, Result, System, run_cli

FIXTURES = {
    "tree": "greeter",
    "jq": "rec-b",
    "vim-tiny": "setuid",
    "git": "user-maker",
    "nginx": "trig-interest",
}
"""The README's packages, and those that stand for them here."""


def program() -> str:
    """The built program. Skips where nobody built it."""
    named = os.environ.get("APT_OSTREE", "")
    path = Path(named) if named and named != "module" else BINARY
    if not path.is_file():
        pytest.skip(f"{path} is not built ('make binary' does)")
    return os.fspath(path)


@dataclass(frozen=True, slots=True)
class Shown:
    """A command of the README and the steps that it shows there."""

    words: list[str]
    steps: list[str]


def transcript() -> list[Shown]:
    block = re.search(
        r"^```\n(\$ apt-ostree compose tree .*?)^```$", (REPOSITORY / "README.md").read_text(), re.S | re.M
    )
    assert block is not None
    shown = []
    for part in re.split(r"^\$ apt-ostree ", block[1], flags=re.MULTILINE)[1:]:
        command, *lines = part.splitlines()
        shown.append(Shown(shlex.split(command), steps("\n".join(lines))))
    return shown


def steps(text: str) -> list[str]:
    """The lines that name a step, without what differs from run to run."""
    lines = [line for line in text.splitlines() if line.endswith("…")]
    return [
        re.sub(r"\d+ packages(?: \(.*\))?", "N packages", re.sub(r"sysroot \S+…", "sysroot …", line)) for line in lines
    ]


def test_the_readme_s_demo(base_repo: Base, tmp_path: Path) -> None:
    cli = [program()]
    place = tmp_path / "sysroot"
    system = System(place, base_repo)
    seen: list[str] = []
    results: list[Result] = []
    for shown in transcript():
        if shown.words[:2] == ["compose", "tree"]:
            # The base is there: test_compose.py makes one.
            continue
        words = [
            {
                "build/demo/repo": os.fspath(base_repo.repo),
                "build/demo/sysroot": os.fspath(place),
                "debian/13/x86_64/minimal": REF,
                **FIXTURES,
            }.get(word, word)
            for word in shown.words
        ]
        result = run_cli(*words, cli=cli)
        assert steps(result.stderr) == shown.steps, words
        seen.append(" ".join(shown.words[:2]) if shown.words[0] in {"compose", "db"} else shown.words[0])
        results.append(result)
    assert seen == [
        "compose sysroot",
        "install",
        "install",
        "status",
        "db diff",
        "uninstall",
        "rollback",
        "status",
    ]
    # The rollback undid the uninstall.
    assert system.requested(0) == ["greeter", "rec-b", "setuid", "user-maker", "trig-interest"]
    assert system.requested(1) == ["greeter", "setuid", "user-maker", "trig-interest"]
    assert {"rec-a", "rec-b", "rec-pre"} <= system.dpkg_status(0).keys()
    assert not {"rec-a", "rec-b", "rec-pre"} & system.dpkg_status(1).keys()
    assert "Requested  greeter  rec-b  setuid  user-maker  trig-interest\n" in results[-1].stdout
    system.fsck()


def test_the_program_needs_nothing_beside_it(tmp_path: Path) -> None:
    """No module of the source tree, no environment, no home."""
    copy = tmp_path / "apt-ostree"
    copy.write_bytes(Path(program()).read_bytes())
    copy.chmod(0o755)
    assert re.fullmatch(r"apt-ostree \d+\.\d+\S*\n", run_cli("--version", cli=[os.fspath(copy)], cwd=tmp_path,
                                                          env={"PYTHONPATH": ""}).stdout)  # fmt: skip
