"""The administrator's configuration: each key does what docs/configuration.md says."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tests.integration.system import System, configure


def test_a_configuration_with_an_unknown_key_stops_everything_before_it_begins(sysroot: System) -> None:
    configure(sysroot, "# ours\ndeployment = 3\n")
    with sysroot.unchanged():
        failure = sysroot.run("kargs", "--append=a", status=2).failure
    assert failure.detail == "line 2: unknown key 'deployment'; did you mean 'deployments'?"


def test_recommends_stands_where_nothing_else_was_said(sysroot: System) -> None:
    configure(sysroot, "recommends = false\n")
    sysroot.install("greeter")
    assert sysroot.origin()["packages"]["recommends"] == "false"
    # What was chosen stays, and a changed setting lays nothing anew by itself.
    configure(sysroot, "recommends = true\n")
    with sysroot.unchanged():
        sysroot.run("install", "greeter", "--unchanged-exit-77", status=77)
    sysroot.install("rec-a", "--recommends")
    assert sysroot.origin()["packages"]["recommends"] == "true"


def test_layering_is_locked_where_the_configuration_says_so(sysroot: System) -> None:
    sysroot.install("greeter=1.0")
    configure(sysroot, "lock-layering = true\n")
    with sysroot.unchanged():
        for words in (["install", "rec-a"], ["override", "remove", "base-lib"], ["initramfs", "--enable"]):
            assert sysroot.run(*words, status=1).failure.brief == "layering is locked on this system"
    sysroot.run("uninstall", "greeter")


@contextmanager
def held(sysroot: System) -> Iterator[None]:
    """Another command has the lock during the block."""
    holder = ["flock", str(sysroot.lock), "sh", "-c", "echo held; read end"]
    with subprocess.Popen(holder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin is not None and other.stdout is not None
        assert other.stdout.readline() == "held\n"
        yield
        other.stdin.close()


def test_a_command_waits_for_another_as_long_as_the_configuration_says(sysroot: System) -> None:
    with held(sysroot):
        sysroot.run("kargs", "--append=waited", status=1)
    configure(sysroot, "wait = 600\n")
    with ExitStack() as ended:
        with held(sysroot):
            child = ended.enter_context(sysroot.running("kargs", "--append=waited"))
            time.sleep(1)
            assert child.poll() is None
        output, errors = child.communicate(timeout=500)
        assert child.returncode == 0, output + errors
    assert sysroot.run("kargs").stdout.endswith(" waited\n")


def test_a_script_may_take_as_long_as_the_configuration_says(sysroot: System) -> None:
    configure(sysroot, "script-time = 1\n")
    failure = sysroot.run("install", "slow-postinst", status=1).failure
    assert failure.brief == "the postinst script of slow-postinst took longer than 1 s"
    assert "script-time" in failure.resolution
