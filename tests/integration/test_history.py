"""The journal of transactions, and stopping one from another shell."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.integration.system import REPOSITORY, SOON, TIMEOUT, System, chosen_cli, environment, output, wait_until
from tests.integration.test_kill import finished, slow_install

SCHEMAS = REPOSITORY / "docs/schema"
PLACE = "lib/apt-ostree/transactions"


def transactions(system: System, *words: str) -> list[dict[str, Any]]:
    document = system.run("history", "--json", *words).document
    jsonschema.validate(document, json.loads((SCHEMAS / "history.json").read_text()))
    return list(document["transactions"])


def stopped(system: System, *words: str) -> str:
    """What cancel says; it ends with 0."""
    document = system.run("cancel", "--json", *words).document
    jsonschema.validate(document, json.loads((SCHEMAS / "deployments.json").read_text()))
    return str(document["message"])


def test_history_says_who_did_what_when_and_what_came_of_it(sysroot: System) -> None:
    (base,) = sysroot.deployments()
    sysroot.run("install", "greeter", env={"SUDO_UID": "1234"})
    sysroot.run("install", "no-such-package", status=1)
    layer, _ = sysroot.deployments()
    sysroot.run("rollback")
    rolled, failed, installed = transactions(sysroot)
    assert installed["command"][1:] == ["--sysroot", str(sysroot.path), "install", "greeter"]
    assert (installed["state"], installed["uid"]) == ("done", 1234)
    assert [p["name"] for p in installed["phases"]] == [
        "lock", "resolve", "download", "import", "script", "commit", "deploy", "prune",
    ]  # fmt: skip
    assert all(p["seconds"] >= 0 for p in installed["phases"])
    assert (installed["old-deployment"], installed["new-deployment"]) == (f"debian-{base}", f"debian-{layer}")
    assert [p["name"] for p in installed["difference"]["added"]] == ["greeter"]
    assert (failed["state"], failed["new-deployment"], failed["phases"][-1]["name"]) == ("failed", None, "resolve")
    assert "no-such-package" in failed["error"]
    assert (rolled["state"], rolled["new-deployment"]) == ("done", f"debian-{base}")
    assert [p["name"] for p in rolled["difference"]["removed"]] == ["greeter"]
    assert transactions(sysroot, "-n", "1") == [rolled]
    shown = sysroot.run("history", "-n", "2").stdout
    assert "Result  failed in phase resolve: " in shown
    assert "Removed:" in shown


def test_what_changes_nothing_is_not_recorded(sysroot: System) -> None:
    sysroot.run("install", "-n", "greeter")
    sysroot.run("uninstall", "--all")
    sysroot.run("install", "-D", "greeter")
    sysroot.run("cleanup", "-b")
    assert transactions(sysroot) == []
    assert sysroot.run("history").stdout == "No transactions of debian are recorded.\n"


def test_a_password_on_the_command_line_is_not_recorded(sysroot: System) -> None:
    sysroot.run("install", "http://me:secret@example.org/x", status=None)
    sysroot.install("greeter")
    sysroot.run("install", "--debconf", "http://me:secret@example.org/x", "greeter", status=None)
    for path in (sysroot.var / PLACE).iterdir():
        assert "secret" not in path.read_text()


def test_a_killed_transaction_is_marked_by_the_next(sysroot: System) -> None:
    with slow_install(sysroot) as child:
        (running,) = transactions(sysroot)
        assert (running["state"], running["pid"]) == ("running", child.pid)
        child.kill()
        child.wait()
    # Nobody has written so yet, but nobody holds the lock.
    (seen,) = transactions(sysroot)
    assert seen["state"] == "interrupted"
    (sysroot.var / PLACE / f".apt-ostree-{'0a' * 8}").write_text("{")
    sysroot.install("greeter")
    done, killed = transactions(sysroot)
    assert (done["state"], killed["state"], killed["new-deployment"]) == ("done", "interrupted", None)
    assert killed["id"] == running["id"]
    assert sorted(path.name for path in (sysroot.var / PLACE).iterdir()) == [
        f"{killed['id']}.json",
        f"{done['id']}.json",
    ]


def test_an_interrupted_transaction_says_so(sysroot: System) -> None:
    with slow_install(sysroot) as child:
        child.terminate()
        child.wait()
    (entry,) = transactions(sysroot)
    assert (entry["state"], entry["error"]) == ("interrupted", "interrupted (SIGTERM)")


def test_a_link_in_the_place_of_the_journal_leads_nobody_astray(sysroot: System, tmp_path: Path) -> None:
    """Anything of the tree's own /var may have been a link before this ran."""
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".bashrc").touch()
    (sysroot.var / PLACE).parent.mkdir(parents=True)
    (sysroot.var / PLACE).symlink_to(home)
    assert "warning: the journal in " in sysroot.run("cleanup", "-b").stderr
    assert sorted(path.name for path in home.iterdir()) == [".bashrc", ".ssh"]
    assert sysroot.run("history", status=1).failure.brief == "the journal cannot be read"


