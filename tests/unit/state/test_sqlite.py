"""Database files of ours: regular files alone, and what went wrong with one."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

import pyctrigger
from pyctrigger.state.sqlite import connect, database_error, has_sqlite, is_busy, is_damaged


def test_a_python_without_sqlite_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """FreeBSD's has it in a package of its own."""
    assert (True, sqlite3.Error) == (has_sqlite(), database_error())
    monkeypatch.setitem(sys.modules, "_sqlite3", None)
    assert (True, sqlite3.Error) == (has_sqlite(), database_error())  # a Python may have its compiled part elsewhere
    monkeypatch.setitem(sys.modules, "sqlite3", None)
    assert (False, ImportError) == (has_sqlite(), database_error())


def test_a_database_needs_no_dates() -> None:
    """The rest of the module sqlite3 imports datetime, which takes a hook as long as the database itself."""
    program = (
        "import sys; sys.path[:0] = sys.argv[1:]; from pyctrigger.state.sqlite import connect; connect(':memory:', 1)\n"
        "print('_sqlite3' in sys.modules, {'sqlite3', 'datetime'} & set(sys.modules))"
    )
    command = [sys.executable, "-I", "-S", "-c", program, str(Path(pyctrigger.__file__).parent.parent)]
    assert "True set()\n" == subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60, check=True).stdout


def test_a_file_is_made_and_its_schema_not_trusted(tmp_path: Path) -> None:
    """Another program's lock is waited for as long as was said."""
    path = tmp_path / "file"
    for _ in range(2):
        with contextlib.closing(connect(str(path), 0.25)) as database:
            pragmas = ("trusted_schema", "cell_size_check", "busy_timeout")
            assert [(0,), (1,), (250,)] == [database.execute(f"pragma {each}").fetchone() for each in pragmas]
            database.execute("create table if not exists one (x)")
    assert path.read_bytes().startswith(b"SQLite format 3\0")


@pytest.mark.parametrize("kind", ["link", "dangling link", "directory", "fifo"])
def test_what_is_no_regular_file_is_no_database(tmp_path: Path, kind: str) -> None:
    """SQLite itself would follow a link, and make what it leads to."""
    path, target = tmp_path / "file", tmp_path / "target"
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to(target)
        if kind == "link":
            target.touch()
    with pytest.raises(sqlite3.DatabaseError, match=r"^it isn't a regular file$") as raised:
        connect(str(path), 1)
    assert is_damaged(raised.value)  # so that another file takes its place
    assert (kind == "link") is target.exists()


def raised_by(path: Path, statement: str) -> Exception:
    """What SQLite raises for a statement."""
    with contextlib.closing(connect(str(path), 0)) as database:
        with contextlib.suppress(sqlite3.Error):
            database.execute("pragma max_page_count = 1")  # the disk is full
        with pytest.raises(sqlite3.Error) as raised:
            database.execute(statement)
    error: Exception = raised.value
    return error


def test_what_is_wrong_with_a_file_is_told_from_what_may_pass(tmp_path: Path) -> None:
    """One that is locked, one that is no database, and one without room."""
    path, other = tmp_path / "file", tmp_path / "other"
    other.write_bytes(b"no database" * 100)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("create table one (x)")
        holder.execute("begin exclusive")
        errors = [raised_by(each, "create table two (x)") for each in (path, other, tmp_path / "new")]
    assert [(True, False), (False, True), (False, False)] == [(is_busy(each), is_damaged(each)) for each in errors]
    assert is_damaged(ValueError()) is False
