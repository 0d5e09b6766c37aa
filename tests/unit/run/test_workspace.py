"""What the work on one installation shares: when it is announced, when and how the lock is taken, and what is kept."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from pyctrigger import namespaces
from pyctrigger.errors import UsageError
from pyctrigger.outcome.outcome import Tally
from pyctrigger.outcome.report import FlavourReport
from pyctrigger.run import workspace as module
from pyctrigger.run.scope.config import Settings
from pyctrigger.run.scope.request import Request, Running, Scope, Transaction, Work
from pyctrigger.run.scope.target import Assignment, find_target
from pyctrigger.run.workspace import Workspace
from pyctrigger.state import lock, sqlite
from pyctrigger.state.journal import Journal
from pyctrigger.state.lock import InstallationLock, NoLocksError
from pyctrigger.state.store import Store
from unit.interpreter.made_up import interpreter

if TYPE_CHECKING:
    from pathlib import Path


class Call:
    """A call's operation, and what it was told."""

    def __init__(self, top: Path) -> None:
        self.top, self.heard, self.done = top, list[str](), list[str]()
        self.base: str | None = str(top / "state")
        (top / "site").mkdir()
        self.settings = Settings(lock_timeout=7.0)
        self.target: Any = None

    def workspace(self, work: Work = Work.RUN, paths: tuple[str, ...] | None = ("/a",), **running: Any) -> Workspace:
        """One for such a request."""
        scope = Scope(site_dirs=(f"{self.top}/site",))
        request = Request(work, scope, transaction=Transaction(paths, "install"), running=Running(**running))
        self.target = find_target(interpreter("3.11", "/usr/bin/python3.11"), request, self.settings)
        operation: Any = SimpleNamespace(
            store=Store(self.base, self.heard.append),
            observer=SimpleNamespace(notice=self.heard.append),
            settings=self.settings,
            begin_record=lambda: self.done.append("recorded"),
            move_apart=lambda relay: self.done.append(type(relay).__name__),
        )
        report = FlavourReport("py311", self.target.installation, None)
        return Workspace(operation, Assignment.of(self.target, request), report)

    @property
    def pending(self) -> list[tuple[str, ...] | None]:
        """The paths in the journal."""
        return [entry.paths for entry in Journal(str(self.top / "state" / self.target.installation)).entries()]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """One whose locks are in a directory of its own."""
    monkeypatch.setattr(module, "lock_directory", lambda base: None if base is None else f"{base}/locks")
    return Call(tmp_path)


#: A call, and whether it announces its own work when it takes the lock.
CALLS: list[tuple[dict[str, Any], bool]] = [
    ({}, True),
    ({"work": Work.REPAIR}, True),
    ({"work": Work.SWEEP}, False),
    ({"work": Work.PURGE}, False),
    ({"hook": True}, False),
]


@pytest.mark.parametrize(("request_", "is_announced"), CALLS)
def test_the_first_change_takes_the_lock(call: Call, request_: dict[str, Any], is_announced: bool) -> None:
    """Once, after the announcement and before the history; what a glance has found is made durable with it."""
    workspace = call.workspace(**request_)
    workspace.found = workspace.request.about(("/b",))
    assert [] == workspace.lock_descriptors
    for _ in range(2):
        workspace.enter()
        assert (["recorded"], []) == (call.done, call.heard)
        (descriptor,) = workspace.lock_descriptors
    assert [*([("/a",)] if is_announced else []), ("/b",)] == call.pending
    held = f"{call.base}/locks/{call.target.installation}.lock"
    assert os.path.samestat(os.fstat(descriptor), os.stat(held))
    workspace.leave()
    assert [] == workspace.lock_descriptors


def test_without_state_there_is_no_lock(call: Call) -> None:
    """As it was asked."""
    workspace = call.workspace(stateless=True)
    workspace.note_last_use()
    assert (False, [], [], []) == (workspace.enter(), workspace.lock_descriptors, call.done, call.pending)
    workspace.leave()


#: How long a call waits, by its option, the configuration, and whether it is a hook.
PATIENCE: list[tuple[float | None, float, bool, float]] = [
    (None, 7.0, False, 7.0),
    (None, 90.0, False, 90.0),
    (0.0, 7.0, False, 0.0),
    (99.0, 7.0, True, 99.0),
    (None, 7.0, True, 7.0),
    (None, 90.0, True, 30.0),
]


@pytest.mark.parametrize(("option", "configured", "hook", "expected"), PATIENCE)
@pytest.mark.parametrize(("used", "is_outdated"), [(None, False), (5, True)])
def test_how_long_the_lock_is_waited_for(
    call: Call,
    monkeypatch: pytest.MonkeyPatch,
    option: float | None,
    configured: float,
    hook: bool,
    expected: float,
    used: int | None,
    is_outdated: bool,
) -> None:
    """It is told when the lock was used before anything was read."""
    asked: list[Any] = []

    def acquire(self: InstallationLock, timeout: float, announce: Any, seen: int | None = None) -> bool:
        announce("waits")
        asked.append((timeout, seen))
        return is_outdated

    monkeypatch.setattr(InstallationLock, "acquire", acquire)
    call.settings = Settings(lock_timeout=configured)
    workspace = call.workspace(hook=hook, lock_timeout=option)
    if used is not None:
        held = call.top / "state/locks" / f"{call.target.installation}.lock"
        held.parent.mkdir(parents=True)
        held.touch()
        os.utime(held, ns=(used, 9))
    workspace.note_last_use()
    assert is_outdated is workspace.enter()
    assert ([(expected, used)], ["waits"]) == (asked, call.heard)
    workspace.note_last_use()


