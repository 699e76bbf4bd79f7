"""The ids in access control lists."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from apt_ostree.errors import TreeError
from apt_ostree.host import acl
from apt_ostree.tree import users

OWNER, USER, OWNING_GROUP, GROUP, MASK, OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
UNDEFINED = 0xFFFFFFFF


def value(user: int, group: int) -> bytes:
    """The attribute that setfacl -m u:USER:rw,g:GROUP:r writes."""
    entries = ((OWNER, 6, UNDEFINED), (USER, 6, user), (OWNING_GROUP, 4, UNDEFINED), (GROUP, 4, group),
               (MASK, 6, UNDEFINED), (OTHER, 0, UNDEFINED))  # fmt: skip
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def test_users_and_groups_get_their_own_numbers() -> None:
    assert acl.renumber(value(998, 998), {998: 101}, {998: 102}) == value(101, 102)
    assert acl.renumber(value(998, 998), {UNDEFINED: 0, 7: 8}, {}) == value(998, 998)


def test_files_whose_list_names_a_moved_id_get_another_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attributes = {"named": value(998, 5), "other": value(5, 5)}
    written: dict[str, bytes] = {}
    for name in attributes:
        (tmp_path / name).touch()
    monkeypatch.setattr(os, "listxattr", lambda path, **_: [acl.ATTRIBUTES[0]])
    monkeypatch.setattr(os, "getxattr", lambda path, name, **_: attributes[Path(path).name])
    monkeypatch.setattr(os, "setxattr", lambda path, name, value, **_: written.update({Path(path).name: value}))
    users.renumber_files(tmp_path, users.Moves(users={998: 101}))
    assert written == {"named": value(101, 5)}


@pytest.mark.parametrize("length", [0, 3, 5, 11, 13])
def test_a_list_of_an_odd_length_is_an_error(length: int) -> None:
    with pytest.raises(TreeError, match="cannot read an access control list"):
        acl.renumber(bytes(length), {}, {})
