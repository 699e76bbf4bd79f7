"""Packages are read without privilege: dpkg-deb, what it decompresses, and the tar inside are anybody's bytes.

One process (reader.py) is started for an operation, as a user that no other process is, in a sandbox that has /usr,
read only, and nothing else of the machine; for each package it forks one, which ends with it. What comes back is
checked here, member by member, and written down as a plain archive by us: nothing that a package's maintainer wrote is
parsed by root but text.
"""

from __future__ import annotations

import fcntl
import io
import json
import os
import secrets
import socket
import struct
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import IO, BinaryIO, Self, TypeVar

from ..errors import PackageError
from ..host import proc
from ..host.files import Room
from ..text import text_of
from . import seccomp
from .limits import MEMBERS_MAX, NAMES_BYTES, PATH_MAX, TARGET_MAX

_Told = TypeVar("_Told")

ADDRESS_SPACE = 1 << 30
"""Bytes that a reading process may take: a name of two gigabytes is a member like any other to a tar reader. The
headers of half a million members, more than any package has, are some hundred megabytes."""

PROCESSOR_SECONDS = 1800
"""Of one package. The largest of the archive decompress in a minute."""

CONTROL_BYTES = 64 << 20
"""The control archive is read into memory. The largest are lists of checksums and templates, some megabytes."""

_HEADER_BYTES = 1 << 16
"""Of one member's document: a path has 4096 bytes at the most, a link the same, each six characters in JSON."""

_BLOCK = 1 << 18
"""Bytes of a content that are copied at once."""

_PIPE_BYTES = 1 << 20
"""Of the pipe with the answers: what the kernel lets anybody ask for (pipe(7), pipe-max-size). With the usual 64 KiB
the processes would wait for each other more often than they copy."""

_USERS = (1 << 31, 1 << 30)
"""Numbers that no system gives to anybody (systemd's UIDS-GIDS: above 2147483647), from the first one on, so many. The
reader is of one drawn at random: as nobody, any process of that user could trace it (ptrace(2)), take its descriptors
(pidfd_getfd(2)) and answer in its place."""

_KINDS = {
    "file": tarfile.REGTYPE,
    "directory": tarfile.DIRTYPE,
    "link": tarfile.SYMTYPE,
    "hard link": tarfile.LNKTYPE,
    "FIFO": tarfile.FIFOTYPE,
    "device": tarfile.CHRTYPE,
}


@dataclass(frozen=True, slots=True)
class Member:
    """One member of an archive: of a kind that a deployment can hold, or ``FIFO``, ``device``, ``unknown``."""

    name: str
    kind: str
    mode: int
    uid: int
    gid: int
    user: str
    group: str
    time: int
    size: int
    target: str

    def header(self) -> tarfile.TarInfo:
        """The same for an archive of ours, with what no deployment can hold, for importing to refuse."""
        info = tarfile.TarInfo(self.name)
        info.type = _KINDS.get(self.kind, b"?")
        info.mode, info.uid, info.gid, info.uname, info.gname = self.mode, self.uid, self.gid, self.user, self.group
        info.mtime, info.size, info.linkname = self.time, self.size, self.target
        return info


