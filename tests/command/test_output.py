"""What people see: tables, colour and errors, on a terminal and on a pipe."""

from __future__ import annotations

import ast
import fcntl
import io
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pyctrigger
from command import Command
from packages import write_tree
from pyctrigger import errors
from pyctrigger.cli.output.table import Table, lines_of
from pyctrigger.run.trigger import run_trigger
from terminal import heard

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from command import Argument
    from interpreters import Interpreter

PROGRAM = (sys.executable, "-m", "pyctrigger")
WITHOUT_RICH = (
    sys.executable,
    "-c",
    "import sys; sys.modules['rich'] = None; from pyctrigger.cli import main; sys.exit(main())",
)
_ESCAPES = re.compile("\x1b\\[[0-9;]*m")
#: None of the caller's: a terminal's kind, its width, and wishes about colour.
_QUIET = {"NO_COLOR": "", "FORCE_COLOR": "", "COLUMNS": "", "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"}


def on_terminal(*command: str, columns: int = 200, env: Mapping[str, str] | None = None) -> str:
    """What a command draws on a terminal, with plain ends of lines."""
    leader, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    child = subprocess.Popen(
        command, stdin=terminal, stdout=terminal, stderr=terminal, env={**os.environ, **_QUIET, **(env or {})}
    )
    os.close(terminal)
    said = heard(leader)
    child.wait()
    return said.decode().replace("\r\n", "\n")


def on_pipe(*command: str, env: Mapping[str, str] | None = None) -> tuple[str, str]:
    """What a command prints for a program."""
    child = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **_QUIET, **(env or {})}
    )
    return child.stdout, child.stderr


# ------------------------------------------------------------------------------------------------------------- tables

LIST = ("hooks", "list", "--manager", "pkg", "--python", "3.11", "--python", "pypy3.10")
PATHS = [f"/usr/local/share/pkg/triggers/python-pycache-{flavour}.ucl" for flavour in ("py311", "pypy310")]
PLAIN = f"""\
manager  flavour  state   made by  fires  path
pkg      py311    absent  -        no     {PATHS[0]}
pkg      pypy310  absent  -        no     {PATHS[1]}
"""


@pytest.fixture
def listed(tmp_path: Path) -> tuple[str, ...]:
    """A command that prints a table."""
    return (*LIST, "--root", str(tmp_path))


def test_a_table_on_a_pipe_is_plain(listed: tuple[str, ...]) -> None:
    """Aligned columns, nothing at the end of a line, no escape; a path is whole however narrow somebody's terminal."""
    for columns in ("20", "500"):
        assert (PLAIN, "") == on_pipe(*PROGRAM, *listed, env={"COLUMNS": columns})
    assert (PLAIN, "") == on_pipe(*WITHOUT_RICH, *listed)


def test_a_table_on_a_terminal_is_drawn(listed: tuple[str, ...]) -> None:
    """By rich, with a rule and in colour; its words are those of the plain one."""
    drawn = on_terminal(*PROGRAM, *listed)

    assert "\x1b[" in drawn
    lines = _ESCAPES.sub("", drawn).splitlines()
    assert {"─"} == set(lines.pop(1))
    assert [line.split() for line in PLAIN.splitlines()] == [line.split() for line in lines]
    columns = [line.index(word) for line, word in zip(lines, ("path", *PATHS))]
    assert 1 == len(set(columns))


@pytest.mark.parametrize("columns", [10, 60, 79])
def test_a_narrow_terminal_breaks_no_path(listed: tuple[str, ...], columns: int) -> None:
    """The terminal itself wraps a long line; what is copied from it is whole."""
    assert PLAIN == _ESCAPES.sub("", on_terminal(*PROGRAM, *listed, columns=columns))


def test_a_table_without_rich_has_the_same_content(listed: tuple[str, ...]) -> None:
    """And colour all the same."""
    said = on_terminal(*WITHOUT_RICH, *listed)

    assert said.startswith("\x1b[1mmanager\x1b[0m  \x1b[1mflavour\x1b[0m")
    assert PLAIN == _ESCAPES.sub("", said)


def test_a_dumb_terminal_gets_plain_text(listed: tuple[str, ...]) -> None:
    """One that only adds lines."""
    assert PLAIN == on_terminal(*PROGRAM, *listed, env={"TERM": "dumb"})


