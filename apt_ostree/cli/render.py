"""What users see: reporters for terminals, plain output and JSON, and the text of results."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from .. import changes
from ..errors import AptOstreeError
from ..model import CommitInfo, Package, Plan
from .streams import ERROR, say, tell

if TYPE_CHECKING:
    from ..changes import Change
    from ..ops.apply import Applied
    from ..ops.available import Update
    from ..ops.deployments import Choice, Done
    from ..ops.initramfs import State
    from ..ops.kernel_args import Changed
    from ..ops.layer import Outcome
    from ..ops.query import PackageDetails
    from ..system.remote import Remote
    from ..tree.changelog import News
    from ..tree.etc import Conflict

SCHEMA = 1
"""The version of every JSON document; fields are only ever added to it."""


def line(text: str = "") -> None:
    """A line of data on standard output."""
    tell(sys.stdout, text)


def document(value: dict[str, Any]) -> None:
    """A JSON document on standard output, with the schema's number."""
    _json({"schema": SCHEMA, **value})


def selected(values: Sequence[Any]) -> None:
    """What a path selected of a document, as a JSON list on standard output."""
    _json(list(values))


def _json(value: Any) -> None:
    line(json.dumps(value, indent=2, ensure_ascii=False))


def width() -> int | None:
    """The columns of standard output where that is a terminal; nothing else gets its lines wrapped."""
    return shutil.get_terminal_size().columns if sys.stdout is not None and sys.stdout.isatty() else None


def error(failure: AptOstreeError, *, as_json: bool) -> None:
    """The three parts of an error on standard error; as JSON on standard output, too, where that was asked for."""
    if as_json:
        parts = {
            "id": failure.id,
            "brief": failure.brief,
            "detail": failure.detail,
            "resolution": failure.resolution,
        }
        document({"error": parts})
    say(ERROR, f"error: {failure.brief}")
    for text in failure.detail.splitlines():
        say(ERROR, f"  {text}")
    if failure.resolution:
        say(ERROR, failure.resolution)


