"""The commands on transactions: history and cancel."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import changes
from . import difference, documents, layout, streams
from .command import CHANGING, LOOKING, Call, app, command

if TYPE_CHECKING:
    from ..ops.history import History
    from ..system.journal import Entry, Unreadable


@command(app, LOOKING)
def history(
    call: Call,
    count: Annotated[
        int | None, typer.Option("-n", "--count", metavar="N", min=1, help="Show only the last N (default: all).")
    ] = None,
) -> None:
    """Show past transactions, the newest first.

    For each: when it began, who ran it, its result, the packages that changed and, if the system records its
    boots, how often the new deployment was booted.

    Example: apt-ostree history -n 5
    """
    from ..ops import history as operation

    found = operation.history(call.settings, count)
    if call.as_json:
        documents.write(_json(found))
        return
    for text in _text(found, verbose=call.verbose):
        streams.line(text)


@command(app, CHANGING)
def cancel(call: Call) -> None:
    """Stop the running transaction.

    Nothing that it has not finished remains.

    Example: apt-ostree cancel
    """
    from ..ops import history as operation

    call.show(call.perform(lambda reporter: operation.cancel(call.settings, reporter)))


def _text(history: History, *, verbose: bool) -> Iterable[str]:
    """Return the lines for people: when, who and which command; then the result."""
    from ..system.journal import Unreadable

    if not history.entries:
        yield f"No transactions of {history.osname} are recorded."
    for number, entry in enumerate(history.entries):
        if number:
            yield ""
        if isinstance(entry, Unreadable):
            yield f"{entry.id}  cannot be read: {entry.reason}"
            continue
        begun = datetime.fromisoformat(entry.begun)
        yield f"{begun.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC  uid {entry.uid}  {shlex.join(entry.command)}"
        yield layout.field("Result", _result(entry))
        if entry.new is not None:
            yield layout.field("Boots next", f"{entry.new}  (before: {entry.old})")
            if history.boots is not None:
                yield layout.field("Booted", _times(history.boots.get(entry.new, 0)))
        for text in difference.lines(entry.change):
            yield layout.field("", text)
        if verbose:
            yield layout.field("Transaction", entry.id)
            for name, seconds in _phases(entry):
                yield layout.field("", f"{name:<9}{seconds:8.2f} s" if seconds is not None else name)


def _times(count: int) -> str:
    return {0: "never", 1: "once"}.get(count, f"{count} times")


def _result(entry: Entry) -> str:
    if entry.state == "running":
        return f"in progress: {entry.phases[-1].name if entry.phases else 'begun'}"
    where = f" in phase {entry.phases[-1].name}" if entry.phases and entry.state != "done" else ""
    after = ", after the deployments had changed" if entry.new is not None and entry.state != "done" else ""
    return f"{entry.state}{where}{after}" + (f": {entry.error}" if entry.error else "")


def _phases(entry: Entry) -> list[tuple[str, float | None]]:
    """Return each phase with its seconds; None for the last phase of a transaction that recorded no end."""
    begun = [datetime.fromisoformat(phase.begun) for phase in entry.phases]
    ends = [*begun[1:], datetime.fromisoformat(entry.ended) if entry.ended else None]
    return [
        (phase.name, (end - start).total_seconds() if end is not None else None)
        # A record may have no phase.
        for phase, start, end in zip(entry.phases, begun, ends, strict=False)
    ]


def _json(history: History) -> dict[str, Any]:
    """Return the document of ``history --json``; its schema is docs/schema/history.json."""
    return {"osname": history.osname, "transactions": [_entry_json(entry, history.boots) for entry in history.entries]}


def _entry_json(entry: Entry | Unreadable, boots: Mapping[str, int] | None) -> dict[str, Any]:
    from ..system.journal import Unreadable

    if isinstance(entry, Unreadable):
        return {"id": entry.id, "state": "unreadable", "error": entry.reason}
    return {
        "id": entry.id,
        "state": entry.state,
        "error": entry.error,
        "pid": entry.pid,
        "uid": entry.uid,
        "command": list(entry.command),
        "begun": entry.begun,
        "ended": entry.ended,
        "phases": [
            {"name": phase.name, "begun": phase.begun, "seconds": seconds}
            for phase, (_, seconds) in zip(entry.phases, _phases(entry), strict=True)
        ],
        "old-deployment": entry.old,
        "new-deployment": entry.new,
        "boots": boots.get(entry.new, 0) if boots is not None and entry.new is not None else None,
        "difference": changes.document(entry.change),
    }