@pytest.mark.parametrize("content", ["", "garbage", '{"schema": 99}'])
def test_a_damaged_journal_stops_nothing(sysroot: System, content: str) -> None:
    place = sysroot.var / PLACE
    place.mkdir(parents=True)
    (place / "20200101T000000Z-1.json").write_text(content)
    sysroot.install("greeter")
    done, old = transactions(sysroot)
    assert (done["state"], old["state"]) == ("done", "unreadable")
    assert "20200101T000000Z-1  cannot be read: it is" in sysroot.run("history").stdout.replace("a later", "it is")


def test_anybody_may_read_the_history(sysroot: System) -> None:
    sysroot.install("greeter")
    (entry,) = sysroot.run_as_nobody("history", "--json").document["transactions"]
    assert (entry["state"], entry["difference"]["added"][0]["name"]) == ("done", "greeter")


def test_a_journal_that_may_not_be_read_says_so(sysroot: System) -> None:
    sysroot.install("greeter")
    (sysroot.var / PLACE).chmod(0o700)
    failure = sysroot.run_as_nobody("history", status=1).failure
    assert failure.brief == "the journal cannot be read"
    assert failure.detail.endswith("Permission denied")
    assert failure.resolution == "Run the command with sudo."


# Cancel.


def test_without_a_transaction_there_is_nothing_to_cancel(sysroot: System) -> None:
    assert stopped(sysroot) == "No transaction is in progress."
    sysroot.run("cancel", "--unchanged-exit-77", status=77)


def test_cancel_stops_a_transaction_and_sweeps(sysroot: System) -> None:
    with sysroot.unchanged(), slow_install(sysroot) as child:
        assert stopped(sysroot, "--dry-run").startswith(f"Would stop process {child.pid}, since ")
        assert child.poll() is None
        said = stopped(sysroot)
        assert said.startswith(f"Stopped process {child.pid}, since ")
        assert said.endswith(" The deployments are as they were.")
        assert child.wait() == 128 + signal.SIGTERM
        assert list((sysroot.area / "tmp").iterdir()) == []
    assert transactions(sysroot)[0]["state"] == "interrupted"


def test_cancel_stops_a_transaction_that_its_terminal_has_stopped(sysroot: System) -> None:
    with slow_install(sysroot) as child:
        child.send_signal(signal.SIGSTOP)
        assert stopped(sysroot).startswith("Stopped ")
        assert child.wait() == 128 + signal.SIGTERM


def test_cancel_ends_no_process_that_merely_has_the_number(sysroot: System) -> None:
    """The lock is held by one process, and names another that runs."""
    with subprocess.Popen(["sleep", "60"]) as innocent, sysroot.lock.open("a") as file:
        subprocess.run(["flock", "--exclusive", str(file.fileno())], pass_fds=[file.fileno()], check=True)
        sysroot.note.write_text(json.dumps({"pid": innocent.pid, "ticks": 1, "command": ["apt-ostree"]}))
        failure = sysroot.run("cancel", status=1).failure
        assert innocent.poll() is None
        innocent.kill()
    assert failure.brief == "cannot tell which process to stop"
    assert str(sysroot.lock) in failure.detail


