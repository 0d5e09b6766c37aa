"""The command line: the only part that prints or exits."""

from .main import main

__all__ = ["main"]
