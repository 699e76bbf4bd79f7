"""Lay packages over a base: dpkg's own work on a stack of overlays, in the sandbox.

Each round mounts the base and the layers made so far under a fresh writable one, lets dpkg unpack hollow
packages and configure others, and unmounts. Then every marker found in the new layer is exchanged for a hard
link to its object, and the layer is frozen: from then on it is only read. So no link into the object store
is ever writable by a script.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import ScriptError, SpaceError, TreeError
from ..host import mounts, proc
from ..host.files import check_space, copy_metadata, remove_tree, replace_content
from ..host.paths import beneath, make_beneath, walk
from ..inputs import debconf
from ..model import LIMITS, Limits, Package, Plan
from ..reporter import Reporter
from ..sandbox import bwrap
from ..tools import ostree
from ..tree import bytecode, kernel, opt, state, subids, units, users
from . import hollow, hydrate, overlay, rounds, stubs
from .base import BaseTree
from .cache import Cached

_log = logging.getLogger(__name__)

DEBS = "/run/apt-ostree"
"""Where the sandbox sees the packages."""
_POLICY = f"{DEBS}/policy-rc.d"

_DPKG = [
    "dpkg",
    "--force-unsafe-io",  # nothing of the work area needs to survive a crash
    "--force-confdef",
    "--force-confold",  # nobody is there to be asked
]

_SCRIPTS = {
    "pre-installation": "preinst",
    "post-installation": "postinst",
    "pre-removal": "prerm",
    "post-removal": "postrm",
}
_FAILED = re.compile(r"dpkg: error processing (?:package|archive) (?P<what>.+?) \(--\w+\):")
_SCRIPT_FAILED = re.compile(
    _FAILED.pattern + r"\n .*?package (?P<script>[a-z-]+) script subprocess .*?(?P<how>(?:exit status|signal|killed).*)"
)
_PROGRESS = re.compile(r"(?:Unpacking|Setting up) (\S+)")
_STEPS = {
    re.compile(r"Preparing to unpack (?:\S*/)?([^/_]+)_\S+ \.\.\."): "preinst",
    re.compile(r"Setting up ([^\s:]+)\S* \("): "postinst",
    re.compile(r"Processing triggers for ([^\s:]+)\S* \("): "postinst",
    re.compile(r"Removing ([^\s:]+)\S* \("): "prerm",
}
"""What dpkg says before it runs a script."""


@dataclass(frozen=True, slots=True)
class Assembled:
    """Layers over a base, lowest first, without any mark of overlayfs when ``union`` is set."""

    base: Path
    layers: tuple[Path, ...]
    union: bool
    kernels: kernel.Kernels | None = None


def _links(base: Path) -> dict[str, str]:
    """The base's links at the top and /usr/local, and where from the top they lead."""
    names = [*os.listdir(base), "usr/local"]
    return {name: os.readlink(base / name) for name in sorted(names) if (base / name).is_symlink()}


