"""The protocol between host and worker: frames of a length, and then as many bytes.

    request   flags:u8 levels:u8 length:u32 (level:u8 has_known:u8 known:8s)* path (length:u32 body)* source
    reply     0:u8 hash:8s levels:u8 (state:u8 microseconds:u32 length:u32 body)*     compiled, or compared
              1:u8 kind:u8 line:u32 name                                               failed
              2:u8                                   needs a worker that has compiled nothing before
              3:u8 name                              needs a worker that has loaded this codec
    ready     "pyctrigger-worker-1" magic:4s tag (0:u8 name of a call that the system refuses)*

All numbers are little-endian. The top bit of a reply's first byte says that the worker ends after it. A source that
exploits the compiler could make a worker answer anything, so answers aren't trusted when they are parsed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from ..buffers import Buffer
from ..typed import NamedTuple, Union

_LENGTH = struct.Struct("<I").unpack_from
_REQUEST, _LEVEL = struct.Struct("<IBBI").pack, struct.Struct("<BB8s").pack
_COMPILED, _LEVEL_ANSWER = struct.Struct("<8sB").unpack_from, struct.Struct("<BII").unpack_from
_READY = b"pyctrigger-worker-1"
_WARM_UP, _LOAD, _COMPARE = 2, 4, 8
_RETIRING = 0x80
_NEEDS_CODEC = 3
_MAX_CODEC_NAME = 40
#: Not a failure of the source: the worker's account can't read the standard library.
UNREADABLE = "unreadable"
_KINDS = ("syntax", "encoding", "recursion", "memory", "unmarshallable", UNREADABLE, "crash")
#: Bytes. The marshalled code of the largest source has some ten times the source's size.
LARGEST_FRAME = 1 << 30
#: Bytes. The limit for an answer has this minimum, and grows with each byte of the request: constant folding turns 840
#: bytes into a million.
_MIN_FRAME_LIMIT, _LIMIT_PER_BYTE = 4 << 20, 5000

SAME, BODY, CHANGED, BROKEN, TWIN = 0, 1, 2, 3, 4


class WireError(Exception):
    """The bytes that were received aren't a valid frame."""


class LevelRequest(NamedTuple):
    """An optimization level to compile. `known` is the hash in the existing pyc, which may prove that it is fresh."""

    level: int
    known: bytes | None = None


class LevelAnswer(NamedTuple):
    """Result for one level.

    BODY has code, TWIN means the same code as the level before. If only a comparison was requested: the hash or the
    code is the SAME or CHANGED, or the body is BROKEN.
    """

    state: int
    body: Buffer
    microseconds: int = 0
    """How long compiling it took."""


class Compiled(NamedTuple):
    """A source was compiled, or compared. `source_hash` is zero unless the worker was started with hashes."""

    source_hash: bytes
    levels: tuple[LevelAnswer, ...]


class Failed(NamedTuple):
    """A source could not be compiled. It has kind, line (0 if none) and name of the exception, never the exception's
    message, which quotes the source.
    """

    kind: str
    line: int
    name: str


class Setup(NamedTuple):
    """What few sources need of a worker, and what one that was started for them does, or has.

    As an answer: only a worker with this setup can compile the source.
    """

    forks: bool = False
    """It forks for each body, and compiles nothing itself: bytecode may depend on what it has compiled before."""
    codec: str = ""
    """Name of the codec's module in `encodings` that it has loaded beside the usual ones: it can't open files later."""


USUAL = Setup()
Reply = Union[Compiled, Failed, Setup]


class Ready(NamedTuple):
    """The handshake of a worker that is ready."""

    magic_number: bytes
    cache_tag: str
    lacks: tuple[str, ...] = ()
    """System calls for its limits that the system refused."""


#: Bytes of a request's fields of fixed size.
_REQUEST_SIZE = 6
Frame = list[Buffer]
"""The bytes of a frame in pieces, so that a long source needn't be copied to put a few numbers before it."""


def request(
    levels: Sequence[tuple[int, bytes | None]],
    path: bytes,
    source: bytes,
    bodies: Sequence[Buffer] = (),
    *,
    flags: int = 0,
) -> Frame:
    """Returns the request to compile a source at several levels (see LevelRequest), with the file name `path`.

    The program `compare` only checks whether the hashes are that source's.
    """
    head = b"".join([_LEVEL(level, known is not None, known or b"") for level, known in levels]) + path
    rest = [piece for body in bodies for piece in (struct.pack("<I", len(body)), body)] if bodies else []
    rest.append(source)
    length = _REQUEST_SIZE + len(head) + sum(map(len, rest))
    return [_REQUEST(length, flags, len(levels), len(path)) + head, *rest]


