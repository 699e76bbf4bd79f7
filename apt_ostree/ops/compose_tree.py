"""A base commit from a manifest."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from ..errors import TreeError, UsageError
from ..host import lifetime, mounts, proc
from ..host.door import Tree
from ..host.files import remove_tree, scratch_directory, sync_filesystem, take
from ..inputs import manifest
from ..inputs.manifest import Manifest
from ..layering import image, importing
from ..model import Package
from ..numbers import decimal
from ..reporter import Reporter
from ..sandbox import bwrap
from ..sandbox.unpacking import Unpacker
from ..system import metadata
from ..tools import apt_sources, dpkg, listing, mmdebstrap, ostree
from ..tree import kernel, layout, state, users
from . import customise, place
from .transaction import RUN, require_root

VARIANT = "apt"
"""The variant with apt, and nothing else beyond the essential packages: the manifest says the rest."""

_REPO = RUN.with_name("apt-ostree-repo")
"""Where this process sees the repository."""

_AREA = "extensions/apt-ostree"

_LOCAL = "apt-ostree-debs"
"""A directory of the plain root, for the manifest's own packages while they are installed."""


@dataclass(frozen=True, slots=True)
class TreeOptions:
    """The options of ``compose tree``."""

    repo: Path
    dry_run: bool = False
    no_parent: bool = False
    metadata: Mapping[str, str] | None = None
    commitid_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Composed:
    """The result: ``changed`` is False where the ref holds the same content already."""

    changed: bool
    ref: str
    commit: str | None
    version: str
    packages: tuple[Package, ...]
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Composition:
    """A manifest, and what it leaves to the host and to the day."""

    recipe: Manifest
    version: str
    architecture: str
    archives: tuple[str, ...]
    """One-line entries (sources.list(5))."""

    @property
    def root(self) -> mmdebstrap.Root:
        """The plain root that the tree is made of."""
        recipe = self.recipe
        return mmdebstrap.Root(
            recipe.suite,
            self.architecture,
            self.archives,
            tuple(_included(recipe)),
            VARIANT,
            recipe.recommends,
            None if _signed(self.archives) else mmdebstrap.KEYRING,
        )


def tree(path: Path, options: TreeOptions, reporter: Reporter) -> Composed:
    """Compose the tree that the manifest at ``path`` describes and commit it to its ref.

    Raises ManifestError, ResolveError, ScriptError, TreeError; the repository has no new ref then.
    """
    recipe = manifest.load(path)
    version = recipe.expand_version(datetime.now(UTC))
    architecture = recipe.architecture or proc.run(["dpkg", "--print-architecture"]).stdout.strip()
    composition = Composition(recipe, version, architecture, tuple(_archives(recipe)))
    require_root()
    with lifetime.contained():
        if options.dry_run:
            with tempfile.TemporaryDirectory(prefix="apt-ostree-") as scratch:
                return _simulate(composition, Path(scratch), reporter)
        with place.held(options.repo, _REPO, 0o700) as opened:
            _init(opened, options.repo)
            return _compose(composition, replace(options, repo=_REPO), reporter)


def _init(opened: Tree, repo: Path) -> None:
    """Make a repository in an empty directory. Raises UsageError for one with anything else."""
    if not opened.has_file("config") and opened.names():
        raise UsageError(
            f"{repo} is not an OSTree repository", "there are other files", "Name one, or a new directory."
        )
    ostree.init(_REPO)
    opened.make_directory(_AREA)


def _compose(composition: Composition, options: TreeOptions, reporter: Reporter) -> Composed:
    recipe, area = composition.recipe, options.repo / _AREA
    _sweep(area)
    with scratch_directory(area / f"compose-{lifetime.command()}") as work:
        log = area / "compose.log"
        log.unlink(missing_ok=True)
        root = work / "open/root"
        reporter.step(f"Bootstrapping {recipe.suite} for {composition.architecture}")
        mmdebstrap.bootstrap(composition.root, _reachable(root.parent) / root.name, log, reporter)
        _install_local(root, recipe, work, log)
        customise.customise(root, recipe, composition.archives, log, reporter)
        _keep_numbers(root, options.repo, recipe.ref, reporter)
        booting = _place_kernel(root)
        reporter.step("Arranging the tree")
        layout.convert(root)
        image.judge_scripts(root, options.repo, work, log, reporter)
        if booting is not None:
            reporter.step(f"Making the initramfs of kernel {booting}")
            _make_initramfs(root, booting, work, log)
        return _commit(root, composition, booting, options, reporter)


