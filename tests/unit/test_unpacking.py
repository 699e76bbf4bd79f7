"""How many members a package may have, and how long their names may be; what reads packages is in tests/integration."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from apt_ostree.errors import PackageError
from apt_ostree.sandbox import unpacking
from apt_ostree.sandbox.unpacking import Member, within_limits


def member(name: str, target: str = "") -> Member:
    return Member(name, "link" if target else "file", 0o644, 0, 0, "root", "root", 0, 0, target)


def judge(*members: Member) -> str | None:
    """What is wrong with a package of these members; None where all are passed on, each with its content."""
    told = [(one, number) for number, one in enumerate(members)]
    try:
        assert list(within_limits(told, "x.deb")) == told
    except PackageError as error:
        assert error.brief == "x.deb cannot be layered"
        return error.detail
    return None


@pytest.mark.parametrize(
    ("info", "detail"),
    [
        (member("usr/" + "ü" * 1534), None),
        (member("usr/" + "ü" * 1534 + "x"), f"the path usr/{'ü' * 56}… has 3073 bytes; 3072 are allowed"),
        (member("usr/" + "\udcff" * 3068), None),
        (member("x" * 60_000), f"the path {'x' * 60}… has 60000 bytes; 3072 are allowed"),
        (member("./l", "x" * 4095), None),
        (member("./l", "x" * 4096), "the target of the link ./l has 4096 bytes; 4095 are allowed"),
    ],
)
def test_names_and_targets_are_as_long_as_a_kernel_takes_them(info: Member, detail: str | None) -> None:
    assert judge(info) == detail


def test_too_many_members_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "MEMBERS_MAX", 3)
    three = [member(f"./{number}") for number in range(3)]
    assert judge(*three) is None
    assert judge(*three, member("./3")) == "it has more than 3 files and directories"


def test_names_and_targets_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "NAMES_BYTES", 20)
    assert judge(member("./ü", "x" * 10), member("./three")) == (
        "its paths and the targets of its links have more than 20 bytes in all"
    )
    assert judge(member("./ü", "x" * 10), member("./two")) is None


def test_nothing_is_read_beyond_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "MEMBERS_MAX", 2)

    def told() -> Iterator[tuple[Member, None]]:
        yield from [(member("./x"), None)] * 3
        raise AssertionError

    with pytest.raises(PackageError):
        list(within_limits(told(), "x.deb"))


def test_a_name_that_no_bytes_are_is_an_error() -> None:
    found = {
        "name": "\ud800", "kind": "file", "target": "", "owner": [0, 0, "", ""], "mode": 0, "time": 0, "size": 0,
    }  # fmt: skip
    with pytest.raises(PackageError, match="damaged"):
        unpacking._member(found, "x.deb")
    assert unpacking._member({**found, "name": "\udcff"}, "x.deb").name == "\udcff"
