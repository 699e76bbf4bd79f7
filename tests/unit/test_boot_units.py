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


EARLY = "[Unit]\nDefaultDependencies=no\n"


def put(tree: Path, name: str, text: str) -> None:
    place = tree / "usr/lib/systemd/system" / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)


def waiting(*trees: Path) -> set[str]:
    """The services that wait for /var in what these trees make together, the lowest first."""
    top = trees[0].parent / "top"
    top.mkdir(exist_ok=True)
    units.order_after_var(trees, top, "layer1")
    place = top / "usr/lib/systemd/system/var.mount.d/apt-ostree-layer1.conf"
    lines = place.read_text().splitlines() if place.exists() else ["[Unit]"]
    assert lines[0] == "[Unit]"
    return {line.removeprefix("Before=") for line in lines[1:]}


@pytest.mark.parametrize(
    ("text", "waits"),
    [
        (f"{EARLY}ConditionDirectoryNotEmpty=|/var/lib/iscsi/nodes\n", True),
        (f"{EARLY}AssertPathExists = !/var/lib/x\n", True),
        ("[Unit]\nDefaultDependencies=yes\nConditionPathExists=/var/lib/x\n", False),
        ("[Unit]\nConditionPathExists=/var/lib/x\n", False),
        (f"{EARLY}ConditionPathExists=/etc/x\n", False),
        (f"{EARLY}#ConditionPathExists=/var/lib/x\n", False),
        # It would wait for what waits for it.
        (f"{EARLY}ConditionPathExists=/var/lib/x\nBefore=a.service local-fs-pre.target\n", False),
    ],
)
def test_an_early_service_that_looks_into_var_waits_for_it(tmp_path: Path, text: str, waits: bool) -> None:
    put(tmp_path / "tree", "x.service", text)
    assert waiting(tmp_path / "tree") == ({"x.service"} if waits else set())


def test_the_service_that_counts_is_the_topmost_layers(tmp_path: Path) -> None:
    for tree, name, path in (("low", "a", "/var/x"), ("low", "b", "/x"), ("high", "a", "/x"), ("high", "b", "/var/x")):
        put(tmp_path / tree, f"{name}.service", f"{EARLY}ConditionPathExists={path}\n")
    put(tmp_path / "high", "c.service\nBefore=d.service", f"{EARLY}ConditionPathExists=/var/x\n")
    assert waiting(tmp_path / "low", tmp_path / "high") == {"b.service"}
