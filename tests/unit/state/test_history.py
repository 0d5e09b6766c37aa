"""The history's file: what was recorded comes back, it stays small, and whatever stands in it is a run or nothing."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import sqlite3
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from acting import ANN
from conftest import absent
from pyctrigger.state import history as module
from pyctrigger.state.history import MOST_RUNS, History, PastFlavour, PastRun, birth_of, elapsed

if TYPE_CHECKING:
    from pathlib import Path


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
    """So many rows, whatever happens for years, also if a run of long ago ends at last."""
    history = History(str(tmp_path))

    for _ in range(MOST_RUNS + 20):
        last = history.add(a_run(text="x" * 1000))
    history.add(a_run(number=5))

    numbers = [run.number for run in history.runs()]
    assert (list(range(21, MOST_RUNS + 21)), MOST_RUNS + 20) == (numbers, last)
    (file,) = tmp_path.iterdir()
    assert ("history.sqlite", True) == (file.name, file.stat().st_size < 6000 * MOST_RUNS)


def test_runs_that_end_at_once_have_numbers_of_their_own(tmp_path: Path) -> None:
    """Eight processes; one that would have to wait for longer goes without."""
    program = (
        "import contextlib, sys\nfrom pyctrigger.state.history import History, PastFlavour, PastRun\n"
        "history, run = History(sys.argv[1]), eval(sys.argv[2])\n"
        "for _ in range(40):\n    with contextlib.suppress(OSError):\n        print(history.add(run))\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path), repr(a_run())]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(8)]

    numbers = [int(word) for child in children for word in child.communicate()[0].split()]

    assert [child.returncode for child in children] == [0] * 8
    assert sorted(numbers) == list(range(1, len(numbers) + 1)) == [run.number for run in History(str(tmp_path)).runs()]
    assert len(numbers) > 160


def test_a_run_comes_back(tmp_path: Path) -> None:
    """Under its number, with all that was known of it at last."""
    history = History(str(tmp_path))
    began = a_run(text="\udcff")._replace(ended=None, flavours=(), errors=(), exit_code=0)
    assert 1 == history.add(began)
    assert [began._replace(number=1)] == history.runs()
    ended = a_run(1, "\udcff")._replace(manager="apk", paths=None)
    assert (1, [ended]) == (history.add(ended), history.runs())


#: What is known of a run, and its outcome in a word.
OUTCOMES: list[tuple[dict[str, Any], str]] = [
    ({"ended": None, "pid": os.getpid(), "birth": birth_of(os.getpid())}, "running"),
    ({"ended": None, "pid": os.getpid(), "birth": "1@boot"}, "interrupted"),  # its pid is another process by now
    ({"ended": None, "pid": 1 << 30, "birth": "1@boot"}, "interrupted"),
    ({}, "error"),
    ({"errors": ()}, "failed"),
    ({"errors": (), "exit_code": 0}, "done"),
    ({"errors": (), "exit_code": 0, "flavours": ()}, "done"),
]


@pytest.mark.parametrize(("fields", "expected"), OUTCOMES)
def test_outcome_in_a_word(fields: dict[str, Any], expected: str) -> None:
    """What a list of runs shows."""
    assert expected == a_run()._replace(**fields).outcome


def test_work_that_was_left_is_an_outcome() -> None:
    """Nothing failed, and nothing was done."""
    (flavour,) = a_run().flavours
    run = a_run()._replace(errors=(), exit_code=0, flavours=(flavour._replace(deferred=True, counts={"fresh": 3}),))
    assert ("deferred", 0, 1) == (run.outcome, run.changes, a_run().changes)


#: A field, what may stand in it, and what may not.
FIELDS: list[tuple[str, list[Any], list[Any]]] = [
    ("pid", [0, 7, (1 << 53) - 1], [-1, 7.0, "7", None, True, 1 << 53, 1 << 9999]),
    ("began", [0, 1.5, (1 << 36) - 1], [-1, "1", None, 1 << 36, 1e300, 1 << 9999]),
    ("ended", [None, 2], ["2", []]),
    ("command", ["run"], [None, 7, "\ud800", []]),
    ("manager", [None, "rpm"], [7]),
    ("options", [{"a": 1}], [None, [], "a"]),
    ("paths", [None, ["/a"]], [[7], 7]),
    ("errors", [[[69, "x"]]], [[[69]], [["x", 69]], 7]),
    ("flavours", [[]], [[{}], [7], {"a": 1}, None]),
]
ROWS = [
    (name, value, is_kept)
    for name, good, bad in FIELDS
    for values, is_kept in ((good, True), (bad, False))
    for value in values
]


@pytest.mark.parametrize(("name", "value", "is_kept"), ROWS)
def test_each_field_has_its_kind(tmp_path: Path, name: str, value: Any, is_kept: bool) -> None:
    """A row with another one is left out, and so is one without it."""
    history = History(str(tmp_path))
    history.add(a_run())
    fields = json.loads(rows(tmp_path)[0])
    put_record(tmp_path, json.dumps({**fields, name: value}))
    put_record(tmp_path, json.dumps({each: fields[each] for each in fields if each != name}))
    assert ([1, 2] if is_kept else [1]) == [run.number for run in history.runs()]


def rows(directory: Path) -> list[str]:
    """The contents of the file."""
    with contextlib.closing(sqlite3.connect(directory / "history.sqlite")) as database:
        return [record for (record,) in database.execute("select record from runs order by number")]


@pytest.mark.parametrize(("since", "now", "expected"), [(1.0, 3.5, 2.5), (1.0, 1.0, 0.0), (3.0, 1.0, 0.0)])
def test_no_time_is_less_than_none(since: float, now: float, expected: float) -> None:
    """Though a clock was set back."""
    assert expected == elapsed(since, now)


def test_a_process_may_have_any_name(tmp_path: Path) -> None:
    """Its fields are those after the last parenthesis."""
    named = tmp_path / "a) 1 2"
    named.symlink_to("/bin/sleep")
    with subprocess.Popen([named, "9"]) as child:
        own, _, boot = birth_of(os.getpid()).partition("@")
        ticks, _, same = birth_of(child.pid).partition("@")
        child.kill()
    assert (True, boot) == (int(own) <= int(ticks) < int(own) + 10**6, same)


@pytest.mark.parametrize(
    ("account", "pid", "expected"),
    [(0, 0, "alive"), (ANN, 1, "alive"), (0, 1 << 22, ""), (0, 1 << 70, "")],
)
def test_without_proc_a_process_is_there_or_not(
    monkeypatch: pytest.MonkeyPatch, account: int, pid: int, expected: str
) -> None:
    """That is all that is known, of another account's as well."""
    if os.geteuid() != 0 and account:
        absent("only root acts as another account")
    monkeypatch.setattr(module, "open", lambda path, *how, **options: os.stat("/absent"), raising=False)
    if account:
        os.setresuid(account, account, 0)  # by its real id, too: else it might send signals to root's
    try:
        found = birth_of(pid or os.getpid())
    finally:
        if account:
            os.setresuid(0, 0, 0)
    assert expected == found


