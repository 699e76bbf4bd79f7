"""The journal: one JSON document for each transaction: who did what, when, and with which result.

It lies in the stateroot's /var, which all its deployments share. Nothing depends on it: a document that is
empty, damaged, or of a later version is shown as such, and an operation goes on where none can be written.
"""

from __future__ import annotations

import errno
import json
import os
import re
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from .. import changes
from ..changes import Change
from ..errors import TreeError, redact
from ..host.door import Tree, is_half_written
from ..reporter import Reporter

SCHEMA = 1
KEPT = 100
"""Documents in a stateroot; the oldest go."""

READ_MAX = 2 * KEPT
"""Documents that are read, the newest: others may lay down any number of them."""

SIZE_MAX = 2 << 20
"""Bytes of a document that are read: the change of a whole release has some hundred thousand."""

ID = re.compile(r"\d{8}T\d{6}Z-\d+")
"""The form of a transaction's name: names sort by time."""

PLACE = "var/lib/apt-ostree/transactions"
LOGS = "var/log/apt-ostree"
"""Below the stateroot. Links there lead who knows where, and are not followed."""

_DOCUMENT = re.compile(rf"{ID.pattern}\.json")
_LOG = re.compile(rf"{ID.pattern}\.(?:log|traceback)")

RUNNING, DONE, FAILED, INTERRUPTED = "running", "done", "failed", "interrupted"
STATES = frozenset({RUNNING, DONE, FAILED, INTERRUPTED})


@dataclass(frozen=True, slots=True)
class Phase:
    """A named part of a transaction, from ``begun`` to the next one's."""

    name: str
    begun: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One transaction, as far as is known; times are ISO 8601 in UTC.

    ``old`` and ``new`` are the ids of the deployments that would boot next before and after it.
    """

    id: str
    pid: int
    uid: int
    command: tuple[str, ...]
    begun: str
    state: str = RUNNING
    ended: str | None = None
    phases: tuple[Phase, ...] = ()
    old: str | None = None
    new: str | None = None
    change: Change = field(default_factory=Change)
    error: str = ""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A document that this version cannot read, and why."""

    id: str
    reason: str


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def identify() -> str:
    """A name for a transaction that begins."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{os.getpid()}"


def render(entry: Entry) -> str:
    """The document of an entry."""
    return json.dumps({"schema": SCHEMA, **asdict(entry), "change": changes.record(entry.change)}, indent=1)


def parse(name: str, text: str) -> Entry | Unreadable:
    """Read the document of the transaction ``name``; never fails, for anybody may have damaged it."""
    if len(text) > SIZE_MAX:
        return Unreadable(name, "it is too large")
    try:
        found: Any = json.loads(text)
        if not isinstance(found, dict):
            return Unreadable(name, "it holds no entry")
        if isinstance(found["schema"], int) and found["schema"] > SCHEMA:
            return Unreadable(name, f"a later version of apt-ostree wrote it (schema {found['schema']})")
        entry = Entry(
            str(found["id"]),
            _number(found["pid"]),
            _number(found["uid"]),
            tuple(map(str, found["command"])),
            str(found["begun"]),
            found["state"],
            _text(found["ended"]),
            tuple(Phase(str(phase["name"]), str(phase["begun"])) for phase in found["phases"]),
            _text(found["old"]),
            _text(found["new"]),
            changes.read(found["change"]),
            str(found["error"]),
        )
        for moment in (entry.begun, *(phase.begun for phase in entry.phases), entry.ended):
            if moment is not None and (time := datetime.fromisoformat(moment)).astimezone(UTC) and time.tzinfo is None:
                raise ValueError("a time without a zone")
        if entry.state not in STATES:
            return Unreadable(name, f"its state is unknown: {entry.state}")
        if entry.id != name:
            # It will be written again under its id, which could lead anywhere.
            return Unreadable(name, "it is the record of another transaction")
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError):
        return Unreadable(name, "it is damaged" if text.strip() else "it is empty")
    return entry


def _number(value: object) -> int:
    if type(value) is not int or not 0 <= value < 1 << 32:
        raise ValueError("not the number of a process or a user")
    return value


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def read(stateroot: Path, count: int = READ_MAX) -> list[Entry | Unreadable]:
    """The last ``count`` documents of a stateroot, the oldest first. Raises OSError where it may not be read."""
    tree = Tree(stateroot)
    found = _documents(_names(tree, PLACE))
    return [_read(tree, name) for name in found[max(0, len(found) - min(count, READ_MAX)) :]]


def _documents(names: Iterable[str]) -> list[str]:
    """The names of documents, the oldest first. One of a time to come is not ours, or of a clock that was wrong: it
    counts as older than all others, so that it takes the place of none."""
    latest = f"{datetime.now(UTC) + timedelta(days=1):%Y%m%dT%H%M%SZ}"
    return sorted(filter(_DOCUMENT.fullmatch, names), key=lambda name: (name < latest, name))


def read_one(stateroot: Path, identifier: str) -> Entry | Unreadable:
    """One document; Unreadable where there is none."""
    return _read(Tree(stateroot), f"{identifier}.json")


def _read(tree: Tree, name: str) -> Entry | Unreadable:
    identifier = name.removesuffix(".json")
    try:
        content = tree.read(f"{PLACE}/{name}", limit=SIZE_MAX)
    except TreeError:
        return Unreadable(identifier, "it is too large")
    except OSError as error:
        return Unreadable(identifier, error.strerror or str(error))
    if content is None:
        return Unreadable(identifier, "it is not a file")
    return parse(identifier, content.decode(errors="replace"))


def _names(tree: Tree, place: str) -> list[str]:
    """The names in a directory, sorted; none where it does not exist. Raises NotADirectoryError where a link or a file
    is in the way, and what OSError the kernel has."""
    parts = place.split("/")
    for count in range(1, len(parts) + 1):
        inner = "/".join(parts[:count])
        if not tree.has(inner):
            return []
        if not tree.has_directory(inner):
            raise _blocked(tree, place)
    return tree.names(place)


def _blocked(tree: Tree, place: str) -> OSError:
    return NotADirectoryError(errno.ENOTDIR, "a link or a file is in its place", os.fspath(tree.top / place))


def trim(stateroot: Path) -> None:
    """Drop what a killed writer left, the oldest documents above the number that is kept, and the logs of their time.

    Nothing goes but files of names that are given here. Raises OSError.
    """
    tree = Tree(stateroot)
    names = _names(tree, PLACE)
    documents = _documents(names)
    _drop(tree, PLACE, [*filter(is_half_written, names), *documents[:-KEPT]])
    # A failure of which no record could be written keeps its log.
    if len(documents) < KEPT:
        return
    oldest = min(documents[-KEPT:]).removesuffix(".json")
    logs = filter(_LOG.fullmatch, _names(tree, LOGS))
    _drop(tree, LOGS, [name for name in logs if name.partition(".")[0] < oldest])


def _drop(tree: Tree, place: str, names: Sequence[str]) -> None:
    for name in names:
        if not tree.has_directory(f"{place}/{name}"):
            tree.remove(f"{place}/{name}")


def write(stateroot: Path, entry: Entry, *, durable: bool = True) -> None:
    """Write one document, whole, for anybody to read, as apt's own history is. Raises OSError."""
    tree = Tree(stateroot)
    content = render(entry).encode(errors="replace")
    try:
        tree.make_directory(PLACE)
        tree.write(f"{PLACE}/{entry.id}.json", content, durable=durable)
    except TreeError as error:
        raise _blocked(tree, PLACE) from error


