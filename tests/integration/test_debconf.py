"""Answers for debconf: given once, kept as long as something is layered, and told to nobody but root."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tests.integration.system import System, output

KEPT = "usr/lib/apt-ostree/debconf.selections"

ANSWERS = """\
# What the installation manual says.
asks asks/name string Ada \\
Lovelace
asks\tasks/loud\tboolean\ttrue

asks asks/secret password s3cret-w0rd
"""


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    place = tmp_path / "answers"
    place.write_text(ANSWERS)
    return place


def answered(sysroot: System) -> dict[str, str]:
    """What the fixture's postinst was answered."""
    return {place.name: place.read_text().rstrip("\n") for place in (sysroot.deployment() / "usr/share/asks").iterdir()}


def test_defaults_without_answers(sysroot: System) -> None:
    sysroot.install("asks")
    assert answered(sysroot) == {"name": "nobody", "loud": "false", "secret": ""}
    assert not (sysroot.deployment() / KEPT).exists()


def test_a_script_gets_the_answers(sysroot: System, answers: Path) -> None:
    sysroot.run("install", "asks", "--debconf", answers)
    assert answered(sysroot) == {"name": "Ada Lovelace", "loud": "true", "secret": "s3cret-w0rd"}


def test_answers_are_kept_between_layers(sysroot: System, answers: Path) -> None:
    sysroot.run("install", "asks", "--debconf", answers)
    sysroot.install("greeter")
    sysroot.run("uninstall", "greeter")
    assert answered(sysroot)["name"] == "Ada Lovelace"
    sysroot.run("uninstall", "asks")
    assert not sysroot.origin().has_section("packages")


def test_a_new_answer_to_an_old_question_rebuilds_the_layer(sysroot: System, answers: Path, tmp_path: Path) -> None:
    sysroot.run("install", "asks", "--debconf", answers)
    again = sysroot.run("install", "asks", "--debconf", answers)
    assert again.stdout == "Nothing to do: asks is already requested.\n"
    other = tmp_path / "other"
    other.write_text("asks asks/name string Grace\n")
    sysroot.run("install", "asks", "--debconf", other)
    assert answered(sysroot) == {"name": "Grace", "loud": "true", "secret": "s3cret-w0rd"}


def test_no_answer_is_readable_for_others(sysroot: System, answers: Path) -> None:
    done = sysroot.run("install", "asks", "--debconf", answers, "-v")
    assert "s3cret" not in done.stdout + done.stderr
    assert stat.S_IMODE((sysroot.deployment() / KEPT).stat().st_mode) == 0o600
    open_files = [
        place
        for top in (sysroot.deployment(), sysroot.path / "ostree/deploy", sysroot.repo / "refs", sysroot.path / "boot")
        for place in top.rglob("*")
        if place.is_file() and not place.is_symlink() and place.stat().st_mode & 0o044
    ]
    assert len(open_files) > 100
    assert not [place for place in open_files if b"s3cret-w0rd" in place.read_bytes()]
    assert "s3cret" not in output("ostree", "show", f"--repo={sysroot.repo}", "--raw", sysroot.commit())
    # Nor do scripts meet the file they came in.
    assert not list(sysroot.area.rglob("selections"))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b"asks asks/secret\n", "line 1"),
        (b"# two\nasks asks/name string x \\\ny\nasks asks/secret pasword s3cret\n", "line 4"),
        (b"asks asks/name string \xff\n", "not UTF-8"),
    ],
)
def test_a_file_of_another_form_is_refused(sysroot: System, tmp_path: Path, text: bytes, line: str) -> None:
    place = tmp_path / "answers"
    place.write_bytes(text)
    with sysroot.unchanged():
        failure = sysroot.run("install", "asks", "--debconf", place, status=2).failure
    assert line in failure.brief
    assert "s3cret" not in f"{failure}"


def test_a_missing_file_is_a_usage_error(sysroot: System, tmp_path: Path) -> None:
    with sysroot.unchanged():
        assert "No such file" in sysroot.run("install", "asks", "--debconf", tmp_path / "no", status=2).failure.detail


def test_lost_answers_are_an_error_and_not_the_defaults(sysroot: System, answers: Path) -> None:
    sysroot.run("install", "asks", "--debconf", answers)
    deployment = sysroot.deployment()
    place = deployment.with_name(f"{deployment.name}.origin")
    digest = sysroot.origin()["packages"]["debconf"]
    place.write_text(place.read_text().replace(digest, "0" * 64))
    with sysroot.unchanged():
        assert "are missing" in sysroot.run("install", "greeter", status=1).failure.brief
