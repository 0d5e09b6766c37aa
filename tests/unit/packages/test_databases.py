"""Databases of package managers: files, and SQLite's, kept to a few plain tables and never written."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from packages import write_tree
from pyctrigger.errors import ManagerError
from pyctrigger.packages import databases as module
from pyctrigger.packages.databases import Files, confine


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A database with two tables."""
    place = tmp_path / "a ?#%.sqlite"
    database = sqlite3.connect(place)
    database.executescript(
        "create table files (path text); create table other (x); insert into files values ('/a.pyc')"
    )
    database.close()
    return str(place)


def ask(path: str, question: str, tables: tuple[str, ...] = ("files",), seconds: float = 60) -> list[Any]:
    """The rows of a question."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "_PATIENCE", seconds)
        with Files().open_database(path, tables) as database:
            return list(database.execute(question))


#: Questions, and whether they are answered.
QUESTIONS = [
    ("select path from files", True),
    ("select path from files where path like '%.pyc'", True),
    ("select path from files where instr(path, 'a')", True),
    ("select upper(path) from files", False),
    ("select x from other", False),
    ("select name from sqlite_master", False),
    ("select load_extension('x')", False),
    ("delete from files", False),
    ("insert into files values ('x')", False),
    ("create table more (x)", False),
    ("attach ':memory:' as more", False),
    ("pragma journal_mode = wal", False),
    ("begin immediate", False),
]


@pytest.mark.parametrize(("question", "is_answered"), QUESTIONS)
def test_only_our_own_kind_of_question_is_answered(path: str, question: str, is_answered: bool) -> None:
    """Nothing is written, no other table read, no other function called."""
    before = os.stat(path).st_mtime_ns, sorted(os.listdir(os.path.dirname(path)))
    if is_answered:
        assert [("/a.pyc",)] == ask(path, question)
    else:
        with pytest.raises(ManagerError, match="can't be read: "):
            ask(path, question)
    assert before == (os.stat(path).st_mtime_ns, sorted(os.listdir(os.path.dirname(path))))


#: What a stranger may have called `files`.
SCHEMAS = {
    "view": "create view files as select 'x' as path",
    "virtual": "create virtual table files using fts4(path)",
    "generated": "create table files (a text, path text generated always as (a || 'x'))",
    "stored": "create table files (a text, path text as (a || 'x') stored)",
    "none": "create table file (path text)",
}


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_table_has_to_hold_its_rows_itself(tmp_path: Path, name: str) -> None:
    """No view, no virtual table, no column that is computed."""
    database = sqlite3.connect(tmp_path / "db")
    database.execute(SCHEMAS[name])
    database.close()
    message = "its table files has generated columns" if name in ("generated", "stored") else "it has no table files"
    with pytest.raises(ManagerError, match=message):
        ask(str(tmp_path / "db"), "select path from files")


def test_every_table_is_looked_at(path: str) -> None:
    """Not only the first."""
    assert [("/a.pyc",)] == ask(path, "select path from files", ("files", "other"))
    with pytest.raises(ManagerError, match="it has no table packages"):
        ask(path, "select path from files", ("files", "packages"))


def test_a_question_has_an_end(path: str) -> None:
    """Of processor time of our own."""
    endless = "select 1 from files a, files b, files c, files d where instr(d.path || a.path, 'never')"
    writer = sqlite3.connect(path)
    writer.executemany("insert into files values (?)", [(str(number),) for number in range(2000)])
    writer.commit()
    writer.close()
    began = time.process_time()
    with pytest.raises(ManagerError, match="interrupted"):
        ask(path, endless, seconds=0.05)
    assert time.process_time() - began < 5
    assert [] == ask(path, "select 1 from files a, files b where instr(a.path || b.path, 'never') limit 1")


@pytest.mark.parametrize("data", [b"", b"no database at all" * 100, b"SQLite format 3\0" + b"\xff" * 200])
def test_what_is_no_database_is_an_error(tmp_path: Path, data: bytes) -> None:
    """With SQLite's words; no descriptor stays open."""
    (tmp_path / "db").write_bytes(data)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ManagerError, match=f"^{tmp_path}/db can't be read: "):
        ask(str(tmp_path / "db"), "select path from files")
    assert len(os.listdir("/proc/self/fd")) <= before


def test_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    """And isn't made."""
    with pytest.raises(FileNotFoundError):
        ask(str(tmp_path / "db"), "select path from files")
    assert [] == os.listdir(tmp_path)


