"""A plain root becomes a tree, and nothing that its scripts left in it leads the work to the host."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from apt_ostree.errors import TreeError
from apt_ostree.tree import layout


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A place of the host with files that a composed root may neither have nor change."""
    place = tmp_path / "host"
    place.mkdir()
    for name in ("passwd", "wtmp", "status-old", "passwords.dat", "hostname", "machine-id", "ssh_host_rsa_key"):
        (place / name).write_text(f"the host's {name}")
    return place


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small plain root."""
    top = tmp_path / "root"
    for name in (
        "usr/bin", "usr/local/bin", "etc", "var/lib/dpkg/info", "var/cache/debconf", "var/log", "home", "root", "srv",
        "mnt", "media", "opt", "boot", "tmp",
    ):  # fmt: skip
        (top / name).mkdir(parents=True)
    (top / "var/lib/dpkg/status").write_text("Package: base\n")
    (top / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nwww:x:33:33:www:/var/www:/bin/sh\n")
    (top / "etc/group").write_text("root:x:0:\nwww:x:33:\n")
    (top / "var/log/wtmp").write_text("logins")
    (top / "etc/hostname").write_text("builder\n")
    for name in ("passwd-", "group-", "shadow-", "gshadow-", "subuid-", "subgid-", ".pwd.lock"):
        (top / "etc" / name).write_text("old\n")
    return top


def listing(place: Path) -> list[tuple[str, int, tuple[int, int], bytes]]:
    return sorted(
        (
            os.fspath(path),
            path.lstat().st_mode,
            (path.lstat().st_uid, path.lstat().st_gid),
            path.read_bytes() if path.is_file() else b"",
        )
        for path in (place, *place.rglob("*"))
    )


def test_a_plain_root_becomes_a_tree(root: Path) -> None:
    (root / "home/me").mkdir()
    (root / "opt/vendor").mkdir()
    (root / "opt/vendor/file").write_text("vendor's")
    (root / "usr/local/share/man").mkdir(parents=True)
    (root / "usr/local/man").symlink_to("share/man")
    layout.convert(root)
    assert {name: os.readlink(root / name) for name in layout.LINKS} == layout.LINKS
    for name, mode in layout.MOUNT_POINTS.items():
        assert stat.S_IMODE((root / name).stat().st_mode) == mode
        assert list((root / name).iterdir()) == []
    assert not os.path.lexists(root / "etc")
    assert (root / "usr/lib/sysimage/dpkg/status").read_text() == "Package: base\n"
    assert (root / "usr/etc/machine-id").read_text() == "uninitialized\n"
    assert stat.S_IMODE((root / "usr/etc/machine-id").stat().st_mode) == 0o444
    # An image may have one; a bootstrap's goes before (customise.py).
    assert (root / "usr/etc/hostname").read_text() == "builder\n"
    names = [path.name for path in (root / "usr/etc").iterdir()]
    assert [name for name in names if name.endswith(("-", ".lock"))] == []
    assert not (root / "usr/share/factory/var/log/wtmp").exists()
    assert (root / "usr/share/factory/var/home/me").is_dir()
    assert (root / "opt/vendor/file").read_text() == "vendor's"
    assert (root / "usr/local/bin").is_dir()
    assert (root / "usr/local/man").readlink() == Path("share/man")
    assert (root / "usr/local/man").resolve() == root / "usr/local/share/man"
    assert "u www 33:www" in (root / "usr/lib/sysusers.d/apt-ostree-base.conf").read_text()


@pytest.mark.parametrize(
    "planted",
    [
        {"usr": ""}, {"etc": ""}, {"var": ""}, {"var/home": ""}, {"var/roothome": ""},
        {"var/srv": ""}, {"var/cache": ""}, {"var/lib": ""}, {"var/lib/dpkg": ""},
        {"var/lib/systemd": ""}, {"var/lib/ucf": ""}, {"var/cache/debconf": ""}, {"usr/lib": ""},
        {"usr/lib/sysimage": ""}, {"usr/lib/sysimage/dpkg": ""}, {"usr/lib/tmpfiles.d": ""}, {"usr/share": ""},
        {"usr/lib/systemd": ""}, {"usr/lib/sysusers.d": ""}, {"usr/lib/apt-ostree": ""}, {"usr/etc": ""},
    ],
    ids=lambda planted: next(iter(planted)),
)  # fmt: skip
def test_a_link_in_the_way_is_refused_and_not_followed(root: Path, host: Path, planted: dict[str, str]) -> None:
    (root / "home/passwd").write_text("planted")
    (root / "srv/wtmp").write_text("planted")
    for name in planted:
        place = root / name
        if place.is_dir():
            place.rename(root / "aside")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(host)
    before = listing(host)
    with pytest.raises(TreeError):
        layout.convert(root)
    assert listing(host) == before


@pytest.mark.parametrize(
    "name",
    [
        "var/log", "var/spool", "var/lib/apt", "etc/machine-id", "etc/hostname", "etc/ssh", "etc/ssl", "etc/apt",
        "home", "root", "opt", "usr/local", "boot", "tmp", "run", "var/log/wtmp", "var/lib/dpkg/status-old",
        "etc/passwd", "usr/lib/python3", "var/lib/dpkg/info", "vmlinuz",
    ],
)  # fmt: skip
def test_a_link_that_is_in_nobodys_way_leads_nowhere(root: Path, host: Path, name: str) -> None:
    place = root / name
    if place.is_dir():
        place.rename(root / "aside")
    place.unlink(missing_ok=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(host / place.name if (host / place.name).is_file() else host)
    before = listing(host)
    layout.convert(root)
    assert listing(host) == before
    own = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    assert [path for path in own if b"the host's" in path.read_bytes()] == []


def test_an_empty_directory_at_the_top_becomes_a_link_into_var_and_one_with_files_stays(root: Path) -> None:
    for name in ("data/db", "snap", "var/snap", "nix/store"):
        (root / name).mkdir(parents=True)
    (root / "data").chmod(0o2770)
    (root / "nix/store/file").write_text("nix's")
    (root / "var/snap/state").write_text("snapd's")
    layout.convert(root)
    assert [os.readlink(root / name) for name in ("data", "snap")] == ["var/data", "var/top-snap"]
    assert (root / "nix/store/file").read_text() == "nix's"
    rules = (root / "usr/lib/tmpfiles.d/00-apt-ostree-base.conf").read_text().splitlines()
    for line in ("d /var/data :2770 :0 :0", "d /var/data/db :0755 :0 :0", "d /var/top-snap :0755 :0 :0"):
        assert line in rules


def test_what_stands_in_two_places_is_not_replaced(root: Path) -> None:
    for name in ("home/me", "var/home/me"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(name)
    with pytest.raises(TreeError, match="/var/home/me exists already"):
        layout.convert(root)
    assert (root / "var/home/me").read_text() == "var/home/me"


def test_a_tree_that_has_a_place_of_ours_in_use_is_refused(root: Path) -> None:
    (root / "usr/etc").mkdir()
    (root / "usr/etc/file").touch()
    with pytest.raises(TreeError, match="/usr/etc exists already"):
        layout.convert(root)


def test_an_image_enables_the_units_that_its_scripts_enabled_and_no_others(root: Path) -> None:
    presets = root / "usr/lib/systemd/system-preset"
    presets.mkdir(parents=True)
    for name in ("ssh.service", "rsync.service", "getty@.service", "template@.timer", "dm.service", "odd name.service"):
        place = root / "usr/lib/systemd/system" / name
        place.parent.mkdir(exist_ok=True)
        place.write_text("[Unit]\n\n[Install]\nWantedBy=multi-user.target\n")
    (root / "usr/lib/systemd/system/static.service").write_text("[Unit]\n# [Install]\n")
    (root / "usr/lib/systemd/system/linked.service").symlink_to("../../dracut/linked.service")
    (root / "usr/lib/systemd/system/alias.service").symlink_to("ssh.service")
    for link, target in (
        ("multi-user.target.wants/ssh.service", "/usr/lib/systemd/system/ssh.service"),
        ("getty.target.wants/getty@tty1.service", "/usr/lib/systemd/system/getty@.service"),
        ("sockets.target.requires/a.socket", "/usr/lib/systemd/system/a.socket"),
        ("timers.target.wants/masked.timer", "/dev/null"),
        ("timers.target.wants/x.timer\nenable rsync.service", "/usr/lib/systemd/system/x.timer"),
        ("sshd.service", "/usr/lib/systemd/system/ssh.service"),
        ("display-manager.service", "/usr/lib/systemd/system/dm.service"),
        ("masked.service", "/dev/null"),
    ):
        place = root / "etc/systemd/system" / link
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(target)
    layout.convert(root)
    (file,) = presets.iterdir()
    # Debian's own list, which enables units that its packages do not, is 90-systemd.preset.
    assert file.name < "90-systemd.preset"
    lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
    # Nothing about others: when a layer brings one, Debian's scripts ask presets whether to enable it.
    assert lines == [
        "enable a.socket", "enable dm.service", "enable getty@.service tty1", "enable ssh.service",
        "disable linked.service", "disable rsync.service", "disable template@.timer",
    ]  # fmt: skip


def test_a_tree_without_systemd_has_no_presets(root: Path) -> None:
    layout.convert(root)
    assert not (root / "usr/lib/systemd/system-preset").exists()
