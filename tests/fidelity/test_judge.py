"""The judge catches what it is for: every kind of difference, planted on purpose."""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fidelity import judge, trees

DATABASE = "usr/lib/sysimage/dpkg"

# cap_net_raw=ep and cap_net_admin=ep (linux/capability.h).
CAPABILITY, OTHER_CAPABILITY = (struct.pack("<5I", 0x02000001, 1 << bit, 0, 0, 0) for bit in (13, 12))

STATUS = """\
Package: a
Status: install ok installed
Version: 1
Architecture: all
Conffiles:
 /etc/a.conf 0123

Package: b
Status: install ok installed
Version: 2
Architecture: amd64
"""


def make(root: Path) -> Path:
    """A root with a little of everything that is compared."""
    for name in (
        "usr/bin",
        "usr/lib/sysimage/dpkg/info",
        "usr/lib/sysimage/dpkg/triggers",
        "etc",
        "var/lib/a",
        "opt/x",
    ):
        (root / name).mkdir(parents=True)
    for name in ("usr/bin/a", "usr/bin/tool", "etc/a.conf", "var/lib/a/state", "opt/x/file"):
        (root / name).write_text(name)
    os.link(root / "usr/bin/a", root / "usr/bin/a-again")
    (root / "usr/bin/link").symlink_to("a")
    os.setxattr(root / "etc/a.conf", "user.note", b"1")
    os.setxattr(root / "opt/x/file", "security.capability", CAPABILITY)
    for name, target in (("home", "var/home"), ("srv", "var/srv"), ("usr/local", "../var/usrlocal")):
        (root / name).symlink_to(target)
    database = root / "usr/lib/sysimage/dpkg"
    (database / "status").write_text(STATUS)
    (database / "info/a.list").write_text("/.\n/usr\n/usr/bin\n/usr/bin/a\n/etc/a.conf\n")
    (database / "info/a.postinst").write_text("#!/bin/sh\n")
    (database / "info/a.md5sums").write_text("0123  usr/bin/a\n")
    (database / "alternatives").mkdir()
    (database / "alternatives/pager").write_text("auto\n/usr/bin/pager\n\n/usr/bin/a\n5\n\n")
    (root / "usr/lib/sysimage/extended_states").write_text("Package: b\nArchitecture: amd64\nAuto-Installed: 1\n")
    (database / "diversions").write_text("/x\n/x.real\na\n")
    (database / "triggers/File").write_text("/usr/share/x a/noawait\n")
    (database / "statoverride").write_text("root root 4755 /usr/bin/a\n")
    return root


def retarget(root: Path) -> None:
    (root / "usr/bin/link").unlink()
    (root / "usr/bin/link").symlink_to("b")


def retarget_home(root: Path) -> None:
    (root / "home").unlink()
    (root / "home").symlink_to("var/other")


def retype(root: Path) -> None:
    (root / "usr/bin/link").unlink()
    (root / "usr/bin/link").write_text("a")


def separate(root: Path) -> None:
    (root / "usr/bin/a-again").unlink()
    shutil.copy2(root / "usr/bin/a", root / "usr/bin/a-again")


def rewrite(name: str, old: str, new: str) -> Callable[[Path], None]:
    def mutate(root: Path) -> None:
        path = root / name
        path.write_text(path.read_text().replace(old, new))

    return mutate


def replace_link(name: str) -> Callable[[Path], None]:
    def mutate(root: Path) -> None:
        (root / name).unlink()
        (root / name).mkdir()

    return mutate


