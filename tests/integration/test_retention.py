"""Which deployments stay, and room in /boot: with the real ostree, also when it deploys by itself."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.system import STATEROOT, System, chosen_cli, configure, environment, output

KERNEL_BYTES = 3_000_000


def test_as_many_deployments_stay_as_the_configuration_says(sysroot: System) -> None:
    configure(sysroot, "deployments = 3\n")
    for argument in ("a", "b", "c"):
        sysroot.run("kargs", f"--append={argument}")
    # The base and "a" made room; none is pinned by the administrator.
    lines = [sysroot.run("kargs", f"--deploy-index={index}").stdout.split()[2:] for index in range(3)]
    assert lines == [["a", "b", "c"], ["a", "b"], ["a"]]
    shown = sysroot.run("status", "--json").document["deployments"]
    assert [entry["pinned"] for entry in shown] == [False, False, False]
    # ostree's own operations keep them, too.
    output("ostree", "admin", "deploy", f"--sysroot={sysroot.path}", f"--os={STATEROOT}", sysroot.base.commit)
    assert len(sysroot.deployments()) == 3
    # A smaller number lets go of what is one too many.
    configure(sysroot, "deployments = 2\n")
    sysroot.run("kargs", "--append=d")
    assert len(sysroot.deployments()) == 2
    sysroot.fsck()


def test_a_pin_lasts_until_it_is_taken_away(sysroot: System) -> None:
    base = sysroot.deployments()[0]
    sysroot.run("pin", "0")
    assert sysroot.run("pin", "0", "--unchanged-exit-77", status=77).stdout.endswith("is already pinned.\n")
    for argument in ("a", "b", "c"):
        sysroot.run("kargs", f"--append={argument}")
    assert sysroot.deployments()[2:] == [base]
    assert "Pinned: yes" in output("ostree", "admin", "status", f"--sysroot={sysroot.path}")
    with sysroot.unchanged():
        assert "Would unpin deployment 2" in sysroot.run("unpin", "2", "--dry-run").stdout
    assert "names more than one" in sysroot.run("unpin", base[:12], status=1).failure.brief
    sysroot.run("unpin", base)
    sysroot.run("kargs", "--append=d")
    assert base not in sysroot.deployments()


def test_a_pin_is_recorded_and_a_killed_one_swept(sysroot: System) -> None:
    sysroot.run("pin", "0")
    (entry,) = sysroot.run("history", "--json").document["transactions"]
    assert (entry["state"], [phase["name"] for phase in entry["phases"]]) == ("done", ["lock", "pin"])
    origin = next((sysroot.path / f"ostree/deploy/{STATEROOT}/deploy").glob("*.origin"))
    half = origin.with_name(f".{origin.name}.123")
    half.touch()
    sysroot.run("unpin", "0")
    assert not half.exists()


@pytest.mark.parametrize("index", ["9", "-1", "", "x"])
def test_a_pin_needs_a_deployment(sysroot: System, index: str) -> None:
    with sysroot.unchanged():
        assert "does not name a deployment" in sysroot.run("pin", "--", index, status=1).failure.brief


def other_kernel(system: System, work: Path, letter: str) -> str:
    """A base commit with a kernel of a size that matters."""
    modules = work / "usr/lib/modules/0.0"
    modules.mkdir(parents=True, exist_ok=True)
    (modules / "vmlinuz").write_text(letter * KERNEL_BYTES)
    return output(
        "ostree", "commit", f"--repo={system.repo}", "--branch=kernels", f"--tree=ref={system.base.commit}",
        f"--tree=dir={work}", "--add-metadata=ostree.bootable=true", "--add-metadata-string=ostree.linux=0.0",
    ).strip()  # fmt: skip


PUBLISH = """
import os
import sys
from pathlib import Path
from apt_ostree import errors
from apt_ostree.system import publication, sysroot
from apt_ostree.tools import ostree
admin = ostree.admin
def killed(path, command, *words):
    if command == "deploy":
        os.kill(os.getpid(), 9)
    return admin(path, command, *words)
if "killed" in sys.argv:
    ostree.admin = killed
loaded = sysroot.load(Path(sys.argv[1]))
try:
    publication.publish(loaded, "debian", sys.argv[2], loaded.deployments[0].origin)
except errors.SpaceError as error:
    sys.exit(f"{error.brief}: {error.detail}")
"""
"""The last step of every operation, with a commit of our choice."""

BOOT_TEST = """
set -e
cd "$1"
cp -a boot boot.kept
mount -t tmpfs -o size="$2" boot boot
cp -a boot.kept/. boot/
# As each command, in a mount namespace of its own.
publish() { unshare --mount --propagation private "$PYTHON" -c "$PUBLISH" "$@"; }
state() { find boot ostree/deploy/*/deploy -maxdepth 3 -printf '%p %l\\n' | sort | sha256sum; }
ostree admin deploy --sysroot=. --os=debian "$3"
state > before
if publish "$1" "$4"; then exit 9; fi
state | cmp - before
$OURS rollback
state > before
if publish "$1" "$4"; then exit 9; fi
state | cmp - before
ostree admin deploy --sysroot=. --os=debian --retain "$5"
if publish "$1" "$4" killed; then exit 9; fi
# What can go has gone; what boots next and one to go back to, and their kernel, are there.
ostree admin status --sysroot=.
test -d "$(dirname "$(realpath "$(sed -n 's/^linux /boot/p' boot/loader/entries/*.conf)")")"
publish "$1" "$4"
find boot/ostree -name 'vmlinuz*' -size +1000k -exec head -c 1 {} +
"""
"""A kernel of which one fits. A second one does not while the first boots next or is the only one to go back to, and
does once it is neither."""


def test_room_in_boot_is_looked_for_before_anything_is_written(sysroot: System, tmp_path: Path) -> None:
    commits = [other_kernel(sysroot, tmp_path / "tree", letter) for letter in "ab"]
    done = subprocess.run(
        ["unshare", "--mount", "--propagation=private", "bash", "-c", BOOT_TEST, "bash", sysroot.path,
         str(KERNEL_BYTES * 3 // 2), *commits, sysroot.base.commit],
        env=environment({
            "PYTHON": sys.executable, "PUBLISH": PUBLISH, "OURS": f"{' '.join(chosen_cli())} --sysroot {sysroot.path}",
        }),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "too little space in /boot for the kernel and its initramfs: " in done.stderr
    assert "3.0 MB are needed; without the deployments that can go, " in done.stderr
    assert " has 1.5 MB free" in done.stderr
    assert done.stdout.splitlines()[-1] == "b"
    assert re.findall(r"debian (\w+)\.\d$", done.stdout, re.MULTILINE)[-2:] == [sysroot.base.commit] * 2
