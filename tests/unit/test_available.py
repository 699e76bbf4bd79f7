"""What the last look at remote and archives found: written down, read again, and forgotten when it is deployed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from apt_ostree.changes import Change
from apt_ostree.errors import TreeError
from apt_ostree.model import Deployment, Package
from apt_ostree.ops import available
from apt_ostree.ops.available import Update
from apt_ostree.system.sysroot import Sysroot

BASE = "e" * 64
DEPLOYED = Deployment(0, "debian", "a" * 64, 0, "", {"origin": {"baserefspec": "example:ref"}})
OLD, NEW = Package("x", "1", "all"), Package("x", "2", "all")
UPDATE = Update(
    "a" * 64, BASE, "example:ref", 7, "b" * 64, "13.2", 5, Change(changed=((OLD, NEW),)), Change((NEW,), (OLD,), ())
)


def changed(**values: Any) -> str:
    return json.dumps({**available.document(UPDATE), **values})


DAMAGED = [
    "", "{", "[]", "{}", '{"basis": 1}', "[" * 99_999, changed(checked="x"), changed(checked=1e999),
    changed(version=[1]), changed(timestamp=True), changed(difference=[]),
    changed(layered={"added": [1], "removed": [], "changed": []}),
    changed(layered={"added": [], "removed": [], "changed": [[1]]}), changed(checksum={}), "{" + " " * (17 << 20),
]  # fmt: skip


@pytest.fixture(autouse=True)
def stateroot(tmp_path: Path) -> Path:
    place = tmp_path / "ostree/deploy/debian"
    place.mkdir(parents=True)
    return place


@pytest.mark.parametrize("update", [UPDATE, replace(UPDATE, difference=None, version=""), replace(UPDATE, base=None)])
def test_what_was_found_is_read_again(tmp_path: Path, update: Update) -> None:
    loaded = Sysroot(tmp_path, (DEPLOYED,))
    assert available.cached(loaded, DEPLOYED, BASE) is None
    available.remember(loaded, "debian", update)
    assert available.cached(loaded, DEPLOYED, BASE) == update


def test_another_layer_over_the_same_base_leaves_the_news_of_the_base(tmp_path: Path) -> None:
    loaded = Sysroot(tmp_path, (DEPLOYED,))
    available.remember(loaded, "debian", UPDATE)
    other = replace(DEPLOYED, checksum="c" * 64)
    assert available.cached(loaded, other, BASE) == replace(UPDATE, layered=Change())


def test_nothing_newer_another_base_and_another_ref_are_no_news(tmp_path: Path) -> None:
    loaded = Sysroot(tmp_path, (DEPLOYED,))
    available.remember(loaded, "debian", replace(UPDATE, base=None, layered=Change()))
    assert available.cached(loaded, DEPLOYED, BASE) is None
    available.remember(loaded, "debian", UPDATE)
    assert available.cached(loaded, DEPLOYED, "b" * 64) is None
    assert available.cached(loaded, replace(DEPLOYED, origin={"origin": {"refspec": "example:x"}}), BASE) is None


@pytest.mark.parametrize("text", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_note_is_no_news(tmp_path: Path, text: str) -> None:
    loaded = Sysroot(tmp_path, (DEPLOYED,))
    available.remember(loaded, "debian", UPDATE)
    (tmp_path / "ostree/deploy/debian/var/lib/apt-ostree/update.json").write_text(text)
    assert available.cached(loaded, DEPLOYED, BASE) is None


def test_no_link_is_followed(tmp_path: Path, stateroot: Path) -> None:
    loaded = Sysroot(tmp_path, (DEPLOYED,))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "update.json").write_text(changed())
    (stateroot / "var/lib").mkdir(parents=True)
    (stateroot / "var/lib/apt-ostree").symlink_to(elsewhere)
    assert available.cached(loaded, DEPLOYED, BASE) is None
    with pytest.raises(TreeError):
        available.remember(loaded, "debian", UPDATE)
    assert (elsewhere / "update.json").read_text() == changed()
