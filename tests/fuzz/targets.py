"""Every parser of foreign bytes, with real inputs to begin with."""

from __future__ import annotations

import contextlib
import io
import json
import stat
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

from apt_ostree import changes
from apt_ostree.cli import jsonpath
from apt_ostree.errors import AptOstreeError
from apt_ostree.host import acl, cgroup, mounts, proc
from apt_ostree.host.door import Tree
from apt_ostree.inputs import config, debconf, hostfile, kargs, manifest, requests
from apt_ostree.layering import cache, hollow, importing
from apt_ostree.layering.status import Status
from apt_ostree.model import CommitInfo, LocalPackage
from apt_ostree.ops import available, history, query
from apt_ostree.ops.transaction import Settings
from apt_ostree.sandbox import unpacking
from apt_ostree.system import boot_counts, journal, lock, metadata, origin, remote, staged, sysroot
from apt_ostree.tools import apt, apt_failures, apt_settings, apt_sources, commit_object, deb, dpkg, gvariant, objects
from apt_ostree.tree import changelog, state, subids, users
from tests.unit.fake import BOOTCSUM, Fake, commit
from tests.unit.repository import dirtree, filez, numbers

from .engine import Target

SHA256 = "ab" * 32
REPOSITORY = Path(__file__).parents[2]


def text(parse: Callable[[str], object]) -> Callable[[bytes], object]:
    """A parser of text, as files are read everywhere."""
    return lambda data: parse(data.decode(errors="surrogateescape"))


def drained(parse: Callable[[str], object]) -> Callable[[bytes], object]:
    """The same of one that gives its values one by one."""
    return text(lambda found: list(parse(found)))  # type: ignore[call-overload]


def file(read: Callable[[Path], object], name: str) -> Callable[[bytes], object]:
    """A reader of a file of that name below a directory."""

    def parse(data: bytes) -> object:
        with tempfile.TemporaryDirectory() as scratch:
            place = Path(scratch) / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
            return read(Path(scratch))

    return parse


ENTRY = json.dumps(
    {
        "schema": 1, "id": "20260101T000000Z-1", "pid": 1, "uid": 0, "command": ["apt-ostree", "install", "vim"],
        "begun": "2026-01-01T00:00:00.000+00:00", "state": "done", "ended": "2026-01-01T00:00:01.000+00:00",
        "phases": [{"name": "lock", "begun": "2026-01-01T00:00:00.000+00:00"}], "old": f"debian-{'a' * 64}.0",
        "new": None,
        "change": {
            "added": [{"name": "vim", "version": "2:9", "architecture": "amd64"}], "removed": [],
            "changed": [[{"name": "a", "version": v, "architecture": "all"} for v in ("1", "2")]],
        },
        "error": "",
    }
).encode()  # fmt: skip

HOLDER = json.dumps(
    {
        "pid": 7,
        "ticks": 12,
        "worker": [8, 13],
        "started": "2026-01-01T00:00:00+00:00",
        "command": ["apt-ostree"],
        "id": "x",
    }
).encode()

ORIGIN = (
    b"[origin]\nbaserefspec=debian:debian/13/x86_64/minimal\noverride-commit=\n\n[packages]\nrequested=vim;jq=1.7;\n"
    b"requested-local=" + b"a" * 64 + b":foo_1.0_amd64;\nrecommends=true\n\n[overrides]\nremove=less;\nreplace=a=1;\n\n"
    b"[apt-ostree]\nregenerate-initramfs=true\ninitramfs-args=-I;\ninitramfs-etc=/etc/x;\n\n[libostree-transient]\npinned=true\n"
)

STATUS = (
    b"Package: dpkg\nStatus: install ok installed\nEssential: yes\nVersion: 1.22.21\nArchitecture: amd64\n"
    b"Conffiles:\n /etc/a 0123\n /etc/b 4567\nDescription: a\n b\n\nPackage: x\nStatus: deinstall ok config-files\n"
    b"Version: 1\nArchitecture: all\n\n"
)

COMMIT = commit(
    "{'version': <'13.1'>, 'ostree.bootable': <true>, 'apt-ostree.lock': <'[[\"vim\", \"1\"]]'>, "
    "'apt-ostree.lock.1': <'x'>, 'n': <uint64 7>}",
    subject="'subject'",
)

DIRECTORY = dirtree([(b"a", "a" * 64), (b"b" * 250, "b" * 64)], [(b"d", "c" * 64, "d" * 64)])

