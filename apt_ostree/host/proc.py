"""Child processes: every one that apt-ostree starts goes through here.

What a child sees is the same at every call site: a minimal environment with LANG=C.UTF-8, /dev/null on
stdin, no terminal, and death together with its parent. A failed child is a ``ChildError``; the module of the
tool turns that into the domain's own error, so no CLI code ever meets it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from ..errors import ToolError, redact
from . import syscalls

_log = logging.getLogger(__name__)

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TAIL_LINES = 20
"""A child's last lines say why it failed; its first ones rarely do."""

KEPT_BYTES = 16 << 20
KEPT_LINES = 100_000
"""The part of a child's output that is handed over as lines; of what follows only the last lines are. A thousand
packages print a tenth of it: more is a mistake, or an attempt to fill disk or memory."""
LOG_BYTES = 4 * KEPT_BYTES  # in all: an operation may have a thousand children

_CUT = b"[output truncated; last lines follow]"

_LAST_LINES = TAIL_LINES * 5
"""Lines that a result holds: enough to find the first error of a tool that goes on after it."""

BLOCK = 1 << 16
"""Bytes; also the longest line that is handed over in one piece."""

_TRACED_CHARACTERS = 160
"""Characters of a word that the trace shows: the metadata of a commit are words of many kilobytes."""


@dataclass(frozen=True, slots=True)
class Result:
    """A finished child."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str


class ChildError(ToolError):
    """A child ended with a status that its caller did not allow."""

    def __init__(self, result: Result) -> None:
        tool = Path(result.argv[0]).name
        super().__init__(f"{tool} failed ({_how_it_ended(result.returncode)})", tail(result.stderr or result.stdout))
        self.result = result


def tail(text: str, lines: int = TAIL_LINES) -> str:
    """The last ``lines`` non-empty lines of ``text``."""
    return "\n".join([line for line in text.split("\n") if line.strip()][-lines:])


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a child: nothing of the caller's but proxies and ostree's debug switches."""
    keep = {k: v for k, v in os.environ.items() if k.lower().endswith("_proxy") or k == "OSTREE_SYSROOT_DEBUG"}
    return {"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", **keep, **(extra or {})}


def die_with(parent: int) -> None:
    """Run in the child before exec: a kill -9 of apt-ostree must leave no process behind (prctl(2))."""
    syscalls.die_with_parent()
    if os.getppid() != parent:
        # It was killed before it could be asked.
        os.kill(os.getpid(), signal.SIGKILL)


_children: set[int] = set()
_ended = False


def _may_start() -> None:
    """Once the operation was interrupted, its main thread cleans up, and no other thread starts anything."""
    if _ended and threading.current_thread() is not threading.main_thread():
        raise ToolError("the operation was interrupted")


@contextmanager
def _registered(pid: int) -> Iterator[None]:
    _children.add(pid)
    try:
        # The signal may have come between the look before and now.
        if _ended and threading.current_thread() is not threading.main_thread():
            os.kill(pid, signal.SIGKILL)
        yield
    finally:
        _children.discard(pid)


@contextmanager
def _traced(
    pid: int, argv: Sequence[str], env: Mapping[str, str] | None, status: Callable[[], int | None]
) -> Iterator[None]:
    """Log a child's words, the variables that it gets in addition, its ``status`` and its time. Never its input."""
    if not _log.isEnabledFor(logging.DEBUG):
        yield
        return
    words = [*(f"{name}={value}" for name, value in (env or {}).items()), *argv]
    _log.debug("child %d: %s", pid, " ".join(map(_for_trace, words)))
    begun = time.monotonic()
    try:
        yield
    finally:
        code = status()
        how = "killed" if code is None else _how_it_ended(code)
        _log.debug("child %d: %s after %.3f s", pid, how, time.monotonic() - begun)


