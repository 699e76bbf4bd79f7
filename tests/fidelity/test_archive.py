"""Packages of the real archive, laid by apt-ostree and installed by apt-get: no difference."""

from __future__ import annotations

import argparse

import pytest

from apt_ostree import ostree, proc
from tests.fidelity import __main__ as fidelity
from tests.fidelity import judge
from tests.integration.system import REPOSITORY, chosen_cli

REF = "debian/13/x86_64/minimal"

PACKAGES = ["openssh-server", "nginx", "exim4-daemon-light", "apache2", "cups", "postfix", "-less"]
"""Scripts, conffiles, users, triggers, debconf, alternatives, state in /var; and a base package removed."""


@pytest.fixture(scope="session")
def options() -> argparse.Namespace:
    """The judge's options, with a base composed from the example, which later runs keep."""
    work = REPOSITORY / "build/fidelity"
    repo = work / "repo"
    manifest = REPOSITORY / "examples/debian-13-minimal.toml"
    if not (repo / "config").exists() or ostree.resolve(repo, REF) is None:
        proc.run([*chosen_cli(), "compose", "tree", "--repo", repo, manifest])
    return argparse.Namespace(
        repo=repo, ref=REF, work=work, recommends=False, json=False, debconf=None, apt_ostree=" ".join(chosen_cli())
    )


@pytest.mark.archive
@pytest.mark.parametrize("package", PACKAGES)
def test_a_layer_is_what_apt_would_have_made(options: argparse.Namespace, package: str) -> None:
    differences, compared, _ = fidelity.run_case(options, [package])
    assert differences == [], "\n" + judge.report(differences, compared)
