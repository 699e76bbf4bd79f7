"""Bases of a remote of file://: who can write its files cannot change what its key vouches for."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.archive import public_directory
from tests.integration.served import Served, serving
from tests.integration.system import REF, Base, Result, System, output, run_cli

OWNER = 12345


@pytest.fixture
def served(base_repo: Base, tmp_path: Path) -> Iterator[Served]:
    with serving(base_repo, tmp_path) as made:
        made.publish("13", day=1, files={"usr/bin/tool": "good"})
        yield made


def checksum_of(repo: Path, ref: str) -> str:
    line = output("ostree", "ls", f"--repo={repo}", "-C", ref, "/usr/bin/tool")
    found = re.search(r"[0-9a-f]{64}", line)
    assert found is not None
    return found[0]


def bare(repo: Path, place: Path) -> Path:
    output("ostree", "init", f"--repo={place}", "--mode=bare")
    output("ostree", "pull-local", f"--repo={place}", repo, REF)
    return place


def other_object(place: Path) -> Path:
    """An archive's object of a file with another content."""
    (place / "tree/usr/bin").mkdir(parents=True)
    (place / "tree/usr/bin/tool").write_text("evil")
    output("ostree", "init", f"--repo={place}/repo", "--mode=archive")
    output(
        "ostree", "commit", f"--repo={place}/repo", "--branch=x", f"--tree=dir={place}/tree",
        "--owner-uid=0", "--owner-gid=0",
    )  # fmt: skip
    checksum = checksum_of(place / "repo", "x")
    return place / "repo/objects" / checksum[:2] / f"{checksum[2:]}.filez"


def rebase(sysroot: System, repo: Path, key: Path, status: int) -> Result:
    sysroot.run("remote", "add", "stick", f"file://{quote(os.fspath(repo))}", "--gpg-import", key)
    return sysroot.run("rebase", f"stick:{REF}", status=status)


@pytest.mark.parametrize("kind", ["archive", "bare"])
def test_an_object_that_is_not_what_the_commit_says_is_refused(
    sysroot: System, served: Served, tmp_path: Path, kind: str
) -> None:
    repo = served.repo
    checksum = checksum_of(repo, REF)
    if kind == "bare":
        repo = bare(repo, tmp_path / "bare")
        file = repo / "objects" / checksum[:2] / f"{checksum[2:]}.file"
        file.unlink()
        file.write_text("evil")
    else:
        file = repo / "objects" / checksum[:2] / f"{checksum[2:]}.filez"
        file.unlink()
        shutil.copy(other_object(tmp_path / "other"), file)
    with sysroot.unchanged():
        failure = rebase(sysroot, repo, served.key, 1).failure
    assert "orrupted" in failure.detail


def test_an_archive_of_anybody_is_read_and_nothing_of_it_is_linked(
    sysroot: System, served: Served, tmp_path: Path
) -> None:
    """Whoever owns it; a blank in its name does not matter."""
    repo = of_somebody(served.repo, tmp_path / "of somebody")
    rebase(sysroot, repo, served.key, 0)
    assert (sysroot.deployment() / "usr/bin/tool").read_text() == "good"
    assert_own(sysroot.repo, repo)
    # The same remote is looked at for updates.
    sysroot.run("upgrade", "--check", "--unchanged-exit-77", status=77)


@pytest.mark.parametrize("linked", [False, True])
def test_a_sysroot_is_composed_from_anybodys_archive_and_nothing_of_it_is_linked(
    base_repo: Base, tmp_path: Path, linked: bool
) -> None:
    """libostree makes hard links of an archive, too, where its objects seem to be root's. They may seem so by a link to
    a directory where anybody can write: no link is followed."""
    archive = tmp_path / "archive"
    output("ostree", "init", f"--repo={archive}", "--mode=archive")
    output("ostree", "pull-local", f"--repo={archive}", base_repo.repo, REF)
    repo = of_somebody(archive, tmp_path / "of somebody")
    if linked:
        (repo / "objects").rename(tmp_path / "objects")
        os.chown(tmp_path / "objects", 0, 0)
        (repo / "objects").symlink_to(tmp_path / "objects")
    new = tmp_path / "new"
    result = run_cli("compose", "sysroot", "--repo", repo, REF, new, status=1 if linked else 0)
    assert new.exists() != linked
    if linked:
        assert f"{repo}/objects is not a directory" in result.stderr
    else:
        assert_own(new / "ostree/repo", repo)
        assert (new / "ostree/deploy/debian/deploy").is_dir()


