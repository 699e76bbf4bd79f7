"""What a person types and reads: commands, options, progress, results, errors, JSON.

Nothing else prints or exits. What a command does is one call into ops.
"""
