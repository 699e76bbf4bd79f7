"""What a commit's packages are shown with: nothing is checked out for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from apt_ostree.model import Package
from apt_ostree.ops import query
from tests.unit.repository import Repository

STATUS = "Package: {}\nStatus: install ok installed\nVersion: 1\nArchitecture: all\nDescription: short\n\n"


@pytest.fixture
def commit(tmp_path: Path) -> tuple[Path, str]:
    """A commit of two packages; the postinst of one is a link to the host."""
    made = Repository(tmp_path / "repo")
    texts = {"a.list": "/.\n/usr/a\n", "a.postinst": "#!/bin/sh\n", "b.list": "/.\n"}
    files = {name: made.store("file", text.encode()) for name, text in texts.items()}
    info = made.directory({**files, "b.postinst": made.link("/etc/passwd")}, {})
    tree = made.directory({"status": made.store("file", "".join(map(STATUS.format, "ba")).encode())}, {"info": info})
    for name in ("dpkg", "sysimage", "lib", "usr"):
        tree = made.directory({}, {name: tree})
    return made.path, made.commit(tree)


def test_files_and_scripts_are_read_from_the_commit(commit: tuple[Path, str]) -> None:
    a, b = query.package_details(*commit)
    assert (a.package, a.files, a.scripts) == (Package("a", "1", "all"), ("/.", "/usr/a"), {"postinst": "#!/bin/sh\n"})
    assert a.fields["description"] == "short"
    assert (b.files, b.scripts) == (("/.",), {})
    assert [entry.package.name for entry in query.package_details(*commit, ["b"])] == ["b"]


def test_what_is_more_than_any_system_has_is_left_out(
    commit: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit may have one large list by many names."""
    monkeypatch.setattr(query, "DETAILS_MAX", 1)
    a, b = query.package_details(*commit)
    assert (a.files, a.scripts, b.files) == (("/.", "/usr/a"), {}, ())
