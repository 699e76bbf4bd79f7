"""A difference of packages in JSON: for users as for the journal, whose older documents stay readable."""

from __future__ import annotations

import json
from typing import Any

import pytest

from apt_ostree import changes
from apt_ostree.changes import Change
from apt_ostree.model import Package

CHANGE = Change(
    (Package("a", "1", "amd64"),),
    (Package("b", "2", "all"),),
    ((Package("c", "1", "i386"), Package("c", "2", "i386")),),
)

SHOWN = (
    '{"added": [{"name": "a", "version": "1", "architecture": "amd64"}],'
    ' "removed": [{"name": "b", "version": "2", "architecture": "all"}],'
    ' "changed": [{"old": {"name": "c", "version": "1", "architecture": "i386"},'
    ' "new": {"name": "c", "version": "2", "architecture": "i386"}}]}'
)
RECORDED = (
    '{"added": [{"name": "a", "version": "1", "architecture": "amd64"}],'
    ' "removed": [{"name": "b", "version": "2", "architecture": "all"}],'
    ' "changed": [[{"name": "c", "version": "1", "architecture": "i386"},'
    ' {"name": "c", "version": "2", "architecture": "i386"}]]}'
)


def test_the_forms_for_users_and_for_the_journal_are_fixed() -> None:
    assert json.dumps(changes.document(CHANGE)) == SHOWN
    assert json.dumps(changes.record(CHANGE)) == RECORDED


@pytest.mark.parametrize("text", [SHOWN, RECORDED])
def test_either_form_is_read(text: str) -> None:
    assert changes.read(json.loads(text)) == CHANGE


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        (["all"], ["amd64"], True),
        (["amd64"], ["all"], True),
        (["amd64"], ["i386"], False),
        (["all"], ["amd64", "i386"], False),
        (["amd64", "i386"], ["all"], False),
        (["amd64", "i386"], ["all", "i386"], True),
    ],
)
def test_a_package_that_is_or_was_for_all_architectures_is_changed(
    before: list[str], after: list[str], changed: bool
) -> None:
    old, new = ([Package("x", "1", architecture) for architecture in found] for found in (before, after))
    found = changes.difference(old, new)
    assert found.changed == (((old[0], new[0]),) if changed else ())
    assert bool(found.added or found.removed) is not changed


@pytest.mark.parametrize(
    "value",
    [
        {"added": [], "removed": []},
        {"added": [1], "removed": [], "changed": []},
        {"added": [], "removed": [], "changed": [[]]},
        {"added": [], "removed": [], "changed": [{"old": {}}]},
    ],
)
def test_anything_else_is_an_error(value: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        changes.read(value)
