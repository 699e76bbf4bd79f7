"""What a package's scripts and files try, and what comes of it: nothing outside the layer."""

from __future__ import annotations

import importlib.util
import marshal
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.archive import Archive, Deb, build_deb
from tests.integration.system import System, output

NOBODYS_BOOT = "0" * 32


def package(
    place: Path,
    name: str,
    scripts: Mapping[str, str] | None = None,
    files: Mapping[str, str] | None = None,
    links: Mapping[str, str] | None = None,
) -> str:
    """Build a package of a test's own; returns the path to install it by."""  # fmt: skip
    source = place / f"{name}-source"
    (source / "root").mkdir(parents=True)
    (source / "control").write_text(
        f"Package: {name}\nVersion: 1.0\nArchitecture: all\nMaintainer: apt-ostree tests <tests@example.org>\n"
        "Description: made by a test\n"
    )
    for script, text in (scripts or {}).items():
        (source / script).write_text(f"#!/bin/sh\nset -e\n{text}\n")
        (source / script).chmod(0o755)
    for path, text in (files or {}).items():
        target = source / "root" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        if text.startswith("#!"):
            target.chmod(0o755)
    for path, target_name in (links or {}).items():
        target = source / "root" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(target_name)
    return os.fspath(build_deb(source, place))


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file of the host."""
    path = tmp_path / "victim"
    path.write_text("the host's own")
    path.chmod(0o600)
    return path


def untouched(victim: Path) -> bool:
    return victim.read_text() == "the host's own" and victim.stat().st_mode & 0o7777 == 0o600


def test_a_script_cannot_write_the_kernels_settings(sysroot: System, tmp_path: Path) -> None:
    # Opening for append writes nothing, should it succeed.
    probe = (
        "for name in kernel/core_pattern kernel/hostname vm/overcommit_memory; do\n"
        "    if (: >>/proc/sys/$name) 2>/dev/null; then echo $name; fi\n"
        "done >/usr/share/writable\n"
        "if (: >>/proc/sysrq-trigger) 2>/dev/null; then echo sysrq-trigger >>/usr/share/writable; fi"
    )
    sysroot.install(package(tmp_path, "probe-proc", {"postinst": probe}))
    assert (sysroot.deployment() / "usr/share/writable").read_text() == ""


def test_a_link_planted_beside_shadow_is_not_written_through(sysroot: System, tmp_path: Path, victim: Path) -> None:
    plant = (
        f"ln -s {victim} /etc/.shadow.apt-ostree; ln -s {victim} /etc/shadow.apt-ostree\n"
        "echo 'evil:x:20000:0:99999:7:::' >>/etc/shadow"
    )
    sysroot.install(package(tmp_path, "plant-shadow", {"postinst": plant}))
    assert untouched(victim)


def test_a_link_planted_beside_an_overridden_file_is_not_written_through(
    sysroot: System, tmp_path: Path, victim: Path
) -> None:
    override = "dpkg-statoverride --add root root 4755 /usr/share/plant-mode/tool"
    first = package(tmp_path, "aa-override", {"preinst": override})
    package(
        tmp_path,
        "plant-mode",
        # A preinst makes dpkg start anew, and so read the override.
        {"preinst": "true"},
        {"usr/share/plant-mode/tool": "content of the package"},
        {f"usr/share/plant-mode/tool{end}": str(victim) for end in (".apt-ostree", ".new", "~")},
    )
    control = tmp_path / "plant-mode-source/control"
    control.write_text(control.read_text().replace("Description", "Depends: aa-override\nDescription"))
    sysroot.install(first, os.fspath(build_deb(control.parent, tmp_path)))
    tool = sysroot.deployment() / "usr/share/plant-mode/tool"
    assert (tool.read_text(), tool.stat().st_mode & 0o7777) == ("content of the package", 0o4755)
    assert untouched(victim)


def test_trees_of_links_to_the_host_are_not_followed(sysroot: System, tmp_path: Path, victim: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "policy-rc.d").touch()
    plant = (
        f"rm -rf /var/opt; ln -s {outside} /var/opt\n"
        f"rm -rf /usr/lib/tmpfiles.d; ln -s {outside} /usr/lib/tmpfiles.d\n"
        f"ln -s {outside} /var/lib/planted"
    )
    sysroot.run("install", package(tmp_path, "plant-trees", {"postinst": plant}), status=None)
    assert [path.name for path in outside.iterdir()] == ["policy-rc.d"]


def test_a_directory_that_a_script_moves_keeps_its_files(sysroot: System, tmp_path: Path) -> None:
    move = 'if [ "$1" = configure ]; then mv /usr/lib/base-lib /usr/lib/base-moved; fi'
    sysroot.install(package(tmp_path, "mover", {"postinst": move}, {"usr/lib/base-lib/extra": "mine"}))
    moved = sysroot.deployment() / "usr/lib/base-moved"
    assert sorted(path.name for path in moved.iterdir()) == ["extra", "lib.txt"]
    assert (moved / "extra").read_text() == "mine"
    assert not (sysroot.deployment() / "usr/lib/base-lib").exists()


def test_a_preinst_meets_the_files_of_the_packages_unpacked_before_it(sysroot: System, tmp_path: Path) -> None:
    tool = package(tmp_path, "aa-tool", files={"usr/bin/aatool": "#!/bin/sh\necho I am the tool\n"})
    user = package(tmp_path, "bb-user", {"preinst": "aatool >/usr/share/said; cat /usr/bin/aatool >>/usr/share/said"})
    control = tmp_path / "bb-user-source/control"
    control.write_text(control.read_text().replace("Description", "Depends: aa-tool\nDescription"))
    user = os.fspath(build_deb(control.parent, tmp_path))
    sysroot.install(tool, user)
    assert (sysroot.deployment() / "usr/share/said").read_text() == "I am the tool\n#!/bin/sh\necho I am the tool\n"


def test_a_link_in_opt_stays_a_link(sysroot: System, tmp_path: Path) -> None:
    deb = package(tmp_path, "opt-link", files={"opt/real/tool": "x"}, links={"opt/short": "real"})
    sysroot.install(deb)
    assert (sysroot.deployment() / "opt/short").readlink() == Path("real")


def test_a_fifo_in_var_is_left_to_its_program(sysroot: System, tmp_path: Path) -> None:
    make = "mkdir -p /var/lib/pipes; mkfifo /var/lib/pipes/p; echo state >/var/lib/pipes/file"
    sysroot.install(package(tmp_path, "pipes", {"postinst": make}))
    seed = sysroot.deployment() / "usr/share/factory/var/lib/pipes"
    assert [path.name for path in seed.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("make", "problem", "path"),
    [
        ("mkfifo /usr/share/pipe", "a FIFO", "/usr/share/pipe"),
        (r"touch /usr/share/$(printf '\377')", "a name that is not UTF-8", r"/usr/share/\xff"),
        (r"mkdir /var/lib/x; touch /var/lib/x/$(printf '\377')", "a name that is not UTF-8", r"/var/lib/x/\xff"),
    ],
)
def test_what_a_script_makes_that_ostree_cannot_hold_is_named(
    sysroot: System, tmp_path: Path, make: str, problem: str, path: str
) -> None:
    with sysroot.unchanged():
        failure = sysroot.run("install", package(tmp_path, "maker", {"postinst": make}), status=1).failure
    assert failure.brief == f"a script made what OSTree cannot hold: {problem}"
    assert failure.detail == path


def test_what_a_deployment_does_not_keep_in_boot_is_named(sysroot: System, tmp_path: Path) -> None:
    done = sysroot.install(package(tmp_path, "memtest", files={"boot/memtest.bin": "x", "boot/grub/more": "y"}))
    assert "left out, since a deployment's /boot is OSTree's: /boot/grub, /boot/memtest.bin\n" in done.stderr


_COMPILE = r"""
use strict;
for my $name (qw(one two)) {
    my $source = "/usr/lib/python3/$name.py";
    my @facts = stat $source;
    mkdir "/usr/lib/python3/__pycache__";
    open my $file, ">", "/usr/lib/python3/__pycache__/$name.TAG.pyc" or die;
    print $file pack("H*", "MAGIC"), pack("VVV", 0, $facts[9], $facts[7]), pack("H*", "CODE");
}
"""


def test_what_a_script_compiles_is_valid_in_the_deployed_tree(sysroot: System, tmp_path: Path) -> None:
    """Equal sources: one is the object, of time 0 when the script runs, the other a file with a time of its own."""
    source = "VALUE = 1\n"
    code = marshal.dumps(compile(source, "x.py", "exec"))
    script = _COMPILE.replace("MAGIC", importlib.util.MAGIC_NUMBER.hex()).replace("CODE", code.hex())
    script = script.replace("TAG", str(sys.implementation.cache_tag))
    files = {f"usr/lib/python3/{name}.py": source for name in ("one", "two")}
    sysroot.install(package(tmp_path, "compiled", {"postinst": f"perl -e '{script}'"}, files))
    done = subprocess.run(
        [sys.executable, "-I", "-B", "-v", "-c", "import sys; sys.path.insert(0, sys.argv[1]); import one, two",
         sysroot.deployment() / "usr/lib/python3"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in ("one", "two"):
        assert re.search(rf"{name}\.\S+\.pyc matches \S+/{name}\.py", done.stderr), done.stderr


def test_a_damaged_download_is_fetched_again(sysroot: System) -> None:
    archives = sysroot.area / "apt/archives"
    sysroot.run("install", "-n", "greeter")
    size = sysroot.run("install", "-n", "--json", "greeter").document["packages"][0]["size"]
    (archives / "greeter_2.0_all.deb").write_bytes(bytes(size))
    sysroot.install("greeter")
    assert sysroot.dpkg_status()["greeter"] == ("2.0", "install ok installed")
    assert not list(archives.glob("*.deb"))


def test_a_planted_link_in_the_fetchers_directory_is_not_followed(sysroot: System, tmp_path: Path) -> None:
    sysroot.run("install", "-n", "greeter")
    target = tmp_path / "roots-own"
    target.mkdir()
    partial = sysroot.area / "apt/archives/partial"
    shutil.rmtree(partial)
    partial.symlink_to(target)
    sysroot.install("greeter")
    assert target.stat().st_uid == 0
    assert not partial.is_symlink()


def test_a_log_is_not_written_through_a_link_in_var(sysroot: System, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    log = sysroot.path / "ostree/deploy/debian/var/log"
    if log.is_dir():
        shutil.rmtree(log)
    log.symlink_to(elsewhere)
    failure = sysroot.run("install", "fail-postinst", status=1).failure
    assert list(elsewhere.iterdir()) == []
    assert f"the whole log: {sysroot.area}/log/" in failure.detail


def test_a_reboot_after_a_failed_command_keeps_what_was_imported(sysroot: System, archive: Archive) -> None:
    sysroot.install(f"{archive.root}/pool/main/greeter_1.0_all.deb")
    sysroot.run("install", "fail-postinst", status=1)
    assert not (sysroot.area / "unsynced").exists()
    sysroot.install("setuid")
    assert sysroot.dpkg_status()["greeter"][0] == "1.0"


def test_a_power_cut_drops_what_was_not_synced_and_keeps_the_rest(sysroot: System, archive: Archive) -> None:
    sysroot.install(f"{archive.root}/pool/main/greeter_1.0_all.deb")
    kept = [path.name for path in (sysroot.area / "pkgs").iterdir()]
    sysroot.run("install", "-D", "setuid")
    assert len(list((sysroot.area / "pkgs").iterdir())) == 2
    (sysroot.area / "unsynced").write_text("\n".join([NOBODYS_BOOT, *kept]))
    sysroot.run("install", "-n", "rec-a")
    assert [path.name for path in (sysroot.area / "pkgs").iterdir()] == kept
    sysroot.install("rec-a")
    sysroot.fsck()
    assert {"greeter", "rec-a"} <= sysroot.dpkg_status().keys()


def test_the_archives_package_replaces_a_local_one_of_its_version(sysroot: System, tmp_path: Path) -> None:
    deb = package(tmp_path, "greeter", files={"usr/share/greeter/only-here": "local"})
    control = tmp_path / "greeter-source/control"
    control.write_text(control.read_text().replace("1.0", "2.0"))
    deb = os.fspath(build_deb(control.parent, tmp_path))
    sysroot.install(deb)
    assert (sysroot.deployment() / "usr/share/greeter/only-here").exists()
    sysroot.install("greeter/stable")
    assert not (sysroot.deployment() / "usr/share/greeter/only-here").exists()
    assert (sysroot.deployment() / "usr/share/greeter/only-in-2.0").exists()


def test_the_lock_holds_without_the_cache(sysroot: System, own_archive: Archive) -> None:
    sysroot.use_archive(own_archive)
    sysroot.install("greeter=1.0")
    origin = sysroot.deployment().with_name(f"{sysroot.deployment().name}.origin")
    origin.write_text(origin.read_text().replace("greeter=1.0", "greeter"))
    shutil.rmtree(sysroot.area / "pkgs")
    # The archive still has 1.0, so the lock holds without the cache.
    sysroot.install("setuid")
    assert sysroot.dpkg_status()["greeter"][0] == "1.0"


def test_a_rollback_is_refused_where_the_boot_loaders_own_files_would_be_lost(sysroot: System) -> None:
    sysroot.install("greeter")
    if "set-default" in os.popen("ostree admin --help").read():
        sysroot.run("rollback")
        return
    (sysroot.path / "boot/loader/syslinux.cfg").touch()
    with sysroot.unchanged():
        failure = sysroot.run("rollback", status=1).failure
    assert failure.brief == "this ostree is too old to roll back here"
    assert "syslinux.cfg" in failure.detail


def test_a_failed_install_leaves_no_set_uid_program_in_the_repository(sysroot: System, tmp_path: Path) -> None:
    """The layer was committed before it was refused."""
    script = (
        "cp /bin/true /usr/lib/evil/program; chmod 4755 /usr/lib/evil/program\n"
        "mkdir -p /etc/selinux; echo x >/etc/selinux/config\n"
    )
    deb = Deb("evil", files={"/usr/lib/evil/x": "x"}, scripts={"postinst": script}).build(tmp_path)
    find = ("find", str(sysroot.repo / "objects"), "-type", "f", "-perm", "/6000")
    before = output(*find)
    assert "SELinux" in sysroot.run("install", str(deb), status=1).stderr
    assert output(*find) == before
    assert not (sysroot.repo / "refs/heads/apt-ostree/pending").exists()
    sysroot.fsck()
