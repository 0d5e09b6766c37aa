"""Code without its file name: cut out of what a worker answers, and another one put in.

The file name is all that a body has of the place where it was compiled. So a worker is given a stand-in: a name that is
drawn for each run and that nobody can guess, so that no source contains it. Where its bytes are in the answer, marshal
wrote it for a code object. That is checked, too: what is in front of them has to be what marshal puts there.

CPython writes the name once, and refers to it from the other code objects; PyPy writes it for each one. How it is
written depends on the name (marshal.c, `w_complex_object`; PyPy's `marshal_impl.py`): ASCII of fewer than 256 bytes has
a length of one byte, longer ASCII one of four, and anything else is UTF-8, in which what was no UTF-8 in the file's
name is a lone surrogate. Whether the name is interned, and whether others refer to it, is the target's matter and the
same for every name.

There is one exception: marshal writes two equal strings as one if they are one object, which interning makes them. So
a name whose bytes are anywhere in the code is refused.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from ..buffers import Buffer

#: Flag of an object that others may refer to.
_SHARED = 0x80
#: The types for short ASCII, long ASCII, and other text.
_PLAIN, _INTERNED = b"zau", b"ZAt"
_MAX_SHORT = 256
#: Bytes of a stand-in.
_SIZE = 32
#: First bytes of strings that may be a file name's, as a container may have them.
KINDS = frozenset(kind | flag for kind in (_PLAIN[0], _INTERNED[0]) for flag in (0, _SHARED))
#: What may be in front of a stand-in.
_HEADS = frozenset(bytes([kind, _SIZE]) for kind in KINDS)


def new_stand_in() -> bytes:
    """Returns a file name that no source contains."""
    return os.urandom(_SIZE // 2).hex().encode()


class OpenCode(NamedTuple):
    """A body without its file name."""

    kinds: bytes
    """The first byte of the name at each place, as for a short ASCII name."""
    places: tuple[int, ...]
    """Where it is missing: offsets into the rest, in order."""
    rest: bytes


class FileName:
    """A file name as marshal writes it: `path` is its bytes in the file system."""

    __slots__ = ("_as_interned", "_as_plain", "_encoded", "_length")

    def __init__(self, path: bytes) -> None:
        self._encoded = path
        form, width = 0, 1
        if not path.isascii():
            self._encoded = path.decode("utf-8", "surrogateescape").encode("utf-8", "surrogatepass")
            form, width = 2, 4
        elif len(path) >= _MAX_SHORT:
            form, width = 1, 4
        self._length = len(self._encoded).to_bytes(width, "little")
        self._as_plain, self._as_interned = _PLAIN[form], _INTERNED[form]

    def is_in(self, code: OpenCode) -> bool:
        """Whether its bytes are in that code."""
        return self._encoded in code.rest

    def written_as(self, kind: int) -> bytes:
        """Returns what marshal writes for it where a short ASCII name has this first byte."""
        form = self._as_interned if kind & ~_SHARED == _INTERNED[0] else self._as_plain
        return bytes([form | kind & _SHARED]) + self._length + self._encoded


def cut(body: Buffer, stand_in: bytes) -> OpenCode | None:
    """Returns code that was compiled with a stand-in as its file name; None if it isn't written as expected."""
    data = bytes(body)
    kinds = bytearray()
    places: list[int] = []
    pieces: list[bytes] = []
    end = removed = 0
    at = data.find(stand_in)
    while at >= 0:
        head = at - 2
        if head < end or data[head:at] not in _HEADS:
            return None
        kinds.append(data[head])
        pieces.append(data[end:head])
        places.append(head - removed)
        end = at + _SIZE
        removed += _SIZE + 2
        at = data.find(stand_in, end)
    if not places:
        return None
    pieces.append(data[end:])
    return OpenCode(bytes(kinds), tuple(places), b"".join(pieces))


def fill(code: OpenCode, name: FileName) -> bytes | None:
    """Returns the body that the target writes for a file of this name; None if only the target can say."""
    if name.is_in(code):
        return None
    kinds, places, rest = code
    if len(places) == 1:
        at = places[0]
        return b"".join((rest[:at], name.written_as(kinds[0]), rest[at:]))
    written = {kind: name.written_as(kind) for kind in set(kinds)}
    pieces: list[bytes] = []
    end = 0
    for kind, at in zip(kinds, places):
        pieces += (rest[end:at], written[kind])
        end = at
    pieces.append(rest[end:])
    return b"".join(pieces)
