"""CONTRIBUTING.md and tests/README.md: each file and each target of make that they name exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PAGES = {name: (REPOSITORY / name).read_text() for name in ("CONTRIBUTING.md", "tests/README.md")}


def words(pattern: str) -> list[tuple[str, str]]:
    """Everything in the pages that a pattern finds, with the page's name."""
    return [(page, found) for page, text in PAGES.items() for found in sorted(set(re.findall(pattern, text)))]


@pytest.mark.parametrize(("page", "name"), words(r"`([a-z][a-z_/]*\.(?:py|md|toml))`"))
def test_each_file_that_is_named_exists(page: str, name: str) -> None:
    tops = (REPOSITORY, REPOSITORY / "apt_ostree", (REPOSITORY / page).parent, REPOSITORY / "tests/faults")
    assert any((top / name).exists() for top in tops)


@pytest.mark.parametrize(("page", "target"), words(r"(?m)(?:`|^    )make ([a-z-]+)"))
def test_each_target_of_make_that_is_named_exists(page: str, target: str) -> None:
    assert re.search(rf"^{target}:", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)


def test_every_folder_of_the_program_is_in_the_table() -> None:
    folders = {path.parent.name for path in (REPOSITORY / "apt_ostree").glob("*/__init__.py")}
    assert {folder for folder in folders if f"`{folder}/" not in PAGES["CONTRIBUTING.md"]} == set()
