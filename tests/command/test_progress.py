"""Progress on a terminal: a line that counts, never backwards, and is erased at the end; elsewhere nothing."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import zipfile
from typing import TYPE_CHECKING

import pytest

from command import Outcome
from packages import write_tree
from terminal import Screen, heard

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from command import Argument, Command
    from interpreters import Interpreter

#: Sources in three packages.
NUMBER = 40
WORK = {f"package{number % 3}/module_{number}.py": "x = {'a': [1, 2, (3, 4)]}\n" * 50 for number in range(NUMBER)}
#: Shows each step at once, where a person would see one in a tenth of a second.
EAGER = """
import sys
from pyctrigger.cli import main
from pyctrigger.cli.output import progress
progress._PATIENCE = progress._PAUSE = 0
sys.exit(main())
"""
PLAIN = f"import sys; sys.modules['rich'] = None\n{EAGER}"
KINDS = pytest.mark.parametrize("kind", [PLAIN, EAGER], ids=["plain", "rich"])


def watched(
    pyctrigger: Command,
    kind: str,
    line: Sequence[Argument],
    *,
    columns: int = 80,
    env: Mapping[str, str] | None = None,
) -> tuple[Outcome, Screen]:
    """Run it with standard error on a terminal; its answer, and what the terminal showed."""
    leader, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    pyctrigger.program = [sys.executable, "-c", kind]
    command = pyctrigger.command_line(str(line[0]), line[1:])
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "200", **(env or {})}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=terminal, env=environment) as child:
        os.close(terminal)
        said = heard(leader)
        assert child.stdout is not None
        out = child.stdout.read()
    screen = Screen(columns)
    screen.show(said)
    return Outcome(child.returncode, out.decode(), said.decode()), screen


def counted(screen: Screen, label: str) -> list[tuple[int, ...]]:
    """The numbers after a label, in their order."""
    found = (re.search(rf"{label}.*?\b(\d+)(?: of (\d+)| sources?|$)", frame) for frame in screen.frames)
    numbers = [tuple(int(number) for number in match.groups() if number) for match in found if match]
    return [each for each, before in zip(numbers, [None, *numbers]) if each != before]


@pytest.fixture
def scope(site: Path, newest: Interpreter) -> list[Argument]:
    """Forty sources without bytecode."""
    write_tree(site, WORK)
    return ["--python", newest.path, "--site-dir", site, "--jobs", "1"]


@KINDS
def test_numbers_only_grow_and_totals_never_change(
    pyctrigger: Command, scope: list[Argument], newest: Interpreter, kind: str
) -> None:
    """First what was looked at, then what was done of all there is to do; and no trace of it at the end."""
    outcome, screen = watched(pyctrigger, kind, ["run", *scope])

    looked, done = counted(screen, f"{newest.flavour}: looking"), counted(screen, f"{newest.flavour}: compiling")
    assert (sorted(looked), looked[-1]) == (looked, (NUMBER,))
    assert [(number, NUMBER) for number in range(1, NUMBER + 1)] == done
    frames = [index for index, frame in enumerate(screen.frames) if "compiling" in frame]
    assert all("looking" in frame for frame in screen.frames[: frames[0]])
    assert [] == screen.lines
    assert (0, 1) == (outcome.code, outcome.out.count("\n"))


@KINDS
def test_looking_alone_counts_too(pyctrigger: Command, scope: list[Argument], kind: str) -> None:
    """A verb that only looks, and one that finds nothing to do."""
    for verb, *options in (("verify",), ("run", "-q"), ("run", "--dry-run"), ("sweep",), ("purge", "--dry-run")):
        taken = scope if verb in ("run", "repair") else scope[:-2]
        _, screen = watched(pyctrigger, kind, [verb, *options, *taken])
        looked = counted(screen, "looking")
        assert (verb, [] if "-q" in options else (NUMBER,)) == (verb, looked[-1] if looked else [])
        assert sorted(looked) == looked
        assert [] == screen.lines


@KINDS
def test_words_between_leave_no_trace_of_it(pyctrigger: Command, scope: list[Argument], site: Path, kind: str) -> None:
    """Failures are printed on the same terminal, each as a complete line."""
    write_tree(site, {f"bad{number}.py": "= =\n" for number in range(3)})
    outcome, screen = watched(pyctrigger, kind, ["run", "-vv", *scope], columns=500)

    assert sorted(f"{site}/bad{number}.py: syntax: line 1, SyntaxError" for number in range(3)) == sorted(screen.lines)
    assert NUMBER == outcome.out.count("\ncompiled ") + outcome.out.startswith("compiled ")


@KINDS
@pytest.mark.parametrize("columns", [12, 30])
def test_a_narrow_terminal_is_no_reason_to_break_the_line(
    pyctrigger: Command, scope: list[Argument], kind: str, columns: int
) -> None:
    """Whatever COLUMNS is: nothing is left over, and the last column stays empty."""
    _, screen = watched(pyctrigger, kind, ["run", *scope], columns=columns)

    assert screen.frames
    assert columns > max(map(len, screen.frames)) or kind is EAGER
    assert [] == screen.lines


@pytest.mark.parametrize(
    ("options", "env"),
    [
        (["--no-progress"], {}),
        (["-q"], {}),
        (["--json"], {}),
        (["--hook"], {}),
        ([], {"TERM": "dumb"}),
        ([], {"TERM": ""}),
    ],
    ids=str,
)
def test_no_progress_where_nobody_wants_it(
    pyctrigger: Command, scope: list[Argument], options: list[str], env: dict[str, str]
) -> None:
    """Or where a terminal can only add lines; a hook's terminal is often a log."""
    outcome, _ = watched(pyctrigger, EAGER, ["run", *options, *scope], env=env)

    assert outcome.code == 0
    assert set("\r\x1b").isdisjoint(outcome.err.replace("\r\n", "\n"))


