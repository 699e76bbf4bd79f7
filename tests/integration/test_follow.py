"""What seed-var makes of the files of /var that follow the image, version after version."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.integration.test_seeds import OWNER, Machine

SITE = {"www/site/index": "1", "www/site/lib/code": "1"}
CHANGED = "was changed here"


class Site(Machine):
    """A machine whose image has files of packages in /var, which follow it, and others."""

    def version(self, files: Mapping[str, str], links: Mapping[str, str] | None = None, **own: str) -> str:
        """Make an image of files and links that follow it, and of its ``own`` that do not (``a__b`` is a/b), and boot
        it; returns what was said."""

        def more(var: Path) -> None:
            for name, target in (links or {}).items():
                (var / name).parent.mkdir(parents=True, exist_ok=True)
                (var / name).symlink_to(target)

        own = {name.replace("__", "/"): text for name, text in own.items()}
        self.image({**files, **own}, more, {*files, *(links or {})})
        return self.boot()

    def found(self) -> dict[str, str]:
        """The files and links below /var/www and /var/cache."""
        return {
            place.relative_to(self.var).as_posix(): os.readlink(place) if place.is_symlink() else place.read_text()
            for top in ("www", "cache")
            for place in (self.var / top).rglob("*")
            if place.is_symlink() or not place.is_dir()
        }

    @property
    def records(self) -> list[str]:
        return [(self.var / "lib/apt-ostree" / name).read_text() for name in ("delivered", "followed")]


@pytest.fixture
def machine(tmp_path: Path) -> Site:
    return Site(tmp_path)


def later(version: str) -> dict[str, str]:
    return dict.fromkeys(SITE, version)


def test_what_nobody_changed_follows_the_image_forward_and_back(machine: Site) -> None:
    for version in ("1", "2", "1", "3", "2"):
        assert machine.version(later(version)) == ""
        assert machine.found() == later(version)


def test_a_file_keeps_to_what_was_changed_here_and_that_is_said_once(machine: Site) -> None:
    machine.version(later("1"))
    (machine.var / "www/site/index").write_text("mine")
    said = machine.version(later("2"))
    assert said == "<5>/var/www/site/index stays as it is: it was changed here, and the image has another\n"
    assert machine.found() == {"www/site/index": "mine", "www/site/lib/code": "2"}
    assert machine.boot() == ""
    # dpkg compares with what was offered last, too.
    (machine.var / "www/site/index").write_text("2")
    assert machine.version(later("3")) == ""
    assert machine.found() == later("3")


def test_what_is_here_as_the_image_has_it_is_not_called_changed(machine: Site) -> None:
    machine.version(later("1"))
    (machine.var / "www/site/index").write_text("2")
    assert machine.version(later("2")) == ""
    assert machine.version(later("3")) == ""
    assert machine.found() == later("3")


def test_what_was_there_before_the_package_stays(machine: Site) -> None:
    (machine.var / "www/site").mkdir(parents=True)
    (machine.var / "www/site/index").write_text("mine")
    assert machine.version(later("1")) == ""
    assert CHANGED in machine.version(later("2"))
    assert machine.found() == {"www/site/index": "mine", "www/site/lib/code": "2"}


def test_what_was_deleted_stays_deleted_while_the_package_is_there(machine: Site) -> None:
    machine.version(later("1"))
    (machine.var / "www/site/index").unlink()
    for version in ("2", "1"):
        assert machine.version(later(version)) == ""
        assert machine.found() == {"www/site/lib/code": version}
    shutil.rmtree(machine.var / "www/site")
    assert machine.version(later("3")) == ""
    assert machine.found() == {}


def test_a_package_that_is_gone_leaves_what_is_not_its_own(machine: Site) -> None:
    machine.version({**SITE, "www/other": ""}, www__site__data__db="made", lib__x="")
    (machine.var / "www/site/index").write_text("mine")
    (machine.var / "www/site/data/more").write_text("written")
    said = machine.version({"www/other": ""}, lib__x="")
    assert said == "<5>/var/www/site/index stays: it was changed here, and the image no longer has it\n"
    assert machine.found() == {
        "www/other": "", "www/site/index": "mine", "www/site/data/db": "made", "www/site/data/more": "written",
    }  # fmt: skip
    assert not machine.has("www/site/lib")
    assert machine.boot() == ""
    delivered, followed = machine.records
    assert delivered.split() == ["lib", "lib/x", "www", "www/other", "www/site", "www/site/data", "www/site/data/db"]
    assert re.findall(r"\S+$", followed, re.MULTILINE) == ["www/other"]


def test_a_package_that_comes_back_is_delivered_again(machine: Site) -> None:
    machine.version({**SITE, "www/other": ""})
    (machine.var / "www/site/index").unlink()
    machine.version({"www/other": ""})
    assert machine.found() == {"www/other": ""}
    assert not machine.has("www/site")
    machine.version({**later("2"), "www/other": ""})
    assert machine.found() == {**later("2"), "www/other": ""}
    machine.version({**later("3"), "www/other": ""})
    assert machine.found() == {**later("3"), "www/other": ""}


def test_what_becomes_a_programs_state_stays_as_it_is(machine: Site) -> None:
    machine.version(SITE)
    assert machine.version({"www/site/lib/code": "2"}, www__site__index="2") == ""
    assert machine.found() == {"www/site/index": "1", "www/site/lib/code": "2"}


def test_a_link_follows_and_is_never_followed(machine: Site, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("1")
    machine.version({"www/file": "1"}, {"www/link": "1", "www/was-link": "/nowhere"})
    assert machine.version({"www/file": "2", "www/was-link": "2"}, {"www/link": "2"}) == ""
    assert machine.found() == {"www/file": "2", "www/was-link": "2", "www/link": "2"}
    # A program's link to a file of the same content is no such file.
    (machine.var / "www/file").unlink()
    (machine.var / "www/file").symlink_to(secret)
    secret.write_text("2")
    assert CHANGED in machine.version({"www/file": "3", "www/was-link": "2"}, {"www/link": "2"})
    assert (os.readlink(machine.var / "www/file"), secret.read_text()) == (os.fspath(secret), "2")


@pytest.mark.parametrize("target", ["outside", "gone"])
def test_no_directory_that_is_a_link_is_gone_through(machine: Site, tmp_path: Path, target: str) -> None:
    machine.version({**SITE, "cache/site/a": "1", "www/old/x": "1"})
    outside = tmp_path / "outside"
    for name in ("cache/site", "www/site", "www/old"):
        shutil.copytree(machine.var / name, outside / name)
        (machine.var / name).rename(tmp_path / name.replace("/", "-"))
        (machine.var / name).symlink_to(tmp_path / target / name)
    # All is as it was given, but it is not ours.
    before = {place: place.read_text() for place in outside.rglob("*") if place.is_file()}
    said = machine.version({**later("2"), "cache/site/a": "2"})
    assert said.count("is left alone: there is a link or a file in the place of a directory above it") == 3
    assert {place: place.read_text() for place in outside.rglob("*") if place.is_file()} == before
    assert all((machine.var / name).is_symlink() for name in ("cache/site", "www/site", "www/old"))
    # Once the way is free, it is as if nothing had been.
    for name in ("cache/site", "www/site"):
        (machine.var / name).unlink()
        (tmp_path / name.replace("/", "-")).rename(machine.var / name)
    assert machine.boot() == ""
    assert {**later("2"), "cache/site/a": "2"}.items() <= machine.found().items()


def test_a_fifo_in_the_place_of_a_file_is_not_opened(machine: Site) -> None:
    machine.version({**SITE, "cache/site": "1"})
    for name in ("www/site/index", "cache/site"):
        (machine.var / name).unlink()
        os.mkfifo(machine.var / name)
    assert machine.version({**later("2"), "cache/site": "2"}).count(CHANGED) == 2
    machine.version({"www/other": ""})
    assert machine.has("www/site/index")


def test_a_file_of_terabytes_of_holes_is_not_read(machine: Site) -> None:
    """Of a cache the image's takes its place; elsewhere it is a change of this machine, and stays."""
    files = ("cache/man/index", "www/site/index")
    machine.version(dict.fromkeys(files, "1"))
    for name in files:
        with (machine.var / name).open("w") as file:
            file.truncate(4 << 40)
    begun = time.monotonic()
    said = machine.version(dict.fromkeys(files, "2"))
    assert time.monotonic() - begun < 20
    assert said.startswith("<5>/var/www/site/index stays as it is: it was changed here") and said.count("\n") == 1
    assert machine.read("cache/man/index") == "2"
    assert (machine.var / "www/site/index").stat().st_size == 4 << 40


