"""What became of the work, in a word: for programs, to which a hook's exit code says nothing."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import time
from typing import TYPE_CHECKING

import pytest

from children import public_directory
from command import PATIENCE, heed_signals
from confinement import NOBODY, SLOW, private_mounts, wait_for
from packages import pycs_below, write_tree
from pyctrigger.cli.commands.run import summary
from pyctrigger.outcome.report import OUTCOMES, FlavourReport
from pyctrigger.outcome.states import OTHER_CODE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from command import Argument, Command
    from confinement import Machine
    from interpreters import Interpreter


def outcomes(command: Command, verb: str, *arguments: Argument) -> tuple[str, list[str]]:
    """The outcome of a call, and of each of its runs; all of them known words."""
    document = command.json(verb, *arguments).document
    found = document["outcome"], [run["outcome"] for run in document["runs"]]
    assert {found[0], *found[1]} <= set(OUTCOMES)
    return found


def _deep(site: Path) -> None:
    (site / "/".join(["d"] * 205)).mkdir(parents=True)


def _broken(site: Path) -> None:
    (site / "bad.py").write_text("= =\n")


def _stale(site: Path) -> None:
    (site / "module.py").write_text("x = 22222\n")


def _nothing(site: Path) -> None:
    assert site.is_dir()


@pytest.mark.parametrize(
    ("line", "change", "expected"),
    [
        ("run", _nothing, "nothing-to-do"),
        ("run --hook", _nothing, "nothing-to-do"),
        ("sweep", _nothing, "nothing-to-do"),
        ("run", _stale, "done"),
        ("run --hook", _stale, "done"),
        ("purge", _nothing, "done"),
        ("run --dry-run", _stale, "looked"),
        ("verify", _stale, "looked"),
        ("status", _stale, "looked"),
        ("run --defer", _stale, "deferred"),
        ("run --hook --config {off}", _stale, "deferred"),
        ("run", _broken, "failed"),
        ("run --hook", _broken, "failed"),
        ("run --hook", _deep, "incomplete"),
        ("verify", _deep, "incomplete"),
    ],
)
def test_what_a_run_did_not_do(
    pyctrigger: Command,
    site: Path,
    tmp_path: Path,
    newest: Interpreter,
    line: str,
    change: Callable[[Path], None],
    expected: str,
) -> None:
    """Whatever it exits with."""
    scope: list[Argument] = ["--python", newest.path, "--site-dir", site]
    (site / "module.py").write_text("x = 1\n")
    pyctrigger.text("run", *scope)
    change(site)
    off = tmp_path / "off.toml"
    off.write_text("[hooks]\nenabled = false\n")
    verb, *options = line.format(off=off).split()
    if verb == "purge":
        options += ["-y"] if "-y" in pyctrigger.text("purge", "--help").out else []
    touched = [site / "module.py", site / "bad.py", site / "d"] if "--hook" in options else []
    assert (expected, [expected]) == outcomes(pyctrigger, verb, *options, *scope, *touched)


@pytest.mark.parametrize("hook", [[], ["--hook"]], ids=["person", "hook"])
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [(["--python", "3.99"], "error"), (["--config", "/nonexistent"], "error"), (["--config", "{theirs}"], "refused")],
)
def test_calls_that_come_to_nothing(
    as_root: None, pyctrigger: Command, hook: list[str], arguments: list[str], expected: str
) -> None:
    """Without any run."""
    with public_directory() as public:
        theirs = public / "theirs.toml"
        theirs.touch()
        os.chown(theirs, NOBODY, NOBODY)
        words = [word.format(theirs=theirs) for word in arguments]
        assert expected == outcomes(pyctrigger, "run", *hook, *words)[0]


def test_the_worst_of_several_counts(pyctrigger: Command, site: Path, newest: Interpreter) -> None:
    """One flavour is done, the other isn't there."""
    (site / "module.py").write_text("x = 1\n")
    arguments: list[Argument] = ["--python", newest.path, "--python", "3.99", "--site-dir", site]
    assert ("error", ["done"]) == outcomes(pyctrigger, "run", *arguments)


@pytest.mark.parametrize("hook", [[], ["--hook"]], ids=["person", "hook"])
def test_locked(machine: Machine, site: Path, newest: Interpreter, hook: list[str]) -> None:
    """A hook's work is in the journal then; both say so."""
    scope: list[Argument] = ["--python", newest.path, "--site-dir", site]
    (site / "module.py").write_text("x = 1\n")
    machine.command.text("run", *scope)
    (name,) = machine.files()
    _stale(site)
    with (machine.locks / name).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        arguments = [*hook, *scope, "--lock-timeout", "0", site / "module.py"]
        assert ("locked", ["locked"]) == outcomes(machine.command, "run", *arguments)


