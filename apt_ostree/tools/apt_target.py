"""The system that apt resolves for: a base, and /etc as the deployment that is going to be made will have it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import ToolError, TreeError
from ..host.door import Tree

SHIPPED = "usr/etc"
"""Where a base has its /etc."""

LINK = "\0"
"""Before a link's target, in the place of a file's text."""


@dataclass(frozen=True, slots=True)
class Target:
    """A base, and the /etc that its administrator keeps.

    ``tree`` holds the dpkg database and keyrings below /usr; ``etc`` is the directory to read ``apt`` in.
    """

    tree: Path
    etc: Path
    architectures: tuple[str, ...]
    deployed: Path | None = None
    """The deployment that ``etc`` is of: a layer may have brought keys there that ``tree`` has not."""
    shipped: Callable[[str], str | None] | None = None
    """Where ``etc`` came from another base than ``tree``: the text that that base has for a path below /etc ("etc/x"),
    or LINK and where it leads; None for nothing. OSTree's merge takes from ``tree`` what is here as it was there."""

    def locate(self, path: str) -> tuple[Tree, str] | None:
        """The tree in which a path is to be read, and where it leads there; None where it leads to nothing."""
        name = path.lstrip("/")
        tree = Tree(self.tree, self.etc)
        found = tree.find(name)
        if self._is_untouched(tree, name, found):
            tree = Tree(self.tree, self.tree / SHIPPED)
            found = tree.find(name)
        elif found is None and self.deployed is not None:
            tree = Tree(self.deployed, self.etc)
            found = tree.find(name)
        return None if found is None else (tree, found)

    def names(self, directory: str) -> list[str]:
        """The names that a directory may have, sorted; ``locate`` finds nothing for some."""
        trees = [Tree(self.tree, self.etc)]
        if self.shipped is not None:
            trees.append(Tree(self.tree, self.tree / SHIPPED))
        found = [name for tree in trees if (place := tree.find(directory)) is not None for name in tree.names(place)]
        return sorted(set(found))

    def _is_untouched(self, tree: Tree, name: str, found: str | None) -> bool:
        if self.shipped is None or not name.startswith("etc/"):
            return False
        link = tree.link(name)
        if link is None and found not in (None, name):
            # Somebody put a link on the way.
            return False
        try:
            return (f"{LINK}{link}" if link is not None else tree.text(name)) == self.shipped(name)
        except (TreeError, ToolError):
            return False
