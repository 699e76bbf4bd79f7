"""sources.list(5), in both of its forms, as values; and the one form in which they are written again."""

from __future__ import annotations

import pytest

from apt_ostree.tools import apt_sources
from apt_ostree.tools.apt_sources import Source, SyntaxProblem

STANZA = "Types: deb\nURIs: https://x\nSuites: y\nComponents: main\n"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("deb https://x y main", Source(1, "deb", "https://x", "y", ("main",))),
        ("  deb-src \t https://x   y main  contrib # c", Source(1, "deb-src", "https://x", "y", ("main", "contrib"))),
        ("deb file:/srv ./", Source(1, "deb", "file:/srv", "./")),
        (
            "deb [arch=amd64,i386 lang+=de] x:y z a",
            Source(1, "deb", "x:y", "z", ("a",), {"arch": "amd64,i386", "lang+": "de"}),
        ),
        ("deb [] x:y z a", Source(1, "deb", "x:y", "z", ("a",))),
        ("deb [unknown=1 TRUSTED=yes] x:y z a", Source(1, "deb", "x:y", "z", ("a",))),
        ("deb cdrom:[Debian 13 _x_]/ y main", Source(1, "deb", "cdrom:[Debian 13 _x_]/", "y", ("main",))),
        ('deb "x:a b" y%2fz main', Source(1, "deb", "x:a b", "y/z", ("main",))),
        ("deb x:%zz%4 y main", Source(1, "deb", "x:%zz%4", "y", ("main",))),
    ],
)
def test_a_line_is_read_as_apt_reads_it(line: str, expected: Source) -> None:
    assert apt_sources.read(line, deb822=False) == [expected]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\nrpm x:y z a", "line 2: 'rpm' is not a type"),
        ("deb", "TYPE"),
        ("deb x:y", "TYPE"),
        ("deb x:y z", "component"),
        ("deb x:y z/ main", "directory"),
        ("deb x z main", "URI"),
        ("deb [arch] x:y z main", "option"),
        ("deb [arch=] x:y z main", "option"),
        ("deb [=x] x:y z main", "option"),
        ("deb [arch=a%5d x:y z main", "option"),
        ("deb [arch=a%5d ] x:y z main", "option"),
        ("deb [arch=[a]] x:y z main", "option"),
        ("deb [arch=a", "missing"),
        ("deb [arch=a]x:y z main", "option|missing"),
        ('deb "x:y z main', "closed"),
        ("deb x:[y z main", "closed"),
        ("deb [arch=%22] x:y z main", "not a value for arch"),
        ("deb [trusted=a%0ab] x:y z main", "not a value for trusted"),
        ("deb x:y%0a z main", "URI"),
        ("deb x:y z%20a main", "suite"),
        (f"deb x:y z {'a ' * 5000}", "too long"),
        (f"deb x:y z {'a ' * 1500}", "more than"),
        ("deb x:y z a\n" * 1001, "line 1001: .* more than"),
    ],
)
def test_a_line_of_another_form_is_an_error_with_its_number(text: str, message: str) -> None:
    with pytest.raises(SyntaxProblem, match=message):
        apt_sources.read(text, deb822=False)


@pytest.mark.parametrize(
    "text",
    [
        STANZA,
        STANZA.replace("\n", "\r\n"),
        STANZA.replace(": ", " \t:"),
        STANZA.replace("URIs", "uris").replace("Suites", "SUITES"),
        STANZA.replace(": ", ":\n \t"),
        STANZA.replace(": ", ":\n# c\n#\n "),
        f"\n\n# c\n{STANZA}\n# c\n\n\n",
        f" before\n{STANZA}X: y\n Suites: after\n",
        f"Components: other\nEnabled: no\n{STANZA}Enabled: yes\nX-Other: 1\n",
        f"{STANZA}\nTypes: deb\nEnabled: no\n",
    ],
)
def test_a_stanza_is_read_as_apt_reads_it(text: str) -> None:
    ((source),) = apt_sources.read(text, deb822=True)
    assert (source.kind, source.uri, source.suite, source.components) == ("deb", "https://x", "y", ("main",))


def test_a_stanza_is_a_source_for_each_type_uri_and_suite() -> None:
    text = (
        "Types: deb deb-src\nURIs: x:1\n x:2\nSuites: y z\nComponents: a\tb\nArchitectures: c\n d\nLanguages-Add: e f\n"
    )
    options = {"arch": "c,d", "lang+": "e,f"}
    assert apt_sources.read(f"\n{text}", deb822=True) == [
        Source(2, kind, uri, suite, ("a", "b"), options)
        for kind in ("deb", "deb-src")
        for uri in ("x:1", "x:2")
        for suite in ("y", "z")
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{STANZA}nothing\n", "line 5: .* NAME"),
        (f"{STANZA}: nothing\n", "line 5: .* NAME"),
        ("URIs: x:y\n", "line 1: .* Types"),
        (f"{STANZA}\n\nTypes: rpm\n", "line 7: 'rpm' is not a type"),
        (STANZA.replace("URIs: https://x\n", ""), "URIs"),
        (STANZA.replace("Suites: y\n", ""), "Suites"),
        (STANZA.replace("Components: main\n", ""), "component"),
        (f"{STANZA}Architectures:\n", "not a value for arch"),
        (f"{STANZA}Trusted: a\x00b\n", "not a value for trusted"),
        (f"{STANZA}URIs:{' x:y' * 100}\nSuites:{' y' * 100}\n", "more than"),
        (f"{STANZA}Components:{' a' * 1001}\n", "more than"),
    ],
)
def test_a_stanza_of_another_form_is_an_error_with_its_line(text: str, message: str) -> None:
    with pytest.raises(SyntaxProblem, match=message):
        apt_sources.read(text, deb822=True)


def test_what_is_written_is_read_as_the_same_values_and_on_its_line() -> None:
    found = [
        Source(2, "deb", 'x:%2f[a b]"#]', "y%", ("ma#in", "[b]"), {"arch": "a,b", "signed-by": '/a[b c"d%2e'}),
        Source(5, "deb-src", "file:/\udcffä", "./"),
    ]
    text = apt_sources.render(found)
    assert apt_sources.read(text, deb822=False) == found
    assert set(text) <= set("abcdefghijklmnopqrstuvwxyz0123456789[]%:/.,=- \n")
