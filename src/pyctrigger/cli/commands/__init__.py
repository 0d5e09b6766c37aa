"""The verbs, in the order in which the help lists them.

One that has a `perform` of its own is no request about bytecode. Options that several verbs have are declared in
`cli/options`. One that has a `look` is a request that it answers itself, by looking only, or by looking first.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from types import ModuleType

_NAMES = (
    "run",
    "repair",
    "verify",
    "sweep",
    "purge",
    "status",
    "doctor",
    "explain",
    "which",
    "history",
    "audit",
    "measure",
    "hooks",
    "completion",
)


class _Verbs(Mapping[str, ModuleType]):
    """Each verb's module, imported when it is asked for: a hook needs one of them."""

    def __getitem__(self, verb: str) -> ModuleType:
        if verb not in _NAMES:
            raise KeyError(verb)
        name = f"{__name__}.{verb}"
        __import__(name)
        return sys.modules[name]

    def __contains__(self, verb: object) -> bool:
        return verb in _NAMES

    def __iter__(self) -> Iterator[str]:
        return iter(_NAMES)

    def __len__(self) -> int:
        return len(_NAMES)


VERBS: Mapping[str, ModuleType] = _Verbs()

__all__ = ["VERBS"]
