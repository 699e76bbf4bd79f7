"""sources.list(5) of another system: parsed as apt parses it, checked, and written in one form of our own.

apt never reads such a file itself. Whatever names a file in it would be a file of the running system, and there are
many ways to write a name: comments inside of a field, blanks before a colon, %2f for a slash. So the values are taken
out of either form of the file, and each is written again so that apt can read it in one way only.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

ENTRIES = 1000
"""Components of suites in all files: apt takes a time that grows with the square of their number, and a stanza of a
few lines can make millions."""

LINE_MAX = 8192
"""Characters of a line, without its comment; a key in a stanza has many lines."""

_BLANK = " \t\n\v\f\r"
"""Blanks of isspace(3) in the locale C, which is apt's."""

_COMBINED = {"Architectures": "arch", "Languages": "lang", "Targets": "target"}
_FIELDS = {
    f"{name}{suffix}".lower(): f"{option}{sign}"
    for name, option in _COMBINED.items()
    for suffix, sign in (("", ""), ("-Add", "+"), ("-Remove", "-"))
} | {
    name: name
    for name in (
        "trusted", "check-valid-until", "valid-until-min", "valid-until-max", "check-date", "date-max-future",
        "snapshot", "signed-by", "pdiffs", "by-hash", "include", "exclude",
    )
}  # fmt: skip
"""Fields of a stanza -> the options of a line that mean the same. apt passes over other fields, as over others'."""

_LISTS = frozenset(f"{option}{sign}" for option in _COMBINED.values() for sign in ("", "+", "-"))
_OPTIONS = frozenset(_FIELDS.values()) | {
    "allow-insecure", "allow-weak", "allow-downgrade-to-insecure", "inrelease-path",
}  # fmt: skip

_SWITCH = re.compile(r"(?i)yes|no|true|false|with|without|on|off|enable|disable|0|1")

_VALUE = re.compile(r"[A-Za-z0-9 ._@,+:*?/~-]{1,1000}")

_SERVER = re.compile(
    r"//(?:[^/\[\]\x00-\x1f\x7f]{0,500}@)?(?:\[[0-9A-Fa-f:.]{2,50}\]|[^/@:\[\]\x00-\x20\x7f]{1,255})(?::[0-9]{0,5})?"
    r"(?:/[^\x00-\x1f\x7f]{0,2000})?"
)
"""A host, perhaps with credentials and a port, and a path: what a server redirects to is relative to the host."""

_HERE = re.compile(r"(?>(?://[^/\x00-\x1f\x7f]{0,255})?)(?P<path>/[^\x00-\x1f\x7f]{0,2000})")

LIST = "mirror+file"
"""The scheme of a source whose path is that of a list of mirrors in the target. apt fetches from what the list names,
with any method, so that it gets a list of our own; see ``read_mirrors``."""

_PLAIN = {
    "http": _SERVER, "https": _SERVER,
    # A directory of the system that fetches, whatever the target is: apt reads there as its unprivileged user.
    "file": _HERE, "copy": _HERE,
}  # fmt: skip
_SCHEMES = _PLAIN | {
    # apt-transport-tor(1), where that is installed.
    "tor+http": _SERVER, "tor+https": _SERVER,
    # A list that a server has: of its lines apt obeys those of servers alone.
    "mirror": _SERVER, "mirror+http": _SERVER, "mirror+https": _SERVER,
    LIST: _HERE,
}  # fmt: skip
"""All schemes that a source may have -> the form of what follows the colon.

apt starts the program that a scheme names, as root: its path is /usr/lib/apt/methods/ and all up to the first colon.
"""

SCHEMES = frozenset(_SCHEMES)

_MIRROR = re.compile(r"[!-~]{1,2000}")
_TAG = re.compile(r"[A-Za-z-]{1,100}:[A-Za-z0-9._+~/-]{1,500}")
"""Which requests a mirror is for (apt-transport-mirror(1))."""

_NAME = re.compile(r"[^\x00-\x20\x7f]{1,500}")
"""A suite or a component."""

_SAFE = frozenset(f"{string.ascii_letters}{string.digits}/:.,_+~=-".encode())
"""Bytes that mean themselves in a line, wherever they stand."""

_WORD = re.compile(rf'(?:"[^"]*"|\[[^\]]*\]|[^{_BLANK}"\[])+')
_ENCODED = re.compile(rb"%([0-9A-Fa-f]{2})")


