"""JSON on standard output: whole documents, and the values that several of them hold (docs/schema)."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..changes import package_document
from ..model import CommitInfo, Plan
from . import streams

if TYPE_CHECKING:
    from ..ops.query import PackageDetails
    from ..tree.changelog import News
    from ..tree.etc import Conflict

SCHEMA = 1
"""The version of every JSON document; fields are only ever added to it."""

_CONFFILE = re.compile(r"^ (/[^\n]*?) (?:[0-9a-f]+|newconffile)(?: obsolete)?(?: remove-on-upgrade)?$", re.MULTILINE)
"""A line of dpkg's status: a conffile's path, its digest and what dpkg notes of it."""


def write(value: dict[str, Any]) -> None:
    """Print a JSON document, with the schema's number."""
    _print({"schema": SCHEMA, **value})


def write_selected(values: Sequence[Any]) -> None:
    """Print the values that a path selected from a document, as a JSON list."""
    _print(list(values))


def _print(value: Any) -> None:
    streams.document(json.dumps(value, indent=2, ensure_ascii=False))


def plan(plan: Plan) -> list[dict[str, Any]]:
    return [
        {**package_document(s.package), "sha256": s.sha256, "size": s.size, "installed-size": s.installed_size}
        for s in plan.packages
    ]


def news(news: Sequence[News] | None) -> list[dict[str, Any]] | None:
    if news is None:
        return None
    return [
        {
            "packages": list(each.packages),
            "releases": None
            if each.releases is None
            else [{"version": release.version, "text": release.text} for release in each.releases],
        }
        for each in news
    ]


def etc_conflicts(conflicts: Sequence[Conflict]) -> list[dict[str, str]]:
    return [{"path": conflict.path, "here": conflict.here, "there": conflict.there} for conflict in conflicts]


def base(info: CommitInfo) -> dict[str, Any]:
    return {"checksum": info.checksum, "version": info.version or None, "timestamp": info.timestamp}


def details(details: Sequence[PackageDetails]) -> list[dict[str, Any]]:
    """Return packages with everything that dpkg's database says about them."""
    relations = (
        "pre-depends",
        "depends",
        "recommends",
        "suggests",
        "conflicts",
        "breaks",
        "replaces",
        "provides",
    )
    return [
        {
            **package_document(entry.package),
            "description": entry.fields.get("description", ""),
            "relations": {name: entry.fields[name] for name in relations if name in entry.fields},
            "conffiles": [match[1] for match in _CONFFILE.finditer(entry.fields.get("conffiles", ""))],
            "files": list(entry.files),
            "scripts": entry.scripts,
        }
        for entry in details
    ]
