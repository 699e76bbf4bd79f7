"""Installing: every fixture arrives exactly as dpkg itself would have put it there."""

from __future__ import annotations

import hashlib
import json
import os
import py_compile
import re
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.archive import Archive, Deb, fixture_sources, index_archive, public_directory
from tests.integration.system import DATABASE, REPOSITORY, System, output

REFUSED = (
    "bad-utf8-name",
    "base-lib",
    "breaks-base",
    "claims-space",
    "fail-postinst",
    "fail-preinst",
    "has-device",
    "has-fifo",
    "name-too-long",
    "needs-base-lib-2",
    "needs-newer-base",
    "slow-postinst",
)
"""Fixtures made not to install, or to take long."""

INSTALLABLE = sorted({source.name.partition("_")[0] for source in fixture_sources()} - set(REFUSED))

FIRST = ("rec-pre", "conf-file", "repl-old")
"""What dpkg must have configured before it gets the rest: apt sees to that."""

LAYERS_OWN = (
    "lib/apt-ostree/seeds.d/layer",
    "lib/apt-ostree/follow.d/layer",
    "lib/apt-ostree/overlays.d/opt",
    "lib/apt-ostree/overlays.d/usr-local",
    "lib/sysusers.d/apt-ostree-layer.conf",
    "lib/tmpfiles.d/00-apt-ostree-layer.conf",
)
"""What a layer has in /usr besides what its packages brought."""

ELSEWHERE = ("etc", "lib/sysimage", "share/factory/var")
"""Directories of a deployment's /usr that stand for others, which have tests of their own."""

HOUSEKEEPING = {"lock", "lock-frontend", "triggers/Lock", "status-old", "diversions-old", "statoverride-old"}


