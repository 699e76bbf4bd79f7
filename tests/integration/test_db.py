"""``db``: packages and versions of commits, from their metadata."""

from __future__ import annotations

import json
from collections.abc import Iterator

import jsonschema
import pytest

from tests.integration.system import REPOSITORY, System


@pytest.fixture(scope="module")
def machine(template: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    system = template.clone(tmp_path_factory.mktemp("machine") / "sysroot")
    system.install("greeter")
    system.run("kargs", "--append=a")
    yield system
    system.remove()


def test_equal_packages_have_equal_digests(machine: System) -> None:
    found = machine.run("db", "version", "--json", "0", "1", machine.base.commit).document
    jsonschema.validate(found, json.loads((REPOSITORY / "docs/schema/db-version.json").read_text()))
    layer, again, base = found["commits"]
    assert layer == again
    assert (layer["version"], base["version"]) == ("12.1", "12.1")
    assert layer["packages-sha256"] != base["packages-sha256"]
    assert layer["packages"] == base["packages"] + 1
    assert machine.run("db", "version").stdout == (
        f"{layer['checksum'][:12]}  12.1  {layer['packages']} packages, sha256 {layer['packages-sha256'][:12]}\n"
    )


def test_a_list_can_be_narrowed_by_patterns(machine: System) -> None:
    assert machine.run("db", "list", "0", "gree*", "base-l[i]b").stdout == "base-lib 1.0 all\ngreeter 2.0 all\n"
    assert machine.run("db", "list", "gree*").stdout == "greeter 2.0 all\n"
    assert machine.run("db", "list", machine.base.commit, "gree*").stdout == ""
    found = machine.run("db", "list", "--json", "gree*").document["commits"]
    assert [package["name"] for package in found[0]["packages"]] == ["greeter"]


@pytest.mark.parametrize(
    "words", [["version", "9"], ["list", "no-such-ref"], ["version", "c" * 64], ["list", "²"], ["diff", "0", "٣"]]
)
def test_what_is_no_revision_is_named(machine: System, words: list[str]) -> None:
    assert machine.run("db", *words, status=1).failure.brief.startswith("there is no ")


@pytest.mark.parametrize("words", [["version", ""], ["list", ""], ["diff", ""]])
def test_an_empty_revision_is_none(machine: System, words: list[str]) -> None:
    assert machine.run("db", *words, status=2).failure.brief == "'' is no revision"
