"""Where an image's packages come from if its manifest names no mirrors."""

from __future__ import annotations

from pathlib import Path

import pytest

from apt_ostree.errors import TreeError, UsageError
from apt_ostree.host import proc
from apt_ostree.host.proc import Result
from apt_ostree.tools import apt, mmdebstrap
from tests.unit.fake import Silent


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


def test_what_is_configured_counts_although_its_lists_were_never_fetched() -> None:
    found = [
        target("http://deb.example/debian/", "bookworm", ""),
        target("http://sec.example/debian-security", "bookworm-security", ""),
        target("http://vendor.example/apt", "bookworm", ""),
    ]
    assert mmdebstrap.host_archives(found) == [
        ("http://deb.example/debian", ""),
        ("http://sec.example/debian-security", "-security"),
    ]


def test_of_a_list_of_mirrors_on_the_host_the_first_one_is_the_image_s(tmp_path: Path) -> None:
    place = tmp_path / "debian.list"
    uri = f"mirror+file:{place}/"
    place.write_text("# ours\nhttps://one.example/debian\tpriority:1\nhttps://two.example/debian\n")
    assert mmdebstrap.host_archives([target(uri, "bookworm", "")]) == [("https://one.example/debian", "")]
    for text in ("", "ssh://x\n", None):
        place.unlink() if text is None else place.write_text(text)
        with pytest.raises(UsageError, match="list of mirrors"):
            mmdebstrap.host_archives([target(uri, "bookworm")])


def test_sources_are_asked_for_twice_since_only_lists_know_whose_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(words: list[str]) -> Result:
        known = "http://a/debian/\tbookworm\tDebian\n"
        configured = "http://a/debian/\tbookworm\nhttp://b/debian-security/\tbookworm-security\n"
        return Result(tuple(words), 0, configured if "--no-release-info" in words else known, "")

    monkeypatch.setattr(proc, "run", run)
    assert apt.host_sources() == [
        {"uri": "http://a/debian/", "release": "bookworm", "origin": "Debian"},
        {"uri": "http://b/debian-security/", "release": "bookworm-security", "origin": ""},
    ]


def test_a_host_without_a_debian_archive_needs_mirrors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apt, "host_sources", lambda: [target("http://vendor.example/apt", "bookworm", "Vendor")])
    with pytest.raises(UsageError, match="no Debian archive"):
        mmdebstrap.default_sources("trixie", ["main"])


def test_settings_of_the_bootstrap_are_removed_from_the_root_and_from_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package may have put a link in the place of a directory."""
    monkeypatch.setattr(mmdebstrap, "_run", lambda *_: [])
    root, host = tmp_path / "root", tmp_path / "host"
    for place in (root / "etc/apt/apt.conf.d", root / "etc/dpkg", host):
        place.mkdir(parents=True)
        (place / "99mmdebstrap").touch()
    (root / "etc/dpkg/dpkg.cfg.d").symlink_to(host)
    wanted = mmdebstrap.Root("trixie", "amd64", (), (), "minbase", False, None)
    with pytest.raises(TreeError, match=r"dpkg\.cfg\.d is a link"):
        mmdebstrap.bootstrap(wanted, root, tmp_path / "log", Silent())
    assert not (root / "etc/apt/apt.conf.d/99mmdebstrap").exists()
    assert (host / "99mmdebstrap").exists()


def test_no_file_of_the_working_directory_is_a_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """mmdebstrap(1) reads a file that has an option's value for its name."""
    command = list[str]()

    def logged(argv: list[str], *_: object, during: proc.During, **__: object) -> proc.Result:
        command.extend(argv)
        assert during is not proc.unwatched
        return proc.Result(tuple(argv), 0, "", "")

    monkeypatch.setattr(proc, "logged", logged)
    wanted = mmdebstrap.Root("trixie", "amd64", (), ("less",), "apt", True, None)
    mmdebstrap.simulate(wanted, tmp_path, tmp_path / "log", Silent())
    options = dict(word.split("=", 1) for word in command if word.startswith(("--aptopt", "--dpkgopt")))
    assert set(options) == {"--aptopt", "--dpkgopt"}
    assert all(Path(value).is_absolute() and Path(value).is_file() for value in options.values())
    text = Path(options["--aptopt"]).read_text()
    assert f'Dir::Bin::Methods "{options["--aptopt"]}/none";' in text
    assert 'APT::Install-Recommends "true";' in text
