"""A tree's lists of what packages have in /opt and /usr/local."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

import pytest

from apt_ostree.tree import overlays, state
from apt_ostree.tree.view import View

INFO = f"{state.SYSIMAGE}/dpkg/info"


def put(tree: Path, name: str, text: str = "") -> Path:
    path = tree / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def stack(tmp_path: Path) -> list[Path]:
    """A layer with one package in /opt over a base with one in /usr/local."""
    layer, base = tmp_path / "layer", tmp_path / "base"
    put(base, f"{INFO}/tool.list", "/.\n/usr/local\n/usr/local/bin\n/usr/local/bin/tool\n/usr/bin/other\n")
    put(base, "usr/local/bin/tool", "base")
    put(base, "usr/bin/other")
    put(
        layer,
        f"{INFO}/agent.list",
        "/.\n/opt/agent\n/opt/agent/bin\n/opt/agent/conf\n/opt/agent/a b\n/opt/agent/gone\n",
    )
    put(layer, f"{INFO}/agent.conffiles", "/opt/agent/conf\n")
    for name in ("bin", "conf", "unlisted"):
        put(layer, f"opt/agent/{name}", name)
    (layer / "opt/agent/a b").symlink_to("bin")
    for name in ("top", "first", "second"):
        (tmp_path / name).mkdir()
    return [layer, base]


def listed(tree: Path, name: str = "opt") -> dict[str, str]:
    lines = (tree / overlays.LISTS / name).read_text().splitlines()
    return {path: digest for digest, _, path in (line.partition(" ") for line in lines)}


def test_what_packages_have_there_is_listed_without_conffiles(stack: list[Path], tmp_path: Path) -> None:
    assert overlays.write(View(stack), tmp_path / "top")
    assert listed(tmp_path / "top").keys() == {"agent/bin", "agent/a\\040b"}
    assert listed(tmp_path / "top", "usr-local").keys() == {"bin/tool"}


@pytest.mark.parametrize(
    "change",
    [
        lambda place: (place / "bin").write_text("other"),
        lambda place: (place / "bin").chmod(0o4755),
        lambda place: ((place / "bin").unlink(), (place / "bin").symlink_to("bin")),
    ],
    ids=["content", "mode", "type"],
)  # fmt: skip
def test_a_file_that_is_another_has_another_digest(stack: list[Path], tmp_path: Path, change: object) -> None:
    assert callable(change)
    overlays.write(View(stack), tmp_path / "first")
    change(stack[0] / "opt/agent")
    overlays.write(View(stack), tmp_path / "second")
    first, second = listed(tmp_path / "first"), listed(tmp_path / "second")
    assert [name for name in first if first[name] != second[name]] == ["agent/bin"]


def test_an_owner_whose_number_the_machine_chose_makes_no_other_file(stack: list[Path], tmp_path: Path) -> None:
    overlays.write(View(stack), tmp_path / "first")
    os.chown(stack[0] / "opt/agent/bin", 123, 123)
    overlays.write(View(stack), tmp_path / "second")
    assert listed(tmp_path / "first") == listed(tmp_path / "second")


def test_a_layer_that_changes_nothing_there_brings_no_list(stack: list[Path], tmp_path: Path) -> None:
    overlays.write(View(stack[1:]), stack[1])
    put(tmp_path / "other", f"{INFO}/other.list", "/usr/bin/new\n")
    assert not overlays.write(View([tmp_path / "other", stack[1]]), tmp_path / "top")
    assert list((tmp_path / "top").iterdir()) == []


def test_where_the_last_package_is_gone_the_list_is_empty(stack: list[Path], tmp_path: Path) -> None:
    overlays.write(View(stack[1:]), stack[1])
    put(tmp_path / "layer", f"{INFO}/tool.list", "")
    assert overlays.write(View([tmp_path / "layer", stack[1]]), tmp_path / "top")
    assert listed(tmp_path / "top", "usr-local") == {}


def test_the_units_mount_as_the_program_tries_to() -> None:
    data = resources.files("apt_ostree") / "data"
    (tried,) = [
        line.removeprefix("options=") for line in (data / "settle-overlays").read_text().splitlines()
        if line.startswith("options=")
    ]  # fmt: skip
    for name, place in overlays.PLACES.items():
        own = f"/var/lib/apt-ostree/overlays/{name}"
        lines = (data / f"{name}.mount").read_text().splitlines()
        # Below all others, the links to machine-tool.
        lower = f"/{place}:/run/apt-ostree/tools/usr" if name == "usr-local" else f"/{place}"
        assert f"Options=lowerdir={lower},upperdir={own}/upper,workdir={own}/work,{tried}" in lines
        assert f"Where=/{place}" in lines
        assert f"ConditionPathExists=/run/apt-ostree/overlays/{name}" in lines
        assert f"settle {name} {place}" in (data / "settle-overlays").read_text().splitlines()
