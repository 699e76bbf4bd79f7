"""Settle a finished tree: bring it into the form that a commit can carry.

Kernels go where OSTree looks for them, accounts get their numbers, what scripts put into /var becomes templates, byte
code gets its time, and what the sandbox and dpkg left behind goes.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Sequence
from pathlib import Path

from ..errors import TreeError
from ..host.door import Tree, at_and_above
from ..host.files import check_space
from ..inputs import debconf
from ..tree import apparmor, bytecode, follow, kernel, layout, overlays, shipped, state, units, users
from ..tree.top import link_writable
from ..tree.view import View
from . import accounts, again, dkms, identity, triggers
from .job import Job
from .stack import Stack

_OF_KERNELS = re.compile(rf"(?:vmlinuz|vmlinux|initrd\.img|config|System\.map)(?:[-.].*)?|{kernel.WANTED}")
"""Files of kernels in /boot, which have another place in a deployment (kernel.py)."""

_TOLD = 10
"""Other files in /boot that are named; a script may make any number of them."""

_MOUNT_POINTS = ("etc", "boot", "run", "tmp", "proc", "dev", "sys", "var")
_TOP_LINKS = ("vmlinuz", "vmlinuz.old", "initrd.img", "initrd.img.old")
"""Links that linux-update-symlinks(1) makes at the top for boot loaders that OSTree does not use."""
_HOUSEKEEPING = (
    "lock", "lock-frontend", "status-old", "available-old", "diversions-old", "statoverride-old",
    "triggers/Lock", "updates/tmp.i",
)  # fmt: skip


def place_kernels(job: Job, stack: Stack) -> tuple[kernel.Kernels | None, bool]:
    """Put kernels where OSTree looks; returns them, and whether what the initramfs is made of has changed."""
    before = stack.base_kernels
    if not before and not kernel.versions(job.boot):
        return None, False
    wanted = Tree(job.boot).has(kernel.WANTED)
    # What is there is asked for, not its stub.
    with stack.round(covered=False) as sandbox:
        kernels, changed = kernel.place_all(sandbox.root, job.boot, before)
        if kernels is None or changed:
            return kernels, changed
        other = wanted or kernel.inputs_changed(stack.layers, kernels.boots)
        if other and not kernel.has_dracut(sandbox.root):
            job.reporter.warn("the initramfs stays the base's: the tree has no dracut to make another")
            return kernels, False
        return kernels, other


def make_initramfs(job: Job, stack: Stack, version: str) -> None:
    """Make a kernel's initramfs from the finished tree: it may hold accounts, and must not hold the machine's keys.

    Of what dracut writes, the image alone is kept: it is the tree's program, as its modules are, and what scripts left
    has been judged by now. Raises TreeError, SpaceError.
    """
    job.reporter.step(f"Making the initramfs of kernel {version}")
    top, image = Tree(stack.layers[-1]), f"{kernel.MODULES}/{version}/{kernel.INITRAMFS}"
    with stack.aside(covered=False) as sandbox:
        kernel.initramfs(sandbox, sandbox.root, version, job.log, job.initramfs or ())
        tree = Tree(sandbox.root)
        # The tree's programs may have put anything there.
        status = tree.status(image)
        if status is None or not tree.has_file(image):
            raise TreeError(f"dracut made no initramfs for kernel {version}", f"the whole log: {job.log}")
        check_space(job.work, status.st_size, "the initramfs", reserve=True)
        for directory in reversed([*at_and_above(image)][1:]):
            if not top.has_directory(directory):
                top.make_directory(directory)
                top.copy_metadata(tree, directory, directory)
        top.copy(tree, image, image)
        top.set_mode(image, status.st_mode & 0o777)


def tell_what_is_left_in_boot(job: Job) -> None:
    """Warn of what no deployment gets."""
    if left := [name for name in Tree(job.boot).names() if not _OF_KERNELS.fullmatch(name)]:
        some = ", ".join(f"/boot/{name}" for name in left[:_TOLD])
        more = f", and {len(left) - _TOLD} more" if len(left) > _TOLD else ""
        job.reporter.warn(f"left out, since a deployment's /boot is OSTree's: {some}{more}")


def settle(job: Job, stack: Stack, var_before: state.Snapshot, triggered: Sequence[str]) -> None:
    """Take out of the layers what belongs into no commit, and add a layer with what takes the place of /var.

    ``var_before`` is what the base has in /var, ``triggered`` are the packages whose triggers ran. Raises TreeError.
    """
    base = job.base.path
    for layer in stack.layers:
        _remove_litter(layer, base)
    top = job.work / f"l{len(stack.layers)}"
    Tree(job.work).make_directory(top.name)
    Tree(top).copy_metadata(Tree(base), "", "")
    view = View([top, *stack.view().stack])
    made = identity.made(base, stack.layers)
    own = _identity(job, stack, made)
    listed = follow.listed(stack.view().stack, state.snapshot(job.var))
    follows = listed | triggers.recognise(job, stack, var_before, listed, triggered)
    found = users.parse(view.text("usr/etc/passwd"), view.text("usr/etc/group"))
    described = identity.described(own, stack.layers, found)
    identity.take_out(own, stack.layers)
    places = layout.PLACED | {*Tree(base).names()}
    link_writable(stack.layers, places, lambda names: shipped.listed(stack.layers[::-1], names), job.var, top)
    accounts.renumber(job, view, (*stack.layers, job.var))
    accounts.allot_subids(job, view)
    keys = [units.drop_identity(tree) for tree in (job.work, *stack.layers)]
    dkms.put_back(job, Tree(top))
    name = state.free_name(base)
    carried = _capture_var(job, var_before, top, name, follows)
    overlaid = overlays.write(view, top)
    apparmor.write(view, top)
    units.order_after_var(stack.layers, top, name)
    announced = accounts.announce(job, view, top)
    identity.write(own, top, name, described)
    wanted = carried or any(keys) or announced or bool(own.makers) or overlaid or units.is_shipped(base)
    # An older image's programs have older faults.
    if wanted and not units.is_current(base):
        units.write(top)
    _keep_answers(job, top)
    _mark_automatic(job, top)
    stack.layers.append(top)
    bytecode.zero_source_times(stack.layers[::-1])


def _identity(job: Job, stack: Stack, made: identity.Made) -> identity.Identity:
    """Find the machine's own files."""
    packages = again.configured(job)

    def run(names: Sequence[str]) -> identity.Different:
        return again.run(job, stack, packages, made, names)

    return identity.recognise(made, stack.layers, job.deployed, job.booted, packages, run)


