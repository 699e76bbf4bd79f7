"""Children: their environment, the lines they print, and the signals that wait for them."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import pytest

from apt_ostree.errors import ToolError
from apt_ostree.host import proc
from apt_ostree.host.proc import signals_held


@pytest.fixture
def caught() -> Iterator[list[int]]:
    """The signals that the handler in force was called for."""
    found: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: found.append(number))
    yield found
    signal.signal(signal.SIGTERM, before)


def test_a_signal_waits_for_the_end_of_the_block(caught: list[int]) -> None:
    with signals_held():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.05)
        assert caught == []
    assert caught == [signal.SIGTERM]


def test_a_thread_that_blocks_nothing_does_not_let_a_signal_through(caught: list[int]) -> None:
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    try:
        with signals_held():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.05)
            assert caught == []
        assert caught == [signal.SIGTERM]
    finally:
        over.set()
        thread.join()


def test_after_an_interruption_only_the_main_thread_starts_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """The main thread cleans up; a retry in another one would hold up the end."""
    monkeypatch.setattr(proc, "_ended", True)
    with ThreadPoolExecutor(1) as pool, pytest.raises(ToolError, match="interrupted"):
        pool.submit(proc.run, ["true"]).result()

    def spawn() -> None:
        with proc.spawn(["true"]):
            pass

    with ThreadPoolExecutor(1) as pool, pytest.raises(ToolError, match="interrupted"):
        pool.submit(spawn).result()


def test_a_line_that_is_cut_is_left_out_whole() -> None:
    """The rest of a URI shows its password to no pattern."""
    line = b"https://user:secret@example.org/" + b"y" * (proc.BLOCK - 30)
    assert proc.last_block(io.BytesIO(b"first\n" + line + b"\nlast\n")) == b"last\n"
    assert proc.last_block(io.BytesIO(b"first\nlast\n")) == b"first\nlast\n"


def handed_over(output: bytes) -> tuple[list[str], list[str]]:
    """The lines that a stream hands over, and those that its result holds."""
    lines: list[str] = []
    return lines, proc._hand_over(io.BytesIO(output), lines.append)


def test_no_line_of_a_stream_shows_credentials() -> None:
    lines, last = handed_over(b"Get: http://user:secret@example.org/x\nplain\n")
    assert lines == last == ["Get: http://***@example.org/x", "plain"]


def test_a_result_holds_the_last_lines_alone() -> None:
    printed = [f"line {number}" for number in range(proc._LAST_LINES + 1)]
    lines, last = handed_over("".join(f"{line}\n" for line in printed).encode())
    assert lines == printed
    assert last == printed[1:]


@pytest.mark.parametrize("limit", ["KEPT_LINES", "KEPT_BYTES"])
def test_of_too_much_output_the_middle_is_left_out(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setattr(proc, limit, 2 if limit == "KEPT_LINES" else len(b"1\n2\n"))
    rest = [f"http://user:secret@example.org/{number}" for number in range(proc._LAST_LINES + 1)]
    lines, _ = handed_over(b"1\n2\n" + "".join(f"{line}\n" for line in rest).encode())
    assert lines[:3] == ["1", "2", proc._CUT.decode()]
    assert lines[3:] == [line.replace("user:secret", "***") for line in rest[1:]]


def test_a_line_that_never_ends_is_handed_over_in_pieces() -> None:
    lines, _ = handed_over(b"x" * (proc.BLOCK + 1))
    assert [len(line) for line in lines] == [proc.BLOCK, 1]


def test_an_error_shows_the_last_lines_that_are_not_empty() -> None:
    result = proc.Result(("/usr/bin/tool",), 3, "", "".join(f"{number}\n\n" for number in range(proc.TAIL_LINES + 1)))
    error = proc.ChildError(result)
    assert error.brief == "tool failed (exit status 3)"
    assert error.detail.split("\n") == [str(number) for number in range(1, proc.TAIL_LINES + 1)]


def test_a_child_s_environment_has_nothing_of_the_caller_s_but_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_PRELOAD", "/tmp/x.so")
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    monkeypatch.setenv("https_proxy", "http://proxy.example.org")
    found = proc.environment({"APT_CONFIG": "/x"})
    assert found["LANG"] == "C.UTF-8"
    assert found["https_proxy"] == "http://proxy.example.org"
    assert found["APT_CONFIG"] == "/x"
    assert "LD_PRELOAD" not in found


@pytest.mark.parametrize("place", ["log", "directory"])
def test_a_log_is_written_through_no_link(tmp_path: Path, place: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/log").write_text("the host's")
    (tmp_path / "directory").mkdir()
    (tmp_path / "directory/log").symlink_to(tmp_path / "elsewhere/log")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    log = tmp_path / ("directory/log" if place == "log" else "link/log")
    with pytest.raises(ToolError, match="cannot write the log"):
        proc.logged(["true"], log)
    assert (tmp_path / "elsewhere/log").read_text() == "the host's"


def test_a_log_is_in_the_directory_that_was_no_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("elsewhere", "logs"):
        (tmp_path / name).mkdir()
    opened = os.open

    def exchange(path: str | Path, *rest: int, **more: int) -> int:
        if Path(path).name == "log":
            (tmp_path / "logs").rename(tmp_path / "away")
            (tmp_path / "logs").symlink_to("elsewhere")
        return opened(path, *rest, **more)

    monkeypatch.setattr(os, "open", exchange)
    monkeypatch.setattr(proc, "stream", lambda argv, on_line, **_: on_line("x"))
    proc.logged([], tmp_path / "logs/log")
    assert (os.listdir(tmp_path / "elsewhere"), (tmp_path / "away/log").read_text()) == ([], "x\n")


def test_a_log_gets_no_more_than_its_limit_of_all_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proc, "LOG_BYTES", 10)
    shown: list[str] = []

    def stream(argv: list[str], on_line: Callable[[str], None], **_: object) -> proc.Result:
        for word in argv:
            on_line(word)
        return proc.Result((), 0, "", "")

    monkeypatch.setattr(proc, "stream", stream)
    for words in (["a\udcff", "b"], ["cdefg", "h"]):
        proc.logged(words, tmp_path / "log", shown.append)
    assert (tmp_path / "log").read_bytes() == b"a\xff\nb\n"
    assert shown == ["a\udcff", "b", "cdefg", "h"]


@pytest.mark.parametrize("number", [1, 4711])
def test_a_child_has_a_group_of_its_own_and_asks_to_die_with_its_parent_only_where_no_namespace_ends_it(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    given: dict[str, object] = {}

    def popen(words: list[str], **options: object) -> NoReturn:
        given.update(options)
        raise FileNotFoundError

    monkeypatch.setattr(os, "getpid", lambda: number)
    monkeypatch.setattr(subprocess, "Popen", popen)
    with pytest.raises(ToolError):
        proc.run(["true"])
    assert given["process_group"] == 0
    assert (given["preexec_fn"] is None) == (number == 1)


def test_a_directory_that_is_gone_is_not_taken_for_a_program_that_is_not_installed(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="true cannot be started"):
        proc.run(["true"], cwd=tmp_path / "gone")
    with pytest.raises(ToolError, match="no-such-program is not installed"):
        proc.run(["no-such-program"], cwd=tmp_path)
