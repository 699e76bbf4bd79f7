"""Another base and newer packages: upgrade, rebase, deploy, remotes, and what goes wrong on the way."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.archive import SUITE, Archive, public_directory
from tests.integration.served import BROKEN, HALF, SLOW, WRONG, Served, Version, refs, serving, small_archive
from tests.integration.system import REF, REPOSITORY, Base, Result, System, chosen_cli, output, run_cli

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="sysroots, the sandbox and apt's own user need root")

REMOTE = "example"


@pytest.fixture(scope="module")
def served(base_repo: Base, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Versions 12.1 and 12.2 under REF, and another ref with one version."""
    with serving(base_repo, tmp_path_factory.mktemp("served")) as server:
        yield server


@pytest.fixture(scope="module")
def old(served: Served) -> Version:
    return served.publish("12.1")


@pytest.fixture(scope="module")
def archives(old: Version) -> Iterator[tuple[Archive, Archive]]:
    """What the archive had when 12.1 came out, and what it has now."""
    with public_directory() as one, public_directory() as two:
        then = {"tool": ("1.0", ""), "aid": ("1.0", ""), "gone": ("1.0", ""), "ahead": ("1.0", "")}
        now = {
            "tool": ("2.0", ""),
            "aid": ("2.0", ""),
            "fresh": ("1.0", ""),
            "picky": ("1.0", "Depends: aid (>= 2)\n"),
            "ahead": ("2.0", "Depends: base-lib (>= 9)\n"),
        }
        yield small_archive(one, then), small_archive(two, now, "Debian-Security")


@pytest.fixture(scope="module")
def following(
    template: System, served: Served, old: Version, archives: tuple[Archive, Archive], tmp_path_factory: Any
) -> System:
    """A sysroot that follows the served ref at 12.1, with tool and aid 1.0 layered. Not to be changed."""
    system = template.clone(tmp_path_factory.mktemp("following") / "sysroot")
    system.run("remote", "add", REMOTE, served.url, "--gpg-import", served.key)
    system.run("rebase", f"{REMOTE}:{REF}")
    system.use_archive(archives[0])
    system.install("tool", "aid")
    return system


@pytest.fixture
def system(following: System, served: Served, tmp_path: Path) -> Iterator[System]:
    """A fresh copy of it; the server works, and has 12.2 by now."""
    served.fault = None
    clone = following.clone(tmp_path / "sysroot")
    yield clone
    clone.remove()


@pytest.fixture(scope="module")
def new(following: System, served: Served) -> Version:
    """12.2, with a newer base-lib."""
    return served.publish("12.2", day=1, packages={"base-lib": "1.5"})


def check_document(result: Result, schema: str) -> dict[str, Any]:
    """The JSON document, which has to fit its schema."""
    document = result.document
    jsonschema.validate(document, json.loads((REPOSITORY / "docs/schema" / schema).read_text()))
    return document


def version_of(system: System, package: str, index: int = 0) -> str | None:
    found = system.dpkg_status(index).get(package)
    return found[0] if found else None


def inactive(system: System) -> dict[str, str]:
    """The requests that status calls inactive, and why."""
    listed = system.run("status", "--json").document["deployments"][0]["inactive-requests"]
    return {entry["request"]: entry["reason"] for entry in listed}


def test_what_a_preview_prints_is_what_the_upgrade_then_does(
    system: System, new: Version, archives: tuple[Archive, Archive]
) -> None:
    system.use_archive(archives[1])
    before = system.deployments()
    preview = system.run("upgrade", "--preview", "--json").document
    assert system.deployments() == before
    done = check_document(system.run("upgrade", "--json"), "outcome.json")
    for key in ("packages", "difference", "base", "previous-base"):
        assert preview[key] == done[key], key
    assert (done["base"]["checksum"], done["previous-base"]["version"]) == (new.commit, "12.1")
    assert [version_of(system, name) for name in ("base-lib", "tool", "aid")] == ["1.5", "2.0", "2.0"]
    assert system.requested() == ["tool", "aid"]
    assert f"Parent:  {new.commit}\n" in output("ostree", "show", f"--repo={system.repo}", system.commit())
    assert system.run("upgrade", "--preview", status=77).stdout.startswith("Already up to date: base 12.2 (")


