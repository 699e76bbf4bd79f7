"""The command line of the sandbox."""

from __future__ import annotations

from pathlib import Path

import pytest

from apt_ostree.errors import ScriptError
from apt_ostree.sandbox import bwrap


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tree with a few files."""
    root = tmp_path / "root"
    for name in ("usr/sbin/start-stop-daemon", "usr/bin/ischroot", "usr/etc/passwd"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


@pytest.mark.parametrize("link", ["/", "/etc", "lib"])
def test_a_link_in_the_place_of_etc_is_refused(root: Path, link: str) -> None:
    (root / "usr/lib").mkdir()
    (root / "usr/etc/passwd").unlink()
    (root / "usr/etc").rmdir()
    (root / "usr/etc").symlink_to(link)
    with pytest.raises(ScriptError, match="a script removed or replaced /etc"):
        bwrap.Sandbox(root).argv(["true"])


def words_of(argv: list[str], option: str, count: int) -> list[list[str]]:
    """The words after each occurrence of an option."""
    return [argv[place + 1 : place + 1 + count] for place, word in enumerate(argv) if word == option]


@pytest.mark.parametrize(
    "option",
    [
        "--unshare-pid",  # no process of the host is seen or killed
        "--unshare-net",  # no network, and no abstract socket of the host
        "--unshare-ipc",  # no shared memory of the host
        "--unshare-uts",  # no name of the machine
        "--unshare-cgroup-try",  # no hierarchy of control groups above its own
        "--die-with-parent",
        "--new-session",  # no input is put into the terminal (TIOCSTI), no signal comes from it
        "--clearenv",
    ],
)
def test_a_script_is_kept_apart_from_the_host(root: Path, option: str) -> None:
    argv = bwrap.Sandbox(root).argv(["true"])
    assert option in argv[: argv.index("--chdir")]


def test_a_script_has_the_capabilities_that_dpkg_needs_and_no_other(root: Path) -> None:
    argv = bwrap.Sandbox(root).argv(["true"])
    assert words_of(argv, "--cap-drop", 1) == [["ALL"]]
    assert argv.index("--cap-drop") < argv.index("--cap-add")
    assert {name for (name,) in words_of(argv, "--cap-add", 1)} == {
        "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_SETUID", "CAP_SETGID", "CAP_SETFCAP",
        "CAP_SYS_CHROOT",
    }  # fmt: skip


def test_a_script_sees_directories_of_the_tree_and_none_of_the_host(root: Path, tmp_path: Path) -> None:
    sandbox = bwrap.Sandbox(root, var=tmp_path / "var", boot=tmp_path / "boot", read_only={"/x": tmp_path / "x"})
    argv = sandbox.argv(["true"])
    assert words_of(argv, "--bind", 2) == [
        [str(root), "/"],
        [str(root / "usr/etc"), "/etc"],
        [str(tmp_path / "var"), "/var"],
        [str(tmp_path / "boot"), "/boot"],
    ]
    assert [str(tmp_path / "x"), "/x"] in words_of(argv, "--ro-bind", 2)
    assert {source for source, _ in words_of(argv, "--ro-bind", 2)} == {str(tmp_path / "x"), "/dev/null"}


def test_dev_and_proc_are_the_sandbox_s_own_and_read_only(root: Path) -> None:
    argv = bwrap.Sandbox(root).argv(["true"])
    for place in ("/dev", "/proc"):
        assert words_of(argv, f"--{place[1:]}", 1) == [[place]]
        made, closed = argv.index(f"--{place[1:]}"), [n for n, word in enumerate(argv) if word == "--remount-ro"]
        assert [argv[n + 1] for n in closed if n > made].count(place) == 1


def test_proc_s_files_about_the_whole_machine_are_masked(root: Path) -> None:
    masked = [place for source, place in words_of(bwrap.Sandbox(root).argv(["true"]), "--ro-bind", 2)]
    # Which of them there are is the kernel's configuration.
    expected = [f"/proc/{name}" for name in ("kallsyms", "kcore", "keys", "sysrq-trigger", "timer_list")]
    assert [place for place in expected if Path(place).exists()] == [place for place in expected if place in masked]


def test_what_only_root_may_read_in_proc_is_masked(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = tmp_path / "proc"
    for name, mode in {"slabinfo": 0o400, "version": 0o444, "kallsyms": 0o444, "of-another-kernel": 0o440}.items():
        (machine / name).parent.mkdir(exist_ok=True)
        (machine / name).touch()
        (machine / name).chmod(mode)
    (machine / "fs/ext4").mkdir(parents=True)
    (machine / "net").symlink_to("self/net")
    monkeypatch.setattr(bwrap, "_PROC", machine)
    argv = bwrap.Sandbox(root).argv(["true"])
    masked = {place for source, place in words_of(argv, "--ro-bind", 2) if source == "/dev/null"}
    assert masked == {"/proc/slabinfo", "/proc/kallsyms", "/proc/of-another-kernel"}
    assert [words for words in words_of(argv, "--tmpfs", 1) if words[0].startswith("/proc")] == [["/proc/fs"]]
    assert ["/proc/fs"] in words_of(argv, "--remount-ro", 1)


def test_memory_that_no_end_of_a_process_frees_is_bounded(root: Path) -> None:
    argv = bwrap.Sandbox(root).argv(["true"])
    places = [argv[n + 1] for n, word in enumerate(argv) if word == "--tmpfs"]
    masks = {f"/proc/{name}" for name in bwrap._EMPTY}
    assert [place for place in places if place not in masks] == ["/dev/shm", "/run", "/tmp"]
    assert len(words_of(argv, "--size", 1)) == 3
    assert words_of(argv, "--symlink", 2) == [["/usr/lib/os-release", "/run/ostree-booted"]]
    assert argv.index("--symlink") > argv.index("/run")
    assert {place for place in places if place in masks} <= {place for (place,) in words_of(argv, "--remount-ro", 1)}


def test_the_sandbox_starts_without_our_environment_and_with_limits(root: Path) -> None:
    argv = bwrap.Sandbox(root).argv(["true"])
    before = argv[: argv.index("bwrap")]
    assert before[:2] == ["env", "-i"]
    assert before[before.index("choom") :][:3] == ["choom", "-n", "1000"]
    assert {
        "--core=1",
        "--fsize=10000000000",
        "--sigpending=1024",
        "--msgqueue=0",
        "--nproc=512",
        "--rtprio=0",
        "--nice=0",
    } <= set(before)
    assert dict(words_of(argv, "--setenv", 2)) == bwrap.ENVIRONMENT
    assert bwrap.ENVIRONMENT["SYSTEMD_OFFLINE"] == "1"
    assert bwrap.ENVIRONMENT["SYSTEMD_IN_CHROOT"] == "1"


def test_scripts_have_fewer_descriptors_in_flight_than_a_service_of_the_host_may(root: Path) -> None:
    """The kernel compares a user's total with the sender's own limit, and adds up to 253 at once (unix(7))."""
    (limit,) = [word for word in bwrap.Sandbox(root).argv(["true"]) if word.startswith("--nofile=")]
    assert int(limit.removeprefix("--nofile=")) + 253 < 1024
