"""A full disk, whichever and whenever: the old state or the new one, a clear error; with space the command works."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.faults import space
from tests.faults.trial import WORKERS, has_set_default
from tests.integration.system import REPOSITORY, TIMEOUT, System, environment, output
from tests.integration.test_hostile import package


@pytest.fixture(scope="module")
def images(template: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The file systems of a sysroot, to be copied."""
    place = tmp_path_factory.mktemp("images")
    system = template.clone(place / "sysroot")
    system.install("greeter")
    system.run("install", "-D", "user-maker")
    # Else ostree refuses long before the disk is full, always at the same place.
    output("ostree", "config", f"--repo={system.repo}", "set", "core.min-free-space-percent", "0")
    (system.path / "base").write_text(system.base.commit)
    space.make_images(system, place)
    system.remove()
    yield place
    shutil.rmtree(place)


def meet(images: Path, place: Path, part: str, free: int | str, *words: str) -> dict[str, Any]:
    for name in space.PARTS:
        place.mkdir(exist_ok=True)
        subprocess.run(["cp", "--sparse=always", images / f"{name}.img", place], check=True)
    (place / "sysroot").mkdir()
    done = subprocess.run(
        [
            sys.executable, "-m", "tests.faults.space",
            str(place), str(place / "sysroot"), part, str(free), "--", *words,
        ],
        cwd=REPOSITORY,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{part}, {free} bytes free: {done.stderr}"
    shutil.rmtree(place)
    return dict(json.loads(done.stdout))


WITH_DOWNLOAD = ("install", "many-files")
CACHED = ("install", "user-maker")

CASES = (
    *(("sysroot", free, WITH_DOWNLOAD) for free in (0, 3_000_000, 9_000_000, 40_000_000)),
    *(("sysroot", free, CACHED) for free in (500_000, 2_000_000)),
    ("var", 0, CACHED),
)
"""Which file system has how many bytes: they run out at different stages of the very same command."""

POINTS = {
    "resolve": "resolve", "download": "download", "import-deb": "import", "script": "script", "commit": "commit",
    "deploy": "deploy",
}  # fmt: skip
"""From which point on there is none at all, and the phase that it ends."""


def test_a_disk_that_is_full_at_any_stage_leaves_a_whole_system(images: Path, tmp_path: Path) -> None:
    def one(case: tuple[str, int | str, tuple[str, ...]]) -> dict[str, Any]:
        part, free, words = case
        return meet(images, tmp_path / f"{part}-{free}", part, free, *words)

    cases = (*CASES, *(("sysroot", point, WITH_DOWNLOAD) for point in POINTS))
    with ThreadPoolExecutor(WORKERS) as pool:
        results = list(zip(cases, pool.map(one, cases), strict=True))
    for (part, free, _), result in results:
        print(f"{part:<8}{free:>9}  {result['outcome']}  {result['phase']:<9} {result['error'].splitlines()[:2]}")
    for (_, free, _), result in results:
        if result["status"] != 0:
            # After a publication only the clearing away can fail.
            assert result["outcome"] == "old" or result["phase"] == "prune"
            assert "space" in result["error"].splitlines()[0], result["error"]
        if free in POINTS:
            assert (result["status"], result["outcome"], result["phase"]) == (1, "old", POINTS[str(free)])
    assert {result["outcome"] for _, result in results} == {"old", "new"}


def test_a_full_boot_costs_at_most_a_rollback(images: Path, tmp_path: Path) -> None:
    """An install on the same kernel writes nothing there. For another order of deployments with the same kernel and
    arguments, newer releases of ostree exchange links below /ostree alone; older ones write another set of entries."""
    result = meet(images, tmp_path / "full", "boot", 0, "rollback")
    if has_set_default():
        assert (result["status"], result["outcome"]) == (0, "new")
    else:
        assert (result["status"], result["outcome"], result["phase"]) == (1, "old", "reorder")
        assert "space" in result["error"]


def test_a_full_boot_costs_other_kernel_arguments_and_nothing_else(images: Path, tmp_path: Path) -> None:
    result = meet(images, tmp_path / "full", "boot", 0, "kargs", "--append=x")
    assert (result["status"], result["outcome"], result["phase"]) == (1, "old", "deploy")
    assert "space" in result["error"]


def test_a_full_var_costs_the_record_of_a_rollback_and_not_the_rollback(images: Path, tmp_path: Path) -> None:
    result = meet(images, tmp_path / "full", "var", 0, "rollback")
    assert result["status"] == 0
    assert "warning: the journal in " in result["error"]
    assert "cannot be written: No space left on device" in result["error"]


def test_a_package_that_unpacks_to_more_than_is_free_is_refused(images: Path, tmp_path: Path) -> None:
    large = package(tmp_path, "large", files={"usr/share/large": "x" * 40_000_000})
    result = meet(images, tmp_path / "full", "sysroot", 25_000_000, "install", large)
    assert (result["status"], result["outcome"]) == (1, "old")
    assert result["error"].startswith("too little space for the unpacked files of large_1.0_all.deb\n")
