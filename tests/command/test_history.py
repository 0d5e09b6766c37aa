"""The history: which runs are recorded, what of them, and that the file stays small and readable whatever happens."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sqlite3
import time
from typing import TYPE_CHECKING, Any

import pytest

from packages import write_tree
from pyctrigger.state.history import History

if TYPE_CHECKING:
    from pathlib import Path

    from command import Argument, Command
    from interpreters import Interpreter


@pytest.fixture
def scope(site: Path, newest: Interpreter) -> list[Argument]:
    """Two good sources and one that doesn't compile."""
    write_tree(site, {"good/__init__.py": "", "good/more.py": "x = 1\n", "bad.py": "x = (\n"})
    return ["--python", newest.path, "--site-dir", site]


def past(pyctrigger: Command, *arguments: Argument) -> list[dict[str, Any]]:
    """The recorded runs, as a program reads them."""
    outcome = pyctrigger.json("history", *arguments)
    assert outcome.code == 0, outcome.err
    runs: list[dict[str, Any]] = outcome.document["history"]
    return runs


def test_run_is_recorded_with_what_it_was_called_with_and_did(
    pyctrigger: Command, scope: list[Argument], site: Path, newest: Interpreter
) -> None:
    """Options, event, paths, counts, failures, exit code."""
    what: list[Argument] = ["--event", "upgrade", "--manager", "rpm", "--optimize", "0,1"]
    done = pyctrigger.json("run", *scope, *what, site / "good", site / "bad.py")

    (run,) = past(pyctrigger)

    typed = f"  options: --python {newest.path} --site-dir {site} --optimize 0,1"
    assert typed in pyctrigger.text("history", "last").out.splitlines()
    assert (run["number"], run["command"], run["event"], run["manager"]) == (1, "run", "upgrade", "rpm")
    assert run["options"] == {"pythons": [newest.path], "site_dirs": [str(site)], "optimize": [0, 1]}
    assert run["paths"] == [{"path": f"{site}/good"}, {"path": f"{site}/bad.py"}]
    assert (run["path_count"], run["outcome"], run["exit_code"], run["errors"]) == (2, "failed", done.code, [])
    assert run["ended"] >= run["began"] > time.time() - 300
    (flavour,) = run["flavours"]
    assert (flavour["flavour"], flavour["installation"]) == (newest.flavour, done.run["installation"])
    assert flavour["counts"] == {name: count for name, count in done.counts.items() if count}
    assert (flavour["failures"], flavour["failure_count"]) == (done.failures, 1)


def test_list_and_whole_for_people(pyctrigger: Command, scope: list[Argument], site: Path, newest: Interpreter) -> None:
    """A line for each run, newest first; and one with all that is known of it."""
    pyctrigger.json("run", "--hook", *scope, "--event", "install", site / "good")
    (site / "good/more.py").unlink()
    pyctrigger.json("sweep", *scope)

    listed = pyctrigger.text("history").out.splitlines()
    whole = pyctrigger.text("history", "1").out.splitlines()

    assert listed[0].split() == [
        "id", "date", "command", "event", "manager", "paths", "changes", "failures", "outcome", "duration",
    ]  # fmt: skip
    stamp = r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d"
    assert re.fullmatch(rf" 2  {stamp}  sweep    -        -          all        1         0  done     .* s", listed[1])
    assert re.fullmatch(rf" 1  {stamp}  run      install  -            1        2         1  failed   .* s", listed[2])
    assert whole[0] == "run 1: run --hook, failed"
    assert f"    {site}/good" in whole
    assert f"    {site}/bad.py: syntax: line 1, SyntaxError" in whole
    assert re.fullmatch(rf"  {newest.flavour} \(\S+\): 2 compiled, 1 failed in \S+ s", whole[-3])
    assert whole[-1] == "  exit code 1, 0 for the package manager"
    assert pyctrigger.text("history", "last").out.startswith("run 2: sweep, done\n")
    assert len(pyctrigger.text("history", "--limit", "1").out.splitlines()) == 2


def test_idle_hook_leaves_no_record(pyctrigger: Command, scope: list[Argument], site: Path) -> None:
    """Or a day's transactions would push out what matters; what a person does is recorded all the same."""
    (site / "bad.py").unlink()
    pyctrigger.json("run", *scope)

    for _ in range(2):
        pyctrigger.json("run", "--hook", *scope, "--paths-from", os.devnull)
        pyctrigger.json("run", "--hook", *scope, site / "good")
    assert len(past(pyctrigger)) == 1
    pyctrigger.json("run", *scope, "--paths-from", os.devnull)
    assert [run["outcome"] for run in past(pyctrigger)] == ["done", "done"]
    (site / "good/more.py").write_text("x = 22\n")
    pyctrigger.json("run", "--hook", *scope, site / "good")
    assert [run["hook"] for run in past(pyctrigger)] == [True, False, False]