def moment(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"


def size(count: int) -> str:
    """Bytes in the unit that fits."""
    value = float(count)
    for unit in ("B", "kB", "MB"):
        # What would be rounded to 1000.0 belongs to the next unit.
        if value < 999.95:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def change_lines(change: Change, security: Sequence[Package] = ()) -> list[str]:
    """The difference of two package sets, for people; the new packages in ``security`` are marked."""

    def mark(package: Package) -> str:
        return "  (security)" if package in security else ""

    lines = []
    for title, packages in (("Added", change.added), ("Removed", change.removed)):
        if packages:
            lines.append(f"{title}:")
            lines += [f"  {p.name} {p.version} {p.architecture}{mark(p)}" for p in packages]
    if change.changed:
        lines.append("Changed:")
        lines += [f"  {old.name} {old.version} -> {new.version}{mark(new)}" for old, new in change.changed]
    return lines


def news_json(news: Sequence[News] | None) -> list[dict[str, Any]] | None:
    if news is None:
        return None
    return [
        {
            "packages": list(each.packages),
            "releases": None
            if each.releases is None
            else [{"version": release.version, "text": release.text} for release in each.releases],
        }
        for each in news
    ]


def news_lines(news: Sequence[News]) -> Iterable[str]:
    """What is new in packages, in their maintainers' words."""
    for each in news:
        yield ""
        yield f"{', '.join(each.packages)}:"
        if each.releases is None:
            yield "  The image ships no changelog."
        elif not each.releases:
            yield "  The changelog has nothing newer."
        for release in each.releases or ():
            yield from (f"  {text}".rstrip() for text in release.text.splitlines())


def plan_json(plan: Plan) -> list[dict[str, Any]]:
    return [
        {**changes.package_document(s.package), "sha256": s.sha256, "size": s.size, "installed-size": s.installed_size}
        for s in plan.packages
    ]


def result(done: Outcome | Applied | Done | Changed, *, as_json: bool) -> None:
    """What became of an operation that changes a sysroot."""
    from ..ops.apply import Applied
    from ..ops.kernel_args import Changed
    from ..ops.layer import Outcome

    if isinstance(done, Outcome):
        outcome(done, as_json=as_json)
    elif isinstance(done, Applied):
        applied(done, as_json=as_json)
    elif isinstance(done, Changed):
        changed_kargs(done, as_json=as_json)
    elif as_json:
        document(
            {
                "changed": done.changed,
                "dry-run": done.dry_run,
                "message": done.message,
                "deployment": done.deployment.id if done.deployment else None,
            }
        )
    else:
        line(done.message)


def choices(found: Sequence[Choice], *, as_json: bool) -> None:
    """What ``rollback --list`` prints: a line a deployment, an arrow at the one that it would boot."""
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
        document({"deployments": entries})
        return
    for each in found:
        deployment = each.deployment
        name = f"{deployment.checksum[:12]}.{deployment.serial}"
        facts = " ".join(
            word for word, holds in (("booted", deployment.booted), ("pinned", deployment.pinned)) if holds
        )
        mark = "->" if each.chosen else "  "
        version = each.version or "(none)"
        line(f"{mark} {deployment.index}  {name}  {version}  ({moment(each.timestamp)})  {facts}".rstrip())


def kargs(words: Sequence[str], *, as_json: bool) -> None:
    """What ``kargs`` alone prints: the line of arguments."""
    if as_json:
        document({"kargs": list(words)})
    else:
        line(" ".join(words))


def changed_kargs(done: Changed, *, as_json: bool) -> None:
    """Changed kernel arguments, what went and what came."""
    if as_json:
        document(
            {
                "changed": done.changed,
                "dry-run": done.dry_run,
                "message": done.message,
                "kargs": list(done.after),
                "before": list(done.before),
                "deployment": done.deployment.id if done.deployment else None,
            }
        )
        return
    line(done.message)
    for mark, words, others in (("-", done.before, done.after), ("+", done.after, done.before)):
        # One of two equal arguments may go: they are counted.
        for word in dict.fromkeys(words):
            for _ in range(words.count(word) - others.count(word)):
                line(f"  {mark} {word}")


def applied(done: Applied, *, as_json: bool) -> None:
    """The result of ``apply``: what the file asked for anew, then what became of it."""
    items = (("added", "+", done.difference.added), ("removed", "-", done.difference.removed))
    if as_json:
        intent = {name: [{"kind": kind, "value": value} for kind, value in found] for name, _, found in items}
        document({**outcome_json(done.outcome), "intent": intent})
        return
    if done.outcome.message:
        line(done.outcome.message)
    for _, mark, found in items:
        for kind, value in found:
            line(f"  {mark} {kind}: {value}")
    outcome(replace(done.outcome, message=""), as_json=False)


def outcome_json(result: Outcome) -> dict[str, Any]:
    return {
        "changed": result.changed,
        "dry-run": result.dry_run,
        "message": result.message,
        "packages": plan_json(result.plan),
        "difference": changes.document(result.change),
        "commit": result.commit,
        "reused": result.reused,
        "deployment": result.deployment.id if result.deployment else None,
        "base": base_json(result.bases[1]) if result.bases else None,
        "previous-base": base_json(result.bases[0]) if result.bases else None,
        "security": None if result.security is None else [changes.package_document(p) for p in result.security],
        "etc-conflicts": etc_json(result.etc),
    }


def outcome(result: Outcome, *, as_json: bool) -> None:
    """The result of install, uninstall and the like."""
    if as_json:
        document(outcome_json(result))
        return
    if result.message:
        line(result.message)
    if result.bases and result.bases[0].checksum != result.bases[1].checksum:
        line(f"Base: {base_text(result.bases[0])} -> {base_text(result.bases[1])}")
    for text in change_lines(result.change, result.security or ()):
        line(text)
    if result.security == ():
        line("None of these is a security update.")
    for text in etc_lines(result.etc):
        line(text)
    if result.dry_run and result.changed and result.download:
        line(f"To download: {size(result.download)}")
    if result.deployment is not None:
        what = "the same layer as before" if result.reused else f"{len(result.plan.packages)} packages layered"
        if not result.plan.packages:
            what = "the base alone"
        line(f"Deployed {result.deployment.checksum[:12]}: {what}. It boots next; 'apt-ostree rollback' undoes it.")


def base_text(info: CommitInfo) -> str:
    """A base in a line: its version, or the start of its checksum, and its time."""
    return f"{info.version or info.checksum[:12]} ({moment(info.timestamp)})"


def base_json(info: CommitInfo) -> dict[str, Any]:
    return {"checksum": info.checksum, "version": info.version or None, "timestamp": info.timestamp}


def update(found: Update, *, as_json: bool) -> None:
    """What ``upgrade --check`` and ``refresh-md`` found."""
    from ..ops.available import document as fields

    if as_json:
        document({"changed": found.any, "update": fields(found)})
        return
    if not found.any:
        line("Nothing newer.")
        return
    line(update_line(found))
    if found.base is not None:
        for text in change_lines(found.difference) if found.difference is not None else []:
            line(text)
        if found.difference is None:
            line("The new base does not list its packages; 'apt-ostree upgrade --preview' looks into it.")
    if found.layered != type(found.layered)():
        line("Of what is layered:")
        for text in change_lines(found.layered):
            line(f"  {text}")


def update_line(found: Update) -> str:
    """An update in a line."""
    parts = []
    if found.base is not None:
        parts.append(f"{found.version or found.base[:12]} ({moment(found.timestamp)})")
    count = sum(map(len, (found.layered.added, found.layered.removed, found.layered.changed)))
    if count:
        parts.append(f"{count} changes of layered packages")
    return f"Available: {', '.join(parts)}"


def remotes(found: Sequence[Remote], *, urls: bool, as_json: bool) -> None:
    """What ``remote list`` prints."""
    if as_json:
        document(
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
        line(f"{entry.name:<{width}}  {entry.url}{verified}{place}" if urls else entry.name)


COLUMN = 15
"""Where the values of a record begin, and go on in further lines."""


def etc_json(conflicts: Sequence[Conflict]) -> list[dict[str, str]]:
    return [{"path": conflict.path, "here": conflict.here, "there": conflict.there} for conflict in conflicts]


def etc_lines(conflicts: Sequence[Conflict], width: int | None = None) -> Iterable[str]:
    """Files that somebody changed here and that the new tree changed, too."""
    label = "Kept in /etc"
    for conflict in conflicts:
        words = f"{conflict.path} ({conflict.here} here, {conflict.there} by the new tree)".split(" ")
        yield from fields(label, words, width, " ")
        label = ""


def fields(label: str, items: Sequence[str], width: int | None, gap: str = "  ") -> Iterable[str]:
    """A record's line of several values; on a terminal as many lines as they need."""
    lines: list[str] = []
    for item in items:
        if lines and (width is None or COLUMN + len(lines[-1] + gap + item) <= width):
            lines[-1] += gap + item
        else:
            lines.append(item)
    for number, text in enumerate(lines):
        yield field("" if number else label, text)


def field(label: str, value: str) -> str:
    """A line of a record, its label right-aligned."""
    return f"{label:>{COLUMN - 2}}  {value}".rstrip()


def initramfs(state: State, *, as_json: bool) -> None:
    """What ``initramfs`` and ``initramfs-etc`` print where they are asked for nothing."""
    if as_json:
        document(
            {
                "regenerate-initramfs": state.enabled,
                "initramfs-args": list(state.arguments),
                "initramfs-etc": list(state.tracked),
            }
        )
        return
    made = "on this machine, at each deployment" if state.enabled else "by the image, or with a layer that changes it"
    line(f"Made         {made}")
    if state.arguments:
        line(f"Arguments    {shlex.join(state.arguments)}")
    line(f"Tracked      {'  '.join(state.tracked) or 'none'}")


def details_json(details: Sequence[PackageDetails]) -> list[dict[str, Any]]:
    """A package with everything dpkg's database says of it."""
    relations = (
        "pre-depends",
        "depends",
        "recommends",
        "suggests",
        "conflicts",
        "breaks",
        "replaces",
        "provides",
    )
    return [
        {
            **changes.package_document(entry.package),
            "description": entry.fields.get("description", ""),
            "relations": {name: entry.fields[name] for name in relations if name in entry.fields},
            "conffiles": [text.split()[0] for text in entry.fields.get("conffiles", "").splitlines() if text.strip()],
            "files": list(entry.files),
            "scripts": entry.scripts,
        }
        for entry in details
    ]
