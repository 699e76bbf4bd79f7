"""Uninstalling: the layer is rebuilt as if the package had never been asked for."""

from __future__ import annotations

import pytest

from tests.archive import Archive
from tests.integration.system import System

PAIRS = [
    ("greeter", "user-maker"),
    ("conf-file", "divert-maker"),
    ("trig-interest", "trig-user"),
]
"""What stays and what goes: the second one runs scripts, or changes what the first one brought."""


@pytest.mark.parametrize(("stays", "goes"), PAIRS)
def test_what_is_left_equals_an_install_without_it(sysroot: System, template: System, stays: str, goes: str) -> None:
    sysroot.install(stays)
    alone = sysroot.content()
    sysroot.install(goes)
    sysroot.install("setuid")
    sysroot.run("uninstall", goes, "setuid")
    assert sysroot.content() == alone
    assert sysroot.requested() == [stays]


def test_the_last_uninstall_returns_to_the_base_commit_itself(sysroot: System) -> None:
    sysroot.install("greeter")
    done = sysroot.run("uninstall", "greeter")
    assert sysroot.commit() == sysroot.base.commit
    assert dict(sysroot.origin()["origin"]) == {"refspec": "debian:debian/test/base"}
    assert not sysroot.origin().has_section("packages")
    assert "the base alone" in done.stdout


def test_all_requests_go_at_once(sysroot: System, archive: Archive) -> None:
    sysroot.install("greeter", "rec-b", f"{archive.root}/pool/main/setuid_1.0_all.deb")
    sysroot.run("uninstall", "--all")
    assert sysroot.commit() == sysroot.base.commit


def test_a_dependency_goes_with_what_needed_it(sysroot: System) -> None:
    sysroot.install("greeter", "rec-b")
    done = sysroot.run("uninstall", "rec-b")
    assert sysroot.dpkg_status().keys() & {"greeter", "rec-a", "rec-b", "rec-pre"} == {"greeter"}
    assert done.stdout.splitlines()[:4] == ["Removed:", "  rec-a 1.0 all", "  rec-b 1.0 all", "  rec-pre 1.0 all"]


def test_a_dependency_that_was_requested_itself_stays(sysroot: System) -> None:
    sysroot.install("rec-a", "rec-b")
    sysroot.run("uninstall", "rec-b")
    assert sysroot.dpkg_status().keys() & {"rec-a", "rec-b", "rec-pre"} == {"rec-a"}


def test_no_archive_is_needed_nor_any_list(sysroot: System, own_archive: Archive) -> None:
    sysroot.use_archive(own_archive)
    sysroot.install("greeter=1.0", "rec-b")
    own_archive.root.rename(own_archive.root.with_name("gone"))
    sysroot.run("cleanup", "-m")
    sysroot.run("uninstall", "rec-b")
    assert sysroot.dpkg_status()["greeter"] == ("1.0", "install ok installed")


def test_a_package_that_was_there_comes_back_from_the_cache(sysroot: System, own_archive: Archive) -> None:
    sysroot.use_archive(own_archive)
    sysroot.install("greeter", "rec-b")
    content = sysroot.content()
    sysroot.run("uninstall", "rec-b")
    own_archive.root.rename(own_archive.root.with_name("gone"))
    done = sysroot.install("--cache-only", "rec-b")
    assert sysroot.content() == content
    assert "the same layer as before" in done.stdout


def test_a_dry_run_changes_nothing(sysroot: System) -> None:
    sysroot.install("greeter", "rec-b")
    with sysroot.unchanged():
        done = sysroot.run("uninstall", "--dry-run", "rec-b")
    assert "Removed:" in done.stdout
    with sysroot.unchanged():
        done = sysroot.run("uninstall", "--dry-run", "--all")
    assert "Would return to the base alone." in done.stdout


def test_an_uninstall_of_a_dependency_says_that_nobody_requested_it(sysroot: System) -> None:
    sysroot.install("rec-b")
    with sysroot.unchanged():
        failure = sysroot.run("uninstall", "rec-a", status=1).failure
    assert failure.brief == "not requested: rec-a"
    assert failure.detail == "requested: rec-b"


@pytest.mark.parametrize("words", [["uninstall", "jq"], ["override", "reset", "jq"]])
def test_what_is_gone_already_is_an_error_unless_that_is_expected(sysroot: System, words: list[str]) -> None:
    with sysroot.unchanged():
        assert "--idempotent" in sysroot.run(*words, status=1).failure.resolution
        assert sysroot.run(*words, "--idempotent").stdout.startswith("Nothing to do: ")
        sysroot.run(*words, "--unchanged-exit-77", status=77)


def test_what_is_there_goes_beside_what_is_gone_already(sysroot: System) -> None:
    sysroot.install("greeter")
    sysroot.run("install", "rec-a", "--uninstall", "jq", "--uninstall", "greeter", "--idempotent")
    assert sysroot.requested() == ["rec-a"]


def test_uninstalling_all_of_nothing_is_no_change(sysroot: System) -> None:
    with sysroot.unchanged():
        sysroot.run("uninstall", "--all", "--unchanged-exit-77", status=77)
