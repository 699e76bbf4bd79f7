"""A sysroot from a commit: a directory whose file system boots."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from ..errors import SysrootError, ToolError, UsageError
from ..host import mounts, proc
from ..host.files import remove_tree
from ..inputs import kargs
from ..reporter import Reporter
from ..system import local_remote, metadata, remote, seclusion
from ..tools import ostree
from ..tree import deploying
from .transaction import require_root


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
    with ExitStack() as undo:
        undo.callback(_discard, path)
        path.mkdir(parents=True, exist_ok=True)
        target = path / "ostree/repo"
        with local_remote.readable(repo.absolute(), f"the repository {repo}", path) as source:
            commit = ostree.resolve(source, ref)
            if commit is None:
                known = ", ".join(name for name in ostree.refs(source) if not name.startswith("apt-ostree/"))
                raise SysrootError(f"{repo} does not have the ref {ref}", f"it has: {known or 'none'}")
            reporter.step(f"Making the sysroot {path}")
            proc.run(["ostree", "admin", "init-fs", path])
            ostree.admin(path, "os-init", stateroot)
            # Who can name a repository on this disk can write to it: it needs no signature.
            trusted = upstream.trusted or upstream.url is None
            url = upstream.url or f"file://{repo.absolute()}"
            remote.add(target, stateroot, url, upstream.key, None, ["gpg-verify=false"] if trusted else [])
            ostree.run(target, "pull-local", "--untrusted", f"--remote={stateroot}", str(source), commit)
            # The ref may lead elsewhere by now.
            ostree.create_ref(target, f"{stateroot}:{ref}", commit)
        info = ostree.commit_info(target, commit)
        assert info is not None
        metadata.version(info)
        deploying.check(target, commit)
        arguments = [*metadata.kernel_arguments(info), *wanted.kargs]
        reporter.step("Deploying")
        try:
            with seclusion.away(path, stateroot):
                ostree.admin(
                    path,
                    "deploy",
                    f"--os={stateroot}",
                    *(f"--karg={word}" for word in arguments),
                    f"{stateroot}:{ref}",
                )
        except ToolError as error:
            raise SysrootError(f"cannot deploy {ref}", error.detail) from error
        undo.pop_all()
    return Deployed(path, stateroot, ref, commit)


def _discard(path: Path) -> None:
    """Remove a half-made sysroot; ostree marks deployment roots immutable."""
    for deployment in path.glob("ostree/deploy/*/deploy/*.[0-9]*"):
        if deployment.is_dir():
            proc.run(["chattr", "-i", deployment], check=False)
    remove_tree(path)
