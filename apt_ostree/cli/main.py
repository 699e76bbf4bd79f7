"""The command line: parses words, calls one operation, shows its result, and sets the exit status."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from typing import Annotated, Any

import typer

from .. import __version__
from ..errors import AptOstreeError, OutputError, UnexpectedError, UsageError
from . import failure, streams
from .command import DEBUG_VARIABLE, app, only_named, root

# In the order in which --help lists the commands.
# isort: off
from . import deployments, packages, bases, kernel, history, archive, db, compose  # noqa: F401
# isort: on

# The parser's error for words that it cannot read; typer exports no name for the class.
_Misread: Any = typer.BadParameter.__mro__[1]


@root(app)
def program(
    context: typer.Context,
    verbose: bool,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version; with -v, also those of the tools.")
    ] = False,
) -> None:
    if version:
        _print_versions(tools=verbose)
        raise typer.Exit()
    if context.invoked_subcommand is None:
        context.fail("Missing command.")


def _print_versions(*, tools: bool) -> None:
    """Print the program's version and, if ``tools`` is set, a line for each tool."""
    streams.line(f"apt-ostree {__version__}")
    if tools:
        from ..ops import versions

        for found in versions.of_tools():
            streams.line(f"{found.tool} {found.version or '(not found)'}")


def main(arguments: list[str] | None = None) -> None:
    """Run one command and exit: 0 done, 1 failed, 2 usage, 77 nothing to do, 128+N on a signal."""
    streams.open_closed()
    words = sys.argv[1:] if arguments is None else arguments
    # Errors before the command runs need to know it, too.
    as_json = "--json" in words
    debug = "--debug" in words or os.environ.get(DEBUG_VARIABLE) == "1"
    # What is committed must not depend on the caller.
    os.umask(0o022)
    # Until an operation takes over, ^C ends the process as it ends any other: the shell sees 130.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        for word in words:
            try:
                word.encode()
            except UnicodeEncodeError:
                shown = word.encode(errors="surrogateescape").decode(errors="backslashreplace")
                raise UsageError(f"the argument {shown} is not UTF-8") from None
        status = only_named(app, words)(args=words or ["--help"], prog_name="apt-ostree", standalone_mode=False) or 0
        streams.finish()
        sys.exit(status)
    except _Misread as error:
        failure.show(failure.misread(error), as_json=as_json)
        sys.exit(UsageError.exit_code)
    except AptOstreeError as error:
        if isinstance(error, UnexpectedError) and debug:
            failure.trace(error)
        # A reader of a list may have seen enough of it.
        if not (isinstance(error.__cause__, BrokenPipeError) and error.resolution == OutputError.default_resolution):
            failure.show(error, as_json=as_json)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The help; nobody reads it any longer, and there is no one to tell.
        with suppress(OutputError):
            streams.finish()
        sys.exit(1)
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        failure.show(AptOstreeError(f"{error.strerror or error}{where}"), as_json=as_json)
        with suppress(OutputError):
            streams.finish()
        sys.exit(1)
    except Exception as error:
        if debug:
            failure.trace(error)
        failure.show(UnexpectedError(error), as_json=as_json)
        sys.exit(UnexpectedError.exit_code)


if __name__ == "__main__":
    main()
