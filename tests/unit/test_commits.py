"""What is believed of the commits behind deployments: the origin, which nobody but this machine writes, decides."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from apt_ostree.errors import SysrootError, TreeError
from apt_ostree.model import CommitInfo, Deployment, Package
from apt_ostree.ops import build
from apt_ostree.system import commits, inventory, metadata
from apt_ostree.system import sysroot as sysroots
from apt_ostree.tools import listing, ostree

REPO = Path("/repo")
A, B, C = "a" * 64, "b" * 64, "c" * 64
CLAIMS = {"apt-ostree.clientlayer": "true", "apt-ostree.lock": "[[1]]", "apt-ostree.left-out": "7", "version": "1"}

ORIGINS: dict[str, Mapping[str, Mapping[str, str]]] = {
    "base": {"origin": {"refspec": "a:b"}},
    "layer": {"origin": {"baserefspec": "a:b"}, "packages": {"requested": "vim;"}},
    "without a ref": {"packages": {"requested": "vim;"}},
    "lost": {},
}


def deployment(origin: Mapping[str, Mapping[str, str]], checksum: str = A, osname: str = "debian") -> Deployment:
    return Deployment(0, osname, checksum, 0, "", origin)


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> dict[str, CommitInfo]:
    """The commits of the repository: a layer, or what says so, over a base that says it is one, too."""
    found = {A: CommitInfo(A, B, 0, "", CLAIMS), B: CommitInfo(B, C, 0, "", CLAIMS)}
    monkeypatch.setattr(ostree, "commit_info", lambda _repo, checksum: found.get(checksum))
    return found


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize(("origin", "base"), [("base", A), ("layer", B), ("without a ref", B), ("lost", B)])
def test_the_origin_says_whether_a_commit_is_a_layer(origin: str, base: str) -> None:
    info = commits.commit_of(REPO, deployment(ORIGINS[origin]))
    assert metadata.is_layer(info) is (base != A)
    found = commits.base_of(REPO, deployment(ORIGINS[origin]))
    assert found == CommitInfo(base, {A: B, B: C}[base], 0, "", {"version": "1"})
    if base == A:
        assert (metadata.lock(info), metadata.left_out(info)) == ([], [])


@pytest.mark.parametrize("origin", ORIGINS)
def test_a_commit_that_is_no_layer_says_nothing_of_one(known: dict[str, CommitInfo], origin: str) -> None:
    known[A] = CommitInfo(A, B, 0, "", {**CLAIMS, "apt-ostree.clientlayer": "false"})
    assert commits.commit_of(REPO, deployment(ORIGINS[origin])) == CommitInfo(A, B, 0, "", {"version": "1"})
    assert commits.base_of(REPO, deployment(ORIGINS[origin])).checksum == A


def test_a_layer_without_its_base_is_an_error(known: dict[str, CommitInfo]) -> None:
    del known[B]
    with pytest.raises(SysrootError, match="the base of deployment 0 is missing"):
        commits.base_of(REPO, deployment(ORIGINS["layer"]))
    known[A] = CommitInfo(A, None, 0, "", CLAIMS)
    with pytest.raises(SysrootError, match="has no base"):
        commits.base_of(REPO, deployment(ORIGINS["layer"]))
    assert commits.base_of(REPO, deployment(ORIGINS["base"])).checksum == A


INPUTS = "1" * 64


def made(inputs: str = INPUTS, **other: Mapping[str, str]) -> Mapping[str, Mapping[str, str]]:
    return {**ORIGINS["layer"], "apt-ostree": {"inputs": inputs}, **other}


@pytest.mark.parametrize(
    ("deployed", "is_found"),
    [
        (deployment(made()), True),
        (deployment(ORIGINS["layer"]), False),
        (deployment(made("2" * 64)), False),
        (deployment(made(), osname="other"), False),
        # A base, whatever its commit says.
        (deployment({**made(), "origin": {"refspec": "a:b"}}), False),
        # A commit over another base.
        (deployment(made(), checksum=B), False),
        # A commit that is missing.
        (deployment(made(), checksum=C), False),
    ],
)
def test_a_layer_is_used_again_if_this_machine_made_it_from_the_same(
    known: dict[str, CommitInfo], deployed: Deployment, is_found: bool
) -> None:
    """Anybody can make a commit with the digest of others' inputs, and with others' base as its parent."""
    claims = {**CLAIMS, "apt-ostree.inputs-sha256": INPUTS}
    known.update({checksum: CommitInfo(checksum, info.parent, 0, "", claims) for checksum, info in known.items()})
    both = (deployed, deployment(ORIGINS["base"]))
    current: Any = SimpleNamespace(repo=REPO, osname="debian", sysroot=sysroots.Sysroot(Path("/"), both))
    assert build.find(current, CommitInfo(B, None, 0, "", {}), INPUTS) == (A if is_found else None)


@pytest.mark.parametrize("listed", ["{}", "[1]", "garbage"])
def test_a_damaged_list_of_packages_stops_nothing_where_the_tree_has_a_database(
    known: dict[str, CommitInfo], monkeypatch: pytest.MonkeyPatch, listed: str
) -> None:
    text = "Package: vim\nStatus: install ok installed\nVersion: 1\nArchitecture: all\n"
    commit = f"{len(listed):064x}"
    known[commit] = CommitInfo(commit, None, 0, "", {"apt-ostree.pkglist": listed})
    monkeypatch.setattr(ostree, "is_partial", lambda *_: False)
    monkeypatch.setattr(listing, "of", lambda *_: SimpleNamespace(read=lambda path: text))
    assert inventory.package_list(REPO, commit) == [Package("vim", "1", "all")]
    monkeypatch.setattr(ostree, "is_partial", lambda *_: True)
    inventory._package_list.cache_clear()
    with pytest.raises(TreeError, match="does not have a dpkg database"):
        inventory.package_list(REPO, commit)
    known[commit] = CommitInfo(commit, None, 0, "", {"apt-ostree.pkglist": json.dumps([["vim", "2", "all"]])})
    assert inventory.package_list(REPO, commit) == [Package("vim", "2", "all")]
