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
        bool | None, typer.Option("--enable/--disable", help="Make it here, or take the image's again.")
    ] = None,
    arguments: Annotated[
        list[str] | None, typer.Option("--arg", metavar="ARG", help="A further argument for dracut.")
    ] = None,
) -> None:
    """Make the initramfs on this machine, from the tree's own configuration; alone, say whether that is so.

    Example: apt-ostree initramfs --enable --arg=--add --arg=crypt
    """
    from ..ops import initramfs as operation

    if enable is None:
        if arguments:
            raise UsageError("--arg goes with --enable")
        _show_initramfs(operation.state(call.settings), as_json=call.as_json)
        return
    call.show(call.perform(lambda reporter: operation.configure(call.settings, enable, arguments or (), reporter)))


@command(app, DEPLOYING, "initramfs-etc")
def initramfs_etc(
    call: Call,
    track: Annotated[
        list[str] | None, typer.Option("--track", metavar="FILE", help="Ship this file of /etc, too.")
    ] = None,
    untrack: Annotated[list[str] | None, typer.Option("--untrack", metavar="FILE", help="Ship it no more.")] = None,
    untrack_all: Annotated[bool, typer.Option("--untrack-all", help="Ship none.")] = False,
) -> None:
    """Ship files of this machine's /etc in an initramfs beside the image's; alone, list them.

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
        list[str] | None, typer.Option("--append", metavar="KEY[=VALUE]", help="Add an argument, even once more.")
    ] = None,
    append_if_missing: Annotated[
        list[str] | None,
        typer.Option("--append-if-missing", metavar="KEY[=VALUE]", help="Add it unless this very argument is there."),
    ] = None,
    delete: Annotated[
        list[str] | None,
        typer.Option("--delete", metavar="KEY[=VALUE]", help="Remove one; by its key where that has one value."),
    ] = None,
    delete_if_present: Annotated[
        list[str] | None,
        typer.Option("--delete-if-present", metavar="KEY[=VALUE]", help="Remove this very argument where it is there."),
    ] = None,
    replacing: Annotated[
        list[str] | None,
        typer.Option(
            "--replace", metavar="KEY=VALUE[=NEW]", help="Give a key, or with NEW one of its values, another."
        ),
    ] = None,
    editor: Annotated[bool, typer.Option("--editor", help="Edit the line with $VISUAL or $EDITOR.")] = False,
    running: Annotated[
        bool, typer.Option("--import-proc-cmdline", help="Start from what the running kernel was given.")
    ] = False,
    index: Annotated[
        int | None,
        typer.Option("--deploy-index", metavar="INDEX", min=0, help="Start from that deployment's (default: 0)."),
    ] = None,
) -> None:
    """Change the kernel arguments, in a new deployment of the same commit; alone, print them.

    They are applied in this order: --delete, --replace, --append, --append-if-missing, --delete-if-present.

    Example: apt-ostree kargs --append=console=ttyS0 --delete=quiet
    """
    from ..inputs.kargs import Edit
    from ..ops import kernel_args

    def words(given: list[str] | None) -> tuple[str, ...]:
        return tuple(given or ())

    edit = Edit(words(append), words(append_if_missing), words(delete), words(delete_if_present), words(replacing))
    # In rpm-ostree's words.
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
    """What ``kargs`` alone prints: the line of arguments."""
    if as_json:
        documents.write({"kargs": list(words)})
    else:
        streams.line(" ".join(words))


def _show_initramfs(state: State, *, as_json: bool) -> None:
    """What ``initramfs`` and ``initramfs-etc`` print where they are asked for nothing."""
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
