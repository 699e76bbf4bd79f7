"""The units that a tree brings: what all of them promise."""

from __future__ import annotations

import configparser
from pathlib import Path

import pytest

from apt_ostree.tree import units

DATA = Path(units.__file__).parents[1] / "data"


@pytest.mark.parametrize("name", sorted(path.name for path in DATA.glob("*.service")))
def test_no_unit_keeps_a_machine_from_booting_for_ever(name: str) -> None:
    """systemd.service(5): a oneshot has no limit of its own. What waits for it goes on then, as nothing requires it."""
    parser = configparser.RawConfigParser(strict=False)
    parser.read_string((DATA / name).read_text())
    assert parser["Service"]["TimeoutStartSec"] in {"15min", "1h"}
    assert "RequiredBy" not in (DATA / name).read_text()


@pytest.mark.parametrize(("name", "places"), [("identity", "/etc /var"), ("var", "/var"), ("overlays", "/var")])
def test_what_works_in_directories_of_others_follows_no_link_there(name: str, places: str) -> None:
    """settle-accounts asks for it itself, for each of its walks."""
    unit = (DATA / f"apt-ostree-{name}.service").read_text()
    assert f"ExecStart=/usr/lib/apt-ostree/without-links {places} -- /usr/lib/apt-ostree/" in unit
    assert '"$programs/without-links" "$tree" -- find' in (DATA / "settle-accounts").read_text()
