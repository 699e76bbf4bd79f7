"""``--debug`` of a whole operation: the process that does the work traces it, too."""

from __future__ import annotations

import re

from tests.archive import Archive
from tests.integration.system import System
from tests.integration.test_secrets import SECRET, served, use


def test_an_install_traces_its_children_and_its_decisions_and_no_password(sysroot: System, archive: Archive) -> None:
    with served(archive.root) as port:
        use(sysroot, f"http://me:{SECRET}@127.0.0.1:{port}/")
        result = sysroot.run("install", "--debug", "greeter")
    traced = [line for line in result.stderr.splitlines() if line.startswith("debug: ")]
    for pattern in (
        r"host\.proc: child \d+: .*\bapt-get .*update",
        r"host\.proc: child \d+: exit status 0 after \d+\.\d{3} s",
        r"ops\.transaction: merge deployment: \S+\.0 \(first that is not staged",
        r"tools\.apt: package lists are fetched: ",
        r"ops\.build: no deployed layer was made of inputs [0-9a-f]{64}",
        r"ops\.build: layer is built of inputs [0-9a-f]{64}",
        r"layering\.assemble: to be committed: ",
        r"system\.publication: deployment \S+\.0 stays",
    ):
        assert any(re.search(pattern, line) for line in traced), pattern
    assert SECRET not in result.stdout + result.stderr
    again = sysroot.run("uninstall", "greeter")
    assert "debug: " not in again.stderr
