"""Kernel arguments on real sysroots: what a boot loader would read, and that nothing else changes."""

from __future__ import annotations

import json
import os
import pty
import shlex
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest

from tests.integration.system import REPOSITORY, System, chosen_cli, environment, output

FIRST = "root=LABEL=root rw"


@pytest.fixture(scope="module")
def machine(template: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Two deployments whose arguments differ; changed by each test, which looks at what it changes alone."""
    system = template.clone(tmp_path_factory.mktemp("machine") / "sysroot")
    yield system
    system.remove()


def options(system: System, index: int = 0) -> str:
    """The options of a loader entry without ostree=, in boot order."""
    entries = {}
    for file in (system.path / "boot/loader/entries").glob("*.conf"):
        keys = dict(line.split(" ", 1) for line in file.read_text().splitlines() if " " in line)
        words = keys["options"].split(" ")
        entries[int(keys["version"])] = " ".join(word for word in words if not word.startswith("ostree="))
    return [entries[version] for version in sorted(entries, reverse=True)][index]


def test_alone_it_prints_what_the_loader_entry_says(machine: System) -> None:
    with machine.unchanged():
        assert machine.run("kargs").stdout == f"{options(machine)}\n"


def test_a_change_is_a_deployment_of_the_same_commit_with_the_same_origin(sysroot: System) -> None:
    sysroot.install("greeter")
    commit, origin = sysroot.commit(), sysroot.origin()
    commits = sorted(path.name for path in sysroot.repo.glob("objects/*/*.commit"))
    done = sysroot.run("kargs", "--append=quiet", "--append=console=tty0", "--append=console=ttyS0")
    assert options(sysroot) == f"{FIRST} quiet console=tty0 console=ttyS0"
    assert options(sysroot, 1) == FIRST
    assert [sysroot.commit(0), sysroot.commit(1)] == [commit, commit]
    assert sysroot.origin() == origin
    assert sorted(path.name for path in sysroot.repo.glob("objects/*/*.commit")) == commits
    assert "Laying" not in done.stderr
    assert done.stdout.splitlines()[1:] == ["  + quiet", "  + console=tty0", "  + console=ttyS0"]
    # The next operation builds on what boots next, its arguments as well.
    sysroot.install("rec-a")
    assert options(sysroot) == f"{FIRST} quiet console=tty0 console=ttyS0"
    sysroot.run("rollback")
    sysroot.run("kargs", "--delete=console=tty0", "--replace=quiet=1", status=2)
    sysroot.run("kargs", "--replace=console=tty0=tty1")
    assert options(sysroot) == f"{FIRST} quiet console=tty1 console=ttyS0"
    assert sysroot.requested() == ["greeter"]


MATRIX = [
    (["--append=a=1", "--append=a=2", "--append=flag", "--append=dup", "--append=dup"], "a=1 a=2 flag dup dup"),
    (["--append-if-missing=a=1", "--append-if-missing=a=3"], "a=1 a=2 flag dup dup a=3"),
    (["--delete=a=2"], "a=1 flag dup dup a=3"),
    (["--delete-if-present=a=9", "--delete-if-present=dup"], "a=1 flag dup a=3"),
    (["--replace=flag=on", "--replace=a=3=4"], "a=1 flag=on dup a=4"),
    (['--append=quoted="x y"', "--append=uuid=a=b"], 'a=1 flag=on dup a=4 quoted="x y" uuid=a=b'),
    (["--replace=dup=", '--delete=quoted="x y"'], None),
    (["--append=b", "--delete=a=1", "--append-if-missing=b"], 'flag=on dup a=4 quoted="x y" uuid=a=b b'),
    (["--deploy-index=1", "--append=older"], 'a=1 flag=on dup a=4 quoted="x y" uuid=a=b older'),
    (['--delete=quoted="x y"', "--delete=uuid", "--delete=older", "--delete=a=4"], "a=1 flag=on dup"),
]


def test_the_options_as_rpm_ostree_applies_them(machine: System) -> None:
    """One after the other: each line follows from the one before."""
    for words, expected in MATRIX:
        if expected is None:
            with machine.unchanged():
                machine.run("kargs", *words, status=2)
            continue
        machine.run("kargs", *words)
        assert options(machine) == f"{FIRST} {expected}", words
        assert machine.run("kargs").stdout == f"{FIRST} {expected}\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--delete=absent"], "No key 'absent' found"),
        (["--replace=absent=1"], "No key 'absent' found"),
        (["--append=x\nlinux /evil"], "'x\\nlinux /evil' is not a valid kernel argument"),
        (["--append=ostree=/ostree/boot.0/x"], "the kernel argument 'ostree' cannot be changed"),
        (["--append=a", "--editor"], "Cannot specify --editor with --replace, --delete, --append, "
         "--delete-if-present or --append-if-missing"),
        (["--delete=rw", "--replace=rw=1"], "Cannot specify both --delete and --replace"),
        (["--import-proc-cmdline", "--deploy-index=0"], "Cannot specify both --import-proc-cmdline and --deploy-index"),
        (["--import-proc-cmdline", "--stateroot=debian"], "Cannot specify both --stateroot and --import-proc-cmdline"),
        (["--editor"], "--editor needs a terminal"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(machine: System, words: list[str], message: str) -> None:
    with machine.unchanged():
        assert machine.run("kargs", *words, status=2).failure.brief == message


def test_an_index_that_does_not_exist(machine: System) -> None:
    assert machine.run("kargs", "--deploy-index=9", status=1).failure.brief == "there is no deployment 9"


def test_no_change_is_said_and_has_its_status(machine: System) -> None:
    with machine.unchanged():
        done = machine.run("kargs", "--append-if-missing=rw", "--unchanged-exit-77", status=77)
    assert done.stdout == "Nothing to do: the kernel arguments stay as they are.\n"


def test_a_dry_run_prints_the_difference(machine: System) -> None:
    with machine.unchanged():
        done = machine.run("kargs", "--append=new", "--delete=rw", "--dry-run")
    assert done.stdout == "Would change the kernel arguments:\n  - rw\n  + new\n"


def test_the_running_kernel_s_line_can_be_taken_over(machine: System) -> None:
    running = Path("/proc/cmdline").read_text().split()
    shown = machine.run("kargs", "--import-proc-cmdline").stdout.split()
    assert shown == [word for word in running if not word.startswith(("BOOT_IMAGE=", "initrd=", "ostree="))]


def test_a_wrapping_program_follows_the_phases(machine: System, tmp_path: Path) -> None:
    command = shlex.join([*chosen_cli(), "--sysroot", str(machine.path), "kargs", "--append=p", "--progress-fd", "3"])
    output("bash", "-c", f"{command} 3> {tmp_path}/events")
    lines = [json.loads(line) for line in (tmp_path / "events").read_text().splitlines()]
    for line in lines:
        jsonschema.validate(line, json.loads((REPOSITORY / "docs/schema/progress.json").read_text()))
    assert list(dict.fromkeys(line["phase"] for line in lines)) == [None, "deploy", "prune"]
    assert [line["message"] for line in lines if line["message"]] == ["Deploying"]
    # The journal knows the transaction by the same name.
    assert {line["transaction"] for line in lines} == {
        machine.run("history", "-n", "1", "--json").document["transactions"][0]["id"]
    }


def with_editor(system: System, script: str, *words: str) -> int:
    """Run ``kargs --editor`` on a terminal of its own; its exit status."""
    child, terminal = pty.fork()
    if child == 0:
        os.environ.clear()
        os.environ.update(environment({"EDITOR": f"sh -c '{script}' sh", "TERM": "dumb"}))
        command = [*chosen_cli(), "--sysroot", os.fspath(system.path), "kargs", "--editor", *words]
        os.execvp(command[0], command)
    try:
        while os.read(terminal, 4096):
            pass
    except OSError:
        # How Linux says that nobody holds the other end any more.
        pass
    finally:
        os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_an_editor_changes_the_line(machine: System) -> None:
    before = options(machine)
    assert with_editor(machine, "echo edited >> $1") == 0
    assert options(machine) == f"{before} edited"
    with machine.unchanged():
        assert with_editor(machine, "true $1", "--unchanged-exit-77") == 77
        assert with_editor(machine, "echo ostree=/x >> $1") == 2
        assert with_editor(machine, ": > $1") == 2
        assert with_editor(machine, "exit 3") == 1
