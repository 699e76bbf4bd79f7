"""The journal's documents: written and read back, and read whatever anybody made of them."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apt_ostree.changes import Change
from apt_ostree.errors import redact
from apt_ostree.host import caller
from apt_ostree.host.door import Tree
from apt_ostree.model import Package
from apt_ostree.system import journal
from tests.unit.fake import Silent

VIM, JQ = Package("vim", "2", "amd64"), Package("jq", "1", "amd64")
ENTRY = journal.Entry(
    "20260102T030405Z-77",
    77,
    1000,
    ("apt-ostree", "install", "vim"),
    "2026-01-02T03:04:05.000+00:00",
    journal.DONE,
    "2026-01-02T03:04:07.500+00:00",
    (journal.Phase("lock", "2026-01-02T03:04:05.000+00:00"), journal.Phase("deploy", "2026-01-02T03:04:06.000+00:00")),
    "debian-a.0",
    "debian-b.0",
    Change((VIM,), (JQ,), ((JQ, Package("jq", "2", "amd64")),)),
    "",
)

HALF = f".apt-ostree-{'0a' * 8}"
"""The name of what a killed writer leaves."""


class Warnings(Silent):
    def __init__(self) -> None:
        self.said: list[str] = []

    def warn(self, message: str) -> None:
        self.said.append(message)


def begun(identifier: str = ENTRY.id) -> journal.Entry:
    return journal.Entry(identifier, 77, 0, ("apt-ostree",), ENTRY.begun, old="debian-a.0")


def files(stateroot: Path) -> list[str]:
    return sorted(os.listdir(stateroot / journal.PLACE))


def test_what_was_written_is_read(tmp_path: Path) -> None:
    journal.write(tmp_path, ENTRY)
    assert journal.read(tmp_path) == [ENTRY]


def test_the_form_of_a_document_is_fixed() -> None:
    """Programs of others read them, and so do earlier versions after a rollback."""
    text = journal.render(replace(ENTRY, phases=ENTRY.phases[:1], change=Change((VIM,), (), ((JQ, VIM),))))
    assert text.startswith('{\n "schema": 1,\n "id": "20260102T030405Z-77",\n "pid": 77,\n "uid": 1000,\n')
    vim, jq = ({"name": p.name, "version": p.version, "architecture": p.architecture} for p in (VIM, JQ))
    assert json.loads(text) == {
        "schema": 1,
        "id": "20260102T030405Z-77",
        "pid": 77,
        "uid": 1000,
        "command": ["apt-ostree", "install", "vim"],
        "begun": "2026-01-02T03:04:05.000+00:00",
        "state": "done",
        "ended": "2026-01-02T03:04:07.500+00:00",
        "phases": [{"name": "lock", "begun": "2026-01-02T03:04:05.000+00:00"}],
        "old": "debian-a.0",
        "new": "debian-b.0",
        "change": {"added": [vim], "removed": [], "changed": [[jq, vim]]},
        "error": "",
    }


def test_anybody_may_read_the_journal(tmp_path: Path) -> None:
    journal.write(tmp_path, ENTRY)
    place = tmp_path / journal.PLACE
    assert place.stat().st_mode & 0o777 == 0o755
    assert (place / f"{ENTRY.id}.json").stat().st_mode & 0o777 == 0o644


def test_directories_above_it_are_for_everybody_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        journal.write(tmp_path, ENTRY)
    finally:
        os.umask(before)
    assert (tmp_path / "var/lib").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it is empty"),
        ("\n", "it is empty"),
        ("{", "it is damaged"),
        ("[]", "it holds no entry"),
        ("{}", "it is damaged"),
        ("[" * 100_000, "it is damaged"),
        ('{"schema": 2, "anything": []}', "a later version of apt-ostree wrote it (schema 2)"),
        (journal.render(ENTRY).replace('"done"', '"asleep"'), "its state is unknown: asleep"),
        (journal.render(ENTRY).replace("2026-01-02T03:04:05.000+00:00", "yesterday"), "it is damaged"),
        (journal.render(ENTRY).replace("2026-01-02T03:04:05.000+00:00", "2026-01-02"), "it is damaged"),
        (journal.render(ENTRY).replace("2026-01-02T03:04:05.000+00:00", "0001-01-01T00:00:00+23:00"), "it is damaged"),
        *(
            (journal.render(ENTRY).replace('"pid": 77', f'"pid": {number}'), "it is damaged")
            for number in ("Infinity", "NaN", "1e999", "9" * 5000, "-1", "true", '"77"', "9" * 20)
        ),
        (" " * ((16 << 20) + 1), "it is too large"),
    ],
)
def test_a_document_that_cannot_be_read_says_why(text: str, reason: str) -> None:
    assert journal.parse("x", text) == journal.Unreadable("x", reason)


def _objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    keys = st.sampled_from([*json.loads(journal.render(ENTRY)), "other"])
    return st.dictionaries(keys, inner)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda s: st.lists(s) | _objects(s)))
def test_no_document_breaks_the_reader(value: Any) -> None:
    assert isinstance(journal.parse("x", json.dumps(value)), journal.Unreadable)


@given(st.sampled_from(sorted(json.loads(journal.render(ENTRY)))), st.none() | st.integers() | st.text(max_size=3))
def test_a_field_of_another_type_breaks_no_reader(key: str, value: Any) -> None:
    document = {**json.loads(journal.render(ENTRY)), key: value}
    assert isinstance(journal.parse("x", json.dumps(document)), journal.Entry | journal.Unreadable)


def test_a_damaged_document_hides_no_other(tmp_path: Path) -> None:
    journal.write(tmp_path, ENTRY)
    place = tmp_path / journal.PLACE
    (place / "20250101T000000Z-1.json").write_bytes(b"\xff\x00")
    (place / "20250102T000000Z-1.json").symlink_to("/etc/passwd")
    (place / "20250103T000000Z-1.json").mkdir()
    os.mkfifo(place / "20250104T000000Z-1.json")
    found = journal.read(tmp_path)
    assert found[-1] == ENTRY
    assert [type(entry) for entry in found[:-1]] == [journal.Unreadable] * 4


def test_of_many_documents_only_those_that_were_asked_for_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(journal.READ_MAX + 5):
        journal.write(tmp_path, begun(f"20260101T{number:06}Z-1"), durable=False)
    (tmp_path / journal.PLACE / "zzz.json").touch()
    parsed: list[str] = []
    parse = journal.parse

    def note(name: str, text: str) -> journal.Entry | journal.Unreadable:
        parsed.append(name)
        return parse(name, text)

    monkeypatch.setattr(journal, "parse", note)
    assert [entry.id for entry in journal.read(tmp_path, 1)] == parsed == ["20260101T000204Z-1"]
    assert len(journal.read(tmp_path)) == len(journal.read(tmp_path, 10**9)) == journal.READ_MAX
    assert journal.read(tmp_path, 0) == []


def test_a_large_document_is_not_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal.write(tmp_path, ENTRY)
    os.truncate(tmp_path / journal.PLACE / f"{ENTRY.id}.json", journal.SIZE_MAX + 1)
    monkeypatch.delattr(journal, "parse")
    assert journal.read(tmp_path) == [journal.Unreadable(ENTRY.id, "it is too large")]


def test_documents_of_a_time_to_come_displace_no_other(tmp_path: Path) -> None:
    logs = tmp_path / journal.LOGS
    logs.mkdir(parents=True)
    (logs / f"{ENTRY.id}.log").touch()
    journal.write(tmp_path, ENTRY)
    place = tmp_path / journal.PLACE
    for number in range(journal.READ_MAX):
        (place / f"99990101T{number:06}Z-1.json").touch()
    assert journal.read(tmp_path, 1) == [ENTRY]
    journal.trim(tmp_path)
    assert journal.read(tmp_path)[-1] == ENTRY
    assert len(files(tmp_path)) == journal.KEPT
    assert (logs / f"{ENTRY.id}.log").exists()


def test_where_no_journal_is_there_are_no_entries(tmp_path: Path) -> None:
    assert journal.read(tmp_path) == []


def test_the_last_hundred_are_kept(tmp_path: Path) -> None:
    for number in range(105):
        journal.write(tmp_path, begun(f"20260101T{number:06}Z-1"), durable=False)
    (tmp_path / journal.PLACE / HALF).write_text("{")
    journal.trim(tmp_path)
    assert files(tmp_path) == [f"20260101T{number:06}Z-1.json" for number in range(5, 105)]


@pytest.mark.parametrize(("documents", "gone"), [(99, 0), (100, 1), (101, 2)])
def test_logs_go_with_the_documents_of_their_time(tmp_path: Path, documents: int, gone: int) -> None:
    for number in range(documents):
        journal.write(tmp_path, begun(f"20260101T{number:06}Z-1"), durable=False)
    logs = tmp_path / journal.LOGS
    logs.mkdir(parents=True)
    names = ["20250101T000000Z-9.log", "20260101T000000Z-1.log", "20260101T000050Z-9.log", "old.log"]
    for name in names:
        (logs / name).touch()
    journal.trim(tmp_path)
    assert sorted(path.name for path in logs.iterdir()) == names[gone:]


@pytest.mark.parametrize("link", ["var/lib", "var/lib/apt-ostree", journal.PLACE, "var/log", journal.LOGS])
def test_nothing_is_read_or_removed_through_a_link(tmp_path: Path, link: str) -> None:
    top, host = tmp_path / "root", tmp_path / "host"
    top.mkdir()
    for number in range(102):
        journal.write(top, begun(f"20260101T{number:06}Z-1"), durable=False)
    (top / journal.LOGS).mkdir(parents=True)
    (top / journal.LOGS / "20250101T000000Z-1.log").touch()
    (top / journal.PLACE / HALF).touch()
    (top / journal.PLACE / ".ssh").mkdir()
    (top / link).rename(host)
    (top / link).symlink_to(host)
    before = sorted(host.rglob("*"))
    with pytest.raises(NotADirectoryError):
        journal.trim(top)
    assert sorted(host.rglob("*")) == before
    if "lib" in link:
        with pytest.raises(NotADirectoryError):
            journal.read(top)
        with pytest.raises(NotADirectoryError):
            journal.remove(top, "20260101T000000Z-1")
        assert isinstance(journal.read_one(top, "20260101T000000Z-1"), journal.Unreadable)
        assert sorted(host.rglob("*")) == before


def test_what_a_killed_writer_leaves_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal.write(tmp_path, ENTRY)

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        for name in ("rename", "unlink"):
            patch.setattr(os, name, killed)
        with pytest.raises(KeyboardInterrupt):
            journal.write(tmp_path, begun("20260203T000000Z-1"))
    assert len(files(tmp_path)) == 2
    journal.trim(tmp_path)
    assert files(tmp_path) == [f"{ENTRY.id}.json"]


def test_a_directory_in_the_place_of_a_document_stays(tmp_path: Path) -> None:
    for number in range(102):
        journal.write(tmp_path, begun(f"20260101T{number:06}Z-1"), durable=False)
    place = tmp_path / journal.PLACE / "20260101T000000Z-1.json"
    place.unlink()
    (place / "inner").mkdir(parents=True)
    journal.trim(tmp_path)
    journal.remove(tmp_path, "20260101T000000Z-1")
    assert (place / "inner").is_dir()
    assert len(files(tmp_path)) == 101


def test_what_is_not_the_journals_own_stays(tmp_path: Path) -> None:
    journal.write(tmp_path, ENTRY)
    place = tmp_path / journal.PLACE
    (place / ".ssh").mkdir()
    (place / ".bashrc").touch()
    journal.trim(tmp_path)
    assert {path.name for path in place.iterdir()} == {".ssh", ".bashrc", f"{ENTRY.id}.json"}


def test_nothing_is_written_before_the_first_phase(tmp_path: Path) -> None:
    writer = journal.Writer(tmp_path, begun(), Silent())
    writer.end(journal.FAILED, None, Change(), "no such package")
    assert not (tmp_path / journal.PLACE).exists()


def test_each_phase_is_on_disk_while_it_runs(tmp_path: Path) -> None:
    writer = journal.Writer(tmp_path, begun(), Silent())
    for names in (["resolve"], ["resolve", "commit"]):
        with writer.phase(names[-1]):
            (entry,) = journal.read(tmp_path)
            assert isinstance(entry, journal.Entry)
            assert (entry.state, [phase.name for phase in entry.phases]) == (journal.RUNNING, names)


def test_what_ends_well_and_changes_no_deployment_is_forgotten(tmp_path: Path) -> None:
    writer = journal.Writer(tmp_path, begun(), Silent())
    with writer.phase("prune"):
        pass
    writer.end(journal.DONE, None, Change())
    assert files(tmp_path) == []


def test_what_was_changed_and_how_it_ended_is_kept(tmp_path: Path) -> None:
    writer = journal.Writer(tmp_path, begun(), Silent())
    with writer.phase("deploy"):
        pass
    writer.end(journal.INTERRUPTED, "debian-b.0", Change((VIM,)), "interrupted")
    (entry,) = journal.read(tmp_path)
    assert isinstance(entry, journal.Entry)
    assert (entry.state, entry.old, entry.new) == (journal.INTERRUPTED, "debian-a.0", "debian-b.0")
    assert (entry.change, entry.error) == (Change((VIM,)), "interrupted")
    assert entry.ended is not None


def test_what_fails_without_a_change_is_kept(tmp_path: Path) -> None:
    writer = journal.Writer(tmp_path, begun(), Silent())
    with writer.phase("resolve"):
        pass
    writer.end(journal.FAILED, None, Change(), "no")
    assert files(tmp_path) == [f"{ENTRY.id}.json"]


def test_only_the_first_and_the_last_document_are_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut must not hide that something began; each sync would wait for the data of a whole layer."""
    synced: list[bool] = []
    monkeypatch.setattr(Tree, "write", lambda self, name, data, *, durable: synced.append(durable))
    writer = journal.Writer(tmp_path, begun(), Silent())
    for name in ("resolve", "script", "commit"):
        with writer.phase(name):
            pass
    writer.end(journal.DONE, "debian-b.0", Change())
    assert synced == [True, False, False, True]


