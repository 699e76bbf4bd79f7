"""The order of boot, written as libostree writes it."""

from __future__ import annotations

from pathlib import Path

from apt_ostree.system import reordering
from apt_ostree.system.sysroot import load
from tests.unit.fake import Fake


def test_of_equal_versions_a_reordering_means_the_deployment_that_was_shown(tmp_path: Path) -> None:
    """ostree writes none; whatever wrote them, an index has to mean one deployment."""
    fake = Fake(tmp_path / "sysroot")
    for number, letter in enumerate("abc"):
        fake.deploy(letter * 64, "1", file=f"ostree-{number}.conf")
    before = load(fake.path).deployments
    reordering._reorder(fake.path, 1)
    after = load(fake.path).deployments
    assert [d.id for d in after] == [before[1].id, before[0].id, before[2].id]
