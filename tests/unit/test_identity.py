"""Which files of /etc are the machine's own, told from what is made, deployed, and made differently a second time."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest

from apt_ostree.host.door import Tree
from apt_ostree.layering import again, identity
from apt_ostree.layering.identity import Different, Identity, Made
from apt_ostree.tree import follow, state


def fill(top: Path, **files: str) -> Path:
    """A tree with files in /usr/etc: ``a__b`` stands for a/b."""
    for name, text in files.items():
        place = top / "usr/etc" / name.replace("__", "/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return top


def deploy(top: Path, **templates: str) -> Path:
    """A deployment with these as the machine's own."""
    for name, text in templates.items():
        place = top / identity.TEMPLATES / name.replace("__", "/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    (top / state.IDENTITY).mkdir(parents=True)
    (top / state.IDENTITY / "layer").write_text("".join(f"{name.replace('__', '/')}\n" for name in templates))
    return top


class Again:
    """A second run whose outcome is given; it notes what it was asked."""

    def __init__(self, *content: str, name: Sequence[str] = ()) -> None:
        self.different, self.asked = Different(frozenset(content), frozenset(name)), list[list[str]]()

    def __call__(self, names: Sequence[str]) -> Different:
        self.asked.append(list(names))
        return self.different


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return fill(tmp_path / "base", there="1", dir__x="1")


def test_what_scripts_made_is_what_neither_base_nor_package_has(base: Path, tmp_path: Path) -> None:
    layer = fill(
        tmp_path / "layer", there="2", listed="1", made="1", dir__made="1", shadow="x", passwd__x="1",
        alternatives__vi="1", ssh__ssh_host_rsa_key="1",
    )  # fmt: skip
    (layer / "usr/etc/link").symlink_to("made")
    info = layer / "usr/lib/sysimage/dpkg/info"
    info.mkdir(parents=True)
    (info / "a.list").write_text("/.\n/etc\n/etc/listed\n")
    assert identity.made(base, [layer]).files == ("dir/made", "made", "passwd/x")


def test_what_a_later_layer_takes_away_was_not_made(base: Path, tmp_path: Path) -> None:
    low, high = fill(tmp_path / "low", conf="1", store__a="1", kept="1"), tmp_path / "high"
    (low / "usr/etc/conf").rename(low / "usr/etc/conf.dpkg-new")
    fill(high, conf="1")
    for name in ("conf.dpkg-new", "store"):
        os.mknod(high / "usr/etc" / name, stat.S_IFCHR, os.makedev(0, 0))
    assert identity.made(base, [low, high]).files == ("conf", "kept")


def test_a_directory_that_scripts_made_belongs_together(base: Path) -> None:
    made = Made(base, frozenset({"etc/listed"}), ("dir/a", "listed/b", "new/deep/c", "new/d", "news"))
    assert made.tops(made.files) == ["dir/a", "listed/b", "new", "news"]


def test_what_comes_out_different_is_the_machines_own(base: Path, tmp_path: Path) -> None:
    layer, run = fill(tmp_path / "layer", key="1", same="1"), Again("key")
    found = identity.recognise(identity.made(base, [layer]), [layer], [], run)
    assert run.asked == [["key", "same"]]
    assert (found.fresh, found.kept, found.dropped) == (frozenset({"key"}), {}, frozenset())


def test_nothing_is_asked_again_that_a_deployment_tells(base: Path, tmp_path: Path) -> None:
    layer, run = fill(tmp_path / "layer", key="2", same="1", store__a="2"), Again()
    here = fill(deploy(tmp_path / "here", key="1"), same="1")
    other = deploy(tmp_path / "other", key="0", store="")
    found = identity.recognise(identity.made(base, [layer]), [layer], [here, other], run)
    assert run.asked == []
    assert found == Identity(kept={"key": here, "store": other})


def test_a_file_that_changed_since_it_was_deployed_is_tried(base: Path, tmp_path: Path) -> None:
    low, high, run = fill(tmp_path / "low", rendered="1"), fill(tmp_path / "high", rendered="2"), Again()
    here = fill(tmp_path / "here", rendered="1")
    found = identity.recognise(identity.made(base, [low, high]), [low, high], [here], run)
    assert run.asked == [["rendered"]]
    assert found.names == []


def test_a_random_name_stays_that_of_the_first_run(base: Path, tmp_path: Path) -> None:
    layer = fill(tmp_path / "layer", dir__c0ffee="")
    here = deploy(tmp_path / "here", dir__beef="")
    found = identity.recognise(identity.made(base, [layer]), [layer], [here], Again(name=["dir/c0ffee"]))
    assert found == Identity(kept={"dir/beef": here}, dropped=frozenset({"dir/c0ffee"}))
    identity.take_out(found, [layer])
    assert not (layer / "usr/etc/dir/c0ffee").exists()


def test_a_list_that_names_other_places_is_not_followed(base: Path, tmp_path: Path) -> None:
    here = deploy(tmp_path / "here", key="1")
    (tmp_path / "secret").write_text("x")
    (here / state.IDENTITY / "bad").write_text("../../../../../secret\n/etc/shadow\nkey/\n\n")
    layer = fill(tmp_path / "layer", key="2")
    found = identity.recognise(identity.made(base, [layer]), [layer], [here], Again())
    assert found.names == ["key"]


def test_templates_are_written_beside_etc_with_a_list_of_a_free_name(base: Path, tmp_path: Path) -> None:
    deploy(base, old="0")
    here = deploy(tmp_path / "here", store__a="1")
    fresh, top = tmp_path / "fresh", tmp_path / "top"
    fresh.mkdir()
    top.mkdir()
    (fresh / "key").write_text("secret")
    (fresh / "key").chmod(0o600)
    identity.write(Identity(frozenset({"key"}), {"store": here}), fresh, top, state.free_name(base))
    assert (top / state.IDENTITY / "layer1").read_text() == "key\nstore\n"
    assert (top / identity.TEMPLATES).stat().st_mode & 0o777 == 0o700
    assert (top / identity.TEMPLATES / "key").stat().st_mode & 0o777 == 0o600
    assert (top / identity.TEMPLATES / "store/a").read_text() == "1"


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ({"key": "1", "same": "1"}, Different(frozenset({"key"}))),
        ({"key": "0", "same": "1"}, Different()),
        ({"same": "1"}, Different()),
        ({"key2": "0", "same": "1"}, Different(name=frozenset({"key"}))),
        ({"dir__other": "0", "same": "1"}, Different()),
    ],
)
def test_content_and_names_of_two_runs_are_compared(tmp_path: Path, after: dict[str, str], expected: Different) -> None:
    first = Tree(fill(tmp_path / "first", key="0", same="1"))
    digests = {name: follow.digest(first, f"usr/etc/{name}") for name in ("key", "same")}
    assert again._compare(Tree(fill(tmp_path / "after", **after)), digests, {"key", "same"}) == expected
