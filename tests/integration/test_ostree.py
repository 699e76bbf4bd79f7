"""What the installed ostree says of what is not there, and of what it cannot read: these must never be mixed up."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from apt_ostree.errors import ToolError
from apt_ostree.tools import ostree


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
        assert ostree.cat(repo, "main", path) is None
        assert not ostree.exists(repo, "main", path)


def test_what_a_repository_has_is_found(repo: Path) -> None:
    commit = ostree.resolve(repo, "main")
    assert commit is not None
    assert ostree.resolve(repo, commit[:8]) == commit
    assert ostree.cat(repo, commit, "/usr/a") == "text\n"
    assert ostree.exists(repo, commit, "/usr/a")
    assert ostree.exists(repo, commit, "/usr")


@pytest.mark.parametrize("kind", ["dirtree", "dirmeta"])
def test_a_damaged_commit_is_an_error(repo: Path, kind: str) -> None:
    for path in repo.glob(f"objects/*/*.{kind}"):
        path.unlink()
    with pytest.raises(ToolError, match="ostree failed"):
        ostree.cat(repo, "main", "/usr/a")
    with pytest.raises(ToolError, match="ostree failed"):
        ostree.exists(repo, "main", "/usr/b")


def test_a_lost_file_is_an_error(repo: Path) -> None:
    for path in repo.glob("objects/*/*.file"):
        path.unlink()
    with pytest.raises(ToolError, match="ostree failed"):
        ostree.cat(repo, "main", "/usr/a")


def test_a_commit_that_is_not_here_is_an_error(repo: Path) -> None:
    with pytest.raises(ToolError, match="ostree failed"):
        ostree.exists(repo, "a" * 64, "/usr/a")


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
