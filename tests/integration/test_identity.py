"""Files that a script makes another of each time it runs: this machine's own, in whatever layer its package is."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.archive import Deb
from tests.integration.system import System
from tests.mounts import BOOTED, UNIT

POSTINST = """
[ "$1" = configure ] || exit 0
# Some only do so where nothing is yet, some only the first time.
if [ -z "$2" ]; then
    [ -e /etc/own/name ] || echo "name $(cat /proc/sys/kernel/random/uuid)" >/etc/own/name
    if [ ! -d /etc/own/store ]; then
        mkdir -m 0700 /etc/own/store
        cat /proc/sys/kernel/random/uuid >/etc/own/store/a
        echo constant >/etc/own/store/b
        ln -s a /etc/own/store/c
    fi
    ls /etc/own/keys/*.key >/dev/null 2>&1 || : >/etc/own/keys/$(cat /proc/sys/kernel/random/uuid).key
    chmod 0640 /etc/own/name
    chown root:games /etc/own/name
    mkdir -p /var/lib/own
    [ -e /var/lib/own/state ] || cat /proc/sys/kernel/random/uuid >/var/lib/own/state
fi
# As ucf does, which leaves alone what an administrator deleted.
if [ ! -e /var/lib/ucf/own ]; then
    mkdir -p /var/lib/ucf
    cp /etc/own/name /var/lib/ucf/own
    cp /etc/own/name /etc/own/managed
fi
echo "packages: $(dpkg-query -W -f '.' | wc -c)" >/etc/own/rendered
echo always the same >/etc/own/same
"""


def deb(version: str = "1.0") -> Deb:
    return Deb(
        "own", version, files={"/etc/own/keys/README": "keys\n", "/usr/share/own/data": version},
        scripts={"postinst": POSTINST},
    )  # fmt: skip


OTHER = Deb("other", "1.0", files={"/usr/share/other/data": "other\n"})


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    return [str(package.build(tmp_path)) for package in (deb(), OTHER, deb("2.0"))]


def listed(system: System, index: int = 0) -> dict[str, str]:
    """What a deployment's lists name as the machine's own, each with the package that makes it."""
    place = system.deployment(index) / "usr/lib/apt-ostree/identity.d"
    lines = [line.split(" ") for file in sorted(place.glob("*")) for line in file.read_text().splitlines()]
    return {path: package for package, path, *_ in lines}


def shipped(system: System, index: int = 0) -> set[str]:
    top = system.deployment(index) / "usr/etc/own"
    return {path.relative_to(top).as_posix() for path in top.rglob("*") if not path.is_dir()}


def has(system: System) -> dict[str, str]:
    """The files of the machine in /etc/own of what boots next, and their content."""
    top = system.deployment() / "etc/own"
    found = (path for path in sorted(top.rglob("*")) if path.is_file() and not path.is_symlink())
    own = {path.relative_to(top).as_posix(): path.read_text() for path in found}
    return {name: text for name, text in own.items() if name not in shipped(system)}


_BOOT = (
    f"set -eu{BOOTED}{UNIT}"
    + """
mount --bind "$2" "$1/var"
unit "$1" var
# Of what systemd-tmpfiles does, all that concerns dpkg.
mkdir -p "$1/var/lib"
while read -r kind place _ _ _ _ target; do
    [ "$kind" != L+ ] || [ -e "$1$place" ] || [ ! -d "$1${place%/*}" ] || ln -sfn "$target" "$1$place"
done <"$1/usr/lib/tmpfiles.d/00-apt-ostree.conf"
unit "$1" identity
[ -z "$(ls "$1/run" | grep apt-ostree)" ]
"""
)


def boot(system: System) -> str:
    """What the units do at a boot of what boots next; returns what they said."""
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", _BOOT, "sh", system.deployment(), system.var],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stderr


def test_what_scripts_make_differently_is_made_once_on_the_machine_and_kept(sysroot: System, files: list[str]) -> None:
    sysroot.install(files[0])
    assert listed(sysroot) == dict.fromkeys(["own/name", "own/managed", "own/store", "own/keys/"], "own:all")
    # What came out the same follows the image, as does what packages list.
    assert shipped(sysroot) == {"rendered", "same", "keys/README"}
    assert boot(sysroot) == ""
    first = has(sysroot)
    (key,) = (name for name in first if name.startswith("keys/"))
    assert set(first) == {"name", "managed", "store/a", "store/b", key}
    name = sysroot.deployment() / "etc/own/name"
    assert (name.stat().st_mode & 0o7777, name.stat().st_gid) == (0o640, 60)
    assert (sysroot.deployment() / "etc/own/store").stat().st_mode & 0o7777 == 0o700
    assert (sysroot.deployment() / "etc/own/store/c").readlink() == Path("a")
    # The scripts ran over a copy.
    state = sysroot.var / "lib/own/state"
    seeded = state.read_text()
    assert boot(sysroot) == ""
    assert (has(sysroot), state.read_text()) == (first, seeded)

    before = sysroot.install(files[1]).stdout
    assert "Configuring again" not in before
    boot(sysroot)
    assert has(sysroot) == first
    rendered = (sysroot.deployment() / "usr/etc/own/rendered").read_text()
    assert rendered != (sysroot.deployment(1) / "usr/etc/own/rendered").read_text()

    sysroot.run("uninstall", "own")
    # Like dpkg, which leaves what no list has until a purge.
    assert has(sysroot) == first
    sysroot.run("rollback")
    sysroot.install(files[2])
    boot(sysroot)
    assert has(sysroot) == first
    sysroot.fsck()


def test_a_deployment_that_never_had_it_gets_what_the_machine_has(sysroot: System, files: list[str]) -> None:
    sysroot.install(files[0])
    boot(sysroot)
    first = has(sysroot)
    # As an administrator changes it.
    (sysroot.deployment() / "etc/own/name").write_text("chosen\n")
    boot(sysroot)
    sysroot.run("rollback")
    assert not (sysroot.deployment() / "etc/own").exists()
    sysroot.install(files[0])
    boot(sysroot)
    assert has(sysroot) == {**first, "name": "chosen\n"}
    kept = sysroot.var / "lib/apt-ostree/identity"
    assert kept.stat().st_mode & 0o7777 == 0o700


def test_two_machines_of_a_layer_have_two_identities_and_no_commit_has_any(sysroot: System, files: list[str]) -> None:
    sysroot.install(files[0])
    boot(sysroot)
    name = (sysroot.deployment() / "etc/own/name").read_text()
    found = subprocess.run(
        ["grep", "-rlF", name.split()[1], sysroot.path / "ostree/repo/objects", sysroot.deployment() / "usr"],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert (found.returncode, found.stdout) == (1, "")
    shutil.rmtree(sysroot.deployment() / "etc/own/store")
    (sysroot.deployment() / "etc/own/name").unlink()
    shutil.rmtree(sysroot.var / "lib/apt-ostree/identity")
    boot(sysroot)
    assert (sysroot.deployment() / "etc/own/name").read_text() != name


def test_a_package_that_was_never_booted_makes_nothing_of_anothers(sysroot: System, tmp_path: Path) -> None:
    evil = Deb("evil", "1.0", scripts={"postinst": """
[ "$1" = configure ] || exit 0
mkdir -p /etc/victim
cat /proc/sys/kernel/random/uuid >/etc/victim/key
cp /bin/true /etc/victim/sh
chmod 4755 /etc/victim/sh
echo "AllowEverybody yes" >/etc/victim/victim.conf
mkdir -p /usr/lib/apt-ostree/identity.d
echo "victim:all victim" >/usr/lib/apt-ostree/identity.d/aaa
"""})  # fmt: skip
    victim = Deb("victim", "1.0", files={"/etc/victim/victim.conf": "AllowEverybody no\n"}, scripts={"postinst": """
[ -e /etc/victim/key ] || cat /proc/sys/kernel/random/uuid >/etc/victim/key
"""})  # fmt: skip
    sysroot.install(str(evil.build(tmp_path)))
    sysroot.run("uninstall", "evil")
    sysroot.install(str(victim.build(tmp_path)))
    boot(sysroot)
    etc = sysroot.deployment() / "etc/victim"
    assert sorted(path.name for path in etc.iterdir()) == ["key", "victim.conf"]
    assert (etc / "victim.conf").read_text() == "AllowEverybody no\n"


def test_a_file_is_its_own_packages_whoever_makes_another_beside_it(sysroot: System, tmp_path: Path) -> None:
    scripts = {"postinst": 'cat /proc/sys/kernel/random/uuid >/etc/"$DPKG_MAINTSCRIPT_PACKAGE"-key\n'}
    names = ["aaa", "bbb", "ccc"]
    sysroot.install(*(str(Deb(name, scripts=scripts).build(tmp_path)) for name in names))
    assert listed(sysroot) == {f"{name}-key": f"{name}:all" for name in names}


def test_a_boot_makes_only_what_is_missing_and_through_no_link(sysroot: System, files: list[str]) -> None:
    sysroot.install(files[0])
    etc = sysroot.deployment() / "etc/own"
    elsewhere = sysroot.path / "elsewhere"
    elsewhere.mkdir()
    (etc / "name").write_text("the administrator's\n")
    for path in (etc / "keys").iterdir():
        path.unlink()
    (etc / "keys").rmdir()
    (etc / "keys").symlink_to(elsewhere)
    boot(sysroot)
    assert (etc / "name").read_text() == "the administrator's\n"
    assert (etc / "store/b").read_text() == "constant\n"
    assert list(elsewhere.iterdir()) == []


def test_what_is_made_only_where_another_file_is_missing_too_stays_in_the_layer(
    sysroot: System, tmp_path: Path
) -> None:
    """postfix compiles /etc/aliases, differently each time, where it has no configuration yet. That one comes out
    another in the second run, which is not the package's first, but not in those after it."""
    compiler = Deb("compiler", "1.0", scripts={"postinst": """
[ "$1" = configure ] || exit 0
cat /proc/sys/kernel/random/uuid >/etc/compiler-key
[ -e /etc/compiler.cf ] && exit
[ -d /usr/share/seen ] && seen=yes || mkdir /usr/share/seen
echo "seen before: ${seen:-no}" >/etc/compiler.cf
cat /proc/sys/kernel/random/uuid >/etc/compiled
"""})  # fmt: skip
    sysroot.install(str(compiler.build(tmp_path)))
    assert listed(sysroot) == {"compiler-key": "compiler:all"}
    assert boot(sysroot) == ""
    etc = sysroot.deployment() / "etc"
    assert (etc / "compiled").exists() and (etc / "compiler-key").exists()


def test_what_a_script_does_not_make_again_is_said_at_each_boot(sysroot: System, tmp_path: Path) -> None:
    once = Deb("once", "1.0", scripts={"postinst": """
cat /proc/sys/kernel/random/uuid >/etc/once
[ -d /run/apt-ostree ] || rm /etc/once
"""})  # fmt: skip
    sysroot.install(str(once.build(tmp_path)))
    assert listed(sysroot) == {"once": "once:all"}
    assert "/etc/once could not be made: the script of once:all did not make it" in boot(sysroot)


def test_what_keeps_the_scripts_from_running_again_keeps_no_key_in_the_commit(sysroot: System, tmp_path: Path) -> None:
    """Nothing is laid then: every machine of an image would have another package's key."""
    deep = Deb("deep", "1.0", scripts={"postinst": """
[ -d /usr/share/seen ] || { mkdir /usr/share/seen; exit 0; }
mkdir /etc/deep
cd /etc/deep
for n in $(seq 140); do mkdir d; cd d; done
"""})  # fmt: skip
    with sysroot.unchanged():
        failure = sysroot.run("install", deb().build(tmp_path), deep.build(tmp_path), status=1).failure
    assert failure.brief.startswith("cannot tell which files are the machine's own: ")
    assert failure.detail.startswith("/etc/deep/d/d/")


def test_a_key_that_another_package_gave_to_a_user_is_that_users(sysroot: System, tmp_path: Path) -> None:
    """Only the script of the package that made it runs at a boot: the key would be for everybody's eyes."""
    maker = Deb("maker", "1.0", scripts={"postinst": """
[ -e /etc/shared-key ] || cat /proc/sys/kernel/random/uuid >/etc/shared-key
"""})  # fmt: skip
    giver = Deb("giver", "1.0", control="Depends: maker\n", scripts={"postinst": """
chown games:users /etc/shared-key
chmod 0640 /etc/shared-key
"""})  # fmt: skip
    sysroot.install(str(maker.build(tmp_path)), str(giver.build(tmp_path)))
    (file,) = (sysroot.deployment() / "usr/lib/apt-ostree/identity.d").glob("layer*")
    assert file.read_text() == "maker:all shared-key 0640:games:users\n"
    assert boot(sysroot) == ""
    status = (sysroot.deployment() / "etc/shared-key").stat()
    assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (0o640, 5, 100)


def test_what_an_image_leaves_to_the_machine_in_var_is_made_there_once(sysroot: System, files: list[str]) -> None:
    """A program may remove it: it does not come back. Where tmpfiles.d makes an empty directory, it is made, too."""
    sysroot.install(files[0])
    ours = sysroot.deployment() / "usr/lib/apt-ostree"
    (ours / "identity.d/image").write_text("own:all /var/lib/own\nown:all /var/lib/none\nown:all /var/lib/..\n")
    for place in (ours / "seeds.d").iterdir():
        kept = [line for line in place.read_text().splitlines() if not line.startswith("lib/own")]
        place.unlink()
        place.write_text("".join(f"{line}\n" for line in kept))
    (sysroot.var / "lib/own").mkdir(parents=True)
    said = boot(sysroot)
    assert said == "<3>/var/lib/none could not be made: the script of own:all did not make it\n"
    state = sysroot.var / "lib/own/state"
    first = state.read_text()
    assert (sysroot.var / "lib/apt-ostree/made").read_text() == "lib/own\n"
    boot(sysroot)
    assert state.read_text() == first
    shutil.rmtree(state.parent)
    boot(sysroot)
    assert not state.exists()
    # It is no file of /etc, and not kept beside those.
    assert sorted(path.name for path in (sysroot.var / "lib/apt-ostree/identity").iterdir()) == ["own"]
