"""apt.conf(5) of a target: parsed here, a short list taken over, and written so that no value ends its string."""

from __future__ import annotations

import pytest

from apt_ostree.errors import ToolError
from apt_ostree.tools import apt_settings


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('A::B "1";', {"A::B": "1"}),
        ("A::B 1;", {"A::B": "1"}),
        ('A { B "1"; C { D "2"; }; };', {"A::B": "1", "A::C::D": "2"}),
        ('A { B "1" }', {"A::B": "1"}),
        ('A "v" { B "1"; };', {"A": "v", "A::B": "1"}),
        ('A "1"; a "2";', {"a": "2"}),
        ('A\n  "1"\n;', {"A": "1"}),
        ('A { "1"; "2"; }; B::C:: "3";', {}),
        ('A "1"; // A "2";\n# A "3";\n/* A "4";\nA "5"; */ B "6";', {"A": "1", "B": "6"}),
        ('A "//x"; B "a#b"; C "/* x */";', {"A": "//x", "B": "a#b", "C": "/* x */"}),
        ('A "a; b { c }";', {"A": "a; b { c }"}),
        ('A "%22%3b";', {"A": "%22%3b"}),
        ('A::B "1"; A::B::C "2"; A::BC "3"; #clear A::B;', {"A::BC": "3"}),
        ("", {}),
    ],
)
def test_settings_are_read_as_apt_reads_them(text: str, found: dict[str, str]) -> None:
    assert apt_settings.read([text]) == found


@pytest.mark.parametrize("text", ['A "1', 'A "1" "2";', "A", '{ "1"; }', "A { #clear B; };", 'A "x"y z;'])
def test_what_apt_refuses_is_refused(text: str) -> None:
    with pytest.raises(apt_settings.SyntaxProblem):
        apt_settings.read([text])


def test_later_files_win() -> None:
    assert apt_settings.read(['A "1"; B "1";', 'a "2";']) == {"a": "2", "B": "1"}


def test_what_is_included_is_what_the_target_has() -> None:
    asked = []

    def include(path: str) -> list[str]:
        asked.append(path)
        return ['B "1";', 'C "2";']

    assert apt_settings.read(['#include "/etc/more/";'], include) == {"B": "1", "C": "2"}
    assert asked == ["/etc/more/"]
    assert apt_settings.read(['#include "/etc/shadow";']) == {}


def test_files_that_include_each_other_for_ever_are_refused() -> None:
    with pytest.raises(apt_settings.SyntaxProblem, match="include"):
        apt_settings.read(['#include "/x";'], lambda path: ['#include "/x";'])


@pytest.mark.parametrize(
    "text",
    [
        "".join(f'k{number} "v"; #clear k{number};' for number in range(apt_settings.STATEMENTS)),
        "a { " * 400 + "} " * 400,
    ],
)
def test_settings_that_would_take_a_time_without_end_are_refused(text: str) -> None:
    with pytest.raises(apt_settings.SyntaxProblem, match=r"statements|too long"):
        apt_settings.read([text])


def test_files_that_include_many_others_are_read_up_to_a_number() -> None:
    read: list[str] = []

    def include(path: str) -> list[str]:
        read.append(path)
        return ['#include "/x";'] * 10

    with pytest.raises(apt_settings.SyntaxProblem):
        apt_settings.read(['#include "/x";'], include)
    assert len(read) <= apt_settings.STATEMENTS


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("Acquire::http::Proxy", "http://user:p%40ss@proxy.example.org:3128/"),
        ("acquire::HTTP::proxy::deb.example.org", "DIRECT"),
        ("Acquire::https::Verify-Peer", "false"),
        ("Acquire::https::CaInfo::deb.example.org", "/etc/ssl/own.pem"),
        ("Acquire::Check-Valid-Until", "no"),
        ("Acquire::Retries", "5"),
        ("APT::Default-Release", "trixie"),
        ("APT::Install-Recommends", "0"),
        ("APT::Solver", "3.0"),
    ],
)
def test_what_decides_how_things_are_fetched_is_taken_over(key: str, value: str) -> None:
    assert apt_settings.taken_over({key: value}) == {key: value}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("Dir::Bin::dpkg", "/bin/sh"),
        ("Dir::Bin::apt-key", "/bin/sh"),
        ("DPkg::Pre-Invoke", "id"),
        ("DPkg::Chroot-Directory", "/x"),
        ("APT::Update::Pre-Invoke", "id"),
        ("APT::Solver", "/tmp/x"),
        ("APT::Solver", "dump"),
        ("APT::Get::AllowUnauthenticated", "true"),
        ("Acquire::AllowInsecureRepositories", "true"),
        ("Acquire::AllowWeakRepositories", "true"),
        ("Acquire::http::ProxyAutoDetect", "/tmp/x"),
        ("Acquire::http::Proxy-Auto-Detect", "/tmp/x"),
        ("Acquire::gpgv::Options", "--keyring=/x"),
        ("Acquire::http::Proxy", 'http://x/"; APT::Update::Pre-Invoke {"id"};'),
        ("Acquire::http::Proxy", "/tmp/x"),
        ("Acquire::http::Proxy::a b", "DIRECT"),
        ("Acquire::Retries", "many"),
        ("Acquire::Retries", "5\n"),
        ("Acquire::https::SslKey", "relative"),
    ],
)
def test_everything_else_stays_behind(key: str, value: str) -> None:
    assert apt_settings.taken_over({key: value}) == {}


