"""The machine below every tool: processes, files, mounts, system calls.

Nothing here knows of OSTree, Debian or packages.
"""
