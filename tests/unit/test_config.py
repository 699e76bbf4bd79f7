"""The configuration: strict, and each problem with its line."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from apt_ostree.errors import ConfigError
from apt_ostree.inputs import config
from apt_ostree.inputs.config import Config


def test_a_system_without_one_has_the_defaults(tmp_path: Path) -> None:
    assert config.load(tmp_path) == Config(deployments=2, recommends=None, workers=2, wait=0, script_time=3600)


def test_every_key_is_read(tmp_path: Path) -> None:
    (tmp_path / "etc/apt-ostree").mkdir(parents=True)
    (tmp_path / config.PLACE).write_text(
        "deployments = 4\nrecommends = false\nworkers = 8\nwait = 60\nscript-time = 90\nlock-layering = true\n"
    )
    assert config.load(tmp_path) == Config(4, recommends=False, workers=8, wait=60, script_time=90, lock_layering=True)


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("deployment = 3", "line 1: unknown key 'deployment'; did you mean 'deployments'?"),
        ("\n[retention]\nkeep = 3", "line 2: unknown key 'retention'"),
        ("deployments = 1", "line 1: 'deployments' must be an integer from 2 to 100, found an integer"),
        ("deployments = true", "line 1: 'deployments' must be an integer from 2 to 100, found a boolean"),
        ("workers = true", "line 1: 'workers' must be an integer from 1 to 32, found a boolean"),
        ("recommends = 1", "line 1: 'recommends' must be true or false, found an integer"),
        ("workers = 0\nwait = -1", "line 1: 'workers' must be an integer from 1 to 32, found an integer\n"
         "line 2: 'wait' must be an integer from 0 to 604800, found an integer"),
        ("wait =", "line 1: Invalid value"),
    ],
)  # fmt: skip
def test_a_value_that_is_not_allowed_is_named(text: str, detail: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.parse(text, Path("/etc/apt-ostree/config.toml"))
    assert (caught.value.brief, caught.value.detail) == (
        "/etc/apt-ostree/config.toml is not valid",
        detail,
    )


def test_a_link_out_of_the_etc_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/config.toml").write_text("workers = 8\n")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/apt-ostree").symlink_to("../elsewhere")
    assert config.load(tmp_path) == Config()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where the configuration of the deployment ``tmp_path / "root"`` would be."""
    found = tmp_path / "root" / config.PLACE
    found.parent.mkdir(parents=True)
    return found


@pytest.mark.parametrize("target", ["/etc/own.toml", "../own.toml"])
def test_a_link_inside_the_deployment_is_followed(place: Path, target: str) -> None:
    place.symlink_to(target)
    (place.parents[1] / "own.toml").write_text("workers = 8\n")
    assert config.load(place.parents[2]) == Config(workers=8)


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../secret", "/dev/zero", "/nowhere", "config.toml"])
def test_a_link_out_of_the_deployment_is_an_error_and_tells_nothing(place: Path, target: str) -> None:
    (place.parents[3] / "secret").write_text("secret = 1\n")
    place.symlink_to(target)
    with pytest.raises(ConfigError) as caught:
        config.load(place.parents[2])
    assert caught.value.detail == "it is not a file, or a link that leads to none in the deployment"


def test_a_pipe_a_directory_or_a_huge_file_is_an_error(place: Path) -> None:
    os.mkfifo(place)
    with pytest.raises(ConfigError, match="cannot read configuration"):
        config.load(place.parents[2])
    place.unlink()
    place.mkdir()
    with pytest.raises(ConfigError, match="cannot read configuration"):
        config.load(place.parents[2])
    place.rmdir()
    place.write_text("#" * (config.SIZE_MAX + 1))
    with pytest.raises(ConfigError, match="cannot read configuration"):
        config.load(place.parents[2])


def test_the_page_lists_every_key() -> None:
    page = (Path(__file__).parents[2] / "docs/configuration.md").read_text()
    assert re.findall(r"^\| `([a-z-]+)` \|", page, re.MULTILINE) == [
        name.replace("_", "-") for name in Config.__dataclass_fields__
    ]