def test_what_only_looks_or_keeps_no_state_isnt_recorded(pyctrigger: Command, scope: list[Argument]) -> None:
    """Neither in the state directory nor anywhere else that the history would be looked for."""
    for verb in ("verify", "status"):
        pyctrigger.json(verb, *scope)
    pyctrigger.json("run", "--dry-run", *scope)
    assert not pyctrigger.state.exists()
    pyctrigger.json("run", *scope, "--stateless")
    assert not pyctrigger.state.exists()
    assert pyctrigger.text("history").out == "no run is recorded\n"
    assert not pyctrigger.state.exists()


def test_deferred_work_and_who_did_it(pyctrigger: Command, scope: list[Argument], site: Path) -> None:
    """The one that left it in the journal, and the one that found it there."""
    (site / "bad.py").unlink()
    pyctrigger.json("run", "--hook", "--defer", *scope, site / "good")
    pyctrigger.json("run", "--hook", *scope, "--paths-from", os.devnull)

    second, first = past(pyctrigger)

    assert (first["outcome"], first["flavours"][0]["deferred"], first["flavours"][0]["counts"]) == (
        "deferred",
        True,
        {},
    )
    assert (second["outcome"], second["flavours"][0]["taken_over"]) == ("done", 1)
    assert second["flavours"][0]["counts"]["compiled"] == 2
    assert "it did the work of 1 other run in the journal" in pyctrigger.text("history", "2").out


def test_errors_are_recorded(pyctrigger: Command, scope: list[Argument], site: Path, newest: Interpreter) -> None:
    """An interpreter that isn't there, and a path outside of the scope; `--failed` lists just these."""
    (site / "bad.py").unlink()
    pyctrigger.json("run", *scope)
    assert pyctrigger.text("history", "--failed").out == "no recorded run failed\n"
    pyctrigger.json("run", "--python", "3.99", "--site-dir", site)
    pyctrigger.json("run", "--python", newest.path, "--site-dir", site, "/etc")

    failed = past(pyctrigger, "--failed")

    assert [(run["outcome"], run["exit_code"], run["errors"][0]["code"]) for run in failed] == [
        ("error", 2, 2),
        ("error", 69, 69),
    ]
    assert failed[1]["errors"][0]["message"].startswith("no Python 3.99 was found")


def test_killed_run_is_seen_to_have_begun(pyctrigger: Command, site: Path, newest: Interpreter) -> None:
    """While it lives it is running; afterwards it was interrupted, and the next run has another number."""
    write_tree(site, {f"package/module{number}.py": "x = 1\n" * 200 for number in range(400)})
    scope: list[Argument] = ["--python", newest.path, "--site-dir", site]
    history = History(str(pyctrigger.state))
    child = pyctrigger.start("run", "--hook", *scope, "--no-progress")
    try:
        while not history.runs():
            assert child.poll() is None
            time.sleep(0.002)
        child.send_signal(signal.SIGSTOP)
        assert [(run["outcome"], run["pid"]) for run in past(pyctrigger)] == [("running", child.pid)]
    finally:
        child.kill()
        child.communicate()
    assert [(run["outcome"], run["ended"]) for run in past(pyctrigger)] == [("interrupted", None)]
    assert "and didn't finish" in pyctrigger.text("history", "last").out

    pyctrigger.json("run", *scope)

    assert [(run["number"], run["outcome"]) for run in past(pyctrigger)] == [(2, "done"), (1, "interrupted")]


def test_paths_may_hold_any_byte(pyctrigger: Command, site: Path, newest: Interpreter) -> None:
    """They come back as they were, and break no terminal."""
    evil = os.fsdecode(b"a\nb\x1b[31m\xff")
    write_tree(site, {f"{evil}/bad.py": "x = (\n"})
    pyctrigger.json("run", "--python", newest.path, "--site-dir", site, site / evil)

    (run,) = past(pyctrigger)
    text = pyctrigger.text("history", "1").out

    assert bytes.fromhex(run["paths"][0]["path_hex"]) == os.fsencode(site / evil)
    assert bytes.fromhex(run["flavours"][0]["failures"][0]["path_hex"]) == os.fsencode(site / evil / "bad.py")
    assert rf"    {site}/a\nb\x1b[31m\xff" in text.splitlines()
    assert "\x1b" not in text


