"""Packages of our own, which are everything that a package can be, and nothing else."""

from __future__ import annotations

from tests.archive import Deb

from ..story import Story


def _agent(version: str) -> Deb:
    """A package that writes beside its own files in /opt, and has state and content wherever packages have any."""
    return Deb(
        "agent",
        version,
        files={
            "/opt/agent/bin/agent": """#!/bin/sh
cd /opt/agent
mkdir -p run
cp version "run/$(cat version)"
exec sleep infinity
""",
            "/opt/agent/version": f"{version}\n",
            "/usr/lib/systemd/system/agent.service": "[Unit]\nDescription=Agent\n"
            "[Service]\nExecStart=/opt/agent/bin/agent\n[Install]\nWantedBy=multi-user.target\n",
            "/etc/agent.conf": f"# version {version}\n",
            "/etc/agent.d/shipped": f"# version {version}\n",
            "/var/www/agent/index": f"{version}\n",
            "/var/www/agent/style": f"{version}\n",
            "/nix/store/agent": f"{version}\n",
        },
        conffiles=("/etc/agent.conf", "/etc/agent.d/shipped"),
        scripts={
            "postinst": """
if [ "$1" = configure ]; then
    getent passwd agent >/dev/null || useradd --system --no-create-home --home-dir /var/lib/agent agent
    mkdir -p /var/lib/agent
    chown agent: /var/lib/agent
    [ -e /etc/agent.key ] || (umask 077; od -An -N16 -tx1 /dev/urandom >/etc/agent.key)
    deb-systemd-helper enable agent.service
    if [ -d /run/systemd/system ]; then systemctl daemon-reload; deb-systemd-invoke restart agent.service; fi
fi
""",
            "prerm": """[ ! -d /run/systemd/system ] || deb-systemd-invoke stop agent.service\n""",
        },
    )


_PLUGIN = Deb(
    "agent-plugin",
    "1",
    control="Depends: agent\n",
    files={"/opt/agent/plugins/one": "1\n", "/var/www/agent/plugin": "1\n"},
)

STORIES = (
    Story(
        "agent",
        ("agent",),
        ("agent-plugin",),
        use="echo '# mine' >>/etc/agent.conf; echo mine >/var/www/agent/mine; echo mine >/opt/agent/mine;"
        " echo changed >/var/www/agent/style; mkdir /srv/data; echo mine >/srv/data/file; useradd -m person",
        checks={
            "service": "systemctl is-active agent.service; cat /opt/agent/version /nix/store/agent",
            "configuration": "cat /etc/agent.conf /etc/agent.d/shipped",
            "content": "cat /var/www/agent/index",
        },
        own=("/etc/agent.key",),
        made=(_agent("1"), _agent("2"), _PLUGIN),
        returns=True,
    ),
    Story(
        "staged",
        ("agent",),
        ("agent-plugin",),
        use="echo '# mine' >>/etc/agent.conf; echo mine >/opt/agent/mine; useradd -m person",
        checks={
            "service": "systemctl is-active agent.service; cat /opt/agent/version",
            "configuration": "cat /etc/agent.conf /etc/agent.d/shipped",
        },
        own=("/etc/agent.key",),
        made=(_agent("1"), _agent("2"), _PLUGIN),
        runs=True,
        returns=True,
    ),
)
