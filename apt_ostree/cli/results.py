"""The result of an operation that changes a sysroot, for people and as JSON."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .. import changes, numbers
from ..model import CommitInfo, Deployment
from . import difference, documents, layout, streams

if TYPE_CHECKING:
    from ..ops.apply import Applied
    from ..ops.deployments import Done
    from ..ops.kernel_args import Changed
    from ..ops.layer import Outcome


def show(done: Outcome | Applied | Done | Changed, *, as_json: bool) -> None:
    """Print the result of an operation that changes a sysroot."""
    from ..ops.apply import Applied
    from ..ops.kernel_args import Changed
    from ..ops.layer import Outcome

    if isinstance(done, Outcome):
        _outcome(done, as_json=as_json)
    elif isinstance(done, Applied):
        _applied(done, as_json=as_json)
    elif isinstance(done, Changed):
        _kernel_arguments(done, as_json=as_json)
    elif as_json:
        documents.write(
            {
                "changed": done.changed,
                "dry-run": done.dry_run,
                "message": done.message,
                "deployment": done.deployment.id if done.deployment else None,
            }
        )
    else:
        # That of a dry clean-up names each deployment on a line; nothing of others is in it.
        for text in done.message.split("\n"):
            streams.line(text)


def truth(done: Outcome | Applied | Done | Changed) -> str:
    """Return a sentence on what was done, for an error: the result itself could not be printed."""
    if done.dry_run or not done.changed:
        return "The deployments were not changed."
    what = "" if done.deployment is None else f": {done.deployment.id} is deployed"
    return f"The operation itself is done{what}. To see what it did: apt-ostree history"


def _kernel_arguments(done: Changed, *, as_json: bool) -> None:
    """Print kernel arguments that were removed and added."""
    if as_json:
        documents.write(
            {
                "changed": done.changed,
                "dry-run": done.dry_run,
                "message": done.message,
                "kargs": list(done.after),
                "before": list(done.before),
                "deployment": done.deployment.id if done.deployment else None,
            }
        )
        return
    streams.line(done.message)
    for mark, words, others in (("-", done.before, done.after), ("+", done.after, done.before)):
        # One of two equal arguments may be removed: they are counted.
        for word in dict.fromkeys(words):
            for _ in range(words.count(word) - others.count(word)):
                streams.line(f"  {mark} {word}")


def _applied(done: Applied, *, as_json: bool) -> None:
    """Print the result of ``apply``: what the file changed in the intent, then the outcome."""
    items = (("added", "+", done.divergence.added), ("removed", "-", done.divergence.removed))
    if as_json:
        intent = {name: [{"kind": kind, "value": value} for kind, value in found] for name, _, found in items}
        documents.write({**_outcome_fields(done.outcome), "intent": intent})
        return
    if done.outcome.message:
        streams.line(done.outcome.message)
    for _, mark, found in items:
        for kind, value in found:
            streams.line(f"  {mark} {kind}: {value}")
    _outcome(replace(done.outcome, message=""), as_json=False)


def _outcome_fields(done: Outcome) -> dict[str, Any]:
    return {
        "changed": done.changed,
        "dry-run": done.dry_run,
        "message": done.message,
        "packages": documents.plan(done.plan),
        "difference": changes.document(done.change),
        "commit": done.commit,
        "reused": done.reused,
        "deployment": done.deployment.id if done.deployment else None,
        "base": documents.base(done.bases[1]) if done.bases else None,
        "previous-base": documents.base(done.bases[0]) if done.bases else None,
        "security": None if done.security is None else [changes.package_document(p) for p in done.security],
        "etc-conflicts": documents.etc_conflicts(done.etc),
    }


def _outcome(done: Outcome, *, as_json: bool) -> None:
    """Print the result of an operation on packages or the base."""
    if as_json:
        documents.write(_outcome_fields(done))
        return
    if done.message:
        streams.line(done.message)
    if done.bases and done.bases[0].checksum != done.bases[1].checksum:
        streams.line(f"Base: {_base(done.bases[0])} -> {_base(done.bases[1])}")
    for text in difference.lines(done.change, done.security or ()):
        streams.line(text)
    if done.security == ():
        streams.line("None of these is a security update.")
    for text in difference.kept_in_etc(done.etc):
        streams.line(text)
    if done.dry_run and done.changed and done.download:
        streams.line(f"To download: {layout.size(done.download)}")
    if done.deployment is not None:
        streams.line(_deployed(done.deployment, done))


def _deployed(deployment: Deployment, done: Outcome) -> str:
    """Return the last line of an outcome: what was deployed, and what follows from that."""
    count = len(done.plan.packages)
    layered = f"with {count} layered package{'s' if count != 1 else ''}"
    alone = done.bases is None or deployment.checksum == done.bases[1].checksum
    if not count and alone:
        what = ", the base alone"
    elif not count:
        gone = len(done.plan.removed)
        what = f" without {gone} package{'s' if gone != 1 else ''} of the base" if gone else ""
    elif done.reused:
        what = f", the same layer as before {layered}"
    else:
        what = f" {layered}"
    # Only a running system stages, and only there is something to reboot.
    follows = "Reboot to use it: systemctl reboot"
    if not deployment.staged:
        follows = "It boots next; 'apt-ostree rollback' undoes it."
    return f"Deployed {deployment.checksum[:12]}{what}. {follows}"


def _base(info: CommitInfo) -> str:
    """Return the version of a base, or the start of its checksum, with its time."""
    return f"{info.version or info.checksum[:12]} ({numbers.moment(info.timestamp)})"
