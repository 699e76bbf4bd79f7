"""The words that a person types and reads: a module for each group of commands, which main.py lists.

Nothing else prints or exits. A command makes one call into ops, and shows what that returns: by results.py if it
changed a sysroot, else by streams.py, documents.py and layout.py.
"""
