"""What all package managers share: their programs asked, and paths picked from lists."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from pyctrigger.errors import ManagerError
from pyctrigger.packages.databases import Files, Source
from pyctrigger.packages.dpkg import Dpkg
from pyctrigger.packages.hook import Subject
from pyctrigger.packages.manager import ask, is_wanted, lines_in
from pyctrigger.packages.rpm import Rpm
from unit.packages.stand_in import FilesInMemory

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path


def program(path: Path, body: str) -> str:
    """An executable shell script."""
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_a_program_is_asked_in_surroundings_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whatever the caller's are; from `/`, without input, and its stderr goes nowhere."""
    monkeypatch.setenv("LC_ALL", "de_DE")
    monkeypatch.setenv("LD_PRELOAD_OF_SOMEBODY", "x")
    path = program(tmp_path / "rpm", 'echo "$PWD $1 $LC_ALL $HOME ${LD_PRELOAD_OF_SOMEBODY-unset} $(cat)"; echo no >&2')
    before = os.dup(0)
    with open(path, "rb") as typed:
        os.dup2(typed.fileno(), 0)
    try:
        assert (b"/ -qa C / unset \n", "") == (ask([path, "-qa"], 60), capfd.readouterr().err)
    finally:
        os.dup2(before, 0)
        os.close(before)


@pytest.mark.parametrize(
    ("body", "seconds", "message"),
    [
        ("exit 3", 60, "{path} failed: exit status 3"),
        ("kill -9 $$", 60, "{path} failed: exit status -9"),
        ("exec sleep 60", 0.1, "{path} can't be run: TimeoutExpired"),
    ],
)
def test_a_program_that_fails_is_an_error(tmp_path: Path, body: str, seconds: float, message: str) -> None:
    """And says which one, and how."""
    path = program(tmp_path / "rpm", body)
    with pytest.raises(ManagerError) as caught:
        ask([path], seconds)
    assert message.format(path=path) == str(caught.value)


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    """It went after it was looked for."""
    with pytest.raises(ManagerError, match="can't be run: FileNotFoundError"):
        ask([str(tmp_path / "absent")], 60)


def test_a_caller_who_ignores_its_children_hears_no_status(tmp_path: Path) -> None:
    """Then every one is 0, also that of a program that failed."""
    path = program(tmp_path / "rpm", "exit 0")
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with pytest.raises(ManagerError, match=f"the exit status of {path} is unknown while SIGCHLD is ignored"):
            ask([path], 60)
    finally:
        signal.signal(signal.SIGCHLD, before)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", []),
        (b"/a.pyc", [b"/a.pyc"]),
        (b"/a.py\n/b.pyc\n/c.pyc.bak\n/d.pyc\n", [b"/b.pyc", b"/d.pyc"]),
        (b"usr/b.pyc\n", [b"usr/b.pyc"]),
        (b"/with space.pyc\n/\xff.pyc\r\n", [b"/with space.pyc"]),
        (b"/no/bytecode\n", []),
    ],
)
def test_pycs_among_lines(text: bytes, expected: list[bytes]) -> None:
    """To the end of each line."""
    assert expected == list(lines_in(text, None))


@pytest.mark.parametrize("count", [1, 20, 21, 100])
def test_lines_are_found_whole(count: int) -> None:
    """A few are looked for one by one, many at once: with the same answer."""
    wanted = [b"/a", b"/b/c", b"/absent", *(b"/more%d" % number for number in range(count - 3))][:count]
    text = b"/.\n/a\n/b\n/b/c\n/b/c/d\nx/absent\n/absent x\n"
    assert {b"/a", b"/b/c"} & set(wanted) == set(lines_in(text, wanted))
    assert set() == set(lines_in(b"/aa\n/b/cd\n", wanted))


@pytest.mark.parametrize(
    ("path", "paths", "expected"),
    [(b"/a.pyc", None, True), (b"/a.py", None, False), (b"/a.py", [b"/a.py"], True), (b"/a.pyc", [b"/a.py"], False)],
)
def test_a_path_is_wanted_by_name_or_as_a_pyc(path: bytes, paths: list[bytes] | None, expected: bool) -> None:
    """Without names every pyc is."""
    assert expected is is_wanted(path, paths)


LIST = "/var/lib/dpkg/info/one.list"


class Read(FilesInMemory):
    """A foreign root's files, which a child reads."""

    answer: list[tuple[bytes, bytes]] | None = None
    asked: tuple[Any, ...] = ()

    def ask_reader(
        self, manager: str, sources: list[Source], paths: Collection[bytes] | None
    ) -> list[tuple[bytes, bytes]] | None:
        self.asked = (manager, sources, paths)
        return self.answer


@pytest.mark.parametrize(("paths", "own"), [(None, b"/a.pyc"), ([b"/a.py"], b"/a.py")])
@pytest.mark.parametrize(
    ("is_foreign", "answer", "expected"),
    [
        (True, [(b"/b.pyc", b"p\xff")], [(b"/b.pyc", "p\udcff")]),
        (True, [], []),
        (True, None, None),
        (False, [(b"/b.pyc", b"p")], None),
    ],
)
def test_a_foreign_roots_files_are_read_by_a_child(
    is_foreign: bool,
    answer: list[tuple[bytes, bytes]] | None,
    expected: list[tuple[bytes, str]] | None,
    paths: list[bytes] | None,
    own: bytes,
) -> None:
    """If there is one, which is told what to read for what; otherwise this process reads them."""
    files = Read({LIST: b"/a.py\n/a.pyc\n/c\n"}, is_foreign=is_foreign)
    files.answer = answer
    manager = Dpkg(files)
    found = list(manager.find_owned(paths))
    assert ([(own, "one")] if expected is None else expected) == found
    assert (("dpkg", manager.sources, paths) if is_foreign else ()) == files.asked


def test_a_manager_is_this_systems_unless_it_is_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """And then its files are where they are here."""
    monkeypatch.setattr(Files, "has", lambda files, path: path == "/var/lib/dpkg/info")
    assert (True, False) == (Dpkg().is_present, Dpkg(FilesInMemory({})).is_present)


@pytest.mark.parametrize(
    ("sites", "libraries", "expected"),
    [
        ((), (), ["/usr/lib/p3/site-packages", "/usr/lib64/p3/site-packages", "/l/encodings", "/m/encodings"]),
        (("/s",), (), ["/s", "/l/encodings", "/m/encodings"]),
        (("/s",), ("/o",), ["/s", "/o/encodings"]),
    ],
)
def test_what_a_hook_watches(sites: tuple[str, ...], libraries: tuple[str, ...], expected: list[str]) -> None:
    """Site directories, and a package that every library has: the manager's, unless the subject has others."""
    subject = Subject("py311", "3.11", "p3", "cpython-311", ("/p",), sites, libraries=libraries)
    assert expected == Rpm.watched(subject, ["/l", "/m"])
