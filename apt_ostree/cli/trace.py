"""``--debug``: the children that run and the decisions that are made, line by line on standard error.

The floors below log to loggers of their own names; nothing is written unless this module is asked to.
"""

from __future__ import annotations

import logging

from ..errors import redact
from .streams import DEBUG, say

_ROOT = __package__.partition(".")[0]


class Lines(logging.Handler):
    """Each record as a line: seconds since the start, where it comes from, and the text without credentials."""

    def emit(self, record: logging.LogRecord) -> None:
        name = record.name.removeprefix(f"{_ROOT}.")
        say(DEBUG, redact(f"debug: {record.relativeCreated / 1000:.3f} {name}: {record.getMessage()}"))


def begin() -> None:
    """Write what is logged from here on, also by the process that is forked to do the work."""
    logger = logging.getLogger(_ROOT)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.handlers = [Lines()]
