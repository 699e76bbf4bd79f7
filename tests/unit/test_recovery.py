"""The work area: made and emptied as directories of ours, never through a link."""

from __future__ import annotations

from pathlib import Path

import pytest

from apt_ostree.errors import ToolError, TreeError
from apt_ostree.ops import recovery
from apt_ostree.system import commits
from apt_ostree.system.sysroot import Sysroot
from apt_ostree.tools import ostree
from tests.unit import fake

AREA = "ostree/repo/extensions/apt-ostree"


@pytest.fixture
def loaded(tmp_path: Path) -> Sysroot:
    """A sysroot whose work area was not made yet."""
    (tmp_path / "root/ostree/repo").mkdir(parents=True)
    return Sysroot(tmp_path / "root", ())


def test_the_work_area_is_closed_but_for_apts_part(loaded: Sysroot) -> None:
    recovery.prepare_area(loaded)
    loaded.area.chmod(0o777)
    recovery.prepare_area(loaded)
    modes = {place.name: place.stat().st_mode & 0o777 for place in (loaded.area, *loaded.area.iterdir())}
    assert modes == {"apt-ostree": 0o711, "apt": 0o755, "base": 0o700, "pkgs": 0o700, "tmp": 0o700}


@pytest.mark.parametrize("link", ["ostree/repo/extensions", AREA, f"{AREA}/tmp", f"{AREA}/apt"])
def test_nothing_is_emptied_or_opened_where_a_link_in_the_work_area_leads(
    loaded: Sysroot, tmp_path: Path, link: str
) -> None:
    host = tmp_path / "host"
    for directory in (host, host / "tmp", host / "archives", host / "apt-ostree"):
        directory.mkdir(mode=0o755)
        (directory / "precious").touch()
    (loaded.path / link).parent.mkdir(parents=True, exist_ok=True)
    (loaded.path / link).symlink_to(host)
    before = {place: place.stat().st_mode for place in host.rglob("*")}
    with pytest.raises(TreeError, match=r"is not a directory|is a link"):
        recovery.prepare_area(loaded)
    recovery.empty(loaded, "tmp")
    recovery.empty(loaded, "apt/archives")
    if link.startswith(f"{AREA}/"):
        assert {place: place.stat().st_mode for place in host.rglob("*")} == before


def test_emptying_removes_links_and_not_what_they_lead_to(loaded: Sysroot, tmp_path: Path) -> None:
    recovery.prepare_area(loaded)
    (tmp_path / "precious").mkdir()
    (loaded.area / "tmp/link").symlink_to(tmp_path / "precious")
    (loaded.area / "tmp/deep/deeper").mkdir(parents=True)
    recovery.empty(loaded, "tmp")
    assert list((loaded.area / "tmp").iterdir()) == []
    assert (tmp_path / "precious").is_dir()


class Repository:
    """The refs of a repository, and what was asked of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.refs = {commits.PENDING_REF: "c" * 64}
        self.cleaned = 0
        self.error: Exception | None = None
        monkeypatch.setattr(ostree, "refs", lambda repo, prefix: dict(self.refs))
        monkeypatch.setattr(ostree, "ref", lambda repo, name: self.refs.get(name))
        monkeypatch.setattr(ostree, "delete_ref", lambda repo, name: self.refs.pop(name))
        monkeypatch.setattr(ostree, "create_ref", lambda repo, name, commit: self.refs.update({name: commit}))
        monkeypatch.setattr(ostree, "cleanup", self.cleanup)
        monkeypatch.setattr(recovery, "hold_bases", lambda loaded: None)
        monkeypatch.setattr(Sysroot, "again", lambda loaded: loaded)

    def cleanup(self, path: Path) -> None:
        assert not self.refs
        if self.error is not None:
            raise self.error
        self.cleaned += 1


def test_a_commit_that_was_not_deployed_goes_with_its_objects(loaded: Sysroot, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = Repository(monkeypatch)
    recovery.prepare_area(loaded)
    recovery.sweep(loaded, fake.Silent())
    assert (repository.refs, repository.cleaned) == ({}, 1)
    recovery.sweep(loaded, fake.Silent())
    assert repository.cleaned == 1


def test_a_commit_that_cannot_be_removed_is_a_warning_and_tried_again(
    loaded: Sysroot, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository, warnings = Repository(monkeypatch), list[str]()
    recovery.prepare_area(loaded)
    repository.error = ToolError("ostree failed")
    reporter = fake.Silent()
    monkeypatch.setattr(reporter, "warn", warnings.append)
    recovery.sweep(loaded, reporter)
    assert warnings == ["cannot remove the files of a layer that was not deployed: ostree failed"]
    repository.error = None
    recovery.sweep(loaded, reporter)
    assert (repository.refs, repository.cleaned, len(warnings)) == ({}, 1, 1)
