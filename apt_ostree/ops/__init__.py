"""The operations: each a function from a request to a result; the command line renders results."""