def test_a_check_fetches_metadata_alone_and_status_remembers_it(
    system: System, new: Version, served: Served, archives: tuple[Archive, Archive]
) -> None:
    system.use_archive(archives[1])
    served.asked.clear()
    before, heads = system.deployments(), refs(system.repo, "heads")
    document = check_document(system.run("upgrade", "--check", "--json"), "update.json")
    assert system.deployments() == before
    assert refs(system.repo, "heads") == heads
    assert not [path for path in served.asked if path.endswith((".filez", ".dirtree"))]
    update = document["update"]
    assert (update["checksum"], update["version"]) == (new.commit, "12.2")
    assert [entry["new"]["name"] for entry in update["difference"]["changed"]] == ["base-lib"]
    assert [entry["new"]["version"] for entry in update["layered"]["changed"]] == ["2.0", "2.0"]
    status = check_document(system.run("status", "--json"), "status.json")
    assert status["cached-update"] == update


def test_only_the_packages_named_change_their_versions(
    system: System, new: Version, archives: tuple[Archive, Archive]
) -> None:
    system.use_archive(archives[1])
    document = system.run("upgrade", "tool", "-n", "--json").document
    assert document["base"]["version"] == "12.2"
    packages = [(entry["name"], entry["version"]) for entry in document["packages"]]
    assert packages == [("aid", "1.0"), ("tool", "2.0")]
    failure = system.run("upgrade", "tools", status=1).failure
    assert (failure.brief, failure.detail) == ("not layered: tools", "layered packages: aid, tool")


def test_what_is_layered_keeps_its_version_until_an_upgrade_names_it(
    system: System, archives: tuple[Archive, Archive]
) -> None:
    system.use_archive(archives[1])
    with system.unchanged():
        failure = system.run("install", "picky", status=1).failure
    assert failure.brief == "cannot install picky: other versions of layered packages are needed"
    assert failure.detail == "picky depends on aid (>= 2), but 1.0 is installed"
    assert "apt-ostree upgrade aid " in failure.resolution
    document = system.run("upgrade", "--layers-only", "aid", "--install", "picky", "-n", "--json").document
    assert [entry["name"] for entry in document["packages"]] == ["aid", "picky", "tool"]
    assert [entry["version"] for entry in document["packages"]] == ["2.0", "1.0", "1.0"]


def test_the_base_stays_where_only_layers_are_upgraded(
    system: System, old: Version, new: Version, archives: tuple[Archive, Archive]
) -> None:
    system.use_archive(archives[1])
    document = system.run("upgrade", "--layers-only", "--preview", "--json").document
    assert document["base"]["checksum"] == old.commit
    changed = [(entry["new"]["name"], entry["new"]["version"]) for entry in document["difference"]["changed"]]
    assert changed == [("aid", "2.0"), ("tool", "2.0")]


def test_an_upgrade_adds_and_drops_requests_in_the_same_step(
    system: System, new: Version, archives: tuple[Archive, Archive]
) -> None:
    system.use_archive(archives[1])
    system.run("upgrade", "--install", "fresh", "--uninstall", "aid")
    assert system.requested() == ["tool", "fresh"]
    assert [version_of(system, name) for name in ("tool", "fresh", "aid")] == ["2.0", "1.0", None]


def test_security_updates_are_marked(system: System, new: Version, archives: tuple[Archive, Archive]) -> None:
    system.use_archive(archives[1])
    result = system.run("upgrade", "--preview", "--security")
    assert "  tool 1.0 -> 2.0  (security)\n" in result.stdout
    assert "  base-lib 1.0 -> 1.5\n" in result.stdout


def test_security_updates_of_the_base_are_marked(system: System, new: Version) -> None:
    with public_directory() as directory:
        archive = small_archive(directory, {"tool": ("1.0", ""), "aid": ("1.0", ""), "base-lib": ("1.5", "")})
        (archive.root / f"dists/{SUITE}-security").symlink_to(SUITE)
        system.use_archive(archive)
        sources = system.deployment() / "etc/apt/sources.list.d/fixtures.sources"
        sources.write_text(sources.read_text().replace(f"Suites: {SUITE}", f"Suites: {SUITE}-security"))
        result = system.run("upgrade", "--preview", "--security")
    assert "  base-lib 1.0 -> 1.5  (security)\n" in result.stdout


