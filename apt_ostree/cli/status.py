"""The deployments as ``status`` shows them: as text for a terminal of any width, and as JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .. import changes, numbers
from ..inputs.kargs import split as split_kargs
from ..system import metadata
from . import available, difference, documents, layout

if TYPE_CHECKING:
    from ..ops.query import DeploymentStatus, Status


def status_text(status: Status, *, verbose: bool, width: int | None = None) -> Iterable[str]:
    """Return the lines: a bullet for the booted deployment, labels right-aligned; wrapped if there is a ``width``."""
    if not status.deployments:
        yield "No deployments."
    for entry in status.deployments:
        yield from _deployment_lines(entry, verbose=verbose, width=width)
    if status.not_finalised:
        yield ""
        yield f"The last shutdown did not finalise the staged deployment: {' '.join(status.not_finalised.split())}"
        yield "See 'journalctl -b -1 -u ostree-finalize-staged'."
    if status.update is not None:
        yield ""
        yield available.line(status.update)
    if status.transaction is not None:
        yield ""
        yield f"In progress: {status.transaction}"
        if status.entry is not None:
            phase = status.entry.phases[-1].name if status.entry.phases else "begun"
            yield layout.field("Phase", f"{phase}  (transaction {status.entry.id})")


def _deployment_lines(entry: DeploymentStatus, *, verbose: bool, width: int | None) -> Iterable[str]:
    deployment = entry.deployment
    mark = "●" if deployment.booted else " "
    name, flags = entry.refspec or deployment.osname, " ".join(_flags(entry))
    first = f"{mark} {name:<60} {flags}".rstrip()
    if width is None or len(first) <= width:
        yield first
    else:
        yield f"{mark} {name}"
        yield layout.field("", flags)
    version = entry.base.version or "(none)"
    yield layout.field("Version", f"{version}  ({numbers.moment(entry.base.timestamp)})")
    layer = f"Layer  {entry.commit.checksum[:12]}" if metadata.is_layer(entry.commit) else "(no layer)"
    yield layout.field("Base", f"{entry.base.checksum[:12]}   {layer}")
    yield from layout.fields("Damaged", [" ".join(entry.damaged.split())] if entry.damaged else [], None)
    yield from layout.fields("Requested", entry.intent.requested, width)
    local = [f"{e.package.name} {e.package.version}" for e in entry.intent.requested_local]
    yield from layout.fields("Local", local, width)
    if entry.layered:
        total = sum(solved.installed_size for solved in entry.layered)
        count = len(entry.layered)
        yield layout.field("Layered", f"{count} package{'s' if count != 1 else ''}, {layout.size(total)}")
    changes = [f"- {package.name}" for package in entry.removed]
    changes += [f"{old.name} {old.version} -> {new.version}" for old, new in entry.replaced]
    yield from layout.fields("Overrides", changes, width, "   ")
    if (end := metadata.end_of_life(entry.base)) is not None:
        yield from layout.fields("End of life", end.split(" "), width, " ")
    for request, reason in sorted(entry.inactive.items()):
        yield from layout.fields("Inactive", f"{request}: {reason}".split(" "), width, " ")
    made = " ".join(["made on this machine", *entry.intent.initramfs_args]) if entry.intent.initramfs else ""
    yield from layout.fields("Initramfs", [made] if made else [], width)
    yield from layout.fields("Tracked", entry.intent.initramfs_etc, width)
    if verbose:
        yield from _more_lines(entry, width)


def _more_lines(entry: DeploymentStatus, width: int | None) -> Iterable[str]:
    yield from layout.fields("Kargs", split_kargs(entry.deployment.kargs), width, " ")
    if command := metadata.command(entry.commit):
        uid = metadata.uid(entry.commit)
        who = f"uid {'?' if uid is None else uid}: {command}"
        yield from layout.fields("Made by", who.split(" "), width, " ")
    label = "Packages"
    for solved in entry.layered:
        yield layout.field(label, f"{solved.package.name} {solved.package.version} {solved.package.architecture}")
        label = ""
    yield from difference.kept_in_etc(entry.etc, width)


def _flags(entry: DeploymentStatus) -> list[str]:
    deployment = entry.deployment
    facts = {
        "booted": deployment.booted,
        "staged": deployment.staged,
        "locked": deployment.locked,
        "pending": entry.pending and not deployment.staged,
        "rollback": entry.rollback,
        "pinned": deployment.pinned,
        f"unlocked: {entry.unlocked}": entry.unlocked != "none",
    }
    return [name for name, holds in facts.items() if holds]


def status_json(status: Status) -> dict[str, Any]:
    """Return the document of ``status --json``; its schema is docs/schema/status.json."""
    from ..ops import available

    return {
        "deployments": [_deployment_json(entry) for entry in status.deployments],
        "transaction": _holder_json(status),
        "cached-update": available.document(status.update) if status.update is not None else None,
        "finalization-failure": status.not_finalised or None,
    }


def _holder_json(status: Status) -> dict[str, Any] | None:
    at_work = status.transaction
    if at_work is None:
        return None
    return {
        "id": at_work.id or None,
        "pid": at_work.pid,
        "started": at_work.started or None,
        "command": list(at_work.command),
        "phase": status.entry.phases[-1].name if status.entry and status.entry.phases else None,
    }


def _deployment_json(entry: DeploymentStatus) -> dict[str, Any]:
    deployment = entry.deployment
    return {
        "id": deployment.id,
        "osname": deployment.osname,
        "serial": deployment.serial,
        "checksum": deployment.checksum,
        "base-checksum": entry.base.checksum,
        "version": entry.base.version or None,
        "timestamp": entry.commit.timestamp,
        "origin": entry.refspec or None,
        "booted": deployment.booted,
        "pending": entry.pending,
        "staged": deployment.staged,
        "rollback": entry.rollback,
        "pinned": deployment.pinned,
        "finalization-locked": deployment.locked,
        "unlocked": entry.unlocked,
        "packages": [changes.package_document(solved.package) for solved in entry.layered],
        "requested-packages": list(entry.intent.requested),
        "requested-local-packages": [
            {**changes.package_document(local.package), "sha256": local.sha256}
            for local in entry.intent.requested_local
        ],
        "inactive-requests": [
            {"request": request, "reason": reason} for request, reason in sorted(entry.inactive.items())
        ],
        "base-removals": [changes.package_document(package) for package in entry.removed],
        "base-replacements": [
            {"old": changes.package_document(old), "new": changes.package_document(new)} for old, new in entry.replaced
        ],
        "end-of-life": metadata.end_of_life(entry.base),
        "damaged": entry.damaged or None,
        "kargs": deployment.kargs,
        "kernel": metadata.kernel(entry.commit),
        "regenerate-initramfs": entry.intent.initramfs,
        "initramfs-args": list(entry.intent.initramfs_args),
        "initramfs-etc": list(entry.intent.initramfs_etc),
        **(_detailed_json(entry) if entry.details is not None else {}),
    }


def _detailed_json(entry: DeploymentStatus) -> dict[str, Any]:
    """Return the fields that ``-v`` adds."""
    layer = {
        "parent": entry.commit.parent,
        "message": entry.commit.subject,
        "uid": metadata.uid(entry.commit),
        "command": metadata.command(entry.commit),
        "packages": documents.details(entry.details or ()),
    }
    return {
        "layer": layer if metadata.is_layer(entry.commit) else None,
        "etc-conflicts": documents.etc_conflicts(entry.etc),
    }
