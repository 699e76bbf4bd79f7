"""Where an image's packages come from if its manifest names no mirrors."""

from __future__ import annotations

import pytest

from apt_ostree.errors import UsageError
from apt_ostree.tools import apt, mmdebstrap


def target(uri: str, release: str, origin: str = "Debian") -> dict[str, str]:
    return {"uri": uri, "release": release, "origin": origin}


def test_an_image_comes_from_the_hosts_debian_archives_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [
        target("http://deb.example/debian/", "bookworm"),
        target("http://deb.example/debian", "bookworm"),
        target("http://deb.example/debian", "bookworm-updates"),
        target("http://sec.example/debian-security", "bookworm-security"),
        target("http://deb.example/debian", "bookworm-backports"),
        target("http://vendor.example/apt", "bookworm", "Vendor"),
    ]
    monkeypatch.setattr(apt, "host_sources", lambda: found)
    assert mmdebstrap.default_sources("trixie", ["main", "contrib"]) == [
        "deb http://deb.example/debian trixie main contrib",
        "deb http://deb.example/debian trixie-updates main contrib",
        "deb http://sec.example/debian-security trixie-security main contrib",
    ]


def test_a_host_without_a_debian_archive_needs_mirrors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apt, "host_sources", lambda: [target("http://vendor.example/apt", "bookworm", "Vendor")])
    with pytest.raises(UsageError, match="no Debian archive"):
        mmdebstrap.default_sources("trixie", ["main"])
