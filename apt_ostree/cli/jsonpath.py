"""The part of JSONPath that --jsonpath supports: names, indexes and wildcards."""

from __future__ import annotations

import re
from typing import Any

from ..errors import UsageError

SUPPORTED = "$.deployments[0].version, $.deployments[*].checksum, $['cached-update'], $.deployments[-1].packages.*.name"

_STEP = re.compile(
    r"\.(?P<name>[A-Za-z0-9_-]+|\*)|\[(?P<index>-?\d+|\*)\]|\[(?P<quote>['\"])(?P<quoted>[^'\"]+)(?P=quote)\]"
)


def select(document: Any, expression: str) -> list[Any]:
    """Return all values in ``document`` that a path names, if any. Raises UsageError for another form."""
    rest = expression if expression.startswith(("$", "[", ".")) else f".{expression}"
    rest = rest.removeprefix("$")
    found = [document]
    while rest:
        step = _STEP.match(rest)
        if step is None:
            raise UsageError(f"'{expression}' is not a path that is supported here", f"such paths are: {SUPPORTED}")
        rest = rest[step.end() :]
        name = step["name"] or step["index"] or step["quoted"]
        found = [value for each in found for value in _below(each, name, by_index=step["index"] is not None)]
    return found


def _below(value: Any, name: str, *, by_index: bool) -> list[Any]:
    if name == "*":
        return list(value.values()) if isinstance(value, dict) else list(value) if isinstance(value, list) else []
    if by_index:
        number = int(name)
        return [value[number]] if isinstance(value, list) and -len(value) <= number < len(value) else []
    return [value[name]] if isinstance(value, dict) and name in value else []
