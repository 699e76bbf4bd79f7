"""/var, /opt and /usr/local of a layer: what is there after a boot, and after the next."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from apt_ostree.tools import ostree
from apt_ostree.tree import apparmor, layout, tmpfiles, units
from apt_ostree.tree.view import View
from tests.archive import WITH_TOOLS, Deb, small_base, unpack_base
from tests.integration.boot import boot
from tests.integration.system import REPOSITORY, STATEROOT, System, listing, output, run_cli

POSTINST = """
if [ "$1" = configure ]; then
    getent passwd keeper >/dev/null || useradd --system --user-group --no-create-home --home-dir /nonexistent keeper
    cd /var/lib/keeper
    mkdir -p made/deep "odd dir"
    echo state >made/deep/state
    : >made/empty
    mkdir -p -m 1730 /var/spool/keeper
    mkdir -p /var/spool/keeper/inner /var/cache/keeper-own/root/own
    chown keeper /var/cache/keeper-own /var/cache/keeper-own/root/own
    echo deep >/var/spool/keeper/inner/file
    ln -sfn deep made/link
    echo odd >"odd dir/50% of \\$HOME\\" '"
    chown -R keeper:keeper made
    chmod 2750 made/deep
    chmod 0640 made/deep/state
fi
"""


def keeper(version: str, **more: str) -> Deb:
    """A package with state in /var, in /opt and in /usr/local."""
    return Deb(
        "keeper",
        version=version,
        control="Depends: passwd\n",
        files={
            "/var/lib/keeper/shipped": f"shipped {version}\n",
            "/var/cache/keeper/nested/very/deep": "deep\n",
            "/opt/keeper/bin/keeper": f"#!/bin/sh\necho {version}\n",
            "/usr/local/bin/keeper-local": f"#!/bin/sh\necho {version}\n",
            f"/usr/local/bin/keeper-{version}": f"#!/bin/sh\necho {version}\n",
            **more,
        },
        links={"/usr/local/bin/keeper-newest": f"keeper-{version}"},
        scripts={"postinst": POSTINST},
    )


def systemd_of(suite: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with the systemd of one Debian release."""
    root = tmp_path_factory.mktemp(f"systemd-{suite}") / "root"
    unpack_base(small_base(REPOSITORY / "build", suite, more=WITH_TOOLS), root)
    return root


@pytest.fixture(scope="module")
def systemd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return systemd_of("trixie", tmp_path_factory)


