"""Bring what a plan lacks into the package cache."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from ..errors import AptOstreeError, Interrupted, SpaceError
from ..host.door import Tree
from ..host.files import Room
from ..layering.cache import Cached
from ..layering.importing import Importer, import_deb
from ..model import Solved
from ..sandbox.unpacking import Unpacker
from ..tools import apt
from ..tools.apt_area import Apt
from .transaction import Transaction


def fetch(current: Transaction, solver: Apt, missing: Sequence[Solved]) -> dict[str, Cached]:
    """Download and import what is new, several at once: a package is imported while others still arrive.

    Returns the imported packages by their digests. Raises DownloadError and what ``import_deb`` raises.
    """
    if not missing:
        return {}
    size = sum(solved.size for solved in missing) / 1e6
    current.reporter.step(f"Downloading and importing {len(missing)} packages ({size:.1f} MB)")
    # A directory of the fetcher's: what it put in the place of a file is looked at, and goes, as it is.
    archives = Tree(solver.area / "archives")
    found: dict[str, Cached] = {}

    def importing(importer: Importer, solved: Solved) -> Cached:
        name = apt.archive_name(solved.package)
        file = archives.top / name
        try:
            return import_deb(importer, file, solved, again=True)
        except Interrupted:
            raise
        except SpaceError:
            # Not the download's fault.
            raise
        except AptOstreeError:
            # A damaged download would be taken for the package again and again.
            archives.remove(name)
            apt.download(solver, [solved])
            return import_deb(importer, file, solved, again=True)
        finally:
            archives.remove(name)

    def batch(packages: Sequence[Solved]) -> list[Solved]:
        wanted = [s for s in packages if not archives.has_file(apt.archive_name(s.package))]
        if wanted:
            apt.download(solver, wanted)
        return list(packages)

    workers = current.config.workers
    # The unpacker starts its process here, before any thread: it would end with the thread that started it.
    with (
        Unpacker() as unpacker,
        ThreadPoolExecutor(workers) as downloads,
        ThreadPoolExecutor(workers) as imports,
    ):
        # One worker's death must end the others' waiting, hence the explicit cancel.
        try:
            importer = Importer(current.repo, current.area, unpacker, Room(current.area))
            pending = []
            with current.phase("download"):
                for future in as_completed([downloads.submit(batch, part) for part in _batches(missing, workers)]):
                    pending += [imports.submit(importing, importer, solved) for solved in future.result()]
            # Most of it is done by now: what has arrived is imported while the rest arrives.
            with current.phase("import"):
                for imported in as_completed(pending):
                    cached = imported.result()
                    found[cached.sha256] = cached
                    current.reporter.progress(len(found), len(missing))
        except BaseException:
            downloads.shutdown(wait=False, cancel_futures=True)
            imports.shutdown(wait=False, cancel_futures=True)
            raise
    return found


def _batches(missing: Sequence[Solved], workers: int) -> list[list[Solved]]:
    """Parts of about equal size: few enough for apt's start-up cost, enough to overlap with imports."""
    count = min(len(missing), 2 * workers)
    parts: list[list[Solved]] = [[] for _ in range(count)]
    weights = [0] * count
    for solved in sorted(missing, key=lambda s: s.size, reverse=True):
        lightest = weights.index(min(weights))
        parts[lightest].append(solved)
        weights[lightest] += solved.size
    return parts