def test_a_transaction_has_a_name_that_its_documents_are_known_by() -> None:
    assert journal.ID.fullmatch(journal.identify())
    assert journal.identify().endswith(f"-{os.getpid()}")


def test_a_failure_is_kept_without_its_passwords(tmp_path: Path) -> None:
    writer = journal.Writer(tmp_path, begun(), Silent())
    with writer.phase("download"):
        pass
    writer.end(journal.FAILED, None, Change(), "no answer of https://me:secret@example.org/debian")
    (entry,) = journal.read(tmp_path)
    assert isinstance(entry, journal.Entry)
    assert (entry.state, entry.error) == (journal.FAILED, "no answer of https://***@example.org/debian")


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    writer = journal.Writer(tmp_path, begun(), Silent(), silent=True)
    with writer.phase("resolve"):
        pass
    writer.end(journal.DONE, "debian-b.0", Change())
    assert not (tmp_path / journal.PLACE).exists()


def test_a_full_disk_is_a_warning_and_no_record_says_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warnings = Warnings()
    writer = journal.Writer(tmp_path, begun(), warnings)
    with writer.phase("resolve"):
        pass

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Tree, "write", full)
    with writer.phase("commit"):
        pass
    writer.end(journal.DONE, "debian-b.0", Change())
    assert warnings.said == [f"the journal in {tmp_path / journal.PLACE} cannot be written: No space left on device"]
    assert files(tmp_path) == []


