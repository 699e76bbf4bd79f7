"""The values and the errors."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apt_ostree import errors
from apt_ostree.errors import AptOstreeError
from apt_ostree.host import proc
from apt_ostree.model import Deployment, Intent, LocalPackage, Package

SHA256 = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "package"),
    [
        (f"{SHA256}:jq_1.7.1-6+deb13u4_amd64", Package("jq", "1.7.1-6+deb13u4", "amd64")),
        (f"{SHA256}:libstdc++6_1:2~3_all", Package("libstdc++6", "1:2~3", "all")),
    ],
)
def test_a_local_package_is_read_and_written_alike(text: str, package: Package) -> None:
    assert LocalPackage.parse(text) == LocalPackage(SHA256, package)
    assert str(LocalPackage.parse(text)) == text


@given(
    st.from_regex(r"[a-z0-9][a-z0-9+.-]+", fullmatch=True),
    st.from_regex(r"([0-9]+:)?[0-9][A-Za-z0-9.+~:-]*", fullmatch=True),
    st.from_regex(r"[a-z0-9-]+", fullmatch=True),
)
def test_any_local_package_survives_its_text(name: str, version: str, architecture: str) -> None:
    local = LocalPackage(SHA256, Package(name, version, architecture))
    assert LocalPackage.parse(str(local)) == local


@pytest.mark.parametrize("digest", ["", "..", "../../x", "/etc", "AB" * 32, "ab" * 31, "a" * 65, "a" * 64 + "\n"])
def test_a_local_package_is_found_by_a_digest_and_by_no_path(digest: str) -> None:
    with pytest.raises(ValueError, match="is not a digest"):
        LocalPackage.parse(f"{digest}:jq_1_all")


@pytest.mark.parametrize("text", ["", "jq", "jq_1_amd64", f"{SHA256}:jq", f"{SHA256}:jq_1", f"{SHA256}:jq_1_all_x"])
def test_a_local_package_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="unpack"):
        LocalPackage.parse(text)


def test_packages_sort_by_name_then_version_text() -> None:
    a, b, c = Package("a", "2", "all"), Package("a", "10", "all"), Package("B", "1", "all")
    assert sorted([a, b, c]) == [c, b, a]
    assert str(a) == "a 2 [all]"


@pytest.mark.parametrize(
    ("intent", "empty"),
    [
        (Intent(), True),
        (Intent(recommends=True), True),
        (Intent(("vim",)), False),
        (Intent(requested_local=(LocalPackage(SHA256, Package("a", "1", "all")),)), False),
    ],
)
def test_an_intent_without_packages_is_empty(intent: Intent, empty: bool) -> None:
    assert intent.empty is empty


def test_a_deployment_knows_its_name_and_place() -> None:
    deployment = Deployment(0, "debian", SHA256, 2, "", {})
    assert deployment.id == f"debian-{SHA256}.2"
    assert deployment.path == f"ostree/deploy/debian/deploy/{SHA256}.2"


def every_class(top: type[AptOstreeError]) -> list[type[AptOstreeError]]:
    return [top, *(below for child in top.__subclasses__() for below in every_class(child))]


USAGE = {errors.UsageError, errors.ManifestError}


def test_usage_errors_exit_2_and_all_others_1() -> None:
    ours = [kind for kind in every_class(AptOstreeError) if kind.__module__.startswith("apt_ostree")]
    assert len(ours) >= 16
    assert {kind for kind in ours if kind.exit_code == 2} >= USAGE
    assert {kind.__name__ for kind in ours if kind.exit_code == 2 and not issubclass(kind, errors.UsageError)} == set()
    assert {kind.exit_code for kind in ours} == {1, 2}


def test_each_kind_of_error_has_an_id_of_its_own() -> None:
    ours = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, AptOstreeError)]
    assert len({kind.id for kind in ours}) == len(ours)


@pytest.mark.parametrize(("signum", "status", "how"), [(1, 129, "SIGHUP"), (2, 130, "Ctrl-C"), (15, 143, "SIGTERM")])
def test_an_interrupted_operation_exits_with_its_signal(signum: int, status: int, how: str) -> None:
    error = errors.Interrupted(signum)
    assert (error.exit_code, error.brief) == (status, f"interrupted ({how})")
    assert error.resolution == "Nothing was changed; run it again."


def test_an_error_has_three_parts() -> None:
    error = errors.ResolveError("brief", "detail", "resolution")
    assert (str(error), error.brief, error.detail, error.resolution) == ("brief", "brief", "detail", "resolution")


@pytest.mark.parametrize(
    ("returncode", "stdout", "stderr", "brief", "detail"),
    [
        (3, "out", "err\n\nlast\n", "ostree failed (exit status 3)", "err\nlast"),
        (1, "out", "", "ostree failed (exit status 1)", "out"),
        (-9, "", "", "ostree failed (signal SIGKILL)", ""),
    ],
)
def test_a_childs_error_names_the_tool_and_how_it_ended(
    returncode: int, stdout: str, stderr: str, brief: str, detail: str
) -> None:
    error = proc.ChildError(proc.Result(("/usr/bin/ostree", "x"), returncode, stdout, stderr))
    assert (error.brief, error.detail) == (brief, detail)


def test_the_tail_of_an_output_is_its_last_lines_that_say_something() -> None:
    assert proc.tail("".join(f"{n}\n\n \n" for n in range(30)), 3) == "27\n28\n29"


def test_a_child_sees_a_minimal_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        monkeypatch.delenv(name)
    monkeypatch.setenv("LD_PRELOAD", "/evil.so")
    monkeypatch.setenv("APT_CONFIG", "/evil.conf")
    monkeypatch.setenv("https_proxy", "http://proxy:3128")
    assert proc.environment({"X": "1", "HOME": "/home"}) == {
        "PATH": proc.PATH,
        "HOME": "/home",
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "https_proxy": "http://proxy:3128",
        "X": "1",
    }
