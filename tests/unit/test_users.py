"""Users and groups of a tree: their numbers, and sysusers.d text."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from apt_ostree.errors import TreeError
from apt_ostree.tree import users
from apt_ostree.tree.subids import LISTS
from apt_ostree.tree.users import (
    DYNAMIC_IDS,
    RECORD,
    Accounts,
    Moves,
    Numbers,
    Reserved,
    choose_numbers,
    date_shadow,
    parse,
    read_record,
    renumber_group,
    renumber_passwd,
    sysusers,
)

from .steps import assert_linear

PASSWD = """\
root:x:0:0:root:/root:/bin/bash
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
_apt:x:42:65534::/nonexistent:/usr/sbin/nologin
alice:x:1000:1000:Alice,,,:/home/alice:/bin/bash
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
"""
GROUP = """\
root:x:0:
daemon:x:1:
sudo:x:27:
ssl-cert:x:101:
alice:x:1000:
nogroup:x:65534:
"""


def test_parse_splits_the_lines_by_name() -> None:
    accounts = parse(PASSWD, GROUP)
    assert list(accounts.passwd) == ["root", "daemon", "_apt", "alice", "nobody"]
    assert accounts.passwd["_apt"] == ["_apt", "x", "42", "65534", "", "/nonexistent", "/usr/sbin/nologin"]
    assert accounts.group["sudo"] == ["sudo", "x", "27", ""]


@pytest.mark.parametrize("line", ["", "broken", "x:y:1:1:::", "a:x:1:1:g:/h", ":x:1:1:g:/h:/s", "# root:x", "+::::"])
def test_parse_leaves_out_lines_that_getpwnam_does(line: str) -> None:
    found = parse(f"{line}\n{PASSWD}", GROUP).passwd
    assert set(found) - {"root", "daemon", "_apt", "alice", "nobody"} <= {"x"}
    assert "" not in found and "a" not in found and "broken" not in found


@pytest.mark.parametrize("line", ["", "broken", "g:x:1", ":x:1:"])
def test_parse_leaves_out_broken_groups(line: str) -> None:
    assert parse("", f"{line}\n{GROUP}") == parse("", GROUP)


def test_read_counts_a_missing_file_as_empty(tmp_path: Path) -> None:
    assert users.read(tmp_path) == Accounts({}, {})
    (tmp_path / "usr/etc").mkdir(parents=True)
    (tmp_path / "usr/etc/passwd").write_text(PASSWD)
    assert users.read(tmp_path) == parse(PASSWD, "")
    (tmp_path / "etc").symlink_to("usr/etc")
    assert users.read(tmp_path, "etc") == Accounts({}, {})


def test_sysusers_has_groups_then_users_and_no_people() -> None:
    assert sysusers(parse(PASSWD, GROUP)) == (
        "g daemon 1\n"
        "g nogroup 65534\n"
        "g root 0\n"
        "g ssl-cert 101\n"
        "g sudo 27\n"
        'u _apt 42:nogroup "" /nonexistent /usr/sbin/nologin\n'
        'u daemon 1:daemon "daemon" /usr/sbin /usr/sbin/nologin\n'
        'u nobody 65534:nogroup "nobody" /nonexistent /usr/sbin/nologin\n'
        'u root 0:root "root" /root /bin/bash\n'
    )


NEW_PASSWD = (
    PASSWD
    + 'www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\npostgres:x:102:104:50% "x",,,:/var/lib/postgresql:\n'
)
NEW_GROUP = GROUP.replace("ssl-cert:x:101:", "ssl-cert:x:101:postgres,www-data") + "www-data:x:33:\npostgres:x:104:\n"


def test_sysusers_of_a_layer_has_what_the_base_has_not() -> None:
    assert sysusers(parse(NEW_PASSWD, NEW_GROUP), parse(PASSWD, GROUP)) == (
        "g postgres 104\n"
        "g www-data 33\n"
        'u postgres 102:postgres "50%% \\"x\\",,," /var/lib/postgresql -\n'
        'u www-data 33:www-data "www-data" /var/www /usr/sbin/nologin\n'
        "m postgres ssl-cert\n"
        "m www-data ssl-cert\n"
    )


def test_a_full_name_in_sysusers_has_no_control_character() -> None:
    accounts = parse("me:x:100:0:a\rb\x0bc\u2028d:/:/bin/sh\n", "")
    assert sysusers(accounts) == 'u me 100:0 "abc\u2028d" / /bin/sh\n'


def test_sysusers_of_no_new_account_is_empty() -> None:
    assert sysusers(parse(PASSWD, GROUP), parse(PASSWD, GROUP)) == ""


def test_an_old_membership_is_not_repeated() -> None:
    before = parse(NEW_PASSWD, NEW_GROUP)
    after = parse(NEW_PASSWD, NEW_GROUP.replace("postgres,www-data", "postgres,www-data,daemon"))
    assert sysusers(after, before) == "m daemon ssl-cert\n"


def test_a_persons_membership_is_left_out() -> None:
    # sysusers.d(5): "m" makes the user and the group where they are missing.
    accounts = parse(PASSWD, "sudo:x:27:alice\npeople:x:1001:daemon\n")
    assert [line for line in sysusers(accounts, parse(PASSWD, "")).splitlines() if line[0] == "m"] == []


@pytest.mark.parametrize(
    ("number", "system"), [("0", True), ("999", True), ("1000", False), ("60000", False), ("65534", True), ("x", False)]
)
def test_only_system_ids_are_written(number: str, system: bool) -> None:
    assert sysusers(parse("", f"g:x:{number}:\n")) == (f"g g {number}\n" if system else "")


def accounts(users: dict[str, int], groups: dict[str, int]) -> Accounts:
    return parse(
        "".join(f"{name}:x:{number}:0:::\n" for name, number in users.items()),
        "".join(f"{name}:x:{number}:\n" for name, number in groups.items()),
    )


def reserve(numbers: dict[str, int], subordinate: str = "") -> Reserved:
    """The same for users and for groups."""
    return Reserved(Numbers(numbers, dict(numbers)), dict.fromkeys(LISTS, subordinate))


def moved(made: dict[str, int], base: dict[str, int], reserved: dict[str, int]) -> dict[int, int]:
    """The same for users and for groups."""
    moves = choose_numbers(accounts(base | made, base | made), accounts(base, base), reserve(reserved))
    assert moves.users == moves.groups
    return dict(moves.users)


@pytest.mark.parametrize(
    ("made", "base", "reserved", "expected"),
    [
        pytest.param({"a": 100}, {}, {}, {}, id="nothing known: as picked"),
        pytest.param({"a": 100}, {}, {"a": 105}, {100: 105}, id="a name keeps its number"),
        pytest.param({"a": 100, "b": 101}, {}, {"a": 101}, {100: 101, 101: 100}, id="two change places"),
        pytest.param({"b": 100}, {}, {"a": 100}, {100: 101}, id="nobody takes the number of one who is away"),
        pytest.param({"b": 999}, {}, {"a": 999}, {999: 998}, id="useradd's direction"),
        pytest.param({"b": 100}, {"c": 101}, {"a": 100}, {100: 102}, id="nor the base's"),
        pytest.param({"a": 101}, {"new": 100}, {"a": 100}, {}, id="the base took it: the picked one, if free"),
        pytest.param({"a": 101, "b": 102}, {"new": 100}, {"a": 100, "b": 101}, {101: 102, 102: 101}, id="a chain"),
        pytest.param({"static": 33}, {}, {"static": 120, "x": 33}, {}, id="Debian's fixed ids stay"),
        pytest.param({"person": 1000}, {}, {"alice": 1000}, {1000: 1001}, id="a plain useradd's in a person's place"),
        pytest.param({"person": 1000}, {}, {"alice": 1001}, {}, id="a plain useradd's where nobody is"),
        pytest.param({"person": 1000}, {}, {"alice": 1000, "person": 1007}, {1000: 1007}, id="and it keeps its number"),
        pytest.param({"nobody": 65534}, {}, {"alice": 65534}, {}, id="what is fixed above people stays"),
        pytest.param({"a": 101, "b": 100}, {}, {"a": 105, "b": 105}, {101: 105}, id="one reserved number for two"),
        pytest.param({"git": 100}, {}, {"git": 1005}, {100: 1005}, id="an administrator's account of that name"),
    ],
)
def test_numbers(
    made: dict[str, int], base: dict[str, int], reserved: dict[str, int], expected: dict[int, int]
) -> None:
    assert moved(made, base, reserved) == expected


@pytest.mark.parametrize("number", [0, 33, 60000, 65534, 100000, 2**32 - 1, 2**64])
def test_a_number_that_no_script_could_have_got_is_not_kept(number: int) -> None:
    assert moved({"svc": 150}, {}, {"svc": number}) == {}


def test_no_account_gets_one_of_a_users_subordinate_ids() -> None:
    made = accounts({"a": 150, "b": 5000, "c": 998}, {"a": 150})
    held = "alice:5000:1000\nalice:100:101\n"
    moves = choose_numbers(made, accounts({}, {}), reserve({"a": 160, "c": 5001}, held))
    assert moves.users == {150: 201, 5000: 1000}
    assert moves.groups == {150: 201}


def test_a_base_that_took_a_number_is_named() -> None:
    moves = choose_numbers(
        accounts({"new": 100, "a": 101}, {}), accounts({"new": 100}, {}), reserve({"a": 100, "new": 100})
    )
    assert moves.conflicts == ("user a had id 100, which the base gives to new now",)


def test_a_fixed_number_that_is_taken_is_named() -> None:
    moves = choose_numbers(accounts({"www-data": 33}, {}), accounts({}, {}), reserve({"admins-own": 33}))
    assert moves.conflicts == ("user www-data has Debian's fixed id 33, which admins-own has here, too",)
    assert not moves


def test_a_name_that_was_renamed_has_no_number_left() -> None:
    older, newer = Numbers({"svc": 101, "other": 102}, {"svc": 101}), Numbers({"mine": 101}, {"other": 102})
    assert newer.over(older) == Numbers({"other": 102, "mine": 101}, {"svc": 101, "other": 102})


def test_many_accounts_take_a_time_that_grows_with_their_number() -> None:
    def choose(count: int) -> None:
        made = {f"u{number}": 1000 for number in range(count)}
        choose_numbers(accounts(made, made), accounts({}, {}), reserve({"me": 1000}))

    assert_linear(choose, 100)


def test_no_free_number_is_an_error() -> None:
    taken = {f"n{number}": number for number in DYNAMIC_IDS}
    with pytest.raises(TreeError, match="no id is free for user late"):
        choose_numbers(accounts({"late": 100}, {}), accounts({}, {}), reserve(taken))


def test_lists_are_renumbered_in_users_and_in_groups() -> None:
    moves = Moves({100: 105}, {100: 106})
    assert renumber_passwd("a:x:100:100::/:/bin/sh\nb:x:1:100\nbroken\n", moves) == (
        "a:x:105:106::/:/bin/sh\nb:x:1:106\nbroken\n"
    )
    assert renumber_group("a:x:100:\nb:x:101:a,c\n", moves) == "a:x:106:\nb:x:101:a,c\n"


def test_a_machine_s_record(tmp_path: Path) -> None:
    record = tmp_path / RECORD
    record.parent.mkdir(parents=True)
    # A number that nobody hands out only keeps the files of one who is away apart.
    record.write_text("u a 100\ng a 101\nu a 102\nx y 3\nu b\nu c -1\nu away 1879048293\n\n")
    assert read_record(tmp_path) == Numbers({"a": 102}, {"a": 101})
    record.unlink()
    record.symlink_to("/etc/passwd")
    assert read_record(tmp_path) == Numbers()


@pytest.mark.parametrize(
    ("shadow", "base", "expected"),
    [
        pytest.param("a:!:20000::::::\n", "", "a:!:17::::::\n", id="a new account"),
        pytest.param("a:!:20000::::::\n", "a:*:1:0:99999:7:::\n", "a:!:20000::::::\n", id="an old account"),
        pytest.param("a:!:20000:0:99999:7:::\nb:*:1::::::\n", "b:\n", "a:!:17:0:99999:7:::\nb:*:1::::::\n", id="both"),
        pytest.param("a:!:::::::\n", "", "a:!:::::::\n", id="an account without a date"),
        pytest.param("a:!:0::::::", "", "a:!:17::::::\n", id="no newline at the end"),
        pytest.param("broken\n", "", "broken\n", id="a line of another form"),
        pytest.param("", "a:*:1:\n", "", id="nothing"),
    ],
)
def test_settle_shadow_dates_new_accounts_alone(shadow: str, base: str, expected: str) -> None:
    assert date_shadow(shadow, base, 17) == expected


def test_objects_that_get_another_owner_have_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layer, asked = tmp_path / "layer", list[int]()
    monkeypatch.setattr(users, "check_space", lambda place, needed, what, reserve: asked.append(needed * reserve))
    layer.mkdir()
    (layer / "object").write_text("333")
    (layer / "own").write_text("1")
    os.link(layer / "object", tmp_path / "in the repository")
    mine = (layer / "own").stat().st_uid
    # A copy each for the layer and for the commit; what has no other name is no copy.
    users.renumber_files(layer, users.Moves(users={mine: mine}))
    users.renumber_files(layer, users.Moves(users={mine + 1: mine}))
    assert asked == [2 * 3, 0]
