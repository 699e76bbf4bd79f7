"""The lists of what follows the image in /var, and which files are a trigger's."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from apt_ostree.errors import ScriptError
from apt_ostree.host.door import Tree
from apt_ostree.layering import again, triggers
from apt_ostree.tree import follow, state
from tests.unit import fake

INFO = f"{state.SYSIMAGE}/dpkg/info"
ONE = hashlib.sha256(b"1").hexdigest()


def put(top: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        place = top / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return top


def listing(top: Path, **packages: Sequence[str]) -> Path:
    """A tree with the file lists of packages."""
    return put(top, {f"{INFO}/{name}.list": "".join(f"{path}\n" for path in paths) for name, paths in packages.items()})


def test_what_packages_list_in_var_is_known_by_its_place_there(tmp_path: Path) -> None:
    tree = listing(
        tmp_path, a=["/.", "/var", "/var/www/x", "/usr/share/var/x"],
        b=["/srv/y z", "/usr/local/bin/t", "/opt/v", "/mnt/m", "/varnish/x", "/lib/l"],
    )  # fmt: skip
    put(tree, {f"{INFO}/a.md5sums": "/var/www/sums\n"})
    (tree / "usr/local").symlink_to("../var/usrlocal")
    for name, target in {"srv": "var/srv", "opt": "/var/opt", "mnt": "run/mnt", "lib": "usr/lib"}.items():
        (tree / name).symlink_to(target)
    paths = {"www/x", "srv/y z", "usrlocal/bin/t", "opt/v"}
    assert follow.listed([tree], {*paths, "www", "x", "lib/other"}) == paths


def test_the_topmost_list_of_a_package_counts_and_one_that_is_gone_does_not(tmp_path: Path) -> None:
    base = listing(tmp_path / "base", kept=["/var/kept"], other=["/var/old"], gone=["/var/gone"])
    layer = listing(tmp_path / "layer", other=["/var/new"])
    os.mknod(layer / INFO / "gone.list", stat.S_IFCHR, os.makedev(0, 0))
    assert follow.listed([layer, base], ["kept", "old", "gone", "new"]) == {"kept", "new"}


def captured(*paths: str) -> state.Captured:
    return state.Captured((), paths)


def test_a_list_has_what_follows_and_caches_with_digest_mode_and_owner(tmp_path: Path) -> None:
    var = put(tmp_path / "var", {"lib/a b": "1", "lib/own": "1", "cache/made": "1"})
    (var / "lib/a b").chmod(0o640)
    (var / "lib/link").symlink_to("1")
    (var / "lib/d").mkdir()
    (tmp_path / "tree").mkdir()
    every = captured("cache", "cache/made", "lib", "lib/a b", "lib/d", "lib/link", "lib/own")
    follow.write(every, Tree(var), Tree(tmp_path / "tree"), "layer", {"lib/a b", "lib/link", "lib/d", "lib/elsewhere"})
    owner, mode = f"{os.getuid()}:{os.getgid()}", stat.S_IMODE((var / "cache/made").stat().st_mode)
    assert (tmp_path / "tree/usr/lib/apt-ostree/follow.d/layer").read_text() == (
        f"1:{ONE} {mode:04o}:{owner} cache/made\n1:{ONE} 0640:{owner} lib/a\\040b\nlink:{ONE} 0777:{owner} lib/link\n"
    )


def test_of_a_layer_without_anything_in_var_there_is_no_list(tmp_path: Path) -> None:
    follow.write(captured(), Tree(tmp_path), Tree(tmp_path), "layer", ())
    assert list(tmp_path.iterdir()) == []


def lines(*paths: str) -> str:
    return "".join(f"{ONE} 0644:0:0 {path}\n" for path in paths)


def test_what_a_layer_changed_or_took_away_is_no_longer_in_the_bases_list(tmp_path: Path) -> None:
    base = put(tmp_path / "base", {f"{state.FOLLOW}/a": lines("x", "y%%"), f"{state.FOLLOW}/b": lines("z")})
    follow.drop(Tree(base), Tree(put(tmp_path / "top", {"x": ""})), {"y%", "other"})
    assert {path.name: path.read_text() for path in (tmp_path / "top" / state.FOLLOW).iterdir()} == {"a": lines("x")}


class Run:
    """What the scripts of triggers would make in the /var of a job, and how often they ran."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *each: Callable[[Path], object]) -> None:
        self.each, self.packages = list(each), list[Sequence[str]]()
        monkeypatch.setattr(again, "put_out", lambda job: None)
        monkeypatch.setattr(again, "scripts", self)

    def __call__(self, job: object, sandbox: SimpleNamespace, action: str, packages: Sequence[str]) -> None:
        assert action == "triggered"
        self.packages.append(packages)
        self.each.pop(0)(sandbox.var)


class Stack:
    """A stack whose copy of /var is the job's own."""

    def __init__(self, var: Path) -> None:
        self.var = var

    @contextmanager
    def aside(self) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(var=self.var)


def recognise(area: Path, booted: Path | None = None, *, triggered: Sequence[str] = ("tool",)) -> frozenset[str]:
    job = fake.job(area, booted=booted)
    put(job.var, {"lib/index": "1", "lib/other": "1", "lib/shipped": "1", "lib/before": "1"})
    put(job.var, {"cache/x": "1", "log/x": "1"})
    before = {"lib/before": state.snapshot(job.var)["lib/before"]}
    return triggers.recognise(job, Stack(job.var), before, {"lib/shipped"}, triggered)  # type: ignore[arg-type]


