"""Small mistakes that can be made in the code: the named ones of tests/mutants.toml, and others of its syntax tree."""

from __future__ import annotations

import ast
import builtins
import copy
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import tomli

NAMED = "tests/mutants.toml"
PACKAGE = "apt_ostree"


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change: in ``file`` (a path in the repository) the text from ``start`` to ``end`` becomes ``after``."""

    name: str
    file: str
    start: int
    end: int
    after: str
    gone: str
    """The behaviour that goes with it; of a random one, the changed lines."""

    def apply(self, text: str) -> str:
        return text[: self.start] + self.after + text[self.end :]

    def overlaps(self, other: Mutant) -> bool:
        return self.file == other.file and self.start < other.end and other.start < self.end


class Misfit(Exception):
    """A named mutant does not fit the code."""


# The named ones


def named(top: Path, names: Sequence[str]) -> list[Mutant]:
    """The mutants of NAMED, or those of the given ``names``. Raises Misfit with a line for each that does not fit."""
    entries = tomli.loads((top / NAMED).read_text())["mutant"]
    known = [entry["name"] for entry in entries]
    problems = [f"{name}: no mutant has this name" for name in names if name not in known]
    problems += [f"{name}: two mutants have this name" for name in sorted({n for n in known if known.count(n) > 1})]
    found = []
    for entry in entries:
        if names and entry["name"] not in names:
            continue
        try:
            found.append(locate(top, entry))
        except Misfit as misfit:
            problems.append(f"{entry['name']}: {misfit}")
    if problems:
        raise Misfit("\n".join(problems))
    return found


def locate(top: Path, entry: dict[str, str]) -> Mutant:
    """Find the text of a named mutant. Raises Misfit where it does not stand in its file exactly once."""
    place = top / entry["file"]
    if not place.is_file():
        raise Misfit(f"{entry['file']} does not exist")
    text = place.read_text()
    if (times := text.count(entry["before"])) != 1:
        raise Misfit(f"its text stands {times} times in {entry['file']}, not once")
    start = text.index(entry["before"])
    mutant = Mutant(entry["name"], entry["file"], start, start + len(entry["before"]), entry["after"], entry["gone"])
    try:
        unknown = _names(mutant.apply(text)) - _names(text) - set(dir(builtins))
    except SyntaxError as error:
        raise Misfit(f"what it makes of {entry['file']} is not Python: {error}") from error
    if unknown:
        # Any test would notice that, and nothing would be learnt.
        raise Misfit(f"{entry['file']} does not know {', '.join(sorted(unknown))}")
    return mutant


def _names(text: str) -> set[str]:
    return {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}


# The random ones

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}

REMOVED = (ast.Continue, ast.Raise, ast.Expr)
"""Statements in whose place ``pass`` is put; a docstring is not one of them."""


def chosen(top: Path, count: int, seed: int) -> list[Mutant]:
    """So many mutants out of all that ``sites`` finds in the package."""
    every = [mutant for path in sorted((top / PACKAGE).rglob("*.py")) for mutant in sites(top, path)]
    # Chosen by a seed so that a run can be repeated; nothing secret depends on it.
    return sorted(random.Random(seed).sample(every, min(count, len(every))), key=lambda m: (m.file, m.start))


def sites(top: Path, path: Path) -> Iterator[Mutant]:
    """Every random mutant of one module."""
    text = path.read_text()
    offsets = _line_offsets(text)
    for node, changed in _changes(ast.parse(text)):
        start, end = _position(offsets, text, node)
        new = ast.unparse(changed)
        # Brackets keep an expression apart from what stands beside it.
        after = f"({new})" if isinstance(changed, ast.expr) else new
        file = str(path.relative_to(top))
        name = f"{file}:{text.count(chr(10), 0, start) + 1}"
        yield Mutant(name, file, start, end, after, f"{' '.join(text[start:end].split())}  ->  {new}")


def _line_offsets(text: str) -> list[int]:
    offsets = [0]
    for line in text.split("\n"):
        offsets.append(offsets[-1] + len(line) + 1)
    return offsets


def _position(offsets: Sequence[int], text: str, node: ast.expr | ast.stmt) -> tuple[int, int]:
    """Where a node stands in its text; ast counts columns in bytes of UTF-8."""

    def place(line: int, column: int) -> int:
        begin = offsets[line - 1]
        return begin + len(text[begin : offsets[line]].encode()[:column].decode())

    assert node.end_lineno is not None and node.end_col_offset is not None
    return place(node.lineno, node.col_offset), place(node.end_lineno, node.end_col_offset)


def _changes(tree: ast.AST) -> Iterator[tuple[ast.expr | ast.stmt, ast.expr | ast.stmt]]:
    """Each node of a tree that can be changed, and what it becomes."""
    for node in _running(tree):
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            yield node, ast.Compare(node.left, [COMPARISONS[type(node.ops[0])]()], node.comparators)
        elif isinstance(node, ast.BoolOp):
            yield node, ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield node, node.operand
        elif isinstance(node, ast.Constant) and isinstance(node.value, bool | int):
            yield node, ast.Constant(not node.value if isinstance(node.value, bool) else node.value + 1)
        elif isinstance(node, ast.Call) and node.keywords:
            for number in range(len(node.keywords)):
                without = copy.copy(node)
                without.keywords = node.keywords[:number] + node.keywords[number + 1 :]
                yield node, without
        elif isinstance(node, REMOVED) and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            yield node, ast.Pass()


def _running(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a tree that matter when it runs: no types, decorators, patterns, f-strings (whose parts have no
    place of their own before Python 3.12), and no slices, whose brackets are not an expression's."""
    skipped: list[ast.AST | None] = []
    if isinstance(tree, ast.JoinedStr | ast.match_case | ast.Slice):
        return
    if isinstance(tree, ast.FunctionDef | ast.ClassDef):
        skipped += tree.decorator_list
    if isinstance(tree, ast.FunctionDef):
        skipped.append(tree.returns)
    if isinstance(tree, ast.AnnAssign | ast.arg):
        skipped.append(tree.annotation)
    if isinstance(tree, ast.If) and ast.unparse(tree.test) == "TYPE_CHECKING":
        return
    yield tree
    for child in ast.iter_child_nodes(tree):
        if not any(child is node for node in skipped):
            yield from _running(child)
