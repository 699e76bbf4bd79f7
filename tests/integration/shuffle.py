"""Packages that come and go in random order: what has to hold of every commit on the way.

``python3 -m tests.integration.shuffle --repo R --ref REF`` does it with packages of the archive that make users,
groups and state. The seed of the order is printed; ``APT_OSTREE_SEED`` gives it again.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from apt_ostree.tree import layout
from tests.archive import WITH_TOOLS, small_base, unpack_base
from tests.integration.boot import boot
from tests.integration.system import DATABASE, REPOSITORY, STATEROOT, Base, System, output, run_cli

ARCHIVE_PACKAGES = (
    "avahi-daemon", "beanstalkd", "bind9", "chrony", "cron", "dnsmasq", "dovecot-core", "fetchmail", "freeradius",
    "geoclue-2.0", "gpsd", "haproxy", "lldpd", "memcached", "mosquitto", "nfs-common", "nsd", "opendkim",
    "openssh-server", "pdns-recursor", "plocate", "polkitd", "postfix", "postgresql-common", "privoxy", "radvd",
    "redis-server", "rpcbind", "rtkit", "screen", "snmpd", "stunnel4", "tcpdump", "tinyproxy", "tor", "ulogd2",
    "unbound", "usbmuxd", "uuid-runtime", "vsftpd",
)  # fmt: skip
"""Forty that go together. Most have a user or a group, made with adduser, useradd or sysusers.d, and state in /var."""

ALICE = {"passwd": "alice:x:1000:1000::/home/alice:/bin/bash", "group": "alice:x:1000:"}

_LISTED = re.compile(r"(?P<kind>.)(?P<mode>[0-7]{5}) +(?P<uid>\d+) +(?P<gid>\d+) +\d+ +(?P<path>/[^\n]*)")
_LINE = re.compile(r"d (?P<path>\S+) :(?P<mode>\d+) :(?P<uid>\d+) :(?P<gid>\d+)")


@dataclass(frozen=True, slots=True)
class Names:
    """Name -> id, of users and of groups."""

    users: Mapping[str, int]
    groups: Mapping[str, int]


def names(etc: Path) -> Names:
    """The accounts of an /etc."""
    return Names(_numbers(etc / "passwd"), _numbers(etc / "group"))


def _numbers(listing: Path) -> dict[str, int]:
    fields = [line.split(":") for line in listing.read_text().splitlines()]
    assert len({words[0] for words in fields}) == len(fields), f"a name twice in {listing}"
    return {words[0]: int(words[2]) for words in fields}


@dataclass
class Shuffle:
    """A machine, and what it has seen so far of whose number is whose."""

    system: System
    systemd: Path
    files: Mapping[str, Path] = field(default_factory=dict)
    """Packages that are not the archive's."""
    timeout: float = 120
    users: dict[str, int] = field(default_factory=dict)
    groups: dict[str, int] = field(default_factory=dict)
    present: set[str] = field(default_factory=set)
    commits: int = 0

    def rounds(self, packages: Sequence[str], count: int, parts: int, order: random.Random) -> None:
        """``count`` times: lay all packages in random order and parts, and take them away in another.

        Halfway an administrator adds an account, so that /etc/passwd is not the image's any more.
        """
        for number in range(count):
            if number == (count + 1) // 2:
                self.edit_accounts()
            begun = time.monotonic()
            for command in ("install", "uninstall"):
                shuffled = order.sample(packages, len(packages))
                cuts = sorted(order.sample(range(1, len(packages)), parts - 1))
                for start, end in zip([0, *cuts], [*cuts, len(packages)], strict=True):
                    self.step(command, shuffled[start:end])
            print(f"round {number + 1}: {self.commits} commits, {time.monotonic() - begun:.0f} s", flush=True)

    def step(self, command: str, words: Sequence[str]) -> None:
        """One command, a look at its commit, and a boot of it."""
        given = [self.files.get(word, word) for word in words] if command == "install" else words
        run_cli(command, "-q", "--sysroot", self.system.path, *given, timeout=self.timeout)
        self.present ^= set(words)
        self.commits += 1
        self.check_commit()
        boot(self.system, self.systemd)
        self.check_machine()

    def edit_accounts(self) -> None:
        for name, line in ALICE.items():
            with (self.system.deployment() / "etc" / name).open("a") as file:
                file.write(f"{line}\n")

    def check_commit(self) -> None:
        """The commit that boots next: its packages, its layout, its numbers, and that each number has a name."""
        system = self.system
        commit, tree = system.commit(), system.deployment()
        layout.audit(system.repo, commit)
        check_layout(system.repo, commit)
        installed = {name for name, (_, status) in system.dpkg_status().items() if status == "install ok installed"}
        assert self.present <= installed, self.present - installed
        assert output("dpkg", f"--admindir={tree / DATABASE}", "--audit") == ""
        if not self.present:
            assert commit == system.base.commit
        found = names(tree / "usr/etc")
        self.check_numbers(found)
        assert orphans(system.repo, commit, tree, found) == []
        check_lists(tree / "usr/etc", found)

    def check_numbers(self, found: Names) -> None:
        """Whoever was seen before has the number of then, and nobody else has it."""
        for seen, now in ((self.users, found.users), (self.groups, found.groups)):
            owners = {number: name for name, number in seen.items()}
            for name, number in now.items():
                assert seen.get(name, number) == number, f"{name} had {seen[name]} and has {number}"
                assert owners.get(number, name) == name, f"{name} has {number}, which is {owners[number]}'s"
            seen.update(now)

    def check_machine(self) -> None:
        """The booted machine: its /etc knows everybody with the same numbers, its /var has no unknown owner."""
        etc, tree = self.system.deployment() / "etc", self.system.deployment()
        here = names(etc)
        self.check_numbers(here)
        image = names(tree / "usr/etc")
        assert image.users.items() <= here.users.items()
        assert image.groups.items() <= here.groups.items()
        for path in (*self.system.var.rglob("*"), *etc.rglob("*")):
            status = path.lstat()
            # What a package left in /var is remembered to be its user's, though no list has that any more.
            assert status.st_uid in self.users.values(), f"{path} belongs to {status.st_uid}"
            assert status.st_gid in self.groups.values(), f"{path} belongs to group {status.st_gid}"


