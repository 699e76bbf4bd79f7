"""Users and groups of a tree, for systemd-sysusers(8).

They stand in /usr/etc, which OSTree merges into /etc. Where an administrator edited /etc/passwd, the edited
file wins whole and a layer's users would be missing: the sysusers.d file brings them back, with fixed ids.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

SYSUSERS = "usr/lib/sysusers.d"

SYSTEM_ID_MAX = 999
"""Ids above belong to people (policy 9.2.2), except nobody's."""
NOBODY = 65534


@dataclass(frozen=True, slots=True)
class Accounts:
    """The lines of passwd(5) and group(5), split into fields, by name."""

    passwd: dict[str, list[str]]
    group: dict[str, list[str]]


def parse(passwd: str, group: str) -> Accounts:
    """Read the two files' texts; lines with too few fields are left out, as getpwnam(3) does."""

    def table(text: str, fields: int) -> dict[str, list[str]]:
        lines = (line.split(":") for line in text.splitlines())
        return {words[0]: words for words in lines if len(words) >= fields and words[0]}

    return Accounts(table(passwd, 7), table(group, 4))


def read(etc: Path) -> Accounts:
    """The accounts of a tree's /etc; a missing file counts as empty."""

    def text(name: str) -> str:
        path = etc / name
        return path.read_text(errors="surrogateescape") if path.is_file() else ""

    return parse(text("passwd"), text("group"))


def sysusers(accounts: Accounts, besides: Accounts | None = None) -> str:
    """The sysusers.d(5) text for the system accounts in ``accounts`` that ``besides`` does not have.

    Groups come first, then users, then memberships: a ``u`` line would otherwise make a group of its own.
    """
    known = besides or Accounts({}, {})
    lines: list[str] = []
    for name, words in sorted(accounts.group.items()):
        if name not in known.group and _is_system(words[2]):
            lines.append(f"g {name} {words[2]}")
    for name, words in sorted(accounts.passwd.items()):
        if name not in known.passwd and _is_system(words[2]):
            lines.append(f'u {name} {words[2]}:{words[3]} "{_quoted(words[4])}" {_field(words[5])} {_field(words[6])}')
    for name, words in sorted(accounts.group.items()):
        before = set(known.group[name][3].split(",")) if name in known.group else set()
        for member in words[3].split(","):
            user = accounts.passwd.get(member)
            # An "m" line makes the user and the group where they are missing: a person's would come back.
            if member not in before and user is not None and _is_system(user[2]) and _is_system(words[2]):
                lines.append(f"m {member} {name}")
    return "".join(f"{line}\n" for line in lines)


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "%%").replace('"', '\\"')


def _field(text: str) -> str:
    """A home or shell as sysusers.d(5) reads it; quotes only where a blank needs them."""
    if not text:
        return "-"
    return f'"{_quoted(text)}"' if any(mark in text for mark in " \t\"'\\") else text.replace("%", "%%")


def _is_system(number: str) -> bool:
    return number.isdigit() and (int(number) <= SYSTEM_ID_MAX or int(number) == NOBODY)


def ids(accounts: Accounts, names: Iterable[str]) -> dict[str, dict[str, int]]:
    """The ids of the named users and groups, as a layer's lock records them."""
    wanted = set(names)
    return {
        "users": {n: int(w[2]) for n, w in sorted(accounts.passwd.items()) if n in wanted and w[2].isdigit()},
        "groups": {n: int(w[2]) for n, w in sorted(accounts.group.items()) if n in wanted and w[2].isdigit()},
    }


def settle_shadow(shadow: str, base: str, day: int) -> str:
    """Give the accounts that ``base`` lacks one date of change (shadow(5), days since 1970).

    useradd writes today's, and the same layer made tomorrow would be another.
    """
    known = {line.split(":", 1)[0] for line in base.splitlines()}
    lines = []
    for line in shadow.splitlines():
        words = line.split(":")
        if len(words) >= 3 and words[0] not in known and words[2].isdigit():
            words[2] = str(day)
        lines.append(":".join(words))
    return "".join(f"{line}\n" for line in lines)
