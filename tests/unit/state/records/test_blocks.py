"""Records of one directory, packed into bytes, and what is left of damaged ones."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyctrigger.state.records import blocks
from pyctrigger.state.records.blocks import Block, split
from pyctrigger.state.records.record import DIGEST_SIZE, PACKED, UNSEEN, Record

_identities = st.binary(min_size=PACKED.size, max_size=PACKED.size)
_digests = st.binary(min_size=DIGEST_SIZE, max_size=DIGEST_SIZE)
_origins = st.sampled_from([("", ""), ("local", ""), ("redis://host", "ed25519:AAAA"), ("http://ä", "\udcff")])
_records = st.builds(
    lambda *fields: Record(*fields[:-1], *fields[-1]),
    *(_identities, _digests, _identities, _digests, st.binary(max_size=16), st.integers(0, (1 << 63) - 1), _origins),
)
#: As a directory may have them: bytes that are no text, too.
_names = st.binary(min_size=1, max_size=20).filter(lambda name: not {b"\0", b"/"} & {bytes([byte]) for byte in name})
_directories = st.dictionaries(_names.map(lambda name: name.decode("utf-8", "surrogateescape")), _records, max_size=8)

RECORD = Record(bytes(range(40)), b"s" * DIGEST_SIZE, bytes(range(1, 41)), b"b" * DIGEST_SIZE, b"header", 7)


@given(_directories)
def test_records_come_back(records: dict[str, Record]) -> None:
    """Whatever their names are, and wherever their code is from."""
    block = Block.of(records)
    assert (records, len(records)) == (block.unpacked(), block.size)


def test_a_record_is_small() -> None:
    """What 120,000 of them take decides what a run holds."""
    block = Block.of({"m.cpython-313.pyc": RECORD})
    assert (147, "") == (len(block.records), block.origins)


@pytest.mark.parametrize("identity", [b"", b"too short", b"as long as that no record has room for it"])
def test_what_is_no_stamp_fits_no_file(identity: bytes) -> None:
    """A time before 1677, say."""
    (found,) = Block.of({"m": RECORD._replace(source=identity)}).unpacked().values()
    assert (PACKED.size, RECORD.pyc) == (len(found.source), found.pyc)


def test_an_origin_is_kept_once() -> None:
    """Most code of a directory is from one store."""
    stored = RECORD._replace(store="redis://host", signer="ed25519:AAAA")
    block = Block.of({"a": stored, "b": RECORD, "c": stored})
    assert [["", ""], ["redis://host", "ed25519:AAAA"]] == json.loads(block.origins)


def test_of_two_records_the_later_counts() -> None:
    """Lanes say what they have done in parts."""
    one, other = Block.of({"a": RECORD, "b": RECORD}), Block.of({"a": RECORD._replace(microseconds=8)})
    both = Block(one.names + b"\0" + other.names, one.records + other.records)
    assert ({"a": 8, "b": 7}, 3) == ({name: each.microseconds for name, each in both.unpacked().items()}, both.size)


WHOLE = Block.of({"a": RECORD, "b": RECORD._replace(store="local")})
DAMAGED = {
    "no names": WHOLE._replace(names=b""),
    "fewer names": WHOLE._replace(names=b"a"),
    "more names": WHOLE._replace(names=b"a\0b\0c"),
    "names that are none": WHOLE._replace(names=7),  # type: ignore[arg-type]
    "half a record": WHOLE._replace(records=WHOLE.records[:-1]),
    "records that are none": WHOLE._replace(records=None),  # type: ignore[arg-type]
    "records that are a text": WHOLE._replace(records="x" * len(WHOLE.records)),  # type: ignore[arg-type]
    "no origins": WHOLE._replace(origins=""),
    "half of the origins": WHOLE._replace(origins=WHOLE.origins[:-3]),
    "fewer origins": WHOLE._replace(origins='[["", ""]]'),
    "other origins": WHOLE._replace(origins='{"": 3}'),
    "origins that are none": WHOLE._replace(origins=b"\xff"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_block_has_no_records(damage: str) -> None:
    """Then the bytes are compared."""
    assert {} == DAMAGED[damage].unpacked()


@pytest.mark.parametrize(("count", "sizes"), [(0, [0]), (1, [1]), (4, [4]), (5, [2, 2, 1]), (7, [2, 2, 2, 1])])
def test_too_many_records_are_split(monkeypatch: pytest.MonkeyPatch, count: int, sizes: list[int]) -> None:
    """In the order of their names' bytes."""
    monkeypatch.setattr(blocks, "MOST_IN_BLOCK", 4)
    monkeypatch.setattr(blocks, "_SPLIT", 2)
    records = dict.fromkeys([f"{number}" for number in range(count - 1, 0, -1)] + ["\udcff"] * bool(count), RECORD)
    parts = [[*part] for part in split(records)]
    assert sizes == [len(part) for part in parts]
    assert [*map(str, range(1, count)), "\udcff"][:count] == [name for part in parts for name in part]


def test_nothing_seen_is_no_identity() -> None:
    """It comes back as what it is."""
    assert UNSEEN == Block.of({"m": RECORD._replace(pyc=UNSEEN)}).unpacked()["m"].pyc
