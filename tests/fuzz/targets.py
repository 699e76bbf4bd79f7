"""Every parser of foreign bytes, with real inputs to begin with."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from apt_ostree import changes
from apt_ostree.cli import jsonpath
from apt_ostree.errors import AptOstreeError
from apt_ostree.host import acl
from apt_ostree.inputs import config, debconf, hostfile, kargs, manifest, requests
from apt_ostree.layering import hollow
from apt_ostree.model import LocalPackage
from apt_ostree.sandbox import unpacking
from apt_ostree.system import boot_counts, journal, lock, origin, remote, staged, sysroot
from apt_ostree.tools import apt, apt_settings, dpkg, gvariant, ostree
from apt_ostree.tree import changelog, state, subids, users

from .engine import Target

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

COMMIT = (
    b"({'version': <'13.1'>, 'ostree.bootable': <true>, 'apt-ostree.lock': <'[[\"vim\", \"1\"]]'>, "
    b"'apt-ostree.lock.1': <'x'>, 'n': <uint64 7>}, [byte 0xab, 0xcd], @a(say) [], 'subject', '', uint64 1234, "
    b"[byte 0x01], b'abc')\n"
)

LISTING = (
    b"d00755 0 0      0 " + b"a" * 64 + b" " + b"b" * 64 + b" /\n-00644 0 0     12 " + b"c" * 64 + b" /x\n"
    b"l00777 0 0      0 " + b"d" * 64 + b" /l -> x\n"
)

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


TARGETS = (
    Target("acl", lambda data: acl.renumber(data, {1: 2}, {3: 4}), (bytes.fromhex("0200000001000600ffffffff"),)),
    Target("apt-settings", text(lambda found: apt_settings.taken_over(apt_settings.read([found]))),
           (b'Acquire::http::Proxy "http://x/"; A { B "c"; };\n#clear A;\n// x\n/* y */\n',),
           (apt_settings.SyntaxProblem,)),
    Target("apt-simulation", text(apt.parse_simulation), (SIMULATION,)),
    Target("boots", text(boot_counts.parse), (b"debian-aaa.0 1234\ndebian-aaa.0 1235\n",)),
    Target("changelog", drained(changelog.parse), (CHANGELOG,)),
    Target("changelog-newer", text(lambda found: changelog.newer(found, "2:9.0-1")), (CHANGELOG,)),
    Target("change", lambda data: changes.read(json.loads(data)), (CHANGE,),
           (KeyError, TypeError, ValueError, AttributeError, RecursionError)),
    Target("commit", text(lambda found: ostree.parse_commit("a" * 64, found)), (COMMIT,)),
    Target("config", _toml(config.parse), (b"deployments = 3\nrecommends = false\nwait = 7\nscript-time = 9\n",)),
    Target("debconf", text(lambda found: debconf.normalize(found, "x")),
           (b"a a/b string c\n# x\nd d/e boolean \\\n true\n",)),
    Target("dpkg-stanzas", drained(dpkg.parse_stanzas), (STATUS,)),
    Target("dpkg-status", text(dpkg.parse_status), (STATUS,)),
    Target("gvariant", lambda data: gvariant.dictionary(data), (bytes.fromhex("6b657900000000007900730400"),),
           (ValueError, IndexError)),
    Target("host-file", _toml(hostfile.parse), ((REPOSITORY / "docs/apply.md").read_bytes(),
           b'packages = ["vim"]\n[overrides]\nremove = ["less"]\n[kernel-args]\npresent = ["a=b"]\n')),
    Target("journal", text(lambda found: journal.parse("20260101T000000Z-1", found)), (ENTRY,), ()),
    Target("jsonpath", text(lambda found: jsonpath.select({"a": [{"b": 1}]}, found)), (b"$.a[0].b", b"$..b")),
    Target("kargs", text(lambda found: kargs.split(found)), (b'a b=c d="e f" ostree=/x',)),
    Target("listing", text(ostree.parse_ls), (LISTING,)),
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
    Target("origin", text(_intent), (ORIGIN,)),
    Target("pull-progress", text(remote.parse_progress), (b"Receiving objects: 3% (1/25) 1.2 MB/s 3.4 MB\n",), ()),
    Target("refspec", text(remote.parse), (b"debian:debian/13/x86_64/minimal", b"ostree://a:b", b"a" * 64)),
    Target("remotes", file(_remotes, "config"), (b'[core]\nrepo_version=1\n\n[remote "debian"]\nurl=https://example.org\n',)),
    Target("request", text(requests.parse_expression), (b"vim:amd64=2:9.1", b"vim/testing")),
    Target("seeds", file(_seeds, "usr/lib/apt-ostree/seeds.d/base"), (b"lib/x\nlib/x/y\\040z\n",)),
    Target("staged", file(lambda top: staged.read(top / "note", top / "lock"), "note"), (b"x" * 40,)),
    Target("subids", text(lambda found: subids.allot(found, "", found)), (b"x:100000:65536\ny:165536:65536\n",)),
    Target("tmpfiles", file(_seeds, "usr/lib/tmpfiles.d/00-apt-ostree-base.conf"),
           (b"d /var/lib/x :0755 :0 :0\nL+ /var/lib/y - - - - ../../usr/z\n",)),
    Target("users", text(_accounts), (PASSWD, GROUP)),
)  # fmt: skip
