"""Overrides: packages of the base left out or replaced, and given back."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.archive import SUITE, Archive, host_architecture, public_directory
from tests.integration.served import small_archive
from tests.integration.system import DATABASE, System, output

FOREIGN = "i386"

INFO = {"list": "/.\n", "md5sums": ""}
"""What dpkg knows of a package without files."""


def rebase(sysroot: System, stage: Path, status: str, files: Mapping[str, str] | None = None) -> str:
    """Follow another base: the first one with ``status`` in its dpkg database. Returns what is said on the way."""
    for name, text in {"status": status, **(files or {})}.items():
        (place := stage / DATABASE / name).parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    output(
        "ostree", "commit",
        f"--repo={sysroot.repo}",
        "--branch=other",
        f"--tree=ref={sysroot.base.commit}",
        f"--tree=dir={stage}",
        "--owner-uid=0", "--owner-gid=0",
        "--fsync=false",
        "--add-metadata=ostree.bootable=true",
        "--add-metadata-string=ostree.linux=0.0",
    )  # fmt: skip
    return sysroot.run("rebase", ":other").stderr


def stanzas(sysroot: System) -> dict[str, str]:
    """Package -> what the first base's dpkg database says."""
    status = output("ostree", "cat", f"--repo={sysroot.repo}", sysroot.base.commit, f"/{DATABASE}/status")
    return {text.split("\n")[0].removeprefix("Package: "): f"{text}\n\n" for text in status.strip().split("\n\n")}


def inactive(sysroot: System) -> dict[str, str]:
    """The overrides that status calls inactive, and why."""
    listed = sysroot.run("status", "--json").document["deployments"][0]["inactive-requests"]
    return {entry["request"]: entry["reason"] for entry in listed}


def base_lib(sysroot: System, index: int = 0) -> tuple[str, str] | None:
    return sysroot.dpkg_status(index).get("base-lib")


def test_a_removed_base_package_is_gone_from_files_and_database(sysroot: System) -> None:
    assert (sysroot.deployment() / "usr/lib/base-lib/lib.txt").is_file()
    done = sysroot.run("override", "remove", "base-lib")
    assert "Removed:\n  base-lib 1.0 all\n" in done.stdout
    assert base_lib(sysroot) is None
    assert not (sysroot.deployment() / "usr/lib/base-lib").exists()
    assert dict(sysroot.origin()["overrides"]) == {"remove": "base-lib;"}
    assert dict(sysroot.origin()["origin"]) == {"baserefspec": "debian:debian/test/base"}


def test_a_base_package_is_replaced_by_version(sysroot: System) -> None:
    done = sysroot.run("override", "replace", "base-lib=2.0")
    assert "Changed:\n  base-lib 1.0 -> 2.0\n" in done.stdout
    assert base_lib(sysroot) == ("2.0", "install ok installed")
    assert dict(sysroot.origin()["overrides"]) == {"replace": "base-lib=2.0;"}
    sysroot.fsck()


def test_of_several_suites_a_base_package_is_replaced_by_what_the_named_one_has(sysroot: System) -> None:
    with public_directory() as one, public_directory() as two:
        sysroot.use_archive(small_archive(one, {"base-lib": ("3", "")}))
        sysroot.use_archive(small_archive(two, {"base-lib": ("2", "")}, suite="older"), "older")
        for suite, version in (("older", "2"), (SUITE, "3")):
            sysroot.run("override", "replace", f"base-lib/{suite}")
            assert base_lib(sysroot) == (version, "install ok installed")


def test_a_base_package_is_removed_without_the_archive(sysroot: System, own_archive: Archive) -> None:
    sysroot.use_archive(own_archive)
    own_archive.root.rename(own_archive.root.with_name("gone"))
    sysroot.run("override", "remove", "base-lib")
    assert base_lib(sysroot) is None


@pytest.mark.parametrize(
    ("words", "version", "why"),
    [(["remove", "base-lib"], None, "not in the base"), (["replace", "base-lib=2.0"], "2.0", "the base has 2.0")],
)
def test_an_override_that_a_base_makes_moot_is_inactive_until_the_base_goes_back(
    sysroot: System, tmp_path: Path, words: list[str], version: str | None, why: str
) -> None:
    sysroot.run("override", *words)
    overridden, content = base_lib(sysroot), sysroot.content()
    found = stanzas(sysroot)
    own = found.pop("base-lib")
    if version is not None:
        found["base-lib"] = re.sub(r"(?m)^Version: .*$", f"Version: {version}", own)
    said = rebase(sysroot, tmp_path / "stage", "".join(found.values()))
    assert f"warning: the override of base-lib is inactive: {why}\n" in said
    assert inactive(sysroot) == {"base-lib": why}
    assert base_lib(sysroot) == overridden
    assert "inactive" not in sysroot.run("rebase", sysroot.base.commit).stderr
    assert inactive(sysroot) == {}
    assert sysroot.content() == content


