"""What is refused of a tree that scripts wrote, before the host reads it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from apt_ostree.errors import SpaceError, TreeError
from apt_ostree.layering import written
from apt_ostree.layering.hydrate import Hydrator
from apt_ostree.tools.extent import LEVELS_MAX
from tests.unit import fake
from tests.unit.fake import put


@pytest.fixture
def top(tmp_path: Path) -> Path:
    (tmp_path / "top").mkdir()
    return tmp_path / "top"


def test_what_a_commit_cannot_hold_is_named_wherever_a_script_left_it(tmp_path: Path, top: Path) -> None:
    job = fake.job(tmp_path)
    os.mkfifo(job.var / "allowed")
    (top / "usr/lib").mkdir(parents=True)
    (top / "usr/lib/out").symlink_to(tmp_path)
    written.check(job, [top])
    os.mkfifo(top / "usr/lib/fifo")
    with pytest.raises(TreeError) as raised:
        written.check(job, [top])
    assert (raised.value.brief, raised.value.detail) == (
        "a script made what OSTree cannot hold: a FIFO", "/usr/lib/fifo",
    )  # fmt: skip


def test_holes_count_as_what_they_would_take(tmp_path: Path, top: Path) -> None:
    os.truncate(put(top, "usr/huge"), 1 << 42)
    with pytest.raises(SpaceError):
        written.check(fake.job(tmp_path), [top])


def test_a_file_counts_as_often_as_it_is_copied(tmp_path: Path, top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job, counted = fake.job(tmp_path), list[int]()
    monkeypatch.setattr(written, "check_space", lambda place, needed, what, reserve: counted.append(needed * reserve))
    # Each name of a script's own file may become a file of its own; an object is in the repository already.
    for name, content in (("usr/own", "1"), ("usr/object", "22")):
        put(top, name, content)
    os.link(top / "usr/own", top / "usr/again")
    os.link(top / "usr/object", tmp_path / "in the repository")
    written.check(job, [top])
    # What is carried of /var and /boot is copied into the tree under each name, and committed.
    put(job.var, "state", "333")
    os.link(job.var / "state", job.var / "again")
    put(job.boot, "vmlinuz-1", "4444")
    written.check(job, [top])
    assert counted == [2, 2 + 2 * (3 + 3 + 4)]
    # A new directory at the top may go to /var, into the tree and into the commit; the base's own does not.
    put(top, "data/hole", "55555")
    put(top, "old/hole", "666666")
    os.link(top / "data/hole", top / "usr/elsewhere")
    (job.base.path / "old").mkdir()
    written.check(job, [top])
    assert counted[-1] - counted[-2] == 5 * (3 + 1) + 6


@pytest.mark.parametrize("place", ["work/var", "work/boot", "top"])
def test_directories_too_deep_for_ostree_are_refused(tmp_path: Path, top: Path, place: str) -> None:
    job = fake.job(tmp_path)
    deepest = tmp_path / place / "/".join(["d"] * LEVELS_MAX)
    deepest.mkdir(parents=True)
    (deepest / "file").touch()
    written.check(job, [top])
    (deepest / "d").mkdir()
    with pytest.raises(TreeError, match="more than 128 directories in each other"):
        written.check(job, [top])
    # No later round works on it.
    with pytest.raises(TreeError, match="more than 128 directories in each other"):
        Hydrator(job.repo, job.base.path, {}).hydrate(tmp_path / place, {}, link=False)


@pytest.mark.parametrize(("limit", "least"), [("KEPT_MAX", 6), ("PATHS_MAX", 47)])
def test_names_of_var_and_etc_fill_no_memory(
    tmp_path: Path, top: Path, monkeypatch: pytest.MonkeyPatch, limit: str, least: int
) -> None:
    job = fake.job(tmp_path)
    # Of all of /usr and /opt, a commit may have more.
    put(job.var, "lib/ü")
    for name in ("usr/etc/a", "usr/etc/b/c", "usr/lib/of a package", "opt/x"):
        put(top, name)
    (top / "usr/etc/l").symlink_to("a")
    monkeypatch.setattr(written, limit, least)
    written.check(job, [top])
    monkeypatch.setattr(written, limit, least - 1)
    with pytest.raises(TreeError, match="too many files in /etc and /var"):
        written.check(job, [top])


@pytest.mark.parametrize(("limit", "least"), [("ENTRIES_MAX", 3), ("TREE_PATHS_MAX", 13)])
def test_no_layer_has_more_files_than_a_tree_may_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, least: int
) -> None:
    """Wherever they are; each step that goes through a layer asks."""
    put(tmp_path / "other", "usr/b/c")
    monkeypatch.setattr(written, limit, least)
    assert len(list(written.directories(tmp_path / "other"))) == 3
    monkeypatch.setattr(written, limit, least - 1)
    with pytest.raises(TreeError, match="more files than a tree may have"):
        list(written.directories(tmp_path / "other"))


TEXTS = {
    "lists": (["usr/lib/sysimage/dpkg/info/a.list", "usr/lib/sysimage/dpkg/info/a.conffiles"], written.LISTS_MAX),
    "accounts": (["usr/etc/passwd"], written.ACCOUNTS_MAX),
    "an older list of accounts": (["usr/etc/group-"], written.ACCOUNTS_MAX),
    "lists of ours": (["usr/lib/apt-ostree/follow.d/a", "usr/lib/apt-ostree/b"], written.OWN_MAX),
}


@pytest.mark.parametrize("what", TEXTS)
def test_no_list_that_the_host_reads_fills_its_memory(tmp_path: Path, top: Path, what: str) -> None:
    """Of holes, too, and of any number of them."""
    job, (names, limit) = fake.job(tmp_path), TEXTS[what]
    for name in names:
        os.truncate(put(top, name), limit // len(names))
    put(top, "usr/lib/sysimage/dpkg/info/a.md5sums", "not read")
    written.check(job, [top])
    os.truncate(top / names[-1], limit // len(names) + 1)
    with pytest.raises(TreeError, match="too large to be read"):
        written.check(job, [top])


def test_what_a_second_run_makes_is_counted_as_well(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(top, "a/b")
    assert [entry.name for entry in written.entries(top)] == ["a", "a/b"]
    monkeypatch.setattr(written, "KEPT_MAX", 1)
    with pytest.raises(TreeError, match="too many files"):
        list(written.entries(top))


def test_what_is_compared_is_no_larger_than_any_package(
    tmp_path: Path, top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its holes, and under each of its names; of /usr, only what is copied takes time."""
    job = fake.job(tmp_path)
    put(top, "usr/lib/x", "of any size")
    for place in (job.var / "1", top / "opt/2", top / "usr/local/3", top / "usr/etc/4", top / "data/5"):
        put(place.parent, place.name, "x")
    os.link(job.var / "1", job.var / "6")
    monkeypatch.setattr(written, "READ_MAX", 6)
    written.check(job, [top])
    os.truncate(top / "opt/2", 2)
    with pytest.raises(TreeError, match="too large to be compared"):
        written.check(job, [top])


def test_extended_attributes_of_var_fill_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = fake.job(tmp_path)
    for name in "ab":
        os.setxattr(put(job.var, name), "user.x", b"12")
    monkeypatch.setattr(written, "ATTRIBUTES_MAX", 16)
    written.check(job, [])
    os.setxattr(job.var / "b", "user.x", b"123")
    with pytest.raises(TreeError, match="too many extended attributes"):
        written.check(job, [])
