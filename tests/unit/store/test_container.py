"""The container: what went in comes out, and any other bytes are a reason, for each kind of damage its own."""

from __future__ import annotations

import hashlib
import struct
import sys
import tracemalloc
import zlib
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from conftest import absent
from pyctrigger.store.container import LARGEST_PAYLOAD, SMALLEST_CONTAINER, Flaw, Packing, StoredCode, pack, unpack
from pyctrigger.store.holes import KINDS, OpenCode
from pyctrigger.zstd import zstd_module

if TYPE_CHECKING:
    from collections.abc import Callable

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))
CODE = OpenCode(b"\xfa", (4,), b"\xe3abc" * 25)
ENTRY = StoredCode(KEY, CODE, 0, 1500, b"o" * 16)
TWIN = StoredCode(KEY, None, 1, 0, b"o" * 16)
#: Where the fields are.
FORM, LEVEL, ITS_KEY, HOLES, SIZE, STORED, PAYLOAD = 0, 1, 2, 54, 58, 62, 66

keys = st.binary(min_size=32, max_size=32)
numbers = st.integers(0, 2**32 - 1)
origins = st.binary(min_size=16, max_size=16)


@st.composite
def codes(draw: st.DrawFn) -> OpenCode:
    """Some bytes with holes anywhere, also several in one place."""
    rest = draw(st.binary(min_size=1, max_size=300))
    places = sorted(draw(st.lists(st.integers(0, len(rest)), min_size=1, max_size=20)))
    kinds = draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=len(places), max_size=len(places)))
    return OpenCode(bytes(kinds), tuple(places), rest)


with_code = st.builds(StoredCode, keys, codes(), st.just(0), numbers, origins)
twins = st.builds(StoredCode, keys, st.none(), st.integers(0, 2), numbers, origins)


def packings() -> list[Packing]:
    """Those that this Python has."""
    return [Packing.NONE, Packing.ZLIB, *([Packing.ZSTD] if zstd_module() else [])]


def sealed(data: bytes) -> bytes:
    """The same container with the digest that its bytes have now."""
    return data[:-32] + hashlib.sha256(data[:-32]).digest()


def changed(data: bytes, at: int, form: str, *values: Any) -> bytes:
    """A container with other numbers at one place, and the digest for it."""
    copy = bytearray(data)
    struct.pack_into(form, copy, at, *values)
    return sealed(bytes(copy))


def with_payload(payload: bytes, packing: Packing, size: int, holes: int = 1) -> bytes:
    """A container of these bytes, whatever they are."""
    head = struct.pack("<BB32sI16sIII", packing, 0xFF, KEY, 0, bytes(16), holes, size, len(payload))
    return sealed(head + payload + bytes(32))


@given(st.one_of(with_code, twins), st.sampled_from(packings()))
def test_what_goes_in_comes_out(entry: StoredCode, packing: Packing) -> None:
    """Whole, in each packing, but for who signed it; a twin has no code, so nothing is packed."""
    packing = packing if entry.code else Packing.NONE
    assert entry._replace(signer=b"") == unpack(pack(entry, packing), entry.key)


def test_bytes_of_a_container() -> None:
    """They are on disks, and in stores that other releases read."""
    data = pack(StoredCode(KEY, OpenCode(b"\xfa", (1,), b"\xe3N"), 0, 258, b"o" * 16))
    head = "00ff" + KEY.hex() + "02010000" + (b"o" * 16).hex() + "010000000700000007000000"
    assert head + "fa01000000e34e" == data[:-32].hex()
    assert hashlib.sha256(data[:-32]).digest() == data[-32:]
    assert "0001" + KEY.hex() == pack(TWIN)[:34].hex()
    assert SMALLEST_CONTAINER == len(pack(TWIN))


#: One thing wrong with a container of a hundred bytes, and what is said of it.
FLAWS: list[tuple[str, Callable[[bytes], bytes], Flaw]] = [
    ("empty", lambda _: b"", Flaw.TRUNCATED),
    ("a part of its head", lambda data: data[:50], Flaw.TRUNCATED),
    ("all but a byte", lambda data: data[:-1], Flaw.TRUNCATED),
    ("a byte more", lambda data: data + b"\0", Flaw.OVERSIZED),
    ("a later packing", lambda data: changed(data, FORM, "<B", 3), Flaw.UNKNOWN_FORMAT),
    ("a byte of its code", lambda data: data[:90] + b"?" + data[91:], Flaw.FLIPPED),
    ("a byte of its digest", lambda data: data[:-1] + bytes([data[-1] ^ 1]), Flaw.FLIPPED),
    ("another key, without the digest for it", lambda data: data[:2] + OTHER + data[34:], Flaw.FLIPPED),
    ("another key", lambda data: changed(data, ITS_KEY, "<32s", OTHER), Flaw.OTHER_KEY),
    ("more than is allowed", lambda data: changed(data, SIZE, "<I", 1001), Flaw.OVERSIZED),
    ("more than there is", lambda data: changed(data, STORED, "<I", 999), Flaw.TRUNCATED),
    ("less than there is", lambda data: changed(data, STORED, "<I", 9), Flaw.OVERSIZED),
    ("the largest number", lambda data: changed(data, STORED, "<I", 2**32 - 1), Flaw.OVERSIZED),
    ("two sizes", lambda data: changed(data, SIZE, "<I", 9), Flaw.MALFORMED),
    ("no hole", lambda data: changed(data, HOLES, "<I", 0), Flaw.MALFORMED),
    ("more holes than there is room for", lambda data: changed(data, HOLES, "<I", 21), Flaw.MALFORMED),
    ("holes without code", lambda data: changed(data, HOLES, "<I", 2**32 - 1), Flaw.MALFORMED),
    ("a hole beyond the end", lambda data: changed(data, PAYLOAD + 1, "<I", 101), Flaw.MALFORMED),
    ("a hole of no string", lambda data: changed(data, PAYLOAD, "<B", 0xE9), Flaw.MALFORMED),
    ("a twin with code", lambda data: changed(data, LEVEL, "<B", 1), Flaw.MALFORMED),
    ("a twin of no level", lambda _: changed(pack(TWIN), LEVEL, "<B", 3), Flaw.MALFORMED),
    ("a packed twin", lambda _: changed(pack(TWIN), FORM, "<B", 1), Flaw.MALFORMED),
    ("holes in another order", lambda _: pack(StoredCode(KEY, OpenCode(b"\xfa\xfa", (3, 2), b"abcd"))), Flaw.MALFORMED),
    ("packed by nobody", lambda data: changed(data, FORM, "<B", 1), Flaw.MALFORMED),
]


