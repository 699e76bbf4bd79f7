"""What people write: manifest, host file, configuration, package requests, debconf answers, kernel arguments.

Text in, checked values out. What is done with them is decided above.
"""
