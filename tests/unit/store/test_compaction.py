"""Keeping a store small: what was used least recently goes, small segments are merged, killed runs leave nothing."""

from __future__ import annotations

import os
import random
import time
from array import array
from typing import TYPE_CHECKING

import pytest

from pyctrigger.store import compaction, segments
from pyctrigger.store.compaction import Compacted, StoreLimits, compact, lock, measure
from pyctrigger.store.local import open_local
from pyctrigger.store.segments import Segment, SegmentWriter
from unit.store.shelves import ROOM, code, files, fill_store, found_in, key_of, reading

if TYPE_CHECKING:
    from pathlib import Path

NOW = int(time.time()) // 3600
#: Bytes of a container with code of a hundred bytes, and of index and use for it.
EACH = 98 + 105 + 44


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where a store may be."""
    return tmp_path / "store"


def shrink(place: Path, limits: StoreLimits) -> Compacted:
    """Compact a store."""
    directory = os.open(place, os.O_RDONLY)
    try:
        return compact(directory, limits, 0o600)
    finally:
        os.close(directory)


def use_at(place: Path, name: str, hours: dict[int, int]) -> None:
    """Say when the code of some numbers was used; all else in that segment never was."""
    directory = os.open(place, os.O_RDONLY)
    segment = Segment(name, directory)
    keys = {key_of(number): hour for number, hour in hours.items()}
    segment.write_hours(array("I", [keys.get(record.key, 1) for record in segment.records()]), 0o600)
    segment.close()
    os.close(directory)


def names(place: Path) -> list[str]:
    """The segments of a store."""
    return [name.partition(".")[0] for name in files(place, ".index")]


def test_what_was_used_least_recently_goes(place: Path) -> None:
    """Over all segments; what stays has its hour of use as before, so the next time others go."""
    for begin in (0, 100):
        fill_store(place, range(begin, begin + 100))
    order = list(range(200))
    random.Random(1).shuffle(order)
    one, other = names(place)
    used = {number: NOW - 300 + age for age, number in enumerate(order)}
    for name in (one, other):
        use_at(place, name, used)
    for left in (120, 60):
        limit = int(left * EACH / 0.8)
        compacted = shrink(place, StoreLimits(limit))
        assert compacted.has_room
        assert compacted.size <= limit
        kept = [number for number in order if found_in(place, [number]) == [number]]
        assert order[-len(kept) :] == kept
        assert left * 0.9 <= len(kept) <= left
    assert 0 == compacted.damaged


def test_of_one_hour_the_newest_segments_stay(place: Path) -> None:
    """Or a store that was filled and is full within an hour would lose all, or nothing."""
    seen: set[str] = set()
    for begin in range(0, 500, 100):
        fill_store(place, range(begin, begin + 100))
        (index,) = {*names(place)} - seen
        seen.add(index)
        os.utime(place / f"{index}.index", (NOW * 3600, NOW * 3600 + begin))
    shrink(place, StoreLimits(250 * EACH))
    kept = [number for number in range(500) if found_in(place, [number]) == [number]]
    # Two segments fit into what is left, at 0.8 of the bound.
    assert {*range(400, 500)} < {*kept} <= {*range(300, 500)}
    assert 190 <= len(kept) <= 200


def test_a_run_keeps_the_store_within_its_bound(place: Path) -> None:
    """Each leaves it below, and finds what it has just kept."""
    limit = 300 * EACH
    for begin in range(0, 3000, 100):
        fill_store(place, range(begin, begin + 100), max_size=limit)
        assert sum((place / name).stat().st_size for name in files(place)) <= limit
        assert [begin + 99] == found_in(place, [begin + 99])


def test_one_run_that_keeps_more_than_fits(place: Path) -> None:
    """Makes room while it goes on, and is never far over the bound."""
    limit, most = 400 * EACH, 0
    with open_local(str(place), create=True, max_size=limit) as store:
        for begin in range(0, 5000, 10):
            store._next_publication = 0
            store.put(map(code, range(begin, begin + 10)))
            most = max(most, measure(store._directory))
        assert (5000, None) == (store.use.kept, store.use.notice)
    assert most < limit * 1.3
    assert [4999] == found_in(place, [4999])


def test_small_segments_become_one(place: Path) -> None:
    """Once they are many; nothing is lost, and a reader who has them open finds everything."""
    for number in range(7):
        fill_store(place, [number])
    with open_local(str(place), writes=False) as reader:
        assert [0, 1] == reading(reader, [0, 1])
        assert 7 == len(names(place))
        fill_store(place, [7])
        assert 1 == len(names(place))
        assert [*range(7)] == reading(reader, range(7))
        time.sleep(0.3)
        assert [7, None, 3] == reading(reader, [7, 8, 3])
    assert [*range(8), None] == found_in(place, range(9))
    assert [f"{names(place)[0]}{suffix}" for suffix in (".data", ".index", ".used")] == files(place)


def test_full_segments_are_not_copied_again(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are: merging them would only give as many."""
    for module in (compaction, segments):
        monkeypatch.setattr(module, "MAX_RECORDS", 20)
    fill_store(place, range(400))
    before = names(place)
    assert 20 == len(before)
    fill_store(place, range(400, 405))
    assert {*before} < {*names(place)}
    assert [*range(405)] == found_in(place, range(405))


