"""An available update, as ``upgrade --check``, ``refresh-md`` and ``status`` show it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import numbers
from . import difference, documents, streams

if TYPE_CHECKING:
    from ..ops.available import Update


def show(found: Update, *, as_json: bool) -> None:
    """Print what ``upgrade --check`` and ``refresh-md`` found."""
    from ..ops.available import document as fields

    if as_json:
        documents.write({"changed": found.any, "update": fields(found)})
        return
    if not found.any:
        streams.line("No updates available.")
        return
    streams.line(line(found))
    if found.base is not None:
        for text in difference.lines(found.difference) if found.difference is not None else []:
            streams.line(text)
        if found.difference is None:
            streams.line(
                "The new base does not list its packages. To see what would change: apt-ostree upgrade --preview"
            )
    if found.layered != type(found.layered)():
        streams.line("Layered packages:")
        for text in difference.lines(found.layered):
            streams.line(f"  {text}")


def line(found: Update) -> str:
    """Return an update in one line."""
    parts = []
    if found.base is not None:
        parts.append(f"{found.version or found.base[:12]} ({numbers.moment(found.timestamp)})")
    count = sum(map(len, (found.layered.added, found.layered.removed, found.layered.changed)))
    if count:
        parts.append(f"{count} changes of layered packages")
    return f"Available: {', '.join(parts)}"
