"""Whatever lies in the files that tell about deployments: looking, rolling back and cleaning up end well or with an
error of ours."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.archive import Archive
from tests.integration.system import STATEROOT, System, output

HUGE = "9" * 5000
LIMIT = 20 << 20

ENTRY = {
    "schema": 1, "id": "../../../x", "pid": 1, "uid": 0, "command": [], "begun": "2026-01-01T00:00:00+00:00",
    "state": "running", "ended": None, "phases": [], "old": None, "new": None,
    "change": {"added": [], "removed": [], "changed": []}, "error": "",
}  # fmt: skip


def note(name: str, text: str) -> Callable[[System], None]:
    """Another content of a file of the sysroot."""

    def damage(system: System) -> None:
        place = system.path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    return damage


def journal(number: int) -> str:
    """An entry of the journal."""
    return f"ostree/deploy/{STATEROOT}/var/lib/apt-ostree/transactions/20260101T000000Z-{number}.json"


def all_of(*damages: Callable[[System], None]) -> Callable[[System], None]:
    def damage(system: System) -> None:
        for each in damages:
            each(system)

    return damage


def origin(text: str) -> Callable[[System], None]:
    def damage(system: System) -> None:
        name = system.deployments()[0]
        (system.path / f"ostree/deploy/{STATEROOT}/deploy/{name}.origin").write_text(text)

    return damage


def forged(*words: str) -> Callable[[System], None]:
    """A deployed commit with the base's files, and metadata of somebody else."""

    def damage(system: System) -> None:
        output(
            "ostree", "commit", f"--repo={system.repo}", "--branch=forged", f"--tree=ref={system.base.commit}",
            "--add-metadata-string=version=1", "--add-metadata=ostree.bootable=true",
            "--add-metadata-string=ostree.linux=0.0", *words,
        )  # fmt: skip
        output("ostree", "admin", "deploy", f"--sysroot={system.path}", f"--os={STATEROOT}", "forged")

    return damage


def forged_layer(*words: str) -> Callable[[System], None]:
    """The same, over a base by its origin: a deployment of this machine whose metadata is damaged."""

    def damage(system: System) -> None:
        forged(key("clientlayer", "true"), *words)(system)
        origin("[origin]\nbaserefspec=forged\n\n[packages]\nrequested=greeter;\n")(system)

    return damage


def key(name: str, text: str) -> str:
    return f"--add-metadata-string=apt-ostree.{name}={text}"


def removed(which: Callable[[System], str]) -> Callable[[System], None]:
    """A commit object that is gone."""

    def damage(system: System) -> None:
        checksum = which(system)
        (system.repo / "objects" / checksum[:2] / f"{checksum[2:]}.commit").unlink()

    return damage


def link(name: str, target: str) -> Callable[[System], None]:
    """A link in the place of a file or directory of the sysroot."""

    def damage(system: System) -> None:
        place = system.path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.is_dir():
            shutil.rmtree(place)
        place.unlink(missing_ok=True)
        place.symlink_to(target)

    return damage


def configured(text: str) -> Callable[[System], None]:
    """A configuration in the machine's /etc."""

    def damage(system: System) -> None:
        place = system.path / f"ostree/deploy/{STATEROOT}/deploy/{system.deployments()[0]}/etc/apt-ostree/config.toml"
        place.parent.mkdir()
        place.write_text(text)

    return damage


UPDATE = f"ostree/deploy/{STATEROOT}/var/lib/apt-ostree/update.json"
AREA = "ostree/repo/extensions/apt-ostree"


def order(system: System) -> list[str]:
    """CHECKSUM.SERIAL of each deployment in boot order, from the loader entries: ostree refuses a damaged origin."""
    found = {}
    for file in (system.path / "boot/loader/entries").iterdir():
        text = file.read_text()
        version, link = re.search(r"(?m)^version (\d+)$", text), re.search(r"ostree=/(\S+)", text)
        assert version is not None and link is not None
        found[int(version[1])] = os.path.basename(os.path.realpath(system.path / link[1]))
    return [found[version] for version in sorted(found, reverse=True)]