@pytest.mark.parametrize(("damage", "flaw"), [row[1:] for row in FLAWS], ids=[row[0] for row in FLAWS])
def test_damage_has_a_name(damage: Callable[[bytes], bytes], flaw: Flaw) -> None:
    """Whatever is wrong, and if several things are, the first that can be seen."""
    data = pack(ENTRY)
    assert ENTRY == unpack(data, KEY, 1000)
    assert flaw is unpack(damage(data), KEY, 1000)


@pytest.mark.parametrize("packing", packings()[1:])
def test_packed_payloads_are_what_they_say(packing: Packing) -> None:
    """Of the size that was told, whole, and with nothing after them."""
    whole = b"\xfa" + bytes(4) + b"c" * 1000
    packed = pack(StoredCode(KEY, OpenCode(b"\xfa", (0,), b"c" * 1000)), packing)[PAYLOAD:-32]
    assert Flaw.MALFORMED is not unpack(with_payload(packed, packing, len(whole)), KEY)
    for payload, size in (
        (packed, len(whole) - 1),
        (packed, len(whole) + 1),
        (packed[:-1], len(whole)),
        (packed + b"x", len(whole)),
        (b"", len(whole)),
        (b"nonsense", len(whole)),
    ):
        assert Flaw.MALFORMED is unpack(with_payload(payload, packing, size), KEY)


def test_a_bomb_takes_no_memory() -> None:
    """A hundred megabytes of zeros in a hundred kilobytes, which say that they are one."""
    bomb = with_payload(zlib.compress(bytes(100 << 20), 9), Packing.ZLIB, 1 << 20)
    tracemalloc.start()
    try:
        assert Flaw.MALFORMED is unpack(bomb, KEY)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("packing", [Packing.ZLIB, Packing.ZSTD])
def test_what_this_python_cannot_read_is_a_miss(packing: Packing, monkeypatch: pytest.MonkeyPatch) -> None:
    """Zlib is left out of some builds, and zstd is an extra before 3.14."""
    if packing not in packings():
        absent("no zstd for this Python")
    data = pack(ENTRY, packing)
    for name in ("zlib", "compression", "backports", "compression.zstd", "backports.zstd"):
        monkeypatch.setitem(sys.modules, name, None)
    assert Flaw.UNKNOWN_FORMAT is unpack(data, KEY)
    assert ENTRY == unpack(pack(ENTRY), KEY)
    with pytest.raises(ImportError, match="this Python has no z"):
        pack(ENTRY, packing)


@given(st.binary(max_size=400), st.booleans())
@example(b"", False)
@example(bytes(SMALLEST_CONTAINER), True)
def test_any_bytes_are_a_value_or_a_reason(data: bytes, has_digest: bool) -> None:
    """Nothing is raised, also if the digest is that of the bytes."""
    found = unpack(sealed(data) if has_digest and len(data) >= 32 else data, KEY)
    assert isinstance(found, (StoredCode, Flaw))


@given(with_code, st.sampled_from(packings()), st.data())
def test_one_other_byte_is_noticed(entry: StoredCode, packing: Packing, data: st.DataObject) -> None:
    """Wherever it is; with a digest for it, what comes out is at least some code or a reason."""
    container = bytearray(pack(entry, packing))
    at = data.draw(st.integers(0, len(container) - 1))
    container[at] ^= data.draw(st.integers(1, 255))
    assert isinstance(unpack(bytes(container), entry.key), Flaw)
    found = unpack(sealed(bytes(container)), entry.key, LARGEST_PAYLOAD)
    assert isinstance(found, (StoredCode, Flaw))


@given(with_code, st.integers(0, 500))
def test_a_cut_container_is_noticed(entry: StoredCode, length: int) -> None:
    """Wherever it ends."""
    container = pack(entry)
    assert Flaw.TRUNCATED is unpack(container[: min(length, len(container) - 1)], entry.key)