SIMULATION = (
    b"Note, selecting 'exim4' instead of 'mail-transport-agent'\n"
    b"Remv less [590-2]\nInst vim [1] (2:9.1 Debian:13.1/stable [amd64])\nConf vim (2:9.1 Debian:13.1/stable [amd64])\n"
)

PASSWD = b"root:x:0:0:root:/root:/bin/bash\nx:x:101:102:a,b:/home/x:/bin/sh\n"
GROUP = b"root:x:0:\nx:x:102:root,x\n"

CHANGELOG = (
    b"vim (2:9.1-1) unstable; urgency=medium\n\n  * New.\n\n -- A <a@example.org>  Thu, 01 Jan 2026 00:00:00 +0000\n\n"
    b"vim (2:9.0-1) unstable; urgency=medium\n\n  * Old.\n\n -- A <a@example.org>  Wed, 01 Jan 2025 00:00:00 +0000\n"
)

CHANGE = json.dumps(json.loads(ENTRY)["change"]).encode()


def _accounts(found: str) -> object:
    accounts = users.parse(found, found)
    return users.numbers(accounts), users.sysusers(accounts, users.parse("", ""))


def _intent(found: str) -> object:
    parsed = origin.parse(found)
    return (
        origin.intent(parsed), origin.refspec(parsed), origin.pinned(parsed), origin.has_pin(parsed),
        origin.parse(origin.render(origin.with_intent(parsed, origin.intent(parsed)))),
    )  # fmt: skip


STAGED = bytes.fromhex(
    "6b61726773000000727700613d226220632200030b006173060000000000000074617267657400006e616d65000000006162632e3000007305"
    "000000000000006f736e616d65000064656269616e00007307000000000000626f6f746373756d000000000000000064656600007309112a47"
    "00617b73767d07000000000000006c6f636b656400000100620719798c"
)
"""{'kargs': <['rw', 'a="b c"']>, 'target': <{'name': <'abc.0'>, 'osname': <'debian'>, …}>, 'locked': <true>}"""

BOOTED = bytes.fromhex(
    "6261636b696e672d726f6f742d6465766963652d696e6f6465000000000000000100000000000000020000000000000000287474291a36"
)
"""{'backing-root-device-inode': <(uint64 1, uint64 2)>}"""

LISTS = b'{"sources": "abc", "time": 1767225600.5}'

UPDATE = json.dumps(
    {
        "basis": "a" * 64, "base-checksum": "b" * 64, "origin": "debian:x", "checked": 1767225600, "checksum": "c" * 64,
        "version": "13.2", "timestamp": 1767225600, "difference": json.loads(CHANGE), "layered": json.loads(CHANGE),
    }
).encode()  # fmt: skip

METADATA: dict[str, str] = {
    metadata.LOCK: '[["vim", "2:9", "amd64", "abcdef", 7, 8, "Debian:13/stable"]]',
    metadata.PACKAGES: '[["vim", "2:9", "amd64"]]',
    metadata.REQUESTS: '["vim"]',
    metadata.REPLACED: '[[["a", "1", "all"], ["a", "2", "all"]]]',
    metadata.KERNEL_ARGUMENTS: '["quiet", "a=\\"b c\\""]',
    metadata.UID: "1000",
    metadata.VERSION: "13.1",
}

INDEX = json.dumps(
    {
        "importer": cache.IMPORTER, "package": ["vim", "2:9", "amd64"], "size": 7, "control": "Package: vim\n",
        "sizes": [0, 0], "objects": {"a" * 64: [33188, 0, 0]}, "control-files": ["control"],
    }
).encode()  # fmt: skip

CONTROL = b"Package: vim\nVersion: 2:9.1-1\nArchitecture: amd64\nInstalled-Size: 12\nDescription: an editor\n of text\n"

SOURCES = (
    b"deb [arch=amd64 signed-by=/usr/share/keyrings/a.gpg,/b.asc] https://example.org/debian trixie main\n",
    b"Types: deb\nURIs: https://example.org\nSuites: trixie\nComponents: main\nSigned-By: /a.gpg\n /b.gpg\n",
)

DPKG = (
    b"processing: configure: x\nstatus: x: half-configured\nstatus: /run/x_1_all.deb : error : new x package "
    b"pre-installation script subprocess was killed by signal (Killed), core dumped\n"
)

UNMET = b"The following packages have unmet dependencies:\n a : Depends: b (>= 2) but 1 is to be installed\n"


