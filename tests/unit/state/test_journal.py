"""Transactions that were announced and are not done yet."""

from __future__ import annotations

import json
import os
import shutil
import time
from typing import TYPE_CHECKING, Any

import pytest

from pyctrigger.state import journal as module
from pyctrigger.state.journal import Entry, Journal, union
from pyctrigger.state.quota import Quota, StateFullError

if TYPE_CHECKING:
    from pathlib import Path

PATHS: list[tuple[str, ...] | None] = [None, (), ("/a",), ("/a\nb", "/\udcff", "", "é")]


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """An empty one."""
    return Journal(str(tmp_path))


def stored(tmp_path: Path) -> list[Path]:
    """The files of its entries."""
    return sorted((tmp_path / "journal").iterdir())


@pytest.mark.parametrize("paths", PATHS)
def test_an_entry_comes_back_as_it_was(journal: Journal, paths: tuple[str, ...] | None) -> None:
    """Whatever bytes its paths hold; no list is another thing than an empty one."""
    written = journal.write("install", paths, {"root": "/x"}, attempts=2, since=5.5)
    assert Entry(written.name, 5.5, "install", paths, {"root": "/x"}, 2) == written
    assert [written] == list(journal.entries())


def test_entries_are_the_oldest_first(tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the moment of their writing; without any there is no directory."""
    assert ([], []) == (list(journal.entries()), os.listdir(tmp_path))
    for moment, event in [(99, "second"), (9, "first"), (100, "third")]:
        monkeypatch.setattr(time, "time_ns", lambda moment=moment: moment)
        journal.write(event, None, {})
    assert ["first", "second", "third"] == [entry.event for entry in journal.entries()]
    assert (0o700, True) == (
        (tmp_path / "journal").stat().st_mode & 0o777,
        time.time() - 60 < next(journal.entries()).since,
    )


def test_an_entry_that_is_done_goes(tmp_path: Path, journal: Journal) -> None:
    """Twice is no error."""
    first, second = journal.write("a", None, {}), journal.write("b", None, {})
    journal.done(first)
    journal.done(first)
    assert [second] == list(journal.entries())


@pytest.mark.parametrize(("attempts", "parked"), [(0, False), (1, False), (2, True), (5, True)])
def test_after_three_attempts_an_entry_is_parked(journal: Journal, attempts: int, parked: bool) -> None:
    """It is kept, and shown."""
    failed = journal.failed(journal.write("a", None, {}, attempts=attempts))
    assert (attempts + 1, parked) == (failed.attempts, failed.parked)
    assert [failed] == list(journal.entries())


#: The paths of an entry, those of other work, and whether doing its work does that as well.
COVERED: list[tuple[tuple[str, ...] | None, tuple[str, ...] | None, bool]] = [
    (None, None, True),
    (None, ("/a",), True),
    (("/a", "/b"), ("/a",), True),
    (("/a",), ("/a",), True),
    (("/a",), ("/a", "/b"), False),
    (("/a",), None, False),
    (("/a",), (), True),
    ((), ("/a",), False),
]


@pytest.mark.parametrize(("paths", "others", "expected"), COVERED)
def test_an_entry_may_cover_other_work(
    paths: tuple[str, ...] | None, others: tuple[str, ...] | None, expected: bool
) -> None:
    """The whole scope covers everything."""
    assert expected is Entry("", 0, "", paths, {}).covers(others)


#: The paths of a run, those of entries, and all of them.
UNIONS: list[tuple[tuple[str, ...] | None, list[tuple[str, ...] | None], tuple[str, ...] | None]] = [
    ((), [], ()),
    (("/b", "/a"), [], ("/a", "/b")),
    (("/b",), [("/c", "/a"), ("/b",)], ("/a", "/b", "/c")),
    ((), [("/a",)], ("/a",)),
    (None, [("/a",)], None),
    (("/a",), [("/b",), None], None),
]


@pytest.mark.parametrize(("paths", "others", "expected"), UNIONS)
def test_the_work_of_all(
    paths: tuple[str, ...] | None, others: list[tuple[str, ...] | None], expected: tuple[str, ...] | None
) -> None:
    """Each path once, in order; the whole scope has all of them."""
    assert expected == union(paths, [Entry("", 0, "", each, {}) for each in others])


def test_what_only_differs_in_its_paths_is_alike(journal: Journal) -> None:
    """Such work can be done at once."""
    first = journal.write("a", ("/a",), {"root": None})
    journal.write("b", ("/a",), {"root": "/r"})
    third = journal.write("c", None, {"root": None})
    assert ([first, third], 0) == (journal.alike({"root": None}), first.attempts)


def test_without_a_directory_there_are_no_entries(
    tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the process is; and an attempt is counted though its entry can't be written."""
    entry = journal.write("a", None, {})
    monkeypatch.chdir(tmp_path)
    assert [] == list(Journal(None).entries())
    shutil.rmtree(tmp_path / "journal")
    assert 1 == journal.failed(entry).attempts


GOOD = {"format": 1, "since": 1.0, "event": "x", "paths": ["2f61"], "options": {}, "attempts": 0}
#: Another value of one field.
DAMAGED: list[dict[str, Any]] = [
    {"since": "x"},
    {"since": None},
    {"paths": ["zz"]},
    {"paths": 7},
    {"options": 7},
    {"attempts": "x"},
    {"attempts": None},
    {"attempts": float("inf")},
]


@pytest.mark.parametrize("change", DAMAGED)
def test_a_damaged_entry_says_nothing_of_its_work(tmp_path: Path, journal: Journal, change: dict[str, Any]) -> None:
    """But that there was some, and when, by its name; the others are read."""
    kept = journal.write("kept", None, {"a": 1})
    damaged = tmp_path / "journal/0.json"
    damaged.write_text(json.dumps({**GOOD, **change}))
    (tmp_path / "journal/1500000000-7-ab.json").write_text("{")
    (tmp_path / "journal/2.txt").write_text(json.dumps(GOOD))
    first, second = Entry("0.json", 0.0, "unknown", None, {}), Entry("1500000000-7-ab.json", 1.5, "unknown", None, {})
    assert [first, kept, second] == sorted(journal.entries(), key=lambda entry: entry.name)
    assert [] == journal.alike({"b": 1})
    for field in GOOD:
        damaged.write_text(json.dumps({name: value for name, value in GOOD.items() if name != field}))
        assert first in list(journal.entries())
    damaged.write_text(json.dumps(GOOD))
    assert Entry("0.json", 1.0, "x", ("/a",), {}, 0) in list(journal.entries())
    for entry in journal.entries():
        journal.done(entry)
    assert ["2.txt"] == os.listdir(tmp_path / "journal")


def test_what_is_another_releases_or_no_file_is_left_out_and_stays(tmp_path: Path, journal: Journal) -> None:
    """Nobody knows what it would mean."""
    kept = journal.write("kept", None, {})
    (tmp_path / "journal/0.json").write_text(json.dumps({**GOOD, "format": 2}))
    (tmp_path / "journal/1.json").mkdir()
    (tmp_path / "journal/2.json").symlink_to("nowhere")
    assert [kept] == list(journal.entries())
    assert 4 == len(os.listdir(tmp_path / "journal"))


@pytest.mark.parametrize(("size", "is_kept"), [(1 << 20, True), ((1 << 20) + 1, False)])
def test_a_strangers_entry_has_an_end(tmp_path: Path, size: int, is_kept: bool) -> None:
    """One with more paths is about the whole scope."""
    path = "x" * size
    entry = Journal(str(tmp_path), Quota(1 << 30)).write("a", (path,), {})
    assert ((path,) if is_kept else None) == entry.paths
    assert (path,) == Journal(str(tmp_path)).write("a", (path,), {}).paths


def test_a_strangers_journal_has_an_end(tmp_path: Path) -> None:
    """Twice the length of its paths, or a block."""
    quota = Quota(4096 + 20_000)
    journal = Journal(str(tmp_path), quota)
    journal.write("a", None, {})
    journal.write("a", ("x" * 4000, "y" * 6000), {})
    assert 0 == quota.left
    with pytest.raises(StateFullError):
        journal.write("a", (), {})
    assert 2 == len(stored(tmp_path))
    assert 3 == module.MOST_ATTEMPTS
