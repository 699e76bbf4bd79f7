"""What apt prints, as apt 2.6.1 printed it for Debian 13; and the copies that its area holds."""

from __future__ import annotations

import json
import os
import pwd
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from apt_ostree.errors import ResolveError, ToolError
from apt_ostree.host import proc
from apt_ostree.model import Package, Round, Solved
from apt_ostree.tools import apt, apt_area, apt_copies, apt_failures
from apt_ostree.tools.apt import Action, parse_simulation, rounds
from apt_ostree.tools.apt_target import Target

STABLE = "Debian:13.7/stable"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param(
            "Inst gawk (1:5.2.1-2+b1 Debian:13.7/stable [amd64])",
            Action("Inst", "gawk", "amd64", "1:5.2.1-2+b1", None, STABLE),
            id="new",
        ),
        pytest.param(
            "Conf libtext-wrapi18n-perl (0.06-10 Debian:13.7/stable [all])",
            Action("Conf", "libtext-wrapi18n-perl", "all", "0.06-10", None, STABLE),
            id="configured",
        ),
        pytest.param(
            "Inst libssl3t64 [3.5.7-1~deb13u3~old] (3.5.7-1~deb13u3 Debian-Security:13/stable-security [amd64])",
            Action(
                "Inst", "libssl3t64", "amd64", "3.5.7-1~deb13u3", "3.5.7-1~deb13u3~old",
                "Debian-Security:13/stable-security",
            ),
            id="upgraded",
        ),
        pytest.param(
            "Inst toy-lib:i386 (2:1.0-1 volatile-packages-file [i386])",
            Action("Inst", "toy-lib", "i386", "2:1.0-1", None, "volatile-packages-file"),
            id="of a foreign architecture",
        ),
        pytest.param(
            "Inst toy:i386 [0.9] (1.0+b1 volatile-packages-file [i386]) []",
            Action("Inst", "toy", "i386", "1.0+b1", "0.9", "volatile-packages-file"),
            id="breaking others for a while",
        ),
        pytest.param(
            "Inst libc6 [2.41-11] (2.41-12 Debian:13.7/stable [amd64]) [libc-bin:amd64 ]",
            Action("Inst", "libc6", "amd64", "2.41-12", "2.41-11", STABLE),
            id="naming what it breaks for a while",
        ),
        pytest.param(
            "Inst toy-norel (3 My Label a:1.a/suite-a, My Label b:1.b/suite-b [all])",
            Action("Inst", "toy-norel", "all", "3", None, "My Label a:1.a/suite-a, My Label b:1.b/suite-b"),
            id="in two archives with blanks in their labels",
        ),
        pytest.param("Remv apt [3.0.4]", Action("Remv", "apt", "", "", "3.0.4"), id="removed"),
        pytest.param("Remv toy:i386 [0.9]", Action("Remv", "toy", "i386", "", "0.9"), id="a foreign one removed"),
        pytest.param("Purg toy-lib:i386 [2:0.9]", Action("Remv", "toy-lib", "i386", "", "2:0.9"), id="purged"),
    ],
)  # fmt: skip
def test_parse_simulation_reads_a_step(line: str, expected: Action) -> None:
    assert parse_simulation(line) == [expected]


SIMULATION = """\
Reading package lists...
Building dependency tree...
Reading state information...
The following additional packages will be installed:
  libjq1 libonig5 toy-lib:i386 toy-pre
0 upgraded, 6 newly installed, 0 to remove and 0 not upgraded.
Inst toy-pre (1.0 volatile-packages-file [all])
Inst toy-lib:i386 (2:1.0-1 volatile-packages-file [i386])
Conf toy-pre (1.0 volatile-packages-file [all])
Inst toy:i386 (1.0+b1 volatile-packages-file [i386])
Inst libonig5 (6.9.9-1+b1 Debian:13.7/stable [amd64])
Inst libjq1 (1.7.1-6+deb13u4 Debian-Security:13/stable-security [amd64])
Inst jq (1.7.1-6+deb13u4 Debian-Security:13/stable-security [amd64])
Conf toy-lib:i386 (2:1.0-1 volatile-packages-file [i386])
Conf toy:i386 (1.0+b1 volatile-packages-file [i386])
Conf libonig5 (6.9.9-1+b1 Debian:13.7/stable [amd64])
Conf libjq1 (1.7.1-6+deb13u4 Debian-Security:13/stable-security [amd64])
Conf jq (1.7.1-6+deb13u4 Debian-Security:13/stable-security [amd64])
"""

