"""The administrator's settings: /etc/apt-ostree/config.toml of the system that is worked on."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError
from ..host.paths import beneath
from ..sandbox.limits import LIMITS
from .tables import Source

PLACE = "apt-ostree/config.toml"
"""Below /etc."""

DEPLOYMENTS = range(2, 101)
"""One that boots next, and at least the one to go back to; ostree's own bookkeeping gets slow with many."""

WORKERS = range(1, 33)

SCRIPT_TIME = range(1, 24 * 3600 + 1)

WAIT = range(7 * 24 * 3600 + 1)
"""Seconds: a week is as good as for ever."""


@dataclass(frozen=True, slots=True)
class Config:
    """The settings of a system; a field is the key of its name, with '-' for '_'."""

    deployments: int = 2
    """Deployments that stay, the new one included; pinned ones are not counted."""
    recommends: bool | None = None
    """True to install recommended packages, too, where no option and no earlier choice decides; None: as apt does."""
    workers: int = 2
    """Downloads that run at once, and imports that do."""
    wait: int = 0
    """Seconds to wait for another transaction where no option decides."""
    script_time: int = int(LIMITS.seconds)
    """Seconds that one run of dpkg with its scripts may take."""


def load(etc: Path) -> Config:
    """The settings in an /etc; the defaults where it has no such file. Raises ConfigError."""
    path = beneath(etc, PLACE)
    if path is None:
        return Config()
    source = _source(path)
    return parse(source.read(), path)


def parse(text: str, path: Path) -> Config:
    """The settings in ``text``, which messages call ``path``. Raises ConfigError with a line for each problem."""
    source = _source(path)
    top = source.parse(text)
    top.reject_unknown(frozenset(each.name.replace("_", "-") for each in dataclasses.fields(Config)))
    config = Config(
        top.number("deployments", DEPLOYMENTS, 2),
        top.boolean("recommends", False) if "recommends" in top.values else None,
        top.number("workers", WORKERS, 2),
        top.number("wait", WAIT, 0),
        top.number("script-time", SCRIPT_TIME, int(LIMITS.seconds)),
    )
    source.finish(top)
    return config


def _source(path: Path) -> Source:
    return Source(path, "configuration", ConfigError)
