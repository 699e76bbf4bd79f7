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
            "deb [arch=amd64,i386 lang+=de] file:/y z a",
            Source(1, "deb", "file:/y", "z", ("a",), {"arch": "amd64,i386", "lang+": "de"}),
        ),
        ("deb [] file:/y z a", Source(1, "deb", "file:/y", "z", ("a",))),
        ("deb [unknown=1 TRUSTED=yes] file:/y z a", Source(1, "deb", "file:/y", "z", ("a",))),
        ("deb file:/[Debian 13 _x_]/ y main", Source(1, "deb", "file:/[Debian 13 _x_]/", "y", ("main",))),
        ('deb "file:/a b" y%2fz main', Source(1, "deb", "file:/a b", "y/z", ("main",))),
        ("deb file:/%zz%4 y main", Source(1, "deb", "file:/%zz%4", "y", ("main",))),
    ],
)
def test_a_line_is_read_as_apt_reads_it(line: str, expected: Source) -> None:
    assert apt_sources.read(line, deb822=False) == [expected]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\nrpm file:/y z a", "line 2: the type of a source is deb or deb-src"),
        ("deb", "TYPE"),
        ("deb file:/y", "TYPE"),
        ("deb file:/y z", "component"),
        ("deb file:/y z/ main", "directory"),
        ("deb x z main", "begin with http:"),
        ("deb [arch] file:/y z main", "option"),
        ("deb [arch=] file:/y z main", "option"),
        ("deb [=x] file:/y z main", "option"),
        ("deb [arch=a%5d file:/y z main", "option"),
        ("deb [arch=a%5d ] file:/y z main", "option"),
        ("deb [arch=[a]] file:/y z main", "option"),
        ("deb [arch=a", "missing"),
        ("deb [arch=a]file:/y z main", "option|missing"),
        ('deb "file:/y z main', "closed"),
        ("deb file:/[y z main", "closed"),
        ("deb [arch=%22] file:/y z main", "the value of arch is not valid"),
        ("deb [trusted=a%0ab] file:/y z main", "the value of trusted is not valid"),
        ("deb file:/y%0a z main", "URI"),
        ("deb file:/y z%20a main", "suite"),
        ("deb [snapshot=20260101T000000Z] file:/y z main", "snapshot is not supported"),
        (f"deb file:/y z {'a ' * 5000}", "too long"),
        (f"deb file:/y z {'a ' * 1500}", "more than"),
        ("deb file:/y z a\n" * 1001, "line 1001: .* more than"),
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
    lists = "Architectures: c\n d\nLanguages-Add: e f\n"
    text = f"Types: deb deb-src\nURIs: file:/1\n file:/2\nSuites: y z\nComponents: a\tb\n{lists}"
    options = {"arch": "c,d", "lang+": "e,f"}
    assert apt_sources.read(f"\n{text}", deb822=True) == [
        Source(2, kind, uri, suite, ("a", "b"), options)
        for kind in ("deb", "deb-src")
        for uri in ("file:/1", "file:/2")
        for suite in ("y", "z")
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{STANZA}nothing\n", "line 5: .* NAME"),
        (f"{STANZA}: nothing\n", "line 5: .* NAME"),
        ("URIs: file:/y\n", "line 1: .* Types"),
        (f"{STANZA}\n\nTypes: rpm\n", "line 7: the type of a source is deb or deb-src"),
        (STANZA.replace("URIs: https://x\n", ""), "URIs"),
        (STANZA.replace("Suites: y\n", ""), "Suites"),
        (STANZA.replace("Components: main\n", ""), "component"),
        (f"{STANZA}Architectures:\n", "the value of arch is not valid"),
        (f"{STANZA}Trusted: a\x00b\n", "the value of trusted is not valid"),
        (f"{STANZA}URIs:{' file:/y' * 100}\nSuites:{' y' * 100}\n", "more than"),
        (f"{STANZA}Components:{' a' * 1001}\n", "more than"),
    ],
)
def test_a_stanza_of_another_form_is_an_error_with_its_line(text: str, message: str) -> None:
    with pytest.raises(SyntaxProblem, match=message):
        apt_sources.read(text, deb822=True)


@pytest.mark.parametrize(
    "uri",
    [
        "http://x", "https://u:p%25@x:8/y z", "http://[::1]/", "tor+https://x.onion/y", "mirror://x/y", "mirror+https://x",
        "file:/y", "file:///y", "file://x/y", "copy:/y", "mirror+file:/y",
    ],
)  # fmt: skip
def test_a_source_is_a_server_or_a_place_here(uri: str) -> None:
    ((source),) = apt_sources.read(f"deb {apt_sources.quote(uri)} y main\n", deb822=False)
    assert source.uri == uri


