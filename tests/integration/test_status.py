"""``status`` on real sysroots: what -v adds, and what was changed in /etc on both sides."""

from __future__ import annotations

import json
import os
import pty
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest

from tests.integration.system import REPOSITORY, System, chosen_cli, environment, output


@pytest.fixture(scope="module")
def edited(template: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A layer over a base whose /etc somebody edited, and one file of it that the next tree changes, too."""
    system = template.clone(tmp_path_factory.mktemp("machine") / "sysroot")
    etc = system.deployment() / "etc"
    (etc / "issue").write_text("local\n")
    (etc / "hostname").write_text("local\n")
    (etc / "motd-of-ours").write_text("local\n")
    (etc / "debian_version").unlink()
    (etc / "issue.net").chmod(0o600)
    system.install("greeter")
    yield system
    system.remove()


def next_tree(system: System, work: Path) -> str:
    """A commit that differs from the base in /etc alone."""
    etc = work / "usr/etc"
    etc.mkdir(parents=True)
    for name in ("issue", "motd-of-ours", "debian_version", "issue.net", "new-in-the-tree"):
        (etc / name).write_text("shipped\n")
    return output(
        "ostree", "commit", f"--repo={system.repo}", "--branch=next", f"--tree=ref={system.base.commit}",
        f"--tree=dir={work}", "--add-metadata-string=version=12.2", "--add-metadata=ostree.bootable=true",
        "--add-metadata-string=ostree.linux=0.0",
    ).strip()  # fmt: skip


def test_the_document_in_detail_fits_its_schema(edited: System) -> None:
    document = edited.run("status", "-v", "--json").document
    jsonschema.validate(document, json.loads((REPOSITORY / "docs/schema/status.json").read_text()))
    layer = document["deployments"][0]["layer"]
    assert layer["parent"] == edited.base.commit
    assert layer["message"] == "Layer greeter"
    assert layer["command"].endswith("install greeter")
    assert [package["name"] for package in layer["packages"]] == ["greeter"]
    assert "/usr/bin/greeter" in layer["packages"][0]["files"]
    assert document["deployments"][1]["layer"] is None
    assert "layer" not in edited.run("status", "--json").document["deployments"][0]


def test_files_that_both_sides_changed_are_listed(edited: System, tmp_path: Path) -> None:
    system = edited.clone(tmp_path / "sysroot")
    try:
        commit = next_tree(system, tmp_path / "tree")
        output("ostree", "admin", "deploy", f"--sysroot={system.path}", "--os=debian", "--retain", commit)
        found = system.run("status", "-v", "--json").document["deployments"]
        assert {c["path"]: (c["here"], c["there"]) for c in found[0]["etc-conflicts"]} == {
            "/etc/issue": ("changed", "changed"),
            "/etc/issue.net": ("changed", "changed"),
            "/etc/motd-of-ours": ("added", "added"),
            "/etc/debian_version": ("removed", "changed"),
        }
        assert found[1]["etc-conflicts"] == []
        # What the list says is what ostree's merge did.
        etc = system.deployment() / "etc"
        assert (etc / "issue").read_text() == "local\n"
        assert not (etc / "debian_version").exists()
        assert (etc / "new-in-the-tree").read_text() == "shipped\n"
        assert (
            "Kept in /etc  /etc/debian_version (removed here, changed by the new tree)"
            in system.run("status", "-v").stdout
        )
    finally:
        system.remove()


def test_a_preview_says_what_will_stay_in_etc(sysroot: System) -> None:
    sysroot.install("conf-file")
    (sysroot.deployment() / "etc/conf-file.conf").write_text("local\n")
    (sysroot.deployment() / "etc/issue").write_text("local\n")
    with sysroot.unchanged():
        done = sysroot.run("uninstall", "--all", "--dry-run")
        document = sysroot.run("uninstall", "--all", "--dry-run", "--json").document
        # With packages over the same base nothing of /etc is known beforehand.
        assert sysroot.run("install", "rec-a", "-n", "--json").document["etc-conflicts"] == []
    assert " Kept in /etc  /etc/conf-file.conf (changed here, removed by the new tree)\n" in done.stdout
    jsonschema.validate(document, json.loads((REPOSITORY / "docs/schema/outcome.json").read_text()))
    assert document["etc-conflicts"] == [{"path": "/etc/conf-file.conf", "here": "changed", "there": "removed"}]
    sysroot.run("uninstall", "--all")
    assert (sysroot.deployment() / "etc/conf-file.conf").read_text() == "local\n"


def test_a_path_selects_from_the_document(edited: System) -> None:
    shown = edited.run("status", "--jsonpath", "$.deployments[*].requested-packages").stdout
    assert json.loads(shown) == [["greeter"], []]


def test_nothing_is_pending_where_nothing_is_booted(edited: System) -> None:
    assert edited.run("status", "--pending-exit-77").stdout == edited.run("status").stdout


def test_no_line_is_wider_than_the_terminal(edited: System) -> None:
    child, terminal = pty.fork()
    if child == 0:
        os.environ.clear()
        os.environ.update(environment({"COLUMNS": "60", "TERM": "xterm"}))
        command = [*chosen_cli(), "--sysroot", os.fspath(edited.path), "status", "-v"]
        os.execvp(command[0], command)
    shown = b""
    try:
        while data := os.read(terminal, 65536):
            shown += data
    except OSError:
        # How Linux says that nobody holds the other end any more.
        pass
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    # The path of the sysroot in the command that made the layer is one word, and longer.
    lines = [line for line in shown.decode().splitlines() if "/" not in line]
    assert "    Requested  greeter" in lines
    assert max(map(len, lines)) <= 60
