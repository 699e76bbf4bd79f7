"""Each point of dpkg's work that no package of the archive is sure to prove: laid by us, and done by apt-get."""

from __future__ import annotations

import argparse
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from apt_ostree.tree import layout
from tests.archive import FIXTURES, Archive, Deb, build_deb, index_archive, public_directory, small_base, unpack_base
from tests.fidelity import __main__ as fidelity
from tests.fidelity import judge, points
from tests.integration.system import REF, REPOSITORY, Base, System, chosen_cli, commit_base, output

FIXTURE_PACKAGES = (
    "conf-file", "divert-maker", "hard-links", "local-vendor", "many-files", "no-md5sums", "odd-names", "opt-vendor",
    "py-module", "repl-new", "repl-old", "setuid", "trig-interest", "trig-user", "user-maker", "var-files", "asks",
)  # fmt: skip


@pytest.fixture(scope="module")
def debs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every .deb of the table, by name and version; siblings by name and architecture besides."""
    place = tmp_path_factory.mktemp("debs")
    place.chmod(0o755)
    found = {}
    for deb in (*points.BASE, *points.NEW, points.OUSTING, *points.UPGRADES, *points.LOOPING):
        found[f"{deb.name}/{deb.version}/{deb.architecture}"] = deb.build(place)
    for name in FIXTURE_PACKAGES:
        found[name] = build_deb(FIXTURES / name, place)
    return found


@pytest.fixture(scope="module")
def archive() -> Iterator[Archive]:
    """An archive of what comes by its name."""
    with public_directory() as directory:
        debs = [deb.build(directory) for deb in (points.ELSEWHERE, points.VIRTUAL, points.NEEDED_BY_IT)]
        yield index_archive(debs, directory / "archive")


@pytest.fixture(scope="module")
def base(debs: dict[str, Path], archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> Base:
    """A small base with apt and BASE, installed by dpkg, and a foreign architecture."""
    work = tmp_path_factory.mktemp("points")
    plain = work / "plain"
    unpack_base(small_base(REPOSITORY / "build", more=["apt"]), plain)
    (plain / "pool").mkdir()
    for deb in points.BASE:
        output("cp", debs[f"{deb.name}/{deb.version}/{deb.architecture}"], plain / "pool")
    names = [f"/pool/{path.name}" for path in sorted((plain / "pool").iterdir())]
    output("chroot", plain, "dpkg", "--add-architecture", points.FOREIGN)
    output("chroot", plain, "dpkg", "--install", *names)
    output("rm", "-r", plain / "pool")
    return commit_base(plain, archive, work)


@pytest.fixture(scope="module")
def options(base: Base, tmp_path_factory: pytest.TempPathFactory) -> argparse.Namespace:
    return argparse.Namespace(
        repo=base.repo, ref=REF, work=tmp_path_factory.mktemp("judge"), recommends=False, json=False, debconf=None,
        apt_ostree=" ".join(chosen_cli()),
    )  # fmt: skip


FORMAT = "${db:Status-Abbrev}${Version}"


class Case:
    """The tree of a case that was judged equal, to look at what the case is about."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def text(self, name: str) -> str:
        return (self.root / name.lstrip("/")).read_text()

    def exists(self, name: str) -> bool:
        return os.path.lexists(self.root / name.lstrip("/"))

    def status(self, name: str) -> str:
        done = subprocess.run(
            ["dpkg-query", f"--admindir={self.root}/usr/lib/sysimage/dpkg", "-Wf", FORMAT, name],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.stdout


def judged(options: argparse.Namespace, words: list[str]) -> Iterator[Case]:
    """Judge one case, and look at its tree."""
    differences, compared, _ = fidelity.run_case(options, words, keep=True)
    assert differences == [], "\n" + judge.report(differences, compared)
    root = fidelity.laid_out(options)
    yield Case(root)
    fidelity.clear(root)


@pytest.fixture(scope="module")
def new(options: argparse.Namespace, debs: dict[str, Path]) -> Iterator[Case]:
    yield from judged(options, [os.fspath(debs[f"{d.name}/{d.version}/{d.architecture}"]) for d in points.NEW])


@pytest.fixture(scope="module")
def upgraded(options: argparse.Namespace, debs: dict[str, Path]) -> Iterator[Case]:
    yield from judged(options, [os.fspath(debs[f"{d.name}/{d.version}/{d.architecture}"]) for d in points.UPGRADES])


def test_fixture_packages(options: argparse.Namespace, debs: dict[str, Path]) -> None:
    differences, compared, _ = fidelity.run_case(options, [os.fspath(debs[name]) for name in FIXTURE_PACKAGES])
    assert differences == [], "\n" + judge.report(differences, compared)


def test_pre_depends_are_configured_and_whole_before_they_are_needed(new: Case) -> None:
    assert (new.text("usr/share/chain-b.said"), new.text("usr/share/chain-c.said")) == ("a\n", "a\nb\n")


def test_triggers_by_file_and_by_name_run_once_after_all_is_there(new: Case) -> None:
    log = {name: new.text(f"usr/share/log/trigger-{name}").splitlines() for name in ("file", "name", "next", "user")}
    assert log["file"][2:] == ["postinst triggered /usr/share/trigger.d"]
    assert log["name"] == ["preinst install", "postinst configure ", "postinst triggered trigger-name"]
    assert log["next"][2:] == ["postinst triggered trigger-next"]
    assert log["user"] == ["preinst install", "postinst configure "]


def test_triggers_that_wait_in_a_circle(new: Case) -> None:
    for kind in ("await", "noawait"):
        for name in ("a", "b"):
            log = new.text(f"usr/share/log/circle-{kind}-{name}").splitlines()
            assert log[:1] == ["preinst install"]
            assert set(log[1:]) <= {"postinst configure ", f"postinst triggered /usr/share/circle-{kind}-{name}.d"}
            assert new.status(f"circle-{kind}-{name}") == "ii 1.0"


def test_triggers_that_never_end_fail_as_dpkg_does(options: argparse.Namespace, debs: dict[str, Path]) -> None:
    words = [os.fspath(debs[f"{d.name}/1.0/all"]) for d in points.LOOPING]
    with pytest.raises(RuntimeError, match="cycle found while processing triggers"):
        fidelity.layer(options, words)


def test_statoverrides_made_before_and_after(new: Case) -> None:
    status, late = (new.root / "usr/bin/overridden").stat(), (new.root / "usr/bin/late").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_gid) == (0o2710, 8)
    assert (stat.S_IMODE(late.st_mode), late.st_uid) == (0o700, 8)
    assert stat.S_IMODE((new.root / "usr/bin/plain").stat().st_mode) == 0o755