def test_accounts_keep_their_numbers_through_an_upgrade(
    system: System, new: Version, archive: Archive, archives: tuple[Archive, Archive]
) -> None:
    def number(index: int = 0) -> str:
        lines = (system.deployment(index) / "usr/etc/passwd").read_text().splitlines()
        return next(line.split(":")[2] for line in lines if line.startswith("user-maker:"))

    system.use_archive(archive)
    # The first number is taken, so that the package would get another one if it were asked anew.
    system.install("a-user-maker", "user-maker")
    before = number()
    system.run("upgrade", "--skip-missing", "--uninstall", "a-user-maker")
    assert version_of(system, "base-lib") == "1.5"
    assert number() == before


def test_an_older_base_is_refused_unless_that_is_allowed(
    system: System, served: Served, old: Version, new: Version
) -> None:
    served.publish("12.0", day=-1)
    try:
        with system.unchanged():
            failure = system.run("upgrade", status=1).failure
        assert failure.brief == f"{REMOTE}:{REF} is older than the base in use"
        assert re.findall(r"12\.\d", failure.detail) == ["12.1", "12.0"]
        assert "--allow-downgrade" in failure.resolution
        assert system.run("upgrade", "--allow-downgrade", "-n", "--json").document["base"]["version"] == "12.0"
    finally:
        served.point(REF, new.commit)


def test_a_request_that_the_base_fulfils_is_inactive_until_the_base_drops_it(system: System, served: Served) -> None:
    ref = "debian/test/with-tool"
    served.publish("13.0", ref=ref, day=2, packages={"tool": "1.0"})
    system.run("rebase", ref)
    assert inactive(system) == {"tool": "tool 1.0 is part of the base"}
    assert system.requested() == ["tool", "aid"]
    served.publish("13.1", ref=ref, day=3)
    packages = system.run("upgrade", "-n", "--json").document["packages"]
    assert [(entry["name"], entry["version"]) for entry in packages] == [("aid", "1.0"), ("tool", "1.0")]


def test_an_override_that_another_base_makes_moot_is_inactive_and_says_so(
    system: System, served: Served, archive: Archive
) -> None:
    system.run("override", "replace", f"{archive.root}/pool/main/base-lib_2.0_all.deb")
    system.run("uninstall", "--all")
    other = served.publish("12.9", ref="other", day=3, packages={"base-lib": "2.0"})
    done = system.run("rebase", f"{REMOTE}:other")
    assert "warning: the override of base-lib is inactive: the base has 2.0\n" in done.stderr
    assert inactive(system) == {"base-lib": "the base has 2.0"}
    assert version_of(system, "base-lib") == "2.0"
    system.run("override", "reset", "base-lib")
    assert system.commit() == other.commit


def test_a_vanished_package_is_named_and_stays_on_record_where_it_is_skipped(
    system: System, new: Version, archives: tuple[Archive, Archive]
) -> None:
    system.install("gone")
    system.use_archive(archives[1])
    with system.unchanged():
        failure = system.run("upgrade", "--layers-only", status=1).failure
    assert failure.brief.startswith("no package is named gone")
    assert "apt-ostree uninstall gone" in failure.resolution and "--skip-missing" in failure.resolution
    result = system.run("upgrade", "--layers-only", "--skip-missing")
    assert "left out this time: no package is named gone" in result.stderr
    assert system.requested() == ["tool", "aid", "gone"]
    assert version_of(system, "gone") is None
    assert inactive(system) == {"gone": "no archive had it"}
    # What is inactive stops nothing that comes later.
    packages = system.run("install", "fresh", "-n", "--json").document["packages"]
    assert [entry["name"] for entry in packages] == ["aid", "fresh", "tool"]


def test_skew_between_archive_and_base_is_named_with_the_ways_out(
    system: System, new: Version, archives: tuple[Archive, Archive]
) -> None:
    system.install("ahead")
    system.use_archive(archives[1])
    with system.unchanged():
        failure = system.run("upgrade", "--layers-only", status=1).failure
    assert failure.brief == "cannot install ahead over this base"
    assert failure.detail == "ahead depends on base-lib (>= 9), but 1.0 is installed"
    for way in ("apt-ostree upgrade", "apt-ostree override replace", "apt-ostree uninstall ahead"):
        assert way in failure.resolution
    # What fits is upgraded where it is named, and the other keeps its version.
    packages = system.run("upgrade", "tool", "aid", "-n", "--json").document["packages"]
    assert {entry["name"]: entry["version"] for entry in packages} == {"tool": "2.0", "aid": "2.0", "ahead": "1.0"}


