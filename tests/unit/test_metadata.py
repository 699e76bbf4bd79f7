"""The metadata of commits: written as earlier versions wrote it, and read back, also from commits that lack some."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from apt_ostree.errors import ToolError
from apt_ostree.model import CommitInfo, Package, Plan, Solved
from apt_ostree.system import metadata

AGENT, JQ, VIM = Package("agent", "1", "all"), Package("jq", "1.7", "amd64"), Package("vim", "9", "amd64")
OLD_VIM = Package("vim", "8", "amd64")
SHA256 = "ab" * 32
LOCKED = Solved(JQ, SHA256, 7, 1024, "Debian:13.7/stable")

BASE = CommitInfo(
    "b" * 64,
    None,
    0,
    "",
    {
        "version": "13.1",
        "ostree.bootable": "true",
        "ostree.linux": "6.12",
        "apt-ostree.kernel-args": '["quiet"]',
        "apt-ostree.pkglist": '[["vim", "8", "amd64"], ["agent", "1", "all"]]',
        "author": "somebody",
    },
)
LAYER = metadata.Layer(
    "5 (1.0)",
    1000,
    ["apt-ostree", "install", "a b"],
    ["jq", "-agent"],
    Plan((LOCKED,), removed=(AGENT,), replaced=((OLD_VIM, VIM),), left_out=("gone",)),
    [JQ, VIM],
    None,
)
WRITTEN = {
    "version": "13.1",
    "ostree.bootable": "true",
    "ostree.linux": "6.12",
    "apt-ostree.kernel-args": '["quiet"]',
    "apt-ostree.clientlayer": "true",
    "apt-ostree.engine": "5 (1.0)",
    "apt-ostree.uid": "1000",
    "apt-ostree.command": "apt-ostree install 'a b'",
    "apt-ostree.packages": '["jq", "-agent"]',
    "apt-ostree.left-out": '["gone"]',
    "apt-ostree.removed-base-packages": '[["agent", "1", "all"]]',
    "apt-ostree.replaced-base-packages": '[[["vim", "8", "amd64"], ["vim", "9", "amd64"]]]',
    "apt-ostree.lock": f'[["jq", "1.7", "amd64", "{SHA256}", 7, 1024, "Debian:13.7/stable"]]',
    "apt-ostree.pkglist": '[["jq", "1.7", "amd64"], ["vim", "9", "amd64"]]',
}


def commit(**values: str) -> CommitInfo:
    return CommitInfo(
        "c" * 64, None, 0, "", {f"apt-ostree.{key.replace('_', '-')}": text for key, text in values.items()}
    )


def test_the_form_of_a_layer_s_metadata_is_fixed() -> None:
    assert metadata.of_layer(BASE, LAYER) == WRITTEN


def test_a_layer_with_a_kernel_of_its_own_says_so() -> None:
    written = metadata.of_layer(CommitInfo("b" * 64, None, 0, "", {}), replace(LAYER, kernel="6.13"))
    assert (written["ostree.bootable"], written["ostree.linux"]) == ("true", "6.13")
    assert metadata.of_layer(BASE, replace(LAYER, kernel="6.13"))["ostree.linux"] == "6.13"


def test_only_a_base_that_boots_makes_a_layer_bootable() -> None:
    """The value is a GVariant for ostree, and the base's author wrote it."""
    base = replace(BASE, metadata={**BASE.metadata, "ostree.bootable": "[%"})
    assert "ostree.bootable" not in metadata.of_layer(base, LAYER)


def test_a_base_says_nothing_of_a_layer() -> None:
    """It may be somebody's layer, published as an image, or say so without being one."""
    info = CommitInfo("c" * 64, BASE.checksum, 7, "subject", {**WRITTEN, "author": "somebody"})
    kept = ("version", "ostree.bootable", "ostree.linux", "apt-ostree.kernel-args", "apt-ostree.pkglist", "author")
    assert metadata.as_base(info) == replace(info, metadata={key: info.metadata[key] for key in kept})


@pytest.mark.parametrize(
    ("kernel", "more"), [(None, {}), ("6.12", {"ostree.bootable": "true", "ostree.linux": "6.12"})]
)
def test_the_form_of_a_base_s_metadata_is_fixed(kernel: str | None, more: dict[str, str]) -> None:
    assert metadata.of_base("13.1", [OLD_VIM], ["quiet", "rw"], kernel) == {
        "version": "13.1",
        "apt-ostree.pkglist": '[["vim", "8", "amd64"]]',
        "apt-ostree.kernel-args": '["quiet", "rw"]',
        **more,
    }


def test_what_a_layer_says_is_read_back() -> None:
    info = CommitInfo("c" * 64, BASE.checksum, 0, "", metadata.of_layer(BASE, LAYER))
    assert metadata.is_layer(info)
    assert metadata.lock(info) == [LOCKED]
    assert metadata.packages(info) == [JQ, VIM]
    assert metadata.requests(info) == ["jq", "-agent"]
    assert metadata.left_out(info) == ["gone"]
    assert metadata.removed(info) == (AGENT,)
    assert metadata.replaced(info) == ((OLD_VIM, VIM),)
    assert metadata.kernel_arguments(info) == ["quiet"]
    assert (metadata.kernel(info), metadata.command(info), metadata.uid(info)) == (
        "6.12",
        "apt-ostree install 'a b'",
        1000,
    )


