"""Mounts over a deployment, so that programs in it find what a booted system has."""

from __future__ import annotations

BOOTED = """
mount --bind "$1" "$1"
mount -t tmpfs tmpfs "$1/run"
mount -t tmpfs tmpfs "$1/tmp"
mount -t tmpfs tmpfs "$1/dev"
mount -t proc proc "$1/proc"
for node in null:3 zero:5 full:7 random:8 urandom:9; do
    mknod -m 666 "$1/dev/${node%:*}" c 1 "${node#*:}"
done
"""
"""Lines for a shell in a mount namespace of its own (unshare(1)); ``$1`` is the deployment."""

UNIT = """
unit() {
    chroot "$1" $(sed -n s/^ExecStart=//p "$1/usr/lib/systemd/system/apt-ostree-$2.service")
}
"""
"""A shell's function: what our unit ``$2`` does at a boot of the deployment ``$1``."""
