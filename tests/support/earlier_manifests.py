"""Manifests as release 0.1 made them, and commits after it."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

from pyctrigger.state.records.record import PACKED, Record

if TYPE_CHECKING:
    from pathlib import Path

SOURCE_DIGEST, BODY_DIGEST, HEADER = b"s" * 20, b"b" * 20, b"h" * 16
#: As that release made them, and as releases between it and this one did.
COLUMNS = {
    "0.1": "",
    "with limits": "",
    "with stores": ", store text not null default '', signer text not null default ''",
}


def row(directory: str, name: str, source: Any = "1:2:3:4:5", header: Any = HEADER) -> tuple[Any, ...]:
    """A row of their table."""
    return (directory.encode(), name.encode(), source, SOURCE_DIGEST, "6:7:8:9:10", BODY_DIGEST, header, 11)


def record(source: bytes = PACKED.pack(1, 2, 3, 4, 5)) -> Record:
    """What such a row says."""
    return Record(source, SOURCE_DIGEST, PACKED.pack(6, 7, 8, 9, 10), BODY_DIGEST, HEADER, 11)


def earlier(place: Path, rows: list[tuple[Any, ...]], columns: str = "0.1") -> None:
    """A manifest of that release."""
    schema, limit = (4, "") if columns == "0.1" else (5, ", tried_with real not null")
    database = sqlite3.connect(place / "manifest.sqlite")
    database.executescript(
        "create table pycs (directory blob not null, name blob not null, source text not null,"
        " source_digest blob not null, pyc text not null, body_digest blob not null, header blob not null,"
        f" microseconds integer not null{COLUMNS[columns]}, primary key (directory, name)) without rowid;"
        " create table uncompilable (path blob primary key, identity text not null, digest blob not null,"
        f" magic_number blob not null, kind text not null, message text not null{limit});"
        " create table sites (path blob primary key) without rowid; insert into sites values (x'2f61');"
        f" pragma user_version = {schema};"
    )
    names = "directory, name, source, source_digest, pyc, body_digest, header, microseconds"
    database.executemany(f"insert into pycs ({names}) values (?, ?, ?, ?, ?, ?, ?, ?)", rows)
    database.commit()
    database.close()
