"""Standard streams that are closed, full or read by nobody: the command works, and says what is true."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from apt_ostree.cli import main, results, streams
from apt_ostree.errors import OutputError, ResolveError
from apt_ostree.model import Deployment
from apt_ostree.ops import deployments, query
from apt_ostree.ops.deployments import Done
from apt_ostree.ops.query import Status

DEPLOYMENT = Deployment(0, "debian", "a" * 64, 0, "", {})

DONE = Done(True, "Rolled back.", DEPLOYMENT)


def run(*words: str) -> Any:
    with pytest.raises(SystemExit) as ended:
        main.main(list(words))
    return ended.value.code


@contextmanager
def full(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A standard output that takes nothing."""
    with open("/dev/full", "w") as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        yield
        # What is left in it must not fail when the program ends.
        stream.flush()


@contextmanager
def nobody(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A standard output that nobody reads any longer."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        yield


def rolls_back(monkeypatch: pytest.MonkeyPatch, done: Done = DONE) -> None:
    monkeypatch.setattr(deployments, "rollback", lambda *_: done)


FULL = f"error: cannot write the output\n  {os.strerror(errno.ENOSPC)}\n"


def test_a_result_that_cannot_be_written_is_an_error_that_says_what_was_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rolls_back(monkeypatch)
    with full(monkeypatch):
        assert run("rollback") == 1
    truth = f"The operation itself is done: {DEPLOYMENT.id} is deployed. To see what it did: apt-ostree history\n"
    assert capsys.readouterr().err == FULL + truth


@pytest.mark.parametrize("done", [replace(DONE, dry_run=True), replace(DONE, changed=False)])
def test_it_says_so_where_nothing_was_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], done: Done
) -> None:
    rolls_back(monkeypatch, done)
    with full(monkeypatch):
        assert run("rollback") == 1
    assert capsys.readouterr().err == f"{FULL}The deployments were not changed.\n"


def test_a_question_whose_answer_cannot_be_written_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(query, "status", lambda *_, **__: Status(Path("/"), (), None))
    with full(monkeypatch):
        assert run("status") == 1
        assert capsys.readouterr().err == f"{FULL}Nothing was changed.\n"


def test_help_that_cannot_be_written_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with full(monkeypatch):
        assert run("--help") == 1
    assert os.strerror(errno.ENOSPC) in capsys.readouterr().err


def test_an_error_whose_document_cannot_be_written_keeps_its_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> Status:
        raise ResolveError("brief", "detail", "do this")

    monkeypatch.setattr(query, "status", fail)
    with full(monkeypatch):
        assert run("status", "--json") == 1
    assert capsys.readouterr().err == "error: brief\n  detail\ndo this\n"


def test_the_machine_reboots_into_what_was_deployed_though_nobody_could_be_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rebooted = []
    rolls_back(monkeypatch)
    monkeypatch.setattr("apt_ostree.ops.transaction.reboot", lambda: rebooted.append(True))
    with full(monkeypatch):
        assert run("rollback", "--reboot") == 1
    assert rebooted == [True]


def test_a_reader_of_a_list_may_go(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(query, "status", lambda *_, **__: Status(Path("/"), (), None))
    with nobody(monkeypatch):
        assert run("status") == 1
    assert capsys.readouterr().err == ""


def test_who_changed_a_system_is_told_where_nobody_reads_the_result(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rolls_back(monkeypatch)
    with nobody(monkeypatch):
        assert run("rollback") == 1
    assert f"{DEPLOYMENT.id} is deployed" in capsys.readouterr().err


def test_a_result_names_no_deployment_where_it_made_none() -> None:
    assert results.truth(replace(DONE, deployment=None)).startswith("The operation itself is done. ")


def test_a_descriptor_that_was_closed_is_opened_on_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = os.dup(0)
    try:
        os.close(0)
        for name in ("stdin", "stdout", "stderr"):
            # As Python has them where their descriptors were closed.
            monkeypatch.setattr(sys, name, None)
        streams.open_closed()
        assert os.readlink("/proc/self/fd/0") == os.devnull
        assert sys.stdin.read() == ""
        assert [stream.fileno() for stream in (sys.stdin, sys.stdout, sys.stderr)] == [0, 1, 2]
    finally:
        os.dup2(kept, 0)
        os.close(kept)


def test_streams_that_are_open_stay_as_they_are() -> None:
    before = sys.stdin, sys.stdout, sys.stderr
    streams.open_closed()
    assert (sys.stdin, sys.stdout, sys.stderr) == before


def test_the_cause_of_an_unwritten_output_is_kept() -> None:
    assert OutputError(OSError(errno.EIO, os.strerror(errno.EIO))).detail == os.strerror(errno.EIO)
