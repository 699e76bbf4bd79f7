"""What ostree prints and writes, read back."""

from __future__ import annotations

import os
import resource
from collections.abc import Sequence
from pathlib import Path

import pytest

from apt_ostree.errors import ToolError
from apt_ostree.host import proc
from apt_ostree.tools import commit_object, ostree
from tests.unit import fake

CHECKSUM = "0b61a941baa75f30a67ed475d513b46929b8c1ba67d6f781435ac0a44d6ba61d"


@pytest.mark.parametrize("length", [0, 1, 100_000, 100_001, 250_000, 1_100_001])
def test_long_metadata_is_cut_into_arguments_that_join_again(length: int) -> None:
    value = "".join(chr(ord("a") + n % 26) for n in range(length))
    words = ostree._metadata_argument("apt-ostree.lock", value)
    assert all(len(word.encode()) < 128 * 1024 for word in words)
    pairs = dict(word.removeprefix("--add-metadata-string=").split("=", 1) for word in words)
    assert commit_object.join_pieces(pairs) == {"apt-ostree.lock": value}


def test_a_commit_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    place = tmp_path / "objects" / CHECKSUM[:2] / f"{CHECKSUM[2:]}.commit"
    place.parent.mkdir(parents=True)
    place.write_bytes(fake.commit("{'padding': <[byte 0x00]>}"))
    assert ostree.commit_info(tmp_path, CHECKSUM) is not None
    ostree._commit_info.cache_clear()
    os.truncate(place, ostree.COMMIT_MAX + 1)
    with pytest.raises(ToolError) as caught:
        ostree.commit_info(tmp_path, CHECKSUM)
    assert "more than" in caught.value.detail


def saying(monkeypatch: pytest.MonkeyPatch, status: int, error: str, output: str = "") -> None:
    """Let every child end like this."""

    def run(argv: Sequence[str], *, check: bool = True) -> proc.Result:
        result = proc.Result(tuple(argv), status, output, error)
        if check and status:
            raise proc.ChildError(result)
        return result

    monkeypatch.setattr(proc, "run", run)


REPO = Path("/repo")


@pytest.mark.parametrize(
    "error",
    [
        "error: Refspec 'absent' not found",
        "error: Refspec 'remote:absent' not found",
        "error: Invalid refspec a b",
        f"error: Commit {CHECKSUM} has no parent",
        "error: Couldn't open ref 'dir': Is a directory",
    ],
)
def test_a_revision_that_does_not_exist_is_none(monkeypatch: pytest.MonkeyPatch, error: str) -> None:
    saying(monkeypatch, 1, f"{error}\n")
    assert ostree.resolve(REPO, "x") is None


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (1, "error: Invalid rev junk"),
        (1, "error: opening repo: opendir(/repo): No such file or directory"),
        (1, "error: Couldn't open ref 'x': Permission denied"),
        (1, ""),
        (-11, ""),
        (-9, "error: Refspec 'x' not found"),
    ],
)
def test_a_revision_that_cannot_be_looked_up_is_an_error(
    monkeypatch: pytest.MonkeyPatch, status: int, error: str
) -> None:
    saying(monkeypatch, status, error)
    with pytest.raises(ToolError, match="ostree failed"):
        ostree.resolve(REPO, "x")


def test_a_revision_that_exists_is_its_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    saying(monkeypatch, 0, "", f"{CHECKSUM}\n")
    assert ostree.resolve(REPO, "x") == CHECKSUM


HELP = """\
Builtin "admin" Commands:
  set-default           Make deployment INDEX the default
  undeploy              Delete deployment INDEX
"""


def test_the_commands_that_an_ostree_knows_are_read_from_its_help(monkeypatch: pytest.MonkeyPatch) -> None:
    saying(monkeypatch, 0, "", HELP)
    assert ostree.has_admin("set-default")
    assert not ostree.has_admin("set")
    assert not ostree.has_admin("deployment")
    saying(monkeypatch, 1, "error: no help today")
    with pytest.raises(ToolError):
        ostree.has_admin("set-default")


def test_the_references_of_a_repository_are_listed_whatever_they_hold(tmp_path: Path) -> None:
    heads = tmp_path / "refs/heads/a"
    heads.mkdir(parents=True)
    (heads / "good").write_text(f"{CHECKSUM}\n")
    (heads / "bad").write_bytes(b"\xff\x00")
    assert ostree.refs(tmp_path) == {"a/good": CHECKSUM, "a/bad": "\udcff\0"}


def test_ostree_admin_may_open_all_the_files_that_its_caller_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """It removes older deployments that are deeper than a service's 1024 files, and errors name it and not what set the
    limit."""
    called: list[list[str]] = []

    def run(argv: Sequence[str], *, env: object = None) -> proc.Result:
        called.append(list(argv))
        result = proc.Result(tuple(argv), 1, "", "error: no")
        raise proc.ChildError(result)

    monkeypatch.setattr(proc, "run", run)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with pytest.raises(proc.ChildError, match="ostree failed") as caught:
        ostree.admin(REPO, "undeploy", "1")
    assert caught.value.result.argv == ("ostree", "admin", "undeploy", "1", "--sysroot=/repo")
    with pytest.raises(proc.ChildError):
        ostree.cleanup(REPO)
    assert [argv[:5] for argv in called] == [["prlimit", f"--nofile={most}", "--", "ostree", "admin"]] * 2
