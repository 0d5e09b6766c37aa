"""The frames between host and worker: a length, then the bytes, whatever they are.

    request   flags:u8 levels:u8 length:u32 (level:u8 has_known:u8 known:8s)* path (length:u32 body)* source
    reply     0:u8 hash:8s levels:u8 (state:u8 microseconds:u32 length:u32 body)*     compiled, or compared
              1:u8 kind:u8 line:u32 name                                               failed
              2:u8                                   to be asked of a worker that has compiled nothing before
              3:u8 name                              to be asked of a worker that has loaded this codec
    ready     "pyctrigger-worker-1" magic:4s tag (0:u8 name of a call that the system refuses)*

All numbers are little-endian. The top bit of a reply's first byte says that the worker ends after it. A worker can be
brought to answer anything (it ran somebody's source through a compiler), so every answer is parsed with suspicion.
"""

from __future__ import annotations

import struct
from typing import NamedTuple, Union

from ..buffers import Buffer

_LENGTH = struct.Struct("<I").unpack_from
_READY = b"pyctrigger-worker-1"
_CHECK_ONLY, _WARM_UP, _LOAD, _COMPARE = 1, 2, 4, 8
_RETIRING = 0x80
_LACKING = 3
_LONGEST_CODEC = 40
#: No failure of a file's: the target may not read its own standard library.
UNREADABLE = "unreadable"
_KINDS = ("syntax", "encoding", "recursion", "memory", "unmarshallable", UNREADABLE, "crash")
#: Bytes. The marshalled code of the largest source is some ten times the size of the source.
LARGEST_FRAME = 1 << 30
#: The least that an answer may be, and for each byte of what was asked: constant folding makes a million bytes of 840.
_LEAST_FRAME, _MOST_FOR_A_BYTE = 4 << 20, 5000

SAME, BODY, CHANGED, BROKEN, TWIN = 0, 1, 2, 3, 4


class WireError(Exception):
    """These bytes are no answer."""


class LevelRequest(NamedTuple):
    """One optimization level to compile; `known` is the hash in the existing pyc, which may prove it fresh."""

    level: int
    known: bytes | None = None


class LevelAnswer(NamedTuple):
    """What became of one level.

    A BODY, or a TWIN: the same as the level before; or, where only that was asked, whether the hash or the code is the
    SAME or CHANGED, or the body BROKEN.
    """

    state: int
    body: Buffer
    microseconds: int = 0
    """What compiling it took."""


class Compiled(NamedTuple):
    """A source was compiled, or compared. `source_hash` is all zero unless the worker was started for hashes."""

    source_hash: bytes
    levels: tuple[LevelAnswer, ...]


class Failed(NamedTuple):
    """A source could not be compiled: kind, line (0: none) and the name of the exception. Never its message, which
    quotes the source.
    """

    kind: str
    line: int
    name: str


class Unsettled(NamedTuple):
    """What the worker has compiled before may show in its bytes."""


class Lacking(NamedTuple):
    """The worker opens nothing any more, and the source is in a codec that it hasn't loaded."""

    codec: str
    """The name of its module in the package `encodings`."""


Reply = Union[Compiled, Failed, Unsettled, Lacking]


class Ready(NamedTuple):
    """What a worker says when it is ready."""

    magic_number: bytes
    cache_tag: str
    lacks: tuple[str, ...] = ()
    """System calls that would have kept it within its limits, and that the system refuses."""


Frame = list[Buffer]
"""The bytes of a frame, in pieces: a source is long, and nobody copies it to put a few numbers before it."""


def frame(*pieces: Buffer) -> Frame:
    """Put the length before the bytes."""
    return [struct.pack("<I", sum(map(len, pieces))), *pieces]


def request(levels: list[LevelRequest], path: bytes, source: bytes, *, check_only: bool = False) -> Frame:
    """The frame that asks for a source to be compiled at several levels, under the file name `path`.

    `check_only` asks whoever compares whether the hashes are that source's.
    """
    return _request(_CHECK_ONLY if check_only else 0, levels, path, source)


def warm_up(source: bytes) -> Frame:
    """The frame that has a worker compile a source and say nothing."""
    return _request(_WARM_UP, [LevelRequest(0)], b"", source)


def _request(flags: int, levels: list[LevelRequest], path: bytes, source: bytes) -> Frame:
    head = struct.pack("<BBI", flags, len(levels), len(path))
    for level, known in levels:
        head += struct.pack("<BB8s", level, known is not None, known or b"")
    return frame(head + path, source)