def _for_trace(word: str) -> str:
    # First without credentials: a URI that is cut would show them.
    shown = redact(word).replace("\n", "\\n")
    if len(shown) > _TRACED_CHARACTERS:
        shown = f"{shown[:_TRACED_CHARACTERS]}[+{len(shown) - _TRACED_CHARACTERS}]"
    return shlex.quote(shown)


def _how_it_ended(status: int) -> str:
    return f"exit status {status}" if status >= 0 else f"signal {signal.Signals(-status).name}"


@contextmanager
def signals_held() -> Iterator[None]:
    """Let signals wait until the block is done: its children finish what an interruption would only delay.

    Blocking them is not enough: the kernel gives a signal to any thread that does not block it, and Python then
    runs the handler in this one. Call it in the main thread.
    """
    caught = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    held: list[int] = []
    handlers = {number: signal.signal(number, lambda number, frame: held.append(number)) for number in caught}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, caught)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for waiting in held[:1]:
            signal.raise_signal(waiting)


def end_children() -> None:
    """Kill every child that is running, whichever thread waits for it; only the main one starts others after that."""
    global _ended
    _ended = True
    for pid in list(_children):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


During = Callable[[int], AbstractContextManager[None]]


def unwatched(group: int) -> AbstractContextManager[None]:
    """What a child runs in that nobody watches."""
    return contextlib.nullcontext()


def run(
    argv: Sequence[str | os.PathLike[str]],
    *,
    check: bool = True,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    input: str | None = None,
    during: During = unwatched,
) -> Result:
    """Run a short child and return what it printed, decoded with surrogateescape.

    ``during`` makes, of its process group, a context that it runs in. Raises ChildError when ``check`` is set and the
    status is not 0, ToolError where the program is not installed.
    """
    stdin = subprocess.DEVNULL if input is None else subprocess.PIPE
    with spawn(argv, env=env, cwd=cwd, stdin=stdin) as child, during(child.pid):
        output, errors = child.communicate(None if input is None else input.encode(errors="surrogateescape"))
    words = tuple(os.fspath(word) for word in argv)
    result = Result(
        words, child.returncode, output.decode(errors="surrogateescape"), errors.decode(errors="surrogateescape")
    )
    if check and result.returncode != 0:
        raise ChildError(result)
    return result


def on_terminal(argv: Sequence[str | os.PathLike[str]]) -> int:
    """Let the user work with a program on the terminal, in the user's own environment; its exit status.

    Raises ToolError where the program is not installed.
    """
    # 80 ms to import.
    import sh

    words = [os.fspath(word) for word in argv]
    _log.debug("on the terminal: %s", " ".join(map(_for_trace, words)))
    try:
        sh.Command(words[0])(*words[1:], _fg=True)
    except sh.CommandNotFound:
        raise ToolError(f"cannot start {words[0]}", "there is no such program") from None
    except sh.ErrorReturnCode as error:
        return int(error.exit_code)
    return 0


@contextmanager
def spawn(
    argv: Sequence[str | os.PathLike[str]],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: int | IO[bytes] = subprocess.DEVNULL,
    stdout: int | IO[bytes] = subprocess.PIPE,
    stderr: int | IO[bytes] = subprocess.PIPE,
    pass_fds: Sequence[int] = (),
) -> Iterator[subprocess.Popen[bytes]]:
    """A child while it runs, or one end of a pipe. Leaving the block with an exception kills and reaps it."""
    _may_start()
    words = [os.fspath(word) for word in argv]
    # All others in a pid namespace end with its first process (pid_namespaces(7)). Where nothing has to run before
    # exec, a child begins by vfork(2), and no table of our memory is copied.
    first = os.getpid() == 1
    try:
        child = subprocess.Popen(
            words,
            env=environment(env),
            cwd=cwd,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            pass_fds=pass_fds,
            preexec_fn=None if first else partial(die_with, os.getpid()),
            # A terminal's ^C goes to the whole group; only the parent decides how an operation ends.
            process_group=0,
        )
    except FileNotFoundError as error:
        if cwd is not None and not cwd.is_dir():
            raise ToolError(f"{words[0]} cannot be started", f"the directory {cwd} does not exist") from error
        raise ToolError(
            f"{words[0]} is not installed", resolution=f"Install the package that ships {words[0]}."
        ) from None
    try:
        with _registered(child.pid), _traced(child.pid, words, env, lambda: child.returncode):
            yield child
            child.wait()
    except BaseException:
        child.kill()
        child.wait()
        raise
    finally:
        for stream in (child.stdin, child.stdout, child.stderr):
            if stream is not None:
                # What the child no longer read must not hide the error that ended it.
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


