"""A sysroot as its files describe it, and the one place that publishes to it.

Deployments are read from the loader entries, the boot links and the origin files, as libostree does: its
command line prints no JSON before 2025.3.
"""

from __future__ import annotations

import fcntl
import os
import re
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import ChangedError, SysrootError
from ..host import proc
from ..host.fs import remove_tree, sync_directory, sync_filesystem, write_atomically
from ..host.proc import signals_held
from ..inputs import kargs
from ..model import Deployment
from ..tools import ostree
from ..tree import kernel
from . import origin, retention, staged

_BOOT_LINK = re.compile(r"(?:^| )ostree=(/ostree/boot\.[01](?:\.[01])?/[^ /]+/[^ /]+/\d+)(?= |$)")
_DEPLOYMENT = re.compile(r"ostree/deploy/(?P<os>[^/]+)/deploy/(?P<checksum>[0-9a-f]{64})\.(?P<serial>\d+)$")
_REPAIR_ENTRY = (
    "ostree itself works with none of the deployments until that is repaired. Write the entry again after the others "
    "in /boot/loader/entries, with a path in /ostree/boot.*; or remove it: its deployment is forgotten then."
)

SWAP = ".loader.apt-ostree"
"""In /boot: the loader link that is about to take the other's name."""


@dataclass(frozen=True, slots=True)
class Sysroot:
    """One sysroot at one moment; ``deployments`` are in boot order."""

    path: Path
    deployments: tuple[Deployment, ...]

    @property
    def repo(self) -> Path:
        return self.path / "ostree/repo"

    @property
    def area(self) -> Path:
        """The work area: on the repository's filesystem, for hard links; not in its tmp, which ostree sweeps."""
        return self.repo / "extensions/apt-ostree"

    @property
    def unsynced(self) -> Path:
        """Exists while the repository holds objects that a power cut could damage; names the boot they are of."""
        return self.area / "unsynced"

    @property
    def booted(self) -> Deployment | None:
        return next((d for d in self.deployments if d.booted), None)

    def stateroot(self, name: str | None) -> str:
        """The stateroot to work on: the one named, the booted one, or that of the first deployment."""
        if name is not None:
            if not (self.path / "ostree/deploy" / name).is_dir():
                have = sorted(place.name for place in (self.path / "ostree/deploy").glob("*") if place.is_dir())
                raise SysrootError(
                    f"there is no stateroot {name} in {self.path}",
                    f"it has: {', '.join(have) or 'none'}",
                    "Name one of these with --stateroot.",
                )
            return name
        if self.booted is not None:
            return self.booted.osname
        if self.deployments:
            return self.deployments[0].osname
        raise SysrootError(
            f"{self.path} has no deployment",
            resolution="Make a sysroot with 'apt-ostree compose sysroot', or deploy a commit to it.",
        )

    def of(self, osname: str) -> tuple[Deployment, ...]:
        """The deployments of one stateroot, in boot order. Raises SysrootError when there are none."""
        found = tuple(d for d in self.deployments if d.osname == osname)
        if not found:
            raise SysrootError(
                f"stateroot {osname} of {self.path} has no deployment",
                resolution="Name another one with --stateroot: 'apt-ostree status' shows those with a deployment.",
            )
        return found


def load(path: Path) -> Sysroot:
    """Read the sysroot at ``path``. Raises SysrootError for a path that is none."""
    if not path.is_dir():
        raise SysrootError(f"{path} is no directory", resolution="Name a sysroot with --sysroot.")
    if not (path / "ostree/repo/config").is_file():
        raise SysrootError(
            f"{path} is no OSTree sysroot",
            f"there is no {path / 'ostree/repo'}",
            "Name one with --sysroot, or make one with 'apt-ostree compose sysroot'.",
        )
    if path != Path("/") and staged.BOOTED.exists() and _same(path / "ostree", Path("/ostree")):
        # /sysroot, say: libostree knows of a staged deployment at / alone, and elsewhere sweeps its tree away.
        path = Path("/")
    return Sysroot(path, _deployments(path))