def write_traceback(stateroot: Path, spare: Path, identifier: str, error: Exception) -> str:
    """Write down how an unexpected exception came about, for root alone, beside the logs, or else in the directory
    ``spare``; returns the name of the file, empty where none could be written."""
    text = redact("".join(traceback.format_exception(error))).encode(errors="backslashreplace")
    name = f"{identifier}.traceback"
    for top, place in ((stateroot, LOGS), (spare, "log")):
        try:
            tree = Tree(top)
            tree.make_directory(place)
            tree.write(f"{place}/{name}", text, 0o600)
        except (OSError, TreeError):
            continue
        return os.fspath(top / place / name)
    return ""


def remove(stateroot: Path, identifier: str) -> None:
    """Forget one transaction. Raises OSError."""
    tree = Tree(stateroot)
    if f"{identifier}.json" in _names(tree, PLACE):
        _drop(tree, PLACE, [f"{identifier}.json"])
        tree.sync(PLACE)


class Writer:
    """Keeps one transaction's document as it proceeds; none is written before its first phase."""

    def __init__(self, stateroot: Path, entry: Entry, reporter: Reporter, *, silent: bool = False) -> None:
        """A ``silent`` writer never writes: a dry run is not a transaction."""
        self.stateroot, self.entry, self.reporter, self.silent = stateroot, entry, reporter, silent
        self.begun = self.warned = False

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Record that the phase ``name`` begins."""
        self.entry = replace(self.entry, phases=(*self.entry.phases, Phase(name, now())))
        # Only the first and the last are synced: each sync would wait for the data of a whole layer.
        self._write(durable=not self.begun)
        self.begun = True
        yield

    def end(self, state: str, new: str | None, change: Change, error: str = "") -> None:
        """Say how it ended; where nothing came of it and nothing failed, forget it."""
        if not self.begun:
            return
        if state == DONE and new is None:
            self._try(lambda: remove(self.stateroot, self.entry.id))
            return
        self.entry = replace(self.entry, state=state, ended=now(), new=new, change=change, error=redact(error))
        if not self._write(durable=True):
            # No record is better than one that says it still runs.
            self._try(lambda: remove(self.stateroot, self.entry.id))

    def _write(self, *, durable: bool) -> bool:
        return self._try(lambda: write(self.stateroot, self.entry, durable=durable))

    def _try(self, work: Callable[[], None]) -> bool:
        if self.silent:
            return True
        try:
            work()
        except OSError as error:
            # The operation is worth more than its record.
            if not self.warned:
                self.warned = True
                reason = error.strerror or str(error)
                self.reporter.warn(f"the journal in {self.stateroot / PLACE} cannot be written: {reason}")
            return False
        return True
