"""Overrides in the recorded intent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from apt_ostree.errors import ResolveError
from apt_ostree.inputs import requests
from apt_ostree.model import CommitInfo, Intent, LocalPackage, Package
from apt_ostree.ops import query
from apt_ostree.ops.resolve import foreign, inactive_overrides

FILE = LocalPackage("a" * 64, Package("lib", "2", "amd64"))
FOREIGN = LocalPackage("b" * 64, Package("lib", "2", "i386"))
BASE = [Package("dpkg", "1", "amd64"), Package("lib", "1", "amd64"), Package("tool", "3", "all")]


@pytest.mark.parametrize(
    ("expression", "key"),
    [
        ("lib", "lib"),
        ("lib:amd64=1:2", "lib"),
        ("lib:all/sid", "lib"),
        ("lib=1:2", "lib"),
        ("lib:i386", "lib:i386"),
        ("lib:i386=1:2", "lib:i386"),
        ("lib:i386/sid", "lib:i386"),
    ],
)
def test_a_package_is_its_name_and_an_architecture_that_is_not_native(expression: str, key: str) -> None:
    assert requests.key(expression, "amd64") == key


@pytest.mark.parametrize(
    ("before", "remove", "replacing", "after"),
    [
        (Intent(), ["lib"], [], Intent(remove=("lib",))),
        (Intent(), [], ["lib=2"], Intent(replace=("lib=2",))),
        (Intent(remove=("lib",)), [], ["lib=2"], Intent(replace=("lib=2",))),
        (Intent(replace=("lib=2",)), ["lib"], [], Intent(remove=("lib",))),
        (Intent(replace=("lib=2",)), [], ["lib=3"], Intent(replace=("lib=3",))),
        (Intent(replace_local=(FILE,)), [], ["lib/sid"], Intent(replace=("lib/sid",))),
        (Intent(replace=("lib=2",)), [], ["lib:amd64=3"], Intent(replace=("lib:amd64=3",))),
        (Intent(replace=("lib=2",)), [], ["lib:i386=3"], Intent(replace=("lib=2", "lib:i386=3"))),
        (Intent(replace=("lib=2",)), ["lib:i386"], [], Intent(remove=("lib:i386",), replace=("lib=2",))),
        (Intent(remove=("lib:i386",)), [], ["lib:i386=3"], Intent(replace=("lib:i386=3",))),
        (Intent(replace_local=(FOREIGN,)), [], ["lib=2"], Intent(replace=("lib=2",), replace_local=(FOREIGN,))),
        (Intent(("vim",), remove=("a1",)), ["b1"], [], Intent(("vim",), remove=("a1", "b1"))),
    ],
)
def test_the_later_override_of_a_package_wins(
    before: Intent, remove: list[str], replacing: list[str], after: Intent
) -> None:
    assert requests.override(before, remove, replacing, [], "amd64") == after


def test_a_file_replaces_an_earlier_override() -> None:
    before = Intent(remove=("lib",), replace=("tool=4",))
    assert requests.override(before, [], [], [FILE], "amd64") == Intent(replace=("tool=4",), replace_local=(FILE,))


def test_reset_takes_out_the_named_overrides_alone() -> None:
    before = Intent(("vim",), remove=("gone", "gone:i386"), replace=("tool=4",), replace_local=(FILE, FOREIGN))
    assert requests.reset(before, ["gone", "gone:i386", "lib:amd64", "lib:i386"], "amd64") == Intent(
        ("vim",), replace=("tool=4",)
    )


def test_reset_names_what_is_not_overridden_and_what_is() -> None:
    with pytest.raises(ResolveError) as caught:
        requests.reset(Intent(remove=("lib",)), ["tool", "lib", "lib:i386"], "amd64")
    assert (caught.value.brief, caught.value.detail) == ("not overridden: tool, lib:i386", "overridden: lib")


@pytest.mark.parametrize(
    ("intent", "reasons"),
    [
        (Intent(remove=("lib",), replace=("tool=4",)), {}),
        (Intent(remove=("other",)), {"other": "not in the base"}),
        (Intent(replace=("tool=3",)), {"tool": "the base has 3"}),
        (Intent(replace=("other=1",)), {"other": "not in the base"}),
        (Intent(replace=("lib/sid",)), {}),
        (Intent(replace_local=(FILE,)), {}),
        (Intent(replace_local=(LocalPackage("a" * 64, BASE[1]),)), {"lib": "the base has 1"}),
        (Intent(replace=("lib=2", "lib:i386=1")), {"lib:i386": "not in the base"}),
        (Intent(replace=("lib:amd64=1",)), {"lib": "the base has 1"}),
        (Intent(remove=("lib", "lib:i386")), {"lib:i386": "not in the base"}),
        (Intent(replace=("lib=2",), replace_local=(FOREIGN,)), {"lib:i386": "not in the base"}),
    ],
)
def test_an_override_that_the_base_makes_moot_is_inactive(intent: Intent, reasons: dict[str, str]) -> None:
    assert inactive_overrides(BASE, intent) == reasons


@pytest.mark.parametrize(
    ("word", "reasons"),
    [
        ("lib:amd64", {"lib:amd64": "lib 1 is part of the base"}),
        ("tool:all", {"tool:all": "tool 3 is part of the base"}),
        ("lib:i386", {}),
    ],
)
def test_a_wordis_fulfilled_by_the_base_s_package_of_its_architecture(
    monkeypatch: pytest.MonkeyPatch, word: str, reasons: dict[str, str]
) -> None:
    monkeypatch.setattr(query, "package_list", lambda *_: BASE)
    base = CommitInfo("b" * 64, None, 0, "", {})
    assert query._inactive(Path("/"), base, base, Intent((word,)), ()) == reasons


def test_an_architecture_that_the_base_has_not_is_named() -> None:
    asked = ("vim", "lib:amd64", "lib:i386=1", "tool:all", "far:arm64")
    assert foreign(asked, ("amd64", "i386")) == {
        "far": "far:arm64: the base has packages of amd64, i386 alone; its image has to add the architecture (dpkg "
        "--add-architecture arm64)"
    }


@pytest.mark.parametrize(
    ("old", "new", "kept"),
    [
        ("amd64", "amd64", False),
        ("amd64", "all", False),
        ("all", "amd64", False),
        ("amd64", "i386", True),
        ("all", "i386", True),
    ],
)
def test_a_file_takes_the_place_of_one_of_its_architecture(old: str, new: str, kept: bool) -> None:
    first, second = (LocalPackage(char * 64, Package("x", char, arch)) for char, arch in (("1", old), ("2", new)))
    after = requests.add(Intent(requested_local=(first,)), [], [second], "amd64")
    assert after.requested_local == ((first, second) if kept else (second,))


FULL = Intent(
    requested=("vim",), recommends=True, remove=("nano",), replace=("jq=1",), initramfs=True, initramfs_etc=("/etc/x",)
)


@pytest.mark.parametrize(
    ("parts", "left"),
    [
        (set(), Intent()),
        ({"layers"}, replace(FULL, requested=())),
        ({"overrides"}, replace(FULL, remove=(), replace=())),
        ({"initramfs"}, replace(FULL, initramfs=False, initramfs_etc=())),
        ({"layers", "overrides"}, replace(FULL, requested=(), remove=(), replace=())),
    ],
)
def test_parts_of_an_intent_are_cleared_and_without_a_name_all(parts: set[str], left: Intent) -> None:
    asked = {part: part in parts for part in ("layers", "overrides", "initramfs")}
    assert requests.cleared(FULL, **asked) == left
