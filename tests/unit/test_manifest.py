"""Manifests: the keys and values they may have, and the exact message for every mistake."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st

from apt_ostree.errors import ManifestError
from apt_ostree.inputs.manifest import UNSUPPORTED_KEYS, File, Manifest, load, parse

EXAMPLES = Path(__file__).parents[2] / "examples"
ORIGIN = Path("/srv/images/debian.toml")
# Two lines: what a test adds starts on line 3.
HEAD = 'ref = "debian/13"\nsuite = "trixie"\n'
PACKAGE = "'name', 'name:arch', 'name=version', 'name/suite' or './file.deb'"
REF = "an OSTree ref such as 'debian/13/x86_64'"
OCTAL = 'octal digits such as "0644"'
PATH = "an absolute path without '.', '..' or '//'"
SCALAR = "a string, a boolean or an integer of 64 bits"
URI = "a URI such as 'https://mirror.example.org/debian', without a password"


def with_head(text: str) -> Manifest:
    return parse(HEAD + text, ORIGIN)


def detail(text: str) -> str:
    with pytest.raises(ManifestError) as caught:
        parse(text, ORIGIN)
    return caught.value.detail


def test_smallest_manifest_has_the_defaults() -> None:
    assert with_head("") == Manifest(
        ref="debian/13",
        suite="trixie",
        architecture=None,
        components=("main",),
        mirrors=(),
        packages=(),
        exclude=(),
        recommends=False,
        kernel_args=(),
        files=(),
        postprocess=(),
        version="{date}",
        metadata={},
    )


def test_full_manifest() -> None:
    text = """
        architecture = "arm64"
        components = ["main", "non-free-firmware"]
        mirrors = ["https://mirror.example.org/debian", "file:/srv/debian"]
        packages = ["g++", "libc6:amd64", "vim=2:9.1.0-1+b1", "nginx/trixie-backports", "./local.deb"]
        exclude = ["nano"]
        recommends = true
        kernel-args = ["rw", 'dyndbg="file a.c +p"']
        postprocess = ["systemctl enable x\\n"]
        version = "13.{date}.0"
        [[files]]
        path = "/etc/motd"
        content = ""
        [[files]]
        path = "/usr/bin/run"
        source = "bin/run"
        mode = "4755"
        owner = "www-data:adm"
        [metadata]
        "org.example.name" = "x=y"
        signed = true
        count = -3
    """
    assert with_head(text) == Manifest(
        ref="debian/13",
        suite="trixie",
        architecture="arm64",
        components=("main", "non-free-firmware"),
        mirrors=("https://mirror.example.org/debian", "file:/srv/debian"),
        packages=(
            "g++",
            "libc6:amd64",
            "vim=2:9.1.0-1+b1",
            "nginx/trixie-backports",
            "/srv/images/local.deb",
        ),
        exclude=("nano",),
        recommends=True,
        kernel_args=("rw", 'dyndbg="file a.c +p"'),
        files=(
            File("/etc/motd", content="", mode=0o644, owner="root:root"),
            File("/usr/bin/run", source=Path("/srv/images/bin/run"), mode=0o4755, owner="www-data:adm"),
        ),
        postprocess=("systemctl enable x\n",),
        version="13.{date}.0",
        metadata={"org.example.name": "x=y", "signed": "true", "count": "-3"},
    )


def test_manifest_and_file_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        with_head("").ref = "other"  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        File("/etc/motd", content="").mode = 0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("origin", "package", "expected"),
    [
        ("/srv/m.toml", "./a.deb", "/srv/a.deb"),
        ("/srv/m.toml", "/opt/a.deb", "/opt/a.deb"),
        ("images/m.toml", "../a.deb", "images/../a.deb"),
        ("m.toml", "./a.deb", "./a.deb"),
        ("m.toml", "debs/a.deb", "debs/a.deb"),
        ("m.toml", "vim/trixie", "vim/trixie"),
    ],
)
def test_deb_file_is_relative_to_the_manifest_and_keeps_a_slash(origin: str, package: str, expected: str) -> None:
    assert parse(f"{HEAD}packages = ['{package}']", Path(origin)).packages == (expected,)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ('"0600"', 0o600),
        ('"755"', 0o755),
        ('"01777"', 0o1777),
        ("0o644", 0o644),
        ("0o0644", 0o644),
        ("0o4_755", 0o4755),
        ("0o0", 0),
    ],
)
def test_mode_is_octal(mode: str, expected: int) -> None:
    assert with_head(f"[[files]]\npath = '/a'\ncontent = ''\nmode = {mode}").files[0].mode == expected


def test_owner_without_group_has_the_group_of_the_same_name() -> None:
    manifest = with_head("[[files]]\npath = '/a'\ncontent = ''\nowner = 'www-data'")
    assert manifest.files[0].owner == "www-data:www-data"


@pytest.mark.parametrize(
    ("version", "now", "expected"),
    [
        ("13.{date}", datetime(2026, 11, 20, 4, 12, tzinfo=UTC), "13.20261120"),
        ("{date}-{date}", datetime(2026, 1, 2, tzinfo=UTC), "20260102-20260102"),
        ("{date}", datetime(2026, 11, 20, 1, tzinfo=timezone(timedelta(hours=2))), "20261119"),
        ("13.1", datetime(2026, 11, 20, tzinfo=UTC), "13.1"),
    ],
)
def test_version_has_the_day_in_utc(version: str, now: datetime, expected: str) -> None:
    assert with_head(f"version = '{version}'").expand_version(now) == expected


# What stands on line 3 and the message about it, which must be the only one.
LINE_3 = [
    ("pakages = []", "unknown key 'pakages'; did you mean 'packages'?"),
    ("'kernel-arg' = []", "unknown key 'kernel-arg'; did you mean 'kernel-args'?"),
    ("hostnam = ''", "unknown key 'hostnam'; did you mean 'hostname'?"),
    ("zzz = 1", "unknown key 'zzz'"),
    ("[zzz]\na = 1", "unknown key 'zzz'"),
    ("[[zzz]]\na = 1", "unknown key 'zzz'"),
    ("zzz.a.b = 1", "unknown key 'zzz'"),
    ("suite2 = 'x'", "unknown key 'suite2'; did you mean 'suite'?"),
    ("architecture = ''", "'architecture' must be a Debian architecture such as 'amd64', found ''"),
    ("architecture = 'AMD64'", "'architecture' must be a Debian architecture such as 'amd64', found 'AMD64'"),
    ("components = 'main'", "'components' must be a list, found 'main'"),
    ("components = []", "'components' must name at least one"),
    ("components = ['a b']", "entry 1 of 'components' must be a component such as 'main', found 'a b'"),
    ("mirrors = ['mirror+file:/srv/list']", f"entry 1 of 'mirrors' must be {URI}, found 'mirror+file:/srv/list'"),
    ("mirrors = ['store:/srv/x']", f"entry 1 of 'mirrors' must be {URI}, found 'store:/srv/x'"),
    ("mirrors = ['mirror.example.org']", f"entry 1 of 'mirrors' must be {URI}, found 'mirror.example.org'"),
    ("mirrors = ['http://me:pw@example.org/']", f"entry 1 of 'mirrors' must be {URI}, found 'http://***@example.org/'"),
    ("packages = 1", "'packages' must be a list, found an integer"),
    ("packages = ['vim', 2]", f"entry 2 of 'packages' must be {PACKAGE}, found an integer"),
    ("packages = ['Vim']", f"entry 1 of 'packages' must be {PACKAGE}, found 'Vim'"),
    ("packages = ['v']", f"entry 1 of 'packages' must be {PACKAGE}, found 'v'"),
    ("packages = ['-vim']", f"entry 1 of 'packages' must be {PACKAGE}, found '-vim'"),
    ("packages = ['']", f"entry 1 of 'packages' must be {PACKAGE}, found ''"),
    ("packages = ['vim=']", f"entry 1 of 'packages' must be {PACKAGE}, found 'vim='"),
    ("packages = ['vim=1/sid']", f"entry 1 of 'packages' must be {PACKAGE}, found 'vim=1/sid'"),
    ("packages = ['vim:']", f"entry 1 of 'packages' must be {PACKAGE}, found 'vim:'"),
    ('packages = ["vim\\n"]', f"entry 1 of 'packages' must be {PACKAGE}, found 'vim\\n'"),
    ("packages = ['vim', 'less', 'vim', 'vim']", "'packages' has 'vim' more than once"),
    ("packages = ['./a.deb', '/srv/images/a.deb']", "'packages' has '/srv/images/a.deb' more than once"),
    ("exclude = ['vim=1']", "entry 1 of 'exclude' must be a package name, found 'vim=1'"),
    ("recommends = 'yes'", "'recommends' must be true or false, found 'yes'"),
    ("recommends = 0", "'recommends' must be true or false, found an integer"),
    *((f'kernel-args = ["{text}"]', f"entry 1 of 'kernel-args' must be one kernel argument, found '{word}'")
      for text, word in ((r"a\u001bb", r"a\x1bb"), (r"a=\"b\rc\"", r'a="b\rc"'), (r"a\u009b", r"a\x9b"))),
    ("kernel-args = ['root=LABEL=root rw']",
     "entry 1 of 'kernel-args' must be one kernel argument, found 'root=LABEL=root rw'"),
    ("kernel-args = ['']", "entry 1 of 'kernel-args' must be one kernel argument, found ''"),
    ("postprocess = ['']", "entry 1 of 'postprocess' must be a string, not empty and without NUL, found ''"),
    ("postprocess = [1.5]",
     "entry 1 of 'postprocess' must be a string, not empty and without NUL, found a float"),
    ("version = 2026-11-20", "'version' must be one line of text, found a date or time"),
    ("version = ''", "'version' must be one line of text, found ''"),
    ("version = \"a\\nb\"", "'version' must be one line of text, found 'a\\nb'"),
    ("version = '{date}.{time}'", "'version' has the unknown placeholder '{time}'; there is only '{date}'"),
    ("version = '{'", "'version' has the unknown placeholder '{'; there is only '{date}'"),
    ("metadata = 'x'", "'metadata' must be a table, found 'x'"),
    ("metadata.a = 1.5",
     f"'a' of [metadata] must be {SCALAR}, found a float"),
    ("metadata.a = 0xffffffffffffffff",
     f"'a' of [metadata] must be {SCALAR}, found an integer"),
    ("metadata.a = [1]", f"'a' of [metadata] must be {SCALAR}, found a list"),
    ('metadata.a = "x\\u0000"', f"'a' of [metadata] must be {SCALAR}, found 'x\\x00'"),
    ('postprocess = ["x\\u0000"]',
     "entry 1 of 'postprocess' must be a string, not empty and without NUL, found 'x\\x00'"),
    ("metadata = {a = {}}",
     f"'a' of [metadata] must be {SCALAR}, found a table"),
    ("metadata.'a=b' = 1", "'a=b' of [metadata] must be made of letters, digits, '.', '_' and '-'"),
    ("files = {}", "'files' must be a list, found a table"),
    ("files = [1]", "entry 1 of 'files' must be a table, found an integer"),
    ("files = [{path = '/a'}]", "exactly one of 'content' and 'source' of [[files]] 1 must be set"),
    ("[[files]]\ncontent = ''", "key 'path' of [[files]] 1 is missing"),
    ("[[files]]\npath = '/a'", "exactly one of 'content' and 'source' of [[files]] 1 must be set"),
    ("[[files]]\npath = '/a'\ncontent = ''\nsource = 'a'",
     "exactly one of 'content' and 'source' of [[files]] 1 must be set"),
    *((f"{key} = 1", f"key '{key}' is not supported by this version") for key in sorted(UNSUPPORTED_KEYS)),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), LINE_3)
def test_problem_has_line_and_words(text: str, message: str) -> None:
    assert detail(HEAD + text + "\n") == f"line 3: {message}"


# A key of a [[files]] table, and the message about it.
FILE_KEYS = [
    ("path = 1", f"'path' of [[files]] 2 must be {PATH}, found an integer"),
    *((f"path = '{path}'",
       f"'path' of [[files]] 2 must be {PATH}, found '{path}'")
      for path in ("", "/", "etc/a", "/etc/../a", "/etc/.", "/etc/..", "/etc//a", "/etc/", "//a")),
    *((f"path = '{top}{rest}'", f"'path' of [[files]] 2 is in {top}, which a commit does not ship")
      for top in ("/var", "/proc", "/sys", "/dev", "/run") for rest in ("", "/a")),
    ("path = '/first'", "'path' of [[files]] 2 is '/first', as in an earlier one"),
    ("content = 1", "'content' of [[files]] 2 must be a string, found an integer"),
    ("source = ''", "'source' of [[files]] 2 must be a string, not empty and without NUL, found ''"),
    *((f"mode = {mode}", f"'mode' of [[files]] 2 must be {OCTAL}, found {found}")
      for mode, found in [("'0o644'", "'0o644'"), ("'0648'", "'0648'"), ("'64'", "'64'"), ("[]", "a list")]),
    *((f"mode = {mode}", f"'mode' of [[files]] 2 must be {OCTAL} or 0o644, found another integer")
      for mode in ("644", "420", "-1", "0o10000")),
    *((f"owner = '{owner}'", f"'owner' of [[files]] 2 must be 'user' or 'user:group', found '{owner}'")
      for owner in ("", ":", "root:", ":root", "0:0", "a b")),
    ("pth = 1", "unknown key 'pth' of [[files]] 2; did you mean 'path'?"),
    ("hostname = 'a'", "unknown key 'hostname' of [[files]] 2"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), FILE_KEYS)
def test_problem_of_a_file_has_the_line_in_its_own_table(text: str, message: str) -> None:
    rest = {"path": "path = '/second'\n", "content": "content = ''\n"}
    rest.pop(text.split()[0], None)
    if text.startswith("source"):
        rest.pop("content")
    before = HEAD + "[[files]]\npath = '/first'\ncontent = ''\n\n[[files]]\n"
    assert detail(before + text + "\n" + "".join(rest.values())) == f"line 8: {message}"


@pytest.mark.parametrize("path", ["/variant", "/etc/var", "/developer/a", "/etc/.hidden", "/etc/...", "/a b"])
def test_path_that_only_looks_forbidden_is_fine(path: str) -> None:
    assert with_head(f"[[files]]\npath = '{path}'\ncontent = ''").files[0].path == path


@pytest.mark.parametrize(
    "ref", ["", "-a", ".a", "a/", "/a", "a//b", "a/../b", "a/.b", "a/-b", "a b", "r:a", "a\\n", "é"]
)
def test_ref_is_one_that_ostree_takes(ref: str) -> None:
    found = ref.replace("\\n", "\n")
    assert detail(f'ref = "{ref}"\nsuite = "sid"') == f"line 1: 'ref' must be {REF}, found {found!r}"


def test_suite_is_checked() -> None:
    assert detail("ref = 'a'\nsuite = 'Sid'") == "line 2: 'suite' must be a suite such as 'trixie', found 'Sid'"


def test_missing_keys_have_no_line() -> None:
    assert detail("") == "key 'ref' is missing\nkey 'suite' is missing"


def test_all_problems_are_reported_in_the_order_of_the_file() -> None:
    text = """suite = 13