PRE = Package("toy-pre", "1.0", "all")
LIB = Package("toy-lib", "2:1.0-1", "i386")
TOY = Package("toy", "1.0+b1", "i386")
ONIG = Package("libonig5", "6.9.9-1+b1", "amd64")
LIBJQ = Package("libjq1", "1.7.1-6+deb13u4", "amd64")
JQ = Package("jq", "1.7.1-6+deb13u4", "amd64")


def test_parse_simulation_keeps_apts_order_and_drops_its_prose() -> None:
    assert [(action.verb, action.package) for action in parse_simulation(SIMULATION)] == [
        ("Inst", PRE),
        ("Inst", LIB),
        ("Conf", PRE),
        *(("Inst", package) for package in (TOY, ONIG, LIBJQ, JQ)),
        *(("Conf", package) for package in (LIB, TOY, ONIG, LIBJQ, JQ)),
    ]


def test_parse_simulation_tells_what_came_for_a_virtual_package() -> None:
    text = "Note, selecting 'gawk' instead of 'awk'\nInst gawk (1 x [amd64])\nInst other (1 x [all])\n"
    assert [(action.name, action.provides) for action in parse_simulation(text)] == [("gawk", "awk"), ("other", "")]


@pytest.mark.parametrize("text", ["", "Inst ", "Inst a", "Installing b (1 x [all])", "E: Inst a (1 x [all])"])
def test_parse_simulation_of_anything_else_is_empty(text: str) -> None:
    assert parse_simulation(text) == []


def test_rounds_are_cut_where_a_package_is_configured_before_others_are_unpacked() -> None:
    assert rounds(parse_simulation(SIMULATION)) == (
        Round((PRE, LIB), (PRE,)),
        Round((TOY, ONIG, LIBJQ, JQ), (LIB, TOY, ONIG, LIBJQ, JQ)),
    )


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ("", []),
        ("Ia Ca", ["a/a"]),
        ("Ia Ib Ca Cb", ["ab/ab"]),
        ("Ia Ca Ib Cb", ["a/a", "b/b"]),
        ("Ia Ib Ca Ic Cb Cc", ["ab/a", "c/bc"]),
        ("Ia Ca Cb Ib Ic Cc Id Cd", ["a/ab", "bc/c", "d/d"]),
        ("Rx Ia Ca", ["a/a"]),
    ],
)
def test_rounds(steps: str, expected: list[str]) -> None:
    verbs = {"I": "Inst", "C": "Conf", "R": "Remv"}
    actions = [Action(verbs[step[0]], step[1], "all", "1") for step in steps.split()]
    shown = [
        "".join(p.name for p in part.unpack) + "/" + "".join(p.name for p in part.configure) for part in rounds(actions)
    ]
    assert shown == expected


@pytest.mark.parametrize(
    ("package", "name"),
    [
        (Package("jq", "1.7.1-6+deb13u4", "amd64"), "jq_1.7.1-6+deb13u4_amd64.deb"),
        (Package("gawk", "1:5.2.1-2+b1", "amd64"), "gawk_1%3a5.2.1-2+b1_amd64.deb"),
        (Package("toy", "1~rc1", "all"), "toy_1~rc1_all.deb"),
    ],
)
def test_archive_name_is_apts(package: Package, name: str) -> None:
    assert apt.archive_name(package) == name


