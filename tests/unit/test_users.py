"""Users and groups of a tree, as sysusers.d text and as a layer's lock records them."""

from __future__ import annotations

from pathlib import Path

import pytest

from apt_ostree import users
from apt_ostree.users import Accounts, ids, parse, settle_shadow, sysusers

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
    (tmp_path / "passwd").write_text(PASSWD)
    assert users.read(tmp_path) == parse(PASSWD, "")


def test_sysusers_has_groups_then_users_and_no_people() -> None:
    assert sysusers(parse(PASSWD, GROUP)) == (
        "g daemon 1\n"
        "g nogroup 65534\n"
        "g root 0\n"
        "g ssl-cert 101\n"
        "g sudo 27\n"
        'u _apt 42:65534 "" /nonexistent /usr/sbin/nologin\n'
        'u daemon 1:1 "daemon" /usr/sbin /usr/sbin/nologin\n'
        'u nobody 65534:65534 "nobody" /nonexistent /usr/sbin/nologin\n'
        'u root 0:0 "root" /root /bin/bash\n'
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
        'u postgres 102:104 "50%% \\"x\\",,," /var/lib/postgresql -\n'
        'u www-data 33:33 "www-data" /var/www /usr/sbin/nologin\n'
        "m postgres ssl-cert\n"
        "m www-data ssl-cert\n"
    )


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


def test_ids_are_those_of_the_named_accounts() -> None:
    accounts = parse(NEW_PASSWD + "odd:x:?:1:::\n", NEW_GROUP)
    assert ids(accounts, ["postgres", "ssl-cert", "odd", "absent"]) == {
        "users": {"postgres": 102},
        "groups": {"postgres": 104, "ssl-cert": 101},
    }


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
    assert settle_shadow(shadow, base, 17) == expected
