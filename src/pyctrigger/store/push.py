"""Sends what a local store holds to a store of other machines, signed.

Only code that this installation compiled itself is sent, of sources that everybody may read: nobody else's word is
passed on. Each batch is one push, with one signature; what is there already isn't sent again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from ..zstd import zstd_module
from .container import NO_ORIGIN, Flaw, Packing, StoredCode, pack
from .local import LocalStore
from .seal import seal
from .signing import SigningKey

#: Codes of one push, and bytes of their containers, after which it is sent.
_MAX_CODES, _MAX_BYTES = 4096, 32 << 20
#: Codes that are read at once.
_READ = 64
#: Codes and bytes of one request, but at least one code.
_MAX_PAIRS, _MAX_REQUEST = 256, 4 << 20


class Remote(Protocol):
    """A store of other machines, for writing. Each call raises PyctriggerError."""

    def has(self, keys: Sequence[bytes]) -> Sequence[bool]:
        """Returns for each key whether something is there."""

    def put(self, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        """Keep sealed containers, each by its key."""


class Pushed(NamedTuple):
    """What became of all that a local store holds."""

    sent: int = 0
    bytes: int = 0
    """Of all that was sent, with the seals."""
    present: int = 0
    """What was there already."""
    withheld: int = 0
    """What others compiled, or not everybody may read."""
    damaged: int = 0
    """What couldn't be believed."""

    def plus(self, **numbers: int) -> Pushed:
        """Returns the sums with other numbers."""
        return self._replace(**{name: getattr(self, name) + number for name, number in numbers.items()})


class Push:
    """Sends what a store holds; `pushed` is what became of it so far, also after an error."""

    def __init__(self, store: LocalStore, remote: Remote, signer: SigningKey, *, again: bool = False) -> None:
        """With `again` also what is there already is sent."""
        self._store = store
        self._remote = remote
        self._signer = signer
        self._again = again
        self._packing = Packing.ZSTD if zstd_module() else Packing.ZLIB
        self.pushed = Pushed()

    def run(self) -> Pushed:
        """Send all that may be sent. Raises what `Remote` does, and OSError."""
        waiting: list[tuple[bytes, bytes]] = []
        size = 0
        for code in self._codes():
            container = pack(code, self._packing if code.code else Packing.NONE)
            waiting.append((code.key, container))
            size += len(container)
            if len(waiting) >= _MAX_CODES or size >= _MAX_BYTES:
                self._send(waiting)
                waiting, size = [], 0
        self._send(waiting)
        return self.pushed

    def _codes(self) -> Iterator[StoredCode]:
        """Yields all that may be sent, and isn't there."""
        origin = self._store.origin
        for keys in _grouped(self._store.keys(), _MAX_CODES):
            there = [False] * len(keys) if self._again else self._remote.has(keys)
            self.pushed = self.pushed.plus(present=sum(there))
            missing = [key for key, is_there in zip(keys, there) if not is_there]
            for begin in range(0, len(missing), _READ):
                for found in self._store.get(missing[begin : begin + _READ]):
                    if not isinstance(found, StoredCode):
                        self.pushed = self.pushed.plus(damaged=isinstance(found, Flaw))
                    elif found.origin != origin or origin == NO_ORIGIN:
                        self.pushed = self.pushed.plus(withheld=1)
                    else:
                        yield found

    def _send(self, containers: list[tuple[bytes, bytes]]) -> None:
        pairs: list[tuple[bytes, bytes]] = []
        size = 0
        for pair in seal(containers, self._signer):
            if pairs and (len(pairs) >= _MAX_PAIRS or size + len(pair[1]) > _MAX_REQUEST):
                self._put(pairs, size)
                pairs, size = [], 0
            pairs.append(pair)
            size += len(pair[1])
        if pairs:
            self._put(pairs, size)

    def _put(self, pairs: list[tuple[bytes, bytes]], size: int) -> None:
        self._remote.put(pairs)
        self.pushed = self.pushed.plus(sent=len(pairs), bytes=size)


def _grouped(keys: Iterator[bytes], most: int) -> Iterator[list[bytes]]:
    group: list[bytes] = []
    for key in keys:
        group.append(key)
        if len(group) == most:
            yield group
            group = []
    if group:
        yield group
