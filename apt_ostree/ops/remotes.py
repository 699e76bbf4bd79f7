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
"""The addresses that ostree fetches from (ostree.repo-config(5))."""

_SETTING = re.compile(r"([a-z][a-z0-9-]*)=([^\x00-\x1f]*)")

_OWN_OPTIONS = {"url": "URL", "gpg-verify": "--no-gpg-verify", "sign-verify": "--sign-verify"}
"""Settings that decide what is trusted, and the options for them."""


@dataclass(frozen=True, slots=True)
class Trust:
    """The way commits of a remote are verified: by GPG, unless an option turns that off."""

    gpg_key: Path | None = None
    """A file that nobody else can change: ostree opens it by its name, while the sysroot is locked."""
    sign_verify: str | None = None
    """As ``ostree remote add --sign-verify`` takes it: KEYTYPE=inline:KEY or KEYTYPE=file:PATH."""
    no_gpg: bool = False

    def settings(self) -> list[str]:
        """The settings for ostree. Raises UsageError for options that exclude each other."""
        if self.no_gpg and self.gpg_key:
            raise UsageError("--gpg-import and --no-gpg-verify cannot be combined")
        # Another signature stands in for GPG's, unless both are wanted.
        without = self.no_gpg or (self.sign_verify is not None and self.gpg_key is None)
        return [f"gpg-verify={'false' if without else 'true'}"]


@dataclass(frozen=True, slots=True)
class NewRemote:
    """A remote to record; ``more`` are further settings, as KEY=VALUE (ostree.repo-config(5))."""

    name: str
    url: str
    trust: Trust
    more: Sequence[str] = ()


def add(settings: Settings, new: NewRemote, reporter: Reporter, *, if_not_exists: bool = False) -> Done:
    """Record a remote; nothing is fetched. Raises UsageError and RemoteError, and nothing is recorded then."""
    name, url, trust = new.name, new.url, new.trust
    tx.require_root()
    remote.check_name(name)
    if not _URL.fullmatch(url):
        raise UsageError(f"'{url}' is not a valid URL", "it begins with https://, http:// or file://")
    remote.check_public(url, *new.more)
    for setting in new.more:
        match = _SETTING.fullmatch(setting)
        if match is None:
            raise UsageError(f"--set takes KEY=VALUE, not '{setting}'")
        if match[1] in _OWN_OPTIONS:
            raise UsageError(f"--set cannot be used for '{match[1]}'", f"use {_OWN_OPTIONS[match[1]]}")
    with tx.transaction(settings, reporter) as current:
        if found := next((entry for entry in _known(current.sysroot, current.osname) if entry.name == name), None):
            if if_not_exists:
                return Done(False, f"Nothing to do: remote {name} already exists ({redact(found.url)}).")
            removal = (
                f"Remove {found.file}"
                if found.file is not None
                else f"Remove it with 'apt-ostree remote delete {name}'"
            )
            raise RemoteError(
                f"remote {name} already exists",
                f"{found.url} in {found.file}" if found.file is not None else found.url,
                f"Nothing was changed. {removal}, or add --if-not-exists to leave it as it is.",
            )
        words = [*trust.settings(), *new.more]
        if settings.dry_run:
            return Done(True, f"Would add the remote {name}.", dry_run=True)
        remote.add(current.repo, name, url, trust.gpg_key, trust.sign_verify, words)
        if trust.no_gpg and trust.sign_verify is None:
            reporter.warn(f"commits from {name} are not verified by any signature")
        elif trust.gpg_key is None and trust.sign_verify is None:
            reporter.warn(
                f"{name} does not have its own key: only the keys in /usr/share/ostree/trusted.gpg.d are trusted"
            )
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
                    f"remote {name} is configured outside the repository",
                    f"in {found.file}",
                    f"Nothing was changed. To delete it, remove {found.file}.",
                )
            if if_exists:
                return Done(False, f"Nothing to do: remote {name} does not exist.")
            raise RemoteError(
                f"remote {name} does not exist",
                f"the remotes are: {', '.join(known) or 'none'}",
                "Nothing was changed. Add --if-exists to ignore this.",
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
        found += remote.read_etc(loaded.path / loaded.merge(osname).path)
    return sorted(found, key=lambda entry: entry.name)
