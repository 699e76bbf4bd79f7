"""The plain side: the same base as an ordinary root, and apt-get in it as an ordinary chroot."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from apt_ostree.host import proc
from apt_ostree.host.files import remove_tree
from apt_ostree.inputs import requests
from apt_ostree.layering import stubs
from apt_ostree.tools import ostree
from apt_ostree.tree import kernel, state
from tests.mounts import BOOTED, UNIT

_SCRIPT = """
set -eu
root=$1; shift
hostname localhost
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for node in null:3 zero:5 full:7 random:8 urandom:9; do
    mknod -m 666 "$root/dev/${node%:*}" c 1 "${node#*:}"
done
mknod -m 666 "$root/dev/tty" c 5 0
mkdir -m 755 "$root/dev/pts"
mkdir -m 1777 "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
mount -t tmpfs tmpfs "$root/run"
mkdir "$root/run/lock"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount --bind "$CACHE/lists" "$root/var/lib/apt/lists"
mount --bind "$CACHE/archives" "$root/var/cache/apt/archives"
mount --bind "$CACHE/true" "$root/usr/sbin/start-stop-daemon"
mount --bind "$CACHE/uname" "$root/usr/bin/uname"
cp /etc/resolv.conf "$root/run/resolv.conf"
mkdir "$root/run/pool"
mount --bind "$CACHE/pool" "$root/run/pool"
chroot "$root" sh -eu -c "$DOWNLOAD" sh "$@"
unshare --net sh -eu -c 'ip link set lo up; exec chroot "$@"' sh "$root" sh -eu -c "$INSTALL" sh "$@"
"""

_BOOT = f"""
[ -d "$1/usr/lib/apt-ostree/identity.d" ] || exit 0
{BOOTED}{UNIT}
unit "$1" identity
"""

# With the network, and a resolver for as long as that takes.
_DOWNLOAD = """
resolver=
if [ -L /etc/resolv.conf ]; then
    mkdir -p /run/systemd/resolve
    cp /run/resolv.conf /run/systemd/resolve/stub-resolv.conf
elif [ ! -e /etc/resolv.conf ]; then
    resolver=1
    cp /run/resolv.conf /etc/resolv.conf
fi
find /var/lib/apt/lists -name '*Packages*' | grep -q . || [ -z "$LISTS" ] || apt-get update -q
[ -z "$ANSWERS" ] || debconf-set-selections "$ANSWERS"
apt-get install -q -y --download-only "$@"
[ -z "$resolver" ] || rm /etc/resolv.conf
rm -rf /run/systemd
"""

# Without one: what a script finds out there differs from day to day.
_INSTALL_PACKAGES = """
printf '#!/bin/sh\\nexit 101\\n' >/run/policy-rc.d
chmod 755 /run/policy-rc.d
# A link: update-alternatives would not replace a file.
ln -s /run/policy-rc.d /usr/sbin/policy-rc.d
apt-get install -q -y "$@"
[ "$(readlink /usr/sbin/policy-rc.d)" != /run/policy-rc.d ] || rm /usr/sbin/policy-rc.d
"""


def make_root(repo: Path, commit: str, root: Path) -> None:
    """Check the base commit out as a plain root: copies, /etc in its place, /var from its template."""
    ostree.checkout(repo, commit, root, hard_links=False)
    arrange(root)


def arrange(root: Path) -> None:
    """Put a checked-out tree's /etc and /var where a running system has them."""
    (root / "usr/etc").rename(root / "etc")
    shutil.rmtree(root / "var")
    state.populate(root, root / "var")
    # What a boot makes of the machine's own.
    subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-eu", "-c", _BOOT, "sh", root],
        check=True, capture_output=True, text=True,
    )  # fmt: skip


def _word(name: str) -> str:
    """How apt-get in the root is told: a file by its place there, a removal with the minus behind the name."""
    if requests.is_file(name):
        return f"/run/pool/{Path(name).name}"
    return f"{name[1:]}-" if name.startswith("-") else name


def install(root: Path, cache: Path, packages: Sequence[str], recommends: bool, *, answers: Path | None = None) -> str:
    """Run apt-get in the root, in private mount and pid namespaces with a /dev of its own.

    ``packages`` may be paths of .deb files; where the archive is not asked for any, no lists are fetched.
    ``answers`` is told to debconf before. ``cache`` keeps lists and archives for later runs. Returns the
    output; raises RuntimeError with it.
    """
    remove_tree(cache / "pool")
    for name in ("lists/partial", "archives/partial", "pool"):
        (cache / name).mkdir(parents=True, exist_ok=True)
    files = [Path(name) for name in packages if requests.is_file(name)]
    for file in (*files, *([answers] if answers else [])):
        shutil.copy(file, cache / "pool" / file.name)
    found = kernel.read(root)
    # Both sides name the kernel that boots, not the host's.
    programs = {"true": "#!/bin/sh\n", "uname": stubs.uname(found.boots if found else "")}
    for name, text in programs.items():
        (cache / name).write_text(text)
        (cache / name).chmod(0o755)
    for name in ("var/lib/apt/lists", "var/cache/apt/archives"):
        (root / name).mkdir(parents=True, exist_ok=True)
    environment = {
        "PATH": proc.PATH,
        "DEBIAN_FRONTEND": "noninteractive",
        **{key: value for key, value in os.environ.items() if key.lower().endswith("_proxy")},
        "CACHE": os.fspath(cache),
        "LISTS": "" if all(requests.is_file(name) or name.startswith("-") for name in packages) else "wanted",
        "ANSWERS": f"/run/pool/{answers.name}" if answers else "",
        "DOWNLOAD": _DOWNLOAD,
        "INSTALL": _INSTALL_PACKAGES,
    }
    setting = f"APT::Install-Recommends={'true' if recommends else 'false'}"
    done = subprocess.run(
        [
            "unshare", "--mount", "--pid", "--uts", "--fork", "--kill-child", "--propagation", "private",
            "sh", "-c", _SCRIPT, "sh", os.fspath(root), "-o", setting, "-o", "Dpkg::Use-Pty=0",
            "-o", "DPkg::Options::=--force-unsafe-io",
            "-o", "DPkg::Options::=--force-confdef", "-o", "DPkg::Options::=--force-confold",
            "-o", "APT::Sandbox::User=root", "--allow-downgrades", "--",
            *(_word(name) for name in packages),
        ],
        env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    output = done.stdout.decode(errors="replace")
    if done.returncode != 0:
        raise RuntimeError(f"the plain side failed:\n{proc.tail(output, 40)}")
    return output
