"""Stubs in the place of programs: where they are put, and that nothing is left of them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from apt_ostree.errors import TreeError
from apt_ostree.layering import stubs, written
from apt_ostree.tree.view import View

POLICY = "/run/policy"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tree with two of the programs."""
    root = tmp_path / "root"
    for name in ("usr/sbin/start-stop-daemon", "usr/bin/ischroot", "usr/etc/passwd"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"the real {name}")
        (root / name).chmod(0o755)
    return root


def cover(root: Path) -> list[stubs.Cover]:
    """Put stubs into the tree; the programs are in a copy of it then."""
    below = root.with_name("below")
    shutil.copytree(root, below, symlinks=True)

    return stubs.cover(root, POLICY, "6.6-x", View([below]))


def is_stub(path: Path) -> bool:
    return path.read_text() in stubs.STUBS.values()


def test_programs_that_are_there_have_stubs_and_the_policy_always(root: Path) -> None:
    assert {one.name for one in cover(root)} == {"usr/sbin/start-stop-daemon", "usr/bin/ischroot"}
    assert is_stub(root / "usr/bin/ischroot") and is_stub(root / "usr/sbin/start-stop-daemon")
    assert os.readlink(root / stubs.POLICY) == POLICY
    assert not os.path.lexists(root / "usr/bin/dracut")
    assert sorted(os.listdir(root)) == ["usr"]


def test_nothing_is_left_of_stubs_that_nobody_touched(root: Path) -> None:
    covers = cover(root)
    stubs.uncover(root, covers, POLICY)
    assert os.listdir(root / "usr/bin") == os.listdir(root / "usr/sbin") == []


def test_what_was_made_of_a_stub_stands_for_the_program(root: Path) -> None:
    covers = cover(root)
    (root / "usr/bin/ischroot").rename(root / "usr/bin/ischroot.real")
    (root / "usr/sbin/start-stop-daemon").chmod(0o700)
    (root / stubs.POLICY).rename(root / "usr/sbin/policy-rc.d.real")
    left = stubs.uncover(root, covers, POLICY)
    assert os.listdir(root / "usr/sbin") == ["start-stop-daemon"]
    for name, program in (("bin/ischroot.real", "bin/ischroot"), ("sbin/start-stop-daemon", "sbin/start-stop-daemon")):
        assert left[(root / "usr" / name).read_bytes()].text() == f"the real usr/{program}"


def test_a_policy_by_way_of_alternatives_has_its_stub_at_its_end(root: Path) -> None:
    (root / "usr/lib/policy").mkdir(parents=True)
    (root / "usr/lib/policy/own").touch()
    (root / "usr/etc/alternatives").mkdir()
    (root / "usr/etc/alternatives/policy-rc.d").symlink_to("/usr/lib/policy/own")
    (root / stubs.POLICY).symlink_to("/etc/alternatives/policy-rc.d")
    assert "usr/lib/policy/own" in {one.name for one in cover(root)}
    assert (root / "usr/lib/policy/own").read_text() == stubs.STUBS[stubs.POLICY]


@pytest.mark.parametrize("target", ["/oldroot/etc/evil", "../../../../etc/evil", "policy-rc.d", "/usr/etc"])
def test_nothing_is_put_behind_a_link_that_leads_to_no_file_of_the_tree(root: Path, target: str) -> None:
    (root / stubs.POLICY).symlink_to(target)
    assert {one.name for one in cover(root)} == {"usr/sbin/start-stop-daemon", "usr/bin/ischroot"}
    assert os.readlink(root / stubs.POLICY) == target


def test_a_directory_that_became_a_link_is_followed_in_the_tree_alone(root: Path) -> None:
    (root / "usr/sbin").rename(root / "usr/moved")
    (root / "usr/sbin").symlink_to("/usr/moved")
    assert "usr/moved/start-stop-daemon" in {one.name for one in cover(root)}
    shutil.rmtree(root.with_name("below"))
    (root / "usr/sbin").unlink()
    (root / "usr/sbin").symlink_to("/tmp")
    assert {one.name for one in cover(root)} == {"usr/bin/ischroot"}


