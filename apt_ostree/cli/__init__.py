"""The words that a person types and reads: commands, options, progress, results, errors, JSON.

Nothing else prints or exits. A command makes one call into ops.
"""