def test_a_statoverride_for_a_user_made_before_the_file(new: Case) -> None:
    status = (new.root / "usr/bin/stat-user").stat()
    users = {line.split(":")[2]: line.split(":")[0] for line in new.text("etc/passwd").splitlines()}
    assert (stat.S_IMODE(status.st_mode), users[str(status.st_uid)]) == (0o4750, "stat-user")


def test_alternatives_with_slaves_set_and_taken_back(new: Case) -> None:
    assert os.readlink(new.root / "etc/alternatives/chosen") == "/usr/share/chooser/a"
    assert os.readlink(new.root / "etc/alternatives/chosen.1") == "/usr/share/chooser/a.1"
    assert not new.exists("etc/alternatives/gone") and not new.exists("usr/bin/gone")


def test_a_diversion(new: Case) -> None:
    assert new.text("usr/share/diverted") == "diverter's\n"
    assert new.text("usr/share/diverted.real") == "diverted's\n"


def test_a_file_of_the_base_is_moved_aside(new: Case) -> None:
    assert new.text("usr/share/moved-aside/file") == "the layer's\n"
    assert new.text("usr/share/moved-aside/file.base") == "the base's\n"
    assert new.exists("usr/share/moved-aside/other")


def test_a_program_that_dpkg_runs_is_moved_aside(new: Case) -> None:
    assert new.text("usr/bin/rm").startswith("#!/bin/sh\nexec")
    assert (new.root / "usr/bin/rm.real").read_bytes().startswith(b"\x7fELF")


def test_a_preinst_reads_what_was_unpacked_before_it(new: Case) -> None:
    assert new.text("usr/share/reader.said") == "READ ME\n"