def test_what_scripts_left_is_counted_as_it_is_walked(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole paths of directories that are still to come are kept: they take memory of the host."""
    covers = cover(root)
    for number in range(20):
        (root / f"usr/many/{number}").mkdir(parents=True)
    monkeypatch.setattr(written, "ENTRIES_MAX", 15)
    with pytest.raises(TreeError, match="more files than a tree may have"):
        stubs.uncover(root, covers, POLICY)


def test_each_stub_tells_by_its_content_what_it_stands_for() -> None:
    assert len(set(stubs.STUBS.values())) == len(stubs.STUBS)


def test_a_program_of_many_names_has_no_stub(root: Path) -> None:
    (root / "usr/bin/busybox").write_text("the real one")
    (root / "usr/bin/uname").symlink_to("busybox")
    assert "usr/bin/busybox" not in {one.name for one in cover(root)}


def test_a_link_in_the_place_of_a_stub_is_the_scripts_own_and_stays(root: Path) -> None:
    covers = cover(root)
    (root / "usr/bin/ischroot").rename(root / "usr/bin/ischroot.real")
    (root / "usr/bin/ischroot").symlink_to("ischroot.real")
    stubs.uncover(root, covers, POLICY)
    assert os.readlink(root / "usr/bin/ischroot") == "ischroot.real"
    assert is_stub(root / "usr/bin/ischroot.real")


def test_a_link_of_another_name_in_the_place_of_a_program_is_not_covered(root: Path) -> None:
    (root / "usr/bin/ischroot").rename(root / "usr/bin/other")
    (root / "usr/bin/ischroot").symlink_to("other")
    assert {one.name for one in cover(root)} == {"usr/sbin/start-stop-daemon"}
    assert (root / "usr/bin/other").read_text() == "the real usr/bin/ischroot"


def test_a_directory_in_the_place_of_a_program_is_not_covered(root: Path) -> None:
    (root / "usr/bin/ischroot").unlink()
    (root / "usr/bin/ischroot").mkdir()
    assert {one.name for one in cover(root)} == {"usr/sbin/start-stop-daemon"}


def test_a_directory_at_any_name_at_the_top_stops_no_stub(root: Path) -> None:
    (root / ".apt-ostree-spare").mkdir()
    assert {one.name for one in cover(root)} == {"usr/sbin/start-stop-daemon", "usr/bin/ischroot"}


def test_a_file_in_the_place_of_sbin_gets_no_policy(root: Path) -> None:
    shutil.rmtree(root / "usr/sbin")
    (root / "usr/sbin").symlink_to("bin/ischroot")
    assert {one.name for one in cover(root)} == {"usr/bin/ischroot"}


def test_a_link_in_the_place_of_etc_leads_no_stub_to_the_host(root: Path, tmp_path: Path) -> None:
    host = tmp_path / "host"
    host.mkdir()
    (host / "policy").write_text("the host's")
    shutil.rmtree(root / "usr/etc")
    (root / "usr/etc").symlink_to(host)
    (root / stubs.POLICY).symlink_to("/etc/policy")
    assert {one.name for one in cover(root)} == {"usr/sbin/start-stop-daemon", "usr/bin/ischroot"}
    assert (host / "policy").read_text() == "the host's"


@pytest.mark.parametrize("plant", ["fifo", "directory", "link"])
def test_what_a_script_puts_in_the_place_of_a_stub_is_not_opened(root: Path, tmp_path: Path, plant: str) -> None:
    covers = cover(root)
    place = root / "usr/bin/ischroot"
    place.rename(tmp_path / "stub")
    if plant == "link":
        place.symlink_to(tmp_path / "stub")
    elif plant == "fifo":
        os.mkfifo(place, 0o755)
    else:
        place.mkdir()
    stubs.uncover(root, covers, POLICY)
    assert os.path.lexists(place) and (tmp_path / "stub").exists()
