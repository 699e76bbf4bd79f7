"""One module for each outside program (ostree, apt, dpkg, mmdebstrap): arguments in, values out.

A failed child becomes an error of errors.py here. What the values mean for a system is decided above.
"""
