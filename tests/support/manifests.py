"""What a manifest has, as tests see it, and what they make of it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import TYPE_CHECKING, Callable

from pyctrigger.state.records.blocks import Block
from pyctrigger.state.records.manifest import Manifest

if TYPE_CHECKING:
    from pathlib import Path

    from pyctrigger.state.records.record import Record


def recorded(manifest: Path) -> dict[str, dict[str, Record]]:
    """The records of pycs by directory and name."""
    found: dict[str, dict[str, Record]] = {}
    with contextlib.closing(sqlite3.connect(manifest)) as database:
        for directory, *block in database.execute("select directory, names, records, origins from blocks"):
            found.setdefault(os.fsdecode(directory), {}).update(Block(*block).unpacked())
    return found


def all_records(manifest: Path) -> list[Record]:
    """The same without the names."""
    return [record for records in recorded(manifest).values() for record in records.values()]


def record_otherwise(manifest: Path, change: Callable[[Record], Record | None]) -> None:
    """Make another record of each."""
    changed = Manifest(str(manifest.parent))
    for directory, records in recorded(manifest).items():
        for name, record in records.items():
            changed.pycs.note(directory, name, change(record))
    changed.save()
    changed.close()