def test_a_terminal_without_unicode_gets_no_rule(listed: tuple[str, ...]) -> None:
    """What it can't draw isn't there, instead of an escape."""
    said = _ESCAPES.sub("", on_terminal(*PROGRAM, *listed, env={"PYTHONIOENCODING": "ascii"}))

    assert [line.split() for line in PLAIN.splitlines()] == [line.split() for line in said.splitlines() if line.strip()]
    assert said.isascii()


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory, newest: Interpreter) -> tuple[Path, Path]:
    """A site directory and a state with something to report: fresh, stale, an orphan, a failure."""
    top = tmp_path_factory.mktemp("lived")
    site, command = top / "site", Command(top / "state")
    write_tree(site, {"kept/__init__.py": "", "kept/[b]odd name.py": "V = 1\n", "gone.py": "", "bad.py": "= =\n"})
    command.json("run", "--python", newest.path, "--site-dir", site)
    (site / "gone.py").unlink()
    command.json("run", "--event", "upgrade", "--python", newest.path, "--site-dir", site, site / "kept")
    (site / "kept/__init__.py").write_text("V = 2\n")
    return site, command.state


#: A verb, and what it is asked about: the site directory itself, or its pycs.
TABLES = [
    ("status",),
    ("status", "--against"),
    ("which", "*"),
    ("history",),
    ("explain", "."),
    ("hooks", "list", "--manager", "dpkg"),
    ("doctor",),
    ("store", "status"),
    ("purge", "--dry-run"),
]


@pytest.mark.parametrize("question", TABLES, ids=" ".join)
def test_every_table_has_one_content(
    lived: tuple[Path, Path], newest: Interpreter, tmp_path: Path, question: tuple[str, ...]
) -> None:
    """On a pipe, drawn by rich, and on a terminal without rich: the same cells in the same lines, and all of them."""
    site, state = lived
    verb, *options = question
    arguments = {
        "--against": ["--against", newest.path],
        "*": [str(pyc) for pyc in sorted(site.rglob("*.pyc"))],
        ".": [str(site)],
    }
    words = [word for option in options for word in arguments.get(option, [option])]
    if verb == "hooks":
        words += ["--python", newest.path, "--root", str(tmp_path)]
    elif verb == "doctor":
        words += ["--state-dir", str(tmp_path / "state")]  # nothing in it has an age
    elif verb == "store":
        (tmp_path / "stored.toml").write_text(f'[store]\nurl = "{tmp_path}/none"\n')
        words += ["--config", str(tmp_path / "stored.toml")]
    else:
        words += ["--state-dir", str(state)]
        words += [] if verb == "history" else ["--python", newest.path, "--site-dir", str(site)]
    words += [] if verb in ("history", "hooks", "which", "doctor", "store") else ["--no-progress"]

    plain, complaints = on_pipe(*PROGRAM, verb, *words)
    drawn = on_terminal(*PROGRAM, verb, *words, columns=1000)
    without = on_terminal(*WITHOUT_RICH, verb, *words, columns=1000)

    assert complaints == ""
    assert plain.count("\n") > 1
    assert plain == _ESCAPES.sub("", without)
    lines = _ESCAPES.sub("", drawn).splitlines()
    cells = [line.split() for line in lines if not line or set(line) - set("─ ")]
    assert [line.split() for line in plain.splitlines()] == cells
    assert ("─" in drawn) is (verb not in ("explain", "doctor", "store"))  # whose tables have no headers


def test_all_tables_are_drawn_in_one_way() -> None:
    """A verb that makes a table is among those above, and none makes its own columns."""
    commands = Path(pyctrigger.__file__).parent / "cli/commands"
    texts = {path.stem: path.read_text(encoding="utf-8") for path in commands.glob("*.py")}

    assert {verb for verb, text in texts.items() if "Table(" in text} == {question[0] for question in TABLES}
    assert [verb for verb, text in texts.items() if re.search(r"\bl?r?just\(|:[<>]\{", text)] == []


def test_figures_stand_flush_right() -> None:
    """And a row that is too short has empty cells."""
    table = Table(("name", "sources"), [("one", "7"), ("eleven", "1371"), ("none",)], numbers=("sources",))

    assert ["name    sources", "one           7", "eleven     1371", "none"] == lines_of(table, io.StringIO())


def test_wide_characters_are_counted_as_two_columns() -> None:
    """So that what follows them stays aligned; combining characters need no column."""
    rows = [("漢字", "x"), ("e\u0301", "x"), ("[red]", "x")]

    assert ["漢字   x", "e\u0301      x", "[red]  x"] == lines_of(Table((), rows), io.StringIO())


