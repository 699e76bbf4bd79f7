"""The package cache: every .deb is imported once, into objects and a hollow twin.

From a .deb come (a) a commit whose files are the contents below /usr, for their objects, and (b) a *hollow*
.deb: the same control archive and the same members, but each file's content replaced by a short marker that
names its object. dpkg unpacks the hollow one in a fraction of the time and still decides by itself what goes
where; afterwards each marker is exchanged for a hard link to its object (assemble.py).

What keeps its content: conffiles and whatever else lies outside /usr, and empty files.
"""

from __future__ import annotations

import copy
import hashlib
import io
import json
import os
import stat
import subprocess
import tarfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ..errors import PackageError
from ..host import proc
from ..host.fs import check_space, remove_tree, scratch_directory
from ..model import Package, Solved
from ..sandbox import guard
from ..tools import dpkg, ostree

IMPORTER = 4
"""Raised whenever an import would come out differently; older entries are then imported anew."""

MARKER = b"apt-ostree object "
MARKER_SIZE = len(MARKER) + 64 + 1

REF = "apt-ostree/pkg"

_OBJECT_DIRECTORIES = {"usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "libo32"}
_IN_VAR = {"var", "opt", "srv", "home", "root", "mnt"}
_FLEETING = {"dev", "proc", "sys", "run", "tmp", "media"}
"""Of these, a deployment keeps nothing that lies in them: each boot makes them anew."""

_BLOCK = 1 << 15
"""Bytes written at once; tarfile copies what it has collected with every header, so that more is slower."""

_COMMITTING = threading.Lock()
"""One ostree commit at a time: another's start may remove the staging directory that one has just made."""

MEMBERS_MAX = 500_000
"""Files and directories of one package: all of their headers are in memory at once, some 500 MB of them."""

PATH_MAX = 3072
"""Bytes of a path: the kernel's 4096 (path_resolution(7)), less what the work area and dpkg add before and behind."""

CONTROL_BYTES = 64 << 20
"""The control archive is read into memory. The largest are lists of checksums and templates, some megabytes."""

_LEAVE_OUT = "Nothing was changed. Leave that package out; only its maintainer can make one that fits."


@dataclass(frozen=True, slots=True)
class Object:
    """What the object of a marker is stored with; where the unpacked file differs, it is copied."""

    mode: int
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Cached:
    """An imported package. ``control`` is its control stanza, ``objects`` what its markers may name."""

    sha256: str
    package: Package
    size: int
    control: str
    hollow: Path
    objects: Mapping[str, Object]
    control_files: frozenset[str]
    """The names in its control archive: scripts, templates, triggers…"""

    @property
    def fields(self) -> dict[str, str]:
        return next(dpkg.parse_stanzas(self.control))

    def paths(self) -> list[str]:
        """The names at which the package has markers, as it ships them."""
        text = _paths(self.hollow).read_text(errors="surrogateescape")
        return text.split("\0")[:-1]

    def solved(self) -> Solved:
        """The package as a plan names it."""
        size = self.fields.get("installed-size", "0")
        return Solved(self.package, self.sha256, self.size, int(size) * 1024 if size.isdigit() else 0, "cache")


def marker(checksum: str) -> bytes:
    """The content that stands for an object in a hollow package."""
    return MARKER + checksum.encode() + b"\n"


def read_marker(content: bytes) -> str | None:
    """The object that a file's content stands for, or None for any other content."""
    if len(content) != MARKER_SIZE or not content.startswith(MARKER):
        return None
    checksum = content[len(MARKER) : -1].decode("ascii", "replace")
    return checksum if ostree.CHECKSUM.fullmatch(checksum) else None


def _paths(hollow: Path) -> Path:
    return hollow.with_name("paths")


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load(area: Path, sha256: str) -> Cached | None:
    """The imported package of that digest; None where there is none, or one that a crash left incomplete."""
    place = area / "pkgs" / sha256
    try:
        entry = json.loads((place / "index.json").read_text())
        sizes = [path.stat().st_size for path in (place / "hollow.deb", _paths(place / "hollow.deb"))]
        if entry["importer"] != IMPORTER or sizes != entry["sizes"]:
            return None
        return Cached(
            sha256,
            Package(*entry["package"]),
            entry["size"],
            entry["control"],
            place / "hollow.deb",
            {checksum: Object(*numbers) for checksum, numbers in entry["objects"].items()},
            frozenset(entry["control-files"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def import_deb(repo: Path, area: Path, deb: Path, sha256: str | None = None, *, anew: bool = False) -> Cached:
    """Import a .deb, or return it as imported before, unless that shall be done ``anew``.

    ``sha256`` is what the archive's signed index says; without it the file itself is trusted (a local one).
    Raises PackageError for a damaged file, for one of another digest, and for what ostree cannot hold.
    """
    if not deb.is_file():
        raise PackageError(f"there is no file {deb}")
    found = digest(deb)
    if sha256 is not None and found != sha256:
        raise PackageError(
            f"{deb.name} is not the file that the archive lists",
            f"SHA-256 is {found}, expected {sha256}",
            "Nothing of it was used. Run the command again, or refresh the lists.",
        )
    cached = load(area, found)
    if cached is not None and not anew and (not cached.objects or ostree.resolve(repo, f"{REF}/{found}")):
        return cached
    fields = dpkg.control(deb)
    place = area / "pkgs" / found
    with scratch_directory(area / "tmp", f"import-{found[:16]}-") as work:
        dpkg.unpack_tar(deb, work / "data.tar", guard.room(area))
        with _opened(work / "data.tar", deb.name) as data:
            members = _members(data, deb.name)
            check_space(repo, sum(member.size for member in members), f"the files of {deb.name}")
            control = _control(deb, data, members)
            conffiles = _conffiles(control)
            hollowed = [member for member in members if _is_hollowed(member, conffiles)]
            checksums = _commit_objects(repo, found, data, hollowed)
            objects = {
                checksum: [stat.S_IFREG | member.mode, member.uid, member.gid]
                for member, checksum in zip(hollowed, checksums, strict=True)
            }
            markers = {id(member): marker(checksum) for member, checksum in zip(hollowed, checksums, strict=True)}
            result = work / "result"
            result.mkdir()
            _write_deb(
                result / "hollow.deb",
                control,
                data,
                lambda member: io.BytesIO(markers[id(member)]) if id(member) in markers else None,
            )
        # A name of a hard link shows its file's marker.
        names = [os.path.normpath(m.name) for m in members if id(m) in markers or m.islnk()]
        listing = "".join(f"{name}\0" for name in names).encode()
        _paths(result / "hollow.deb").write_bytes(listing)
        index = {
            "importer": IMPORTER,
            "package": [fields["package"], fields["version"], fields["architecture"]],
            "size": deb.stat().st_size,
            "control": proc.run(["dpkg-deb", "--field", deb]).stdout,
            "sizes": [(result / "hollow.deb").stat().st_size, len(listing)],
            "objects": objects,
            "control-files": sorted(_names(control)),
        }
        (result / "index.json").write_text(json.dumps(index))
        remove_tree(place)
        place.parent.mkdir(mode=0o700, exist_ok=True)
        result.rename(place)
    cached = load(area, found)
    assert cached is not None
    return cached


@contextmanager
def _opened(archive: Path, name: str) -> Iterator[tarfile.TarFile]:
    """Read a package's data archive. Raises PackageError for one that makes no sense."""
    try:
        with tarfile.open(archive, "r:", errors="surrogateescape") as data:
            yield data
    except tarfile.TarError as error:
        raise PackageError(f"{name} is damaged", str(error), "Fetch the file again.") from error


def _members(data: tarfile.TarFile, name: str) -> list[tarfile.TarInfo]:
    """The members of a data archive, each checked to be something that an OSTree commit can hold."""
    members = []
    files: set[str] = set()
    for member in data:
        members.append(member)
        if problem := _problem(member, files):
            raise PackageError(f"{name} cannot be layered", problem, _LEAVE_OUT)
        if len(members) > MEMBERS_MAX:
            raise PackageError(
                f"{name} cannot be layered", f"it has more than {MEMBERS_MAX} files and directories", _LEAVE_OUT
            )
        if member.isfile():
            files.add(os.path.normpath(member.name))
    return members


def _problem(member: tarfile.TarInfo, files: set[str]) -> str | None:
    """What is wrong with a member that comes after ``files``; None for nothing."""
    try:
        size = len(member.name.encode())
        member.linkname.encode()
    except UnicodeEncodeError:
        shown = member.name.encode(errors="surrogateescape").decode(errors="backslashreplace")
        return f"the name {shown} is not UTF-8, which OSTree cannot hold"
    if size > PATH_MAX:
        return f"the path {member.name[:60]}… has {size} bytes; {PATH_MAX} are allowed"
    if not (member.isfile() or member.isdir() or member.issym() or member.islnk()):
        kind = "a FIFO" if member.isfifo() else "a device node" if member.isdev() else "of an unknown type"
        return f"{member.name} is {kind}, which OSTree cannot hold"
    if ".." in Path(member.name).parts or member.name.startswith("/"):
        return f"the path {member.name} leads out of the tree"
    if member.islnk() and os.path.normpath(member.linkname) not in files:
        return f"{member.name} is a hard link to {member.linkname}, which is no file before it in the package"
    if member.islnk() and _filesystem(member.name) != _filesystem(member.linkname):
        return f"{member.name} is a hard link to {member.linkname}, and a deployment has them on different filesystems"
    return _misplaced(member)


def _filesystem(name: str) -> str:
    """Which of a deployment's filesystems a path is on, as far as hard links care: the sandbox has as many."""
    parts = Path(name).parts
    if {*parts[:1]} <= _IN_VAR or parts[:2] == ("usr", "local"):
        return "var"
    return parts[0] if parts[0] in {"etc", "boot"} else "usr"


def _misplaced(member: tarfile.TarInfo) -> str | None:
    """What is wrong with a member's place; None for nothing. Directories may lie where they do not stay."""
    parts = Path(member.name).parts
    if parts[:1] in {("ostree",), ("sysroot",)}:
        return f"{member.name} lies in OSTree's own place"
    if parts[:2] == ("usr", "etc"):
        return f"{member.name} is what a deployment has /etc in; a package ships it as /etc"
    if parts and parts[0] in _FLEETING and not member.isdir():
        return f"{member.name} lies where every boot starts with nothing"
    return None


def _is_hollowed(member: tarfile.TarInfo, conffiles: set[str]) -> bool:
    parts = Path(member.name).parts
    return (
        member.isfile()
        and member.size > 0
        and parts[0] in _OBJECT_DIRECTORIES
        # Debian has no /usr/etc, but ours is where /etc lives.
        and parts[:2] != ("usr", "etc")
        and "/" + "/".join(parts) not in conffiles
    )


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
            with tarfile.open(fileobj=child.stdin, mode="w|", format=tarfile.GNU_FORMAT, bufsize=_BLOCK) as tar:
                # Without its root, ostree takes the tree for empty.
                top = tarfile.TarInfo("./")
                top.type, top.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(top)
                for number, member in enumerate(members):
                    plain = tarfile.TarInfo(f"{number:07}")
                    plain.size, plain.mode = member.size, member.mode
                    plain.uid, plain.gid = member.uid, member.gid
                    tar.addfile(plain, data.extractfile(member))
            child.stdin.close()
        except BrokenPipeError:
            pass  # its message and status say why
        message = child.stdout.read().decode(), child.stderr.read().decode(errors="replace")
    if child.returncode != 0:
        raise PackageError("cannot store a package's files", proc.tail("\n".join(message)))
    listed = [entry for entry in ostree.ls(repo, message[0].strip()) if entry.kind == "-"]
    # A truncated stream can leave a smaller tree behind although ostree exits 0.
    if len(listed) != len(members):
        raise PackageError("cannot store a package's files", f"{len(listed)} of {len(members)} arrived")
    return [entry.checksum for entry in sorted(listed, key=lambda entry: entry.path)]


def _control(deb: Path, data: tarfile.TarFile, members: list[tarfile.TarInfo]) -> bytes:
    """The control archive as an uncompressed tar, with md5sums added where the package has none.

    Without them dpkg would compute its own from what it unpacks: from markers (deb-md5sums(5)).
    """
    original = _control_archive(deb)
    if "md5sums" in _names(original):
        return original
    # dpkg lists conffiles here, too, unlike dh_md5sums(1).
    lines = [
        f"{_md5(data, member)}  {member.name.removeprefix('./')}\n"
        for member in members
        if member.isfile() or member.islnk()
    ]
    content = "".join(lines).encode()
    extended = io.BytesIO(original)
    with tarfile.open(fileobj=extended, mode="a:", format=tarfile.GNU_FORMAT) as control:
        info = tarfile.TarInfo("./md5sums")
        info.size, info.mode = len(content), 0o644
        control.addfile(info, io.BytesIO(content))
    return extended.getvalue()


def _names(control: bytes) -> set[str]:
    with tarfile.open(fileobj=io.BytesIO(control), mode="r:") as tar:
        return {member.name.removeprefix("./") for member in tar.getmembers()}


def _control_archive(deb: Path) -> bytes:
    with proc.spawn(["dpkg-deb", "--ctrl-tarfile", deb]) as child:
        assert child.stdout is not None and child.stderr is not None
        archive = child.stdout.read(CONTROL_BYTES + 1)
        if len(archive) > CONTROL_BYTES:
            raise PackageError(
                f"{deb.name} cannot be layered", f"its control archive is larger than {CONTROL_BYTES} bytes", _LEAVE_OUT
            )
        message = child.stderr.read().decode(errors="replace")
    if child.returncode != 0:
        raise PackageError(f"{deb.name} is damaged", proc.tail(message), "Fetch the file again.")
    return archive


def _md5(data: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    content = data.extractfile(member)
    assert content is not None
    return hashlib.file_digest(content, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()  # type: ignore[arg-type]


def _conffiles(control: bytes) -> set[str]:
    """The paths a control archive declares as conffiles (deb-conffiles(5))."""
    with tarfile.open(fileobj=io.BytesIO(control), mode="r:") as tar:
        for member in tar.getmembers():
            if member.name.removeprefix("./") == "conffiles" and (file := tar.extractfile(member)) is not None:
                lines = file.read().decode(errors="surrogateescape").splitlines()
                return {line.split()[-1] for line in lines if line.strip()}
    return set()


def _write_deb(
    target: Path,
    control: bytes,
    data: tarfile.TarFile,
    exchange: Callable[[tarfile.TarInfo], IO[bytes] | None],
) -> None:
    """Write a .deb (deb(5)) like the one ``data`` came from, with other contents where ``exchange`` gives one."""
    with target.open("wb") as file:
        file.write(b"!<arch>\n")
        file.write(_ar_header("debian-binary", 4) + b"2.0\n")
        file.write(_ar_header("control.tar", len(control)) + control + b"\n" * (len(control) % 2))
        header = file.tell()
        file.write(_ar_header("data.tar", 0))
        with tarfile.open(fileobj=file, mode="w|", format=tarfile.GNU_FORMAT, bufsize=_BLOCK) as tar:
            for member in data.getmembers():
                content = exchange(member) if member.isfile() else None
                if content is None:
                    tar.addfile(member, data.extractfile(member) if member.isfile() else None)
                    continue
                with content:
                    other = copy.copy(member)
                    other.size = content.seek(0, os.SEEK_END)
                    content.seek(0)
                    tar.addfile(other, content)
        size = file.tell() - header - _AR_HEADER
        file.seek(header)
        file.write(_ar_header("data.tar", size))


_AR_HEADER = 60


def _ar_header(name: str, size: int) -> bytes:
    return f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{size:<10}`\n".encode()


def refill(repo: Path, cached: Cached, target: Path) -> None:
    """Write the whole package again from its hollow twin and its objects.

    For packages whose files dpkg itself compares or runs before the markers are exchanged. The archives in
    it are not compressed; what dpkg unpacks from it is what it would from the original.
    """
    unpacked = target.with_suffix(".tar")
    dpkg.unpack_tar(cached.hollow, unpacked)
    with tarfile.open(unpacked, "r:", errors="surrogateescape") as data:

        def refilled(member: tarfile.TarInfo) -> IO[bytes] | None:
            if member.size != MARKER_SIZE:
                return None
            file = data.extractfile(member)
            assert file is not None
            checksum = read_marker(file.read())
            return ostree.object_path(repo, checksum).open("rb") if checksum and checksum in cached.objects else None

        _write_deb(target, _control_archive(cached.hollow), data, refilled)
    unpacked.unlink()


def packages_file(entries: Iterable[Cached], target: Path) -> Path:
    """Write a Packages file of cached packages, so that apt can solve with them and without a network."""
    text = "".join(
        f"{cached.control.rstrip()}\nFilename: {cached.sha256}.deb\nSize: {cached.size}\nSHA256: {cached.sha256}\n\n"
        for cached in entries
    )
    target.write_text(text, errors="surrogateescape")
    return target


def garbage(area: Path, keep: set[str]) -> list[Path]:
    """Every imported package whose digest is not in ``keep``."""
    places = area / "pkgs"
    return [place for place in sorted(places.iterdir()) if place.name not in keep] if places.is_dir() else []


def collect_garbage(repo: Path, area: Path, keep: set[str]) -> None:
    """Drop what is ``garbage``; the next prune frees its objects.

    Its directory first: a package that has one counts as whole, with its objects.
    """
    for place in garbage(area, keep):
        remove_tree(place)
    for ref in ostree.refs(repo, REF):
        if ref.rpartition("/")[2] not in keep:
            ostree.delete_ref(repo, ref)


def drop_incomplete(repo: Path, area: Path) -> None:
    """Drop every package that a kill left without a part: its directory, or the reference that keeps its objects."""
    refs = ostree.refs(repo, REF)
    for place in sorted((area / "pkgs").iterdir()):
        cached = load(area, place.name)
        if cached is None or (cached.objects and f"{REF}/{place.name}" not in refs):
            remove_tree(place)
    for ref in refs:
        if not (area / "pkgs" / ref.rpartition("/")[2]).is_dir():
            ostree.delete_ref(repo, ref)