def test_an_upgrade_to_a_base_that_lists_nothing_reads_its_package_database(
    system: System, served: Served, new: Version
) -> None:
    foreign = served.publish("", day=2, packages={"base-lib": "1.7"}, described=False)
    try:
        update = system.run("upgrade", "--check", "--json").document["update"]
        assert (update["checksum"], update["version"], update["difference"]) == (foreign.commit, None, None)
        changed = system.run("upgrade", "--preview", "--json").document["difference"]["changed"]
        assert [(entry["new"]["name"], entry["new"]["version"]) for entry in changed] == [("base-lib", "1.7")]
    finally:
        served.point(REF, new.commit)


def test_a_version_or_a_commit_is_deployed_with_what_is_layered(system: System, old: Version, new: Version) -> None:
    system.run("deploy", new.commit[:12])
    assert [version_of(system, name) for name in ("base-lib", "tool")] == ["1.5", "1.0"]
    again = system.run("deploy", "12.2", "--unchanged-exit-77", status=77)
    assert again.stdout.startswith("Nothing to do: base 12.2 (")
    document = check_document(system.run("deploy", "version=12.1", "-n", "--json"), "outcome.json")
    assert document["base"]["checksum"] == old.commit


def test_a_commit_of_another_ref_is_deployed_only_without_the_branch_check(
    system: System, served: Served, new: Version
) -> None:
    other = served.publish("14.0", ref="debian/test/other", day=4)
    with system.unchanged():
        failure = system.run("deploy", other.commit, status=1).failure
    assert failure.brief == f"{other.commit} is not in the history of {REMOTE}:{REF}"
    assert failure.detail == "it has: 12.2, 12.1"
    document = system.run("deploy", "--skip-branch-check", other.commit, "-n", "--json").document
    assert document["base"]["checksum"] == other.commit


def test_a_rebase_follows_another_ref_and_forgets_the_old_one(system: System, served: Served, new: Version) -> None:
    ref = "debian/test/rebase"
    first = served.publish("15.0", ref=ref, day=5)
    served.publish("15.1", ref=ref, day=6)
    document = check_document(system.run("rebase", f"{REMOTE}:{ref}", "15.0", "--json"), "outcome.json")
    assert document["base"]["checksum"] == first.commit
    assert system.origin().get("origin", "baserefspec") == f"{REMOTE}:{ref}"
    assert version_of(system, "tool") == "1.0"
    assert f"{REMOTE}/{REF}" not in refs(system.repo, "remotes")
    assert system.run("rebase", ref, "-n", "--json").document["base"]["version"] == "15.1"
    # The commit is here: what the local repository has can be followed, too.
    system.run("rebase", first.commit)
    assert system.origin().get("origin", "baserefspec") == first.commit
    system.run("upgrade", "--unchanged-exit-77", status=77)


def test_without_the_network_a_base_is_what_was_fetched_of_that_very_ref(
    system: System, served: Served, old: Version, new: Version
) -> None:
    ref = "debian/test/cached"
    earlier = served.publish("11.0", ref=ref, day=-2)
    with system.unchanged():
        failure = system.run("rebase", ref, "-C", status=1).failure
        assert failure.brief == f"{REMOTE}:{ref} was never fetched"
        # A commit that is here is of the ref that it was fetched for.
        failure = system.run("rebase", ref, old.commit, "-C", status=1).failure
        assert failure.brief == f"{old.commit} is not in the history of {REMOTE}:{ref}"
        failure = system.run("rebase", f":{REF}", status=1).failure
        assert failure.brief == f"the local repository does not have {REF}"
    before = system.deployments()
    system.run("rebase", ref, "-D")
    assert system.deployments() == before
    # It is older than what is in use, which is no reason to take anything else.
    assert system.run("rebase", ref, "-C", "-n", "--json").document["base"]["checksum"] == earlier.commit
    assert system.run("rebase", ref, old.commit, "-C", "-n", "--skip-branch-check").stdout
    # What is deployed came from the ref that is followed, whatever of it was fetched by name.
    system.run("upgrade", "-C", "--unchanged-exit-77", status=77)
    system.run("upgrade", "-D")
    assert system.deployments() == before
    served.fault = (".", BROKEN)
    assert system.run("upgrade", "-C", "-n", "--json").document["base"]["checksum"] == new.commit
    assert system.run("deploy", "12.2", "-C", "-n", "--json").document["base"]["checksum"] == new.commit


