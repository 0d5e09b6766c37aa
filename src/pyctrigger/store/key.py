"""The key of stored code: a digest of all that it depends on, and of no path.

Two interpreters with the same key write the same code for a source. So the key has what the target said of itself when
it was probed: implementation and release (PyPy's own, too), ABI, debug build, cache tag, magic number, system, machine,
word, and the C library. That computes the powers that the compiler folds, and not only its version decides how: with
the same glibc a processor without FMA gets other last digits. So a checksum of powers is part of it as well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from ..interpreter.interpreter import Interpreter

#: Changes whenever a worker would write other bytes for the same source, and with the form of the key.
_SCHEMA = "pyctrigger-code-1"


class CodeKeys:
    """The keys of one interpreter's code."""

    def __init__(self, facts: Iterable[str]) -> None:
        self._begin = hashlib.sha256()
        for fact in facts:
            self._begin.update(f"{len(fact)}:{fact}".encode())

    def of(self, source_digest: bytes, level: int) -> bytes:
        """Returns the key for the source with this digest, which is the whole SHA-256, at a level."""
        key = self._begin.copy()
        key.update(source_digest + bytes((level,)))
        return key.digest()


def keys_of(interpreter: Interpreter) -> CodeKeys | None:
    """Returns the keys of an interpreter's code, or None if nothing of it may be stored.

    That is so for a development build, whose release says little about it; for one that was never probed; and for one
    that is another account's, or in a foreign root: what it says it is, nobody vouches for.
    """
    build = dict(interpreter.build)
    if build.get("development", "yes") != "no" or interpreter.account is not None or interpreter.root is not None:
        return None
    return CodeKeys(
        (
            _SCHEMA,
            interpreter.implementation,
            interpreter.release,
            interpreter.cache_tag,
            interpreter.magic_number.hex(),
            interpreter.abi_flags,
            "free-threaded" if interpreter.free_threaded else "",
            *(f"{name}={text}" for name, text in sorted(build.items())),
            " ".join(interpreter.class_names),
        )
    )
