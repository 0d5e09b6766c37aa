"""The history: which runs are recorded, what of them, and that the file stays small and readable whatever happens."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from packages import write_tree
from pyctrigger.state.history import History, PastFlavour, PastRun

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
    history = pyctrigger.state / "history.jsonl"
    child = pyctrigger.start("run", "--hook", *scope, "--no-progress")
    try:
        while not (history.exists() and history.read_bytes().endswith(b"\n")):
            assert child.poll() is None
            time.sleep(0.002)
        child.send_signal(signal.SIGSTOP)
        assert [(run["outcome"], run["pid"]) for run in past(pyctrigger)] == [("running", child.pid)]
    finally:
        child.kill()
        child.communicate()
    assert [(run["outcome"], run["ended"]) for run in past(pyctrigger)] == [("interrupted", None)]
    assert "and didn't come to its end" in pyctrigger.text("history", "last").out

    pyctrigger.json("run", *scope)

    assert [(run["number"], run["outcome"]) for run in past(pyctrigger)] == [(2, "done"), (1, "interrupted")]


def test_paths_may_hold_any_byte(pyctrigger: Command, site: Path, newest: Interpreter) -> None:
    """They come back as they were, and break no line and no terminal."""
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
    """The number of all is kept, and the line stays of a size that can be read."""
    paths = "\n".join(f"{site}/package{number}" for number in range(5000))
    scope: list[Argument] = ["--python", newest.path, "--site-dir", site]
    write_tree(site, {f"bad{number}.py": "x = (\n" for number in range(300)})
    pyctrigger.json("run", *scope, "--paths-from", "-", stdin=paths.encode())

    (run,) = past(pyctrigger)

    assert run["path_count"] == 5000
    assert 0 < len(run["paths"]) < 5000
    assert (run["flavours"][0]["failure_count"], len(run["flavours"][0]["failures"]) < 300) == (300, True)
    assert (pyctrigger.state / "history.jsonl").stat().st_size < 64 << 10
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
        "pyctrigger: no run 7 in the history; known are 1 to 2",
        "pyctrigger: no run x in the history; known are 1 to 2",
    ]


# ------------------------------------------------------------------------------------------------------------ the file


def a_run(number: int = 0, text: str = "x") -> PastRun:
    """A run as another version could have recorded it."""
    flavour = PastFlavour("py311", "cpython-311-00000000", {"compiled": 1}, ((text, "io", text),), 1, 1, 0.5)
    return PastRun(
        number,
        1.0,
        2.0,
        1,
        "",
        "run",
        "unknown",
        None,
        True,
        {"optimize": [0]},
        (text,),
        1,
        (flavour,),
        ((69, text),),
        69,
    )


def test_the_file_stays_small_and_keeps_the_newest(tmp_path: Path) -> None:
    """Two files of half a MiB, whatever happens for years."""
    history = History(str(tmp_path))

    for _ in range(700):
        last = history.add(a_run(text="x" * 1000))

    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["history.jsonl", "history.jsonl.1"]
    assert max(sizes) < 600 << 10
    numbers = [run.number for run in history.runs()]
    assert numbers == list(range(numbers[0], 701))
    assert (last, len(numbers) > 120, numbers[0] > 1) == (700, True, True)


def test_runs_that_end_at_once_have_numbers_of_their_own(tmp_path: Path) -> None:
    """Eight processes, through dozens of changes of the file."""
    program = (
        "import sys\nfrom pyctrigger.state.history import History\nsys.path.insert(0, sys.argv[2])\n"
        "from test_history import a_run\nhistory = History(sys.argv[1])\n"
        "print(*(history.add(a_run(text='x' * 8000)) for _ in range(40)))\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path), os.path.dirname(__file__)]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(8)]

    numbers = [int(word) for child in children for word in child.communicate()[0].split()]

    assert [child.returncode for child in children] == [0] * 8
    assert sorted(numbers) == list(range(1, 321))


#: Adds a run, once it is told to on standard input; then it has the file open, and not yet its lock.
_LATE = """
import fcntl, sys
from pyctrigger.state.history import History
sys.path.insert(0, sys.argv[2])
from test_history import a_run
take = fcntl.flock
def pause(*arguments):
    fcntl.flock = take
    print("opened", flush=True)
    sys.stdin.readline()
    return take(*arguments)
