"""The commands on the packages of commits."""

from __future__ import annotations

from typing import Annotated

import typer

from .. import changes
from . import difference, documents, streams
from .command import LOOKING, Call, command, group

db_app = group("db", "List and compare the packages of commits.", "diff 1 0")


@command(db_app, LOOKING, "list")
def db_list(
    call: Call,
    revisions: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[REV...] [PATTERN...]",
            help="A ref, checksum or deployment index; then package names with * or ?.",
        ),
    ] = None,
) -> None:
    """List the packages of a commit.

    --json adds all that dpkg knows about each.

    Example: apt-ostree db list 0 'lib*'
    """
    from ..ops import query

    if call.as_json:
        found = query.db_details(call.settings, revisions or ())
        documents.write({"commits": [{"checksum": c, "packages": documents.details(details)} for c, details in found]})
        return
    listed = query.db_list(call.settings, revisions or ())
    for commit, packages in listed:
        if len(listed) > 1:
            streams.line(f"{commit}:")
        for package in packages:
            streams.line(f"{package.name} {package.version} {package.architecture}")


@command(db_app, LOOKING, "version")
def db_version(
    call: Call,
    revisions: Annotated[
        list[str] | None, typer.Argument(metavar="[REV...]", help="A ref, checksum or deployment index.")
    ] = None,
) -> None:
    """Show the version of a commit, and a digest of its packages.

    Commits with the same packages have the same digest.

    Example: apt-ostree db version 0 1
    """
    from ..ops import query

    found = query.db_version(call.settings, revisions or ())
    if call.as_json:
        entries = [
            {
                "checksum": each.commit.checksum,
                "version": each.commit.version or None,
                "timestamp": each.commit.timestamp,
                "packages": each.packages,
                "packages-sha256": each.digest,
            }
            for each in found
        ]
        documents.write({"commits": entries})
        return
    for each in found:
        version = each.commit.version or "(none)"
        streams.line(f"{each.commit.checksum[:12]}  {version}  {each.packages} packages, sha256 {each.digest[:12]}")


@command(db_app, ("unchanged_exit_77", *LOOKING), "diff")
def db_diff(
    call: Call,
    revisions: Annotated[
        list[str] | None,
        typer.Argument(metavar="[REV [REV]]", help="A ref, checksum or deployment index."),
    ] = None,
    changelogs: Annotated[
        bool, typer.Option("-c", "--changelogs", help="Also show new changelog entries, if the image has them.")
    ] = False,
) -> None:
    """Compare the packages of two commits.

    Without arguments, compare the booted deployment with the pending one.

    Example: apt-ostree db diff 1 0
    """
    from ..ops import query

    result = query.db_diff(call.settings, revisions or (), changelogs=changelogs)
    lines = difference.lines(result.change)
    if call.as_json:
        shown = {"from": result.old, "to": result.new, "difference": changes.document(result.change)}
        documents.write({**shown, "changelogs": documents.news(result.news)})
    else:
        streams.line(f"{result.old[:12]} -> {result.new[:12]}")
        for text in [*(lines or ["No packages differ."]), *difference.news(result.news or ())]:
            streams.line(text)
    call.finish(changed=bool(lines))