@pytest.fixture
def target(tmp_path: Path) -> Target:
    """A target with keys; its tree's own /etc is the pristine one, and not what /etc means there."""
    for name, content in {
        "tree/usr/share/keyrings/debian.gpg": "debian",
        "tree/etc/apt/keyrings/vendor.asc": "wrong",
        "etc/apt/keyrings/vendor.asc": "vendor",
        "shadow": "the host's own",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return Target(tmp_path / "tree", tmp_path / "etc", ("amd64",))


@pytest.fixture
def copies(target: Target, tmp_path: Path) -> apt_copies.Copies:
    return apt_copies.Copies(target, tmp_path / "area", None)


def copied(copies: apt_copies.Copies) -> dict[str, str]:
    """What has been copied, by the target's own paths."""
    return {path: Path(copy).read_text() for copy, path in copies.originals.items() if Path(copy).exists()}


DEBIAN, VENDOR = "/usr/share/keyrings/debian.gpg", "/etc/apt/keyrings/vendor.asc"
STANZA = "Types: deb\nURIs: https://x\nSuites: y\nComponents: main\n"


def keys(copies: apt_copies.Copies, text: str) -> str:
    """The one value of signed-by that a file of sources comes to."""
    name = "x.list" if text.startswith("deb") else "x.sources"
    (source,) = apt_area._sources(name, text, copies)
    return source.options["signed-by"]


@pytest.mark.parametrize(
    "form",
    [
        f"{STANZA}Signed-By: {{}}\n",
        f"{STANZA}signed-by:\t{{}}\n",
        f"{STANZA}Signed-By:\n {{}}\n",
        f"{STANZA}Signed-By:\n# a comment\n {{}}\n",
        f"{STANZA}Signed-By:\n#\n#\n\t{{}}\n#\nX: y\n",
        f"{STANZA}Signed-By : {{}}\n",
        f"{STANZA}SIGNED-BY \t:{{}}\r\n",
        f"{STANZA}Signed-By: /nothing\nSigned-By: {{}}\n",
        f"Signed-By: {{}}\n{STANZA}",
        f"# a comment\n\n\n{STANZA}Signed-By: {{}}",
        "deb [signed-by={}] https://x y main\n",
        "deb [arch=amd64 signed-by={} trusted=no] https://x/usr/share y main\n",
        "deb [ signed-by={} ] https://x y main\n",
        "deb\t[signed-by=/nothing signed-by={}]\thttps://x y main\n",
        'deb [signed-by="{}"] https://x y main\n',
        'deb ["signed-by={}"] https://x y main # [signed-by=/nothing]\n',
        "deb [sig%6eed-by={}] https://x y main\n",
        "deb [ab=# signed-by={}] https://x y main\n",
    ],
)
@pytest.mark.parametrize(("path", "content"), [(DEBIAN, "debian"), (VENDOR, "vendor"), ("/no/such.gpg", None)])
def test_a_key_is_the_targets_copy_or_none_and_never_the_hosts_file(
    copies: apt_copies.Copies, form: str, path: str, content: str | None
) -> None:
    assert keys(copies, form.format(path)) == copies.of(path)
    if form.startswith("deb"):
        assert keys(copies, form.format(path.replace("/", "%2f"))) == copies.of(path)
    assert copied(copies) == ({path: content} if content else {})


@pytest.mark.parametrize(
    ("form", "separators"),
    [(f"{STANZA}Signed-By: {{}}\n", (", ", " ", "\n ")), ("deb [signed-by={}] https://x y main\n", (",", "%20"))],
)
def test_several_keys_are_all_copied(copies: apt_copies.Copies, form: str, separators: tuple[str, ...]) -> None:
    fingerprint = "0123456789ABCDEF0123456789ABCDEF01234567!"
    for separator in separators:
        text = form.format(separator.join([DEBIAN, fingerprint, VENDOR]))
        assert keys(copies, text) == ",".join([copies.of(DEBIAN), fingerprint, copies.of(VENDOR)])
    assert copied(copies) == {DEBIAN: "debian", VENDOR: "vendor"}


@pytest.mark.parametrize("value", ["%2fetc%2fx.gpg", "x.gpg", "./x.gpg", '"/x.gpg"', "[/x.gpg]", "file:/x.gpg"])
def test_a_key_that_is_neither_a_path_nor_a_fingerprint_is_an_error(copies: apt_copies.Copies, value: str) -> None:
    with pytest.raises(ToolError, match="sources") as caught:
        keys(copies, f"# one\n{STANZA}Signed-By: {value}\n")
    assert caught.value.detail.startswith("/etc/apt/x.sources, line 2: ")


def test_a_key_in_the_sources_becomes_a_file(copies: apt_copies.Copies) -> None:
    begin, end = (f"-----{word} PGP PUBLIC KEY BLOCK-----" for word in ("BEGIN", "END"))
    path = Path(keys(copies, f"{STANZA}Signed-By:\n {begin}\n .\n# c\n mDMEY/abc/d==\n {end}\n"))
    assert path.read_text() == f"{begin}\n\nmDMEY/abc/d==\n{end}\n"
    assert path.suffix == ".asc"


@pytest.mark.parametrize("text", [STANZA, f"{STANZA}Signed-By:\n", "deb https://x y main\n"])
def test_sources_without_a_key_have_none(copies: apt_copies.Copies, text: str) -> None:
    (source,) = apt_area._sources("x.list" if text.startswith("deb") else "x.sources", text, copies)
    assert (source.uri, source.suite, source.components, source.options) == ("https://x", "y", ("main",), {})
    assert copies.originals == {}


@pytest.mark.parametrize("uri", ["mirror+file:{}", "mirror+file://{}", "mirror+file:{}/", "mirror+file://host{}"])
@pytest.mark.parametrize("path", ["/etc/mirrors", "/etc%2fmirrors"])
def test_a_list_of_mirrors_is_made_of_the_targets(
    copies: apt_copies.Copies, target: Target, uri: str, path: str
) -> None:
    (target.etc / "mirrors").write_text("# c\nhttp://x/y  \n\nfile:/srv\ttype:index\r\n")
    (source,) = apt_area._sources("x.sources", f"{STANZA}URIs: {uri.format(path)}\n", copies)
    assert source.uri == f"mirror+file:{copies.mirrors('/etc/mirrors')}"
    assert copied(copies) == {"/etc/mirrors": "http://x/y\ncopy:/srv\ttype:index\n"}


def test_a_list_of_mirrors_is_checked_though_it_is_a_key_as_well(copies: apt_copies.Copies, target: Target) -> None:
    (target.etc / "mirrors").write_text("../../tmp/evil:/x\n")
    text = "deb [signed-by=/etc/mirrors] https://x y main\ndeb mirror+file:/etc/mirrors y main\n"
    with pytest.raises(ToolError, match="list of mirrors") as caught:
        apt_area._sources("x.list", text, copies)
    assert caught.value.detail.startswith("/etc/mirrors, line 1: a mirror is a URI that begins with http:")


def test_a_list_of_mirrors_that_the_target_lacks_is_nothing(copies: apt_copies.Copies) -> None:
    (source,) = apt_area._sources("x.list", "deb mirror+file:/etc/mirrors y main\n", copies)
    assert source.uri == f"mirror+file:{copies.mirrors('/etc/mirrors')}"
    assert copied(copies) == {}


def test_what_is_read_of_a_target_has_an_end(target: Target, copies: apt_copies.Copies) -> None:
    for _ in range(apt_copies.FILES):
        copies.read("/none")
    with pytest.raises(ToolError, match="too many"):
        copies.read("/none")


def test_a_tree_of_files_that_include_each_other_is_refused_early(target: Target, tmp_path: Path) -> None:
    for level in range(9):
        inner = target.etc / f"apt/x/d{level}"
        inner.mkdir(parents=True)
        for number in range(10):
            (inner / f"f{number}").write_text(f'#include "/etc/apt/x/d{level + 1}/";\n' if level < 8 else 'A "b";\n')
    (target.etc / "apt/apt.conf").write_text('#include "/etc/apt/x/d0/";\n')
    with pytest.raises(ToolError, match="too many"):
        settings(target, tmp_path)


@pytest.mark.parametrize(
    ("file", "directory", "expected"),
    [(0o644, 0o755, 0o644), (0o604, 0o711, 0o644), (0o640, 0o755, 0o600), (0o600, 0o755, 0o600), (0o644, 0o750, 0o600)],
)
@pytest.mark.parametrize("kind", ["of", "mirrors"])
def test_a_copy_is_for_everybody_only_where_the_targets_file_is(
    target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, file: int, directory: int, expected: int
) -> None:
    given: list[tuple[str, str]] = []

    def fchown(descriptor: int, user: str, group: int) -> None:
        assert group == -1
        given.append((os.readlink(f"/proc/self/fd/{descriptor}"), user))

    monkeypatch.setattr(os, "fchown", fchown)
    monkeypatch.setattr(pwd, "getpwnam", lambda name: SimpleNamespace(pw_uid=f"number of {name}"))
    copies = apt_copies.Copies(target, tmp_path / "area", "fetcher")
    key = target.tree / DEBIAN[1:]
    key.write_text("http://x\n")
    key.chmod(file)
    key.parent.chmod(directory)
    copy = getattr(copies, kind)(DEBIAN)
    assert oct(Path(copy).stat().st_mode & 0o7777) == oct(expected)
    # Else apt could not verify anything with it.
    assert given == ([(copy, "number of fetcher")] if expected == 0o600 else [])


def test_a_link_to_a_closed_file_makes_no_open_copy(target: Target, tmp_path: Path) -> None:
    (target.etc / "closed").write_text("secret")
    (target.etc / "closed").chmod(0o600)
    (target.etc / "apt/keyrings/vendor.asc").unlink()
    (target.etc / "apt/keyrings/vendor.asc").symlink_to("../../closed")
    for directory, name in (("trusted.gpg.d", "x.gpg"), ("preferences.d", "x")):
        (target.etc / "apt" / directory).mkdir()
        (target.etc / "apt" / directory / name).symlink_to("/etc/closed")
    copies = apt_copies.Copies(target, tmp_path / "area", None)
    copies.of(VENDOR)
    apt_area._copy_sources(copies, ("amd64",))
    found = {path: path.stat().st_mode & 0o7777 for path in copies.place.glob("*/*")}
    assert len(found) == 3
    assert set(found.values()) == {0o600}


def test_the_digest_of_sources_tells_no_password(target: Target, tmp_path: Path) -> None:
    """It is in a file for everybody: a short password could be guessed."""
    found = []
    for who in ("admin:hunter2@", "admin:other@", ""):
        (target.etc / "apt/sources.list").write_text(f"deb http://{who}example.org/debian trixie main\n")
        copies = apt_copies.Copies(target, tmp_path / "area", None)
        found.append(apt_area._copy_sources(copies, ("amd64",))[0])
    assert found[0] == found[1] != found[2]


def test_what_apt_will_not_have_together_is_known_from_what_it_prints() -> None:
    text = (
        "The following packages have unmet dependencies:\n mta-a : Conflicts: mta\n mta-b:amd64 : Conflicts: mta\n"
        " brk : Breaks: old but 1 is to be installed\n       Breaks: older (< 2)\n"
        " x : Depends: y but it is not installable\n"
    )
    failed = proc.Result(("apt-get",), 100, text, "")
    assert apt_failures.clashing(failed) == {"mta-a", "mta-b", "mta", "brk", "old", "older"}


def test_a_secret_is_not_copied_where_nothing_is_fetched(copies: apt_copies.Copies) -> None:
    copies.of(VENDOR, secret=True)
    assert copied(copies) == {}


@pytest.mark.parametrize("path", ["/usr/../../shadow", "/etc/../../shadow", "/etc/apt/keyrings/link.gpg"])
def test_a_path_that_leads_out_of_the_target_is_not_copied(
    copies: apt_copies.Copies, target: Target, tmp_path: Path, path: str
) -> None:
    (target.etc / "apt/keyrings/link.gpg").symlink_to(tmp_path / "shadow")
    copies.of(path)
    assert copied(copies) == {}


def settings(target: Target, tmp_path: Path) -> dict[str, str]:
    return apt_area._settings(apt_copies.Copies(target, tmp_path / "area", None))


def test_the_settings_of_a_target_are_read_in_apts_order_and_from_what_apt_would_read(
    target: Target, tmp_path: Path
) -> None:
    parts = target.etc / "apt/apt.conf.d"
    parts.mkdir()
    for name, text in {
        "10a": 'Acquire::Retries "1"; APT::Default-Release "a";',
        "20b.conf": 'Acquire::Retries "2"; Acquire::Queue-Mode "host";',
        "30c.dpkg-old": 'Acquire::Retries "3";',
        ".40d": 'Acquire::Retries "4";',
    }.items():
        (parts / name).write_text(text)
    (parts / "50e").symlink_to(tmp_path / "shadow")
    (parts / "60f").mkdir()
    (target.etc / "apt/apt.conf").write_text(
        'Acquire::Queue-Mode "access"; #include "/usr/share/more"; Dir::Bin::dpkg "x";'
    )
    (target.tree / "usr/share/more").write_text('APT::Default-Release "b";')
    assert settings(target, tmp_path) == {
        "Acquire::Retries": "2", "APT::Default-Release": "b", "Acquire::Queue-Mode": "access",
    }  # fmt: skip


def test_settings_that_apt_could_not_read_are_an_error(target: Target, tmp_path: Path) -> None:
    (target.etc / "apt/apt.conf").write_text('Acquire::Retries "1')
    with pytest.raises(ToolError, match="apt configuration"):
        settings(target, tmp_path)


def test_a_certificate_is_the_targets_copy(target: Target, tmp_path: Path) -> None:
    (target.etc / "apt/apt.conf").write_text(f'Acquire::https::CaInfo "{VENDOR}";')
    assert Path(settings(target, tmp_path)["Acquire::https::CaInfo"]).read_text() == "vendor"


def test_messages_name_the_targets_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = proc.Result(("apt-get",), 1, "", "E: /area/etc/files/1-x.gpg is missing")
    monkeypatch.setattr(proc, "run", lambda *_, **__: result)
    area = apt_area.Apt(tmp_path, tmp_path / "apt.conf", "", {"/area/etc/files/1-x.gpg": "/etc/x.gpg"})
    assert area.run("apt-get", "update", check=False).stderr == "E: /etc/x.gpg is missing"


@pytest.mark.parametrize(("size", "expected"), [("12", 12 * 1024), ("", 0), ("many", 0)])
def test_solved_counts_bytes(size: str, expected: int) -> None:
    action = Action("Inst", "jq", "amd64", "1", None, STABLE)
    fields = {"sha256": "ab" * 32, "size": "7", "installed-size": size}
    assert apt.solved(action, fields) == Solved(Package("jq", "1", "amd64"), "ab" * 32, 7, expected, STABLE)


@pytest.mark.parametrize(
    ("name", "version", "sha256", "detail"),
    [
        ("jq", "1", "../../../home/mallory/x", "'../../../home/mallory/x' is not valid in the field SHA256"),
        ("jq", "1", "AB" * 32, f"'{'AB' * 32}' is not valid in the field SHA256"),
        ("jq", "1", "ab" * 31, f"'{'ab' * 31}' is not valid in the field SHA256"),
        ("jq", "1", "", "'' is not valid in the field SHA256"),
        ("../../x", "1", "ab" * 32, "'../../x' is not valid in the field Package"),
        # Nobody could take it out again: apt-get(8) would take out another.
        ("jq-", "1", "ab" * 32, "'jq-' is not valid in the field Package"),
        ("jq", "1/../../x", "ab" * 32, "'1/../../x' is not valid in the field Version"),
    ],
)
def test_words_of_an_index_that_could_lead_elsewhere_are_refused(
    name: str, version: str, sha256: str, detail: str
) -> None:
    with pytest.raises(ResolveError, match="the package lists are wrong about") as caught:
        apt.solved(Action("Inst", name, "amd64", version), {"sha256": sha256})
    assert caught.value.detail == detail


def failed(stdout: str = "", stderr: str = "") -> proc.Result:
    return proc.Result(("apt-get",), 100, stdout, stderr)


@pytest.fixture
def solver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> apt_area.Apt:
    """An apt that knows three packages; no child runs."""
    answers = {
        "apt-cache pkgnames": "vim\nvim-tiny\nemacs\n",
        "apt-cache show vim": "Package: vim\nVersion: 2:9.1-10\n\nPackage: vim\nVersion: 2:9.1-9\n",
    }

    def run(argv: list[str], **_: object) -> proc.Result:
        return proc.Result(tuple(argv), 0, answers[" ".join(argv)], "")

    monkeypatch.setattr(proc, "run", run)
    return apt_area.Apt(tmp_path, tmp_path / "apt.conf", "")


@pytest.mark.parametrize(
    ("stderr", "brief", "detail"),
    [
        ("E: Unable to locate package viim\n", "no package is named viim; did you mean vim?", ""),
        (
            "E: Unable to locate package qqqqqq\nE: Unable to locate package emcs\n",
            "cannot find qqqqqq, emcs",
            "no package is named qqqqqq\nno package is named emcs; did you mean emacs?",
        ),
        (
            "E: Version '1' for 'vim' was not found\n",
            "vim has no version 1; available: 2:9.1-9, 2:9.1-10",
            "",
        ),
        ("E: Release 'sid' for 'vim' was not found\n", "vim is not in suite sid", ""),
        (
            "E: Package 'awk' has no installation candidate\n",
            "awk is a virtual package, or no archive has it; name a package that provides it",
            "",
        ),
    ],
)
def test_explain_failure_names_what_is_not_there(solver: apt_area.Apt, stderr: str, brief: str, detail: str) -> None:
    error = apt_failures.explain_failure(solver, failed(stderr=stderr), ["vim"])
    assert isinstance(error, ResolveError)
    assert (error.brief, error.detail) == (brief, detail)


def test_explain_failure_shows_unmet_dependencies(solver: apt_area.Apt) -> None:
    stdout = (
        "Reading package lists...\nSome packages could not be installed.\n"
        "The following packages have unmet dependencies:\n"
        " toy:i386 : PreDepends: toy-pre:i386 but it is not installable\n"
    )
    stderr = "E: Unable to correct problems, you have held broken packages.\n"
    error = apt_failures.explain_failure(solver, failed(stdout, stderr), ["toy:i386", "vim"])
    assert error.brief == ("cannot install toy:i386, vim: toy depends on toy-pre:i386, which no configured archive has")
    assert error.detail == (
        "The following packages have unmet dependencies:\n"
        " toy:i386 : PreDepends: toy-pre:i386 but it is not installable\n"
        "Unable to correct problems, you have held broken packages."
    )


def test_a_link_of_the_target_never_means_a_file_of_the_running_system(tmp_path: Path) -> None:
    etc, tree, outside = tmp_path / "etc", tmp_path / "tree", tmp_path / "outside"
    sources = etc / "apt/sources.list.d"
    sources.mkdir(parents=True)
    (tree / "usr/share/vendor").mkdir(parents=True)
    (tree / "usr/share/vendor/own.list").write_text("vendor")
    outside.write_text("the host's own")
    (etc / "apt/sources.list").write_text("main")
    (sources / "a.list").symlink_to("/usr/share/vendor/own.list")
    (sources / "b.list").symlink_to(outside)
    (sources / "c.list").symlink_to("../../../outside")
    (sources / "d.list").write_text("plain")
    root = Target(tree, etc, ("amd64",))
    found = apt_copies.Copies(root, tmp_path, None).listed("sources.list", "sources.list.d", {".list"})
    assert [(name, file.text) for name, file in found] == [
        ("sources.list", "main"),
        ("sources.list.d/a.list", "vendor"),
        ("sources.list.d/d.list", "plain"),
    ]


@pytest.mark.parametrize(
    ("sources", "security"),
    [
        ("Debian-Security:13/stable-security", True),
        ("Debian:13.1/stable, Debian-Security:13/stable-security", True),
        ("example:stable-security", True),
        ("Debian:13.1/stable", False),
        ("security-tools:stable", False),
        ("cache", False),
    ],
)
def test_a_security_update_is_known_by_where_it_came_from(sources: str, security: bool) -> None:
    assert apt.is_security(sources) is security


class Updates:
    """An area whose lists were fetched at a time, and the fetches that follow at the time ``NOW``."""

    NOW = 1_800_000_000.0

    def __init__(self, area: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.apt = apt_area.Apt(area, area / "apt.conf", "these")
        self.fetched = 0
        monkeypatch.setattr(time, "time", lambda: self.NOW)
        monkeypatch.setattr(proc, "run", self._run)

    def _run(self, argv: list[str], **_: object) -> proc.Result:
        assert argv[:2] == ["apt-get", "update"]
        self.fetched += 1
        return proc.Result(tuple(argv), 0, "", "")

    def stamp(self, age: float, sources: str = "these") -> None:
        document = {"sources": sources, "time": self.NOW - age}
        (self.apt.area / "lists.json").write_text(json.dumps(document))


@pytest.fixture
def updates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Updates:
    return Updates(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("age", "fetches"),
    [(0, False), (-1, True), (-9e9, True), (24 * 3600 - 1, False), (24 * 3600, True), (24 * 3600 + 1, True)],
)
def test_package_lists_are_fetched_again_when_they_are_a_day_old(updates: Updates, age: float, fetches: bool) -> None:
    updates.stamp(age)
    assert apt.refresh(updates.apt) is fetches
    assert updates.fetched == fetches
    # They are fresh then.
    assert apt.refresh(updates.apt) is False


def test_package_lists_of_other_sources_are_not_fresh(updates: Updates) -> None:
    updates.stamp(0, "others")
    assert not apt.have_lists(updates.apt)
    assert apt.refresh(updates.apt) is True
    assert apt.have_lists(updates.apt)


def test_fresh_package_lists_are_fetched_when_that_is_asked_for(updates: Updates) -> None:
    updates.stamp(0)
    assert apt.refresh(updates.apt, force=True) is True


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "{",
        "{}",
        "[1]",
        "[" * 9999,
        '{"sources": "these", "time": Infinity}',
        '{"sources": "these", "time": "x"}',
    ],
)
def test_package_lists_of_an_unknown_age_are_fetched(updates: Updates, text: str | None) -> None:
    if text is not None:
        (updates.apt.area / "lists.json").write_text(text)
    assert not apt.have_lists(updates.apt)
    assert apt.refresh(updates.apt) is True


@pytest.mark.parametrize(
    ("requests", "text"),
    [
        (["vim", "jq"], "cannot install vim, jq"),
        (["-nano"], "cannot remove nano"),
        (["-nano", "vim"], "cannot install vim"),
    ],
)
def test_an_error_says_whether_to_install_or_to_remove_failed(requests: list[str], text: str) -> None:
    assert apt_failures.cannot(requests) == text


def test_a_dependency_that_no_archive_has_is_named_first(solver: apt_area.Apt) -> None:
    stdout = (
        "The following packages have unmet dependencies:\n"
        " needy : Depends: libdoesnotexist (>= 3) but it is not installable\n"
    )
    error = apt_failures.explain_failure(solver, failed(stdout), ["needy"])
    assert error.brief == (
        "cannot install needy: it depends on libdoesnotexist (>= 3), which no configured archive has"
    )


def test_a_source_on_this_disk_is_copied_and_named_as_it_was_written(copies: apt_copies.Copies) -> None:
    (source,) = apt_area._sources("x.list", "deb [trusted=yes] file:/srv/x y main\n", copies)
    assert source.uri == "copy:/srv/x"
    # In what apt says, the one stands for the other.
    assert copies.originals == {"copy:/srv/x": "file:/srv/x"}
