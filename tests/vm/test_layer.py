"""A machine boots a layer: its service, user and state, beside what an administrator has done; then another kernel."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.archive import Deb
from tests.integration.system import EXAMPLE_REF, STATEROOT, Base, System, output, run_cli
from tests.vm.machine import Machine

SERVICE = Deb(
    "keeper",
    control="Depends: passwd, init-system-helpers\n",
    files={
        "/usr/lib/systemd/system/keeper.service": "[Unit]\nDescription=Keep\n[Service]\nUser=keeper\n"
        "ExecStart=/usr/bin/keeper\n[Install]\nWantedBy=multi-user.target\n",
        "/usr/bin/keeper": "#!/bin/sh\ndate >>/var/lib/keeper/log\nexec sleep infinity\n",
        "/opt/keeper/bin/hello": "#!/bin/sh\necho hello from opt\n",
        "/opt/keeper/lib/early.service": "[Service]\nType=oneshot\nRemainAfterExit=yes\n"
        "ExecStart=/opt/keeper/bin/hello\n",
        "/usr/local/bin/keeper-local": "#!/bin/sh\necho hello from local\n",
        # OSTree has these two as one file, which every deployment shares.
        "/keep/store/file": "one object\n",
        "/usr/share/keeper/file": "one object\n",
    },
    scripts={
        "postinst": """
if [ "$1" = configure ]; then
    getent group keepers >/dev/null || groupadd --system keepers
    getent passwd keeper >/dev/null ||
        useradd --system --gid keepers --no-create-home --home-dir /var/lib/keeper --shell /usr/sbin/nologin keeper
    mkdir -p /var/lib/keeper/deep
    echo first >/var/lib/keeper/deep/state
    chown -R keeper:keepers /var/lib/keeper
    chmod 0750 /var/lib/keeper
    chmod 2770 /var/lib/keeper/deep
    chmod 0640 /var/lib/keeper/deep/state
    deb-systemd-helper enable keeper.service
    ln -s /opt/keeper/lib/early.service /etc/systemd/system/early.service
    ln -s /opt/keeper/lib/early.service /etc/systemd/system/multi-user.target.wants/early.service
    mkdir -m 1777 /data
fi
"""
    },
)

SNAPSHOT = (
    "find /etc /var -xdev \\( -path /var/story -o -path /var/log -o -path /var/tmp -o -path /var/cache/ldconfig"
    " -o -path /var/lib/apt-ostree/boots"
    " -o -name random-seed -o -path '/var/lib/systemd/*' \\) -prune -o -type d -printf '%p %m %u %g\\n'"
    " -o -printf '%p %m %u %g %s %l\\n' | grep -v '/var/lib/keeper/log ' | sort"
)
"""Every path with what must not change from boot to boot; logs, clocks and seeds apart."""

ENABLED = (
    "cd /usr/etc/systemd/system && find . -type l | sort >/tmp/shipped; cd /etc/systemd/system &&"
    " find . -type l ! -name story.service | sort | diff /tmp/shipped -"
)
"""Units that the first boot enabled or disabled by itself: none may be."""

WRITE = (
    "find / /opt /usr/local /data/ /keep /usr/share/keeper -maxdepth 2 -type d -exec sh -c"
    " 'for place; do (: >\"$place/.written\") 2>/dev/null && echo \"$place\"; done; true' sh '{}' + |"
    " sed 's,\\(.\\)/$,\\1,' | sort -u"
)
"""Write into each directory that can be written to, and tell them."""

APPEND = "for file in /keep/store/file /opt/keeper/bin/hello /usr/local/bin/keeper-local; do echo : >>$file; done 2>&1"

WRITABLE = {"/boot", "/data", "/dev", "/etc", "/opt", "/run", "/tmp", "/usr/local", "/var"}
"""Where a machine may write: itself, and what is mounted there. The rest is the deployment's."""

BOOTS = "cut -d' ' -f1 /var/lib/apt-ostree/boots"
"""The deployments that were booted, as noted."""


@pytest.fixture(scope="module")
def system(example_repo: Path, tmp_path_factory: pytest.TempPathFactory) -> System:
    """The example image, deployed; an administrator has added a user; a package with a service is laid over it."""
    work = tmp_path_factory.mktemp("system")
    path = work / "sysroot"
    run_cli(
        "compose",
        "sysroot",
        "--repo",
        example_repo,
        "--stateroot",
        STATEROOT,
        "--karg=systemd.firstboot=off",
        EXAMPLE_REF,
        path,
    )
    machine = System(
        path, Base(example_repo, output("ostree", f"--repo={example_repo}", "rev-parse", EXAMPLE_REF).strip())
    )
    output("useradd", "--root", machine.deployment(), "--no-create-home", "--uid", "1500", "alice")
    machine.install(str(SERVICE.build(work)))
    return machine


