"""Where the sandbox puts its stubs, and what a path means in a tree whose links are a script's."""

from __future__ import annotations

from pathlib import Path

import pytest

from apt_ostree import bwrap
from apt_ostree.errors import ScriptError
from apt_ostree.fs import resolve

POLICY = "/usr/sbin/policy-rc.d"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tree with two of the programs that stubs cover."""
    root = tmp_path / "root"
    for name in ("usr/sbin/start-stop-daemon", "usr/bin/ischroot", "usr/etc/passwd"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def places(root: Path, unpacked: tuple[str, ...] = ()) -> dict[str, Path]:
    return dict(bwrap.Sandbox(root, stubs=Path("/stubs"))._stubs(unpacked))


def test_programs_that_are_there_are_covered_and_the_policy_always(root: Path) -> None:
    assert places(root) == {
        POLICY: Path("/stubs/usr/sbin/policy-rc.d"),
        "/usr/sbin/start-stop-daemon": Path("/stubs/usr/sbin/start-stop-daemon"),
        "/usr/bin/ischroot": Path("/stubs/usr/bin/ischroot"),
    }


def test_programs_of_a_package_that_is_unpacked_are_not_covered(root: Path) -> None:
    assert places(root, ("dpkg",)).keys() == {POLICY, "/usr/bin/ischroot"}


def test_a_policy_by_way_of_alternatives_is_covered_at_its_end(root: Path) -> None:
    (root / "usr/lib/policy").mkdir(parents=True)
    (root / "usr/lib/policy/own").touch()
    (root / "usr/etc/alternatives").mkdir()
    (root / "usr/etc/alternatives/policy-rc.d").symlink_to("/usr/lib/policy/own")
    (root / "usr/sbin/policy-rc.d").symlink_to("/etc/alternatives/policy-rc.d")
    assert places(root)["/usr/lib/policy/own"] == Path("/stubs/usr/sbin/policy-rc.d")
    assert POLICY not in places(root)


@pytest.mark.parametrize("target", ["/oldroot/etc/evil", "../../../../etc/evil", "policy-rc.d", "/usr/etc"])
def test_nothing_is_mounted_on_a_link_that_leads_to_no_file_of_the_tree(root: Path, target: str) -> None:
    (root / "usr/sbin/policy-rc.d").symlink_to(target)
    assert places(root).keys() == {"/usr/sbin/start-stop-daemon", "/usr/bin/ischroot"}


def test_a_directory_that_became_a_link_is_followed_in_the_tree_alone(root: Path) -> None:
    (root / "usr/sbin").rename(root / "usr/moved")
    (root / "usr/sbin").symlink_to("/usr/moved")
    assert "/usr/moved/policy-rc.d" in places(root)
    (root / "usr/sbin").unlink()
    (root / "usr/sbin").symlink_to("/tmp")
    assert places(root).keys() == {"/usr/bin/ischroot"}


@pytest.mark.parametrize("link", ["/", "/etc", "lib"])
def test_a_link_in_the_place_of_etc_is_refused(root: Path, link: str) -> None:
    (root / "usr/lib").mkdir()
    (root / "usr/etc/passwd").unlink()
    (root / "usr/etc").rmdir()
    (root / "usr/etc").symlink_to(link)
    with pytest.raises(ScriptError, match="a script has taken /etc away"):
        bwrap.Sandbox(root).argv(["true"], {})


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/usr/bin/ischroot", "/usr/bin/ischroot"),
        ("/etc/passwd", "/etc/passwd"),
        ("/etc/../usr/bin/ischroot", "/usr/bin/ischroot"),
        ("/../../usr/bin", "/usr/bin"),
        ("/usr/up/bin", "/usr/bin"),
        ("/etc/absolute", "/usr/bin/ischroot"),
        ("/etc/passwd-link", "/etc/passwd"),
        ("/etc/loop", None),
        ("/etc/outside", None),
        ("/usr/bin/absent", None),
        ("/proc", None),
    ],
)
def test_resolve(root: Path, path: str, found: str | None) -> None:
    etc = root / "usr/etc"
    (root / "usr/up").symlink_to("../../../../usr")
    (etc / "absolute").symlink_to("/usr/bin/ischroot")
    (etc / "passwd-link").symlink_to("passwd")
    (etc / "loop").symlink_to("loop")
    (etc / "outside").symlink_to("/proc/self")
    result = resolve(path, root, etc)
    assert (result and result[0]) == found
    if result is not None:
        assert result[1].exists()
        assert result[1].is_relative_to(root)


def test_a_program_of_many_names_is_not_covered(root: Path) -> None:
    (root / "usr/bin/busybox").touch()
    (root / "usr/bin/uname").symlink_to("busybox")
    assert "/usr/bin/busybox" not in places(root)
