"""What composing writes into a tree whose links are its packages'."""

from __future__ import annotations

from pathlib import Path

import pytest

from apt_ostree.errors import UsageError
from apt_ostree.ops import compose_tree


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "usr/bin").mkdir(parents=True)
    (root / "bin").symlink_to("usr/bin")
    (root / "vendor").symlink_to("/usr/bin")
    (root / "up").symlink_to("../../outside")
    (root / "away").symlink_to(tmp_path / "outside")
    (tmp_path / "outside").mkdir()
    return root


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("/etc/new/file", "etc/new/file"),
        ("/bin/tool", "usr/bin/tool"),
        ("/vendor/tool", "usr/bin/tool"),
        ("/bin/deep/er/tool", "usr/bin/deep/er/tool"),
    ],
)
def test_a_file_is_written_where_the_trees_links_lead(root: Path, name: str, place: str) -> None:
    assert compose_tree._make_parents(root, name) == root / place
    assert (root / place).parent.is_dir()


@pytest.mark.parametrize("name", ["/up/file", "/away/file", "/up/more/file"])
def test_no_link_leads_out_of_the_tree(root: Path, name: str) -> None:
    with pytest.raises(UsageError, match=f"cannot write {name}"):
        compose_tree._make_parents(root, name)
    assert list((root.parent / "outside").iterdir()) == []


def test_an_image_knows_where_it_came_from_and_no_password(root: Path) -> None:
    compose_tree._write_sources(root, ["deb https://me:secret@example.org/debian trixie main contrib"])
    text = (root / "etc/apt/sources.list.d/debian.sources").read_text()
    assert "URIs: https://example.org/debian\nSuites: trixie\nComponents: main contrib\n" in text
    assert "secret" not in text