def _reachable(directory: Path) -> Path:
    """Make a directory in the work directory, and a way to it for the user as whom apt fetches: without one, apt would
    read all that servers send as root. Only this process and its children see that way; by the other one, nobody else
    gets through the work directory, where set-user-ID programs lie."""
    directory.mkdir()
    directory.chmod(0o711)
    RUN.mkdir(mode=0o755, exist_ok=True)
    mounts.bind(directory, RUN)
    return RUN


def _simulate(composition: Composition, work: Path, reporter: Reporter) -> Composed:
    recipe = composition.recipe
    reporter.step(f"Resolving {recipe.suite} for {composition.architecture}")
    packages = mmdebstrap.simulate(composition.root, _reachable(work / "open"), work / "log", reporter)
    files = [package for _, package in _local(recipe, work)]
    return Composed(True, recipe.ref, None, composition.version, tuple(sorted({*packages, *files})), dry_run=True)


def is_deb(name: str) -> bool:
    """True if a manifest's package is a file."""
    return "/" in name and name.endswith(".deb")


def _sweep(area: Path) -> None:
    """Remove what killed runs left where images are put together."""
    for left in area.glob("compose-[0-9]*"):
        owner = decimal(left.name.removeprefix("compose-"))
        if owner is None or lifetime.start_ticks(owner) is None:
            remove_tree(left)


def _archives(recipe: Manifest) -> list[str]:
    if not recipe.mirrors:
        return mmdebstrap.default_sources(recipe.suite, recipe.components)
    return [
        f"deb {apt_sources.copied(mirror)} {recipe.suite} {' '.join(recipe.components)}" for mirror in recipe.mirrors
    ]


def _signed(archives: Sequence[str]) -> bool:
    return any("signed-by=" in line for line in archives)


def _included(recipe: Manifest) -> list[str]:
    """mmdebstrap's --include goes to apt-get: a name with a minus behind it stays out (apt-get(8))."""
    return [name for name in recipe.packages if not is_deb(name)] + [f"{name}-" for name in recipe.exclude]


def _install_local(root: Path, recipe: Manifest, work: Path, log: Path) -> None:
    """Install the manifest's own .deb files. Raises PackageError, ScriptError."""
    files = [file for file, _ in _local(recipe, work)]
    if not files:
        return
    tree = Tree(root)
    tree.remove(_LOCAL)
    tree.make_directory(_LOCAL)
    for file in files:
        with file.open("rb") as content:
            tree.write(f"{_LOCAL}/{file.name}", content)
    customise.in_root(root, ["dpkg", "--install", *(f"/{_LOCAL}/{file.name}" for file in files)], log, "local packages")
    tree.remove(_LOCAL)


def _local(recipe: Manifest, work: Path) -> list[tuple[Path, Package]]:
    """Copies in ``work`` of the manifest's own .deb files, and the packages in them. Raises PackageError, ToolError."""
    files = [Path(name) for name in recipe.packages if is_deb(name)]
    if not files:
        return []
    found = []
    with Unpacker() as unpacker:
        for number, file in enumerate(files):
            own = work / f"local-{number}.deb"
            take(file, own)
            control, _ = importing.describe(unpacker, own, file.name)
            found.append((own, control.package))
    return found