def rest(var: Path) -> set[str]:
    return {path.relative_to(var).as_posix() for path in var.rglob("*") if not path.is_dir()}


def test_what_comes_back_the_same_is_a_triggers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def first(var: Path) -> None:
        assert rest(var) == {"lib/shipped", "lib/before", "cache/x", "log/x"}
        put(var, {"lib/index": "1", "lib/new": "1"})

    run = Run(monkeypatch, first)
    assert recognise(tmp_path, triggered=["tool", "tool"]) == {"lib/index"}
    assert run.packages == [["tool"]]


def test_what_comes_back_different_is_a_triggers_if_it_is_written_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def first(var: Path) -> None:
        put(var, {"lib/index": "2", "lib/other": "2"})

    def second(var: Path) -> None:
        put(var, {"lib/new": "3"})
        (var / "lib/new").rename(var / "lib/index")

    run = Run(monkeypatch, first, second)
    assert recognise(tmp_path) == {"lib/index"}
    assert run.each == []


def test_what_comes_back_larger_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second run may make it of any size."""
    digest, read = follow.digest, list[str]()

    def noted(tree: Tree, name: str) -> str | None:
        read.append(name)
        return digest(tree, name)

    monkeypatch.setattr(follow, "digest", noted)

    def first(var: Path) -> None:
        read.clear()
        put(var, {"lib/index": "1", "lib/other": "22"})

    Run(monkeypatch, first, lambda var: None)
    assert recognise(tmp_path) == {"lib/index"}
    assert read == ["lib/index"]


def test_a_run_that_fails_is_told_and_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(var: Path) -> None:
        raise ScriptError("it took too long")

    Run(monkeypatch, fail)
    assert recognise(tmp_path) == frozenset()


def test_no_scripts_run_where_no_trigger_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Run(monkeypatch)
    assert recognise(tmp_path, triggered=()) == frozenset()


def test_no_scripts_run_for_what_the_running_one_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Run(monkeypatch)
    here = put(
        tmp_path / "here",
        {f"{state.SEEDS}/layer": "lib\nlib/index\nlib/other\n", f"{state.FOLLOW}/layer": lines("lib/index")},
    )
    assert recognise(tmp_path, here) == {"lib/index"}


def test_what_never_booted_says_nothing_of_triggers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that is gone from it again may have made another's key there."""
    here = put(
        tmp_path / "here",
        {f"{state.SEEDS}/layer": "lib\nlib/index\nlib/other\n", f"{state.FOLLOW}/layer": lines("lib/index")},
    )
    job = fake.job(tmp_path, deployed=here)
    put(job.var, {"lib/index": "1", "lib/other": "1"})
    run = Run(monkeypatch, lambda var: put(var, {"lib/other": "1"}))
    found = triggers.recognise(job, Stack(job.var), {}, (), ["tool"])  # type: ignore[arg-type]
    assert found == {"lib/other"}
    assert run.each == []


def test_what_a_package_listed_before_is_not_a_triggers_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, lambda var: None)
    here = listing(tmp_path / "here", it=["/var/lib/index"])
    put(here, {f"{state.FOLLOW}/layer": lines("lib/index")})
    assert recognise(tmp_path, here) == frozenset()
    assert run.each == []


@pytest.mark.parametrize("name", ["base", "layer"])
def test_a_list_that_nobody_told_apart_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    run = Run(monkeypatch, lambda var: None)
    seeds = {f"{state.SEEDS}/{name}": "lib/index\nlib/other\n"}
    here = put(tmp_path / "here", seeds)
    job = fake.job(tmp_path, booted=here)
    if name == "base":
        put(here, {f"{state.FOLLOW}/{name}": ""})
        put(job.base.path, seeds)
    put(job.var, {"lib/index": "1"})
    triggers.recognise(job, Stack(job.var), {}, (), ["tool"])  # type: ignore[arg-type]
    assert run.each == []


def test_what_triggers_made_of_a_base_joins_its_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = fake.job(tmp_path)
    put(job.var, {"lib/index": "1", "lib/own": "1", "lib/shipped": "1", "log/x": "1"})
    seeds = "lib\nlib/index\nlib/own\nlib/shipped\nlog\nlog/x\n"
    files = {f"{state.SEEDS}/base": seeds, f"{state.FOLLOW}/base": lines("lib/shipped"), f"{INFO}/tool.triggers": ""}
    put(job.base.path, files)

    def first(var: Path) -> None:
        assert rest(var) == {"lib/shipped", "log/x"}
        put(var, {"lib/index": "1"})

    run = Run(monkeypatch, first)
    triggers.complete(job, Stack(job.var), "base")  # type: ignore[arg-type]
    assert run.packages == [["tool"]]
    listed = (job.base.path / state.FOLLOW / "base").read_text()
    assert listed.startswith(lines("lib/shipped"))
    assert follow.paths(Tree(job.base.path)) == {"lib/shipped", "lib/index"}
    # Without a package with triggers, no script runs.
    (job.base.path / INFO / "tool.triggers").unlink()
    triggers.complete(job, Stack(job.var), "base")  # type: ignore[arg-type]
    assert (job.base.path / state.FOLLOW / "base").read_text() == listed
