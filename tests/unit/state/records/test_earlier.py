"""Records of release 0.1, which are read until a run saves, and taken over by that run."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from earlier_manifests import COLUMNS, earlier, record, row
from pyctrigger.state.records import earlier as module
from pyctrigger.state.records.record import UNSEEN

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("columns", COLUMNS)
def test_all_are_taken_once(tmp_path: Path, columns: str) -> None:
    """By directory; later columns aren't."""
    earlier(tmp_path, [row("/a/", "m"), row("/a/", "young", ""), row("/b/", "m")], columns)
    with contextlib.closing(sqlite3.connect(tmp_path / "manifest.sqlite")) as database:
        taken = list(module.take_all(database))
        tables = {name for (name,) in database.execute("select name from sqlite_master where type = 'table'")}
    assert [(b"/a/", {"m": record(), "young": record(UNSEEN)}), (b"/b/", {"m": record()})] == taken
    assert {"uncompilable", "sites"} == tables


@pytest.mark.parametrize(
    "damaged",
    [
        row("/a/", "m", "1:2:3:4"),
        row("/a/", "m", "x"),
        row("/a/", "m", 7),
        row("/a/", "m", "1:2:3:4:99999999999999999999"),
        row("/a/", "m", header=1.5),
        row("/a/", "m", header=1 << 40),
        (b"/a/", 7, "", b"", "", b"", b"", 0),
    ],
)
def test_a_damaged_row_counts_for_nothing(tmp_path: Path, damaged: tuple[Any, ...]) -> None:
    """Beside others, which do."""
    earlier(tmp_path, [row("/a/", "good"), damaged, row("/a/", "more")])
    with contextlib.closing(sqlite3.connect(tmp_path / "manifest.sqlite")) as database:
        read = module.records_of(lambda query, *parameters: database.execute(query, parameters).fetchall(), b"/a/")
        taken = dict(module.take_all(database))
    assert ({"good": record(), "more": record()}, {b"/a/": read}) == (read, taken)
