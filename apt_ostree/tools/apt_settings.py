"""apt.conf(5) of another system: read by a grammar of our own, and never by apt.

apt runs what some keys name (``Dir::Bin::dpkg``), and follows ``#include`` on the host, while it only reads its
configuration. So the target's files are parsed here. A short list of keys is taken over, each with a form that its
value must have, and what we write for apt goes through one function that refuses whatever could end a string.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import ToolError

INCLUDE_DEPTH = 10
"""Files that include each other; apt itself goes no deeper."""

STATEMENTS = 10_000
"""In all files, with those that they include, however often."""

KEY_MAX = 1000
"""Characters of a key, with the names of the blocks that it stands in."""

FILE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")
"""Names that apt reads in apt.conf.d and the like, with no extension or the one of the directory (apt.conf(5))."""

_SWITCH = re.compile(r"(?i)yes|no|true|false|with|without|on|off|enable|disable|0|1")
_NUMBER = re.compile(r"[0-9]{1,9}")
_PROXY = re.compile(r"(?i)DIRECT|(?:https?|ftp|socks5h)://[!#-\[\]-~]{1,1000}")
_WORDS = re.compile(r"[ !#-\[\]-~]{1,200}")
_RELEASE = re.compile(r"[A-Za-z0-9.+~/_*:=,-]{1,100}")
_PATH = re.compile(r"/[ !#-\[\]-~]{1,1000}")

_HOST = r"(?:::[A-Za-z0-9._-]{1,253})?"
"""Settings of a method may be for one host alone (apt-transport-http(1))."""

_TAKEN: tuple[tuple[str, re.Pattern[str]], ...] = (
    (r"Acquire::(?:http|https|ftp)::Proxy" + _HOST, _PROXY),
    (r"Acquire::(?:http|https|ftp)::(?:Timeout|Max-Age|Dl-Limit|Pipeline-Depth)" + _HOST, _NUMBER),
    (r"Acquire::https?::(?:No-Cache|No-Store|AllowRedirect|SendAccept)" + _HOST, _SWITCH),
    (r"Acquire::https?::User-Agent" + _HOST, _WORDS),
    (r"Acquire::https::(?:Verify-Peer|Verify-Host)" + _HOST, _SWITCH),
    (r"Acquire::https::(?:CaInfo|SslCert|SslKey|CrlFile)" + _HOST, _PATH),
    (r"Acquire::(?:Retries|Max-ValidTime|Min-ValidTime)", _NUMBER),
    (r"Acquire::Queue-Mode", re.compile(r"(?i)host|access")),
    (r"Acquire::By-Hash", re.compile(r"(?i)yes|no|force")),
    (r"Acquire::(?:Check-Valid-Until|Check-Date|PDiffs|ForceIPv4|ForceIPv6|EnableSrvRecords)", _SWITCH),
    (r"APT::Default-Release", _RELEASE),
    (r"APT::Install-(?:Recommends|Suggests)", _SWITCH),
    # Any other solver is a program: its name may be a path.
    (r"APT::Solver", re.compile(r"internal|3\.0")),
)
_FORMS = tuple((re.compile(rf"(?i){key}"), value) for key, value in _TAKEN)

_FILES = re.compile(r"(?i)Acquire::https::(?:CaInfo|SslCert|SslKey|CrlFile)(?:::|$)")

_KEY = re.compile(r"[A-Za-z0-9_./+-]+(?:::[A-Za-z0-9_./+-]+)*")
_VALUE = re.compile(r'[^"\\\x00-\x1f\x7f]*')


class SyntaxProblem(ValueError):
    """A text that apt would refuse; its message says why, and has nothing of the text: the file may be any that a link
    leads to, and errors are in a journal that everybody reads."""


def names_a_file(key: str) -> bool:
    """True for the settings whose value is the path of a file in the target."""
    return _FILES.match(key) is not None


def taken_over(settings: Mapping[str, str]) -> dict[str, str]:
    """Those settings of a target that decide what is fetched, from where and through what, each with a value of the
    form that it must have. Whatever names a program, or weakens how indexes are verified, stays behind."""
    return {
        key: value
        for key, value in settings.items()
        if any(name.fullmatch(key) and form.fullmatch(value) for name, form in _FORMS)
    }


def render(settings: Mapping[str, str], lists: Mapping[str, Sequence[str]] | None = None) -> str:
    """The text of an apt.conf(5) with these values, and no others, whatever they hold. Raises ToolError for a key or
    value that apt.conf cannot hold."""
    lines = [f'{_checked(_KEY, key)} "{_checked(_VALUE, value)}";\n' for key, value in settings.items()]
    for key, items in (lists or {}).items():
        inner = " ".join(f'"{_checked(_VALUE, item)}";' for item in items)
        lines.append(f"{_checked(_KEY, key)} {{ {inner} }};\n")
    return "".join(lines)


def _checked(form: re.Pattern[str], text: str) -> str:
    if not form.fullmatch(text):
        raise ToolError("apt's configuration cannot hold a value", repr(text))
    return text


def read(texts: Iterable[str], include: Callable[[str], Iterable[str]] = lambda path: ()) -> dict[str, str]:
    """The settings in the texts of apt.conf(5) files, later ones over earlier ones; items of lists are left out.

    Keys are compared without regard to case, and have the spelling of the last text that sets them. ``include`` gives
    the texts that an ``#include`` names: one, or those of a directory. Raises SyntaxProblem.
    """
    found = _Settings()
    for text in texts:
        _read(text, include, found, 0)
    return dict(found.values.values())


@dataclass(slots=True)
class _Settings:
    values: dict[str, tuple[str, str]] = field(default_factory=dict)
    """The key in lower case -> the key as it was written, and its value."""
    statements: int = 0

    def count(self) -> None:
        """Raises SyntaxProblem where there are too many: a list that is taken away again costs as many steps as it has
        items."""
        self.statements += 1
        if self.statements > STATEMENTS:
            raise SyntaxProblem(f"there are more than {STATEMENTS} statements")

    def set(self, key: str, value: str) -> None:
        # "KEY::" adds to a list: none matters here.
        if key and not key.endswith("::"):
            self.values[key.lower()] = (key, value)

    def clear(self, key: str) -> None:
        low = key.lower()
        for known in [known for known in self.values if known == low or known.startswith(f"{low}::")]:
            del self.values[known]


def _read(text: str, include: Callable[[str], Iterable[str]], found: _Settings, depth: int) -> None:
    scopes: list[str] = []
    for words, end in _statements(text):
        found.count()
        tag, value = (words + [None, None])[:2]
        if tag is not None and tag.startswith("#"):
            if scopes:
                raise SyntaxProblem("a directive stands in a block")
            if tag == "#clear" and value is not None:
                found.clear(value)
            elif tag == "#include" and value is not None:
                if depth >= INCLUDE_DEPTH:
                    raise SyntaxProblem("too many files include each other")
                for inner in include(value):
                    _read(inner, include, found, depth + 1)
        elif end == "{":
            if tag is None:
                raise SyntaxProblem("a block has no name")
            scopes.append(tag)
            if sum(map(len, scopes)) + 2 * len(scopes) > KEY_MAX:
                raise SyntaxProblem("the name of a block is too long")
            if value is not None:
                found.set("::".join(scopes), value)
        elif tag is not None and value is not None:
            found.set("::".join([*scopes, tag]), value)
        if end == "}":
            scopes = scopes[:-1]


def _statements(text: str) -> Iterator[tuple[list[str | None], str]]:
    """Each statement's one or two words, and what ends it: ``;``, ``{`` or ``}``."""
    words: list[str | None] = []
    plain = _without_comments(text)
    for match in _TOKEN.finditer(plain):
        if match["end"]:
            yield words, match["end"]
            words = []
        elif match["quoted"] is not None:
            words.append(match["quoted"])
        elif match["word"]:
            words.append(match["word"])
        elif match["other"]:
            raise SyntaxProblem(f"line {_line(plain, match.start())}: a quotation mark is not closed")
        if len(words) > 2:
            raise SyntaxProblem(f"line {_line(plain, match.start())}: a setting has more than one value")
    if words:
        raise SyntaxProblem("nothing ends the last statement")


def _line(text: str, place: int) -> int:
    return text.count("\n", 0, place) + 1


_TOKEN = re.compile(r'(?P<end>[;{}])|"(?P<quoted>[^"\n]*)"|(?P<word>[^\s";{}]+)|(?P<other>")')


def _without_comments(text: str) -> str:
    """The text with // and # up to the end of a line, and /* */, taken out where they stand outside of quotation
    marks. A directive begins with a # as well."""
    return _COMMENT.sub(lambda match: match["kept"] or " " + "\n" * match[0].count("\n"), text)


_COMMENT = re.compile(
    r'(?P<kept>"[^"\n]*"|#(?:clear|include)\b)|//[^\n]*|#[^\n]*|/\*.*?(?:\*/|\Z)',
    re.DOTALL,
)
