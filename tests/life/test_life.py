"""A story of our own packages in CI, and that the judge sees what it is there for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.integration.system import REPOSITORY

from .decisions import DECISIONS
from .judge import Decision, compare, uncovered
from .life import tell
from .stories import STORIES


def test_each_decision_is_documented() -> None:
    assert uncovered(DECISIONS, (REPOSITORY / "docs/filesystem.md").read_text()) == []


def seen(**sections: Mapping[str, str]) -> dict[str, Mapping[str, str]]:
    return {"files": {}, "content": {}, **sections}


def test_a_machine_s_own_file_may_be_another_s_but_has_to_stay() -> None:
    own = ("/etc/key",)
    plain = {"one": seen(content={"/etc/key": "a"}), "two": seen(content={"/etc/key": "a"})}
    kept = {"one": seen(content={"/etc/key": "b"}), "two": seen(content={"/etc/key": "b"})}
    assert compare(plain, kept, own, ()) == []
    exchanged = {"one": seen(content={"/etc/key": "b"}), "two": seen(content={"/etc/key": "c"})}
    assert [found.moment for found in compare(plain, exchanged, own, ())] == ["two (ours, own)"]
    gone = {"one": seen(content={"/etc/key": "b"}), "two": seen()}
    assert "two (ours, own)" in [found.moment for found in compare(plain, gone, own, ())]
    # A pattern of a story that fits nothing proves nothing.
    assert len(compare({"one": seen()}, {"one": seen()}, own, ())) == 2


def test_what_one_machine_alone_has_is_a_difference() -> None:
    (found,) = compare({"one": seen(units={"a.service": "active"})}, {"one": seen(units={})}, (), ())
    assert (found.section, found.name, found.plain, found.ours) == ("units", "a.service", "active", None)


def test_that_something_is_gone_excuses_nothing_else_there() -> None:
    decision = Decision("files", "/etc/.*", "", gone=True)
    plain = {"one": seen(files={"/etc/file": "f 644 root root"})}
    assert compare(plain, {"one": seen()}, (), [decision]) == []
    assert len(compare(plain, {"one": seen(files={"/etc/file": "f 600 root root"})}, (), [decision])) == 1


@pytest.mark.archive
def test_a_life(example_repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "OSTREE_SYSROOT_DEBUG", "mutable-deployments")
    differences = tell(STORIES["agent"], example_repo, tmp_path, REPOSITORY / "build/life")
    assert differences == [], "\n" + "\n".join(map(str, differences))
