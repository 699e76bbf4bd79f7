"""Every --json document fits its schema: Result.document sees to it in all tests; here are those that no other asks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.system import System


@pytest.fixture(scope="module")
def machine(template: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Two deployments. Not to be changed."""
    system = template.clone(tmp_path_factory.mktemp("machine") / "sysroot")
    system.run("kargs", "--append=quiet")
    yield system
    system.remove()


@pytest.mark.parametrize(
    "words",
    [
        ("status", "-v"),
        ("history",),
        ("kargs",),
        ("kargs", "--append=x", "-n"),
        ("initramfs",),
        ("initramfs-etc",),
        ("initramfs-etc", "--track", "/etc/passwd", "-n"),
        ("pin", "1", "-n"),
        ("unpin", "1", "-n"),
        ("rollback", "-n"),
        ("rollback", "--list"),
        ("cleanup", "-r", "-n"),
        ("cancel",),
        ("reset", "-n"),
        ("override", "remove", "base-lib", "-n"),
        ("remote", "list"),
        ("db", "list"),
        ("db", "diff"),
        ("db", "version"),
    ],
    ids=" ".join,
)
def test_a_document_fits_its_schema(machine: System, words: tuple[str, ...]) -> None:
    with machine.unchanged():
        assert "error" not in machine.run(*words, "--json").document


def test_a_failure_is_a_document_too(machine: System) -> None:
    assert machine.run("install", "no-such-package", "--json", status=1).document["error"]["id"] == "unavailable"
