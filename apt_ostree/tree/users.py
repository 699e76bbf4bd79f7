"""Users and groups of a tree: which numbers they get, and how a machine learns of them.

They stand in /usr/etc, which OSTree merges into /etc. Where an administrator edited /etc/passwd, the edited
file wins whole and a layer's users would be missing: the unit apt-ostree-accounts-lists brings them back, and a
sysusers.d file (systemd-sysusers(8)) tells others of them, with fixed ids.

A number, once a name had it on a machine, stays that name's: files in /var know their owner by number alone.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import TreeError
from ..host import acl
from ..host.door import Tree
from ..host.files import check_space
from ..numbers import decimal
from ..text import lines
from . import subids

SYSUSERS = "usr/lib/sysusers.d"

DYNAMIC_IDS = range(100, 1000)
"""Ids that packages' scripts hand out on each machine; those below are Debian's own for all (policy 9.2.2)."""
PEOPLE_IDS = range(1000, 60000)
"""Ids of people (policy 9.2.2), and of what a script makes with a plain useradd(8). Those above are fixed again."""
SYSTEM_ID_MAX = 999
NOBODY = 65534

RECORD = "var/lib/apt-ostree/accounts"
"""The file in which a machine remembers which number belongs to whom, written at boot by settle-accounts: a line
"u NAME ID" or "g NAME ID" each. An id above PEOPLE_IDS, which is never handed out, only keeps a name's files apart."""


@dataclass(frozen=True, slots=True)
class Accounts:
    """The lines of passwd(5) and group(5), split into fields, by name."""

    passwd: dict[str, list[str]]
    group: dict[str, list[str]]


def parse(passwd: str, group: str) -> Accounts:
    """Read the two files' texts; lines with too few fields are left out, as getpwnam(3) does."""

    def table(text: str, fields: int) -> dict[str, list[str]]:
        found = (line.split(":") for line in lines(text))
        return {words[0]: words for words in found if len(words) >= fields and words[0]}

    return Accounts(table(passwd, 7), table(group, 4))


def read(tree: Path, etc: str = "usr/etc") -> Accounts:
    """The accounts of a tree, whose /etc is there; a missing file counts as empty, as does what lies behind a link: its
    target is not the tree's."""
    return parse(read_list(tree, f"{etc}/passwd"), read_list(tree, f"{etc}/group"))


def read_list(top: Path, name: str) -> str:
    """The text of one list; a missing file counts as empty, as does a link."""
    return Tree(top).text(name) or ""


@dataclass(frozen=True, slots=True)
class Numbers:
    """Name -> id."""

    users: Mapping[str, int] = field(default_factory=dict)
    groups: Mapping[str, int] = field(default_factory=dict)

    def over(self, older: Numbers) -> Numbers:
        """Both, where this one's word about a name counts, and about a number: whoever had that is renamed."""

        def table(newer: Mapping[str, int], older: Mapping[str, int]) -> dict[str, int]:
            taken = set(newer.values())
            return {name: number for name, number in older.items() if number not in taken} | dict(newer)

        return Numbers(table(self.users, older.users), table(self.groups, older.groups))


@dataclass(frozen=True, slots=True)
class Reserved:
    """The holdings of names on a machine: their numbers, and the texts of its lists of subordinate ids (subids.py)."""

    numbers: Numbers = field(default_factory=Numbers)
    subids: Mapping[str, str] = field(default_factory=dict)

    def is_subordinate(self, listing: str) -> Callable[[int], bool]:
        """A function that is true for the ids in ``listing``, one of subids.LISTS: they are a user's containers'."""
        return subids.ids(self.subids.get(listing, ""))


def numbers(accounts: Accounts) -> Numbers:
    """The ids of all accounts."""

    def table(lines: Mapping[str, list[str]]) -> dict[str, int]:
        found = {name: decimal(words[2]) for name, words in sorted(lines.items())}
        return {name: number for name, number in found.items() if number is not None}

    return Numbers(table(accounts.passwd), table(accounts.group))


def read_record(root: Path) -> Numbers:
    """Read what a machine remembers below ``root``, which holds its /var; lines of another form are left out."""
    found: dict[str, dict[str, int]] = {"u": {}, "g": {}}
    for line in lines(read_list(root, RECORD)):
        words = line.split(" ")
        if len(words) != 3 or words[0] not in found:
            continue
        if (number := decimal(words[2])) is not None and number < PEOPLE_IDS.stop:
            found[words[0]][words[1]] = number
    return Numbers(found["u"], found["g"])


@dataclass(frozen=True, slots=True)
class Moves:
    """New numbers for those that scripts picked: old id -> new id; and what to tell about it."""

    users: Mapping[int, int] = field(default_factory=dict)
    groups: Mapping[int, int] = field(default_factory=dict)
    conflicts: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.users or self.groups)


