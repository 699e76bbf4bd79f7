"""A command: its own parameters, and the options that many commands share, stated here once."""

from __future__ import annotations

import copy
import functools
import inspect
import itertools
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from typer.models import CommandInfo

from ..errors import OutputError, ToolError, UsageError
from . import progress, results

if TYPE_CHECKING:
    from ..ops.apply import Applied
    from ..ops.deployments import Done
    from ..ops.goal import Options
    from ..ops.intents import IntentEdit
    from ..ops.kernel_args import Changed
    from ..ops.layer import Outcome
    from ..ops.transaction import Settings
    from ..reporter import Reporter

DEBUG_VARIABLE = "APT_OSTREE_DEBUG"
"""Set to 1, it traces as --debug does."""

UNCHANGED = 77
"""The exit status for "nothing to do", if that was asked for."""

T = TypeVar("T")

app = typer.Typer(
    name="apt-ostree",
    help="Layer Debian packages on OSTree systems, atomically, without a daemon.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def group(name: str, text: str, example: str) -> typer.Typer:
    """A command that only has commands below it; ``example`` is one of them."""
    made = typer.Typer(help=f"{text}\n\nExample: apt-ostree {name} {example}", rich_markup_mode=None)
    app.add_typer(made, name=name)
    return made


def only_named(program: typer.Typer, words: Sequence[str]) -> typer.Typer:
    """A program with no other commands than those that a word names. With all of them for the help, and where the
    first word is neither a command nor an option, since the error names similar ones.

    typer builds each option of each command, which takes a tenth of a second at every start.
    """
    commands = [info for info in program.registered_commands if _name(info) in words]
    groups = [info for info in program.registered_groups if info.name in words]
    named = {*map(_name, commands), *(info.name for info in groups)}
    for_help = any(word.startswith("-") and "h" in word for word in words)
    if not named or for_help or not (words[0] in named or words[0].startswith("-")):
        return program
    narrowed = copy.copy(program)
    narrowed.registered_commands, narrowed.registered_groups = commands, groups
    return narrowed


def _name(info: CommandInfo) -> str:
    return info.name or (info.callback.__name__ if info.callback is not None else "")


@dataclass(frozen=True, slots=True)
class Call:
    """The shared options of one command line. Those that a command does not take keep their defaults."""

    sysroot: Path = Path("/")
    stateroot: str | None = None
    quiet: bool = False
    verbose: bool = False
    debug: bool = False
    as_json: bool = False
    dry_run: bool = False
    unchanged_exit_77: bool = False
    wait: bool = False
    wait_timeout: float | None = None
    reboot: bool = False
    progress_fd: int | None = None
    cache_only: bool = False
    download_only: bool = False
    recommends: bool | None = None
    idempotent: bool = False

    def __post_init__(self) -> None:
        if self.download_only and self.reboot:
            raise UsageError("--download-only and --reboot cannot be combined")

    @property
    def lenient(self) -> bool:
        """True if dropping something that is already gone is not an error."""
        return self.idempotent or self.unchanged_exit_77

    def edit(self, installing: Sequence[str] | None, uninstalling: Sequence[str] | None) -> IntentEdit:
        """The edit for an operation that changes requests. Raises NotRootError before it reads any file."""
        from ..ops.intents import IntentEdit
        from ..ops.transaction import require_root

        require_root()
        return IntentEdit.of(installing or (), uninstalling or (), self.recommends, lenient=self.lenient)

    @property
    def settings(self) -> Settings:
        """The settings for an operation on this sysroot."""
        from ..ops.transaction import AS_CONFIGURED, Settings

        seconds = self.wait_timeout if self.wait_timeout is not None else None if self.wait else AS_CONFIGURED
        return Settings(self.sysroot, self.stateroot, self.dry_run, seconds, self.reboot)

    def options(self, **more: Any) -> Options:
        """The options for an operation that resolves packages."""
        from ..ops.goal import Options

        return Options(self.cache_only, self.download_only, self.recommends, **more)

    def perform(self, work: Callable[[Reporter], T]) -> T:
        """Run an operation, and show its events as the options say."""
        chosen = progress.reporter(
            quiet=self.quiet, verbose=self.verbose, debug=self.debug, progress_fd=self.progress_fd
        )
        try:
            return work(chosen)
        finally:
            chosen.close()

    def show(self, result: Outcome | Applied | Done | Changed) -> None:
        """Print the result of an operation, reboot if that was asked for, and set the exit status."""
        unwritten: OutputError | None = None
        try:
            with self.telling(results.truth(result)):
                results.show(result, as_json=self.as_json)
        except OutputError as error:
            unwritten = error
        if self.reboot and result.deployment is not None and result.changed and not result.dry_run:
            from ..ops.transaction import reboot

            reboot()
        if unwritten is not None:
            raise unwritten
        self.finish(changed=result.changed)

    @contextmanager
    def telling(self, done: str) -> Iterator[None]:
        """Run the block, which prints a result; if it cannot, the error says what was ``done``."""
        try:
            yield
        except OutputError as error:
            error.resolution = done or error.resolution
            raise

    def finish(self, *, changed: bool) -> None:
        """Exit with UNCHANGED if nothing has changed and that was asked for."""
        if not changed and self.unchanged_exit_77:
            raise typer.Exit(UNCHANGED)


def _file(text: str) -> Path:
    # For pathlib, an empty word is the current directory.
    if not text:
        raise typer.BadParameter("the file name is empty")
    return Path(text)


def file_argument(metavar: str, text: str) -> Any:
    """A file as an argument of a command."""
    return typer.Argument(metavar=metavar, parser=_file, help=text)


def file_option(name: str, metavar: str, text: str) -> Any:
    """A file as the value of an option."""
    return typer.Option(name, metavar=metavar, parser=_file, help=text)


def _seconds(value: float | None) -> float | None:
    # NaN is never less than anything: it would wait forever.
    if value is not None and math.isnan(value):
        raise typer.BadParameter("it is not a number")
    return value


def _parameter(name: str, annotation: Any, default: Any = False) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


_SHARED = {
    option.name: option
    for option in (
        _parameter(
            "sysroot",
            Annotated[
                Path | None, typer.Option("--sysroot", metavar="PATH", help="The sysroot to work on (default: /).")
            ],
            None,
        ),
        _parameter(
            "stateroot",
            Annotated[
                str | None,
                typer.Option(
                    "--stateroot", "--os", metavar="NAME", help="The operating system in it (default: the booted one)."
                ),
            ],
            None,
        ),
        _parameter(
            "dry_run",
            Annotated[bool, typer.Option("-n", "--dry-run", help="Only print what would change.")],
        ),
        _parameter(
            "unchanged_exit_77",
            Annotated[bool, typer.Option("--unchanged-exit-77", help="Exit with status 77 if there is nothing to do.")],
        ),
        _parameter("wait", Annotated[bool, typer.Option("--wait", help="Wait for a running transaction to finish.")]),
        _parameter(
            "wait_timeout",
            Annotated[
                float | None,
                typer.Option(
                    "--wait-timeout",
                    metavar="SECONDS",
                    min=0,
                    callback=_seconds,
                    help="Wait at most this many seconds.",
                ),
            ],
            None,
        ),
        _parameter("reboot", Annotated[bool, typer.Option("-r", "--reboot", help="Reboot into the new deployment.")]),
        _parameter(
            "progress_fd",
            Annotated[
                int | None,
                typer.Option(
                    "--progress-fd",
                    metavar="N",
                    min=1,
                    help="Write progress to this file descriptor, as lines of JSON.",
                ),
            ],
            None,
        ),
        _parameter(
            "cache_only",
            Annotated[bool, typer.Option("-C", "--cache-only", help="Use only cached data, no network.")],
        ),
        _parameter(
            "download_only",
            Annotated[bool, typer.Option("-D", "--download-only", help="Only download and import packages.")],
        ),
        _parameter(
            "recommends",
            Annotated[
                bool | None,
                typer.Option(
                    "--recommends/--no-recommends",
                    help="Also install recommended packages (default: the target's apt setting).",
                ),
            ],
            None,
        ),
        _parameter(
            "idempotent",
            Annotated[
                bool, typer.Option("--idempotent", help="Succeed even if a package is not requested or overridden.")
            ],
        ),
        _parameter("quiet", Annotated[bool, typer.Option("-q", "--quiet", help="Print only results and errors.")]),
        _parameter(
            "verbose",
            Annotated[bool, typer.Option("-v", "--verbose", help="More detail; also show what package scripts print.")],
        ),
        _parameter(
            "debug",
            Annotated[
                bool,
                typer.Option(
                    "--debug",
                    envvar=DEBUG_VARIABLE,
                    show_envvar=False,
                    help=f"Trace child processes and decisions on stderr (also {DEBUG_VARIABLE}=1).",
                ),
            ],
        ),
        _parameter("as_json", Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]),
    )
}