def test_a_long_list_of_paths_is_cut(pyctrigger: Command, site: Path, newest: Interpreter) -> None:
    """The number of all is kept, and the record stays small."""
    paths = "\n".join(f"{site}/package{number}" for number in range(5000))
    scope: list[Argument] = ["--python", newest.path, "--site-dir", site]
    write_tree(site, {f"bad{number}.py": "x = (\n" for number in range(300)})
    pyctrigger.json("run", *scope, "--paths-from", "-", stdin=paths.encode())

    (run,) = past(pyctrigger)

    assert run["path_count"] == 5000
    assert 0 < len(run["paths"]) < 5000
    assert (run["flavours"][0]["failure_count"], len(run["flavours"][0]["failures"]) < 300) == (300, True)
    assert (pyctrigger.state / "history.sqlite").stat().st_size < 64 << 10
    text = pyctrigger.text("history", "1").out
    assert f"    and {5000 - len(run['paths'])} more, which were not recorded" in text


def test_no_such_run(pyctrigger: Command, scope: list[Argument]) -> None:
    """Named, with those that there are; the others are shown all the same."""
    pyctrigger.json("run", *scope)
    pyctrigger.json("run", *scope)

    outcome = pyctrigger.text("history", "2", "last", "7", "2", "x")

    assert outcome.code == 2
    assert outcome.out.startswith("run 2: ")
    assert outcome.out.count("run 2: ") == 1
    assert outcome.err.splitlines() == [
        "pyctrigger: no run 7 in the history; it has runs 1 to 2",
        "pyctrigger: no run x in the history; it has runs 1 to 2",
    ]


def test_a_run_waits_for_no_other_program(pyctrigger: Command, scope: list[Argument], site: Path) -> None:
    """One that holds the file: after a moment the run goes on without, says so once, and the next one is recorded."""
    (site / "bad.py").unlink()
    pyctrigger.json("run", *scope)
    place = pyctrigger.state / "history.sqlite"
    with contextlib.closing(sqlite3.connect(place, isolation_level=None)) as database:
        database.execute("begin exclusive")
        (site / "good/more.py").write_text("x = 22\n")
        held = pyctrigger.json("run", "--hook", *scope, site / "good")
        listed = pyctrigger.text("history")
    pyctrigger.json("run", *scope)

    line = f"pyctrigger: the history isn't kept: {pyctrigger.state}: database is locked\n"
    assert (1, line) == (held.counts["compiled"], held.err)
    assert ("", f"{place} can't be read: database is locked\n") == (listed.out, listed.err)
    assert [2, 1] == [run["number"] for run in past(pyctrigger)]


@pytest.mark.parametrize(("kind", "is_kept"), [("fifo", True), ("link", True), ("damaged", True), ("directory", False)])
def test_no_run_writes_through_what_stands_in_its_place(
    pyctrigger: Command, scope: list[Argument], site: Path, tmp_path: Path, kind: str, is_kept: bool
) -> None:
    """Nor waits for a FIFO's reader: what can go makes way; else the run goes on, and says what it didn't keep."""
    (site / "bad.py").unlink()
    pyctrigger.state.mkdir(mode=0o700)
    place, victim = pyctrigger.state / "history.sqlite", tmp_path / "victim"
    victim.write_text("mine")
    if kind == "fifo":
        os.mkfifo(place)
    elif kind == "link":
        place.symlink_to(victim)
    elif kind == "damaged":
        place.write_bytes(b"garbage " * 1000)
    else:
        place.mkdir()

    outcome = pyctrigger.json("run", *scope)

    assert (outcome.code, outcome.counts["compiled"], victim.read_text()) == (0, 2, "mine")
    said = "" if is_kept else f"the history isn't kept: {pyctrigger.state}: Is a directory\n"
    assert (said, is_kept) == (outcome.err, len(past(pyctrigger)) == 1)
    assert (pyctrigger.state / outcome.run["installation"] / "manifest.sqlite").exists()


def test_what_the_first_release_recorded_is_named(pyctrigger: Command, scope: list[Argument]) -> None:
    """Its files stay where they are, and numbers begin anew."""
    pyctrigger.json("run", *scope)
    old = pyctrigger.state / "history.jsonl"
    old.write_text("{}\n")

    listed = pyctrigger.text("history")

    assert (f"what release 0.1.0 recorded isn't shown; it is in {old}\n", 2) == (
        listed.err,
        len(listed.out.splitlines()),
    )
    assert "{}\n" == old.read_text()


@pytest.mark.usefixtures("as_root")
def test_history_of_another_account_is_refused(pyctrigger: Command) -> None:
    """As all state is."""
    pyctrigger.state.mkdir(mode=0o755)
    os.chown(pyctrigger.state, 12345, 12345)

    outcome = pyctrigger.text("history")

    assert (outcome.code, outcome.out) == (77, "")
    assert f"{pyctrigger.state} belongs to account 12345" in outcome.err
