"""Import a .deb once: its files become objects, and a hollow twin is kept.

From a .deb come (a) a commit whose files are the contents below /usr, for their objects, and (b) a hollow package:
the same control archive and the same members, but a marker in the place of each such content (hollow.py).
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import Interrupted, PackageError
from ..host import proc
from ..host.files import Room, scratch_directory, take
from ..model import Solved
from ..sandbox.unpacking import Unpacker
from ..tools import deb, objects, ostree
from .cache import HOLLOW, REF, Cached, Object, check, load_whole, store
from .hollow import is_hollowed, marker

_IN_VAR = {"var", "opt", "srv", "home", "root", "mnt"}
_FLEETING = {"dev", "proc", "sys", "run", "tmp", "media"}
"""Of these, a deployment keeps nothing that lies in them: each boot starts with nothing there."""

_COMMITTING = threading.Lock()
"""One ostree commit at a time: another's start may remove the staging directory that one has just made."""

_LEAVE_OUT = "Nothing was changed. Leave that package out; only its maintainer can repair it."


@dataclass(frozen=True, slots=True)
class Importer:
    """What all imports of an operation share: where they go, who reads packages, and the room for what they write."""

    repo: Path
    area: Path
    unpacker: Unpacker
    room: Room


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def import_deb(importer: Importer, file: Path, planned: Solved | None = None, *, again: bool = False) -> Cached:
    """Import a .deb, or return it as imported before unless it has to be imported ``again``.

    ``planned`` is what the archive's signed index says of it; without that the file itself is trusted (a local one).
    Whoever owns the file may change it meanwhile: all is computed from a copy. Raises PackageError for a damaged file,
    for another package than the planned one, and for what ostree cannot hold; SpaceError.
    """
    repo, area, unpacker = importer.repo, importer.area, importer.unpacker
    with _copied(area, file, importer.room, follow=planned is None) as (work, own):
        found = digest(own)
        if planned is not None and found != planned.sha256:
            raise PackageError(
                f"{file.name} is not the file that the archive lists",
                f"SHA-256 is {found}, expected {planned.sha256}",
                "Nothing of it was used. Run the command again, or refresh the lists.",
            )
        if not again:
            cached = load_whole(repo, area, found)
            if cached is not None:
                return cached if planned is None else check(planned, cached)
        stanza, control = describe(unpacker, own, file.name)
        entry = Cached(found, stanza.package, own.stat().st_size, stanza.text, own, {}, frozenset())
        if planned is not None:
            check(planned, entry)
        with own.open("rb") as deb_file:
            unpacker.data(deb_file, file.name, work / "data.tar", importer.room)
        return _import(importer, work, replace(entry, control_files=frozenset(deb.control_files(control))), control)


def preview(area: Path, unpacker: Unpacker, file: Path) -> Cached:
    """A local .deb as its control archive describes it: enough to solve with, and nothing is stored.

    Raises PackageError for a damaged file.
    """
    with _copied(area, file, Room(area), follow=True) as (_, own):
        stanza, control = describe(unpacker, own, file.name)
        files = frozenset(deb.control_files(control))
        return Cached(digest(own), stanza.package, own.stat().st_size, stanza.text, own, {}, files)


def describe(unpacker: Unpacker, own: Path, name: str) -> tuple[deb.Control, bytes]:
    """The control stanza and the control archive of a .deb that nobody else can change; ``name`` is what people know
    it as. Raises PackageError."""
    with own.open("rb") as file:
        archive = unpacker.control(file, name)
    return deb.control(archive, name), archive


@contextmanager
def _copied(area: Path, file: Path, room: Room, *, follow: bool) -> Iterator[tuple[Path, Path]]:
    """A scratch directory, and in it a copy of a file that is ours alone. Raises PackageError, SpaceError, ToolError.

    ``follow`` a link that a user has named; in the directory of downloads, which is the fetcher's, a link is an error.
    """
    if not file.is_file():
        raise PackageError(f"{file} does not exist, or is not a file")
    with scratch_directory(area / "tmp" / f"import-{os.urandom(8).hex()}") as work:
        take(file.resolve() if follow else file, work / "package.deb", room)
        yield work, work / "package.deb"


def _import(importer: Importer, work: Path, entry: Cached, control: bytes) -> Cached:
    """Store the objects and the hollow twin of a package whose data archive is ``data.tar`` in ``work``."""
    name = f"{entry.package.name} {entry.package.version}"
    room = importer.room
    with tarfile.open(work / "data.tar", "r:", encoding="utf-8") as data:
        members = _members(data, name)
        conffiles = deb.conffiles(deb.control_files(control))
        hollowed = [member for member in members if is_hollowed(member, conffiles)]
        with room.hold([member.size for member in hollowed], f"the files of {name}"):
            checksums = _commit_objects(importer.repo, entry.sha256, data, hollowed)
        markers = {id(member): marker(checksum) for member, checksum in zip(hollowed, checksums, strict=True)}
        fresh = work / "result"
        fresh.mkdir()
        control = deb.with_md5sums(control, data, members)
        kept = data.offset - sum(member.size for member in hollowed)
        with room.hold([len(control), kept, tarfile.BLOCKSIZE * len(hollowed)], f"the package cache's copy of {name}"):
            deb.write(
                fresh / HOLLOW,
                control,
                data,
                lambda member: io.BytesIO(markers[id(member)]) if id(member) in markers else None,
            )
    objects = {
        checksum: Object(stat.S_IFREG | _stored_mode(member), member.uid, member.gid)
        for member, checksum in zip(hollowed, checksums, strict=True)
    }
    # A name of a hard link shows its file's marker.
    names = [os.path.normpath(m.name) for m in members if id(m) in markers or m.islnk()]
    return store(importer.area, fresh, replace(entry, hollow=fresh / HOLLOW, objects=objects), names)


