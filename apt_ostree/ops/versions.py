"""The versions of the tools that operations run, for bug reports."""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass

from ..errors import ToolError
from ..host import proc

_TOOLS = {
    "ostree": ("ostree", "--version"),
    "bwrap": ("bwrap", "--version"),
    "apt": ("apt-get", "--version"),
    "dpkg": ("dpkg", "--version"),
    "mmdebstrap": ("mmdebstrap", "--version"),
    "systemd": ("systemctl", "--version"),
}

_VERSION = re.compile(r"\d[\w.+:~-]*")


@dataclass(frozen=True, slots=True)
class Version:
    """A tool, and its version; None where it is not installed or does not tell."""

    tool: str
    version: str | None


def of_tools() -> list[Version]:
    """The versions of all tools, of python and of the kernel, those that are missing included. Raises nothing."""
    return [
        *(Version(tool, _asked(command)) for tool, command in _TOOLS.items()),
        Version("python", platform.python_version()),
        Version("kernel", platform.release()),
    ]


def _asked(command: tuple[str, ...]) -> str | None:
    try:
        text = proc.run(command, check=False).stdout
    except ToolError:
        return None
    found = _VERSION.search(text)
    return found[0].rstrip(".") if found is not None else None
