"""``db``: packages and versions of commits, from their metadata."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest

from tests.integration.system import REPOSITORY, System, output


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
    # A name of a package is one, too, where no commit is called so.
    assert machine.run("db", "list", "0", "greeter", "base-l*").stdout == "base-lib 1.0 all\ngreeter 2.0 all\n"
    assert machine.run("db", "list", "greeter").stdout == "greeter 2.0 all\n"
    found = machine.run("db", "list", "--json", "gree*").document["commits"]
    assert [package["name"] for package in found[0]["packages"]] == ["greeter"]


def compressed(*versions: str) -> bytes:
    entry = "src ({0}) unstable; urgency=low\n\n  * What {0} does.\n\n -- A <a@b>  Mon, 01 Sep 2025\n"
    return gzip.compress("\n".join(entry.format(version) for version in versions).encode())


def test_changelogs_say_what_is_new(machine: System, tmp_path: Path) -> None:
    """From what the newer commit ships: its own files, links of one package to another, or nothing."""

    def commit(name: str, status: dict[str, tuple[str, str]], docs: dict[str, bytes | str]) -> str:
        tree = tmp_path / name
        for place, content in docs.items():
            path = tree / "usr/share/doc" / place
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                path.write_bytes(content)
            else:
                path.symlink_to(content)
        (tree / "usr/lib/sysimage/dpkg").mkdir(parents=True)
        stanzas = [
            f"Package: {package}\nStatus: install ok installed\nVersion: {version}\nArchitecture: all\n{more}"
            for package, (version, more) in status.items()
        ]
        (tree / "usr/lib/sysimage/dpkg/status").write_text("\n".join(stanzas))
        argv = ("ostree", "commit", f"--repo={machine.repo}", "--orphan", f"--tree=dir={tree}")
        return output(*argv).strip()

    # The binary's version is another one than its source's, by which the changelog counts.
    plain = ("tool", "bare", "out")
    old = commit("old", {"lib": ("5:1", "Source: src (1)\n"), **dict.fromkeys(plain, ("1", ""))}, {})
    new = commit(
        "new",
        {"lib": ("5:3", "Source: src (3)\n"), **dict.fromkeys(plain, ("3", ""))},
        {
            "lib/changelog.Debian.gz": compressed("3", "2", "1", "0.9"),
            "tool": "lib",
            "out/changelog.gz": "../../../../etc/passwd",
        },
    )
    document = machine.run("db", "diff", "--changelogs", old, new, "--json").document
    found = {tuple(e["packages"]): e["releases"] for e in document["changelogs"]}
    assert [release["version"] for release in found["lib", "tool"]] == ["3", "2"]
    assert found["bare", "out"] is None
    text = machine.run("db", "diff", "-c", old, new).stdout
    assert "\nbare, out:\n  The image has no changelog.\n" in text
    assert "\nlib, tool:\n  src (3) unstable; urgency=low\n\n    * What 3 does.\n" in text
    assert machine.run("db", "diff", old, new, "--json").document["changelogs"] is None


@pytest.mark.parametrize(
    "words", [["version", "9"], ["list", "no-such-ref"], ["version", "c" * 64], ["list", "²"], ["diff", "0", "٣"]]
)
def test_a_revision_that_does_not_exist_is_named(machine: System, words: list[str]) -> None:
    brief = machine.run("db", *words, status=1).failure.brief
    assert brief.endswith((" does not exist", f" does not have a commit {words[-1]}"))


@pytest.mark.parametrize("words", [["version", ""], ["list", ""], ["diff", ""]])
def test_an_empty_revision_is_not_valid(machine: System, words: list[str]) -> None:
    assert machine.run("db", *words, status=2).failure.brief == "'' is not a valid revision"
