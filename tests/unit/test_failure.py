"""Unexpected exceptions, and what a terminal is shown of what others wrote."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from apt_ostree.cli import documents, main, streams
from apt_ostree.system import journal

ID = "20260101T000000Z-1"


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> Any:
    def fail(**_: Any) -> None:
        raise KeyError("lost")

    monkeypatch.setattr(main, "only_named", lambda program, words: fail)
    with pytest.raises(SystemExit) as ended:
        main.main(list(words))
    return ended.value.code


def test_an_unexpected_exception_is_an_error_in_three_parts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "status", "--json") == 1
    told = capsys.readouterr()
    assert told.err.startswith(
        "error: a mistake in apt-ostree: KeyError: 'lost'\n  its traceback was not written down\n"
    )
    assert "Traceback" not in told.err
    assert json.loads(told.out)["error"]["id"] == "unexpected"


def test_debug_shows_its_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "status", "--debug") == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_the_umask_of_the_caller_is_of_no_account(monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.umask(0)
    try:
        run(monkeypatch, "status")
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)


def test_a_traceback_is_written_for_root_alone_and_through_no_link(tmp_path: Path) -> None:
    stateroot, area, elsewhere = (tmp_path / name for name in ("stateroot", "area", "elsewhere"))
    for place in (stateroot, area, elsewhere):
        place.mkdir()
    file = Path(journal.write_traceback(stateroot, area, ID, KeyError("https://me:secret@example.org")))
    assert file == stateroot / f"var/log/apt-ostree/{ID}.traceback"
    assert file.stat().st_mode & 0o777 == 0o600
    assert "KeyError" in file.read_text()
    assert "secret" not in file.read_text()
    file.unlink()
    file.parent.rmdir()
    file.parent.symlink_to(elsewhere)
    assert journal.write_traceback(stateroot, area, ID, KeyError()) == str(area / f"log/{ID}.traceback")
    assert not list(elsewhere.iterdir())


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[2Jb", "a\\x1b[2Jb"),
        ("a\rb\0\x7f", "a\\x0db\\x00\\x7f"),
        ("\x9b2J\x85", "\\x9b2J\\x85"),
        ("a\u202eb\u2066", "a\\u202eb\\u2066"),
        ("a\nb\tc", "a\\x0ab\tc"),
        ("\udcff", "\\xff"),
        ("é●…", "é●…"),
    ],
)
def test_nothing_that_is_printed_steers_the_terminal(text: str, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    streams.line(text)
    assert capsys.readouterr().out == shown + "\n"


def test_json_has_no_control_character_and_the_same_values(capsys: pytest.CaptureFixture[str]) -> None:
    values = {"a": "\x1b[2J \x7f\x9b\u202e\u2028\u061c \udcff é", "b": "x\ty\nz"}
    documents.write(values)
    out = capsys.readouterr().out
    assert not {mark for mark in out if mark != "\n" and not mark.isprintable()}
    assert json.loads(out) == {"schema": 1, **values}
