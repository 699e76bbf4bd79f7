"""What our machine has otherwise than a plain one, on purpose; docs/filesystem.md gives each reason."""

from __future__ import annotations

from .judge import Decision

_MADE_AT_BOOT = "apt-ostree keeps its own notes in `/var/lib/apt-ostree` and `/etc/.apt-ostree-*`"
_LINKS = "state that describes /usr is behind links"
_UNITS = "units and mounts of OSTree and of apt-ostree are there besides"
_UPDATED = "units for a changed /usr run at the first boot of each deployment"
_BOOT = "`dpkg --verify` misses files of kernels in /boot, and directories that only apt needs"
_TOOLS = "On the booted machine, /usr and dpkg's database are read-only."
_REMOVED = "A removed package leaves what was changed or written, and nothing else"
_NUMBERS = "What its programs wrote in /var stays, under the number of its user"
_DIST = "no `.dpkg-dist` of a newer version appears"
_CHANGED = "One that was changed here stays, as a conffile does"
_SCRIPTS = "Scripts do not see the machine's /etc and /var."
_HELD = "OSTree keeps /boot open while a deployment is staged"
_CACHES = "a cache's content may differ"

DECISIONS = (
    Decision("files", r"/etc/\.apt-ostree-.*|/var/lib/apt-ostree(/.*)?|/var/\.ostree-selabeled", _MADE_AT_BOOT),
    Decision(
        "files|content",
        r"/var/(lib/(pam|ucf|dictionaries-common|ispell|aspell|sgml-base|xml-core|emacsen-common|dkms)"
        r"|cache/dictionaries-common)(/.*)?",
        _LINKS,
    ),
    Decision("files", r"/var/(lock|run|mnt)|/var/cache/apt", _LINKS),
    Decision(
        "unit files|units",
        r"(apt-ostree-.*|ostree-.*)\.(service|path)|(boot|etc|opt|sysroot|tmp|usr|usr-local|var)\.mount",
        _UNITS,
    ),
    Decision(
        "units", r"(ldconfig|systemd-(journal-catalog-update|sysusers|update-done|hwdb-update))\.service", _UPDATED
    ),
    Decision("journal", r"systemd\[N\]: Failed unmounting boot\.mount\.", _HELD),
    Decision("verify", r"missing     /(boot/.*|var/(cache/apt|lib/apt|log/apt).*)", _BOOT),
    Decision("content", r"/var/cache/.*", _CACHES),
    Decision("files|content", r"/usr/local/s?bin/(apt|debconf|dpkg|locale-gen|pam-auth|ucf|update)[a-z-]*", _TOOLS),
    Decision("files", r"/etc/.*\.dpkg-dist", _DIST),
    Decision("files", r"/etc/.*", _REMOVED, "second removed", gone=True),
    Decision("packages|users|groups", r".*", _REMOVED, "second removed", gone=True),
    # The story of bind9: what the other server wrote.
    Decision("files", r"/var/lib/nsd(/.*)?", _NUMBERS, "second removed"),
    # The story of the agent: what it changed there.
    Decision("content", r"/var/www/agent/style", _CHANGED),
    Decision("verify", r".* /var/www/agent/style", _CHANGED),
    # What a postinst makes of the machine's own files at an upgrade.
    Decision("files", r"/etc/munge/munge\.key", _SCRIPTS, "upgraded|second removed"),
)