def test_no_file_of_one_package_keeps_anothers_from_following(machine: Site) -> None:
    """However much is to be read of what somebody put in the place of his."""
    files = ("www/aaa/file", "www/site/index")
    machine.version(dict.fromkeys(files, "1"))
    with (machine.var / files[0]).open("w") as file:
        file.truncate(1 << 30)
    machine.version(dict.fromkeys(files, "2"))
    assert machine.read(files[1]) == "2"


def test_of_a_cache_the_images_counts_whatever_is_here(machine: Site) -> None:
    machine.version({"cache/fonts/a": "1", "cache/fonts/b": "1", "cache/fonts/c": "1", "www/x": ""})
    (machine.var / "cache/fonts/a").write_text("made again here")
    (machine.var / "cache/fonts/b").unlink()
    # Equal to what was given last: nothing is looked at.
    machine.boot()
    assert machine.found() == {"cache/fonts/a": "made again here", "cache/fonts/c": "1", "www/x": ""}
    (machine.var / "cache/fonts/new").write_text("made before the image had it")
    fonts = {f"cache/fonts/{name}": "2" for name in ("a", "b", "new")}
    assert machine.version({**fonts, "www/x": ""}) == ""
    assert machine.found() == {**fonts, "www/x": ""}
    (machine.var / "cache/fonts/a").write_text("made again here")
    assert machine.version({"www/x": ""}) == ""
    assert not machine.has("cache/fonts")


