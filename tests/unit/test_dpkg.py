"""dpkg's texts and versions."""

from __future__ import annotations

import os
import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from apt_ostree.errors import TreeError
from apt_ostree.host import proc
from apt_ostree.host.door import Tree
from apt_ostree.model import Package
from apt_ostree.tools import dpkg
from apt_ostree.tools.dpkg import compare_versions, parse_stanzas, parse_status


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("", [], id="nothing"),
        pytest.param("\n\n \n\t\n", [], id="only empty lines"),
        pytest.param("Package: a\nVersion: 1\n", [{"package": "a", "version": "1"}], id="one"),
        pytest.param("Package: a", [{"package": "a"}], id="no newline at the end"),
        pytest.param("Package: a\n\n\n \nPackage: b\n\n", [{"package": "a"}, {"package": "b"}], id="two"),
        pytest.param("A: 1\nB: 2\n\t\nC: 3", [{"a": "1", "b": "2"}, {"c": "3"}], id="a blank line parts them"),
        pytest.param("A:1\nB:  2  \nC:\n", [{"a": "1", "b": "2", "c": ""}], id="blanks around values"),
        pytest.param("URL: https://x:80/\n", [{"url": "https://x:80/"}], id="colons in a value"),
        pytest.param("# c\nA: 1\n# c\n more\nB: 2\n", [{"a": "1\n more", "b": "2"}], id="comments"),
        pytest.param(
            "Conffiles:\n /etc/a 0cc1\n /etc/b 9ff2 obsolete\nVersion: 1\n",
            [{"conffiles": "\n /etc/a 0cc1\n /etc/b 9ff2 obsolete", "version": "1"}],
            id="a field of many lines",
        ),
        pytest.param(
            "Description: short\n long\n .\n\ttabbed\n", [{"description": "short\n long\n .\n\ttabbed"}], id="a text"
        ),
        pytest.param(" stray\nA: 1\n", [{"a": "1"}], id="a continuation of nothing"),
        pytest.param("InStAlLeD-SiZe: 7\n", [{"installed-size": "7"}], id="names in lower case"),
    ],
)
def test_parse_stanzas(text: str, expected: list[dict[str, str]]) -> None:
    assert list(parse_stanzas(text)) == expected


def test_a_field_of_many_lines_costs_each_line_once() -> None:
    text = "Package: a\nDescription: x\n" + " aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n" * 300_000
    began = time.process_time()
    (stanza,) = parse_stanzas(text)
    # Seconds of this process: what grows with the square takes a minute.
    assert time.process_time() - began < 10
    assert len(stanza["description"]) == 1 + 300_000 * 32


STATUS = """\
Package: zlib1g
Status: install ok installed
Priority: required
Installed-Size: 164
Architecture: amd64
Multi-Arch: same
Source: zlib
Version: 1:1.3.dfsg+really1.3.1-1+b1
Description: compression library - runtime
 zlib is a library implementing the deflate compression method found
 in gzip and PKZIP.

Package: gone
Status: deinstall ok config-files
Architecture: all
Version: 1.0
Conffiles:
 /etc/gone 0123

Package: never
Status: unknown ok not-installed
Architecture: all

Package: half
Status: install ok half-configured
Architecture: all
Version: 2

Package: held
Status: hold ok installed
Architecture: all
Version: 3
Installed-Size: many"""


def test_parse_status_lists_packages_with_files_in_every_state() -> None:
    assert [(str(entry.package), entry.status) for entry in parse_status(STATUS)] == [
        ("zlib1g 1:1.3.dfsg+really1.3.1-1+b1 [amd64]", "installed"),
        ("half 2 [all]", "half-configured"),
        ("held 3 [all]", "installed"),
    ]


def test_parse_status_keeps_the_fields() -> None:
    fields = parse_status(STATUS)[0].fields
    assert fields["source"] == "zlib"
    assert fields["description"].splitlines()[1:] == [
        " zlib is a library implementing the deflate compression method found",
        " in gzip and PKZIP.",
    ]


@pytest.mark.parametrize(("number", "size"), [(0, 164 * 1024), (1, 0), (2, 0)])
def test_installed_size_is_in_bytes_and_zero_where_unknown(number: int, size: int) -> None:
    assert parse_status(STATUS)[number].installed_size == size


def test_identity_is_name_version_architecture() -> None:
    fields = {"package": "a", "version": "1:2", "architecture": "arm64", "source": "b"}
    assert dpkg.identity(fields) == Package("a", "1:2", "arm64")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize("name", dpkg.DATABASES)
