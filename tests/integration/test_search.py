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


def test_anybody_may_ask_the_archives(machine: System) -> None:
    (machine.deployment() / "etc/apt/auth.conf").write_text("machine example.org login me password secret\n")
    (machine.deployment() / "etc/apt/auth.conf").chmod(0o600)
    with machine.unchanged():
        assert machine.run_as_nobody("search", "^greeter$").stdout == machine.run("search", "^greeter$").stdout
        # A container's user may have a number without a name.
        shown = machine.run_as_nobody("show", "greeter", uid=12_345).stdout
        assert shown == machine.run("show", "greeter").stdout
        assert machine.run_as_nobody("status", uid=12_345).stdout == machine.run("status").stdout


def test_sources_that_are_root_s_alone_stay_so(machine: System) -> None:
    sources = machine.deployment() / "etc/apt/sources.list.d/fixtures.sources"
    sources.chmod(0o600)
    failure = machine.run_as_nobody("search", "greeter", status=1).failure
    assert failure.brief == "only root may read this machine's package sources"
    assert failure.detail == f"{sources}: Permission denied"
    sources.chmod(0o644)


def test_of_the_work_area_only_the_lists_are_for_everybody(machine: System) -> None:
    modes = {path.name: path.stat().st_mode & 0o777 for path in machine.area.iterdir() if path.is_dir()}
    assert modes == {"apt": 0o755, "base": 0o700, "pkgs": 0o700, "tmp": 0o700}
    copies = [path for path in (machine.area / "apt").rglob("*") if "sources" in path.name or "auth" in path.name]
    assert {path.name: path.stat().st_mode & 0o077 for path in copies if path.parent.name == "etc"} == {
        "sources.list.d": 0, "auth.conf.d": 0o055,
    }  # fmt: skip


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
        (["show", "greter"], 1, "no archive has greter; did you mean greeter?", ""),
        (["show", "Greeter"], 2, "'Greeter' is not a valid package name", None),
        (["search", "("], 2, "'(' is not a valid regular expression", None),
        (["search", ""], 2, "an empty search term would match everything", None),
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