def _same(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.samefile(other)


def parse_entry(text: str) -> dict[str, str]:
    """The keys of a loader entry (Boot Loader Specification, type 1)."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.strip().partition(" ")
        if key and not key.startswith("#"):
            found[key] = value.strip()
    return found


@dataclass(frozen=True, slots=True)
class _Entry:
    """A loader entry; ``link`` is its /ostree/boot.N/OS/KERNEL/SERIAL, where the kernel is a checksum."""

    file: Path
    version: int
    link: str
    options: str

    @property
    def parts(self) -> tuple[str, str, str]:
        osname, kernel, serial = self.link.split("/")[3:]
        return osname, kernel, serial


def _entries(path: Path) -> list[_Entry]:
    """The loader entries in boot order. Raises SysrootError for one that cannot be read."""
    found = []
    for file in (path / "boot/loader/entries").glob("ostree-*.conf"):
        entry = parse_entry(file.read_text(errors="surrogateescape"))
        match = _BOOT_LINK.search(entry.get("options", ""))
        if match is None:
            raise SysrootError(f"cannot read {file}", "it names no ostree= deployment", _REPAIR_ENTRY)
        version = entry.get("version", "")
        if not version.isdecimal():
            raise SysrootError(f"cannot read {file}", "it has no version number", _REPAIR_ENTRY)
        found.append(_Entry(file, int(version), match[1], entry["options"]))
    return sorted(found, key=lambda entry: (entry.version, entry.link), reverse=True)


def _deployments(path: Path) -> tuple[Deployment, ...]:
    root = staged.booted_root()
    found = [_staged(path)] if path == Path("/") else []
    result: list[Deployment] = [d for d in found if d is not None]
    for entry in _entries(path):
        target = Path(os.path.realpath(path / entry.link.lstrip("/")))
        match = _DEPLOYMENT.search(os.fspath(target))
        if match is None or not target.is_dir():
            raise SysrootError(
                f"the loader entry for {entry.link} leads to no deployment", f"it points to {target}", _REPAIR_ENTRY
            )
        status = target.stat()
        booted = root == (status.st_dev, status.st_ino)
        words = " ".join(word for word in kargs.split(entry.options) if not word.startswith("ostree="))
        result.append(_deployment(path, len(result), match, words, booted=booted, boots=entry.parts[1]))
    if path == Path("/") and root is not None and not any(d.booted for d in result):
        raise SysrootError(
            "cannot tell which deployment is running",
            f"{staged.BOOTED} says that one is, and no loader entry leads to it",
            "Nothing was changed. 'ostree admin status' shows what ostree makes of it.",
        )
    return tuple(result)


def _deployment(
    path: Path,
    index: int,
    match: re.Match[str],
    words: str,
    *,
    booted: bool = False,
    waiting: staged.Staged | None = None,
    boots: str = "",
) -> Deployment:
    where = path / f"ostree/deploy/{match['os']}/deploy/{match['checksum']}.{match['serial']}.origin"
    notes = origin.parse(where.read_text(errors="surrogateescape"), os.fspath(where)) if where.is_file() else {}
    retained = origin.retained(notes)
    return Deployment(
        index,
        match["os"],
        match["checksum"],
        int(match["serial"]),
        words,
        notes,
        booted=booted,
        staged=waiting is not None,
        pinned=origin.has_pin(notes) and not retained,
        retained=retained,
        locked=waiting is not None and waiting.locked,
        boot_checksum=boots,
    )


def _staged(path: Path) -> Deployment | None:
    """The deployment that will be finalised at shutdown, as ostree's note in /run says."""
    waiting = staged.read()
    if waiting is None:
        return None
    match = _DEPLOYMENT.search(f"ostree/deploy/{waiting.osname}/deploy/{waiting.name}")
    if match is None or not (path / match[0]).is_dir():
        raise SysrootError(
            "the staged deployment is not there",
            f"{staged.NOTE} says {waiting.osname} {waiting.name}",
            "Reboot, or drop it: ostree admin undeploy 0",
        )
    return _deployment(path, 0, match, " ".join(waiting.kargs), waiting=waiting)


def publish(
    before: Sysroot,
    osname: str,
    commit: str,
    new_origin: origin.Origin,
    *,
    arguments: Sequence[str] | None = None,
    keep: int = 2,
) -> Sysroot:
    """Deploy ``commit`` as what boots next: the only function that makes an operation's result visible.

    The new deployment's /etc merges from the booted one (or else from the first). Its kernel arguments are
    ``arguments``, all of them but ``ostree=``; by default those of what boots next, whose intent it follows, too.
    ``keep`` is how many deployments there may be (retention.py). Files that the origin tracks for the initramfs
    are taken from that /etc. Raises TreeError when one of them is missing, SpaceError for a /boot that is too
    small, and ChangedError when anybody changed the deployments since ``before`` was read.
    """
    check_unchanged(before)
    _check_staged(before, osname)
    own = before.of(osname)
    merge = before.booted if before.booted is not None and before.booted.osname == osname else own[0]
    words = kargs.split(own[0].kargs) if arguments is None else arguments
    text = before.area / "tmp/origin"
    overlay = before.area / "tmp/initramfs-etc.img"
    overlays = []
    try:
        if tracked := origin.intent(new_origin).initramfs_etc:
            kernel.etc_archive(before.path / merge.path / "etc", tracked, overlay)
            overlays = [f"--overlay-initrd={overlay}"]
        staying = retention.kept(own, merge, keep)
        size = overlay.stat().st_size if overlays else 0
        going = retention.first_to_go(before.path, commit, own, staying, size)
        # Objects were written without fsync; ostree syncs /boot and its own links, we sync what they lead to.
        sync_filesystem(before.repo)
        before.unsynced.unlink(missing_ok=True)
        write_atomically(text, origin.render(new_origin).encode())
        with signals_held():
            # The sync may have taken minutes.
            check_unchanged(before)
            retention.hold(before.path, own, merge, staying)
            for deployment in sorted(going, key=lambda d: d.index, reverse=True):
                ostree.admin(before.path, "undeploy", str(deployment.index))
            # Without --karg-none ostree takes the arguments of the booted one, and a pending change would be lost.
            ostree.admin(
                before.path,
                "deploy",
                f"--os={osname}",
                f"--origin-file={text}",
                *(["--stage"] if before.booted is not None else []),
                *overlays,
                "--karg-none",
                *(f"--karg-append={word}" for word in words),
                commit,
            )
    finally:
        text.unlink(missing_ok=True)
        overlay.unlink(missing_ok=True)
    return load(before.path)


def check_unchanged(before: Sysroot) -> None:
    """Raises ChangedError where the deployments, their origins, pins or arguments are not what ``before`` says:
    ostree's own tools know nothing of our lock."""
    if load(before.path).deployments != before.deployments:
        raise ChangedError(
            "the deployments changed while this ran",
            "another tool deployed, removed, pinned or changed one",
            "Nothing was published; run the command again.",
        )


def _check_staged(before: Sysroot, osname: str) -> None:
    """Raises SysrootError where ostree would lose a staged deployment: it keeps one in all, and one whose /etc comes
    from another staged one is never finalised."""
    waiting = next((d for d in before.deployments if d.staged), None)
    if waiting is None:
        return
    running = before.booted.osname if before.booted is not None else None
    if waiting.osname != osname or osname != running:
        raise SysrootError(
            "a staged deployment would be lost",
            f"{waiting.checksum[:12]} of stateroot {waiting.osname} is waiting for the shutdown",
            "Reboot first, or drop it with 'apt-ostree cleanup -p --stateroot " + waiting.osname + "'.",
        )
    if waiting.locked:
        raise SysrootError(
            "the staged deployment is locked",
            f"{waiting.checksum[:12]} waits for being released, which somebody asked for",
            "'apt-ostree finalize-deployment' releases it and reboots, 'apt-ostree cleanup -p' drops it.",
        )


def set_default(before: Sysroot, index: int) -> Sysroot:
    """Make deployment ``index`` boot next, as it is, with its own /etc; the order of the others stays.

    Atomic: the loader link is swapped. Raises ChangedError as ``publish`` does.
    """
    with signals_held():
        try:
            if ostree.has_admin("set-default"):
                check_unchanged(before)
                ostree.admin(before.path, "set-default", str(index))
            else:
                with _ostree_locked(before.path):
                    check_unchanged(before)
                    _reorder(before.path, index)
                ostree.admin(before.path, "cleanup")
        except proc.ChildError:
            # ostree swaps the link and clears away then, which a damaged repository stops. A rollback is the way out.
            if load(before.path).deployments[0].id != before.deployments[index].id:
                raise
    return load(before.path)


@contextmanager
def _ostree_locked(path: Path) -> Iterator[None]:
    """Hold libostree's own lock, an open file description's (fcntl(2)). Raises ChangedError while ostree has it."""
    descriptor = os.open(path / "ostree/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        whole = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        try:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, whole)
        except (BlockingIOError, PermissionError):
            raise ChangedError(
                "ostree itself is changing the deployments", resolution="Nothing was changed; run the command again."
            ) from None
        yield
    finally:
        os.close(descriptor)


def _reorder(path: Path, index: int) -> None:
    """What ``ostree admin set-default`` does, for ostree before it had that (2022.7).

    libostree keeps two sets of everything that boots and one link, /boot/loader, that says which is in force.
    The other set is written whole, then the link is replaced.
    """
    loader = path / "boot/loader"
    if elsewhere := _menus(path):
        raise SysrootError(
            "this ostree is too old to roll back here",
            f"its boot loader has a menu of its own ({', '.join(elsewhere)}), which only ostree itself can write",
            "Choose the other entry in the boot menu, or use an ostree with 'ostree admin set-default'.",
        )
    now = int(os.readlink(loader).rpartition(".")[2])
    other = 1 - now
    links = path / "ostree" / os.readlink(path / f"ostree/boot.{now}")
    fresh_links, fresh_loader = path / f"ostree/boot.{other}.0", path / f"boot/loader.{other}"
    for stale in (path / f"ostree/boot.{other}", fresh_links, path / f"ostree/boot.{other}.1", fresh_loader):
        remove_tree(stale)
    ordered = _entries(path)
    ordered.insert(0, ordered.pop(index))
    (fresh_loader / "entries").mkdir(parents=True)
    fresh_links.mkdir()
    counts: dict[str, int] = {}
    for position, entry in enumerate(ordered):
        # Deployments of one kernel are numbered in boot order. ostree relies on it: as long as the kernels
        # stay the same it exchanges the links alone and leaves the entries.
        osname, kernel, serial = entry.parts
        number = counts.get(kernel, 0)
        counts[kernel] = number + 1
        place = fresh_links / osname / kernel / str(number)
        place.parent.mkdir(parents=True, exist_ok=True)
        # The links point upwards by a depth that both sets share.
        place.symlink_to((links / osname / kernel / serial).readlink())
        text = entry.file.read_text(errors="surrogateescape")
        text = re.sub(r"(?m)^version .*$", f"version {len(ordered) - position}", text)
        text = re.sub(r"(?m)^(title .*\(ostree:(?:[^()]*:)?)\d+\)$", rf"\g<1>{position})", text)
        text = text.replace(
            f"ostree={entry.link}",
            f"ostree=/ostree/boot.{other}/{osname}/{kernel}/{number}",
        )
        name = f"ostree-{len(ordered) - position}-{osname}.conf"
        (fresh_loader / "entries" / name).write_text(text, errors="surrogateescape")
    (path / f"ostree/boot.{other}").symlink_to(fresh_links.name)
    sync_filesystem(path)
    sync_filesystem(path / "boot")
    swap = path / "boot" / SWAP
    remove_tree(swap)
    swap.symlink_to(fresh_loader.name)
    swap.rename(loader)
    sync_directory(path / "boot")


def _menus(path: Path) -> list[str]:
    """What ostree writes for a boot loader that does not read the entries themselves."""
    found = [place.name for place in (path / "boot/loader").iterdir() if place.name != "entries"]
    for menu in (path / "boot").glob("efi/EFI/*/grub.cfg"):
        if "ostree=/ostree/boot." in menu.read_text(errors="replace"):
            found.append(os.fspath(menu))
    settings = origin.parse((path / "ostree/repo/config").read_text(), "the repository's configuration")
    kind = settings.get("sysroot", {}).get("bootloader", "auto")
    return sorted([*found, kind] if kind in {"grub2", "zipl", "aboot"} else found)


def undeploy(before: Sysroot, deployment: Deployment) -> Sysroot:
    """Remove one deployment, a pinned one as well. Raises ChangedError as ``publish`` does, and proc.ChildError when
    ostree refuses (the booted one)."""
    with signals_held():
        check_unchanged(before)
        ostree.admin(before.path, "undeploy", str(deployment.index))
    return load(before.path)


def pin(before: Sysroot, deployment: Deployment, pinned: bool) -> Sysroot:
    """Keep a deployment through every pruning, or no longer. Raises ChangedError as ``publish`` does."""
    with signals_held():
        check_unchanged(before)
        retention.write_pin(before.path, deployment, pinned)
    return load(before.path)


def prune(path: Path) -> None:
    """Free what no deployment and no ref needs."""
    proc.run(["ostree", "admin", "cleanup", f"--sysroot={path}"])
