"""Ctrl-C at every moment, from the first system call to the last: one line, the promised exit code, nothing torn."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from command import heed_signals
from conftest import absent
from packages import not_fresh, pycs_below, sources_below, write_tree

if TYPE_CHECKING:
    from command import Command
    from interpreters import Interpreter

MOMENTS = 15
ONE_LINE = b"pyctrigger: interrupted; run it again to finish\n"
SCRIPT = Path(sys.executable).parent / "pyctrigger"


def interrupted(command_line: list[bytes], after: float, number: signal.Signals) -> tuple[int, bytes]:
    """How a command ends that gets a signal after as many seconds, and what it says."""
    with subprocess.Popen(
        command_line,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=heed_signals,  # noqa: PLW1509 - we have no other thread
    ) as child:
        time.sleep(after)
        child.send_signal(number)
        _, err = child.communicate(timeout=60)
    return child.returncode, err


def is_pythons_own(code: int, err: bytes) -> bool:
    """Whether it came before a line of ours was run: the kernel's end, or Python's words about its own start.

    Python goes on after some of these words ("Exception ignored in", "Failed checking if argv[0] is"): the interrupt is
    lost, and the run is a whole one.
    """
    lines = re.findall(rb'File "[^"]*/src/pyctrigger/([^"]*)"', err)
    early = {b"__init__.py", b"__main__.py", b"interruption.py"}
    is_ours = not early.issuperset(lines) or b"cli import" in err or err.startswith(b"pyctrigger: ") or ONE_LINE in err
    return not is_ours and (code in (-signal.SIGINT, 1) or (code == 0 and b"KeyboardInterrupt" in err))


@pytest.mark.parametrize("started", ["module", "script"])
@pytest.mark.parametrize("hook", [[], ["--hook"]], ids=["run", "hook"])
def test_ctrl_c_at_any_moment_is_one_line(
    pyctrigger: Command, site: Path, oldest: Interpreter, started: str, hook: list[str]
) -> None:
    """As a module and as the installed script, while it starts, works and ends; and the next run finds no ruins."""
    if started == "script":
        if not SCRIPT.exists():
            absent(f"no {SCRIPT}: pyctrigger isn't installed here")
        pyctrigger.program = [str(SCRIPT)]
    scope = ["--python", oldest.path, "--site-dir", str(site)]
    command_line = pyctrigger.command_line("run", ["-q", *hook, *scope])
    lengths = []
    for turn in range(3):  # the machine may be busy with something else during one of them
        write_tree(site, {f"m{number}.py": f"x = {number}, 'turn', {turn}\n" for number in range(8)})
        begun = time.monotonic()
        subprocess.run(command_line, check=True, capture_output=True)
        lengths.append(time.monotonic() - begun)
    length = min(lengths)

    wrong, said = [], 0
    for moment in range(MOMENTS):
        write_tree(site, {f"m{number}.py": f"x = {number}, {moment}\n" for number in range(8)})
        code, err = interrupted(command_line, length * 1.1 * moment / MOMENTS, signal.SIGINT)
        said += err == ONE_LINE
        if (code, err) not in {(0 if hook else 130, ONE_LINE), (0, b"")} and not is_pythons_own(code, err):
            wrong.append((moment, code, err))

    assert [] == wrong
    assert said >= MOMENTS // 4
    assert 0 == pyctrigger.text("run", *scope).code
    assert [] == not_fresh(oldest, sources_below(site))
    assert 8 == len(pycs_below(site))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_other_signals_end_it_without_a_word(pyctrigger: Command, scope: list[str], number: signal.Signals) -> None:
    """The kernel ends it, at any moment."""
    command_line = pyctrigger.command_line("run", scope)
    for moment in range(6):
        assert interrupted(command_line, moment * 0.03, number) in {(-number, b""), (0, b"")}


def test_a_command_that_ignores_it_goes_on(pyctrigger: Command, scope: list[str], site: Path) -> None:
    """As behind `&` in a script: what is ignored when it starts stays so."""
    write_tree(site, {"m.py": "x = 1\n"})
    command_line = pyctrigger.command_line("run", scope)
    ignoring = "import os, signal, sys; signal.signal(2, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    with subprocess.Popen([sys.executable, "-c", ignoring, *command_line], stderr=subprocess.PIPE) as child:
        while child.poll() is None:
            time.sleep(0.01)
            if b"pyctrigger" in Path(f"/proc/{child.pid}/cmdline").read_bytes().split(b"\0")[:4]:
                child.send_signal(signal.SIGINT)
        assert child.stderr is not None
        assert (0, b"") == (child.returncode, child.stderr.read())
    assert 1 == len(pycs_below(site))


def test_importing_the_library_leaves_signals_alone() -> None:
    """A program that calls `run_trigger` handles Ctrl-C itself."""
    code = (
        "import signal, pyctrigger, pyctrigger.cli; pyctrigger.run_trigger; "
        "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler"
    )
    assert 0 == subprocess.run([sys.executable, "-c", code], check=False, preexec_fn=heed_signals).returncode


@pytest.mark.parametrize(("who", "code"), [("handled", 130), ("finish", 0)])
def test_an_interrupt_that_left_an_eval_ends_with_the_code_that_was_told(tmp_path: Path, who: str, code: int) -> None:
    """Python would end a module's process by SIGINT: it considers it unhandled, although it was caught."""
    (tmp_path / "caught.py").write_text(
        "import signal, sys\nfrom pyctrigger import interruption\ninterruption.watch()\ninterruption.begin()\n"
        "try:\n    eval('signal.raise_signal(signal.SIGINT)')\nexcept KeyboardInterrupt:\n    pass\n"
        f"interruption.{who}()\nsys.exit({code})\n"
    )

    command = [sys.executable, "-m", "caught"]
    assert code == subprocess.run(command, cwd=tmp_path, check=False, preexec_fn=heed_signals).returncode


@pytest.mark.parametrize(("hook", "code"), [([], 130), (["--hook"], 0)], ids=["run", "hook"])
@pytest.mark.parametrize("made_of_it", ["RuntimeError", "UsageError", "SystemExit", "nothing"])
def test_what_others_make_of_an_interrupt_is_still_one_line(made_of_it: str, hook: list[str], code: int) -> None:
    """Up to 3.11 Python makes a RuntimeError of whatever leaves `__set_name__`, as while `platform` is imported.

    And of what would leave a finalizer or a callback it makes some words on standard error.
    """
    program = (
        "import signal, sys, time\nfrom pyctrigger import interruption\nfrom pyctrigger.errors import UsageError\n"
        "interruption.watch()\nfrom pyctrigger.cli import main\nfrom pyctrigger.cli.main import main as _\n"
        "from pyctrigger.run import trigger as module\n"
        "class Finalized:\n    def __del__(self): signal.raise_signal(signal.SIGINT)\n"
        "def perform(*_):\n"
        + (
            "    Finalized()\n    time.sleep(60)\n"
            if made_of_it == "nothing"
            else "    try: signal.raise_signal(signal.SIGINT)\n"
            f"    except KeyboardInterrupt: raise {made_of_it}('other')\n"
        )
        + f"module.perform = perform\nsys.exit(main(['run', *{hook!r}]))\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program],
        check=False,
        capture_output=True,
        preexec_fn=heed_signals,
    )

    assert (code, ONE_LINE) == (done.returncode, done.stderr)
