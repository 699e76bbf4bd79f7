"""The order of versions against its oracle: dpkg itself."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import example, given, settings

from apt_ostree.tools.dpkg import compare_versions
from tests.unit.test_dpkg import policy_compare, versions

pytestmark = pytest.mark.skipif(shutil.which("dpkg") is None, reason="dpkg is the oracle")


def oracle(a: str, b: str) -> int:
    for relation, sign in (("lt", -1), ("eq", 0), ("gt", 1)):
        if subprocess.run(["dpkg", "--compare-versions", a, relation, b], check=False).returncode == 0:
            return sign
    raise AssertionError(f"dpkg knows no order of {a} and {b}")


@settings(max_examples=150, deadline=None)
@given(versions(), versions())
@example("12.2.0-14+deb12u1+", "12.2.0-14+deb12u1")
@example("1.0+", "0:1.0+")
@example("1.3.1-1", "1:1.3.dfsg+really1.3.1-1+b1")
@example("9999999999999999999999", "10000000000000000000000")
def test_versions_compare_as_dpkg_does(a: str, b: str) -> None:
    # The unit tests' own reading of the policy is judged here, too.
    assert compare_versions(a, b) == policy_compare(a, b) == oracle(a, b)
