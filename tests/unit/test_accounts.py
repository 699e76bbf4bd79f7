"""Accounts of a layer: what is read of the base's lists, and what is written into the layer's."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from apt_ostree.errors import TreeError
from apt_ostree.layering import accounts
from apt_ostree.layering.job import Job
from apt_ostree.tree.users import Numbers, Reserved
from apt_ostree.tree.view import View
from tests.unit import fake

RESERVED = Reserved(Numbers({"new": 150}, {"new": 150}), {"subuid": "person:100000:65536\n"})


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    """A layer whose scripts made the account "new"."""
    etc = tmp_path / "layer/usr/etc"
    etc.mkdir(parents=True)
    (etc / "passwd").write_text("root:x:0:0::/root:/bin/sh\nnew:x:120:120::/:/bin/false\n")
    (etc / "group").write_text("root:x:0:\nnew:x:120:\n")
    (etc / "shadow").write_text("root:*:1::::::\nnew:!:12345::::::\n")
    (etc / "shadow").chmod(0o640)
    (etc / "subuid").write_text("new:100000:65536\n")
    (tmp_path / "top").mkdir()
    return etc


@pytest.fixture
def job(tmp_path: Path) -> Job:
    job = fake.job(tmp_path, reserved=RESERVED)
    (job.base.path / "usr/etc").mkdir(parents=True)
    for name, text in (("passwd", "root:x:0:0::/root:/bin/sh\n"), ("group", "root:x:0:\n"), ("shadow", "root:*:1:\n")):
        (job.base.path / "usr/etc" / name).write_text(text)
    return job


def view(job: Job, layer: Path) -> View:
    return View([layer.parents[1], job.base.path])


def test_new_accounts_get_the_machines_numbers_and_ranges(job: Job, layer: Path) -> None:
    accounts.renumber(job, view(job, layer), [])
    accounts.allot_subids(job, view(job, layer))
    assert (layer / "passwd").read_text() == "root:x:0:0::/root:/bin/sh\nnew:x:150:150::/:/bin/false\n"
    assert (layer / "group").read_text() == "root:x:0:\nnew:x:150:\n"
    assert (layer / "subuid").read_text() == "new:165536:65536\n"


def test_a_new_account_is_announced_with_one_date_and_the_list_keeps_its_mode(job: Job, layer: Path) -> None:
    top = job.work.parent / "top"
    assert accounts.announce(job, view(job, layer), top)
    assert (layer / "shadow").read_text() == "root:*:1::::::\nnew:!:20000::::::\n"
    assert stat.S_IMODE((layer / "shadow").stat().st_mode) == 0o640
    assert "u new 120:new" in (top / "usr/lib/sysusers.d/apt-ostree-layer.conf").read_text()


def test_a_link_in_the_place_of_the_bases_shadow_reads_nothing_of_the_host(
    job: Job, layer: Path, tmp_path: Path
) -> None:
    (tmp_path / "hosts").write_text("new:secret:1::::::\n")
    shadow = job.base.path / "usr/etc/shadow"
    shadow.unlink()
    shadow.symlink_to(tmp_path / "hosts")
    accounts.announce(job, view(job, layer), tmp_path / "top")
    assert "new:!:20000:" in (layer / "shadow").read_text()


@pytest.mark.parametrize("name", ["passwd", "shadow", "subuid"])
def test_a_list_of_holes_is_refused(job: Job, layer: Path, tmp_path: Path, name: str) -> None:
    os.truncate(layer / name, 65 << 20)
    with pytest.raises(TreeError, match=f"/usr/etc/{name} is too large"):
        accounts.renumber(job, view(job, layer), [])
        accounts.allot_subids(job, view(job, layer))
        accounts.announce(job, view(job, layer), tmp_path / "top")


@pytest.mark.parametrize("name", ["passwd", "group", "shadow", "subuid"])
def test_a_link_or_fifo_in_the_place_of_a_list_is_left_alone(job: Job, layer: Path, tmp_path: Path, name: str) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("new:x:120:120::/:/bin/false\n")
    for plant in ("link", "fifo"):
        (layer / name).unlink()
        if plant == "link":
            (layer / name).symlink_to(hosts)
        else:
            os.mkfifo(layer / name)
        accounts.renumber(job, view(job, layer), [])
        accounts.allot_subids(job, view(job, layer))
        accounts.announce(job, view(job, layer), tmp_path / "top")
    assert hosts.read_text() == "new:x:120:120::/:/bin/false\n"


def test_of_any_number_of_conflicts_one_line_is_told(job: Job, layer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warnings: list[str] = []
    monkeypatch.setattr(job.reporter, "warn", warnings.append, raising=False)
    (layer / "passwd").write_text("".join(f"u{number}:x:0:0::/:/bin/false\n" for number in range(5)))
    accounts.renumber(job, view(job, layer), [])
    told = "; ".join(f"user u{number} has Debian's fixed id 0, which root has here, too" for number in range(3))
    assert warnings == [f"{told}; and 2 more"]
