"""The errors a user can meet. Each is three parts: what failed, the detail, what to do next.

The exit status stands on the class; one place, the command line, catches them.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping

_WORD = re.compile(r"[^/\s]+")
"""What the user and password of a URI are a part of, with the host: all before the first slash (RFC 3986, 3.2.1)."""

_NAME = re.compile(r"[^:'\"@]+")
_BEGIN = re.compile(r"[<(=]")
"""What a user's name can have before it in a sentence, besides a quote or another colon."""


def redact(text: str) -> str:
    """``text`` without the user names and passwords that its URIs hold; archives and proxies may need some. A slash or
    a colon of a URI may be missing: apt obeys that or shows it in its messages.

    Every error, log and record goes through here: the time that it takes grows with the length of ``text`` alone.
    """
    return _without(text, "***@")


def without_credentials(uri: str) -> str:
    """A URI without its user name and password, for everybody to use."""
    return _without(uri, "")


def _without(text: str, instead: str) -> str:
    if "@" not in text:
        return text

    def hide(match: re.Match[str]) -> str:
        word = match[0]
        before, at, host = word.rpartition("@")
        begin = 0 if text.endswith("//", 0, match.start()) else _begin(before)
        return word if begin is None or not at else word[:begin] + instead + host

    return _WORD.sub(hide, text)


def _begin(word: str) -> int | None:
    """Where the first name in a word begins that a colon follows; None where there is none."""
    for name in _NAME.finditer(word):
        begin, end = name.span()
        # Not the host of what ended with an "@", unless something in it begins a name.
        if begin and word[begin - 1] == "@":
            inner = _BEGIN.search(word, begin, end)
            begin = inner.end() if inner else end
        if begin < end and word.startswith(":", end):
            return begin
    return None


class AptOstreeError(Exception):
    """An operation failed and changed nothing.

    ``brief`` is one line; ``detail`` may have many (a child's last lines); ``resolution`` says what the
    user can do about it. ``id`` is stable, for programs that read the JSON form.
    """

    id = "failed"
    exit_code = 1
    default_resolution = ""
    """For errors whose place knows no better advice."""

    def __init__(self, brief: str, detail: str = "", resolution: str = "") -> None:
        self.brief = redact(brief)
        self.detail = redact(detail)
        self.resolution = redact(resolution) or self.default_resolution
        super().__init__(self.brief)

    def replace_path(self, shown: str, own: str) -> None:
        """Call a path by its own name, of which another was shown to those who failed."""
        self.brief, self.detail, self.resolution = (
            text.replace(shown, own) for text in (self.brief, self.detail, self.resolution)
        )


class UsageError(AptOstreeError):
    """The command line or an input file asks for something that cannot be done. Exit 2."""

    id = "usage"
    exit_code = 2
    default_resolution = "Nothing was changed. See the --help of the command."


class ManifestError(UsageError):
    """A manifest has an unknown key, a value of the wrong type, or cannot be read."""

    id = "manifest"


class HostFileError(UsageError):
    """A file for ``apply`` has an unknown key, a value of the wrong type, or cannot be read."""

    id = "host-file"


class ConfigError(UsageError):
    """The configuration has an unknown key or a value that is not allowed."""

    id = "configuration"


class NotRootError(AptOstreeError):
    """A command that changes a system was run by another user than root."""

    id = "not-root"


class SysrootError(AptOstreeError):
    """The path is not an OSTree system, or holds nothing to work on."""

    id = "sysroot"


class LockedError(AptOstreeError):
    """Another transaction holds the sysroot."""

    id = "locked"


class CancelError(AptOstreeError):
    """The transaction in progress cannot be stopped: nobody knows whose it is."""

    id = "cancel"


class JournalError(AptOstreeError):
    """The journal of transactions cannot be read."""

    id = "journal"


class ChangedError(AptOstreeError):
    """The deployments changed while the transaction ran; nothing was published."""

    id = "changed"


class ResolveError(AptOstreeError):
    """apt finds no set of packages that satisfies the request over this base."""

    id = "resolve"


class UnavailableError(ResolveError):
    """No archive has some of the packages that were asked for: ``problems`` says why for each name."""

    id = "unavailable"

    def __init__(self, problems: Mapping[str, str], resolution: str = "Nothing was changed.") -> None:
        told = "\n".join(problems.values())
        if len(problems) == 1:
            super().__init__(told, resolution=resolution)
        else:
            super().__init__(f"cannot find {', '.join(problems)}", told, resolution)
        self.problems = problems


class RemoteError(AptOstreeError):
    """A remote is unknown, cannot be reached, or does not hold what was asked for, signed by its key."""

    id = "remote"


class DownloadError(AptOstreeError):
    """A package or an index could not be fetched or is not what the archive signed."""

    id = "download"


class PackageError(AptOstreeError):
    """A .deb is damaged, or holds something that an OSTree commit cannot."""

    id = "package"


class ScriptError(AptOstreeError):
    """A maintainer script, or dpkg itself, failed in the sandbox."""

    id = "script"


class SpaceError(AptOstreeError):
    """Too little free space to write what the operation needs."""

    id = "space"


class TreeError(AptOstreeError):
    """A tree breaks the layout that a booted system relies on; it is not published."""

    id = "tree"


class ToolError(AptOstreeError):
    """An outside tool failed in a way no module turned into something more precise."""

    id = "tool"
    default_resolution = "The command can be run again. To see the deployments: apt-ostree status"


class OutputError(AptOstreeError):
    """What a command found or did cannot be written to standard output; the resolution says what was done."""

    id = "output"
    default_resolution = "Nothing was changed."

    def __init__(self, error: OSError, resolution: str = "") -> None:
        super().__init__("cannot write the output", error.strerror or str(error), resolution)


class UnexpectedError(AptOstreeError):
    """Something happened that the program does not know: a mistake in it."""

    id = "unexpected"

    def __init__(self, error: Exception, transaction: str = "", traceback: str = "") -> None:
        """``traceback`` is the file in which it was written down; empty where it was not."""
        told = " ".join(str(error).split())
        lines = [f"transaction: {transaction}"] if transaction else []
        lines.append(f"traceback: {traceback}" if traceback else "its traceback was not written down")
        super().__init__(
            f"a mistake in apt-ostree: {type(error).__name__}{f': {told}' if told else ''}",
            "\n".join(lines),
            "To see the deployments: apt-ostree status. Please report this; --debug shows the traceback.",
        )


class Interrupted(AptOstreeError):
    """A signal ended the operation. Exit 128+N."""

    id = "interrupted"

    def __init__(self, signum: int) -> None:
        how = "Ctrl-C" if signum == signal.SIGINT else signal.Signals(signum).name
        super().__init__(f"interrupted ({how})", resolution="Nothing was changed; run it again.")
        self.exit_code = 128 + signum
