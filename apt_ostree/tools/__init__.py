"""One module for each outside program (ostree, apt, dpkg, mmdebstrap), and one for GVariant, in which ostree writes:
arguments in, values out.

A failed child becomes an error of errors.py here. What the values mean for a system is decided above.
"""
