"""Origin files: the intent of the user, beside each deployment.

A GKeyFile. ``[origin]`` holds ``refspec=`` for a pure base and ``baserefspec=`` once anything is layered;
``[packages]`` the requests. Groups and keys this version does not know are carried along untouched.
"""

from __future__ import annotations

import io
from collections.abc import Mapping

from ..errors import SysrootError
from ..model import Intent, LocalPackage
from ..text import lines

Origin = Mapping[str, Mapping[str, str]]

TRANSIENT = "libostree-transient"
"""libostree's notes on one deployment: no new one inherits them."""

_BLANKS = " \t\r\v\f"
"""Those of g_ascii_isspace(); str.strip() knows more, and would see a key where OSTree sees another."""

UNCONFIGURED = "unconfigured-state"
"""libostree's own key; following another ref drops it."""

RETAINED = "retained"
"""In our own group: the pin beside it is not the administrator's."""

INPUTS = "inputs"
"""In our own group: the digest of what the layer was made from. A commit could say anything there."""


def parse(text: str, name: str = "origin") -> dict[str, dict[str, str]]:
    """Read a key file into group -> key -> value, as GLib reads it (gkeyfile.c): of two lines with a key the last one
    counts, a group may be in pieces, and the blanks of a line are those of ASCII. Raises SysrootError, naming the file
    ``name``."""
    groups: dict[str, dict[str, str]] = {}
    group: dict[str, str] | None = None
    for number, whole in enumerate(lines(text), 1):
        line = whole.strip(_BLANKS)
        if not line or line.startswith("#"):
            continue
        key, separator, value = line.partition("=")
        if line.startswith("[") and line.endswith("]"):
            group = groups.setdefault(line[1:-1], {})
        elif group is not None and separator and key:
            group[key.rstrip(_BLANKS)] = value.lstrip(_BLANKS)
        else:
            # Nothing of the text itself: a link may lead to any file, and everybody reads the journal.
            raise SysrootError(
                f"cannot read {name}",
                f"line {number} is neither [GROUP] nor KEY=VALUE",
                "Repair the file; that of another deployment shows its form. With an empty file, ostree and "
                "'apt-ostree rollback' work again, but the requests are lost.",
            )
    return groups


def render(origin: Origin) -> str:
    """The text of a key file; groups without keys are left out."""
    out = io.StringIO()
    for group, entries in origin.items():
        if entries:
            out.write(f"[{group}]\n" + "".join(f"{key}={value}\n" for key, value in entries.items()) + "\n")
    return out.getvalue()


def split(value: str) -> list[str]:
    """The items of a GKeyFile list."""
    return [item for item in value.split(";") if item]


def refspec(origin: Origin) -> str:
    """The refspec of the base, layered or not; empty where the origin has none."""
    group = origin.get("origin", {})
    return group.get("baserefspec") or group.get("refspec") or ""


def pinned(origin: Origin) -> str:
    """The commit of the base that was chosen rather than the newest of its ref; libostree's own key for it."""
    return origin.get("origin", {}).get("override-commit", "")


def unconfigured(origin: Origin) -> str:
    """Why a deployment must not be upgraded yet, in the words of whoever installed it; empty where it may."""
    return origin.get("origin", {}).get(UNCONFIGURED, "")


def with_base(origin: Origin, follows: str, pinned: str) -> dict[str, dict[str, str]]:
    """The origin with another place to take the base from, and with the commit chosen there, if one was."""
    changing = {"refspec", "baserefspec", "override-commit"} | (set() if follows == refspec(origin) else {UNCONFIGURED})
    group = {key: value for key, value in origin.get("origin", {}).items() if key not in changing}
    if pinned:
        group["override-commit"] = pinned
    return {**{name: dict(entries) for name, entries in origin.items()}, "origin": {"baserefspec": follows, **group}}


def names_base(origin: Origin) -> bool:
    """True if the deployment's commit is a base by its origin, whatever the commit says of itself: libostree's
    ``refspec=`` is that of the commit itself."""
    group = origin.get("origin", {})
    return bool(group.get("refspec")) and not group.get("baserefspec")