packages = ["a b", "vim"]
hostname = "x"
pakages = []
[[files]]
path = "/etc/a"
content = "a"
[[files]]
path = "/var/a"
mode = 755
[metadata]
x = []
"""
    with pytest.raises(ManifestError) as caught:
        parse(text, Path("debian.toml"))
    error = caught.value
    assert error.brief == "debian.toml is not valid"
    assert error.resolution == "Correct the manifest and run the command again."
    assert error.exit_code == 2
    assert error.detail.splitlines() == [
        "key 'ref' is missing",
        "line 1: 'suite' must be a suite such as 'trixie', found an integer",
        f"line 2: entry 1 of 'packages' must be {PACKAGE}, found 'a b'",
        "line 3: key 'hostname' is not supported by this version",
        "line 4: unknown key 'pakages'; did you mean 'packages'?",
        "line 8: exactly one of 'content' and 'source' of [[files]] 2 must be set",
        "line 9: 'path' of [[files]] 2 is in /var, which a commit does not ship",
        f"line 10: 'mode' of [[files]] 2 must be {OCTAL} or 0o644, found another integer",
        f"line 12: 'x' of [metadata] must be {SCALAR}, found a list",
    ]


@pytest.mark.parametrize(
    "before",
    [
        'postprocess = ["""\nzzz = 1\n[metadata]\n\\""" """]\n',
        "postprocess = ['''\nzzz = 1\n[metadata]\n''']\n",
        'postprocess = ["""\nzzz = 1\n\nquoted "zzz = 1""""]\n\n',
        'exclude = [ # """\n"less",\n"more",\n]\n',
        "postprocess = ['\"\"\"', \"'''\"]\n\n\n\n",
        "# zzz = 1\n# [metadata]\n\n\n",
        "\r\n\r\n\r\n\r\n",
    ],
)
def test_text_that_looks_like_a_key_does_not_mislead_the_line(before: str) -> None:
    line = 3 + before.count("\n")
    assert detail(f"{HEAD}{before}zzz = 1\n") == f"line {line}: unknown key 'zzz'"


