"""What dpkg says over its own descriptor, as dpkg 1.21.22 (Debian 12) and 1.22.21 (Debian 13) say it."""

from __future__ import annotations

import os
import tracemalloc

import pytest

from apt_ostree.layering.status import Status

KNOWN = {"evil", "innocent", "clash", "fail-arch", "man-db"}
FAILED = "status: evil : error : installed evil package post-installation script subprocess "


def status(*lines: str) -> Status:
    said = Status(KNOWN)
    for line in lines:
        said.take(line)
    return said


@pytest.mark.parametrize(
    ("stage", "doing"),
    [
        ("install", "the preinst script of evil"),
        ("upgrade", "the preinst script of evil"),
        ("configure", "the postinst script of evil"),
        ("trigproc", "the postinst script of evil"),
        ("remove", "the prerm script of evil"),
        ("purge", "the postrm script of evil"),
        ("disappear", "the postinst script of innocent"),
    ],
)
def test_the_stage_says_whose_script_runs(stage: str, doing: str) -> None:
    assert Status(KNOWN).doing == "dpkg"
    assert status("processing: configure: innocent:amd64", f"processing: {stage}: evil").doing == doing


def test_who_is_not_of_the_tree_is_not_named() -> None:
    for line in (
        "processing: configure: the-password-is-x",
        "processing: configure: evil now",
        "status: evil: unpacked",
    ):
        assert status(line).doing == "dpkg"
    assert status(FAILED.replace("evil", "x") + "returned error exit status 3").failure is None


def test_triggers_are_those_of_packages_each_once() -> None:
    lines = ("trigproc: man-db", "trigproc: evil:i386", "trigproc: man-db", "configure: innocent", "trigproc: other")
    assert status(*(f"processing: {line}" for line in lines)).triggered == ["man-db", "evil:i386"]


@pytest.mark.parametrize(
    ("line", "failure"),
    [
        (FAILED + "returned error exit status 3", "the postinst script of evil failed (exit status 3)"),
        (FAILED + "was killed by signal (Killed)", "the postinst script of evil failed (killed by signal (Killed))"),
        (
            FAILED + "was killed by signal (Segmentation fault), core dumped",
            "the postinst script of evil failed (killed by signal (Segmentation fault))",
        ),
        (FAILED + "was interrupted", "the postinst script of evil failed (interrupted)"),
        (
            "status: /run/apt-ostree/evil_1.0_all.deb : error : new evil package pre-installation script subprocess "
            "returned error exit status 4",
            "the preinst script of evil failed (exit status 4)",
        ),
        (
            "status: fail-arch:i386 : error : old fail-arch:i386 package pre-removal script subprocess returned error "
            "exit status 1",
            "the prerm script of fail-arch failed (exit status 1)",
        ),
        (
            "status: /d/clash_1.0_all.deb : error : trying to overwrite '/usr/bin/env', which is also in package "
            "coreutils 9.1-1",
            "clash could not be installed",
        ),
        ("status: evil : error : dependency problems - leaving unconfigured", "evil could not be installed"),
        # Nothing but dpkg's own forms is repeated.
        (FAILED + "returned error exit status 1): the password is x", "evil could not be installed"),
        (FAILED + "was killed by signal (x)): the password is x", "evil could not be installed"),
        ("status: evil: installed", None),
    ],
)
def test_a_failure_is_told_in_dpkgs_words_alone(line: str, failure: str | None) -> None:
    assert status(line).failure == failure


def test_the_failure_of_a_script_says_more_than_what_it_causes() -> None:
    other = "status: innocent : error : dependency problems - leaving unconfigured"
    script = FAILED + "returned error exit status 3"
    for lines in ((other, script), (script, other)):
        assert status(*lines).failure == "the postinst script of evil failed (exit status 3)"


def test_all_that_was_said_is_known_when_the_block_ends() -> None:
    with Status(KNOWN) as said:
        os.write(said.descriptor, b"processing: configure: evil\nprocessing: trig")
        os.write(said.descriptor, b"proc: man-db\n")
    assert (said.doing, said.triggered) == ("the postinst script of man-db", ["man-db"])


def test_dpkg_may_say_any_amount_and_takes_no_memory() -> None:
    tracemalloc.start()
    try:
        with Status(KNOWN) as said:
            for _ in range(300):
                os.write(said.descriptor, b"x" * 65_536)
            os.write(said.descriptor, b"\nprocessing: configure: evil\n")
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()
    assert said.doing == "dpkg"
