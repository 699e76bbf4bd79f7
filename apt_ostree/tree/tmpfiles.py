"""Lines of tmpfiles.d(5) about /var, in the forms that a commit of ours has: a directory, or a link."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ..errors import TreeError
from ..host.door import Tree, is_link_target, is_name

_WORD = r'"(?:[^"\\]|\\["\\])*"|[^ "\\]+'
_LINE = re.compile(rf"(?:{_WORD})(?: (?:{_WORD}))*")
_WORDS = re.compile(_WORD)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def quote(path: str) -> str | None:
    """A path as one word that systemd 252 and 257 read alike; None where it has a control character.

    Before 254, systemd-tmpfiles takes the backslash of any escape away, so that ``\\040`` is a name with these digits.
    A quotation mark and a backslash mean themselves behind one in both. ``%`` starts a specifier.
    """
    if _CONTROL.search(path):
        return None
    plain = path.replace("%", "%%")
    if not re.search(r"[\s\"'\\]", plain):
        return plain
    return '"' + re.sub(r'["\\]', r"\\\g<0>", plain) + '"'


def _words(line: str) -> list[str]:
    """The words of a line; none where it is not one of ours."""
    if not _LINE.fullmatch(line):
        return []
    return [
        (re.sub(r"\\(.)", r"\1", word[1:-1]) if word.startswith('"') else word).replace("%%", "%")
        for word in _WORDS.findall(line)
    ]


def directory(name: str, mode: int, uid: int, gid: int) -> str | None:
    """The line that brings a directory below /var back when it is missing, with its mode and owners then; the colons
    leave those of one that is there alone. None where no line can name it."""
    word = quote(f"/var/{name}")
    return None if word is None else f"d {word} :{mode:04o} :{uid} :{gid}"


def named(line: str) -> str:
    """The path below /var that a line is about; empty where it is about none."""
    words = _words(line)
    return words[1].removeprefix("/var/") if len(words) > 1 and words[1].startswith("/var/") else ""


@dataclass(frozen=True, slots=True)
class Line:
    """A line about an entry below /var: a directory, or a link where it has a target."""

    name: str
    mode: int = 0
    uid: int = 0
    gid: int = 0
    target: str | None = None

    @classmethod
    def parse(cls, line: str) -> Self | None:
        """Read a line; None for one of another form, which a base of other makers may have."""
        name, words = named(line), _words(line)
        if not is_name(name):
            return None
        match words[0], words[2:]:
            case "d", [mode, uid, gid]:
                if not re.fullmatch(r":?[0-7]{3,4}", mode) or not all(map(_is_id, (uid, gid))):
                    return None
                return cls(name, int(mode.lstrip(":"), 8), int(uid.lstrip(":")), int(gid.lstrip(":")))
            case "L" | "L+", ["-", "-", "-", "-", target]:
                return cls(name, target=target) if is_link_target(target) else None
        return None


def _is_id(word: str) -> bool:
    """True for an owner's number; the highest one stands for none (chown(2))."""
    return re.fullmatch(r":?[0-9]{1,10}", word) is not None and int(word.lstrip(":")) < 0xFFFFFFFF


def obey(var: Path, lines: Iterable[str]) -> None:
    """Make what lines of ours say about /var, where nothing is; lines of another form are left out."""
    tree = Tree(var)
    for line in lines:
        if (read := Line.parse(line)) is not None:
            _obey(tree, read)


def _obey(var: Tree, line: Line) -> None:
    try:
        var.make_directory(line.name.rpartition("/")[0])
    except TreeError:
        # Below a link (/var/run/x) it would be made somewhere else.
        return
    if var.has(line.name):
        return
    if line.target is not None:
        var.symlink(line.name, line.target)
    else:
        var.make_directory(line.name)
        var.set_owner(line.name, line.uid, line.gid)
        var.set_mode(line.name, line.mode)
