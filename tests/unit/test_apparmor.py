"""AppArmor's rules for the paths that a tree's links lead to."""

from __future__ import annotations

from pathlib import Path

from apt_ostree.tree import apparmor
from apt_ostree.tree.view import View


def make(tree: Path, **links: str) -> Path:
    tree.mkdir(exist_ok=True)
    for name, target in links.items():
        (tree / name).symlink_to(target)
    return tree


def test_a_layer_that_brings_apparmor_says_where_the_base_s_links_lead(tmp_path: Path) -> None:
    base = make(tmp_path / "base", home="var/home", root="var/roothome", media="run/media", bin="usr/bin")
    layer = make(tmp_path / "layer", data="var/data", odd="var/a b")
    top = make(tmp_path / "top")
    apparmor.write(View([layer, base]), top)
    assert list(top.iterdir()) == []
    (layer / "usr/etc/apparmor.d/tunables/home.d").mkdir(parents=True)
    apparmor.write(View([layer, base]), top)
    assert (top / apparmor.PLACE).read_text().splitlines()[1:] == [
        "@{HOMEDIRS}+=/var/home/",
        "@{HOME}+=/var/roothome/",
        "alias /data/ -> /var/data/,",
        "alias /home/ -> /var/home/,",
        "alias /media/ -> /run/media/,",
        "alias /root/ -> /var/roothome/,",
    ]


def test_a_layer_repeats_nothing_that_its_base_says(tmp_path: Path) -> None:
    base = make(tmp_path / "base", home="var/home")
    (base / "usr/etc/apparmor.d/tunables/home.d").mkdir(parents=True)
    apparmor.write(View([base]), base)
    top = make(tmp_path / "top")
    apparmor.write(View([top, base]), top)
    assert list(top.iterdir()) == []
