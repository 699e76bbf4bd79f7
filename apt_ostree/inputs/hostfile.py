"""The file that ``apply`` makes true: everything that a machine has over its base, in TOML."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from ..errors import HostFileError, UsageError
from . import debconf, kargs
from .manifest import KERNEL_ARG, PACKAGE, PATH, QUALIFIED
from .requests import is_file
from .tables import Source, Table, form

TOP = frozenset(("packages", "recommends", "debconf", "overrides", "kernel-args", "initramfs"))
OVERRIDES = frozenset(("remove", "replace"))
KERNEL_ARGS = frozenset(("present", "absent"))
INITRAMFS = frozenset(("regenerate", "args", "etc"))

# An origin is a key file: the items of a list end with a semicolon.
WORD = form("a word of printable ASCII without ';' and '\\'", r"[!-:<-\[\]-~]+")
ANSWER = form("an answer of debconf-set-selections(1): 'OWNER QUESTION TYPE VALUE'", r"\S+[ \t]+\S+[ \t]+\S+[^\n\0]*")


@dataclass(frozen=True, slots=True)
class HostFile:
    """The intent and the kernel arguments that such a file states.

    Packages and replacements are expressions, or files: absolute paths.

    ``recommends`` None leaves it to the machine. Kernel arguments are not the whole line: a machine's own (its
    root, say) stay, ``present`` ones are added where they are missing, ``absent`` ones removed where they are.
    """

    packages: tuple[str, ...] = ()
    recommends: bool | None = None
    answers: str = ""
    remove: tuple[str, ...] = ()
    replace: tuple[str, ...] = ()
    kargs_present: tuple[str, ...] = ()
    kargs_absent: tuple[str, ...] = ()
    regenerate: bool = False
    initramfs_args: tuple[str, ...] = ()
    initramfs_etc: tuple[str, ...] = ()


def load(path: Path) -> HostFile:
    """Read and check a file. Raises HostFileError with a line for each problem."""
    return parse(Source(path, "host file", HostFileError).read(), path)


def parse(text: str, path: Path) -> HostFile:
    """The host file in ``text``; messages call it ``path``, and relative paths start from its directory.

    Raises HostFileError with a line for each problem, in the order of the file.
    """
    source = Source(path, "host file", HostFileError)
    top = source.parse(text)
    top.reject_unknown(TOP)
    overrides, arguments, initramfs = (
        _inner(top, name, known)
        for name, known in (("overrides", OVERRIDES), ("kernel-args", KERNEL_ARGS), ("initramfs", INITRAMFS))
    )
    found = HostFile(
        packages=_packages(top, "packages", path.parent),
        recommends=top.boolean("recommends", False) if "recommends" in top.values else None,
        answers=_answers(top, path),
        remove=overrides.strings("remove", QUALIFIED),
        replace=_packages(overrides, "replace", path.parent),
        kargs_present=_arguments(arguments, "present"),
        kargs_absent=_arguments(arguments, "absent"),
        regenerate=initramfs.boolean("regenerate", False),
        initramfs_args=initramfs.strings("args", WORD),
        initramfs_etc=_tracked(initramfs),
    )
    for item in found.replace:
        if not is_file(item) and "=" not in item and "/" not in item:
            overrides.problem("replace", f"'replace' has {item!r}, without a version or a suite")
    if found.initramfs_args and not found.regenerate:
        initramfs.problem("args", "'args' of [initramfs] needs 'regenerate = true'")
    for both in sorted(set(found.kargs_present) & set(found.kargs_absent)):
        arguments.problem("absent", f"{both!r} is both present and absent")
    source.finish(top)
    return found


def _inner(top: Table, name: str, known: frozenset[str]) -> Table:
    values = top.values.get(name, {})
    if not isinstance(values, dict):
        top.problem(name, f"{name!r} must be a table")
        values = {}
    table = Table(values, top.problems, (name,), f" of [{name}]")
    table.reject_unknown(known)
    return table


def _packages(table: Table, key: str, directory: Path) -> tuple[str, ...]:
    items = [str((directory / item).absolute()) if is_file(item) else item for item in table.strings(key, PACKAGE)]
    for item, count in Counter(items).items():
        if count > 1:
            table.problem(key, f"{table.label(key)} has {item!r} more than once")
    return tuple(items)


def _arguments(table: Table, key: str) -> tuple[str, ...]:
    words = table.strings(key, KERNEL_ARG)
    try:
        kargs.check(words)
    except UsageError as error:
        table.problem(key, f"{table.label(key)}: {error.brief}")
    return words


def _tracked(table: Table) -> tuple[str, ...]:
    names = [name for name in table.strings("etc", PATH) if _below_etc(table, name)]
    return tuple(dict.fromkeys(names))


def _below_etc(table: Table, name: str) -> bool:
    if name.startswith("/etc/") and WORD.pattern.fullmatch(name):
        return True
    table.problem("etc", f"'etc' of [initramfs] has {name!r}, which is not a plain path below /etc")
    return False


def _answers(top: Table, path: Path) -> str:
    lines = top.strings("debconf", ANSWER)
    try:
        return debconf.normalize("".join(f"{line}\n" for line in lines), f"'debconf' of {path}") if lines else ""
    except UsageError as error:
        # Its message names the entry, and no value: that may be a password.
        top.problem("debconf", f"'debconf': {error.brief.rpartition(', ')[2].replace('line', 'entry')}")
        return ""
