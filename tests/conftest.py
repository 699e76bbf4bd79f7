"""Fixtures of all tests: the archive, a base commit, and sysroots cloned from one that is made once."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hypothesis
import pytest

from tests.archive import FIXTURES, Archive, build_archive, public_directory, small_base, unpack_base
from tests.integration.system import (
    EXAMPLE_REF,
    REPOSITORY,
    Base,
    System,
    chosen_cli,
    commit_base,
    make_template,
    run_cli,
)

# How long examples take says something of the machine, which may be busy, and nothing of the code.
hypothesis.settings.register_profile("tests", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("tests")


def pytest_report_header() -> str:
    return f"apt-ostree: {' '.join(chosen_cli())}"


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Count a skipped test as a failure in CI: there everything exists that a test can need."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") == "true" and reporter is not None and reporter.stats.get("skipped"):
        reporter.write_line("CI=true: a skipped test counts as a failure", red=True)
        if exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(trylast=True)
def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    """Note in a worker of pytest-xdist what it leaves out: it has no terminal to say so."""
    told = getattr(items[0].config, "workeroutput", None) if items else None
    if told is not None:
        told["deselected"] = told.get("deselected", 0) + len(items)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Say it in the worker's place. Each worker leaves out the same tests."""
    reporter = node.config.pluginmanager.get_plugin("terminalreporter")
    count = getattr(node, "workeroutput", {}).get("deselected", 0)
    if reporter is not None and count > len(reporter.stats.get("deselected", [])):
        reporter.stats["deselected"] = [SimpleNamespace()] * count


@pytest.fixture(scope="session")
def archive() -> Iterator[Archive]:
    """The signed archive of all fixture packages. A test that changes it takes ``own_archive``."""
    with public_directory() as directory:
        yield build_archive(FIXTURES, directory / "archive")


@pytest.fixture
def own_archive(archive: Archive) -> Iterator[Archive]:
    """A copy of the archive that a test may damage or remove."""
    with public_directory() as directory:
        shutil.copytree(archive.root, directory / "archive")
        yield Archive(directory / "archive", directory / "archive" / archive.keyring.name)


@pytest.fixture(scope="session")
def plain_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small base as a plain Debian root. Tests only read it."""
    root = tmp_path_factory.mktemp("plain") / "root"
    unpack_base(small_base(REPOSITORY / "build"), root)
    # Two thirds of its files: no test reads them, and every sysroot would have them. Of Perl, perl-base stays.
    for pattern in ("share/doc", "share/info", "share/locale", "share/man", "share/perl", "lib/*/perl", "lib/*/gconv"):
        for path in (root / "usr").glob(pattern):
            shutil.rmtree(path)
    return root


@pytest.fixture(scope="session")
def example_repo() -> Path:
    """A repository with the example image, EXAMPLE_REF: composed once and kept for later runs. Tests only read it."""
    repo = REPOSITORY / "build/fidelity/repo"
    repo.parent.mkdir(parents=True, exist_ok=True)
    # Tests run in several processes.
    with (repo.parent / "lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        known = subprocess.run(["ostree", f"--repo={repo}", "rev-parse", EXAMPLE_REF], capture_output=True, check=False)
        if known.returncode != 0:
            run_cli("compose", "tree", "--repo", repo, REPOSITORY / "examples/debian-13-minimal.toml", timeout=900)
    return repo


@pytest.fixture(scope="session")
def base_repo(archive: Archive, plain_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Base:
    """A repository with the small base, converted and committed; its apt knows the fixture archive."""
    return commit_base(plain_base, archive, tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def template(base_repo: Base, tmp_path_factory: pytest.TempPathFactory) -> System:
    """A sysroot with the base deployed and package lists fetched. A test that changes it takes ``sysroot``."""
    return make_template(base_repo, tmp_path_factory.mktemp("template") / "sysroot")


@pytest.fixture
def sysroot(template: System, tmp_path: Path) -> Iterator[System]:
    """A fresh sysroot with the base deployed."""
    system = template.clone(tmp_path / "sysroot")
    yield system
    system.remove()
