"""``--debug``: what children and decisions leave on standard error, and what never gets there."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from apt_ostree.cli import main as cli
from apt_ostree.cli import progress, trace
from apt_ostree.host import proc
from apt_ostree.ops import query
from apt_ostree.ops.query import Status

LOGGER = logging.getLogger("apt_ostree")


@pytest.fixture(autouse=True)
def untraced() -> Iterator[None]:
    """As a process starts, and as the tests after this one find it."""
    before = LOGGER.level, LOGGER.propagate, LOGGER.handlers
    yield
    LOGGER.level, LOGGER.propagate, LOGGER.handlers = before
    LOGGER.setLevel(before[0])


def test_a_child_is_traced_with_its_additional_environment_its_status_and_its_time(
    capsys: pytest.CaptureFixture[str],
) -> None:
    trace.begin()
    result = proc.run(["sh", "-c", "exit 3", "two words"], check=False, env={"APT_CONFIG": "/a b"})
    first, last = capsys.readouterr().err.splitlines()
    assert result.returncode == 3
    assert first.startswith("debug: ")
    assert first.endswith(": 'APT_CONFIG=/a b' sh -c 'exit 3' 'two words'")
    assert " host.proc: child " in first
    assert ": exit status 3 after 0." in last


def test_a_long_child_is_traced_too(capsys: pytest.CaptureFixture[str]) -> None:
    trace.begin()
    proc.stream(["sh", "-c", "echo printed; exit 4"], lambda line: None)
    first, last = capsys.readouterr().err.splitlines()
    assert first.endswith(": sh -c 'echo printed; exit 4'")
    assert ": exit status 4 after " in last


def test_a_child_that_is_given_up_is_traced_as_killed(capsys: pytest.CaptureFixture[str]) -> None:
    trace.begin()
    with pytest.raises(KeyError), proc.spawn(["sleep", "60"]):
        raise KeyError
    assert ": killed after " in capsys.readouterr().err.splitlines()[-1]


def test_no_secret_of_a_child_is_traced(capsys: pytest.CaptureFixture[str]) -> None:
    trace.begin()
    # Cut right before its @, the URI would show all of it.
    long = "x" * (proc._TRACED_CHARACTERS - 19) + "https://user:secret@example.org/"
    words = ["sh", "-c", "cat >/dev/null", "https://user:secret@example.org/debian", long]
    proc.run(words, env={"http_proxy": "http://user:secret@proxy:3128"}, input="an answer for debconf\n")
    _, err = capsys.readouterr()
    assert "https://***@example.org/debian" in err
    assert "http_proxy=http://***@proxy:3128" in err
    assert "secret" not in err
    assert "answer" not in err


def test_no_secret_of_a_decision_is_traced(capsys: pytest.CaptureFixture[str]) -> None:
    trace.begin()
    logging.getLogger("apt_ostree.tools.apt").debug("from %s", "https://user:secret@example.org/debian")
    assert capsys.readouterr().err.endswith(" tools.apt: from https://***@example.org/debian\n")


def test_a_long_word_is_cut_and_stays_on_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    trace.begin()
    proc.run(["true", "a\nb" + "x" * 1000])
    first, _ = capsys.readouterr().err.splitlines()
    assert first.endswith(r" true 'a\nb" + "x" * (proc._TRACED_CHARACTERS - 4) + "[+844]'")


def test_without_the_switch_nothing_is_traced(capsys: pytest.CaptureFixture[str]) -> None:
    assert not LOGGER.isEnabledFor(logging.DEBUG)
    proc.run(["true"])
    logging.getLogger("apt_ostree.tools.apt").debug("the lists are fresh")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("words", "value", "traced"),
    [
        (["status"], None, False),
        (["status"], "", False),
        (["status"], "0", False),
        (["status"], "1", True),
        (["--debug", "status"], None, True),
        (["status", "--debug"], None, True),
        (["status", "--debug"], "0", True),
    ],
)
def test_the_switch_stands_before_or_after_the_command_or_in_the_environment(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    value: str | None,
    traced: bool,
) -> None:
    def status(*_: object, **__: object) -> Status:
        logging.getLogger("apt_ostree.ops.query").debug("looked")
        return Status(Path("/"), (), None)

    monkeypatch.setattr(query, "status", status)
    monkeypatch.delenv("APT_OSTREE_DEBUG", raising=False)
    if value is not None:
        monkeypatch.setenv("APT_OSTREE_DEBUG", value)
    with pytest.raises(SystemExit) as caught:
        cli.main(words)
    out, err = capsys.readouterr()
    assert (caught.value.code, out) == (0, "No deployments.\n")
    assert err.endswith(" ops.query: looked\n") is traced
    assert (err == "") is not traced


def test_a_process_that_is_forked_traces_too(capfd: pytest.CaptureFixture[str]) -> None:
    trace.begin()
    child = os.fork()
    if child == 0:
        logging.getLogger("apt_ostree.ops.layer").debug("at work")
        os._exit(0)
    os.waitpid(child, 0)
    assert capfd.readouterr().err.endswith(" ops.layer: at work\n")


def test_a_trace_and_a_bar_do_not_share_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_shown", lambda **_: pytest.fail("a terminal's reporter was asked for"))
    assert isinstance(progress.reporter(quiet=False, verbose=False, debug=True), progress.Plain)