def test_installed_reads_every_place_of_a_database_sorted(tmp_path: Path, name: str) -> None:
    write(tmp_path / name / "status", STATUS)
    assert [entry.package.name for entry in dpkg.installed(tmp_path)] == ["half", "held", "zlib1g"]


def test_our_own_database_wins(tmp_path: Path) -> None:
    for name in dpkg.DATABASES:
        write(tmp_path / name / "status", "")
    assert dpkg.database(tmp_path) == tmp_path / "usr/lib/sysimage/dpkg"


def test_a_tree_without_a_database_is_named(tmp_path: Path) -> None:
    with pytest.raises(TreeError, match="the base has no dpkg database"):
        dpkg.database(tmp_path)


@pytest.mark.parametrize(
    ("arch", "expected"),
    [(None, ("arm64",)), ("arm64\n", ("arm64",)), ("armhf\narm64\ni386\n", ("arm64", "armhf", "i386"))],
)
def test_architectures_are_the_native_then_the_foreign_ones(
    tmp_path: Path, arch: str | None, expected: tuple[str, ...]
) -> None:
    place = tmp_path / "usr/lib/sysimage/dpkg"
    write(place / "status", "")
    if arch is not None:
        write(place / "arch", arch)
    assert dpkg.architectures(tmp_path, [Package("a", "1", "i386"), Package("dpkg", "1", "arm64")]) == expected


def test_architectures_need_dpkg_itself(tmp_path: Path) -> None:
    write(tmp_path / "var/lib/dpkg/status", "")
    with pytest.raises(TreeError, match="the base has no dpkg"):
        dpkg.architectures(tmp_path, [Package("a", "1", "amd64")])


def info_of(tree: Path) -> dpkg.Info:
    return lambda name: Tree(tree).text(f"usr/lib/sysimage/dpkg/info/{name}")


def test_files_and_scripts_of_one_instance_win_over_the_plain_name(tmp_path: Path) -> None:
    place = tmp_path / "usr/lib/sysimage/dpkg"
    write(place / "status", "")
    write(place / "info/a.list", "/.\n/usr/a\n")
    write(place / "info/a:amd64.list", "/.\n/usr/lib/a b\n")
    write(place / "info/a.postinst", "plain")
    write(place / "info/a:amd64.postinst", "own")
    write(place / "info/a.prerm", "gone")
    assert dpkg.file_list(info_of(tmp_path), Package("a", "1", "amd64")) == ["/.", "/usr/lib/a b"]
    assert dpkg.file_list(info_of(tmp_path), Package("a", "1", "all")) == ["/.", "/usr/a"]
    assert dpkg.file_list(info_of(tmp_path), Package("b", "1", "all")) == []
    assert dpkg.scripts(info_of(tmp_path), Package("a", "1", "amd64")) == {"postinst": "own", "prerm": "gone"}