def test_equal_files_are_files_of_their_own_for_scripts(new: Case) -> None:
    assert [new.text(f"usr/share/equal/{name}") for name in "abc"] == ["equal\n", "equal\n", "owner's\n"]


def test_a_program_with_a_stub_is_moved_aside(new: Case) -> None:
    assert new.text("usr/bin/ischroot") == "#!/bin/sh\nexit 2\n"
    assert (new.root / "usr/bin/ischroot.real").read_bytes().startswith(b"\x7fELF")


def test_a_policy_is_chosen_by_an_alternative(new: Case) -> None:
    assert os.readlink(new.root / "usr/sbin/policy-rc.d") == "/etc/alternatives/policy-rc.d"


def test_a_virtual_package_of_a_version(new: Case) -> None:
    assert new.status("virtual-user") == "ii 1.0"


def test_siblings_share_what_is_equal(new: Case) -> None:
    assert {new.status(f"sibling:{d.architecture}") for d in points.NEW if d.name == "sibling"} == {"ii 1.0"}
    assert new.text("usr/share/sibling/shared") == "shared\n"
    assert new.text(f"usr/lib/sibling-{points.FOREIGN}/lib") == f"{points.FOREIGN}\n"


def test_a_sibling_of_a_base_package_shares_what_is_equal(new: Case) -> None:
    assert {new.status(f"half:{d.architecture}") for d in points.NEW if d.name == "half"} == {"ii 1.0"}


def test_a_foreign_tool_serves_a_native_package(new: Case) -> None:
    assert new.status(f"foreign-tool:{points.FOREIGN}") == new.status("foreign-user") == "ii 1.0"


def test_files_of_merged_usr_come_by_either_name(new: Case) -> None:
    assert {"merged-a", "merged-b"} <= set(os.listdir(new.root / "usr/bin"))
    assert sorted(os.listdir(new.root / "usr/lib/merged")) == ["x", "y"]
    assert new.exists("usr/sbin/merged-c")
    assert (new.root / "bin").is_symlink()


def test_versions_with_epoch_tilde_and_plus(new: Case) -> None:
    assert new.status("epoch") == "ii 2:1.0~rc1+dfsg-1+b2"


def test_a_capability_set_by_a_script(new: Case) -> None:
    assert os.getxattr(new.root / "usr/bin/capable", "security.capability")[:8] == bytes([1, 0, 0, 2, 0, 32, 0, 0])


def test_the_best_alternative_wins(new: Case) -> None:
    assert os.readlink(new.root / "etc/alternatives/pointer") == "/usr/bin/pointer-30"


def test_a_directory_lands_behind_the_base_s_link(new: Case) -> None:
    assert os.readlink(new.root / "usr/share/aliased/alias") == "real"
    assert new.text("usr/share/aliased/real/b") == "b\n"


def test_a_package_that_loses_every_file_disappears(new: Case) -> None:
    assert new.text("usr/share/owner/taken") == new.text("usr/share/vanishing/only") == "taker's\n"
    assert new.status("owner") == "ii 1.0"
    assert not new.status("vanishing").startswith("ii")


def test_conffiles_that_went_moved_and_became_obsolete(upgraded: Case) -> None:
    names = sorted(os.listdir(upgraded.root / "etc/conffiles"))
    assert names == ["added", "changed", "kept", "obsolete", "renamed", "scripted", "scripted.dpkg-dist"]
    assert upgraded.text("etc/conffiles/scripted") == "scripted 1\nby a script\n"
    assert upgraded.text("etc/conffiles/changed") == "changed 2\n"
    status = upgraded.text("usr/lib/sysimage/dpkg/status")
    assert " /etc/conffiles/obsolete " in status
    assert "obsolete\n" in status[status.index(" /etc/conffiles/obsolete ") :].splitlines(keepends=True)[0]


def test_a_policy_comes_as_a_file(upgraded: Case) -> None:
    assert upgraded.text("usr/sbin/policy-rc.d") == "#!/bin/sh\nexit 0\n"


def test_old_scripts_run_programs_that_are_upgraded_or_taken_over(upgraded: Case) -> None:
    assert upgraded.text("usr/share/needer.said") == "needed 2\n"
    assert upgraded.text("usr/share/need-tool.said") == "tool 2\n"


