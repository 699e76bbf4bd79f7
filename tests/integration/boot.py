"""What a boot does to a deployment's /etc and /var before any service starts, done without booting."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.integration.system import System
from tests.mounts import BOOTED, UNIT

_SCRIPT = (
    f"set -eu{BOOTED}{UNIT}"
    + """
deployment=$1 var=$2 systemd=$3
mount --bind "$var" "$deployment/var"
mount -t proc proc "$systemd/proc"
mount --rbind "$deployment" "$systemd/mnt"
unit "$deployment" accounts-lists
"$deployment/usr/lib/apt-ostree/settle-overlays" "$deployment"
chroot "$systemd" systemd-sysusers --root=/mnt
unit "$deployment" accounts
unit "$deployment" var
chroot "$systemd" systemd-tmpfiles --root=/mnt --create --remove --boot --exclude-prefix=/dev --exclude-prefix=/run
unit "$deployment" identity
"""
)


def boot(sysroot: System, systemd: Path) -> str:
    """Boot what boots next, with the systemd tools of the Debian root ``systemd``; returns what was told.

    The order is that of the units: apt-ostree-accounts-lists, apt-ostree-overlays, systemd-sysusers,
    apt-ostree-accounts, apt-ostree-var, systemd-tmpfiles-setup, apt-ostree-identity.
    """
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", _SCRIPT, "sh",
         sysroot.deployment(), sysroot.var, systemd],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stderr
