"""Places of other accounts for which there is no process: what is reported of them."""

from __future__ import annotations

import pytest

from pyctrigger.outcome.outcome import Failure, Tally
from pyctrigger.run.others import trouble_with
from pyctrigger.run.plan.steps import ForeignPlace
from pyctrigger.run.plan.survey import Places
from pyctrigger.run.scope.forked import DeathError, NoProcessError

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