@pytest.mark.parametrize(
    "uri",
    [
        "cdrom:[Debian]/", "ssh://-oProxyCommand=x/", "rsh://x", "ftp://x", "s3://x", "store:/etc/shadow", "rred:/y",
        "gpgv:/y", "mirror+copy:/etc/shadow", "mirror+ftp://x", "tor+mirror+file:/y", "tor+mirror+http://x",
        "mirror+mirror+file:/y", "tor+file:/y", "http+file:/y", "Mirror+File:/y", "HTTP://x", "x", "/y", ":/y",
        "../../../../tmp/evil:/y", "/../../../../tmp/evil:/y", "http/../evil:/y", "./http://x", "http ://x", "+file:/y",
    ],
)  # fmt: skip
def test_a_source_whose_scheme_is_not_on_the_list_is_refused(uri: str) -> None:
    for text in (f'deb "{uri}" y main\n', f"deb {apt_sources.quote(uri)} y main\n"):
        with pytest.raises(SyntaxProblem, match="does not begin with http:"):
            apt_sources.read(text, deb822=False)


@pytest.mark.parametrize(
    "uri", ["http:/x", "http:x", "http://", "http:///x", "http://u@/x", "http://:80/x", "http://[x/", "http://a[/b]/c",
            "file:y", "file:../y", "file://y", "mirror+file:y", "mirror:/x"]
)  # fmt: skip
def test_a_server_has_a_host_and_a_place_here_is_absolute(uri: str) -> None:
    with pytest.raises(SyntaxProblem, match="the URI does not name a server or an absolute path"):
        apt_sources.read(f"{STANZA}URIs: {uri}\n", deb822=True)


def test_mirrors_are_written_in_one_form() -> None:
    text = "# c\n\nhttp://a/b\r\nhttps://u:p@c:8/%20/ \tpriority:1  arch:amd64\ttype:index \nfile:/srv/d/\t\ncopy:///e"
    assert apt_sources.read_mirrors(text.replace("/ \t", "/\t")) == [
        "http://a/b", "https://u:p@c:8/%20/\tpriority:1 arch:amd64 type:index", "copy:/srv/d/", "copy:///e",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        "../../../../tmp/evil:/x", "/../../tmp/evil:/x", "tor+http://x", "mirror+file:/x", "mirror+http://x", "mirror://x",
        "cdrom:[x]/", "ssh://x", "store:/x", "http:/x", "http://u@/x", " http://x", "http://x/a b", "http://x/\x01",
        "file:x", "HTTP://x", "root:$6$secret:1::::::", "http", "\thttp://x", "http://x\u00e4/",
    ],
)  # fmt: skip
def test_a_mirror_of_another_form_is_refused_and_not_shown(line: str) -> None:
    with pytest.raises(SyntaxProblem) as caught:
        apt_sources.read_mirrors(f"# c\n{line}\nhttp://x\n")
    assert str(caught.value) == "line 2: a mirror is a URI that begins with http:, https:, file: or copy:"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("http://x\tarch", "line 1: .* NAME:VALUE"),
        ("http://x\tarch:a\x01", "line 1: .* NAME:VALUE"),
        ("http://x\n" * 1001, "line 1001: .* too long"),
        (f"http://x\t{'a:b ' * 3000}", "line 1: .* too long"),
    ],
)
def test_a_list_of_mirrors_has_an_end_and_its_tags_a_form(text: str, message: str) -> None:
    with pytest.raises(SyntaxProblem, match=message):
        apt_sources.read_mirrors(text)


def test_what_is_written_is_read_as_the_same_values_and_on_its_line() -> None:
    found = [
        Source(2, "deb", 'file:/%2f[a b]"#]', "y%", ("ma#in", "[b]"), {"arch": "a,b", "signed-by": '/a[b c"d%2e'}),
        Source(5, "deb-src", "file:/\udcffä", "./"),
    ]
    text = apt_sources.render(found)
    assert apt_sources.read(text, deb822=False) == found
    assert set(text) <= set("abcdefghijklmnopqrstuvwxyz0123456789[]%:/.,=- \n")


@pytest.mark.parametrize("deb822", [False, True])
@pytest.mark.parametrize(
    "text",
    [
        "SECRET:x:0:0:::\n",
        "SECRET: x\n",
        "Types: SECRET\n",
        "Types: deb\nURIs: SECRET\nSuites: a\nComponents: b\n",
        "Types: deb\nURIs: http:SECRET\nSuites: a\nComponents: b\n",
        "Types: deb\nURIs: http://x\nSuites: SECRET/\nComponents: b\n",
        "Types: deb\nURIs: http://x\nSuites: SECRET\n",
        "Types: deb\nURIs: http://x\nSuites: x\nComponents: b\nTrusted: SECRET\x01\n",
        "deb SECRET a b\n",
        "deb [SECRET] http://x a b\n",
        "deb http://x SECRET\x01 b\n",
        "deb http://x SECRET/ b\n",
        "deb http://x SECRET\n",
        "deb [trusted=SECRET%01] http://x a b\n",
    ],
)
def test_an_error_has_nothing_of_the_file(text: str, deb822: bool) -> None:
    """It may be any, where a link leads to it."""
    with pytest.raises(SyntaxProblem) as caught:
        apt_sources.read(text, deb822=deb822)
    assert "SECRET" not in str(caught.value)
