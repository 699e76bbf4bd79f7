"""Remotes: where bases come from, what lies there, and bringing it here.

What is asked of a remote before anything is fetched goes into a scratch repository whose parent is the system's
own: ostree takes the remotes and keys from there, verifies every commit as in a pull, and the system's refs stay
as they are. A pull of commit metadata into the system's repository would leave a ref to a commit without files.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import RemoteError, UsageError, redact
from ..host import fetching, proc, screen
from ..host.door import Tree
from ..host.files import scratch_directory
from ..model import CommitInfo
from ..text import text_of
from ..tools import ostree
from . import local_remote, origin

DEPTHS = (7, 63, 511, -1)
"""Numbers of commits for which a remote's history is asked, step by step: each commit costs a round trip."""

ETC = "etc/ostree/remotes.d"
"""Below a deployment (ostree.repo-config(5))."""

FILE_MAX = 1 << 20
"""Bytes of one of its files that are read."""

_ARRIVING = Path("/var/tmp")
"""Where libostree has unnamed files for what arrives, whatever TMPDIR says, and minds no reserve."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_REF = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(?:/[A-Za-z0-9_][A-Za-z0-9._-]*)*")
_TRUE = {"true", "1"}
"""What GLib takes for true in a key file; of what it takes for neither, nobody may believe that it verifies."""

_SIGNATURES = {"ed25519", "spki"}
"""The values of ``sign-verify`` besides; libostree refuses others when it pulls, and has "dummy" for its tests."""

_SECTION = re.compile(r'remote "(.+)"')


@dataclass(frozen=True, slots=True)
class Refspec:
    """A ref, of a remote or of the local repository (``remote`` empty); or a commit's checksum."""

    remote: str
    ref: str

    def __str__(self) -> str:
        return f"{self.remote}:{self.ref}" if self.remote else self.ref

    @property
    def fixed(self) -> bool:
        """True for a checksum: no newer commit can come for it."""
        return not self.remote and ostree.CHECKSUM.fullmatch(self.ref) is not None


def parse(text: str, beside: Refspec | None = None) -> Refspec:
    """Read REMOTE:REF, or :REF of the local repository; as rpm-ostree does, REF alone keeps the remote of
    ``beside``, and REMOTE: its ref. Raises UsageError."""
    name, colon, ref = text.rpartition(":")
    if not colon and beside is not None and not ostree.CHECKSUM.fullmatch(ref):
        name = beside.remote
    if colon and not ref and beside is not None and not beside.fixed:
        ref = beside.ref
    if (name and not _NAME.fullmatch(name)) or not _REF.fullmatch(ref):
        raise UsageError(
            f"'{text}' is not a valid base",
            "a base is REMOTE:REF, a REF of the same remote, or :REF or a checksum in the local repository",
        )
    return Refspec(name, ref)


@dataclass(frozen=True, slots=True)
class Remote:
    """A remote as the repository's configuration has it."""

    name: str
    url: str
    gpg_verify: bool
    sign_verify: bool
    file: Path | None = None
    """The file that has it, if not the repository's configuration: ostree reads those of the booted system, too."""


def read(repo: Path) -> list[Remote]:
    """The remotes of a repository, sorted by name. Raises SysrootError for a configuration that cannot be read."""
    file = repo / "config"
    return _parse(text_of(file), file)


def read_etc(deployment: Path) -> list[Remote]:
    """The remotes that an administrator put into the /etc of a deployment, by file and name; links are followed in the
    deployment alone. Raises SysrootError as ``read`` does, and TreeError for a file that is too large."""
    tree = Tree(deployment)
    found = []
    for name in tree.names(ETC):
        place = tree.find(f"{ETC}/{name}") if name.endswith(".conf") else None
        text = tree.text(place, limit=FILE_MAX) if place is not None else None
        if text is not None:
            file = deployment / ETC / name
            found += [replace(entry, file=file) for entry in _parse(text, file)]
    return found


def _parse(text: str, file: Path) -> list[Remote]:
    groups = origin.parse(text, str(file))
    found = []
    for group, entries in groups.items():
        if match := _SECTION.fullmatch(group):
            found.append(
                Remote(
                    match[1],
                    entries.get("url", ""),
                    # ostree.repo-config(5): it verifies unless told not to.
                    entries.get("gpg-verify", "true") in _TRUE,
                    entries.get("sign-verify", "") in _TRUE or _names_signatures(entries.get("sign-verify", "")),
                )
            )
    return sorted(found, key=lambda entry: entry.name)


