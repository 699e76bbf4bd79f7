"""Who asked for an operation, and in which words; what is kept or shown of them holds no password."""

from __future__ import annotations

import os
import sys

from ..errors import redact


def uid() -> int:
    """The user who asked: of the person behind sudo(8), where there is one."""
    behind = os.environ.get("SUDO_UID", "")
    return int(behind) if behind.isdecimal() else os.getuid()


def words() -> list[str]:
    """The command line, without secrets."""
    return ["apt-ostree", *map(redact, sys.argv[1:])]
