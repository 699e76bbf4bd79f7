"""The sandbox of package scripts: bwrap, the filter of system calls, and the watch over time, processes and disk.

The commands and the tree are chosen above.
"""
