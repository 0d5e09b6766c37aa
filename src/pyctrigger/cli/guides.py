"""What `--help` shows besides the options: when to use a verb, and two examples. Not imported by hooks."""

from __future__ import annotations

import os

from ..bounded import read_regular
from ..typed import NamedTuple

_FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "guides.txt")
_LARGEST = 1 << 20


class Guide(NamedTuple):
    """When to use a verb, with examples."""

    when: str
    """Whole sentences."""
    examples: str
    """Each is a command, and below it what it is for."""


def read_guides() -> dict[str, Guide]:
    """Returns the guides by what they are about: `pyctrigger`, `pyctrigger run`, and so on. Raises OSError."""
    guides = {}
    for section in f"\n{read_regular(_FILE, _LARGEST).decode()}".split("\n# ")[1:]:
        name, _, rest = section.partition("\n")
        when, _, examples = rest.partition("\n\n")
        guides[name] = Guide(" ".join(when.split()), f"{examples.rstrip()}\n")
    return guides