fcntl.flock = pause
print(History(sys.argv[1]).add(a_run(text="late")))
"""


@pytest.mark.parametrize("later", [0, 3])
def test_run_that_waited_while_the_file_became_the_older_one(tmp_path: Path, later: int) -> None:
    """It is written into the newer one, behind what was written there meanwhile; the older one stays as it is."""
    history, newer, older = History(str(tmp_path)), tmp_path / "history.jsonl", tmp_path / "history.jsonl.1"
    history.add(a_run())
    command = [sys.executable, "-c", _LATE, str(tmp_path), os.path.dirname(__file__)]
    late = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert late.stdout is not None
    assert late.stdout.readline() == "opened\n"

    while not older.exists():
        history.add(a_run(text="x" * 8000))
    for _ in range(later):
        last = history.add(a_run(text="later"))
    before = older.read_bytes()
    number = int(late.communicate("go\n", timeout=60)[0])

    runs = history.runs()
    assert late.returncode == 0
    assert older.read_bytes() == before
    assert [run.paths for run in runs[-1 - later :]] == [("later",)] * later + [("late",)]
    assert len(newer.read_bytes().splitlines()) == later + 1
    assert [run.number for run in runs] == list(range(1, number + 1))
    assert later == 0 or number == last + 1


@pytest.mark.parametrize("torn", [b'{"format": 1, "numb', b"\0\0\0\0", b"\xff\xfe", b"[]", b"{}\n{}", b"[" * 50000])
def test_a_torn_line_costs_no_other(tmp_path: Path, torn: bytes) -> None:
    """Neither those before nor those behind."""
    history = History(str(tmp_path))
    history.add(a_run())
    with (tmp_path / "history.jsonl").open("ab") as file:
        file.write(torn)

    history.add(a_run(text="y"))

    assert [(run.number, run.paths) for run in history.runs()] == [(1, ("x",)), (2, ("y",))]


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_bytes_are_runs_or_nothing(tmp_path: Path, data: st.DataObject) -> None:
    """A field of another type, or a line cut anywhere, is left out; what is left can be shown."""
    path = tmp_path / "history.jsonl"
    path.unlink(missing_ok=True)
    History(str(tmp_path)).add(a_run())
    fields = json.loads(path.read_bytes())
    name = data.draw(st.sampled_from(sorted(fields)))
    fields[name] = data.draw(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("\ud800"),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=2),
            max_leaves=5,
        )
    )
    path.write_bytes(json.dumps(fields).encode()[: data.draw(st.integers(100, 2000))])

    for run in History(str(tmp_path)).runs():
        assert run.outcome in ("done", "failed", "error", "deferred", "interrupted", "running")
        for text in (run.command, run.event, *(run.paths or ()), *(each.flavour for each in run.flavours)):
            os.fsencode(text)
        assert run.changes >= 0


@pytest.mark.parametrize("kind", ["fifo", "link", "directory"])
def test_what_stands_in_its_place_is_left_alone(
    pyctrigger: Command, scope: list[Argument], site: Path, tmp_path: Path, kind: str
) -> None:
    """No run waits for a FIFO's reader or writes through a link; it does its work, and says what it couldn't keep."""
    (site / "bad.py").unlink()
    pyctrigger.state.mkdir(mode=0o700)
    place, victim = pyctrigger.state / "history.jsonl", tmp_path / "victim"
    victim.write_text("mine")
    if kind == "fifo":
        os.mkfifo(place)
    elif kind == "link":
        place.symlink_to(victim)
    else:
        place.mkdir()

    outcome = pyctrigger.json("run", *scope)

    assert (outcome.code, outcome.counts["compiled"], victim.read_text()) == (0, 2, "mine")
    assert outcome.err.startswith(f"the history isn't kept: {pyctrigger.state}: ")
    assert past(pyctrigger) == []
    assert (pyctrigger.state / outcome.run["installation"] / "manifest.sqlite").exists()


@pytest.mark.usefixtures("as_root")
def test_history_of_another_account_is_refused(pyctrigger: Command) -> None:
    """As all state is."""
    pyctrigger.state.mkdir(mode=0o755)
    os.chown(pyctrigger.state, 12345, 12345)

    outcome = pyctrigger.text("history")

    assert (outcome.code, outcome.out) == (77, "")
    assert f"{pyctrigger.state} belongs to account 12345" in outcome.err
