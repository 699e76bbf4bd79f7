"""/etc as the next deployment will have it, file by file, without merging it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from apt_ostree.errors import ToolError
from apt_ostree.ops import target as release
from apt_ostree.tools.apt_copies import Copies
from apt_ostree.tools.apt_target import LINK, Target

LIST = "apt/sources.list.d/x.list"


def make(
    tmp_path: Path, shipped: Mapping[str, str | None], own: Mapping[str, str], new: Mapping[str, str], **more: str
) -> Target:
    places = {"etc": own, "tree/usr/etc": new, "deployed": more}
    for place, files in places.items():
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            path = tmp_path / place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if text.startswith(LINK):
                path.symlink_to(text.removeprefix(LINK))
            else:
                path.write_text(text)
    return Target(
        tmp_path / "tree", tmp_path / "etc", ("amd64",), tmp_path / "deployed",
        lambda name: shipped.get(name.removeprefix("etc/")),
    )  # fmt: skip


def read(target: Target, path: str) -> str | None:
    found = target.locate(path)
    return None if found is None else found[0].text(found[1])


@pytest.mark.parametrize(
    ("shipped", "own", "new", "expected"),
    [
        ("old", "old", "new", "new"),
        ("old", "old", None, None),
        (None, None, "new", "new"),
        (None, None, None, None),
        ("old", "mine", "new", "mine"),
        ("old", None, "new", None),
        (None, "mine", "new", "mine"),
        (None, "mine", None, "mine"),
        (f"{LINK}other", f"{LINK}other", "new", "new"),
        (f"{LINK}other", f"{LINK}mine", "new", "the link's"),
        ("old", f"{LINK}mine", "new", "the link's"),
    ],
)
def test_what_nobody_edited_is_the_new_base_s(
    tmp_path: Path, shipped: str | None, own: str | None, new: str | None, expected: str | None
) -> None:
    mine = {"apt/sources.list.d/mine": "the link's", **({LIST: own} if own is not None else {})}
    target = make(tmp_path, {LIST: shipped}, mine, {LIST: new} if new is not None else {})
    assert read(target, f"/etc/{LIST}") == expected
    assert read(target, f"etc/{LIST}") == expected


def test_a_directory_has_what_either_side_has(tmp_path: Path) -> None:
    shipped = {"apt/sources.list.d/gone.list": "gone", LIST: "old"}
    own = {"apt/sources.list.d/mine.list": "mine", "apt/sources.list.d/gone.list": "gone", LIST: "old"}
    target = make(tmp_path, shipped, own, {LIST: "new", "apt/sources.list.d/added.list": "added"})
    copies = Copies(target, tmp_path / "area", None)
    found = {name: file.text for name, file in copies.listed("sources.list", "sources.list.d", {".list"})}
    assert found == {
        "sources.list.d/added.list": "added",
        "sources.list.d/mine.list": "mine",
        "sources.list.d/x.list": "new",
    }


def test_a_directory_that_is_a_link_of_the_administrator_s_leads_where_it_does(tmp_path: Path) -> None:
    own = {"apt": f"{LINK}own-apt", "own-apt/sources.list.d/x.list": "mine"}
    assert read(make(tmp_path, {}, own, {LIST: "new"}), f"/etc/{LIST}") == "mine"


def test_what_the_old_base_does_not_tell_stays(tmp_path: Path) -> None:
    def fail(name: str) -> str:
        raise ToolError(f"no {name}")

    target = make(tmp_path, {}, {LIST: "mine"}, {LIST: "new"})
    damaged = Target(target.tree, target.etc, ("amd64",), None, fail)
    assert read(damaged, f"/etc/{LIST}") == "mine"


def test_a_key_of_a_layered_package_is_found_in_the_deployment(tmp_path: Path) -> None:
    key = "usr/share/keyrings/vendor.gpg"
    target = make(tmp_path, {}, {}, {}, **{key: "layered"})
    assert read(target, f"/{key}") == "layered"
    (tmp_path / "tree" / key).parent.mkdir(parents=True)
    (tmp_path / "tree" / key).write_text("the base's")
    assert read(target, f"/{key}") == "the base's"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("ID=debian\nVERSION_CODENAME=trixie\n", "trixie"),
        ('VERSION_CODENAME="trixie"\n', "trixie"),
        ("ID=x\n", ""),
        ("", ""),
    ],
)
def test_a_release_says_its_code_name(text: str, name: str) -> None:
    assert release.codename(text) == name


@pytest.mark.parametrize(
    ("suite", "expected"),
    [
        ("bookworm", True),
        ("bookworm-security", True),
        ("bookworm/updates", True),
        ("bookwormish", False),
        ("trixie", False),
    ],
)
def test_a_suite_belongs_to_a_release(suite: str, expected: bool) -> None:
    assert release.names(suite, "bookworm") is expected
