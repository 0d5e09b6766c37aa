"""How long compilations will take, by the records of earlier ones."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pyctrigger.inspect.status.needs import Estimate, SiteNeeds
from pyctrigger.pyc.header import Verdict
from pyctrigger.run.plan.steps import LevelState, Stale
from pyctrigger.state.records.manifest import Manifest
from pyctrigger.state.records.record import UNSEEN, Record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TAG = "cpython-311"


def stale(name: str, size: int, verdict: Verdict = Verdict.MISSING) -> Stale:
    """A source of this size that needs bytecode."""
    return Stale.of(name, os.stat_result((0o100644, 0, 0, 1, 0, 0, size, 0, 0, 0)), (LevelState(0, "", verdict),))


@pytest.fixture
def times(tmp_path: Path) -> Iterator[Manifest]:
    """One source was compiled at levels 0 and 1 into equal code, and at 2; one at level 0 only."""
    manifest = Manifest(str(tmp_path))
    for name, body, microseconds in (
        *((f"a.{TAG}.pyc", b"x", 2_000_000), (f"a.{TAG}.opt-1.pyc", b"x", 2_000_000)),
        *((f"a.{TAG}.opt-2.pyc", b"y", 1_000_000), (f"b.{TAG}.pyc", b"z", 500_000), (f"theirs.{TAG}.pyc", b"w", 0)),
    ):
        manifest.pycs.note("/site/__pycache__", name, Record(UNSEEN, b"d", UNSEEN, body, b"h", microseconds))
    yield manifest
    manifest.close()


#: The levels that are wanted, sources with their sizes; how many have a time, and the seconds of all.
CASES: dict[str, tuple[tuple[int, ...], dict[str, int], int, float | None]] = {
    "nothing": ((0,), {}, 0, 0.0),
    "one level": ((0,), {"a.py": 100}, 1, 2.0),
    "equal code once": ((0, 1), {"a.py": 100}, 1, 2.0),
    "other code twice": ((0, 2), {"a.py": 100}, 1, 3.0),
    "a level without a time takes as long as the others": ((0, 1), {"b.py": 100}, 1, 1.0),
    "one without a time takes as long as its size says": ((0,), {"a.py": 100, "new.py": 50}, 1, 3.0),
    "somebody else's pyc has no time": ((0,), {"a.py": 100, "theirs.py": 100}, 1, 4.0),
    "no time at all": ((0,), {"new.py": 10}, 0, None),
}


@pytest.mark.parametrize("case", CASES)
def test_seconds(times: Manifest, case: str) -> None:
    """Of all sources, one after the other."""
    levels, sources, timed, seconds = CASES[case]
    needs = SiteNeeds("py311", "/site", times, TAG, levels)
    for name, size in sources.items():
        needs.add("/site/__pycache__", stale(name, size))
    assert (timed, seconds) == (needs.estimate.timed, needs.estimate.seconds)
    assert len(sources) == needs.needed


def test_reasons(times: Manifest) -> None:
    """Another magic number, a word for each other state; what only a child can judge isn't counted."""
    needs = SiteNeeds("py311", "/site", times, TAG, (0,))
    for verdict in (Verdict.FOREIGN_MAGIC, Verdict.MISSING, Verdict.OTHER_MTIME, Verdict.UNPROVEN):
        needs.add("/site/__pycache__", stale("a.py", 1, verdict))
    assert {"magic": 1, "missing": 1, "mtime": 1} == needs.reasons


def test_estimates_add_up() -> None:
    """What one has measured counts for the other's sources, too."""
    assert 6.0 == Estimate(1, 0, 2.0, 10, 0).plus(Estimate(0, 1, 0.0, 0, 20)).seconds
