"""Composing a tree: the command that makes its root, what is written into it, and when its ref moves."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from apt_ostree.errors import TreeError, UsageError
from apt_ostree.host.door import Tree
from apt_ostree.inputs.manifest import File, Manifest
from apt_ostree.model import CommitInfo, Package
from apt_ostree.ops import compose_tree, customise
from apt_ostree.ops.compose_tree import Composition, TreeOptions
from apt_ostree.tools import dpkg, listing, mmdebstrap, ostree
from apt_ostree.tree import layout, users
from tests.unit.fake import Silent


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "usr/bin").mkdir(parents=True)
    (root / "bin").symlink_to("usr/bin")
    (root / "vendor").symlink_to("/usr/bin")
    (root / "up").symlink_to("../../outside")
    (root / "away").symlink_to(tmp_path / "outside")
    (tmp_path / "outside").mkdir()
    return root


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("/etc/new/file", "etc/new/file"),
        ("/bin/tool", "usr/bin/tool"),
        ("/vendor/tool", "usr/bin/tool"),
        ("/bin/deep/er/tool", "usr/bin/deep/er/tool"),
    ],
)
def test_a_file_is_written_where_the_trees_links_lead(root: Path, name: str, place: str) -> None:
    assert customise._make_parents(Tree(root), name) == place
    assert (root / place).parent.is_dir()


@pytest.mark.parametrize("name", ["/up/file", "/away/file", "/up/more/file"])
def test_no_link_leads_out_of_the_tree(root: Path, name: str) -> None:
    with pytest.raises(UsageError, match=f"cannot write {name}"):
        customise._make_parents(Tree(root), name)
    assert list((root.parent / "outside").iterdir()) == []


@pytest.mark.parametrize(
    "planted",
    [
        {"etc": ""}, {"etc/apt": ""}, {"etc/apt/sources.list.d": ""}, {"etc/apt/apt.conf.d": ""}, {"etc/motd": "file"},
        {"etc/apt/sources.list": "file"}, {"etc/apt/apt.conf.d/20recommends": "file"},
        {"etc/apt/sources.list.d/debian.sources": "file"},
    ],
    ids=lambda planted: next(iter(planted)),
)  # fmt: skip
def test_nothing_is_written_or_removed_through_a_link_that_a_script_left(
    root: Path, tmp_path: Path, planted: dict[str, str]
) -> None:
    outside = tmp_path / "outside"
    (outside / "file").write_text("the host's")
    for name, target in planted.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(outside / target)
    (root / "etc").mkdir(exist_ok=True)
    recipe = replace(RECIPE, files=(File("/etc/motd", "hello", owner=f"{os.getuid()}:{os.getgid()}"),))
    with contextlib.suppress(TreeError, UsageError):
        customise.customise(root, recipe, ("deb x y z",), tmp_path / "log", Silent())
    assert [path.name for path in outside.iterdir()] == ["file"]
    assert (outside / "file").read_text() == "the host's"


def test_a_boot_that_is_a_link_has_no_kernel_of_the_host(root: Path, tmp_path: Path) -> None:
    (tmp_path / "outside/vmlinuz-6.1").write_text("the host's")
    (root / "usr/lib/modules/6.1").mkdir(parents=True)
    (root / "boot").symlink_to(tmp_path / "outside")
    with pytest.raises(TreeError, match="/boot is not a directory"):
        compose_tree._place_kernel(root)


def test_an_image_knows_where_it_came_from_and_no_password(root: Path) -> None:
    customise._write_sources(Tree(root), ["deb https://me:secret@example.org/debian trixie main contrib"])
    text = (root / "etc/apt/sources.list.d/debian.sources").read_text()
    assert "URIs: https://example.org/debian\nSuites: trixie\nComponents: main contrib\n" in text
    assert "secret" not in text


RECIPE = Manifest("debian/13", "trixie", packages=("vim", "./own.deb", "jq=1"), exclude=("nano",))


def test_mmdebstrap_gets_names_to_include_and_to_leave_out_but_no_files() -> None:
    composition = Composition(RECIPE, "13.1", "amd64", ("deb https://example.org trixie main",))
    assert composition.root.packages == ("vim", "jq=1", "nano-")


@pytest.mark.parametrize(
    ("line", "keyring"),
    [
        ("deb https://example.org trixie main", mmdebstrap.KEYRING),
        ("deb [signed-by=/k.gpg] https://example.org trixie main", None),
    ],
)
def test_the_archives_keyring_signs_sources_that_name_no_key(line: str, keyring: str | None) -> None:
    assert Composition(RECIPE, "13.1", "amd64", (line,)).root.keyring == keyring


def test_a_root_is_made_of_what_the_manifest_says(tmp_path: Path) -> None:
    wanted = Composition(replace(RECIPE, recommends=True), "13.1", "arm64", ("deb x y z",)).root
    command = mmdebstrap.arguments(wanted, ["--simulate"], Path("/dev/null"), tmp_path)
    assert command[-3:] == ["trixie", "/dev/null", str(tmp_path / "bootstrap.list")]
    assert (tmp_path / "bootstrap.list").read_text() == "deb x y z\n"
    assert {"--simulate", "--architectures=arm64", "--variant=apt", "--include=vim,jq=1,nano-"} <= set(command)


def test_a_manifests_mirrors_take_the_place_of_the_hosts() -> None:
    recipe = replace(RECIPE, mirrors=("https://a.example", "https://b.example"), components=("main", "contrib"))
    assert compose_tree._archives(recipe) == [
        "deb https://a.example trixie main contrib",
        "deb https://b.example trixie main contrib",
    ]


@pytest.mark.parametrize(("kernels", "booting"), [([], None), (["6.1"], "6.1")])
def test_the_one_kernel_of_a_tree_boots(root: Path, kernels: list[str], booting: str | None) -> None:
    _kernels(root, kernels)
    assert compose_tree._place_kernel(root) == booting


def test_a_tree_with_two_kernels_is_refused(root: Path) -> None:
    _kernels(root, ["6.1", "6.12"])
    with pytest.raises(TreeError, match="more than one kernel"):
        compose_tree._place_kernel(root)


def _kernels(root: Path, versions: list[str]) -> None:
    (root / "boot").mkdir()
    for version in versions:
        (root / f"boot/vmlinuz-{version}").write_text("kernel")
        (root / f"usr/lib/modules/{version}").mkdir(parents=True)


@pytest.mark.parametrize(("name", "number"), [("33", 33), ("www-data", 7), ("svc", 900)])
def test_an_owner_is_a_number_or_an_account_of_the_tree(name: str, number: int) -> None:
    table = {"www-data": ["www-data", "x", "7"], "svc": ["svc", "x", "900"]}
    assert customise._number(table, name) == number


@pytest.mark.parametrize("number", ["4294967295", "9" * 19])
def test_an_owner_that_no_file_can_have_is_refused(number: str) -> None:
    with pytest.raises(UsageError, match="is not the number of a user or group"):
        customise._number({}, number)
    with pytest.raises(UsageError, match="is not the number of a user or group"):
        customise._number({"me": ["me", "x", number]}, "me")


def test_an_owner_that_the_tree_does_not_have_is_refused() -> None:
    with pytest.raises(UsageError, match="no user or group nobody-here"):
        customise._number({}, "nobody-here")


class Repository:
    """Stands in for ostree: one ref, whose commits are their contents."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, head: str | None, made: str, earlier: str = "13.1") -> None:
        self.refs = {} if head is None else {RECIPE.ref: head}
        self.made = made
        self.said = ostree.Description("")
        self.reporter = Silent()
        monkeypatch.setattr(ostree, "resolve", lambda _repo, ref: self.refs.get(ref))
        monkeypatch.setattr(ostree, "commit", self._commit)
        monkeypatch.setattr(ostree, "content_checksum", lambda _repo, commit: commit.partition("-")[0])
        monkeypatch.setattr(ostree, "create_ref", lambda _repo, ref, commit: self.refs.update({ref: commit}))
        monkeypatch.setattr(ostree, "delete_ref", lambda _repo, ref: self.refs.pop(ref))
        monkeypatch.setattr(layout, "audit", lambda *_: None)
        monkeypatch.setattr(compose_tree, "sync_filesystem", lambda _: None)
        monkeypatch.setattr(dpkg, "installed", lambda _: [])
        before = CommitInfo("c" * 64, None, 0, "", {"version": earlier})
        monkeypatch.setattr(ostree, "commit_info", lambda *_: before)

    def _commit(self, _repo: Path, ref: str, _trees: list[str], said: ostree.Description) -> str:
        self.refs[ref] = self.made
        self.said = said
        return self.made

    def compose(self, tmp_path: Path, **options: Any) -> compose_tree.Composed:
        composition = Composition(replace(RECIPE, metadata={"own": "manifest"}), "13.2", "amd64", ())
        return compose_tree._commit(tmp_path, composition, None, TreeOptions(tmp_path, **options), self.reporter)