def _names_signatures(value: str) -> bool:
    """True for a list of the kinds of signatures that libostree verifies."""
    return set() < set(origin.split(value)) <= _SIGNATURES


def add(repo: Path, name: str, url: str, key: Path | None, sign: str | None, settings: Sequence[str]) -> None:
    """Record a remote in the repository's own configuration, with its keys; all of it or nothing.

    Not in /etc/ostree/remotes.d: that is one deployment's, and a rollback would forget it. Raises RemoteError.
    """
    try:
        ostree.run(
            repo, "remote", "add",
            *([f"--gpg-import={key}"] if key else []),
            *([f"--sign-verify={sign}"] if sign else []),
            *(f"--set={setting}" for setting in settings),
            name, url,
        )  # fmt: skip
    except proc.ChildError as error:
        # The remote stands there already when its key turns out to be none.
        proc.run(["ostree", "remote", f"--repo={repo}", "delete", "--if-exists", name], check=False)
        raise RemoteError(
            f"cannot add the remote {name}",
            _reason(error),
            "Nothing was changed. Check the key file and the settings (ostree.repo-config(5)).",
        ) from error


def delete(repo: Path, name: str) -> None:
    """Forget a remote, its keys and its refs. Raises RemoteError."""
    try:
        for ref in _refs(repo, name):
            ostree.delete_ref(repo, f"{name}:{ref}")
        ostree.run(repo, "remote", "delete", name)
    except proc.ChildError as error:
        raise RemoteError(
            f"cannot delete the remote {name}", _reason(error), f"Run the command again, or edit {repo / 'config'}."
        ) from error


def _refs(repo: Path, name: str) -> list[str]:
    top = repo / "refs/remotes" / name
    return [str(path.relative_to(top)) for path in sorted(top.rglob("*")) if path.is_file()]


def check_name(name: str) -> None:
    """Raises UsageError for what ostree would take for an option or a path."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"'{name}' is not a valid name for a remote", "it consists of letters, digits and . _ -")


def check_public(*texts: str) -> None:
    """Raises UsageError for a URL or a setting with a password, or a user name, which may be one.

    ostree keeps it in the repository's configuration; anybody has to be able to read that, or nobody but root could
    ask for the deployments.
    """
    if any(redact(text) != text for text in texts):
        raise UsageError(
            "the URL of a remote must not hold a user name or password",
            "the repository's configuration keeps it, and anybody may read that",
            "Use a client certificate, whose key only root may read: "
            "--set=tls-client-cert-path=FILE --set=tls-client-key-path=FILE (ostree.repo-config(5)).",
        )


@contextmanager
def looking(repo: Path, area: Path) -> Iterator[Path]:
    """A scratch repository, child of ``repo``, for what is only looked at."""
    with scratch_directory(area / "tmp/remote") as place:
        child = place / "repo"
        ostree.init(child)
        config = "[core]\nrepo_version=1\nmode=bare\nparent={}\n"
        (child / "config").write_text(config.format(repo.absolute()), errors="surrogateescape")
        yield child


def newest(child: Path, refspec: Refspec) -> CommitInfo:
    """The commit that a remote's ref names now: only its metadata is fetched, and verified. Raises RemoteError."""
    try:
        _pull(child, refspec, "--commit-metadata-only", refspec.ref)
    except RemoteError as error:
        # Without a summary the file of the ref is asked for, and ostree says no more than that it is missing.
        if re.search(r"\b404\b", error.detail):
            raise explain(refspec, f"No such ref: {error.detail}") from None
        raise
    checksum = ostree.resolve(child, str(refspec))
    info = _look(child, checksum) if checksum else None
    if info is None:
        raise RemoteError(f"cannot read {refspec}", "it was fetched, but is missing now", "Run the command again.")
    return info


def history(child: Path, refspec: Refspec) -> Iterator[CommitInfo]:
    """The commits of a remote's ref, from the newest on, as far back as the remote has them. Raises RemoteError."""
    info: CommitInfo | None = newest(child, refspec)
    deeper = iter(DEPTHS)
    while info is not None:
        yield info
        if info.parent is None:
            return
        parent = _look(child, info.parent)
        while parent is None and (depth := next(deeper, None)) is not None:
            # A server may keep fewer commits than their parents say: that ends the history.
            _pull(child, refspec, "--commit-metadata-only", f"--depth={depth}", refspec.ref)
            parent = _look(child, info.parent)
        info = parent


def _look(child: Path, checksum: str) -> CommitInfo | None:
    """A commit of the scratch repository or of its parent, which ostree does not copy from."""
    parent = Path(origin.parse(text_of(child / "config"))["core"]["parent"])
    return ostree.commit_info(child, checksum) or ostree.commit_info(parent, checksum)