class SyntaxProblem(ValueError):
    """A text that apt would refuse, or that has nothing to do in sources; its message names the line, and has nothing
    of it: the file may be any that a link leads to, and errors are in a journal that everybody reads."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"line {line}: {message}")


@dataclass(frozen=True, slots=True)
class Source:
    """What apt makes one entry of: a repository, one of its suites, and the parts of it that are wanted.

    ``line`` is where it begins; ``options`` have the names that they have in a file of lines.
    """

    line: int
    kind: str
    uri: str
    suite: str
    components: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def entries(self) -> int:
        """How many apt makes of it."""
        return max(1, len(self.components))


def read(text: str, *, deb822: bool, room: int = ENTRIES) -> list[Source]:
    """The sources that a file holds and that are enabled: of stanzas (deb822(5)) or of lines. Raises SyntaxProblem,
    also where they make more than ``room`` entries."""
    found: list[Source] = []
    for source in _of_stanzas(text) if deb822 else _of_lines(text):
        room -= source.entries
        if room < 0:
            raise SyntaxProblem(source.line, f"the files have more than {ENTRIES} sources")
        found.append(_checked(source))
    return found


def render(sources: Sequence[Source]) -> str:
    """A file of lines with these sources, each on its own line or below it; nothing in it has a second meaning."""
    lines: list[str] = []
    for source in sources:
        options = [f"{name}={quote(value)}" for name, value in source.options.items()]
        words = [source.kind, *([f"[{' '.join(options)}]"] if options else []), quote(source.uri), quote(source.suite)]
        # apt names a line in its messages.
        lines += [""] * (source.line - 1 - len(lines))
        lines.append(" ".join([*words, *map(quote, source.components)]))
    return "".join(f"{line}\n" for line in lines)


def quote(text: str) -> str:
    """A word that apt reads as ``text``, whatever that holds."""
    return "".join(chr(byte) if byte in _SAFE else f"%{byte:02x}" for byte in text.encode(errors="surrogateescape"))


def read_mirrors(text: str) -> list[str]:
    """The lines of a list of mirrors, in one form: a URI, and behind a tab what the mirror is for
    (apt-transport-mirror(1)). Raises SyntaxProblem."""
    found: list[str] = []
    for number, line in enumerate(text.split("\n"), 1):
        uri, _, rest = line.rstrip(_BLANK).partition("\t")
        tags = _words(rest)
        if (not uri and not tags) or uri.startswith("#"):
            continue
        scheme, _, place = uri.partition(":")
        if not _MIRROR.fullmatch(uri) or not (scheme in _PLAIN and _PLAIN[scheme].fullmatch(place)):
            raise SyntaxProblem(number, f"a mirror is a URI that begins with {_either(_PLAIN)}")
        if not all(map(_TAG.fullmatch, tags)):
            raise SyntaxProblem(number, "what follows a mirror's URI has the form NAME:VALUE")
        if len(found) == ENTRIES or len(line) > LINE_MAX:
            raise SyntaxProblem(number, "the list of mirrors is too long")
        found.append("\t".join([copied(uri), *([" ".join(tags)] if tags else [])]))
    return found


def copied(uri: str) -> str:
    """The URI with which apt gets the same, and keeps a copy of it.

    Of a ``file:`` source apt keeps links to plain indexes and reads .debs in their place: whoever can write there could
    exchange them after they were verified.
    """
    scheme, colon, place = uri.partition(":")
    return f"copy{colon}{place}" if scheme == "file" else uri


def path_of_list(uri: str) -> str | None:
    """The path, as it is written in a URI, of a list of mirrors that is a file; None for other URIs."""
    scheme, _, place = uri.partition(":")
    match = _HERE.fullmatch(place) if scheme == LIST else None
    return match["path"] if match else None


def _either(schemes: Iterable[str]) -> str:
    first, *more = (f"{scheme}:" for scheme in schemes)
    return f"{', '.join([first, *more[:-1]])} or {more[-1]}"


def _unquoted(word: str) -> str:
    plain = word.replace('"', "").encode(errors="surrogateescape")
    decoded = _ENCODED.sub(lambda match: bytes([int(match[1], 16)]), plain)
    return decoded.decode(errors="surrogateescape")


def _checked(source: Source) -> Source:
    scheme, _, place = source.uri.partition(":")
    if scheme not in _SCHEMES:
        raise SyntaxProblem(source.line, f"the URI does not begin with {_either(_SCHEMES)}")
    if not _SCHEMES[scheme].fullmatch(place):
        raise SyntaxProblem(source.line, "the URI does not name a server or an absolute path")
    for name in (source.suite, *source.components):
        if not _NAME.fullmatch(name):
            raise SyntaxProblem(source.line, "a suite or a component is too long, or has a control character")
    if source.suite.endswith("/") and source.components:
        raise SyntaxProblem(source.line, "a suite that ends in / is a directory, which has no components")
    if not source.suite.endswith("/") and not source.components:
        raise SyntaxProblem(source.line, "the suite needs a component")
    if not _SWITCH.fullmatch(source.options.get("snapshot", "no")):
        # apt would take the whole URI, with any method, from what the archive says of itself.
        raise SyntaxProblem(source.line, "snapshot is not supported; write the URI of the snapshot itself")
    for name, value in source.options.items():
        # The form of signed-by is for who knows which files there are: it may hold a whole key.
        if name != "signed-by" and not _VALUE.fullmatch(value):
            raise SyntaxProblem(source.line, f"the value of {name} is not valid")
    return source


def _of_stanzas(text: str) -> Iterator[Source]:
    for begin, fields in _stanzas(text):
        if "types" not in fields:
            raise SyntaxProblem(begin, "the stanza has no Types")
        enabled = not _is_off(fields.get("enabled", ""))
        options = {
            option: ",".join(_words(fields[name])) if option in _LISTS else fields[name].strip(_BLANK)
            for name, option in _FIELDS.items()
            if name in fields
        }
        if not options.get("signed-by", "x"):
            del options["signed-by"]
        for kind in _words(fields["types"]):
            _check_kind(kind, begin)
            if not enabled:
                continue
            uris, suites = (_words(fields.get(name, "")) for name in ("uris", "suites"))
            if not uris or not suites:
                raise SyntaxProblem(begin, f"the stanza has no {'Suites' if uris else 'URIs'}")
            components = tuple(_words(fields.get("components", "")))
            for uri in uris:
                for suite in suites:
                    yield Source(begin, kind, uri, suite, components, options)


def _stanzas(text: str) -> Iterator[tuple[int, dict[str, str]]]:
    """The line on which each begins, and its fields by their names in lower case; the last of a name counts."""
    begin, name = 0, ""
    fields: dict[str, list[str]] = {}
    for number, line in enumerate([*text.split("\n"), ""], 1):
        if line.startswith("#"):
            # Comments may stand inside of a field: apt takes them out first.
            continue
        if not line.strip("\r"):
            if fields:
                yield begin, {key: "\n".join(lines) for key, lines in fields.items()}
            fields, name = {}, ""
        elif line[0] in _BLANK:
            if name:
                fields[name].append(line)
        else:
            before, colon, value = line.partition(":")
            name = before.rstrip(_BLANK).lower()
            if not colon or not name:
                raise SyntaxProblem(number, "it is not a field of the form NAME: VALUE")
            begin = begin if fields else number
            fields[name] = [value]


def _of_lines(text: str) -> Iterator[Source]:
    for number, line in enumerate(text.split("\n"), 1):
        rest = _without_comment(line).strip(" \t\r")
        if not rest:
            continue
        if len(rest) > LINE_MAX:
            raise SyntaxProblem(number, "it is too long")
        kind = re.split(r"[ \t\v]", rest, maxsplit=1)[0]
        _check_kind(kind, number)
        rest = rest[len(kind) :].lstrip(_BLANK)
        options: dict[str, str] = {}
        if rest.startswith("["):
            options, rest = _options(rest[1:], number)
        words = []
        while rest:
            word, rest = _next_word(rest, number)
            words.append(_unquoted(word))
        if len(words) < 2:
            raise SyntaxProblem(number, "a line has the form TYPE [OPTIONS] URI SUITE COMPONENT...")
        yield Source(number, kind, words[0], words[1], tuple(words[2:]), options)


def _without_comment(line: str) -> str:
    """The line up to a # that does not stand in options."""
    depth = 0
    for place, mark in enumerate(line):
        if mark == "#" and depth <= 0:
            return line[:place]
        depth += (mark == "[") - (mark == "]")
    return line


