"""A local store that many runs fill, read and compact at the same time, each killed at any moment."""

from __future__ import annotations

import os
import random
import signal
import time
from typing import TYPE_CHECKING

from pyctrigger.store import local
from pyctrigger.store.compaction import StoreLimits, compact
from pyctrigger.store.local import open_local
from unit.store.shelves import code, files, fill_store, found_in, reading

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

#: Bytes that the store may have: less than what is put into it, so that something is always removed.
BOUND = 300_000
NUMBERS = 2000
RUNS = 6
KILLS = 150


def work(place: Path, seed: int) -> None:
    """What a run does, for ever: look for some code, and keep what wasn't there. Any wrong code ends it."""
    draw = random.Random(seed)
    while True:
        with open_local(str(place), create=True, max_size=BOUND) as store:
            for _ in range(draw.randrange(40)):
                numbers = draw.sample(range(NUMBERS), 20)
                found = reading(store, numbers)
                store.put(code(number) for number, each in zip(numbers, found) if each is None)
            assert not store.use.flaws, store.use


def start(place: Path, seed: int) -> int:
    """A run in a process of its own. Returns its number."""
    child = os.fork()
    if not child:
        try:
            work(place, seed)
        finally:
            os._exit(9)
    return child


def test_runs_that_are_killed_leave_a_store_that_is_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six at a time, a hundred and fifty killed: no wrong code, no damage, and nothing is left that isn't used."""
    for name in ("_LOOK_AGAIN", "_PUBLISH_AGAIN", "_PAUSE"):
        monkeypatch.setattr(local, name, 0.001)
    place, draw = tmp_path / "store", random.Random(0)
    running = {start(place, seed) for seed in range(RUNS)}
    largest = 0
    try:
        for kill in range(KILLS):
            time.sleep(draw.random() * 0.04)
            assert (0, 0) == os.waitpid(-1, os.WNOHANG), "a run has found something wrong"
            largest = max(largest, size_of(place))
            doomed = draw.choice(sorted(running))
            os.kill(doomed, signal.SIGKILL)
            os.waitpid(doomed, 0)
            running.remove(doomed)
            running.add(start(place, RUNS + kill))
    finally:
        for child in running:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)

    assert largest < BOUND * 3  # what six are writing, and what one is copying
    numbers = [number for number in found_in(place, range(NUMBERS)) if number is not None]
    assert len(numbers) > 100
    directory = os.open(place, os.O_RDONLY)
    compacted = compact(directory, StoreLimits(BOUND, thorough=True), 0o600)
    os.close(directory)
    assert (0, True) == (compacted.damaged, compacted.has_room)
    assert {".data", ".index", ".used"} == {os.path.splitext(name)[1] for name in files(place)}
    assert 3 == len(files(place))
    left = {number for number in found_in(place, range(NUMBERS)) if number is not None}
    assert len(left) > 100
    fill_store(place, range(NUMBERS, NUMBERS + 10), max_size=BOUND)
    assert [NUMBERS] == found_in(place, [NUMBERS])


def size_of(place: Path) -> int:
    """The bytes of a directory that others work in."""
    total = 0
    for path in place.iterdir() if place.exists() else ():
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total


def test_many_runs_at_once_seldom_compile_the_same(tmp_path: Path) -> None:
    """Where each begins elsewhere, and sees within a moment what the others have kept."""
    runs, sources = 8, 1500
    place, results = tmp_path / "store", os.pipe()
    open_local(str(place), create=True).close()
    children = []
    for seed in range(runs):
        child = os.fork()
        if not child:
            try:
                order = list(range(sources))
                random.Random(seed).shuffle(order)
                with open_local(str(place)) as store:
                    for number in order:
                        if reading(store, [number]) == [None]:
                            time.sleep(0.01)  # what compiling takes
                            store.put([code(number)])
                    os.write(results[1], b"%8d" % store.use.kept)
                os._exit(0)
            finally:
                os._exit(9)
        children.append(child)
    assert [0] * runs == [os.waitpid(child, 0)[1] for child in children]
    kept = [int(os.read(results[0], 8)) for _ in range(runs)]
    for end in results:
        os.close(end)
    assert [*range(sources)] == found_in(place, range(sources))
    assert sum(kept) < runs / 2 * sources, kept  # on a quiet machine 1.1 for each source; the benchmark says it
