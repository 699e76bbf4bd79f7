"""What libostree must not meet of a tree while it deploys it."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from apt_ostree.errors import SpaceError, TreeError
from apt_ostree.tools import extent
from apt_ostree.tree import deploying
from tests.unit.repository import repository

KERNEL = "usr/lib/modules/6.1"
TREE: dict[str, str | None] = {
    **dict.fromkeys(("usr", "usr/etc", "usr/etc/selinux", "usr/lib", "usr/lib/modules", "usr/lib/ostree", KERNEL)),
    **dict.fromkeys(("boot", "var", f"{KERNEL}/dtb", f"{KERNEL}/dtb/a")),
    **dict.fromkeys((f"{KERNEL}/vmlinuz", f"{KERNEL}/initramfs.img", f"{KERNEL}/dtb/a/b.dtb"), "file"),
    **dict.fromkeys(("usr/lib/os-release", "usr/lib/ostree/prepare-root.conf"), "file"),
    "usr/etc/selinux/semanage.conf": "file",
    f"{KERNEL}/build": "/usr/src/linux",
    "usr/lib/modules/config": "elsewhere",
}
"""A text is where a link leads; None stands for a directory."""


OS_RELEASE = 'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nID=debian\n'


def check(tree: dict[str, str | None], os_release: str = OS_RELEASE, size: int = 0) -> str:
    """What is wrong with a tree, in one text; empty for nothing."""
    with repository(os_release, size, made=tree) as (repo, commits):
        try:
            deploying.check(repo, commits["made"])
        except TreeError as error:
            return f"{error.brief}\n{error.detail}"
    return ""


def without(name: str) -> dict[str, str | None]:
    return {path: entry for path, entry in TREE.items() if path != name and not path.startswith(f"{name}/")}


def test_an_ordinary_tree_is_deployed() -> None:
    """With links in places that libostree does not open, and /etc/selinux as Debian's libsemanage has it."""
    assert check(TREE) == ""
    assert check({**TREE, "etc": None}) == ""


@pytest.mark.parametrize(
    "name",
    [
        "boot", "usr", "usr/etc", "usr/etc/selinux", "usr/lib", "usr/lib/modules", "usr/lib/ostree",
        "usr/lib/ostree-boot", "usr/lib/ostree/prepare-root.conf", "usr/lib/os-release", "var", "etc",
        *(f"{KERNEL}/{file}" for file in ("vmlinuz", "initramfs.img", "initramfs", "devicetree", "dtb", "aboot.img",
          "aboot.cfg", ".vmlinuz.hmac", "dtb/x", "dtb/a/x")),
    ],
)  # fmt: skip
@pytest.mark.parametrize("target", ["/dev/zero", "../lib"])
def test_a_link_where_ostree_opens_a_name_is_refused(name: str, target: str) -> None:
    found = check({**without(name), name: target})
    assert found.startswith("OSTree must not deploy this tree")
    assert f"/{name} " in found


@pytest.mark.parametrize("entry", ["file", None, "/etc/shadow"])
def test_no_tree_writes_lines_of_u_boots_menu(entry: str | None) -> None:
    """libostree appends this file to the one menu of all deployments."""
    tree = {**TREE, "usr/lib/ostree-boot": None, "usr/lib/ostree-boot/uEnv.txt": entry}
    assert "/usr/lib/ostree-boot is not empty: it has 'uEnv.txt'" in check(tree)


@pytest.mark.parametrize("name", ["usr/etc", "usr/lib", "usr/lib/os-release"])
def test_what_ostree_would_replace_by_the_machines_is_needed(name: str) -> None:
    assert f"/{name} does not exist" in check(without(name))


def test_an_etc_of_the_tree_itself_is_refused() -> None:
    """libostree takes it for /usr/etc, which is judged."""
    assert "/etc is in the commit" in check({**TREE, "etc": None, "etc/passwd": "file"})


@pytest.mark.parametrize("version", ["6.1 x", "6.1\x1b", "6.1\u2028", "6;reboot", "$x", "6{", "-6", "6'", "6\\x", "é"])
def test_a_kernels_name_adds_nothing_to_the_boot_menu(version: str) -> None:
    place = f"usr/lib/modules/{version}"
    assert "the kernel's version" in check({**TREE, place: None, f"{place}/vmlinuz": "file"})


@pytest.mark.parametrize("version", ["6.12.57+deb13-amd64", "6.1.0-0.bpo~rc1_x86.64", "0.0"])
def test_any_version_of_a_debian_kernel_is_taken(version: str) -> None:
    place = f"usr/lib/modules/{version}"
    assert check({**TREE, place: None, f"{place}/vmlinuz": "file"}) == ""


