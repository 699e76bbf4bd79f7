"""dpkg and debconf in a round. What dpkg says when it fails is as dpkg 1.21.22 (Debian 12) and 1.22.21 (Debian 13)
said it."""

from __future__ import annotations

import os
import time
from contextlib import nullcontext
from pathlib import Path

import pytest

from apt_ostree.errors import TreeError
from apt_ostree.host import proc
from apt_ostree.layering.running import Dpkg, links, preconfigure, preseed, script_error, step
from tests.unit import fake

LOG = Path("/var/log/apt-ostree/1.log")

PREINST = """\
Selecting previously unselected package fail-preinst.
(Reading database ... 8677 files and directories currently installed.)
Preparing to unpack .../fail-preinst_1.0_all.deb ...
fail-preinst: refuses to install
dpkg: error processing archive /run/apt-ostree/fail-preinst_1.0_all.deb (--unpack):
 new fail-preinst package pre-installation script subprocess returned error exit status 4
Errors were encountered while processing:
 /run/apt-ostree/fail-preinst_1.0_all.deb
"""
PREINST_KILLED = """\
Preparing to unpack /d/kpre_1.0_all.deb ...
dpkg: error processing archive /d/kpre_1.0_all.deb (--unpack):
 new kpre package pre-installation script subprocess was killed by signal (Killed)
Errors were encountered while processing:
 /d/kpre_1.0_all.deb
"""
POSTINST = """\
Setting up fail-postinst (1.0) ...
fail-postinst: line 1
fail-postinst: line 2
dpkg: error processing package fail-postinst (--configure):
 installed fail-postinst package post-installation script subprocess returned error exit status 3
Errors were encountered while processing:
 fail-postinst
"""
POSTINST_KILLED = """\
Setting up killed (1.0) ...
dpkg: error processing package killed (--configure):
 installed killed package post-installation script subprocess was killed by signal (Killed)
Errors were encountered while processing:
 killed
"""
FOREIGN = """\
Setting up fail-arch:amd64 (1.0) ...
dpkg: error processing package fail-arch:amd64 (--configure):
 installed fail-arch:amd64 package post-installation script subprocess returned error exit status 3
Errors were encountered while processing:
 fail-arch:amd64
"""
NO_INTERPRETER = """\
Setting up noexec (1.0) ...
dpkg (subprocess): unable to execute installed noexec package post-installation script \
(/var/lib/dpkg/info/noexec.postinst): No such file or directory
dpkg: error processing package noexec (--configure):
 installed noexec package post-installation script subprocess returned error exit status 2
Errors were encountered while processing:
 noexec
"""
CLASH_12 = """\
Preparing to unpack /d/clash_1.0_all.deb ...
Unpacking clash (1.0) ...
dpkg: error processing archive /d/clash_1.0_all.deb (--unpack):
 trying to overwrite '/usr/bin/env', which is also in package coreutils 9.1-1
Errors were encountered while processing:
 /d/clash_1.0_all.deb
"""
CLASH_13 = CLASH_12.replace("coreutils 9.1-1", "coreutils (9.7-3)")
BROKEN = """\
dpkg-deb: error: tar subprocess returned error exit status 2
dpkg: error processing archive /d/broken_1.0_all.deb (--unpack):
 dpkg-deb --control subprocess returned error exit status 2
Errors were encountered while processing:
 /d/broken_1.0_all.deb
"""
NEEDS = """\
dpkg: dependency problems prevent configuration of needs:
 needs depends on absent; however:
  Package absent is not installed.

dpkg: error processing package needs (--configure):
 dependency problems - leaving unconfigured
"""
TWO = """\
dpkg: error processing package needs (--configure):
 dependency problems - leaving unconfigured
Setting up fail-postinst (1.0) ...
dpkg: error processing package fail-postinst (--configure):
 installed fail-postinst package post-installation script subprocess returned error exit status 3
Errors were encountered while processing:
 needs
 fail-postinst
"""
RECOVERED = (
    """\
dpkg: warning: old tidy package pre-removal script subprocess returned error exit status 7
dpkg: trying script from the new package instead ...
dpkg: ... it looks like that went OK
"""
    + CLASH_13
)


@pytest.mark.parametrize(
    ("output", "status", "brief"),
    [
        (PREINST, 1, "the preinst script of fail-preinst failed (exit status 4)"),
        (PREINST_KILLED, 1, "the preinst script of kpre failed (killed by signal (Killed))"),
        (POSTINST, 1, "the postinst script of fail-postinst failed (exit status 3)"),
        (POSTINST_KILLED, 1, "the postinst script of killed failed (killed by signal (Killed))"),
        (FOREIGN, 1, "the postinst script of fail-arch failed (exit status 3)"),
        (NO_INTERPRETER, 1, "the postinst script of noexec failed (exit status 2)"),
        (CLASH_12, 1, "clash could not be installed"),
        (CLASH_13, 1, "clash could not be installed"),
        (BROKEN, 1, "broken could not be installed"),
        (NEEDS, 1, "needs could not be installed"),
        ("dpkg: error: dpkg frontend lock was locked by another process\n", 2, "dpkg failed"),
        ("", 1, "dpkg failed"),
        ("Setting up slow (1.0) ...\n", -15, "dpkg was ended by signal 15"),
    ],
)
def test_script_error_names_the_package_the_script_and_how_it_ended(output: str, status: int, brief: str) -> None:
    assert script_error(output, status, LOG).brief == brief


