"""Records by directory and name: those of a run, of its lanes, and of directories with very many pycs."""

from __future__ import annotations

import os
import random
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from earlier_manifests import COLUMNS, earlier
from earlier_manifests import record as earlier_record
from earlier_manifests import row as earlier_row
from manifests import recorded
from pyctrigger.state.records import blocks, pycs
from pyctrigger.state.records.blocks import Block
from pyctrigger.state.records.manifest import Manifest
from pyctrigger.state.records.pycs import PycRecords
from pyctrigger.state.records.record import DIGEST_SIZE, UNSEEN, Record

if TYPE_CHECKING:
    from pathlib import Path


def record(number: int, store: str = "") -> Record:
    """One that differs from others."""
    return Record(UNSEEN, b"s" * DIGEST_SIZE, UNSEEN, b"b" * DIGEST_SIZE, b"header", number, store)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of four records, which are split into two and two."""
    monkeypatch.setattr(blocks, "MOST_IN_BLOCK", 4)
    monkeypatch.setattr(pycs, "MOST_IN_BLOCK", 4)
    monkeypatch.setattr(blocks, "_SPLIT", 2)


def sizes(place: Path) -> list[tuple[str, int]]:
    """The first names of the blocks, and how many records they have."""
    database = sqlite3.connect(place / "manifest.sqlite")
    rows = database.execute("select first, names, records from blocks order by directory, first").fetchall()
    database.close()
    return [(os.fsdecode(first), Block(*fields).size) for first, *fields in rows]


def unasked(*_: Any) -> list[Any]:
    """A manifest that has nothing."""
    return []


@pytest.mark.usefixtures("small")
def test_a_directory_with_very_many_pycs_has_several_blocks(tmp_path: Path) -> None:
    """Whatever is changed in it later, in whatever order it is looked at: after each run all is as it was recorded."""
    draw = random.Random(7)
    names = [f"{letter}{number}" for letter in "aä\udcff" for number in range(6)] + [chr(0x10FFFF)]
    expected: dict[str, Record] = {}
    most = 0
    for run in range(40):
        manifest = Manifest(str(tmp_path))
        for name in draw.sample(names, draw.randrange(len(names))):
            assert expected.get(name) == manifest.pycs.get("/site", name)
        for name in draw.sample(names, draw.choice([1, 3, len(names)])):
            change = None if run % 4 == 3 else record(run)
            manifest.pycs.note("/site", name, change)
            if change is None:
                expected.pop(name, None)
            else:
                expected[name] = change
            assert change == manifest.pycs.get("/site", name)
        manifest.save()
        assert [expected.get(name) for name in names] == [manifest.pycs.get("/site", name) for name in names]
        manifest.close()
        assert expected == recorded(tmp_path / "manifest.sqlite").get("/site", {})
        assert all(size <= 4 for _, size in sizes(tmp_path))
        most = max(most, len(sizes(tmp_path)))
    assert most >= 5


#: Names to drop of m0 to m4, and the blocks that are left.
LEFT = [
    ([], [("", 2), ("m2", 2), ("m4", 1)]),
    (["m0", "m1"], [("", 0), ("m2", 2), ("m4", 1)]),
    (["m2", "m3"], [("", 2), ("m4", 1)]),
    (["m1", "m2", "m3", "m4"], [("", 1)]),
    (["m0", "m1", "m2", "m3", "m4"], []),
]


@pytest.mark.parametrize(("gone", "left"), LEFT)
@pytest.mark.usefixtures("small")
def test_what_is_left_of_blocks(tmp_path: Path, gone: list[str], left: list[tuple[str, int]]) -> None:
    """The first one stays while there are others, since it begins with the empty name."""
    for names, each in [([f"m{number}" for number in range(5)], record(1)), (gone, None)]:
        manifest = Manifest(str(tmp_path))
        for name in names:
            manifest.pycs.note("/site", name, each)
        manifest.save()
        manifest.close()
    assert left == sizes(tmp_path)


def test_what_lanes_have_done_is_one_block(tmp_path: Path) -> None:
    """However often they say so; the later counts, whoever it is from."""
    lanes = [PycRecords(unasked) for _ in range(2)]
    host = Manifest(str(tmp_path))
    host.pycs.note("/site", "c", record(1))
    for number, lane in enumerate(lanes):
        lane._note("/site", "a", record(10 + number))
        lane._note("/site", f"b{number}", record(20 + number))
        lane._note("/other", f"m{number}", record(30))
        if number:
            lane._note("/site", "c", None)
        host.pycs.add(lane.take())
        assert 0 == lane.unsaved
    assert 8 == host.pycs.unsaved
    assert record(11) == host.pycs.get("/site", "a")
    host.save()
    host.close()
    kept = {"/site": {"a": record(11), "b0": record(20), "b1": record(21)}}
    assert {**kept, "/other": {"m0": record(30), "m1": record(30)}} == recorded(tmp_path / "manifest.sqlite")


@pytest.mark.parametrize(
    ("parts", "is_joined"),
    [
        ([{"a": record(1)}], True),
        ([{"a": record(1)}, {"b": record(2)}], True),
        ([{"a": record(1)}, {"a": record(2)}], True),
        ([{"a": record(1, "local")}], True),
        ([{"a": record(1)}, {"b": record(2, "local")}], False),
        ([{"a": record(1, "local")}, {"b": record(2)}], False),
        ([{"a": record(1)}, {"b": None}], False),
        ([{"a": None}], False),
        ([{f"m{number}": record(number) for number in range(3)}, {"a": record(1), "b": record(2)}], False),
    ],
)
@pytest.mark.usefixtures("small")
def test_blocks_that_need_no_look_are_written_as_they_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: list[dict[str, Record | None]], is_joined: bool
) -> None:
    """It is what makes many lanes cheap for their host."""
    manifest = Manifest(str(tmp_path))
    expected: dict[str, Record | None] = {}
    for part in parts:
        lane = PycRecords(unasked)
        for name, each in part.items():
            lane._note("/site", name, each)
        manifest.pycs.add(lane.take())
        expected.update(part)
    unpacked: list[Block] = []
    unpack = Block.unpacked

    def count(block: Block) -> dict[str, Record]:
        unpacked.append(block)
        return unpack(block)

    with monkeypatch.context() as context:
        context.setattr(Block, "unpacked", count)
        manifest.save()
    manifest.close()
    kept = {name: each for name, each in expected.items() if each is not None}
    assert is_joined is not (bool(unpacked) or not kept)
    assert ({"/site": kept} if kept else {}) == recorded(tmp_path / "manifest.sqlite")


def test_what_somebody_else_saved_is_read_after_our_own(tmp_path: Path) -> None:
    """Until then what was read counts."""
    ours, theirs = Manifest(str(tmp_path)), Manifest(str(tmp_path))
    theirs.pycs.note("/site", "m", record(1))
    theirs.save()
    assert record(1) == ours.pycs.get("/site", "m")
    theirs.pycs.note("/site", "m", record(2))
    theirs.save()
    assert record(1) == ours.pycs.get("/site", "m")
    for number in (4, 3):
        ours.pycs.note("/site", "n", record(number))
    assert 2 == ours.pycs.unsaved
    ours.save()
    assert (record(2), record(3), 0) == (ours.pycs.get("/site", "m"), ours.pycs.get("/site", "n"), ours.pycs.unsaved)
    for each in (ours, theirs):
        each.close()


@pytest.mark.parametrize("first", [0, 1.5, "text"])
def test_a_damaged_row_has_no_records(tmp_path: Path, first: object) -> None:
    """Beside it new ones are kept."""
    manifest = Manifest(str(tmp_path))
    for name in ("m", "n"):
        manifest.pycs.note(f"/{name}", name, record(1))
    manifest.save()
    manifest.close()
    database = sqlite3.connect(tmp_path / "manifest.sqlite")
    database.execute("update blocks set first = ? where directory = ?", (first, b"/m"))
    database.commit()
    database.close()
    again = Manifest(str(tmp_path))
    assert [None, None, record(1)] == [again.pycs.get("/m", "m"), again.pycs.get("/m", "q"), again.pycs.get("/n", "n")]
    again.pycs.note("/m", "q", record(2))
    again.save()
    assert record(2) == again.pycs.get("/m", "q")
    again.close()


# -- release 0.1 -------------------------------------------------------------------------------------------------------


def tables(place: Path) -> set[str]:
    """Those of a manifest."""
    database = sqlite3.connect(place / "manifest.sqlite")
    found = {name for (name,) in database.execute("select name from sqlite_master where type = 'table'")}
    database.close()
    return found


@pytest.mark.parametrize("columns", COLUMNS)
def test_they_are_read_and_taken_over(tmp_path: Path, columns: str) -> None:
    """Those of directories that a run doesn't come to as well; what it records itself is newer."""
    rows = [
        earlier_row("/a/", "m"),
        earlier_row("/a/", "gone"),
        earlier_row("/a/", "young", ""),
        earlier_row("/b/", "m"),
        earlier_row("/b/", "n"),
    ]
    earlier(tmp_path, rows, columns)
    manifest = Manifest(str(tmp_path))
    found = [manifest.pycs.get("/a/", name) for name in ("m", "young", "other")]
    assert [earlier_record(), earlier_record(UNSEEN), None] == found
    newer = earlier_record()._replace(microseconds=12)
    manifest.pycs.note("/a/", "gone", None)
    manifest.pycs.note("/a/", "new", newer)
    manifest.pycs.note("/b/", "m", newer)
    manifest.save()
    kept = {
        "/a/": {"m": earlier_record(), "young": earlier_record(UNSEEN), "new": newer},
        "/b/": {"m": newer, "n": earlier_record()},
    }
    assert (kept, False) == (recorded(tmp_path / "manifest.sqlite"), "pycs" in tables(tmp_path))
    assert (earlier_record(), None) == (manifest.pycs.get("/b/", "n"), manifest.pycs.get("/a/", "gone"))
    manifest.close()