def test_key_whose_line_is_not_known_has_none() -> None:
    assert detail(HEAD + '"\\u007aap" = 1') == "unknown key 'zap'"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ref = 'a'\nsuite = \n", "line 2: Invalid value"),
        ("ref = 'a'\nref = 'b'\n", "line 2: Cannot overwrite a value"),
        ("ref = 'a'\nx = [\n\n\n", "line 2: Invalid value"),
    ],
)
def test_text_that_is_not_toml_names_the_line(text: str, message: str) -> None:
    assert detail(text) == message


@pytest.mark.parametrize("value", ["9" * 5000, "[" * 5000])
def test_toml_beyond_the_limits_of_its_parser_is_a_manifest_error(value: str) -> None:
    assert detail(f"a = {value}")


def test_load_reads_a_file_and_resolves_from_its_directory(tmp_path: Path) -> None:
    path = tmp_path / "m.toml"
    path.write_text(HEAD + "packages = ['./a.deb']\nmetadata.name = 'é'\n", encoding="utf-8")
    manifest = load(path)
    assert manifest.packages == (f"{tmp_path}/a.deb",)
    assert manifest.metadata == {"name": "é"}


def test_load_names_the_line_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "m.toml"
    path.write_bytes(HEAD.encode() + b"# caf\xe9\n")
    with pytest.raises(ManifestError) as caught:
        load(path)
    assert caught.value.brief == f"{path} is not valid"
    assert caught.value.detail == "line 3: not UTF-8, which TOML requires"