def _stored_mode(member: tarfile.TarInfo) -> int:
    """The mode of a file's object: without the bits that lend its owner's rights, since anybody may read the
    repository. Where a file has these in the tree, hydration makes a copy."""
    return member.mode & ~(stat.S_ISUID | stat.S_ISGID)


def _members(data: tarfile.TarFile, name: str) -> list[tarfile.TarInfo]:
    """The members of a data archive, each checked to be something that an OSTree commit can hold."""
    members = []
    files: set[str] = set()
    """The names that are regular files so far, of which there may be hard links."""
    for member in data:
        members.append(member)
        if problem := _problem(member, files):
            raise PackageError(f"{name} cannot be layered", problem, _LEAVE_OUT)
        (files.add if member.isfile() else files.discard)(os.path.normpath(member.name))
    return members


def _problem(member: tarfile.TarInfo, files: set[str]) -> str | None:
    """The problem of a member that comes after ``files``; None where it has none."""
    try:
        member.name.encode()
        member.linkname.encode()
    except UnicodeEncodeError:
        shown = member.name.encode(errors="surrogateescape").decode(errors="backslashreplace")
        return f"the name {shown} is not UTF-8, which OSTree cannot hold"
    if not (member.isfile() or member.isdir() or member.issym() or member.islnk()):
        kind = "a FIFO" if member.isfifo() else "a device node" if member.isdev() else "of an unknown type"
        return f"{member.name} is {kind}, which OSTree cannot hold"
    if ".." in Path(member.name).parts or member.name.startswith("/"):
        return f"the path {member.name} leads out of the tree"
    if not Path(member.name).parts and not (member.isdir() and member.name):
        return "a member has no name" if not member.name else "it has something else in the place of its top directory"
    if member.islnk() and os.path.normpath(member.linkname) not in files:
        return f"{member.name} is a hard link to {member.linkname}, which is not a file before it in the package"
    if member.islnk() and _filesystem(member.name) != _filesystem(member.linkname):
        return f"{member.name} is a hard link to {member.linkname}, and a deployment has them on different filesystems"
    return _misplaced(member)


def _filesystem(name: str) -> str:
    """The filesystem of a deployment that a path is on, as far as hard links care: the sandbox has as many."""
    parts = Path(name).parts
    if {*parts[:1]} <= _IN_VAR or parts[:2] == ("usr", "local"):
        return "var"
    return parts[0] if parts[0] in {"etc", "boot"} else "usr"


def _misplaced(member: tarfile.TarInfo) -> str | None:
    """The problem of a member's place; None where it has none. Directories may lie where they do not stay."""
    parts = Path(member.name).parts
    if parts[:1] in {("ostree",), ("sysroot",)}:
        return f"{member.name} lies in OSTree's own place"
    if parts[:2] == ("usr", "etc"):
        return f"{member.name} is where a deployment keeps /etc; a package must ship it as /etc"
    if parts and parts[0] in _FLEETING and not member.isdir():
        return f"{member.name} would be gone after a boot: a deployment keeps nothing in /{parts[0]}"
    return None


def _commit_objects(repo: Path, sha256: str, data: tarfile.TarFile, members: list[tarfile.TarInfo]) -> list[str]:
    """Store the contents of ``members``; returns their objects' checksums, in that order.

    The files go in under running numbers, not names: names are dpkg's business, later.
    """
    if not members:
        # ostree refuses to commit nothing.
        return []
    with (
        _COMMITTING,
        proc.spawn(
            [
                "ostree",
                "commit",
                f"--repo={repo}",
                f"--branch={REF}/{sha256}",
                "--parent=none",
                "--subject=",
                "--no-bindings",
                "--fsync=false",
                "--tree=tar=-",
            ],
            stdin=subprocess.PIPE,
        ) as child,
    ):
        assert child.stdin is not None and child.stdout is not None and child.stderr is not None
        try:
            with tarfile.open(fileobj=child.stdin, mode="w|", format=tarfile.GNU_FORMAT, bufsize=deb.BLOCK) as tar:
                # Without its root, ostree takes the tree for empty.
                top = tarfile.TarInfo("./")
                top.type, top.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(top)
                for number, member in enumerate(members):
                    plain = tarfile.TarInfo(f"{number:07}")
                    plain.size, plain.mode = member.size, _stored_mode(member)
                    plain.uid, plain.gid = member.uid, member.gid
                    tar.addfile(plain, data.extractfile(member))
            child.stdin.close()
        except BrokenPipeError as error:
            # A signal ends the child, too; closing the archive then hides what the signal raised.
            if isinstance(error.__context__, Interrupted):
                raise error.__context__ from None
            # Its message and status say why.
        message = child.stdout.read().decode(), child.stderr.read().decode(errors="replace")
    if child.returncode != 0:
        raise PackageError("cannot store a package's files", proc.tail("\n".join(message)))
    tree, _ = ostree.root(repo, message[0].strip())
    stored = objects.directory(repo, tree).files
    # A truncated stream can leave a smaller tree behind although ostree exits 0.
    if len(stored) != len(members):
        raise PackageError("cannot store a package's files", f"{len(stored)} of {len(members)} arrived")
    return [stored[name] for name in sorted(stored)]
