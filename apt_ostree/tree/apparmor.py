"""What AppArmor has to know of a tree's links: the kernel judges the path that a link leads to.

A profile that allows @{HOME}/** knows nothing of /var/home; and what it denies in /home is not denied there.
"""

from __future__ import annotations

import re
from pathlib import Path

from ..host.door import Tree
from . import state
from .view import View

_DIRECTORY = "usr/etc/apparmor.d/tunables/home.d"
"""Read by tunables/global, and so by all of Debian's profiles (apparmor.d(5))."""
PLACE = f"{_DIRECTORY}/apt-ostree"
_VARIABLES = {"home": "HOMEDIRS", "root": "HOME"}
"""A variable may stand in an alternation, which no alias changes."""
_PLAIN = re.compile(r"[A-Za-z0-9._/-]+")


def write(view: View, target: Path) -> None:
    """Put the rules for the links at the top of ``view`` into the tree ``target``, if there is AppArmor and they are
    missing."""
    trees = [Tree(tree) for tree in view.stack]
    if not any(tree.has_directory(_DIRECTORY) for tree in trees):
        return
    links = {name: link for tree in reversed(trees) for name in tree.names() if (link := tree.link(name)) is not None}
    lines = ["# Where this image's links at the top lead: AppArmor's rules are about what is there."]
    # What is in /usr the profiles know by both names.
    leading = {
        name: link
        for name, link in sorted(links.items())
        if link.startswith(("var/", "run/")) and _PLAIN.fullmatch(f"{name}/{link}")
    }
    lines += [f"@{{{_VARIABLES[name]}}}+=/{link}/" for name, link in leading.items() if name in _VARIABLES]
    lines += [f"alias /{name}/ -> /{link}/," for name, link in leading.items()]
    text = "".join(f"{line}\n" for line in lines)
    if view.text(PLACE) != text:
        state.write_file(Tree(target), PLACE, text)
