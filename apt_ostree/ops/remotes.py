"""Operations on the remotes that bases come from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import RemoteError, UsageError, redact
from ..reporter import Reporter
from ..system import commits, remote
from ..system.remote import Remote
from ..system.sysroot import Sysroot
from . import transaction as tx
from .deployments import Done
from .transaction import Settings

_URL = re.compile(r"(?:mirrorlist=)?(?:https?|file)://[^\s\x00-\x1f]+")
"""What ostree fetches from (ostree.repo-config(5))."""

_SETTING = re.compile(r"([a-z][a-z0-9-]*)=([^\x00-\x1f]*)")

_OWN_OPTIONS = {"url": "URL", "gpg-verify": "--no-gpg-verify", "sign-verify": "--sign-verify"}
"""Settings that decide what is trusted, and the words that say so."""


@dataclass(frozen=True, slots=True)
class Trust:
    """How what comes from a remote is verified: by GPG unless that was refused in words."""

    gpg_key: Path | None = None
    sign_verify: str | None = None
    """As ``ostree remote add --sign-verify`` takes it: KEYTYPE=inline:KEY or KEYTYPE=file:PATH."""
    no_gpg: bool = False

    def settings(self) -> list[str]:
        """Raises UsageError for what contradicts itself, or a key file that is not there."""
        if self.no_gpg and self.gpg_key:
            raise UsageError("--gpg-import and --no-gpg-verify contradict each other")
        if self.gpg_key is not None and not self.gpg_key.is_file():
            raise UsageError(f"there is no file {self.gpg_key}")
        # Another signature stands in for GPG's, unless both are wanted.
        without = self.no_gpg or (self.sign_verify is not None and self.gpg_key is None)
        return [f"gpg-verify={'false' if without else 'true'}"]


def add(
    settings: Settings,
    name: str,
    url: str,
    trust: Trust,
    more: Sequence[str],
    reporter: Reporter,
    *,
    if_not_exists: bool = False,
) -> Done:
    """Record a remote; nothing is fetched. Raises UsageError and RemoteError, and nothing is recorded then."""
    tx.require_root()
    remote.check_name(name)
    if not _URL.fullmatch(url):
        raise UsageError(f"'{url}' is no URL", "one begins with https://, http:// or file://")
    for setting in more:
        match = _SETTING.fullmatch(setting)
        if match is None:
            raise UsageError(f"--set takes KEY=VALUE, not '{setting}'")
        if match[1] in _OWN_OPTIONS:
            raise UsageError(f"--set is not for '{match[1]}'", f"{_OWN_OPTIONS[match[1]]} says that")
    with tx.transaction(settings, reporter) as current:
        if found := next((entry for entry in _known(current.sysroot, current.osname) if entry.name == name), None):
            if if_not_exists:
                return Done(False, f"There is a remote {name} already: {redact(found.url)}.")
            removal = "Removing that file" if found.file is not None else "'apt-ostree remote delete'"
            raise RemoteError(
                f"there is a remote {name} already",
                f"{found.url} in {found.file}" if found.file is not None else found.url,
                f"Nothing was changed. {removal} removes it; --if-not-exists leaves it as it is.",
            )
        words = [*trust.settings(), *more]
        if settings.dry_run:
            return Done(True, f"Would add the remote {name}.", dry_run=True)
        remote.add(current.repo, name, url, trust.gpg_key, trust.sign_verify, words)
        if trust.no_gpg and trust.sign_verify is None:
            reporter.warn(f"what comes from {name} is not verified by any signature")
        elif trust.gpg_key is None and trust.sign_verify is None:
            reporter.warn(f"{name} has no key of its own: only those in /usr/share/ostree/trusted.gpg.d count")
        return Done(True, f"Added the remote {name}.")


def delete(settings: Settings, name: str, reporter: Reporter, *, if_exists: bool = False) -> Done:
    """Forget a remote, with its keys; what is deployed stays. Raises UsageError and RemoteError."""
    tx.require_root()
    remote.check_name(name)
    with tx.transaction(settings, reporter) as current:
        known = [entry.name for entry in remote.read(current.repo)]
        if name not in known:
            if found := next((r for r in _known(current.sysroot, current.osname) if r.name == name), None):
                raise RemoteError(
                    f"the remote {name} is not of the repository",
                    f"it stands in {found.file}",
                    "Nothing was changed. Remove that file, which is the administrator's own.",
                )
            if if_exists:
                return Done(False, f"There is no remote {name}.")
            raise RemoteError(
                f"there is no remote {name}",
                f"there are: {', '.join(known) or 'none'}",
                "Nothing was changed. With --if-exists that is no error.",
            )
        if settings.dry_run:
            return Done(True, f"Would delete the remote {name}.", dry_run=True)
        commits.hold_bases(current.sysroot, also=commits.base_of(current.repo, current.basis).checksum)
        remote.delete(current.repo, name)
        return Done(True, f"Deleted the remote {name}.")


def listed(settings: Settings) -> list[Remote]:
    """The remotes of a sysroot, without passwords; anybody may ask. Raises SysrootError."""
    loaded = tx.loaded(settings)
    osname = loaded.stateroot(settings.stateroot) if loaded.deployments else ""
    return [replace(entry, url=redact(entry.url)) for entry in _known(loaded, osname)]


def _known(loaded: Sysroot, osname: str) -> list[Remote]:
    """Those of the repository, and those in the /etc whose system is booted or would be."""
    found = remote.read(loaded.repo)
    if any(d.osname == osname for d in loaded.deployments):
        found += remote.read_etc(loaded.path / loaded.merge(osname).path / "etc")
    return sorted(found, key=lambda entry: entry.name)
