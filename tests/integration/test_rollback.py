"""Rollback and clean-up: deployments come back as they were, and go only when asked to."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest

from tests.archive import Archive
from tests.integration.system import REPOSITORY, System, output


@pytest.fixture(scope="module")
def pattern(template: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """What ``two`` is cloned from."""
    system = template.clone(tmp_path_factory.mktemp("pattern") / "sysroot")
    (system.deployment() / "etc/issue").write_text("base\n")
    system.install("greeter")
    (system.deployment() / "etc/issue").write_text("layer\n")
    yield system
    system.remove()


@pytest.fixture
def two(pattern: System, tmp_path: Path) -> Iterator[System]:
    """A layer that boots next, and the base behind it, each with an /etc of its own."""
    system = pattern.clone(tmp_path / "sysroot")
    yield system
    system.remove()


def loader(system: System) -> list[tuple[str, Path]]:
    """Title and deployment of each loader entry in boot order, as a boot loader and the initramfs find them."""
    found = []
    for file in (system.path / "boot/loader/entries").glob("*.conf"):
        keys = dict(line.split(" ", 1) for line in file.read_text().splitlines() if " " in line)
        link = next(word for word in keys["options"].split() if word.startswith("ostree=")).removeprefix("ostree=/")
        assert (system.path / "boot" / keys["linux"].lstrip("/")).read_text() == "vmlinuz\n"
        found.append((int(keys["version"]), keys["title"], (system.path / link).resolve()))
    return [(title, place) for _, title, place in sorted(found, reverse=True)]


def test_a_rollback_swaps_the_order(two: System) -> None:
    layer, base = two.deployments()
    two.run("rollback")
    assert two.deployments() == [base, layer]


def test_the_boot_loader_sees_the_new_order(two: System) -> None:
    layer, base = (two.deployment(index) for index in (0, 1))
    assert [place for _, place in loader(two)] == [layer, base]
    two.run("rollback")
    assert [place for _, place in loader(two)] == [base, layer]


def test_each_deployment_keeps_its_own_etc(two: System) -> None:
    two.run("rollback")
    assert [(two.deployment(index) / "etc/issue").read_text() for index in (0, 1)] == ["base\n", "layer\n"]


def test_a_second_rollback_undoes_the_first(two: System) -> None:
    before, entries = two.snapshot(), loader(two)
    two.run("rollback")
    two.run("rollback")
    after = two.snapshot()
    assert loader(two) == entries
    for key in ("status", "deployments", "origins", "etc", "var"):
        assert after[key] == before[key], key


def test_the_boot_loader_s_titles_count_in_the_new_order(two: System) -> None:
    before = [title for title, _ in loader(two)]
    two.run("rollback")
    assert [title for title, _ in loader(two)] == before


def test_ostree_s_own_order_of_the_boot_links_is_kept(two: System) -> None:
    two.run("rollback")
    by_number = {int(link.name): link.resolve() for link in two.path.glob("ostree/boot.?/debian/*/*")}
    assert by_number == {0: two.deployment(0), 1: two.deployment(1)}


def test_ostree_can_deploy_after_a_rollback(two: System) -> None:
    base = two.deployments()[1]
    two.run("rollback")
    output("ostree", "admin", "deploy", f"--sysroot={two.path}", "--os=debian", two.base.commit)
    assert two.deployments() == [f"{two.base.commit}.1", base]
    two.fsck()


def test_an_install_after_a_rollback_builds_on_what_boots_next(two: System) -> None:
    two.run("rollback")
    two.install("rec-a")
    assert two.requested() == ["rec-a"]
    assert (two.deployment() / "etc/issue").read_text() == "base\n"
    assert "greeter" not in two.dpkg_status()


def test_a_rollback_to_an_index(two: System) -> None:
    base = two.deployments()[1]
    two.run("rollback", "--to", "1")
    assert two.deployments()[0] == base


def test_a_rollback_to_the_start_of_a_checksum(two: System) -> None:
    base = two.deployments()[1]
    two.run("rollback", "--to", base[:10])
    assert two.deployments()[0] == base


def test_a_rollback_to_what_boots_next_is_no_change(two: System) -> None:
    with two.unchanged():
        two.run("rollback", "--to", "0", "--unchanged-exit-77", status=77)


def test_a_dry_rollback_changes_nothing(two: System) -> None:
    with two.unchanged():
        done = two.run("rollback", "--dry-run")
    assert done.stdout == f"Would boot {two.commit(1)[:12]} next.\n"


def test_with_three_deployments_the_order_of_the_others_stays(two: System) -> None:
    output("ostree", "admin", "pin", f"--sysroot={two.path}", "1")
    two.install("rec-a")
    first, second, base = two.deployments()
    two.run("rollback", "--to", "2")
    assert two.deployments() == [base, first, second]


def test_status_shows_the_rollback(two: System) -> None:
    two.run("rollback")
    shown = two.run("status", "--json").document["deployments"]
    assert [entry["requested-packages"] for entry in shown] == [[], ["greeter"]]
    assert [(entry["pending"], entry["rollback"]) for entry in shown] == [(True, False), (False, True)]


def test_the_list_marks_what_would_be_booted(two: System) -> None:
    layer, base = two.deployments()
    two.run("pin", "1")
    with two.unchanged():
        found = two.run("rollback", "--list", "--json").document
        lines = two.run("rollback", "--list").stdout.splitlines()
        assert two.run("rollback", "--list", "--to", "0").stdout.startswith("-> 0")
    jsonschema.validate(found, json.loads((REPOSITORY / "docs/schema/rollback-list.json").read_text()))
    assert [entry["chosen"] for entry in found["deployments"]] == [False, True]
    assert lines[0].startswith(f"   0  {layer[:12]}.0  12.1  (")
    assert lines[1].startswith(f"-> 1  {base[:12]}.0  12.1  (")
    assert lines[1].endswith("  pinned")


# Clean-up.


def test_cleaning_up_the_rollback_leaves_what_boots_next(two: System) -> None:
    layer = two.deployments()[0]
    two.run("cleanup", "-r")
    assert two.deployments() == [layer]
    two.run("uninstall", "--all")
    assert two.commit() == two.base.commit


def test_cleaning_up_pending_ones_drops_nothing_of_a_system_that_is_not_booted(two: System) -> None:
    with two.unchanged():
        two.run("cleanup", "-p", "--unchanged-exit-77", status=77)


def test_a_pinned_deployment_stays(two: System) -> None:
    output("ostree", "admin", "pin", f"--sysroot={two.path}", "1")
    before = two.deployments()
    two.run("cleanup", "-r")
    assert two.deployments() == before


def test_cleaning_up_the_rollback_frees_its_objects_and_packages(two: System) -> None:
    two.run("rollback")
    assert list((two.area / "pkgs").iterdir())
    two.run("cleanup", "-r")
    assert list((two.area / "pkgs").iterdir()) == []
    assert not [path for path in (two.repo / "refs/heads/apt-ostree/pkg").glob("*") if path.is_file()]
    shown = output("ostree", "refs", f"--repo={two.repo}")
    assert "apt-ostree/pkg" not in shown
    two.fsck()


def test_cleaning_up_the_work_area_leaves_a_system_that_works(two: System) -> None:
    before = two.deployments()
    two.run("cleanup", "-b")
    assert not (two.area / "base").exists()
    assert two.deployments() == before
    two.install("rec-a")
    assert two.dpkg_status()["greeter"] == ("2.0", "install ok installed")


def test_cleaning_up_the_work_area_drops_what_was_only_downloaded(sysroot: System) -> None:
    sysroot.install("--download-only", "rec-b")
    assert len(list((sysroot.area / "pkgs").iterdir())) == 3
    sysroot.run("cleanup", "-b")
    assert list((sysroot.area / "pkgs").iterdir()) == []


def test_cleaning_up_the_lists_makes_the_next_install_fetch_them(two: System, own_archive: Archive) -> None:
    two.run("cleanup", "-m")
    assert not list((two.area / "apt").glob("lists/*Packages*"))
    done = two.install("rec-a")
    assert "Refreshed the package lists" in done.stderr
    done = two.install("rec-b")
    assert "Refreshed the package lists" not in done.stderr


def test_a_dry_clean_up_changes_nothing(two: System) -> None:
    with two.unchanged():
        done = two.run("cleanup", "-r", "--dry-run")
    assert done.stdout == (f"Would remove 1 deployment and 0.0 MB of cached files.\n  {two.deployments()[1][:12]}.0\n")


def test_a_dry_clean_up_says_what_the_clean_up_then_does(sysroot: System) -> None:
    sysroot.install("--download-only", "many-files")
    said = sysroot.run("cleanup", "-b", "-m", "-n", "--unchanged-exit-77").stdout
    done = sysroot.run("cleanup", "-b", "-m", "--unchanged-exit-77").stdout
    assert said.replace("Would remove", "Removed") == done
    assert re.search(r"[1-9]\.\d MB", done)
    sysroot.run("cleanup", "-b", "-m", "-n", "--unchanged-exit-77", status=77)