# The same with the older systemd, for which a base has to be made.
@pytest.fixture(scope="module", params=[pytest.param("bookworm", marks=pytest.mark.slow), "trixie"])
def each_systemd(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return systemd_of(request.param, tmp_path_factory)


@pytest.fixture
def installed(sysroot: System, tmp_path: Path) -> Iterator[System]:
    sysroot.install(os.fspath(keeper("1.0").build(tmp_path)))
    yield sysroot


def facts(path: Path) -> tuple[int, int, int]:
    status = path.lstat()
    return stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid


def test_the_first_boot_makes_what_the_package_and_its_scripts_made(installed: System, each_systemd: Path) -> None:
    boot(installed, each_systemd)
    place = installed.var / "lib/keeper"
    passwd = (installed.deployment() / "etc/passwd").read_text()
    uid = int(next(line.split(":")[2] for line in passwd.splitlines() if line.startswith("keeper:")))
    assert (place / "shipped").read_text() == "shipped 1.0\n"
    assert facts(place / "made/deep") == (0o2750, uid, uid)
    assert facts(place / "made/deep/state") == (0o640, uid, uid)
    assert (place / "made/empty").stat().st_size == 0
    assert os.readlink(place / "made/link") == "deep"
    assert (place / "odd dir/50% of $HOME\" '").read_text() == "odd\n"
    assert (installed.var / "cache/keeper/nested/very/deep").read_text() == "deep\n"
    assert facts(place / "shipped") == (0o644, 0, 0)
    assert facts(installed.var / "spool/keeper") == (0o1730, 0, 0)
    # systemd-tmpfiles would not go through it.
    assert facts(installed.var / "cache/keeper-own/root/own") == (0o755, uid, 0)


def test_systemd_reads_a_directory_s_name_as_it_is(tmp_path: Path) -> None:
    names = ["spool/Mullvad VPN", 'spool/50% of "x" it\'s', "spool/back\\slash", "spool/\\040", "spool/\u2028"]
    lines = [line for name in names if (line := tmpfiles.directory(name, 0o1730, os.getuid(), os.getgid()))]
    (tmp_path / "usr/lib/tmpfiles.d").mkdir(parents=True)
    (tmp_path / "usr/lib/tmpfiles.d/x.conf").write_text("".join(f"{line}\n" for line in lines))
    output("systemd-tmpfiles", f"--root={tmp_path}", "--create", "x.conf")
    assert sorted(f"spool/{name}" for name in os.listdir(tmp_path / "var/spool")) == sorted(names)
    assert facts(tmp_path / "var" / names[0])[0] == 0o1730


def test_a_second_boot_changes_nothing(installed: System, systemd: Path) -> None:
    boot(installed, systemd)
    before = listing(installed.var), listing(installed.deployment() / "etc")
    assert boot(installed, systemd) == ""
    assert (listing(installed.var), listing(installed.deployment() / "etc")) == before


def test_state_that_is_there_is_not_overwritten_and_what_was_deleted_stays_away(
    installed: System, systemd: Path, tmp_path: Path
) -> None:
    boot(installed, systemd)
    place = installed.var / "lib/keeper"
    (place / "shipped").write_text("the program's own\n")
    (place / "made/empty").unlink()
    later = keeper("2.0", **{"/var/lib/keeper/later": "new in 2.0\n"}).build(tmp_path)
    installed.install(os.fspath(later))
    boot(installed, systemd)
    assert (place / "shipped").read_text() == "the program's own\n"
    assert not (place / "made/empty").exists()
    assert (place / "later").read_text() == "new in 2.0\n"
    assert boot(installed, systemd) == ""


def test_state_from_before_the_package_stays(sysroot: System, systemd: Path, tmp_path: Path) -> None:
    place = sysroot.var / "lib/keeper"
    place.mkdir(parents=True)
    (place / "shipped").write_text("from a backup\n")
    sysroot.install(os.fspath(keeper("1.0").build(tmp_path)))
    boot(sysroot, systemd)
    assert (place / "shipped").read_text() == "from a backup\n"


def test_a_link_that_a_program_planted_is_not_followed(installed: System, systemd: Path, tmp_path: Path) -> None:
    boot(installed, systemd)
    outside = tmp_path / "outside"
    outside.mkdir()
    made = installed.var / "lib/keeper/made"
    made.rename(tmp_path / "away")
    made.symlink_to(outside)
    script = keeper("2.0").scripts["postinst"].replace(": >made/empty", ": >made/empty; : >made/planted")
    later = Deb("keeper", version="2.0", files=keeper("2.0").files, scripts={"postinst": script})
    installed.install(os.fspath(later.build(tmp_path)))
    boot(installed, systemd)
    assert list(outside.iterdir()) == []


def test_what_the_machine_has_over_opt_and_usr_local_gives_way_to_the_deployment(
    installed: System, systemd: Path, tmp_path: Path
) -> None:
    boot(installed, systemd)
    places = installed.var / "lib/apt-ostree/overlays"
    local, opt = places / "usr-local/upper", places / "opt/upper"

    def edit() -> None:
        """As overlayfs does it: a whole copy."""
        (local / "bin").mkdir(exist_ok=True)
        for name in ("keeper-local", "mine"):
            (local / "bin" / name).write_text("mine\n")
        (opt / "keeper/bin").mkdir(parents=True, exist_ok=True)
        (opt / "keeper/bin/mine").write_text("mine\n")

    changes = {"2.0": ["install", os.fspath(keeper("2.0").build(tmp_path))], "1.0": ["rollback"]}
    for version, words in changes.items():
        edit()
        boot(installed, systemd)
        assert sorted(path.name for path in (local / "bin").iterdir()) == ["keeper-local", "mine"]
        installed.run(*words)
        boot(installed, systemd)
        tree = installed.deployment()
        assert (tree / "usr/local/bin/keeper-newest").read_text() == f"#!/bin/sh\necho {version}\n"
        assert (tree / "opt/keeper/bin/keeper").read_text() == f"#!/bin/sh\necho {version}\n"
        assert [path.name for path in (local / "bin").iterdir()] == ["mine"]
    edit()
    installed.run("uninstall", "--all")
    boot(installed, systemd)
    assert not (installed.deployment() / "opt/keeper").exists()
    assert [path.name for path in (local / "bin").iterdir()] == ["mine"]
    assert (opt / "keeper/bin/mine").read_text() == "mine\n"


def test_a_base_whose_opt_and_usr_local_lead_into_var_keeps_them(
    sysroot: System, systemd: Path, tmp_path: Path
) -> None:
    """The layout of most trees of OSTree: what packages put there is content of /var."""
    tree = tmp_path / "tree"
    output("ostree", "checkout", f"--repo={sysroot.repo}", "--require-hardlinks", sysroot.base.commit, tree)
    for name, target in (("opt", "var/opt"), ("usr/local", "../var/usrlocal")):
        shutil.rmtree(tree / name)
        (tree / name).symlink_to(target)
    description = ostree.Description(metadata={"ostree.bootable": "true", "ostree.linux": "0.0"})
    ostree.commit(sysroot.repo, "links", [f"dir={tree}"], description)
    run_cli("compose", "sysroot", "--repo", sysroot.repo, "--stateroot", STATEROOT, "links", tmp_path / "machine")
    machine = System(tmp_path / "machine", sysroot.base)
    machine.install(os.fspath(keeper("1.0").build(tmp_path)))
    assert os.readlink(machine.deployment() / "opt") == "var/opt"
    boot(machine, systemd)
    assert (machine.var / "opt/keeper/bin/keeper").read_text() == "#!/bin/sh\necho 1.0\n"
    assert (machine.var / "usrlocal/bin/keeper-newest").read_text() == "#!/bin/sh\necho 1.0\n"
    assert list((machine.var / "lib/apt-ostree/overlays").iterdir()) == []


def test_a_relative_link_leads_where_its_package_meant(sysroot: System, tmp_path: Path) -> None:
    deb = Deb("related", files={"/usr/lib/x/t": "tool\n"}, links={"/usr/local/bin/t": "../../lib/x/t"})
    sysroot.install(os.fspath(deb.build(tmp_path)))
    assert (sysroot.deployment() / "usr/local/bin/t").read_text() == "tool\n"


def test_a_directory_at_the_top_is_in_var_unless_it_has_files_of_packages(
    sysroot: System, systemd: Path, tmp_path: Path
) -> None:
    script = "mkdir -p /data/db; chmod 1777 /data; mkdir -p /snap /var/snap"
    deb = Deb("tops", files={"/nix/store/file": "nix\n"}, scripts={"postinst": script})
    sysroot.install(os.fspath(deb.build(tmp_path)))
    boot(sysroot, systemd)
    tree = sysroot.deployment()
    assert [os.readlink(tree / name) for name in ("data", "snap")] == ["var/data", "var/top-snap"]
    assert facts(sysroot.var / "data") == (0o1777, 0, 0)
    assert (sysroot.var / "data/db").is_dir()
    assert (sysroot.var / "top-snap").is_dir()
    assert (tree / "nix/store/file").read_text() == "nix\n"
    # The next layer's packages find the same.
    later = Deb("later", scripts={"postinst": "touch /data/db/later\n"})
    sysroot.install(os.fspath(later.build(tmp_path)))
    assert os.readlink(sysroot.deployment() / "data") == "var/data"
    boot(sysroot, systemd)
    assert (sysroot.var / "data/db/later").exists()


_PROFILE = """include <tunables/global>
profile tool /usr/bin/tool {
  owner @{HOME}/** w,
  /srv/** r,
  deny /home/*/secret r,
}
"""


def test_rules_of_apparmor_are_about_the_paths_that_the_tree_s_links_lead_to(each_systemd: Path) -> None:
    place = each_systemd / "etc/apparmor.d/tunables/home.d/apt-ostree"
    (each_systemd / "tmp/profile").write_text(_PROFILE)
    links = each_systemd.parent / "links"
    (links / "usr/etc/apparmor.d/tunables/home.d").mkdir(parents=True)
    for name, target in layout.LINKS.items():
        (links / name).symlink_to(target)
    apparmor.write(View([links]), links)
    shutil.copyfile(links / apparmor.PLACE, place)
    parser = ["apparmor_parser", "--skip-kernel-load", "--skip-cache", "--dump=rule-exprs", "/tmp/profile"]
    done = subprocess.run(["chroot", each_systemd, *parser], check=True, capture_output=True, text=True)
    rules = done.stdout + done.stderr
    for path in ("/var/home/*", "/var/roothome", "/var/srv/**", "/var/home/*/secret"):
        assert path in rules.replace("{", ",").replace("}", ",").replace(" ", ",").replace("\n", ",").split(",")


def test_an_edited_etc_gets_the_package_s_user_and_keeps_its_own(
    sysroot: System, each_systemd: Path, tmp_path: Path
) -> None:
    etc = sysroot.deployment() / "etc"
    output("useradd", "--root", sysroot.deployment(), "--create-home", "--home-dir", "/var/home/alice", "alice")
    output("groupadd", "--root", sysroot.deployment(), "--system", "dockers")
    output("usermod", "--root", sysroot.deployment(), "-aG", "dockers", "alice")
    mine = {name: (etc / name).read_text().splitlines() for name in ("passwd", "group", "shadow", "gshadow", "subuid")}
    sysroot.install(os.fspath(keeper("1.0").build(tmp_path)))
    boot(sysroot, each_systemd)
    etc = sysroot.deployment() / "etc"
    for name, lines in mine.items():
        assert (etc / name).read_text().splitlines()[: len(lines)] == lines, name
    for name in ("passwd", "group", "shadow", "gshadow"):
        assert [line for line in (etc / name).read_text().splitlines() if line.startswith("keeper:")], name


def test_a_file_that_a_link_of_the_base_leads_into_var_has_its_content(
    sysroot: System, systemd: Path, tmp_path: Path
) -> None:
    first = Deb("leads", files={"/var/lib/leads/x": "x\n"}, links={"/usr/share/leads": "/var/lib/leads"})
    second = Deb("led", control="Pre-Depends: leads\n", files={"/usr/share/leads/y": "through the link\n"})
    sysroot.install(*(os.fspath(deb.build(tmp_path)) for deb in (first, second)))
    boot(sysroot, systemd)
    assert (sysroot.var / "lib/leads/y").read_text() == "through the link\n"


def test_a_directory_inside_of_a_seed_leaves_the_seed_whole_for_the_next_layer(
    sysroot: System, systemd: Path, tmp_path: Path
) -> None:
    seed = Deb("seed", files={"/var/lib/seed/file": "file\n"})
    inside = Deb(
        "seed-user", control="Pre-Depends: seed\n", scripts={"postinst": "mkdir -p -m 700 /var/lib/seed/mine\n"}
    )
    looks = Deb("looks", control="Pre-Depends: seed-user\n", scripts={"postinst": "cat /var/lib/seed/file\n"})
    sysroot.install(*(os.fspath(deb.build(tmp_path)) for deb in (seed, inside, looks)))
    boot(sysroot, systemd)
    assert (sysroot.var / "lib/seed/file").read_text() == "file\n"
    assert facts(sysroot.var / "lib/seed/mine") == (0o700, 0, 0)


def test_the_state_of_dkms_rolls_back_with_its_modules_and_its_key_is_in_no_commit(
    sysroot: System, systemd: Path, tmp_path: Path
) -> None:
    script = (
        '[ "$(readlink -f /var/lib/dkms)" = /var/lib/dkms ]; '
        "mkdir -p /var/lib/dkms/module/1.0; cd /var/lib/dkms; echo key >mok.key; echo pub >mok.pub; : >module/1.0/x\n"
    )
    sysroot.install(os.fspath(Deb("module-dkms", scripts={"postinst": script}).build(tmp_path)))
    assert [line for line in sysroot.ls("/usr") if line.endswith("/module/1.0/x")]
    assert not [line for line in sysroot.ls("/") if "mok." in line]
    boot(sysroot, systemd)
    assert os.readlink(sysroot.var / "lib/dkms") == "../../usr/lib/sysimage/dkms"


def test_a_layer_brings_an_older_images_programs_up_to_date(sysroot: System, tmp_path: Path) -> None:
    stage = tmp_path / "older"
    place = stage / "usr/lib/apt-ostree/seed-var"
    place.parent.mkdir(parents=True)
    place.write_text("#!/bin/sh\nexit 1\n")
    description = ostree.Description(metadata={"ostree.bootable": "true", "ostree.linux": "0.0"})
    ostree.commit(sysroot.repo, "older", [f"ref={sysroot.base.commit}", f"dir={stage}"], description)
    run_cli("compose", "sysroot", "--repo", sysroot.repo, "--stateroot", STATEROOT, "older", tmp_path / "machine")
    machine = System(tmp_path / "machine", sysroot.base)
    machine.install("greeter")
    tree = machine.deployment()
    assert units.is_current(tree)
    assert (tree / "usr/lib/apt-ostree/seed-var").stat().st_mode & 0o777 == 0o755


def test_a_commit_with_content_in_var_is_refused(sysroot: System, tmp_path: Path) -> None:
    from apt_ostree.errors import TreeError
    from apt_ostree.tree import layout

    tree = tmp_path / "tree"
    (tree / "var/lib").mkdir(parents=True)
    commit = ostree.commit(
        sysroot.repo, "test/var", [f"ref={sysroot.base.commit}", f"dir={tree}"], ostree.Description()
    )
    with pytest.raises(TreeError, match="layout") as raised:
        layout.audit(sysroot.repo, commit)
    assert "/var is not empty: /var/lib" in f"{raised.value.detail}"


_VERIFY = """
mount -t tmpfs tmpfs "$1/run"
mount -t proc proc "$1/proc"
mount -t sysfs -o ro sysfs "$1/sys"
mkdir -p "$1/run/systemd/system/local-fs.target.requires"
cp -a "$2/usr/lib/systemd/system/." "$1/run/systemd/system"
printf '[Mount]\nWhat=/x\nWhere=/var\n' >"$1/run/systemd/system/var.mount"
ln -s ../var.mount "$1/run/systemd/system/local-fs.target.requires"
SYSTEMD_LOG_LEVEL=warning chroot "$1" systemd-analyze verify --man=no default.target local-fs.target 2>&1
"""


def test_the_units_wait_for_each_other_in_no_circle(systemd: Path, tmp_path: Path) -> None:
    units.write(tmp_path)
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-euc", _VERIFY, "sh", systemd, tmp_path],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert not [line for line in done.stdout.splitlines() if "cycle" in line or "apt-ostree" in line]


def web_application(version: str, more: str = "") -> Deb:
    """A web application in /var/www, which tells a tool beside it what it has."""
    return Deb(
        "webapp",
        version=version,
        control="Depends: indexer\n",
        files={
            "/var/www/app/index.php": f"{version}\n",
            "/var/www/app/lib.php": f"{version}\n",
            "/srv/app/data": f"{version}\n",
            f"/usr/share/indexed/webapp-{version}": "",
            **({more: ""} if more else {}),
        },
        scripts={"postinst": "[ -e /var/www/app/db ] || date +%N >/var/www/app/db\n"},
    )


# It is configured before what it is told of, as a base's would be.
INDEXER = Deb(
    "indexer",
    files={"/usr/share/indexed/indexer": ""},
    triggers="interest-noawait /usr/share/indexed\n",
    scripts={
        "postinst": """
            mkdir -p /var/lib/indexer /var/cache/indexer
            ls /usr/share/indexed >/var/lib/indexer/index
            { ls /usr/share/indexed; date +%N; } | tee /var/cache/indexer/index >/var/lib/indexer/index-with-date
            [ -e /var/lib/indexer/key ] || date +%N >/var/lib/indexer/key
            [ "$1" != configure ] || [ -e /var/lib/indexer/db ] || echo empty >/var/lib/indexer/db
        """
    },
)


def test_what_packages_and_triggers_have_in_var_follows_and_state_stays(
    sysroot: System, systemd: Path, tmp_path: Path
) -> None:
    debs = [INDEXER, web_application("1.0"), web_application("2.0", "/usr/share/indexed/more")]
    indexer, first, second = (os.fspath(deb.build(tmp_path)) for deb in debs)
    own = ("www/app/db", "lib/indexer/db", "lib/indexer/key")

    def found(names: tuple[str, ...]) -> dict[str, str]:
        return {name: (sysroot.var / name).read_text() for name in names if (sysroot.var / name).exists()}

    def check(version: str, indexed: list[str]) -> None:
        boot(sysroot, systemd)
        shipped = ("www/app/index.php", "www/app/lib.php", "srv/app/data")
        assert found(shipped) == dict.fromkeys(shipped, f"{version}\n")
        for name in ("lib/indexer/index", "lib/indexer/index-with-date", "cache/indexer/index"):
            assert (sysroot.var / name).read_text().splitlines()[: len(indexed)] == indexed, name

    assert "Running triggers again" in sysroot.install(indexer, first).stderr
    check("1.0", ["indexer", "webapp-1.0"])
    state = found(own)
    assert state.keys() == set(own)
    # Nothing runs here that could say which files are a trigger's.
    assert "Running triggers again" in sysroot.install(second).stderr
    (sysroot.var / "lib/indexer/db").write_text("written\n")
    check("2.0", ["indexer", "more", "webapp-2.0"])
    sysroot.run("rollback")
    check("1.0", ["indexer", "webapp-1.0"])
    sysroot.run("rollback")
    check("2.0", ["indexer", "more", "webapp-2.0"])
    sysroot.run("uninstall", "--all")
    boot(sysroot, systemd)
    assert found(own) == {**state, "lib/indexer/db": "written\n"}
    assert sorted(path.name for path in (sysroot.var / "lib/indexer").iterdir()) == ["db", "key"]
    assert [path.name for path in (sysroot.var / "www/app").iterdir()] == ["db"]
    assert not (sysroot.var / "srv/app").exists()
    assert not (sysroot.var / "cache/indexer").exists()
