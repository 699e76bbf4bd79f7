"""The commands on deployments: status, rollback, pin, unpin and cleanup."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from .. import numbers
from ..errors import UsageError
from . import documents, streams
from .command import CHANGING, DEPLOYING, LOOKING, UNCHANGED, Call, app, command
from .status import status_json, status_text

if TYPE_CHECKING:
    from ..ops.deployments import Choice


@command(app, LOOKING)
def status(
    call: Call,
    booted: Annotated[bool, typer.Option("-b", "--booted", help="Show only the booted deployment.")] = False,
    path: Annotated[
        str | None,
        typer.Option(
            "-J", "--jsonpath", metavar="PATH", help="Print what this path selects from --json, as a JSON list."
        ),
    ] = None,
    pending_exit_77: Annotated[
        bool,
        typer.Option("--pending-exit-77", help="Exit with status 77 if another deployment boots next."),
    ] = False,
) -> None:
    """Show the deployments, in boot order.

    -v adds kernel arguments, layered packages, and files of /etc that both this machine and a pending tree changed.

    Example: apt-ostree status --jsonpath '$.deployments[0].version'
    """
    from ..ops import query
    from .jsonpath import select

    result = query.status(call.sysroot, call.stateroot, detailed=call.verbose)
    only = tuple(entry for entry in result.deployments if entry.deployment.booted)
    pending = any(only) and any(entry.pending for entry in result.deployments)
    if booted:
        result = dataclasses.replace(result, deployments=only)
    if path is not None:
        documents.write_selected(select({"schema": documents.SCHEMA, **status_json(result)}, path))
    elif call.as_json:
        documents.write(status_json(result))
    elif booted and not only:
        streams.line("No deployment is booted.")
    else:
        for text in status_text(result, verbose=call.verbose, width=streams.columns()):
            streams.line(text)
    if pending_exit_77 and pending:
        raise typer.Exit(UNCHANGED)


@command(app, DEPLOYING)
def rollback(
    call: Call,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="INDEX|CHECKSUM", help="Boot this deployment (default: the previous one)."),
    ] = None,
    listing: Annotated[
        bool, typer.Option("--list", help="Only list the deployments; an arrow marks what would boot.")
    ] = False,
) -> None:
    """Boot the previous deployment next.

    It comes back with its own /etc. A second rollback undoes the first.

    Example: apt-ostree rollback --to 2
    """
    from ..ops import deployments

    if listing:
        _show_choices(deployments.choices(call.settings, to), as_json=call.as_json)
        return
    call.show(call.perform(lambda reporter: deployments.rollback(call.settings, to, reporter)))


Which = Annotated[
    str,
    typer.Argument(
        metavar="INDEX|CHECKSUM", help="A deployment: its index in 'apt-ostree status', from 0, or its checksum."
    ),
]


@command(app, CHANGING)
def pin(call: Call, which: Which) -> None:
    """Pin a deployment: never remove it automatically.

    Example: apt-ostree pin 1
    """
    from ..ops import deployments

    call.show(call.perform(lambda reporter: deployments.pin(call.settings, which, True, reporter)))


@command(app, CHANGING)
def unpin(call: Call, which: Which) -> None:
    """Unpin a deployment.

    Example: apt-ostree unpin 1
    """
    from ..ops import deployments

    call.show(call.perform(lambda reporter: deployments.pin(call.settings, which, False, reporter)))


@command(app, CHANGING, "finalize-deployment")
def finalize_deployment(
    call: Call,
    checksum: Annotated[
        str | None, typer.Argument(metavar="[CHECKSUM]", help="The commit that must be staged.")
    ] = None,
    any_checksum: Annotated[bool, typer.Option("--allow-missing-checksum", help="Accept any staged commit.")] = False,
    allow_unlocked: Annotated[
        bool, typer.Option("--allow-unlocked", help="Also if the staged deployment is not locked.")
    ] = False,
) -> None:
    """Unlock a staged deployment, and reboot into it.

    Example: apt-ostree finalize-deployment --allow-missing-checksum
    """
    from ..ops import deployments

    if (checksum is None) != any_checksum:
        raise UsageError("name the expected CHECKSUM, or use --allow-missing-checksum")
    call = dataclasses.replace(call, reboot=True)
    call.show(
        call.perform(
            lambda reporter: deployments.finalize(call.settings, checksum, reporter, allow_unlocked=allow_unlocked)
        )
    )


@command(app, CHANGING)
def cleanup(
    call: Call,
    pending: Annotated[bool, typer.Option("-p", "--pending", help="Remove pending deployments.")] = False,
    previous: Annotated[bool, typer.Option("-r", "--rollback", help="Remove rollback deployments.")] = False,
    base: Annotated[bool, typer.Option("-b", "--base", help="Remove temporary files and unused packages.")] = False,
    metadata: Annotated[bool, typer.Option("-m", "--repomd", help="Remove package lists.")] = False,
) -> None:
    """Remove deployments, caches or package lists.

    Example: apt-ostree cleanup -b -m
    """
    from ..ops import deployments

    if not (pending or previous or base or metadata):
        raise UsageError("choose what to clean up: -p, -r, -b or -m")
    parts = deployments.Parts(pending, previous, base, metadata)
    call.show(call.perform(lambda reporter: deployments.cleanup(call.settings, parts, reporter)))


def _show_choices(found: Sequence[Choice], *, as_json: bool) -> None:
    """Print the deployments, a line each, with an arrow at the one that would boot."""
    if as_json:
        entries = [
            {
                "index": each.deployment.index,
                "id": each.deployment.id,
                "version": each.version or None,
                "timestamp": each.timestamp,
                "booted": each.deployment.booted,
                "chosen": each.chosen,
            }
            for each in found
        ]
        documents.write({"deployments": entries})
        return
    for each in found:
        deployment = each.deployment
        name = f"{deployment.checksum[:12]}.{deployment.serial}"
        facts = " ".join(
            word for word, holds in (("booted", deployment.booted), ("pinned", deployment.pinned)) if holds
        )
        mark = "->" if each.chosen else "  "
        version = each.version or "(none)"
        streams.line(
            f"{mark} {deployment.index}  {name}  {version}  ({numbers.moment(each.timestamp)})  {facts}".rstrip()
        )
