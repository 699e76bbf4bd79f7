"""One operation is one tree of processes, and ends as a whole, however it ends.

A process that starts others can ask each to die with it, but only once that runs: a kill -9 in between leaves it
behind, and bwrap's first process takes an ended launcher for leave to go on (measured: 60 times of 60). So the work is
done by the first process of a pid namespace: when that is gone, the kernel has killed all others in it before
(pid_namespaces(7)). Whoever started the command sees the process before it, which passes signals on and ends with it.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

from ..errors import Interrupted, ToolError
from . import mounts, proc, syscalls

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PASSED_ON = (*_ENDING, signal.SIGCONT)

_command: int | None = None
_worker: int | None = None
_waiting: socket.socket | None = None
"""The other side of it is the process that waits."""

_processes: int | None = None
"""The /proc that everybody sees, once another one may be mounted here."""


@contextmanager
def contained() -> Iterator[None]:
    """Run the block, and all that comes after it in this program, as the first process of a new pid namespace.

    The process that called this only waits for it from here on, and runs what has to be ``outside``. In the block INT,
    TERM and HUP end the children and raise Interrupted, once: clean-up cannot be broken by a second. /proc shows
    this namespace, in a mount namespace of its own. Enter it before any thread starts. Raises ToolError without
    CAP_SYS_ADMIN.
    """
    _enter_namespace()
    interrupted = False

    def interrupt(signum: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = True
        for number in _ENDING:
            signal.signal(number, signal.SIG_IGN)
        proc.end_children()
        raise Interrupted(signum)

    before = {number: signal.signal(number, interrupt) for number in _ENDING}
    try:
        yield
    finally:
        # Once interrupted, the process only ends: a second signal must not change how.
        if not interrupted:
            for number, handler in before.items():
                signal.signal(number, handler)


def _enter_namespace() -> None:
    global _command, _worker, _processes, _waiting
    own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        syscalls.unshare(syscalls.CLONE_NEWPID)
    except OSError as error:
        raise ToolError("cannot make a process namespace", error.strerror or "") from error
    _command = command()
    here, there = socket.socketpair()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (*_PASSED_ON, signal.SIGTSTP))
    worker = os.fork()
    if worker != 0:
        here.close()
        _start_children_in(own, worker)
        _wait_for(worker, there, before)
    there.close()
    os.close(own)
    syscalls.die_with_parent()
    # Dead before that was asked for, it has closed its end.
    gone = select.poll()
    gone.register(here, 0)
    if gone.poll(0):
        os._exit(128 + signal.SIGKILL)
    _waiting = here
    _worker = int(os.readlink("/proc/self"))
    _processes = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    mounts.enter_private_namespace()
    mounts.mount_proc()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_children_in(namespace: int, worker: int) -> None:
    """Let what this process starts be where it is itself, not where the worker is; without that, nothing begins."""
    try:
        syscalls.setns(namespace, syscalls.CLONE_NEWPID)
    except OSError as error:
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)
        raise ToolError("cannot return to this command's process namespace", error.strerror or "") from error


def _wait_for(worker: int, asked: socket.socket, mask: Collection[int]) -> NoReturn:
    """Pass signals on and run what is asked for until the worker has ended, and end as it did."""

    def pass_on(number: int, frame: FrameType | None) -> None:
        os.kill(worker, number)

    def pause(number: int, frame: FrameType | None) -> None:
        # The first process of a namespace hears nothing of a terminal's ^Z; from outside it can be stopped.
        os.kill(worker, signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGSTOP)

    for number in _PASSED_ON:
        signal.signal(number, pass_on)
    signal.signal(signal.SIGTSTP, pause)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    with asked.makefile("r") as questions, suppress(OSError):
        for line in questions:
            try:
                words, extra = json.loads(line)
                result = proc.run(words, env=extra, check=False)
                answer = [list(result.argv), result.returncode, result.stdout, result.stderr]
            except ToolError as error:
                answer = [error.brief, error.resolution]
            asked.sendall((json.dumps(answer) + "\n").encode())
    _, status = os.waitpid(worker, 0)
    code = os.waitstatus_to_exitcode(status)
    # What is in this process's buffers is the worker's to write.
    os._exit(code if code >= 0 else 128 - code)


def outside(*argv: str | os.PathLike[str], env: Mapping[str, str] | None = None) -> proc.Result:
    """As ``proc.run``, but not in the operation's own pid namespace: systemctl(1), which ostree-admin(1) calls on a
    booted system, refuses to talk to a manager whose process it cannot see. Raises proc.ChildError, ToolError."""
    if _waiting is None:
        return proc.run(argv, env=env)
    with _waiting.makefile("r") as answers:
        _waiting.sendall((json.dumps([[os.fspath(word) for word in argv], env and dict(env)]) + "\n").encode())
        answer = json.loads(answers.readline())
    if len(answer) == 2:
        raise ToolError(answer[0], resolution=answer[1])
    result = proc.Result(tuple(answer[0]), *answer[1:])
    if result.returncode != 0:
        raise proc.ChildError(result)
    return result


def command() -> int:
    """The number by which everybody else knows this command: of the process that was started, and waits."""
    return _command or os.getpid()


def worker() -> int:
    """The same for the process that works; os.getpid() returns its number in its own namespace."""
    return _worker or os.getpid()


def start_ticks(number: int) -> int | None:
    """The start of a process in clock ticks since the boot (proc_pid_stat(5), field 22); None if it is gone.

    ``number`` is the one that everybody knows. A process that waits to be reaped counts as gone, and so is by then
    everything that it was the first process of.
    """
    try:
        place = "/proc/" if _processes is None else ""
        descriptor = os.open(f"{place}{number}/stat", os.O_RDONLY | os.O_CLOEXEC, dir_fd=_processes)
    except OSError:
        return None
    with os.fdopen(descriptor, errors="replace") as file:
        # The second field is the name in parentheses, and may hold any character.
        fields = file.read().rpartition(")")[2].split()
    return int(fields[19]) if fields and fields[0] not in "ZX" else None
