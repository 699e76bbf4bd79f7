"""Refspecs, a repository's remotes, and what ostree's own words about a failed pull mean."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from apt_ostree.errors import TreeError, UsageError
from apt_ostree.host import proc
from apt_ostree.system import origin, remote
from apt_ostree.system.remote import Refspec, Remote
from apt_ostree.tools import apt_failures

A = "a" * 64
HERE = Refspec("debian", "debian/13")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("example:debian/14", Refspec("example", "debian/14")),
        ("debian/14", Refspec("debian", "debian/14")),
        ("example:", Refspec("example", "debian/13")),
        (":debian/14", Refspec("", "debian/14")),
        (A, Refspec("", A)),
        (f":{A}", Refspec("", A)),
    ],
)
def test_a_refspec_is_read_as_rpm_ostree_reads_it(text: str, found: Refspec) -> None:
    assert remote.parse(text, HERE) == found


def test_without_a_remote_in_use_a_ref_is_a_local_one() -> None:
    assert remote.parse("debian/14") == Refspec("", "debian/14")
    assert str(remote.parse("example:debian/14")) == "example:debian/14"


@pytest.mark.parametrize("text", ["", ":", "a b", "-a:b", "a:-b", "a:b:c", "../x", "a:b/../c", "a:/b", "a:b\n"])
def test_what_names_no_base_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        remote.parse(text)


def test_only_a_checksum_is_fixed() -> None:
    assert Refspec("", A).fixed
    assert not Refspec("debian", A).fixed
    assert not Refspec("", "debian/13").fixed


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Receiving objects: 34% (512/1505) 1.2\u00a0MB/s 5.0\u00a0MB   ", (512, 1505, "1.2 MB/s 5.0 MB")),
        ("Receiving metadata objects: 12/(estimating) 1.2 MB/s 5.0 MB", None),
        ("Writing objects: 7/19", (7, 19, "")),
        ("Receiving delta parts: 2/5 1.0 MB/4.0 MB 512 kB/s", (2, 5, "1.0 MB/4.0 MB 512 kB/s")),
        ("5 metadata, 1500 content objects fetched; 4511 KiB transferred in 12 seconds", None),
        ("", None),
    ],
)
def test_ostree_tells_a_terminal_how_far_a_pull_is(text: str, found: tuple[int, int, str] | None) -> None:
    assert remote.parse_progress(text) == found


def test_a_remote_verifies_unless_it_was_told_not_to(tmp_path: Path) -> None:
    (tmp_path / "config").write_text(
        '[core]\nmode=bare\n\n[remote "b"]\nurl=https://example.org/b\n\n'
        '[remote "a"]\nurl=https://example.org/a\ngpg-verify=false\nsign-verify=true\n'
    )
    assert remote.read(tmp_path) == [
        Remote("a", "https://example.org/a", False, True),
        Remote("b", "https://example.org/b", True, False),
    ]


def remotes_d(deployment: Path, name: str) -> Path:
    place = deployment / remote.ETC / name
    place.parent.mkdir(parents=True, exist_ok=True)
    return place


@pytest.mark.parametrize(
    ("gpg", "sign", "verified"),
    [
        ("true", "false", (True, False)),
        ("1", "0", (True, False)),
        ("0", "1", (False, True)),
        ("false", "true", (False, True)),
        # For GLib these are no booleans.
        ("True", "False", (False, False)),
        ("yes", "yes", (False, False)),
        ("", "", (False, False)),
        ("true ", "ed25519;", (True, True)),
        ("false", "ed25519;spki", (False, True)),
        ("false", "dummy", (False, False)),
        ("false", "ed25519;dummy", (False, False)),
        ("false", ";", (False, False)),
    ],
)
def test_a_remote_verifies_where_ostree_does(tmp_path: Path, gpg: str, sign: str, verified: tuple[bool, bool]) -> None:
    (tmp_path / "config").write_text(f'[remote "a"]\nurl=x\ngpg-verify={gpg}\nsign-verify={sign}\n')
    (found,) = remote.read(tmp_path)
    assert (found.gpg_verify, found.sign_verify) == verified


def test_remotes_of_a_deployments_etc_name_their_files(tmp_path: Path) -> None:
    for name in ("b.conf", "a.conf", "c.txt"):
        remotes_d(tmp_path, name).write_text(f'[remote "{name[0]}"]\nurl=https://example.org/\n')
    (tmp_path / "etc/own").write_text('[remote "own"]\nurl=https://example.org/\n')
    remotes_d(tmp_path, "d.conf").symlink_to("/etc/own")
    found = remote.read_etc(tmp_path)
    assert [(entry.name, entry.file) for entry in found] == [
        (name, tmp_path / remote.ETC / f"{file}.conf") for name, file in (("a", "a"), ("b", "b"), ("own", "d"))
    ]


@pytest.mark.parametrize("link", ["etc", "etc/ostree", remote.ETC, f"{remote.ETC}/a.conf"])
def test_remotes_are_not_read_through_a_link_out_of_the_deployment(tmp_path: Path, link: str) -> None:
    top = tmp_path / "root"
    remotes_d(top, "a.conf").write_text('[remote "a"]\nurl=https://me:secret@example.org/\n')
    (top / link).rename(tmp_path / "host")
    (top / link).symlink_to(tmp_path / "host")
    assert remote.read_etc(top) == []


def test_a_pipe_or_a_huge_file_among_the_remotes_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(remotes_d(tmp_path, "a.conf"))
    assert remote.read_etc(tmp_path) == []
    remotes_d(tmp_path, "b.conf").write_text("#" * (remote.FILE_MAX + 1))
    with pytest.raises(TreeError, match="is too large"):
        remote.read_etc(tmp_path)


@pytest.mark.parametrize(
    ("reason", "meaning"),
    [
        ('Remote "x" not found', "the remote does not exist"),
        ("Commit abc: Signature made …\nCan't check signature: public key not found", "it is not signed with a key"),
        ("Commit abc: GPG verification enabled, but no signatures found", "it is not signed with a key"),
        ("No such branch 'x' in repository summary", "the remote does not have this ref"),
        ("Server returned HTTP 404", "a part of it is missing on the remote"),
        ("Writing content object: Need more input", "the remote sent damaged data"),
        ("While fetching http://…: [18] Transferred a partial file", "the remote sent damaged data"),
        ("Commit abc has no requested ref x in ref binding metadata (y)", "the ref leads to a commit"),
        ("opcode close: min-free-space-percent '3%' would be exceeded", "the disk is too full"),
    ],
)
def test_a_failed_pull_is_told_by_what_it_means(reason: str, meaning: str) -> None:
    error = remote.explain(HERE, reason)
    assert error.brief.startswith(f"cannot pull debian:debian/13: {meaning}")
    assert (error.detail, bool(error.resolution)) == (reason, True)


def test_any_other_failure_of_a_pull_keeps_ostrees_own_words() -> None:
    error = remote.explain(HERE, "Server returned HTTP 500")
    assert (error.brief, error.detail) == ("cannot pull debian:debian/13", "Server returned HTTP 500")


UNMET = """\
The following packages have unmet dependencies:
 needs : Depends: lib (>= 2) but 1.0 is to be installed
         Depends: other (= 3) but 2:1~b is to be installed
 more:i386 : PreDepends: libc6:i386 (>= 2.40) but it is not going to be installed
E: Unable to correct problems, you have held broken packages.
"""


def test_version_conflicts_are_read_from_apts_words() -> None:
    found = apt_failures.unmet(proc.Result((), 100, UNMET, ""))
    assert list(map(str, found)) == [
        "needs depends on lib (>= 2), but 1.0 is installed",
        "needs depends on other (= 3), but 2:1~b is installed",
    ]


def test_an_origin_takes_another_base_and_the_commit_chosen_there() -> None:
    before = origin.parse("[origin]\nrefspec=a:b\noverride-commit=c\nunknown=1\n\n[packages]\nrequested=vim;\n")
    after = origin.with_base(before, "x:y", A)
    assert origin.refspec(after) == "x:y"
    assert origin.pinned(after) == A
    assert after["origin"]["unknown"] == "1"
    assert origin.intent(after) == origin.intent(before)
    assert origin.pinned(origin.with_base(after, "x:y", "")) == ""
