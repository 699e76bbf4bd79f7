"""Older versions of packages where the newest do not fit the base, over an apt that knows a small archive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from apt_ostree.host.proc import Result
from apt_ostree.model import Package
from apt_ostree.ops import fitting
from apt_ostree.ops.fitting import Fit, Search
from apt_ostree.tools import apt

SOLVER: Any = None
BASE = [(Package("lib", "1", "all"), apt.PRIORITY_BASE)]

ARCHIVE: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "lib-ext": {"9": ("lib", "9"), "5": ("lib", "5"), "1": ("lib", "1")},
    "lib-dev": {"9": ("lib-ext", "9"), "1": ("lib-ext", "1")},
    "hopeless": {"9": ("lib", "9"), "8": ("lib", "8")},
}
"""Package -> version -> the package that it needs, and in which version."""


class Solver:
    """apt, as far as it is asked here: the newest version of each package, or the one that is pinned."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pinned: dict[str, str] = {}
        self.asked = 0
        monkeypatch.setattr(apt, "write_pins", self._write_pins)
        monkeypatch.setattr(apt, "simulate", self._simulate)
        monkeypatch.setattr(apt, "versions", lambda _, names: {name: list(ARCHIVE.get(name, [])) for name in names})

    def _write_pins(self, _: object, pins: Sequence[tuple[Package, int]]) -> None:
        self.pinned = {package.name: package.version for package, _ in pins}

    def _simulate(self, _: object, requests: Sequence[str], *__: object, replacing: bool) -> list[apt.Action] | Result:
        self.asked += 1
        waiting, actions, unmet = [request.partition("=")[0] for request in requests], [], ""
        said = dict(request.split("=") for request in requests if "=" in request)
        while waiting:
            name = waiting.pop()
            version = said.get(name) or self.pinned.get(name) or next(iter(ARCHIVE[name]))
            needed, exactly = ARCHIVE[name][version]
            actions.append(apt.Action("Inst", name, "all", version))
            found = self.pinned.get(needed) or next(iter(ARCHIVE[needed]))
            if found != exactly:
                unmet += f" {name} : Depends: {needed} (= {exactly}) but {found} is to be installed\n"
            if needed != "lib":
                waiting.append(needed)
        text = f"The following packages have unmet dependencies:\n{unmet}"
        return Result(("apt-get",), 100, text, "") if unmet else actions


def fit(monkeypatch: pytest.MonkeyPatch, *requests: str) -> tuple[Fit | None, int]:
    solver = Solver(monkeypatch)
    search = Search(requests, BASE, None, replacing=False)
    failed = search.ask(SOLVER, {})
    assert isinstance(failed, Result)
    return fitting.fit(SOLVER, search, failed), solver.asked


def test_the_newest_version_that_fits_the_base_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = fit(monkeypatch, "lib-ext")
    assert found is not None
    assert [action.version for action in found.actions] == ["1"]
    assert found.waiting == {"lib-ext": ("1", "9")}


def test_what_needs_it_is_as_old(monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = fit(monkeypatch, "lib-dev")
    assert found is not None
    assert found.waiting == {"lib-ext": ("1", "9"), "lib-dev": ("1", "9")}


@pytest.mark.parametrize("request_", ["lib-ext=9", "hopeless"])
def test_a_version_that_was_asked_for_stays_and_none_may_fit(monkeypatch: pytest.MonkeyPatch, request_: str) -> None:
    found, asked = fit(monkeypatch, request_)
    assert found is None
    assert asked <= 3


def test_the_number_of_questions_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    many = {"lib-ext": {str(version): ("lib", str(version)) for version in range(100, 1, -1)}}
    monkeypatch.setattr("tests.unit.test_fitting.ARCHIVE", many)
    found, asked = fit(monkeypatch, "lib-ext")
    assert found is None
    assert asked == fitting.TRIES + 1


def test_versions_come_from_all_archives_the_newest_first() -> None:
    printed = " a |  1.9 | https://x stable/main amd64 Packages\n a | 1.10 | https://y stable/main amd64 Packages\n"

    class Fake:
        def run(self, *words: str, check: bool) -> Result:
            assert words == ("apt-cache", "madison", "--", "a", "b")
            return Result(words, 0, printed + " a |  1.9 | https://z other/main amd64 Packages\n", "")

    fake: Any = Fake()
    assert apt.versions(fake, ["b", "a"]) == {"a": ["1.10", "1.9"]}
    assert apt.versions(fake, []) == {}
