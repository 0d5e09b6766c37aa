"""Records of release 0.1, which are read until a run saves, and taken over by that run."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from manifests import recorded
from pyctrigger.state.records.manifest import Manifest
from pyctrigger.state.records.record import PACKED, UNSEEN, Record

if TYPE_CHECKING:
    from pathlib import Path

SOURCE_DIGEST, BODY_DIGEST, HEADER = b"s" * 20, b"b" * 20, b"h" * 16
#: As that release made them, and as releases between it and this one did.
COLUMNS = {
    "0.1": "",
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
    database = sqlite3.connect(place / "manifest.sqlite")
    database.executescript(
        "create table pycs (directory blob not null, name blob not null, source text not null,"
        " source_digest blob not null, pyc text not null, body_digest blob not null, header blob not null,"
        f" microseconds integer not null{COLUMNS[columns]}, primary key (directory, name)) without rowid;"
        " create table uncompilable (path blob primary key, identity text not null, digest blob not null,"
        " magic_number blob not null, kind text not null, message text not null, tried_with real not null);"
        " create table sites (path blob primary key) without rowid; insert into sites values (x'2f61');"
        " pragma user_version = 5;"
    )
    names = "directory, name, source, source_digest, pyc, body_digest, header, microseconds"
    database.executemany(f"insert into pycs ({names}) values (?, ?, ?, ?, ?, ?, ?, ?)", rows)
    database.commit()
    database.close()


def tables(place: Path) -> set[str]:
    """Those of a manifest."""
    database = sqlite3.connect(place / "manifest.sqlite")
    found = {name for (name,) in database.execute("select name from sqlite_master where type = 'table'")}
    database.close()
    return found


@pytest.mark.parametrize("columns", COLUMNS)
def test_they_are_read_and_taken_over(tmp_path: Path, columns: str) -> None:
    """Those of directories that a run doesn't come to as well; what it records itself is newer."""
    rows = [row("/a/", "m"), row("/a/", "gone"), row("/a/", "young", ""), row("/b/", "m"), row("/b/", "n")]
    earlier(tmp_path, rows, columns)
    manifest = Manifest(str(tmp_path))
    found = [manifest.pycs.get("/a/", name) for name in ("m", "young", "other")]
    assert [record(), record(UNSEEN), None] == found
    newer = record()._replace(microseconds=12)
    manifest.pycs.note("/a/", "gone", None)
    manifest.pycs.note("/a/", "new", newer)
    manifest.pycs.note("/b/", "m", newer)
    manifest.save()
    kept = {
        "/a/": {"m": record(), "young": record(UNSEEN), "new": newer},
        "/b/": {"m": newer, "n": record()},
    }
    assert (kept, False) == (recorded(tmp_path / "manifest.sqlite"), "pycs" in tables(tmp_path))
    assert (record(), None) == (manifest.pycs.get("/b/", "n"), manifest.pycs.get("/a/", "gone"))
    manifest.close()


def test_what_both_have_is_this_releases(tmp_path: Path) -> None:
    """That release has come back for a while, and worked beside our records."""
    manifest = Manifest(str(tmp_path))
    manifest.pycs.note("/a/", "m", record())
    manifest.save()
    manifest.close()
    earlier_rows = [row("/a/", "m", "9:9:9:9:9"), row("/a/", "n"), row("/b/", "m")]
    database = sqlite3.connect(tmp_path / "manifest.sqlite")
    database.execute(
        "create table pycs (directory, name, source, source_digest, pyc, body_digest, header, microseconds)"
    )
    database.executemany("insert into pycs values (?, ?, ?, ?, ?, ?, ?, ?)", earlier_rows)
    database.commit()
    database.close()
    again = Manifest(str(tmp_path))
    found = [again.pycs.get(*key) for key in (("/a/", "m"), ("/a/", "n"), ("/b/", "m"))]
    assert [record(), None, record()] == found
    again.pycs.note("/c/", "m", record())
    again.save()
    again.close()
    expected = {"/a/": {"m": record()}, "/b/": {"m": record()}, "/c/": {"m": record()}}
    assert expected == recorded(tmp_path / "manifest.sqlite")


@pytest.mark.parametrize(
    "damaged",
    [
        row("/a/", "m", "1:2:3:4"),
        row("/a/", "m", "x"),
        row("/a/", "m", 7),
        row("/a/", "m", "1:2:3:4:99999999999999999999"),
        row("/a/", "m", header=1.5),
        (b"/a/", 7, "", b"", "", b"", b"", 0),
    ],
)
def test_a_damaged_row_counts_for_nothing(tmp_path: Path, damaged: tuple[Any, ...]) -> None:
    """Beside others, which do."""
    earlier(tmp_path, [row("/a/", "good"), damaged])
    manifest = Manifest(str(tmp_path))
    assert (record(), None) == (manifest.pycs.get("/a/", "good"), manifest.pycs.get("/a/", "m"))
    manifest.pycs.note("/b/", "m", record())
    manifest.save()
    manifest.close()
    assert {"/a/": {"good": record()}, "/b/": {"m": record()}} == recorded(tmp_path / "manifest.sqlite")
