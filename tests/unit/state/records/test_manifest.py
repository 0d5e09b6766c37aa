"""The manifest: what was learned about a tree, as a hint, never as an authority."""

from __future__ import annotations

import errno
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from manifests import all_records, recorded
from pyctrigger.state.quota import Quota, StateFullError
from pyctrigger.state.records import directories, pycs
from pyctrigger.state.records import manifest as module
from pyctrigger.state.records.directories import UnchangedDirectory, key_of
from pyctrigger.state.records.manifest import Manifest, Uncompilable
from pyctrigger.state.records.record import DIGEST_SIZE, PACKED, Record

if TYPE_CHECKING:
    from pathlib import Path

MAGIC, OTHER_MAGIC = b"\xa7\r\r\n", b"\xcb\r\r\n"
FACT = Uncompilable(b"identity", b"digest", MAGIC, "syntax", "line 1")


def record(number: int) -> Record:
    """A record that differs from others."""
    files = PACKED.pack(*range(5)), b"s" * DIGEST_SIZE, PACKED.pack(*range(number, number + 5)), b"b" * DIGEST_SIZE
    return Record(*files, b"header", number)


def saved(place: Path, records: dict[str, dict[str, Record]], facts: dict[str, Uncompilable] | None = None) -> None:
    """A manifest with these records."""
    manifest = Manifest(str(place))
    manifest.work_on(["/site"])
    for directory, names in records.items():
        for name, each in names.items():
            manifest.pycs.note(directory, name, each)
    for path, fact in (facts or {}).items():
        manifest.learn(path, fact)
    manifest.save()
    manifest.close()


def rows(place: Path, question: str) -> list[Any]:
    """The contents of the file."""
    database = sqlite3.connect(place / "manifest.sqlite")
    try:
        return database.execute(question).fetchall()
    finally:
        database.close()


# -- earlier and later releases ---------------------------------------------------------------------------------------

STORED = record(3)._replace(store="redis://host:6379/0", signer="ed25519:AAAA")


def test_what_a_later_release_records_beside_is_left_out(tmp_path: Path) -> None:
    """Going back to this one costs nothing."""
    saved(tmp_path, {"/a/": {"new": STORED}})
    with sqlite3.connect(tmp_path / "manifest.sqlite") as database:
        database.execute("alter table blocks add column colour text not null default 'red'")
    database.close()
    manifest = Manifest(str(tmp_path))
    assert STORED == manifest.pycs.get("/a/", "new")
    manifest.pycs.note("/a/", "more", record(4))
    manifest.save()
    assert [STORED, record(4)] == [manifest.pycs.get("/a/", name) for name in ("new", "more")]
    manifest.close()


def test_code_that_was_compiled_again_is_from_no_store(tmp_path: Path) -> None:
    """The last record counts."""
    saved(tmp_path, {"/a/": {"m": STORED}})
    saved(tmp_path, {"/a/": {"m": record(3)}})
    assert [record(3)] == all_records(tmp_path / "manifest.sqlite")


# -- sources that can't compile ---------------------------------------------------------------------------------------

#: Kind, what it was tried with, the magic number now, the limits now, and whether it would fail again.
HOLDS: list[tuple[str, float, bytes, dict[str, float], bool]] = [
    ("syntax", 0, MAGIC, {}, True),
    ("syntax", 0, OTHER_MAGIC, {}, False),  # another Python may know this syntax
    ("syntax", 0, MAGIC, {"timeout": 60, "memory": 1}, True),
    ("timeout", 60, MAGIC, {"timeout": 60}, True),
    ("timeout", 60, MAGIC, {"timeout": 30}, True),
    ("timeout", 60, MAGIC, {"timeout": 1}, True),
    ("timeout", 60, MAGIC, {"timeout": 61}, False),
    ("timeout", 60, MAGIC, {"timeout": 0}, False),  # no limit any more
    ("timeout", 60, OTHER_MAGIC, {"timeout": 60}, False),
    ("memory", 100, MAGIC, {"memory": 100}, True),
    ("memory", 100, MAGIC, {"memory": 101}, False),
    ("memory", 100, MAGIC, {"timeout": 1}, True),
]


@pytest.mark.parametrize(("kind", "tried_with", "magic", "limits", "expected"), HOLDS)
def test_whether_a_source_would_fail_again(
    kind: str, tried_with: float, magic: bytes, limits: dict[str, float], expected: bool
) -> None:
    """Under this interpreter, and with these limits."""
    assert expected is Uncompilable(b"i", b"d", MAGIC, kind, "m", tried_with).holds(magic, limits)


