"""A virtual machine with a sysroot as its disk, and stories: commands that run in it once it is up.

There is no boot loader: at each boot the loader entry that stands first is read from the disk and its kernel
started, as a boot loader would. Commands and what they said travel as files on that disk, since a console mixes
everybody's lines.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.integration.system import STATEROOT, System

QEMU = {
    "x86_64": ("qemu-system-x86_64", "q35", "qemu64", "ttyS0"),
    "aarch64": ("qemu-system-aarch64", "virt", "max", "ttyAMA0"),
}
"""Program, machine, processor and console by the kernel's name of an architecture. An x86 processor with few features
is emulated in four fifths of the time of one with all."""

BOOT_SECONDS = 1800
"""Only against a hang. Without KVM a boot takes about a minute when nothing else runs, and commands ten times as long
as on the host."""

MEMORY_MB = 1536
DISK_MB = 6144

STORY = f"ostree/deploy/{STATEROOT}/var/story"

_UNIT = """\
[Unit]
Description=Tell the story
After=multi-user.target

[Service]
# Not oneshot: the story waits until everything has started, itself included.
Type=exec
ExecStart=/bin/sh /var/story/run

[Install]
WantedBy=multi-user.target
"""

_RUN = """\
systemctl is-system-running --wait >/var/story/state
cd /var/story
for command in command.*; do
    number=${command#command.}
    sh "/var/story/$command" >"out.$number" 2>&1 </dev/null
    echo $? >"status.$number"
done
sync
systemctl poweroff
"""


@dataclass(frozen=True, slots=True)
class Said:
    """What a command said, on both of its outputs, and its exit status."""

    status: int
    text: str


@dataclass(frozen=True, slots=True)
class Boot:
    """One boot: systemd's word for the state it came to, what each command said, and how long it took."""

    state: str
    said: dict[str, Said]
    kernel: str
    seconds: float

    def __getitem__(self, command: str) -> str:
        """The text of a command that succeeded."""
        said = self.said[command]
        assert said.status == 0, f"{command}: exit {said.status}\n{said.text}"
        return said.text.strip()


class Machine:
    """A disk with a sysroot on it, and what boots from it."""

    def __init__(self, system: System, place: Path) -> None:
        """Make the disk from a sysroot directory, which is left as it is apart from a unit in /etc."""
        self.place = place
        self.disk = place / "disk.img"
        place.mkdir(parents=True)
        _add_unit(system.deployment() / "etc/systemd/system")
        with self.disk.open("wb") as file:
            file.truncate(DISK_MB << 20)
        subprocess.run(
            ["mke2fs", "-q", "-t", "ext4", "-L", "root", "-E", "lazy_itable_init=1", "-d", system.path, self.disk],
            check=True,
        )

    def boot(self, *commands: str) -> Boot:
        """Boot, run the commands one after the other, and power off."""
        begun = time.monotonic()
        self._write_story(commands)
        # An emulated machine sometimes panics; nothing was written then.
        for attempt in (1, 2):
            kernel = self._start(self.place / f"console.{attempt}")
            results = self._read_story()
            if "state" in results:
                break
        else:
            console = (self.place / "console.2").read_text(errors="replace")
            raise AssertionError(
                f"no multi-user system within {BOOT_SECONDS} s:\n" + "\n".join(console.splitlines()[-60:])
            )
        said = {
            command: Said(int(results.get(f"status.{number:03}", "-1")), results.get(f"out.{number:03}", ""))
            for number, command in enumerate(commands)
        }
        return Boot(results["state"].strip(), said, kernel, time.monotonic() - begun)

    def on_disk(self, script: str, *arguments: str | os.PathLike[str]) -> str:
        """Run a shell script on the host with the disk as its working directory, while the machine is off."""
        mount = self.place / "mnt"
        mount.mkdir(exist_ok=True)
        whole = 'set -eu; mount -o loop "$1" "$2"; cd "$2"; shift 2\n' + script
        done = subprocess.run(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", whole, "sh", self.disk, mount, *arguments],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def _write_story(self, commands: Sequence[str]) -> None:
        story = self.place / "story"
        shutil.rmtree(story, ignore_errors=True)
        story.mkdir()
        (story / "run").write_text(_RUN)
        for number, command in enumerate(commands):
            (story / f"command.{number:03}").write_text(command + "\n")
        self.on_disk(f'rm -rf {STORY}; mkdir -p {STORY}; cp "$1"/* {STORY}', story)

    def _read_story(self) -> dict[str, str]:
        results = self.place / "results"
        shutil.rmtree(results, ignore_errors=True)
        results.mkdir()
        self.on_disk(f'cp {STORY}/* "$1"', results)
        return {path.name: path.read_text(errors="replace") for path in results.iterdir()}

    def entry(self) -> dict[str, list[str]]:
        """The loader entry that boots: the one of the highest version (Boot Loader Specification)."""
        text = self.on_disk('for entry in boot/loader/entries/*.conf; do cat "$entry"; echo; done')
        entries = []
        for stanza in text.strip().split("\n\n"):
            entry: dict[str, list[str]] = {}
            for line in stanza.splitlines():
                key, _, value = line.partition(" ")
                entry.setdefault(key, []).append(value)
            entries.append(entry)
        return max(entries, key=lambda entry: int(entry["version"][0]))

    def kernel(self) -> str:
        """The version of the kernel that boots next."""
        return Path(self.entry()["linux"][0]).name.removeprefix("vmlinuz-")

    def _start(self, console: Path) -> str:
        entry = self.entry()
        files = self.place / "boot"
        shutil.rmtree(files, ignore_errors=True)
        files.mkdir()
        linux, *initrds = (f"boot{name}" for name in (entry["linux"][0], *entry["initrd"]))
        self.on_disk('to=$1; cp "$2" "$to/linux"; shift 2; cat "$@" >"$to/initrd"', files, linux, *initrds)
        program, machine, processor, tty = QEMU[platform.machine()]
        argv = [
            # The machine ends with the test, whatever becomes of that.
            "setpriv", "--pdeathsig", "KILL",
            program,
            "-machine", machine,
            "-accel", "tcg",
            "-cpu", processor,
            "-smp", "1",
            "-m", str(MEMORY_MB),
            # No device whose driver would only take time.
            "-nodefaults",
            "-vga", "none",
            "-display", "none",
            "-nic", "none",
            "-no-reboot",
            "-serial", f"file:{console}",
            "-drive", f"file={self.disk},if=virtio,format=raw,cache=unsafe",
            "-kernel", os.fspath(files / "linux"),
            "-initrd", os.fspath(files / "initrd"),
            "-append", f"{entry['options'][0]} console={tty} panic=-1 no_timer_check",
        ]  # fmt: skip
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as qemu:
            try:
                qemu.wait(BOOT_SECONDS)
            except subprocess.TimeoutExpired:
                pass
            finally:
                qemu.kill()
        return Path(linux).name.removeprefix("vmlinuz-")


def _add_unit(units: Path) -> None:
    wants = units / "multi-user.target.wants"
    wants.mkdir(parents=True, exist_ok=True)
    (units / "story.service").write_text(_UNIT)
    # A deployment's /etc comes from the one before it, which may have had the unit.
    (wants / "story.service").unlink(missing_ok=True)
    (wants / "story.service").symlink_to("../story.service")
