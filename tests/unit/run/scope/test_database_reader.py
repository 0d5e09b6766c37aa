"""The reader of a root's copied databases: what it finds in them, and how its answer ends."""

from __future__ import annotations

import contextlib
import os
import resource
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from pyctrigger.errors import ManagerError
from pyctrigger.packages.every import MANAGERS
from pyctrigger.run.scope import database_reader as module
from pyctrigger.run.scope.database_reader import TEXT, TEXTS, CopiedFiles, serve

if TYPE_CHECKING:
    from pathlib import Path


def copy(place: Path, texts: dict[str, bytes]) -> None:
    """Write texts as the host does."""
    (place / TEXTS).write_bytes(
        b"".join(
            TEXT.pack(len(os.fsencode(name)), len(text)) + os.fsencode(name) + text for name, text in texts.items()
        )
    )


def test_copied_texts(tmp_path: Path) -> None:
    """By their paths, or all that have none."""
    copy(tmp_path, {"/a": b"first\0", "b": b"", "c\udcff": b"third", "/d": b"x"})
    files = CopiedFiles(str(tmp_path), 5)
    assert (b"first\0", b"x") == (files.read("/a"), files.read("/d"))
    for path in ("/b", "/A", ""):
        with pytest.raises(FileNotFoundError) as caught:
            files.read(path)
        assert (2, "No such file or directory") == (caught.value.errno, caught.value.strerror)
    assert [("b", b""), ("c\udcff", b"third")] == list(files.read_below("/any", ".list"))
    assert (True, False) == (files.has(f"/{TEXTS}"), files.has("/absent"))


DPKG = {
    "/var/lib/dpkg/status": b"Package: p\nStatus: install ok installed\n",
    "p": b"/usr/a.py\n/usr/a.pyc\n/usr/b.py\n",
}
#: The manager, the paths asked for, the copied texts, and the answer.
ANSWERS: dict[str, tuple[str, bytes, dict[str, bytes] | None, bytes]] = {
    "pycs": ("dpkg", b"", DPKG, b"/usr/a.pyc\0\0done"),
    "owners": ("dpkg", b"/usr/a.py\0/usr/c.py", DPKG, b"/usr/a.py\0p\0done"),
    "nothing": ("dpkg", b"/usr/c.py", DPKG, b"done"),
    "no texts": ("dpkg", b"", None, b"trouble: its reader failed with FileNotFoundError"),
    "no such manager": ("other", b"", DPKG, b"trouble: its reader failed with KeyError"),
}


def served(place: Path, manager: str, question: bytes = b"", *, account: int = 65534) -> bytes:
    """Returns what a process answers that serves a manager in a place."""
    place.chmod(0o755)
    (place.parent / "asked").write_bytes(question)
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open(place.parent / "asked", os.O_RDONLY), 0)
        os.dup2(theirs, 1)
        try:
            serve(manager, 5.5, account if os.geteuid() == 0 else 0, str(place))
        finally:
            os._exit(9)
    os.close(theirs)
    with open(ours, "rb") as answer:
        found = answer.read()
    assert 0 == os.waitpid(pid, 0)[1]
    return found


@pytest.mark.parametrize("case", ANSWERS)
def test_what_is_answered(tmp_path: Path, case: str) -> None:
    """In a process of its own, with no rights left."""
    manager, question, texts, expected = ANSWERS[case]
    if texts is not None:
        copy(tmp_path, texts)
    assert expected == served(tmp_path, manager, question)


