"""Where images are put together: nobody else leads root elsewhere, whoever owns the directories above."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.integration.system import REF, Base, output, run_cli

OWNER = 12345
MANIFEST = 'ref = "x/y"\nsuite = "bookworm"\nmirrors = ["copy:/nonexistent"]\n'

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts and owners need root")


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    place = tmp_path / "m.toml"
    place.write_text(MANIFEST)
    return place


def test_an_image_is_put_together_in_roots_own_repository_alone(tmp_path: Path, manifest: Path) -> None:
    """Its owner could have the work area be any directory of root's."""
    victim = tmp_path / "victim"
    (victim / "compose-4000000").mkdir(parents=True)
    (victim / "compose-4000000/data").write_text("root's")
    (victim / "compose.log").write_text("root's")
    repo = tmp_path / "repo"
    output("ostree", "init", f"--repo={repo}", "--mode=archive")
    (repo / "extensions").mkdir(exist_ok=True)
    (repo / "extensions/apt-ostree").symlink_to(victim)
    os.chown(repo / "extensions", OWNER, OWNER)
    failure = run_cli("compose", "tree", "--repo", repo, manifest, status=2).failure
    assert failure.brief == f"others than root can write to {repo}/extensions"
    os.chown(repo / "extensions", 0, 0)
    # What was there before it was root's is not followed either.
    failure = run_cli("compose", "tree", "--repo", repo, manifest, status=1).failure
    assert failure.brief == "/extensions/apt-ostree is not a directory"
    assert failure.detail == str(repo)
    assert sorted(path.name for path in victim.rglob("*")) == ["compose-4000000", "compose.log", "data"]
    assert (victim / "compose.log").read_text() == "root's"


def test_a_directory_of_other_files_becomes_no_repository(tmp_path: Path, manifest: Path) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir/file").touch()
    failure = run_cli("compose", "tree", "--repo", tmp_path / "dir", manifest, status=2).failure
    assert failure.brief == f"{tmp_path}/dir is not an OSTree repository"
    assert os.listdir(tmp_path / "dir") == ["file"]


def test_a_log_is_named_by_the_path_that_the_user_knows(tmp_path: Path, manifest: Path) -> None:
    repo = tmp_path / "a/repo"
    failure = run_cli("compose", "tree", "--repo", repo, manifest, status=1).failure
    log = repo / "extensions/apt-ostree/compose.log"
    assert f"the whole log: {log}" in failure.detail
    assert log.is_file()
    assert (repo.stat().st_mode & 0o7777, repo.parent.stat().st_mode & 0o7777) == (0o700, 0o755)


def test_whoever_owns_the_directory_above_leads_root_nowhere(tmp_path: Path) -> None:
    code = f"""
import os
from pathlib import Path
from apt_ostree.host import mounts
from apt_ostree.ops import place
mounts.enter_private_namespace()
path, elsewhere = Path({str(tmp_path / "new")!r}), Path({str(tmp_path / "elsewhere")!r})
elsewhere.mkdir()
with place.held(path, Path("/run/apt-ostree-test"), 0o755) as tree:
    path.rename(path.with_name("moved"))
    path.symlink_to(elsewhere)
    tree.write("file", b"x")
    Path("/run/apt-ostree-test/other").touch()
os.rmdir("/run/apt-ostree-test")
print(os.listdir(elsewhere), sorted(os.listdir(path.with_name("moved"))))
"""
    assert output(sys.executable, "-c", code) == "[] ['file', 'other']\n"


def test_a_sysroot_is_made_in_roots_own_directory_alone(base_repo: Base, tmp_path: Path) -> None:
    new = tmp_path / "new"
    new.mkdir()
    os.chown(new, OWNER, OWNER)
    failure = run_cli("compose", "sysroot", "--repo", base_repo.repo, REF, new, status=2).failure
    assert failure.brief == f"others than root can write to {new}"
    failure = run_cli("compose", "sysroot", "--repo", base_repo.repo, "no/such", tmp_path / "other", status=1).failure
    assert failure.brief == f"{base_repo.repo} does not have the ref no/such"
    assert REF in failure.detail
    assert not (tmp_path / "other").exists()
