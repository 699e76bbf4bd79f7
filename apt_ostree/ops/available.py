"""The update that is known to be available, as the last look at the remote and the archives found it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

from .. import changes
from ..changes import Change
from ..errors import TreeError
from ..host.door import Tree
from ..model import Deployment
from ..system import origin
from ..system.sysroot import Sysroot

NOTE = "var/lib/apt-ostree/update.json"
"""The file of a stateroot that keeps it: anybody may read it, unlike the work area."""

NOTE_MAX = 16 << 20
"""Bytes of it that are read."""


def _stateroot(loaded: Sysroot, osname: str) -> Tree:
    return Tree(loaded.path / "ostree/deploy" / osname)


@dataclass(frozen=True, slots=True)
class Update:
    """The newer base and packages for deployment ``basis`` (its checksum) over the base ``over``, as last seen."""

    basis: str
    over: str
    refspec: str
    seen: int
    """Time of the last look, in seconds UTC."""
    base: str | None = None
    """The newest base's checksum; None where it is deployed."""
    version: str = ""
    timestamp: int = 0
    difference: Change | None = None
    """The difference of the two bases' packages; None if the new base does not list them."""
    layered: Change = field(default_factory=Change)
    """New versions of what is layered, over the base in use."""

    @property
    def any(self) -> bool:
        """True if there is anything to upgrade to."""
        return self.base is not None or self.layered != Change()


def cached(loaded: Sysroot, deployment: Deployment, base: str) -> Update | None:
    """The update that the last look found for this deployment; None if nobody looked, nothing is newer, or it is
    deployed by now. Never fails: it is only news."""
    try:
        text = _stateroot(loaded, deployment.osname).read(NOTE, limit=NOTE_MAX)
    except (OSError, TreeError):
        return None
    update = parse(text) if text is not None else None
    if update is None:
        return None
    if update.basis != deployment.checksum:
        update = replace(update, layered=Change())
    return update if (update.over, update.refspec) == (base, origin.refspec(deployment.origin)) and update.any else None


def parse(text: bytes) -> Update | None:
    """Read such a note; None for one of another form."""
    try:
        note = json.loads(text)
        update = Update(
            note["basis"],
            note["base-checksum"],
            note["origin"],
            note["checked"],
            note["checksum"],
            note["version"] or "",
            note["timestamp"] or 0,
            changes.read(note["difference"]) if note["difference"] is not None else None,
            changes.read(note["layered"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    texts = (update.basis, update.over, update.refspec, "" if update.base is None else update.base, update.version)
    if not all(isinstance(value, str) for value in texts):
        return None
    return update if type(update.seen) is int and type(update.timestamp) is int else None


def remember(loaded: Sysroot, osname: str, update: Update) -> None:
    """Write down what was found, for anybody to read. Raises TreeError where a link is in the way, and OSError."""
    stateroot = _stateroot(loaded, osname)
    stateroot.make_directory(NOTE.rpartition("/")[0])
    stateroot.write(NOTE, json.dumps(document(update)).encode())


def document(update: Update) -> dict[str, Any]:
    """An update in the form that ``--check --json`` and ``status --json`` show, and that is written down."""
    return {
        "basis": update.basis,
        "base-checksum": update.over,
        "origin": update.refspec,
        "checked": update.seen,
        "checksum": update.base,
        "version": update.version or None,
        "timestamp": update.timestamp or None,
        "difference": changes.document(update.difference) if update.difference is not None else None,
        "layered": changes.document(update.layered),
    }