def question(levels: list[int], path: bytes, source: bytes, bodies: list[Buffer], *, compare: bool) -> Frame:
    """The frame that asks of existing bodies whether they load or, to `compare`, whether they are this source's code.

    A doubtful body can end the process that loads it, and worse; so never the worker that compiles is asked.
    """
    pieces: Frame = [struct.pack("<BBI", _COMPARE if compare else _LOAD, len(levels), len(path))]
    pieces += [struct.pack("<BB8s", level, False, b"") for level in levels]
    pieces.append(path)
    for body in bodies:
        pieces += [struct.pack("<I", len(body)), body]
    return frame(*pieces, source)


def parse_ready(payload: Buffer) -> Ready:
    """Read the first frame of a worker. Raises WireError."""
    payload = bytes(payload)
    if not payload.startswith(_READY) or len(payload) < len(_READY) + 4:
        raise WireError("not the word of a worker that is ready")
    rest = payload[len(_READY) :]
    tag, *lacks = rest[4:].decode("utf-8", "replace").split("\0")
    return Ready(rest[:4], tag, tuple(lacks))


def parse_reply(payload: Buffer) -> tuple[Reply, bool]:
    """Read an answer, and whether the worker ends after it. Raises WireError."""
    try:
        status = payload[0]
        retiring = bool(status & _RETIRING)
        if status & ~_RETIRING == 0:
            return _parse_compiled(payload), retiring
        if status & ~_RETIRING == 1:
            kind, line = struct.unpack_from("<BI", payload, 1)
            name = bytes(payload[6:]).decode("ascii", "replace")
            if not name.isidentifier() or len(name) > 100:
                raise WireError("no exception has that name")
            return Failed(_KINDS[kind], line, name), retiring
        if payload == b"\2":
            return Unsettled(), False
        if status == _LACKING:
            name = bytes(payload[1:]).decode("ascii", "replace")
            if not name.isidentifier() or len(name) > _LONGEST_CODEC:
                raise WireError("no codec has that name")
            return Lacking(name), False
    except (IndexError, struct.error) as error:
        raise WireError("a reply ends too early") from error
    raise WireError("a reply of no known kind")


def _parse_compiled(payload: Buffer) -> Compiled:
    source_hash, count = struct.unpack_from("<8sB", payload, 1)
    offset = 10
    levels: list[LevelAnswer] = []
    for _ in range(count):
        state, microseconds, length = struct.unpack_from("<BII", payload, offset)
        offset += 9
        body = payload[offset : offset + length]
        if state not in (SAME, BODY, CHANGED, BROKEN, TWIN) or len(body) != length:
            raise WireError("a level is cut short")
        if state == TWIN and not any(level.state == BODY for level in levels):
            raise WireError("a twin of nothing")
        levels.append(LevelAnswer(state, body, microseconds))
        offset += length
    if offset != len(payload):
        raise WireError("a reply goes on behind its end")
    return Compiled(source_hash, tuple(levels))


def largest_answer(size: int) -> int:
    """How long the answer to a request of `size` bytes can be."""
    return min(LARGEST_FRAME, _LEAST_FRAME + _MOST_FOR_A_BYTE * size)


class FrameReader:
    """Collects bytes as they come and gives out whole frames. Memory is bounded by the largest frame."""

    def __init__(self, largest: int = LARGEST_FRAME) -> None:
        #: What may come; who knows what was asked knows how long its answer can be.
        self.largest = largest
        #: What comes behind the frames that were given out is none.
        self.is_broken = False
        #: The beginning of a frame, in the pieces that came, and what must be there before it is looked at again.
        self._held: list[Buffer] = []
        self._count = 0
        self._needed = 0

    def feed(self, data: bytes) -> list[memoryview]:
        """Take in some bytes; the payloads that are complete now.

        Raises WireError for an impossible length; behind a whole frame it is only noted.
        """
        self._held.append(data)
        self._count += len(data)
        if self._count < self._needed:
            return []
        whole = memoryview(data if len(self._held) == 1 else b"".join(self._held))
        frames: list[memoryview] = []
        offset, self._needed = 0, 4
        while len(whole) - offset >= 4:
            (length,) = _LENGTH(whole, offset)
            if length > self.largest:
                self.is_broken = True
                if frames:
                    return frames
                raise WireError("a frame that is too long")
            self._needed = 4 + length
            if len(whole) - offset < self._needed:
                break
            frames.append(whole[offset + 4 : offset + self._needed])
            offset += self._needed
            self._needed = 4
        # A copy: what is left is little, what came may be much.
        self._held, self._count = [bytes(whole[offset:])], len(whole) - offset
        return frames