def choose_numbers(after: Accounts, base: Accounts, reserved: Reserved) -> Moves:
    """Choose the numbers that a layer's new accounts get instead of those that their scripts picked.

    A name keeps the number that ``reserved`` has for it, if a script could have got it, and takes no other name's, nor
    one of a user's subordinate ids. Where the base gave the number to somebody else meanwhile, the name gets a free
    one, and ``conflicts`` says so. Raises TreeError when no number is free.
    """
    made, old, had = numbers(after), numbers(base), reserved.numbers
    uids, gids = reserved.is_subordinate("subuid"), reserved.is_subordinate("subgid")
    users, told = _choose("user", _without(made.users, old.users), old.users, had.users, uids)
    groups, told_too = _choose("group", _without(made.groups, old.groups), old.groups, had.groups, gids)
    return Moves(users, groups, (*told, *told_too))


def _without(table: Mapping[str, int], names: Mapping[str, int]) -> dict[str, int]:
    return {name: number for name, number in table.items() if name not in names}


def _choose(
    kind: str,
    made: Mapping[str, int],
    base: Mapping[str, int],
    reserved: Mapping[str, int],
    is_subordinate: Callable[[int], bool],
) -> tuple[dict[int, int], list[str]]:
    of_base = {number: name for name, number in base.items()}
    owners = {number: name for name, number in reserved.items()} | of_base
    chosen: dict[str, int] = {}
    used: set[int] = set()
    conflicts: list[str] = []

    def choose(name: str, number: int) -> None:
        chosen[name] = number
        used.add(number)

    for name, picked in made.items():
        if _pool(picked) is None:
            if owners.get(picked, name) != name:
                conflicts.append(f"{kind} {name} has Debian's fixed id {picked}, which {owners[picked]} has here, too")
            choose(name, picked)
    for name in made:
        if name in chosen or name not in reserved:
            continue
        if (wanted := reserved[name]) in of_base:
            conflicts.append(f"{kind} {name} had id {wanted}, which the base gives to {of_base[wanted]} now")
        elif wanted not in used and _pool(wanted) is not None and not is_subordinate(wanted):
            choose(name, wanted)
    for name, picked in made.items():
        if name not in chosen and picked not in owners and picked not in used and not is_subordinate(picked):
            choose(name, picked)
    free = _Free(kind, owners.keys() | used, is_subordinate)
    for name, picked in made.items():
        if name not in chosen:
            choose(name, free.number(name, picked))
    return {made[name]: number for name, number in chosen.items() if made[name] != number}, conflicts


def _pool(number: int) -> range | None:
    """The ids among which a script chose this one; None where it had no choice."""
    return next((pool for pool in (DYNAMIC_IDS, PEOPLE_IDS) if number in pool), None)


class _Free:
    """Ids that nobody has, each handed out once."""

    def __init__(self, kind: str, taken: Set[int], is_subordinate: Callable[[int], bool]) -> None:
        self.kind, self.taken, self.is_subordinate = kind, set(taken), is_subordinate
        self.left: dict[tuple[range, bool], Iterator[int]] = {}
        """What has not been looked at yet of a pool, from one of its ends."""

    def number(self, name: str, picked: int) -> int:
        """Another id, from the end where the script looked for ``picked``. Raises TreeError when none is free."""
        pool = _pool(picked) or DYNAMIC_IDS
        # adduser(8) counts upwards from 100, useradd(8) and systemd-sysusers(8) downwards from 999; all upwards from
        # 1000.
        rising = pool is PEOPLE_IDS or picked < (pool.start + pool.stop) // 2
        left = self.left.setdefault((pool, rising), iter(pool if rising else reversed(pool)))
        free = next((number for number in left if number not in self.taken and not self.is_subordinate(number)), None)
        if free is None:
            raise TreeError(
                f"no id is free for {self.kind} {name}",
                f"all of {pool.start}-{pool.stop - 1} are taken (policy 9.2.2)",
            )
        self.taken.add(free)
        return free


def renumber_passwd(text: str, moves: Moves) -> str:
    """A passwd(5) file with the moved ids."""
    return _renumber_fields(text, {2: moves.users, 3: moves.groups})


def renumber_group(text: str, moves: Moves) -> str:
    """A group(5) file with the moved ids."""
    return _renumber_fields(text, {2: moves.groups})


def _renumber_fields(text: str, fields: Mapping[int, Mapping[int, int]]) -> str:
    fresh = []
    for line in lines(text):
        words = line.split(":")
        for number, moves in fields.items():
            if len(words) > number and (old := decimal(words[number])) is not None:
                words[number] = str(moves.get(old, words[number]))
        fresh.append(":".join(words))
    return "".join(f"{line}\n" for line in fresh)


