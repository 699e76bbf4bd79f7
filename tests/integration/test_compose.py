"""Composing a base from the real archive: essential packages only, no kernel."""

from __future__ import annotations

import json
import os
import re
import stat
import threading
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.archive import Deb
from tests.integration.system import Result, output, run_cli

pytestmark = [
    pytest.mark.archive,
    pytest.mark.skipif(os.geteuid() != 0, reason="mmdebstrap, chroots and owners need root"),
]

REF = "debian/test/tiny"

MANIFEST = """\
ref = "debian/test/tiny"
suite = "{suite}"
version = "12.{{date}}"
recommends = false
packages = ["less", "passwd", "./own.deb"]
exclude = ["e2fsprogs"]
kernel-args = ["root=LABEL=root", "quiet"]
postprocess = ["(echo from the sandbox; test ! -e /run/apt-ostree; id -u) >/usr/share/postprocessed"]

[metadata]
"test.colour" = "blue"

[[files]]
path = "/etc/motd"
content = "welcome\\n"
mode = "0640"
owner = "root:adm"

[[files]]
path = "/usr/lib/test/from-source"
source = "source.txt"
"""

OWN = Deb("own", "1.0", scripts={"postinst": """
[ "$1" = configure ] || exit 0
if [ ! -e /var/lib/own/secret ]; then
    mkdir -p /etc/own /var/lib/own/inner /var/lib/owned
    cat /proc/sys/kernel/random/uuid | tee /etc/own/secret >/var/lib/own/secret
    echo constant >/var/lib/own/inner/constant
    echo constant >/var/lib/owned/constant
    echo constant >/var/cache/own
    mkdir /var/lib/pairs
    cat /proc/sys/kernel/random/uuid >/var/lib/pairs/database
fi
if [ ! -e /etc/pairs ]; then
    echo constant >/etc/pairs
fi
"""})  # fmt: skip


class Composed(NamedTuple):
    """A repository with one composed commit, and what the command said."""

    repo: Path
    manifest: Path
    commit: str
    result: Result


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Composed:
    work = tmp_path_factory.mktemp("compose")
    manifest = work / "tiny.toml"
    release = Path("/etc/os-release").read_text()
    match = re.search(r"^VERSION_CODENAME=(\w+)$", release, re.MULTILINE)
    assert match is not None
    manifest.write_text(MANIFEST.format(suite=match[1]))
    (work / "source.txt").write_text("from a file beside the manifest\n")
    OWN.build(work).rename(work / "own.deb")
    result = run_cli(
        "compose", "tree", manifest,
        "--repo", work / "repo",
        "--add-metadata", "test.shape=round",
        "--write-commitid-to", work / "commitid",
        "--json",
    )  # fmt: skip
    return Composed(work / "repo", manifest, (work / "commitid").read_text().strip(), result)


