"""Small packages, each made to prove one point of what dpkg does; a table of values, and the .debs made of it."""

from __future__ import annotations

from tests.archive import Deb, host_architecture

FOREIGN = {"amd64": "i386", "arm64": "armhf"}[host_architecture()]
"""An architecture that a machine of this one can have besides."""


def logging(place: str) -> dict[str, str]:
    """Scripts that write down how they are called."""
    return {
        name: f'mkdir -p /usr/share/log; echo "{name} $*" >>/usr/share/log/{place}\n'
        for name in ("preinst", "postinst", "prerm", "postrm")
    }


_CONFFILES = ("removed", "moved", "obsolete", "kept", "changed", "dropped", "scripted")


def _alternative(number: int) -> str:
    return f"update-alternatives --install /usr/bin/pointer pointer /usr/bin/pointer-{number} {number}\n"


BASE = (
    Deb(
        "conffiles",
        files={f"/etc/conffiles/{name}": f"{name} 1\n" for name in _CONFFILES},
        conffiles=[f"/etc/conffiles/{name}" for name in _CONFFILES],
        scripts={"postinst": "echo 'by a script' >>/etc/conffiles/scripted\n"},
    ),
    Deb(
        "turning",
        files={"/usr/share/turning/directory/file": "in a directory\n", "/usr/share/turning/target/x": "x\n"},
        links={"/usr/share/turning/link": "target"},
    ),
    Deb("aliased", files={"/usr/share/aliased/real/a": "a\n"}, links={"/usr/share/aliased/alias": "real"}),
    Deb("owner", files={"/usr/share/owner/taken": "owner's\n", "/usr/share/owner/own": "owner's\n"}),
    Deb("vanishing", files={"/usr/share/vanishing/only": "vanishing's\n"}),
    Deb(
        "ousted",
        files={"/usr/share/ousted/shared": "ousted's\n"}
        | {f"/{top}/ousted/file": "" for top in ("var/lib", "var/cache", "opt", "srv", "usr/local/share")}
        | {"/usr/local/bin/ousted": "", "/var/lib/ousted/deep/file": ""},
        scripts=logging("ousted"),
    ),
    Deb(
        "upgraded",
        files={f"/usr/share/upgraded/{name}": text for name, text in (("v", "1\n"), ("old", ""))}
        | {f"/var/lib/upgraded/{name}": "" for name in ("kept", "old", "gone/old")},
        scripts=logging("upgraded"),
    ),
    Deb("trigger-file", triggers="interest-noawait /usr/share/trigger.d\n", scripts=logging("trigger-file")),
    Deb("essential", control="Essential: yes\n", files={"/usr/share/essential": "1\n"}),
    Deb("protected", control="Protected: yes\n", files={"/usr/share/protected": "1\n"}),
    Deb("top-owner", files={f"/{top}/top-owner/file": "" for top in ("opt", "srv", "media", "usr/local/share")}),
    # One needs the other's program to be taken over or upgraded; a third's old script needs what is taken from it.
    Deb("needed", files={"/usr/bin/needed": "#!/bin/sh\necho needed 1\n"}),
    Deb("needer", control="Depends: needed\n", scripts={"prerm": "needed >>/usr/share/needer.said\n"}),
    Deb("tool", files={"/usr/bin/tool": "#!/bin/sh\necho tool 1\n", "/usr/share/tool": ""}),
    Deb("need-tool", control="Depends: tool\n", scripts={"prerm": "tool >>/usr/share/need-tool.said\n"}),
    Deb(
        "old-reader",
        scripts={"prerm": "if [ -e /usr/share/fresh ]; then tr a-z A-Z </usr/share/fresh >/usr/share/old.said; fi\n"},
    ),
    Deb("downgraded", version="2.0", files={"/usr/share/downgraded": "2\n"}, scripts=logging("downgraded")),
    # Of the other architecture's, this one's comes later.
    Deb("half", architecture=FOREIGN, control="Multi-Arch: same\n", files={"/usr/share/half/shared": "shared\n"}),
    Deb("moved-aside", files={"/usr/share/moved-aside/file": "the base's\n", "/usr/share/moved-aside/other": ""}),
)
"""What the base has already."""

_NATIVE = host_architecture()
# cap_net_raw=ep, as setcap(8) writes it; the base has perl and no setcap.
_WRITE_CAPABILITY = """perl -e '
    my ($path, $name) = ("/usr/bin/capable", "security.capability");
    my $value = pack("V5", 0x02000001, 1 << 13, 0, 0, 0);
    my $setxattr = `uname -m` =~ /x86_64/ ? 188 : 5;
    syscall($setxattr, $path, $name, $value, length $value, 0) == 0 or die "setxattr: $!";
'
"""