def test_what_two_runs_have_kept_is_kept_once(place: Path) -> None:
    """They didn't know of each other."""
    with open_local(str(place), create=True) as one, open_local(str(place)) as other:
        one.put(map(code, range(50)))
        other.put(map(code, range(25, 75)))
    shrink(place, StoreLimits(ROOM, thorough=True))
    assert (1, [*range(75)]) == (len(names(place)), found_in(place, range(75)))
    assert 75 * EACH * 0.9 <= measure_of(place) <= 75 * EACH * 1.1


def measure_of(place: Path) -> int:
    """The bytes of a store."""
    directory = os.open(place, os.O_RDONLY)
    try:
        return measure(directory)
    finally:
        os.close(directory)


def test_damage_is_dropped(place: Path) -> None:
    """When all is checked."""
    fill_store(place, range(20))
    (data,) = place.glob("*.data")
    content = bytearray(data.read_bytes())
    for number in (3, 7):
        content[203 * number + 150] ^= 1
    data.write_bytes(content)
    assert 0 == shrink(place, StoreLimits(ROOM)).damaged
    assert 2 == shrink(place, StoreLimits(ROOM, thorough=True)).damaged
    assert [number if number not in (3, 7) else None for number in range(20)] == found_in(place, range(20))


def test_what_killed_runs_leave_is_swept(place: Path) -> None:
    """Without an index it is nothing; with one it is kept. A running writer's files are left alone."""
    fill_store(place, [1])
    directory = os.open(place, os.O_RDONLY)
    live, killed, unpublished = (SegmentWriter(directory, 0o600) for _ in range(3))
    for number, writer in enumerate((live, killed, unpublished)):
        writer.add(key_of(number), b"x")
    killed.publish()
    for writer in (killed, unpublished):
        os.close(writer._descriptor)
    (place / f"{killed.name}.index.tmp").touch()
    (place / f"{'0' * 16}.used").touch()
    (place / f"{'1' * 16}.index").write_bytes(b"no index")
    (place / "README").touch()
    shrink(place, StoreLimits(ROOM))
    left = {name.partition(".")[0] for name in files(place)}
    assert {live.name, killed.name, "README"} < left
    assert not {unpublished.name, "0" * 16, "1" * 16} & left
    live.publish()
    live.close()
    os.close(directory)


def test_nobody_waits_for_the_lock(place: Path) -> None:
    """Unless he says how long."""
    fill_store(place, range(8))
    directory = os.open(place, os.O_RDONLY)
    with lock(directory) as first, lock(directory) as second:
        assert (True, False) == (first, second)
        begun = time.monotonic()
        assert Compacted(measure(directory), False, is_done=False) == compact(directory, StoreLimits(10), 0o600)
        assert Compacted(measure(directory), True, is_done=False) == compact(
            directory, StoreLimits(ROOM, patience=0.2), 0o600
        )
        assert 0.2 <= time.monotonic() - begun < 5
    os.close(directory)
    assert [0] == found_in(place, [0])


def test_a_segment_that_is_too_large_for_its_bound_goes(place: Path) -> None:
    """Also if it is the only one; then nothing is left but what fits."""
    fill_store(place, range(100), size=10_000)
    compacted = shrink(place, StoreLimits(50_000))
    assert compacted.has_room
    assert 96 <= compacted.removed < 100


@pytest.mark.parametrize("counts", [(8,), (128,), (255, 255), (100, 200), (1,) * 9])
def test_what_just_fits_still_fits_once_it_was_copied(place: Path, counts: tuple[int, ...]) -> None:
    """A copy has the hours of use, which what it was made from may not have, and another fanout."""
    for number, count in enumerate(counts):
        fill_store(place, range(1000 * number, 1000 * number + count))
    directory = os.open(place, os.O_RDONLY)
    limit = measure(directory)
    os.close(directory)
    compacted = shrink(place, StoreLimits(limit, thorough=True))
    assert compacted.has_room
    assert compacted.size > 0.7 * limit


def test_what_was_being_written_for_the_whole_store_goes(place: Path) -> None:
    """Its writer had the lock, which is ours now; what isn't a store's stays."""
    fill_store(place, range(8))
    for name in ("counts.json.tmp", "origin.tmp"):
        (place / name).write_text("half of i")
    (place / "README").touch()
    shrink(place, StoreLimits(ROOM))
    assert [] == [name for name in os.listdir(place) if name.endswith(".tmp")]
    assert (place / "README").exists()
    assert [0] == found_in(place, [0])
