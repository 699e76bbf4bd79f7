"""The two machines of a story, and what they are made of: Debian by mmdebstrap and apt-get, and ours."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from apt_ostree.host.files import remove_tree
from apt_ostree.inputs import manifest
from apt_ostree.tools import mmdebstrap
from tests.archive import Archive
from tests.integration.system import EXAMPLE_REF, REPOSITORY, STATEROOT, Base, System, output, run_cli

from .container import HOST_NAME, Container

MANIFEST = REPOSITORY / "examples/debian-13-minimal.toml"


class Machine(Protocol):
    """A machine that is changed while it is off or on, as its kind has it, and boots."""

    def run_itself(self) -> None:
        """Have what it takes to be changed while it runs, and no archive but those that it is told of."""

    def know(self, archive: Archive) -> None:
        """Have packages of this archive, too, from now on."""

    def install(self, packages: Sequence[str]) -> None: ...
    def upgrade(self, archive: Archive) -> None:
        """Bring what is installed to the versions of ``archive``."""

    def go_back(self, archive: Archive) -> None:
        """Go back over the last change, before which the machine had the versions of ``archive``."""

    def remove(self, packages: Sequence[str]) -> None:
        """Remove the packages and what only they needed, and keep what they left."""

    def boot(self) -> Container: ...


_NO_QUESTIONS = "systemd.mask=systemd-firstboot.service"
"""The unit asks on a console, which a container has not."""

_NO_INITRAMFS = "mount --bind usr/bin/true usr/bin/dracut"
"""Half a minute at each package that wants one, and no story looks at it."""


_LOCAL = "var/cache/life"
_TOOL = f"{_LOCAL}/apt-ostree"

RUNNING = ("python3", "bubblewrap")
"""The packages without which apt-ostree does not run on a machine."""


class PlainMachine:
    """A Debian that is run as its makers mean it: apt-get on the running system."""

    def __init__(self, place: Path, debs: Path) -> None:
        """Copy the plain root to ``place``. ``debs`` keeps what is downloaded, for other runs as well."""
        self.root, self._place, self._debs = place / "root", place, debs
        place.mkdir(parents=True)
        output("cp", "-a", plain_root(), self.root)
        # An installer gives each machine its name; without one, the first boot would apply systemd's presets.
        (self.root / "etc/machine-id").write_text(f"{uuid.uuid4().hex}\n")
        # mmdebstrap copied the host's.
        (self.root / "etc/hostname").write_text(f"{HOST_NAME}\n")

    def boot(self, mounts: str = "") -> Container:
        return Container(
            self.root, self._place / "boot", arguments=["root=LABEL=root", "rw", _NO_QUESTIONS], mounts=mounts
        )

    def run_itself(self) -> None:
        self._apt("install", *RUNNING)

    def know(self, archive: Archive) -> None:
        shutil.copytree(archive.root / "pool/main", self.root / _LOCAL, dirs_exist_ok=True)

    def install(self, packages: Sequence[str]) -> None:
        self._apt("install", *(next(iter(self._local(f"{name}_*")), name) for name in packages))

    def upgrade(self, archive: Archive) -> None:
        remove_tree(self.root / _LOCAL)
        self.know(archive)
        self._apt("install", "--allow-downgrades", *self._local("*"))

    def go_back(self, archive: Archive) -> None:
        self.upgrade(archive)

    def _local(self, pattern: str) -> list[str]:
        """The files of that name that are on the machine."""
        return [f"/{_LOCAL}/{deb.name}" for deb in (self.root / _LOCAL).glob(pattern)]

    def remove(self, packages: Sequence[str]) -> None:
        self._apt("remove", "--autoremove", *packages)

    def fetch(self, packages: Sequence[str]) -> None:
        """Fetch packages while the machine is off, with the host's network."""
        script = """
set -eu
root=$1; shift
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/run"
mkdir -p "$root/run/systemd/resolve"
cp /etc/resolv.conf "$root/run/systemd/resolve/stub-resolv.conf"
for node in null:3 urandom:9; do
    [ -e "$root/dev/${node%:*}" ] || mknod -m 666 "$root/dev/${node%:*}" c 1 "${node#*:}"
done
mount --bind "$DEBS" "$root/var/cache/apt/archives"
mkdir -p "$root/var/cache/apt/archives/partial"
chroot "$root" sh -eu -c 'find /var/lib/apt/lists -name "*Packages*" | grep -q . || apt-get update -q
    apt-get install -q -y --no-install-recommends --download-only "$@"' sh "$@"
umount "$root/var/cache/apt/archives"
"""
        self._debs.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", self.root, *packages],
            env={**os.environ, "DEBS": os.fspath(self._debs), "DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    def _apt(self, *words: str) -> None:
        archives = self.root / "var/cache/apt/archives"
        for deb in self._debs.glob("*.deb"):
            if not (archives / deb.name).exists():
                shutil.copy(deb, archives)
        with self.boot(_NO_INITRAMFS) as running:
            # As a machine that is upgraded at a boot has nobody to ask: what was changed stays.
            running.say(
                "apt-get -q -y --no-install-recommends -o Dpkg::Options::=--force-confdef"
                f" -o Dpkg::Options::=--force-confold {' '.join(words)}"
            )
            running.power_off()


_AS_OSTREE_MOUNTS = """
mount --bind "$1" sysroot
mount --bind sysroot/boot boot
mount --bind usr usr
mount -o remount,bind,ro usr
: >run/ostree-booted
mkdir -p run/systemd/system/local-fs.target.requires
ln -s ../var.mount run/systemd/system/local-fs.target.requires/var.mount
cat >run/systemd/system/var.mount <<UNIT
[Unit]
Before=local-fs.target
[Mount]
Where=/var
What=/sysroot/ostree/deploy/$2/var
Options=bind,slave,shared
UNIT
"""
"""What ostree-prepare-root does in an initramfs, and the unit of ostree's generator, which makes none in a
container."""


class OurMachine:
    """A sysroot that apt-ostree changes while it is off, and whose deployment boots."""

    def __init__(self, place: Path, repo: Path) -> None:
        self._place = place
        path = place / "sysroot"
        run_cli(
            "compose", "sysroot", "--repo", repo, "--stateroot", STATEROOT, "--karg=systemd.firstboot=off",
            EXAMPLE_REF, path,
        )  # fmt: skip
        self.system = System(path, Base(repo, output("ostree", f"--repo={repo}", "rev-parse", EXAMPLE_REF).strip()))
        self._runs = False

    def boot(self) -> Container:
        (options,) = self.system.entry()["options"]
        arguments = options.split()
        (link,) = (word.removeprefix("ostree=/") for word in arguments if word.startswith("ostree="))
        deployment = (self.system.path / link).resolve()
        return Container(
            deployment, self._place / "boot",
            mounts=_AS_OSTREE_MOUNTS, arguments=[*arguments, _NO_QUESTIONS],
            words=[os.fspath(self.system.path), STATEROOT],
        )  # fmt: skip

    def run_itself(self) -> None:
        self.install(RUNNING)
        tool = self.system.var.parent / _TOOL
        tool.parent.mkdir(parents=True)
        shutil.copy(REPOSITORY / "dist/apt-ostree", tool)
        for source in (self.system.deployment() / "etc/apt/sources.list.d").iterdir():
            source.unlink()
        self._runs = True

    def know(self, archive: Archive) -> None:
        self._use(archive, "made")

    def _use(self, archive: Archive, name: str) -> None:
        if self._runs:
            there = self.system.var.parent / _LOCAL / name
            shutil.copytree(archive.root, there)
            shutil.copy(archive.keyring, there.with_name(f"{name}.gpg"))
            archive = Archive(Path("/", _LOCAL, name), there.with_name(f"{name}.gpg"))
        self.system.use_archive(archive, name)

    def install(self, packages: Sequence[str]) -> None:
        self._change("install", "--no-recommends", *packages)

    def upgrade(self, archive: Archive) -> None:
        self._use(archive, "life")
        self._change("upgrade", "--layers-only")

    def go_back(self, archive: Archive) -> None:
        self._change("rollback")

    def remove(self, packages: Sequence[str]) -> None:
        self._change("uninstall", *packages)

    def _change(self, *words: str) -> None:
        if not self._runs:
            self.system.run(*words)
            return
        with self.boot() as running:
            running.say(f"/{_TOOL} {' '.join(words)}")
            running.power_off()
        # OSTree makes each deployment immutable, and the test removes them all.
        output("chattr", "-i", *(self.system.var.parent / "deploy").glob("*.[0-9]"))

    def fsck(self) -> str:
        """What ostree says of its objects, or nothing."""
        done = subprocess.run(
            ["ostree", "fsck", f"--repo={self.system.repo}", "--quiet"], capture_output=True, text=True, check=False
        )
        return done.stdout + done.stderr if done.returncode else ""


def plain_root() -> Path:
    """A Debian of the example image's packages, made once by mmdebstrap and kept."""
    kept = REPOSITORY / "build/life/plain"
    if kept.exists():
        return kept
    recipe = manifest.load(MANIFEST)
    work = kept.with_name(f"plain.{os.getpid()}")
    work.mkdir(parents=True)
    try:
        sources = mmdebstrap.default_sources(recipe.suite, recipe.components)
        root = mmdebstrap.Root(
            recipe.suite, recipe.architecture or output("dpkg", "--print-architecture").strip(),
            tuple(sources), tuple(recipe.packages), "apt", False, mmdebstrap.KEYRING,
        )  # fmt: skip
        words = mmdebstrap.arguments(root, ["--format=directory"], work / "root", work)
        done = subprocess.run(words, env={**os.environ, "INITRD": "No"}, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        for setting in ("etc/apt/apt.conf.d/99mmdebstrap", "etc/dpkg/dpkg.cfg.d/99mmdebstrap"):
            (work / "root" / setting).unlink(missing_ok=True)
        # As compose does for a manifest without recommended packages.
        (work / "root/etc/apt/apt.conf.d/20recommends").write_text('APT::Install-Recommends "false";\n')
        (work / "root").rename(kept)
    finally:
        remove_tree(work)
    return kept