def test_mode_and_owner_come_with_the_file_and_are_worth_a_new_one(machine: Site) -> None:
    machine.version(SITE)

    def more(var: Path) -> None:
        os.chown(var / "www/site/index", OWNER, OWNER)
        (var / "www/site/index").chmod(0o640)

    (machine.var / "www/site/lib/code").chmod(0o600)
    machine.image(SITE, more, SITE)
    assert machine.boot() == ""
    status = (machine.var / "www/site/index").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid) == (0o640, OWNER)
    # Nothing about this one changed in the image.
    assert stat.S_IMODE((machine.var / "www/site/lib/code").stat().st_mode) == 0o600
    # And where only that changed, there is nothing to say of a file that was changed here.
    (machine.var / "www/site/index").write_text("mine")
    assert machine.version(SITE) == ""
    assert machine.read("www/site/index") == "mine"


def test_a_file_becomes_a_directory_and_a_directory_a_file(machine: Site) -> None:
    machine.version({"www/a": "1", "www/b/x": "1", "www/c/x": "1"})
    (machine.var / "www/c/mine").write_text("mine")
    assert machine.version({"www/a/x": "2", "www/b": "2", "www/c": "2"}) == ""
    assert machine.found() == {"www/a/x": "2", "www/b": "2", "www/c/mine": "mine"}


ODD = "www/a b%\n'/\\x\n"


def test_odd_names_follow(machine: Site) -> None:
    for version in ("1", "2"):
        assert machine.version({ODD: version, "www/-rf": version, "www/%s%c": version}) == ""
        assert machine.found() == {ODD: version, "www/-rf": version, "www/%s%c": version}
    machine.version({"www/x": ""})
    assert machine.found() == {"www/x": ""}


@pytest.mark.parametrize(
    "name",
    ["../outside", "www/../../outside", "/outside", "www/\\056\\056/\\056./outside", "www/./index", "www//index", ""],
)
def test_a_line_that_names_another_place_does_nothing(machine: Site, name: str) -> None:
    machine.version({"www/index": "1"})
    outside = machine.root / "outside"
    outside.write_text("1")
    line = (machine.var / "lib/apt-ostree/followed").read_text().replace("www/index", name)
    for place in ("follow.d/planted", "seeds.d/planted"):
        (machine.root / "usr/lib/apt-ostree" / place).write_text(line if "follow" in place else f"{name}\n")
    (machine.root / "usr/share/factory/outside").write_text("planted")
    assert machine.boot() == ""
    assert (outside.read_text(), machine.read("www/index")) == ("1", "1")
    # Nor does it from the record.
    with (machine.var / "lib/apt-ostree/followed").open("a") as record:
        record.write(line)
    machine.version({"www/index": "1"})
    assert (outside.read_text(), machine.read("www/index")) == ("1", "1")