def _options(rest: str, number: int) -> tuple[dict[str, str], str]:
    """The options that begin a text, up to their closing bracket, and what follows it."""
    found: dict[str, str] = {}
    rest = rest.lstrip(_BLANK)
    while not rest.startswith("]"):
        word, rest = _next_word(rest, number)
        if word.endswith("]"):
            word, rest = word[:-1], f"]{rest}"
        name, _, value = _unquoted(word).partition("=")
        # An encoded bracket would end the options for apt, too, somewhere before.
        if not name or not value or "]" in value:
            raise SyntaxProblem(number, "an option has the form NAME=VALUE")
        if name in _OPTIONS:
            found[name] = value
    return found, rest[1:].lstrip(_BLANK)


def _next_word(rest: str, number: int) -> tuple[str, str]:
    match = _WORD.match(rest)
    if match is None or (match.end() < len(rest) and rest[match.end()] not in _BLANK):
        raise SyntaxProblem(number, "a quotation mark or a bracket is not closed, or a word is missing")
    return match[0], rest[match.end() :].lstrip(_BLANK)


def _check_kind(kind: str, line: int) -> None:
    if kind not in {"deb", "deb-src"}:
        raise SyntaxProblem(line, "the type of a source is deb or deb-src")


def _words(value: str) -> list[str]:
    return [word for word in re.split(rf"[{_BLANK}]+", value) if word]


def _is_off(value: str) -> bool:
    return re.fullmatch(r"(?i)no|false|without|off|disable|0+", value.strip(_BLANK)) is not None
