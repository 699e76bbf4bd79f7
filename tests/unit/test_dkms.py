"""dkms's state: a directory while scripts run, and the image's again afterwards."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from apt_ostree.host.door import Tree
from apt_ostree.layering import dkms, overlay
from apt_ostree.layering.job import Job
from tests.unit import fake

KEPT = "usr/lib/sysimage/dkms"


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A base that has built a module, and the /var that its scripts see."""
    made = fake.job(tmp_path)
    module = made.base.path / KEPT / "jool/4.1"
    module.mkdir(parents=True)
    (module / "log").write_text("built")
    (module / "source").symlink_to("/usr/src/jool-4.1")
    (made.var / "lib").mkdir(parents=True)
    (made.var / "lib/dkms").symlink_to("../../usr/lib/sysimage/dkms")
    (tmp_path / "top").mkdir()
    dkms.take_out(made)
    return made


def put_back(job: Job, tmp_path: Path) -> list[str]:
    """What the layer has of it then."""
    dkms.put_back(job, Tree(tmp_path / "top"))
    assert os.readlink(job.var / "lib/dkms") == f"/{KEPT}"
    place = tmp_path / "top" / KEPT
    return sorted(os.fspath(path.relative_to(place)) for path in place.rglob("*"))


def test_scripts_see_a_directory_with_what_the_base_built(job: Job) -> None:
    place = job.var / "lib/dkms"
    assert place.resolve() == place
    assert (place / "jool/4.1/log").read_text() == "built"
    assert os.readlink(place / "jool/4.1/source") == "/usr/src/jool-4.1"


def test_a_layer_that_builds_nothing_has_nothing_of_it(job: Job, tmp_path: Path) -> None:
    assert put_back(job, tmp_path) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda place: (place / "jool/4.1/more").write_text("more"),
        lambda place: (place / "jool/4.1/log").write_text("again"),
        lambda place: (place / "jool/4.1/log").chmod(0o600),
    ],
    ids=["new", "content", "mode"],
)  # fmt: skip
def test_what_scripts_add_or_change_lies_over_the_base_s(job: Job, tmp_path: Path, change: object) -> None:
    assert callable(change)
    change(job.var / "lib/dkms")
    assert "jool/4.1/log" in put_back(job, tmp_path)
    assert overlay.is_union(job.base.path, [tmp_path / "top"])


def test_what_scripts_remove_does_not_show_through(job: Job, tmp_path: Path) -> None:
    (job.var / "lib/dkms/jool/4.1/log").unlink()
    assert put_back(job, tmp_path) == ["jool", "jool/4.1", "jool/4.1/source"]
    assert not overlay.is_union(job.base.path, [tmp_path / "top"])


def test_a_base_without_it_is_left_alone(tmp_path: Path) -> None:
    job = fake.job(tmp_path)
    (job.var / "lib/dkms/own").mkdir(parents=True)
    (tmp_path / "top").mkdir()
    dkms.take_out(job)
    dkms.put_back(job, Tree(tmp_path / "top"))
    assert (job.var / "lib/dkms/own").is_dir()
