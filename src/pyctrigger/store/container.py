"""What a store keeps for one key: code without its file name, or the level whose code it has, checked in full.

    format:u8 twin:u8 key:32s microseconds:u32 origin:16s holes:u32 size:u32 stored:u32 payload digest:32s
    payload   (kind:u8)*holes (place:u32)*holes code

All numbers are little-endian. `size` is the payload's, `stored` what it takes here, which differs if the format byte
says that it is compressed. The digest is SHA-256 over all before it, and is compared before anything else is believed,
and before anything is decompressed.
"""

from __future__ import annotations

import enum
import hashlib
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple, Union

from ..zstd import zstd_module
from .holes import KINDS, OpenCode

_HEAD = struct.Struct("<BB32sI16sIII")
#: The place of a hole, where there is only one: CPython writes no more.
_ONE = struct.Struct("<I")
_DIGEST_SIZE = 32
_HOLE_SIZE = 5
#: In the place of an origin, of code that is never passed on: who may read its source is its own store's matter.
NO_ORIGIN = bytes(16)
#: In the place of a twin, if there is code.
_NO_TWIN = 0xFF
_MAX_LEVEL = 2
_MAX_UINT32 = 0xFFFFFFFF
#: Bytes of a payload. No pyc may be larger (`tree/source.py`).
LARGEST_PAYLOAD = 128 << 20
#: Bytes. A container around no code.
SMALLEST_CONTAINER = _HEAD.size + _DIGEST_SIZE
LARGEST_CONTAINER = SMALLEST_CONTAINER + LARGEST_PAYLOAD
#: Why code that is right is a miss all the same: its source has its file's name in it, or the level whose code it has
#: isn't there, or it would be larger than its source allows.
NAMES_ITSELF, NO_SUCH_TWIN, TOO_LONG = UNUSABLE = ("names itself", "twin of no level", "too long with its name")
#: Bytes of memory that zstd may take for one payload, as a power of two.
_ZSTD_WINDOW = 27


class Packing(enum.IntEnum):
    """How a payload is packed."""

    NONE = 0
    ZLIB = 1
    ZSTD = 2


class Flaw(enum.Enum):
    """Why bytes that were found for a key are a miss."""

    UNKNOWN_FORMAT = "unknown format"
    TRUNCATED = "truncated"
    OVERSIZED = "oversized"
    OTHER_KEY = "other key"
    FLIPPED = "flipped"
    MALFORMED = "malformed"


class StoredCode(NamedTuple):
    """What is kept for one key."""

    key: bytes
    code: OpenCode | None
    """None if the code is another level's."""
    twin: int = 0
    """The level that has the same code, if `code` is None."""
    microseconds: int = 0
    """How long compiling it took."""
    origin: bytes = NO_ORIGIN
    """Which installation compiled it."""
    signer: bytes = b""
    """The public key of who has signed it, where it was kept elsewhere: no part of the container."""

    @property
    def size(self) -> int:
        """Bytes of its payload."""
        return len(self.code.rest) + _HOLE_SIZE * len(self.code.places) if self.code else 0


Unpacked = Union[StoredCode, Flaw]


def pack(entry: StoredCode, packing: Packing = Packing.NONE) -> bytes:
    """Returns the container of an entry. Raises ImportError if this Python can't pack it so."""
    key, code, twin, microseconds, origin, _ = entry
    payload, holes = b"", 0
    if code is not None:
        holes, twin = len(code.places), _NO_TWIN
        payload = b"".join((code.kinds, struct.pack(f"<{holes}I", *code.places), code.rest))
    size = len(payload)
    if packing is not Packing.NONE:
        payload = _compress(payload, packing)
    microseconds = min(microseconds, _MAX_UINT32)
    data = _HEAD.pack(packing, twin, key, microseconds, origin, holes, size, len(payload)) + payload
    return data + hashlib.sha256(data).digest()


def unpack(data: bytes, key: bytes, largest: int = LARGEST_PAYLOAD) -> Unpacked:
    """Returns the entry in a container that was found for `key`, or what is wrong with it. Raises nothing.

    `largest` bytes are the most that its payload may have.
    """
    if len(data) < SMALLEST_CONTAINER:
        return Flaw.TRUNCATED
    form, twin, its_key, microseconds, origin, holes, size, stored = _HEAD.unpack_from(data)
    if form > Packing.ZSTD:
        return Flaw.UNKNOWN_FORMAT
    if size > largest or stored > largest:
        return Flaw.OVERSIZED
    end = _HEAD.size + stored
    if len(data) != end + _DIGEST_SIZE:
        return Flaw.TRUNCATED if len(data) < end + _DIGEST_SIZE else Flaw.OVERSIZED
    if hashlib.sha256(data[:end]).digest() != data[end:]:  # a copy is hashed faster than a view
        return Flaw.FLIPPED
    if its_key != key:
        return Flaw.OTHER_KEY
    if twin != _NO_TWIN:
        is_right = twin <= _MAX_LEVEL and not (form or holes or size or stored)
        return StoredCode(key, None, twin, microseconds, origin) if is_right else Flaw.MALFORMED
    if form:
        payload = _decompress(data[_HEAD.size : end], Packing(form), size)
        if isinstance(payload, Flaw):
            return payload
        code = _parse_code(payload, 0, size, holes)
    else:
        code = _parse_code(data, _HEAD.size, end, holes) if stored == size else None
    return Flaw.MALFORMED if code is None else StoredCode(key, code, 0, microseconds, origin)


def _parse_code(data: bytes, begin: int, end: int, holes: int) -> OpenCode | None:
    """Returns the code of the payload between two places, or None if it has holes where none can be."""
    code = begin + _HOLE_SIZE * holes
    if not holes or end <= code:
        return None
    kinds = data[begin : begin + holes]
    places = _ONE.unpack_from(data, begin + 1) if holes == 1 else struct.unpack_from(f"<{holes}I", data, begin + holes)
    if not KINDS.issuperset(kinds) or not _is_ascending(places) or places[-1] > end - code:
        return None
    return OpenCode(kinds, places, data[code:end])


def _is_ascending(places: Sequence[int]) -> bool:
    return len(places) == 1 or all(before <= after for before, after in zip(places, places[1:]))


def _compress(payload: bytes, packing: Packing) -> bytes:
    module = _module_for(packing)
    if module is None:
        raise ImportError(f"this Python has no {packing.name.lower()}")
    packed: bytes = module.compress(payload)
    return packed


def _decompress(payload: bytes, packing: Packing, size: int) -> bytes | Flaw:
    """Returns a payload of `size` bytes. Takes memory for one byte more at most."""
    module = _module_for(packing)
    if module is None:
        return Flaw.UNKNOWN_FORMAT
    if packing is Packing.ZLIB:
        reader, error = module.decompressobj(), module.error
    else:
        bound = {module.DecompressionParameter.window_log_max: _ZSTD_WINDOW}
        reader, error = module.ZstdDecompressor(options=bound), module.ZstdError
    try:
        found: bytes = reader.decompress(payload, size + 1)
    except error:
        return Flaw.MALFORMED
    return found if len(found) == size and reader.eof and not reader.unused_data else Flaw.MALFORMED


def _module_for(packing: Packing) -> Any:
    """Returns the module that packs so, or None if this Python has none."""
    if packing is Packing.ZSTD:
        return zstd_module()
    try:
        import zlib
    except ImportError:
        return None
    return zlib