def test_what_is_written_is_what_is_read_again() -> None:
    settings = {"A::B": "x; y { z } # // /* */ %22", "C": ""}
    assert apt_settings.read([apt_settings.render(settings, {"L": ["amd64", "i386"]})]) == settings


@pytest.mark.parametrize("value", ['"; APT::Update::Pre-Invoke {"id"};', 'a"', "a\\", "a\nb", "a\0", "a\x7f"])
def test_a_value_that_could_end_its_string_is_not_written(value: str) -> None:
    with pytest.raises(ToolError):
        apt_settings.render({"A": value})
    with pytest.raises(ToolError):
        apt_settings.render({}, {"A": [value]})
    with pytest.raises(ToolError):
        apt_settings.render({value: "1"})


DUMP = """\
APT "";
APT::Architecture "amd64";
APT::Install-Recommends "false";
APT::Install-Suggests "0";
APT::Get "";
APT::Get::AllowUnauthenticated "true";
APT::Update "";
APT::Update::Pre-Invoke "";
APT::Update::Pre-Invoke:: "touch /tmp/a";
APT::Update::Post-Invoke-Success:: "x";
APT::Default-Release "trixie";
APT::Solver "3.0";
APT::Compressor::zstd::Binary "zstd";
APT::Sandbox::User "root";
APT::Key::GetTrusted "x";
Dir "/";
Dir::Cache "/evil";
Dir::Bin::dpkg "/evil";
Acquire "";
Acquire::AllowInsecureRepositories "true";
Acquire::AllowWeakRepositories "true";
Acquire::AllowDowngradeToInsecureRepositories "true";
Acquire::http "";
Acquire::http::Proxy "http://u:p%2540w@proxy:3128/";
Acquire::http::Proxy::deb.example.org "DIRECT";
Acquire::http::ProxyAutoDetect "/bin/evil";
Acquire::http::Proxy-Auto-Detect "/bin/evil2";
Acquire::https::proxy-auto-detect "/bin/evil3";
Acquire::Check-Valid-Until "false";
Acquire::Retries "3";
Acquire::FORCEHASH "MD5";
Acquire::Languages:: "de";
Acquire::GzipIndexes "true";
DPkg::Pre-Install-Pkgs:: "/usr/sbin/dpkg-preconfigure --apt || true";
DPkg::Post-Invoke:: "rm -rf /";
Unattended-Upgrade::Mail "x";
Binary::apt::APT::Default-Release "sid";
"""


def test_of_all_that_apt_may_be_told_only_what_decides_the_fetching_is_taken_over() -> None:
    assert apt_settings.taken_over(apt_settings.read([DUMP])) == {
        "APT::Install-Recommends": "false",
        "APT::Install-Suggests": "0",
        "APT::Default-Release": "trixie",
        "APT::Solver": "3.0",
        "Acquire::http::Proxy": "http://u:p%2540w@proxy:3128/",
        "Acquire::http::Proxy::deb.example.org": "DIRECT",
        "Acquire::Check-Valid-Until": "false",
        "Acquire::Retries": "3",
    }


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("root:SECRET:1\n", None),
        ("/* a\n*/\nSECRET a b;\n", 3),
        ('// x\nSECRET "\n', 2),
        ("A { #clear SECRET; };\n", None),
    ],
)
def test_an_error_has_nothing_of_the_file(text: str, line: int | None) -> None:
    """It may be any, where a link leads to it."""
    with pytest.raises(apt_settings.SyntaxProblem) as caught:
        apt_settings.read([text])
    assert "SECRET" not in str(caught.value)
    assert line is None or str(caught.value).startswith(f"line {line}: ")