_DIVERT = """dpkg-divert --package diverter --add --rename --divert /usr/share/diverted.real /usr/share/diverted
"""

_HELPERS = """
rm_conffile /etc/conffiles/removed 2.0~
mv_conffile /etc/conffiles/moved /etc/conffiles/renamed 2.0~
"""

_TOOL = "#!/bin/sh\necho tool\n"

NEW = (
    # Pre-Depends: each needs the one before configured, to run it before its own files are there.
    Deb(
        "chain-a",
        files={"/usr/bin/chain-a": "#!/bin/sh\ncat /usr/share/chain-a.ready\n"},
        scripts={"postinst": "echo a >/usr/share/chain-a.ready\n"},
    ),
    Deb(
        "chain-b",
        control="Pre-Depends: chain-a\n",
        files={"/usr/bin/chain-b": "#!/bin/sh\ncat /usr/share/chain-b.ready\n"},
        scripts={"preinst": "chain-a >/usr/share/chain-b.said\n", "postinst": "echo b >/usr/share/chain-b.ready\n"},
    ),
    Deb(
        "chain-c",
        control="Pre-Depends: chain-b\n",
        files={"/usr/share/chain-c/file": "c\n"},
        scripts={"preinst": "test ! -e /usr/share/chain-c/file; { chain-a; chain-b; } >/usr/share/chain-c.said\n"},
    ),
    # Triggers: by file and by name, with and without waiting, one that sets off the next.
    Deb(
        "trigger-name",
        triggers="interest trigger-name\n",
        scripts={
            **logging("trigger-name"),
            "postinst": logging("trigger-name")["postinst"]
            + 'if [ "$1" = triggered ]; then dpkg-trigger --no-await trigger-next; fi\n',
        },
    ),
    Deb("trigger-next", triggers="interest-noawait trigger-next\n", scripts=logging("trigger-next")),
    Deb(
        "trigger-user",
        control="Depends: trigger-name\n",
        files={"/usr/share/trigger.d/user": ""},
        triggers="activate-await trigger-name\n",
        scripts=logging("trigger-user"),
    ),
    # Circles: each waits for the other's trigger, and each sets off the other's without waiting.
    *(
        Deb(
            f"circle-{kind}-{mine}",
            files={f"/usr/share/circle-{kind}-{other}.d/file": ""},
            triggers=f"interest{'' if kind == 'await' else '-noawait'} /usr/share/circle-{kind}-{mine}.d\n",
            scripts=logging(f"circle-{kind}-{mine}"),
        )
        for kind in ("await", "noawait")
        for mine, other in ("ab", "ba")
    ),
    # A mode and an owner that dpkg-statoverride(1) gives to a file: before it comes, and once it is there.
    Deb(
        "stat-before",
        scripts={"preinst": "dpkg-statoverride --add root mail 2710 /usr/bin/overridden\n"},
    ),
    Deb(
        "stat-after",
        control="Pre-Depends: stat-before\n",
        files={"/usr/bin/overridden": "#!/bin/sh\n", "/usr/bin/late": "#!/bin/sh\n", "/usr/bin/plain": "#!/bin/sh\n"},
        scripts={"postinst": "dpkg-statoverride --update --add mail root 0700 /usr/bin/late\n"},
    ),
    # A package that moves a file of its own out of the way, and one that diverts another's.
    Deb("diverter", files={"/usr/share/diverted": "diverter's\n"}, scripts={"preinst": _DIVERT}),
    Deb("diverted", files={"/usr/share/diverted": "diverted's\n"}),
    # One that puts a file of its own in the place of the base's.
    Deb(
        "aside-mover",
        files={"/usr/share/moved-aside/file": "the layer's\n"},
        scripts={
            "preinst": "dpkg-divert --package aside-mover --add --rename"
            " --divert /usr/share/moved-aside/file.base /usr/share/moved-aside/file\n"
        },
    ),
    # In a preinst of its own it would come too late: dpkg has read the list then.
    Deb(
        "stat-user-common",
        scripts={
            "postinst": "useradd --system --no-create-home stat-user\n"
            "dpkg-statoverride --add stat-user stat-user 4750 /usr/bin/stat-user\n"
        },
    ),
    Deb("stat-user", control="Pre-Depends: stat-user-common\n", files={"/usr/bin/stat-user": "#!/bin/sh\n"}),
    # An alternative with a slave, one that a script takes back, one that the administrator's hand chose.
    Deb(
        "chooser",
        files={f"/usr/share/chooser/{name}": "" for name in ("a", "a.1", "b", "b.1", "gone")},
        scripts={
            "postinst": "".join(
                f"update-alternatives --install /usr/bin/chosen chosen /usr/share/chooser/{name} {priority}"
                f" --slave /usr/share/chosen.1 chosen.1 /usr/share/chooser/{name}.1\n"
                for name, priority in (("a", 5), ("b", 9))
            )
            + "update-alternatives --set chosen /usr/share/chooser/a\n"
            "update-alternatives --install /usr/bin/gone gone /usr/share/chooser/gone 5\n"
            "update-alternatives --remove gone /usr/share/chooser/gone\n"
        },
    ),
    # A program that dpkg itself runs is moved aside by the package that has another one.
    Deb(
        "rm-mover",
        files={"/usr/bin/rm": '#!/bin/sh\nexec /usr/bin/rm.real "$@"\n'},
        scripts={
            "preinst": "dpkg-divert --package rm-mover --add --rename --divert /usr/bin/rm.real /usr/bin/rm\n"
            "cp /usr/bin/rm.real /usr/bin/rm\n"
        },
    ),
    # Reads what was unpacked before, and is not configured.
    Deb("readable", files={"/usr/share/readable": "read me\n"}),
    Deb(
        "reader",
        control="Depends: readable\n",
        scripts={"preinst": "tr a-z A-Z </usr/share/readable >/usr/share/reader.said\n"},
    ),
    # Files that are equal, and names of one file.
    Deb(
        "equal",
        files={"/usr/share/equal/a": "equal\n", "/usr/share/equal/b": "equal\n", "/usr/share/equal/c": "owner's\n"},
        scripts={"postinst": "cp /usr/share/equal/a /usr/share/equal/b\ncp /usr/share/owner/own /usr/share/equal/c\n"},
    ),
    # Programs that have stubs while scripts run: moved aside, and chosen by an alternative.
    Deb(
        "chroot-mover",
        files={"/usr/bin/ischroot": "#!/bin/sh\nexit 2\n"},
        scripts={
            "preinst": "dpkg-divert --package chroot-mover --add --rename"
            " --divert /usr/bin/ischroot.real /usr/bin/ischroot\n"
        },
    ),
    Deb(
        "policy-chooser",
        files={"/usr/share/policy-chooser": "#!/bin/sh\nexit 0\n"},
        scripts={
            "postinst": "update-alternatives --install /usr/sbin/policy-rc.d policy-rc.d /usr/share/policy-chooser 5\n"
        },
    ),
    Deb("half", architecture=_NATIVE, control="Multi-Arch: same\n", files={"/usr/share/half/shared": "shared\n"}),
    # Virtual packages, with and without a version.
    Deb("virtual-provider", control="Provides: virtual-service (= 1.5)\n", files={"/usr/share/virtual-provider": ""}),
    Deb("virtual-user", control="Depends: virtual-service (>= 1.2)\n", files={"/usr/share/virtual-user": ""}),
    # Two architectures of one package share files; a tool of the other one serves this one.
    *(
        Deb(
            "sibling",
            architecture=architecture,
            control="Multi-Arch: same\n",
            files={
                "/usr/share/sibling/shared": "shared\n",
                "/etc/sibling.conf": "shared\n",
                f"/usr/lib/sibling-{architecture}/lib": f"{architecture}\n",
            },
            conffiles=["/etc/sibling.conf"],
            scripts=logging("sibling"),
        )
        for architecture in (_NATIVE, FOREIGN)
    ),
    Deb("foreign-tool", architecture=FOREIGN, control="Multi-Arch: foreign\n", files={"/usr/bin/foreign-tool": _TOOL}),
    Deb("foreign-user", architecture=_NATIVE, control="Depends: foreign-tool\n", files={"/usr/share/foreign-user": ""}),
    # Merged /usr: the same directories by either name.
    Deb(
        "merged",
        files={
            "/bin/merged-a": "#!/bin/sh\n",
            "/usr/bin/merged-b": "#!/bin/sh\n",
            "/lib/merged/x": "x\n",
            "/usr/lib/merged/y": "y\n",
            "/sbin/merged-c": "#!/bin/sh\n",
        },
    ),
    # Versions whose names need care on disk.
    Deb("epoch", version="2:1.0~rc1+dfsg-1+b2", files={"/usr/share/epoch": ""}),
    Deb("capable", files={"/usr/bin/capable": "#!/bin/sh\n"}, scripts={"postinst": _WRITE_CAPABILITY}),
    *(
        Deb(
            f"pointer-{number}",
            files={f"/usr/bin/pointer-{number}": f"#!/bin/sh\necho {number}\n"},
            scripts={"postinst": _alternative(number)},
        )
        for number in (10, 30, 20)
    ),
    # A directory where the base has a link: dpkg goes through it.
    Deb("into-alias", files={"/usr/share/aliased/alias/b": "b\n"}),
    # Taking over one file, and all of a package: that one disappears (policy 7.6.1).
    Deb(
        "taker",
        control="Replaces: owner, vanishing\n",
        files={"/usr/share/owner/taken": "taker's\n", "/usr/share/vanishing/only": "taker's\n"},
    ),
)
"""What is laid over it."""

