"""Copies of the target's files for apt: each as the target's own root would find it, and for no more eyes than there.

Nothing on the way to a file or at its end means a file of the running system.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import re
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import ToolError
from ..host.door import Tree
from . import apt_settings, apt_sources
from .apt_target import Target

BYTES = 16 << 20
FILES = 1000
"""What is read of a target in all, with keys and certificates, and however often files include each other."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file of the target: its content, and the mode of a copy, which only those may read who may in the target."""

    content: bytes
    mode: int

    @property
    def text(self) -> str:
        return self.content.decode(errors="surrogateescape")


def write(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file of the area whole, in the place of what is there."""
    write_bytes(path, text.encode(errors="surrogateescape"), mode)


def write_bytes(path: Path, content: bytes, mode: int = 0o644, owner: str | None = None) -> None:
    """The same for bytes. It is given to its owner while it is open: by a name, another file could be given away."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(content)
        file.flush()
        if owner is not None:
            os.fchown(descriptor, pwd.getpwnam(owner).pw_uid, -1)


class Copies:
    """Copies of a target's files below ``place``, by the names that the target has for them."""

    def __init__(self, target: Target, place: Path, fetcher: str | None) -> None:
        self.target, self.place, self.fetcher = target, place, fetcher
        self.originals: dict[str, str] = {}
        self.files, self.room = 0, BYTES

    def read(self, path: str) -> Found | None:
        """The target's file at an absolute path, with links followed in the target; None if it is not a file there.

        Raises ToolError where more is asked for than apt's settings ever need.
        """
        self.files += 1
        if self.files > FILES:
            raise ToolError("the target's apt settings are too many", f"they name more than {FILES} files")
        found = self.target.locate(path)
        if found is None or (content := found[0].read(found[1], limit=self.room)) is None:
            return None
        self.room -= len(content)
        return Found(content, 0o644 if self._is_public(*found) else 0o600)

    def _is_public(self, tree: Tree, found: str) -> bool:
        """True for a file that everybody can read in the target, and reach."""
        parts = found.split("/")
        above = [tree.status("/".join(parts[:count])) for count in range(len(parts))]
        status = tree.status(found)
        return (
            status is not None
            and bool(status.st_mode & stat.S_IROTH)
            and all(directory is not None and directory.st_mode & stat.S_IXOTH for directory in above[1:])
        )

    def listed(self, file: str, directory: str, suffixes: Collection[str] | None = None) -> Iterator[tuple[str, Found]]:
        """A file of /etc/apt and those in a directory there that apt would read (apt.conf(5)), and their names."""
        inner = [
            f"{directory}/{name}"
            for name in self.target.names(f"etc/apt/{directory}")
            if suffixes is None or (apt_settings.FILE_NAME.fullmatch(name) and Path(name).suffix in suffixes)
        ]
        for name in (file, *inner):
            if (found := self.read(f"etc/apt/{name}")) is not None:
                yield name, found

    def write(self, copy: Path, found: Found) -> None:
        """Write a copy that the user who fetches can read: where others may not, it is that user's own."""
        write_bytes(copy, found.content, found.mode, self.fetcher if found.mode == 0o600 else None)

    def of(self, path: str, *, secret: bool = False) -> str:
        """The path of a copy of the target's file: never the host's file of that name.

        Nothing is at that path if the target lacks the file, or if it is ``secret`` and nothing is going to be fetched.
        """
        digest = hashlib.sha256(path.encode(errors="surrogateescape")).hexdigest()[:16]
        copy = self.place / "files" / f"{digest}-{_plain(path)}"
        if os.fspath(copy) in self.originals:
            return os.fspath(copy)
        self.originals[os.fspath(copy)] = path
        found = None if secret and self.fetcher is None else self.read(path)
        if found is not None:
            self.write(copy, replace(found, mode=0o600) if secret else found)
        return os.fspath(copy)

    def mirrors(self, path: str) -> str:
        """The path of a list of mirrors that is made of the target's. Raises ToolError where a line of that is not one
        that apt may obey; nothing is there if the target lacks the file."""
        digest = hashlib.sha256(path.encode(errors="surrogateescape")).hexdigest()[:16]
        copy = self.place / "files" / f"mirrors-{digest}"
        if os.fspath(copy) not in self.originals and (found := self.read(path)) is not None:
            try:
                lines = apt_sources.read_mirrors(found.text)
            except apt_sources.SyntaxProblem as error:
                raise ToolError(
                    "cannot read the target's list of mirrors",
                    f"{path}, {error}",
                    "Correct the file (apt-transport-mirror(1)).",
                ) from error
            self.write(copy, replace(found, content="".join(f"{line}\n" for line in lines).encode()))
        self.originals[os.fspath(copy)] = path
        return os.fspath(copy)

    def made(self, key: str) -> str:
        """The path of a file with a key that a list of sources held itself."""
        content = key.encode(errors="surrogateescape")
        copy = self.place / "files" / f"{hashlib.sha256(content).hexdigest()[:16]}-embedded.asc"
        if os.fspath(copy) not in self.originals:
            self.originals[os.fspath(copy)] = "the key in its sources"
            self.write(copy, Found(content, 0o600))
        return os.fspath(copy)


def _plain(path: str) -> str:
    """The last part of a path, without what would mean anything in apt's files; its suffix tells what a key is."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", path.rpartition("/")[2])[-100:]
