"""However a command ends, the machine is as it was, nothing of it goes on, and the next command works."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.system import SOON, TIMEOUT, System, wait_until


def sleeping(system: System) -> bool:
    """Whether the postinst of slow-postinst is at its sleep."""
    return any(words.split(" ", 1)[1].startswith("sleep 30") for words in system.processes())


@contextmanager
def slow_install(system: System, *words: str) -> Iterator[subprocess.Popen[str]]:
    """An install that is in the middle of a maintainer script."""
    with system.running("install", "slow-postinst", *words) as child:
        wait_until(lambda: sleeping(system) or child.poll() is not None, TIMEOUT, "slow-postinst runs")
        assert child.poll() is None, child.communicate()
        yield child


def finished(system: System) -> bool:
    return system.processes() == []


def test_after_a_kill_nothing_is_left_running_or_mounted(sysroot: System) -> None:
    with sysroot.unchanged(), slow_install(sysroot) as child:
        child.kill()
        wait_until(lambda: finished(sysroot), SOON, "no process has the sysroot open")
        assert sysroot.mounts() == []
        child.wait()
        # Who held the lock is only information, and it is gone with its holder.
        assert sysroot.run("status", "--json").document["transaction"] is None
        sysroot.note.write_text("")


def test_a_kill_while_a_sandbox_begins_leaves_nothing(sysroot: System) -> None:
    """bwrap asks to die with its parent only after it has started; until then that must not matter."""
    for _ in range(5):
        with sysroot.running("install", "slow-postinst") as child:
            wait_until(lambda: _begins(sysroot), TIMEOUT, "bwrap has a child", pause=0)
            child.kill()
            wait_until(lambda: finished(sysroot), SOON, "no process has the sysroot open")
    sysroot.install("greeter")


def _begins(system: System) -> bool:
    """Whether a bwrap that works on this sysroot has just made the first process of its sandbox."""
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            here = os.fsencode(system.path) in (place / "cmdline").read_bytes()
            if here and (place / "comm").read_text() == "bwrap\n" and _children(int(place.name)):
                return True
    return False


def _children(pid: int) -> list[int]:
    return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def test_a_kill_of_the_working_process_is_told_and_leaves_nothing(sysroot: System) -> None:
    """What the kernel does where memory runs out: it need not be the process that was started."""
    with sysroot.unchanged(), slow_install(sysroot) as child:
        (worker,) = _children(child.pid)
        os.kill(worker, signal.SIGKILL)
        child.wait(5)
        assert child.returncode == 128 + signal.SIGKILL
        # The first process of a namespace goes last.
        assert finished(sysroot)
        sysroot.note.write_text("")


def test_a_stopped_command_stops_whole_and_goes_on_whole(sysroot: System) -> None:
    """What a terminal does on ^Z, and a shell on fg."""
    with sysroot.unchanged(), slow_install(sysroot) as child:
        (worker,) = _children(child.pid)
        child.send_signal(signal.SIGTSTP)
        wait_until(lambda: {_state(child.pid), _state(worker)} == {"T"}, SOON, "both are stopped")
        child.send_signal(signal.SIGCONT)
        wait_until(lambda: "T" not in {_state(child.pid), _state(worker)}, SOON, "both go on")
        child.terminate()
        assert child.wait(SOON) == 128 + signal.SIGTERM


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_after_a_kill_the_next_command_sweeps_and_succeeds(sysroot: System) -> None:
    with slow_install(sysroot) as child:
        assert (sysroot.area / "tmp/layer").is_dir()
        child.kill()
        wait_until(lambda: finished(sysroot), SOON, "no process has the sysroot open")
    (sysroot.area / "tmp/planted").mkdir()
    sysroot.install("greeter")
    assert not list(sysroot.area.glob("tmp/layer*"))
    assert not (sysroot.area / "tmp/planted").exists()
    assert sysroot.requested() == ["greeter"]
    assert not (sysroot.repo / "refs/heads/apt-ostree/pending").exists()
    sysroot.fsck()


@pytest.mark.parametrize(
    ("number", "how"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM"), (signal.SIGHUP, "SIGHUP")]
)
def test_a_signal_ends_the_command_with_its_own_status_and_a_clean_sysroot(
    sysroot: System, number: signal.Signals, how: str
) -> None:
    with sysroot.unchanged(), slow_install(sysroot) as child:
        child.send_signal(number)
        _, stderr = child.communicate(timeout=SOON)
        assert child.returncode == 128 + number
        wait_until(lambda: finished(sysroot), SOON, "no process has the sysroot open")
    assert stderr.splitlines()[-2:] == [
        f"error: interrupted ({how})",
        "Nothing was changed; run it again.",
    ]
    sysroot.install("greeter")
    assert sysroot.requested() == ["greeter"]


def test_further_signals_do_not_break_the_clean_up(sysroot: System) -> None:
    with sysroot.unchanged(), slow_install(sysroot) as child:
        sent = (signal.SIGTERM, signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        for number in sent:
            child.send_signal(number)
            time.sleep(0.01)
        _, stderr = child.communicate(timeout=SOON)
        # On a busy machine several arrive before the first is looked at, and Python takes the lowest first.
        assert child.returncode in {128 + number for number in sent}
        assert "Traceback" not in stderr
        wait_until(lambda: finished(sysroot), SOON, "no process has the sysroot open")


def test_a_signal_to_the_whole_group_ends_it_the_same_way(sysroot: System) -> None:
    """What a terminal does on ^C."""
    with sysroot.unchanged(), slow_install(sysroot) as child:
        # They have the tests' own group: only they are meant.
        members = [int(line.split()[0]) for line in sysroot.processes()]
        same_group = [pid for pid in members if _group(pid) == _group(child.pid)]
        # The command, and the part of it that works; what that starts has groups of its own.
        assert len(same_group) == 2
        assert child.pid in same_group
        for pid in same_group:
            os.kill(pid, signal.SIGINT)
        child.communicate(timeout=SOON)
        assert child.returncode == 130


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0


@pytest.mark.parametrize("moment", [0.2, 0.4, 0.6, 0.9, 1.3])
def test_a_kill_at_any_moment_leaves_the_old_state_or_the_new(sysroot: System, moment: float) -> None:
    before = sysroot.deployments()
    with sysroot.running("install", "rec-b", "user-maker") as child:
        time.sleep(moment)
        child.kill()
        child.wait()
        wait_until(lambda: finished(sysroot), SOON, "no process has the sysroot open")
    after = sysroot.deployments()
    assert after == before or (after[1:] == before and sysroot.requested() == ["rec-b", "user-maker"])
    sysroot.install("greeter")
    assert "greeter" in sysroot.requested()
    sysroot.fsck()


# The lock.


def test_a_second_command_fails_at_once_and_names_the_holder(sysroot: System) -> None:
    with slow_install(sysroot) as child:
        began = time.monotonic()
        failure = sysroot.run("install", "greeter", status=1).failure
        assert time.monotonic() - began < SOON
        assert failure.brief == "another transaction is in progress"
        assert re.fullmatch(
            rf"process {child.pid}, since \d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00: .* install slow-postinst",
            failure.detail,
        )
        assert "--wait" in failure.resolution
        # Looking needs no lock.
        shown = sysroot.run("status")
        holder, phase = shown.stdout.splitlines()[-2:]
        assert holder.startswith(f"In progress: process {child.pid}, since ")
        told = sysroot.run("status", "--json").document["transaction"]
        assert (told["pid"], told["phase"]) == (child.pid, "script")
        assert phase == f"        Phase  script  (transaction {told['id']})"
        seen = sysroot.run_as_nobody("status", "--json").document["transaction"]
        assert (seen["pid"], seen["phase"]) == (child.pid, "script")


def test_a_command_told_to_wait_runs_when_the_lock_is_free(sysroot: System) -> None:
    with slow_install(sysroot) as holder, sysroot.running("install", "--wait", "greeter") as waiting:
        time.sleep(1)
        assert waiting.poll() is None
        holder.kill()
        _, stderr = waiting.communicate(timeout=TIMEOUT)
        assert waiting.returncode == 0, stderr
    assert sysroot.requested() == ["greeter"]


def test_waiting_ends_after_the_time_given(sysroot: System) -> None:
    with slow_install(sysroot):
        began = time.monotonic()
        result = sysroot.run("install", "--wait-timeout", "1", "greeter", status=1)
        assert 1 <= time.monotonic() - began < SOON
    assert result.stderr.startswith("Waiting for process ")
    failure = result.failure
    assert failure.brief == "another transaction is in progress"


def test_deployments_that_others_change_meanwhile_are_not_lost(sysroot: System) -> None:
    """ostree itself knows nothing of our lock."""
    with slow_install(sysroot, "greeter") as child:
        subprocess.run(
            ["ostree", "admin", "deploy", f"--sysroot={sysroot.path}", "--os=debian", sysroot.base.commit],
            env={**os.environ, "OSTREE_SYSROOT_DEBUG": "mutable-deployments"},
            check=True,
            capture_output=True,
        )
        changed = sysroot.deployments()
        # Ends the sleep, and with it the script.
        for line in sysroot.processes():
            if line.split(" ", 1)[1].startswith("sleep 30"):
                os.kill(int(line.split()[0]), signal.SIGKILL)
        child.communicate(timeout=SOON)
        assert child.returncode == 1
    assert sysroot.deployments() == changed
