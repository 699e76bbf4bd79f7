"""A tree that OSTree boots: its layout, /var, /opt, accounts, kernel, units, changelogs.

The rules are the same for a composed base and for a layer. How a layer is made, or where a tree is deployed, is
decided above.
"""
