"""Single files as a stack of trees shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..errors import TreeError
from ..host.door import Tree


@dataclass(frozen=True, slots=True)
class File:
    """A regular file of a tree that others wrote, by its name there."""

    tree: Tree
    name: str

    def content(self) -> BinaryIO:
        """The file, opened for reading. Raises TreeError where it is gone."""
        file = self.tree.open_file(self.name)
        if file is None:
            raise TreeError(f"/{self.name} is gone, or is no longer a file", str(self.tree.top))
        return file

    def size(self) -> int:
        """Its size in bytes; 0 where it is gone."""
        status = self.tree.status(self.name)
        return 0 if status is None else status.st_size

    def text(self) -> str:
        """Its text. Raises TreeError where it is too large to be one."""
        return self.tree.text(self.name) or ""

    def write(self, text: str) -> None:
        """Give it another text; owner, mode and extended attributes stay."""
        self.tree.replace_content(self.name, text.encode(errors="surrogateescape"))


class View:
    """Single files as a stack of directories shows them, the topmost first."""

    def __init__(self, stack: Sequence[Path]) -> None:
        self.stack = stack

    def find(self, name: str) -> File | None:
        """The regular file of that name; a link that a script put in its place counts as none."""
        tree = self.tree_of(name)
        return File(tree, name) if tree is not None and tree.has_file(name) else None

    def tree_of(self, name: str) -> Tree | None:
        """The topmost tree that has an entry of that name, or a mark that it is gone."""
        return next((tree for tree in map(Tree, self.stack) if tree.has(name)), None)

    def text(self, name: str) -> str:
        """The text of the file of that name; empty where there is none. Raises TreeError."""
        file = self.find(name)
        return "" if file is None else file.text()
