"""Packages that make users in every way come and go: numbers stay, nothing is left without an owner."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.archive import WITH_TOOLS, Archive, Deb, small_base, unpack_base
from tests.integration.shuffle import Shuffle, seed
from tests.integration.system import REF, REPOSITORY, STATEROOT, System, commit_base, run_cli

ROUNDS = 2


def state(name: str, group: str = "") -> str:
    """What a script does for its user once it is there: state in /var, a secret in /etc, a program in /usr."""
    group = group or name
    return f"""
mkdir -p -m 0750 /var/lib/{name}/inner
echo state >/var/lib/{name}/inner/state
mkdir -p -m 2770 /var/spool/{name}
echo secret >/etc/{name}.secret
chown -R {name}:{group} /var/lib/{name} /var/spool/{name}
chown root:{group} /etc/{name}.secret /usr/bin/{name}
chmod 0640 /etc/{name}.secret
chmod 2755 /usr/bin/{name}
"""


def package(name: str, make: str, **more: str) -> Deb:
    """A package of that name whose postinst makes a user of that name."""
    scripts = {"postinst": f'[ "$1" = configure ] || exit 0\n{make}{state(name)}'}
    return Deb(name, files={f"/usr/bin/{name}": f"#!/bin/sh\necho {name}\n", **more}, scripts=scripts)


def unless(name: str, command: str, kind: str = "passwd") -> str:
    return f"getent {kind} {name} >/dev/null || {command}\n"


def useradd(name: str, *options: str) -> str:
    words = " ".join(("useradd --system --user-group --no-create-home --home-dir", f"/var/lib/{name}", *options, name))
    return unless(name, words)


def adduser(name: str) -> str:
    return f"adduser --quiet --system --group --no-create-home --home /var/lib/{name} {name}\n"


def sysusers(name: str) -> Deb:
    """A user, a group besides and a membership, as dh_installsysusers(1) has it."""
    rules = f'g {name}-more -\nu {name} - "{name}, of \\"sysusers.d\\"" /var/lib/{name}\nm {name} {name}-more\n'
    return package(
        name,
        f"systemd-sysusers {name}.conf\nchgrp {name}-more /usr/share/{name}\n",
        **{f"/usr/lib/sysusers.d/{name}.conf": rules, f"/usr/share/{name}/file": ""},
    )


def overridden(name: str) -> Deb:
    """A program that is its user's before it is there."""
    place = f"/usr/bin/{name}"
    known = f"dpkg-statoverride --list {place} >/dev/null || dpkg-statoverride --add {name} {name} 4750 {place}\n"
    return Deb(name, files={place: "#!/bin/sh\n"}, scripts={"preinst": useradd(name) + known})


DEBS = (
    *(package(f"useradd-{end}", useradd(f"useradd-{end}")) for end in "ab"),
    *(package(f"adduser-{end}", adduser(f"adduser-{end}")) for end in "ab"),
    *(sysusers(f"sysusers-{end}") for end in "ab"),
    *(overridden(f"override-{end}") for end in "ab"),
    # A group alone, and its members of other packages; two packages with one user.
    Deb(
        "grouping",
        files={"/usr/bin/grouping": "#!/bin/sh\n"},
        scripts={"postinst": "addgroup --quiet --system grouping\nchgrp grouping /usr/bin/grouping\n"},
    ),
    package("member", adduser("member") + "addgroup --quiet --system grouping\nadduser --quiet member grouping\n"),
    *(
        Deb(f"sharing-{end}", scripts={"postinst": useradd("sharing") + f"install -d -o sharing /usr/share/of-{end}\n"})
        for end in "ab"
    ),
    package("ranges", useradd("ranges") + "usermod --add-subuids 300000-365535 --add-subgids 300000-365535 ranges\n"),
)


@pytest.fixture(scope="module")
def debs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("debs")
    return {deb.name: deb.build(place) for deb in DEBS}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Debian root with everything that makes users."""
    root = tmp_path_factory.mktemp("accounts") / "root"
    unpack_base(small_base(REPOSITORY / "build", more=WITH_TOOLS), root)
    return root


@pytest.fixture
def shuffle(
    plain: Path, debs: dict[str, Path], archive: Archive, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shuffle]:
    work = tmp_path_factory.mktemp("shuffle")
    base = commit_base(plain, archive, work)
    run_cli("compose", "sysroot", "-q", "--repo", base.repo, "--stateroot", STATEROOT, REF, work / "sysroot")
    shuffle = Shuffle(System(work / "sysroot", base), plain, debs)
    yield shuffle
    shuffle.system.remove()


# test_accounts.py proves each rule by itself; this looks for what nobody thought of, as 'make shuffle' does.
@pytest.mark.slow
def test_numbers_stay_and_nothing_is_orphaned_whatever_comes_and_goes(shuffle: Shuffle, debs: dict[str, Path]) -> None:
    shuffle.rounds(sorted(debs), ROUNDS, 3, seed())
    assert {"useradd-a", "adduser-b", "sysusers-a", "override-b", "member", "sharing"} <= shuffle.users.keys()
    assert {"grouping", "sysusers-b-more"} <= shuffle.groups.keys()
