"""The archives that an image is composed from, where its manifest names none."""

from __future__ import annotations

import pytest

from apt_ostree.errors import UsageError
from apt_ostree.tools import apt, mmdebstrap


def target(uri: str, release: str = "bookworm", origin: str = "Debian") -> dict[str, str]:
    return {"uri": uri, "release": release, "origin": origin}


HOST = [
    target("https://deb.example/debian/"),
    # The same archive, by another component.
    target("https://deb.example/debian"),
    target("https://deb.example/debian", "bookworm-updates"),
    target("https://security.example", "bookworm-security"),
    target("https://deb.example/debian", "bookworm-backports"),
    target("https://vendor.example", "bookworm", "Vendor"),
]


def test_an_image_is_composed_from_the_hosts_debian_archives_and_no_others() -> None:
    assert mmdebstrap.host_archives(HOST) == [
        ("https://deb.example/debian", ""),
        ("https://deb.example/debian", "-updates"),
        ("https://security.example", "-security"),
    ]


def test_the_manifests_suite_takes_the_place_of_the_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apt, "host_sources", lambda: HOST)
    assert mmdebstrap.default_sources("trixie", ["main", "contrib"]) == [
        "deb https://deb.example/debian trixie main contrib",
        "deb https://deb.example/debian trixie-updates main contrib",
        "deb https://security.example trixie-security main contrib",
    ]


def test_a_host_without_debian_archives_cannot_compose_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apt, "host_sources", lambda: HOST[-1:])
    with pytest.raises(UsageError, match="no Debian archive"):
        mmdebstrap.default_sources("trixie", ["main"])