@pytest.mark.parametrize("name", ["vmlinuz-9 x-" + "a" * 64, "x", "loader"])
@pytest.mark.parametrize("entry", ["file", None, "/etc"])
def test_no_name_in_boot_gets_into_the_boot_menu(name: str, entry: str | None) -> None:
    """libostree makes lines of the loader entry of names there, whatever is in /usr/lib/modules."""
    assert f"/boot is not empty: it has '{name}'" in check({**TREE, f"boot/{name}": entry})


@pytest.mark.parametrize("kind", ["vmlinuz", "initramfs", "devicetree"])
def test_no_kernel_chooses_its_own_checksum(kind: str) -> None:
    """Nor does its name, in the old place of kernels, get into the boot menu."""
    old = "usr/lib/ostree-boot"
    name = f"{kind}-9-{'a' * 64}"
    found = check({**TREE, old: None, f"{old}/{name}": "file"})
    assert f"/{old} is not empty: it has '{name}'" in found
    assert check({**TREE, old: None}) == ""


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('PRETTY_NAME="a\rlinux /evil"\n', "a control character"),
        ("ID=a\x1b[2J\n", "a control character"),
        ("PRETTY_NAME=a\nID=\u2028\n", "a control character"),
        ("ID=a\nX=\udcff\n", "is not UTF-8"),
        ("ID=a\0\n", "is not UTF-8"),
        ("ID=a\nX=\0\n", "is not UTF-8"),
        ("VERSION=13\n", "neither PRETTY_NAME nor ID"),
        ("", "neither PRETTY_NAME nor ID"),
        ("ID=debian\nX=\t\x07\n", ""),
        ('PRETTY_NAME="open\n', "a value that cannot be read"),
        ("PRETTY_NAME=Debian\nID='\n", "a value that cannot be read"),
        ("PRETTY_NAME=\"It's\"\nID='a b'\n", ""),
        ("VERSION='\nID=debian\n", ""),
    ],
)
def test_the_trees_name_is_one_line_of_the_boot_menu(text: str, problem: str) -> None:
    found = check(TREE, text)
    assert problem in found if problem else found == ""


def test_a_name_of_many_bytes_is_not_read() -> None:
    assert "has more than" in check(TREE, size=(1 << 20) + 1)
    assert check(TREE, size=1 << 20) == ""


@pytest.mark.parametrize("entry", ["file", "/dev/zero", None])
def test_a_tree_with_an_selinux_policy_is_refused(entry: str | None) -> None:
    """libostree asks for the name alone, and runs the tree's semodule then."""
    found = check({**TREE, "usr/etc/selinux/config": entry})
    assert found.startswith("SELinux policies are not supported")


def test_directories_that_leave_too_few_inodes_are_not_deployed(monkeypatch: pytest.MonkeyPatch) -> None:
    status = SimpleNamespace(f_bavail=1 << 30, f_blocks=1 << 30, f_frsize=4096, f_favail=10, f_files=1000)
    monkeypatch.setattr(os, "statvfs", lambda place: status)
    assert sum(entry is None for entry in TREE.values()) > 5
    with repository(made=TREE) as (repo, commits), pytest.raises(SpaceError, match="too few inodes"):
        deploying.check(repo, commits["made"])


def test_only_what_ostree_reads_of_a_policy_counts(tmp_path: Path) -> None:
    """Where a deployment has one already, it stays possible to write the menu, as for a rollback."""
    (tmp_path / "etc/selinux").mkdir(parents=True)
    (tmp_path / "etc/selinux/config").write_text("SELINUX=disabled\n")
    assert deploying.policy_problem(tmp_path) == ""
    with (tmp_path / "etc/selinux/config").open("r+b") as file:
        file.truncate(1 << 40)
    assert "is not a file of at most" in deploying.policy_problem(tmp_path)


@pytest.mark.parametrize(("entry", "is_refused"), [("file", True), ("/target", False)])
def test_a_file_by_too_many_names_is_not_deployed(
    monkeypatch: pytest.MonkeyPatch, entry: str, is_refused: bool
) -> None:
    """What has no name left to give is copied. Links and empty files take an inode alone."""
    monkeypatch.setattr(extent, "NAMES_MAX", 40)
    found = check({**TREE, **{f"usr/lib/many{number}": entry for number in range(41)}})
    assert ("by too many names" in found) is is_refused
