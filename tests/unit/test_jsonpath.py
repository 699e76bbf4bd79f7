"""Paths into a document, as ``status --jsonpath`` takes them."""

from __future__ import annotations

import pytest

from apt_ostree.cli.jsonpath import select
from apt_ostree.errors import UsageError

DOCUMENT = {"schema": 1, "deployments": [{"version": "2", "tags": ["a", "b"]}, {"version": "1"}], "cached-update": None}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("$", [DOCUMENT]),
        ("$.schema", [1]),
        ("schema", [1]),
        ("$.deployments[0].version", ["2"]),
        ("deployments[-1].version", ["1"]),
        ("$.deployments[*].version", ["2", "1"]),
        ("$['deployments'][0][\"tags\"][1]", ["b"]),
        ("$.deployments.*.tags[*]", ["a", "b"]),
        ("$.cached-update", [None]),
        ("$['cached-update']", [None]),
        ("$.absent.version", []),
        ("$.deployments[9]", []),
        ("$.schema[0]", []),
        ("$.schema.*", []),
    ],
)
def test_select(path: str, expected: list[object]) -> None:
    assert select(DOCUMENT, path) == expected


@pytest.mark.parametrize("path", ["$..version", "$.deployments[?(@.booted)]", "$.deployments[", "", "$x", "$.a b"])
def test_other_forms_are_refused(path: str) -> None:
    with pytest.raises(UsageError, match="not a path that is supported"):
        select(DOCUMENT, path)
