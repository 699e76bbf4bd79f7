"""Small repositories, made by hand from bytes: what libostree would write, and what it would not."""

from __future__ import annotations

import hashlib
import stat
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

Tree = Mapping[str, str | None]
"""By path: None is a directory, "file" a file, any other text where a link leads."""


def framed(elements: Sequence[bytes], *, is_tuple: bool = False) -> bytes:
    """A GVariant's container of strings and arrays of bytes, whose ends stand behind them."""
    body = b"".join(elements)
    ends = [sum(map(len, elements[: number + 1])) for number in range(len(elements))]
    table = ends[-2::-1] if is_tuple else ends
    width = next(width for width in (1, 2, 4) if len(body) + width * len(table) < 1 << 8 * width)
    return body + b"".join(end.to_bytes(width, "little") for end in table)


def dirtree(files: Sequence[tuple[bytes, str]], directories: Sequence[tuple[bytes, str, str]]) -> bytes:
    """A dirtree object, in the order given and with names of any bytes."""
    arrays = [
        framed([framed([name + b"\0", *map(bytes.fromhex, sums)], is_tuple=True) for name, *sums in entries])
        for entries in (files, directories)
    ]
    return framed(arrays, is_tuple=True)


def numbers(mode: int, uid: int = 0, gid: int = 0) -> bytes:
    """A dirmeta object, without extended attributes."""
    return b"".join(number.to_bytes(4, "big") for number in (uid, gid, mode))


def filez(content: bytes, mode: int, target: str = "", size: int | None = None) -> bytes:
    """A compressed file."""
    fields = (len(content) if size is None else size).to_bytes(8, "big") + numbers(mode) + bytes(4)
    text = target.encode() + b"\0"
    header = fields + text + bytes([len(fields) + len(text)])
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return len(header).to_bytes(4, "big") + bytes(4) + header + packer.compress(content) + packer.flush()


class Repository:
    """A repository without refs."""

    def __init__(self, path: Path, mode: str = "bare") -> None:
        self.path = path
        (path / "objects").mkdir(parents=True)
        (path / "config").write_text(f"[core]\nrepo_version=1\nmode={mode}\n")
        self.permissions = self.store("dirmeta", numbers(stat.S_IFDIR | 0o755))

    def place(self, checksum: str, kind: str) -> Path:
        place = self.path / "objects" / checksum[:2] / f"{checksum[2:]}.{kind}"
        place.parent.mkdir(exist_ok=True)
        return place

    def store(self, kind: str, content: bytes) -> str:
        checksum = hashlib.sha256(content).hexdigest()
        self.place(checksum, kind).write_bytes(content)
        return checksum

    def link(self, target: str) -> str:
        checksum = hashlib.sha256(f"link {target}".encode(errors="surrogateescape")).hexdigest()
        if not (place := self.place(checksum, "file")).is_symlink():
            place.symlink_to(target)
        return checksum

    def directory(self, files: Mapping[str, str], directories: Mapping[str, str]) -> str:
        """A directory of files and of others, by their checksums."""
        return self.store(
            "dirtree",
            dirtree(
                sorted((name.encode(), checksum) for name, checksum in files.items()),
                sorted((name.encode(), checksum, self.permissions) for name, checksum in directories.items()),
            ),
        )

    def commit(self, root: str) -> str:
        """A commit whose root is that directory."""
        # Of metadata, parent, related objects, subject and body there is nothing but the zeros that end a string.
        fields = bytes(8) + (1700000000).to_bytes(8, "big") + bytes.fromhex(root) + bytes.fromhex(self.permissions)
        return self.store("commit", fields + bytes(reversed([0, 0, 0, 1, 2, 48])))

    def commit_tree(self, tree: Tree, file: str) -> str:
        """A commit of a tree, with that file's object for each file."""

        def made(top: str) -> str:
            here = {path.rpartition("/")[2]: path for path in tree if path.rpartition("/")[0] == top}
            files = {name: tree[path] for name, path in here.items() if tree[path] is not None}
            return self.directory(
                {name: file if target == "file" else self.link(target or "") for name, target in files.items()},
                {name: made(path) for name, path in here.items() if tree[path] is None},
            )

        return self.commit(made(""))


@contextmanager
def repository(text: str = "ID=debian\n", size: int = 0, **trees: Tree) -> Iterator[tuple[Path, dict[str, str]]]:
    """A repository with a commit of each tree, by the names given; ``text`` is what each file has, followed by empty
    lines up to ``size`` bytes, or a hole where that is large."""
    with tempfile.TemporaryDirectory() as scratch:
        made = Repository(Path(scratch))
        file = made.store("file", text.encode(errors="surrogateescape"))
        with made.place(file, "file").open("ab") as content:
            if size <= 2 << 20:
                content.write(b"\n" * (size - content.tell()))
            else:
                content.truncate(size)
        yield made.path, {name: made.commit_tree(tree, file) for name, tree in trees.items()}