def _keep_numbers(root: Path, repo: Path, ref: str, reporter: Reporter) -> None:
    """Give users and groups of a plain root the numbers that they have in the ref's newest commit.

    Scripts count from one end: with one more package, another's user would own its files on every machine. Warns where
    a number has to change. Raises TreeError, and ToolError for a damaged repository.
    """
    before = ostree.resolve(repo, ref)
    if before is None:
        return
    entries = listing.of(repo, before)
    texts = [entries.read(f"/usr/etc/{name}") or "" for name in ("passwd", "group")]
    had = users.numbers(users.parse(*texts))
    moves = users.choose_numbers(users.read(root, "etc"), users.Accounts({}, {}), users.Reserved(had))
    for conflict in moves.conflicts:
        reporter.warn(conflict)
    if not moves:
        return
    tree = Tree(root)
    for name, renumbered in (("passwd", users.renumber_passwd), ("group", users.renumber_group)):
        text = renumbered(tree.text(f"etc/{name}") or "", moves)
        tree.replace_content(f"etc/{name}", text.encode(errors="surrogateescape"))
    users.renumber_files(root, moves)


def _place_kernel(root: Path) -> str | None:
    """Put the kernel where OSTree boots it; returns its version, None for a tree without one. Raises TreeError."""
    tree = Tree(root)
    found = kernel.versions(tree.at("boot").top) if tree.has("boot") else []
    if not found:
        return None
    if len(found) > 1:
        raise TreeError("the tree has more than one kernel", ", ".join(found), "Name one kernel package.")
    kernel.place(root, found[0])
    return found[0]


def _make_initramfs(root: Path, version: str, work: Path, log: Path) -> None:
    """Make the initramfs from the finished tree: of a plain root it could hold a key that no commit may have."""
    state.populate(root, work / "var")
    tree = Tree(root)
    tree.make_directory("etc")
    kernel.initramfs(bwrap.Sandbox(root, var=work / "var"), root, version, log)
    tree.remove_directory("etc")


def numbered(version: str, earlier: str) -> str:
    """A version that the commit before has not: with a number behind it where that has the same one."""
    match = re.fullmatch(rf"{re.escape(version)}(?:\.([0-9]{{1,9}}))?", earlier)
    return version if match is None else f"{version}.{int(match[1] or 0) + 1}"


def _warn_of_gaps(
    composition: Composition, present: Sequence[Package], booting: str | None, reporter: Reporter
) -> None:
    """Say what the tree lacks of what nearly every image needs: that may be meant."""
    names = {package.name for package in present}
    lacks = [name for name in ("ostree", "apt") if name not in names]
    if booting is None:
        lacks.insert(0, "kernel")
    if lacks:
        reporter.warn(f"the image has no {' and no '.join(lacks)}")
    if not any("-security" in line for line in composition.archives):
        reporter.warn("the image has no security archive: its packages get no security updates")


def _commit(
    root: Path, composition: Composition, booting: str | None, options: TreeOptions, reporter: Reporter
) -> Composed:
    """Commit the tree to its ref, unless that has the same content already. Raises TreeError."""
    reporter.step("Committing")
    recipe, version = composition.recipe, composition.version
    present = tuple(entry.package for entry in dpkg.installed(root))
    _warn_of_gaps(composition, present, booting, reporter)
    before = ostree.resolve(options.repo, recipe.ref)
    earlier = ostree.commit_info(options.repo, before) if before is not None else None
    version = numbered(version, earlier.version if earlier is not None else "")
    own = metadata.of_base(version, present, recipe.kernel_args, booting)
    parent = None if options.no_parent else before
    commit = ostree.commit(
        options.repo,
        "apt-ostree/composed",
        [f"dir={root}"],
        ostree.Description(
            f"{recipe.ref} {version}",
            parent,
            {**own, **recipe.metadata, **(options.metadata or {})},
            bind=recipe.ref,
        ),
    )
    try:
        layout.audit(options.repo, commit)
        same = before is not None and ostree.content_checksum(options.repo, before) == ostree.content_checksum(
            options.repo, commit
        )
        if same:
            commit, version = before or commit, earlier.version if earlier is not None else version
        else:
            sync_filesystem(options.repo)
            ostree.create_ref(options.repo, recipe.ref, commit)
    finally:
        ostree.delete_ref(options.repo, "apt-ostree/composed")
    if options.commitid_file is not None:
        options.commitid_file.write_text(commit + "\n")
    return Composed(not same, recipe.ref, commit, version, present)