def test_an_old_script_reads_what_was_unpacked_before_it(upgraded: Case) -> None:
    assert upgraded.text("usr/share/old.said") == "READ ME\n"


def test_a_directory_becomes_a_link_and_a_link_a_directory(upgraded: Case) -> None:
    assert os.readlink(upgraded.root / "usr/share/turning/directory") == "other"
    assert sorted(os.listdir(upgraded.root / "usr/share/turning/link")) == ["y"]
    assert not (upgraded.root / "usr/share/turning/link").is_symlink()


def test_essential_and_protected_packages_are_replaced(upgraded: Case) -> None:
    for name in ("essential", "protected"):
        assert upgraded.status(name) == "ii 2.0"
        assert upgraded.text(f"usr/share/{name}") == "2\n"


@pytest.mark.parametrize("name", ["essential", "protected"])
def test_essential_and_protected_packages_stay(options: argparse.Namespace, name: str) -> None:
    with pytest.raises(RuntimeError, match=f"essential packages would be removed.*{name}"):
        fidelity.layer(options, [f"-{name}"])


def test_an_upgrade_calls_the_scripts_of_both_versions(upgraded: Case) -> None:
    assert upgraded.text("usr/share/log/upgraded").splitlines()[2:] == [
        "prerm upgrade 1:0.9",
        "preinst upgrade 1.0 1:0.9",
        "postrm upgrade 1:0.9",
        "postinst configure 1.0",
    ]
    assert not upgraded.exists("usr/share/upgraded/old")
    assert sorted(os.listdir(upgraded.root / "var/lib/upgraded")) == ["kept", "new"]


def test_an_earlier_version_calls_the_scripts_of_both(upgraded: Case) -> None:
    assert upgraded.text("usr/share/log/downgraded").splitlines()[2:] == [
        "prerm upgrade 1.0",
        "preinst upgrade 2.0 1.0",
        "postrm upgrade 1.0",
        "postinst configure 2.0",
    ]


def test_a_conflict_that_replaces(options: argparse.Namespace, debs: dict[str, Path]) -> None:
    words = ["-ousted", os.fspath(debs["ousting/1.0/all"])]
    for case in judged(options, words):
        assert case.text("usr/share/ousted/shared") == "ousting's\n"
        assert not case.status("ousted").startswith("ii")
        log = case.text("usr/share/log/ousted").splitlines()
        assert (log[2], log[3]) == ("prerm remove", "postrm remove")
        for gone in (
            "var/lib/ousted",
            "var/cache/ousted",
            "opt/ousted",
            "usr/local/bin/ousted",
            "var/srv/ousted",
        ):
            assert not case.exists(gone), gone


def test_links_that_the_last_package_there_takes_away_stay(options: argparse.Namespace, tmp_path: Path) -> None:
    """As directories, which they are in a plain root, stay while they hold anything."""
    comes = Deb("top-comes", files={"/opt/top-comes/file": "x"})
    root = fidelity.layer(options, ["-top-owner", os.fspath(comes.build(tmp_path))])
    for name, target in layout.LINKS.items():
        assert os.readlink(root / name) == target
    assert (root / "opt/top-comes/file").read_text() == "x"
    fidelity.clear(root)


def test_the_archive_s_package_of_another_architecture_comes_by_its_name(options: argparse.Namespace) -> None:
    name = f"{points.ELSEWHERE.name}:{points.FOREIGN}"
    root = fidelity.layer(options, [name])
    case = Case(root)
    assert case.status(name) == "ii 1.0"
    assert case.text(f"usr/lib/elsewhere-{points.FOREIGN}/lib") == f"{points.FOREIGN}\n"
    fidelity.clear(root)


def test_what_came_for_a_virtual_package_was_asked_for(options: argparse.Namespace, base: Base) -> None:
    template = options.work / "sysroot"
    if not template.exists():
        fidelity.clear(fidelity.layer(options, ["virtual-thing"]))
    system = System(template, base)
    system.install("--no-recommends", "virtual-thing")
    automatic = (system.deployment() / "usr/lib/sysimage/extended_states").read_text()
    assert "virtual-needs" in automatic and "virtual-one" not in automatic
    assert system.run("status", "--json").document["deployments"][0]["inactive-requests"] == []
    system.run("reset")