def test_a_history_that_can_not_be_written_is_an_error_of_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the database's words; without sqlite3 there is none, and no run has a number."""
    with pytest.raises(OSError, match="unable to open database file") as raised:
        History(str(tmp_path / "absent")).add(a_run())
    assert errno.EIO == raised.value.errno
    monkeypatch.setattr(module, "has_sqlite", lambda: False)
    assert (0, []) == (History(str(tmp_path)).add(a_run()), os.listdir(tmp_path))


def test_a_process_is_told_from_a_later_one() -> None:
    """By when it began."""
    time.sleep(0.02)  # two ticks of the clock that counts them
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert birth_of(os.getpid()) == birth_of(os.getpid()) != birth_of(child.pid)
    assert ("", "") == (birth_of(1 << 30), birth_of(1 << 80))


@pytest.mark.parametrize(
    "damage", [b"x" * 40_000, b"", b"SQLite format 3\0" + b"x" * 40_000], ids=["text", "empty", "header"]
)
def test_a_damaged_file_begins_anew(tmp_path: Path, damage: bytes) -> None:
    """What it held isn't known any more, and the next run has its place."""
    history, notices = History(str(tmp_path)), list[str]()
    history.add(a_run())
    (tmp_path / "history.sqlite").write_bytes(damage)

    assert ([], True) == (history.runs(notices.append), notices[0].startswith(f"{tmp_path}/history.sqlite can't be "))
    assert (1, ["y"]) == (history.add(a_run(text="y")), [text for run in history.runs() for text in run.paths or ()])


@pytest.mark.parametrize("text", ["", "{}", "[]", "1", "[" * 50000, '{"began": 1'])
def test_a_record_that_cannot_be_read_costs_no_other(tmp_path: Path, text: str) -> None:
    """Neither those before nor those after it."""
    history = History(str(tmp_path))
    history.add(a_run())
    put_record(tmp_path, text)

    history.add(a_run(text="y"))

    assert [(run.number, run.paths) for run in history.runs()] == [(1, ("x",)), (3, ("y",))]


def put_record(directory: Path, text: str, number: int | None = None) -> None:
    """A row that nobody of ours has written."""
    with contextlib.closing(sqlite3.connect(directory / "history.sqlite")) as database, database:
        database.execute("pragma synchronous = off")
        database.execute("insert or replace into runs values (?, ?)", (number, text))


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_record_is_a_run_or_nothing(tmp_path: Path, data: st.DataObject) -> None:
    """A field of another type, or a text cut anywhere, is left out; what is left can be shown."""
    history = History(str(tmp_path))
    if not history.runs():
        history.add(a_run())
    with contextlib.closing(sqlite3.connect(tmp_path / "history.sqlite")) as database:
        ((text,),) = database.execute("select record from runs where number = 1")
    fields = json.loads(text)
    name = data.draw(st.sampled_from(sorted(fields)))
    fields[name] = data.draw(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("\ud800"),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=2),
            max_leaves=5,
        )
    )
    put_record(tmp_path, json.dumps(fields)[: data.draw(st.integers(100, 2000))], 2)

    for run in history.runs():
        assert run.outcome in ("done", "failed", "error", "deferred", "interrupted", "running")
        for text in (run.command, run.event, *(run.paths or ()), *(each.flavour for each in run.flavours)):
            os.fsencode(text)
        assert run.changes >= 0


@pytest.mark.parametrize(
    "schema",
    [
        (
            "create view runs as with recursive r(number) as (select 1 union all select number + 1 from r)"
            " select number, number as record from r"
        ),
        "create table runs (number, record as (hex(zeroblob(1 << 28))))",
        "create table other (number, record)",
    ],
    ids=["endless view", "computed column", "other table"],
)
def test_nothing_that_a_schema_says_is_run(tmp_path: Path, schema: str) -> None:
    """A file that somebody else has made is read as a table, or not at all, and in time."""
    with contextlib.closing(sqlite3.connect(tmp_path / "history.sqlite")) as database, database:
        database.execute(schema)
    notices = list[str]()

    assert [] == History(str(tmp_path)).runs(notices.append)
    assert ["can't be read: "] == [re.findall("can't be read: ", notice)[0] for notice in notices]
