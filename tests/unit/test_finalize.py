"""finalize-deployment: which staged deployment is released, and when the machine reboots."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from apt_ostree.cli import main as cli
from apt_ostree.model import Deployment
from apt_ostree.ops import transaction as tx
from apt_ostree.system import staged
from apt_ostree.system.sysroot import Sysroot
from apt_ostree.tools import ostree

A, B = "a" * 64, "b" * 64
BOOTED = Deployment(1, "debian", B, 0, "", {}, booted=True)
WAITING = Deployment(0, "debian", A, 0, "", {}, staged=True)
LOCKED = Deployment(0, "debian", A, 0, "", {}, staged=True, locked=True)


@pytest.mark.parametrize(
    ("first", "words", "done", "said"),
    [
        (LOCKED, [A], ["release", "reboot"], "Rebooting into aaaaaaaaaaaa."),
        (LOCKED, ["--allow-missing-checksum"], ["release", "reboot"], "Rebooting into aaaaaaaaaaaa."),
        (LOCKED, [A, "-n"], [], "Would reboot into aaaaaaaaaaaa."),
        (LOCKED, [B], [], "error: another commit is staged"),
        (WAITING, [A], [], "error: the staged deployment is not locked"),
        (WAITING, [A, "--allow-unlocked"], ["reboot"], "Rebooting into aaaaaaaaaaaa."),
        (None, [A], [], "error: no deployment is staged"),
    ],
)
def test_the_expected_deployment_is_released_and_booted(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    first: Deployment | None,
    words: list[str],
    done: list[str],
    said: str,
) -> None:
    happened: list[str] = []

    @contextmanager
    def transaction(settings: tx.Settings, _: object) -> Iterator[SimpleNamespace]:
        assert settings.reboot
        found = tuple(d for d in (first, BOOTED) if d is not None)
        yield SimpleNamespace(sysroot=Sysroot(Path("/"), found), osname="debian")

    monkeypatch.setattr(tx, "transaction", transaction)
    monkeypatch.setattr(tx, "reboot", lambda: happened.append("reboot"))
    monkeypatch.setattr(staged, "release", lambda _: happened.append("release"))
    with pytest.raises(SystemExit) as caught:
        cli.main(["finalize-deployment", *words])
    out, err = capsys.readouterr()
    assert (out + err).splitlines()[0] == said
    assert happened == done
    assert caught.value.code == (1 if said.startswith("error") else 0)


@pytest.mark.parametrize("known", [True, False])
def test_a_lock_is_undone_wherever_it_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool) -> None:
    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr(ostree, "has_admin", lambda command: known and command == "lock-finalization")
    monkeypatch.setattr(ostree, "admin", lambda *words: asked.append(words))
    (tmp_path / "lock").touch()
    staged.release(Path("/"), tmp_path / "lock")
    assert not (tmp_path / "lock").exists()
    assert asked == [(Path("/"), "lock-finalization", "--unlock")] * known
