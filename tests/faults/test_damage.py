"""Files that the tool itself or ostree keeps, damaged: a clear error or none at all, and nothing is lost."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.trial import clean, planted, whole
from tests.integration.system import System, output
from tests.integration.test_hostile import package

CONTENTS = {"garbage": b"\xff\x00garbage[", "empty": b"", "of a later version": b'{"schema": 99, "pid": {"x": 1}}'}


@pytest.fixture(scope="module")
def pattern(template: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A layer that boots next, and the base behind it."""
    system = template.clone(tmp_path_factory.mktemp("pattern") / "sysroot")
    system.install("greeter")
    yield system
    system.remove()


@pytest.fixture
def two(pattern: System, tmp_path: Path) -> Iterator[System]:
    system = pattern.clone(tmp_path / "sysroot")
    yield system
    system.remove()


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_a_damaged_lock_is_held_and_described_all_the_same(two: System, content: bytes) -> None:
    two.note.write_bytes(content)
    assert two.run("status", "--json").document["transaction"] is None
    assert two.run("cancel").stdout == "No transaction is in progress.\n"
    two.install("rec-b")
    assert two.note.read_bytes() == b""


def deployed(system: System) -> dict[str, bytes]:
    """The trees, and what the loader entries say: what ostree itself refuses to list while one is damaged."""
    trees = {path.name: b"" for path in (system.path / "ostree/deploy/debian/deploy").iterdir()}
    entries = {path.name: path.read_bytes() for path in (system.path / "boot/loader/entries").glob("*.conf")}
    return trees | entries


def origin_of(system: System) -> Path:
    deployment = system.deployment()
    return deployment.with_name(f"{deployment.name}.origin")


@pytest.mark.parametrize("content", [CONTENTS["garbage"], CONTENTS["of a later version"]], ids=["garbage", "later"])
def test_an_origin_that_cannot_be_read_is_named_and_nothing_is_lost(two: System, content: bytes) -> None:
    origin, requested, before, order = origin_of(two), two.requested(), deployed(two), two.deployments()
    whole = origin.read_bytes()
    origin.write_bytes(content)
    failure = two.run("install", "rec-b", status=1).failure
    assert origin.name in failure.brief
    assert "With an empty file, ostree works again" in failure.resolution
    two.run("status")
    assert deployed(two) == before
    # The way out needs no origin.
    two.run("rollback")
    origin.write_bytes(whole)
    assert two.deployments() == [order[1], order[0]]
    assert two.requested(1) == requested


@pytest.mark.parametrize("content", [b"", None], ids=["empty", "missing"])
def test_an_origin_that_is_lost_does_not_cost_the_packages_in_silence(two: System, content: bytes | None) -> None:
    origin, before = origin_of(two), two.deployments()
    origin.unlink() if content is None else origin.write_bytes(content)
    failure = two.run("install", "rec-b", status=1).failure
    assert failure.brief.startswith("the origin file of deployment 0 no longer lists the packages")
    assert failure.brief.endswith("greeter")
    assert origin.name in failure.detail
    assert two.deployments() == before
    two.run("status")
    two.run("rollback")
    assert two.deployments() == [before[1], before[0]]


def loader_entry(system: System) -> Path:
    return min((system.path / "boot/loader/entries").glob("*.conf"))


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_a_damaged_loader_entry_is_named_and_nothing_is_lost(two: System, content: bytes) -> None:
    entry = loader_entry(two)
    whole = entry.read_bytes()
    entry.write_bytes(content)
    before = deployed(two)
    for words in (["install", "rec-b"], ["rollback"], ["cleanup", "-r"], ["status"]):
        failure = two.run(*words, status=1).failure
        assert entry.name in failure.brief
        assert "/boot/loader/entries" in failure.resolution
    assert deployed(two) == before
    entry.write_bytes(whole)
    two.install("rec-b")


DAMAGED = {
    "the base's commit": ("commit", None, ""),
    "a directory of the base": ("dirtree", None, "/usr/lib/sysimage"),
    "a directory's owner and mode": ("dirmeta", None, "/usr/lib/sysimage"),
    "a file of the base": ("file", None, "/usr/lib/sysimage/dpkg/status"),
    "a file of the layer": ("file", 0, "/usr/share/greeter/only-in-2.0"),
}
"""Kind, index of the deployment or None for the base, and path."""


def stored(system: System, kind: str, index: int | None, path: str) -> Path:
    """The object that a commit has for a path."""
    commit = system.base.commit if index is None else system.commit(index)
    if kind == "commit":
        return system.repo / "objects" / commit[:2] / f"{commit[2:]}.commit"
    # Mode, owners and size; then the checksum of a file, or those of a directory's tree and metadata.
    words = output("ostree", "ls", f"--repo={system.repo}", "-C", "-d", commit, path).split()
    checksum = words[5 if kind == "dirmeta" else 4]
    return system.repo / "objects" / checksum[:2] / f"{checksum[2:]}.{kind}"


