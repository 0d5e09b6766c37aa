"""The backlog: what is joined, announced, tried together, and closed, in a journal on the disk."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any, Callable

import pytest

from pyctrigger.outcome.observer import Observer
from pyctrigger.outcome.outcome import Failure, Tally
from pyctrigger.run.backlog import Backlog, Unidentified, drop_gone
from pyctrigger.run.scope.config import Settings
from pyctrigger.run.scope.request import Request, Running, Scope, Transaction, Work
from pyctrigger.run.scope.target import find_target
from pyctrigger.state.journal import Journal
from pyctrigger.state.store import Store
from unit.interpreter.made_up import interpreter
from unit.run.scope.machine import Machine

if TYPE_CHECKING:
    from pathlib import Path

PARKED = "an entry of the journal has failed 3 times and is parked; fix the cause, then: pyctrigger repair"
WAITING = "the work on a read-only file system stays in the journal until that is writable again"


class Place(Observer):
    """A site directory, an installation's state, and what was said."""

    def __init__(self, top: Path) -> None:
        self.top, self.base, self.heard = top, top / "state", list[str]()
        for name in ("a", "b", "c"):
            (top / "site" / name).mkdir(parents=True)
        (top / "bin").mkdir()
        self.executable = str(top / "bin/python3.11")
        (top / "bin/python3.11").touch(mode=0o755)
        self.store = Store(str(self.base), self.notice)
        self.journal = Journal(str(self.base / "i"))
        self.target = find_target(interpreter("3.11", self.executable), self.request("a"), Settings())

    def notice(self, text: str) -> None:
        self.heard.append(text)

    def backlog(self) -> Backlog:
        return Backlog(self.store, "i", self)

    def paths(self, names: str | None) -> tuple[str, ...] | None:
        return None if names is None else tuple(f"{self.top}/site/{name}" for name in names)

    def names(self, paths: tuple[str, ...] | None) -> str | None:
        return None if paths is None else "".join(os.path.basename(path) for path in paths)

    def request(self, names: str | None, work: Work = Work.RUN, **running: Any) -> Request:
        scope = Scope(site_dirs=(f"{self.top}/site",))
        return Request(work, scope, transaction=Transaction(self.paths(names), "install"), running=Running(**running))

    def put(self, *entries: tuple[str | None, int, bool]) -> None:
        """Have entries pending: names, attempts, and whether their options are those of the requests here."""
        for names, attempts, is_alike in entries:
            options = self.request("").replayable()
            self.journal.write("remove", self.paths(names), options if is_alike else {**options, "x": 1}, attempts)

    def pending(self, journal: Journal | None = None) -> list[tuple[str | None, int]]:
        """The names and attempts of all entries, oldest first."""
        return [(self.names(entry.paths), entry.attempts) for entry in (journal or self.journal).entries()]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Without anything pending."""
    return Place(tmp_path)


#: The work, its own names, what is pending, the names of all together, how many are taken over, and what stays.
JOINED: list[tuple[Work, str | None, list[tuple[str | None, int, bool]], str | None, int, list[Any]]] = [
    (Work.RUN, "a", [], "a", 0, []),
    (Work.RUN, "ba", [], "ba", 0, []),
    (Work.RUN, "ba", [("a", 0, True)], "ba", 1, []),
    (Work.RUN, "a", [("b", 0, True), ("c", 1, True)], "abc", 2, []),
    (Work.RUN, "a", [("b", 0, False)], "a", 0, [("b", 0)]),
    (Work.RUN, "a", [(None, 0, True)], None, 1, []),
    (Work.RUN, "a", [("b", 3, True)], "a", 0, [("b", 3)]),
    (Work.REPAIR, "a", [("b", 3, True)], "ab", 1, []),
    (Work.RUN, None, [("b", 0, True)], None, 1, []),
]


@pytest.mark.parametrize(("work", "own", "pending", "names", "taken", "left"), JOINED)
def test_pending_work_is_joined(
    place: Place,
    work: Work,
    own: str | None,
    pending: list[tuple[str | None, int, bool]],
    names: str | None,
    taken: int,
    left: list[Any],
) -> None:
    """What differs in paths alone, and isn't parked; it is closed with the run's own."""
    place.put(*pending)
    backlog = place.backlog()
    request = place.request(own, work)
    joined = backlog.join(request)
    assert (names, taken) == (place.names(joined.transaction.paths), backlog.taken_over)
    backlog.close_joined(Tally(), place.target, joined)
    assert left == place.pending()
    backlog.announce(request)
    assert left == place.pending()


def test_the_runs_own_work_fails_with_what_was_joined(place: Place) -> None:
    """Each by what lies in it."""
    place.put(("b", 1, True), ("c", 0, True))
    backlog = place.backlog()
    request = backlog.join(place.request("a"))
    backlog.announce(place.request("a"))
    tally = Tally()
    tally.failures = [Failure(f"{place.top}/site/{path}", "io", "") for path in ("a/m.py", "b/m.py")]
    backlog.close_joined(tally, place.target, request)
    assert [("b", 2), ("a", 2)] == place.pending()


#: Own names, what is pending, and the journal after the announcement, with how many entries were taken over.
ANNOUNCED: list[tuple[str | None, list[tuple[str | None, int, bool]], list[tuple[str | None, int]], int]] = [
    ("a", [], [("a", 0)], 0),
    (None, [], [(None, 0)], 0),
    ("a", [("ab", 1, True)], [("ab", 1)], 1),
    ("a", [(None, 1, True)], [(None, 1)], 1),
    ("ab", [("a", 2, True), ("b", 1, True)], [("ab", 2)], 0),
    (None, [("a", 1, True)], [(None, 1)], 0),
    ("a", [("b", 1, True)], [("b", 1), ("a", 1)], 0),
    ("a", [("a", 1, False)], [("a", 1), ("a", 0)], 0),
]


@pytest.mark.parametrize(("own", "pending", "expected", "taken"), ANNOUNCED)
def test_a_request_is_announced_once(
    place: Place,
    own: str | None,
    pending: list[tuple[str | None, int, bool]],
    expected: list[tuple[str | None, int]],
    taken: int,
) -> None:
    """By what covers it, or by an entry of its own in the place of those that it covers."""
    place.put(*pending)
    backlog = place.backlog()
    assert backlog.holds_own is False
    for _ in range(2):
        backlog.announce(place.request(own))
        assert (expected, taken, True, []) == (place.pending(), backlog.taken_over, backlog.holds_own, place.heard)


def test_what_is_covered_by_an_announcement_is_closed_with_it(place: Place) -> None:
    """And the entry itself, whoever wrote it; the event and the options are in it."""
    place.put(("a", 0, True))
    backlog = place.backlog()
    backlog.join(place.request("b"))
    backlog.announce(place.request("ab"))
    (entry,) = place.journal.entries()
    assert ("install", place.request("").replayable()) == (entry.event, entry.options)
    assert [] == backlog.next()
    backlog.close_joined(None, place.target, place.request("ab"))
    assert [] == place.pending()


@pytest.mark.parametrize("has_base", [False, True])
def test_without_a_journal_the_work_is_done_all_the_same(place: Place, has_base: bool) -> None:
    """That is said once."""
    if has_base:
        (place.base / "i").mkdir(parents=True)
        (place.base / "i/journal").touch()
        backlog = place.backlog()
    else:
        backlog = Backlog(Store(None, place.notice), "i", place)
    for _ in range(2):
        backlog.announce(place.request("a"))
    assert (1, False) == (len(place.heard), backlog.holds_own)
    assert [] == backlog.next()


def test_parked_entries(place: Place) -> None:
    """Of the same options, and no others."""
    place.put(("a", 2, True), ("b", 3, True), ("c", 3, False))
    assert ["b"] == [place.names(entry.paths) for entry in place.backlog().parked(place.request("a"))]


#: Whether it is a repair, what is pending, and what is tried together.
TURNS: list[tuple[Work, list[tuple[str | None, int, bool]], list[list[str | None]]]] = [
    (Work.RUN, [], []),
    (Work.RUN, [("a", 0, True), ("b", 0, False), ("c", 1, True)], [["a", "c"], ["b"]]),
    (Work.RUN, [("a", 2, True), ("b", 0, True)], [["a"], ["b"]]),
    (Work.RUN, [("a", 0, True), ("b", 2, True), ("c", 0, True)], [["a", "c"], ["b"]]),
    (Work.RUN, [("a", 3, True), ("b", 0, True)], [["b"]]),
    (Work.REPAIR, [("a", 3, False), ("b", 0, False)], [["a"], ["b"]]),
]


@pytest.mark.parametrize(("work", "pending", "expected"), TURNS)
def test_what_is_tried_together(
    place: Place, work: Work, pending: list[tuple[str | None, int, bool]], expected: list[list[str | None]]
) -> None:
    """The oldest, and all like it; what is about to be parked alone."""
    backlog = place.backlog()
    backlog.join(place.request("a", work))
    place.put(*pending)
    turns = [[place.names(entry.paths) for entry in backlog.next()] for _ in range(len(expected) + 1)]
    assert ([*expected, []], sum(map(len, expected))) == (turns, backlog.taken_over)


#: What failed, with the kind of failure and whether it is remembered, and what is pending afterwards.
CLOSED: list[tuple[list[tuple[str, str, bool]], list[tuple[str | None, int]]]] = [
    ([], []),
    *(([("a/m.py", kind, False)], [("a", 1), (None, 1)]) for kind in ("io", "memory", "timeout", "crash")),
    *(([("a/m.py", kind, False)], []) for kind in ("syntax", "encoding", "refused")),
    ([("a/m.py", "timeout", True)], []),
    ([("c/m.py", "io", False)], [(None, 1)]),
    ([("a/m.py", "io", False), ("b/m.py", "syntax", False), ("b/n.py", "io", True)], [("a", 1), (None, 1)]),
    ([("a/m.py", "io", False), ("b/m.py", "io", False)], [("a", 1), ("b", 1), (None, 1)]),
]


@pytest.mark.parametrize(("failures", "expected"), CLOSED)
def test_an_entry_with_a_passing_failure_is_tried_again(
    place: Place, failures: list[tuple[str, str, bool]], expected: list[tuple[str | None, int]]
) -> None:
    """The others are done."""
    place.put(("a", 0, True), ("b", 0, True), (None, 0, True))
    tally = Tally()
    tally.failures = [Failure(f"{place.top}/site/{path}", kind, "", known) for path, kind, known in failures]
    place.backlog().close(list(place.journal.entries()), tally, place.target, place.request("a"))
    assert (expected, []) == (place.pending(), place.heard)


@pytest.mark.parametrize(("failed", "expected"), [("a/m.py", [("a", 1)]), ("c/m.py", [("a", 1), ("b", 1)])])
def test_a_failure_in_no_entrys_place_is_everyones(
    place: Place, failed: str, expected: list[tuple[str | None, int]]
) -> None:
    """One of them has caused it."""
    place.put(("a", 0, True), ("b", 0, True))
    tally = Tally()
    tally.failures = [Failure(f"{place.top}/site/{failed}", "io", "")]
    place.backlog().close(list(place.journal.entries()), tally, place.target, place.request("a"))
    assert expected == place.pending()


def test_an_interrupted_run_closes_nothing(place: Place) -> None:
    """It is said once, where anything waits."""
    place.put(("a", 0, True))
    tally, backlog = Tally(), place.backlog()
    tally.is_interrupted = True
    backlog.close([], tally, place.target, place.request("a"))
    assert [] == place.heard
    for _ in range(2):
        backlog.close(list(place.journal.entries()), tally, place.target, place.request("a"))
        assert ([("a", 0)], [WAITING]) == (place.pending(), place.heard)


def test_the_third_failure_parks(place: Place) -> None:
    """And says what to do."""
    place.put(("a", 0, True))
    backlog = place.backlog()
    for attempts, heard in ((1, []), (2, []), (3, [PARKED])):
        for entry in list(place.journal.entries()):
            backlog.count_failure(entry)
        assert ([("a", attempts)], heard) == (place.pending(), place.heard)
    place.store = Store(None, place.notice)
    place.backlog().count_failure(next(place.journal.entries()))
    assert ([("a", 3)], [PARKED]) == (place.pending(), place.heard)


# -- interpreters that can't be asked ---------------------------------------------------------------------------------


def test_work_for_what_cant_be_asked_is_one_entry(place: Place) -> None:
    """Of each kind, as old as the oldest, until the interpreter can be asked."""
    kept = Unidentified(place.store)
    for names in ("b", "a", "ab"):
        assert kept.keep(place.executable, place.request(names), Settings()) is True
    (entry,) = kept.entries(place.target.interpreter)
    assert ("ab", "install", 0) == (place.names(entry.paths), entry.event, entry.attempts)
    assert place.request("").replayable() == entry.options
    first = entry.since
    assert kept.keep(place.executable, place.request(None), Settings()) is True
    (entry,) = kept.entries(place.target.interpreter)
    assert (None, first) == (entry.paths, entry.since)
    kept.adopt(place.target)
    own = place.store.journal(place.target.installation)
    assert ([(None, 0)], []) == (place.pending(own), kept.entries(place.target.interpreter))
    assert first == next(own.entries()).since


def test_work_for_what_isnt_there_is_not_kept(place: Place) -> None:
    """Nor without state."""
    request = place.request("a")
    assert Unidentified(place.store).keep(f"{place.top}/bin/absent", request, Settings()) is False
    assert Unidentified(Store(None, place.notice)).keep(place.executable, request, Settings()) is False
    assert list(Unidentified(Store(None, place.notice)).others([])) == []
    assert list(Unidentified(place.store).others([])) == []
    assert not list(place.base.glob("unidentified-*"))


#: A name of `--python`, the environment in the request, the one of the target, and whether that is meant.
MEANT: list[tuple[str, str | None, str | None, bool]] = [
    ("3.11", None, None, True),
    ("3.11", None, "/e", False),
    ("EXECUTABLE", None, None, True),
    ("EXECUTABLE", None, "/e", True),
    ("3.11", "/e", "/e", True),
    ("3.11", "/f", "/e", False),
    ("EXECUTABLE", "/f", "/e", False),
    ("3.11", "/e", None, False),
    ("3.12", None, None, False),
]


@pytest.mark.parametrize(("named", "asked", "environment", "expected"), MEANT)
def test_whose_the_kept_work_is(
    place: Place,
    monkeypatch: pytest.MonkeyPatch,
    named: str,
    asked: str | None,
    environment: str | None,
    expected: bool,
) -> None:
    """By the name that was used, and the environment."""
    monkeypatch.setattr(Settings, "candidates", lambda *_: [place.executable])
    text = place.executable if named == "EXECUTABLE" else named
    request = place.request("a").within(*([asked] if asked else []))
    kept = Unidentified(place.store)
    assert kept.keep(text, request, Settings()) is True
    assert expected is bool(kept.entries(place.target.interpreter, environment))
    name = text if named == "EXECUTABLE" else f"py{named.replace('.', '')}"
    others = [(each, len(entries)) for each, entries in kept.others([place.target.interpreter])]
    assert ([(name, 1)] if named == "3.12" else []) == others
    assert [name] == [each for each, _ in kept.others([])]


def test_a_name_with_odd_characters(place: Place) -> None:
    """Comes back as it was."""
    odd = place.top / "bin/100%2F"
    odd.touch(mode=0o755)
    kept = Unidentified(place.store)
    assert kept.keep(str(odd), place.request("a"), Settings()) is True
    assert kept.keep(place.executable, place.request("a"), Settings()) is True
    assert [] == list(kept.drop_gone(Settings()))
    odd.unlink()
    assert [str(odd)] == list(kept.drop_gone(Settings()))
    assert [place.executable] == [name for name, _ in kept.others([])]


# -- what is gone -----------------------------------------------------------------------------------------------------

#: A request, and whether it drops interpreters that are gone, and environments.
SWEEPERS: list[tuple[Callable[[Place], Request], bool, bool]] = [
    (lambda place: place.request("a"), True, True),
    (lambda place: place.request("a", hook=True), True, False),
    (lambda place: place.request("a", dry_run=True), False, False),
    (lambda place: place.request("a", Work.VERIFY), False, False),
]


@pytest.mark.parametrize(("make", "interpreters", "environments"), SWEEPERS)
def test_pending_work_of_what_is_gone_is_dropped(
    place: Place,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[Place], Request],
    interpreters: bool,
    environments: bool,
) -> None:
    """Before a run; a hook leaves environments to others."""
    machine = Machine(place.top, monkeypatch)
    gone, there = machine.remember("bin/python3.12", "3.12"), machine.put("bin/python3.13", "3.13")
    machine.probed.ask(there)
    known = {each.flavour: each for each in machine.probed.known()}
    for each in known.values():
        place.store.journal(each.installation).write("install", None, {})
    unasked = machine.put("bin/python3.10", "3.10")
    Unidentified(place.store).keep(unasked, place.request("a"), Settings())
    os.unlink(unasked)
    for name in ("e", "f"):
        (place.top / name).mkdir()
        place.store.note_environment(name, str(place.top / name), there)
    Journal(str(place.base / "e")).write("install", None, {})
    shutil.rmtree(place.top / "e")

    drop_gone(make(place), place.store, machine.probed, Settings(), place)
    expected = []
    if interpreters:
        expected += [
            f"pending work for py312 was dropped: its interpreter {gone} is gone",
            f"pending work for {unasked} was dropped: its interpreter is gone",
        ]
    if environments:
        expected.append(f"pending work for {place.top}/e was dropped: the environment is gone")
    assert expected == place.heard
    counts = {name: len(list(place.store.journal(each.installation).entries())) for name, each in known.items()}
    assert {"py312": 0 if interpreters else 1, "py313": 1} == counts
    assert (not environments, True) == ((place.base / "e").exists(), (place.base / "f").exists())


@pytest.mark.parametrize(
    ("root", "hook", "has_roots", "expected"),
    [(None, False, True, 1), (None, False, False, 0), ("/r", False, True, 0), (None, True, True, 0)],
)
def test_roots_that_are_gone_are_looked_for(
    place: Place, monkeypatch: pytest.MonkeyPatch, root: str | None, hook: bool, has_roots: bool, expected: int
) -> None:
    """By runs on this system that are no hooks."""
    asked: list[Any] = []
    monkeypatch.setattr("pyctrigger.state.roots.drop_gone_roots", lambda *values: asked.append(values))
    machine = Machine(place.top, monkeypatch)
    place.store.note_environment("e", str(place.top), "")
    if has_roots:
        (place.base / "roots").mkdir()
    request = place.request("a", hook=hook)
    request = request._replace(scope=request.scope._replace(root=root))
    drop_gone(request, place.store, machine.probed, Settings(), place)
    assert [(str(place.base), place.notice)] * expected == asked


def test_environments_that_are_gone_are_forgotten(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was asked in them, and all their state."""
    machine = Machine(place.top, monkeypatch)
    for name in ("gone", "there", "last"):
        (place.top / name).mkdir()
        (place.top / name / "pyvenv.cfg").touch()
        machine.probed.ask(machine.put(f"{name}/bin/python", "3.11", environment=str(place.top / name)))
        place.store.note_environment(name, str(place.top / name), "")
    machine.probed.ask(machine.put("bin/python3.13", "3.13"))
    for name in ("gone", "last"):
        shutil.rmtree(place.top / name)
    drop_gone(place.request("a"), place.store, machine.probed, Settings(), place)
    assert {None, str(place.top / "there")} == {each.environment for each in machine.probed.known()}
    assert ["there"] == [each.installation for each in place.store.environments()]
    assert [] == place.heard


def test_what_is_adopted_stays_as_it_was(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what is the target's, and with all that was announced."""
    monkeypatch.setattr(Settings, "candidates", lambda *_: [place.executable])
    kept = Unidentified(place.store)
    kept.keep("3.11", place.request("a"), Settings())
    kept.keep("3.11", place.request("b").within("/e"), Settings())
    kept.adopt(place.target._replace(environment="/e"))
    (left,) = kept.entries(place.target.interpreter)
    assert "a" == place.names(left.paths)
    (own,) = place.store.journal(place.target._replace(environment="/e").installation).entries()
    assert ("b", "install", ["/e"]) == (place.names(own.paths), own.event, own.options["prefixes"])