def check_layout(repo: Path, commit: str) -> None:
    """What ``layout.audit`` says, looked at once more and without its code."""
    top = {path: kind for kind, _, _, path in listed(repo, commit, "/", recursive=False)}
    directories = {path for path, kind in top.items() if kind == "d"}
    assert {"/usr", "/var", "/boot", "/dev", "/proc", "/run", "/sys", "/sysroot", "/tmp"} <= directories
    assert directories - {"/", "/usr"} <= {
        "/var", "/boot", "/dev", "/proc", "/run", "/sys", "/sysroot", "/tmp",
    }, directories  # fmt: skip
    for place in sorted(directories - {"/", "/usr"}):
        assert listed(repo, commit, place, recursive=True)[1:] == [], place
    assert {"l"} == {kind for path, kind in top.items() if path not in directories}, top


def listed(repo: Path, commit: str, path: str, *, recursive: bool) -> list[tuple[str, int, int, str]]:
    """Kind, owner, group and path of what is in a commit."""
    words = ["-R"] if recursive else []
    found = []
    for line in output("ostree", "ls", f"--repo={repo}", *words, commit, path).splitlines():
        match = _LISTED.match(line)
        assert match is not None, line
        name = match["path"].partition(" -> ")[0] if match["kind"] == "l" else match["path"]
        found.append((match["kind"], int(match["uid"]), int(match["gid"]), name))
    return found


def orphans(repo: Path, commit: str, tree: Path, known: Names) -> list[str]:
    """What belongs to a number without a name: in /usr with /usr/etc and /var's templates, and of /var's lines."""
    owned = [(uid, gid, path) for _, uid, gid, path in listed(repo, commit, "/", recursive=True)]
    for rules in sorted((tree / "usr/lib/tmpfiles.d").glob("00-apt-ostree-*.conf")):
        matches = [match for line in rules.read_text().splitlines() if (match := _LINE.fullmatch(line))]
        owned += [(int(match["uid"]), int(match["gid"]), match["path"]) for match in matches]
    users, groups = set(known.users.values()), set(known.groups.values())
    return [f"{path}: {uid}:{gid}" for uid, gid, path in owned if uid not in users or gid not in groups]


def check_lists(etc: Path, known: Names) -> None:
    """The lists beside passwd and group speak of the same names."""
    for line in (etc / "passwd").read_text().splitlines():
        assert int(line.split(":")[3]) in known.groups.values(), line
    for line in (etc / "group").read_text().splitlines():
        assert set(filter(None, line.split(":")[3].split(","))) <= known.users.keys(), line
    for name, of in (("shadow", known.users), ("subuid", known.users), ("subgid", known.users),
                     ("gshadow", known.groups)):  # fmt: skip
        listing = etc / name
        lines = listing.read_text().splitlines() if listing.is_file() else []
        listed_names = {line.split(":")[0] for line in lines}
        assert listed_names <= of.keys(), f"{name}: {listed_names - of.keys()}"
        if "shadow" in name:
            assert listed_names == of.keys(), f"{name}: {of.keys() - listed_names}"


def seed() -> random.Random:
    """The order of this run: of APT_OSTREE_SEED, else a new one, which is printed."""
    number = os.environ.get("APT_OSTREE_SEED") or str(random.randrange(1 << 32))
    print(f"APT_OSTREE_SEED={number}", flush=True)
    return random.Random(number)


def main() -> int:
    parser = argparse.ArgumentParser(prog="shuffle", description=__doc__)
    parser.add_argument("--repo", type=Path, required=True)
    parser.add_argument("--ref", required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    work = options.work.absolute()
    if work.exists():
        shutil.rmtree(work)
    work.mkdir(parents=True)
    unpack_base(small_base(REPOSITORY / "build", "trixie", more=WITH_TOOLS), work / "systemd")
    run_cli("compose", "sysroot", "-q", "--repo", options.repo, "--stateroot", STATEROOT, options.ref, work / "sysroot")
    commit = output("ostree", "rev-parse", f"--repo={options.repo}", options.ref).strip()
    shuffle = Shuffle(System(work / "sysroot", Base(options.repo, commit)), work / "systemd", timeout=1800)
    shuffle.rounds(ARCHIVE_PACKAGES, options.rounds, 2, seed())
    shuffle.system.fsck()
    print(f"{shuffle.commits} commits, {len(shuffle.users)} users and {len(shuffle.groups)} groups: nothing moved")
    shutil.rmtree(work)
    return 0


if __name__ == "__main__":
    sys.exit(main())
