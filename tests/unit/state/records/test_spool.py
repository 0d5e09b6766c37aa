"""What a run records until it may be believed: in memory, and in a temporary file when it becomes much."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable

import pytest

from pyctrigger.state.records import spool as module
from pyctrigger.state.records.record import Record
from pyctrigger.state.records.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Iterator

Make = Callable[[], Spool]


def record(number: int) -> Record:
    """One that tells itself from others."""
    return Record(f"s{number}", b"sd", f"p{number}", b"bd", b"header", number)


@pytest.fixture(params=["in memory", "in a file"])
def spool(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Spool]:
    """One that holds everything, and one that spills each record."""
    if request.param == "in a file":
        monkeypatch.setattr(module, "_MAX_HELD", 1)
    spool = Spool()
    yield spool
    spool.close()


def test_the_newest_record_counts(spool: Spool) -> None:
    """Of each pyc."""
    assert bool(spool) is False
    spool.put("/a", "m", record(1))
    spool.put("/a", "m", record(2))
    spool.put("/a", "\udcff", record(3))
    spool.put("/b", "m", None)
    assert bool(spool) is True
    assert (True, record(2)) == spool.find("/a", "m")
    assert (True, record(3)) == spool.find("/a", "\udcff")
    assert (True, None) == spool.find("/b", "m")
    assert (False, None) == spool.find("/b", "n")
    assert {"m": record(2), "\udcff": record(3)} == spool.of("/a", 10)
    assert ({"m": None}, {}) == (spool.of("/b", 10), spool.of("/c", 10))
    newest = {(directory, name): found for directory, name, found in spool.rows()}
    assert {(b"/a", b"m"): record(2), (b"/a", b"\xff"): record(3), (b"/b", b"m"): None} == newest


@pytest.mark.parametrize(("most", "is_held"), [(2, True), (1, False)])
def test_too_many_of_one_directory_are_not_held(spool: Spool, most: int, is_held: bool) -> None:
    """They are read a page at a time."""
    spool.put("/a", "m", record(1))
    spool.put("/a", "n", record(2))
    assert is_held is (spool.of("/a", most) is not None)


def test_what_is_closed_is_forgotten(spool: Spool) -> None:
    """And it begins anew."""
    spool.put("/a", "m", record(1))
    spool.close()
    assert (False, (False, None), []) == (bool(spool), spool.find("/a", "m"), list(spool.rows()))
    spool.put("/a", "m", record(2))
    assert (True, record(2)) == spool.find("/a", "m")


def test_what_is_held_comes_after_what_was_spilled(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that who writes the rows in their order ends with the newest."""
    monkeypatch.setattr(module, "_MAX_HELD", 2)
    spool = Spool()
    for number in range(5):
        spool.put("/a", "m" if number % 2 else "n", record(number))
    rows = [found for _, name, found in spool.rows() if name == b"n"]
    assert (record(4), {"m": record(3), "n": record(4)}) == (rows[-1], spool.of("/a", 9))
    spool.close()


def test_a_file_that_may_not_grow_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    """What doesn't fit is looked at again next time."""
    monkeypatch.setattr(module, "_MAX_HELD", 100)
    spool = Spool(most=8192)
    for number in range(200):
        spool.put("/a", f"n{number}" * 50, record(number))
    assert (False, []) == (bool(spool), list(spool.rows()))
