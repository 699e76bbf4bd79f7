"""The command line: parses words, calls one operation, renders its result, and sets the exit status."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import __version__
from ..errors import AptOstreeError, UsageError
from . import render

UNCHANGED = 77

app = typer.Typer(
    name="apt-ostree",
    help="Layer Debian packages on OSTree systems, atomically, without a daemon.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    no_args_is_help=True,
)
compose_app = typer.Typer(help="Build images: base commits, and sysroots with one deployed.", rich_markup_mode=None)
db_app = typer.Typer(help="Packages of commits, and differences of two.", rich_markup_mode=None)
override_app = typer.Typer(help="Remove or replace packages of the base.", rich_markup_mode=None)
app.add_typer(compose_app, name="compose")
app.add_typer(override_app, name="override")
app.add_typer(db_app, name="db")


class Common:
    """Options that are accepted before the command and after it; the later one wins."""

    sysroot = Path("/")
    stateroot: str | None = None
    quiet = False
    verbose = False
    as_json = False


common = Common()


def _take(**given: Any) -> None:
    for name, value in given.items():
        if value not in (None, False):
            setattr(common, name, value)


Sysroot = Annotated[Path | None, typer.Option("--sysroot", metavar="PATH", help="The sysroot to work on (default: /).")]
Stateroot = Annotated[
    str | None,
    typer.Option("--stateroot", metavar="NAME", help="The OS in it (default: the booted one, or the first)."),
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="No steps, only results and errors.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Also the output of maintainer scripts.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
DryRun = Annotated[bool, typer.Option("-n", "--dry-run", help="Print what would be done, and do nothing.")]
Unchanged = Annotated[bool, typer.Option("--unchanged-exit-77", help="Exit with 77 when there is nothing to do.")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait while another transaction runs.")]
WaitTimeout = Annotated[
    float | None, typer.Option("--wait-timeout", metavar="SECONDS", min=0, help="Wait at most that long.")
]
CacheOnly = Annotated[bool, typer.Option("-C", "--cache-only", help="Use no network, only what is cached.")]
DownloadOnly = Annotated[bool, typer.Option("-D", "--download-only", help="Download and import, and stop.")]
Recommends = Annotated[
    bool | None,
    typer.Option(
        "--recommends/--no-recommends",
        help="Also lay recommended packages (default: the target's apt setting).",
    ),
]


def _settings(
    sysroot: Path | None, stateroot: str | None, dry_run: bool, wait: bool, wait_timeout: float | None
) -> Any:
    from ..ops.transaction import Settings

    _take(sysroot=sysroot, stateroot=stateroot)
    seconds = wait_timeout if wait_timeout is not None else None if wait else 0
    return Settings(common.sysroot, common.stateroot, dry_run, seconds)


def _finish(changed: bool, unchanged_exit_77: bool) -> None:
    if not changed and unchanged_exit_77:
        raise typer.Exit(UNCHANGED)


def _with_reporter(quiet: bool, verbose: bool, work: Callable[[Any], Any]) -> Any:
    _take(quiet=quiet, verbose=verbose)
    chosen = render.reporter(quiet=common.quiet, verbose=common.verbose)
    try:
        return work(chosen)
    finally:
        if isinstance(chosen, render.Terminal):
            chosen.close()


def _version(value: bool) -> None:
    if value:
        render.line(f"apt-ostree {__version__}")
        raise typer.Exit()


@app.callback()
def root(
    sysroot: Sysroot = None,
    stateroot: Stateroot = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    _take(sysroot=sysroot, stateroot=stateroot, quiet=quiet, verbose=verbose)


@app.command()
def status(
    sysroot: Sysroot = None,
    stateroot: Stateroot = None,
    booted: Annotated[bool, typer.Option("-b", "--booted", help="Only the booted deployment.")] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Show the deployments in boot order: what boots next comes first.

    Example: apt-ostree status --sysroot /mnt --json
    """
    import dataclasses

    from ..ops import query

    _take(sysroot=sysroot, stateroot=stateroot, quiet=quiet, verbose=verbose, as_json=as_json)
    result = query.status(common.sysroot, common.stateroot)
    if booted:
        only = tuple(entry for entry in result.deployments if entry.deployment.booted)
        result = dataclasses.replace(result, deployments=only)
    if common.as_json:
        render.document(render.status_json(result))
        return
    for text in render.status_text(result, verbose=common.verbose):
        render.line(text)


