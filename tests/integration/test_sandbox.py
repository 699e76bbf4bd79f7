"""What a maintainer script may do, row by row (docs/sandbox.md): fixtures/hostile tries everything in one install."""

from __future__ import annotations

import hashlib
import os
import pty
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from apt_ostree.errors import ToolError
from apt_ostree.host import proc
from apt_ostree.sandbox import bwrap
from apt_ostree.sandbox import limits as bounds
from tests.archive import FIXTURES, build_deb
from tests.integration.system import TIMEOUT, System, chosen_cli, environment, output, run_cli
from tests.integration.test_hostile import package

PLACE = "usr/share/hostile"

REFUSED = (
    "find-files-in-tmp", "read-the-environment-of-another-process",
    "write-a-file-of-the-host", "write-a-file-of-the-host-by-proc",
    "read-a-file-of-the-host", "read-a-file-of-the-host-by-proc",
    "leave-by-chroot", "leave-by-open-descriptors",
    "see-the-repository", "see-the-hosts-homes", "write-to-the-packages-directory", "change-a-package",
    "change-a-device-of-the-host", "change-a-device-by-its-descriptor", "make-a-file-in-dev", "make-a-device",
    "make-a-whiteout",
    "see-a-disk", "see-sys",
    "connect-to-the-host", "connect-to-a-socket-of-the-host", "connect-to-an-abstract-socket", "see-an-interface",
    "open-a-raw-socket", "open-a-packet-socket", "open-a-socket-to-the-hypervisor",
    "ask-for-a-protocol", "ask-for-a-type-of-socket", "ask-for-a-netlink-protocol", "ask-for-a-pair-of-sockets",
    "trace-a-process-of-the-host", "trace-the-first-process",
    "take-a-descriptor-of-the-first-process", "open-a-descriptor-of-the-first-process",
    "read-the-first-processs-memory", "write-the-first-processs-memory", "write-the-first-processs-memory-by-proc",
    "compare-descriptors-with-the-first-process",
    "kill-a-process-of-the-host", "see-processes-of-the-host",
    "open-the-terminal", "type-into-the-terminal",
    "mount-a-filesystem", "mount-again", "bind-a-directory", "unmount", "join-a-namespace",
    "make-a-user-namespace", "make-a-user-namespace-itself", "make-another-namespace",
    "grow-by-a-programs-capabilities",
    "load-a-module", "set-the-clock", "set-the-host-name", "set-a-sysctl", "open-sysrq",
    "read-kernel-memory", "read-the-kernels-addresses", "read-the-kernels-log",
    "read-what-is-roots-in-proc", "read-the-kernels-allocations", "see-the-machines-disks-and-devices-in-proc",
    "list-the-keys", "use-roots-keyring", "use-the-session-keyring",
    "load-bpf", "use-io-uring", "watch-the-machine",
    "use-up-inotify", "use-up-fanotify", "use-up-asynchronous-requests", "use-up-timers",
    "use-up-a-users-processes",
    "raise-a-limit", "become-the-last-to-go", "hurry",
)  # fmt: skip

ALLOWED = (
    "write-a-file-of-the-base", "write-a-file-of-its-own-package", "write-to-boot", "write-to-tmp", "change-an-owner",
    "use-sockets", "become-another-user", "leave-a-daemon",
)  # fmt: skip

