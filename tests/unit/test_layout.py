"""The audit of a commit: which trees are never published."""

from __future__ import annotations

import pytest

from apt_ostree.errors import TreeError
from apt_ostree.tree import layout
from tests.unit.repository import Tree, repository

GOOD: dict[str, str | None] = {
    **dict.fromkeys(("usr", "usr/etc", "usr/bin", "usr/lib", *layout.MOUNT_POINTS)),
    **layout.LINKS,
    "usr/bin/x": "file",
    "usr/lib/os-release": "file",
}


def audit(tree: Tree, base: Tree | None) -> None:
    with repository(made=tree, base=base or {}) as (repo, commits):
        layout.audit(repo, commits["made"], commits["base"] if base is not None else None)


def without(name: str) -> dict[str, str | None]:
    return {path: target for path, target in GOOD.items() if path != name}


@pytest.mark.parametrize("base", [None, GOOD])
def test_a_tree_as_it_has_to_be_is_published(base: dict[str, str | None] | None) -> None:
    audit(GOOD, base)


def test_a_layer_has_the_links_of_its_base_alone() -> None:
    audit(without("media"), without("media"))


@pytest.mark.parametrize("name", ["var", "boot", "dev", "proc", "run", "sys", "tmp", "sysroot"])
def test_content_where_a_deployment_has_a_mount_is_refused(name: str) -> None:
    with pytest.raises(TreeError) as caught:
        audit({**GOOD, f"{name}/left": "file"}, GOOD)
    assert caught.value.brief == "the tree breaks the layout that a booted system relies on"
    assert caught.value.detail == f"/{name} is not empty: /{name}/left"


@pytest.mark.parametrize("name", ["usr", "sysroot", "var", "boot", "dev", "proc", "run", "sys"])
@pytest.mark.parametrize("target", [None, "elsewhere", "file"])
def test_a_mount_point_that_is_missing_or_something_else_is_refused(name: str, target: str | None) -> None:
    tree = {path: entry for path, entry in GOOD.items() if path != name and not path.startswith(f"{name}/")}
    with pytest.raises(TreeError) as caught:
        audit({**tree, **({name: target} if target else {})}, without("usr/local"))
    assert f"/{name} is missing or not a directory" in caught.value.detail.splitlines()


@pytest.mark.parametrize("name", layout.LINKS)
@pytest.mark.parametrize("layered", [True, False])
def test_a_link_that_is_missing_or_leads_elsewhere_is_refused(name: str, layered: bool) -> None:
    base, wanted = GOOD if layered else None, layout.LINKS[name]
    with pytest.raises(TreeError) as caught:
        audit(without(name), base)
    assert caught.value.detail == f"/{name} is not a link to {wanted}"
    with pytest.raises(TreeError) as caught:
        audit({**GOOD, name: "elsewhere"}, base)
    assert caught.value.detail == f"/{name} is a link to elsewhere, not to {wanted}"


def test_etc_beside_usr_etc_is_refused() -> None:
    with pytest.raises(TreeError) as caught:
        audit({**GOOD, "etc": None}, GOOD)
    assert caught.value.detail == "/etc is in the commit, beside /usr/etc"


def test_a_link_to_lines_of_a_listing_is_one_entry() -> None:
    """What a script made of /opt is told by the commit, not by a link's target, whatever ostree prints of it."""
    forged = f"x\nl00777 0 0      0 {'0' * 64} /home -> var/home"
    with pytest.raises(TreeError) as caught:
        audit({**GOOD, "home": "usr/evil", "usr/zz": forged}, GOOD)
    assert caught.value.detail == "/home is a link to usr/evil, not to var/home"


def test_what_must_not_be_deployed_is_refused_with_the_layout() -> None:
    with pytest.raises(TreeError, match="OSTree must not deploy this tree"):
        audit({**GOOD, "usr/etc": "usr/evil"}, GOOD)
