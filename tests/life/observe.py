"""What is looked at on a running machine, as names and values that can be compared with another machine's."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from .container import Container

Seen = Mapping[str, Mapping[str, str]]
"""Section -> name -> value."""

PLACES = "/etc /var /opt /usr/local"
_HOMES = {"/home": "/var/home", "/root": "/var/roothome", "/srv": "/var/srv"}
"""Where OSTree's layout has them; only our machine has them by both names, one of which is a link."""

_FILES = r"""
for place in {places}; do
    if [ -d "$place" ] && [ ! -L "$place" ]; then
        find "$place" -xdev -printf '%p\t%y %m %u %g %l\n'
    fi
done
"""
_DIGESTS = r"""
for place in {places}; do
    if [ -d "$place" ] && [ ! -L "$place" ]; then
        find "$place" -xdev -type f -exec sha256sum '{{}}' +
    fi
done
"""
_SCRIPTS = {
    "files": _FILES,
    "digests": _DIGESTS,
    "unit files": "systemctl list-unit-files --no-legend --no-pager --plain",
    "units": "systemctl list-units --no-legend --no-pager --plain --state=active,failed,activating"
    " --type=service,socket,timer,path,mount,target",
    "sockets": "ss -Hltunp; ss -Hlxp",
    "alternatives": "update-alternatives --get-selections",
    "packages": "dpkg-query --show --showformat='${{binary:Package}} ${{Version}} ${{Status}}\\n'",
    "manual": "apt-mark showmanual",
    "verify": "dpkg --verify",
    "users": "getent passwd | cut -d: -f1,6,7",
    "groups": "getent group | cut -d: -f1,4",
    "journal": "journalctl --boot --priority=err --output=short --no-pager --no-hostname | cut -c17-",
}
_END = "==== end of section"


def observe(machine: Container, checks: Mapping[str, str]) -> Seen:
    """Look at a running machine; ``checks`` are the story's own scripts, by name."""
    places = " ".join([*PLACES.split(), *_HOMES])
    scripts = {name: script.format(places=places) for name, script in _SCRIPTS.items()}
    # One program, since each costs a quarter of a second to enter the machine by.
    whole = "".join(f"{script}\necho '{_END}'\n" for script in scripts.values())
    texts = machine.run(whole).stdout.split(f"{_END}\n")
    found = {name: text.splitlines() for name, text in zip(scripts, texts, strict=False)}
    machine_id = machine.run("cat /etc/machine-id").stdout.strip()
    seen: dict[str, Mapping[str, str]] = {
        "files": _files(found["files"], machine_id),
        "content": _digests(found["digests"], machine_id),
        "unit files": {line.split()[0]: line.split()[1] for line in found["unit files"] if line},
        "units": {line.split()[0]: line.split()[2] for line in found["units"] if len(line.split()) > 2},
        "sockets": _sockets(found["sockets"]),
        "packages": _words(found["packages"]),
        "alternatives": _words(found["alternatives"]),
        "users": _words(line.replace(":", " ", 1) for line in found["users"]),
        "groups": _words(line.replace(":", " ", 1) for line in found["groups"]),
        **{name: dict.fromkeys(found[name], "") for name in ("manual", "verify")},
        "journal": dict.fromkeys((re.sub(r"\d+", "N", line) for line in found["journal"] if line.strip()), ""),
        "state": {"system": machine.state},
        "checks": {name: _said(machine, script) for name, script in checks.items()},
    }
    return seen


def _said(machine: Container, script: str) -> str:
    done = machine.run(script)
    return f"exit {done.returncode}: {done.stdout.strip()}"


def _words(lines: Iterable[str]) -> dict[str, str]:
    """The first word of each line as the name of the rest."""
    return {line.split(" ", 1)[0].split()[0]: line.split(None, 1)[-1] for line in lines if line.strip()}


def _name(path: str, machine_id: str) -> str:
    """A path by which both machines have it."""
    for plain, ours in _HOMES.items():
        if path == plain or path.startswith(f"{plain}/"):
            path = ours + path.removeprefix(plain)
    return path.replace(machine_id, "MACHINE-ID") if machine_id else path


def _files(lines: Sequence[str], machine_id: str) -> dict[str, str]:
    pairs = (line.split("\t", 1) for line in lines if "\t" in line)
    return {_name(path, machine_id): facts.strip() for path, facts in pairs}


def _digests(lines: Sequence[str], machine_id: str) -> dict[str, str]:
    pairs = (line.split("  ", 1) for line in lines if "  " in line)
    return {_name(path, machine_id): digest for digest, path in pairs}


def _sockets(lines: Sequence[str]) -> dict[str, str]:
    """Where somebody listens -> the program's name."""
    found = {}
    for line in lines:
        words = re.sub(r"\b[0-9a-f]{12}\b", "RANDOM", line).split()
        if len(words) < 5:
            continue
        program = re.search(r'users:\(\("([^"]*)"', line)
        place, _, port = words[4].rpartition(":")
        # ip(7): from here on the kernel takes any.
        port = "any" if port.isdecimal() and int(port) >= 32768 else port
        found[f"{words[0]} {place}:{port}"] = program[1] if program else ""
    return found