def test_facts_come_back(tmp_path: Path) -> None:
    """Until they are unlearned."""
    saved(tmp_path, {}, {"/site/a.py": FACT, "/site/\udcff.py": FACT._replace(tried_with=2.5)})
    manifest = Manifest(str(tmp_path))
    assert {"/site/a.py": FACT, "/site/\udcff.py": FACT._replace(tried_with=2.5)} == manifest.uncompilable
    assert manifest.has_changed is False
    manifest.unlearn("/site/absent.py")
    assert manifest.has_changed is False
    manifest.unlearn("/site/a.py")
    manifest.learn("/site/b.py", FACT)
    manifest.save()
    manifest.close()
    assert {"/site/b.py", "/site/\udcff.py"} == set(Manifest(str(tmp_path)).uncompilable)


def test_of_a_foreign_tree_so_many_are_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And no more, in memory too."""
    monkeypatch.setattr(module, "MOST_UNCOMPILABLE", 2)
    for quota, expected in [(Quota(1 << 30), 2), (None, 3)]:
        manifest = Manifest(str(tmp_path), quota=quota)
        for number in range(3):
            manifest.learn(f"/{number}", FACT)
        assert expected == len(manifest.uncompilable)


# -- records ----------------------------------------------------------------------------------------------------------

RECORDS = {"/site": {"m": record(1)}, "/site/p": {"a": record(2), "\udcff": record(3)}, "/site/p/q": {"b": record(4)}}


def found(manifest: Manifest) -> dict[str, dict[str, Record]]:
    """Those of `RECORDS` that a manifest has."""
    return {
        directory: {name: each for name in names if (each := manifest.pycs.get(directory, name)) is not None}
        for directory, names in RECORDS.items()
    }


def test_records_come_back(tmp_path: Path) -> None:
    """Whatever is looked up in between."""
    saved(tmp_path, RECORDS)
    manifest = Manifest(str(tmp_path))
    assert RECORDS == found(manifest)
    assert (None, None) == (manifest.pycs.get("/site/pq", "m"), manifest.pycs.get("/site", "absent"))
    assert (True, False) == (manifest.keeps_records, manifest.is_new)
    manifest.close()


@pytest.mark.parametrize(("named", "expected"), [("state", True), (None, False)])
def test_what_knows_nothing_yet(tmp_path: Path, named: str | None, expected: bool) -> None:
    """It will; without a directory it never does."""
    assert expected is Manifest(named and str(tmp_path / named)).is_new


def test_what_was_recorded_is_there_after_it_was_saved(tmp_path: Path) -> None:
    """In the same run, on the page that was read before."""
    saved(tmp_path, RECORDS)
    manifest = Manifest(str(tmp_path))
    assert record(1) == manifest.pycs.get("/site", "m")
    manifest.pycs.note("/site", "m", record(9))
    manifest.pycs.note("/site/p", "a", None)
    for _ in range(2):
        assert {"/site": {"m": record(9)}, "/site/p": {"\udcff": record(3)}, "/site/p/q": {"b": record(4)}} == found(
            manifest
        )
        manifest.save()
    manifest.close()


@pytest.mark.parametrize(
    ("full", "works", "asked", "left"),
    [
        (2, True, [2, 2, 2], [0, 1, 2, 3, 4, 5]),
        (4, True, [4], [0, 1, 2, 3, 4, 5]),
        (7, True, [], [0, 1, 2, 3, 4, 5]),
        (2, False, [2, 2, 2], []),
        (4, False, [4], [4, 5]),
    ],
)
def test_a_run_that_has_recorded_much_is_saved_on_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: int, works: bool, asked: list[int], left: list[int]
) -> None:
    """What can't be saved then isn't held any longer."""
    monkeypatch.setattr(pycs, "MOST_UNSAVED", full)
    manifest = Manifest(str(tmp_path))
    counts = []

    def save() -> None:
        counts.append(manifest.pycs.unsaved)
        if works:
            manifest.save()

    manifest.when_full = save
    for number in range(6):
        manifest.pycs.note("/site", f"m{number}", record(number))
        manifest.save_if_full()
    assert (asked, left) == (counts, [number for number in range(6) if manifest.pycs.get("/site", f"m{number}")])
    manifest.close()


def test_many_notes_about_directories_are_saved_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However few directories there are; those that can't be saved aren't held any longer."""
    monkeypatch.setattr(directories, "_MUCH", 20)
    manifest = Manifest(str(tmp_path))
    told: list[bool] = []
    for works in (True, False):
        manifest.when_full = manifest.save if works else lambda: None
        for name in (b"\0a", b"\0b"):
            manifest.directories.note(name + b"%d" % works, directories.UnchangedDirectory("", b"", b"m.py", b"seen"))
            told.append(manifest.directories.are_many)
            manifest.save_if_full()
    assert [False, True] * 2 == told
    found = [manifest.directories.of(name) is not None for name in (b"\0a1", b"\0b1", b"\0a0", b"\0b0")]
    assert [True, True, False, False] == found
    manifest.close()


