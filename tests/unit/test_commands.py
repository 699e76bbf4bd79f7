"""Every command has --help with an example that works, strict words, --json and a schema."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import pytest
import typer

from apt_ostree.cli import main as cli
from apt_ostree.cli.command import Call, app
from apt_ostree.model import Deployment
from apt_ostree.ops import transaction
from apt_ostree.ops.available import Update
from apt_ostree.ops.deployments import Done

REPOSITORY = Path(__file__).parents[2]
SCHEMAS = REPOSITORY / "docs/schema"


def walk(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that does something, with its words."""
    if hasattr(command, "commands"):
        for name, inner in command.commands.items():
            yield from walk(inner, (*path, name))
    else:
        yield path, command


TREE = dict(walk(typer.main.get_command(app)))
COMMANDS = sorted(TREE)

FLAG_77 = "--unchanged-exit-77"


def arguments(command: Any) -> list[Any]:
    return [parameter for parameter in command.params if parameter.param_type_name == "argument"]


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int | str | None, str, str]:
    with pytest.raises(SystemExit) as caught:
        cli.main(list(words))
    out, err = capsys.readouterr()
    return caught.value.code, out, err


@pytest.fixture
def sysroot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A sysroot without deployments, run as root: no command gets as far as changing anything."""
    (tmp_path / "ostree/repo").mkdir(parents=True)
    (tmp_path / "ostree/repo/config").touch()
    (tmp_path / "ostree/deploy").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return ["--sysroot", str(tmp_path)]


each_command = pytest.mark.parametrize("words", COMMANDS, ids=" ".join)


@each_command
def test_help_has_a_sentence_and_an_example_that_can_be_read(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    status, _, err = run(capsys, *words, "--help")
    assert (status, err) == (0, "")
    assert re.match(r"[A-Z].*\.$", TREE[words].help, re.MULTILINE)
    given = example(words)
    assert tuple(given[: len(words)]) == words
    # Parsed as it stands: each option exists, and no argument is missing.
    TREE[words].make_context("apt-ostree", given[len(words) :], parent=None, resilient_parsing=False)


def groups(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, inner in getattr(command, "commands", {}).items():
        if hasattr(inner, "commands"):
            yield (*path, name), inner


@pytest.mark.parametrize(("words", "command"), list(groups(typer.main.get_command(app))), ids=str)
def test_help_of_a_group_has_an_example_of_one_of_its_commands(words: tuple[str, ...], command: Any) -> None:
    found = re.search(r"^Example: apt-ostree (.*)$", command.help, re.MULTILINE)
    assert found is not None
    given = shlex.split(found[1])
    path = tuple(given[: len(words) + 1])
    TREE[path].make_context("apt-ostree", given[len(path) :], parent=None, resilient_parsing=False)


@pytest.mark.parametrize("words", [[], ["remote"], ["remote", "add"], ["install"]])
def test_help_has_a_short_name(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    assert run(capsys, *words, "-h") == run(capsys, *words, "--help")


@each_command
def test_an_unknown_option_is_refused(
    capsys: pytest.CaptureFixture[str], sysroot: list[str], words: tuple[str, ...]
) -> None:
    status, out, err = run(capsys, *words, "--no-such-option", *sysroot)
    assert (status, out) == (2, "")
    assert err.startswith("error: no such option: --no-such-option\n")


@each_command
def test_an_argument_that_is_not_utf_8_is_refused(capsys: pytest.CaptureFixture[str], words: tuple[str, ...]) -> None:
    assert run(capsys, *words, "\udcff") == (
        2,
        "",
        "error: the argument \\xff is not UTF-8\nNothing was changed. See the --help of the command.\n",
    )


@pytest.mark.parametrize("words", [words for words in COMMANDS if arguments(TREE[words])], ids=" ".join)
def test_an_empty_argument_is_refused(
    capsys: pytest.CaptureFixture[str], sysroot: list[str], words: tuple[str, ...]
) -> None:
    takes = any("--sysroot" in parameter.opts for parameter in TREE[words].params)
    more = ["--repo", sysroot[1]] if words[0] == "compose" else []
    status, out, err = run(
        capsys, *words, *more, *[""] * sum(max(1, a.nargs) for a in arguments(TREE[words])), *(sysroot if takes else [])
    )
    assert status in {1, 2}
    assert out == ""
    assert err.startswith("error: ")
    assert "Traceback" not in err


@each_command
def test_every_command_speaks_json_and_has_a_schema(words: tuple[str, ...]) -> None:
    assert any("--json" in parameter.opts for parameter in TREE[words].params)
    titles = {name for path in SCHEMAS.glob("*.json") for name in json.loads(path.read_text())["title"].split(", ")}
    assert f"apt-ostree {' '.join(words)} --json" in titles


@pytest.mark.parametrize("path", sorted(SCHEMAS.glob("*.json")), ids=lambda path: path.stem)
def test_every_schema_is_one(path: Path) -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(path.read_text()))


def takes(option: str) -> list[tuple[str, ...]]:
    return [words for words in COMMANDS if any(option in parameter.opts for parameter in TREE[words].params)]


QUESTIONS = {
    ("status",), ("history",), ("search",), ("show",), ("db", "list"), ("db", "diff"), ("db", "version"),
    ("remote", "list"),
}  # fmt: skip


@pytest.mark.parametrize("words", [words for words in COMMANDS if words[0] != "compose"], ids=" ".join)
def test_every_command_on_a_system_takes_the_shared_options(words: tuple[str, ...]) -> None:
    options = {name for parameter in TREE[words].params for name in parameter.opts}
    assert options >= {"--sysroot", "--stateroot", "-q", "-v", "--json"}
    changing = {"--dry-run", "-n", "--unchanged-exit-77", "--wait", "--wait-timeout", "--progress-fd"}
    assert words in QUESTIONS or options >= changing


@pytest.mark.parametrize("words", takes("--cache-only"), ids=" ".join)
def test_every_command_that_resolves_takes_the_options_of_that(words: tuple[str, ...]) -> None:
    options = {name for parameter in TREE[words].params for name in (*parameter.opts, *parameter.secondary_opts)}
    assert options >= {"-C", "-D", "--download-only", "--recommends", "--no-recommends", "-r"}


def example(words: tuple[str, ...]) -> list[str]:
    """The command line that --help shows."""
    found = re.search(r"^Example: apt-ostree (.*)$", TREE[words].help, re.MULTILINE)
    assert found is not None
    return shlex.split(found[1])


@pytest.mark.parametrize("words", takes("--reboot"), ids=" ".join)
@pytest.mark.parametrize("changed", [True, False])
def test_what_deploys_reboots_where_that_was_asked_for_and_something_changed(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    words: tuple[str, ...],
    changed: bool,
) -> None:
    made = Deployment(0, "debian", "a" * 64, 0, "", {})
    (tmp_path / "host.toml").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Call, "edit", lambda *_: None)
    monkeypatch.setattr(Call, "perform", lambda *_: Done(changed, "", made))
    reboots: list[str] = []
    monkeypatch.setattr(transaction, "reboot", lambda: reboots.append("reboot"))
    said = [word for word in example(words) if word not in {"--preview", "--dry-run"}]
    assert run(capsys, *said, "--reboot")[0] == 0
    assert reboots == ["reboot"] * changed


# Their results are of other kinds; test_cli.py and the tests below have them.
OTHER_RESULTS = {("db", "diff"), ("refresh-md",), ("compose", "tree")}


@pytest.mark.parametrize(
    "words", [words for words in takes("--unchanged-exit-77") if words not in OTHER_RESULTS], ids=" ".join
)
def test_nothing_to_do_exits_77_if_that_was_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: tuple[str, ...]
) -> None:
    for name in ("host.toml", "example.gpg"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Call, "edit", lambda *_: None)
    monkeypatch.setattr(transaction, "reboot", lambda: None)
    said = [word for word in example(words) if word not in {"--preview", "--dry-run"}]
    for changed, flag, status in ((False, [], 0), (False, [FLAG_77], 77), (True, [FLAG_77], 0)):
        done = Done(changed, "told")
        monkeypatch.setattr(Call, "perform", lambda *_, done=done: done)
        assert run(capsys, *said, *flag) == (status, "told\n", "")


def test_a_refresh_that_finds_nothing_exits_77_if_that_was_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Call, "perform", lambda *_: Update("a" * 64, "b" * 64, "r:x", 0))
    assert run(capsys, "refresh-md") == (0, "No updates available.\n", "")
    assert run(capsys, "refresh-md", FLAG_77)[0] == 77
    monkeypatch.setattr(Call, "perform", lambda *_: Update("a" * 64, "b" * 64, "r:x", 0, "c" * 64))
    assert run(capsys, "refresh-md", FLAG_77)[0] == 0


def test_a_compose_that_finds_nothing_new_exits_77_if_that_was_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    composed = SimpleNamespace(changed=False, dry_run=False, ref="debian/13", commit="a" * 64, version="1", packages=())
    monkeypatch.setattr(Call, "perform", lambda *_: composed)
    said = ["compose", "tree", "--repo", "/r", "x.toml"]
    assert run(capsys, *said) == (0, "Nothing to do: debian/13 already has this content.\n", "")
    assert run(capsys, *said, FLAG_77)[0] == 77
    composed.changed = True
    assert run(capsys, *said, FLAG_77)[0] == 0


@pytest.mark.parametrize(("newer", "status"), [(None, 77), ("c" * 64, 0)])
def test_a_check_for_updates_exits_77_if_there_is_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, newer: str | None, status: int
) -> None:
    monkeypatch.setattr(Call, "perform", lambda *_: Update("a" * 64, "b" * 64, "r:x", 0, newer))
    assert run(capsys, "upgrade", "--check")[0] == status


@pytest.mark.parametrize(("changed", "status"), [(False, 77), (True, 0)])
def test_a_preview_exits_77_if_nothing_would_change(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, changed: bool, status: int
) -> None:
    monkeypatch.setattr(Call, "edit", lambda *_: None)
    monkeypatch.setattr(Call, "perform", lambda *_: Done(changed, "told"))
    assert run(capsys, "upgrade", "--preview")[0] == status


COMPARISON = (REPOSITORY / "docs/rpm-ostree.md").read_text()


def rows() -> list[list[str]]:
    """The cells of each row of the comparison."""
    lines = [line for line in COMPARISON.splitlines() if line.startswith("| ") and not line.startswith("| ---")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if "| here | how" not in line]


def test_each_row_of_the_comparison_has_a_verdict() -> None:
    verdicts = {"same", "better", "same, better", "new", "left out", "not yet"}
    assert [row for row in rows() if len(row) != 3 or row[1] not in verdicts or not row[2]] == []


def test_every_command_of_ours_in_the_comparison_exists() -> None:
    named = set()
    for text in re.findall(r"`apt-ostree ([^`]+)`", COMPARISON):
        words = tuple(text.split())
        found = next((path for path in COMMANDS if words[: len(path)] == path), None)
        assert found is not None, text
        options = {name for parameter in TREE[found].params for name in parameter.opts}
        assert {word for word in words if word.startswith("-")} <= options
        named.add(found)
    assert {path for path in COMMANDS if path[0] != "compose"} - named == set()


def test_what_the_comparison_calls_not_there_yet_is_not() -> None:
    assert [row[2] for row in rows() if row[1] == "not yet" and (row[2].strip("`"),) in TREE] == []
