"""Bytecode that was made elsewhere: its key, its form without a file name, and where it is kept."""