@pytest.mark.parametrize(
    ("head", "made", "changed", "published"),
    [
        (None, "tree-2", True, "tree-2"),
        ("other-1", "tree-2", True, "tree-2"),
        # The same content: nobody has to upgrade to it.
        ("tree-1", "tree-2", False, "tree-1"),
    ],
)
def test_a_ref_moves_only_to_other_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: str | None, made: str, changed: bool, published: str
) -> None:
    repository = Repository(monkeypatch, head, made)
    file = tmp_path / "commitid"
    done = repository.compose(tmp_path, commitid_file=file)
    assert (done.changed, done.commit, file.read_text()) == (changed, published, published + "\n")
    assert repository.refs == {RECIPE.ref: published}
    assert repository.said.parent == head


@pytest.mark.parametrize(
    ("earlier", "version"),
    [
        ("", "13.2"),
        ("13.1", "13.2"),
        ("13.2", "13.2.1"),
        ("13.2.1", "13.2.2"),
        ("13.2.9", "13.2.10"),
        ("13.22", "13.2"),
    ],
)
def test_no_two_commits_of_a_ref_have_one_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, earlier: str, version: str
) -> None:
    repository = Repository(monkeypatch, "other-1", "tree-2", earlier)
    done = repository.compose(tmp_path)
    assert (done.version, repository.said.metadata["version"]) == (version, version)


