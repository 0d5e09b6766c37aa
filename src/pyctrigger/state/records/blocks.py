"""Records of pycs in one directory, packed: who makes them packs them, and the manifest takes and gives them as bytes.

A row of SQLite for each pyc costs several times what a packed record does. A damaged block has no records.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator, Mapping

from ...typed import NamedTuple, Optional
from .record import DIGEST_SIZE, PACKED, Record

#: Source, its digest, pyc, digest of its body, header, microseconds, and which of the block's origins.
_RECORD = struct.Struct(f"<{PACKED.size}s{DIGEST_SIZE}s{PACKED.size}s{DIGEST_SIZE}s17pqH")
#: Separates names, which can't contain it.
_SEPARATOR = "\0"
#: Records of a full block, and of each that it is split into: 150 bytes and a name each.
MOST_IN_BLOCK, _SPLIT = 512, 256

#: The store and the signer of code that was compiled here.
_HERE = ("", "")

#: What became of pycs of one directory, by name: a record, or None for one to drop.
Changes = dict[str, Optional[Record]]


class Block(NamedTuple):
    """Packed records. If a name is in it twice, the later record counts."""

    names: bytes = b""
    """Of pycs, joined by NUL."""
    records: bytes = b""
    """In the order of the names."""
    origins: str = ""
    """The stores and signers of code that isn't from here, as JSON; nothing if there are none."""

    @classmethod
    def of(cls, records: Mapping[str, Record]) -> Block:
        """Returns these records, packed."""
        if not records:
            return cls()
        numbers = {_HERE: 0}
        pack, packed = _RECORD.pack, []
        for source, source_digest, pyc, body_digest, header, microseconds, store, signer in records.values():
            number = numbers.setdefault((store, signer), len(numbers)) if store else 0
            packed.append(pack(source, source_digest, pyc, body_digest, header, microseconds, number))
        origins = json.dumps([*numbers]) if len(numbers) > 1 else ""
        return cls(os.fsencode(_SEPARATOR.join(records)), b"".join(packed), origins)

    def unpacked(self) -> dict[str, Record]:
        """Returns the records by name; none of a damaged block."""
        try:
            names = os.fsdecode(self.names).split(_SEPARATOR) if self.names else []
            pairs = json.loads(self.origins) if self.origins else [_HERE]
            origins = [(str(store), str(signer)) for store, signer in pairs]
            if len(self.records) != len(names) * _RECORD.size:
                return {}
            make = tuple.__new__  # Record's own constructor is a function in Python
            return {
                name: make(Record, (*fields, *origins[number]))
                for name, (*fields, number) in zip(names, _RECORD.iter_unpack(self.records))
            }
        except (TypeError, ValueError, LookupError):
            return {}

    @property
    def size(self) -> int:
        """How many records it has."""
        return len(self.records) // _RECORD.size


def split(records: dict[str, Record]) -> Iterator[dict[str, Record]]:
    """Yields the records in the order of their names, so many as one block may have."""
    names = sorted(records, key=os.fsencode)
    most = len(names) if len(names) <= MOST_IN_BLOCK else _SPLIT
    for start in range(0, max(1, len(names)), max(1, most)):
        yield {name: records[name] for name in names[start : start + most]}
