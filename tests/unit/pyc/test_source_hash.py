"""The hash in a hash-based pyc, for interpreters of both kinds of SipHash."""

from __future__ import annotations

import importlib.util
import struct
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyctrigger.pyc import source_hash as module
from pyctrigger.pyc.source_hash import source_hash

OWN = importlib.util.MAGIC_NUMBER
LONG = bytes(range(256)) * 3 + b"abc"
#: By magic number: what CPython 3.8, 3.10 and 3.12 say of four sources.
SAID = {
    3413: ("81e4881b3643e8e9", "1506f08f32bf3ff3", "8f7469e1ec48a4ff", "aa788bbb91071be9"),
    3439: ("8cc0cd2525e7fd27", "d94aade28c8cbebf", "b849ee5673b9ef96", "c327e4c3484f4cb4"),
    3531: ("baf18eedc9387a25", "1522561917f5df08", "64efc1c8505ebb34", "391d95922af48561"),
}


def magic(number: int) -> bytes:
    """The four bytes of a magic number."""
    return struct.pack("<H", number) + b"\r\n"


@pytest.mark.parametrize("number", SAID)
def test_hash_is_what_each_interpreter_says(number: int) -> None:
    """Empty, shorter than a word, a word, and longer, with a tail."""
    said = [source_hash(magic(number), source).hex() for source in (b"", b"x = 1\n", b"12345678", LONG)]
    assert list(SAID[number]) == said


@given(st.binary(max_size=300))
def test_hash_is_the_hosts_own(source: bytes) -> None:
    """Asked for its own magic number, the algorithm here says what importlib says."""
    expected = importlib.util.source_hash(source)
    key = int.from_bytes(OWN, "little")

    assert expected == source_hash(OWN, source)
    assert expected == module._siphash(key, source, *module._HOST_ROUNDS)


@pytest.mark.parametrize(
    ("number", "rounds"),
    [
        (3439, (2, 4)),
        (3449, (2, 4)),
        (3450, (1, 3)),
        (3495, (1, 3)),
        (3666, (1, 3)),
        (336, (2, 4)),
        (416, (2, 4)),
        (1, (2, 4)),
    ],
)
def test_rounds_are_the_interpreters(number: int, rounds: tuple[int, int]) -> None:
    """1-3 in CPython from 3.11 on, 2-4 before and in PyPy."""
    assert rounds == module._rounds(magic(number))


def test_rounds_of_the_host() -> None:
    """Its own are those of its magic number."""
    assert module._HOST_ROUNDS == module._rounds(OWN)
    assert module._HOST_ROUNDS == ((1, 3) if sys.version_info >= (3, 11) else (2, 4))
