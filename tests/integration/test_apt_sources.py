"""apt itself reads a file of sources, and what is written in its place, as the same targets."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from apt_ostree.tools import apt_sources

STANZA = "Types: deb\nURIs: file:/srv/x\nSuites: y\nComponents: main\n"
FINGERPRINT = "0123456789ABCDEF0123456789ABCDEF01234567"
LINES = [
    "deb [arch=amd64,i386 lang=none] http://x/y  stable main contrib # c",
    "deb [ arch=amd64 trusted=yes ]http://x/$(ARCH) stable/ # ]",
    "deb [arch+=armel by-hash=force pdiffs=no target-=Translations] https://u:p%25@h:8/%7ex s%2fupdates main",
    'deb "http://x/a b" "y" "ma"in',
    "  deb-src\thttp://[::1]/ sid main\r",
    "deb file:/srv/[Debian 13 _T_ - Official]/ trixie main",
    "deb [signed-by=/nothing signed-by=%2fetc%2fx.gpg] http://x y main",
    "deb [ab=# signed-by=/etc/x.gpg,/etc/y.asc] http://x y main # signed-by=/z",
    f'deb ["signed-by={FINGERPRINT}!"] http://x y main',
    "deb [SIGNED-BY=/etc/x.gpg unknown=1] http://x y main",
    "deb [sig%6eed-by=/etc/x.gpg] http://x y main",
]
STANZAS = [
    STANZA,
    STANZA.replace("\n", "\r\n"),
    STANZA.replace(": ", " \t:"),
    STANZA.replace(": ", ":\n# c\n#\n "),
    f"\n# c\n\n{STANZA}Types: deb deb-src\nURIs: http://x\n\thttp://y\nSuites: a\n b/c\nArchitectures: amd64\n i386\n",
    f"{STANZA}Enabled: no\n\n{STANZA}Suites: z\nEnabled: yes\nLanguages: de en\nArchitectures-Remove: amd64\n",
    f"{STANZA}Signed-By:\n# a comment\n /etc/x.gpg\n",
    f"{STANZA}Signed-By : /etc/x.gpg\n",
    f"{STANZA}signed-BY: /nothing\nSigned-By: /etc/x.gpg,\n\t/etc/y.asc\n",
    f"{STANZA}Signed-By: {FINGERPRINT}\n",
    "Types: deb\nURIs: http://x/%7e\nSuites: ./\nTrusted: no\n",
]


def targets(directory: Path, text: str, suffix: str) -> list[str]:
    """What apt makes of one file: all that it says of each index, but for the name of the file."""
    parts = directory / "parts"
    parts.mkdir(parents=True)
    (parts / f"x{suffix}").write_text(text, newline="")
    (directory / "lists").mkdir()
    config = directory / "apt.conf"
    config.write_text(
        f'Dir "{directory}"; Dir::Etc::sourcelist "/dev/null"; Dir::Etc::sourceparts "{parts}";'
        'Dir::Etc::parts "/dev/null"; Dir::Etc::main "/dev/null"; APT::Architecture "amd64";'
        'APT::Architectures { "amd64"; "i386"; };'
    )
    found = subprocess.run(
        ["apt-get", "indextargets", "--no-release-info"],
        env={**os.environ, "APT_CONFIG": os.fspath(config), "LC_ALL": "C.UTF-8"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert not found.stderr
    return [
        line for line in found.stdout.replace(str(directory), "").splitlines() if not line.startswith("Sourcesentry:")
    ]


@pytest.mark.parametrize(
    ("text", "suffix"), [*((line, ".list") for line in LINES), *((stanza, ".sources") for stanza in STANZAS)]
)
def test_apt_makes_the_same_of_sources_and_of_what_is_written_for_them(tmp_path: Path, text: str, suffix: str) -> None:
    ours = apt_sources.render(apt_sources.read(text, deb822=suffix == ".sources"))
    expected = targets(tmp_path / "theirs", text, suffix)
    assert targets(tmp_path / "ours", ours, ".list") == expected
    assert expected
