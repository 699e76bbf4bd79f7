"""One operation a module, and the questions that change nothing.

An operation takes settings and a request, and returns a value that the command line shows; it neither prints nor exits.
"""