def test_an_override_of_another_architecture_leaves_the_native_package_alone(sysroot: System, tmp_path: Path) -> None:
    architectures = (host_architecture(), FOREIGN)
    both = "".join(
        f"Package: half\nStatus: install ok installed\nMaintainer: x\nArchitecture: {each}\nMulti-Arch: same\n"
        "Version: 1\nDescription: one of two\n\n"
        for each in architectures
    )
    files = {f"info/half:{each}.{kind}": text for each in architectures for kind, text in INFO.items()}
    files["arch"] = "".join(f"{each}\n" for each in architectures)
    rebase(sysroot, tmp_path / "stage", "".join(stanzas(sysroot).values()) + both, files)
    sysroot.run("override", "remove", f"half:{FOREIGN}")
    sysroot.run("override", "replace", "half=1")
    assert dict(sysroot.origin()["overrides"]) == {"remove": f"half:{FOREIGN};", "replace": "half=1;"}
    assert inactive(sysroot) == {"half": "the base has 1"}
    admindir = f"--admindir={sysroot.deployment() / DATABASE}"
    assert output("dpkg-query", admindir, "-W", "-f=${Architecture}\n", "half").split() == [architectures[0]]
    removed = sysroot.run("status", "--json").document["deployments"][0]["base-removals"]
    assert removed == [{"name": "half", "version": "1", "architecture": FOREIGN}]


def test_a_base_package_is_replaced_by_a_file_and_stays_so_without_the_archive(
    sysroot: System, own_archive: Archive
) -> None:
    sysroot.use_archive(own_archive)
    sysroot.run("override", "replace", f"{own_archive.root}/pool/main/base-lib_2.0_all.deb")
    sysroot.install("greeter", "rec-a")
    own_archive.root.rename(own_archive.root.with_name("gone"))
    sysroot.run("uninstall", "rec-a")
    assert base_lib(sysroot) == ("2.0", "install ok installed")


def test_an_override_lets_a_package_in_that_the_base_kept_out(sysroot: System) -> None:
    sysroot.run("install", "needs-base-lib-2", status=1)
    sysroot.run("override", "replace", "base-lib=2.0")
    sysroot.install("needs-base-lib-2")
    assert {"needs-base-lib-2", "base-lib"} <= sysroot.dpkg_status().keys()


def test_a_package_comes_in_place_of_a_removed_one_in_one_step(sysroot: System) -> None:
    sysroot.run("override", "remove", "base-lib", "--install", "breaks-base")
    assert "breaks-base" in sysroot.dpkg_status()
    assert base_lib(sysroot) is None
    assert len(sysroot.deployments()) == 2


def test_a_package_comes_with_a_replaced_one_in_one_step(sysroot: System) -> None:
    sysroot.run("override", "replace", "base-lib=2.0", "--install", "needs-base-lib-2")
    assert "needs-base-lib-2" in sysroot.dpkg_status()
    assert base_lib(sysroot) == ("2.0", "install ok installed")
    assert sysroot.requested() == ["needs-base-lib-2"]


def test_reset_returns_to_the_base_commit_itself_and_needs_no_archive(sysroot: System, own_archive: Archive) -> None:
    sysroot.use_archive(own_archive)
    sysroot.run("override", "replace", "base-lib=2.0")
    own_archive.root.rename(own_archive.root.with_name("gone"))
    sysroot.run("override", "reset", "base-lib")
    assert sysroot.commit() == sysroot.base.commit
    assert not sysroot.origin().has_section("overrides")


def test_reset_of_all_keeps_what_is_requested(sysroot: System) -> None:
    sysroot.install("greeter")
    alone = sysroot.content()
    sysroot.run("override", "remove", "base-lib")
    sysroot.run("override", "reset", "--all")
    assert sysroot.content() == alone
    assert sysroot.requested() == ["greeter"]


def test_a_requested_package_that_is_replaced_no_longer_is_the_base_s(sysroot: System) -> None:
    sysroot.run("override", "replace", "base-lib=2.0", "--install", "base-lib")
    sysroot.run("install", "--allow-inactive", "base-lib", "greeter")
    sysroot.run("override", "reset", "base-lib")
    assert base_lib(sysroot) == ("1.0", "install ok installed")
    assert sysroot.requested() == ["base-lib", "greeter"]


def test_uninstall_all_keeps_overrides(sysroot: System) -> None:
    sysroot.run("override", "remove", "base-lib", "--install", "greeter")
    sysroot.run("uninstall", "--all")
    assert base_lib(sysroot) is None
    assert "greeter" not in sysroot.dpkg_status()