# -- what is out of scope ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sites", "outside"),
    [
        (["/site"], ["/other", "/site2", "/siteX", "/sit"]),
        (["/site/"], ["/other", "/site2", "/siteX", "/sit"]),
        (["/site", "/other"], ["/site2", "/siteX", "/sit"]),
        (["/other"], ["/site2", "/siteX", "/sit"]),  # an earlier run has worked on /site
        (["/siteX"], ["/other", "/site2", "/sit"]),
        (["/"], []),
    ],
)
def test_what_lies_in_no_site_directory_is_dropped(tmp_path: Path, sites: list[str], outside: list[str]) -> None:
    """Of this run or an earlier one: pyctrigger hasn't written that."""
    directories = ["/other", "/sit", "/site", "/site/a", "/site2", "/siteX"]
    saved(
        tmp_path, {directory: {"m": record(1)} for directory in directories}, {"/site/a/x.py": FACT, "/out/y.py": FACT}
    )
    manifest = Manifest(str(tmp_path))
    manifest.work_on(sites)
    expected = sorted([*outside, *([] if sites == ["/"] else ["/out"])])
    assert expected == manifest.drop_out_of_scope()
    manifest.save()
    manifest.close()
    assert set(directories) - set(outside) == set(recorded(tmp_path / "manifest.sqlite"))
    assert ("/out/y.py" in Manifest(str(tmp_path)).uncompilable) is (sites == ["/"])


# -- the file ---------------------------------------------------------------------------------------------------------


def test_without_a_directory_it_forgets() -> None:
    """And nothing is an error."""
    manifest = Manifest(None)
    manifest.pycs.note("/site", "m", record(1))
    manifest.learn("/site/a.py", FACT)
    manifest.save()
    assert (False, None, {"/site/a.py": FACT}) == (
        manifest.keeps_records,
        manifest.pycs.get("/site", "absent"),
        manifest.uncompilable,
    )


def test_nothing_new_isnt_saved(tmp_path: Path) -> None:
    """A run that only looked makes no file."""
    manifest = Manifest(str(tmp_path))
    manifest.work_on(["/site"])
    manifest.pycs.get("/site", "m")
    manifest.pycs.note("/site", "m", None)
    manifest.save()
    manifest.close()
    assert not (tmp_path / "manifest.sqlite").exists()


def test_many_directories_that_needed_nothing_are_worth_a_file(tmp_path: Path) -> None:
    """For their own sake."""
    manifest = Manifest(str(tmp_path))
    for number in range(100):
        manifest.directories.note(key_of(f"/site/{number}"), UnchangedDirectory("t", b"", b"", b""))
    assert manifest.has_changed is True
    manifest.save()
    manifest.close()
    assert [(100,)] == rows(tmp_path, "select count(*) from settled")
    again = Manifest(str(tmp_path))
    assert UnchangedDirectory("t", b"", b"", b"") == again.directories.of(key_of("/site/7"))
    again.close()


@pytest.mark.parametrize("quota", [None, Quota(1 << 20)])
def test_what_cannot_be_replaced_is_an_error(tmp_path: Path, quota: Quota | None) -> None:
    """When something is saved: who only reads finds nothing."""
    (tmp_path / "manifest.sqlite").mkdir()
    manifest = Manifest(str(tmp_path), quota=quota)
    assert (None, False) == (manifest.pycs.get("/site", "m"), manifest.is_busy)
    manifest.pycs.note("/site", "m", record(1))
    with pytest.raises(OSError, match=r"^it isn't a regular file$") as raised:
        manifest.save()
    assert not isinstance(raised.value, StateFullError)