@pytest.mark.parametrize(
    "line", ["x 0644:0:0 www/index", f"{'0' * 64} 0644:0:0 www/ index", f"{'0' * 64} www/index", ""]
)
def test_a_line_of_another_form_does_nothing(machine: Site, line: str) -> None:
    machine.version({"www/index": "1"})
    (machine.root / "usr/lib/apt-ostree/follow.d/planted").write_text(f"{line}\n")
    before = machine.records
    assert machine.boot() == ""
    assert (machine.read("www/index"), machine.records) == ("1", before)


STEPS = ("cp", "rm", "rmdir", "sync", "mv")
"""The program's tools that change something, or put it on disk."""


def test_a_run_that_is_cut_short_anywhere_is_made_up_for_by_the_next(machine: Site) -> None:
    names = {"www/site/lib/code", "cache/a", "www/mine"}
    contents = [{**dict.fromkeys(names, "1"), "www/old/x": "1"}, {**dict.fromkeys(names, "2"), "www/new/x": "2"}]
    contents.append({**dict.fromkeys(names, "3"), "www/old/x": "3"})
    images: list[Path] = []
    for files in contents:
        machine.image(files, follows=set(files))
        images.append((machine.root / "usr").rename(machine.place / f"usr-{len(images)}"))
    usr, beginning = machine.root / "usr", machine.place / "beginning"

    def choose(number: int) -> None:
        usr.unlink(missing_ok=True)
        usr.symlink_to(images[number])

    choose(0)
    machine.boot()
    (machine.var / "www/mine").write_text("mine")
    machine.var.rename(beginning)
    for count in range(100):
        shutil.copytree(beginning, machine.var, symlinks=True)
        choose(1)
        ended = run_until(machine, count)
        for name, text in machine.found().items():
            if ".apt-ostree-" not in name:
                assert text in ({"mine"} if name == "www/mine" else {files.get(name) for files in contents[:2]})
        machine.boot()
        assert machine.found() == {**contents[1], "www/mine": "mine"}, count
        # Nothing is left that would count as changed here.
        choose(2)
        assert machine.boot().count(CHANGED) == 1, count
        assert machine.found() == {**contents[2], "www/mine": "mine"}, count
        shutil.rmtree(machine.var)
        if ended:
            break
    assert 20 < count < 99


def run_until(machine: Site, number: int) -> bool:
    """Run the program and stop it, as a power cut does, before the tool that comes after so many others; returns True
    if there were fewer."""
    tools, left = machine.place / "tools", machine.place / "left"
    tools.mkdir(exist_ok=True)
    left.write_text(f"{number}\n")
    for name in STEPS:
        (tools / name).write_text(
            f"#!/bin/sh\nread -r left <{left}\n"
            "[ $left != 0 ] || { kill -KILL $PPID; exit 1; }\n"
            f'echo $((left - 1)) >{left}\nexec {shutil.which(name)} "$@"\n'
        )
        (tools / name).chmod(0o755)
    done = subprocess.run(
        [machine.root / "usr/lib/apt-ostree/seed-var", machine.root],
        env={"PATH": f"{tools}:{os.environ['PATH']}"}, check=False, capture_output=True,
    )  # fmt: skip
    return done.returncode == 0


def test_what_did_not_change_is_not_looked_at(machine: Site) -> None:
    files = {f"www/site/{number % 40}/file-{number}": str(number) for number in range(2000)}
    machine.version(files)
    program = [machine.root / "usr/lib/apt-ostree/seed-var", machine.root]
    # Whatever it looked at would be missing.
    (machine.var / "www").rename(machine.place / "away")
    before = machine.records
    times = []
    for _ in range(5):
        start = time.monotonic()
        assert subprocess.run(program, check=True, capture_output=True).stderr == b""
        times.append(time.monotonic() - start)
    assert machine.records == before
    # 30 ms on an idle machine: a process for each file would take seconds.
    assert min(times) < 0.5
