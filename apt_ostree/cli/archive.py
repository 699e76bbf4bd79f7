"""The commands on the configured archives: search and show."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..numbers import decimal
from . import documents, layout, streams
from .command import LOOKING, Call, app, command

if TYPE_CHECKING:
    from ..ops.archive import Shown, Standing

FIELDS = ("pre-depends", "depends", "recommends", "conflicts", "breaks", "provides", "homepage")


@command(app, LOOKING)
def search(
    call: Call,
    terms: Annotated[
        list[str], typer.Argument(metavar="TERM...", help="Regular expressions; all must match the name or summary.")
    ],
) -> None:
    """Search for packages in the package lists.

    Packages that are in the base, layered or requested are marked.

    Example: apt-ostree search editor '^vim'
    """
    from ..ops import archive

    found = archive.search(call.settings, terms)
    if call.as_json:
        entries = [{"name": p.name, "summary": p.summary, **_standing_json(p.standing)} for p in found]
        documents.write({"packages": entries})
        return
    for package in found:
        mark = _mark(package.standing)
        streams.line(f"{package.name} - {package.summary}" + (f"  [{mark}]" if mark else ""))


@command(app, LOOKING)
def show(
    call: Call,
    packages: Annotated[list[str], typer.Argument(metavar="PKG...", help="NAME, NAME=VERSION or NAME:ARCH")],
) -> None:
    """Show details of packages; with -v, of all versions.

    Packages that are in the base, layered or requested are marked.

    Example: apt-ostree show nginx
    """
    from ..ops import archive

    found = archive.show(call.settings, packages)
    if call.as_json:
        entries = [
            {"name": p.name, "versions": [dict(stanza) for stanza in p.stanzas], **_standing_json(p.standing)}
            for p in found
        ]
        documents.write({"packages": entries})
        return
    for package in found:
        for text in _text(package, every=call.verbose):
            streams.line(text)


def _text(package: Shown, *, every: bool) -> Iterable[str]:
    mark = _mark(package.standing)
    yield f"  {package.name:<60} {mark}".rstrip()
    for stanza in package.stanzas if every else package.stanzas[:1]:
        summary = stanza.get("description") or stanza.get("description-en", "")
        yield layout.field("Version", f"{stanza['version']}  ({stanza.get('architecture', '?')})")
        yield layout.field("Summary", summary.partition("\n")[0])
        if (size := decimal(stanza.get("size", ""))) is not None:
            yield layout.field("Download", layout.size(size))
        for name in FIELDS:
            if name in stanza:
                yield layout.field(name.capitalize(), " ".join(stanza[name].split()))


def _mark(standing: Standing) -> str:
    facts = (
        (f"base {standing.base}", standing.base is not None),
        (f"layered {standing.layered}", standing.layered is not None),
        ("requested", standing.requested),
    )
    return ", ".join(text for text, holds in facts if holds)


def _standing_json(standing: Standing) -> dict[str, Any]:
    return {"base": standing.base, "layered": standing.layered, "requested": standing.requested}
