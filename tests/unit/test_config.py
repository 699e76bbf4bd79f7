"""The configuration: strict, and each problem with its line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from apt_ostree.errors import ConfigError
from apt_ostree.inputs import config
from apt_ostree.inputs.config import Config


def test_a_system_without_one_has_the_defaults(tmp_path: Path) -> None:
    assert config.load(tmp_path) == Config(deployments=2, recommends=None, workers=2, wait=0, script_time=3600)


def test_every_key_is_read(tmp_path: Path) -> None:
    (tmp_path / "apt-ostree").mkdir()
    (tmp_path / "apt-ostree/config.toml").write_text(
        "deployments = 4\nrecommends = false\nworkers = 8\nwait = 60\nscript-time = 90\n"
    )
    assert config.load(tmp_path) == Config(4, recommends=False, workers=8, wait=60, script_time=90)


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
    assert config.load(tmp_path / "etc") == Config()


def test_the_page_lists_every_key() -> None:
    page = (Path(__file__).parents[2] / "docs/configuration.md").read_text()
    assert re.findall(r"^\| `([a-z-]+)` \|", page, re.MULTILINE) == [
        name.replace("_", "-") for name in Config.__dataclass_fields__
    ]