@pytest.mark.parametrize(("name", "reason"), [("missing.toml", "No such file or directory"), (".", "Is a directory")])
def test_load_says_why_a_file_cannot_be_read(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(ManifestError) as caught:
        load(tmp_path / name)
    assert caught.value.brief == f"cannot read manifest {tmp_path / name}"
    assert caught.value.detail == reason
    assert caught.value.resolution == "Check the path and its permissions."


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("debian-*.toml")), ids=lambda path: path.name)
def test_examples_are_valid(path: Path) -> None:
    load(path)


def test_minimal_example_boots_from_its_label() -> None:
    manifest = load(EXAMPLES / "debian-13-minimal.toml")
    assert manifest.ref == "debian/13/x86_64/minimal"
    assert manifest.suite == "trixie"
    assert manifest.kernel_args == ("root=LABEL=root", "rw", "systemd.firstboot=off")
    assert {"linux-image-cloud-amd64", "dracut", "ostree-boot", "systemd-sysv"} <= set(manifest.packages)


def to_toml(value: Any) -> str:
    """``value`` as an inline TOML value. JSON writes strings as TOML reads them, but for DEL."""
    match value:
        case dict():
            return "{" + ", ".join(f"{to_toml(key)} = {to_toml(item)}" for key, item in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(to_toml, value)) + "]"
        case date():
            return value.isoformat()
        case str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)