def logged(
    argv: Sequence[str | os.PathLike[str]],
    log: Path,
    on_line: Callable[[str], None] = lambda line: None,
    *,
    env: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
    during: During = unwatched,
) -> Result:
    """As ``stream``, each line also appended to the file ``log``, up to LOG_BYTES. It is root's alone: output may hold
    secrets. A link in the place of the log, or of its directory, is not followed: that is a ToolError.
    """
    only = os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        # Its directory by a descriptor: whoever may write beside it could exchange that between a look and this.
        directory = os.open(log.parent, os.O_RDONLY | os.O_DIRECTORY | only)
        try:
            descriptor = os.open(log.name, os.O_WRONLY | os.O_APPEND | os.O_CREAT | only, 0o600, dir_fd=directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise ToolError(f"cannot write the log {log}", error.strerror or "") from error
    with os.fdopen(descriptor, "ab") as file:
        room = LOG_BYTES - os.fstat(descriptor).st_size

        def keep(line: str) -> None:
            nonlocal room
            text = f"{line}\n".encode(errors="surrogateescape")
            file.write(text if (room := room - len(text)) >= 0 else b"")
            on_line(line)

        return stream(argv, keep, env=env, pass_fds=pass_fds, during=during)


def stream(
    argv: Sequence[str | os.PathLike[str]],
    on_line: Callable[[str], None],
    *,
    env: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
    during: During = unwatched,
) -> Result:
    """Run a long child, handing over each line of its merged output as it comes, up to KEPT_LINES or KEPT_BYTES.

    ``during`` is as ``run`` has it. Credentials in URIs are taken out. The result's ``stdout`` holds the last lines
    only; the status is not checked.
    """
    with spawn(argv, env=env, stderr=subprocess.STDOUT, pass_fds=pass_fds) as child, during(child.pid):
        assert child.stdout is not None
        last = _hand_over(child.stdout, on_line)
    return Result(tuple(os.fspath(word) for word in argv), child.returncode, "\n".join(last), "")


def _hand_over(output: IO[bytes], on_line: Callable[[str], None]) -> list[str]:
    """Read ``output`` to its end, handing over lines as ``stream`` says, and return the last ones."""
    last: deque[str] = deque(maxlen=_LAST_LINES)

    def hand_over(raw: bytes) -> None:
        line = redact(raw.decode(errors="surrogateescape").rstrip("\n"))
        on_line(line)
        last.append(line)

    lines = size = 0
    while size < KEPT_BYTES and lines < KEPT_LINES and (raw := output.readline(BLOCK)):
        hand_over(raw)
        lines, size = lines + 1, size + len(raw)
    end = last_block(output)
    if end:
        hand_over(_CUT)
    for raw in end.removesuffix(b"\n").split(b"\n")[-_LAST_LINES:] if end else ():
        hand_over(raw)
    return list(last)


def last_block(stream: IO[bytes]) -> bytes:
    """Read to the end, and return the whole lines of the last BLOCK bytes: the rest of a cut line could be that of
    a URI, which redact() would not recognise."""
    previous = end = b""
    while block := stream.read(BLOCK):
        previous, end = end, block
    last = previous + end
    return last if len(last) <= BLOCK else last[-BLOCK:].partition(b"\n")[2]