@pytest.mark.parametrize(
    ("output", "brief"),
    [
        pytest.param(TWO, "the postinst script of fail-postinst failed (exit status 3)", id="one after another error"),
        pytest.param(RECOVERED, "clash could not be installed", id="one that dpkg made good"),
    ],
)
def test_script_error_reads_a_scripts_failure_where_dpkg_gives_its_package(output: str, brief: str) -> None:
    assert script_error(output, 1, LOG).brief == brief


def test_script_error_shows_the_last_lines_and_the_log() -> None:
    lines = [f"line {n}" for n in range(40)]
    error = script_error("\n".join(lines) + "\n" + POSTINST, 1, LOG)
    shown = error.detail.splitlines()
    assert shown[-2:] == [" fail-postinst", f"the whole log: {LOG}"]
    assert shown[0] == "line 27" and len(shown) == 21
    assert error.resolution == "Nothing was changed."
    assert error.exit_code == 1


def test_links_are_those_of_the_base_itself(tmp_path: Path) -> None:
    base, host = tmp_path / "base", tmp_path / "host"
    (base / "usr").mkdir(parents=True)
    (base / "usr/local").symlink_to("../var/usrlocal")
    (base / "home").symlink_to("var/home")
    assert links(base) == {"home": "var/home", "usr/local": "../var/usrlocal"}
    host.mkdir()
    (host / "local").symlink_to("the host's")
    (base / "usr").rename(tmp_path / "away")
    (base / "usr").symlink_to(host)
    assert links(base) == {"home": "var/home", "usr": str(host)}


def test_links_that_dpkg_takes_away_are_put_back_unless_something_is_in_the_way(tmp_path: Path) -> None:
    job = fake.job(tmp_path)
    base, root, host = job.base.path, tmp_path / "root", tmp_path / "host"
    for place in (base / "usr", root, host):
        place.mkdir()
    (base / "usr/local").symlink_to("../var/usrlocal")
    (base / "home").symlink_to("var/home")
    (base / "srv").symlink_to("var/srv")
    (root / "usr").symlink_to(host)
    (root / "srv").mkdir()
    Dpkg(job)._restore_links(root)
    assert (os.listdir(host), os.readlink(root / "home"), (root / "srv").is_dir()) == ([], "var/home", True)


class Sandbox:
    """A sandbox that runs nothing, and notes what it was asked to run."""

    def __init__(self) -> None:
        self.ran: list[str] = []

    def run(self, command: list[str], **_: object) -> proc.Result:
        self.ran.append(command[0])
        return proc.Result((), 0, "", "")


@pytest.mark.parametrize(("target", "asked"), [("{host}", False), ("/usr/lib/program", True), ("program", False)])
def test_a_program_of_the_base_is_one_that_the_base_itself_has(tmp_path: Path, target: str, asked: bool) -> None:
    job = fake.job(tmp_path, answers="x")
    job.debs.mkdir()
    (tmp_path / "host").touch()
    for name in ("usr/bin", "usr/lib/apt"):
        (job.base.path / name).mkdir(parents=True)
    (job.base.path / "usr/lib/program").touch()
    for name in ("usr/bin/debconf-set-selections", "usr/lib/apt/apt-extracttemplates"):
        (job.base.path / name).symlink_to(target.format(host=tmp_path / "host"))
    sandbox = Sandbox()
    with nullcontext() if asked else pytest.raises(TreeError, match="cannot take answers"):
        preseed(job, sandbox)  # type: ignore[arg-type]
    preconfigure(job, sandbox, ["x.deb"])  # type: ignore[arg-type]
    assert sandbox.ran == (["debconf-set-selections", "dpkg-preconfigure"] if asked else [])
    assert os.listdir(job.debs) == []


def test_a_script_that_prints_dpkgs_lines_blames_no_other_package() -> None:
    forged = (
        "dpkg: error processing package innocent (--configure):\n"
        " installed innocent package post-installation script subprocess returned error exit status 1\n"
    )
    real = forged.replace("innocent", "evil").replace("status 1", "status 3")
    summary = "Errors were encountered while processing:\n evil\n"
    for text in (forged + real, forged + real + summary, real + forged + summary):
        assert script_error(text, 1, LOG).brief == "the postinst script of evil failed (exit status 3)"


@pytest.mark.parametrize(
    "line",
    [
        "Setting up " + "a" * 65_000,
        "Removing " + "a" * 65_000,
        "Preparing to unpack " + "/a_" * 20_000,
        "dpkg: error processing package " * 2_000 + " (--x):\n " + "package a script subprocess " * 2_000,
    ],
)
def test_no_line_of_a_script_keeps_the_watch_from_looking(line: str) -> None:
    begun = time.process_time()
    for _ in range(20):
        step(line)
        script_error(line, 1, LOG)
    assert time.process_time() - begun < 1
