"""Users and groups: the numbers stay, an administrator's entries stay, and the image's arrive."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.archive import Deb
from tests.integration.shuffle import names, orphans
from tests.integration.system import REF, System, output


def number(sysroot: System, name: str, of: str = "usr/etc/passwd") -> int:
    lines = (sysroot.deployment() / of).read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{name}:")).split(":")[2])


def owned(sysroot: System, name: str) -> tuple[int, int]:
    """Owner and group of the fixture's state, where the layer keeps it."""
    status = (sysroot.deployment() / "usr/share/factory/var/lib" / name / "state").stat()
    return status.st_uid, status.st_gid


def test_a_user_keeps_its_number_whatever_else_is_layered(sysroot: System) -> None:
    sysroot.install("user-maker")
    first = number(sysroot, "user-maker")
    # Configured before it, and picks from the same end.
    sysroot.install("a-user-maker")
    assert number(sysroot, "user-maker") == first
    assert number(sysroot, "a-user-maker") != first
    assert owned(sysroot, "user-maker") == (first, number(sysroot, "user-maker", "usr/etc/group"))
    sysroot.run("uninstall", "a-user-maker")
    assert number(sysroot, "user-maker") == first


def test_a_number_that_the_machine_uses_is_not_taken(sysroot: System) -> None:
    sysroot.install("greeter")
    etc = sysroot.deployment() / "etc"
    for name, line in (("passwd", "mine:x:999:999::/:/bin/sh\n"), ("group", "mine:x:999:\n")):
        with (etc / name).open("a") as file:
            file.write(line)
    sysroot.install("user-maker")
    assert number(sysroot, "user-maker") == 998
    assert owned(sysroot, "user-maker") == (998, 998)
    # The edited file won the merge; the unit brings the package's user in.
    assert "user-maker" not in (sysroot.deployment() / "etc/passwd").read_text()
    booted(sysroot)
    assert number(sysroot, "user-maker", "etc/passwd") == 998
    assert number(sysroot, "mine", "etc/passwd") == 999


def test_a_name_that_the_machine_has_keeps_the_machine_s_number(sysroot: System) -> None:
    sysroot.install("greeter")
    etc = sysroot.deployment() / "etc"
    for name, line in (("passwd", "user-maker:x:444:445::/:/bin/sh\n"), ("group", "user-maker:x:445:\n")):
        with (etc / name).open("a") as file:
            file.write(line)
    sysroot.install("user-maker")
    assert owned(sysroot, "user-maker") == (444, 445)
    lines = (sysroot.deployment() / "usr/lib/sysusers.d/apt-ostree-layer.conf").read_text()
    assert "u user-maker 444:user-maker " in lines


def gitty(place: Path) -> Path:
    """A package whose user is not a system's: useradd(8) gives it a person's number, and subordinate ids."""
    deb = Deb(
        "gitty",
        control="Depends: passwd\n",
        files={"/usr/share/gitty/file": ""},
        scripts={"postinst": "getent passwd gitty || useradd -F gitty\nchown gitty:gitty /usr/share/gitty/file\n"},
    )
    return deb.build(place)


def add_lines(etc: Path, **lines: str) -> None:
    """What an administrator's useradd(8) does."""
    for name, line in lines.items():
        with (etc / name).open("a") as file:
            file.write(f"{line}\n")


def test_a_plain_useradd_of_a_package_takes_nothing_of_a_person(sysroot: System, tmp_path: Path) -> None:
    sysroot.install("greeter")
    add_lines(
        sysroot.deployment() / "etc",
        passwd="alice:x:1000:1000::/home/alice:/bin/bash",
        group="alice:x:1000:",
        subuid="alice:100000:65536",
        subgid="alice:100000:65536",
    )
    deb = gitty(tmp_path)
    for _ in range(2):
        sysroot.run("install", deb)
        assert number(sysroot, "gitty") == number(sysroot, "gitty", "usr/etc/group") == 1001
        status = (sysroot.deployment() / "usr/share/gitty/file").stat()
        assert (status.st_uid, status.st_gid) == (1001, 1001)
        booted(sysroot)
        etc = sysroot.deployment() / "etc"
        assert number(sysroot, "alice", "etc/passwd") == 1000
        assert number(sysroot, "gitty", "etc/passwd") == 1001
        for name in ("subuid", "subgid"):
            assert (etc / name).read_text() == "alice:100000:65536\ngitty:165536:65536\n"
        # Made anew, it keeps them.
        sysroot.run("uninstall", "gitty")
        booted(sysroot)


def test_the_number_of_a_removed_package_s_user_is_not_given_to_another(sysroot: System) -> None:
    sysroot.install("user-maker")
    first = number(sysroot, "user-maker")
    booted(sysroot)
    sysroot.run("uninstall", "--all")
    sysroot.run("cleanup", "-r", "-p")
    assert len(sysroot.deployments()) == 1
    sysroot.install("a-user-maker")
    assert number(sysroot, "a-user-maker") != first
    sysroot.install("user-maker")
    assert number(sysroot, "user-maker") == first


def keeper(place: Path) -> Path:
    """A package with a group for people, and a user."""
    deb = Deb(
        "keeper",
        control="Depends: passwd\n",
        files={"/usr/bin/keeper": "#!/bin/sh\n"},
        scripts={
            "postinst": "getent group keepers || groupadd --system keepers\n"
            "getent passwd keeper || useradd --system --user-group --groups keepers keeper\n"
            "chgrp keepers /usr/bin/keeper\n"
        },
    )
    return deb.build(place)


