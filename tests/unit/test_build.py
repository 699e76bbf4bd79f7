"""What a new layer has to respect of the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from apt_ostree.model import Deployment
from apt_ostree.ops import build
from apt_ostree.system.sysroot import Sysroot
from apt_ostree.tree.users import RECORD


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("booted", "number", "gone"), [(True, 150, None), (False, 150, 151)], ids=["on the machine", "on its disk"]
)
def test_a_deployment_that_never_booted_takes_no_number_of_a_name(
    tmp_path: Path, booted: bool, number: int, gone: int | None
) -> None:
    machine = Deployment(1, "debian", "a" * 64, 0, "", {}, booted=booted)
    pending = Deployment(0, "debian", "b" * 64, 0, "", {}, staged=True)
    put(tmp_path / machine.path / "etc/passwd", "alice:x:1000:1000:::\n")
    put(tmp_path / machine.path / "usr/etc/passwd", "ship:x:120:1:::\n")
    put(tmp_path / "ostree/deploy/debian" / RECORD, "u svc 150\nu mail 130\n")
    put(tmp_path / pending.path / "usr/etc/passwd", "svc:x:160:1:::\nevil:x:130:1:::\ngone:x:151:1:::\n")
    put(tmp_path / machine.path / "etc/subuid", "alice:100000:65536\n")
    put(tmp_path / pending.path / "usr/etc/subuid", "evil:1:4000000000\n")
    found = build.reserved(Sysroot(tmp_path, (pending, machine)), "debian")
    users = dict(found.numbers.users)
    assert users.pop("gone", None) == gone
    assert users == {"alice": 1000, "ship": 120, "svc": number, "mail": 130}
    assert ("evil" in found.subids["subuid"]) is not booted
    assert "alice:100000:65536" in found.subids["subuid"]


def test_only_the_stateroots_own_deployment_that_runs_is_believed(tmp_path: Path) -> None:
    machine = Deployment(1, "debian", "a" * 64, 0, "", {}, booted=True)
    pending = Deployment(0, "debian", "b" * 64, 0, "", {}, staged=True)
    other = Deployment(2, "other", "c" * 64, 0, "", {})
    loaded = Sysroot(tmp_path, (pending, machine, other))
    assert build.booted(loaded, "debian") == tmp_path / machine.path
    assert build.booted(loaded, "other") is None