def assemble(
    repo: Path,
    work: Path,
    base: BaseTree,
    plan: Plan,
    cached: Mapping[Package, Cached],
    reporter: Reporter,
    log: Path,
    *,
    settled_day: int,
    reserved: users.Reserved,
    answers: str = "",
    initramfs: Sequence[str] | None = None,
    limits: Limits = LIMITS,
) -> Assembled:
    """Run the plan over ``base`` and return the layers, clean of everything that is not the packages'.

    ``work`` is an empty directory on the repository's filesystem. ``settled_day`` dates new accounts, and
    ``reserved`` are the numbers and ranges that accounts have on the machine (users.py);
    ``answers`` is what debconf is told before it asks, ``initramfs`` dracut's further arguments for an initramfs
    that is made in any case, ``limits`` are those of each run in the sandbox. Raises ScriptError when a maintainer
    script or dpkg fails, and TreeError where the base cannot take answers; then nothing outside ``work`` has changed.
    """
    run = _Run(repo, work, base.path, cached, reporter, log, limits, total=2 * len(plan.packages))
    cuts, whole = rounds.arrange(base, plan, cached)
    run.prepare(plan, whole)
    pending: tuple[Package, ...] = ()
    for number, current in enumerate(cuts):
        with run.round() as sandbox:
            if number == 0:
                run.preseed(sandbox, answers)
                run.preconfigure(sandbox)
            if pending:
                run.dpkg(sandbox, ["--configure", "--no-triggers", *(package.qualified for package in pending)])
            if current.remove:
                # As apt does: what takes a removed package's place may come later in the same run.
                run.dpkg(sandbox, ["--force-depends", "--remove", "--no-triggers", *current.remove])
            if current.unpack:
                debs = [f"{DEBS}/{run.files[p]}" for p in current.unpack]
                run.dpkg(sandbox, ["--unpack", "--no-triggers", "--auto-deconfigure", *debs])
        pending = current.configure
    with run.round() as sandbox:
        run.dpkg(sandbox, ["--configure", "--pending"])
        _audit_database(run, sandbox)
    kernels, outdated = run.settle_kernels()
    run.check_written()
    run.finish(plan, base.native, settled_day, reserved)
    if kernels is not None and (outdated or initramfs is not None):
        run.make_initramfs(kernels.boots, initramfs or ())
    overlay.settle_whiteouts(run.layers)
    union = overlay.is_union(base.path, run.layers)
    _log.debug("to be committed: %s", "the union of the layers and the base" if union else "a walk applies the layers")
    if union:
        for layer in run.layers:
            overlay.strip(layer)
    return Assembled(base.path, tuple(run.layers), union, kernels)