def test_an_administrator_in_a_package_s_group_stays_there_whatever_comes_and_goes(
    sysroot: System, tmp_path: Path
) -> None:
    deb = keeper(tmp_path)
    sysroot.run("install", deb)
    booted(sysroot)
    gid = number(sysroot, "keepers", "etc/group")

    def line(name: str = "group") -> str:
        lines = (sysroot.deployment() / "etc" / name).read_text().splitlines()
        return next((line for line in lines if line.startswith("keepers:")), "")

    # usermod -aG keepers alice
    etc = sysroot.deployment() / "etc"
    add_lines(etc, passwd="alice:x:1000:1000::/home/alice:/bin/bash", group="alice:x:1000:")
    for name in ("group", "gshadow"):
        text = (etc / name).read_text()
        (etc / name).write_text(text.replace(line(name), f"{line(name)},alice"))
    here, shadow = line(), line("gshadow")
    assert here == f"keepers:x:{gid}:keeper,alice"
    for command in (["install", "user-maker"], ["rollback"]):
        sysroot.run(*command)
        booted(sysroot)
        assert (line(), line("gshadow")) == (here, shadow)
    # The package's own user goes with it, a person's membership does not.
    sysroot.run("uninstall", "--all")
    booted(sysroot)
    assert line() == f"keepers:x:{gid}:alice"
    assert "keeper:" not in (sysroot.deployment() / "etc/passwd").read_text()
    sysroot.run("install", deb)
    booted(sysroot)
    assert set(line().split(":")[3].split(",")) == {"keeper", "alice"}
    assert number(sysroot, "keepers", "usr/etc/group") == gid
    assert (sysroot.deployment() / "usr/bin/keeper").stat().st_gid == gid


def release(sysroot: System, *words: str) -> str:
    """Another base, of that tree."""
    return output(
        "ostree", "commit",
        f"--repo={sysroot.repo}",
        f"--branch={REF}-next",
        "--fsync=false",
        "--add-metadata-string=version=13",
        "--add-metadata=ostree.bootable=true",
        "--add-metadata-string=ostree.linux=0.0",
        *words,
    ).strip()  # fmt: skip


def test_a_base_s_user_that_takes_a_layered_one_s_number_leaves_both_with_their_files(
    sysroot: System, tmp_path: Path
) -> None:
    """On a machine whose lists are edited, through an upgrade and back."""
    sysroot.install("user-maker")
    booted(sysroot)
    first = number(sysroot, "user-maker", "etc/passwd")
    group = number(sysroot, "user-maker", "etc/group")
    add_lines(
        sysroot.deployment() / "etc",
        passwd="alice:x:1000:1000::/home/alice:/bin/bash",
        group="alice:x:1000:",
        shadow="alice:!:1::::::",
        gshadow="alice:!::",
    )
    state = sysroot.var / "lib/user-maker/own"
    state.parent.mkdir(parents=True, exist_ok=True)
    state.write_text("")
    os.chown(state, first, group)
    tree = tmp_path / "tree"
    output("ostree", "checkout", f"--repo={sysroot.repo}", "--force-copy", sysroot.base.commit, tree)
    add_lines(
        tree / "usr/etc",
        passwd=f"newcomer:x:{first}:{group}::/:/bin/false",
        group=f"newcomer:x:{group}:",
        shadow="newcomer:!:1::::::",
        gshadow="newcomer:!::",
    )
    following = release(sysroot, f"--tree=dir={tree}", "--consume")
    assert f"user user-maker had id {first}, which the base gives to newcomer now" in (
        sysroot.run("rebase", following).stderr
    )
    booted(sysroot)
    assert number(sysroot, "newcomer", "etc/passwd") == first
    second = number(sysroot, "user-maker", "etc/passwd")
    assert second == number(sysroot, "user-maker") != first
    assert state.stat().st_uid == second
    sysroot.run("rollback")
    booted(sysroot)
    assert number(sysroot, "user-maker", "etc/passwd") == first
    assert state.stat().st_uid == first


def test_a_base_package_that_goes_leaves_no_file_of_an_unknown_owner(sysroot: System, tmp_path: Path) -> None:
    """Debian's packages leave their users when they go (policy 9.2.2), and the layer does, too."""
    sysroot.install("user-maker")
    base = release(sysroot, f"--tree=ref={sysroot.commit()}")
    sysroot.run("uninstall", "--all")
    sysroot.run("rebase", base)
    user = number(sysroot, "user-maker")
    sysroot.run("override", "remove", "user-maker")
    assert "user-maker" not in sysroot.dpkg_status()
    assert number(sysroot, "user-maker") == user
    tree = sysroot.deployment()
    assert orphans(sysroot.repo, sysroot.commit(), tree, names(tree / "usr/etc")) == []


def booted(sysroot: System) -> None:
    """Run the units' programs as the boot of what boots next would: /var is the stateroot's."""
    deployment = sysroot.deployment()
    place = sysroot.path / "booted"
    place.mkdir()
    try:
        (place / "usr").symlink_to(deployment / "usr")
        (place / "etc").symlink_to(deployment / "etc")
        (place / "var").symlink_to(sysroot.var)
        output("sh", deployment / "usr/lib/apt-ostree/settle-accounts", place)
    finally:
        shutil.rmtree(place)
