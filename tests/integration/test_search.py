"""``search`` and ``show``: the archives' lists, and what the machine has of it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import jsonschema
import pytest

from tests.integration.system import REPOSITORY, System


@pytest.fixture(scope="module")
def machine(template: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    system = template.clone(tmp_path_factory.mktemp("machine") / "sysroot")
    system.install("greeter=1.0")
    yield system
    system.remove()


def fits(document: dict[str, object], name: str) -> None:
    jsonschema.validate(document, json.loads((REPOSITORY / f"docs/schema/{name}.json").read_text()))


def test_search_marks_what_is_there(machine: System) -> None:
    with machine.unchanged():
        found = machine.run("search", "--json", "^(greeter|base-lib|rec-a)$").document
    fits(found, "search")
    assert [(p["name"], p["base"], p["layered"], p["requested"]) for p in found["packages"]] == [
        ("base-lib", "1.0", None, False),
        ("greeter", None, "1.0", True),
        ("rec-a", None, None, False),
    ]
    lines = machine.run("search", "^greeter$").stdout.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("greeter - ")
    assert lines[0].endswith("  [layered 1.0, requested]")
    assert machine.run("search", "no-such-word-anywhere").stdout == ""


def test_show_has_every_version_and_no_more_than_the_archives(machine: System) -> None:
    found = machine.run("show", "--json", "greeter", "base-lib").document
    fits(found, "show")
    assert [[v["version"] for v in p["versions"]] for p in found["packages"]] == [["2.0", "1.0"]] * 2
    shown = machine.run("show", "greeter").stdout
    assert shown.splitlines()[0].split() == ["greeter", "layered", "1.0,", "requested"]
    assert "      Version  2.0  (all)\n" in shown
    assert "1.0  (all)" not in shown
    assert "1.0  (all)" in machine.run("show", "-v", "greeter").stdout


@pytest.mark.parametrize(
    ("words", "status", "brief", "detail"),
    [
        (["show", "greter"], 1, "cannot find what was asked for", "no archive has greter; did you mean greeter?"),
        (["show", "Greeter"], 2, "'Greeter' is no package expression", None),
        (["search", "("], 2, "'(' is no regular expression", None),
        (["search", ""], 2, "an empty word finds everything", None),
    ],
)
def test_what_cannot_be_found_is_named(
    machine: System, words: list[str], status: int, brief: str, detail: str | None
) -> None:
    failure = machine.run(*words, status=status).failure
    assert failure.brief == brief
    assert detail is None or failure.detail == detail


def test_without_lists_it_says_how_to_get_some(machine: System) -> None:
    machine.run("cleanup", "-m")
    assert machine.run("search", "greeter", status=1).failure.brief == "there are no package lists yet"
