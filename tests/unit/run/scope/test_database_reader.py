"""The reader of a root's copied databases: what it finds in them, and how its answer ends."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pyctrigger.errors import ManagerError
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


@pytest.mark.parametrize("case", ANSWERS)
def test_what_is_answered(tmp_path: Path, case: str) -> None:
    """In a process of its own, with no rights left."""
    manager, question, texts, expected = ANSWERS[case]
    if texts is not None:
        copy(tmp_path, texts)
    tmp_path.chmod(0o755)
    (tmp_path.parent / "asked").write_bytes(question)
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open(tmp_path.parent / "asked", os.O_RDONLY), 0)
        os.dup2(theirs, 1)
        try:
            serve(manager, 5.5, 65534 if os.geteuid() == 0 else 0, str(tmp_path))
        finally:
            os._exit(9)
    os.close(theirs)
    with open(ours, "rb") as answer:
        assert expected == answer.read()
    assert 0 == os.waitpid(pid, 0)[1]


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


def test_a_copied_database(tmp_path: Path) -> None:
    """Is read, its log included, and isn't changed; afterwards no file can be opened."""
    with sqlite3.connect(tmp_path / "local.sqlite") as database:
        database.execute("create table packages (name)")
        database.execute("create table others (name)")
        database.execute("insert into packages values ('p')")
    database.close()
    program = f"""if True:
        import sqlite3, sys
        sys.path[:] = {sys.path!r}
        from pyctrigger.run.scope.database_reader import CopiedFiles
        with CopiedFiles({str(tmp_path)!r}, 5).open_database("/local.sqlite", ["packages"]) as found:
            print(found.execute("select name from packages").fetchall())
            for act in (lambda: open("/dev/null"), lambda: found.execute("select name from others").fetchall()):
                try:
                    act()
                except Exception as error:
                    print(type(error).__name__)
    """
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True)
    assert ["[('p',)]", "OSError", "DatabaseError"] == done.stdout.decode().split("\n")[:3]
    assert [tmp_path / "local.sqlite"] == list(tmp_path.iterdir())