def _metadata(data: bytes) -> object:
    """Every value that a commit's metadata can have, with every reader of it."""
    text = data.decode(errors="surrogateescape")
    readers = (
        metadata.lock, metadata.packages, metadata.requests, metadata.left_out, metadata.removed, metadata.replaced,
        metadata.kernel_arguments, metadata.kernel, metadata.command, metadata.uid, metadata.is_layer,
        metadata.version,
    )  # fmt: skip
    info = CommitInfo("c" * 64, None, 0, "", dict.fromkeys((*METADATA, metadata.LEFT_OUT, metadata.REMOVED), text))
    for reader in readers:
        with contextlib.suppress(AptOstreeError):
            reader(info)
    return None


def _index(top: Path) -> object:
    for name in (cache.HOLLOW, "paths"):
        (top / "pkgs" / SHA256 / name).touch()
    found = cache.load(top, SHA256)
    return None if found is None else (found.paths(), found.fields, found.solved())


def _control(data: bytes) -> object:
    """A control archive whose control file, conffiles and md5sums others wrote."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:") as tar:
        for name in ("control", "conffiles"):
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    deb.conffiles(deb.control_files(archive.getvalue()))
    return deb.control(archive.getvalue(), "x.deb")


def _members(data: bytes) -> object:
    """The members of a data archive, which are as a process without rights tells of them: one a line."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:", format=tarfile.GNU_FORMAT, encoding="utf-8") as tar:
        for line in data.split(b"\n"):
            found = json.loads(line)
            if isinstance(found, dict):
                member = unpacking._member(found, "x").header()
                member.size = 0
                tar.addfile(member, io.BytesIO())
    archive.seek(0)
    with tarfile.open(fileobj=archive, mode="r:", encoding="utf-8") as plain:
        members = importing._members(plain, "x")
        return deb.with_md5sums(_EMPTY, plain, members)


def _empty() -> bytes:
    archive = io.BytesIO()
    tarfile.open(fileobj=archive, mode="w:").close()
    return archive.getvalue()


_EMPTY = _empty()


def _dpkg(top: Path) -> object:
    """A tree whose database others wrote: the same bytes for each of its files."""
    place = top / dpkg.DATABASES[0]
    data = (place / "status").read_bytes()
    (place / "info").mkdir()
    for name in ("arch", "diversions", "info/dpkg.list", "info/dpkg.postinst"):
        (place / name).write_bytes(data)
    packages = [entry.package for entry in dpkg.installed(top)]

    def info(name: str) -> str | None:
        return Tree(top).text(f"{dpkg.DATABASES[0]}/info/{name}")

    for package in packages[:2]:
        dpkg.file_list(info, package)
        dpkg.scripts(info, package)
    return dpkg.diverted(top), dpkg.architectures(top, packages)


def _system(name: str) -> Callable[[bytes], object]:
    """``status`` and ``history`` of a sysroot with one file that others wrote."""

    def parse(data: bytes) -> object:
        with tempfile.TemporaryDirectory() as scratch:
            fake = Fake(Path(scratch) / "sysroot")
            fake.deploy("a" * 64, "2")
            fake.deploy("b" * 64, "1")
            place = fake.path / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
            for ask in (query.status, lambda path: history.history(Settings(path), None)):
                with contextlib.suppress(AptOstreeError):
                    ask(fake.path)
        return None

    return parse


def _failure(found: str) -> object:
    failed = proc.Result(("apt-get",), 100, found, found)
    return apt_failures.unmet(failed), apt_failures.said(failed)


def _dpkg_says(found: str) -> object:
    status = Status({"x"})
    for line in found.split("\n"):
        status.take(line)
    return status.doing, status.failure


def _account_files(found: str) -> object:
    moves = users.Moves({101: 102}, {102: 103})
    return (
        users.renumber_passwd(found, moves), users.renumber_group(found, moves), users.date_shadow(found, "", 1),
        subids.parse(found),
    )  # fmt: skip


def _choices(found: str) -> object:
    after = users.parse(found, found)
    return users.choose_numbers(after, users.parse("", ""), users.Reserved(users.numbers(after), {"subuid": found}))


def _remotes(top: Path) -> object:
    return remote.read(top)


def _seeds(top: Path) -> object:
    (top / state.SYSIMAGE / "dpkg").mkdir(parents=True, exist_ok=True)
    state.populate(top, top / "var")
    return None


def _toml(parse: Callable[[str, Path], object]) -> Callable[[bytes], object]:
    return text(lambda found: parse(found, Path("/nowhere/x.toml")))


def _member(data: bytes) -> object:
    found = json.loads(data)
    return unpacking._member(found, "x") if isinstance(found, dict) else None


