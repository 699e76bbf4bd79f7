"""What the journal, which everybody reads, keeps of a failure: that it happened, and nothing that was printed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from apt_ostree.errors import PackageError, ScriptError, ToolError, UnexpectedError
from apt_ostree.host import proc
from apt_ostree.layering import running
from apt_ostree.ops import transaction
from apt_ostree.system import journal
from apt_ostree.system.sysroot import Sysroot
from tests.unit.fake import Silent

SECRET = "hunter2"
ID = "20260101T000000Z-1"


def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fail: Callable[[], Any]) -> tuple[str, BaseException]:
    """What is written of a transaction in which ``fail`` is called, and what it ends with."""
    loaded: Any = SimpleNamespace(deployments=[], area=tmp_path)
    loaded.again = lambda: loaded
    monkeypatch.setattr(transaction, "_packages", lambda *_: [])
    entry = journal.Entry(ID, 1, 0, ("apt-ostree",), journal.now())
    writer = journal.Writer(tmp_path, entry, Silent())
    with pytest.raises(BaseException) as caught:  # noqa: SIM117
        with transaction._recorded(writer, cast(Sysroot, loaded), "debian"):
            with writer.phase("script"):
                pass
            fail()
    (found,) = journal.read(tmp_path)
    assert isinstance(found, journal.Entry)
    assert found.state == journal.FAILED
    return found.error, caught.value


def raising(error: BaseException) -> Callable[[], Any]:
    def fail() -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (running.script_error(None, proc.Result((), 1, f"password: {SECRET}\n", ""), Path("/log")), "dpkg failed"),
        (ScriptError("the postinst script of x failed", SECRET), "the postinst script of x failed"),
        (proc.ChildError(proc.Result(("/usr/bin/x",), 1, "", SECRET)), "x failed (exit status 1)"),
        (PackageError("x.deb is damaged", SECRET), "x.deb is damaged"),
        (ToolError("cannot read the target's package sources", f"line 1: '{SECRET}' is not a type of source"),
         "cannot read the target's package sources"),
        (ToolError("x failed", f"{SECRET}: No space left on device"), "no space left on the disk"),
        (ValueError(f"no number: '{SECRET}'"), "a mistake in apt-ostree: ValueError"),
        (SystemExit(SECRET), "SystemExit"),
    ],
)  # fmt: skip
def test_nothing_that_was_printed_or_read_is_in_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, expected: str
) -> None:
    told, raised = recorded(tmp_path, monkeypatch, raising(error))
    assert told == expected
    # The user is told all.
    assert SECRET in str(raised) or SECRET in getattr(raised, "detail", "")


def test_the_traceback_of_a_mistake_is_for_root_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, raised = recorded(tmp_path, monkeypatch, raising(ValueError(SECRET)))
    assert isinstance(raised, UnexpectedError)
    traceback = tmp_path / journal.LOGS / f"{ID}.traceback"
    assert SECRET in traceback.read_text()
    assert oct(traceback.stat().st_mode & 0o7777) == "0o600"


def test_an_error_of_the_system_is_in_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told, _ = recorded(tmp_path, monkeypatch, lambda: (tmp_path / "none").read_text())
    assert told == f"[Errno 2] No such file or directory: '{tmp_path}/none'"
