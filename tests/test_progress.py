"""The progress bar: on a terminal, for work that takes a moment, where rich is installed; otherwise nothing."""

from __future__ import annotations

import os
import pty
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from packages import write_tree
from terminal import heard

if TYPE_CHECKING:
    from pathlib import Path

    from command import Command
    from interpreters import Interpreter

#: Enough work for the bar's patience of a second on any machine: each of these takes 20 ms and more at three levels,
#: which all differ.
LONG_WORK = {
    f"module_{number}.py": "'A docstring.'\nassert True\n" + "x = {'a': [1, 2, (3, 4)]}\n" * 600
    for number in range(150)
}


def _bar(pyctrigger: Command, program: list[str], *arguments: str, verb: str = "run", code: int = 0) -> bytes:
    leader, terminal = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    line = [*(os.fsencode(part) for part in program), *pyctrigger.command_line(verb, arguments)[3:]]
    pid = os.posix_spawn(
        line[0],
        line,
        environment,
        file_actions=[(os.POSIX_SPAWN_DUP2, terminal, 2), (os.POSIX_SPAWN_CLOSE, leader)],
    )
    os.close(terminal)
    said = heard(leader)
    _, status = os.waitpid(pid, 0)
    assert os.WIFEXITED(status)
    assert os.WEXITSTATUS(status) == code, said
    return said


@pytest.fixture
def arguments(site: Path, newest: Interpreter) -> list[str]:
    write_tree(site, LONG_WORK)
    return ["--python", newest.path, "--site-dir", str(site), "--optimize", "0,1,2", "--jobs", "1"]


def test_a_bar_is_drawn_on_a_terminal_and_taken_away(pyctrigger: Command, arguments: list[str]) -> None:
    """It counts sources, and leaves the line clean."""
    said = _bar(pyctrigger, [sys.executable, "-m", "pyctrigger"], *arguments)

    assert b"compiling" in said
    assert b"/150" in said


def test_no_bar_when_it_is_not_wanted(pyctrigger: Command, arguments: list[str]) -> None:
    """`--no-progress` leaves the terminal alone."""
    assert _bar(pyctrigger, [sys.executable, "-m", "pyctrigger"], *arguments, "--no-progress") == b""


def test_no_bar_without_rich(pyctrigger: Command, arguments: list[str]) -> None:
    """The extra may be absent: the work is done all the same."""
    code = "import sys; sys.modules['rich'] = None; from pyctrigger.cli import main; sys.exit(main())"

    assert _bar(pyctrigger, [sys.executable, "-c", code], *arguments) == b""


def test_no_bar_without_a_terminal(pyctrigger: Command, arguments: list[str]) -> None:
    """A log gets lines, not control characters."""
    outcome = pyctrigger.text("run", *arguments)

    assert (outcome.code, outcome.err) == (0, "")


def test_a_bar_counts_archives(pyctrigger: Command, tmp_path: Path) -> None:
    """Of those that an audit examines; hashes of the kind that this host computes slowly give it something to do."""
    number = 3425 if sys.version_info >= (3, 11) else 3495
    head = number.to_bytes(2, "little") + b"\r\n\3\0\0\0" + bytes(20)
    for name in "abc":
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            archive.writestr("__pycache__/m.cpython-39.pyc", head)
            archive.writestr("m.py", bytes(3 << 20))
    program = [sys.executable, "-m", "pyctrigger"]

    said = _bar(pyctrigger, program, "-q", "--jobs", "1", str(tmp_path), verb="audit", code=1)
    assert b"" == said
    said = _bar(pyctrigger, program, "--jobs", "1", str(tmp_path), verb="audit", code=1)

    assert b"examining" in said
    assert b"/3" in said