OUSTING = Deb(
    "ousting", control="Conflicts: ousted\nReplaces: ousted\n", files={"/usr/share/ousted/shared": "ousting's\n"},
    scripts=logging("ousting"),
)  # fmt: skip

UPGRADES = (
    Deb(
        "conffiles",
        version="2.0",
        files={f"/etc/conffiles/{name}": f"{name} 2\n" for name in ("renamed", "kept", "changed", "added", "scripted")}
        | {"/etc/conffiles/kept": "kept 1\n"},
        conffiles=[
            *(f"/etc/conffiles/{name}" for name in ("renamed", "kept", "changed", "added", "scripted")),
            "remove-on-upgrade /etc/conffiles/dropped",
        ],
        maintscript=_HELPERS,
    ),
    Deb(
        "turning",
        version="2.0",
        files={"/usr/share/turning/link/y": "y\n", "/usr/share/turning/other/file": "elsewhere\n"},
        links={"/usr/share/turning/directory": "other"},
        maintscript="dir_to_symlink /usr/share/turning/directory other 2.0~\n"
        "symlink_to_dir /usr/share/turning/link target 2.0~",
    ),
    # What dpkg does not remove it replaces.
    Deb("essential", version="2.0", control="Essential: yes\n", files={"/usr/share/essential": "2\n"}),
    Deb("protected", version="2.0", control="Protected: yes\n", files={"/usr/share/protected": "2\n"}),
    Deb("needed", version="2.0", files={"/usr/bin/needed": "#!/bin/sh\necho needed 2\n"}),
    Deb("needer", version="2.0", control="Depends: needed\n"),
    Deb("tool", version="2.0", control="Depends: new-tool\n", files={"/usr/share/tool": "2\n"}),
    Deb("need-tool", version="2.0", control="Depends: tool\n"),
    Deb(
        "new-tool",
        control="Breaks: tool (<< 2)\nReplaces: tool (<< 2)\n",
        files={"/usr/bin/tool": "#!/bin/sh\necho tool 2\n"},
    ),
    Deb("downgraded", files={"/usr/share/downgraded": "1\n"}, scripts=logging("downgraded")),
    Deb("fresh", files={"/usr/share/fresh": "read me\n"}),
    Deb("old-reader", version="2.0", control="Depends: fresh\n"),
    Deb("policy-own", files={"/usr/sbin/policy-rc.d": "#!/bin/sh\nexit 0\n"}),
    Deb(
        "upgraded",
        version="1:0.9",
        files={"/usr/share/upgraded/v": "2\n", "/var/lib/upgraded/kept": "", "/var/lib/upgraded/new": ""},
        scripts=logging("upgraded"),
    ),
)
"""Later versions of what the base has, and what comes with them."""

LOOPING = tuple(
    Deb(
        f"looping-{mine}",
        triggers=f"interest-noawait looping-{mine}\n",
        scripts={"postinst": f"dpkg-trigger --no-await looping-{other}\n"},
    )
    for mine, other in ("ab", "ba")
)
"""Two that set off each other for ever: dpkg gives up."""

ELSEWHERE = Deb("elsewhere", architecture=FOREIGN, files={f"/usr/lib/elsewhere-{FOREIGN}/lib": f"{FOREIGN}\n"})
"""What an archive has for the other architecture alone."""

VIRTUAL = Deb(
    "virtual-one", control="Provides: virtual-thing\nDepends: virtual-needs\n", files={"/usr/share/virtual-one": ""}
)
NEEDED_BY_IT = Deb("virtual-needs", files={"/usr/share/virtual-needs": ""})
"""What an archive has under another name, and what that needs."""


def crowd(files: int) -> Deb:
    """A package of that many files in directories of 1,000, each with a name and a content of its own."""
    return Deb(
        "crowd",
        files={f"/usr/share/crowd/{number // 1000:03}/{number}": f"file {number}\n" for number in range(files)},
    )