DAMAGES = {
    # None hides another: they are at places of their own.
    "notes": all_of(
        note(journal(1), json.dumps({**ENTRY, "pid": float("inf")})),
        note(journal(2), json.dumps(ENTRY)),
        note(journal(3), f'{{"schema": {HUGE}}}'),
        note(journal(4), "[" * 100_000),
        note("ostree/apt-ostree.lock", f'{{"pid": {HUGE}, "ticks": Infinity}}'),
        note(UPDATE, '{"basis": [], "layered": [1]}'),
        note(f"{AREA}/apt/lists.json", "[1]"),
        note(f"{AREA}/unsynced", "another-boot /etc ../.."),
    ),
    "other-notes": all_of(
        note(UPDATE, " " * LIMIT),
        note(f"{AREA}/apt/lists.json", '{"sources": 1, "time": Infinity}'),
    ),
    "origin-form": origin("garbage"),
    "origin-local": origin("[packages]\nrequested-local=x;\n"),
    "origin-huge": origin("[origin]\n" + "#" * LIMIT),
    "commit-lock": forged_layer(key("lock", "[[1]]")),
    "commit-pkglist": forged(key("pkglist", '{"a": 1}')),
    "commit-no-parent": forged_layer("--parent=none"),
    "commit-lists": forged_layer(key("lock", "[" * 5000), key("left-out", "7"), key("removed-base-packages", "[[]]")),
    "base-commit-gone": removed(lambda system: system.base.commit),
    "layer-commit-gone": removed(lambda system: system.deployments()[0].partition(".")[0]),
    "config-form": configured("deployments = 1\nwhat = [\n"),
    "commit-year-10000": forged("--timestamp=@253402300800"),
}


@pytest.fixture(scope="module")
def layered(template: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A layer over a base, which is a deployment, too."""
    system = template.clone(tmp_path_factory.mktemp("layered") / "sysroot")
    system.install("greeter")
    yield system
    system.remove()


@pytest.fixture
def sysroot(layered: System, tmp_path: Path) -> Iterator[System]:
    system = layered.clone(tmp_path / "sysroot")
    yield system
    system.remove()


@pytest.mark.parametrize("name", DAMAGES)
def test_nothing_ends_in_a_traceback_and_a_rollback_works(sysroot: System, name: str) -> None:
    DAMAGES[name](sysroot)
    before = order(sysroot)
    for words in (
        ("status", "-v"),
        ("status", "--json"),
        ("history",),
        ("rollback", "--list"),
        ("cleanup", "-b", "-m"),
    ):
        result = sysroot.run(*words, status=None)
        assert result.status == 0 or (result.status == 1 and words[0] == "cleanup"), (words, result.stderr)
        assert "Traceback" not in result.stderr
        assert result.status == 0 or result.failure.brief
    sysroot.run("rollback")
    assert order(sysroot) == [before[1], before[0], *before[2:]]
    assert not (sysroot.path / f"ostree/deploy/{STATEROOT}/x.json").exists()


@pytest.mark.parametrize(
    "name", ["origin-form", "commit-lock", "commit-no-parent", "base-commit-gone", "layer-commit-gone"]
)
def test_status_says_what_is_damaged(sysroot: System, name: str) -> None:
    DAMAGES[name](sysroot)
    assert sysroot.run("status", "--json").document["deployments"][0]["damaged"]
    assert "Damaged  " in sysroot.run("status").stdout


@pytest.mark.parametrize("name", ["origin-form", "config-form", "base-commit-gone"])
def test_caches_can_be_removed_whatever_else_is_damaged(sysroot: System, name: str) -> None:
    lists = sysroot.path / AREA / "apt/lists"
    assert lists.is_dir()
    DAMAGES[name](sysroot)
    sysroot.run("cleanup", "-m")
    assert not lists.exists()


def test_the_work_area_is_not_emptied_through_a_link(sysroot: System, tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    link(f"{AREA}/tmp", os.fspath(tmp_path))(sysroot)
    assert "tmp is not a directory" in sysroot.run("cleanup", "-m", status=1).failure.brief
    assert (tmp_path / "precious").exists()


def test_a_package_whose_reference_in_the_cache_is_damaged_is_imported_again(sysroot: System, archive: Archive) -> None:
    (reference,) = (sysroot.repo / "refs/heads/apt-ostree/pkg").iterdir()
    (deb,) = (path for path in archive.root.glob("pool/main/greeter_*.deb") if digest(path) == reference.name)
    reference.write_text("garbage")
    sysroot.run("install", os.fspath(deb))
    assert re.fullmatch("[0-9a-f]{64}\n", reference.read_text())


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
