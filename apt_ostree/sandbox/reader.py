"""Reads .deb files where it can do no harm: see unpacking.py, which starts this as a program of its own.

It knows nothing of the rest of the package, and needs the standard library and dpkg-deb alone. For each request that
arrives on the socket (a file, a pipe, and the part that is wanted) a process of its own writes the members to the pipe:
the length of a JSON document, the document, and the content of a regular file. A document without a name is the last
one: ``end`` says that all is told, ``error`` what went wrong.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import tarfile
from typing import BinaryIO

OPTIONS = {"data": "--fsys-tarfile", "control": "--ctrl-tarfile"}

BLOCK = 1 << 18
"""Bytes of the archive that are read at once."""

ERROR_BYTES = 4096
"""Bytes of dpkg-deb's message that are passed on."""


def main() -> None:
    requests = socket.socket(fileno=int(sys.argv[1]))
    while True:
        word, descriptors, _, _ = socket.recv_fds(requests, 16, 2)
        if not word:
            return
        child = os.fork()
        if child == 0:
            requests.close()
            with os.fdopen(descriptors[1], "wb") as out:
                answer(OPTIONS[word.decode()], descriptors[0], out)
            os._exit(0)
        for descriptor in descriptors:
            os.close(descriptor)
        while os.waitpid(-1, os.WNOHANG)[0] if _has_children() else False:
            pass


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def answer(option: str, deb: int, out: BinaryIO) -> None:
    """Write the members of one part of the package to ``out``."""
    try:
        with subprocess.Popen(
            ["dpkg-deb", option, "-"], stdin=deb, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as child:
            assert child.stdout is not None and child.stderr is not None
            os.close(deb)
            failure = ""
            try:
                with tarfile.open(fileobj=child.stdout, mode="r|", errors="surrogateescape", bufsize=BLOCK) as archive:
                    for member in archive:
                        tell(member, archive, out)
                        # Else it keeps every header.
                        archive.members = []  # type: ignore[attr-defined]
                while child.stdout.read(1 << 20):
                    pass
            except tarfile.TarError as error:
                failure = str(error)
                child.stdout.close()
            message = child.stderr.read(ERROR_BYTES).decode(errors="replace")
        if child.returncode != 0 or failure:
            document(out, {"error": message.strip() or failure or f"dpkg-deb: {child.returncode}"})
        else:
            document(out, {"end": True})
    except BrokenPipeError:
        pass  # nobody wants the rest, or there is none
    except Exception as error:  # whatever a package makes of a parser, it is the package's fault
        document(out, {"error": f"{type(error).__name__}: {error}"[:ERROR_BYTES]})


def tell(member: tarfile.TarInfo, archive: tarfile.TarFile, out: BinaryIO) -> None:
    content = archive.extractfile(member) if member.isfile() and member.sparse is None else None
    document(
        out,
        {
            "name": member.name,
            "kind": kind(member),
            "mode": member.mode,
            "owner": [member.uid, member.gid, member.uname, member.gname],
            "time": int(member.mtime),
            "size": member.size if content is not None else 0,
            "target": member.linkname,
        },
    )
    try:
        while content is not None and (block := content.read(BLOCK)):
            out.write(block)
    except tarfile.TarError as error:
        # In the middle of a content nothing else can be said: the end of the pipe does.
        raise BrokenPipeError from error


def kind(member: tarfile.TarInfo) -> str:
    if member.isfile() and member.sparse is None:
        return "file"
    if member.isdir():
        return "directory"
    if member.issym():
        return "link"
    if member.islnk():
        return "hard link"
    if member.isfifo():
        return "FIFO"
    return "device" if member.isdev() else "unknown"


def document(out: BinaryIO, value: dict[str, object]) -> None:
    text = json.dumps(value).encode()
    out.write(struct.pack(">I", len(text)) + text)
    out.flush()


if __name__ == "__main__":
    main()
