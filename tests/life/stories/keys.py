"""What each machine makes for itself: names, keys, certificates."""

from __future__ import annotations

from tests.archive import Deb

from ..story import SNAKE_OIL, Story

_COMPANY = Deb(
    "company",
    files={
        "/usr/local/share/ca-certificates/company.crt": """-----BEGIN CERTIFICATE-----
MIIBOjCB7aADAgECAhRyf6fY4vYsoR/tUYqFW9RmhX86aTAFBgMrZXAwEjEQMA4G
A1UEAwwHY29tcGFueTAgFw0yNjExMjcxNTEwMDlaGA8yMTI2MTEwMzE1MTAwOVow
EjEQMA4GA1UEAwwHY29tcGFueTAqMAUGAytlcAMhAEdXO2bdweMIRNBFUkak4ZwA
RKmD2jL7OwMXySt/It2vo1MwUTAdBgNVHQ4EFgQU2XBz/bxTbGZNmUQli1FkMsmA
Lk4wHwYDVR0jBBgwFoAU2XBz/bxTbGZNmUQli1FkMsmALk4wDwYDVR0TAQH/BAUw
AwEB/zAFBgMrZXADQQCv7T11VbdQlQmI96KgqtJdLtQI/JDUcjVE7hhVmEuZEttO
hRddvkdPyB8tu70neX7hFDAxxWdJkGwd+hlXL5gH
-----END CERTIFICATE-----
"""
    },
    triggers="activate-noawait update-ca-certificates\n",
)
"""As companies have it, against policy: where an administrator has certificates."""

STORIES = (
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
        "authority",
        first=("ssl-cert",),
        second=("company",),
        use="cd /usr/local/share/ca-certificates && openssl req -x509 -newkey ed25519 -nodes -subj /CN=own"
        " -keyout /root/own.key -out own.crt && update-ca-certificates",
        checks={
            "own": "openssl verify -CAfile /etc/ssl/certs/ca-certificates.crt /usr/local/share/ca-certificates/own.crt",
            "number": "grep -c BEGIN /etc/ssl/certs/ca-certificates.crt",
            "company": "openssl verify -CApath /etc/ssl/certs /usr/local/share/ca-certificates/company.crt 2>/dev/null",
        },
        own=(
            "/usr/local/share/ca-certificates/own.crt",
            "/var/roothome/own.key",
            *SNAKE_OIL,
        ),
        data=("/etc/ssl/certs/ca-certificates.crt",),
        made=(_COMPANY,),
    ),
)