#: What is in the way of a lock, whether root is one of a namespace, and what is said, or the error.
NO_LOCKS: list[tuple[BaseException | None, bool, list[str], str | None]] = [
    (NoLocksError(37, "No locks"), False, ["no lock is available (No locks): continuing as with --stateless"], None),
    (OSError(30, "Read-only"), True, ["no lock is available (Read-only): continuing as with --stateless"], None),
    (OSError(30, "Read-only"), False, [], "can't make a lock in {}: Read-only; use --stateless to run without one"),
]


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize(("error", "is_namespace", "heard", "message"), NO_LOCKS)
def test_a_system_without_locks(
    call: Call, monkeypatch: pytest.MonkeyPatch, error: Any, is_namespace: bool, heard: list[str], message: str | None
) -> None:
    """Is worked on without one, if nobody else can have one there either."""

    def refuse(*_: object) -> bool:
        raise error

    monkeypatch.setattr(lock.InstallationLock, "acquire", refuse)
    monkeypatch.setattr(namespaces, "is_restricted", lambda: is_namespace)
    workspace = call.workspace(Work.SWEEP)
    if message is None:
        assert (True, heard, ["recorded"]) == (workspace.enter(), call.heard, call.done)
        assert (True, False) == (workspace.is_lockless, workspace.enter())
    else:
        with pytest.raises(UsageError) as caught:
            workspace.enter()
        assert (message.format(f"{call.base}/locks"), []) == (str(caught.value), call.done)


def test_an_account_without_a_directory_has_no_lock(call: Call) -> None:
    """That there is no state is said already."""
    call.base = None
    workspace = call.workspace(Work.SWEEP)
    workspace.note_last_use()
    assert (True, True, []) == (workspace.enter(), workspace.is_lockless, call.heard)


class Relay:
    """The way to the process that has the lock."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def enter(self) -> bool:
        """Ask it to take the lock."""
        self.sent.append("enter")
        return True

    def send(self, *message: Any) -> None:
        """Send it something."""
        self.sent.append(message)


class Results:
    """What a part of the work has done."""

    def __init__(self, done: list[str], *, is_synced: bool = True, compiled: int = 0) -> None:
        self.tally, self._done, self._is_synced = Tally(), done, is_synced
        self.tally.counts.compiled = compiled

    def tell_places(self) -> None:
        """Done before the rest."""
        self._done.append("places")

    def sync(self) -> bool:
        """Whether there is something to save."""
        self._done.append("sync")
        return self._is_synced


def test_a_process_apart_asks_for_the_lock(call: Call) -> None:
    """Once; what it has done goes the same way, and notes are read again."""
    workspace, relay = call.workspace(), Relay()
    parts, before = SimpleNamespace(load=lambda: None, save=lambda: None), workspace.parts
    assert workspace.parts is before
    workspace.forget_parts()
    workspace.move_apart(relay)  # type: ignore[arg-type]
    assert workspace.parts is not before
    assert [True, False] == [workspace.enter(), workspace.enter()]
    vars(workspace)["parts"] = parts
    results: Any = Results(call.done, is_synced=False, compiled=1)
    workspace.keep(results, SimpleNamespace())  # type: ignore[arg-type]
    assert ["enter", ("take", results.tally)] == relay.sent
    assert (["Relay", "places", "sync"], 0, []) == (call.done, workspace.report.tally.counts.compiled, call.pending)


def test_the_backlog_is_the_installations(call: Call) -> None:
    """And says what it has to say where everything is said."""
    workspace = call.workspace()
    journal = Journal(f"{call.base}/{call.target.installation}")
    workspace.backlog.count_failure(journal.write("remove", ("/a",), {}, 2))
    parked = "an entry of the journal has failed 3 times and is parked; fix the cause, then: pyctrigger repair"
    assert ([("/a",)], [parked]) == (call.pending, call.heard)


@pytest.mark.parametrize("breaks", ["", "load", "manifest", "save"])
def test_records_are_saved_after_what_they_describe(call: Call, breaks: str) -> None:
    """And if they can't be, that is said; the tally counts all the same."""
    workspace = call.workspace()

    def step(name: str) -> Any:
        def do_it() -> None:
            if name == breaks:
                raise OSError(28, "No space left")
            call.done.append(name)

        return do_it

    vars(workspace)["parts"] = SimpleNamespace(load=step("load"), save=step("save"))
    workspace.keep(Results(call.done, compiled=2), SimpleNamespace(save=step("manifest")))  # type: ignore[arg-type]
    steps = ["places", "sync", "load", "manifest", "save"]
    assert (steps[: steps.index(breaks)] if breaks else steps) == call.done
    assert (2, bool(breaks)) == (workspace.report.tally.counts.compiled, len(call.heard) == 1)


@pytest.mark.parametrize(
    ("has_sqlite", "compiled", "base", "is_said"),
    [(False, 1, True, True), (True, 1, True, False), (False, 0, True, False), (False, 1, False, False)],
)
def test_a_python_without_sqlite(
    call: Call, monkeypatch: pytest.MonkeyPatch, has_sqlite: bool, compiled: int, base: bool, is_said: bool
) -> None:
    """Keeps no records; it is said where that makes work."""
    monkeypatch.setattr(sqlite, "has_sqlite", lambda: has_sqlite)
    call.base = call.base if base else None
    results: Any = Results(call.done, is_synced=False, compiled=compiled)
    call.workspace().keep(results, SimpleNamespace())  # type: ignore[arg-type]
    message = "this Python has no module sqlite3: every run examines everything, and no history is kept"
    assert ([message] if is_said else []) == call.heard
