"""The commands on what boots: kargs, initramfs and initramfs-etc."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError
from . import documents, streams
from .command import DEPLOYING, Call, app, command

if TYPE_CHECKING:
    from ..ops.initramfs import State


@command(app, DEPLOYING)
def initramfs(
    call: Call,
    enable: Annotated[
        bool | None, typer.Option("--enable/--disable", help="Make it on this machine, or use the image's.")
    ] = None,
    arguments: Annotated[
        list[str] | None, typer.Option("--arg", metavar="ARG", help="Another argument for dracut.")
    ] = None,
) -> None:
    """Choose where the initramfs is made.

    Without options, show where. Made on this machine, it follows the tree's own configuration.

    Example: apt-ostree initramfs --enable --arg=--add --arg=crypt
    """
    from ..ops import initramfs as operation

    if enable is None:
        if arguments:
            raise UsageError("--arg needs --enable")
        _show_initramfs(operation.state(call.settings), as_json=call.as_json)
        return
    call.show(call.perform(lambda reporter: operation.configure(call.settings, enable, arguments or (), reporter)))


@command(app, DEPLOYING, "initramfs-etc")
def initramfs_etc(
    call: Call,
    track: Annotated[list[str] | None, typer.Option("--track", metavar="FILE", help="Add this file of /etc.")] = None,
    untrack: Annotated[
        list[str] | None, typer.Option("--untrack", metavar="FILE", help="Stop tracking this file.")
    ] = None,
    untrack_all: Annotated[bool, typer.Option("--untrack-all", help="Stop tracking all files.")] = False,
) -> None:
    """Add files of /etc to the initramfs.

    Without options, list them.

    Example: apt-ostree initramfs-etc --track /etc/crypttab
    """
    from ..ops import initramfs as operation

    if not (track or untrack or untrack_all):
        _show_initramfs(operation.state(call.settings), as_json=call.as_json)
        return
    call.show(
        call.perform(
            lambda reporter: operation.track(call.settings, track or (), untrack or (), untrack_all, reporter),
        )
    )


@command(app, DEPLOYING)
def kargs(
    call: Call,
    append: Annotated[
        list[str] | None,
        typer.Option("--append", metavar="KEY[=VALUE]", help="Add an argument, even if it is already there."),
    ] = None,
    append_if_missing: Annotated[
        list[str] | None,
        typer.Option("--append-if-missing", metavar="KEY[=VALUE]", help="Add an argument if it is not there."),
    ] = None,
    delete: Annotated[
        list[str] | None,
        typer.Option("--delete", metavar="KEY[=VALUE]", help="Remove an argument; KEY is enough if it has one value."),
    ] = None,
    delete_if_present: Annotated[
        list[str] | None,
        typer.Option("--delete-if-present", metavar="KEY[=VALUE]", help="Remove an argument if it is there."),
    ] = None,
    replacing: Annotated[
        list[str] | None,
        typer.Option(
            "--replace", metavar="KEY=VALUE[=NEW]", help="Change the value of KEY; with NEW, from VALUE to NEW."
        ),
    ] = None,
    editor: Annotated[bool, typer.Option("--editor", help="Edit the arguments with $VISUAL or $EDITOR.")] = False,
    running: Annotated[
        bool, typer.Option("--import-proc-cmdline", help="Start from the arguments of the running kernel.")
    ] = False,
    index: Annotated[
        int | None,
        typer.Option(
            "--deploy-index", metavar="INDEX", min=0, help="Start from the arguments of this deployment (default: 0)."
        ),
    ] = None,
) -> None:
    """Change the kernel arguments.

    Without options, print them. A change makes a new deployment of the same commit. Options are applied in this order:
    --delete, --replace, --append, --append-if-missing, --delete-if-present.

    Example: apt-ostree kargs --append=console=ttyS0 --delete=quiet
    """
    from ..inputs.kargs import Edit
    from ..ops import kernel_args

    def words(given: list[str] | None) -> tuple[str, ...]:
        return tuple(given or ())

    edit = Edit(words(append), words(append_if_missing), words(delete), words(delete_if_present), words(replacing))
    # The messages are rpm-ostree's.
    if editor and not edit.empty:
        raise UsageError(
            "Cannot specify --editor with --replace, --delete, --append, --delete-if-present or --append-if-missing"
        )
    if edit.delete and edit.replace:
        raise UsageError("Cannot specify both --delete and --replace")
    if running and index is not None:
        raise UsageError("Cannot specify both --import-proc-cmdline and --deploy-index")
    if running and call.stateroot is not None:
        raise UsageError("Cannot specify both --stateroot and --import-proc-cmdline")
    if call.reboot and edit.empty and not editor:
        raise UsageError("Cannot reboot when kernel arguments not changed")
    start = kernel_args.Start(index, running)
    if edit.empty and not editor:
        _show_arguments(kernel_args.show(call.settings, start), as_json=call.as_json)
    elif editor:
        call.show(call.perform(lambda reporter: kernel_args.edit_by_hand(call.settings, start, reporter)))
    else:
        call.show(call.perform(lambda reporter: kernel_args.change(call.settings, start, edit, reporter)))


def _show_arguments(words: Sequence[str], *, as_json: bool) -> None:
    """Print the kernel arguments, as one line."""
    if as_json:
        documents.write({"kargs": list(words)})
    else:
        streams.line(" ".join(words))


def _show_initramfs(state: State, *, as_json: bool) -> None:
    """Print where the initramfs is made, and what it is made with."""
    if as_json:
        documents.write(
            {
                "regenerate-initramfs": state.enabled,
                "initramfs-args": list(state.arguments),
                "initramfs-etc": list(state.tracked),
            }
        )
        return
    made = "on this machine, at each deployment" if state.enabled else "by the image, or with a layer that changes it"
    streams.line(f"Made         {made}")
    if state.arguments:
        streams.line(f"Arguments    {shlex.join(state.arguments)}")
    streams.line(f"Tracked      {'  '.join(state.tracked) or 'none'}")