SECRET = "ftp_proxy"
"""Proxies are the one thing that children see of the caller's environment."""


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of it."""

    system: System
    report: dict[str, str]
    victim: Path
    neighbour: subprocess.Popen[bytes]
    processes: str

    def text(self, name: str) -> str:
        return (self.system.deployment() / PLACE / name).read_text()


@pytest.fixture(scope="module")
def tried(template: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tried]:
    """One install, on a terminal, beside a file, a process and sockets of a host."""
    work = tmp_path_factory.mktemp("host")
    victim = work / "victim"
    victim.write_text("the host's own")
    system = template.clone(work / "sysroot")
    with ExitStack() as stack:
        stack.callback(system.remove)
        neighbour = stack.enter_context(subprocess.Popen(["sleep", "600"]))
        stack.callback(neighbour.kill)
        # The path of a socket has 107 bytes at most.
        short = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="apt-ostree-test-")))
        abstract = f"apt-ostree-test-{os.getpid()}"
        port = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        for name in (os.fspath(short / "socket"), f"\0{abstract}"):
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(name)
            listener.listen()
        source = work / "source"
        shutil.copytree(FIXTURES / "hostile", source)
        (source / "root" / PLACE / "facts").write_text(
            f"VICTIM={victim}\nHOST_PID={neighbour.pid}\nHOST_PORT={port.getsockname()[1]}\n"
            f"HOST_SOCKET={short}/socket\nHOST_ABSTRACT={abstract}\nHOST_SECRET=no-script\n"
        )
        deb = build_deb(source, work)
        controller, terminal = pty.openpty()
        stack.callback(os.close, controller)
        done = subprocess.run(
            ["setsid", "--ctty", "--wait", *chosen_cli(), "--sysroot", system.path, "install", "-v", deb],
            env=environment({SECRET: "http://me:no-script-knows@127.0.0.1:1/"}),
            stdin=terminal, capture_output=True, text=True, timeout=TIMEOUT, check=False,
        )  # fmt: skip
        os.close(terminal)
        assert done.returncode == 0, done.stdout + done.stderr
        processes = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
        lines = (system.deployment() / PLACE / "report").read_text().splitlines()
        yield Tried(system, dict(line.split() for line in lines), victim, neighbour, processes)


@pytest.mark.parametrize("attempt", REFUSED)
def test_refused(tried: Tried, attempt: str) -> None:
    assert tried.report[attempt] == "no"


@pytest.mark.parametrize("attempt", ALLOWED)
def test_allowed(tried: Tried, attempt: str) -> None:
    assert tried.report[attempt] == "yes"


def test_every_attempt_is_judged(tried: Tried) -> None:
    assert sorted(tried.report) == sorted((*REFUSED, *ALLOWED))


def test_the_hosts_file_process_and_devices_are_as_they_were(tried: Tried) -> None:
    assert tried.victim.read_text() == "the host's own"
    assert tried.neighbour.poll() is None


def test_the_shadow_file_is_the_trees(tried: Tried) -> None:
    assert tried.text("shadow").split()[0] != hashlib.sha256(Path("/etc/shadow").read_bytes()).hexdigest()


def test_only_the_trees_directories_are_at_the_top(tried: Tried) -> None:
    above = {"usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc", "var", "boot", "dev", "proc", "run", "tmp"}
    above |= {"sys", "sysroot", "ostree", "home", "root", "opt", "srv", "mnt", "media"}
    assert set(tried.text("top").split()) <= above


def test_the_environment_is_ours_and_dpkgs(tried: Tried) -> None:
    names = {line.partition("=")[0] for line in tried.text("environment").split("\0") if line}
    assert SECRET not in names
    assert {name for name in names if not name.startswith(("DPKG_", "DEBIAN_HAS"))} <= {
        *bwrap.ENVIRONMENT, "PWD", "OLDPWD", "SHLVL", "_",
    }  # fmt: skip


def test_no_descriptor_of_the_host_is_open(tried: Tried) -> None:
    # ls itself opens the directory that it lists.
    assert tried.text("descriptors").split() == ["0", "1", "2", "3"]


def test_the_capabilities_are_eight_and_cannot_grow(tried: Tried) -> None:
    status = dict(line.split(":\t") for line in tried.text("status").splitlines())
    # capabilities(7): CHOWN 0, DAC_OVERRIDE 1, FOWNER 3, FSETID 4, SETGID 6, SETUID 7, SYS_CHROOT 18, SETFCAP 31.
    eight = sum(1 << number for number in (0, 1, 3, 4, 6, 7, 18, 31))
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == eight
    # What a program of another user would get of them without being root.
    assert int(status["CapInh"], 16) & ~eight == int(status["CapAmb"], 16) & ~eight == 0
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


def test_files_cores_and_memory_are_limited(tried: Tried) -> None:
    adjustment, file_blocks, core_blocks = tried.text("limits").split()
    assert adjustment == "1000"
    assert int(file_blocks) == bounds.FILE_BYTES // 512
    assert core_blocks == "0"


def test_a_daemon_that_a_script_leaves_ends_with_its_dpkg(tried: Tried) -> None:
    assert "left-behind-by-hostile" not in tried.processes
    assert tried.system.processes() == []


def test_objects_and_the_other_deployments_are_as_they_were(tried: Tried) -> None:
    assert (tried.system.deployment(0) / "usr/lib/base-lib/lib.txt").read_text().endswith("changed\n")
    assert "changed" not in (tried.system.deployment(1) / "usr/lib/base-lib/lib.txt").read_text()
    assert (tried.system.deployment(0) / PLACE / "own").read_text() == "own\nchanged\n"
    tried.system.fsck()


def test_what_is_written_to_boot_and_tmp_reaches_neither_host_nor_commit(tried: Tried) -> None:
    assert not (tried.system.path / "boot/evil").exists()
    found = [line for line in tried.system.ls("/") if "evil" in line]
    assert found == []


# What ends a transaction.


@pytest.fixture(scope="module")
def machine(template: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One sysroot for all that follows: every install on it fails, and leaves it as it was."""
    system = template.clone(tmp_path_factory.mktemp("machine") / "sysroot")
    yield system
    system.remove()


