"""What all package managers share: their programs asked, and paths picked from lists."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from pyctrigger.errors import ManagerError
from pyctrigger.packages.manager import ask, lines_in

if TYPE_CHECKING:
    from pathlib import Path


def program(path: Path, body: str) -> str:
    """An executable shell script."""
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_a_program_is_asked_in_surroundings_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the caller's are; from `/`, without input, and its stderr isn't part of the answer."""
    monkeypatch.setenv("LC_ALL", "de_DE")
    monkeypatch.setenv("LD_PRELOAD_OF_SOMEBODY", "x")
    path = program(
        tmp_path / "rpm", 'read x; echo "$PWD $1 $LC_ALL $HOME ${LD_PRELOAD_OF_SOMEBODY-unset}"; echo no >&2'
    )
    assert b"/ -qa C / unset\n" == ask([path, "-qa"], 60)


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
    text = b"/.\n/a\n/b\n/b/c\n/b/c/d\nx/absent\n"
    assert {b"/a", b"/b/c"} & set(wanted) == set(lines_in(text, wanted))
    assert set() == set(lines_in(b"/aa\n/b/cd\n", wanted))
