"""Layer Debian packages on OSTree systems, atomically, without a daemon."""

__version__ = "0.1.0"