def test_an_unchanged_tree_has_the_version_of_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Repository(monkeypatch, "tree-1", "tree-2", "13.2.4").compose(tmp_path).version == "13.2.4"


@pytest.mark.parametrize(
    ("names", "booting", "archive", "warned"),
    [
        (["ostree", "apt"], "6.1", "deb http://x trixie-security main", []),
        (["ostree", "apt"], None, "deb http://x trixie-security main", ["the image has no kernel"]),
        ([], None, "deb http://x trixie-security main", ["the image has no kernel and no ostree and no apt"]),
        (["ostree", "apt"], "6.1", "deb http://x trixie main", ["the image has no security archive"]),
    ],
)
def test_what_nearly_every_image_needs_is_missed_aloud(
    names: list[str], booting: str | None, archive: str, warned: list[str]
) -> None:
    class Heard(Silent):
        def warn(self, message: str) -> None:
            heard.append(message)

    heard: list[str] = []
    composition = Composition(RECIPE, "13.2", "amd64", (archive,))
    compose_tree._warn_of_gaps(composition, [Package(name, "1", "all") for name in names], booting, Heard())
    assert len(heard) == len(warned)
    assert all(text.startswith(start) for text, start in zip(heard, warned, strict=True))


def test_a_manifests_own_host_name_stays_and_a_bootstraps_goes(root: Path, tmp_path: Path) -> None:
    (root / "etc").mkdir()
    for name in ("hostname", "resolv.conf"):
        (root / "etc" / name).write_text("the builder's\n")
    recipe = replace(RECIPE, files=(File("/etc/hostname", "mine\n", owner=f"{os.getuid()}:{os.getgid()}"),))
    customise.customise(root, recipe, ("deb x y z",), tmp_path / "log", Silent())
    assert (root / "etc/hostname").read_text() == "mine\n"
    assert not (root / "etc/resolv.conf").exists()


