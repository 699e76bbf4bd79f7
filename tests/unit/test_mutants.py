"""``make mutants``: small mistakes are found, made in a copy, and undone."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.mutants import BATCH, KILLED, SURVIVED, Verdict, Workshop, batches, report
from scripts.mutants_made import Misfit, Mutant, named, sites

CODE = '''\
"""A module."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Pair:
    """Two numbers."""

    one: int = 1


def compare(a: int, b: "int | None" = None) -> str:
    """Say how they compare."""
    # Umlauts take two bytes: ä
    while a and not b:
        continue
    if a < 3:
        raise ValueError(f"{a + 1}: too small")
    return str(a, errors="ä") + "ä" * (a == 1)
'''


def test_random_mutants_are_of_every_kind_and_leave_types_and_texts_alone(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text(CODE)
    found = {mutant.gone for mutant in sites(tmp_path, tmp_path / "m.py")}
    assert found == {
        "1  ->  2",
        "a and not b  ->  a or not b",
        "not b  ->  b",
        "continue  ->  pass",
        "a < 3  ->  a <= 3",
        "3  ->  4",
        'raise ValueError(f"{a + 1}: too small")  ->  pass',
        'str(a, errors="ä")  ->  str(a)',
        "a == 1  ->  a != 1",
    }


def test_each_random_mutant_is_python(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text(CODE)
    for mutant in sites(tmp_path, tmp_path / "m.py"):
        compile(mutant.apply(CODE), mutant.gone, "exec")


def write_named(top: Path, *entries: str) -> None:
    (top / "tests").mkdir()
    (top / "m.py").write_text("one = 1\ntwo = 2\nthree = one + two\n")
    (top / "tests/mutants.toml").write_text("".join(f"[[mutant]]\n{entry}\n" for entry in entries))


def entry(name: str, before: str, after: str, file: str = "m.py") -> str:
    return f"name = '{name}'\nfile = '{file}'\nbefore = '{before}'\nafter = '{after}'\ngone = 'it'"


def test_a_named_mutant_changes_its_text(tmp_path: Path) -> None:
    write_named(tmp_path, entry("plus", "one + two", "one - two"), entry("other", "= 2", "= 3"))
    (mutant,) = named(tmp_path, ["plus"])
    assert mutant.apply((tmp_path / "m.py").read_text()) == "one = 1\ntwo = 2\nthree = one - two\n"


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ([entry("gone", "four", "five")], "gone: its text stands 0 times in m.py"),
        ([entry("twice", "one", "two")], "twice: its text stands 2 times in m.py"),
        ([entry("broken", "one + two", "one +")], "broken: what it makes of m.py is not Python"),
        ([entry("unknown", "one + two", "one + zero")], "unknown: m.py does not know zero"),
        ([entry("same", "= 1", "= 2"), entry("same", "= 2", "= 3")], "same: two mutants have this name"),
        ([entry("elsewhere", "= 1", "= 2", "x.py")], "elsewhere: x.py does not exist"),
    ],
)
def test_a_named_mutant_that_does_not_fit_is_an_error(tmp_path: Path, entries: list[str], problem: str) -> None:
    write_named(tmp_path, *entries)
    with pytest.raises(Misfit, match=problem):
        named(tmp_path, [])


def test_a_name_that_no_mutant_has_is_an_error(tmp_path: Path) -> None:
    write_named(tmp_path, entry("plus", "one + two", "one - two"))
    with pytest.raises(Misfit, match="minus: no mutant has this name"):
        named(tmp_path, ["plus", "minus"])


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    """A workshop for a tree of one module, with two files of tests."""
    top = tmp_path / "top"
    for directory in ("apt_ostree/host", "docs", "examples", "fixtures", "scripts", "tests/unit"):
        (top / directory).mkdir(parents=True)
    for package in ("apt_ostree", "apt_ostree/host"):
        (top / package / "__init__.py").touch()
    (top / "apt_ostree/host/sums.py").write_text("def add(a, b):\n    return a + b\n")
    (top / "tests/unit/test_a.py").write_text("def test_nothing():\n    pass\n")
    test = "from apt_ostree.host import sums\n\ndef test_add():\n    assert sums.add(1, 2) == 3\n"
    (top / "tests/unit/test_z.py").write_text(test)
    return Workshop(top, tmp_path / "copy")


def test_a_mutant_is_made_in_the_copy_alone_and_undone(shop: Workshop) -> None:
    mutant = Mutant("minus", "apt_ostree/host/sums.py", 28, 29, "-", "adding")
    place = shop.place / mutant.file
    before = place.read_text(), place.stat().st_mtime
    with shop.made([mutant]):
        assert place.read_text() == "def add(a, b):\n    return a - b\n"
        assert int(place.stat().st_mtime) != int(before[1])
        assert "a + b" in (shop.place.with_name("top") / mutant.file).read_text()
    assert (place.read_text(), place.stat().st_mtime) == before


def test_the_tests_of_a_module_are_those_that_import_it(shop: Workshop) -> None:
    assert shop.likely("apt_ostree/host/sums.py") == ["tests/unit/test_z.py"]
    assert shop.tests == ["tests/unit/test_a.py", "tests/unit/test_z.py"]


def test_mutants_that_touch_the_same_text_are_never_made_together() -> None:
    one, same, other = (Mutant(name, "m.py", *place, "", "") for name, place in
                        (("one", (0, 5)), ("same", (3, 8)), ("other", (8, 9))))  # fmt: skip
    assert batches([one, same, other]) == [[one, other], [same]]
    many = [Mutant(str(number), "m.py", number, number + 1, "", "") for number in range(BATCH + 1)]
    assert [len(batch) for batch in batches(many)] == [BATCH, 1]


def test_survivors_are_listed_with_what_goes() -> None:
    lines: list[str] = []
    one, other = (Mutant(name, "m.py", 0, 1, "", "the way back") for name in ("one", "other"))
    verdicts = [Verdict(one, KILLED, "test_x"), Verdict(other, SURVIVED)]
    assert report(iter(verdicts), lines.append) == verdicts[1:]
    assert "1 of 2 were noticed, 1 survived." in lines
    assert lines[-1] == "  m.py: other\n    the way back"
