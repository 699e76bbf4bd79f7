"""The deployments on a disk: read, published, reordered, kept; with what is recorded beside them and in their commits.

How the tree that is deployed came to be is not known here.
"""
