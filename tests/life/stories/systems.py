"""Programs that look after the machine itself."""

from __future__ import annotations

from ..story import Story

STORIES = (
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
)