SYSTEM = {
    "boots": (f"ostree/deploy/debian/{boot_counts.PLACE}", b"debian-aaa.0 1234\n"),
    "config": ("ostree/repo/config", b"[core]\nrepo_version=1\nmode=bare\n\n[sysroot]\nbootloader=none\n"),
    "entry": ("boot/loader/entries/ostree-2-debian.conf",
              b"title x\nversion 2\noptions a=b ostree=/ostree/boot.1/debian/" + BOOTCSUM.encode() + b"/0\nlinux /x\n"),
    "holder": ("ostree/apt-ostree.lock", HOLDER),
    "journal": (f"ostree/deploy/debian/{journal.PLACE}/20260101T000000Z-1.json", ENTRY),
    "origin": (f"ostree/deploy/debian/deploy/{'a' * 64}.0.origin", ORIGIN),
    "update": (f"ostree/deploy/debian/{available.NOTE}", UPDATE),
}  # fmt: skip
"""Files of a sysroot."""


TARGETS = (
    Target("acl", lambda data: acl.renumber(data, {1: 2}, {3: 4}), (bytes.fromhex("0200000001000600ffffffff"),)),
    Target("apt-settings", text(lambda found: apt_settings.taken_over(apt_settings.read([found]))),
           (b'Acquire::http::Proxy "http://x/"; A { B "c"; };\n#clear A;\n// x\n/* y */\n',),
           (apt_settings.SyntaxProblem,)),
    Target("account-files", text(_account_files), (PASSWD, GROUP, b"x:!:19000:0:99999:7:::\n")),
    Target("account-numbers", text(_choices), (PASSWD, GROUP)),
    Target("account-record", file(users.read_record, users.RECORD), (b"u x 101\ng x 102\n",)),
    Target("apt-failure", text(_failure), (UNMET, b"E: Unable to locate package x\nW: y\n")),
    Target("apt-lists", file(apt.read_stamp, apt.STAMP), (LISTS,)),
    Target("apt-simulation", text(apt.parse_simulation), (SIMULATION,)),
    Target("apt-lines", text(lambda found: apt_sources.render(apt_sources.read(found, deb822=False))),
           (*SOURCES, b'deb [arch=a signed-by="/b"] https://x/%20 y main # c\n'), (apt_sources.SyntaxProblem,)),
    Target("apt-mirrors", text(apt_sources.read_mirrors),
           (b"# c\nhttp://u:p@x:8/y/\tpriority:1 arch:amd64\r\nfile:/srv\n",), (apt_sources.SyntaxProblem,)),
    Target("apt-stanzas", text(lambda found: apt_sources.render(apt_sources.read(found, deb822=True))),
           (*SOURCES, b"Types: deb\nURIs: file:/y\nSuites: z\n# c\nComponents: a\n b\nSigned-By : /c\n"),
           (apt_sources.SyntaxProblem,)),
    Target("booted-root", file(lambda top: staged.booted_root(top / "note", top), "note"), (BOOTED, b"")),
    Target("boots", text(boot_counts.parse), (b"debian-aaa.0 1234\ndebian-aaa.0 1235\n",)),
    Target("cache-index", file(_index, f"pkgs/{SHA256}/index.json"), (INDEX,)),
    Target("cgroup-mounts", text(lambda found: cgroup._hierarchy(found, "pids")),
           (b"cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\ncgroup /sys/fs/cgroup/pids cgroup rw,pids 0 0\n",)),
    Target("changelog", drained(changelog.parse), (CHANGELOG,)),
    Target("changelog-newer", text(lambda found: changelog.newer(found, "2:9.0-1")), (CHANGELOG,)),
    Target("change", lambda data: changes.read(json.loads(data)), (CHANGE,),
           (KeyError, TypeError, ValueError, AttributeError, RecursionError)),
    Target("commit", lambda data: commit_object.parse("a" * 64, data), (COMMIT,)),
    Target("config", _toml(config.parse), (b"deployments = 3\nrecommends = false\nwait = 7\nscript-time = 9\n",)),
    Target("control", _control, (CONTROL,)),
    Target("debconf", text(lambda found: debconf.normalize(found, "x")),
           (b"a a/b string c\n# x\nd d/e boolean \\\n true\n",)),
    Target("dpkg-database", file(_dpkg, f"{dpkg.DATABASES[0]}/status"), (STATUS,)),
    Target("dpkg-says", text(_dpkg_says), (DPKG,)),
    Target("dpkg-stanzas", drained(dpkg.parse_stanzas), (STATUS,)),
    Target("dpkg-status", text(dpkg.parse_status), (STATUS,)),
    Target("gvariant", lambda data: gvariant.dictionary(data), (bytes.fromhex("6b657900000000007900730400"),),
           (ValueError, IndexError)),
    Target("host-file", _toml(hostfile.parse), ((REPOSITORY / "docs/apply.md").read_bytes(),
           b'packages = ["vim"]\n[overrides]\nremove = ["less"]\n[kernel-args]\npresent = ["a=b"]\n')),
    Target("journal", text(lambda found: journal.parse("20260101T000000Z-1", found)), (ENTRY,), ()),
    Target("jsonpath", text(lambda found: jsonpath.select({"a": [{"b": 1}]}, found)), (b"$.a[0].b", b"$..b")),
    Target("kargs", text(lambda found: kargs.split(found)), (b'a b=c d="e f" ostree=/x',)),
    Target("kargs-by-hand", text(kargs.edited), (b"# x\nquiet a=\"b c\"\n",)),
    Target("loader-entry", text(sysroot.parse_entry),
           (b"title x\nversion 1\noptions a=b ostree=/ostree/boot.1/d/c/0\n",)),
    Target("local-package", text(LocalPackage.parse), (b"a" * 64 + b":x_1_all",), (ValueError,)),
    Target("lock", lock.parse, (HOLDER,), ()),
    Target("manifest", _toml(manifest.parse),
           tuple(path.read_bytes() for path in sorted((REPOSITORY / "examples").glob("*.toml")))),
    Target("marker", hollow.read_marker, (hollow.marker("a" * 64),), ()),
    Target("member", _member, (json.dumps({
        "name": "./usr/x", "kind": "file", "mode": 0o644, "owner": [0, 0, "root", "root"], "time": 1, "size": 2,
        "target": "",
    }).encode(),), (ValueError, RecursionError, AptOstreeError)),
    Target("members", _members, (json.dumps({
        "name": "./usr/x", "kind": "file", "mode": 0o644, "owner": [0, 0, "root", "root"], "time": 1, "size": 2,
        "target": "",
    }).encode() + b"\n" + json.dumps({
        "name": "./usr/y", "kind": "hard link", "mode": 0o644, "owner": [0, 0, "root", "root"], "time": 1, "size": 0,
        "target": "./usr/x",
    }).encode(),), (ValueError, RecursionError, AptOstreeError)),
    Target("metadata", _metadata, tuple(value.encode() for value in METADATA.values()), ()),
    Target("mounts", lambda data: (mounts.parse_points(data), mounts.kind_of("/mnt/c/d", data)),
           (b"36 35 98:0 /a\\040b /mnt/c\\012d rw,noatime master:1 - ext4 /dev/root rw\n",), ()),
    Target("object-directory", objects.parse_directory, (DIRECTORY,), (ValueError,)),
    Target("object-file", objects.parse_header, (filez(b"", stat.S_IFLNK | 0o777, "target")[8:],), (ValueError,)),
    Target("object-permissions", lambda data: objects.parse_permissions(data, (stat.S_IFDIR,)),
           (numbers(stat.S_IFDIR | 0o755),), (ValueError,)),
    Target("origin", text(_intent), (ORIGIN,)),
    Target("pull-progress", text(remote.parse_progress), (b"Receiving objects: 3% (1/25) 1.2 MB/s 3.4 MB\n",), ()),
    Target("refspec", text(remote.parse), (b"debian:debian/13/x86_64/minimal", b"ostree://a:b", b"a" * 64)),
    Target("remotes", file(_remotes, "config"), (b'[core]\nrepo_version=1\n\n[remote "debian"]\nurl=https://example.org\n',)),
    Target("request", text(requests.parse_expression), (b"vim:amd64=2:9.1", b"vim/testing")),
    Target("seeds", file(_seeds, "usr/lib/apt-ostree/seeds.d/base"), (b"lib/x\nlib/x/y\\040z\n",)),
    Target("staged", file(lambda top: staged.read(top / "note", top / "lock"), "note"), (STAGED,)),
    *(Target(f"system-{name}", _system(place), (seed,), ()) for name, (place, seed) in SYSTEM.items()),
    Target("subids", text(lambda found: subids.allot(found, "", found)), (b"x:100000:65536\ny:165536:65536\n",)),
    Target("tmpfiles", file(_seeds, "usr/lib/tmpfiles.d/00-apt-ostree-base.conf"),
           (b"d /var/lib/x :0755 :0 :0\nd \"/var/lib/a \\\\ b%%\" :0755 :0 :0\nL+ /var/lib/y - - - - ../../usr/z\n",)),
    Target("update", available.parse, (UPDATE,), ()),
    Target("users", text(_accounts), (PASSWD, GROUP)),
)  # fmt: skip