def test_the_later_word_about_a_package_wins(sysroot: System) -> None:
    sysroot.run("override", "remove", "base-lib")
    sysroot.run("override", "replace", "base-lib=2.0")
    assert base_lib(sysroot) == ("2.0", "install ok installed")
    assert dict(sysroot.origin()["overrides"]) == {"replace": "base-lib=2.0;"}


def test_status_and_db_diff_show_overrides(sysroot: System) -> None:
    sysroot.run("override", "replace", "base-lib=2.0")
    deployment = sysroot.run("status", "--json").document["deployments"][0]
    assert deployment["base-replacements"] == [
        {
            "old": {"name": "base-lib", "version": "1.0", "architecture": "all"},
            "new": {"name": "base-lib", "version": "2.0", "architecture": "all"},
        }
    ]
    assert "base-lib 1.0 -> 2.0" in sysroot.run("status").stdout
    assert "  base-lib 1.0 -> 2.0\n" in sysroot.run("db", "diff", "1", "0").stdout


@pytest.mark.parametrize(
    ("words", "status", "brief", "detail"),
    [
        (["remove", "nonesuch"], 1, "not in the base: nonesuch", ""),
        (["replace", "greeter=2.0"], 1, "not in the base: greeter", ""),
        (["replace", "base-lib"], 2, "override replace needs a version, suite or file for base-lib", ""),
        (
            ["replace", "base-lib=9"],
            1,
            "base-lib has no version 9; available: 1.0, 2.0",
            "",
        ),
        (["remove", "base-lib=1.0"], 2, "'base-lib=1.0' is not a package name", ""),
        (["remove", "hostname"], 1, "essential packages would be removed", "hostname"),
        (["reset", "base-lib"], 1, "not overridden: base-lib", "overridden: none"),
    ],
)
def test_what_cannot_be_overridden_changes_nothing(
    sysroot: System, words: list[str], status: int, brief: str, detail: str
) -> None:
    with sysroot.unchanged():
        failure = sysroot.run("override", *words, status=status).failure
    assert failure.brief == brief
    assert detail in failure.detail


def test_removing_what_a_layered_package_needs_names_the_culprit(sysroot: System) -> None:
    sysroot.run("override", "replace", "base-lib=2.0")
    sysroot.install("needs-base-lib-2")
    with sysroot.unchanged():
        sysroot.run("override", "remove", "base-lib", status=1)


@pytest.fixture
def needy(sysroot: System) -> Iterator[Path]:
    """The directory of packages that need or recommend another one of the sysroot's archive."""
    with public_directory() as directory:
        archive = small_archive(
            directory,
            {
                "extra": ("1", ""),
                "base-lib": ("9", "Depends: extra\n"),
                "eager": ("1", "Depends: extra\nRecommends: idle\n"),
                "idle": ("1", ""),
            },
        )
        sysroot.use_archive(archive)
        yield archive.root / "pool/main"


@pytest.mark.parametrize(
    "words", [["replace", "./base-lib_9_all.deb"], ["remove", "base-lib", "--install", "./eager_1_all.deb"]]
)
def test_what_a_file_needs_comes_from_the_archive(sysroot: System, needy: Path, words: list[str]) -> None:
    sysroot.run("override", *words, cwd=needy)
    assert "extra" in sysroot.dpkg_status()


def test_an_override_is_downloaded_first_and_made_without_the_network(sysroot: System, needy: Path) -> None:
    words = ("override", "replace", "base-lib=9")
    with sysroot.unchanged():
        sysroot.run(*words, "-n")
        assert sysroot.run(*words, "-C", status=1).failure.brief == "not in the cache: extra, base-lib"
        sysroot.run(*words, "-D")
    # The archive as a whole.
    needy.parents[1].rename(needy.parents[1].with_name("gone"))
    sysroot.run(*words, "-C")
    assert base_lib(sysroot) == ("9", "install ok installed")


def test_recommended_packages_come_with_an_override_where_that_is_said_or_set(sysroot: System, needy: Path) -> None:
    (sysroot.deployment() / "etc/apt-ostree").mkdir()
    (sysroot.deployment() / "etc/apt-ostree/config.toml").write_text("recommends = false\n")
    sysroot.run("override", "remove", "base-lib", "--install", "eager")
    assert "idle" not in sysroot.dpkg_status()
    assert sysroot.origin().get("packages", "recommends") == "false"
    sysroot.run("override", "replace", "base-lib=9", "--recommends")
    assert sysroot.dpkg_status().keys() >= {"eager", "idle"}
    assert sysroot.origin().get("packages", "recommends") == "true"