def _capture_var(job: Job, before: state.Snapshot, top: Path, name: str, follows: Collection[str]) -> bool:
    """Put what a commit carries of /var into ``top``, in lists of this name; returns whether there are any. ``follows``
    are the files that follow the image."""
    captured = state.capture(job.var, before)
    state.write(captured, job.var, top, name)
    gone = before.keys() - state.snapshot(job.var).keys()
    state.forget(job.base.path, top, gone)
    follow.write(captured, Tree(job.var), Tree(top), name, follows)
    follow.drop(Tree(job.base.path), Tree(top), gone.union(captured.paths))
    return bool(captured.paths)


def _keep_answers(job: Job, top: Path) -> None:
    """Keep what debconf was answered in the layer itself, for the next one; it may hold passwords."""
    if job.answers:
        state.write_file(Tree(top), debconf.PLACE, job.answers, 0o600)


def _mark_automatic(job: Job, top: Path) -> None:
    """Tell apt which packages came only because others need them, as its own run would (apt-mark(8))."""
    base, below = job.base, Tree(job.base.path)
    if not job.plan.automatic or not below.has_directory(state.SYSIMAGE):
        return
    place = f"{state.SYSIMAGE}/extended_states"
    stanzas = [
        f"Package: {package.name}\n"
        f"Architecture: {base.native if package.architecture == 'all' else package.architecture}\n"
        "Auto-Installed: 1\n\n"
        for package in sorted(job.plan.automatic)
    ]
    state.write_file(Tree(top), place, (below.text(place) or "") + "".join(stanzas))


def _remove_litter(layer: Path, base: Path) -> None:
    tree, below = Tree(layer), Tree(base)
    for name in _MOUNT_POINTS:
        if tree.has_directory(name):
            with contextlib.suppress(OSError):
                tree.remove_directory(name)
            if tree.has(name):
                raise TreeError(f"the layer holds files in /{name}", ", ".join(tree.names(name)[:5]))
    for name in _TOP_LINKS:
        if tree.has_link(name):
            tree.remove(name)
    names = [f"dpkg/{name}" for name in _HOUSEKEEPING]
    names += [f"debconf/{name}" for name in ("config.dat-old", "templates.dat-old", "passwords.dat-old")]
    for name in [f"{state.SYSIMAGE}/{name}" for name in names]:
        if tree.has(name) and not below.has(name):
            tree.remove(name)
