"""The command line: words in, exit status and text out; no command here gets as far as an operation."""

from __future__ import annotations

import io
import json
import os
import platform
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer

from apt_ostree import __version__, errors
from apt_ostree.changes import Change
from apt_ostree.cli import command, difference, documents, layout, progress, results, streams
from apt_ostree.cli import main as cli
from apt_ostree.cli.status import status_json, status_text
from apt_ostree.errors import AptOstreeError, Interrupted, ResolveError, ToolError
from apt_ostree.host import proc
from apt_ostree.model import CommitInfo, Deployment, Intent, LocalPackage, Package, Plan, Solved
from apt_ostree.ops import query
from apt_ostree.ops.layer import Outcome
from apt_ostree.ops.query import DeploymentStatus, PackageDetails, Status
from apt_ostree.system.lock import Holder
from apt_ostree.tree.etc import Conflict
from tests.unit.fake import Fake


@pytest.fixture(autouse=True)
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    # Nothing here changes a system, whoever runs the tests.
    monkeypatch.setattr(os, "geteuid", lambda: 0)


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int | str | None, str, str]:
    """The exit status and what was printed."""
    with pytest.raises(SystemExit) as caught:
        cli.main(list(words))
    out, err = capsys.readouterr()
    return caught.value.code, out, err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version") == (0, f"apt-ostree {__version__}\n", "")


@pytest.mark.parametrize("words", [["--version", "-v"], ["-v", "--version"], ["--verbose", "--version"]])
def test_version_in_detail_lists_the_tools_those_that_are_missing_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    printed = {
        "ostree": "libostree:\n Version: '2025.2'\n Git: abc\n",
        "apt-get": "apt 3.0.3 (amd64)\nSupported modules:\n",
        "dpkg": "Debian 'dpkg' package management program version 1.22.21 (amd64).\n",
        "mmdebstrap": "",
        "systemctl": "systemd 257 (257.8-1~deb13u2)\n",
    }

    def answer(argv: tuple[str, ...], *, check: bool) -> proc.Result:
        if argv[0] not in printed:
            raise ToolError(f"{argv[0]} is not installed")
        return proc.Result(argv, 1 if argv[0] == "dpkg" else 0, printed[argv[0]], "")

    monkeypatch.setattr(proc, "run", answer)
    monkeypatch.setattr(platform, "python_version", lambda: "3.13.5")
    monkeypatch.setattr(platform, "release", lambda: "6.12.48+deb13-amd64")
    assert run(capsys, *words) == (
        0,
        f"apt-ostree {__version__}\nostree 2025.2\nbwrap (not found)\napt 3.0.3\ndpkg 1.22.21\n"
        "mmdebstrap (not found)\nsystemd 257\npython 3.13.5\nkernel 6.12.48+deb13-amd64\n",
        "",
    )


def test_an_option_alone_is_not_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "-v")
    assert (status, out, err.splitlines()[0]) == (2, "", "error: missing command")


@pytest.mark.parametrize(
    "words",
    [
        ["--no-such-option"],
        ["status", "--no-such-option"],
        ["no-such-command"],
        ["install"],
        ["install", "--wait-timeout", "soon", "vim"],
        ["install", "--wait-timeout", "-1", "vim"],
        ["install", "--wait-timeout", "nan", "vim"],
        ["db", "no-such-command"],
        ["compose", "tree", "x.toml"],
    ],
)
def test_a_command_line_that_cannot_be_read_exits_2(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    status, out, err = run(capsys, *words)
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert "  Usage: apt-ostree " in err
    assert re.fullmatch(r"See 'apt-ostree[a-z -]* --help'\.", err.splitlines()[-1])


def test_a_command_line_that_cannot_be_read_is_an_error_in_json_where_that_was_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, out, _ = run(capsys, "install", "--json", "--no-such-option", "vim")
    assert status == 2
    assert json.loads(out)["error"]["id"] == "usage"
    assert json.loads(out)["error"]["brief"] == "no such option: --no-such-option"


@pytest.mark.parametrize(
    ("words", "built"),
    [
        (["status"], {"status"}),
        (["--sysroot", "/x", "install", "vim"], {"install"}),
        (["db", "diff"], {"db"}),
        (["install", "status"], {"install", "status"}),
    ],
)
def test_only_the_commands_that_a_word_names_are_built(words: list[str], built: set[str]) -> None:
    assert typer.main.get_command(command.only_named(command.app, words)).commands.keys() == built  # type: ignore[attr-defined]


@pytest.mark.parametrize("words", [[], ["--help", "status"], ["-qh", "status"], ["instal", "status"], ["--version"]])
def test_all_commands_are_there_for_the_help_and_for_hints(words: list[str]) -> None:
    assert command.only_named(command.app, words) is command.app


def test_a_command_that_does_not_exist_is_answered_with_a_similar_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["instal", "status"])
    assert "install" in capsys.readouterr().err


