"""What a stack of directories shows of single files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from apt_ostree.errors import TreeError
from apt_ostree.tree.view import View


@pytest.fixture
def stack(tmp_path: Path) -> list[Path]:
    """A layer over a base that has a file of its own."""
    for name in ("layer", "base"):
        (tmp_path / name / "etc").mkdir(parents=True)
        (tmp_path / name / f"etc/{name}").write_text(name)
    (tmp_path / "base/etc/both").write_text("base")
    return [tmp_path / "layer", tmp_path / "base"]


def test_the_topmost_file_shows(stack: list[Path]) -> None:
    view = View(stack)
    assert [view.text(f"etc/{name}") for name in ("layer", "base", "both", "absent")] == ["layer", "base", "base", ""]
    (stack[0] / "etc/both").write_text("layer")
    assert view.text("etc/both") == "layer"


def test_a_link_counts_as_no_file_and_hides_the_one_below(stack: list[Path]) -> None:
    (stack[0] / "etc/both").symlink_to(stack[1] / "etc/base")
    assert View(stack).find("etc/both") is None


def test_a_fifo_or_directory_counts_as_no_file_and_holes_are_refused(stack: list[Path]) -> None:
    os.mkfifo(stack[0] / "etc/both")
    (stack[0] / "etc/base").mkdir()
    assert [View(stack).text(f"etc/{name}") for name in ("both", "base")] == ["", ""]
    os.truncate(stack[0] / "etc/layer", 65 << 20)
    with pytest.raises(TreeError, match="too large"):
        View(stack).text("etc/layer")