def renumber_files(top: Path, moves: Moves) -> None:
    """Give everything in a tree that belongs to a moved id, or lets it in by its ACL, to the new one.

    A file that is linked to an object becomes one of its own first. Raises SpaceError, before anything is changed.
    """
    tree = Tree(top)
    # The commit has them once more, as other objects.
    check_space(top, 2 * _size_of_links(tree, moves), "files that get another owner", reserve=True)
    for entry in tree.walk():
        status, attributes = entry.status, tree.attributes(entry.name)
        uid, gid = moves.users.get(status.st_uid), moves.groups.get(status.st_gid)
        lists = acl.moved(attributes, moves.users, moves.groups)
        if uid is None and gid is None and not lists:
            continue
        if entry.is_file and status.st_nlink > 1 and (file := tree.open_file(entry.name)) is not None:
            with file:
                tree.replace_content(entry.name, file)
        tree.set_owner(entry.name, -1 if uid is None else uid, -1 if gid is None else gid)
        # chown(2) takes both away.
        if entry.is_file or entry.is_directory:
            tree.set_mode(entry.name, stat.S_IMODE(status.st_mode))
        if (capability := attributes.get("security.capability")) is not None:
            tree.set_attribute(entry.name, "security.capability", capability)
        for name, value in lists.items():
            tree.set_attribute(entry.name, name, value)


def _size_of_links(tree: Tree, moves: Moves) -> int:
    """The bytes of the files in a tree that get another owner, or another list of who gets in, and have other names."""
    return sum(
        entry.status.st_size
        for entry in tree.walk()
        if entry.is_file
        and entry.status.st_nlink > 1
        and (
            entry.status.st_uid in moves.users
            or entry.status.st_gid in moves.groups
            or acl.moved(tree.attributes(entry.name), moves.users, moves.groups)
        )
    )


def sysusers(accounts: Accounts, known: Accounts | None = None) -> str:
    """The sysusers.d(5) text for the system accounts in ``accounts`` that ``known`` does not have.

    Groups come first, then users, then memberships: a ``u`` line would otherwise make a group of its own. A user's
    group stands by name: should its number be somebody else's on a machine, the group gets another there.
    """
    known = known or Accounts({}, {})
    lines: list[str] = []
    for name, words in sorted(accounts.group.items()):
        if name not in known.group and _is_system(words[2]):
            lines.append(f"g {name} {words[2]}")
    groups = {words[2]: name for name, words in sorted(accounts.group.items())}
    for name, words in sorted(accounts.passwd.items()):
        if name not in known.passwd and _is_system(words[2]):
            group = groups.get(words[3], words[3])
            lines.append(f'u {name} {words[2]}:{group} "{_quoted(words[4])}" {_field(words[5])} {_field(words[6])}')
    for name, words in sorted(accounts.group.items()):
        before = set(known.group[name][3].split(",")) if name in known.group else set()
        for member in words[3].split(","):
            user = accounts.passwd.get(member)
            # An "m" line makes the user and the group where they are missing: a person's would come back.
            if member not in before and user is not None and _is_system(user[2]) and _is_system(words[2]):
                lines.append(f"m {member} {name}")
    return "".join(f"{line}\n" for line in lines)


_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def _quoted(text: str) -> str:
    """A text for quotation marks. A carriage return would end the line, and no full name may have a control character
    (systemd's valid_gecos)."""
    return _CONTROL.sub("", text).replace("\\", "\\\\").replace("%", "%%").replace('"', '\\"')


def _field(text: str) -> str:
    """A home or shell as sysusers.d(5) reads it; quotes only where a blank needs them."""
    if not text:
        return "-"
    return f'"{_quoted(text)}"' if any(mark in text for mark in " \t\"'\\") else text.replace("%", "%%")


def _is_system(number: str) -> bool:
    value = decimal(number)
    return value is not None and (value <= SYSTEM_ID_MAX or value == NOBODY)


def date_shadow(shadow: str, base: str, day: int) -> str:
    """Give the accounts that ``base`` lacks one date of change (shadow(5), days since 1970).

    useradd writes today's, and the same layer made tomorrow would be another.
    """
    known = {line.split(":", 1)[0] for line in lines(base)}
    fresh = []
    for line in lines(shadow):
        words = line.split(":")
        if len(words) >= 3 and words[0] not in known and decimal(words[2]) is not None:
            words[2] = str(day)
        fresh.append(":".join(words))
    return "".join(f"{line}\n" for line in fresh)
