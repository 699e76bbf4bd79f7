"""The .deb format: what is written and read without dpkg-deb."""

from __future__ import annotations

import io
import tarfile
import time

import pytest

from apt_ostree.errors import PackageError
from apt_ostree.model import Package
from apt_ostree.tools import deb


@pytest.mark.parametrize(
    ("name", "size", "header"),
    [
        ("debian-binary", 4, b"debian-binary   0           0     0     100644  4         `\n"),
        ("control.tar", 10240, b"control.tar     0           0     0     100644  10240     `\n"),
        ("data.tar", 9_999_999_999, b"data.tar        0           0     0     100644  9999999999`\n"),
    ],
)
def test_ar_header(name: str, size: int, header: bytes) -> None:
    assert deb._ar_header(name, size) == header
    assert len(header) == deb._AR_HEADER


def plain(*files: tuple[str, bytes], kind: bytes = tarfile.REGTYPE) -> bytes:
    """A control archive as the process that reads packages passes it on."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size, info.type = len(content), kind
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (None, set()),
        ("", set()),
        ("/etc/a\n/etc/b\n", {"/etc/a", "/etc/b"}),
        ("\n/etc/a", {"/etc/a"}),
        ("remove-on-upgrade /etc/old\n/etc/a\n", {"/etc/old", "/etc/a"}),
        ("/etc/with a blank \nremove-on-upgrade\t/usr/a\u2003b\n", {"/etc/with a blank", "/usr/a\u2003b"}),
        ("relative/path\n", set()),
    ],
)
def test_conffiles_are_those_that_the_control_archive_declares(text: str | None, found: set[str]) -> None:
    files = [("./control", b"")] if text is None else [("./control", b""), ("./conffiles", text.encode())]
    assert deb.conffiles(deb.control_files(plain(*files))) == found


def test_of_two_control_files_of_a_name_the_last_counts_as_for_dpkg() -> None:
    archive = plain(("./conffiles", b"/etc/a\n"), (".//conffiles", b"/etc/b\n"))
    assert deb.control_files(archive) == {"conffiles": b"/etc/b\n"}
    assert deb.control_files(plain(("./conffiles", b""), kind=tarfile.DIRTYPE)) == {}


STANZA = b"Package: xy\nVersion: 1:2~rc1-3\nArchitecture: amd64\nDescription: short\n long\n .\n more\n"


def control(text: bytes) -> deb.Control:
    return deb.control(plain(("./control", text)), "x.deb")


def test_the_control_stanza_is_kept_as_it_is() -> None:
    assert control(STANZA) == deb.Control(STANZA.decode(), Package("xy", "1:2~rc1-3", "amd64"))


def test_a_field_that_is_not_utf8_is_kept_as_it_is() -> None:
    found = control(STANZA + b"Maintainer: J\xfcrgen <j@example.org>\n")
    assert found.text.encode(errors="surrogateescape") == STANZA + b"Maintainer: J\xfcrgen <j@example.org>\n"


def test_a_package_cannot_say_of_itself_what_an_index_says() -> None:
    found = control(b"Filename: /etc/shadow\nSHA256: 0\n 1\n" + STANZA + b"size: 7\n# a comment\n")
    assert found.text == STANZA.decode()


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        (b"", "it has more than one paragraph"),
        (STANZA + b"\nPackage: libc6\nVersion: 99\n", "it has more than one paragraph"),
        (STANZA + b" \t\nPackage: libc6\n", "it has more than one paragraph"),
        (STANZA + b"Version: 2\n", "it has the field Version twice"),
        (STANZA + b"version: 2\n", "it has the field version twice"),
        (STANZA + b"Maintainer: a\0b\n", "it has a NUL character"),
        (STANZA + b"no field\n", "a line is not a field: no field"),
        (STANZA + b"-x: y\n", "a line is not a field: -x: y"),
        (STANZA + b": y\n", "a line is not a field: : y"),
        (b" x\n" + STANZA, "it starts with a continuation line"),
    ],
)
def test_a_stanza_that_others_could_read_otherwise_is_refused(text: bytes, detail: str) -> None:
    with pytest.raises(PackageError) as caught:
        control(text)
    assert (caught.value.brief, caught.value.detail) == ("x.deb has a broken control file", detail)


def test_a_control_file_of_many_fields_costs_each_line_once() -> None:
    fields = b"".join(b"f%d: 1\n" % number for number in range(90_000))
    began = time.process_time()
    assert control(STANZA + fields).package.name == "xy"
    # Seconds of this process: what grows with the square takes forty.
    assert time.process_time() - began < 10


def test_a_control_file_that_is_larger_than_any_real_one_is_refused() -> None:
    room = deb.CONTROL_MAX - len(STANZA)
    assert control(STANZA + b" " + b"x" * (room - 2) + b"\n").package.name == "xy"
    with pytest.raises(PackageError) as caught:
        control(STANZA + b" " + b"x" * (room - 1) + b"\n")
    assert caught.value.detail == f"it has more than {deb.CONTROL_MAX} bytes"


def test_a_package_without_a_control_file_is_refused() -> None:
    with pytest.raises(PackageError, match=r"x\.deb has a broken control file"):
        deb.control(plain(("./md5sums", b"")), "x.deb")


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("Package", ["a", "a b", "../../x", "--x", "-x", "X", "x_y", "x/y", "x:y", "\u00fc\u00fc", "x\n y", "x" * 200]),
        ("Version", ["x", "a1", "-1", "1_2", "1/2", "1 2", "1:", ":1", "1:x", "1\u00b2", "\u0661", "1,2", "1" * 5000,
                     "99999999999:1"]),
        ("Architecture", ["all amd64", "../x", "-amd64", "AMD64", "amd_64", "any/x"]),
    ],
)  # fmt: skip
def test_what_policy_forbids_reaches_no_path(field: str, values: list[str]) -> None:
    good = {"package": "xy", "version": "1", "architecture": "all"}
    assert deb.identity(good, "x.deb") == Package("xy", "1", "all")
    for value in values:
        with pytest.raises(PackageError, match="has a broken control file") as caught:
            deb.identity({**good, field.lower(): value}, "x.deb")
        assert field in caught.value.detail or "more than 200 characters" in caught.value.detail
    with pytest.raises(PackageError) as caught:
        deb.identity({key: value for key, value in good.items() if key != field.lower()}, "x.deb")
    assert caught.value.detail == f"it lacks the field {field}"


@pytest.mark.parametrize(
    "package",
    [
        Package("g++-12", "1:12.2.0-14+deb12u1+", "i386"),
        Package("0ad", "0.0.26~a-3", "kfreebsd-amd64"),
        Package("x.y", "2:1:2-3", "all"),
    ],
)
def test_names_that_policy_allows_are_taken(package: Package) -> None:
    fields = {"package": package.name, "version": package.version, "architecture": package.architecture}
    assert deb.identity(fields, "x.deb") == package
