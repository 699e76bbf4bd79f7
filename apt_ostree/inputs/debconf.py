"""Answers to debconf's questions, given beforehand in the form of debconf-set-selections(1).

They may hold passwords: a layer keeps them in a file of root's alone, and nowhere else do they appear.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from pathlib import Path

from ..errors import UsageError
from ..host.files import NAMED_MAX, PIPE_SECONDS, read_regular

PLACE = "usr/lib/apt-ostree/debconf.selections"
"""The file in which a layer keeps the answers it was built with, for the next layer of the same intent."""

_TYPES = frozenset(("string", "boolean", "select", "multiselect", "note", "text", "password", "title", "error"))
"""debconf-devel(7)."""

_LINE = re.compile(r"(?P<owner>\S+)[ \t]+(?P<question>\S+)[ \t]+(?P<type>\S+)(?:[ \t](?P<value>.*))?")


def read(path: Path) -> str:
    """The answers in a file, checked and in their plain form. Raises UsageError, which names lines and no values."""
    try:
        text = read_regular(path, NAMED_MAX, pipe_seconds=PIPE_SECONDS).decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8", f"at byte {error.start}") from error
    return normalize(text, str(path))


def normalize(text: str, name: str) -> str:
    """Join continued lines, drop comments, check each line's form and let a later answer replace an earlier one.

    ``name`` is what errors call the text. Raises UsageError.
    """
    answers: dict[tuple[str, str, bool], str] = {}
    number = 0
    lines = iter(text.split("\n"))
    for raw in lines:
        number += 1
        begun, line = number, raw
        while line.endswith("\\"):
            number += 1
            line = line[:-1] + next(lines, "")
        line = line.lstrip(" \t").rstrip("\r")
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None or not (match["type"] in _TYPES or match["type"] == "seen"):
            raise UsageError(
                f"{name}, line {begun}: not an answer for debconf",
                f"a line is OWNER QUESTION TYPE VALUE; the types are {', '.join(sorted(_TYPES))}, and seen",
                "debconf-get-selections (package debconf-utils) prints such lines where the questions were answered.",
            )
        key = (match["owner"], match["question"], match["type"] == "seen")
        answers[key] = line
    return "".join(f"{line}\n" for line in answers.values())


def merge(older: str, newer: str) -> str:
    """The answers that a layer keeps: both, where the newer answer to a question wins; ``older`` as it is where that
    changes nothing.

    A comment that nobody can guess comes first. Anybody may read the digest in an origin, and that of the file in the
    repository: of a password with few possibilities they would tell which one it is.
    """
    both = normalize(older + newer, "the answers")
    if not both or both == normalize(older, "the answers"):
        return older
    return f"# {secrets.token_hex(32)}\n{both}"


def digest(text: str) -> str:
    """The digest of the answers that an origin records: SHA-256 in hexadecimal; empty for none."""
    return hashlib.sha256(text.encode()).hexdigest() if text else ""