def test_who_needs_no_database_needs_no_sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some Pythons are built without."""
    copy(tmp_path, DPKG)
    monkeypatch.setitem(sys.modules, "sqlite3", None)
    assert b"/usr/a.pyc\0\0done" == served(tmp_path, "dpkg")


class Reporting:
    """A manager whose paths say what its reader may do, and which was asked for them."""

    def __init__(self, files: CopiedFiles) -> None:
        self._files = files

    def find_owned(self, paths: list[bytes] | None) -> list[tuple[bytes, str]]:
        """What a reader has."""
        assert paths is None
        found: dict[str, Any] = {
            "base": self._files._base,
            "seconds": self._files._seconds,
            "cwd": os.getcwd(),
            "names": os.listdir(f"{self._files._base}/"),
            "ids": (*os.getresuid(), *os.getresgid(), *os.getgroups()),
            "limits": [
                resource.getrlimit(each) for each in (resource.RLIMIT_NPROC, resource.RLIMIT_AS, resource.RLIMIT_CPU)
            ],
        }
        return [(f"{name}: {value}".encode(), "p") for name, value in found.items()]


class Failing(Reporting):
    """A manager whose files make no sense."""

    def find_owned(self, paths: list[bytes] | None) -> list[tuple[bytes, str]]:
        """Nothing."""
        raise ManagerError("/r/db can't be read: \udcff" + "x" * 400)


@pytest.mark.parametrize("account", [65534, 0])
def test_a_reader_has_no_rights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, account: int) -> None:
    """But to read what was copied. Root shuts it in there, as another account if it has one to spare."""
    monkeypatch.setitem(MANAGERS, "reporting", Reporting)
    copy(tmp_path, {})
    is_root = os.geteuid() == 0
    uid, gid = (account, account) if is_root else (os.geteuid(), os.getegid())
    groups = [] if is_root and account else os.getgroups()
    expected = {
        "base": "" if is_root else str(tmp_path),
        "seconds": 5.5,
        "cwd": "/" if is_root else str(tmp_path),
        "names": [TEXTS],
        "ids": (*[uid] * 3, *[gid] * 3, *groups),
        "limits": [(1, 1), (200 << 20, 200 << 20), (6, 6)],
    }
    text = b"".join(f"{name}: {value}".encode() + b"\0\0" for name, value in expected.items())
    assert text + b"done" == served(tmp_path, "reporting", account=account)


def test_a_reader_without_limits_reads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It could need all memory that there is."""
    copy(tmp_path, DPKG)
    monkeypatch.setattr(module, "bound", lambda *_: False)
    assert b"trouble: its reader can't be limited" == served(tmp_path, "dpkg")


def test_a_reason_is_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And it is text, whatever it names."""
    monkeypatch.setitem(MANAGERS, "failing", Failing)
    assert b"trouble: ?" + b"x" * 299 == served(tmp_path, "failing")


#: What went wrong, and how it is described.
TROUBLE: list[tuple[BaseException, str]] = [
    (ManagerError("/r/var/db can't be read: it is broken"), "it is broken"),
    (ManagerError("it is broken"), "it is broken"),
    (MemoryError(), "reading it exceeds the memory limit"),
    (ValueError("secret"), "its reader failed with ValueError"),
]


@pytest.mark.parametrize(("error", "expected"), TROUBLE)
def test_what_is_said_of_trouble(error: BaseException, expected: str) -> None:
    """Nothing of what was read."""
    assert expected == module._describe(error)


NAMES = 'found.execute("select name from packages").fetchall()'
OTHERS = 'found.execute("select name from others").fetchall()'
LONG = "select 1 from packages a, packages b, packages c where instr(a.name, c.name) = 9"


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A directory with a copied database."""
    with sqlite3.connect(tmp_path / "local.sqlite") as database:
        database.execute("create table packages (name)")
        database.execute("create table others (name)")
        database.executemany("insert into packages values (?)", [(str(number),) for number in range(99)])
    database.close()
    return tmp_path


def test_a_copied_database(copied: Path) -> None:
    """Is read, and isn't changed; meanwhile no file can be opened."""
    program = f"""if True:
        import sqlite3, sys
        sys.path[:] = {sys.path!r}
        from pyctrigger.run.scope.database_reader import CopiedFiles
        with CopiedFiles({str(copied)!r}, 5).open_database("/local.sqlite", ["packages"]) as found:
            for act in (lambda: {NAMES}, lambda: open("/dev/null"), lambda: {OTHERS}):
                try:
                    print(act())
                except Exception as error:
                    print(type(error).__name__)
    """
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True)
    names = [(str(number),) for number in range(99)]
    assert [str(names), "OSError", "DatabaseError"] == done.stdout.decode().splitlines()
    assert [copied / "local.sqlite"] == list(copied.iterdir())


@pytest.mark.parametrize(("seconds", "is_enough"), [(50, True), (0, False)])
def test_a_question_has_its_time(
    copied: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, is_enough: bool
) -> None:
    """Of the processor."""
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)  # or this process could open no more files
    asked = CopiedFiles(str(copied), seconds).open_database("/local.sqlite", ["packages"])
    ends: Any = contextlib.nullcontext() if is_enough else pytest.raises(ManagerError, match="interrupted")
    with ends, asked as found, contextlib.closing(found):
        assert [] == found.execute(LONG).fetchall()
