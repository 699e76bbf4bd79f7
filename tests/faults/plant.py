"""Runs the real command line with one fault planted: ``python -m tests.faults.plant POINT WHEN FAULT -- WORDS``.

The product has no hook for this: functions of the loaded modules are exchanged here, before its main function runs.

POINT is a phase of a transaction, ``lock``, ``journal``, or a function in FUNCTIONS; ``POINT:N`` is its Nth use,
``POINT@N`` the Nth line that runs inside it. WHEN is ``before`` or ``after``. FAULT is ``kill`` (SIGKILL, as by the
kernel or a power cut's first half), another signal (``int``, ``term``, ``hup``), ``enospc``, ``eio``, ``full`` (the
disk of the sysroot, from then on), or ``pin``: what another tool does meanwhile, which knows nothing of our lock.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import importlib
import os
import pkgutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import apt_ostree
from apt_ostree.cli import main as cli
from apt_ostree.system import journal

PHASES = ("pull", "resolve", "download", "import", "script", "commit", "deploy", "reorder", "pin", "prune")

FUNCTIONS = {
    "journal": "system.journal.write",
    "write": "host.fs.write_atomically",
    "sync": "host.fs.sync_filesystem",
    "ostree-commit": "tools.ostree.commit",
    "ostree-admin": "tools.ostree.admin",
    "create-ref": "tools.ostree.create_ref",
    "delete-ref": "tools.ostree.delete_ref",
    "sandbox": "host.cgroup.of_tasks",
    "apt-solve": "tools.apt.simulate",
    "apt-download": "tools.apt.download",
