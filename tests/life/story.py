"""A story: what is installed and used, in which order, and what is asked of the machine at each moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.archive import Deb

SNAKE_OIL = ("/etc/ssl/private/ssl-cert-snakeoil.key", "/etc/ssl/certs/ssl-cert-snakeoil.pem")
"""What the package ssl-cert makes for each machine."""


@dataclass(frozen=True, slots=True)
class Story:
    """Install ``first``, boot, use; install ``second``, boot; upgrade, boot; remove ``second``, boot."""

    name: str
    first: Sequence[str]
    second: Sequence[str] = ("tree",)
    before: str = ""
    """A shell script that runs once, on the new machine, before anything is installed."""
    use: str = ""
    """A shell script that runs once, after the first boot, as an administrator and programs would write."""
    checks: Mapping[str, str] = field(default_factory=dict)
    """Scripts whose exit status and output have to be the same on both machines at each moment."""
    own: Sequence[str] = ()
    """Patterns of the files that each machine makes for itself, and keeps: never the same on two machines, always the
    same on one."""
    data: Sequence[str] = ()
    """Patterns of the files whose content a program writes, and never the same twice. ``checks`` ask for what is in
    them; and what stays as it was on the plain machine has to on ours."""
    made: Sequence[Deb] = ()
    """Packages that no archive has; those of version 2 come with the upgrade. Without any, it is the first of ``first``
    that is made again as a second version."""
    runs: bool = False
    """Ours is changed while it runs, as the plain machine always is: each change is staged, and finalised in the
    shutdown. For packages in ``made``: a machine that runs has no network."""
    returns: bool = False
    """After the upgrade, go back to the versions before, boot, and forward again, boot. For packages in ``made``."""