def test_a_base_is_downloaded_once(system: System, new: Version) -> None:
    system.run("uninstall", "--all")
    before = system.deployments()
    words = ["upgrade", "--download-only", "--unchanged-exit-77"]
    assert system.run(*words).stdout.startswith("Downloaded; nothing else was done.\n")
    assert system.run(*words, status=77).stdout.startswith("Nothing to do: ")
    assert system.deployments() == before


def test_a_version_is_deployed_by_what_is_said_of_it(system: System, old: Version, new: Version) -> None:
    before = system.deployments()
    system.run("deploy", f"revision={new.commit[:10]}", "-D")
    assert system.deployments() == before
    assert system.run("deploy", f"revision={new.commit}", "-n", "--json").document["base"]["checksum"] == new.commit
    for word in ("revision=12.2", f"version={new.commit}"):
        assert "is not in the history" in system.run("deploy", word, status=1).failure.brief


def test_a_local_ref_is_followed_and_looked_at(system: System, served: Served, old: Version, new: Version) -> None:
    for version in (old, new):
        output("ostree", "pull", f"--repo={system.repo}", REMOTE, version.commit)
        output("ostree", "refs", f"--repo={system.repo}", "--create=mine", "--force", version.commit)
        if version is old:
            system.run("rebase", ":mine")
            system.run("upgrade", "--check", status=77)
    assert system.origin().get("origin", "baserefspec") == "mine"
    assert system.run("upgrade", "--check", "--json").document["update"]["version"] == "12.2"
    assert system.run("refresh-md", "--json").document["update"]["version"] == "12.2"
    assert system.run("upgrade", "-n", "--json").document["base"]["checksum"] == new.commit


def test_a_base_that_was_chosen_by_its_checksum_says_that_it_follows_nothing(system: System, old: Version) -> None:
    system.run("rebase", f":{old.commit}")
    done = system.run("upgrade")
    assert done.stdout == "Already up to date: 2 layered packages.\n"
    assert f"warning: the base stays at commit {old.commit[:12]}" in done.stderr and "rebase REMOTE:REF" in done.stderr


def test_a_check_without_the_network_forgets_nothing(system: System, new: Version) -> None:
    system.run("upgrade", "--check")
    found = system.run("upgrade", "--check", "-C", "--json").document["update"]
    assert found["version"] == "12.2"
    assert system.run("status", "--json").document["cached-update"]["version"] == "12.2"


def test_a_program_that_wraps_a_pull_sees_how_far_it_is(system: System, served: Served, tmp_path: Path) -> None:
    ref = "debian/test/watched"
    served.publish("16.0", ref=ref, day=7, files={f"usr/lib/watched/{n}": f"{n}\n" for n in range(40)})
    served.fault = (r"\.filez$", SLOW)
    words = shlex.join(
        [*chosen_cli(), "--sysroot", str(system.path), "rebase", f"{REMOTE}:{ref}", "--progress-fd", "3"]
    )
    output("bash", "-c", f"{words} 3> {tmp_path}/events")
    lines = [json.loads(line) for line in (tmp_path / "events").read_text().splitlines()]
    pulling = [line for line in lines if line["phase"] == "pull" and line["total"]]
    assert pulling
    assert all(0 < line["done"] <= line["total"] for line in pulling)
    assert [line["done"] for line in pulling] == sorted(line["done"] for line in pulling)
    # Its words about speed and size, in ostree's own units.
    assert re.fullmatch(r"[\d.]+ [kM]?(?:B|bytes)/s .*", pulling[-1]["message"])