def limited(more: str = "", **limits: float) -> list[str]:
    """The command under test with other limits than its own: as a module, whose constants can be changed."""
    text = ", ".join(f"{name}={value}" for name, value in limits.items())
    code = "from apt_ostree.host import cgroup\nfrom apt_ostree.sandbox import limits\n"
    code += f"limits.LIMITS = limits.Limits({text})\n{more}\n"
    return [sys.executable, "-c", f"{code}from apt_ostree.cli.main import main; raise SystemExit(main())"]


def test_a_daemon_that_keeps_dpkgs_output_open_holds_up_nothing(sysroot: System, tmp_path: Path) -> None:
    began = time.monotonic()
    sysroot.install(package(tmp_path, "keeper", {"postinst": "setsid sleep 1000 &"}))
    assert time.monotonic() - began < TIMEOUT
    assert sysroot.processes() == []


def test_removing_everything_fails_the_transaction_and_harms_nothing(machine: System, tmp_path: Path) -> None:
    with machine.unchanged():
        failure = machine.run(
            "install", package(tmp_path, "wipe", {"postinst": "rm -rf --no-preserve-root / || true"}), status=1
        ).failure
    assert failure.brief
    machine.fsck()
    assert (machine.deployment() / "usr/bin/dpkg").exists()


def test_a_fork_bomb_is_ended(machine: System, tmp_path: Path) -> None:
    bomb = package(tmp_path, "bomb", {"postinst": "f() { f | f & }\nf\nsleep 100"})
    with machine.unchanged():
        failure = run_cli("--sysroot", machine.path, "install", bomb, cli=limited(tasks=300), status=1).failure
    assert failure.brief == "the postinst script of bomb started more than 300 processes"
    assert "the whole log: " in failure.detail


def test_a_script_that_takes_all_memory_is_ended_and_named(machine: System, tmp_path: Path) -> None:
    """Where memory is counted; in the middle of a machine's own memory, the kernel's last resort would be met."""
    greedy = package(tmp_path, "greedy", {"postinst": "perl -e '$a .= q(x) x 1_000_000 for 1..1000' || true"})
    few = limited(memory_share=0, memory_least=200_000_000)
    with machine.unchanged():
        failure = run_cli("--sysroot", machine.path, "install", greedy, cli=few, status=1).failure
    assert failure.brief == "the postinst script of greedy used more than 200 MB of memory"


def test_processes_are_counted_without_a_control_group_too(machine: System, tmp_path: Path) -> None:
    crowd = package(tmp_path, "crowd", {"postinst": "for n in $(seq 100); do sleep 100 & done\nwait"})
    alone = limited("cgroup._hierarchy = lambda mounts, controller: None", tasks=60)
    with machine.unchanged():
        failure = run_cli("--sysroot", machine.path, "install", crowd, cli=alone, status=1).failure
    assert failure.brief == "the postinst script of crowd started more than 60 processes"


@pytest.mark.parametrize("script", ["preinst", "postinst"])
def test_a_script_that_hangs_is_ended_and_named(machine: System, tmp_path: Path, script: str) -> None:
    hang = package(tmp_path, "hang", {script: "echo working; trap '' TERM INT; sleep 1000"})
    with machine.unchanged():
        failure = run_cli("--sysroot", machine.path, "install", hang, cli=limited(seconds=1), status=1).failure
    assert failure.brief == f"the {script} script of hang took longer than 1 s"
    log = Path(failure.detail.rpartition("the whole log: ")[2])
    assert "working" in log.read_text()
    assert failure.resolution


