"""ostree(1): argv in, values out.

ostree prints no JSON before 2025.3, so a commit's metadata is read from its object (commit_object.py), and deployments
from their files on disk (sysroot.py).
"""

from __future__ import annotations

import dataclasses
import functools
import os
import re
import resource
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import ToolError
from ..host import lifetime, proc
from ..model import CommitInfo
from ..text import text_of
from . import commit_object, objects

CHECKSUM = objects.CHECKSUM

COMMIT_MAX = 2 << 20
"""Bytes of a commit object that is read. The lock and the list of 5,000 packages have about one and a half million."""

METADATA_CHUNK = 100_000
"""Bytes. The kernel takes at most 128 KiB in one argument (execve(2)); a lock of 2,000 packages is longer."""


def run(repo: Path, *words: str | os.PathLike[str], input: str | None = None) -> str:
    """One ``ostree`` command on ``repo``; returns its standard output. Raises proc.ChildError."""
    return proc.run(["ostree", words[0], f"--repo={repo}", *words[1:]], input=input).stdout


def init(repo: Path, mode: str = "bare") -> None:
    """Make a repository, or do nothing where one is. A new one is for its owner alone: a bare repository has the
    set-user-ID programs of each commit as they are."""
    repo.mkdir(mode=0o700, parents=True, exist_ok=True)
    run(repo, "init", f"--mode={mode}")


_NO_REVISION = re.compile(
    r"^error: (?:Refspec '.*' not found|Invalid refspec .*|Commit [0-9a-f]{64} has no parent"
    r"|Couldn't open ref .*: Is a directory)$",
    re.MULTILINE,
)
"""The errors of ostree 2022.7 to 2025.2 for what does not exist. The exit status is 1 for every failure."""


def resolve(repo: Path, revision: str) -> str | None:
    """The commit checksum of a ref, refspec or checksum; None when there is no such commit.

    A whole checksum is taken as it is, whether its commit is here or not. Raises proc.ChildError where that cannot be
    told: the repository cannot be read, or the ref is damaged.
    """
    result = proc.run(["ostree", "rev-parse", f"--repo={repo}", "--", revision], check=False)
    if result.returncode == 0:
        text = result.stdout.strip()
        return text if CHECKSUM.fullmatch(text) else None
    if result.returncode == 1 and _NO_REVISION.search(result.stderr):
        return None
    raise proc.ChildError(result)


def refs(repo: Path, prefix: str = "") -> dict[str, str]:
    """All local refs below ``prefix`` with their commits; names are whole.

    Read from the files: Debian 12's ``ostree refs`` does not print the commits.
    """
    top = repo / "refs" / "heads"
    found = {}
    for path in sorted((top / prefix).rglob("*")):
        if path.is_file():
            found[os.fspath(path.relative_to(top))] = text_of(path).strip()
    return found


def ref(repo: Path, name: str) -> str | None:
    """The commit that the file of a local ref names, if that commit is here; None for one that is damaged, too."""
    try:
        checksum = text_of(repo / "refs/heads" / name).strip()
    except OSError:
        return None
    return checksum if CHECKSUM.fullmatch(checksum) and _has_commit(repo, checksum) else None


def _commit_path(repo: Path, checksum: str) -> Path:
    return objects.path(repo, checksum, "commit")


def _has_commit(repo: Path, checksum: str) -> bool:
    return _commit_path(repo, checksum).exists()


def local(repo: Path, ref: str) -> str | None:
    """The commit of a ref of the repository's own, or of a checksum; ``resolve`` would also find a remote's ref of
    that name."""
    checksum = ref if CHECKSUM.fullmatch(ref) else refs(repo).get(ref)
    return checksum if checksum is not None and commit_info(repo, checksum) is not None else None


def delete_ref(repo: Path, ref: str) -> None:
    """Forget one ref; its objects stay until a prune."""
    run(repo, "refs", "--delete", ref)


def prune(repo: Path) -> None:
    """Remove every object that no ref reaches (deployments are refs, too)."""
    run(repo, "prune", "--refs-only")


def object_path(repo: Path, checksum: str) -> Path:
    """The path of a content object in a bare repository."""
    return objects.path(repo, checksum, "file")


def _metadata_argument(key: str, value: str) -> list[str]:
    # Long values go into numbered pieces; commit_info puts them together again.
    pieces = [value[i : i + METADATA_CHUNK] for i in range(0, len(value), METADATA_CHUNK)] or [""]
    return [f"--add-metadata-string={key if n == 0 else f'{key}.{n}'}={piece}" for n, piece in enumerate(pieces)]


@dataclass(frozen=True, slots=True)
class Description:
    """All that a commit says beside its tree. Values of ``metadata`` are stored as strings; ``ostree.bootable`` becomes
    a boolean, as ostree's tools expect."""

    subject: str = ""
    parent: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    bind: str | None = None
    """The ref that the commit is made for."""


