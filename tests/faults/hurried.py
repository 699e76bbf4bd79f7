"""Runs the real command line with another limit of time for what is fetched: ``python -m tests.faults.hurried SECONDS
WORDS``."""

from __future__ import annotations

import sys

from apt_ostree.cli import main as cli
from apt_ostree.host import fetching

if __name__ == "__main__":
    fetching.WINDOW = float(sys.argv[1])
    sys.argv = ["apt-ostree", *sys.argv[2:]]
    cli.main(sys.argv[1:])
