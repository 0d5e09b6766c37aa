"""Completion scripts for shells, made from the parser: what it takes is what they offer."""

from __future__ import annotations

from . import bash, fish, zsh
from .grammar import read_grammar

#: Each turns a grammar into a script.
SHELLS = {"bash": bash.script, "zsh": zsh.script, "fish": fish.script}

__all__ = ["SHELLS", "read_grammar"]