def test_a_remote_is_added_listed_and_deleted(system: System, served: Served, tmp_path: Path) -> None:
    listed = check_document(system.run("remote", "list", "--json"), "remotes.json")["remotes"]
    found = {"name": REMOTE, "url": served.url, "gpg-verify": True, "sign-verify": False, "file": None}
    assert found in listed
    system.run(
        "remote",
        "add",
        "second",
        "https://example.org/repo",
        "--no-gpg-verify",
        "--set",
        "tls-permissive=false",
    )
    assert "second   https://example.org/repo  (not verified)\n" in system.run("remote", "list", "-u").stdout
    document = check_document(system.run("remote", "delete", "second", "--json"), "deployments.json")
    assert document["changed"] is True
    assert "second" not in system.run("remote", "list").stdout
    # Not in a deployment's /etc, which a rollback would exchange.
    assert f'[remote "{REMOTE}"]' in (system.repo / "config").read_text()
    with system.unchanged():
        assert system.run("remote", "delete", "second", status=1).failure.brief == "remote second does not exist"
        system.run("remote", "delete", "second", "--if-exists", "--unchanged-exit-77", status=77)
        assert system.run("remote", "add", REMOTE, "https://example.org", status=1).failure.detail == served.url
        words = ["remote", "add", REMOTE, "https://example.org", "--if-not-exists", "--unchanged-exit-77"]
        system.run(*words, status=77)
        (tmp_path / "no.key").write_text("no key\n")
        config = (system.repo / "config").read_text()
        words = ["remote", "add", "third", "https://example.org", "--gpg-import", str(tmp_path / "no.key")]
        assert system.run(*words, status=1).failure.brief == "cannot add the remote third"
        assert (system.repo / "config").read_text() == config


def test_a_remote_of_the_administrators_own_file_is_left_to_the_administrator(system: System) -> None:
    place = system.deployment() / "etc/ostree/remotes.d"
    place.mkdir(parents=True)
    (place / "own.conf").write_text('[remote "own"]\nurl=https://example.org\n')
    for words in (["delete", "own"], ["add", "own", "https://example.org"]):
        failure = system.run("remote", *words, status=1).failure
        assert f"{place}/own.conf" in failure.detail
    assert list(place.iterdir()) == [place / "own.conf"]
    (found,) = (r for r in system.run("remote", "list", "--json").document["remotes"] if r["name"] == "own")
    assert found["file"] == f"{place}/own.conf"


FILES = r"\.filez$"


@pytest.mark.parametrize(
    ("fault", "brief"),
    [
        ((FILES, BROKEN), "cannot pull {}"),
        ((FILES, HALF), "cannot pull {}: the remote sent damaged data"),
        ((FILES, WRONG), "cannot pull {}: the remote sent damaged data"),
        ((r"/refs/heads/", BROKEN), "cannot pull {}"),
    ],
)
def test_a_fault_of_the_server_loses_nothing_and_a_retry_succeeds(
    system: System, served: Served, new: Version, fault: tuple[str, str], brief: str
) -> None:
    served.fault = fault
    with system.unchanged():
        failure = system.run("upgrade", status=1).failure
    assert failure.brief == brief.format(f"{REMOTE}:{REF}"), failure
    assert failure.detail and failure.resolution
    served.fault = None
    assert system.run("upgrade", "--preview", "--json").document["base"]["version"] == "12.2"
    system.fsck()


def test_a_commit_by_another_key_is_refused(system: System, served: Served, archive: Archive, new: Version) -> None:
    system.run("remote", "delete", REMOTE)
    failure = system.run("upgrade", status=1).failure
    assert failure.brief == f"cannot pull {REMOTE}:{REF}: the remote does not exist"
    system.run("remote", "add", REMOTE, served.url, "--gpg-import", archive.keyring)
    with system.unchanged():
        failure = system.run("upgrade", status=1).failure
    assert failure.brief == f"cannot pull {REMOTE}:{REF}: it is not signed with a key of this remote"
    system.run("remote", "delete", REMOTE)
    system.run("remote", "add", REMOTE, served.url, "--gpg-import", served.key)
    assert system.run("upgrade", "--preview", "--json").document["base"]["version"] == "12.2"