def of_somebody(repo: Path, place: Path) -> Path:
    """A copy of an archive that somebody else owns."""
    place.mkdir()
    copy = place / "repo"
    shutil.copytree(repo, copy, symlinks=True)
    for top, names, files in os.walk(copy):
        for name in (*names, *files):
            os.lchown(os.path.join(top, name), OWNER, OWNER)
    os.chown(copy, OWNER, OWNER)
    return copy


def assert_own(repo: Path, source: Path) -> None:
    """All files of a repository are root's, and none is one of its source."""
    ours = [path for path in (repo / "objects").rglob("*") if path.is_file() and not path.is_symlink()]
    assert {path.stat().st_uid for path in ours} == {0}
    theirs = {path.stat().st_ino for path in (source / "objects").rglob("*") if path.is_file()}
    assert theirs
    assert not theirs & {path.stat().st_ino for path in ours}


def test_a_repository_of_plain_files_has_to_be_roots(sysroot: System, served: Served, tmp_path: Path) -> None:
    repo = bare(served.repo, tmp_path / "bare")
    os.chown(repo / "objects", OWNER, -1)
    with sysroot.unchanged():
        failure = rebase(sysroot, repo, served.key, 1).failure
    assert failure.brief == "the remote stick cannot be trusted with its files"
    assert f"others than root can write to {repo}/objects" in failure.detail
    os.chown(repo / "objects", 0, -1)
    repo.chmod(0o757)
    failure = sysroot.run("rebase", f"stick:{REF}", status=1).failure
    assert f"others than root can write to {repo}," in failure.detail
    repo.chmod(0o755)
    # Nobody else gets through pytest's directory.
    sysroot.run("rebase", f"stick:{REF}")
    with public_directory() as directory:
        shutil.copytree(repo, directory / "bare", symlinks=True)
        file = next((directory / "bare/objects").rglob("*.dirtree"))
        os.chown(file, OWNER, -1)
        sysroot.run("remote", "add", "open", f"file://{directory}/bare", "--gpg-import", served.key)
        failure = sysroot.run("rebase", f"open:{REF}", status=1).failure
        assert f"{file} belongs to somebody else" in failure.detail


def test_what_was_judged_is_what_is_read(served: Served, tmp_path: Path) -> None:
    """Who owns the directory in which a repository lies can put another one in its place meanwhile."""
    own, other = bare(served.repo, tmp_path / "own"), bare(served.repo, tmp_path / "other")
    os.chown(other / "objects", OWNER, -1)
    link = tmp_path / "link"
    link.symlink_to(own)
    code = f"""
import os, sys
from pathlib import Path
from apt_ostree.host import mounts
from apt_ostree.system import local_remote
mounts.enter_private_namespace()
with local_remote.readable(Path({str(link)!r}), "it", Path({str(tmp_path)!r})) as place:
    os.rename({str(link)!r}, {str(link)!r} + ".old")
    os.symlink({str(other)!r}, {str(link)!r})
    assert os.path.samefile(place / "objects", {str(own / "objects")!r})
    try:
        os.link(next(place.glob("objects/*/*")), {str(tmp_path / "linked")!r})
    except OSError as error:
        print(error.strerror)
"""
    assert output(sys.executable, "-c", code) == "Invalid cross-device link\n"


def test_a_repository_that_is_not_there_is_named(sysroot: System, served: Served, tmp_path: Path) -> None:
    with sysroot.unchanged():
        failure = rebase(sysroot, tmp_path / "absent", served.key, 1).failure
    assert failure.brief == "the remote stick is not there"
    assert "network" not in failure.resolution
