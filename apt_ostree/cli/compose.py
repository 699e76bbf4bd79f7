"""The commands that build images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .. import changes
from ..errors import UsageError
from . import documents, streams
from .command import TELLING, Call, command, group

if TYPE_CHECKING:
    from ..ops.compose_tree import Composed

compose_app = group(
    "compose",
    "Build base commits, and sysroots that boot one.",
    "tree --repo /srv/repo examples/debian-13-minimal.toml",
)


@command(compose_app, ("dry_run", "unchanged_exit_77", *TELLING), "tree")
def compose_tree(
    call: Call,
    manifest: Annotated[Path, typer.Argument(metavar="MANIFEST", help="The TOML file that describes the image.")],
    repo: Annotated[
        Path,
        typer.Option("--repo", metavar="REPO", help="The repository to commit to (created if missing)."),
    ],
    no_parent: Annotated[bool, typer.Option("--no-parent", help="Commit without a parent.")] = False,
    add_metadata: Annotated[
        list[str] | None,
        typer.Option("--add-metadata", metavar="K=V", help="Add this metadata to the commit."),
    ] = None,
    write_commitid_to: Annotated[
        Path | None,
        typer.Option("--write-commitid-to", metavar="FILE", help="Write the commit's checksum to this file."),
    ] = None,
) -> None:
    """Compose a base commit from a manifest.

    Example: apt-ostree compose tree --repo /srv/repo examples/debian-13-minimal.toml
    """
    from ..ops import compose_tree

    metadata = {}
    for item in add_metadata or ():
        key, separator, value = item.partition("=")
        if not key or not separator:
            raise UsageError(f"--add-metadata takes KEY=VALUE, not '{item}'")
        metadata[key] = value
    options = compose_tree.TreeOptions(repo, call.dry_run, no_parent, metadata, write_commitid_to)
    result = call.perform(lambda reporter: compose_tree.tree(manifest, options, reporter))
    with call.telling(f"{result.ref} is {result.commit}." if result.changed and not result.dry_run else ""):
        _show_tree(call, result)
    call.finish(changed=result.changed)


def _show_tree(call: Call, result: Composed) -> None:
    if call.as_json:
        documents.write(
            {
                "changed": result.changed,
                "dry-run": result.dry_run,
                "ref": result.ref,
                "commit": result.commit,
                "version": result.version,
                "packages": [changes.package_document(package) for package in result.packages],
            }
        )
    elif result.dry_run:
        for package in result.packages:
            streams.line(f"{package.name} {package.version} {package.architecture}")
        streams.line(f"Would compose {result.ref}: version {result.version}, {len(result.packages)} packages.")
    elif result.changed:
        streams.line(f"{result.ref} is {result.commit}: version {result.version}, {len(result.packages)} packages.")
    else:
        streams.line(f"Nothing to do: {result.ref} already has this content.")


@command(compose_app, TELLING, "sysroot")
def compose_sysroot(
    call: Call,
    ref: Annotated[str, typer.Argument(metavar="REF", help="The ref to deploy.")],
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A new or empty directory.")],
    repo: Annotated[Path, typer.Option("--repo", metavar="REPO", help="The repository that holds REF.")],
    stateroot: Annotated[
        str, typer.Option("--stateroot", metavar="NAME", help="The name of the stateroot.")
    ] = "debian",
    karg: Annotated[list[str] | None, typer.Option("--karg", metavar="ARG", help="Add a kernel argument.")] = None,
    remote_url: Annotated[
        str | None, typer.Option("--remote-url", metavar="URL", help="The URL that the system gets updates from.")
    ] = None,
    gpg_import: Annotated[
        Path | None, typer.Option("--gpg-import", metavar="FILE", help="Verify updates with this GPG key.")
    ] = None,
    no_gpg_verify: Annotated[bool, typer.Option("--no-gpg-verify", help="Do not verify updates.")] = False,
) -> None:
    """Make a sysroot directory with a ref deployed.

    Example: apt-ostree compose sysroot --repo /srv/repo debian/13/x86_64/minimal /mnt
    """
    from ..host.files import own_copy
    from ..ops import compose_sysroot as operation

    with own_copy(gpg_import) as key:
        upstream = operation.Upstream(remote_url, key, no_gpg_verify)
        wanted = operation.NewSystem(path, stateroot, tuple(karg or ()), upstream)
        result = call.perform(lambda reporter: operation.make_sysroot(repo, ref, wanted, reporter))
    made = f"{result.path} boots {result.ref} ({result.commit[:12]})."
    with call.telling(made):
        if call.as_json:
            documents.write({"sysroot": str(result.path), "stateroot": result.stateroot, "commit": result.commit})
        else:
            streams.line(made)
