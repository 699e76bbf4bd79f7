"""What the installed ostree says of what is not there, what it cannot read, and what is read of its objects: these must
never be mixed up."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from apt_ostree.errors import ToolError
from apt_ostree.tools import listing, ostree
from tests.integration.system import Base, output


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A repository with the ref ``main``: a commit that has /usr/a, and nothing else."""
    (tmp_path / "tree/usr").mkdir(parents=True)
    (tmp_path / "tree/usr/a").write_text("text\n")
    ostree.init(tmp_path / "repo")
    ostree.commit(tmp_path / "repo", "main", [f"dir={tmp_path / 'tree'}"], ostree.Description())
    return tmp_path / "repo"


def test_a_repository_is_for_its_owner_alone(repo: Path) -> None:
    assert repo.stat().st_mode & 0o777 == 0o700
    # One that somebody opened stays so.
    repo.chmod(0o755)
    ostree.init(repo)
    assert repo.stat().st_mode & 0o777 == 0o755


def test_what_a_repository_has_not_is_none(repo: Path) -> None:
    for revision in ("absent", "remote:absent", "abc", "a b", "main^"):
        assert ostree.resolve(repo, revision) is None
    for path in ("/usr/b", "/b/c", "/usr/a/b"):
        assert listing.of(repo, "main").find(path) is None
        assert listing.of(repo, "main").read(path) is None


def test_what_a_repository_has_is_found(repo: Path) -> None:
    commit = ostree.resolve(repo, "main")
    assert commit is not None
    assert ostree.resolve(repo, commit[:8]) == commit
    assert listing.of(repo, commit[:8]).read("/usr/a") == "text\n"


@pytest.mark.parametrize("mode", ["bare", "archive", "bare-user", "bare-user-only"])
def test_a_commit_is_read_as_ostree_lists_it(base_repo: Base, tmp_path: Path, mode: str) -> None:
    repo, commit = base_repo.repo, base_repo.commit
    if mode != "bare":
        repo = tmp_path / "repo"
        ostree.init(repo, mode)
    if mode == "bare-user-only":
        # It keeps no owners, and no set-user-ID bits.
        output("ostree", "checkout", "-U", f"--repo={base_repo.repo}", commit, tmp_path / "tree")
        words = [f"--tree=dir={tmp_path / 'tree'}", "--canonical-permissions", "--orphan"]
        commit = output("ostree", "commit", f"--repo={repo}", *words).strip()
    elif mode != "bare":
        output("ostree", "pull-local", f"--repo={repo}", base_repo.repo, commit)
    lines = output("ostree", "ls", f"--repo={repo}", "-RC", commit).splitlines()
    found = listing.of(repo, commit)
    read = [_line(entry) for entry in [found.find("/"), *found.below("/")] if entry is not None]
    assert len(read) > 2000
    assert sorted(read) == sorted(re.sub(r"^(d.* [0-9a-f]{64}) [0-9a-f]{64} ", r"\1 ", line) for line in lines)


def _line(entry: listing.Listed) -> str:
    target = f" -> {entry.target}" if entry.kind == "l" else ""
    return f"{entry.kind}0{entry.mode:04o} {entry.uid} {entry.gid} {entry.size:6} {entry.checksum} {entry.path}{target}"


def test_a_damaged_ref_and_a_lost_repository_are_errors(repo: Path, tmp_path: Path) -> None:
    (repo / "refs/heads/main").write_text("junk\n")
    with pytest.raises(ToolError, match="ostree failed"):
        ostree.resolve(repo, "main")
    with pytest.raises(ToolError, match="ostree failed"):
        ostree.resolve(tmp_path / "absent", "main")


def test_the_installed_ostree_lists_its_commands(repo: Path) -> None:
    assert ostree.has_admin("deploy")
    assert not ostree.has_admin("frobnicate")


def test_a_commit_whose_files_were_not_pulled_is_partial(repo: Path, tmp_path: Path) -> None:
    child = tmp_path / "child"
    ostree.init(child)
    ostree.run(child, "remote", "add", "--no-gpg-verify", "origin", f"file://{repo}")
    subprocess.run(["ostree", f"--repo={repo}", "summary", "-u"], check=True)
    ostree.run(child, "pull", "--commit-metadata-only", "origin", "main")
    commit = ostree.resolve(child, "origin:main")
    assert commit is not None
    assert ostree.is_partial(child, commit)
    assert not ostree.is_partial(repo, commit)
