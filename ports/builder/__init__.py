"""Building packages of pyctrigger for each system; stdlib only, Python 3.9 or later."""