@pytest.fixture(scope="module")
def tree(composed: Composed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The commit, checked out."""
    target = tmp_path_factory.mktemp("checkout") / "tree"
    output("ostree", "checkout", f"--repo={composed.repo}", composed.commit, target)
    return target


def value(composed: Composed, key: str) -> str:
    shown = output("ostree", "show", f"--repo={composed.repo}", f"--print-metadata-key={key}", composed.commit)
    return shown.strip().strip("'")


def test_the_ref_names_the_commit_that_was_written_down(composed: Composed) -> None:
    document = composed.result.document
    assert document["commit"] == composed.commit
    assert document["ref"] == REF
    assert document["changed"] is True
    assert output("ostree", "rev-parse", f"--repo={composed.repo}", REF).strip() == composed.commit
    assert output("ostree", "refs", f"--repo={composed.repo}").split() == [REF]


def test_what_triggers_made_in_var_follows_the_image(tree: Path) -> None:
    listed = (tree / "usr/lib/apt-ostree/follow.d/base").read_text().split()
    # debianutils' trigger makes it of what other packages have in /usr/share/debianutils/shells.d.
    assert "lib/shells.state" in listed
    assert "spool/mail" not in listed


def test_what_scripts_make_differently_is_left_to_the_machine(tree: Path) -> None:
    """In /var, too; with the whole directory that was made with it. What came out the same is a template, and a cache
    follows the image."""
    lines = (tree / "usr/lib/apt-ostree/identity.d/base").read_text().splitlines()
    assert sorted(line for line in lines if line.startswith("own:")) == [
        "own:all /var/lib/own 0755:root:root", "own:all /var/lib/pairs 0755:root:root", "own:all own 0755:root:root",
    ]  # fmt: skip
    assert not (tree / "usr/etc/own").exists()
    templates = tree / "usr/share/factory/var"
    found = {path.relative_to(templates).as_posix() for path in templates.rglob("*own*")}
    assert found == {"cache/own", "lib/owned"}
    for place in ("usr/lib/apt-ostree/seeds.d", "usr/lib/apt-ostree/follow.d", "usr/lib/tmpfiles.d"):
        for file in (tree / place).glob("*base*"):
            assert not re.search(r"lib/own(/|\s)", file.read_text()), file


def test_the_tree_has_the_layout_of_ostree(tree: Path) -> None:
    top = {path.name: path for path in tree.iterdir()}
    assert "etc" not in top
    assert (tree / "usr/etc/passwd").is_file()
    assert (tree / "usr/lib/sysimage/dpkg/status").is_file()
    for name in ("var", "boot", "dev", "proc", "run", "sys", "tmp", "sysroot"):
        assert list(top[name].iterdir()) == [], name
    links = {"home": "var/home", "root": "var/roothome", "srv": "var/srv", "ostree": "sysroot/ostree"}
    assert {name: os.readlink(top[name]) for name in links} == links
    for name in ("opt", "usr/local/bin"):
        assert (tree / name).is_dir() and not (tree / name).is_symlink()
    assert (tree / "usr/local/man").resolve() == tree / "usr/local/share/man"
    assert (tree / "usr/etc/machine-id").read_text() == "uninitialized\n"


def test_the_packages_are_those_asked_for(composed: Composed, tree: Path) -> None:
    query = ["dpkg-query", f"--admindir={tree}/usr/lib/sysimage/dpkg", "--show", "--showformat=${Package}\n"]
    names = output(*query).split()
    assert {"apt", "less", "passwd"} <= set(names)
    assert "e2fsprogs" not in names
    listed = json.loads(value(composed, "apt-ostree.pkglist"))
    assert sorted({name for name, _, _ in listed}) == sorted(set(names))
    assert [entry["name"] for entry in composed.result.document["packages"]] == [name for name, _, _ in listed]


def test_the_manifest_s_files_are_there_with_mode_and_owner(tree: Path) -> None:
    motd = tree / "usr/etc/motd"
    assert motd.read_text() == "welcome\n"
    adm = next(
        line.split(":")[2] for line in (tree / "usr/etc/group").read_text().splitlines() if line.startswith("adm:")
    )
    assert (stat.S_IMODE(motd.stat().st_mode), motd.stat().st_uid, motd.stat().st_gid) == (0o640, 0, int(adm))
    assert (tree / "usr/lib/test/from-source").read_text() == "from a file beside the manifest\n"
    assert stat.S_IMODE((tree / "usr/lib/test/from-source").stat().st_mode) == 0o644


def test_postprocess_runs_as_root_and_sees_nothing_of_the_host(tree: Path) -> None:
    assert (tree / "usr/share/postprocessed").read_text() == "from the sandbox\n0\n"


def test_the_commit_carries_version_metadata_and_kernel_arguments(composed: Composed) -> None:
    assert re.fullmatch(r"12\.\d{8}", value(composed, "version"))
    assert value(composed, "version") == composed.result.document["version"]
    assert value(composed, "test.colour") == "blue"
    assert value(composed, "test.shape") == "round"
    assert json.loads(value(composed, "apt-ostree.kernel-args")) == ["root=LABEL=root", "quiet"]


def test_the_image_s_sources_are_signed_by_the_archive_s_keyring(tree: Path) -> None:
    text = (tree / "usr/etc/apt/sources.list.d/debian.sources").read_text()
    assert text.count("Types: deb\n") == text.count("Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n") > 0
    assert "apt_ostree" not in text
    assert not (tree / "usr/etc/apt/sources.list").exists()


def test_what_servers_send_is_read_without_roots_rights(composed: Composed) -> None:
    """apt says where it has to fetch as root, since its user cannot get into a directory."""
    log = (composed.repo / "extensions/apt-ostree/compose.log").read_text()
    assert "I: success in" in log
    assert "unsandboxed" not in log


def test_the_repository_is_sound_and_the_work_is_cleared_away(composed: Composed) -> None:
    output("ostree", "fsck", f"--repo={composed.repo}", "--quiet")
    assert not list((composed.repo / "extensions/apt-ostree").glob("compose-*"))


def test_a_dry_run_changes_nothing(composed: Composed, tmp_path: Path) -> None:
    done = run_cli("compose", "tree", composed.manifest, "--repo", tmp_path / "repo", "--dry-run", "--json")
    assert not (tmp_path / "repo").exists()
    assert done.document["commit"] is None
    assert done.document["packages"] == composed.result.document["packages"]


def test_composing_the_same_again_changes_nothing(composed: Composed) -> None:
    run_cli("compose", "tree", composed.manifest, "--repo", composed.repo, "--unchanged-exit-77", status=77)
    assert output("ostree", "rev-parse", f"--repo={composed.repo}", REF).strip() == composed.commit


# test_compose_tree.py of the unit tests says it in no time.
@pytest.mark.slow
def test_without_a_parent_the_commit_has_none(composed: Composed) -> None:
    text = composed.manifest.read_text().replace("welcome", "changed")
    other = composed.manifest.with_name("other.toml")
    other.write_text(text.replace("postprocess", "# postprocess"))
    run_cli("compose", "tree", other, "--repo", composed.repo, "--no-parent")
    shown = output("ostree", "show", f"--repo={composed.repo}", REF)
    assert "Parent:" not in shown
    assert output("ostree", "rev-parse", f"--repo={composed.repo}", REF).strip() != composed.commit


def test_a_failing_postprocess_commits_nothing(composed: Composed, tmp_path: Path) -> None:
    other = composed.manifest.with_name("failing.toml")
    text = re.sub(r"(?m)^postprocess.*$", 'postprocess = ["echo the reason; exit 9"]', composed.manifest.read_text())
    other.write_text(text)
    failure = run_cli("compose", "tree", other, "--repo", tmp_path / "repo", status=1).failure
    assert failure.brief == "postprocess script 1 failed (exit status 9)"
    lines = failure.detail.splitlines()
    assert "the reason" in lines
    assert Path(lines[-1].removeprefix("the whole log: ")).is_file()
    assert output("ostree", "refs", f"--repo={tmp_path}/repo").split() == []


def test_nobody_else_gets_to_a_tree_that_is_composed(tmp_path: Path) -> None:
    """It has set-user-ID programs, and directories of users who have a number on this host, too: whatever the mode of
    the repository."""
    output("ostree", "init", f"--repo={tmp_path}/repo", "--mode=bare")
    (tmp_path / "repo").chmod(0o755)
    manifest = tmp_path / "x.toml"
    modes = tmp_path / "modes"
    manifest.write_text('ref = "x"\nsuite = "x"\nversion = "1"\npackages = []\nmirrors = ["http://127.0.0.1:9"]\n')
    watcher = threading.Thread(target=_note_modes, args=(tmp_path / "repo/extensions/apt-ostree", modes))
    watcher.start()
    run_cli("compose", "tree", manifest, "--repo", tmp_path / "repo", status=1)
    watcher.join()
    assert modes.read_text() == "700"


def _note_modes(place: Path, modes: Path) -> None:
    """The mode of the work directory once there is something in it."""
    end = time.monotonic() + 60
    while not (found := [work for work in place.glob("compose-*") if any(work.glob("open/*"))]):
        if time.monotonic() > end:
            return
        time.sleep(0.001)
    modes.write_text(f"{stat.S_IMODE(found[0].stat().st_mode):o}")