def test_no_progress_without_a_terminal(pyctrigger: Command, scope: list[Argument]) -> None:
    """A log gets lines, not control characters."""
    pyctrigger.program = [sys.executable, "-c", EAGER]
    outcome = pyctrigger.text("run", *scope)

    assert (outcome.code, outcome.err) == (0, "")


def test_short_work_needs_none(pyctrigger: Command, scope: list[Argument]) -> None:
    """Nothing flickers before there is something to wait for."""
    patient = PLAIN.replace("= progress._PAUSE = 0", "= 100")

    assert "" == watched(pyctrigger, patient, ["run", *scope])[0].err


@KINDS
def test_it_counts_archives(pyctrigger: Command, tmp_path: Path, kind: str) -> None:
    """Of those that an audit examines."""
    for name in "abc":
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            archive.writestr("m.py", b"")

    assert "" == watched(pyctrigger, kind, ["audit", "-q", tmp_path])[0].err
    _, screen = watched(pyctrigger, kind, ["audit", tmp_path])
    assert [(1, 3), (2, 3), (3, 3)] == counted(screen, "examining")
    assert [] == screen.lines


# -- a hook ------------------------------------------------------------------------------------------------------------

#: A megabyte that takes no time: how long a hook will work is told by sizes.
LARGE = "#" * (1 << 20)
#: How many such sources a hook finds, the levels that it is to write, and what it says before.
AHEAD: dict[str, tuple[int, str, list[str]]] = {
    "little": (14, "0", []),
    "much": (16, "0", ["16 sources need bytecode"]),
    "little, at three levels": (6, "0,1,2", ["6 sources need bytecode"]),
}


@pytest.mark.parametrize("case", AHEAD)
def test_a_hook_says_how_much_there_is_before_a_long_work(
    pyctrigger: Command, tmp_path: Path, newest: Interpreter, case: str
) -> None:
    """Whoever waits for a package manager sees nothing else. New headers aren't such a work."""
    number, levels, expected = AHEAD[case]
    site = write_tree(tmp_path / "site", {f"package/m{each}.py": LARGE for each in range(number)})
    scope: list[Argument] = ["--python", newest.path, "--site-dir", site, "--optimize", levels, "--jobs", "1"]

    hook = pyctrigger.text("run", "--hook", *scope, site / "package")
    for source in site.glob("package/*.py"):
        os.utime(source, (1, 1))
    again = pyctrigger.text("run", "--hook", *scope, site / "package")

    told = [line for line in hook.err.splitlines() if "need bytecode" in line]
    assert [f"pyctrigger: {newest.flavour}: {text}" for text in expected] == told
    assert (0, 0) == (hook.code, again.code)
    assert "need bytecode" not in again.err


def test_a_persons_run_and_a_quiet_hook_say_nothing_before(
    pyctrigger: Command, tmp_path: Path, newest: Interpreter
) -> None:
    """One has its progress, the other was asked to."""
    site = write_tree(tmp_path / "site", {f"package/m{each}.py": LARGE for each in range(16)})
    scope: list[Argument] = ["--python", newest.path, "--site-dir", site, "--jobs", "1", "--stateless"]

    said = [pyctrigger.text("run", *options, *scope, site / "package") for options in (["--hook", "-q"], [])]

    assert [False, False] == ["need bytecode" in each.err for each in said]


def test_very_many_are_not_counted(pyctrigger: Command, tmp_path: Path, newest: Interpreter) -> None:
    """They are held in memory until the line is said: here four, instead of 20,000, and any work is a long one."""
    site = write_tree(tmp_path / "site", {f"package{each}/m.py": "" for each in range(6)})
    few = "from pyctrigger.run.apply import spread; spread.MOST_ANNOUNCED, spread._LONG = 4, 0"
    pyctrigger.program = [sys.executable, "-c", f"import sys; {few}; from pyctrigger.cli import main; sys.exit(main())"]

    hook = pyctrigger.json("run", "--hook", "--python", newest.path, "--site-dir", site)

    assert (6, f"pyctrigger: {newest.flavour}: more than 4 sources need bytecode\n") == (
        hook.counts["compiled"],
        hook.err,
    )