@app.command()
def install(
    packages: Annotated[
        list[str],
        typer.Argument(metavar="PKG...", help="NAME, NAME=VERSION, NAME/SUITE, NAME:ARCH or ./FILE.deb"),
    ],
    uninstall: Annotated[
        list[str] | None, typer.Option("--uninstall", metavar="PKG", help="Drop a request in the same step.")
    ] = None,
    answers: Annotated[
        Path | None,
        typer.Option(
            "--debconf", metavar="FILE", help="Answer debconf's questions, in debconf-set-selections(1)'s form."
        ),
    ] = None,
    sysroot: Sysroot = None,
    stateroot: Stateroot = None,
    dry_run: DryRun = False,
    cache_only: CacheOnly = False,
    download_only: DownloadOnly = False,
    recommends: Recommends = None,
    allow_inactive: Annotated[
        bool, typer.Option("--allow-inactive", help="Record a request that the base fulfils by itself.")
    ] = False,
    idempotent: Annotated[
        bool, typer.Option("--idempotent", help="Accepted for rpm-ostree's sake: always so.")
    ] = False,
    unchanged_exit_77: Unchanged = False,
    wait: Wait = False,
    wait_timeout: WaitTimeout = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Lay packages over the base, in a new deployment.

    Example: apt-ostree install vim ./vendor-agent_1.0_amd64.deb
    """
    from ..ops import packages as operation
    from ..ops.layer import Options

    _take(as_json=as_json)
    settings = _settings(sysroot, stateroot, dry_run, wait, wait_timeout)
    options = Options(cache_only, download_only, recommends, allow_inactive, operation.answers(answers))
    result = _with_reporter(
        quiet,
        verbose,
        lambda reporter: operation.install(settings, packages, options, reporter, uninstall or ()),
    )
    _show(result, unchanged_exit_77)


@app.command()
def uninstall(
    packages: Annotated[list[str] | None, typer.Argument(metavar="PKG...", help="Requested packages.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Drop every request.")] = False,
    sysroot: Sysroot = None,
    stateroot: Stateroot = None,
    dry_run: DryRun = False,
    idempotent: Annotated[bool, typer.Option("--idempotent", help="Accepted for rpm-ostree's sake.")] = False,
    unchanged_exit_77: Unchanged = False,
    wait: Wait = False,
    wait_timeout: WaitTimeout = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Drop requested packages and what only they needed; works without a network.

    Example: apt-ostree uninstall vim
    """
    from ..ops import packages as operation

    _take(as_json=as_json)
    if bool(packages) == every:
        raise UsageError("name packages to uninstall, or --all")
    settings = _settings(sysroot, stateroot, dry_run, wait, wait_timeout)
    result = _with_reporter(
        quiet,
        verbose,
        lambda reporter: operation.uninstall(settings, packages or (), every, reporter),
    )
    render.outcome(result, as_json=common.as_json)
    _finish(result.changed, unchanged_exit_77)


@override_app.command("remove")
def override_remove(
    packages: Annotated[list[str], typer.Argument(metavar="PKG...", help="Names of base packages.")],
    installing: Annotated[
        list[str] | None, typer.Option("--install", metavar="PKG", help="Layer a package in the same step.")
    ] = None,
    sysroot: Sysroot = None,
    stateroot: Stateroot = None,
    dry_run: DryRun = False,
    cache_only: CacheOnly = False,
    unchanged_exit_77: Unchanged = False,
    wait: Wait = False,
    wait_timeout: WaitTimeout = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Leave packages of the base out.

    Example: apt-ostree override remove exim4-base --install postfix
    """
    from ..ops import packages as operation
    from ..ops.layer import Options

    _take(as_json=as_json)
    settings = _settings(sysroot, stateroot, dry_run, wait, wait_timeout)
    result = _with_reporter(
        quiet,
        verbose,
        lambda reporter: operation.override_remove(settings, packages, installing or (), Options(cache_only), reporter),
    )
    _show(result, unchanged_exit_77)


@override_app.command("replace")
def override_replace(
    packages: Annotated[list[str], typer.Argument(metavar="PKG...", help="NAME=VERSION, NAME/SUITE or ./FILE.deb")],
    sysroot: Sysroot = None,
    stateroot: Stateroot = None,
    dry_run: DryRun = False,
    cache_only: CacheOnly = False,
    unchanged_exit_77: Unchanged = False,
    wait: Wait = False,
    wait_timeout: WaitTimeout = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Replace packages of the base by other versions.

    Example: apt-ostree override replace ./openssl_3.5.1-1+deb13u2_amd64.deb
    """
    from ..ops import packages as operation
    from ..ops.layer import Options

    _take(as_json=as_json)
    settings = _settings(sysroot, stateroot, dry_run, wait, wait_timeout)
    result = _with_reporter(
        quiet,
        verbose,
        lambda reporter: operation.override_replace(settings, packages, Options(cache_only), reporter),
    )
    _show(result, unchanged_exit_77)


@override_app.command("reset")
def override_reset(
    packages: Annotated[list[str] | None, typer.Argument(metavar="PKG...", help="Overridden packages.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Reset every override.")] = False,
    sysroot: Sysroot = None,
    stateroot: Stateroot = None,
    dry_run: DryRun = False,
    unchanged_exit_77: Unchanged = False,
    wait: Wait = False,
    wait_timeout: WaitTimeout = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Give packages back as the base has them; works without a network.

    Example: apt-ostree override reset --all
    """
    from ..ops import packages as operation

    _take(as_json=as_json)
    if bool(packages) == every:
        raise UsageError("name packages to reset, or --all")
    settings = _settings(sysroot, stateroot, dry_run, wait, wait_timeout)
    result = _with_reporter(
        quiet,
        verbose,
        lambda reporter: operation.override_reset(settings, packages or (), every, reporter),
    )
    _show(result, unchanged_exit_77)


def _show(result: Any, unchanged_exit_77: bool) -> None:
    render.outcome(result, as_json=common.as_json)
    _finish(result.changed, unchanged_exit_77)


@app.command()
def rollback(
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="INDEX|CHECKSUM", help="That deployment rather than the previous one."),
    ] = None,
    sysroot: Sysroot = None,
    stateroot: Stateroot = None,
    dry_run: DryRun = False,
    unchanged_exit_77: Unchanged = False,
    wait: Wait = False,
    wait_timeout: WaitTimeout = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Boot the previous deployment next, with its own /etc; a second rollback undoes the first.

    Example: apt-ostree rollback
    """
    from ..ops import deployments

    _take(as_json=as_json)
    settings = _settings(sysroot, stateroot, dry_run, wait, wait_timeout)
    result = _with_reporter(quiet, verbose, lambda reporter: deployments.rollback(settings, to, reporter))
    _done(result, unchanged_exit_77)


@app.command()
def initramfs(
    enable: Annotated[
        bool | None, typer.Option("--enable/--disable", help="Make it here, or take the image's again.")
    ] = None,
    arguments: Annotated[
        list[str] | None, typer.Option("--arg", metavar="ARG", help="A further argument for dracut.")
    ] = None,
    sysroot: Sysroot = None,
    stateroot: Stateroot = None,
    dry_run: DryRun = False,
    unchanged_exit_77: Unchanged = False,
    wait: Wait = False,
    wait_timeout: WaitTimeout = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Make the initramfs on this machine, from the tree's own configuration; alone, say whether that is so.

    Example: apt-ostree initramfs --enable --arg=--add --arg=crypt
    """
    from ..ops import initramfs as operation

    _take(as_json=as_json)
    settings = _settings(sysroot, stateroot, dry_run, wait, wait_timeout)
    if enable is None:
        if arguments:
            raise UsageError("--arg goes with --enable")
        render.initramfs(operation.state(settings), as_json=common.as_json)
        return
    chosen = enable
    result = _with_reporter(
        quiet, verbose, lambda reporter: operation.configure(settings, chosen, arguments or (), reporter)
    )
    _show(result, unchanged_exit_77)


@app.command("initramfs-etc")
def initramfs_etc(
    track: Annotated[
        list[str] | None, typer.Option("--track", metavar="FILE", help="Ship this file of /etc, too.")
    ] = None,
    untrack: Annotated[list[str] | None, typer.Option("--untrack", metavar="FILE", help="Ship it no more.")] = None,
    untrack_all: Annotated[bool, typer.Option("--untrack-all", help="Ship none.")] = False,
    sysroot: Sysroot = None,
    stateroot: Stateroot = None,
    dry_run: DryRun = False,
    unchanged_exit_77: Unchanged = False,
    wait: Wait = False,
    wait_timeout: WaitTimeout = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Ship files of this machine's /etc in an initramfs beside the image's; alone, list them.

    Example: apt-ostree initramfs-etc --track /etc/crypttab
    """
    from ..ops import initramfs as operation

    _take(as_json=as_json)
    settings = _settings(sysroot, stateroot, dry_run, wait, wait_timeout)
    if not (track or untrack or untrack_all):
        render.initramfs(operation.state(settings), as_json=common.as_json)
        return
    result = _with_reporter(
        quiet,
        verbose,
        lambda reporter: operation.track(settings, track or (), untrack or (), untrack_all, reporter),
    )
    _show(result, unchanged_exit_77)


@app.command()
def cleanup(
    pending: Annotated[bool, typer.Option("-p", "--pending", help="Pending deployments.")] = False,
    previous: Annotated[bool, typer.Option("-r", "--rollback", help="Rollback deployments.")] = False,
    base: Annotated[bool, typer.Option("-b", "--base", help="The work area and unused cached packages.")] = False,
    metadata: Annotated[bool, typer.Option("-m", "--repomd", help="apt's lists.")] = False,
    sysroot: Sysroot = None,
    stateroot: Stateroot = None,
    dry_run: DryRun = False,
    unchanged_exit_77: Unchanged = False,
    wait: Wait = False,
    wait_timeout: WaitTimeout = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Remove what is not needed: pending or rollback deployments, caches, lists.

    Example: apt-ostree cleanup -b -m
    """
    from ..ops import deployments

    _take(as_json=as_json)
    if not (pending or previous or base or metadata):
        raise UsageError("say what to clean up: -p, -r, -b or -m")
    settings = _settings(sysroot, stateroot, dry_run, wait, wait_timeout)
    parts = deployments.Parts(pending, previous, base, metadata)
    result = _with_reporter(quiet, verbose, lambda reporter: deployments.cleanup(settings, parts, reporter))
    _done(result, unchanged_exit_77)


def _done(result: Any, unchanged_exit_77: bool) -> None:
    if common.as_json:
        deployment = result.deployment.id if result.deployment else None
        render.document(
            {
                "changed": result.changed,
                "dry-run": result.dry_run,
                "message": result.message,
                "deployment": deployment,
            }
        )
    else:
        render.line(result.message)
    _finish(result.changed, unchanged_exit_77)


@db_app.command("list")
def db_list(
    revisions: Annotated[
        list[str] | None,
        typer.Argument(metavar="[REV...]", help="A ref, a checksum, or a deployment's index."),
    ] = None,
    sysroot: Sysroot = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything dpkg knows of each package, as JSON.")] = False,
) -> None:
    """List the packages of a commit.

    Example: apt-ostree db list 0
    """
    from ..ops import query

    _take(sysroot=sysroot, as_json=as_json)
    if common.as_json:
        found = query.db_details(common.sysroot, revisions or ())
        render.document(
            {"commits": [{"checksum": c, "packages": render.details_json(details)} for c, details in found]}
        )
        return
    listed = query.db_list(common.sysroot, revisions or ())
    for commit, packages in listed:
        if len(listed) > 1:
            render.line(f"{commit}:")
        for package in packages:
            render.line(f"{package.name} {package.version} {package.architecture}")


@db_app.command("diff")
def db_diff(
    revisions: Annotated[
        list[str] | None,
        typer.Argument(metavar="[REV [REV]]", help="A ref, a checksum, or a deployment's index."),
    ] = None,
    sysroot: Sysroot = None,
    unchanged_exit_77: Unchanged = False,
    as_json: Json = False,
) -> None:
    """Show what packages two commits differ in: by default the booted and the pending one.

    Example: apt-ostree db diff 1 0
    """
    from ..ops import query

    _take(sysroot=sysroot, as_json=as_json)
    result = query.db_diff(common.sysroot, revisions or ())
    lines = render.change_lines(result.change)
    if common.as_json:
        render.document({"from": result.old, "to": result.new, "difference": render.change_json(result.change)})
    else:
        render.line(f"{result.old[:12]} -> {result.new[:12]}")
        for text in lines or ["No package differs."]:
            render.line(text)
    _finish(bool(lines), unchanged_exit_77)


@compose_app.command("tree")
def compose_tree(
    manifest: Annotated[Path, typer.Argument(metavar="MANIFEST", help="The TOML file that describes the image.")],
    repo: Annotated[
        Path,
        typer.Option("--repo", metavar="REPO", help="The repository to commit to; made where there is none."),
    ],
    dry_run: DryRun = False,
    no_parent: Annotated[bool, typer.Option("--no-parent", help="Commit without a parent.")] = False,
    add_metadata: Annotated[
        list[str] | None,
        typer.Option("--add-metadata", metavar="K=V", help="Further metadata of the commit."),
    ] = None,
    write_commitid_to: Annotated[
        Path | None,
        typer.Option("--write-commitid-to", metavar="FILE", help="Write the commit's checksum there."),
    ] = None,
    unchanged_exit_77: Unchanged = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Compose a base commit from a manifest.

    Example: apt-ostree compose tree --repo /srv/repo examples/debian-13-minimal.toml
    """
    from ..ops import compose

    _take(as_json=as_json)
    metadata = {}
    for item in add_metadata or ():
        key, separator, value = item.partition("=")
        if not key or not separator:
            raise UsageError(f"--add-metadata takes KEY=VALUE, not '{item}'")
        metadata[key] = value
    options = compose.TreeOptions(repo, dry_run, no_parent, metadata, write_commitid_to)
    result = _with_reporter(quiet, verbose, lambda reporter: compose.tree(manifest, options, reporter))
    if common.as_json:
        render.document(
            {
                "changed": result.changed,
                "dry-run": result.dry_run,
                "ref": result.ref,
                "commit": result.commit,
                "version": result.version,
                "packages": [render.package_json(package) for package in result.packages],
            }
        )
    elif result.dry_run:
        for package in result.packages:
            render.line(f"{package.name} {package.version} {package.architecture}")
        render.line(f"Would compose {result.ref}: version {result.version}, {len(result.packages)} packages.")
    elif result.changed:
        render.line(f"{result.ref} is {result.commit}: version {result.version}, {len(result.packages)} packages.")
    else:
        render.line(f"No change: {result.ref} has this very content already.")
    _finish(result.changed, unchanged_exit_77)


@compose_app.command("sysroot")
def compose_sysroot(
    ref: Annotated[str, typer.Argument(metavar="REF")],
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A directory that does not exist, or is empty.")],
    repo: Annotated[Path, typer.Option("--repo", metavar="REPO", help="The repository that holds REF.")],
    stateroot: Annotated[str, typer.Option("--stateroot", metavar="NAME")] = "debian",
    karg: Annotated[list[str] | None, typer.Option("--karg", metavar="ARG", help="A further kernel argument.")] = None,
    remote_url: Annotated[
        str | None, typer.Option("--remote-url", metavar="URL", help="Where the system gets its updates.")
    ] = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Make a sysroot directory with a ref deployed.

    Example: apt-ostree compose sysroot --repo /srv/repo debian/13/x86_64/minimal /mnt
    """
    from ..ops import compose

    _take(as_json=as_json)
    result = _with_reporter(
        quiet,
        verbose,
        lambda reporter: compose.make_sysroot(repo, ref, path, stateroot, karg or (), remote_url, reporter),
    )
    if common.as_json:
        render.document({"sysroot": str(result.path), "stateroot": result.stateroot, "commit": result.commit})
    else:
        render.line(f"{result.path} boots {result.ref} ({result.commit[:12]}).")


def main(arguments: list[str] | None = None) -> None:
    """Run one command and exit: 0 done, 1 failed, 2 usage, 77 nothing to do, 128+N on a signal."""
    words = sys.argv[1:] if arguments is None else arguments
    # A file opened later must not become our standard output.
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    # Until an operation takes over, ^C ends the process as it ends any other: the shell sees 130.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        for word in words:
            try:
                word.encode()
            except UnicodeEncodeError:
                shown = word.encode(errors="surrogateescape").decode(errors="backslashreplace")
                raise UsageError(f"the argument {shown} is not UTF-8") from None
        app(args=words, standalone_mode=True)
    except AptOstreeError as failure:
        render.error(failure, as_json=common.as_json)
        sys.exit(failure.exit_code)
    except BrokenPipeError:
        # The reader of our output is gone; nothing can be said to it.
        sys.exit(1)
    except OSError as failure:
        where = f": {failure.filename}" if failure.filename else ""
        render.error(AptOstreeError(f"{failure.strerror or failure}{where}"), as_json=common.as_json)
        sys.exit(1)


if __name__ == "__main__":
    main()