class _Run:
    """The state of one assembly: the layers so far, and how far dpkg is."""

    def __init__(
        self,
        repo: Path,
        work: Path,
        base: Path,
        cached: Mapping[Package, Cached],
        reporter: Reporter,
        log: Path,
        limits: Limits,
        total: int,
    ) -> None:
        self.repo, self.work, self.base, self.cached, self.limits = repo, work, base, cached, limits
        self.reporter, self.log, self.total = reporter, log, total
        self.layers: list[Path] = []
        self.files: dict[Package, str] = {}
        self.links = _links(base)
        self.spare = work / "spare"
        self.hydrator = hydrate.Hydrator(repo, base, self.spare)
        self.answers: Path | None = None
        self.done = 0

    def prepare(self, plan: Plan, whole: set[Package]) -> None:
        debs = self.work / "debs"
        debs.mkdir()
        for solved in plan.packages:
            package = solved.package
            cached = self.cached[package]
            name = f"{package.name}_{package.version.replace(':', '%3a')}_{package.architecture}.deb"
            self.files[package] = name
            if package in whole:
                hollow.refill(self.repo, cached, debs / name)
            else:
                os.link(cached.hollow, debs / name)
                self.hydrator.objects.update(cached.objects)
        stubs.write_policy(debs)
        state.populate(self.base, self.work / "var")
        # A link that leads nowhere is one that dpkg puts a directory in the place of.
        for name, target in self.links.items():
            leads = os.path.normpath(os.path.join("/", os.path.dirname(name), target))
            if leads.startswith("/var/"):
                make_beneath(self.work, leads.lstrip("/"))
        self.kernels = kernel.populate(self.base, self.work / "boot")
        self.var_before = state.snapshot(self.work / "var")

    @contextmanager
    def round(self, *, covered: bool = True) -> Iterator[bwrap.Sandbox]:
        """One mount with a fresh writable layer, and with stubs where it is ``covered``; frozen afterwards."""
        number = len(self.layers)
        # What the rounds before brought counts, for it is now that its scripts run.
        release = kernel.choose(self.work / "boot", self.kernels) or ""
        layer = self.work / f"l{number}"
        layer.mkdir()
        # The root of the mount shows the topmost layer's own mode and owner.
        copy_metadata(self.base, layer)
        # overlayfs refuses to take a work directory twice (volatile).
        fresh = self.work / f"w{number}"
        fresh.mkdir()
        (self.work / "root").mkdir(exist_ok=True)
        lower = [path.name for path in reversed(self.layers)] + [os.path.relpath(self.base, self.work)]
        with mounts.overlay(self.work, lower, layer.name, fresh.name, "root") as root:
            (root / "etc").mkdir(exist_ok=True)
            below = _View([*reversed(self.layers), self.base])
            covers = stubs.cover(root, _POLICY, release, below.find, self.work / "fresh") if covered else []
            yield bwrap.Sandbox(
                root,
                var=self.work / "var",
                boot=self.work / "boot",
                read_only={DEBS: self.work / "debs"},
                limits=self.limits,
            )
        remove_tree(fresh)
        self.layers.append(layer)
        left = stubs.uncover(layer, covers, _POLICY)
        self.hydrator.exchange(layer, left, link=True)
        # A package's /usr/local is there, and whatever a link of the base leads to.
        self.hydrator.exchange(self.work / "var", left, link=False)

    def dpkg(self, sandbox: bwrap.Sandbox, words: Sequence[str]) -> None:
        """One dpkg in the sandbox. Raises ScriptError with the failing script and the last lines."""

        doing = "dpkg"

        def on_line(line: str) -> None:
            nonlocal doing
            self.reporter.log(line)
            doing = step(line) or doing
            if match := _PROGRESS.match(line):
                self.done += 1
                self.reporter.progress(min(self.done, self.total), self.total, match[1])

        try:
            result = sandbox.run([*_DPKG, *words], log=self.log, on_line=on_line, doing=lambda: doing)
        except (ScriptError, SpaceError) as error:
            raise type(error)(
                error.brief, f"{error.detail}\nthe whole log: {self.log}".lstrip("\n"), error.resolution
            ) from None
        if result.returncode != 0:
            raise script_error(result.stdout, result.returncode, self.log)
        self._restore_links(sandbox.root)

    def _restore_links(self, root: Path) -> None:
        """Put back what dpkg takes away with the last package that lists it: a plain root has a directory there,
        which stays for as long as it holds anything."""
        for name, target in self.links.items():
            above, _, own = f"/{name}".rpartition("/")
            if (place := make_beneath(root, above.lstrip("/"))) is not None and not os.path.lexists(place / own):
                (place / own).symlink_to(target)

    def preseed(self, sandbox: bwrap.Sandbox, answers: str) -> None:
        """Tell debconf what it is to be answered (debconf-set-selections(1)), and keep that for the next layer."""
        if not answers:
            return
        if not (self.base / "usr/bin/debconf-set-selections").exists():
            raise TreeError(
                "the base cannot take answers for debconf",
                "it has no /usr/bin/debconf-set-selections",
                "Without --debconf the packages' own defaults are taken.",
            )
        for place in (self.work / "debs/selections", kept := self.work / "selections"):
            with os.fdopen(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(answers)
        result = sandbox.run(["debconf-set-selections", f"{DEBS}/selections"])
        # Scripts get answers from debconf alone.
        (self.work / "debs/selections").unlink()
        if result.returncode != 0:
            # Its message may quote a line, and that a password.
            raise ScriptError("debconf did not take the answers", f"debconf-set-selections: {result.returncode}")
        self.answers = kept

    def settle_kernels(self) -> tuple[kernel.Kernels | None, bool]:
        """Put kernels where OSTree looks; returns them, and whether what the initramfs is made of has changed."""
        boot = self.work / "boot"
        if not self.kernels and not kernel.versions(boot):
            return None, False
        wanted = os.path.lexists(boot / kernel.WANTED)
        # What is there is asked for, not its stub.
        with self.round(covered=False) as sandbox:
            kernels, changed = kernel.settle(sandbox.root, boot, self.kernels)
            if kernels is None or changed:
                return kernels, changed
            other = wanted or kernel.inputs_changed(self.layers, kernels.boots)
            if other and not kernel.has_dracut(sandbox.root):
                self.reporter.warn("the initramfs stays the base's: the tree has no dracut to make another")
                return kernels, False
            return kernels, other

    def make_initramfs(self, version: str, arguments: Sequence[str]) -> None:
        """Make a kernel's initramfs from the finished tree: it may hold accounts, and must hold no key of ours."""
        self.reporter.step(f"Making the initramfs of kernel {version}")
        with self.round(covered=False) as sandbox:
            kernel.initramfs(sandbox, sandbox.root, version, self.log, arguments)
        _remove_litter(self.layers[-1], self.base)

    def preconfigure(self, sandbox: bwrap.Sandbox) -> None:
        """Let debconf ask all questions first, as apt does before its first dpkg (dpkg-preconfigure(8)).

        Only where the tree has what it needs; like apt, whatever its outcome.
        """
        asking = [
            f"{DEBS}/{name}"
            for package, name in self.files.items()
            if "templates" in self.cached[package].control_files
        ]
        extractors = ("usr/lib/apt/apt-extracttemplates", "usr/bin/apt-extracttemplates")
        if not asking or not any((self.base / name).exists() for name in extractors):
            return
        sandbox.run(["dpkg-preconfigure", *asking], log=self.log, on_line=self.reporter.log)

    def check_written(self) -> None:
        """Refuse what OSTree cannot hold, and what the disk cannot once more, in the commit: a script's file of holes
        takes no space before. Say what is left out.

        Raises TreeError, SpaceError."""
        written = 0
        for tree in (*self.layers, self.work / "var"):
            for entry in walk(tree):
                status = entry.stat(follow_symlinks=False)
                # In /var, a program makes its sockets and FIFOs itself.
                problem = _problem(entry.name, status, anything=tree.name == "var")
                if problem is not None and not overlay.is_whiteout(entry.path):
                    shown = os.fsencode(os.path.relpath(entry.path, tree)).decode(errors="backslashreplace")
                    raise TreeError(
                        f"a script made what OSTree cannot hold: {problem}",
                        f"/{'var/' if tree.name == 'var' else ''}{shown}",
                        "Nothing was changed. Leave out the package that makes it: its name, or the log, tells which.",
                    )
                # What has several names is an object's.
                if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
                    written += status.st_size
        check_space(self.work, written, "what the scripts wrote")
        if left := sorted(name for name in os.listdir(self.work / "boot") if not _OF_KERNELS.fullmatch(name)):
            self.reporter.warn(
                f"left out, since a deployment's /boot is OSTree's: {', '.join(f'/boot/{name}' for name in left)}"
            )

    def finish(self, plan: Plan, native: str, settled_day: int, reserved: users.Reserved) -> None:
        """Take out of the layers what the sandbox and dpkg's housekeeping left there; add /var's part."""
        for layer in self.layers:
            _remove_litter(layer, self.base)
        top = self.work / f"l{len(self.layers)}"
        top.mkdir()
        copy_metadata(self.base, top)
        view = _View([top, *reversed(self.layers), self.base])
        self._renumber(view, reserved)
        self._settle_subids(view, reserved)
        # /var lies in the work directory as it does in a tree.
        keys = [units.drop_identity(tree) for tree in (self.work, *self.layers)]
        links = opt.move(self.work / "var", self.var_before, top)
        captured = state.capture(self.work / "var", self.var_before)
        captured = replace(captured, lines=(*captured.lines, *links))
        state.write(captured, self.work / "var", top, state.free_name(self.base))
        state.obey(self.work / "var", links)
        state.forget(self.base, top, self.var_before.keys() - state.snapshot(self.work / "var").keys())
        accounts = self._settle_accounts(view, top, settled_day)
        wanted = bool(captured.paths) or any(keys) or accounts or units.is_shipped(self.base)
        # An older image's programs have older faults.
        if wanted and not units.is_current(self.base):
            units.write(top)
        if self.answers is not None:
            state.make_parents(top, top / debconf.PLACE)
            self.answers.rename(top / debconf.PLACE)
        self._mark_automatic(plan, native, top)
        self.layers.append(top)
        info = f"{state.SYSIMAGE}/dpkg/info"
        lists = [path for layer in self.layers if (found := beneath(layer, info)) for path in found.glob("*.list")]
        keep = bytecode.shipped(path for path in lists if path.is_file() and not path.is_symlink())
        for layer in self.layers:
            bytecode.settle(layer, keep, self.spare)

    def _renumber(self, view: _View, reserved: users.Reserved) -> None:
        """Give new accounts the numbers they have on the machine, or free ones, in files and in the lists."""
        after = users.parse(view.text("usr/etc/passwd"), view.text("usr/etc/group"))
        moves = users.settle_numbers(after, users.read(self.base / "usr/etc"), reserved.numbers)
        for conflict in moves.conflicts:
            self.reporter.warn(conflict)
        if not moves:
            return
        for name, renumber in (("passwd", users.renumber_passwd), ("group", users.renumber_group)):
            for listing in (name, f"{name}-"):
                path = view.find(f"usr/etc/{listing}")
                if path is not None and not path.is_relative_to(self.base):
                    self._rewrite(path, renumber(path.read_text(errors="surrogateescape"), moves))
        for tree in (*self.layers, self.work / "var"):
            users.renumber_files(tree, moves, self.spare)

    def _settle_subids(self, view: _View, reserved: users.Reserved) -> None:
        for name in subids.LISTS:
            path = view.find(f"usr/etc/{name}")
            if path is not None and not path.is_relative_to(self.base):
                text = path.read_text(errors="surrogateescape")
                base = users.read_list(self.base / "usr/etc", name)
                self._rewrite(path, subids.settle(text, base, reserved.subids.get(name, "")))

    def _rewrite(self, path: Path, text: str) -> None:
        fresh = self.work / "fresh"
        fresh.write_text(text, errors="surrogateescape")
        replace_content(path, fresh, self.spare)

    def _settle_accounts(self, view: _View, top: Path, day: int) -> bool:
        """Write what the machine has to know of new accounts; returns whether there are any."""
        before = users.read(self.base / "usr/etc")
        after = users.parse(view.text("usr/etc/passwd"), view.text("usr/etc/group"))
        text = users.sysusers(after, before)
        if text:
            place = top / users.SYSUSERS / "apt-ostree-layer.conf"
            state.make_parents(top, place)
            place.write_text(text, errors="surrogateescape")
        shadow = view.find("usr/etc/shadow")
        if shadow is not None and not shadow.is_relative_to(self.base):
            old = self.base / "usr/etc/shadow"
            before_text = old.read_text(errors="surrogateescape") if old.is_file() else ""
            self._rewrite(shadow, users.settle_shadow(shadow.read_text(errors="surrogateescape"), before_text, day))
        return bool(text)

    def _mark_automatic(self, plan: Plan, native: str, top: Path) -> None:
        """Tell apt which packages came only because others need them, as its own run would (apt-mark(8))."""
        known = beneath(self.base, f"{state.SYSIMAGE}/extended_states")
        if not plan.automatic or not (self.base / state.SYSIMAGE).is_dir():
            return
        place = top / state.SYSIMAGE / "extended_states"
        state.make_parents(top, place)
        stanzas = [
            f"Package: {package.name}\n"
            f"Architecture: {native if package.architecture == 'all' else package.architecture}\n"
            "Auto-Installed: 1\n\n"
            for package in sorted(plan.automatic)
        ]
        place.write_text((known.read_text() if known else "") + "".join(stanzas))


class _View:
    """Reads single files through a stack of layers, topmost first."""

    def __init__(self, stack: Sequence[Path]) -> None:
        self.stack = stack

    def find(self, name: str) -> Path | None:
        """The regular file of that name; a link that a script put in its place counts as none."""
        for layer in self.stack:
            path = beneath(layer, name)
            if path is not None:
                return path if stat.S_ISREG(path.lstat().st_mode) else None
        return None

    def text(self, name: str) -> str:
        path = self.find(name)
        return path.read_text(errors="surrogateescape") if path is not None else ""


def step(line: str) -> str | None:
    """Whose script dpkg runs after it has printed ``line``, in words; None where it tells of none."""
    for pattern, script in _STEPS.items():
        if match := pattern.match(line):
            return f"the {script} script of {match[1]}"
    return None


def script_error(output: str, status: int, log: Path) -> ScriptError:
    """Tell from dpkg's output which package's script failed, and how."""
    # A script's failure says more than the dependency problems that it causes or that come before it.
    failed = _SCRIPT_FAILED.search(output) or _FAILED.search(output)
    what = "dpkg failed"
    if failed:
        name = Path(failed["what"]).name.partition("_")[0].partition(":")[0]
        what = f"{name} could not be laid over the base"
        if script := failed.groupdict().get("script"):
            kind = next((short for long, short in _SCRIPTS.items() if long in script), script)
            what = f"the {kind} script of {name} failed ({failed['how']})"
    elif status < 0:
        what = f"dpkg was ended by signal {-status}"
    lines = proc.tail(output)
    return ScriptError(what, f"{lines}\nthe whole log: {log}", "Nothing was changed.")


def _audit_database(run: _Run, sandbox: bwrap.Sandbox) -> None:
    """dpkg --audit of the finished tree: a half-configured package is no success."""
    result = sandbox.run(["dpkg", "--audit"])
    if result.returncode != 0 or result.stdout.strip():
        raise ScriptError(
            "the packages are not all configured",
            proc.tail(result.stdout) + f"\nthe whole log: {run.log}",
            "Nothing was changed.",
        )


_OF_KERNELS = re.compile(rf"(?:vmlinuz|vmlinux|initrd\.img|config|System\.map)(?:[-.].*)?|{kernel.WANTED}")
"""What is in /boot of kernels, and has another place in a deployment (kernel.py)."""


def _problem(name: str, status: os.stat_result, *, anything: bool) -> str | None:
    """Why a commit cannot hold an entry of that name; ``anything`` may be of any type. None where it can."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return "a name that is not UTF-8"
    if anything or stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode) or stat.S_ISLNK(status.st_mode):
        return None
    return "a FIFO" if stat.S_ISFIFO(status.st_mode) else "a socket or a device"


_MOUNT_POINTS = ("etc", "boot", "run", "tmp", "proc", "dev", "sys", "var")
_TOP_LINKS = ("vmlinuz", "vmlinuz.old", "initrd.img", "initrd.img.old")
"""What linux-update-symlinks(1) makes at the top, for boot loaders that OSTree does without."""
_HOUSEKEEPING = (
    "lock", "lock-frontend", "status-old", "available-old", "diversions-old", "statoverride-old",
    "triggers/Lock", "updates/tmp.i",
)  # fmt: skip


def _remove_litter(layer: Path, base: Path) -> None:
    for name in _MOUNT_POINTS:
        place = layer / name
        if place.is_dir() and not place.is_symlink():
            with contextlib.suppress(OSError):
                place.rmdir()
            if place.exists():
                raise TreeError(f"the layer holds files in /{name}", ", ".join(sorted(os.listdir(place))[:5]))
    for name in _TOP_LINKS:
        if (layer / name).is_symlink():
            (layer / name).unlink()
    names = [f"dpkg/{name}" for name in _HOUSEKEEPING]
    names += [f"debconf/{name}" for name in ("config.dat-old", "templates.dat-old", "passwords.dat-old")]
    for name in names:
        leftover = beneath(layer, f"{state.SYSIMAGE}/{name}")
        if leftover is not None and beneath(base, f"{state.SYSIMAGE}/{name}") is None:
            remove_tree(leftover)


def commit(
    repo: Path,
    work: Path,
    assembled: Assembled,
    base_checksum: str,
    write: Callable[..., str],
) -> str:
    """Commit the base with the layers over it; ``write`` is ostree.commit with the metadata bound."""
    if assembled.union:
        trees = [f"ref={base_checksum}", *(f"dir={layer}" for layer in assembled.layers)]
    else:
        whole = work / "whole"
        ostree.checkout(repo, base_checksum, whole, hard_links=True)
        for layer in assembled.layers:
            overlay.apply(layer, whole)
        trees = [f"dir={whole}"]
    return write(repo, trees, parent=base_checksum, link_speedup=True)
