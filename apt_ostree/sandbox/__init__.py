"""Where package scripts run: bwrap, the filter of system calls, and the watch over time, processes and disk.

What runs inside, and on which tree, is decided above.
"""
