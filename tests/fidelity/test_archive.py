"""Packages of the real archive, laid by apt-ostree and installed by apt-get: no difference."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from tests.fidelity import __main__ as fidelity
from tests.fidelity import judge
from tests.integration.system import EXAMPLE_REF, chosen_cli

PACKAGES = ["openssh-server", "nginx", "exim4-daemon-light", "apache2", "cups", "postfix", "-less"]
"""Scripts, conffiles, users, triggers, debconf, alternatives, state in /var; and a base package removed."""


@pytest.fixture(scope="session")
def options(example_repo: Path, worker_id: str) -> argparse.Namespace:
    """The judge's options; each worker has its own sysroot and cache, which later runs find."""
    work = example_repo.parent / worker_id
    work.mkdir(exist_ok=True)
    return argparse.Namespace(
        repo=example_repo, ref=EXAMPLE_REF, work=work, recommends=False, json=False, debconf=None,
        apt_ostree=" ".join(chosen_cli()),
    )  # fmt: skip


@pytest.mark.archive
@pytest.mark.parametrize("package", PACKAGES)
def test_a_layer_is_what_apt_would_have_made(options: argparse.Namespace, package: str) -> None:
    differences, compared, _ = fidelity.run_case(options, [package])
    assert differences == [], "\n" + judge.report(differences, compared)
