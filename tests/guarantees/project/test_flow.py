"""The path of a request through the code: how deep it is, how often it asks the same, and what it reads twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from packages import pycs_below, write_tree
from pyctrigger.outcome.observer import Observer
from pyctrigger.outcome.report import FlavourReport
from pyctrigger.run.operation import Operation
from pyctrigger.run.scope.request import Request, Running, Scope, Work
from pyctrigger.run.workspace import Workspace
from pyctrigger.state.lock import InstallationLock

if TYPE_CHECKING:
    from pathlib import Path

    from command import Command
    from interpreters import Interpreter

#: Frames of ours on the stack while a hook gives a pyc its name.
MOST_FRAMES = 10

#: Writes down the functions of ours on the stack, for each pyc that gets its name.
WATCHING = """
import json, sys
def watch(event, arguments):
    if event == "os.rename" and str(arguments[1]).endswith(".pyc"):
        frame, names = sys._getframe(1), []
        while frame is not None:
            if frame.f_globals.get("__name__", "").startswith("pyctrigger"):
                names.append(frame.f_code.co_name)
            frame = frame.f_back
        print(json.dumps(names), file=sys.stderr)
sys.addaudithook(watch)
from pyctrigger.cli import main
sys.exit(main())
"""

#: Counts what a hook should do once.
COUNTING = """
import collections, json, sys
from pyctrigger.run.scope import target
from pyctrigger.state import journal
from pyctrigger.tree import directory
counts = collections.Counter()
def count(name, call):
    def counted(*arguments, **options):
        counts[name] += 1
        return call(*arguments, **options)
    return counted
target.touched = count("touched", target.touched)
directory.Tree.open = count("opened", directory.Tree.open)
journal.Journal.write = count("announced", journal.Journal.write)
from pyctrigger.cli import main
code = main()
print(json.dumps(counts), file=sys.stderr)
sys.exit(code)
"""


@pytest.fixture
def served(pyctrigger: Command, site: Path, scope: list[str]) -> Path:
    """A package that is known, as it was a moment ago: no later hook has to look at everything."""
    write_tree(site, {"package/m.py": "x = 1\n", "other.py": "y = 1\n", "third/m.py": "z = 1\n"})
    for _ in range(3):  # compiled, seen, and noted once it is old enough
        assert pyctrigger.text("run", "--hook", *scope, str(site)).code == 0
        time.sleep(0.05)
    return site / "package"


def test_a_hook_does_not_go_deep(pyctrigger: Command, served: Path, scope: list[str]) -> None:
    """From the command line to the rename of a pyc there are few calls within each other."""
    (served / "m.py").write_text("x = 22\n")
    pyctrigger.program = [sys.executable, "-c", WATCHING]

    outcome = pyctrigger.text("run", "--hook", "--quiet", *scope, str(served))

    (line,) = outcome.err.splitlines()
    frames = json.loads(line)
    assert (frames[0], frames[-1]) == ("replace", "main")
    assert len(frames) <= MOST_FRAMES, frames


@pytest.mark.parametrize("content", ["", "x = 22\n"], ids=["idle", "one source"])
def test_a_hook_asks_once(pyctrigger: Command, served: Path, scope: list[str], content: str) -> None:
    """What was touched is worked out once, the site directory is opened once, and the journal is written once."""
    write_tree(served.parent, {"package/new.py": content} if content else {})
    before = [os.stat(path).st_mtime_ns for path in pycs_below(served)]
    pyctrigger.program = [sys.executable, "-c", COUNTING]

    outcome = pyctrigger.text("run", "--hook", "--quiet", *scope, str(served))

    assert json.loads(outcome.err) == {"touched": 1, "opened": 1, "announced": 1}
    is_untouched = before == [os.stat(path).st_mtime_ns for path in pycs_below(served)]
    assert is_untouched == (not content)


HOLDER = """
import sys
from pyctrigger.state.lock import InstallationLock
lock = InstallationLock(*sys.argv[1:])
lock.acquire(0, print)
"""


@pytest.mark.parametrize(
    ("meanwhile", "is_outdated"),
    [
        ("nobody", False),
        ("somebody who released it", True),
        ("somebody who was killed", True),
        ("somebody for the first time", True),
    ],
)
def test_a_holder_who_came_and_went_makes_old_what_was_read(
    tmp_path: Path,
    site: Path,
    newest: Interpreter,
    monkeypatch: pytest.MonkeyPatch,
    meanwhile: str,
    *,
    is_outdated: bool,
) -> None:
    """Nothing waits for a holder that is gone, and the plan may be from before."""
    locks = str(tmp_path / "locks")
    monkeypatch.setattr("pyctrigger.run.workspace.lock_directory", lambda named: locks)
    running = Running(state_dir=str(tmp_path / "state"))
    operation = Operation(
        Request(Work.SWEEP, Scope((newest.path,), site_dirs=(str(site),)), running=running), Observer()
    )
    operation.prepare()
    workspace = Workspace(operation, operation.assignments[0], FlavourReport(newest.flavour, "", None))
    if meanwhile != "somebody for the first time":
        first = InstallationLock(locks, workspace.installation)
        first.acquire(0, print)
        first.release()
    workspace.note_last_use()
    if meanwhile != "nobody":
        ending = "lock.release()" if "released" in meanwhile else "import os; os._exit(9)"
        holder = [sys.executable, "-c", HOLDER + ending, locks, workspace.installation]
        subprocess.run(holder, check=False, timeout=60)

    assert workspace.enter() is is_outdated
    workspace.note_last_use()
    assert workspace.enter() is False
    workspace.leave()
    assert os.listdir(locks) == [f"{workspace.installation}.lock"]