def pull(
    repo: Path,
    area: Path,
    refspec: Refspec,
    checksum: str,
    on_progress: Callable[[int, int, str], None],
    *,
    of_ref: bool = True,
) -> None:
    """Fetch one commit whole; what an earlier attempt fetched is not fetched again.

    ``on_progress`` is told what of what ostree has, in its own units, and its words about speed and size. With
    ``of_ref`` the local name of the remote's ref leads to the commit afterwards. Raises RemoteError; the
    repository's refs are as they were then. Also raises SpaceError where too little would stay free.
    """

    def read(text: str) -> None:
        if (progress := parse_progress(text)) is not None:
            on_progress(*progress)

    what = f"{refspec.ref}@{checksum}" if of_ref else checksum
    with local_remote.options(repo, refspec.remote, area / "tmp") as options:
        command = ["ostree", "pull", f"--repo={repo}", *options, refspec.remote, what]
        result = screen.watch(command, read, _watch(repo, refspec).over)
    if result.returncode != 0:
        raise explain(refspec, _reason(proc.ChildError(result)))


_PROGRESS = re.compile(
    r"(?:Receiving|Writing)\b.*?(?P<done>[0-9]{1,18})/(?P<total>[0-9]{1,18})\)?(?: parts,?)?(?P<rest>.*)"
)


def parse_progress(text: str) -> tuple[int, int, str] | None:
    """Read what ostree-pull(1) writes on a terminal: done, total, and the rest of the line; None for anything else."""
    match = _PROGRESS.search(text)
    return (
        None
        if match is None
        else (int(match["done"]), int(match["total"]), match["rest"].replace("\N{NO-BREAK SPACE}", " ").strip())
    )


def _pull(child: Path, refspec: Refspec, *words: str) -> None:
    try:
        with local_remote.options(child, refspec.remote, child.parent) as options:
            command = ["ostree", "pull", f"--repo={child}", *options, refspec.remote, *words]
            proc.run(command, during=_watch(child, refspec).over)
    except proc.ChildError as error:
        raise explain(refspec, _reason(error)) from error


def _watch(repo: Path, refspec: Refspec) -> fetching.Watch:
    """The watch over a pull, which has no limit of its own for an object, or for time."""
    return fetching.Watch([repo, _ARRIVING], lambda why: explain(refspec, why), fetching.PULL_SECONDS)


_MEANINGS = (
    (r"Remote \"?.*\"? not found", "the remote does not exist", "'apt-ostree remote list' shows the remotes."),
    (
        r"public key not found|[Nn]o valid signature|[Cc]an't check signature|BAD signature|not signed|no signatures"
        r"|[Uu]nable to find.*key|revoked|expired|No.*signature",
        "it is not signed with a key of this remote",
        "Nothing was changed. Get the key from the author of the image, and add the remote again with --gpg-import.",
    ),
    (
        r"in ref binding metadata",
        "the ref leads to a commit that was made for another ref",
        "Nothing was changed. Ask the author of the image: a server that mixes up its refs may have been taken over.",
    ),
    (
        r"No such (?:branch|ref)",
        "the remote does not have this ref",
        "Check the name of the ref; the author of the image knows it.",
    ),
    (
        r"Corrupted|checksum expected|Need more input|partial file|[Uu]nexpected end|[Zz]lib|[Tt]runcated|^Parsing ",
        "the remote sent damaged data",
        "Nothing was changed. Run the command again; if it keeps failing, the author of the image has to "
        "repair the repository.",
    ),
    (
        r"\b404\b",
        "a part of it is missing on the remote",
        "Nothing was changed. Run the command again later: the author of the image may be publishing now.",
    ),
    (
        r"min-free-space",
        "the disk is too full",
        "Free some space: 'apt-ostree cleanup -r -b'.",
    ),
)
"""Patterns of ostree's messages, each with its meaning and what can be done."""


def explain(refspec: Refspec, reason: str) -> RemoteError:
    """The error for a pull that failed, from ostree's own words."""
    for pattern, meaning, resolution in _MEANINGS:
        if re.search(pattern, reason, re.MULTILINE):
            return RemoteError(f"cannot pull {refspec}: {meaning}", reason, resolution)
    return RemoteError(
        f"cannot pull {refspec}",
        reason,
        "Nothing was changed. Check the network and run the command again: it goes on where it stopped.",
    )


def _reason(error: proc.ChildError) -> str:
    return re.sub(r"(?m)^error: ", "", error.detail)