def test_a_script_is_run_by_the_interpreter_that_it_names(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = []

    def in_root(root: Path, command: list[str], *_: object) -> None:
        place = root / command[0].lstrip("/")
        mode = place.stat().st_mode & 0o777 if place.exists() else 0
        ran.append((command, place.read_text() if mode else "", oct(mode)))

    monkeypatch.setattr(customise, "in_root", in_root)
    recipe = replace(RECIPE, postprocess=("#!/usr/bin/python3\nprint()\n", "echo a\n"))
    customise.customise(root, recipe, ("deb x y z",), tmp_path / "log", Silent())
    assert ran == [
        (["/apt-ostree-script"], "#!/usr/bin/python3\nprint()\n", "0o700"),
        (["/bin/sh", "-ec", "echo a\n"], "", "0o0"),
    ]
    assert not (root / "apt-ostree-script").exists()


def test_users_keep_the_numbers_that_the_commit_before_gave_them(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package whose user comes first has joined, and both counted from 100."""
    (root / "etc").mkdir()
    (root / "etc/passwd").write_text("root:x:0:0::/:\nnew:x:100:101::/:\nold:x:101:102::/:\n")
    (root / "etc/group").write_text("root:x:0:\nnew:x:101:\nold:x:102:\n")
    had = {"/usr/etc/passwd": "root:x:0:0::/:\nold:x:100:101::/:\n", "/usr/etc/group": "root:x:0:\nold:x:101:\n"}
    monkeypatch.setattr(ostree, "resolve", lambda *_: "c" * 64)
    monkeypatch.setattr(listing, "of", lambda *_: SimpleNamespace(read=had.get))
    moved: list[users.Moves] = []
    monkeypatch.setattr(users, "renumber_files", lambda _, moves: moved.append(moves))
    compose_tree._keep_numbers(root, tmp_path, "debian/13", Silent())
    found = users.numbers(users.read(root, "etc"))
    assert (found.users["old"], found.groups["old"]) == (100, 101)
    assert found.users["new"] not in (0, 100) and found.groups["new"] not in (0, 101)
    assert moved[0].users[101] == 100 and moved[0].groups[102] == 101
    compose_tree._keep_numbers(root, tmp_path, "debian/13", Silent())
    assert len(moved) == 1


def test_a_composed_commit_has_no_parent_where_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = Repository(monkeypatch, "other-1", "tree-2")
    repository.compose(tmp_path, no_parent=True)
    assert repository.said.parent is None


def test_metadata_of_the_command_line_wins_over_the_manifests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = Repository(monkeypatch, None, "tree-1")
    repository.compose(tmp_path, metadata={"more": "1"})
    found = repository.said.metadata
    assert (found["own"], found["more"], found["version"]) == ("manifest", "1", "13.2")
    repository.compose(tmp_path, metadata={"own": "command"})
    found = repository.said.metadata
    assert found["own"] == "command"


def test_what_is_not_a_killed_runs_directory_is_swept_too(tmp_path: Path) -> None:
    for name in ("compose-1x", f"compose-{'9' * 30}", f"compose-{os.getpid()}"):
        (tmp_path / name).mkdir()
    compose_tree._sweep(tmp_path)
    assert [place.name for place in tmp_path.iterdir()] == [f"compose-{os.getpid()}"]