def test_nothing_in_a_cell_reaches_the_terminal_as_a_command(tmp_path: Path) -> None:
    """Escape sequences, newlines and markup are printed as text, with and without rich."""
    root = tmp_path / "a"
    root.mkdir()
    evil = "/srv/[red]\x1b[31m\n/site"
    code = (
        "import sys; from pyctrigger.cli.output.table import *\n"
        "for line in lines_of(Table(('path',), [(sys.argv[1],), ('x',)]), sys.stdout): print(line)"
    )

    for said in (on_terminal(sys.executable, "-c", code, evil), on_pipe(sys.executable, "-c", code, evil)[0]):
        lines = _ESCAPES.sub("", said).splitlines()
        assert "/srv/[red]\\x1b[31m\\n/site" in lines
        assert "\x1b[31m" not in said


_cells = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=12)


@given(st.integers(1, 4).flatmap(lambda n: st.lists(st.lists(_cells, min_size=n, max_size=n), min_size=1, max_size=5)))
def test_colour_changes_no_word_and_no_line_is_added(rows: list[list[str]]) -> None:
    """Whatever the cells: one line each, and the same without the escapes."""
    table = Table([], rows, styles={cell: "error" for row in rows for cell in row if cell})

    plain, coloured = (lines_of(table, io.StringIO(), colour=colour) for colour in (False, True))

    assert len(rows) == len(plain)
    assert plain == [_ESCAPES.sub("", line) for line in coloured]
    assert all(line == "" or line.isprintable() for line in plain)


# ------------------------------------------------------------------------------------------------------------- colour

RED = "\x1b[1;31mpyctrigger:\x1b[0m"


@pytest.mark.parametrize(
    ("options", "env", "terminal", "coloured"),
    [
        ((), {}, True, True),
        ((), {}, False, False),
        ((), {"NO_COLOR": "1"}, True, False),
        ((), {"NO_COLOR": ""}, True, True),
        ((), {"TERM": "dumb"}, True, False),
        ((), {"FORCE_COLOR": "1"}, False, True),
        ((), {"FORCE_COLOR": "1", "NO_COLOR": "1"}, True, False),
        (("--color", "never"), {"FORCE_COLOR": "1"}, True, False),
        (("--color", "always"), {"NO_COLOR": "1"}, False, True),
        (("--color=auto",), {}, True, True),
        (("--color=auto",), {}, False, False),
    ],
)
@pytest.mark.parametrize("wrong", [("--jobs", "many"), ("--python", "2.7")], ids=["parsing", "running"])
def test_who_has_a_say_about_colour(
    options: tuple[str, ...], env: dict[str, str], terminal: bool, coloured: bool, wrong: tuple[str, ...]
) -> None:
    """The option, then NO_COLOR, then FORCE_COLOR, then the terminal; for errors of every kind alike."""
    command = (*PROGRAM, "run", *options, *wrong, "--stateless")

    said = on_terminal(*command, env=env) if terminal else on_pipe(*command, env=env)[1]

    assert (RED if coloured else "pyctrigger:") == said.partition(" ")[0]
    assert coloured == ("\x1b" in said)


@pytest.mark.parametrize("wish", [(), ("--color", "always"), ("-vv",)], ids=" ".join)
def test_a_hook_sends_no_control_codes(
    pyctrigger: Command, site: Path, newest: Interpreter, wish: tuple[str, ...]
) -> None:
    """Not even to the terminal that apt runs dpkg on: failures, errors and wrong options are plain lines."""
    write_tree(site, {"bad.py": "= =\n", "good.py": ""})
    scope = ("--python", newest.path, "--site-dir", str(site), "--state-dir", str(pyctrigger.state))
    for arguments in ((*scope, *wish), (*scope, *wish, "--python", "2.7"), (*wish, "--jobs", "many")):
        said = on_terminal(*PROGRAM, "run", "--hook", *arguments, env={"FORCE_COLOR": "1"})
        assert said.splitlines()
        assert "".join(character for character in said if character.isprintable() or character == "\n") == said


def test_json_is_never_coloured(pyctrigger: Command, site: Path, newest: Interpreter) -> None:
    """A program reads it, whatever was asked for."""
    outcome = pyctrigger.json("verify", "--color", "always", "--python", newest.path, "--site-dir", site)

    assert "\x1b" not in outcome.out


