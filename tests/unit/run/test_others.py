"""Places of other accounts for which there is no process: what is reported of them."""

from __future__ import annotations

import errno
import re
from typing import Any, Callable

import pytest

from pyctrigger.outcome.outcome import Failure, Tally
from pyctrigger.run.others import trouble_with
from pyctrigger.run.plan.steps import ForeignPlace
from pyctrigger.run.plan.survey import Places
from pyctrigger.run.scope import forked
from pyctrigger.run.scope.forked import DeathError, NoProcessError
from pyctrigger.run.scope.request import Work
from unit.run.calls import Caller, public  # noqa: F401 - a fixture

DIED = "the process that acted as that account has ended (signal 9)"
NONE = "others may rename here, and no process can act as they do (no fork)"
#: How it ends, places by site directory, and the failures.
ENDS: list[tuple[Exception | None, Places, list[tuple[str, str, str]]]] = [
    (None, {"/s": None}, []),
    (DeathError("signal 9"), {"/s": None}, [("/s", "crash", DIED)]),
    (NoProcessError("no fork"), {"/s": None}, [("/s", "refused", NONE)]),
    (NoProcessError("no fork"), {}, []),
    (
        DeathError("signal 9"),
        {"/s": [ForeignPlace("a", deep=True), ForeignPlace("b/c", deep=False)], "/t": None},
        [("/s/a", "crash", DIED), ("/s/b/c", "crash", DIED), ("/t", "crash", DIED)],
    ),
    (
        NoProcessError("no fork"),
        {"/s": [ForeignPlace("", deep=True), ForeignPlace("b", deep=False, if_dead=True)]},
        [("/s", "refused", NONE)],
    ),
]


@pytest.mark.parametrize(("error", "places", "expected"), ENDS)
def test_each_place_without_a_process_is_a_failure(
    error: Exception | None, places: Places, expected: list[tuple[str, str, str]]
) -> None:
    """Once; places that matter only where a directory is gone are none."""
    tally = Tally()
    with trouble_with(places, tally):
        if error is not None:
            raise error
    assert [Failure(*each) for each in expected] == tally.failures


def test_other_errors_are_raised() -> None:
    """Nothing is counted."""
    tally = Tally()

    def fail() -> None:
        with trouble_with({"/s": None}, tally):
            raise ValueError("other")

    with pytest.raises(ValueError, match="other"):
        fail()
    assert [] == tally.failures


def glanced(told: list[str]) -> list[str]:
    """What a hook told, without how many it found fresh: it looks again at what was younger than a tick before."""
    return [re.sub(r"'fresh': \d", "'fresh': N", line) for line in told]


#: Acts on a tree with a directory of another account's, and what each returns.
STORY: list[tuple[Callable[[Caller], Any], Any]] = [
    (lambda c: c.make({"p/a.py": b"x = 1\n", "q/b.py": b"", "bad.py": b"x = (\n"}), None),
    (lambda c: c.give("p"), None),
    (
        lambda c: c.call(paths=("p", "q")),
        [
            "compiled S/q/b.py: missing",
            "compiled S/p/a.py: missing",
            "FLAVOUR: failed {'compiled': 2, 'failed': 1}",
            "failure syntax S/bad.py: line 1, SyntaxError",
            "failed 1",
        ],
    ),
    (lambda c: c.make({"p/c.py": b"x = 1\n"}), None),
    (lambda c: c.give("p"), None),
    (
        lambda c: glanced(c.call(paths=("q",), hook=True)),
        [
            "compiled S/p/c.py: missing",
            "FLAVOUR: done {'compiled': 1, 'fresh': N, 'skipped': 1}",
            "known uncompilable S/bad.py: None",
            "done 0",
        ],
    ),
    (
        lambda c: glanced(c.call(paths=("q",), hook=True)),
        [
            "FLAVOUR: nothing-to-do {'fresh': N, 'skipped': 1}",
            "known uncompilable S/bad.py: None",
            "nothing-to-do 0",
        ],
    ),
    (lambda c: c.make({"p/d.py": b"x = 1\n", "q/d.py": b"", "d.py": b""}), None),
    (lambda c: c.give("p"), None),
    (
        lambda c: glanced(c.call(paths=("p",), hook=True)),
        [
            "compiled S/d.py: missing",
            "compiled S/q/d.py: missing",
            "compiled S/p/d.py: missing",
            "FLAVOUR: done {'compiled': 3, 'fresh': N, 'skipped': 1}",
            "known uncompilable S/bad.py: None",
            "done 0",
        ],
    ),
    (
        lambda c: glanced(c.call(paths=("p",), hook=True)),
        [
            "FLAVOUR: nothing-to-do {'fresh': N, 'skipped': 1}",
            "known uncompilable S/bad.py: None",
            "nothing-to-do 0",
        ],
    ),
    (lambda c: c.put("p/gone"), None),
    (lambda c: c.give("p"), None),
    (
        lambda c: c.call(Work.SWEEP),
        ["removed S/p/__pycache__/gone.TAG.pyc: orphan", "FLAVOUR: done {'removed': 1}", "done 0"],
    ),
    (
        lambda c: c.history,
        ["run install 1 person 2", "run install 0 hook 1", "run install 0 hook 1", "sweep install 0 person 0"],
    ),
]


def test_work_in_a_directory_of_another_account(public: Caller) -> None:  # noqa: F811
    """It is found, done and counted as if it were our own."""
    public.tell(STORY)
    owners = {(path.relative_to(public.site).parts[0], path.stat().st_uid) for path in public.site.rglob("*.pyc")}
    assert {("p", 1234), ("q", 0), ("__pycache__", 0)} == owners


def test_a_lock_that_is_held(public: Caller) -> None:  # noqa: F811
    """Is waited for before the first change in such a directory, too."""
    public.make({"p/a.py": b"x = 1\n"})
    public.give("p")
    error = "error 75: the lock was not free within 0 s, held by process N"
    kept = "; the work stays in the journal, and the next run does it"
    lines = public.locks(lambda: public.call(paths=("p",), lock_timeout=0.0))
    assert ["FLAVOUR: locked {}", error, kept, "locked 75"] == lines
    assert (["install S/p (0)"], ["p/a.py"]) == (public.pending, public.tree)


def test_a_system_without_processes(public: Caller, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """The rest is done; a hook's glance finds nothing there, and its work says why it can't be done."""
    public.make({"p/s/a.py": b"x = 1\n", "p/s/b/c.py": b"", "q/d.py": b""})
    public.give("p")

    def no_process() -> int:
        raise OSError(errno.EAGAIN, "out of processes")

    monkeypatch.setattr(forked, "fork", no_process)
    reason = "others may rename here, and no process can act as they do (out of processes)"
    failed = ["FLAVOUR: failed {'compiled': 1}", f"failure refused S/p: {reason}", "failed 1"]
    assert ["compiled S/q/d.py: missing", *failed] == public.call()
    sites, refused = (f"{public.site}/p/s",), f"failure refused S/p/s: {reason}"
    assert ["FLAVOUR: failed {}", refused, "failed 1"] == public.call(paths=("p/s/b",), hook=True, site_dirs=sites)
