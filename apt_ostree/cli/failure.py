"""An error as users see it: its three parts on standard error, and as a document where JSON was asked for."""

from __future__ import annotations

import traceback
from contextlib import suppress
from typing import Any

from ..errors import AptOstreeError, OutputError, UsageError
from ..text import lines
from . import documents
from .streams import DEBUG, ERROR, say


def show(failure: AptOstreeError, *, as_json: bool) -> None:
    """Print the three parts of an error on standard error and, with ``as_json``, a document on standard output, if
    that can be written."""
    if as_json:
        parts = {
            "id": failure.id,
            "brief": failure.brief,
            "detail": failure.detail,
            "resolution": failure.resolution,
        }
        with suppress(OutputError):
            documents.write({"error": parts})
    say(ERROR, f"error: {failure.brief}")
    for text in lines(failure.detail):
        say(ERROR, f"  {text}")
    for text in lines(failure.resolution):
        say(ERROR, text)


def trace(error: Exception) -> None:
    """Print the traceback of an unexpected exception on standard error."""
    for text in "".join(traceback.format_exception(error.__cause__ or error)).rstrip().split("\n"):
        say(DEBUG, text)


def misread(failure: Any) -> UsageError:
    """Turn an error of typer's parser into one in three parts."""
    message = failure.format_message().rstrip(".")
    context = failure.ctx
    return UsageError(
        message[:1].lower() + message[1:],
        context.get_usage(),
        f"See '{context.command_path} --help'.",
    )
