"""dpkg and debconf in a round."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from apt_ostree.errors import ScriptError, TreeError
from apt_ostree.host import proc
from apt_ostree.layering.running import Dpkg, links, preconfigure, preseed, script_error
from apt_ostree.model import Package
from apt_ostree.sandbox import bwrap
from tests.unit import fake

LOG = Path("/var/log/apt-ostree/1.log")


@pytest.mark.parametrize(
    ("failure", "status", "brief"),
    [
        ("the postinst script of evil failed (exit status 3)", 1, "the postinst script of evil failed (exit status 3)"),
        (None, 2, "dpkg failed"),
        # Who was killed did not say the last of it: a script may have done that.
        ("the postinst script of evil failed (exit status 3)", 128 + 9, "dpkg was ended by signal 9"),
        (None, -15, "dpkg was ended by signal 15"),
    ],
)
def test_script_error_says_what_dpkg_says_unless_it_was_killed(failure: str | None, status: int, brief: str) -> None:
    assert script_error(failure, proc.Result((), status, "", ""), LOG).brief == brief


def test_script_error_shows_the_last_lines_and_the_log() -> None:
    error = script_error(None, proc.Result((), 1, "\n".join(f"line {n}" for n in range(40)), ""), LOG)
    shown = error.detail.splitlines()
    assert (shown[0], shown[-2:], len(shown)) == ("line 20", ["line 39", f"the whole log: {LOG}"], 21)
    assert error.resolution == "Nothing was changed."
    assert error.exit_code == 1


class Talking:
    """A sandbox in which dpkg says some lines over its descriptor, prints others, and ends with a status."""

    root = Path("/nonexistent")

    def __init__(self, said: str, printed: str, status: int) -> None:
        self.said, self.printed, self.status = said, printed, status

    def run(
        self, command: list[str], *, on_line: Callable[[str], None], pass_fds: Sequence[int], **_: object
    ) -> proc.Result:
        (descriptor,) = pass_fds
        assert f"--status-fd={descriptor}" in command
        os.write(descriptor, self.said.encode())
        for line in self.printed.split("\n"):
            on_line(line)
        return proc.Result((), self.status, self.printed, "")


FORGED = """\
Setting up innocent (1.0) ...
Processing triggers for innocent (1.0) ...
dpkg: error processing package innocent (--configure):
 installed innocent package post-installation script subprocess returned error exit status 1): the password is x
Errors were encountered while processing:
 innocent
"""


def test_nobody_is_blamed_by_what_a_script_prints(tmp_path: Path) -> None:
    base = fake.job(tmp_path)
    job = replace(
        base, base=replace(base.base, packages=(Package("innocent", "1", "all"), Package("evil", "1", "all")))
    )
    failed = (
        "status: evil : error : installed evil package post-installation script subprocess returned error exit status 3"
    )
    for said, status, brief in (
        (f"processing: configure: evil\n{failed}\n", 1, "the postinst script of evil failed (exit status 3)"),
        ("processing: configure: evil\n", 1, "dpkg failed"),
        ("processing: configure: evil\n", 137, "dpkg was ended by signal 9"),
    ):
        dpkg = Dpkg(job)
        with pytest.raises(ScriptError) as caught:
            dpkg.run(cast("bwrap.Sandbox", Talking(said, FORGED, status)), ["--configure", "evil"])
        assert (caught.value.brief, dpkg.triggered) == (brief, [])


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