def test_without_a_command_the_commands_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys)
    assert (status, err) == (0, "")
    assert "  install  " in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["install", "bad\udcff\udcfe"], r"the argument bad\xff\xfe is not UTF-8"),
        (["status", "--sysroot", "/\udcff"], r"the argument /\xff is not UTF-8"),
        (["uninstall"], "name the packages to uninstall, or use --all"),
        (["uninstall", "--all", "vim"], "name the packages to uninstall, or use --all"),
        (["cleanup"], "choose what to clean up: -p, -r, -b or -m"),
        (["compose", "tree", "--repo", "/r", "--add-metadata", "x", "m"], "--add-metadata takes KEY=VALUE, not 'x'"),
        (["compose", "tree", "--repo", "/r", "--add-metadata", "=x", "m"], "--add-metadata takes KEY=VALUE, not '=x'"),
        (["db", "diff", "1", "2", "3"], "db diff takes at most two revisions"),
        (
            ["compose", "sysroot", "--repo", "/r", "--remote-url", "https://example.org", "ref", "/p"],
            "--remote-url needs a key to verify updates with",
        ),
        (
            ["compose", "sysroot", "--repo", "/r", "--gpg-import", __file__, "ref", "/p"],
            "--gpg-import needs --remote-url",
        ),
        (["install", "Vim"], "'Vim' is not a valid package name"),
        (["upgrade", "--install", ""], "'' is not a valid package name"),
        (["upgrade", "--check", "vim"], "--check and PKG cannot be combined"),
        (["upgrade", "--check", "--preview"], "--check and --preview cannot be combined"),
        (["upgrade", "--check", "--security", "-r"], "--check cannot be combined with --security, --reboot"),
        (
            ["upgrade", "--check", "-D", "--no-recommends"],
            "--check cannot be combined with --download-only, --recommends",
        ),
        (
            ["upgrade", "--check", "--skip-missing", "--install", "jq"],
            "--check cannot be combined with --install, --skip-missing",
        ),
        (["upgrade", "--preview", "-D"], "--preview and --download-only cannot be combined"),
        (["upgrade", "--layers-only", "--allow-downgrade"], "--layers-only and --allow-downgrade cannot be combined"),
        (["install", "vim", "-D", "-r"], "--download-only and --reboot cannot be combined"),
        (["finalize-deployment"], "name the expected CHECKSUM, or use --allow-missing-checksum"),
        (["rebase", ""], "'' is not a valid base"),
        (["rebase", "a b:c"], "'a b:c' is not a valid base"),
        (["rebase", "example:../x"], "'example:../x' is not a valid base"),
        (["remote", "add", "", "https://example.org"], "'' is not a valid name for a remote"),
        (["remote", "add", "a/b", "https://example.org"], "'a/b' is not a valid name for a remote"),
        (["remote", "add", "a", ""], "'' is not a valid URL"),
        (["apply", ""], "invalid value for 'FILE.toml': the file name is empty"),
        (["install", "vim", "--debconf", ""], "invalid value for '--debconf': the file name is empty"),
        (["remote", "add", "a", "ftp://e"], "'ftp://e' is not a valid URL"),
        (["remote", "add", "a", "https://a b"], "'https://a b' is not a valid URL"),
        (["remote", "add", "a", "file:///a", "--set", "a b=c"], "--set takes KEY=VALUE, not 'a b=c'"),
        (["remote", "add", "a", "file:///a", "--set", "=c"], "--set takes KEY=VALUE, not '=c'"),
        (["remote", "add", "a", "file:///a", "--set", "gpg-verify=false"], "--set cannot be used for 'gpg-verify'"),
        (["remote", "add", "a", "file:///a", "--set", "sign-verify=false"], "--set cannot be used for 'sign-verify'"),
        (
            ["compose", "sysroot", "--repo", "/r", "--karg", "quiet\nlinux /evil", "x", "/p"],
            "'quiet\\nlinux /evil' is not a valid kernel argument",
        ),
        (["remote", "delete", "../a"], "'../a' is not a valid name for a remote"),
        (["install", "vim", "--uninstall", "--all"], "'--all' is not a valid package name"),
    ],
)
def test_a_usage_error_exits_2_with_its_message(
    capsys: pytest.CaptureFixture[str], fake: Path, words: list[str], message: str
) -> None:
    status, out, err = run(capsys, *words, *(["--sysroot", str(fake)] if words[0] == "db" else []))
    assert (status, out) == (2, "")
    assert err.splitlines()[0] == f"error: {message}"


