"""The commands on where the base comes from: upgrade, rebase, deploy, refresh-md and remote."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError
from . import available, documents, streams
from .command import CHANGING, LOOKING, RESOLVING, UNCHANGED, Call, app, command, file_option, group

if TYPE_CHECKING:
    from ..system.remote import Remote

remote_app = group("remote", "Manage the remotes that bases come from.", "list --show-urls")

Installing = Annotated[list[str] | None, typer.Option("--install", metavar="PKG", help="Also install this package.")]
Uninstalling = Annotated[
    list[str] | None, typer.Option("--uninstall", metavar="PKG", help="Also uninstall this package.")
]
SkipMissing = Annotated[
    bool,
    typer.Option("--skip-missing", help="Skip requests that no archive has any longer; they stay requested."),
]
SkipBranchCheck = Annotated[
    bool, typer.Option("--skip-branch-check", help="Accept a commit of any ref (by its full checksum).")
]
Security = Annotated[bool, typer.Option("--security", help="Show which changes are security updates.")]


@command(app, RESOLVING)
def upgrade(
    call: Call,
    packages: Annotated[
        list[str] | None, typer.Argument(metavar="[PKG...]", help="Upgrade only these layered packages, and the base.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Only check for updates.")] = False,
    preview: Annotated[bool, typer.Option("--preview", help="Only print what would change.")] = False,
    layers_only: Annotated[bool, typer.Option("--layers-only", help="Upgrade only layered packages.")] = False,
    allow_downgrade: Annotated[bool, typer.Option("--allow-downgrade", help="Allow an older base.")] = False,
    installing: Installing = None,
    uninstalling: Uninstalling = None,
    skip_missing: SkipMissing = False,
    security: Security = False,
) -> None:
    """Upgrade the base and the layered packages.

    --check and --preview exit with status 77 if there is nothing newer.

    Example: apt-ostree upgrade --preview
    """
    from dataclasses import replace

    from ..ops import updates
    from ..ops import upgrade as operation

    if check:
        _refuse_with(
            "--check", PKG=packages, preview=preview, layers_only=layers_only, allow_downgrade=allow_downgrade,
            install=installing, uninstall=uninstalling, skip_missing=skip_missing, security=security,
            download_only=call.download_only, recommends=call.recommends is not None, reboot=call.reboot,
        )  # fmt: skip
    if preview:
        _refuse_with("--preview", download_only=call.download_only, reboot=call.reboot)
    if layers_only:
        _refuse_with("--layers-only", allow_downgrade=allow_downgrade)
    if check:
        found = call.perform(lambda reporter: updates.check(call.settings, call.options(), reporter))
        available.show(found, as_json=call.as_json)
        if not found.any:
            raise typer.Exit(UNCHANGED)
        return
    # A preview is a dry run whose exit status says if there is anything new.
    call = replace(call, dry_run=call.dry_run or preview, unchanged_exit_77=call.unchanged_exit_77 or preview)
    scope = operation.Scope(tuple(packages or ()), layers_only, allow_downgrade)
    edit = call.edit(installing, uninstalling)
    options = call.options(skip_missing=skip_missing, security=security)
    call.show(call.perform(lambda reporter: operation.upgrade(call.settings, scope, edit, options, reporter)))


def _refuse_with(option: str, **others: object) -> None:
    """Refuse the options and arguments that make no sense with ``option``. Raises UsageError."""
    given = [name if name.isupper() else f"--{name.replace('_', '-')}" for name, value in others.items() if value]
    if len(given) == 1:
        raise UsageError(f"{option} and {given[0]} cannot be combined")
    if given:
        raise UsageError(f"{option} cannot be combined with {', '.join(given)}")


@command(app, RESOLVING)
def rebase(
    call: Call,
    refspec: Annotated[str, typer.Argument(metavar="REFSPEC", help="REMOTE:REF, REF, :REF or a local checksum.")],
    revision: Annotated[
        str | None, typer.Argument(metavar="[REV]", help="A version or checksum (default: the newest).")
    ] = None,
    installing: Installing = None,
    uninstalling: Uninstalling = None,
    skip_missing: SkipMissing = False,
    skip_branch_check: SkipBranchCheck = False,
    security: Security = False,
) -> None:
    """Switch to another ref; layered packages are kept.

    REF alone is on the same remote, :REF is in the local repository.

    Example: apt-ostree rebase example:debian/13/x86_64/minimal
    """
    from ..ops import upgrade as operation
    from ..ops.remote_base import Revision

    edit = call.edit(installing, uninstalling)
    wanted = Revision.of(revision, any_branch=skip_branch_check) if revision is not None else None
    options = call.options(skip_missing=skip_missing, security=security)
    call.show(
        call.perform(
            lambda reporter: operation.rebase(call.settings, refspec, wanted, edit, options, reporter),
        )
    )


@command(app, RESOLVING)
def deploy(
    call: Call,
    revision: Annotated[
        str, typer.Argument(metavar="REV", help="VERSION, CHECKSUM, version=VERSION or revision=CHECKSUM.")
    ],
    installing: Installing = None,
    uninstalling: Uninstalling = None,
    skip_missing: SkipMissing = False,
    skip_branch_check: SkipBranchCheck = False,
    security: Security = False,
) -> None:
    """Switch to a particular version of the base.

    It may be older or newer. Layered packages are kept; 'apt-ostree upgrade' moves on from it.

    Example: apt-ostree deploy 13.20261106.1
    """
    from ..ops import upgrade as operation
    from ..ops.remote_base import Revision

    edit = call.edit(installing, uninstalling)
    wanted = Revision.of(revision, any_branch=skip_branch_check)
    options = call.options(skip_missing=skip_missing, security=security)
    call.show(
        call.perform(
            lambda reporter: operation.deploy(call.settings, wanted, edit, options, reporter),
        )
    )


@command(app, CHANGING, "refresh-md")
def refresh_md(
    call: Call,
    force: Annotated[
        bool, typer.Option("-f", "--force", help="Refresh lists that are less than a day old, too.")
    ] = False,
) -> None:
    """Refresh package lists, and check for a newer base.

    Example: apt-ostree refresh-md -f
    """
    from ..ops import updates

    found = call.perform(lambda reporter: updates.refresh(call.settings, reporter, force=force))
    with call.telling("The lists themselves are refreshed."):
        available.show(found, as_json=call.as_json)
    call.finish(changed=found.any)


@command(remote_app, CHANGING, "add")
def remote_add(
    call: Call,
    name: Annotated[str, typer.Argument(metavar="NAME")],
    url: Annotated[str, typer.Argument(metavar="URL")],
    gpg_import: Annotated[Path | None, file_option("--gpg-import", "FILE", "Verify commits with this GPG key.")] = None,
    sign_verify: Annotated[
        str | None,
        typer.Option(
            "--sign-verify",
            metavar="TYPE=file:PATH",
            help="Verify commits with another kind of key, such as ed25519=file:PATH.",
        ),
    ] = None,
    no_gpg_verify: Annotated[bool, typer.Option("--no-gpg-verify", help="Do not verify GPG signatures.")] = False,
    if_not_exists: Annotated[
        bool, typer.Option("--if-not-exists", help="Do nothing if a remote of this name exists.")
    ] = False,
    more: Annotated[
        list[str] | None, typer.Option("--set", metavar="K=V", help="Set another option (see ostree.repo-config(5)).")
    ] = None,
) -> None:
    """Add a remote.

    Its commits must be signed, unless --no-gpg-verify is given.

    Example: apt-ostree remote add example https://example.org/repo --gpg-import example.gpg
    """
    from ..host.files import own_copy
    from ..ops import remotes

    with own_copy(gpg_import) as key:
        new = remotes.NewRemote(name, url, remotes.Trust(key, sign_verify, no_gpg_verify), more or ())
        done = call.perform(
            lambda reporter: remotes.add(call.settings, new, reporter, if_not_exists=if_not_exists),
        )
    call.show(done)


@command(remote_app, CHANGING, "delete")
def remote_delete(
    call: Call,
    name: Annotated[str, typer.Argument(metavar="NAME")],
    if_exists: Annotated[bool, typer.Option("--if-exists", help="Do nothing if it does not exist.")] = False,
) -> None:
    """Remove a remote and its keys; deployments stay.

    Example: apt-ostree remote delete example
    """
    from ..ops import remotes

    call.show(call.perform(lambda reporter: remotes.delete(call.settings, name, reporter, if_exists=if_exists)))


@command(remote_app, LOOKING, "list")
def remote_list(
    call: Call,
    urls: Annotated[
        bool, typer.Option("-u", "--show-urls", help="Also show URLs, and whether commits are verified.")
    ] = False,
) -> None:
    """List the remotes.

    Example: apt-ostree remote list -u
    """
    from ..ops import remotes

    _show_remotes(remotes.listed(call.settings), urls=urls, as_json=call.as_json)


def _show_remotes(found: Sequence[Remote], *, urls: bool, as_json: bool) -> None:
    """Print the remotes, a line each; with ``urls``, also where they are and whether commits are verified."""
    if as_json:
        documents.write(
            {
                "remotes": [
                    {
                        "name": r.name,
                        "url": r.url,
                        "gpg-verify": r.gpg_verify,
                        "sign-verify": r.sign_verify,
                        "file": str(r.file) if r.file is not None else None,
                    }
                    for r in found
                ]
            }
        )
        return
    width = max((len(entry.name) for entry in found), default=0)
    for entry in found:
        verified = "" if entry.gpg_verify or entry.sign_verify else "  (not verified)"
        place = f"  (in {entry.file})" if entry.file is not None else ""
        streams.line(f"{entry.name:<{width}}  {entry.url}{verified}{place}" if urls else entry.name)