def remove(path: Path) -> None:
    path.unlink()


def corrupt(path: Path) -> None:
    """Another file of that name: writing into this one would change the deployment that shares it."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    status = path.stat()
    path.unlink()
    path.write_bytes(content)
    os.chmod(path, status.st_mode)


@pytest.mark.parametrize("harm", [remove, corrupt])
@pytest.mark.parametrize("what", DAMAGED)
def test_an_object_that_is_lost_or_damaged_costs_no_deployment(
    two: System, what: str, harm: Callable[[Path], None]
) -> None:
    before = two.deployments()
    harm(stored(two, *DAMAGED[what]))
    result = two.run("install", "rec-b", status=None)
    if result.status:
        assert result.failure.resolution, result.stderr
        assert two.deployments() == before
    # What is deployed needs no object.
    now = two.deployments()
    two.run("rollback")
    assert two.deployments() == [now[1], now[0]]
    assert (two.deployment() / "usr/bin/dpkg").is_file()


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_a_damaged_note_of_unsynced_objects_stops_nothing(two: System, content: bytes) -> None:
    (two.area / "unsynced").write_bytes(content)
    two.install("rec-b")
    assert not (two.area / "unsynced").exists()
    two.fsck()


def test_a_damaged_note_of_unsynced_objects_costs_no_package_that_was_given_as_a_file(
    two: System, tmp_path: Path
) -> None:
    mine = package(tmp_path, "mine", files={"usr/share/mine": "mine\n"})
    two.install(mine)
    Path(mine).unlink()
    (two.area / "unsynced").write_bytes(CONTENTS["garbage"])
    two.install("rec-b")
    assert (two.deployment() / "usr/share/mine").read_text() == "mine\n"


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_a_damaged_package_in_the_cache_is_fetched_again(two: System, content: bytes) -> None:
    two.run("install", "-D", "rec-b")
    for place in (two.area / "pkgs").iterdir():
        (place / "index.json").write_bytes(content)
    two.install("rec-b")
    assert two.requested() == ["greeter", "rec-b"]


@pytest.mark.parametrize("harm", [remove, corrupt])
def test_an_object_of_a_package_that_is_lost_or_damaged_costs_no_deployment(
    two: System, harm: Callable[[Path], None]
) -> None:
    two.run("install", "-D", "rec-b")
    before = two.deployments()
    (index,) = (
        path
        for path in (two.area / "pkgs").glob("*/index.json")
        if json.loads(path.read_text())["package"][0] == "rec-b"
    )
    for checksum in json.loads(index.read_text())["objects"]:
        harm(two.repo / "objects" / checksum[:2] / f"{checksum[2:]}.file")
    result = two.run("install", "rec-b", status=None)
    if result.status:
        assert result.failure.resolution, result.stderr
        assert two.deployments() == before


def test_a_damaged_journal_names_what_cannot_be_read(two: System) -> None:
    place = two.var / "lib/apt-ostree/transactions"
    for number, content in enumerate(CONTENTS.values()):
        (place / f"2020010{number + 1}T000000Z-1.json").write_bytes(content)
    two.install("rec-b")
    entries = two.run("history", "--json").document["transactions"]
    assert [entry["state"] for entry in entries] == ["done", "done", "unreadable", "unreadable", "unreadable"]
    assert json.dumps(entries[-1]["error"]) == '"it is damaged"'


@pytest.mark.parametrize(
    ("point", "when", "published"),
    [("import", "after", False), ("deploy", "before", False), ("prune", "before", True)],
)
def test_a_mistake_in_the_program_ends_as_an_error_that_names_transaction_and_traceback(
    sysroot: System, point: str, when: str, published: bool
) -> None:
    before = sysroot.deployments()
    done = planted(sysroot, point, when, "mistake", "install", "greeter")
    assert done.returncode == 1, done.stderr
    (record,) = sysroot.run("history", "--json").document["transactions"]
    traceback = sysroot.var / f"log/apt-ostree/{record['id']}.traceback"
    told = f"  transaction: {record['id']}\n  traceback: {traceback}\n"
    assert f"error: a mistake in apt-ostree: ZeroDivisionError: planted\n{told}" in done.stderr
    assert "Traceback" not in done.stderr
    assert "ZeroDivisionError: planted" in traceback.read_text()
    assert (record["state"], record["error"]) == ("failed", "a mistake in apt-ostree: ZeroDivisionError")
    assert (sysroot.deployments() != before, sysroot.deployments()[-1:]) == (published, before)
    whole(sysroot)
    sysroot.install("greeter")
    clean(sysroot)