def test_colour_adds_nothing_but_escapes(pyctrigger: Command, site: Path, newest: Interpreter) -> None:
    """Findings and failures are the same words."""
    write_tree(site, {"bad.py": "= =\n", "good.py": ""})
    scope: list[Argument] = ["--python", newest.path, "--site-dir", site]

    for verb in ("verify", "run"):
        plain, coloured = (
            pyctrigger.text(verb, "--color", when, *scope, "--stateless") for when in ("never", "always")
        )
        said = coloured.out + coloured.err
        assert "\x1b[" in said
        unpainted = _ESCAPES.sub("", said)
        cut = re.compile(r" in [\d.]+ s$|\d+ (?:compiled|fresh)", re.MULTILINE)
        assert cut.sub("", plain.out + plain.err) == cut.sub("", unpainted)


# ------------------------------------------------------------------------------------------------------------- errors


def test_a_defect_shows_its_traceback_only_to_who_asks(site: Path, newest: Interpreter) -> None:
    """One line with the way to more; with -vv the traceback as well."""
    code = (
        "import sys; from pyctrigger.run import trigger\n"
        "def fail(*_): raise ZeroDivisionError('words')\n"
        "trigger.do_installation = fail\n"
        "from pyctrigger.cli import main; sys.exit(main())"
    )
    command = (sys.executable, "-c", code, "run", "--stateless", "--python", newest.path, "--site-dir", str(site))

    for options in ((), ("-v",), ("--hook",)):
        line = on_pipe(*command, *options)[1]
        assert re.fullmatch(
            r"pyctrigger: a defect of pyctrigger's own: ZeroDivisionError at \S+:\d+; "
            r"run it again with -vv, and report what that prints(; the work of this transaction was not done; .*)?\n",
            line,
        )
    assert "Traceback (most recent call last):" in on_pipe(*command, "-vv")[1]


def test_every_error_has_a_hint() -> None:
    """Where it is raised, or once for its class."""
    classes = {
        name: each
        for name, each in vars(errors).items()
        if isinstance(each, type) and issubclass(each, errors.PyctriggerError)
    }
    # These make their own messages, are part of another message, or are a person's decision.
    made = {"OutsideScopeError", "ConfigurationError", "LockTimeoutError", "ManagerError", "DeclinedError"}
    missing, raised = [], 0
    for path in Path(pyctrigger.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            kind = classes.get(node.func.id)
            if kind is None or node.func.id in made:
                continue
            raised += 1
            if kind.usual_hint is None and not any(keyword.arg == "hint" for keyword in node.keywords):
                missing.append(f"{path.name}:{node.lineno}: {node.func.id}")
    assert missing == []
    assert raised > 60
    assert all(each.usual_hint for each in classes.values() if issubclass(each, errors.InterpreterError))


def _unkept(pyctrigger: Command, site: Path, python: str) -> tuple[Path, str]:
    return Path("/dev/null/state"), "no state is kept: /dev/null/state: File exists"


def _dropped(pyctrigger: Command, site: Path, python: str) -> tuple[Path, str]:
    other = site.parent / "other"
    write_tree(other, {"module.py": ""})
    pyctrigger.json("run", "--defer", "--python", python, "--site-dir", other)
    shutil.rmtree(other)
    return (
        pyctrigger.state,
        f"an entry of the journal was dropped, and its work with it: --site-dir {other}: no such directory",
    )


@pytest.mark.parametrize("caller", ["hook", "person", "program", "library"])
@pytest.mark.parametrize("trouble", [_unkept, _dropped], ids=lambda trouble: str(trouble.__name__))
def test_a_notice_reaches_every_caller(
    pyctrigger: Command,
    scope: list[str],
    site: Path,
    newest: Interpreter,
    trouble: Callable[[Command, Path, str], tuple[Path, str]],
    caller: str,
) -> None:
    """Once: on standard error, and in the report."""
    write_tree(site, {"module.py": ""})
    state, line = trouble(pyctrigger, site, newest.path)
    options: list[Argument] = [*scope, "--state-dir", state]
    if caller == "library":
        said = run_trigger(newest.path, None, site_dirs=[site], state_dir=state).notices
    elif caller == "program":
        outcome = pyctrigger.json("run", *options)
        said = outcome.document["notices"]
        assert said == outcome.err.splitlines()
    else:
        said = pyctrigger.text("run", *options, *(["--hook"] if caller == "hook" else [])).err.splitlines()
    line = f"pyctrigger: {line}" if caller == "hook" else line
    assert [line] == [each.partition(";")[0] for each in said if "compiled" not in each]
