"""What a run and the process that asks a store say to each other: frames with lengths, each bounded before it is read.

    request  length:u32 "g" (key:32s largest:u32)*     ask for these
             length:u32 "h" (key:32s)*                 ask whether they are there
             length:u32 "p" (key:32s size:u32 sealed)* keep these
    answer   state:u8 detail:u8 size:u32 content      one for each key, in their order

    state    FOUND: `content` is a container, not packed, and `detail` says which of the trusted keys signed it
             ABSENT, or KEPT: what was to be kept, or is there
             MISS: `detail` says for which of `REASONS`
             TROUBLE: `detail` is one, and `size` the system's number of an error; nothing more comes

All numbers are little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from ..container import LARGEST_PAYLOAD, SMALLEST_CONTAINER
from ..seal import LARGEST_SEALED
from .trouble import REASONS, Told, Trouble

FOUND, ABSENT, KEPT, MISS, TROUBLE = range(5)
GET, HAS, PUT = b"g", b"h", b"p"
_LENGTH = struct.Struct("<I")
_WANT = struct.Struct("<32sI")
_ANSWER = struct.Struct("<BBI")
KEY_SIZE = 32
#: Keys of one request.
MOST_WANTS = 512
#: Bytes of a request.
LARGEST_REQUEST = 1 + _WANT.size + LARGEST_SEALED


class Want(NamedTuple):
    """What is asked for."""

    key: bytes
    largest: int
    """The most bytes that may come."""

    @property
    def name(self) -> str:
        """What it is called in a store."""
        return self.key.hex()


class Answer(NamedTuple):
    """What was answered for a key."""

    state: int
    detail: int = 0
    content: bytes = b""
    number: int = 0
    """Of a trouble."""


class NoFrameError(Exception):
    """What was received isn't a frame that may come."""


def get_request(wants: Sequence[Want]) -> bytes:
    """Returns a request for these keys, `MOST_WANTS` at most; `largest` are bytes of a payload."""
    body = GET + b"".join(_WANT.pack(*want) for want in wants)
    return _LENGTH.pack(len(body)) + body


def has_request(keys: Sequence[bytes]) -> bytes:
    """Returns a request that asks whether these keys are there, `MOST_WANTS` at most."""
    body = HAS + b"".join(keys)
    return _LENGTH.pack(len(body)) + body


def put_request(pairs: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Returns a request to keep things, each by its key, of `LARGEST_SEALED` bytes in all, or one."""
    pieces = [PUT]
    for key, content in pairs:
        pieces += _WANT.pack(key, len(content)), content
    return _LENGTH.pack(sum(map(len, pieces))) + b"".join(pieces)


def wants_of(body: bytes) -> list[Want]:
    """Returns what a request asks for. Raises NoFrameError."""
    if (len(body) - 1) % _WANT.size or len(body) > 1 + MOST_WANTS * _WANT.size:
        raise NoFrameError
    return [Want(*each) for each in _WANT.iter_unpack(body[1:])]


def keys_of(body: bytes) -> list[bytes]:
    """Returns whose presence a request asks for. Raises NoFrameError."""
    if (len(body) - 1) % KEY_SIZE or len(body) > 1 + MOST_WANTS * KEY_SIZE:
        raise NoFrameError
    return [body[begin : begin + KEY_SIZE] for begin in range(1, len(body), KEY_SIZE)]


def pairs_of(body: bytes) -> list[tuple[bytes, bytes]]:
    """Returns what a request wants to be kept. Raises NoFrameError."""
    pairs, at = [], 1
    while at < len(body):
        if len(body) - at < _WANT.size:
            raise NoFrameError
        key, size = _WANT.unpack_from(body, at)
        at += _WANT.size + size
        if at > len(body):
            raise NoFrameError
        pairs.append((key, body[at - size : at]))
    return pairs


def pack_answer(answer: Answer) -> bytes:
    """Returns the frame of an answer."""
    size = answer.number if answer.state == TROUBLE else len(answer.content)
    return _ANSWER.pack(answer.state, answer.detail, size) + answer.content


def take_answer(received: bytearray, largest: int, signers: int) -> Answer | None:
    """Take the first answer out of what was received; None if it isn't whole yet.

    It is for a key of which `largest` bytes of a payload were asked for; so many keys are trusted. Raises NoFrameError.
    """
    if len(received) < _ANSWER.size:
        return None
    state, detail, size = _ANSWER.unpack_from(received)
    if state == TROUBLE:
        if detail not in iter(Trouble):
            raise NoFrameError
        return Answer(state, detail, number=size)
    if state == FOUND:
        is_right = detail < signers and SMALLEST_CONTAINER <= size <= SMALLEST_CONTAINER + min(largest, LARGEST_PAYLOAD)
    else:
        is_right = state in (ABSENT, KEPT, MISS) and detail < len(REASONS) and not size
    if not is_right:
        raise NoFrameError
    end = _ANSWER.size + size
    if len(received) < end:
        return None
    content = bytes(received[_ANSWER.size : end])
    del received[:end]
    return Answer(state, detail, content)


def told(answer: Answer) -> Told:
    """Returns the trouble of an answer that is one."""
    return Told(Trouble(answer.detail), answer.number if answer.number < 4096 else 0)
