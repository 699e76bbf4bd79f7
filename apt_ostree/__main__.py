"""``python3 -m apt_ostree``."""

from .cli.main import main

main()