def test_a_layer_s_service_user_and_state_are_up_and_a_second_boot_changes_nothing(
    system: System, tmp_path: Path
) -> None:
    machine = Machine(system, tmp_path / "machine")
    first = machine.boot(
        "systemctl --failed --no-legend",
        "systemctl is-active keeper.service",
        "stat -c %U /proc/$(systemctl show -p MainPID --value keeper)",
        "id keeper",
        "id -u alice",
        "stat -c '%a %U %G' /var/lib/keeper /var/lib/keeper/deep /var/lib/keeper/deep/state",
        "cat /var/lib/keeper/deep/state",
        "/opt/keeper/bin/hello; /usr/local/bin/keeper-local",
        "touch /usr/x 2>&1 || echo read-only",
        "systemctl is-active early.service",
        WRITE,
        APPEND,
        "cat /keep/store/file; /opt/keeper/bin/hello; ls /usr/local/.written /data/.written; findmnt -no OPTIONS /",
        "dpkg -l keeper | tail -n 1",
        "usermod -aG keepers alice; id -nG alice",
        "journalctl -b -u 'apt-ostree-*' -p warning -o cat --no-pager",
        ENABLED,
        SNAPSHOT,
        BOOTS,
    )
    assert first.state == "running", first["systemctl --failed --no-legend"]
    assert first["systemctl --failed --no-legend"] == ""
    assert first[ENABLED] == ""
    assert first["systemctl is-active keeper.service"] == "active"
    assert first["stat -c %U /proc/$(systemctl show -p MainPID --value keeper)"] == "keeper"
    assert re.fullmatch(r"uid=(\d+)\(keeper\) gid=(\d+)\(keepers\) groups=\2\(keepers\)", first["id keeper"])
    assert first["id -u alice"] == "1500"
    assert first["stat -c '%a %U %G' /var/lib/keeper /var/lib/keeper/deep /var/lib/keeper/deep/state"] == (
        "750 keeper keepers\n2770 keeper keepers\n640 keeper keepers"
    )
    assert first["cat /var/lib/keeper/deep/state"] == "first"
    assert first["/opt/keeper/bin/hello; /usr/local/bin/keeper-local"] == "hello from opt\nhello from local"
    assert first["touch /usr/x 2>&1 || echo read-only"].endswith("read-only")
    # PID 1 reads units before /var is mounted.
    assert first["systemctl is-active early.service"] == "active"
    written = set(first[WRITE].splitlines())
    assert written >= WRITABLE
    assert {place for place in written if not any(f"{place}/".startswith(f"{own}/") for own in WRITABLE)} == set()
    assert first[APPEND].count("Read-only file system") == 1
    said = first[next(command for command in first.said if command.startswith("cat /keep/store/file"))].splitlines()
    assert said[:4] == ["one object", "hello from opt", "/data/.written", "/usr/local/.written"]
    assert said[4].startswith("ro,")
    # Nothing of all that is in an object.
    machine.on_disk("ostree fsck --quiet --repo=ostree/repo >&2")
    assert first["dpkg -l keeper | tail -n 1"].startswith("ii  keeper")
    assert "keepers" in first["usermod -aG keepers alice; id -nG alice"].split()
    deployment = f"{STATEROOT}-{system.deployments()[0]}"
    assert first[BOOTS].split() == [deployment]
    second = machine.boot(
        "systemctl is-active keeper.service", "id -nG alice", "tail -n 1 /opt/keeper/bin/hello; ls -A /usr/local",
        SNAPSHOT, BOOTS,
    )  # fmt: skip
    kept = second["tail -n 1 /opt/keeper/bin/hello; ls -A /usr/local"].splitlines()
    assert kept[0] == ":" and ".written" in kept
    assert second[BOOTS].split() == [deployment] * 2
    assert second.state == "running"
    assert "keepers" in second["id -nG alice"].split()
    changed = set(first[SNAPSHOT].splitlines()) ^ set(second[SNAPSHOT].splitlines())
    assert not changed


def test_a_layered_kernel_boots_with_its_own_modules_and_the_layer_s_service(system: System, tmp_path: Path) -> None:
    layered = system.clone(tmp_path / "sysroot")
    (before,) = (path.parent.name for path in system.deployment().glob("usr/lib/modules/*/vmlinuz"))
    name = another_kernel(layered, before)
    layered.install(name)
    machine = Machine(layered, tmp_path / "machine")
    assert machine.kernel() == name.removeprefix("linux-image-")
    boot = machine.boot(
        "uname -r",
        "modprobe dummy && cat /sys/module/dummy/initstate",
        "systemctl is-active keeper.service",
        f"ls /usr/lib/modules/{before}",
    )
    assert boot.state == "running"
    assert boot["uname -r"] == machine.kernel()
    assert boot["modprobe dummy && cat /sys/module/dummy/initstate"] == "live"
    assert boot["systemctl is-active keeper.service"] == "active"
    assert "vmlinuz.unused" in boot[f"ls /usr/lib/modules/{before}"].split()


def another_kernel(system: System, known: str) -> str:
    """A package of the archive with another kernel of the image's flavour, from the lists that an install fetched."""
    lists = [os.fspath(path) for path in (system.area / "apt/lists").glob("*_Packages*")]
    flavour = re.escape(re.sub(r"^.*?-(?=[a-z])", "", known))
    text = output("/usr/lib/apt/apt-helper", "cat-file", *lists)
    found = set(re.findall(rf"^Package: (linux-image-\d.*-{flavour})$", text, re.MULTILINE))
    found.discard(f"linux-image-{known}")
    assert found, f"the archive has no other kernel than {known}"
    return str(max(found))