def test_what_both_have_is_this_releases(tmp_path: Path) -> None:
    """That release has come back for a while, and worked beside our records."""
    manifest = Manifest(str(tmp_path))
    manifest.pycs.note("/a/", "m", earlier_record())
    manifest.save()
    manifest.close()
    earlier_rows = [earlier_row("/a/", "m", "9:9:9:9:9"), earlier_row("/a/", "n"), earlier_row("/b/", "m")]
    database = sqlite3.connect(tmp_path / "manifest.sqlite")
    database.execute(
        "create table pycs (directory, name, source, source_digest, pyc, body_digest, header, microseconds)"
    )
    database.executemany("insert into pycs values (?, ?, ?, ?, ?, ?, ?, ?)", earlier_rows)
    database.commit()
    database.close()
    again = Manifest(str(tmp_path))
    found = [again.pycs.get(*key) for key in (("/a/", "m"), ("/a/", "n"), ("/b/", "m"))]
    assert [earlier_record(), None, earlier_record()] == found
    again.pycs.note("/c/", "m", earlier_record())
    again.save()
    again.close()
    expected = {"/a/": {"m": earlier_record()}, "/b/": {"m": earlier_record()}, "/c/": {"m": earlier_record()}}
    assert expected == recorded(tmp_path / "manifest.sqlite")
