"""How the tests are shared among workers."""

from __future__ import annotations

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling


class _ByCase(LoadScopeScheduling):  # type: ignore[misc]
    """Each package of the archive goes to whichever worker is free; the other files' tests share what one makes."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return nodeid if file.endswith("test_archive.py") else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> _ByCase:
    return _ByCase(config, log)