WHERE = ("sysroot", "stateroot")
TELLING = ("quiet", "verbose", "debug", "as_json")
LOOKING = (*WHERE, *TELLING)
"""Options of every question about a sysroot."""
CHANGING = (*WHERE, "dry_run", "unchanged_exit_77", "wait", "wait_timeout", "progress_fd", *TELLING)
"""Options of every command that changes a sysroot."""
DEPLOYING = ("reboot", *CHANGING)
"""Options of every command after which something else may boot."""
EDITING = ("idempotent", *DEPLOYING)
"""Options of every command that drops something by its name."""
RESOLVING = ("cache_only", "download_only", "recommends", *DEPLOYING)
"""Options of every command that may add packages."""
EARLY = ("sysroot", "stateroot", "quiet", "verbose", "debug")
"""Options that are accepted before the command, too; those after it win."""


def command(
    parent: typer.Typer, options: tuple[str, ...] = (), name: str | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a function a command of ``parent``: it gets a Call with the shared ``options`` first, then its own
    parameters as typer reads them."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]

        @functools.wraps(function)
        def run(context: typer.Context, **values: Any) -> None:
            early = context.find_root().obj
            said = {option: value for option in options if (value := values.pop(option)) is not None}
            before = {option: early[option] for option in EARLY if early.get(option) and not said.get(option)}
            call = Call(**{**said, **before})
            if not os.path.isdir("/proc/self/fd"):
                raise ToolError(
                    "/proc is not mounted",
                    "apt-ostree, and the tools that it calls, look there for processes, mounts and open files",
                    "Mount it, and run the command again: mount -t proc proc /proc",
                )
            _trace(call.debug)
            _check_switches(context.command.params, sys.argv[1:])
            function(call, **values)

        parent.command(name)(_with_parameters(run, own, options))
        return function

    return register


def _check_switches(parameters: Sequence[Any], words: Sequence[str]) -> None:
    """Refuse both sides of a switch, of which the parser would take the later one. Raises UsageError."""
    said = set(itertools.takewhile(lambda word: word != "--", words))
    for parameter in parameters:
        if said.intersection(parameter.opts) and said.intersection(parameter.secondary_opts):
            raise UsageError(f"{parameter.opts[0]} and {parameter.secondary_opts[0]} cannot be combined")


def _with_parameters(
    function: Callable[..., None], own: list[inspect.Parameter], options: tuple[str, ...]
) -> Callable[..., None]:
    """typer reads a command's options from its signature."""
    parameters = [
        _parameter("context", typer.Context, inspect.Parameter.empty),
        *(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own),
        *(_SHARED[option] for option in options),
    ]
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    function.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return function


def _trace(debug: bool) -> None:
    if debug:
        from . import trace

        trace.begin()


def root(parent: typer.Typer) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a function the program itself: it gets the context and ``verbose``, then its own parameters. It runs
    before the command does, and the options that may come before a command are its own, too."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        own = list(inspect.signature(function, eval_str=True).parameters.values())[2:]

        @functools.wraps(function)
        def run(context: typer.Context, **values: Any) -> None:
            context.obj = {option: values.pop(option) for option in EARLY}
            _trace(context.obj["debug"])
            function(context, context.obj["verbose"], **values)

        parent.callback(invoke_without_command=True)(_with_parameters(run, own, EARLY))
        return function

    return register
