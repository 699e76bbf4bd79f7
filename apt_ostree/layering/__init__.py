"""How a layer is made: the package cache, rounds of dpkg on a stack of overlays, and the settling of the result.

A plan and a base go in, layers ready to commit come out. What is asked for, and what is done with the
commit, is decided in ops.
"""