class Unpacker:
    """Reads packages, from any thread, as long as the block that it is entered for."""

    def __init__(self) -> None:
        self._held = ExitStack()
        self._asking = threading.Lock()

    def __enter__(self) -> Self:
        here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with seccomp.program() as filter_, there:
            child = proc.spawn(
                _argv(["--seccomp", str(filter_)], there.fileno()),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(filter_, there.fileno()),
            )
            self._held.enter_context(child)
        # It ends when this is closed.
        self._requests = self._held.enter_context(here)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.__exit__(kind, error, trace)

    def control(self, deb: BinaryIO, name: str) -> bytes:
        """The control archive of a package, as a plain tar of regular files. Raises PackageError."""
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w", format=tarfile.GNU_FORMAT, encoding="utf-8") as tar:
            for member, content in within_limits(self._members(deb, "control", name), name):
                if tar.offset + tarfile.BLOCKSIZE + member.size > CONTROL_BYTES:
                    raise PackageError(
                        f"{name} cannot be layered",
                        f"its control archive is larger than {CONTROL_BYTES} bytes",
                        _LEAVE_OUT,
                    )
                if member.kind not in {"file", "directory"}:
                    raise PackageError(
                        f"{name} cannot be layered", f"{member.name} in its control archive is not a file", _LEAVE_OUT
                    )
                tar.addfile(member.header(), content)
                # Else it keeps every header.
                tar.members = []  # type: ignore[attr-defined]
        return archive.getvalue()

    def data(self, deb: BinaryIO, name: str, target: Path, room: Room) -> None:
        """Write the data archive of a package to ``target``, a new file, as a plain tar, where there is ``room`` for
        each of its members. Raises PackageError, SpaceError."""
        with tarfile.open(target, "x", format=tarfile.GNU_FORMAT, encoding="utf-8") as tar:
            tar.copybufsize = _BLOCK  # type: ignore[attr-defined]
            for member, content in within_limits(self._members(deb, "data", name), name):
                with room.hold([member.size], f"the unpacked files of {name}"):
                    tar.addfile(member.header(), content)
                tar.members = []  # type: ignore[attr-defined]

    def _members(self, deb: BinaryIO, part: str, name: str) -> Iterator[tuple[Member, IO[bytes] | None]]:
        """The members of a part, each with its content, which has to be read before the next."""
        deb.seek(0)
        reading, writing = os.pipe()
        with suppress(OSError):
            fcntl.fcntl(reading, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        with os.fdopen(reading, "rb") as answers:
            try:
                with self._asking:
                    socket.send_fds(self._requests, [part.encode()], [deb.fileno(), writing])
            except OSError as error:
                raise PackageError(f"{name} cannot be read", "the process that reads packages has ended") from error
            finally:
                os.close(writing)
            while (found := _document(answers, name)).get("end") is not True:
                if "name" not in found:
                    problem = "is damaged" if part == "data" else "is not a Debian package, or is damaged"
                    raise PackageError(f"{name} {problem}", str(found.get("error", ""))[:_HEADER_BYTES], _FETCH_AGAIN)
                member = _member(found, name)
                content = _Content(answers, member.size, name) if member.kind == "file" else None
                yield member, content  # type: ignore[misc]
                if content is not None and content.left:
                    raise PackageError(f"{name} is damaged", f"{member.name} was not read whole", _FETCH_AGAIN)


_LEAVE_OUT = "Nothing was changed. Leave that package out; only its maintainer can make one that fits."
_FETCH_AGAIN = "Fetch the file again."


def within_limits(members: Iterable[tuple[Member, _Told]], name: str) -> Iterator[tuple[Member, _Told]]:
    """The members of an archive as they come, each with its content, as long as their number and the bytes of their
    names and targets are such that nobody's memory or disk suffers. Raises PackageError."""
    size = 0
    for number, (member, content) in enumerate(members, 1):
        path, target = (len(text.encode(errors="surrogateescape")) for text in (member.name, member.target))
        size += path + target
        problem = None
        if path > PATH_MAX:
            problem = f"the path {member.name[:60]}… has {path} bytes; {PATH_MAX} are allowed"
        elif target > TARGET_MAX:
            problem = f"the target of the link {member.name[:60]} has {target} bytes; {TARGET_MAX} are allowed"
        elif number > MEMBERS_MAX:
            problem = f"it has more than {MEMBERS_MAX} files and directories"
        elif size > NAMES_BYTES:
            problem = f"its paths and the targets of its links have more than {NAMES_BYTES} bytes in all"
        if problem:
            raise PackageError(f"{name} cannot be layered", problem, _LEAVE_OUT)
        yield member, content


class _Content:
    """A member's content within the stream of answers."""

    def __init__(self, answers: IO[bytes], size: int, name: str) -> None:
        self.answers, self.left, self.name = answers, size, name

    def read(self, size: int = -1) -> bytes:
        wanted = self.left if size < 0 else min(size, self.left)
        block = self.answers.read(wanted)
        if len(block) != wanted:
            raise _cut_short(self.name)
        self.left -= len(block)
        return block


def _cut_short(name: str) -> PackageError:
    return PackageError(
        f"{name} is damaged",
        f"it is cut short, or takes more than {ADDRESS_SPACE >> 20} MiB of memory to read",
        _FETCH_AGAIN,
    )


def _document(answers: IO[bytes], name: str) -> dict[str, object]:
    head = answers.read(4)
    if len(head) != 4:
        raise _cut_short(name)
    (size,) = struct.unpack(">I", head)
    text = answers.read(size) if size <= _HEADER_BYTES else b""
    if size > _HEADER_BYTES or len(text) != size:
        raise PackageError(f"{name} is damaged", "a member's name or link is too long", _FETCH_AGAIN)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _cut_short(name) from error
    if not isinstance(value, dict):
        raise _cut_short(name)
    return value


def _member(found: dict[str, object], name: str) -> Member:
    """Check what is told of a member by a process that may be somebody else's by now. Raises PackageError."""
    owner = found.get("owner")
    values = [found.get("name"), found.get("kind"), found.get("target"), *(owner if isinstance(owner, list) else ())]
    numbers = [found.get("mode"), found.get("time"), found.get("size")]
    if len(values) == 7 and all(type(number) is int for number in [*numbers, *values[3:5]]):
        mode, time, size = (int(str(number)) for number in numbers)
        path, kind, target, uid, gid, user, group = values
        texts = (path, kind, target, user, group)
        if (
            all(isinstance(text, str) and "\0" not in text and _is_bytes(text) for text in texts)
            and 0 <= mode <= 0o7777
            and all(0 <= int(str(number)) < 1 << 31 for number in (uid, gid))
            # What twelve octal digits hold, as in the archive that is written.
            and all(0 <= number < 1 << 33 for number in (time, size))
        ):
            return Member(
                str(path), str(kind), mode, int(str(uid)), int(str(gid)), str(user), str(group), time, size, str(target)
            )
    raise PackageError(f"{name} is damaged", "a member has an impossible mode, owner, time or size", _FETCH_AGAIN)


def _is_bytes(text: str) -> bool:
    """Whether a text stands for bytes, as each name in an archive does: JSON can say more."""
    try:
        text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def _argv(options: list[str], requests: int) -> list[str]:
    """The command line of the process that reads packages."""
    python = os.path.realpath(sys.executable)
    words = [
        "env", "-i", f"PATH={proc.PATH}", "LANG=C.UTF-8",
        "choom", "-n", "1000", "--",
        "prlimit", f"--as={ADDRESS_SPACE}", f"--cpu={PROCESSOR_SECONDS}", "--core=1", "--fsize=0",
        "--",
        "bwrap",
        *options,
        "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try",
        "--die-with-parent",
        "--new-session",
        "--cap-drop", "ALL",
        # For the step to the reader's user, which takes them away.
        "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID",
        "--ro-bind", "/usr", "/usr",
    ]  # fmt: skip
    for name in ("bin", "lib", "lib32", "lib64"):
        if os.path.islink(f"/{name}"):
            words += ["--symlink", os.readlink(f"/{name}"), f"/{name}"]
        elif os.path.isdir(f"/{name}"):
            words += ["--ro-bind", f"/{name}", f"/{name}"]
    if not python.startswith("/usr/"):
        words += ["--ro-bind", sys.base_prefix, sys.base_prefix]
    words += ["--dev", "/dev", "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/"]
    first, count = _USERS
    user = first + secrets.randbelow(count)
    step = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--"]
    source = text_of(resources.files("apt_ostree") / "sandbox/reader.py")
    return [*words, "--", *step, python, "-I", "-S", "-c", source, str(requests)]
