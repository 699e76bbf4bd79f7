"""The administrator's settings: /etc/apt-ostree/config.toml of the system that is worked on."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError, TreeError
from ..host.door import Tree
from ..sandbox.limits import LIMITS
from .tables import Source

PLACE = "etc/apt-ostree/config.toml"
"""Below a deployment."""

SIZE_MAX = 1 << 20
"""Bytes of it that are read."""

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
    lock_layering: bool = False
    """Nothing more may be layered or overridden; what is, may be upgraded and taken away."""


def load(deployment: Path) -> Config:
    """The settings in the /etc of a deployment; the defaults where it has no such file. Links are followed in the
    deployment alone. Raises ConfigError."""
    tree, path = Tree(deployment), deployment / PLACE
    if not tree.has(PLACE):
        return Config()
    try:
        found = tree.find(PLACE)
        content = tree.read(found, limit=SIZE_MAX) if found is not None else None
    except (OSError, TreeError) as error:
        reason = error.brief if isinstance(error, TreeError) else error.strerror or str(error)
        raise ConfigError(f"cannot read configuration {path}", reason, "Check the file and its permissions.") from error
    if content is None:
        raise ConfigError(
            f"cannot read configuration {path}",
            "it is not a file, or a link that leads to none in the deployment",
            "Put a file in its place, or remove it.",
        )
    return parse(_source(path).decode(content), path)


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
        top.boolean("lock-layering", False),
    )
    source.finish(top)
    return config


def _source(path: Path) -> Source:
    return Source(path, "configuration", ConfigError)
