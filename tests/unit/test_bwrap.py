"""What a path means in a tree whose links are a script's."""

from __future__ import annotations

from pathlib import Path

import pytest

from apt_ostree.errors import ScriptError
from apt_ostree.host.paths import resolve
from apt_ostree.sandbox import bwrap


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tree with a few files."""
    root = tmp_path / "root"
    for name in ("usr/sbin/start-stop-daemon", "usr/bin/ischroot", "usr/etc/passwd"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


@pytest.mark.parametrize("link", ["/", "/etc", "lib"])
def test_a_link_in_the_place_of_etc_is_refused(root: Path, link: str) -> None:
    (root / "usr/lib").mkdir()
    (root / "usr/etc/passwd").unlink()
    (root / "usr/etc").rmdir()
    (root / "usr/etc").symlink_to(link)
    with pytest.raises(ScriptError, match="a script has taken /etc away"):
        bwrap.Sandbox(root).argv(["true"])


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/usr/bin/ischroot", "/usr/bin/ischroot"),
        ("/etc/passwd", "/etc/passwd"),
        ("/etc/../usr/bin/ischroot", "/usr/bin/ischroot"),
        ("/../../usr/bin", "/usr/bin"),
        ("/usr/up/bin", "/usr/bin"),
        ("/etc/absolute", "/usr/bin/ischroot"),
        ("/etc/passwd-link", "/etc/passwd"),
        ("/etc/loop", None),
        ("/etc/outside", None),
        ("/usr/bin/absent", None),
        ("/proc", None),
    ],
)
def test_resolve(root: Path, path: str, found: str | None) -> None:
    etc = root / "usr/etc"
    (root / "usr/up").symlink_to("../../../../usr")
    (etc / "absolute").symlink_to("/usr/bin/ischroot")
    (etc / "passwd-link").symlink_to("passwd")
    (etc / "loop").symlink_to("loop")
    (etc / "outside").symlink_to("/proc/self")
    result = resolve(path, root, etc)
    assert (result and result[0]) == found
    if result is not None:
        assert result[1].exists()
        assert result[1].is_relative_to(root)