@pytest.mark.parametrize("data", [b"", b"no database" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_file_is_begun_anew(tmp_path: Path, data: bytes) -> None:
    """With what this run has seen."""
    saved(tmp_path, RECORDS)
    (tmp_path / "manifest.sqlite").write_bytes(data)
    manifest = Manifest(str(tmp_path))
    assert (None, {}) == (manifest.pycs.get("/site", "m"), manifest.uncompilable)
    manifest.pycs.note("/site", "m", record(7))
    manifest.save()
    manifest.close()
    assert {"/site": {"m": record(7)}} == recorded(tmp_path / "manifest.sqlite")


def test_another_schema_is_worth_nothing(tmp_path: Path) -> None:
    """Its tables are dropped."""
    database = sqlite3.connect(tmp_path / "manifest.sqlite")
    database.executescript("create table pycs (x); create table settled (x); pragma user_version = 3")
    database.close()
    saved(tmp_path, RECORDS)
    assert RECORDS == recorded(tmp_path / "manifest.sqlite")
    assert [(5,)] == rows(tmp_path, "pragma user_version")


@pytest.mark.parametrize("is_damaged", [False, True])
def test_the_whole_file_is_read_on_demand(tmp_path: Path, is_damaged: bool) -> None:
    """If a part of it is damaged, all of it is worth nothing."""
    saved(tmp_path, {f"/site/{number}": {"m" * 100: record(number)} for number in range(300)})
    path = tmp_path / "manifest.sqlite"
    if is_damaged:
        data = bytearray(path.read_bytes())
        data[-4096:-3000] = b"\xff" * 1096
        path.write_bytes(data)
    manifest = Manifest(str(tmp_path))
    manifest.check()
    found = sum(manifest.pycs.get(f"/site/{number}", "m" * 100) is not None for number in range(300))
    assert (0 if is_damaged else 300) == found
    manifest.pycs.note("/site", "m", record(1))
    manifest.save()
    assert record(1) == manifest.pycs.get("/site", "m")
    manifest.close()
    assert (1 if is_damaged else 301) == len(all_records(tmp_path / "manifest.sqlite"))


def test_a_locked_file_is_gone_without(tmp_path: Path) -> None:
    """After a while, reported once; nothing is saved then."""
    saved(tmp_path, RECORDS)
    other = sqlite3.connect(tmp_path / "manifest.sqlite", isolation_level=None)
    other.execute("begin exclusive")
    told: list[str] = []
    manifest = Manifest(str(tmp_path), patience=0.05, notice=told.append)
    assert (False, False, True) == (manifest.is_busy, manifest.keeps_records, manifest.is_busy)
    assert manifest.pycs.get("/site", "m") is None
    manifest.pycs.note("/site", "m", record(9))
    manifest.check()
    manifest.save()
    manifest.close()
    other.close()
    assert (1, True) == (len(told), f"{tmp_path}/manifest.sqlite is locked by another program" in told[0])
    assert RECORDS == recorded(tmp_path / "manifest.sqlite")


def test_a_file_that_is_locked_when_it_is_saved_is_gone_without(tmp_path: Path) -> None:
    """It isn't taken for a damaged one."""
    saved(tmp_path, RECORDS)
    told: list[str] = []
    manifest = Manifest(str(tmp_path), patience=0.05, notice=told.append)
    manifest.pycs.note("/site", "m", record(9))
    other = sqlite3.connect(tmp_path / "manifest.sqlite", isolation_level=None)
    other.execute("begin immediate")
    manifest.save()
    manifest.close()
    other.close()
    assert (1, RECORDS) == (len(told), recorded(tmp_path / "manifest.sqlite"))


def test_a_foreign_roots_manifest_has_an_end(tmp_path: Path) -> None:
    """It is an error of its own, and what was written is counted."""
    quota = Quota(1 << 20)
    manifest = Manifest(str(tmp_path), quota=quota)
    manifest.pycs.note("/site", "m", record(1))
    manifest.save()
    size = (tmp_path / "manifest.sqlite").stat().st_size
    assert (1 << 20) - size == quota.left
    quota.left = 4096
    for number in range(2000):
        manifest.pycs.note("/site", f"n{number}" * 20, record(number))
    with pytest.raises(StateFullError, match="database or disk is full") as raised:
        manifest.save()
    assert errno.EDQUOT == raised.value.errno
    manifest.close()
