"""Several at once: ten of our commands, ostree's own tools, and terminals that go away."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time

import pytest

from tests.faults.trial import clean, whole
from tests.integration.system import SOON, TIMEOUT, System, chosen_cli, environment, output, wait_until
from tests.integration.test_kill import finished, slow_install

TEN = (
    *(("install", name) for name in ("greeter", "rec-a", "rec-b", "user-maker")),
    ("rollback",),
    ("cleanup", "-b"),
    ("cleanup", "-m"),
    ("status",),
    ("history",),
    ("install", "-n", "greeter"),
)


def start(system: System, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*chosen_cli(), words[0], "--sysroot", str(system.path), *words[1:]],
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_ten_commands_at_once_are_done_one_after_another_or_name_the_holder(sysroot: System) -> None:
    children = [start(sysroot, *words) for words in TEN]
    refused = 0
    for words, child in zip(TEN, children, strict=True):
        _, stderr = child.communicate(timeout=TIMEOUT)
        assert "Traceback" not in stderr
        if child.returncode:
            if "another transaction is in progress" in stderr:
                refused += 1
            else:
                # Only one deployment may be there by then.
                assert words == ("rollback",), (words, stderr)
        if words[0] in ("status", "history"):
            assert child.returncode == 0, stderr
    assert refused > 0
    whole(sysroot)
    clean(sysroot)


def test_ten_commands_that_wait_are_all_done(sysroot: System) -> None:
    names = ("greeter", "rec-a", "user-maker")
    children = [start(sysroot, "install", "--wait", name) for name in names]
    children += [start(sysroot, "cleanup", "-b", "--wait") for _ in range(7)]
    for child in children:
        _, stderr = child.communicate(timeout=TIMEOUT)
        assert child.returncode == 0, stderr
    assert sorted(sysroot.requested()) == sorted(names)
    whole(sysroot)
    clean(sysroot)


def test_ostree_admin_meanwhile_loses_nothing(sysroot: System) -> None:
    """undeploy, pin and status of ostree's own, while a script of ours runs."""
    sysroot.install("greeter")
    layer, base = sysroot.deployments()
    admin = ["ostree", "admin", f"--sysroot={sysroot.path}"]
    with slow_install(sysroot) as child:
        output(*admin, "status")
        output(*admin, "pin", "1")
        output(*admin, "undeploy", "0")
        for line in sysroot.processes():
            if line.split(" ", 1)[1].startswith("sleep 30"):
                os.kill(int(line.split()[0]), signal.SIGKILL)
        _, stderr = child.communicate(timeout=TIMEOUT)
    assert child.returncode == 1, stderr
    assert sysroot.deployments() == [base]
    assert layer != base
    sysroot.install("rec-a")
    assert sysroot.deployments()[1:] == [base]
    whole(sysroot)
    clean(sysroot)


@pytest.mark.parametrize(
    "words",
    [("kargs", "--append=x"), ("rollback",), ("cleanup", "-r"), ("install", "rec-b")],
    ids=lambda words: words[0],
)
def test_ostree_admin_at_the_very_moment_loses_nothing(sysroot: System, words: tuple[str, ...]) -> None:
    """ostree's own commands one after another, while we deploy, reorder and prune: each takes ostree's lock."""
    sysroot.install("greeter")
    before = sysroot.deployments()
    child = start(sysroot, *words)
    while child.poll() is None:
        output("ostree", "admin", f"--sysroot={sysroot.path}", "cleanup")
        output("ostree", "admin", f"--sysroot={sysroot.path}", "status")
    _, stderr = child.communicate()
    if child.returncode:
        assert "error: ostree is changing the deployments\n" in stderr, stderr
        assert sysroot.deployments() == before
    else:
        assert sysroot.deployments() != before
    whole(sysroot)
    sysroot.run("cleanup", "-b")
    clean(sysroot)


def test_a_terminal_that_is_closed_ends_the_command(sysroot: System) -> None:
    """As where an SSH connection drops: the kernel sends HUP, and nothing can be written any more."""
    with sysroot.unchanged():
        pid, terminal = pty.fork()
        if pid == 0:
            argv = [*chosen_cli(), "install", "--sysroot", str(sysroot.path), "slow-postinst"]
            os.execve(argv[0] if "/" in argv[0] else sys.executable, argv, environment({"TERM": "xterm"}))
        try:
            wait_until(lambda: any("sleep 30" in line for line in sysroot.processes()), TIMEOUT, "the script runs")
            os.close(terminal)
            began = time.monotonic()
            _, status = os.waitpid(pid, 0)
            assert time.monotonic() - began < SOON
        except BaseException:
            os.kill(pid, signal.SIGKILL)
            raise
        assert os.waitstatus_to_exitcode(status) == 128 + signal.SIGHUP
        wait_until(lambda: finished(sysroot), SOON, "nothing of it runs")
    sysroot.install("greeter")
    whole(sysroot)
    clean(sysroot)


def test_a_reader_that_is_gone_does_not_stop_a_command(sysroot: System) -> None:
    """``apt-ostree install x 2>&1 | head -1``: it is done, and only what it had to say is lost."""
    reading, writing = os.pipe()
    child = subprocess.Popen(
        [*chosen_cli(), "install", "--sysroot", str(sysroot.path), "greeter"],
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=writing,
        stderr=writing,
    )
    os.close(writing)
    os.close(reading)
    assert child.wait(TIMEOUT) == 1
    assert sysroot.requested() == ["greeter"]
    whole(sysroot)
    clean(sysroot)


def test_closed_and_full_streams_stop_no_command(sysroot: System) -> None:
    def run(words: str) -> int:
        line = f'{" ".join(chosen_cli())} --sysroot "$0" {words}'
        return subprocess.run(["sh", "-c", line, sysroot.path], env=environment(), check=False).returncode

    assert run("install greeter <&- >&- 2>&-") == 0
    assert sysroot.requested() == ["greeter"]
    assert run("kargs --append=quiet >/dev/full 2>&-") == 1
    assert "quiet" in sysroot.entry()["options"][0].split()
    assert run("rollback 2>/dev/full") == 0
    assert "quiet" not in sysroot.entry()["options"][0].split()
    whole(sysroot)
    clean(sysroot)