def test_a_link_in_the_way_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "root/var").mkdir(parents=True)
    (tmp_path / "root/var/lib").symlink_to(elsewhere)
    with pytest.raises(NotADirectoryError):
        journal.write(tmp_path / "root", ENTRY)
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize(
    ("word", "kept"),
    [
        ("https://me:secret@example.org/x", "https://***@example.org/x"),
        ("a=http://token@proxy.example.org:3128/,b", "a=http://***@proxy.example.org:3128/,b"),
        ("https://example.org/@scope", "https://example.org/@scope"),
        ("me@example.org", "me@example.org"),
        ("vim", "vim"),
    ],
)
def test_a_command_line_is_kept_without_passwords(word: str, kept: str) -> None:
    assert redact(word) == kept


def test_the_person_behind_sudo_is_who_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_UID", "1234")
    assert caller.uid() == 1234
    monkeypatch.setenv("SUDO_UID", "root")
    assert caller.uid() == os.getuid()


@pytest.mark.parametrize("identifier", ["20260101T000000Z-2", "../../../x", "/etc/x"])
def test_a_document_under_another_name_than_its_own_is_not_believed(identifier: str) -> None:
    document = json.loads(journal.render(ENTRY))
    assert isinstance(journal.parse(ENTRY.id, json.dumps(document)), journal.Entry)
    found = journal.parse(ENTRY.id, json.dumps({**document, "id": identifier}))
    assert found == journal.Unreadable(ENTRY.id, "it is the record of another transaction")
