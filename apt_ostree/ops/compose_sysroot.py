"""A sysroot from a commit: a directory whose file system boots."""

from __future__ import annotations

import contextlib
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from ..errors import SysrootError, ToolError, UsageError
from ..host import fetching, mounts, proc
from ..host.door import Tree
from ..inputs import kargs
from ..reporter import Reporter
from ..system import local_remote, metadata, remote, seclusion
from ..tools import ostree
from ..tree import deploying
from . import place
from .transaction import RUN, require_root

_HERE = RUN.with_name("apt-ostree-sysroot")
"""Where this process sees the sysroot that it makes."""

_REPO = _HERE / "ostree/repo"


@dataclass(frozen=True, slots=True)
class Deployed:
    """A sysroot with its first deployment."""

    path: Path
    stateroot: str
    ref: str
    commit: str


@dataclass(frozen=True, slots=True)
class Upstream:
    """The source of a new system's updates: ``url``, signed by ``key`` unless it is ``trusted``; without a URL the
    repository that the system was made from."""

    url: str | None = None
    key: Path | None = None
    trusted: bool = False


@dataclass(frozen=True, slots=True)
class NewSystem:
    """A sysroot to make at ``path``: the name of its OS, its further kernel arguments, and where updates come from."""

    path: Path
    stateroot: str
    kargs: tuple[str, ...]
    upstream: Upstream


def make_sysroot(repo: Path, ref: str, wanted: NewSystem, reporter: Reporter) -> Deployed:
    """Make a sysroot directory with ``ref`` of ``repo`` deployed in it.

    The origin's remote has the stateroot's name. Raises UsageError, and SysrootError where its path holds anything
    or ``ref`` is unknown; nothing is left behind then.
    """
    path, stateroot, upstream = wanted.path, wanted.stateroot, wanted.upstream
    remote.check_public(upstream.url or "")
    kargs.check(wanted.kargs)
    if upstream.url is not None and not (upstream.key or upstream.trusted):
        raise UsageError(
            "--remote-url needs a key to verify updates with",
            resolution="Name the key with --gpg-import FILE, or accept unsigned updates with --no-gpg-verify.",
        )
    if upstream.url is None and upstream.key is not None:
        raise UsageError("--gpg-import needs --remote-url")
    require_root()
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise SysrootError(f"{path} exists and is not empty", resolution="Name a directory that does not exist.")
    if not (repo / "config").is_file():
        raise SysrootError(f"{repo} is not an OSTree repository")
    mounts.enter_private_namespace()
    try:
        with place.held(path, _HERE, 0o755) as opened, ExitStack() as undo:
            undo.callback(_clear, opened)
            reporter.step(f"Making the sysroot {path}")
            commit = _pull(repo, ref, wanted)
            _deploy(ref, commit, wanted, reporter)
            undo.pop_all()
    except BaseException:
        with contextlib.suppress(OSError):
            path.rmdir()
        raise
    return Deployed(path, stateroot, ref, commit)


def _deploy(ref: str, commit: str, wanted: NewSystem, reporter: Reporter) -> None:
    info = ostree.commit_info(_REPO, commit)
    assert info is not None
    metadata.version(info)
    deploying.check(_REPO, commit)
    words = [f"--karg={word}" for word in (*metadata.kernel_arguments(info), *wanted.kargs)]
    reporter.step("Deploying")
    try:
        with seclusion.away(_HERE, wanted.stateroot):
            ostree.admin(_HERE, "deploy", f"--os={wanted.stateroot}", *words, f"{wanted.stateroot}:{ref}")
    except ToolError as error:
        raise SysrootError(f"cannot deploy {ref}", error.detail) from error


def _pull(repo: Path, ref: str, wanted: NewSystem) -> str:
    """Make the sysroot's repository, with ``ref`` of ``repo`` in it; returns its commit. Raises RemoteError, and
    SysrootError for a ref that is not there."""
    stateroot, upstream = wanted.stateroot, wanted.upstream

    def failed(why: str) -> SysrootError:
        return SysrootError(f"cannot read the repository {repo}", why, "Nothing was changed.")

    with local_remote.readable(repo.absolute(), f"the repository {repo}", _HERE) as source:
        proc.run(["ostree", "admin", "init-fs", _HERE])
        ostree.admin(_HERE, "os-init", stateroot)
        # Who can name a repository on this disk can write to it: it needs no signature.
        trusted = upstream.trusted or upstream.url is None
        url = upstream.url or f"file://{repo.absolute()}"
        remote.add(_REPO, stateroot, url, upstream.key, None, ["gpg-verify=false"] if trusted else [])
        names = [entry.name for entry in Tree(source).walk("refs/heads") if entry.is_file]
        known = sorted(name.removeprefix("refs/heads/") for name in names)
        if ref not in known:
            own = ", ".join(name for name in known if not name.startswith("apt-ostree/"))
            raise SysrootError(f"{repo} does not have the ref {ref}", f"it has: {own or 'none'}")
        watch = fetching.Watch([_HERE], failed, fetching.PULL_SECONDS)
        command = ["ostree", "pull-local", f"--repo={_REPO}", "--untrusted", f"--remote={stateroot}", str(source), ref]
        proc.run(command, during=watch.over)
    # What came, and is deployed: by its name in the other repository it could be another's by now.
    commit = ostree.resolve(_REPO, f"{stateroot}:{ref}")
    assert commit is not None
    return commit


def _clear(opened: Tree) -> None:
    """Remove a half-made sysroot; ostree marks deployment roots immutable."""
    for deployment in _HERE.glob("ostree/deploy/*/deploy/*.[0-9]*"):
        if deployment.is_dir():
            proc.run(["chattr", "-i", deployment], check=False)
    for name in opened.names():
        opened.remove(name)
