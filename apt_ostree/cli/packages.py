"""The commands that change packages: install, uninstall, override, reset and apply."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import UsageError
from .command import DEPLOYING, EDITING, RESOLVING, Call, app, command, file_argument, file_option, group

override_app = group("override", "Remove or replace packages of the base.", "replace openssl/trixie-security")

Packages = Annotated[
    list[str], typer.Argument(metavar="PKG...", help="NAME, NAME=VERSION, NAME/SUITE, NAME:ARCH or ./FILE.deb")
]


@command(app, ("idempotent", *RESOLVING))
def install(
    call: Call,
    packages: Packages,
    uninstall: Annotated[
        list[str] | None, typer.Option("--uninstall", metavar="PKG", help="Also uninstall this package.")
    ] = None,
    answers: Annotated[
        Path | None,
        file_option("--debconf", "FILE", "Answers to packages' questions, as debconf-set-selections(1) reads them."),
    ] = None,
    allow_inactive: Annotated[
        bool, typer.Option("--allow-inactive", help="Record a request even if the base already has the package.")
    ] = False,
    reinstall: Annotated[
        bool, typer.Option("--reinstall", help="Download these packages again, and rebuild the layer.")
    ] = False,
) -> None:
    """Install packages on top of the base image.

    Example: apt-ostree install vim ./vendor-agent_1.0_amd64.deb
    """
    from ..ops import packages as operation

    edit = call.edit(packages, uninstall)
    options = call.options(allow_inactive=allow_inactive, answers=operation.answers(answers))
    call.show(
        call.perform(lambda reporter: operation.install(call.settings, edit, options, reporter, again=reinstall)),
    )


@command(app, EDITING)
def uninstall(
    call: Call,
    packages: Annotated[list[str] | None, typer.Argument(metavar="PKG...", help="Requested packages.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Uninstall all requested packages.")] = False,
) -> None:
    """Uninstall packages, and what only they needed.

    It needs no network.

    Example: apt-ostree uninstall vim
    """
    from ..ops import packages as operation

    if bool(packages) == every:
        raise UsageError("name the packages to uninstall, or use --all")
    call.show(
        call.perform(
            lambda reporter: operation.uninstall(call.settings, packages or (), every, reporter, lenient=call.lenient)
        ),
    )


InSameStep = Annotated[list[str] | None, typer.Option("--install", metavar="PKG", help="Also install this package.")]


@command(override_app, RESOLVING, "remove")
def override_remove(
    call: Call,
    packages: Annotated[list[str], typer.Argument(metavar="PKG...", help="Packages of the base: NAME or NAME:ARCH")],
    installing: InSameStep = None,
) -> None:
    """Remove packages of the base.

    Example: apt-ostree override remove exim4-base --install postfix
    """
    from ..ops import packages as operation

    call.show(
        call.perform(
            lambda reporter: operation.override_remove(
                call.settings, packages, installing or (), call.options(), reporter
            ),
        )
    )


@command(override_app, RESOLVING, "replace")
def override_replace(
    call: Call,
    packages: Annotated[list[str], typer.Argument(metavar="PKG...", help="NAME=VERSION, NAME/SUITE or ./FILE.deb")],
    installing: InSameStep = None,
) -> None:
    """Replace packages of the base with other versions.

    Example: apt-ostree override replace ./openssl_3.5.1-1+deb13u2_amd64.deb
    """
    from ..ops import packages as operation

    call.show(
        call.perform(
            lambda reporter: operation.override_replace(
                call.settings, packages, installing or (), call.options(), reporter
            ),
        )
    )


@command(override_app, EDITING, "reset")
def override_reset(
    call: Call,
    packages: Annotated[list[str] | None, typer.Argument(metavar="PKG...", help="Overridden packages.")] = None,
    every: Annotated[bool, typer.Option("-a", "--all", help="Reset all overrides.")] = False,
) -> None:
    """Undo overrides of packages of the base.

    It needs no network.

    Example: apt-ostree override reset --all
    """
    from ..ops import packages as operation

    if bool(packages) == every:
        raise UsageError("name the packages to reset, or use --all")
    call.show(
        call.perform(
            lambda reporter: operation.override_reset(
                call.settings, packages or (), every, reporter, lenient=call.lenient
            )
        ),
    )


@command(app, DEPLOYING)
def reset(
    call: Call,
    layers: Annotated[
        bool, typer.Option("-l", "--layers", "--overlays", help="Uninstall all requested packages.")
    ] = False,
    overrides: Annotated[bool, typer.Option("-o", "--overrides", help="Reset all overrides.")] = False,
    initramfs: Annotated[
        bool, typer.Option("-i", "--initramfs", help="Use the image's initramfs, and track no files.")
    ] = False,
) -> None:
    """Return to the base alone, or undo some changes.

    It needs no network.

    Example: apt-ostree reset --overrides
    """
    from ..ops import packages as operation

    call.show(
        call.perform(
            lambda reporter: operation.reset(
                call.settings, layers=layers, overrides=overrides, initramfs=initramfs, reporter=reporter
            ),
        )
    )


@command(app, RESOLVING)
def apply(call: Call, file: Annotated[Path, file_argument("FILE.toml", "A TOML file (see docs/apply.md).")]) -> None:
    """Make this system match a file.

    The file lists packages, overrides, kernel arguments and what the initramfs is made with.

    Example: apt-ostree apply --dry-run host.toml
    """
    from ..inputs import hostfile
    from ..ops import apply as operation

    wanted = hostfile.load(file)
    call.show(call.perform(lambda reporter: operation.apply(call.settings, wanted, call.options(), reporter)))
