"""A full disk is one error, whichever tool met it."""

from __future__ import annotations

import errno
import os

import pytest

from apt_ostree.errors import AptOstreeError, PackageError, SpaceError, ToolError
from apt_ostree.ops import transaction


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
        PackageError("x.deb is damaged", "dpkg-deb: cannot copy: No space left on device"),
        ToolError("ostree failed", "error: min-free-space-percent '3%' would be exceeded"),
    ],
)
def test_an_error_that_mentions_a_full_disk_only_in_passing_says_so(error: AptOstreeError | OSError) -> None:
    told = transaction._full(error)
    assert isinstance(told, SpaceError)
    assert told.brief == "no space left on the disk"
    assert (error.brief if isinstance(error, AptOstreeError) else str(error)) in told.detail


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EIO, os.strerror(errno.EIO)),
        PackageError("x.deb is damaged", "unexpected end of file"),
        SpaceError("too little space for the packages", "No space left on device"),
    ],
)
def test_any_other_error_stays_as_it_is(error: AptOstreeError | OSError) -> None:
    assert transaction._full(error) is error