@pytest.mark.parametrize(
    "words",
    [
        ["remote", "add", "a", "https://me:secret@e"],
        ["remote", "add", "a", "mirrorlist=https://token@e"],
        ["remote", "add", "a", "https://e", "--set", "proxy=http://me:secret@e"],
        ["remote", "add", "a", "https://e", "--set=contenturl=https://me:secret@e"],
        ["compose", "sysroot", "--repo", "/r", "--remote-url", "https://me:secret@e", "--no-gpg-verify", "x", "/p"],
    ],
)
def test_a_password_in_a_remotes_url_is_refused(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    status, out, err = run(capsys, *words)
    assert (status, out) == (2, "")
    assert err.startswith("error: the URL of a remote must not hold a user name or password\n")
    assert "secret" not in err


@pytest.mark.parametrize(
    "words",
    [
        ["install", "vim"],
        ["uninstall", "vim"],
        ["uninstall", "--all"],
        ["rollback"],
        ["cleanup", "-b"],
        ["reset"],
        ["upgrade"],
        ["upgrade", "--check"],
        ["upgrade", "--preview"],
        ["rebase", "a:b"],
        ["deploy", "12.1"],
        ["refresh-md"],
        ["remote", "add", "a", "https://example.org"],
        ["remote", "delete", "a"],
        ["kargs", "--append=x"],
        ["kargs", "--editor"],
        ["pin", "0"],
        ["unpin", "0"],
    ],
)
def test_a_command_that_changes_a_system_needs_root(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, fake: Path, words: list[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert run(capsys, *words, "--sysroot", str(fake)) == (
        1, "", "error: this needs root\nRun it with sudo, or as root.\n",
    )  # fmt: skip


def test_anybody_may_look_at_the_kernel_arguments(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    system = Fake(tmp_path / "sysroot")
    system.deploy("a" * 64, "2", options="rw {} console=tty0 console=ttyS0")
    system.deploy("b" * 64, "1", options="rw {}")
    where = ["kargs", "--sysroot", str(system.path)]
    assert run(capsys, *where) == (0, "rw console=tty0 console=ttyS0\n", "")
    assert run(capsys, *where, "--deploy-index", "1") == (0, "rw\n", "")


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Deployments of two stateroots: debian at 0 and 2, other at 1 and 3."""
    system = Fake(tmp_path / "sysroot")
    for number, (checksum, osname) in enumerate((("a", "debian"), ("b", "other"), ("c", "debian"), ("d", "other"))):
        origin = f"[apt-ostree]\ninitramfs-etc=/etc/{osname};\n"
        system.deploy(checksum * 64, str(4 - number), origin, osname=osname, file=f"ostree-{4 - number}.conf")
    return system.path


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "cccccccccccc -> aaaaaaaaaaaa"),
        (["--stateroot", "other"], "dddddddddddd -> bbbbbbbbbbbb"),
        (["2", "--stateroot", "other"], "bbbbbbbbbbbb -> cccccccccccc"),
    ],
)
def test_differences_are_those_of_one_stateroot(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, mixed: Path, words: list[str], line: str
) -> None:
    monkeypatch.setattr(query, "package_list", lambda *_: [])
    assert run(capsys, "db", "diff", *words, "--sysroot", str(mixed)) == (0, f"{line}\nNo packages differ.\n", "")


@pytest.mark.parametrize("osname", ["debian", "other"])
def test_the_initramfs_is_that_of_the_stateroots_own_deployment(
    capsys: pytest.CaptureFixture[str], mixed: Path, osname: str
) -> None:
    status, out, _ = run(capsys, "initramfs-etc", "--stateroot", osname, "--sysroot", str(mixed))
    assert (status, out.splitlines()[-1]) == (0, f"Tracked      /etc/{osname}")


def test_remotes_of_the_administrators_own_files_are_shown_as_such(
    capsys: pytest.CaptureFixture[str], mixed: Path
) -> None:
    (mixed / "ostree/repo/config").write_text('[remote "b"]\nurl=https://example.org/b\n')
    place = mixed / f"ostree/deploy/other/deploy/{'b' * 64}.0/etc/ostree/remotes.d"
    place.mkdir(parents=True)
    (place / "a.conf").write_text('[remote "a"]\nurl=https://u:p@example.org/a\ngpg-verify=false\n')
    (place / "note.txt").write_text("no remote\n")
    words = ["remote", "list", "-u", "--sysroot", str(mixed)]
    assert run(capsys, *words) == (0, "b  https://example.org/b\n", "")
    assert run(capsys, *words, "--stateroot", "other")[1].splitlines() == [
        f"a  https://***@example.org/a  (not verified)  (in {place}/a.conf)",
        "b  https://example.org/b",
    ]


@pytest.mark.parametrize("words", [["initramfs"], ["initramfs-etc"], ["db", "list"], ["kargs"]])
def test_what_needs_a_deployment_says_so(capsys: pytest.CaptureFixture[str], fake: Path, words: list[str]) -> None:
    status, _, err = run(capsys, *words, "--sysroot", str(fake))
    assert (status, err.splitlines()[0]) == (1, f"error: {fake} has no deployment")


@pytest.mark.parametrize("words", [["remote", "list"], ["db", "list", "0"], ["db", "version", "0"], ["initramfs"]])
def test_a_stateroot_that_is_not_there_is_named(
    capsys: pytest.CaptureFixture[str], mixed: Path, words: list[str]
) -> None:
    status, _, err = run(capsys, *words, "--stateroot", "nonsense", "--sysroot", str(mixed))
    assert (status, err.splitlines()[0]) == (1, f"error: stateroot nonsense does not exist in {mixed}")


@pytest.fixture
def fake(tmp_path: Path) -> Path:
    """A sysroot without deployments."""
    (tmp_path / "ostree/repo").mkdir(parents=True)
    (tmp_path / "ostree/repo/config").touch()
    return tmp_path


@pytest.mark.parametrize("before", [True, False])
def test_options_may_stand_before_and_after_the_command(
    capsys: pytest.CaptureFixture[str], fake: Path, before: bool
) -> None:
    option = ["--sysroot", str(fake)]
    words = [*option, "status"] if before else ["status", *option]
    cli_status = run(capsys, *words)
    assert cli_status == (0, "No deployments.\n", "")


def test_where_nothing_is_booted_status_says_so_and_nothing_is_pending(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Status(Path("/"), (replace(LAYERED, pending=True), replace(LAYERED, pending=False)), None)
    monkeypatch.setattr(query, "status", lambda *_, **__: found)
    assert run(capsys, "status", "-b") == (0, "No deployment is booted.\n", "")
    assert run(capsys, "status", "--pending-exit-77")[0] == 0
    found = replace(found, deployments=(*found.deployments, BOOTED))
    assert run(capsys, "status", "--pending-exit-77")[0] == 77


def test_status_as_json_carries_the_schemas_number(capsys: pytest.CaptureFixture[str], fake: Path) -> None:
    status, out, _ = run(capsys, "status", "--json", "--sysroot", str(fake))
    assert status == 0
    assert json.loads(out) == {
        "schema": 1,
        "deployments": [],
        "transaction": None,
        "cached-update": None,
        "finalization-failure": None,
    }


def test_an_error_says_what_failed_why_and_what_to_do(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(capsys, "status", "--sysroot", str(tmp_path)) == (
        1,
        "",
        f"error: {tmp_path} is not an OSTree sysroot\n"
        f"  {tmp_path}/ostree/repo does not exist\n"
        "Name one with --sysroot, or make one with 'apt-ostree compose sysroot'.\n",
    )


def test_without_proc_a_command_says_what_is_missing_and_help_still_works(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.path.isdir", lambda path: False)
    status, out, err = run(capsys, "status")
    assert (status, out) == (1, "")
    assert err.startswith("error: /proc is not mounted\n")
    assert err.endswith("Mount it, and run the command again: mount -t proc proc /proc\n")
    assert run(capsys, "status", "--help")[0] == 0
    assert run(capsys, "--version")[0] == 0


def test_an_error_is_a_document_too_where_json_was_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> Status:
        raise ResolveError("brief", "a\nb", "do this")

    monkeypatch.setattr(query, "status", fail)
    status, out, err = run(capsys, "status", "--json")
    assert (status, err) == (1, "error: brief\n  a\n  b\ndo this\n")
    assert json.loads(out) == {
        "schema": 1,
        "error": {"id": "resolve", "brief": "brief", "detail": "a\nb", "resolution": "do this"},
    }


@pytest.mark.parametrize(
    ("failure", "status", "err"),
    [
        (ResolveError("brief", "a\nb", "do this"), 1, "error: brief\n  a\n  b\ndo this\n"),
        (AptOstreeError("name \udcff"), 1, "error: name \\xff\n"),
        (Interrupted(15), 143, "error: interrupted (SIGTERM)\nNothing was changed; run it again.\n"),
        (PermissionError(13, "Permission denied", "/x"), 1, "error: Permission denied: /x\n"),
        (OSError("odd"), 1, "error: odd\n"),
        (BrokenPipeError(), 1, ""),
    ],
)
def test_any_failure_becomes_an_exit_status_and_a_message(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, failure: Exception, status: int, err: str
) -> None:
    def fail(*_: object, **__: object) -> Status:
        raise failure

    monkeypatch.setattr(query, "status", fail)
    assert run(capsys, "status") == (status, "", err)


ERRORS = {
    errors.AptOstreeError: ("failed", 1),
    errors.UsageError: ("usage", 2),
    errors.ManifestError: ("manifest", 2),
    errors.HostFileError: ("host-file", 2),
    errors.ConfigError: ("configuration", 2),
    errors.NotRootError: ("not-root", 1),
    errors.SysrootError: ("sysroot", 1),
    errors.LockedError: ("locked", 1),
    errors.CancelError: ("cancel", 1),
    errors.JournalError: ("journal", 1),
    errors.ChangedError: ("changed", 1),
    errors.ResolveError: ("resolve", 1),
    errors.UnavailableError: ("unavailable", 1),
    errors.RemoteError: ("remote", 1),
    errors.DownloadError: ("download", 1),
    errors.PackageError: ("package", 1),
    errors.ScriptError: ("script", 1),
    errors.SpaceError: ("space", 1),
    errors.TreeError: ("tree", 1),
    errors.ToolError: ("tool", 1),
    errors.OutputError: ("output", 1),
    errors.UnexpectedError: ("unexpected", 1),
    errors.Interrupted: ("interrupted", 130),
}
"""The id and the exit status of each class, on which programs rely."""


def instance(kind: type[AptOstreeError]) -> AptOstreeError:
    if kind is errors.UnexpectedError:
        return errors.UnexpectedError(KeyError("x"))
    if kind is errors.OutputError:
        return errors.OutputError(OSError("detail"))
    if kind is errors.Interrupted:
        return errors.Interrupted(2)
    if kind is errors.UnavailableError:
        return errors.UnavailableError({"vim": "no archive has vim"})
    return kind("brief", "detail", "resolution")


def test_every_class_of_errors_has_its_status_here() -> None:
    found = {value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, AptOstreeError)}
    assert found == ERRORS.keys()


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_an_error_keeps_its_id_and_its_exit_status(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, kind: type[AptOstreeError]
) -> None:
    failure = instance(kind)

    def fail(*_: object, **__: object) -> Status:
        raise failure

    monkeypatch.setattr(query, "status", fail)
    status, out, err = run(capsys, "status", "--json")
    assert (json.loads(out)["error"]["id"], status) == ERRORS[kind]
    assert json.loads(out)["error"]["brief"] == failure.brief
    assert err.startswith(f"error: {failure.brief}\n")
    assert run(capsys, "status")[:2] == (status, "")


@pytest.mark.parametrize(
    "failure",
    [
        AptOstreeError(*["http://me:secret@example.org/ does not answer"] * 3),
        OSError("http://me:secret@example.org/ does not answer"),
        OSError(2, "No such file or directory", "http://me:secret@example.org/"),
        proc.ChildError(proc.Result(("apt-get",), 100, "", "E: Failed to fetch http://me:secret@example.org/x")),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_no_error_prints_a_password(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    def fail(*_: object, **__: object) -> Status:
        raise failure

    monkeypatch.setattr(query, "status", fail)
    _, out, err = run(capsys, "status", "--json")
    assert "http://***@example.org/" in err
    assert "http://***@example.org/" in json.dumps(json.loads(out))
    assert "secret" not in out + err


def test_a_failure_of_the_system_is_a_document_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> Status:
        raise PermissionError(13, "Permission denied", "/x")

    monkeypatch.setattr(query, "status", fail)
    status, out, _ = run(capsys, "status", "--json")
    assert status == 1
    assert json.loads(out)["error"] == {
        "id": "failed", "brief": "Permission denied: /x", "detail": "", "resolution": "",
    }  # fmt: skip


@pytest.mark.parametrize(("words", "status"), [([], 0), (["--unchanged-exit-77"], 77)])
def test_no_change_exits_77_where_that_was_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: list[str], status: int
) -> None:
    monkeypatch.setattr(query, "db_diff", lambda *_, **__: query.Comparison("a" * 64, "b" * 64, Change()))
    assert run(capsys, "db", "diff", *words) == (status, "aaaaaaaaaaaa -> bbbbbbbbbbbb\nNo packages differ.\n", "")


def test_a_change_exits_0_even_where_77_was_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    change = Change(added=(Package("jq", "1", "all"),))
    monkeypatch.setattr(query, "db_diff", lambda *_, **__: query.Comparison("a" * 64, "b" * 64, change))
    assert run(capsys, "db", "diff", "--unchanged-exit-77") == (
        0, "aaaaaaaaaaaa -> bbbbbbbbbbbb\nAdded:\n  jq 1 all\n", "",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"), (1, "1 B"), (999, "999 B"), (1000, "1.0 kB"), (1550, "1.6 kB"), (99_000, "99.0 kB"),
        (1_000_000, "1.0 MB"), (241_300_000, "241.3 MB"), (1_000_000_000, "1.0 GB"), (2_500_000_000_000, "2500.0 GB"),
    ],
)  # fmt: skip
def test_size(count: int, text: str) -> None:
    assert layout.size(count) == text


A, B = "a" * 64, "b" * 64
JQ, AGENT = Package("jq", "1.7.1-6", "amd64"), Package("agent", "1:2", "all")
LOCAL = LocalPackage("c" * 64, AGENT)
BASE = CommitInfo(B, None, 1_700_000_000, "", {"version": "13.1"})
LAYER = CommitInfo(A, B, 1_700_000_060, "", {"apt-ostree.clientlayer": "true", "version": "13.1"})


def entry(
    index: int, info: CommitInfo, *, booted: bool = False, staged: bool = False, pinned: bool = False,
    pending: bool = False, rollback: bool = False, refspec: str = "debian:debian/13", intent: Intent | None = None,
    layered: tuple[Solved, ...] = (), base: CommitInfo = BASE, inactive: dict[str, str] | None = None,
) -> DeploymentStatus:  # fmt: skip
    deployment = Deployment(index, "debian", info.checksum, 0, "root=LABEL=x quiet", {}, booted, staged, pinned)
    return DeploymentStatus(
        deployment,
        info,
        base,
        refspec,
        intent or Intent(),
        layered,
        inactive or {},
        (),
        (),
        pending=pending,
        rollback=rollback,
    )


LAYERED = entry(
    0,
    LAYER,
    pending=True,
    intent=Intent(("jq", "vim=2"), (LOCAL,)),
    layered=(Solved(JQ, "d" * 64, 7, 1_500_000), Solved(AGENT, "c" * 64, 8, 500)),
    inactive={"vim=2": "vim 2 is part of the base"},
)
BOOTED = entry(1, BASE, booted=True, pinned=True, rollback=False)


def text(*entries: DeploymentStatus, verbose: bool = False, transaction: Holder | None = None) -> str:
    return "\n".join(status_text(Status(Path("/"), entries, transaction), verbose=verbose))


def test_status_shows_deployments_in_boot_order() -> None:
    assert text(LAYERED, BOOTED) == (
        "  debian:debian/13                                             pending\n"
        "      Version  13.1  (2023-11-14 22:13 UTC)\n"
        "         Base  bbbbbbbbbbbb   Layer  aaaaaaaaaaaa\n"
        "    Requested  jq  vim=2\n"
        "        Local  agent 1:2\n"
        "      Layered  2 packages, 1.5 MB\n"
        "     Inactive  vim=2: vim 2 is part of the base\n"
        "● debian:debian/13                                             booted pinned\n"
        "      Version  13.1  (2023-11-14 22:13 UTC)\n"
        "         Base  bbbbbbbbbbbb   (no layer)"
    )


def test_a_value_of_two_lines_adds_none_to_what_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """A version comes from the base's author: it must not look like another deployment."""
    forged = replace(BOOTED, base=replace(BASE, metadata={"version": "1\n● debian:debian/13  booted pinned"}))
    for shown in text(BOOTED).split("\n"):
        streams.line(shown)
    lines = capsys.readouterr().out.count("\n")
    for shown in status_text(Status(Path("/"), (forged,), None), verbose=False):
        streams.line(shown)
    out = capsys.readouterr().out
    assert out.count("\n") == lines
    assert "1\\x0a● debian" in out


def test_status_in_detail_shows_kernel_arguments_who_made_it_packages_and_kept_files() -> None:
    made = {"apt-ostree.uid": "1000", "apt-ostree.command": "apt-ostree install jq vim=2"}
    info = replace(LAYER, metadata={**LAYER.metadata, **made})
    detailed = replace(LAYERED, commit=info, details=(), etc=(Conflict("/etc/issue", "changed", "removed"),))
    assert text(detailed, verbose=True).splitlines()[7:] == [
        "        Kargs  root=LABEL=x quiet",
        "      Made by  uid 1000: apt-ostree install jq vim=2",
        "     Packages  jq 1.7.1-6 amd64",
        "               agent 1:2 all",
        " Kept in /etc  /etc/issue (changed here, removed by the new tree)",
    ]


def test_status_keeps_to_the_columns_of_a_terminal() -> None:
    names = tuple(f"package-{number}" for number in range(11))
    old, new = Package("openssl", "3.5.1-1", "amd64"), Package("openssl", "3.5.1-1+deb13u2", "amd64")
    wide = replace(
        LAYERED,
        deployment=replace(LAYERED.deployment, pinned=True, kargs=" ".join(f"console=ttyS{n}" for n in range(9))),
        intent=Intent(names),
        refspec="remote:debian/testing/x86_64/with-a-rather-long-name-of-that-flavour",
        removed=tuple(Package(f"removed-{n}", "1", "all") for n in range(5)),
        replaced=((old, new),),
        inactive={"a-package-with-a-name": "a-package-with-a-name 1.2.3-4 is part of the base, in this very version"},
        etc=(Conflict("/etc/a/path/that/is/quite/long/for/a/terminal.conf", "changed", "removed"),),
    )
    lines = list(status_text(Status(Path("/"), (wide,), None), verbose=True, width=80))
    assert max(map(len, lines)) <= 80
    assert lines[:9] == [
        "  remote:debian/testing/x86_64/with-a-rather-long-name-of-that-flavour",
        "               pending pinned",
        "      Version  13.1  (2023-11-14 22:13 UTC)",
        "         Base  bbbbbbbbbbbb   Layer  aaaaaaaaaaaa",
        "    Requested  package-0  package-1  package-2  package-3  package-4  package-5",
        "               package-6  package-7  package-8  package-9  package-10",
        "      Layered  2 packages, 1.5 MB",
        "    Overrides  - removed-0   - removed-1   - removed-2   - removed-3",
        "               - removed-4   openssl 3.5.1-1 -> 3.5.1-1+deb13u2",
    ]
    # A pipe gets a line a fact.
    assert text(wide, verbose=True).splitlines()[3] == "    Requested  " + "  ".join(names)


def test_status_of_a_base_without_version_and_origin() -> None:
    bare = CommitInfo(B, None, 0, "", {})
    assert text(entry(0, bare, refspec="", base=bare)) == (
        "  debian\n      Version  (none)  (1970-01-01 00:00 UTC)\n         Base  bbbbbbbbbbbb   (no layer)"
    )


@pytest.mark.parametrize(
    ("facts", "flags"),
    [
        ({}, ""),
        ({"staged": True, "pending": True}, "staged"),
        ({"pending": True}, "pending"),
        ({"rollback": True, "pinned": True}, "rollback pinned"),
        ({"booted": True}, "booted"),
        ({"staged": True, "locked": True}, "staged locked"),
    ],
)
def test_status_flags(facts: dict[str, bool], flags: str) -> None:
    status = entry(
        0, BASE,
        booted=facts.get("booted", False), staged=facts.get("staged", False), pinned=facts.get("pinned", False),
        pending=facts.get("pending", False), rollback=facts.get("rollback", False),
    )  # fmt: skip
    status = replace(status, deployment=replace(status.deployment, locked=facts.get("locked", False)))
    first = text(status).splitlines()[0]
    assert first[2:].split("debian:debian/13")[1].strip() == flags
    assert first.startswith("●") is facts.get("booted", False)


def test_status_names_the_transaction_in_progress() -> None:
    holder = Holder(7, "2026-01-01T00:00:00+00:00", ("apt-ostree", "upgrade"))
    assert text(transaction=holder) == (
        "No deployments.\n\nIn progress: process 7, since 2026-01-01T00:00:00+00:00: apt-ostree upgrade"
    )


def test_status_says_that_nothing_was_finalised() -> None:
    found = Status(Path("/"), (), None, not_finalised="Creating\napp/sub: Not a directory")
    assert list(status_text(found, verbose=False))[2:] == [
        "The last shutdown did not finalise the staged deployment: Creating app/sub: Not a directory",
        "See 'journalctl -b -1 -u ostree-finalize-staged'.",
    ]
    assert status_json(found)["finalization-failure"] == "Creating\napp/sub: Not a directory"


def test_status_json_of_a_layer() -> None:
    document = status_json(Status(Path("/"), (LAYERED,), None))["deployments"][0]
    expected: dict[str, Any] = {
        "id": f"debian-{A}.0",
        "checksum": A,
        "base-checksum": B,
        "version": "13.1",
        "timestamp": 1_700_000_060,
        "origin": "debian:debian/13",
        "booted": False,
        "pending": True,
        "staged": False,
        "rollback": False,
        "pinned": False,
        "packages": [
            {"name": "jq", "version": "1.7.1-6", "architecture": "amd64"},
            {"name": "agent", "version": "1:2", "architecture": "all"},
        ],
        "requested-packages": ["jq", "vim=2"],
        "requested-local-packages": [
            {"name": "agent", "version": "1:2", "architecture": "all", "sha256": "c" * 64}
        ],
        "inactive-requests": [{"request": "vim=2", "reason": "vim 2 is part of the base"}],
        "kargs": "root=LABEL=x quiet",
    }  # fmt: skip
    assert {key: document[key] for key in expected} == expected


CHANGE = Change((JQ,), (AGENT,), ((Package("vim", "1", "amd64"), Package("vim", "2", "amd64")),))


def test_change_lines() -> None:
    assert difference.lines(CHANGE) == [
        "Added:", "  jq 1.7.1-6 amd64", "Removed:", "  agent 1:2 all", "Changed:", "  vim 1 -> 2"
    ]  # fmt: skip
    assert difference.lines(Change()) == []


DEPLOYED = Deployment(0, "debian", A, 0, "", {})
PLAN = Plan((Solved(JQ, "d" * 64, 7, 1024),))
OTHER = CommitInfo("b" * 64, None, 0, "", {})
ROLLBACK = "It boots next; 'apt-ostree rollback' undoes it."


@pytest.mark.parametrize(
    ("result", "out"),
    [
        (Outcome(False, "No change: x."), "No change: x.\n"),
        (
            Outcome(True, "Would change:", PLAN, Change((JQ,)), dry_run=True, download=1_234_567),
            "Would change:\nAdded:\n  jq 1.7.1-6 amd64\nTo download: 1.2 MB\n",
        ),
        (
            Outcome(True, "", PLAN, Change((JQ,)), DEPLOYED, A),
            f"Added:\n  jq 1.7.1-6 amd64\nDeployed aaaaaaaaaaaa with 1 layered package. {ROLLBACK}\n",
        ),
        (
            Outcome(True, "", replace(PLAN, packages=PLAN.packages * 2), Change(), replace(DEPLOYED, staged=True), A),
            "Deployed aaaaaaaaaaaa with 2 layered packages. Reboot to use it: systemctl reboot\n",
        ),
        (
            Outcome(True, "", PLAN, Change(), DEPLOYED, A, reused=True),
            f"Deployed aaaaaaaaaaaa, the same layer as before with 1 layered package. {ROLLBACK}\n",
        ),
        (
            Outcome(True, "", change=Change(removed=(JQ,)), deployment=DEPLOYED),
            f"Removed:\n  jq 1.7.1-6 amd64\nDeployed aaaaaaaaaaaa, the base alone. {ROLLBACK}\n",
        ),
        (
            Outcome(True, "", Plan(removed=(JQ,)), Change(removed=(JQ,)), DEPLOYED, A, bases=(OTHER, OTHER)),
            f"Removed:\n  jq 1.7.1-6 amd64\nDeployed aaaaaaaaaaaa without 1 package of the base. {ROLLBACK}\n",
        ),
        (
            Outcome(True, "", deployment=DEPLOYED, commit=A, bases=(OTHER, OTHER)),
            f"Deployed aaaaaaaaaaaa. {ROLLBACK}\n",
        ),
        (
            Outcome(True, "", PLAN, Change(changed=((JQ, replace(JQ, architecture="all")),))),
            "Changed:\n  jq 1.7.1-6 amd64 -> 1.7.1-6 all\n",
        ),
    ],
)
def test_outcome(capsys: pytest.CaptureFixture[str], result: Outcome, out: str) -> None:
    results.show(result, as_json=False)
    assert capsys.readouterr() == (out, "")


def test_outcome_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    results.show(Outcome(True, "", PLAN, Change((JQ,)), DEPLOYED, A, download=7), as_json=True)
    assert json.loads(capsys.readouterr().out) == {
        "schema": 1,
        "changed": True,
        "dry-run": False,
        "message": "",
        "packages": [
            {
                "name": "jq", "version": "1.7.1-6", "architecture": "amd64",
                "sha256": "d" * 64, "size": 7, "installed-size": 1024,
            }
        ],
        "difference": {
            "added": [{"name": "jq", "version": "1.7.1-6", "architecture": "amd64"}],
            "removed": [],
            "changed": [],
        },
        "commit": A,
        "reused": False,
        "deployment": f"debian-{A}.0",
        "base": None,
        "previous-base": None,
        "security": None,
        "etc-conflicts": [],
    }  # fmt: skip


CONFFILES = "\n /etc/a b 0123\n /etc/b 45 obsolete\n /etc/c newconffile remove-on-upgrade"


def test_details_json_names_relations_and_conffiles() -> None:
    fields = {"description": "x\n long", "depends": "libc6", "conffiles": CONFFILES, "x": "y"}
    assert documents.details([PackageDetails(JQ, fields, ("/.", "/usr/bin/jq"), {"postinst": "#!/bin/sh\n"})]) == [
        {
            "name": "jq",
            "version": "1.7.1-6",
            "architecture": "amd64",
            "description": "x\n long",
            "relations": {"depends": "libc6"},
            "conffiles": ["/etc/a b", "/etc/b", "/etc/c"],
            "files": ["/.", "/usr/bin/jq"],
            "scripts": {"postinst": "#!/bin/sh\n"},
        }
    ]


@pytest.mark.parametrize(
    ("quiet", "verbose", "err"),
    [
        (False, False, "Resolving…\nwarning: old lists\n"),
        (True, False, "warning: old lists\n"),
        (False, True, "Resolving…\n  Setting up jq\nwarning: old lists\n"),
    ],
)
def test_the_plain_reporter(capsys: pytest.CaptureFixture[str], quiet: bool, verbose: bool, err: str) -> None:
    plain = progress.Plain(quiet=quiet, verbose=verbose)
    plain.step("Resolving")
    plain.progress(1, 2, "x")
    plain.log("Setting up jq")
    plain.warn("old lists")
    assert capsys.readouterr() == ("", err)


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "quiet", "term", "kind"),
    [
        (Screen(), False, "xterm", progress.Terminal),
        (Screen(), True, "xterm", progress.Plain),
        (Screen(), False, "dumb", progress.Plain),
        (Screen(), False, None, progress.Plain),
        (io.StringIO(), False, "xterm", progress.Plain),
    ],
)
def test_a_terminal_is_treated_as_one_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, quiet: bool, term: str | None, kind: type
) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.delenv("TERM", raising=False)
    if term is not None:
        monkeypatch.setenv("TERM", term)
    assert isinstance(progress.reporter(quiet=quiet, verbose=False), kind)


@pytest.mark.parametrize(("no_color", "coloured"), [(None, True), ("1", False)])
def test_a_warning_on_a_terminal_has_colour_unless_that_is_refused(
    monkeypatch: pytest.MonkeyPatch, no_color: str | None, coloured: bool
) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color is not None:
        monkeypatch.setenv("NO_COLOR", no_color)
    terminal = progress.reporter(quiet=False, verbose=False)
    terminal.warn("old lists [amd64]")
    assert "warning: old lists [amd64]" in screen.getvalue()
    assert ("\x1b[" in screen.getvalue()) is coloured


@pytest.mark.parametrize("term", ["dumb", None])
def test_a_dumb_terminal_gets_neither_colours_nor_moves_of_the_cursor(
    monkeypatch: pytest.MonkeyPatch, term: str | None
) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.delenv("TERM", raising=False)
    if term is not None:
        monkeypatch.setenv("TERM", term)
    dumb = progress.reporter(quiet=False, verbose=False)
    dumb.step("Resolving")
    dumb.progress(1, 2)
    dumb.warn("old lists")
    dumb.close()
    assert screen.getvalue() == "Resolving…\nwarning: old lists\n"


def test_progress_goes_to_a_file_descriptor_as_lines_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    reading, writing = os.pipe()
    events = progress.reporter(quiet=True, verbose=False, progress_fd=writing)
    events.begin("20260101T000000Z-7")
    events.phase("download")
    events.step("Downloading 2 packages")
    events.progress(1, 2, "jq")
    events.log("a script's output")
    events.warn("old lists")
    assert not os.get_inheritable(writing)
    os.close(writing)
    with os.fdopen(reading) as file:
        lines = [json.loads(line) for line in file]
    assert [line["transaction"] for line in lines] == ["20260101T000000Z-7"] * 5
    assert [(line["phase"], line["done"], line["total"], line["message"]) for line in lines] == [
        (None, 0, 0, ""),
        ("download", 0, 0, ""),
        ("download", 0, 0, "Downloading 2 packages"),
        ("download", 1, 2, "jq"),
        ("download", 0, 0, "old lists"),
    ]
    assert lines[-1]["warning"] is True
    # Nobody reads any more: the operation goes on, and people are told as ever.
    events.warn("once more")
    assert capsys.readouterr() == ("", "warning: old lists\nwarning: once more\n")


SPEAK = """
from apt_ostree.cli import failure, progress
from apt_ostree.errors import ResolveError
reporter = progress.reporter(quiet=False, verbose=True)
reporter.step("Deploying")
reporter.log("a script's line")
reporter.warn("old lists")
failure.show(ResolveError("no", "why\\nmore", "do this"), as_json=False)
"""


@pytest.mark.parametrize("journal", [True, False])
def test_the_journal_is_told_how_serious_each_line_is(tmp_path: Path, journal: bool) -> None:
    with (tmp_path / "stream").open("w+") as stream:
        status = os.fstat(stream.fileno())
        # Only the stream of the service is the journal: not a redirection, nor a pipe to another program.
        name = f"{status.st_dev}:{status.st_ino if journal else status.st_ino + 1}"
        subprocess.run([sys.executable, "-c", SPEAK], env={"JOURNAL_STREAM": name}, stderr=stream, check=True)
    lines = ["Deploying…", "  a script's line", "warning: old lists", "error: no", "  why", "  more", "do this"]
    levels = (6, 7, 4, 3, 3, 3, 3)
    told = [f"<{level}>{line}" if journal else line for level, line in zip(levels, lines, strict=True)]
    assert (tmp_path / "stream").read_text().splitlines() == told


def test_progress_needs_a_file_descriptor_that_is_open(capsys: pytest.CaptureFixture[str], fake: Path) -> None:
    status, _, err = run(capsys, "kargs", "--append=x", "--progress-fd", "987", "--sysroot", str(fake))
    assert (status, err.splitlines()[0]) == (2, "error: --progress-fd 987 is not an open file descriptor")


@pytest.mark.parametrize("words", [["kargs", "--append=x"], ["install", "jq"], ["rollback"], ["uninstall", "--all"]])
def test_only_a_booted_system_reboots(capsys: pytest.CaptureFixture[str], fake: Path, words: list[str]) -> None:
    status, _, err = run(capsys, *words, "--reboot", "--sysroot", str(fake))
    assert (status, err.splitlines()[0]) == (2, "error: --reboot works only on the running system")


def test_looking_at_kernel_arguments_reboots_nothing(capsys: pytest.CaptureFixture[str], fake: Path) -> None:
    status, _, err = run(capsys, "kargs", "--reboot", "--sysroot", str(fake))
    assert (status, err.splitlines()[0]) == (2, "error: Cannot reboot when kernel arguments not changed")


@pytest.mark.parametrize(
    "words",
    [
        ["apply"],
        ["compose", "tree", "--repo", "/r"],
        ["install", "jq", "--debconf"],
        ["remote", "add", "x", "https://example.org", "--gpg-import"],
        ["compose", "sysroot", "--repo", "/r", "ref", "/p", "--remote-url", "https://example.org", "--gpg-import"],
    ],
)
def test_no_file_that_is_named_holds_up_a_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    file = tmp_path / "named"
    file.touch()
    os.truncate(file, 1 << 42)
    status, _, error = run(capsys, *words, str(file))
    assert status == 2
    assert "it has more than 1048576 bytes" in error