MUTATIONS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "a mode": (lambda root: (root / "etc/a.conf").chmod(0o600), "etc/a.conf", "mode"),
    "a setuid bit": (lambda root: (root / "usr/bin/tool").chmod(0o4755), "usr/bin/tool", "mode"),
    "a directory's mode": (lambda root: (root / "var/lib/a").chmod(0o700), "var/lib/a", "mode"),
    "an owner": (lambda root: os.chown(root / "var/lib/a/state", 5, -1), "var/lib/a/state", "uid"),
    "a group": (lambda root: os.chown(root / "opt/x", -1, 6), "opt/x", "gid"),
    "a link's owner": (lambda root: os.lchown(root / "usr/bin/link", 5, -1), "usr/bin/link", "uid"),
    "an xattr's value": (lambda root: os.setxattr(root / "etc/a.conf", "user.note", b"2"), "etc/a.conf", "xattrs"),
    "an xattr": (lambda root: os.setxattr(root / "opt/x", "user.new", b"1"), "opt/x", "xattrs"),
    "a content": (lambda root: (root / "etc/a.conf").write_text("other"), "etc/a.conf", "content"),
    "a lost file": (lambda root: (root / "var/lib/a/state").unlink(), "var/lib/a/state", "kind"),
    "a new file": (lambda root: (root / "opt/x/new").touch(), "opt/x/new", "kind"),
    "a new directory": (lambda root: (root / "etc/new").mkdir(), "etc/new", "kind"),
    "a link's target": (retarget, "usr/bin/link", "content"),
    "a type": (retype, "usr/bin/link", "kind"),
    "names that were one file": (separate, "usr/bin/a", "hard links"),
    "a stanza's field": (rewrite(f"{DATABASE}/status", "Version: 2", "Version: 3"), "dpkg status b:amd64", "database"),
    "a conffile's digest": (rewrite(f"{DATABASE}/status", "0123", "4567"), "dpkg status a:all", "database"),
    "a capability": (lambda root: os.setxattr(root / "opt/x/file", "security.capability", OTHER_CAPABILITY),
                     "opt/x/file", "xattrs"),
    "a lost capability": (lambda root: os.removexattr(root / "opt/x/file", "security.capability"), "opt/x/file",
                          "xattrs"),
    "a link at the top": (lambda root: (root / "srv").unlink(), "srv", "kind"),
    "where a link at the top leads": (retarget_home, "home", "content"),
    "/usr/local": (replace_link("usr/local"), "usr/local", "kind"),
    "an alternative": (rewrite(f"{DATABASE}/alternatives/pager", "auto", "manual"), f"{DATABASE}/alternatives/pager",
                       "content"),
    "what came by itself": (rewrite("usr/lib/sysimage/extended_states", "1", "0"), "dpkg extended_states b:amd64",
                            "database"),
    "a checksum": (rewrite(f"{DATABASE}/info/a.md5sums", "0123", "4567"), "dpkg info/a.md5sums", "database"),
    "a lost stanza": (rewrite(f"{DATABASE}/status", STATUS[STATUS.index("Package: b") :], ""), "dpkg status b:amd64",
                      "database"),
    "a script of a package": (rewrite(f"{DATABASE}/info/a.postinst", "sh", "bash"), "dpkg info/a.postinst", "database"),
    "a script's mode": (lambda root: (root / DATABASE / "info/a.postinst").chmod(0o755), "dpkg info/a.postinst",
                        "database"),
    "a lost list": (lambda root: (root / DATABASE / "info/a.list").unlink(), "dpkg info/a.list", "database"),
    "a diversion": (rewrite(f"{DATABASE}/diversions", "/x", "/y"), "dpkg diversions", "database"),
    "a statoverride": (rewrite(f"{DATABASE}/statoverride", "4755", "755"), "dpkg statoverride", "database"),
    "a trigger": (rewrite(f"{DATABASE}/triggers/File", "noawait", "await"), "dpkg triggers/File", "database"),
}  # fmt: skip


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_planted_difference_is_found_alone(tmp_path: Path, mutation: str) -> None:
    mutate, path, attribute = MUTATIONS[mutation]
    plain = trees.read(make(tmp_path / "plain"))
    ours = make(tmp_path / "ours")
    mutate(ours)
    found = judge.compare([plain, plain], trees.read(ours))
    assert [(d.path, d.attribute) for d in found] == [(path, attribute)]


def test_equal_roots_have_no_difference(tmp_path: Path) -> None:
    plain, ours = trees.read(make(tmp_path / "plain")), trees.read(make(tmp_path / "ours"))
    assert judge.compare([plain, plain], ours) == []


@pytest.mark.parametrize("mutation", ["a mode", "a content", "an owner", "a diversion"])
def test_what_plain_runs_differ_in_is_excused(tmp_path: Path, mutation: str) -> None:
    plain = trees.read(make(tmp_path / "plain"))
    other = make(tmp_path / "again")
    MUTATIONS[mutation][0](other)
    third = trees.read(make(tmp_path / "ours"))
    assert judge.compare([plain, trees.read(other)], third) == []


def test_an_excuse_is_for_one_attribute_alone(tmp_path: Path) -> None:
    plain, again, ours = (make(tmp_path / name) for name in ("plain", "again", "ours"))
    (again / "etc/a.conf").write_text("random")
    (ours / "etc/a.conf").write_text("also random")
    (ours / "etc/a.conf").chmod(0o600)
    found = judge.compare([trees.read(plain), trees.read(again)], trees.read(ours))
    assert [(d.path, d.attribute, d.plain, d.ours) for d in found] == [("etc/a.conf", "mode", "644", "600")]


def test_one_plain_run_excuses_nothing(tmp_path: Path) -> None:
    plain, ours = make(tmp_path / "plain"), make(tmp_path / "ours")
    (ours / "etc/a.conf").write_text("other")
    assert len(judge.compare([trees.read(plain)], trees.read(ours))) == 1


def test_the_report_counts_a_package(tmp_path: Path) -> None:
    plain, ours = make(tmp_path / "plain"), make(tmp_path / "ours")
    (ours / "etc/a.conf").chmod(0o600)
    (ours / "usr/bin/a").chmod(0o700)
    text = judge.report(judge.compare([trees.read(plain)], trees.read(ours)), 9)
    assert text.splitlines()[0] == "etc/a.conf: mode: plain '644', ours '600'"
    assert text.splitlines()[-1] == "3 differences in 9 paths and entries"
    assert "     2 a" in text.splitlines()


def test_bytecode_of_ours_has_no_time_where_the_plain_has_its_sources(tmp_path: Path) -> None:
    header = bytes.fromhex("cb0d0d0a") + bytes(4)
    sides = {}
    for name, time in (("plain", 1700000000), ("settled", 0), ("stale", 1600000000)):
        root = make(tmp_path / name)
        (root / "usr/lib/__pycache__").mkdir()
        (root / "usr/lib/__pycache__/x.pyc").write_bytes(header + struct.pack("<II", time, 7) + b"code")
        sides[name] = trees.read(root, plain=name == "plain")
    plain = [sides["plain"], sides["plain"]]
    assert judge.compare(plain, sides["settled"]) == []
    assert [d.path for d in judge.compare(plain, sides["stale"])] == ["usr/lib/__pycache__/x.pyc"]