def commit(repo: Path, ref: str, trees: Sequence[str], description: Description, *, link_speedup: bool = False) -> str:
    """Commit ``trees`` (``ref=…``, ``dir=…`` or ``tar=…``, later ones over earlier) to ``ref`` and return the checksum.

    Nothing is fsynced: the caller syncs the filesystem once before it publishes.
    """
    words: list[str] = [
        "--fsync=false",
        "--no-bindings",
        f"--parent={description.parent or 'none'}",
        f"--subject={description.subject}",
        f"--branch={ref}",
        *(f"--tree={tree}" for tree in trees),
    ]  # fmt: skip
    if link_speedup:
        words.append("--link-checkout-speedup")
    if description.bind is not None:
        words.append(f"--bind-ref={description.bind}")
    for key, value in description.metadata.items():
        if key == "ostree.bootable":
            words.append(f"--add-metadata={key}={value}")
        else:
            words += _metadata_argument(key, value)
    text = run(repo, "commit", *words).strip()
    if not CHECKSUM.fullmatch(text):
        raise ToolError("ostree commit did not print a checksum", text)
    return text


def checkout(repo: Path, revision: str, target: Path, *, hard_links: bool) -> None:
    """Check a commit out at ``target``, as hard links to the objects or as copies."""
    link = ["--require-hardlinks"] if hard_links else ["--force-copy"]
    run(repo, "checkout", "--fsync=false", *link, revision, target)


def content_checksum(repo: Path, revision: str) -> str:
    """The checksum of what a commit holds, whatever its metadata."""
    text = run(repo, "show", revision)
    match = re.search(r"^ContentChecksum: +([0-9a-f]{64})$", text, re.MULTILINE)
    if match is None:
        raise ToolError(f"ostree show did not print the content checksum of {revision}")
    return match[1]


def commit_info(repo: Path, revision: str) -> CommitInfo | None:
    """A commit's metadata; None when there is no such commit. Raises ToolError, also for one that is too large."""
    checksum = revision if CHECKSUM.fullmatch(revision) else resolve(repo, revision)
    if checksum is None or not _has_commit(repo, checksum):
        return None
    return _commit_info(repo, checksum)


@functools.lru_cache(maxsize=64)
def _commit_info(repo: Path, checksum: str) -> CommitInfo:
    return commit_object.parse(checksum, _commit_bytes(repo, checksum))


def root(repo: Path, checksum: str) -> tuple[str, str]:
    """The checksums of a commit's root directory: of what it has, and of its permissions. Raises ToolError."""
    return commit_object.root(checksum, _commit_bytes(repo, checksum))


def _commit_bytes(repo: Path, checksum: str) -> bytes:
    place = _commit_path(repo, checksum)
    try:
        size = place.stat().st_size
        if size > COMMIT_MAX:
            raise ToolError(f"cannot read commit {checksum}", f"it has {size} bytes, more than {COMMIT_MAX}")
        return place.read_bytes()
    except OSError as error:
        raise ToolError(f"cannot read commit {checksum}", error.strerror or "") from error


_NO_PROGRAM_OF_THE_TREE = {"OSTREE_GRUB2_EXEC": "/bin/false"}
"""For another sysroot than the running one: libostree would enter the new deployment and run its grub-mkconfig as root,
unless this variable names another program (ostree-bootloader-grub2.c), and then it fails."""


def _admin(run: Callable[[list[str]], proc.Result], words: list[str]) -> str:
    """Run an ``ostree admin`` command that may open as many files as any process of the caller's may: libostree holds
    each directory on the way open while it removes a deployment."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    argv = ["ostree", "admin", *words]
    try:
        return run(["prlimit", f"--nofile={most}", "--", *argv]).stdout
    except proc.ChildError as error:
        raise proc.ChildError(dataclasses.replace(error.result, argv=tuple(argv))) from error


def admin(sysroot: Path, *words: str | os.PathLike[str]) -> str:
    """One ``ostree admin`` command on ``sysroot``; returns its standard output. Raises proc.ChildError."""
    env = None if sysroot == Path("/") else _NO_PROGRAM_OF_THE_TREE
    argv = [*(os.fspath(word) for word in words), f"--sysroot={sysroot}"]
    if env is None:
        return _admin(lambda argv: lifetime.outside(*argv), argv)
    # Here, where mounts of ours show it another /etc (system/seclusion.py).
    return _admin(lambda argv: proc.run(argv, env=env), argv)


def cleanup(sysroot: Path) -> None:
    """Remove deployments and boot files that nothing names, and every object that no ref reaches. Raises
    proc.ChildError."""
    _admin(proc.run, ["cleanup", f"--sysroot={sysroot}"])


def has_admin(command: str) -> bool:
    """True if this ostree knows ``ostree admin COMMAND`` (set-default came after Debian 12's). Raises
    proc.ChildError."""
    result = proc.run(["ostree", "admin", "--help"])
    return re.search(rf"^  {re.escape(command)}(?:\s|$)", result.stdout + result.stderr, re.MULTILINE) is not None


def is_partial(repo: Path, checksum: str) -> bool:
    """True if not all files of a commit need be here: ostree keeps a note beside such a one, as when only its metadata
    was pulled."""
    return (repo / "state" / f"{checksum}.commitpartial").exists()


def create_ref(repo: Path, ref: str, checksum: str) -> None:
    """Name a commit, or do nothing where the ref names it already."""
    run(repo, "refs", f"--create={ref}", "--force", checksum)