def inputs(origin: Origin) -> str:
    """The digest of what the layer was made from; empty for a base, and for a layer of an earlier version."""
    return origin.get("apt-ostree", {}).get(INPUTS, "")


def intent(origin: Origin) -> Intent:
    """The intent that an origin records. Raises SysrootError for a request that cannot be read."""
    packages, overrides, own = (origin.get(group, {}) for group in ("packages", "overrides", "apt-ostree"))
    recommends = {"true": True, "false": False}.get(packages.get("recommends", ""))
    return Intent(
        tuple(split(packages.get("requested", ""))),
        _local(packages.get("requested-local", "")),
        recommends,
        tuple(split(overrides.get("remove", ""))),
        tuple(split(overrides.get("replace", ""))),
        _local(overrides.get("replace-local", "")),
        packages.get("debconf", ""),
        own.get("regenerate-initramfs") == "true",
        tuple(split(own.get("initramfs-args", ""))),
        tuple(split(own.get("initramfs-etc", ""))),
    )


def _local(value: str) -> tuple[LocalPackage, ...]:
    try:
        return tuple(LocalPackage.parse(item) for item in split(value))
    except ValueError as error:
        raise SysrootError("cannot read a local package in the origin", value) from error


def with_intent(origin: Origin, new: Intent, inputs: str = "") -> dict[str, dict[str, str]]:
    """The origin with another intent: ``refspec`` becomes ``baserefspec`` while anything is layered. ``inputs`` is the
    digest of what the layer was made from."""
    changed = {group: dict(entries) for group, entries in origin.items()}
    # libostree's own notes (pinned, finalization locks, a hotfix) belong to the old deployment.
    changed.pop(TRANSIENT, None)
    base = refspec(origin)
    key = "refspec" if new.empty else "baserefspec"
    rest = {k: v for k, v in changed.get("origin", {}).items() if k not in {"refspec", "baserefspec", "unlocked"}}
    changed["origin"] = {key: base, **rest} if base else rest
    packages = {
        k: v
        for k, v in changed.get("packages", {}).items()
        if k not in {"requested", "requested-local", "recommends", "debconf"}
    }
    overrides = {
        k: v for k, v in changed.get("overrides", {}).items() if k not in {"remove", "replace", "replace-local"}
    }
    own = {
        k: v
        for k, v in changed.get("apt-ostree", {}).items()
        if k not in {"regenerate-initramfs", "initramfs-args", "initramfs-etc", RETAINED, INPUTS}
    }
    if new.initramfs:
        own["regenerate-initramfs"] = "true"
    for group, name, items in (
        (packages, "requested", new.requested),
        (packages, "requested-local", new.requested_local),
        (overrides, "remove", new.remove),
        (overrides, "replace", new.replace),
        (overrides, "replace-local", new.replace_local),
        (own, "initramfs-args", new.initramfs_args),
        (own, "initramfs-etc", new.initramfs_etc),
    ):
        if items:
            group[name] = "".join(f"{item};" for item in items)
    if new.recommends is not None and not new.empty:
        packages["recommends"] = "true" if new.recommends else "false"
    if new.debconf and not new.empty:
        packages["debconf"] = new.debconf
    if inputs and not new.empty:
        own[INPUTS] = inputs
    changed["packages"] = packages
    changed["overrides"] = overrides
    changed["apt-ostree"] = own
    return changed


def has_pin(origin: Origin) -> bool:
    """True if the deployment is pinned: libostree keeps it."""
    return origin.get(TRANSIENT, {}).get("pinned") == "true"


def retained(origin: Origin) -> bool:
    """True if the deployment is pinned for retention alone."""
    return has_pin(origin) and origin.get("apt-ostree", {}).get(RETAINED) == "true"


def with_pin(origin: Origin, pin: bool, *, for_retention: bool = False) -> dict[str, dict[str, str]]:
    """The origin of the same deployment, pinned or not."""
    changed = {group: dict(entries) for group, entries in origin.items()}
    changed.setdefault(TRANSIENT, {}).pop("pinned", None)
    changed.setdefault("apt-ostree", {}).pop(RETAINED, None)
    if pin:
        changed[TRANSIENT]["pinned"] = "true"
    if pin and for_retention:
        changed["apt-ostree"][RETAINED] = "true"
    return changed
