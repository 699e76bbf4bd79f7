"""A deployment as it runs, without booting: /usr is read-only, and what a boot mounts and derives is there."""

from __future__ import annotations

import subprocess

from tests.integration.system import System
from tests.mounts import BOOTED

_SCRIPT = (
    f"set -eu{BOOTED}"
    + r"""
mount --bind "$1/usr" "$1/usr"
mount -o remount,bind,ro "$1/usr"
mount --bind "$2" "$1/var"
ln -s /proc/self/fd "$1/dev/fd"
chroot "$1" /usr/lib/apt-ostree/seed-var
mkdir -p "$1/var/lib" "$1/var/cache"
for name in lib/dpkg cache/debconf lib/pam lib/ucf; do
    ln -sfn "../../usr/lib/sysimage/${name#*/}" "$1/var/$name"
done
chroot "$1" /usr/lib/apt-ostree/settle-overlays
options=$(sed -n s/^Options=//p "$1/usr/lib/systemd/system/usr-local.mount")
chroot "$1" mount -t overlay -o "$options" overlay /usr/local
chroot "$1" /usr/lib/apt-ostree/derive-etc
cat >"$1/run/story"
chroot "$1" env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 HOME=/root \
    DEBIAN_FRONTEND=noninteractive sh -u /run/story 2>&1 || true
"""
)


def run(system: System, story: str = "true") -> str:
    """Run a script in what boots next, made ready as at a boot; returns what was said on both outputs."""
    done = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private", "sh", "-c", _SCRIPT, "sh",
         system.deployment(), system.var],
        input=story, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
