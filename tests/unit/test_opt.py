"""What packages put into /opt and /usr/local, and the links that scripts may plant there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from apt_ostree.errors import TreeError
from apt_ostree.tree import opt


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A directory of the host with a file in it."""
    (tmp_path / "host/bin").mkdir(parents=True)
    (tmp_path / "host/bin/tool").write_text("the host's own")
    return tmp_path / "host"


@pytest.fixture(autouse=True)
def tree(tmp_path: Path) -> Path:
    """An empty tree."""
    (tmp_path / "tree").mkdir()
    return tmp_path / "tree"


def listed(top: Path) -> list[str]:
    return sorted(os.fspath(path.relative_to(top)) for path in top.rglob("*"))


def test_what_is_new_moves_and_is_linked(tmp_path: Path) -> None:
    for name in ("opt/vendor/bin", "usrlocal/bin", "usrlocal/empty"):
        (tmp_path / "var" / name).mkdir(parents=True)
    (tmp_path / "var/opt/vendor/bin/x").touch()
    (tmp_path / "var/usrlocal/bin/y").touch()
    assert opt.move(tmp_path / "var", {}, tmp_path / "tree") == [
        "L /var/opt/vendor - - - - /usr/lib/opt/vendor",
        "L /var/usrlocal/bin/y - - - - /usr/lib/usrlocal/bin/y",
    ]
    assert (tmp_path / "tree/usr/lib/opt/vendor/bin/x").is_file()
    assert (tmp_path / "tree/usr/lib/usrlocal/bin/y").is_file()
    assert listed(tmp_path / "var") == ["opt", "usrlocal", "usrlocal/bin", "usrlocal/empty"]


@pytest.mark.parametrize("name", ["opt", "usrlocal"])
def test_a_link_planted_in_the_place_of_the_whole_directory_is_not_followed(
    tmp_path: Path, outside: Path, name: str
) -> None:
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / name).symlink_to(outside)
    assert opt.move(tmp_path / "var", {}, tmp_path / "tree") == []
    assert listed(outside) == ["bin", "bin/tool"]
    assert listed(tmp_path / "tree") == []


@pytest.mark.parametrize(
    ("name", "moved"),
    [
        ("opt/vendor", "usr/lib/opt/vendor"),
        ("usrlocal/bin", "usr/lib/usrlocal/bin"),
        ("usrlocal/x", "usr/lib/usrlocal/x"),
    ],
)
def test_a_link_planted_below_moves_as_a_link(tmp_path: Path, outside: Path, name: str, moved: str) -> None:
    place = tmp_path / "var" / name
    place.parent.mkdir(parents=True)
    place.symlink_to(outside / "bin")
    assert opt.move(tmp_path / "var", {}, tmp_path / "tree") == [f"L /var/{name} - - - - /{moved}"]
    assert (tmp_path / "tree" / moved).readlink() == outside / "bin"
    assert listed(outside) == ["bin", "bin/tool"]


def test_a_link_of_an_earlier_move_stays(tmp_path: Path) -> None:
    (tmp_path / "var/opt").mkdir(parents=True)
    (tmp_path / "var/opt/vendor").symlink_to("/usr/lib/opt/vendor")
    assert opt.move(tmp_path / "var", {}, tmp_path / "tree") == []
    assert (tmp_path / "var/opt/vendor").is_symlink()


@pytest.mark.parametrize("place", ["usr", "usr/lib", "usr/lib/opt"])
def test_nothing_moves_through_a_link_of_the_tree(tmp_path: Path, outside: Path, tree: Path, place: str) -> None:
    (tmp_path / "var/opt/vendor").mkdir(parents=True)
    (tree / place).parent.mkdir(parents=True, exist_ok=True)
    (tree / place).symlink_to(outside)
    with pytest.raises(TreeError, match=f"/{place} is"):
        opt.move(tmp_path / "var", {}, tree)
    assert listed(outside) == ["bin", "bin/tool"]


def test_what_the_tree_has_already_is_not_replaced(tmp_path: Path, tree: Path) -> None:
    (tmp_path / "var/opt").mkdir(parents=True)
    (tmp_path / "var/opt/vendor").write_text("new")
    (tree / "usr/lib/opt").mkdir(parents=True)
    (tree / "usr/lib/opt/vendor").write_text("old")
    with pytest.raises(TreeError, match="/usr/lib/opt/vendor exists already"):
        opt.move(tmp_path / "var", {}, tree)
    assert (tree / "usr/lib/opt/vendor").read_text() == "old"
