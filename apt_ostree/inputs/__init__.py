"""Input that people write: manifest, host file, configuration, requests, debconf answers, kernel arguments.

Text in, checked values out. Operations above decide how they are used.
"""
