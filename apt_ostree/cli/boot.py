"""The commands on what boots: initramfs and initramfs-etc."""

from __future__ import annotations

from typing import Annotated

import typer

from ..errors import UsageError
from . import render
from .command import CHANGING, Call, app, command


@command(app, CHANGING)
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
        render.initramfs(operation.state(call.settings), as_json=call.as_json)
        return
    call.show(call.perform(lambda reporter: operation.configure(call.settings, enable, arguments or (), reporter)))


@command(app, CHANGING, "initramfs-etc")
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
        render.initramfs(operation.state(call.settings), as_json=call.as_json)
        return
    call.show(
        call.perform(
            lambda reporter: operation.track(call.settings, track or (), untrack or (), untrack_all, reporter),
        )
    )