def test_a_gigabyte_of_output_fills_neither_memory_nor_log(machine: System, tmp_path: Path) -> None:
    loud = package(
        tmp_path, "loud", {"postinst": "echo begun; head -c 1000000000 /dev/zero; echo; echo the last words; exit 7"}
    )
    command = ["prlimit", "--data=400000000", *chosen_cli()]
    with machine.unchanged():
        failure = run_cli("--sysroot", machine.path, "install", loud, cli=command, status=1).failure
    assert failure.brief == "the postinst script of loud failed (exit status 7)"
    assert "the last words" in failure.detail
    log = Path(failure.detail.rpartition("the whole log: ")[2])
    assert log.stat().st_size < 20_000_000
    assert "begun" in log.read_text()


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("cat /dev/zero >/var/lib/full || true", "filled the disk"),
        (
            "mkdir /var/lib/f; cd /var/lib/f; perl -e 'while (open(F, q(>), ++$i)) {}' || true",
            "filled the disk with files",
        ),
    ],
    ids=["bytes", "inodes"],
)
def test_a_script_that_fills_the_disk_is_named_and_nothing_is_lost(
    template: System, tmp_path: Path, script: str, told: str
) -> None:
    image, place = tmp_path / "disk.img", tmp_path / "disk"
    place.mkdir()
    source = template.clone(tmp_path / "sysroot")
    output(
        "mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-N", "30000", "-d", source.path, image, "400M"
    )
    source.remove()
    fill = package(tmp_path, "fill", {"postinst": script})
    commands = f"""
        set -eu
        mount -o loop {image} {place}
        before=$(ostree admin status --sysroot={place})
        status=0
        "$@" {fill} || status=$?
        [ "$before" = "$(ostree admin status --sysroot={place})" ]
        ostree fsck -q --repo={place}/ostree/repo >&2
        # The next command has the room that it needs.
        "$@" greeter >&2
        exit $status
    """
    result = run_cli(
        "--sysroot", place, "install",
        cli=["unshare", "-m", "sh", "-c", commands, "sh", *chosen_cli()],
        status=1,
    )  # fmt: skip
    assert f"error: the postinst script of fill {told}\n" in result.stderr


def test_a_file_of_holes_larger_than_the_disk_is_refused(machine: System, tmp_path: Path) -> None:
    # Each is within the limit of one file.
    holes = "cd /var/lib; seq 1000 | xargs truncate -s 9G"
    with machine.unchanged():
        failure = machine.run("install", package(tmp_path, "holes", {"postinst": holes}), status=1).failure
    assert failure.brief == "too little space for what the scripts wrote"


def test_no_file_can_be_larger_than_a_package_could_have(machine: System, tmp_path: Path) -> None:
    with machine.unchanged():
        failure = machine.run(
            "install", package(tmp_path, "hole", {"postinst": "truncate -s 11G /var/lib/hole"}), status=1
        ).failure
    assert failure.brief.startswith("the postinst script of hole failed")


def test_directories_too_deep_in_each_other_are_refused_and_removed(machine: System, tmp_path: Path) -> None:
    dig = "cd /var/lib; perl -e 'for (1..3000) { mkdir q(d); chdir q(d) or die }'"
    failure = machine.run("install", package(tmp_path, "deep", {"postinst": dig}), status=1).failure
    assert failure.brief == "a script made more than 128 directories in each other"
    # The next run sweeps them.
    machine.run("cleanup", "-b")
    assert list((machine.area / "tmp").iterdir()) == []


def test_a_link_in_the_place_of_etc_shows_no_directory_of_the_host(machine: System, tmp_path: Path) -> None:
    victim = tmp_path / "host"
    victim.mkdir()
    plant = f"mv /usr/etc /usr/etc.old; ln -s {victim} /usr/etc"
    evil = package(tmp_path, "evil-etc", {"preinst": plant, "postinst": "echo hacked >/etc/hacked"})
    with machine.unchanged():
        failure = machine.run("install", evil, status=1).failure
    assert list(victim.iterdir()) == []
    assert failure.brief == "a script removed or replaced /etc"
    assert failure.resolution


def test_a_link_in_the_place_of_a_stub_makes_no_file_of_the_host(machine: System, tmp_path: Path) -> None:
    # The stub's own name is busy, not the directory above. bwrap keeps the host's root at /oldroot for a while.
    victim = tmp_path / "victim"
    plant = (
        "mv /usr/sbin /usr/sbin.old; cp -a /usr/sbin.old /usr/sbin\n"
        f"rm /usr/sbin/policy-rc.d; ln -s /oldroot{victim} /usr/sbin/policy-rc.d"
    )
    evil = package(tmp_path, "evil-stub", {"preinst": plant, "postinst": "echo reached; exit 3"})
    failure = machine.run("install", evil, status=1).failure
    assert "reached" in failure.detail
    assert not os.path.lexists(victim)


@pytest.mark.parametrize("planted", ["apt-ostree", "apt-ostree/log"])
def test_a_log_is_written_through_no_link(tmp_path: Path, planted: str) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (tmp_path / planted).parent.mkdir(exist_ok=True)
    (tmp_path / planted).symlink_to(victim if planted == "apt-ostree" else victim / "file")
    with pytest.raises(ToolError, match="cannot write the log"):
        proc.logged(["echo", "x"], tmp_path / "apt-ostree/log")
    assert list(victim.iterdir()) == []


def test_a_log_is_roots_alone(tmp_path: Path) -> None:
    proc.logged(["echo", "x"], tmp_path / "log")
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "log").read_text() == "x\n"
