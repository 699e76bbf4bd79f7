"""The stories: what is installed and used, in which order, and what is asked of the machine at each moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.archive import Deb


@dataclass(frozen=True, slots=True)
class Story:
    """Install ``first``, boot, use; install ``second``, boot; upgrade, boot; remove ``second``, boot."""

    name: str
    first: Sequence[str]
    second: Sequence[str] = ("tree",)
    use: str = ""
    """A shell script that runs once, after the first boot, as an administrator and programs would write."""
    checks: Mapping[str, str] = field(default_factory=dict)
    """Scripts whose exit status and output have to be the same on both machines at each moment."""
    own: Sequence[str] = ()
    """Patterns of the files that each machine makes for itself, and keeps."""
    made: Sequence[Deb] = ()
    """Packages that no archive has; those of version 2 come with the upgrade."""

    @property
    def upgraded(self) -> str:
        """The package of the archive that is made again as a second version, unless the story makes its own."""
        return "" if self.made else self.first[0]


def _agent(version: str) -> Deb:
    """A package that writes beside its own files in /opt, and has state and content wherever packages have any."""
    return Deb(
        "agent",
        version,
        files={
            "/opt/agent/bin/agent": "#!/bin/sh\nmkdir -p /opt/agent/run\necho yes >/opt/agent/run/started\n"
            "exec sleep infinity\n",
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

_ALL = (
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
    ),
    Story(
        "initiator",
        first=("open-iscsi", "nvme-cli"),
        use="echo '# mine' >>/etc/iscsi/iscsid.conf; mkdir -p /var/lib/iscsi/nodes/target",
        checks={"configuration": "tail -n 1 /etc/iscsi/iscsid.conf; ls /var/lib/iscsi/nodes"},
        own=("/etc/iscsi/initiatorname.iscsi", "/etc/nvme/hostnqn", "/etc/nvme/hostid"),
    ),
    Story(
        "keys",
        first=("munge", "dropbear-bin", "dropbear"),
        use="echo secret | munge >/root/token",
        checks={"token": "unmunge </root/token | tail -n 1", "service": "systemctl is-active munge dropbear"},
        own=("/etc/munge/munge.key", "/etc/dropbear/dropbear_*_host_key*", "/var/roothome/token"),
    ),
    Story(
        "fonts",
        first=("fontconfig", "fonts-dejavu-core"),
        second=("fonts-liberation",),
        use="mkdir -p /usr/local/share/fonts && cp /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"
        " /usr/local/share/fonts/Mine.ttf && fc-cache -s",
        checks={"fonts": "fc-list : file | sort", "match": "fc-match 'Liberation Sans'"},
    ),
)

STORIES = {story.name: story for story in _ALL}