KEYS = st.sampled_from([each.name.replace("_", "-") for each in dataclasses.fields(Manifest)])
FILE_KEY = st.sampled_from([each.name for each in dataclasses.fields(File)])
TEXT = st.text(max_size=8) | st.sampled_from(["debian/13", "trixie", "vim", "./a.deb", "/etc/a", "{date}", "0644"])
SCALARS = (
    TEXT
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.dates(min_value=date(1000, 1, 1))
)


def nested(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    files = st.lists(st.dictionaries(FILE_KEY, values, max_size=4), max_size=3)
    return st.lists(values, max_size=4) | st.dictionaries(TEXT, values, max_size=4) | files


VALUES = st.recursive(SCALARS, nested, max_leaves=12)


@given(st.dictionaries(KEYS | st.sampled_from(sorted(UNSUPPORTED_KEYS)) | TEXT, VALUES, max_size=8))
def test_any_toml_is_a_manifest_or_a_manifest_error(values: dict[str, Any]) -> None:
    text = "".join(f"{to_toml(key)} = {to_toml(value)}\n" for key, value in values.items())
    assert tomli.loads(text) == values
    try:
        manifest = parse(text, ORIGIN)
    except ManifestError as error:
        assert error.detail
    else:
        assert manifest.ref == values["ref"]


@given(st.text() | st.text("[]{}=.\"'#\\\n abc1_-"))
def test_any_text_is_a_manifest_error(text: str) -> None:
    with pytest.raises(ManifestError):
        parse(text, ORIGIN)