@pytest.fixture
def no_child(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(argv: object, **_: object) -> proc.Result:
        pytest.fail(f"a child was started: {argv}")

    monkeypatch.setattr(proc, "run", run)


@pytest.mark.usefixtures("no_child")
@pytest.mark.parametrize(
    ("low", "high"),
    [
        ("1", "2"),
        ("9", "10"),
        ("1.9", "1.10"),
        ("1.2", "1.2.1"),
        ("99", "1:0"),
        ("1:9", "2:0"),
        ("1.0", "1.0-1"),
        ("1.0-1", "1.0-2"),
        ("1.0-9", "1.0-10"),
        ("1.0-1", "1.0-1.1"),
        ("1-1-1", "1-1-2"),
        ("1.0~rc1", "1.0"),
        ("1.0~~a", "1.0~a"),
        ("1.0~rc1-1", "1.0-1"),
        ("1.0-1~deb12u1", "1.0-1"),
        ("1.0-1~deb12u1", "1.0-1~deb13u1"),
        ("1.0-1", "1.0-1+b1"),
        ("1.0", "1.0+dfsg"),
        ("1.0-1+deb13u9", "1.0-1+deb13u10"),
        ("1.0a", "1.0b"),
        ("1.0Z", "1.0a"),
        ("1.0a", "1.0+a"),
        ("1.0+a", "1.0.a"),
        ("9999999999999999999999", "10000000000000000000000"),
        ("1.3.1-1", "1:1.3.dfsg+really1.3.1-1+b1"),
    ],
)
def test_compare_versions_orders(low: str, high: str) -> None:
    assert (compare_versions(low, high), compare_versions(high, low)) == (-1, 1)


@pytest.mark.usefixtures("no_child")
@pytest.mark.parametrize(
    ("a", "b"), [("1", "1"), ("1.0", "0:1.0"), ("1.0-0", "1.0"), ("1.00", "1.0"), ("1.0-001", "1.0-1")]
)
def test_compare_versions_knows_equal_ones(a: str, b: str) -> None:
    assert (compare_versions(a, b), compare_versions(b, a)) == (0, 0)


def order(part: str) -> list[tuple[list[int], int]]:
    """Policy 5.6.12's key of one part: pairs of a non-digit run's weights and a number, in turns.

    A tilde weighs less than the end of a run, the end less than a letter, a letter less than the rest.
    """
    key: list[tuple[list[int], int]] = []
    rest = part
    while True:
        run = rest[: next((i for i, c in enumerate(rest) if c.isdigit()), len(rest))]
        rest = rest[len(run) :]
        digits = rest[: next((i for i, c in enumerate(rest) if not c.isdigit()), len(rest))]
        rest = rest[len(digits) :]
        weights = [-1 if c == "~" else ord(c) if c.isalpha() else ord(c) + 256 for c in run]
        # The end of a run is 0; at the end of the part, equal runs and numbers of nothing follow for ever.
        key.append(([*weights, 0], int(digits or "0")))
        if not rest:
            # An empty run and number stands for the end, against a longer part.
            return [*key, ([0], 0)]


def policy_key(version: str) -> tuple[int, list[tuple[list[int], int]], list[tuple[list[int], int]]]:
    epoch, _, rest = version.rpartition(":") if ":" in version else ("0", "", version)
    upstream, hyphen, revision = rest.rpartition("-")
    if not hyphen:
        upstream, revision = rest, "0"
    return int(epoch), order(upstream), order(revision)


def policy_compare(a: str, b: str) -> int:
    (epoch_a, up_a, rev_a), (epoch_b, up_b, rev_b) = policy_key(a), policy_key(b)
    if epoch_a != epoch_b:
        return -1 if epoch_a < epoch_b else 1
    for one, two in ((up_a, up_b), (rev_a, rev_b)):
        length = max(len(one), len(two))
        padded = [part + [([0], 0)] * (length - len(part)) for part in (one, two)]
        if padded[0] != padded[1]:
            return -1 if padded[0] < padded[1] else 1
    return 0


def versions() -> st.SearchStrategy[str]:
    """Versions that policy 5.6.12 allows; most pieces are alike, so that pairs differ in little."""
    piece = st.sampled_from(
        ["0", "1", "9", "10", "007", "a", "Z", "rc", "~", "~~", "+", ".", "+b1", "~deb13u1", "dfsg"]
    )
    middle = st.lists(piece, max_size=5).map("".join)
    upstream = st.builds("{}{}{}".format, st.integers(0, 20), middle, st.sampled_from(["", "-1", "-a~"]))
    revision = st.one_of(st.just(""), st.builds("-{}".format, st.lists(piece, min_size=1, max_size=3).map("".join)))
    epoch = st.sampled_from(["", "", "0:", "1:", "10:"])
    return st.builds("{}{}{}".format, epoch, upstream, revision)


@pytest.mark.usefixtures("no_child")
@example("1.0+", "0:1.0+")
@given(versions(), versions())
def test_compare_versions_agrees_with_policy(a: str, b: str) -> None:
    assert compare_versions(a, b) == policy_compare(a, b)


@pytest.mark.usefixtures("no_child")
@example("1.0+", "0:1.0+")
@given(versions(), versions())
def test_compare_versions_is_antisymmetric(a: str, b: str) -> None:
    assert compare_versions(a, b) == -compare_versions(b, a)


@pytest.mark.usefixtures("no_child")
@example(["1.0+", "0:1.0+", "1.0"])
@given(st.lists(versions(), min_size=3, max_size=6))
def test_compare_versions_is_transitive(found: list[str]) -> None:
    ordered = sorted(found, key=dpkg.version_key)
    assert all(compare_versions(a, b) <= 0 for a, b in pairwise(ordered))
    assert all(compare_versions(ordered[0], later) <= 0 for later in ordered)


@pytest.mark.usefixtures("no_child")
@pytest.mark.parametrize(
    ("a", "b", "sign"),
    [
        ("12.2.0-14+deb12u1+", "12.2.0-14+deb12u1", 1),
        ("12.2.0-14+deb12u1", "12.2.0-14+deb12u1+", -1),
        ("1.0~", "1.0", -1),
        ("1.0+", "0:1.0+", 0),
        ("0.0-1+~+", "0.1-1+~+", -1),
        ("1+", "1+-0", 0),
        ("1" * 9999, "2" * 9998, 1),
        ("1.a" * 9999, "1.a" * 9999 + "~", 1),
        ("no version!", "0~", -1),
    ],
)
def test_what_the_library_rejects_has_the_same_order_without_a_child(a: str, b: str, sign: int) -> None:
    assert compare_versions(a, b) == sign


def test_versions_that_dpkg_cannot_be_asked_about_have_some_order() -> None:
    for odd in ("--compare-versions", "1\0", "\udcff", "a b"):
        assert dpkg.compare_versions(odd, "1.0") == -dpkg.compare_versions("1.0", odd) != 0


def test_a_stanza_without_a_name_is_left_out() -> None:
    status = "Status: install ok installed\nVersion: 1\n\nPackage: a\nStatus: install ok installed\nVersion: 1\n"
    assert [entry.package.name for entry in dpkg.parse_status(status)] == ["a"]


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file outside the tree, which links in it lead to."""
    write(tmp_path / "host/secret", "/a\nsecret\n")
    return tmp_path / "host/secret"


VIM = Package("vim", "1", "amd64")


@pytest.mark.parametrize("name", ["vim.list", "vim:amd64.list", "vim.postinst", "vim:amd64.postinst"])
def test_a_link_or_a_pipe_in_dpkgs_info_tells_nothing_of_the_host(tmp_path: Path, secret: Path, name: str) -> None:
    info = tmp_path / "tree/usr/lib/sysimage/dpkg/info"
    write(info.parent / "status", STATUS)
    info.mkdir()
    (info / name).symlink_to(secret)
    os.mkfifo(info / "vim.preinst")
    assert dpkg.file_list(info_of(tmp_path / "tree"), VIM) == []
    assert dpkg.scripts(info_of(tmp_path / "tree"), VIM) == {}


@pytest.mark.parametrize(
    "link", ["usr/lib", "usr/lib/sysimage", "usr/lib/sysimage/dpkg", "usr/lib/sysimage/dpkg/status"]
)
def test_a_link_in_the_place_of_a_database_is_not_followed_out_of_the_tree(tmp_path: Path, link: str) -> None:
    tree, host = tmp_path / "tree", tmp_path / "host"
    write(tree / "usr/lib/sysimage/dpkg/status", STATUS)
    host.mkdir()
    (tree / link).rename(host / "moved")
    (tree / link).symlink_to(host / "moved")
    with pytest.raises(TreeError, match="the base has no dpkg database"):
        dpkg.installed(tree)


def test_a_link_inside_the_tree_leads_to_its_database(tmp_path: Path) -> None:
    write(tmp_path / "usr/lib/database/status", STATUS)
    (tmp_path / "var/lib").mkdir(parents=True)
    (tmp_path / "var/lib/dpkg").symlink_to("/usr/lib/database")
    assert dpkg.database(tmp_path) == tmp_path / "usr/lib/database"


def test_what_lies_beside_the_status_is_no_link_to_the_host(tmp_path: Path, secret: Path) -> None:
    place = tmp_path / "tree/usr/lib/sysimage/dpkg"
    write(place / "status", "")
    (place / "arch").symlink_to(secret)
    (place / "diversions").symlink_to(secret)
    assert dpkg.architectures(tmp_path / "tree", [Package("dpkg", "1", "arm64")]) == ("arm64",)
    assert dpkg.diverted(tmp_path / "tree") == set()


def test_a_package_named_like_a_path_reads_no_other_file(tmp_path: Path, secret: Path) -> None:
    write(tmp_path / "tree/usr/lib/sysimage/dpkg/status", "")
    secret.rename(secret.with_name("secret.list"))
    up = "../" * 6 + "host/secret"
    assert dpkg.file_list(info_of(tmp_path / "tree"), Package(up, "1", "all")) == []


def test_a_list_of_files_is_split_at_newlines_alone(tmp_path: Path) -> None:
    write(tmp_path / "usr/lib/sysimage/dpkg/status", "")
    (tmp_path / "usr/lib/sysimage/dpkg/info").mkdir()
    (tmp_path / "usr/lib/sysimage/dpkg/info/vim.list").write_bytes("/a\x85b\n/c\x0cd\r\n".encode())
    assert dpkg.file_list(info_of(tmp_path), VIM) == ["/a\x85b", "/c\x0cd\r"]
