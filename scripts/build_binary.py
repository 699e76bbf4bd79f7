#!/usr/bin/env python3
"""Build apt-ostree and its libraries into one executable file: a zipapp that needs only python3.

    build_binary.py OUTPUT

Pure Python only, so that the file runs with Debian 12's Python 3.11 and Debian 13's 3.13 on every
architecture. The same sources, libraries and Python give the same bytes.
"""

from __future__ import annotations

import os
import py_compile
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent

# -I: nothing of the caller's environment or directory takes part in a command that root runs.
SHEBANG = b"#!/usr/bin/python3 -I\n"

OLDEST_PYTHON = "3.11"

MAIN = '"""Start the command line."""\n\nfrom apt_ostree.cli.main import main\n\nmain()\n'

# rich needs these only to show Markdown and source code, which apt-ostree never does; they are two thirds of
# all files, and every start reads the list of files.
LEFT_OUT = ("markdown_it", "mdurl", "pygments")

MTIME = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip file can hold."""

CHECK = """
import importlib, pkgutil, sys
sys.path.insert(0, sys.argv[1])
import apt_ostree, apt_ostree.cli.progress
for module in pkgutil.walk_packages(apt_ostree.__path__, "apt_ostree."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
from importlib import resources
for file in (resources.files("apt_ostree") / "data").iterdir():
    assert file.read_bytes(), file
reporter = apt_ostree.cli.progress.Terminal()
reporter.step("Checked the archive")
reporter.close()
"""


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: build_binary.py OUTPUT")
    output = Path(sys.argv[1])
    with tempfile.TemporaryDirectory(prefix="apt-ostree-build-") as scratch:
        stage = Path(scratch) / "stage"
        install_libraries(stage)
        copy_sources(stage)
        refuse_native(stage)
        output.parent.mkdir(parents=True, exist_ok=True)
        fresh = output.with_name(f".{output.name}.new")
        write(stage, fresh)
        check(fresh)
        fresh.rename(output)
    print(f"{output}: {output.stat().st_size / 1e6:.1f} MB")


def install_libraries(stage: Path) -> None:
    """Put the project's dependencies, as pip resolves them, below ``stage``; of their metadata the licences."""
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    command = [
        sys.executable, "-m", "pip", "install",
        "--quiet",
        "--disable-pip-version-check",
        "--root-user-action=ignore",
        "--no-compile",
        "--target", os.fspath(stage),
        # Wheels for any platform: some libraries have compiled ones, too, that pip would prefer.
        "--only-binary=:all:",
        "--platform=any",
        "--implementation=py",
        "--abi=none",
        f"--python-version={OLDEST_PYTHON}",
        *project["dependencies"],
    ]  # fmt: skip
    subprocess.run(command, check=True)
    shutil.rmtree(stage / "bin", ignore_errors=True)
    for name in LEFT_OUT:
        shutil.rmtree(stage / name)
        for metadata in stage.glob(f"{name}*.dist-info"):
            shutil.rmtree(metadata)
    for metadata in stage.glob("*.dist-info"):
        for file in files(metadata):
            if "licen" not in os.fspath(file.relative_to(stage)).lower() and file.name != "METADATA":
                file.unlink()


def copy_sources(stage: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    shutil.copytree(TOP / "apt_ostree", stage / "apt_ostree", ignore=ignored)
    shutil.copy(TOP / "LICENSE", stage)
    (stage / "__main__.py").write_text(MAIN)


def refuse_native(stage: Path) -> None:
    found = [file for file in files(stage) if ".so" in file.suffixes]
    if found:
        sys.exit("compiled modules cannot be in the archive: " + ", ".join(file.name for file in found))


def files(top: Path) -> Iterator[Path]:
    """The regular files below ``top``, in the order of their names."""
    return (path for path in sorted(top.rglob("*")) if path.is_file())


def write(stage: Path, output: Path) -> None:
    """Write the archive: each module's source, and beside it its code for this Python.

    Another Python skips code that is not its own (PEP 552) and compiles the source, at every start: correct,
    and about 0.2 s slower. The code is stored, since it is read at every start; the rest is compressed.
    """
    with output.open("wb") as file:
        file.write(SHEBANG)
        with zipfile.ZipFile(file, "w") as archive:
            for path in files(stage):
                name = os.fspath(path.relative_to(stage))
                add(archive, name, path.read_bytes(), zipfile.ZIP_DEFLATED)
                if path.suffix == ".py":
                    add(archive, f"{name}c", compiled(path, name), zipfile.ZIP_STORED)
    output.chmod(0o755)


def compiled(source: Path, name: str) -> bytes:
    """The code of a module; it is never checked against the source, whose time in the archive means nothing."""
    target = source.with_suffix(".pyc")
    py_compile.compile(
        os.fspath(source),
        cfile=os.fspath(target),
        dfile=name,
        doraise=True,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
    return target.read_bytes()


def add(archive: zipfile.ZipFile, name: str, content: bytes, compression: int) -> None:
    info = zipfile.ZipInfo(name, MTIME)
    info.create_system = 3  # Unix, so that the mode counts
    info.external_attr = 0o100644 << 16
    archive.writestr(info, content, compression)


def check(output: Path) -> None:
    """Import every module of ours from the archive alone, and let it start."""
    path = os.fspath(output.resolve())
    for command in ([sys.executable, "-I", "-S", "-c", CHECK, path], [path, "--version"]):
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode != 0:
            sys.exit(f"the archive does not work:\n{result.stderr}")


if __name__ == "__main__":
    main()
