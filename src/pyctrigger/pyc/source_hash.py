"""The source hash in a hash-based pyc, for any interpreter's magic number.

`_imp.source_hash(key, source)` is SipHash keyed with the four bytes of the magic number (PEP 552). The variant depends
on the interpreter: 2-4 in CPython up to 3.10 and in PyPy, 1-3 in CPython from 3.11 on (bpo-29410). The host's own
function computes only its own variant; the other one is implemented here (Aumasson and Bernstein, 2012).
"""

from __future__ import annotations

import struct
import sys

from .magic import number_of, release_of

_MASK = (1 << 64) - 1


def source_hash(magic_number: bytes, source: bytes) -> bytes:
    """Returns the hash of a source, 8 bytes, as the interpreter with this magic number computes it."""
    key = int.from_bytes(magic_number, "little")
    rounds = _rounds(magic_number)
    if rounds == _HOST_ROUNDS:
        import _imp

        return bytes(_imp.source_hash(key, source))
    return _siphash(key, source, *rounds)


def _rounds(magic_number: bytes) -> tuple[int, int]:
    """Returns the number of SipHash rounds for each word, and at the end."""
    release = release_of(number_of(magic_number))
    return (1, 3) if release.implementation == "cpython" and release.version >= (3, 11) else (2, 4)


_HOST_ROUNDS = (1, 3) if sys.implementation.name == "cpython" and sys.version_info >= (3, 11) else (2, 4)


def _siphash(key: int, source: bytes, each: int, last: int) -> bytes:
    state = (
        key ^ 0x736F6D6570736575,
        0x646F72616E646F6D,  # the second half of the key is 0
        key ^ 0x6C7967656E657261,
        0x7465646279746573,
    )
    tail = len(source) % 8
    end = source[len(source) - tail :].ljust(7, b"\0") + bytes([len(source) & 0xFF])
    for words in (memoryview(source)[: len(source) - tail], end):
        for (word,) in struct.iter_unpack("<Q", words):
            v0, v1, v2, v3 = state
            v0, v1, v2, v3 = _sip_rounds(v0, v1, v2, v3 ^ word, each)
            state = (v0 ^ word, v1, v2, v3)
    v0, v1, v2, v3 = state
    v0, v1, v2, v3 = _sip_rounds(v0, v1, v2 ^ 0xFF, v3, last)
    return (v0 ^ v1 ^ v2 ^ v3).to_bytes(8, "little")


def _sip_rounds(v0: int, v1: int, v2: int, v3: int, rounds: int) -> tuple[int, int, int, int]:
    for _ in range(rounds):
        v0 = (v0 + v1) & _MASK
        v1 = ((v1 << 13 | v1 >> 51) & _MASK) ^ v0
        v0 = (v0 << 32 | v0 >> 32) & _MASK
        v2 = (v2 + v3) & _MASK
        v3 = ((v3 << 16 | v3 >> 48) & _MASK) ^ v2
        v0 = (v0 + v3) & _MASK
        v3 = ((v3 << 21 | v3 >> 43) & _MASK) ^ v0
        v2 = (v2 + v1) & _MASK
        v1 = ((v1 << 17 | v1 >> 47) & _MASK) ^ v2
        v2 = (v2 << 32 | v2 >> 32) & _MASK
    return v0, v1, v2, v3
