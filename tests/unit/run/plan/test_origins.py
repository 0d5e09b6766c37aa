"""Where a pyc's code is from: a record that names a store, as long as the pyc has that code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pyctrigger.run.plan.origins import describe_origin, stored_record
from pyctrigger.state.records.manifest import Manifest
from pyctrigger.state.records.record import UNSEEN, Record, digest_of
from pyctrigger.tree.directory import Tree
from pyctrigger.tree.layout import Layout
from unit.run.plan.trees import cached, in_memory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HEADER, CODE = bytes(16), b"code"
RECORD = Record(UNSEEN, b"", UNSEEN, digest_of(CODE), HEADER, 1, "redis://host", "ed25519:AAAA")

#: A record, what is in the pyc, and whether the store is to be named.
ROWS = [
    ("as recorded", RECORD, HEADER + CODE, True),
    ("with another header", RECORD, b"other" + HEADER[5:] + CODE, True),
    ("with other code", RECORD, HEADER + b"edoc", False),
    ("truncated", RECORD, HEADER[:7], False),
    ("gone", RECORD, None, False),
    ("compiled here", RECORD._replace(store="", signer=""), HEADER + CODE, False),
    ("without a record", None, HEADER + CODE, False),
]


@pytest.fixture(scope="module")
def top() -> Iterator[Path]:
    """A directory with one source."""
    with in_memory({"m.py": b"x = 1\n"}) as made:
        yield made


@pytest.mark.parametrize(("record", "content", "is_named"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_whether_a_store_is_named(top: Path, record: Record | None, content: bytes | None, is_named: bool) -> None:
    pyc = top / "__pycache__" / cached("m")
    pyc.parent.mkdir(exist_ok=True)
    pyc.unlink(missing_ok=True)
    if content is not None:
        pyc.write_bytes(content)
    manifest = Manifest(None)
    if record is not None:
        manifest.pycs.note(str(pyc.parent), pyc.name, record)
    with Layout(Tree.open(str(top))) as layout:
        assert (record if is_named else None) == stored_record(manifest, layout, "", pyc.name)


def test_how_an_origin_is_told() -> None:
    """A store of this machine has no signatures."""
    assert "its code came from the store redis://host, signed by ed25519:AAAA" == describe_origin(RECORD)
    assert "its code came from the store /srv" == describe_origin(RECORD._replace(store="/srv", signer=""))