def test_a_commit_of_another_tool_says_nothing() -> None:
    info = commit()
    assert not metadata.is_layer(info)
    assert metadata.packages(info) is None
    assert (metadata.lock(info), metadata.requests(info), metadata.left_out(info)) == ([], [], [])
    assert (metadata.removed(info), metadata.replaced(info), metadata.kernel_arguments(info)) == ((), (), [])
    assert (metadata.kernel(info), metadata.command(info), metadata.uid(info)) == (None,) * 3


def test_packages_come_sorted() -> None:
    assert metadata.packages(BASE) == [AGENT, OLD_VIM]


def test_only_our_own_layers_are_layers() -> None:
    assert metadata.is_layer(commit(clientlayer="true"))
    assert not metadata.is_layer(commit(clientlayer="false"))


def test_a_lock_without_sources_is_one_of_an_earlier_version() -> None:
    assert metadata.lock(commit(lock=f'[["jq", "1.7", "amd64", "{SHA256}", 7, 1024]]')) == [Solved(JQ, SHA256, 7, 1024)]


@pytest.mark.parametrize("text", ["", "x", "-1", "²"])
def test_a_user_that_is_not_a_number_is_unknown(text: str) -> None:
    assert metadata.uid(commit(uid=text)) is None


def test_damaged_metadata_is_named() -> None:
    with pytest.raises(ToolError, match=r"commit cccccccccccc has damaged metadata \(apt-ostree.lock\)"):
        metadata.lock(commit(lock='[["a"'))


JQ_ENTRY = f'["jq", "1.7", "amd64", "{SHA256}", 7, 1024, ""]'


@pytest.mark.parametrize(
    ("reader", "key", "text"),
    [
        *((metadata.lock, "lock", text) for text in (
            "{}", "7", '"x"', "[1]", "[[]]", "[null]", '[["jq", "1.7", "amd64"]]', '[{"name": "jq"}]',
            f"[{JQ_ENTRY.replace('7,', 'Infinity,')}]", f"[{JQ_ENTRY.replace('7,', '-7,')}]",
            f"[{JQ_ENTRY.replace('7,', 'true,')}]", f"[{JQ_ENTRY.replace(SHA256, '../x')}]",
            f"[{JQ_ENTRY.replace(SHA256, SHA256[1:])}]", f"[{JQ_ENTRY.replace(SHA256, SHA256.upper())}]",
            f"[{JQ_ENTRY.replace('jq', '../x')}]", f"[{JQ_ENTRY.replace('1.7', '1/../x')}]",
            f"[{JQ_ENTRY.replace('7,', '9' * 18 + ',')}]", "[" * 100_000,
        )),
        (metadata.packages, "pkglist", "{}"),
        (metadata.packages, "pkglist", '[["a", 1, "all"]]'),
        (metadata.requests, "packages", "[1]"),
        (metadata.left_out, "left-out", "[[]]"),
        (metadata.removed, "removed-base-packages", '["a"]'),
        (metadata.replaced, "replaced-base-packages", '[[["a", "1", "all"]]]'),
        (metadata.replaced, "replaced-base-packages", "[1]"),
        *((metadata.kernel_arguments, "kernel-args", text) for text in (
            r'["quiet\nlinux /evil"]', r'["a\u0000"]', r'["a\u009b"]', '[""]', "[1]", '["a ostree=/x"]', '{"a": 1}',
        )),
    ],
)  # fmt: skip
def test_metadata_of_another_form_is_damaged(reader: Callable[[CommitInfo], object], key: str, text: str) -> None:
    with pytest.raises(ToolError, match=rf"commit cccccccccccc has damaged metadata \(apt-ostree.{key}\)"):
        reader(commit(**{key: text}))


@pytest.mark.parametrize("text", ["1\nlinux /evil", "1\x1b[2J", "1\u2028", "\udcff"])
def test_a_version_that_is_not_a_line_never_gets_into_a_loader_entry(text: str) -> None:
    info = CommitInfo("c" * 64, None, 0, "", {"version": text})
    with pytest.raises(ToolError, match=r"commit cccccccccccc has damaged metadata \(version\)"):
        metadata.version(info)


@pytest.mark.parametrize("text", ["", "13.20260101.0", "with a blank"])
def test_any_line_is_a_version(text: str) -> None:
    assert metadata.version(CommitInfo("c" * 64, None, 0, "", {"version": text})) == text


@pytest.mark.parametrize("half", ["\\ud800", "\\udfff\\ud800"])
def test_text_that_no_file_can_hold_is_damage(half: str) -> None:
    with pytest.raises(ToolError, match="has damaged metadata"):
        metadata.packages(commit(pkglist=f'[["{half}", "1", "all"]]'))
    with pytest.raises(ToolError, match="has damaged metadata"):
        metadata.requests(commit(packages=f'["{half}"]'))
    with pytest.raises(ToolError, match="has damaged metadata"):
        metadata.lock(commit(lock=f'[["jq", "1", "all", "{SHA256}", 7, 1, "{half}"]]'))


def test_a_base_says_that_it_is_at_its_end_of_life() -> None:
    info = CommitInfo("b" * 64, None, 0, "", {"ostree.endoflife": "moved", "ostree.endoflife-rebase": "debian/14"})
    assert (metadata.end_of_life(info), metadata.successor(info)) == ("moved", "debian/14")
    assert metadata.end_of_life(BASE) is None