def test_cancel_of_a_publication_says_that_it_was_done(sysroot: System) -> None:
    """Signals wait while ostree deploys: the new deployment is whole, and cancel says so."""
    (before,) = sysroot.deployments()
    with sysroot.running("install", "greeter") as child:
        # ostree waits for its own lock (an OFD lock), which the test holds.
        with subprocess.Popen(_HOLD + [str(sysroot.path / "ostree/lock")], stdout=subprocess.PIPE) as lock:
            assert lock.stdout is not None
            assert lock.stdout.readline()
            wait_until(lambda: any("admin deploy" in line for line in sysroot.processes()), TIMEOUT, "ostree deploys")
            cancelling = subprocess.Popen(
                [*chosen_cli(), "cancel", "--sysroot", str(sysroot.path)],
                env=environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            # It says so once it has seen the deployments, and right before it sends the signal.
            assert cancelling.stderr is not None
            assert cancelling.stderr.readline().startswith("Stopping process ")
            time.sleep(0.5)
            assert child.poll() is None
            assert cancelling.poll() is None
            lock.kill()
        stdout, _ = cancelling.communicate(timeout=TIMEOUT)
        _, stderr = child.communicate(timeout=TIMEOUT)
    new, old = sysroot.deployments()
    assert old == before
    assert stdout == f"It ended before it could be stopped: {new[:12]} boots next.\n"
    assert child.returncode == 128 + signal.SIGTERM
    assert "The operation had finished: the new deployments are in place" in stderr
    assert transactions(sysroot)[0]["new-deployment"] == f"debian-{new}"


_HOLD = [
    "/usr/bin/python3",
    "-c",
    "import fcntl, struct, sys, time\n"
    "file = open(sys.argv[1], 'a+')\n"
    # F_OFD_SETLK, as libostree does.
    "fcntl.fcntl(file, 37, struct.pack('hhqqi4x', fcntl.F_WRLCK, 0, 0, 0, 0))\n"
    "print('held', flush=True)\n"
    "time.sleep(60)",
]


# What a killed transaction leaves is swept by the next one, whatever that does.


def test_leftovers_of_a_kill_are_swept_by_any_next_command(sysroot: System) -> None:
    with slow_install(sysroot, "greeter") as child:
        child.kill()
        child.wait()
        wait_until(lambda: finished(sysroot), SOON, "nothing of it runs")
    heads = sysroot.repo / "refs/heads/apt-ostree"
    orphan = "e" * 64
    (heads / "pkg" / orphan).write_text(sysroot.base.commit + "\n")
    (heads / "base").mkdir(exist_ok=True)
    output("ostree", "commit", f"--repo={sysroot.repo}", "--branch=x", "--tree=ref=" + sysroot.base.commit, "-s", "x")
    lost = output("ostree", "rev-parse", f"--repo={sysroot.repo}", "x").strip()
    (sysroot.repo / "refs/heads/x").rename(heads / "base" / lost)
    (sysroot.area / "pkgs" / orphan[::-1]).mkdir()
    (sysroot.area / "pkgs" / ("f" * 64)).mkdir()
    (sysroot.area / ".unsynced.1").touch()
    (sysroot.area / "apt/archives/half.deb").touch()
    (sysroot.area / "apt/archives/partial/half.deb").touch()
    (sysroot.path / "boot/.loader.apt-ostree").symlink_to("loader.0")
    sysroot.run("cleanup", "-b")
    assert not (heads / "pkg" / orphan).exists()
    assert not (heads / "base" / lost).exists()
    assert not (sysroot.repo / "objects" / lost[:2] / f"{lost[2:]}.commit").exists()
    assert not (sysroot.area / "pkgs" / ("f" * 64)).exists()
    assert list(sysroot.area.glob(".*")) == []
    assert [path for path in (sysroot.area / "apt/archives").rglob("*") if path.is_file()] == []
    assert not (sysroot.path / "boot/.loader.apt-ostree").is_symlink()
