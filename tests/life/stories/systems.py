"""Programs that look after the machine itself."""

from __future__ import annotations

from ..story import Story

STORIES = (
    Story(
        "etckeeper",
        first=("etckeeper",),
        use="echo mine >/etc/mine && etckeeper commit mine",
        checks={
            "log": "cd /etc && git log --format=%s | grep -c mine",
            "whole": "cd /etc && git fsck --no-dangling",
            "mine": "cd /etc && git status --short mine",
        },
        data=("/etc/.git/*", "/etc/.etckeeper"),
    ),
    Story(
        "cloud",
        first=("cloud-init",),
        use="""
cat >/etc/cloud/cloud.cfg.d/99_mine.cfg <<'END'
#cloud-config
write_files:
- path: /etc/mine
  content: mine
END
""",
        checks={
            "status": "cloud-init status",
            "units": "systemctl is-enabled cloud-init-local cloud-config cloud-final",
            "mine": "cat /etc/mine",
        },
    ),
    Story(
        "network",
        first=("network-manager",),
        use="nmcli connection add type dummy ifname mine0 con-name mine ipv4.method manual ipv4.addresses 192.0.2.7/24",
        checks={
            "service": "systemctl is-active NetworkManager",
            "connections": "nmcli -t -f NAME,TYPE connection show | sort",
        },
        own=("/etc/NetworkManager/system-connections/mine.nmconnection",),
        data=("/var/lib/NetworkManager/*",),
    ),
    Story(
        "containers",
        first=("docker.io", "docker-cli"),
        # Nothing starts in a container of this kind, which may make no devices.
        use="tar -C /usr/share/doc/docker.io -c . | docker import - mine && docker volume create mine"
        " && docker create --name mine --network none -v mine:/data mine /program"
        " && echo mine >/var/lib/docker/volumes/mine/_data/file",
        checks={
            "service": "systemctl is-active docker containerd",
            "containers": "docker ps -a --format '{{.Names}} {{.Image}} {{.Status}}'; docker image ls -q | wc -l",
            "volume": "cat /var/lib/docker/volumes/mine/_data/file",
        },
        own=("/var/lib/docker/engine-id",),
        data=("/var/lib/docker/*", "/var/lib/containerd/*"),
    ),
)