def test_read_only(as_root: None, pyctrigger: Command, newest: Interpreter) -> None:
    """Where something had to be left; what is fresh there needs nothing."""
    with private_mounts("mount -t tmpfs none /mnt; mkdir /mnt/ro; echo >/mnt/ro/a.py") as inside:
        pyctrigger.program = [*inside, *pyctrigger.program]
        arguments = ["--stateless", "--python", newest.path, "--site-dir", "/mnt/ro"]
        assert ("done", ["done"]) == outcomes(pyctrigger, "run", *arguments)
        shell = list(pyctrigger.program)
        for script, expected in (
            ("mount -o remount,ro /mnt", "nothing-to-do"),
            ("mount -o remount,rw /mnt; echo >/mnt/ro/b.py; mount -o remount,ro /mnt", "read-only"),
        ):
            pyctrigger.program = [*inside, "sh", "-c", f'{script}; exec "$@"', "sh", *shell[len(inside) :]]
            assert (expected, [expected]) == outcomes(pyctrigger, "run", *arguments)
            assert (expected, [expected]) == outcomes(pyctrigger, "run", "--hook", *arguments)


@pytest.mark.parametrize("hook", [[], ["--hook"]], ids=["person", "hook"])
def test_interrupted(pyctrigger: Command, site: Path, oldest: Interpreter, hook: list[str]) -> None:
    """The object is printed all the same."""
    write_tree(site, {"fast.py": "#" * len(SLOW.encode()) + "\n", "slow.py": SLOW})
    arguments: list[Argument] = [*hook, "--json", "--python", oldest.path, "--site-dir", site, "--jobs", "1"]
    child = pyctrigger.start("run", *arguments, preexec_fn=heed_signals)
    try:
        assert wait_for(lambda: bool(pycs_below(site)))
        time.sleep(0.1)
        child.send_signal(signal.SIGINT)
        out, _ = child.communicate(timeout=PATIENCE)
    finally:
        child.kill()
        child.communicate()
    document = json.loads(out)
    assert (0 if hook else 130, 130, "interrupted") == (child.returncode, document["exit_code"], document["outcome"])
    assert [(130, "interrupted", "run it again to finish")] == [
        (error["code"], error["message"], error["hint"]) for error in document["errors"]
    ]


# -- the same for people ---------------------------------------------------------------------------------------------


def test_an_idle_run_says_what_it_looked_at(pyctrigger: Command, site: Path, newest: Interpreter) -> None:
    """And what was put off isn't said to be done."""
    (site / "module.py").write_text("x = 1\n")
    scope: list[Argument] = ["--python", newest.path, "--site-dir", site]
    assert f"{newest.flavour}: deferred; the next run does it\n" == pyctrigger.text("run", "--defer", *scope).out
    pyctrigger.text("run", *scope)
    out = pyctrigger.text("run", *scope).out
    assert re.fullmatch(rf"{newest.flavour}: nothing to do, 1 fresh in \d+\.\d\d s\n", out), out


def test_large_numbers_are_readable() -> None:
    """In groups of three digits."""
    report = FlavourReport("py311", "cpython-311-00000000", None)
    report.tally.counts.fresh, report.tally.counts.skipped = 1356, 1000
    assert ["py311: nothing to do, 1,356 fresh, 1,000 skipped in 0.00 s"] == summary(report)
    report.tally.counts.compiled = 2000
    assert ["py311: 2,000 compiled, 0 removed, 0 failed, 1,000 skipped in 0.00 s"] == summary(report)


def test_more_words_say_why(pyctrigger: Command, site: Path, newest: Interpreter) -> None:
    """`-v` names each file that was compiled, refreshed or removed, `-vv` for what reason."""
    scope: list[Argument] = ["--python", newest.path, "--site-dir", site]
    names = ("gone", "mtime", "size", "same", "magic", "short", "cut", "fine")
    write_tree(site, {f"{name}.py": "x = 1\n" for name in names})
    pyctrigger.text("run", *scope)
    pyc = {name: next((site / "__pycache__").glob(f"{name}.*")) for name in names}
    (site / "gone.py").unlink()
    (site / "mtime.py").write_text("x = 2\n")
    os.utime(site / "mtime.py", (5, 5))
    before = (site / "size.py").stat()
    (site / "size.py").write_text("x = 22\n")
    os.utime(site / "size.py", ns=(before.st_atime_ns, before.st_mtime_ns))
    os.utime(site / "same.py", (7, 7))
    pyc["magic"].write_bytes(b"\x99\x99\r\n" + pyc["magic"].read_bytes()[4:])
    os.truncate(pyc["short"], 9)
    os.truncate(pyc["cut"], pyc["cut"].stat().st_size - 3)
    (site / "new.py").write_text("")
    expected = {
        f"compiled {site}/mtime.py": "stale: its source has another mtime",
        f"compiled {site}/size.py": "stale: its source has another size",
        f"compiled {site}/magic.py": "foreign-magic: its magic number is another Python's",
        f"compiled {site}/short.py": "corrupt: it can't be loaded",
        f"compiled {site}/cut.py": f"corrupt or mismatched: {OTHER_CODE}",
        f"compiled {site}/new.py": "missing: no bytecode",
        f"refreshed {site}/same.py": "stale: only its source's mtime changed",
        f"removed {pyc['gone']}": "orphan: its source is gone",
    }
    *told, _ = pyctrigger.text("run", "-vv", *scope).out.splitlines()
    assert sorted(f"{did} ({why})" for did, why in expected.items()) == sorted(told)
    for name in ("mtime", "size"):
        (site / f"{name}.py").write_text("x = 333\n")
    *told, _ = pyctrigger.text("run", "-v", *scope).out.splitlines()
    assert [f"compiled {site}/{name}.py" for name in ("mtime", "size")] == sorted(told)
