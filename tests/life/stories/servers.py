"""Servers, which have data, keys and users of their own."""

from __future__ import annotations

from ..story import SNAKE_OIL, Story

_NSD_KEYS = ("/etc/nsd/nsd_*.key", "/etc/nsd/nsd_*.pem")

STORIES = (
    Story(
        "bind9",
        first=("bind9", "bind9-dnsutils"),
        # Both want the same port: the second finds a configuration before it is there.
        second=("nsd",),
        use="""
mkdir -p /etc/nsd/nsd.conf.d
cat >/etc/nsd/nsd.conf.d/address.conf <<'END'
server:
    ip-address: 127.0.0.1@5353
END
cat >>/etc/bind/named.conf.local <<'END'
zone "mine.test" { type master; file "/var/lib/bind/mine.db"; update-policy local; };
END
cat >/var/lib/bind/mine.db <<'END'
$TTL 60
@ SOA localhost. root.localhost. 1 60 60 60 60
@ NS localhost.
END
chown bind: /var/lib/bind/mine.db
rndc reload
printf 'add www.mine.test 60 A 192.0.2.1\nsend\n' | nsupdate -l
rndc sync
""",
        checks={
            "control": "rndc status | grep -c 'server is up'",
            "service": "systemctl is-active named",
            "answer": "dig +short @127.0.0.1 www.mine.test",
            "other": "systemctl is-active nsd; ss -Hltn sport = 5353",
        },
        own=("/etc/bind/rndc.key", *_NSD_KEYS),
        data=("/var/cache/bind/*", "/var/lib/bind/mine.db*", "/var/lib/nsd/*"),
    ),
    Story(
        "nsd",
        first=("nsd", "bind9-dnsutils"),
        # Port 53 is systemd-resolved's at another address.
        before="""
mkdir -p /etc/nsd/nsd.conf.d
cat >/etc/nsd/nsd.conf.d/address.conf <<'END'
server:
    ip-address: 127.0.0.1
END
""",
        use="""
cat >/etc/nsd/nsd.conf.d/mine.conf <<'END'
zone:
    name: mine.test
    zonefile: mine.zone
END
cat >/etc/nsd/mine.zone <<'END'
$TTL 60
@ SOA localhost. root.localhost. 1 60 60 60 60
@ NS localhost.
www A 192.0.2.1
END
systemctl restart nsd
""",
        checks={
            "control": "nsd-control status | grep ^version",
            "service": "systemctl is-active nsd",
            "answer": "dig +short @127.0.0.1 www.mine.test",
        },
        own=_NSD_KEYS,
        data=("/var/lib/nsd/*",),
    ),
    Story(
        "slapd",
        first=("slapd", "ldap-utils"),
        use=r"""
systemctl stop slapd
printf 'dn: ou=people,dc=nodomain\nobjectClass: organizationalUnit\nou: people\n' | slapadd
chown -R openldap: /var/lib/ldap
systemctl start slapd
""",
        checks={
            "tree": "slapcat | grep -E '^dn:'",
            "service": "systemctl is-active slapd",
            "answer": "ldapsearch -x -LLL -b ou=people,dc=nodomain ou",
        },
        own=("/etc/ldap/slapd.d/*",),
        data=("/var/lib/ldap/*",),
    ),
    Story(
        "database",
        first=("postgresql-17", "postgresql"),
        use="cd / && runuser -u postgres -- createdb mine"
        " && runuser -u postgres -- psql mine -c 'create table mine as select 42 as answer'"
        " && echo 'work_mem = 5MB' >/etc/postgresql/17/main/conf.d/mine.conf && systemctl restart postgresql",
        checks={
            "content": "cd / && runuser -u postgres -- psql -At mine -c 'select * from mine; show work_mem'",
            "clusters": "pg_lsclusters",
            "service": "systemctl is-active postgresql postgresql@17-main",
        },
        own=SNAKE_OIL,
        data=("/var/lib/postgresql/*",),
    ),
    Story(
        "radius",
        first=("freeradius", "freeradius-utils"),
        use="echo 'mine Cleartext-Password := \"secret\"' >>/etc/freeradius/3.0/users && systemctl restart freeradius",
        checks={
            "service": "systemctl is-active freeradius",
            "answer": "radtest mine secret 127.0.0.1 0 testing123 | grep -o Access-Accept",
        },
        own=("/etc/freeradius/3.0/certs/dh", *SNAKE_OIL),
    ),
)