@pytest.fixture(scope="module")
def full(template: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Every installable fixture, laid over the base by one command."""
    system = template.clone(tmp_path_factory.mktemp("full") / "sysroot")
    system.install(*INSTALLABLE)
    yield system
    system.remove()


@pytest.fixture(scope="module")
def one(template: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One package laid over the base. Not to be changed."""
    system = template.clone(tmp_path_factory.mktemp("one") / "sysroot")
    system.install("greeter")
    yield system
    system.remove()


@pytest.fixture(scope="module")
def judge(plain_base: Path, archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same packages, installed by dpkg into a plain root of the same base."""
    root = tmp_path_factory.mktemp("judge") / "root"
    output("cp", "-a", plain_base, root)
    debs = {path.name.partition("_")[0]: path for path in sorted(archive.root.glob("pool/main/*.deb"))}
    for batch in (FIRST, [name for name in INSTALLABLE if name not in FIRST]):
        output("dpkg", f"--root={root}", "--install", *(debs[name] for name in batch))
    return root


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def facts(top: Path, skip: tuple[str, ...] = ()) -> dict[str, tuple[object, ...]]:
    """Path -> type and mode, owner, group, content; without ``skip`` and what is below it."""
    found: dict[str, tuple[object, ...]] = {}
    for directory, directories, files in os.walk(os.fsencode(top)):
        names = [os.path.join(directory, name) for name in (*directories, *files)]
        for path in names:
            name = os.fsdecode(os.path.relpath(path, os.fsencode(top)))
            if name in skip:
                continue
            status = os.lstat(path)
            content: object = None
            if stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(status.st_mode):
                with open(path, "rb") as file:
                    content = hashlib.sha256(file.read()).hexdigest()
            found[name] = (oct(status.st_mode), status.st_uid, status.st_gid, content)
        directories[:] = [
            name
            for name in directories
            if os.fsdecode(os.path.relpath(os.path.join(directory, name), os.fsencode(top))) not in skip
        ]
    return found


def assert_equal(ours: dict[str, tuple[object, ...]], theirs: dict[str, tuple[object, ...]]) -> None:
    differing = {
        name: (ours.get(name), theirs.get(name))
        for name in sorted(ours.keys() | theirs.keys())
        if ours.get(name) != theirs.get(name)
    }
    assert differing == {}


# One package: what a user sees.


def test_a_package_arrives_with_content_and_mode(one: System) -> None:
    tree = one.deployment()
    assert (tree / "usr/bin/greeter").read_text() == "#!/bin/sh\necho 'hello from greeter 2.0'\n"
    assert mode(tree / "usr/bin/greeter") == 0o755
    assert (tree / "usr/share/greeter/only-in-2.0").read_text() == "2.0\n"
    assert mode(tree / "usr/share/greeter/only-in-2.0") == 0o644
    assert one.dpkg_status()["greeter"] == ("2.0", "install ok installed")


def test_the_origin_records_the_request_and_the_base(sysroot: System) -> None:
    sysroot.install("rec-b")
    origin = sysroot.origin()
    assert dict(origin["origin"]) == {"baserefspec": "debian:debian/test/base"}
    assert dict(origin["packages"]) == {"requested": "rec-b;"}


def test_the_layer_is_a_child_of_the_base_and_keeps_its_version(one: System) -> None:
    commit = one.commit()
    assert output("ostree", "rev-parse", f"--repo={one.repo}", f"{commit}^").strip() == one.base.commit

    def value(key: str) -> str:
        return output("ostree", "show", f"--repo={one.repo}", f"--print-metadata-key={key}", commit).strip()

    assert value("version") == "'12.1'"
    assert value("ostree.linux") == "'0.0'"
    assert value("ostree.bootable") == "true"
    assert value("apt-ostree.clientlayer") == "'true'"
    assert value("apt-ostree.uid") == "'0'"
    assert value("apt-ostree.command").strip("'\"").endswith(f"--sysroot {one.path} install greeter")
    lock = json.loads(value("apt-ostree.lock").strip("'"))
    assert [entry[:3] for entry in lock] == [["greeter", "2.0", "all"]]


def test_the_new_deployment_boots_next_and_the_base_stays_as_rollback(sysroot: System) -> None:
    before = sysroot.deployments()
    sysroot.install("greeter")
    assert sysroot.deployments()[1:] == before
    assert not (sysroot.deployment(1) / "usr/bin/greeter").exists()


def test_kernel_arguments_are_inherited(one: System) -> None:
    entries = sorted((one.path / "boot/loader/entries").glob("*.conf"))
    assert len(entries) == 2
    for entry in entries:
        options = next(line for line in entry.read_text().splitlines() if line.startswith("options "))
        assert options.split()[1:3] == ["root=LABEL=root", "rw"]


def test_the_administrators_edit_of_etc_goes_into_the_new_deployment(sysroot: System) -> None:
    (sysroot.deployment() / "etc/issue").write_text("ours\n")
    sysroot.install("conf-file")
    assert (sysroot.deployment() / "etc/issue").read_text() == "ours\n"
    assert (sysroot.deployment() / "etc/conf-file.conf").read_text() == "greeting = hello\n"


def test_scripts_see_the_base_s_etc_and_not_the_administrators(sysroot: System) -> None:
    (sysroot.deployment() / "etc/passwd").write_text("nonsense\n")
    sysroot.install("user-maker")
    assert "user-maker:" in (sysroot.deployment() / "usr/etc/passwd").read_text()
    assert (sysroot.deployment() / "etc/passwd").read_text() == "nonsense\n"


@pytest.mark.parametrize("name", ["hard-links", "many-files", "opt-vendor", "var-files"])
def test_a_fixture_installs_alone(sysroot: System, name: str) -> None:
    sysroot.install(name)
    packages = sysroot.dpkg_status()
    assert packages[name] == ("1.0", "install ok installed")
    assert packages.keys() - sysroot.dpkg_status(1).keys() == {name}
    sysroot.fsck()


def test_a_second_install_changes_nothing_and_exits_0(one: System) -> None:
    with one.unchanged():
        again = one.install("greeter")
    assert again.stdout == "Nothing to do: greeter is already requested.\n"


def test_a_second_install_exits_77_when_asked_to(one: System) -> None:
    with one.unchanged():
        one.run("install", "--unchanged-exit-77", "greeter", status=77)


def test_what_the_base_has_is_no_change(one: System) -> None:
    with one.unchanged():
        done = one.run("install", "--unchanged-exit-77", "base-lib", status=77)
    assert done.stdout == "Nothing to do: base-lib 1.0 is part of the base.\n"


def test_installing_another_package_leaves_the_first(sysroot: System) -> None:
    sysroot.install("greeter=1.0")
    sysroot.install("rec-a")
    assert sysroot.dpkg_status()["greeter"] == ("1.0", "install ok installed")
    assert sysroot.requested() == ["greeter=1.0", "rec-a"]
    assert sysroot.run("status", "--json").document["deployments"][0]["requested-packages"] == [
        "greeter=1.0",
        "rec-a",
    ]


def test_one_step_installs_and_uninstalls(sysroot: System) -> None:
    sysroot.install("greeter")
    sysroot.install("rec-a", "--uninstall", "greeter")
    assert sysroot.requested() == ["rec-a"]
    assert "greeter" not in sysroot.dpkg_status()
    assert sysroot.dpkg_status()["rec-a"] == ("1.0", "install ok installed")


# Versions and files.


def test_a_version_is_chosen_by_name(sysroot: System) -> None:
    sysroot.install("greeter=1.0")
    assert sysroot.dpkg_status()["greeter"] == ("1.0", "install ok installed")
    assert (sysroot.deployment() / "usr/share/greeter/only-in-1.0").exists()
    assert not (sysroot.deployment() / "usr/share/greeter/only-in-2.0").exists()
    assert sysroot.requested() == ["greeter=1.0"]


def test_another_version_replaces_the_request(sysroot: System) -> None:
    sysroot.install("greeter=1.0")
    done = sysroot.install("greeter=2.0")
    assert sysroot.dpkg_status()["greeter"] == ("2.0", "install ok installed")
    assert sysroot.requested() == ["greeter=2.0"]
    assert done.stdout.splitlines()[:2] == ["Changed:", "  greeter 1.0 -> 2.0"]


def test_an_older_version_that_fits_the_base_is_taken_and_not_recorded(sysroot: System) -> None:
    with public_directory() as directory:
        debs = [Deb("lib-user", control="Depends: lib-ext\n").build(directory)]
        for number in ("1.0", "9.0"):
            (directory / number).mkdir()
            needs = f"Depends: base-lib (= {number})\n"
            debs.append(Deb("lib-ext", number, control=needs).build(directory / number))
        sysroot.use_archive(index_archive(debs, directory / "archive"), "ahead")
        done = sysroot.install("lib-user")
    assert "warning: lib-ext 9.0 waits for a base that fits it; 1.0 is taken" in done.stderr
    assert sysroot.dpkg_status()["lib-ext"] == ("1.0", "install ok installed")
    assert sysroot.requested() == ["lib-user"]


def test_a_local_file_is_laid_and_recorded_by_its_digest(sysroot: System, archive: Archive, tmp_path: Path) -> None:
    deb = tmp_path / "greeter.deb"
    deb.write_bytes((archive.root / "pool/main/greeter_1.0_all.deb").read_bytes())
    sysroot.run("install", "./greeter.deb", cwd=tmp_path)
    digest = hashlib.sha256(deb.read_bytes()).hexdigest()
    assert sysroot.origin().get("packages", "requested-local") == f"{digest}:greeter_1.0_all;"
    assert sysroot.dpkg_status()["greeter"] == ("1.0", "install ok installed")
    # A request for another version takes its place.
    sysroot.install("greeter=2.0")
    assert dict(sysroot.origin()["packages"]) == {"requested": "greeter=2.0;"}
    assert sysroot.dpkg_status()["greeter"] == ("2.0", "install ok installed")


def test_a_local_file_outlives_its_file(sysroot: System, archive: Archive, tmp_path: Path) -> None:
    deb = tmp_path / "greeter_1.0_all.deb"
    deb.write_bytes((archive.root / "pool/main/greeter_1.0_all.deb").read_bytes())
    sysroot.install(os.fspath(deb))
    deb.unlink()
    sysroot.install("rec-a")
    assert sysroot.dpkg_status()["greeter"] == ("1.0", "install ok installed")
    assert sysroot.dpkg_status()["rec-a"] == ("1.0", "install ok installed")


def test_a_local_file_s_dependencies_come_from_the_archive(sysroot: System, archive: Archive) -> None:
    sysroot.install(os.fspath(archive.root / "pool/main/rec-b_1.0_all.deb"))
    assert {"rec-a", "rec-b", "rec-pre"} <= sysroot.dpkg_status().keys()
    assert sysroot.requested() == []


# Plans.


def test_a_dry_run_changes_nothing(one: System) -> None:
    with one.unchanged():
        done = one.install("--dry-run", "rec-b")
    assert done.stdout.splitlines()[:5] == [
        "Would change:",
        "Added:",
        "  rec-a 1.0 all",
        "  rec-b 1.0 all",
        "  rec-pre 1.0 all",
    ]


def test_the_plan_of_a_dry_run_is_what_the_run_lays(sysroot: System, archive: Archive) -> None:
    plan = sysroot.install("--dry-run", "--json", "rec-b", "greeter=1.0").document
    real = sysroot.install("--json", "rec-b", "greeter=1.0").document
    assert plan["dry-run"] is True and real["dry-run"] is False
    assert plan["packages"] == real["packages"]
    assert plan["difference"] == real["difference"]
    new = sysroot.dpkg_status().keys() - sysroot.dpkg_status(1).keys()
    assert {entry["name"] for entry in plan["packages"]} == new == {"greeter", "rec-a", "rec-b", "rec-pre"}
    for entry in plan["packages"]:
        deb = archive.root / f"pool/main/{entry['name']}_{entry['version']}_{entry['architecture']}.deb"
        assert entry["sha256"] == hashlib.sha256(deb.read_bytes()).hexdigest()
        assert entry["size"] == deb.stat().st_size
    assert real["deployment"] == f"debian-{sysroot.deployments()[0]}"
    assert real["commit"] == sysroot.commit()


def test_download_only_deploys_nothing_and_makes_the_network_needless(sysroot: System, own_archive: Archive) -> None:
    sysroot.use_archive(own_archive)
    with sysroot.unchanged():
        sysroot.install("--download-only", "rec-b")
    own_archive.root.rename(own_archive.root.with_name("gone"))
    sysroot.install("--cache-only", "rec-b")
    assert sysroot.dpkg_status()["rec-b"] == ("1.0", "install ok installed")


def test_the_status_document_fits_its_schema(full: System) -> None:
    schema = REPOSITORY / "docs/schema/status.json"
    if not schema.exists():
        pytest.skip("docs/schema/status.json does not exist yet")
    import jsonschema

    document = json.loads(full.run("status", "--json").stdout)
    jsonschema.validate(document, json.loads(schema.read_text()))
    jsonschema.validate(json.loads(full.run("status", "--json", "-v").stdout), json.loads(schema.read_text()))


def test_status_names_the_deployments_and_what_is_layered(full: System) -> None:
    layered, base = full.run("status", "--json").document["deployments"]
    assert [layered["checksum"], base["checksum"]] == [full.commit(0), full.commit(1)]
    assert layered["base-checksum"] == base["checksum"] == base["base-checksum"] == full.base.commit
    assert layered["version"] == base["version"] == "12.1"
    assert layered["origin"] == base["origin"] == "debian:debian/test/base"
    assert layered["requested-packages"] == INSTALLABLE
    assert sorted(package["name"] for package in layered["packages"]) == INSTALLABLE
    assert base["packages"] == base["requested-packages"] == []
    assert (layered["pending"], base["rollback"]) == (True, True)
    assert layered["kargs"] == "root=LABEL=root rw"


def test_db_diff_is_what_was_laid(full: System) -> None:
    difference = full.run("db", "diff", "--json", "1", "0").document["difference"]
    assert [package["name"] for package in difference["added"]] == INSTALLABLE
    assert difference["removed"] == difference["changed"] == []


# All packages together: each of dpkg's features.


def test_every_installable_fixture_is_installed(full: System) -> None:
    packages = full.dpkg_status()
    assert packages.keys() - full.dpkg_status(1).keys() == set(INSTALLABLE)
    assert {status for _, status in packages.values()} == {"install ok installed"}
    assert packages["greeter"][0] == "2.0"


def test_dpkg_finds_nothing_to_complain_about(full: System) -> None:
    assert output("dpkg", f"--admindir={full.deployment() / DATABASE}", "--audit") == ""


def test_the_repository_is_sound(full: System) -> None:
    full.fsck()


def test_the_commit_holds_no_var_and_no_etc(full: System) -> None:
    assert [line.split()[-1] for line in full.ls("/var")] == ["/var"]
    top = {line.split()[4 if line[0] == "l" else -1] for line in output(
        "ostree", "ls", f"--repo={full.repo}", full.commit(), "/"
    ).splitlines()}  # fmt: skip
    assert "/etc" not in top
    assert "/usr" in top


def test_every_path_is_as_dpkg_leaves_it_in_a_plain_root(full: System, judge: Path, plain_base: Path) -> None:
    # What the conversion of the base added is there before and after.
    converted = facts(full.deployment(1) / "usr", ELSEWHERE).keys() - facts(plain_base / "usr").keys()
    ours = facts(full.deployment() / "usr", (*ELSEWHERE, *LAYERS_OWN, *converted))
    theirs = facts(judge / "usr")
    assert {"share/many-files/7/7", "local/bin/local-tool"} <= ours.keys()
    assert_equal(ours, theirs)


def test_etc_is_as_dpkg_leaves_it_in_a_plain_root(full: System, judge: Path) -> None:
    # The sources came with the base; shadow's date of change is settled, and useradd's backups hold the same.
    ours = facts(full.deployment() / "usr/etc")
    theirs = facts(judge / "etc")
    for name in (*ours.keys() - theirs.keys(), "machine-id", "shadow"):
        if name.startswith("apt/") or name in {"machine-id", "shadow"}:
            ours.pop(name, None)
            theirs.pop(name, None)
    assert "conf-file.conf" in ours
    assert_equal(ours, theirs)


def test_shadow_differs_from_a_plain_root_s_in_the_date_alone(full: System, judge: Path) -> None:
    def lines(place: Path) -> list[list[str]]:
        return [line.split(":") for line in place.read_text().splitlines()]

    ours, theirs = lines(full.deployment() / "usr/etc/shadow"), lines(judge / "etc/shadow")
    assert [(words[:2], words[3:]) for words in ours] == [(words[:2], words[3:]) for words in theirs]
    assert ours[:-1] == theirs[:-1]


def test_the_dpkg_database_is_as_in_a_plain_root(full: System, judge: Path) -> None:
    ours = facts(full.deployment() / DATABASE)
    theirs = facts(judge / "var/lib/dpkg")
    for name in HOUSEKEEPING:
        ours.pop(name, None)
        theirs.pop(name, None)
    # dpkg is free in the order of stanzas.
    for found, top in ((ours, full.deployment() / DATABASE), (theirs, judge / "var/lib/dpkg")):
        stanzas = sorted((top / "status").read_text().split("\n\n"))
        found["status"] = (*found["status"][:3], stanzas)
    # The fixture without md5sums gets its own, which a plain dpkg writes at unpack.
    assert_equal(ours, theirs)


@pytest.mark.parametrize("name", ["rec-a", "rec-b"])
def test_scripts_are_called_as_by_dpkg(full: System, judge: Path, name: str) -> None:
    log = (full.deployment() / f"usr/lib/recorded/{name}.log").read_text()
    assert log == f"{name} preinst [install]\n{name} postinst [configure] []\n"
    assert log == (judge / f"usr/lib/recorded/{name}.log").read_text()


def test_a_pre_dependency_is_configured_before_the_unpacking(full: System) -> None:
    # The preinst of rec-b runs what the postinst of rec-pre makes.
    assert mode(full.deployment() / "usr/bin/rec-pre-ready") == 0o755


def test_triggers_run(full: System) -> None:
    assert (full.deployment() / "usr/share/trig.cache").read_text() == "interest\nuser\n"


def test_a_trigger_of_a_package_that_is_there_runs_for_a_later_one(sysroot: System) -> None:
    sysroot.install("trig-interest")
    assert (sysroot.deployment() / "usr/share/trig.cache").read_text() == "interest\n"
    sysroot.install("trig-user")
    assert (sysroot.deployment() / "usr/share/trig.cache").read_text() == "interest\nuser\n"


def test_the_database_has_the_conffile_s_hash(full: System) -> None:
    digest = hashlib.md5(b"greeting = hello\n", usedforsecurity=False).hexdigest()
    text = output(
        "dpkg-query",
        f"--admindir={full.deployment() / DATABASE}",
        "--show",
        "--showformat=${Conffiles}",
        "conf-file",
    )
    assert text.strip() == f"/etc/conf-file.conf {digest}"


def test_a_diverted_file_stands_beside_its_diversion(full: System) -> None:
    share = full.deployment() / "usr/share"
    assert (share / "conf-file.txt").read_text() == "divert-maker\n"
    assert (share / "conf-file.txt.distrib").read_text() == "conf-file\n"
    listed = output("dpkg-divert", f"--admindir={full.deployment() / DATABASE}", "--list", "/usr/share/conf-file.txt")
    assert listed == "diversion of /usr/share/conf-file.txt to /usr/share/conf-file.txt.distrib by divert-maker\n"


def test_hard_links_have_one_content(full: System) -> None:
    place = full.deployment() / "usr/share/hard-links"
    names = [place / name for name in ("one", "two", "sub/three")]
    assert {path.read_text() for path in names} == {"linked\n"}
    assert len({path.stat().st_ino for path in names}) == 1


def test_special_modes_survive(full: System) -> None:
    usr = full.deployment() / "usr"
    assert [mode(usr / "bin" / f"mode-{text}") for text in ("4755", "2755", "0700")] == [0o4755, 0o2755, 0o700]
    assert mode(usr / "share/setuid/mode-0600") == 0o600
    assert mode(usr / "share/setuid/group") == 0o2775
    assert mode(usr / "share/setuid/sticky") == 0o1777


def test_odd_names_arrive_literally(full: System) -> None:
    place = full.deployment() / "usr/share/odd-names"
    names = set(os.listdir(place))
    assert {"with space", "$(touch pwned)", "*", "-rf", "back\\slash", "tab\there", "grüße", "0" * 246} <= names
    assert (place / "percent%s%n").read_text() == "percent%s%n\n"
    assert (place / "link to space").readlink() == Path("with space")
    assert (place / "dir with space/$(id)/inner file").read_text() == "inner\n"
    assert len(names) == 25


def test_what_vendors_have_in_opt_and_usr_local_is_where_dpkg_put_it(full: System) -> None:
    tree = full.deployment()
    assert (tree / "opt/vendor/bin/x").read_text() == "#!/bin/sh\necho vendor\n"
    assert mode(tree / "opt/vendor/bin/x") == 0o755
    assert (tree / "usr/local/bin/local-tool").read_text() == "#!/bin/sh\necho local\n"
    assert "vendor/bin/x" in (tree / "usr/lib/apt-ostree/overlays.d/opt").read_text().split()
    assert "share/local\\040vendor/deep/data" in (tree / "usr/lib/apt-ostree/overlays.d/usr-local").read_text().split()


def test_an_empty_directory_of_var_becomes_a_line_that_keeps_the_administrators_mode(full: System) -> None:
    lines = (full.deployment() / "usr/lib/tmpfiles.d/00-apt-ostree-layer.conf").read_text().splitlines()
    assert "d /var/cache/var-files :0750 :0 :0" in lines


def test_paths_of_var_are_listed_for_the_first_boot(full: System) -> None:
    tree = full.deployment()
    paths = (tree / "usr/lib/apt-ostree/seeds.d/layer").read_text().splitlines()
    assert {"lib/var-files", "lib/user-maker", "cache/var-files"} <= set(paths)
    assert (tree / "usr/share/factory/var/lib/var-files/seed.txt").read_text() == "seed\n"
    state = tree / "usr/share/factory/var/lib/user-maker"
    passwd = (tree / "usr/etc/passwd").read_text()
    uid = int(next(line for line in passwd.splitlines() if line.startswith("user-maker:")).split(":")[2])
    assert (state.stat().st_uid, mode(state)) == (uid, 0o750)
    assert ((state / "state").stat().st_uid, mode(state / "state")) == (uid, 0o640)


def test_a_package_s_user_is_in_etc_and_in_sysusers(full: System) -> None:
    tree = full.deployment()
    entry = next(
        line.split(":") for line in (tree / "etc/passwd").read_text().splitlines() if line.startswith("user-maker:")
    )
    group = next(
        line.split(":") for line in (tree / "etc/group").read_text().splitlines() if line.startswith("user-maker:")
    )
    lines = (tree / "usr/lib/sysusers.d/apt-ostree-layer.conf").read_text().splitlines()
    assert [line for line in lines if line.split()[1] == "user-maker"] == [
        f"g user-maker {group[2]}",
        f'u user-maker {entry[2]}:user-maker "" /var/lib/user-maker /usr/sbin/nologin',
    ]


def test_seeding_makes_var_what_the_scripts_made_it(full: System, tmp_path: Path) -> None:
    tree = full.deployment()
    root = tmp_path / "booted"
    root.mkdir()
    (root / "usr").symlink_to(tree / "usr")
    (root / "var/lib").mkdir(parents=True)
    subprocess.run(["sh", tree / "usr/lib/apt-ostree/seed-var", root], check=True)
    assert (root / "var/lib/var-files/seed.txt").read_text() == "seed\n"
    assert mode(root / "var/lib/user-maker/state") == 0o640


def test_replaces_takes_over_one_file(full: System) -> None:
    place = full.deployment() / "usr/share/repl"
    texts = {path.name: path.read_text() for path in place.iterdir()}
    assert texts == {"old.txt": "repl-old\n", "new.txt": "repl-new\n", "shared.txt": "repl-new\n"}
    owner = output("dpkg-query", f"--admindir={full.deployment() / DATABASE}", "--search", "/usr/share/repl/shared.txt")
    assert owner == "repl-new: /usr/share/repl/shared.txt\n"


def test_a_package_without_checksums_gets_those_of_its_files(full: System) -> None:
    sums = (full.deployment() / DATABASE / "info/no-md5sums.md5sums").read_text()
    digest = hashlib.md5(b"no-md5sums\n", usedforsecurity=False).hexdigest()
    assert sums == f"{digest}  usr/share/no-md5sums/file.txt\n"


def test_dpkg_verifies_every_layered_file(full: System) -> None:
    changed = output(
        "dpkg",
        f"--root={full.deployment()}",
        f"--admindir={full.deployment() / DATABASE}",
        "--verify",
        *INSTALLABLE,
    )
    # The kept conffile and what user-maker's scripts own are in /etc and /var.
    lines = [line for line in changed.splitlines() if not re.search(r" /var/", line)]
    assert lines == []


def test_a_python_module_can_be_imported(full: System, tmp_path: Path) -> None:
    module = full.deployment() / "usr/lib/python3/dist-packages/py_module.py"
    py_compile.compile(os.fspath(module), cfile=os.fspath(tmp_path / "py_module.pyc"), doraise=True)
    assert "ANSWER = 42\n" in module.read_text()


def test_thousands_of_files_arrive(full: System) -> None:
    files = [path for path in (full.deployment() / "usr/share/many-files").rglob("*") if path.is_file()]
    assert len(files) == 2000
    assert all(path.read_text() == f"file {path.name}\n" for path in files)


def test_no_marker_is_left_in_the_tree(full: System) -> None:
    marked = [
        path
        for path in full.deployment().rglob("*")
        if path.is_file() and not path.is_symlink() and path.read_bytes()[:17] == b"apt-ostree object"
    ]
    assert marked == []


def test_the_base_s_own_objects_are_untouched(full: System) -> None:
    base = output("ostree", "ls", f"--repo={full.base.repo}", "-RC", full.base.commit, "/usr/bin")
    laid = set(output("ostree", "ls", f"--repo={full.repo}", "-RC", full.commit(), "/usr/bin").splitlines())
    # The directory itself has further entries.
    assert set(base.splitlines()[1:]) <= laid


def test_the_same_request_in_another_sysroot_gives_the_same_content(
    full: System, template: System, tmp_path: Path
) -> None:
    other = template.clone(tmp_path / "other")
    other.install(*INSTALLABLE)
    assert other.content() == full.content()
    other.remove()


def test_a_dry_run_changes_no_byte_but_of_what_is_cached(sysroot: System, archive: Archive, tmp_path: Path) -> None:
    """Package lists, apt's cache and the checkout of the base may be fresh afterwards; the lock was held."""
    cached = {sysroot.area / "apt", sysroot.area / "base", sysroot.note, sysroot.lock}

    def everything() -> dict[str, tuple[int, ...]]:
        found: dict[str, tuple[int, ...]] = {}
        for top, directories, files in os.walk(sysroot.path):
            directories[:] = [name for name in directories if Path(top, name) not in cached]
            for name in (*directories, *files):
                if Path(top, name) not in cached:
                    status = os.lstat(os.path.join(top, name))
                    moment = 0 if name in directories else status.st_mtime_ns
                    found[os.path.join(top, name)] = (status.st_mode, status.st_uid, status.st_ino, moment)
        return found

    file = archive.root / "pool/main/rec-a_1.0_all.deb"
    sysroot.install("greeter")
    (tmp_path / "host.toml").write_text('packages = ["rec-b"]\n')
    before = everything()
    for words in (
        ["install", "rec-b"], ["install", os.fspath(file)], ["uninstall", "greeter"], ["upgrade"],
        ["upgrade", "--preview"], ["override", "remove", "base-tool"], ["reset"],
        ["apply", os.fspath(tmp_path / "host.toml")],
        ["kargs", "--append=quiet"], ["initramfs-etc", "--track", "/etc/hostname"], ["rollback"], ["pin", "0"],
        ["cleanup", "-b", "-m", "-r"], ["remote", "add", "x", "https://example.org", "--no-gpg-verify"],
        ["remote", "delete", "debian"],
    ):  # fmt: skip
        result = sysroot.run(*words, "-n", status=None)
        assert result.status in {0, 1, 77}, result.stderr
        assert everything() == before, words
