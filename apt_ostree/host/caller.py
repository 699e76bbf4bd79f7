"""The user and the command line behind an operation; neither is kept or shown with a password."""

from __future__ import annotations

import os
import sys

from ..errors import redact
from ..numbers import decimal


def uid() -> int:
    """The user who asked for the operation: the one who called sudo(8), if any."""
    behind = decimal(os.environ.get("SUDO_UID", ""))
    return os.getuid() if behind is None else behind


def words() -> list[str]:
    """The command line, without secrets."""
    return ["apt-ostree", *map(redact, sys.argv[1:])]