@pytest.mark.parametrize(("version", "expected"), [(1, False), (2, True), (3, False)])
def test_a_log_is_told_by_one_byte(tmp_path: Path, version: int, expected: bool) -> None:
    """The read version of the file's format."""
    (tmp_path / "db").write_bytes(b"x" * 19 + bytes([version]) + b"y")
    assert expected is module._has_log(str(tmp_path / "db"))
    (tmp_path / "db").write_bytes(b"\2" * 19)
    assert module._has_log(str(tmp_path / "db")) is False


def test_a_database_with_a_log_is_left_as_it_was(path: str) -> None:
    """Without a writer there is no log, and none is made; with a writer, what is in the log counts."""
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("pragma journal_mode = wal")
    writer.close()
    alone = sorted(os.listdir(os.path.dirname(path)))
    with Files().open_database(path, ["files"]) as database:
        assert [("/a.pyc",)] == list(database.execute("select path from files"))
        assert alone == sorted(os.listdir(os.path.dirname(path)))
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("insert into files values ('/b.pyc')")
    assert [("/a.pyc",), ("/b.pyc",)] == ask(path, "select path from files")
    writer.close()


def test_what_a_killed_writer_left_is_not_undone(path: str, tmp_path: Path) -> None:
    """Its journal is hot: the next writer plays it back, and we are none."""
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("pragma cache_size = 1")
    writer.execute("begin")
    writer.executemany("insert into files values (?)", [("x" * 1000,) for _ in range(100)])
    left = tmp_path / "left"
    left.mkdir()
    for suffix in ("", "-journal"):
        (left / f"db{suffix}").write_bytes(Path(path + suffix).read_bytes())
    writer.close()
    before = {each.name: each.read_bytes() for each in left.iterdir()}
    with contextlib.suppress(ManagerError):
        ask(str(left / "db"), "select path from files")
    assert before == {each.name: each.read_bytes() for each in left.iterdir()}


def test_a_locked_database_is_waited_for_half_a_second(path: str) -> None:
    """And then it can't be read."""
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("begin exclusive")
    began = time.monotonic()
    with pytest.raises(ManagerError, match="locked"):
        ask(path, "select path from files")
    writer.close()
    assert 0.4 < time.monotonic() - began < 4.5


def test_confinement_is_by_the_schema_as_it_is_called(path: str) -> None:
    """The pragmas that SQLite's own page on security asks for."""
    database = sqlite3.connect(path)
    confine(database, ["files"], 60)
    database.set_authorizer(None)
    for pragma, expected in [("trusted_schema", 0), ("cell_size_check", 1), ("query_only", 1), ("temp_store", 2)]:
        assert (expected,) == database.execute(f"pragma {pragma}").fetchone()
    database.close()


# -- files -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Files, links and directories."""
    write_tree(
        tmp_path, {"a.list": "one\n", "b.list": "two\n", "c.txt": "", "pkg-1-1/files": "%FILES%", "pkg-1-1/desc": ""}
    )
    write_tree(tmp_path, {"empty/desc": ""})
    (tmp_path / "link").symlink_to("a.list")
    (tmp_path / "dangling").symlink_to("nowhere")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "has", "has_file", "link"),
    [
        ("a.list", True, True, None),
        ("empty", True, False, None),
        ("link", True, True, "a.list"),
        ("dangling", False, False, "nowhere"),
        ("absent", False, False, None),
    ],
)
def test_what_is_there(place: Path, name: str, has: bool, has_file: bool, link: str | None) -> None:
    """A file, a directory, links, and nothing."""
    files, path = Files(), str(place / name)
    assert (has, has_file, link) == (files.has(path), files.has_file(path), files.link(path))
    assert (path, False) == (files.describe(path), files.is_foreign)


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        (".list", {"a": b"one\n", "b": b"two\n"}),
        ("/files", {"pkg-1-1": b"%FILES%"}),
        ("/absent", {}),
        (".absent", {}),
        (".txt", {"c": b""}),
    ],
)
def test_files_below_a_directory(place: Path, ending: str, expected: dict[str, bytes]) -> None:
    """By the end of their names, or one of a name in each directory."""
    before = len(os.listdir("/proc/self/fd"))
    assert expected == dict(Files().read_below(str(place), ending))
    assert len(os.listdir("/proc/self/fd")) <= before


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, 200_000, 3_000_000])
def test_a_file_is_read_whole(tmp_path: Path, size: int) -> None:
    """Small, as large as a piece, and larger."""
    data = os.urandom(size)
    (tmp_path / "file").write_bytes(data)
    assert data == Files().read(str(tmp_path / "file"))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """An OSError, and no descriptor is left."""
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(FileNotFoundError):
        Files().read(str(tmp_path / "absent"))
    with pytest.raises(OSError, match="not a regular file"):
        Files().read(str(tmp_path))
    assert len(os.listdir("/proc/self/fd")) <= before
