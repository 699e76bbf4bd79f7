"""The audit of a commit: which trees are never published."""

from __future__ import annotations

from pathlib import Path

import pytest

from apt_ostree.errors import TreeError
from apt_ostree.tools import ostree
from apt_ostree.tree import layout

SUM = "0" * 64


class Commits:
    """Listings as ``ostree ls`` prints them, of trees that are given by their paths: a text is where a link leads.
    ``cat`` is the text of every file."""

    def __init__(self, cat: str = "ID=debian\n", size: int = 4, **trees: dict[str, str | None]) -> None:
        self.trees = trees
        self.text, self.size = cat, size

    def patch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ostree, "run", self.run)
        monkeypatch.setattr(ostree, "cat", lambda *words: self.text)

    def run(self, repo: Path, *words: str) -> str:
        options = [word for word in words if word.startswith("-")]
        command, commit, *paths = (word for word in words if not word.startswith("-"))
        assert command == "ls"
        lines = []
        names = "--nul-filenames-only" in options
        for top in paths or ["/"]:
            for name in sorted({"": None, **self.trees[commit]}):
                path = f"/{name}"
                below = path == top or path.startswith(f"{top.rstrip('/')}/")
                direct = path == top or path.rpartition("/")[0] == top.rstrip("/")
                if below and (direct or "--recursive" in options):
                    lines.append(f"{path}\0" if names else f"{self._line(commit, name)}\n")
        return "".join(lines)

    def _line(self, commit: str, name: str) -> str:
        target = self.trees[commit].get(name)
        if target == "file":
            return f"-00644 0 0 {self.size:6} {SUM} /{name}"
        return f"l00777 0 0      0 {SUM} /{name} -> {target}" if target else f"d00755 0 0      0 {SUM} {SUM} /{name}"


GOOD: dict[str, str | None] = {
    **dict.fromkeys(("usr", "usr/etc", "usr/bin", "usr/lib", *layout.MOUNT_POINTS)),
    **layout.LINKS,
    "usr/bin/x": "file",
    "usr/lib/os-release": "file",
}


def audit(monkeypatch: pytest.MonkeyPatch, tree: dict[str, str | None], base: dict[str, str | None] | None) -> None:
    commits = Commits(made=tree) if base is None else Commits(made=tree, base=base)
    commits.patch(monkeypatch)
    layout.audit(Path("/repo"), "made", "base" if base is not None else None)


def without(name: str) -> dict[str, str | None]:
    return {path: target for path, target in GOOD.items() if path != name}


@pytest.mark.parametrize("base", [None, GOOD])
def test_a_tree_as_it_has_to_be_is_published(
    monkeypatch: pytest.MonkeyPatch, base: dict[str, str | None] | None
) -> None:
    audit(monkeypatch, GOOD, base)


def test_a_layer_has_the_links_of_its_base_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    audit(monkeypatch, without("media"), without("media"))


@pytest.mark.parametrize("name", ["var", "boot", "dev", "proc", "run", "sys", "tmp", "sysroot"])
def test_content_where_a_deployment_has_a_mount_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    with pytest.raises(TreeError) as caught:
        audit(monkeypatch, {**GOOD, f"{name}/left": "file"}, GOOD)
    assert caught.value.brief == "the tree breaks the layout that a booted system relies on"
    assert caught.value.detail == f"/{name} is not empty: /{name}/left"


@pytest.mark.parametrize("name", ["usr", "sysroot", "var", "boot", "dev", "proc", "run", "sys"])
@pytest.mark.parametrize("target", [None, "elsewhere", "file"])
def test_a_mount_point_that_is_missing_or_something_else_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, target: str | None
) -> None:
    tree = {path: entry for path, entry in GOOD.items() if path != name and not path.startswith(f"{name}/")}
    with pytest.raises(TreeError) as caught:
        audit(monkeypatch, {**tree, **({name: target} if target else {})}, without("usr/local"))
    assert f"/{name} is missing or not a directory" in caught.value.detail.splitlines()


@pytest.mark.parametrize("name", layout.LINKS)
@pytest.mark.parametrize("layered", [True, False])
def test_a_link_that_is_missing_or_leads_elsewhere_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, layered: bool
) -> None:
    base, wanted = GOOD if layered else None, layout.LINKS[name]
    with pytest.raises(TreeError) as caught:
        audit(monkeypatch, without(name), base)
    assert caught.value.detail == f"/{name} is not a link to {wanted}"
    with pytest.raises(TreeError) as caught:
        audit(monkeypatch, {**GOOD, name: "elsewhere"}, base)
    assert caught.value.detail == f"/{name} is a link to elsewhere, not to {wanted}"


def test_etc_beside_usr_etc_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TreeError) as caught:
        audit(monkeypatch, {**GOOD, "etc": None}, GOOD)
    assert caught.value.detail == "/etc is in the commit, beside /usr/etc"


def test_a_link_to_lines_of_a_listing_forges_no_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a script made of /opt is told by the lines of the commit, not by those in a link's target."""
    forged = f"x\nl00777 0 0      0 {SUM} /opt -> var/opt"
    with pytest.raises(TreeError) as caught:
        audit(monkeypatch, {**GOOD, "opt": "usr/evil", "zz": forged}, GOOD)
    assert caught.value.brief == "the entries of a commit cannot be told apart"


def test_what_must_not_be_deployed_is_refused_with_the_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TreeError, match="OSTree must not deploy this tree"):
        audit(monkeypatch, {**GOOD, "usr/etc": "usr/evil"}, GOOD)
