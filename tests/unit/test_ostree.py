"""What ostree prints, read back: listings and commits as ostree 2022.7 printed them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from apt_ostree.errors import ToolError, TreeError
from apt_ostree.host import proc
from apt_ostree.tools import commit_object, ostree
from apt_ostree.tools.ostree import Listed
from tests.unit import fake

DIRTREE = "9be92b40976c55ef16820485ab4ff62bd680639383434ccaaed94b68d4bca3a1"
DIRMETA = "446a0ef11b7cc167f3b603e585c7eeeeb675faa412d5ec73f62988eb0b6c5488"
ARROW = "baaca41f686cfdfd81225305cb5a80748bb4e5acbda6eeb30558f8ccd910e223"
LINK = "a6b40a5400ed082fbe067d2c8397aab54046a089768651c392a36db46d24c1cd"
ODD = "ce99bbc708b2317dd3a949fabcde867639815a04e2caaa9ea10ad5097d76041b"
LINES = "0212e9119a8447a0531d8e4484a74a7d2a1cc1d057155de620c2a1a7a8c8255d"
BLANK = "582999993c3803bd9fecd1d71fbe57277f5c509ce57184a4f659afcf0aa602cd"
TRAIL = "d4c15d11c09c6614089474891e8912910962ff290258eba83c2d1136c096f6bb"
TWO = "e8f145811ff8a1dea46631bd29b6a3fbaea5ffa0671a60a5b45c576621dd8c66"
SETUID = "a8f821cd1afc95fa943714f39820e0a01a4b336eb9be6e81dd2b96088cb39346"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param(
            f"d00755 0 0      0 {DIRTREE} {DIRMETA} /", Listed("d", 0o755, 0, 0, DIRTREE, "/", ""), id="the root"
        ),
        pytest.param(
            f"d01777 0 0      0 {DIRTREE} {DIRMETA} /dir with space",
            Listed("d", 0o1777, 0, 0, DIRTREE, "/dir with space", ""),
            id="a directory with spaces",
        ),
        pytest.param(
            f"-04755 0 42      3 {SETUID} /usr/bin/su",
            Listed("-", 0o4755, 0, 42, SETUID, "/usr/bin/su", "", 3),
            id="a setuid file of a group",
        ),
        pytest.param(
            f"-00644 0 0 1234567890 {TWO} /big",
            Listed("-", 0o644, 0, 0, TWO, "/big", "", 1234567890),
            id="a size past its column",
        ),
        pytest.param(
            f"l00777 0 0      0 {LINK} /usr/link -> target",
            Listed("l", 0o777, 0, 0, LINK, "/usr/link", "target"),
            id="a link",
        ),
        pytest.param(
            f"l00777 0 0      0 {ODD} /usr/odd -> a b -> c",
            Listed("l", 0o777, 0, 0, ODD, "/usr/odd", "a b -> c"),
            id="a link to an arrow",
        ),
        pytest.param(
            f"-00644 0 0      2 {ARROW} /usr/arrow -> head",
            Listed("-", 0o644, 0, 0, ARROW, "/usr/arrow -> head", "", 2),
            id="a file named like a link",
        ),
        pytest.param(
            f"-00644 0 0      3 {TWO} /usr/übung", Listed("-", 0o644, 0, 0, TWO, "/usr/übung", "", 3), id="umlaut"
        ),
    ],
)
def test_parse_ls_reads_an_entry_whole(line: str, expected: Listed) -> None:
    after = f"-00644 0 0      0 {ARROW} /zz"
    assert ostree.parse_ls(f"{line}\n", f"{expected.path}\0") == [expected]
    assert ostree.parse_ls(f"{line}\n{after}\n", f"{expected.path}\0/zz\0") == [
        expected, Listed("-", 0o644, 0, 0, ARROW, "/zz", "")
    ]  # fmt: skip


def test_parse_ls_of_nothing_is_empty() -> None:
    assert ostree.parse_ls("", "") == []


OPT = f"l00777 0 0      0 {LINK} /opt -> usr/evil"
FORGED = f"l00777 0 0      0 {LINK} /opt -> var/opt"
LINE = f"-00644 0 0      2 {TWO} /usr/a"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        pytest.param(f"{OPT}\nl00777 0 0      0 {ODD} /zz -> a\n{FORGED}\n", "/opt\0/zz\0", id="a link to a line"),
        pytest.param(f"l00777 0 0      0 {ODD} /a -> a\n{FORGED}\n{OPT}\n", "/a\0/opt\0", id="one before it"),
        pytest.param(f"{LINE}\n{FORGED}\n", f"/usr/a\n{FORGED}\0", id="a name with a line"),
        pytest.param(f"{LINE}\nx\n", "/usr/a\nx\0", id="a name of two lines"),
        pytest.param(f"{LINE}\n\n", "/usr/a\n\0", id="a newline at the end of a name"),
        pytest.param(f"{LINE}\n", "/usr/b\0", id="another name"),
        pytest.param(f"{LINE}\n{LINE}\n", "/usr/a\0", id="a line too many"),
        pytest.param(f"{LINE}\n", "/usr/a\0/usr/b\0", id="a line too few"),
        pytest.param(f"c00600 0 0      0 {TWO} /usr/a\n", "/usr/a\0", id="a device"),
        pytest.param("total 1\n", "/usr/a\0", id="no entry"),
    ],
)
def test_a_listing_that_could_be_forged_is_refused(text: str, names: str) -> None:
    with pytest.raises(TreeError, match="cannot be told apart"):
        ostree.parse_ls(text, names)


CHECKSUM = "0b61a941baa75f30a67ed475d513b46929b8c1ba67d6f781435ac0a44d6ba61d"


@pytest.mark.parametrize("length", [0, 1, 100_000, 100_001, 250_000, 1_100_001])
def test_long_metadata_is_cut_into_arguments_that_join_again(length: int) -> None:
    value = "".join(chr(ord("a") + n % 26) for n in range(length))
    words = ostree._metadata_argument("apt-ostree.lock", value)
    assert all(len(word.encode()) < 128 * 1024 for word in words)
    pairs = dict(word.removeprefix("--add-metadata-string=").split("=", 1) for word in words)
    assert commit_object.join_pieces(pairs) == {"apt-ostree.lock": value}


def test_a_commit_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    place = tmp_path / "objects" / CHECKSUM[:2] / f"{CHECKSUM[2:]}.commit"
    place.parent.mkdir(parents=True)
    place.write_bytes(fake.commit("{'padding': <[byte 0x00]>}"))
    assert ostree.commit_info(tmp_path, CHECKSUM) is not None
    ostree._commit_info.cache_clear()
    os.truncate(place, ostree.COMMIT_MAX + 1)
    with pytest.raises(ToolError) as caught:
        ostree.commit_info(tmp_path, CHECKSUM)
    assert "more than" in caught.value.detail


def saying(monkeypatch: pytest.MonkeyPatch, status: int, error: str, output: str = "") -> None:
    """Let every child end like this."""

    def run(argv: Sequence[str], *, check: bool = True) -> proc.Result:
        result = proc.Result(tuple(argv), status, output, error)
        if check and status:
            raise proc.ChildError(result)
        return result

    monkeypatch.setattr(proc, "run", run)


REPO = Path("/repo")


@pytest.mark.parametrize(
    "error",
    [
        "error: Refspec 'absent' not found",
        "error: Refspec 'remote:absent' not found",
        "error: Invalid refspec a b",
        f"error: Commit {CHECKSUM} has no parent",
        "error: Couldn't open ref 'dir': Is a directory",
    ],
)
def test_a_revision_that_does_not_exist_is_none(monkeypatch: pytest.MonkeyPatch, error: str) -> None:
    saying(monkeypatch, 1, f"{error}\n")
    assert ostree.resolve(REPO, "x") is None


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (1, "error: Invalid rev junk"),
        (1, "error: opening repo: opendir(/repo): No such file or directory"),
        (1, "error: Couldn't open ref 'x': Permission denied"),
        (1, ""),
        (-11, ""),
        (-9, "error: Refspec 'x' not found"),
    ],
)
def test_a_revision_that_cannot_be_looked_up_is_an_error(
    monkeypatch: pytest.MonkeyPatch, status: int, error: str
) -> None:
    saying(monkeypatch, status, error)
    with pytest.raises(ToolError, match="ostree failed"):
        ostree.resolve(REPO, "x")


NO_FILE = [
    "error: No such file or directory: /usr/b",
    "error: Inspecting path '/usr/b/c': No such file or directory: /usr/b",
    "error: Not a directory",
    "error: Inspecting path '/usr/a/b': Not a directory",
]
UNREADABLE = [
    f"error: No such metadata object {CHECKSUM}.dirtree",
    f"error: No such metadata object {CHECKSUM}.commit",
    f"error: Opening content object {CHECKSUM}: Couldn't find file object '{CHECKSUM}'",
    f"error: Inspecting path '/usr/a': Opening content object {CHECKSUM}: Couldn't find file object '{CHECKSUM}'",
    "error: Refspec 'x' not found",
    "error: Can't open directory",
    "error: opening repo: opendir(/repo): No such file or directory",
    "",
]


@pytest.mark.parametrize("error", NO_FILE)
def test_a_file_that_a_commit_does_not_have_is_none(monkeypatch: pytest.MonkeyPatch, error: str) -> None:
    saying(monkeypatch, 1, f"{error}\n")
    assert ostree.cat(REPO, CHECKSUM, "/usr/b") is None
    assert not ostree.exists(REPO, CHECKSUM, "/usr/b")


@pytest.mark.parametrize("error", UNREADABLE)
def test_a_commit_that_cannot_be_read_is_an_error(monkeypatch: pytest.MonkeyPatch, error: str) -> None:
    saying(monkeypatch, 1, f"{error}\n")
    with pytest.raises(ToolError):
        ostree.cat(REPO, CHECKSUM, "/usr/b")
    with pytest.raises(ToolError):
        ostree.exists(REPO, CHECKSUM, "/usr/b")


def test_what_is_found_is_returned_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    saying(monkeypatch, 0, "", f"{CHECKSUM}\n")
    assert ostree.resolve(REPO, "x") == CHECKSUM
    assert ostree.cat(REPO, CHECKSUM, "/usr/a") == f"{CHECKSUM}\n"
    assert ostree.exists(REPO, CHECKSUM, "/usr/a")


def test_an_empty_file_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    saying(monkeypatch, 0, "")
    assert ostree.cat(REPO, CHECKSUM, "/usr/a") == ""


HELP = """\
Builtin "admin" Commands:
  set-default           Make deployment INDEX the default
  undeploy              Delete deployment INDEX
"""


def test_the_commands_that_an_ostree_knows_are_read_from_its_help(monkeypatch: pytest.MonkeyPatch) -> None:
    saying(monkeypatch, 0, "", HELP)
    assert ostree.has_admin("set-default")
    assert not ostree.has_admin("set")
    assert not ostree.has_admin("deployment")
    saying(monkeypatch, 1, "error: no help today")
    with pytest.raises(ToolError):
        ostree.has_admin("set-default")


def test_the_references_of_a_repository_are_listed_whatever_they_hold(tmp_path: Path) -> None:
    heads = tmp_path / "refs/heads/a"
    heads.mkdir(parents=True)
    (heads / "good").write_text(f"{CHECKSUM}\n")
    (heads / "bad").write_bytes(b"\xff\x00")
    assert ostree.refs(tmp_path) == {"a/good": CHECKSUM, "a/bad": "\ufffd\0"}
