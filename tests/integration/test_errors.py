"""Every failure names what failed, says why and what to do, has its exit status, and changes nothing."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.archive import FIXTURES, Archive, Deb, build_archive, index_archive, public_directory
from tests.integration.system import REF, STATEROOT, System, chosen_cli, environment, output, run_cli


@pytest.fixture(scope="module")
def machine(template: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One sysroot for all: no command here may change it."""
    system = template.clone(tmp_path_factory.mktemp("machine") / "sysroot")
    yield system
    system.remove()


@dataclass(frozen=True, slots=True)
class Case:
    """A command that fails: regular expressions for the three parts of its error."""

    words: tuple[str, ...]
    brief: str
    detail: str
    resolution: str
    status: int = 1


RESOLUTION = r".+"
"""Where only that there is one matters."""

CASES = {
    "unknown names, all at once and with near matches": Case(
        ("install", "greter", "no-such-thing-at-all", "user-makr", "rec-a"),
        r"cannot find greter, no-such-thing-at-all, user-makr",
        r"no package is named greter; did you mean greeter\?\n"
        r"no package is named no-such-thing-at-all\n"
        r"no package is named user-makr; did you mean user-maker.*\?",
        RESOLUTION,
    ),
    "a version that does not exist": Case(
        ("install", "greeter=7.0"),
        r"greeter has no version 7\.0; available: 1\.0, 2\.0",
        r"",
        RESOLUTION,
    ),
    "a suite that does not exist": Case(
        ("install", "greeter/nowhere"),
        r"greeter is not in suite nowhere",
        r"",
        RESOLUTION,
    ),
    "a package that conflicts with the base": Case(
        ("install", "breaks-base"),
        r"cannot install breaks-base over this base",
        r"the base would have to change:\nbase-lib 1\.0 would be removed",
        r".*: apt-ostree override remove base-lib --install breaks-base",
    ),
    "a package that needs a newer base": Case(
        ("install", "needs-base-lib-2"),
        r"cannot install needs-base-lib-2 over this base",
        r"needs-base-lib-2 depends on base-lib \(>= 2\), but 1\.0 is installed\n"
        r"the base would have to change:\nbase-lib 1\.0 would become 2\.0",
        r".*apt-ostree override.*",
    ),
    "another version of a base package": Case(
        ("install", "base-lib=2.0"),
        r"cannot install base-lib=2\.0 over this base",
        r"the base would have to change:\nbase-lib 1\.0 would become 2\.0",
        RESOLUTION,
    ),
    "a dependency that no archive has": Case(
        ("install", "needs-newer-base"),
        r"cannot install needs-newer-base over this base",
        r"needs-newer-base depends on base-lib \(>= 99\), but 1\.0 is installed",
        RESOLUTION,
    ),
    "a package that claims more space than there is": Case(
        ("install", "claims-space"),
        r"too little space for the packages",
        r".* has [\d.]+ MB free for it; 40960\d\d\.\d MB are needed",
        r".*cleanup.*",
    ),
    "a package with a device": Case(
        ("install", "has-device"),
        r"has-device 1\.0 cannot be layered",
        r"\./usr/lib/has-device/null is a device node, which OSTree cannot hold",
        RESOLUTION,
    ),
    "a package with a named pipe": Case(
        ("install", "has-fifo"),
        r"has-fifo 1\.0 cannot be layered",
        r"\./usr/lib/has-fifo/pipe is a FIFO, which OSTree cannot hold",
        RESOLUTION,
    ),
    "a package with a name that is not UTF-8": Case(
        ("install", "bad-utf8-name"),
        r"bad-utf8-name 1\.0 cannot be layered",
        r"the name \./usr/share/bad-utf8-name/caf\\xe9 is not UTF-8, which OSTree cannot hold",
        RESOLUTION,
    ),
    "a package with a name that dpkg cannot unpack": Case(
        ("install", "name-too-long"),
        r"name-too-long could not be installed",
        r"(?s).*File name too long.*",
        RESOLUTION,
    ),
    "a file that is missing": Case(
        ("install", "./no-such-file.deb", "/nor/this.deb"),
        r"no-such-file\.deb does not exist",
        r"/nor/this\.deb",
        RESOLUTION,
    ),
    "an empty package name": Case(
        ("install", ""), r"'' is not a valid package name", r".*NAME=VERSION.*", RESOLUTION, 2
    ),
    "a name that is an option to apt": Case(
        ("install", "--", "-oDPkg::Pre-Invoke::=true"),
        r"'-oDPkg.*' is not a valid package name",
        r".*",
        RESOLUTION,
        2,
    ),
    "a name with a space": Case(
        ("install", "greeter rec-a"), r"'greeter rec-a' is not a valid package name", r".*", RESOLUTION, 2
    ),
    "an uninstall of what nobody requested": Case(
        ("uninstall", "greeter", "base-lib"),
        r"not requested: greeter, base-lib",
        r"requested: none",
        r".*override remove.*",
    ),
    "an uninstall of nothing": Case(("uninstall",), r"name the packages to uninstall, or use --all", r"", r".*", 2),
    "a rollback with one deployment": Case(
        ("rollback",), r"there is no other deployment to roll back to", r".*", RESOLUTION
    ),
    "a rollback to a deployment that does not exist": Case(
        ("rollback", "--to", "7"), r"'7' does not name a deployment", r"0  [0-9a-f]{12}\.0", RESOLUTION
    ),
    "a clean-up of nothing": Case(("cleanup",), r"choose what to clean up: -p, -r, -b or -m", r".*", r".*", 2),
    "a stateroot that does not exist": Case(
        ("install", "--stateroot", "fedora", "greeter"), r"stateroot fedora does not exist in .*", r".*", RESOLUTION
    ),
    "a revision that does not exist": Case(
        ("db", "diff", "0", "nonsense"), r".* does not have a commit nonsense", r".*", RESOLUTION
    ),
    "a deployment that does not exist": Case(("db", "list", "9"), r"deployment 9 does not exist", r".*", RESOLUTION),
    "packages that are not cached, without the network": Case(
        ("install", "--cache-only", "rec-b"), r"not in the cache: rec-pre, rec-a, rec-b", r".*", r".*without -C.*"
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_failure_has_three_parts_and_changes_nothing(machine: System, case: Case, tmp_path: Path) -> None:
    with machine.unchanged():
        result = machine.run(*case.words, status=case.status, cwd=tmp_path)
    failure = result.failure
    assert re.fullmatch(case.brief, failure.brief), failure
    assert re.fullmatch(case.detail, failure.detail), failure
    assert re.fullmatch(case.resolution, failure.resolution), failure
    assert result.stdout == ""


def test_a_package_that_conflicts_with_a_layered_one_says_how_to_exchange_them(sysroot: System, tmp_path: Path) -> None:
    with public_directory() as directory:
        control = "Provides: mta\nConflicts: mta\n"
        debs = [Deb(name, control=control).build(tmp_path) for name in ("mta-a", "mta-b")]
        sysroot.use_archive(index_archive(debs, directory / "archive"), "mail")
        sysroot.install("mta-a")
        failure = sysroot.run("install", "mta-b", status=1).failure
        assert failure.brief == "cannot install mta-b: it conflicts with mta-a, which is layered"
        words = failure.resolution.partition("apt-ostree ")[2].split()
        sysroot.run(*words)
    assert sysroot.requested() == ["mta-b"]


def test_json_tells_an_error_with_its_stable_id(machine: System) -> None:
    result = machine.run("install", "--json", "breaks-base", status=1)
    error = result.document["error"]
    assert error["id"] == "resolve"
    assert error["brief"] == result.failure.brief
    assert error["detail"] == result.failure.detail
    assert error["resolution"] == result.failure.resolution


# Failing scripts.


@pytest.mark.parametrize(
    ("name", "brief", "last_line"),
    [
        ("fail-postinst", "the postinst script of fail-postinst failed (exit status 3)", "fail-postinst: line 30"),
        (
            "fail-preinst",
            "the preinst script of fail-preinst failed (exit status 4)",
            "fail-preinst: refuses to install",
        ),
    ],
)
def test_a_failing_script_is_named_with_its_last_lines_and_log(
    machine: System, name: str, brief: str, last_line: str
) -> None:
    with machine.unchanged():
        failure = machine.run("install", name, status=1).failure
    assert failure.brief == brief
    *lines, where = failure.detail.splitlines()
    assert last_line in lines
    assert "fail-postinst: line 1" not in lines
    log = Path(where.removeprefix("the whole log: "))
    assert log.is_relative_to(machine.var)
    whole = log.read_text().splitlines()
    assert last_line in whole
    if name == "fail-postinst":
        assert [f"fail-postinst: line {number}" for number in range(1, 31)] == [
            line for line in whole if line.startswith("fail-postinst: line")
        ]
    assert failure.resolution == "Nothing was changed."


def test_after_a_failure_the_next_install_succeeds(sysroot: System) -> None:
    sysroot.run("install", "fail-postinst", "greeter", status=1)
    sysroot.install("greeter")
    assert sysroot.requested() == ["greeter"]
    assert "fail-postinst" not in sysroot.dpkg_status()


# Files.


@pytest.mark.parametrize("size", [0, 7, 100, 400, -1])
def test_a_truncated_file_is_refused(machine: System, archive: Archive, tmp_path: Path, size: int) -> None:
    whole = (archive.root / "pool/main/many-files_1.0_all.deb").read_bytes()
    deb = tmp_path / "many-files_1.0_all.deb"
    deb.write_bytes(whole[:size])
    with machine.unchanged():
        failure = machine.run("install", deb, status=1).failure
    assert re.fullmatch(r"many-files_1\.0_all\.deb is (not a Debian package, or is )?damaged", failure.brief)
    assert failure.detail
    assert failure.resolution


def test_a_file_that_is_no_package_is_refused(machine: System, tmp_path: Path) -> None:
    (tmp_path / "text.deb").write_text("This is no package.\n" * 100)
    with machine.unchanged():
        failure = machine.run("install", "./text.deb", status=1, cwd=tmp_path).failure
    assert failure.brief == "text.deb is not a Debian package, or is damaged"
    assert failure.detail
    assert failure.resolution == "Fetch the file again."


def test_a_directory_is_no_package(machine: System, tmp_path: Path) -> None:
    (tmp_path / "directory.deb").mkdir()
    with machine.unchanged():
        failure = machine.run("install", "./directory.deb", status=1, cwd=tmp_path).failure
    assert failure.brief.endswith(" does not exist")


# Archives.


def test_an_archive_signed_by_another_key_is_refused(sysroot: System, archive: Archive) -> None:
    with public_directory() as directory:
        shutil.copytree(FIXTURES / "rec-a", directory / "fixtures/rec-a")
        other = build_archive(directory / "fixtures", directory / "archive")
        sysroot.use_archive(dataclasses.replace(other, keyring=archive.keyring))
        with sysroot.unchanged():
            failure = sysroot.run("install", "rec-a", status=1).failure
    assert failure.brief == "cannot refresh the package lists"
    assert "not signed" in failure.detail or "NO_PUBKEY" in failure.detail
    assert "/etc/apt" in failure.resolution


def test_a_package_that_is_not_the_one_signed_for_is_refused(sysroot: System, own_archive: Archive) -> None:
    deb = own_archive.root / "pool/main/greeter_2.0_all.deb"
    content = bytearray(deb.read_bytes())
    content[-1] ^= 1
    deb.write_bytes(content)
    sysroot.use_archive(own_archive)
    with sysroot.unchanged():
        failure = sysroot.run("install", "greeter", status=1).failure
    assert "greeter" in failure.brief + failure.detail
    assert re.search(r"(?i)hash sum mismatch|SHA-?256", failure.detail)
    assert failure.resolution


def test_an_archive_that_is_gone_is_named(sysroot: System, own_archive: Archive) -> None:
    sysroot.use_archive(own_archive)
    shutil.rmtree(own_archive.root)
    with sysroot.unchanged():
        failure = sysroot.run("install", "rec-a", status=1).failure
    assert failure.brief == "cannot refresh the package lists"
    assert str(own_archive.root) in failure.detail
    assert failure.resolution


# Who and where.


@pytest.mark.parametrize("words", [["install", "greeter"], ["uninstall", "greeter"], ["rollback"], ["cleanup", "-b"]])
def test_a_command_that_changes_things_refuses_anybody_but_root(machine: System, words: list[str]) -> None:
    with machine.unchanged():
        failure = machine.run_as_nobody(*words, status=1).failure
    assert failure.brief == "this needs root"
    assert failure.resolution == "Run it with sudo, or as root."


def test_a_path_that_is_no_sysroot_is_refused(tmp_path: Path) -> None:
    failure = run_cli("--sysroot", tmp_path, "install", "greeter", status=1).failure
    assert failure.brief == f"{tmp_path} is not an OSTree sysroot"
    assert failure.detail == f"{tmp_path}/ostree/repo does not exist"
    assert "--sysroot" in failure.resolution
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    failure = run_cli("--sysroot", tmp_path / "gone", "install", "greeter", status=1).failure
    assert failure.brief == f"{tmp_path}/gone does not exist"
    assert failure.resolution


def test_a_sysroot_without_deployments_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    output("ostree", "admin", "init-fs", tmp_path / "empty")
    failure = run_cli("--sysroot", tmp_path / "empty", "install", "greeter", status=1).failure
    assert failure.brief == f"{tmp_path}/empty has no deployment"
    assert "compose sysroot" in failure.resolution
    assert run_cli("--sysroot", tmp_path / "empty", "status").stdout == "No deployments.\n"


def test_a_base_without_a_dpkg_database_is_refused(tmp_path: Path) -> None:
    tree, repo = tmp_path / "tree", tmp_path / "repo"
    modules = tree / "usr/lib/modules/0.0"
    modules.mkdir(parents=True)
    for name in ("vmlinuz", "initramfs.img"):
        (modules / name).write_text(name)
    for name in ("usr/etc", "var", "boot", "sysroot", "proc", "dev", "sys", "run"):
        (tree / name).mkdir()
    (tree / "usr/lib/os-release").write_text("ID=other\nVERSION_ID=1\n")
    (tree / "usr/etc/os-release").symlink_to("../usr/lib/os-release")
    output("ostree", "init", f"--repo={repo}", "--mode=bare")
    output("ostree", "commit", f"--repo={repo}", f"--branch={REF}", f"--tree=dir={tree}")
    path = tmp_path / "sysroot"
    run_cli("compose", "sysroot", "--repo", repo, REF, path)
    failure = run_cli("--sysroot", path, "install", "greeter", status=1).failure
    assert re.fullmatch("commit [0-9a-f]{12} does not have a dpkg database", failure.brief)
    assert "/usr/lib/sysimage/dpkg" in failure.detail
    assert "compose tree" in failure.resolution
    assert len(list((path / "ostree/deploy" / STATEROOT / "deploy").glob("*.0"))) == 1


def test_an_unknown_option_is_a_usage_error(machine: System) -> None:
    with machine.unchanged():
        result = machine.run("install", "--frobnicate", "greeter", status=2)
    assert "--frobnicate" in result.stderr


def test_an_unknown_command_is_a_usage_error(machine: System) -> None:
    with machine.unchanged():
        result = machine.run("instal", "greeter", status=2)
    assert "instal" in result.stderr


def test_an_argument_that_is_not_utf_8_is_a_usage_error(machine: System) -> None:
    with machine.unchanged():
        result = machine.run("install", os.fsdecode(b"caf\xe9"), status=2)
    assert result.failure.brief == "the argument caf\\xe9 is not UTF-8"


# A full disk.


def test_a_disk_that_fills_up_in_the_middle_changes_nothing(template: System, tmp_path: Path) -> None:
    """many-files does not say what it needs, so that only writing it tells."""
    image, place = tmp_path / "disk.img", tmp_path / "disk"
    place.mkdir()
    source = template.clone(tmp_path / "sysroot")
    # Without a journal, reserved blocks or inodes to spare, and some 8 MB besides the sysroot.
    output("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-d", source.path, image, "300M")
    source.remove()
    script = f"""
        set -eu
        # Without logs and journal.
        list() {{
            find {place}/boot {place}/ostree/deploy ! -path '*/var/log*' ! -path '*/var/lib*' \\
                -printf '%p %m %l\\n' | sort
        }}
        mount -o loop {image} {place}
        free=$(stat -f -c '%a * %S' {place})
        fallocate -l $(($free - 4000000)) {place}/filler
        ostree admin status --sysroot={place} >{tmp_path}/before
        list >>{tmp_path}/before
        status=0
        "$@" || status=$?
        ostree admin status --sysroot={place} >{tmp_path}/after
        list >>{tmp_path}/after
        rm {place}/filler
        "$@" >&2
        exit $status
    """
    result = run_cli(
        "--sysroot", place, "install", "many-files",
        cli=["unshare", "-m", "sh", "-c", script, "sh", *chosen_cli()],
        status=1,
    )  # fmt: skip
    assert (tmp_path / "before").read_text() == (tmp_path / "after").read_text()
    lines = result.stderr.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("error: "))
    assert "space" in " ".join(lines[start : start + 4])
    # With the space back, the very same command does it.
    assert any(line.startswith("Deployed ") for line in lines[start:])


def test_a_full_disk_can_be_cleaned_up(template: System, tmp_path: Path) -> None:
    """Nothing can be written: the caches go all the same, and then a rollback has the room it needs."""
    image, place = tmp_path / "disk.img", tmp_path / "disk"
    place.mkdir()
    source = template.clone(tmp_path / "sysroot")
    source.install("greeter")
    output("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-d", source.path, image, "300M")
    source.remove()
    script = f"""
        set -eu
        mount -o loop {image} {place}
        dd if=/dev/zero of={place}/filler bs=64k 2>/dev/null || true
        dd if=/dev/zero of={place}/filler2 bs=1k 2>/dev/null || true
        stat -f -c %a {place} >{tmp_path}/free
        "$@" cleanup -b >&2
        "$@" rollback
    """
    result = run_cli(
        "--sysroot", place,
        cli=["unshare", "-m", "sh", "-c", script, "sh", *chosen_cli()],
    )  # fmt: skip
    assert (tmp_path / "free").read_text() == "0\n"
    assert "boots next" in result.stdout


# Manifests.

MANIFEST = 'ref = "debian/test"\nsuite = "bookworm"\n'

BAD_MANIFESTS = {
    "an unknown key, with its line and the nearest known one": (
        MANIFEST + 'pakages = ["vim"]\n',
        r"(?s).*pakages.*",
        r"(?s).*(line 3.*packages|packages.*line 3).*",
    ),
    "a value of the wrong type": (MANIFEST + 'packages = "vim"\n', r"(?s).*packages.*", r"(?s).*list.*"),
    "no ref": ('suite = "bookworm"\n', r"(?s).*ref.*", r"(?s).*"),
    "text that is no TOML": (MANIFEST + "packages = [\n", r"(?s).*", r"(?s).*"),
}


@pytest.mark.parametrize(("text", "named", "said"), BAD_MANIFESTS.values(), ids=BAD_MANIFESTS.keys())
def test_a_manifest_that_makes_no_sense_is_refused(tmp_path: Path, text: str, named: str, said: str) -> None:
    manifest = tmp_path / "manifest.toml"
    manifest.write_text(text)
    failure = run_cli("compose", "tree", manifest, "--repo", tmp_path / "repo", status=2).failure
    whole = f"{failure.brief}\n{failure.detail}\n{failure.resolution}"
    assert "manifest.toml" in whole
    assert re.fullmatch(named, whole), whole
    assert re.fullmatch(said, whole), whole
    assert failure.detail
    assert not (tmp_path / "repo").exists()


def test_a_manifest_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    failure = run_cli("compose", "tree", tmp_path / "gone.toml", "--repo", tmp_path / "repo", status=2).failure
    assert "gone.toml" in failure.brief
    assert not (tmp_path / "repo").exists()


def test_a_ref_that_does_not_exist_makes_no_sysroot(template: System, tmp_path: Path) -> None:
    failure = run_cli(
        "compose", "sysroot", "--repo", template.base.repo, "no/such/ref", tmp_path / "new", status=1
    ).failure
    assert failure.brief == f"{template.base.repo} does not have the ref no/such/ref"
    assert failure.detail == f"it has: {REF}"
    assert not (tmp_path / "new").exists()


def test_a_place_that_is_not_empty_stays_as_it_is(template: System, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine\n")
    failure = run_cli("compose", "sysroot", "--repo", template.base.repo, REF, tmp_path, status=1).failure
    assert failure.brief == f"{tmp_path} exists and is not empty"
    assert failure.resolution
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_lock_names_its_holder_in_status(machine: System) -> None:
    with machine.lock.open("a") as file:
        subprocess.run(["flock", "--exclusive", "--nonblock", str(file.fileno())], pass_fds=[file.fileno()], check=True)
        note = {"pid": os.getpid(), "started": "2024-01-01T00:00:00+00:00", "command": ["apt-ostree", "install"]}
        machine.note.write_text(json.dumps(note))
        failure = machine.run("install", "greeter", status=1).failure
        shown = machine.run("status", "--json").document["transaction"]
        machine.note.write_text("")
    assert failure.brief == "another transaction is in progress"
    assert failure.detail == f"process {os.getpid()}, since 2024-01-01T00:00:00+00:00: apt-ostree install"
    assert "--wait" in failure.resolution
    assert shown["pid"] == os.getpid()


def test_the_environment_of_the_tests_reaches_no_script() -> None:
    assert set(environment()) == {"PATH", "HOME", "LANG", "PYTHONPATH", "OSTREE_SYSROOT_DEBUG"}
