"""The commands that change what is laid over the base: install, uninstall, override and apply."""

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
        list[str] | None, typer.Option("--uninstall", metavar="PKG", help="Drop a request in the same step.")
    ] = None,
    answers: Annotated[
        Path | None,
        file_option("--debconf", "FILE", "Answer debconf's questions, in debconf-set-selections(1)'s form."),
    ] = None,
    allow_inactive: Annotated[
        bool, typer.Option("--allow-inactive", help="Record a request that the base fulfils by itself.")
    ] = False,
    reinstall: Annotated[
        bool, typer.Option("--reinstall", help="Fetch these packages anew, and lay everything once more.")
    ] = False,
) -> None:
    """Lay packages over the base, in a new deployment.

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
    every: Annotated[bool, typer.Option("--all", help="Drop every request.")] = False,
) -> None:
    """Drop requested packages and what only they needed; works without a network.

    Example: apt-ostree uninstall vim
    """
    from ..ops import packages as operation

    if bool(packages) == every:
        raise UsageError("name packages to uninstall, or --all")
    call.show(
        call.perform(
            lambda reporter: operation.uninstall(call.settings, packages or (), every, reporter, lenient=call.lenient)
        ),
    )


InSameStep = Annotated[
    list[str] | None, typer.Option("--install", metavar="PKG", help="Layer a package in the same step.")
]


@command(override_app, RESOLVING, "remove")
def override_remove(
    call: Call,
    packages: Annotated[list[str], typer.Argument(metavar="PKG...", help="Packages of the base: NAME or NAME:ARCH")],
    installing: InSameStep = None,
) -> None:
    """Leave packages of the base out.

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
    """Replace packages of the base by other versions.

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
    every: Annotated[bool, typer.Option("-a", "--all", help="Reset every override.")] = False,
) -> None:
    """Give packages back as the base has them; works without a network.

    Example: apt-ostree override reset --all
    """
    from ..ops import packages as operation

    if bool(packages) == every:
        raise UsageError("name packages to reset, or --all")
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
    layers: Annotated[bool, typer.Option("-l", "--layers", "--overlays", help="Drop every request.")] = False,
    overrides: Annotated[bool, typer.Option("-o", "--overrides", help="Reset every override.")] = False,
    initramfs: Annotated[
        bool, typer.Option("-i", "--initramfs", help="Take the image's initramfs, track no file.")
    ] = False,
) -> None:
    """Go back to the pure base, of all that was laid over it or of the parts named; works without a network.

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
def apply(call: Call, file: Annotated[Path, file_argument("FILE.toml", "See docs/apply.md.")]) -> None:
    """Make packages, overrides, kernel arguments and initramfs what a file says, in one step.

    Example: apt-ostree apply --dry-run host.toml
    """
    from ..inputs import hostfile
    from ..ops import apply as operation

    wanted = hostfile.load(file)
    call.show(call.perform(lambda reporter: operation.apply(call.settings, wanted, call.options(), reporter)))
