"""An error as users see it: its three parts on standard error, and as a document where JSON was asked for."""

from __future__ import annotations

from typing import Any

from ..errors import AptOstreeError, UsageError
from . import documents
from .streams import ERROR, say


def show(failure: AptOstreeError, *, as_json: bool) -> None:
    """The three parts of an error on standard error; as JSON on standard output, too, where that was asked for."""
    if as_json:
        parts = {
            "id": failure.id,
            "brief": failure.brief,
            "detail": failure.detail,
            "resolution": failure.resolution,
        }
        documents.write({"error": parts})
    say(ERROR, f"error: {failure.brief}")
    for text in failure.detail.splitlines():
        say(ERROR, f"  {text}")
    if failure.resolution:
        say(ERROR, failure.resolution)


def misread(failure: Any) -> UsageError:
    """An error of the parser (typer's, which names no class of its own) in the three parts of ours."""
    message = failure.format_message().rstrip(".")
    context = failure.ctx
    return UsageError(
        message[:1].lower() + message[1:],
        context.get_usage(),
        f"'{context.command_path} --help' shows its forms.",
    )
