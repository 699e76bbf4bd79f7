"""Wishes about one package: the table of docs/requests.md holds, row by row."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from apt_ostree.errors import AptOstreeError, ResolveError, UsageError
from apt_ostree.inputs import edits, requests
from apt_ostree.inputs.edits import Named
from apt_ostree.model import Intent, LocalPackage, Package

PAGE = (Path(__file__).parents[2] / "docs/requests.md").read_text()
ROWS = [
    tuple(cell.strip() for cell in line.strip("|").split("|"))
    for line in PAGE.split("\n")
    if line.startswith("|") and "`" in line
]
NATIVE = "amd64"


def named(words: Sequence[str]) -> Named:
    files = [re.fullmatch(r"\./(\w+)_(\w+)\.deb", word) for word in words]
    found = [LocalPackage(match[2] * 64, Package(match[1], match[2], NATIVE)) for match in files if match]
    return Named([word for word in words if not word.startswith(".")], found)


def after(intent: Intent, line: str) -> Intent:
    """The intent after a command, as its operation makes it."""
    if not line:
        return intent
    words, _, more = line.strip("`").partition(" --")
    option, *further = more.split() or [""]
    match words.split():
        case "install", *asked:
            return edits.install(intent, named(asked), further if option == "uninstall" else [], NATIVE)
        case "uninstall", *dropped:
            return requests.drop(intent, dropped, NATIVE)
        case "override", "remove", *gone:
            return edits.override(intent, gone, Named(), named(further), NATIVE)
        case "override", "replace", *others:
            return edits.override(intent, [], named(others), named(further), NATIVE)
    raise AssertionError(line)


def told(intent: Intent) -> str:
    def files(entries: Sequence[LocalPackage]) -> list[str]:
        return [f"./{entry.package.name}_{entry.package.version}.deb" for entry in entries]

    found = [
        *intent.requested,
        *files(intent.requested_local),
        *(f"override remove {name}" for name in intent.remove),
        *(f"override replace {item}" for item in (*intent.replace, *files(intent.replace_local))),
    ]
    return ", ".join(f"`{item}`" for item in found) or "nothing"


@pytest.mark.parametrize(("recorded", "asked", "outcome"), ROWS)
def test_wishes_that_meet_end_as_the_page_says(recorded: str, asked: str, outcome: str) -> None:
    before = after(Intent(), recorded)
    try:
        assert told(after(before, asked)) == outcome
    except AptOstreeError as error:
        assert outcome == "refused", error.brief
        assert "foo" in error.brief
        assert error.resolution.startswith("Nothing was changed. ")


def test_the_page_has_pairs_of_each_kind() -> None:
    assert len(ROWS) > 40


@pytest.mark.parametrize(
    ("before", "line", "way"),
    [
        (Intent(remove=("foo",)), "install foo", "apt-ostree override reset foo"),
        (Intent(("foo",)), "override remove foo", "apt-ostree uninstall foo"),
        (Intent(replace=("foo=2",)), "install foo=1", "apt-ostree override replace foo=VERSION"),
    ],
)
def test_a_refusal_names_the_command_that_helps(before: Intent, line: str, way: str) -> None:
    with pytest.raises(ResolveError) as caught:
        after(before, line)
    assert way in caught.value.resolution


def test_what_contradicts_itself_on_record_stops_nothing_else() -> None:
    before = Intent(("foo=1", "bar"), replace=("foo=2",))
    assert after(before, "install baz").requested == ("foo=1", "bar", "baz")
    assert after(before, "override remove tool").remove == ("tool",)


def test_what_is_asked_for_beyond_an_earlier_intent_is_told() -> None:
    before = Intent(("foo", "bar"), remove=("gone",))
    assert edits.additions(before, Intent(("foo",))) == []
    assert edits.additions(before, Intent(("foo", "baz"), remove=("gone", "more"), initramfs=True)) == [
        "baz", "-more", "an initramfs made here",
    ]  # fmt: skip


def test_packages_of_two_architectures_are_two() -> None:
    assert after(Intent(remove=("foo",)), "install foo:i386=1").requested == ("foo:i386=1",)


def test_a_file_for_apply_does_not_remove_and_replace_a_package() -> None:
    with pytest.raises(ResolveError, match="foo cannot be both replaced"):
        edits.override(Intent(), ["foo"], Named(["foo=2"]), Named(), NATIVE)


def test_both_sides_of_a_switch_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from apt_ostree.cli.main import main

    words = ["initramfs", "--enable", "--disable"]
    monkeypatch.setattr("sys.argv", ["apt-ostree", *words])
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == UsageError.exit_code
    assert "error: --enable and --disable cannot be combined" in capsys.readouterr().err
