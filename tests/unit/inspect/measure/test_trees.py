"""The kinds of stale bytecode that a measurement compares with."""

from __future__ import annotations

import struct

import pytest

from pyctrigger.inspect.measure.trees import Kind
from pyctrigger.pyc.header import HeaderFormat, InvalidationMode, Verdict

MAGIC = (3495).to_bytes(2, "little") + b"\r\n"
NEW = HeaderFormat.of(MAGIC, (3, 11, 0))
OLD = HeaderFormat.of((3379).to_bytes(2, "little") + b"\r\n", (3, 6, 0))


@pytest.mark.parametrize(
    ("kind", "form", "mtime", "verdict"),
    [
        (Kind.MAGIC, NEW, 7, Verdict.FOREIGN_MAGIC),
        (Kind.MAGIC, OLD, 7, Verdict.FOREIGN_MAGIC),
        (Kind.MTIME, NEW, 7, Verdict.OTHER_MTIME),
        (Kind.MTIME, OLD, 7, Verdict.OTHER_MTIME),
        (Kind.MTIME, NEW, 0xFFFFFFFF, Verdict.OTHER_MTIME),
        (Kind.HASH, NEW, 7, Verdict.OTHER_MODE),
    ],
)
def test_fresh_bytecode_made_stale(kind: Kind, form: HeaderFormat, mtime: int, verdict: Verdict) -> None:
    """The header is another one, the code the same; for a hash it is one that the interpreter compares."""
    fresh = form.timestamp(mtime, 5) + b"code"
    spoiled = kind.spoil(fresh, form)
    assert (b"code", verdict) == (
        spoiled[form.size :],
        form.judge(spoiled, InvalidationMode.TIMESTAMP, fresh[: form.size]),
    )
    if kind is Kind.HASH:
        assert (3, bytes(8)) == (struct.unpack_from("<I", spoiled, 4)[0], spoiled[8:16])
