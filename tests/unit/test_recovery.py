"""The work area: made and emptied as directories of ours, never through a link."""

from __future__ import annotations

from pathlib import Path

import pytest

from apt_ostree.errors import TreeError
from apt_ostree.ops import recovery
from apt_ostree.system.sysroot import Sysroot

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