def test_a_composed_sysroot_verifies_what_comes_from_its_url(served: Served, new: Version, tmp_path: Path) -> None:
    trusting, careful = tmp_path / "trusting", tmp_path / "careful"
    words = ("compose", "sysroot", "--repo", served.repo, "--remote-url", served.url)
    run_cli(*words, "--no-gpg-verify", REF, trusting)
    made = run_cli(*words, "--gpg-import", served.key, REF, careful, "--json").document
    assert made["sysroot"] == str(careful)
    for path, verified in ((trusting, False), (careful, True)):
        (found,) = run_cli("remote", "list", "--sysroot", path, "--json").document["remotes"]
        assert (found["name"], found["url"], found["gpg-verify"]) == ("debian", served.url, verified)


def test_a_missing_ref_is_named(system: System) -> None:
    with system.unchanged():
        failure = system.run("rebase", "debian/test/none", status=1).failure
        assert failure.brief == f"cannot pull {REMOTE}:debian/test/none: the remote does not have this ref"
        failure = system.run("rebase", ":debian/test/none", status=1).failure
        assert failure.brief == "the local repository does not have debian/test/none"


def test_a_dead_archive_stops_nothing_that_does_not_need_it(system: System, new: Version, own_archive: Archive) -> None:
    system.use_archive(own_archive)
    pool = own_archive.root.parent / "pool"
    (own_archive.root / "pool").rename(pool)
    (own_archive.root / "dists").rename(pool / "dists")
    result = system.run("install", f"{pool}/main/greeter_2.0_all.deb", "--uninstall", "tool")
    assert "cannot refresh the package lists; continuing without them" in result.stderr
    assert version_of(system, "greeter") == "2.0"
    assert system.run("install", "fresh", status=1).failure.brief == "cannot refresh the package lists"
    system.run("uninstall", "--all")
    assert "cannot refresh" not in system.run("upgrade").stderr
    assert version_of(system, "base-lib") == "1.5"


def test_a_reset_goes_back_to_the_pure_base(system: System, old: Version) -> None:
    system.run("override", "remove", "base-lib")
    system.run("reset", "--overrides")
    assert (version_of(system, "base-lib"), version_of(system, "tool")) == ("1.0", "1.0")
    system.run("reset")
    assert system.commit() == old.commit
    assert system.origin().has_option("origin", "refspec")
    system.run("reset", "--unchanged-exit-77", status=77)


def test_a_reinstallation_fetches_the_package_anew_and_keeps_its_version(
    system: System, archives: tuple[Archive, Archive]
) -> None:
    assert system.run("install", "tool", "--unchanged-exit-77", status=77)
    document = system.run("install", "--reinstall", "tool", "--json").document
    assert (document["changed"], document["reused"]) == (True, False)
    assert version_of(system, "tool") == "1.0"
    assert len(set(map(system.commit, (0, 1)))) == 2
    assert system.content(0) == system.content(1)


def test_refresh_md_fetches_lists_and_looks_at_the_remote(
    system: System, new: Version, archives: tuple[Archive, Archive]
) -> None:
    system.use_archive(archives[1])
    document = check_document(system.run("refresh-md", "-f", "--json"), "update.json")
    assert document["update"]["version"] == "12.2"
    stamp = (system.area / "apt/lists.json").read_text()
    assert "Available: 12.2 " in system.run("refresh-md").stdout
    assert (system.area / "apt/lists.json").read_text() == stamp


def test_an_upgrade_repeats_the_initramfs_that_is_made_here(system: System, served: Served) -> None:
    dracut = {
        "usr/bin/dracut": '#!/bin/sh\nimage=$1\nshift\n{ echo "$*"; cat /usr/lib/base-version; } >"$image"\n',
        "usr/bin/lsinitrd": "#!/bin/sh\necho ostree\n",
    }
    served.publish("12.1", ref="own-initramfs", files=dracut)
    system.run("rebase", f"{REMOTE}:own-initramfs")
    (system.deployment() / "etc/crypttab").write_text("one\n")
    system.run("initramfs", "--enable", "--arg=--one")
    system.run("initramfs-etc", "--track", "/etc/crypttab")
    (system.deployment() / "etc/crypttab").write_text("two\n")
    served.publish("12.2", ref="own-initramfs", day=1, files=dracut)
    system.run("upgrade")
    made = (system.deployment() / "usr/lib/modules/0.0/initramfs.img").read_text()
    assert made == "0.0 --force --no-hostonly --reproducible --add ostree --one\n12.2\n"
    assert b"two" in (system.path / "boot" / system.entry()["initrd"][1].lstrip("/")).read_bytes()
