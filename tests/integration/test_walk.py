"""One machine's life, in one go: from a signed remote through two versions of its base, and back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.archive import public_directory
from tests.integration.served import BROKEN, Served, serving, small_archive
from tests.integration.system import REF, Base, System

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="sysroots, the sandbox and apt's own user need root")


@pytest.fixture
def served(base_repo: Base, tmp_path: Path) -> Iterator[Served]:
    with serving(base_repo, tmp_path) as server:
        yield server


def version(system: System, package: str) -> str | None:
    found = system.dpkg_status().get(package)
    return found[0] if found else None


def base_version(system: System, index: int = 0) -> str:
    return str(system.run("status", "--json").document["deployments"][index]["version"])


# Each step has its own test; this has them one after the other.
@pytest.mark.slow
def test_a_machine_walks_from_base_to_base_and_back(sysroot: System, served: Served, tmp_path: Path) -> None:
    system = sysroot
    first = served.publish("13.1")
    with public_directory() as one, public_directory() as two:
        system.use_archive(small_archive(one, {"tool": ("1.0", ""), "extra": ("1.0", "")}))
        system.run("remote", "add", "example", served.url, "--gpg-import", served.key)
        system.run("rebase", f"example:{REF}")
        assert (system.commit(), base_version(system)) == (first.commit, "13.1")
        system.run("install", "tool")
        system.run("initramfs-etc", "--track", "/etc/passwd")
        system.run("upgrade", "--check", status=77)

        second = served.publish("13.2", day=14, packages={"base-lib": "1.5"})
        system.use_archive(small_archive(two, {"tool": ("2.0", ""), "extra": ("1.0", "")}))
        assert "Available: 13.2 " in system.run("upgrade", "--check").stdout
        served.fault = (r"\.filez$", BROKEN)
        with system.unchanged():
            system.run("upgrade", status=1)
        served.fault = None
        preview = system.run("upgrade", "--preview", "--json").document
        done = system.run("upgrade", "--json").document
        assert preview["difference"] == done["difference"]
        assert system.run("db", "diff", "1", "0").stdout.splitlines()[1:] == [
            "Changed:",
            "  base-lib 1.0 -> 1.5",
            "  tool 1.0 -> 2.0",
        ]

        # Files beside the initramfs are repeated.
        assert system.origin().get("apt-ostree", "initramfs-etc") == "/etc/passwd;"
        assert len(system.entry()["initrd"]) == 2

        # What comes next builds on what is pending, offline where it can.
        served.fault = (".", BROKEN)
        system.run("install", "extra")
        assert [base_version(system), version(system, "tool"), version(system, "extra")] == ["13.2", "2.0", "1.0"]
        served.fault = None

        system.run("deploy", "13.1")
        assert [base_version(system), version(system, "tool"), version(system, "base-lib")] == ["13.1", "2.0", "1.0"]
        assert system.origin().get("origin", "override-commit") == first.commit
        deployed = system.deployments()
        system.run("rollback")
        assert base_version(system) == "13.2"
        system.run("rollback")
        assert system.deployments() == deployed
        system.run("upgrade")
        assert not system.origin().has_option("origin", "override-commit")
        assert system.run("upgrade", "--check", status=77).stdout == "No updates available.\n"

        # Kernel arguments: the same commit, and they go along from deployment to deployment.
        layer = system.commit()
        system.run("kargs", "--append=quiet", "--append=console=ttyS0")
        system.run("kargs", "--replace=console=ttyS0=ttyS1", "--delete-if-present=absent")
        assert system.commit() == layer
        system.run("kargs", "--append-if-missing=quiet", "--unchanged-exit-77", status=77)
        file = tmp_path / "host.toml"
        file.write_text(
            'packages = ["tool"]\n[kernel-args]\npresent = ["panic=30"]\nabsent = ["quiet"]\n'
            '[initramfs]\netc = ["/etc/passwd"]\n'
        )
        applied = system.run("apply", "--dry-run", file).stdout
        assert "extra" in applied
        assert "panic=30" in applied
        system.run("apply", file)
        assert (version(system, "extra"), version(system, "tool")) == (None, "2.0")
        assert system.run("kargs").stdout.split()[-2:] == ["console=ttyS1", "panic=30"]
        with system.unchanged():
            system.run("apply", file, "--unchanged-exit-77", status=77)

        system.run("pin", "1")
        before = system.deployments()
        system.run("kargs", "--append=debug")
        assert system.deployments()[1:] == before
        system.run("cleanup", "-r", "-b")
        assert system.deployments()[1:] == before[1:]
        system.run("unpin", "1")
        system.run("cleanup", "-r")
        assert len(system.deployments()) == 1

        system.run("override", "remove", "base-lib")
        assert version(system, "base-lib") is None
        system.run("reset")
        assert system.commit() == second.commit
        assert system.origin().get("origin", "refspec") == f"example:{REF}"
        assert system.run("kargs").stdout.split()[-2:] == ["panic=30", "debug"]

        done = system.run("history", "--json").document["transactions"]
        assert [entry["command"][3] for entry in done if entry["state"] == "done"] == [
            *("reset", "override", "cleanup", "unpin", "cleanup", "kargs", "pin", "apply", "kargs", "kargs", "upgrade"),
            *("rollback", "rollback", "deploy", "install", "upgrade", "initramfs-etc", "install", "rebase"),
        ]
        assert [entry["command"][3] for entry in done if entry["state"] == "failed"] == ["upgrade"]
        system.fsck()
