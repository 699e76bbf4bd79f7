"""The judgements of a trial show their values as a test's own assertions do."""

import pytest

pytest.register_assert_rewrite("tests.faults.trial", "tests.faults.space")
