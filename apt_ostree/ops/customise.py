"""What a manifest adds to a plain root: sources, files, and what its scripts do."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import ScriptError, UsageError, without_credentials
from ..host import proc
from ..host.door import Tree
from ..host.files import read_regular
from ..inputs.manifest import File, Manifest
from ..numbers import decimal
from ..reporter import Reporter
from ..sandbox import bwrap
from ..tools import mmdebstrap
from ..tree import layout, users

IDS = range(0xFFFFFFFF)
"""Numbers of users and groups; the one above means "as it is" (chown(2))."""

_SCRIPT = "apt-ostree-script"
"""A file of the plain root, for a script while it runs."""


def in_root(root: Path, command: list[str], log: Path, what: str) -> None:
    """Run a command in the plain root, in the sandbox. Raises ScriptError with its last lines."""
    result = bwrap.Sandbox(root, plain=True).run(command, log=log, doing=lambda: what)
    if result.returncode != 0:
        raise ScriptError(
            f"{what} failed (exit status {result.returncode})",
            proc.tail(result.stdout) + f"\nthe whole log: {log}",
            "Nothing was committed.",
        )


def customise(root: Path, recipe: Manifest, archives: Sequence[str], log: Path, reporter: Reporter) -> None:
    """Write the sources and the manifest's files, and run its scripts. Raises ScriptError, TreeError, UsageError."""
    tree = Tree(root)
    # What the bootstrap took from this machine goes; what the manifest has of that name stays.
    layout.drop_own(tree)
    _write_sources(tree, archives)
    if not recipe.recommends:
        # What is layered later follows the image's own choice (apt.conf(5)).
        place = _make_parents(tree, "/etc/apt/apt.conf.d/20recommends")
        tree.remove(place)
        tree.write(place, b'APT::Install-Recommends "false";\n')
    for file in recipe.files:
        _write_file(tree, file)
    for number, script in enumerate(recipe.postprocess):
        reporter.step(f"Running postprocess script {number + 1}")
        _run(root, script, log, f"postprocess script {number + 1}")


def _run(root: Path, script: str, log: Path, what: str) -> None:
    """Run a script with the interpreter that its first line names, or else with sh, up to the first error."""
    if not script.startswith("#!"):
        in_root(root, ["/bin/sh", "-ec", script], log, what)
        return
    tree = Tree(root)
    tree.remove(_SCRIPT)
    tree.write(_SCRIPT, script.encode(), 0o700)
    in_root(root, [f"/{_SCRIPT}"], log, what)
    tree.remove(_SCRIPT)


def _write_file(root: Tree, file: File) -> None:
    """Write a file of the manifest with its mode and owner. Raises UsageError."""
    if file.content is not None:
        content = file.content.encode()
    else:
        assert file.source is not None
        content = read_regular(file.source)
    owner, _, group = file.owner.partition(":")
    accounts = users.read(root.top, "etc")
    numbers = (_number(accounts.passwd, owner), _number(accounts.group, group or owner))
    place = _make_parents(root, file.path)
    if root.has_directory(place):
        raise UsageError(f"cannot write {file.path}", f"/{place} is a directory of the tree")
    root.write(place, content, file.mode, numbers)


def _make_parents(root: Tree, name: str) -> str:
    """Make the directories above a file of the tree, and return where it is, links followed in the tree alone.

    Raises UsageError where something else is in the way.
    """
    directory = ""
    *above, own = Path(name.lstrip("/")).parts
    for part in above:
        inner = f"{directory}/{part}".lstrip("/")
        found = root.find(inner)
        if found is not None and root.has_directory(found):
            directory = found
        elif root.has(inner):
            raise UsageError(f"cannot write {name}", f"/{inner} does not lead to a directory of the tree")
        else:
            root.make_directory(inner)
            directory = inner
    return f"{directory}/{own}".lstrip("/")


def _number(table: Mapping[str, Sequence[str]], name: str) -> int:
    why = "a file of the manifest names it as its owner"
    number = decimal(name)
    if number is None:
        if name not in table:
            raise UsageError(f"the tree has no user or group {name}", why)
        number = decimal(table[name][2])
        if number is None:
            raise UsageError(f"{name} has no number in the tree", why)
    if number not in IDS:
        raise UsageError(f"{number} is not the number of a user or group", why)
    return number


def _write_sources(root: Tree, archives: Sequence[str]) -> None:
    """The image's own sources: where it came from, in deb822 form, signed by the archive's keyring.

    Credentials of whoever composes stay behind.
    """
    stanzas = []
    for line in archives:
        _, uri, suite, *components = line.split()
        stanzas.append(
            f"Types: deb\nURIs: {without_credentials(uri)}\nSuites: {suite}\nComponents: {' '.join(components)}\n"
            f"Signed-By: {mmdebstrap.KEYRING}\n"
        )
    place = _make_parents(root, "/etc/apt/sources.list.d/debian.sources")
    root.remove(_make_parents(root, "/etc/apt/sources.list"))
    directory = os.path.dirname(place)
    for stale in root.names(directory):
        root.remove(f"{directory}/{stale}")
    root.write(place, "\n".join(stanzas).encode())