def warm_up(source: bytes) -> Frame:
    """Returns the request to compile a source without an answer."""
    return request([LevelRequest(0)], b"", source, flags=_WARM_UP)


def question(levels: list[int], path: bytes, source: bytes, bodies: list[Buffer], *, compare: bool) -> Frame:
    """Returns the request to check whether bodies load or, with `compare`, whether they are this source's code.

    Loading a doubtful body can crash the process, or do worse; so it is never sent to a worker that compiles.
    """
    return request(list(map(LevelRequest, levels)), path, source, bodies, flags=_COMPARE if compare else _LOAD)


def parse_ready(payload: Buffer) -> Ready:
    """Parse the first frame of a worker. Raises WireError."""
    payload = bytes(payload)
    if not payload.startswith(_READY) or len(payload) < len(_READY) + 4:
        raise WireError("not the handshake of a worker")
    rest = payload[len(_READY) :]
    tag, *lacks = rest[4:].decode("utf-8", "replace").split("\0")
    return Ready(rest[:4], tag, tuple(lacks))


def parse_reply(payload: Buffer) -> tuple[Reply, bool]:
    """Parse an answer. Returns it, and whether the worker ends after it. Raises WireError."""
    try:
        status = payload[0]
        retiring = bool(status & _RETIRING)
        if status & ~_RETIRING == 0:
            return _parse_compiled(payload), retiring
        if status & ~_RETIRING == 1:
            kind, line = struct.unpack_from("<BI", payload, 1)
            name = bytes(payload[6:]).decode("ascii", "replace")
            if not name.isidentifier() or len(name) > 100:
                raise WireError("not the name of an exception")
            return Failed(_KINDS[kind], line, name), retiring
        if payload == b"\2":
            return Setup(forks=True), False
        if status == _NEEDS_CODEC:
            name = bytes(payload[1:]).decode("ascii", "replace")
            if not name.isidentifier() or len(name) > _MAX_CODEC_NAME:
                raise WireError("not the name of a codec")
            return Setup(codec=name), False
    except (IndexError, struct.error) as error:
        raise WireError("a reply ends too early") from error
    raise WireError("a reply of an unknown kind")


def _parse_compiled(payload: Buffer) -> Compiled:
    source_hash, count = _COMPILED(payload, 1)
    offset = 10
    levels: list[LevelAnswer] = []
    for _ in range(count):
        state, microseconds, length = _LEVEL_ANSWER(payload, offset)
        offset += 9
        body = payload[offset : offset + length]
        if state > TWIN or len(body) != length:
            raise WireError("a level is cut short")
        if state == TWIN and not any(level.state == BODY for level in levels):
            raise WireError("a twin without a level before it")
        levels.append(LevelAnswer(state, body, microseconds))
        offset += length
    if offset != len(payload):
        raise WireError("a reply has bytes after its end")
    return Compiled(source_hash, tuple(levels))


def largest_answer(size: int) -> int:
    """Returns the size limit for the answer to a request of `size` bytes."""
    return min(LARGEST_FRAME, _MIN_FRAME_LIMIT + _LIMIT_PER_BYTE * size)


class FrameReader:
    """Collects received bytes and splits them into frames. Memory is bounded by the largest frame."""

    def __init__(self, largest: int = LARGEST_FRAME) -> None:
        #: The largest frame that is accepted; set it according to the requests.
        self.largest = largest
        #: Received pieces of an incomplete frame, and how many bytes are needed before it is worth parsing again.
        self._held: list[Buffer] = []
        self._count = 0
        self._needed = 0

    def feed(self, data: bytes) -> Iterator[memoryview]:
        """Add received bytes. Yields the payloads that are complete now. Raises WireError for a length after them."""
        self._held.append(data)
        self._count += len(data)
        if self._count < self._needed:
            return
        whole = memoryview(data if len(self._held) == 1 else b"".join(self._held))
        frames: list[memoryview] = []
        offset, length, self._needed = 0, 0, 4
        while len(whole) - offset >= 4:
            (length,) = _LENGTH(whole, offset)
            self._needed = 4 + length
            if length > self.largest or len(whole) - offset < self._needed:
                break
            frames.append(whole[offset + 4 : offset + self._needed])
            offset += self._needed
            self._needed = 4
        # A copy, since the rest is small, and the received bytes may be many.
        self._held, self._count = [bytes(whole[offset:])], len(whole) - offset
        yield from frames
        if length > self.largest:
            raise WireError("a frame that is too long")
