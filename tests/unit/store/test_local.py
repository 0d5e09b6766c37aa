"""The local store: what one run keeps others find, if they may trust the directory, and whatever happens to it."""

from __future__ import annotations

import errno
import os
import shutil
import threading
import time
from typing import TYPE_CHECKING

import pytest

from acting import ANN, name_ann, with_rights_of
from own_mount import Mount
from pyctrigger.errors import RefusedError
from pyctrigger.store import local, segments
from pyctrigger.store.compaction import lock
from pyctrigger.store.container import Flaw, StoredCode
from pyctrigger.store.local import LocalStore, open_local
from unit.interpreter.made_up import open_way_to
from unit.store.shelves import ROOM, code, files, fill_store, found_in, key_of, reading, right

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where a store may be."""
    return tmp_path / "store"


def test_what_one_run_keeps_the_next_one_finds(place: Path) -> None:
    """Code and twins; what isn't there is None."""
    twin = StoredCode(key_of(-1), None, 1, 7, b"origin of a test")
    with open_local(str(place), create=True) as store:
        store.put([code(1), code(2), twin])
        assert (3, None) == (store.use.kept, store.use.notice)
    assert 0o700 == place.stat().st_mode & 0o777
    with open_local(str(place)) as store:
        assert [code(2), None, twin, code(1)] == store.get([key_of(2), key_of(3), key_of(-1), key_of(1)])
        assert (3, 1, {}) == (store.use.hits, store.use.absent, store.use.flaws)


def test_a_run_finds_its_own_code_at_once(place: Path) -> None:
    """Before anybody else can: it has not been published yet. The same code is kept once."""
    with open_local(str(place), create=True) as store:
        store.put([code(1), code(1)])
        store.put([code(1)])
        assert ([1, None], 1) == (reading(store, [1, 2]), store.use.kept)
        assert [] == files(place, ".index")


def test_runs_see_each_others_code_while_they_run(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a moment. A reader doesn't look at the directory for each miss."""
    monkeypatch.setattr(local, "_PUBLISH_AGAIN", 0)
    monkeypatch.setattr(local, "_PAUSE", 0)
    with open_local(str(place), create=True) as one, open_local(str(place)) as other:
        assert [None] == reading(other, [1])
        one.put([code(1)])
        assert [None] == reading(other, [1])
        time.sleep(local._LOOK_AGAIN)
        assert [1] == reading(other, [1])
        one.put([code(2)])
        other.put([code(3)])
        time.sleep(local._LOOK_AGAIN)
        assert ([1, 2, 3], [1, 2, 3]) == (reading(one, [1, 2, 3]), reading(other, [1, 2, 3]))
    assert [1, 2, 3] == found_in(place, [1, 2, 3])


def test_what_waits_is_published_although_nothing_more_comes(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that finds all that it asks for has nothing to put."""
    monkeypatch.setattr(local, "_PUBLISH_AGAIN", 0.02)
    with open_local(str(place), create=True) as one:
        one.put([code(1)])
        assert [None] == found_in(place, [1])
        time.sleep(0.02)
        assert [1] == reading(one, [1])
        assert [1] == found_in(place, [1])


#: Who else has put something lately: what the names of their segments begin with, if they aren't those of this run.
OTHERS: dict[str, tuple[list[str], bool]] = {
    "nobody": ([], False),
    "another lane": (["0000000a"], False),
    "another run": (["0000000a", "0000000b"], True),
}


@pytest.mark.parametrize("who", OTHERS)
def test_a_store_knows_whether_other_runs_fill_it(place: Path, monkeypatch: pytest.MonkeyPatch, who: str) -> None:
    """At first it can't know, and after a while without them it has forgotten."""
    for name, value in {"_LOOK_AGAIN": 0.0, "_PUBLISH_AGAIN": 0.0, "_UNKNOWN": 0.05, "_COMPANY": 0.3}.items():
        monkeypatch.setattr(local, name, value)
    runs, expected = OTHERS[who]
    with open_local(str(place), create=True, run="0000000a") as store:
        assert store.has_company
        time.sleep(0.05)
        for run in runs:
            with open_local(str(place), run=run) as other:
                other.put([code(1)])
                assert list(place.glob(f"{run}*.data"))
        assert [None] == reading(store, [2])
        assert expected == store.has_company
        time.sleep(0.3)
        assert not store.has_company


def test_what_is_found_is_bounded(place: Path) -> None:
    """By what its source allows."""
    fill_store(place, [1], size=3000)
    with open_local(str(place)) as store:
        assert [Flaw.OVERSIZED] == store.get([key_of(1)], 2999)
        assert [code(1, 3000)] == store.get([key_of(1)], 3005)


#: What becomes of the file that has the containers 0 to 9, and what is found then for the first of them.
DAMAGE: dict[str, tuple[Callable[[Path], object], Flaw | None]] = {
    "a flipped byte": (lambda data: flip(data, 100), Flaw.FLIPPED),
    "another length": (lambda data: flip(data, 62), Flaw.OVERSIZED),
    "another format": (lambda data: flip(data, 0), Flaw.UNKNOWN_FORMAT),
    "cut": (lambda data: os.truncate(data, 100), Flaw.TRUNCATED),
    "empty": (lambda data: os.truncate(data, 0), Flaw.TRUNCATED),
    "zeros after a power failure": (lambda data: data.write_bytes(bytes(data.stat().st_size)), Flaw.OVERSIZED),
    "gone": (lambda data: data.unlink(), None),
    "another one": (lambda data: data.write_bytes(data.read_bytes()[203:]), Flaw.OTHER_KEY),
    "written by others": (lambda data: data.chmod(0o666), Flaw.TRUNCATED),
    "an index of others": (lambda data: data.with_suffix(".index").chmod(0o666), None),
    "no index": (lambda data: data.with_suffix(".index").write_bytes(b"nonsense"), None),
}


def flip(path: Path, at: int) -> None:
    """Change one byte of a file."""
    content = bytearray(path.read_bytes())
    content[at] ^= 0x55
    path.write_bytes(content)


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_a_miss(place: Path, kind: str) -> None:
    """With a reason; a second copy of the same code makes up for it, whichever comes first."""
    fill_store(place, range(10))
    (data,) = place.glob("*.data")
    assert 2030 == data.stat().st_size
    damage, flaw = DAMAGE[kind]
    damage(data)
    with open_local(str(place), writes=False) as store:
        assert [flaw] == reading(store, [0])
        assert (0, flaw is None, flaw is not None) == (store.use.hits, store.use.absent, sum(store.use.flaws.values()))
    fill_store(place, [0])
    assert [0] == found_in(place, [0])


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777, 0o1777, 0o770])
def test_a_directory_that_others_can_write_is_refused(place: Path, mode: int) -> None:
    """What is in it could be anybody's code."""
    place.mkdir()
    place.chmod(mode)
    with pytest.raises(RefusedError, match=r"written by others|others may write") as caught:
        open_local(str(place))
    assert f"chmod go-w {place}" == caught.value.hint


@pytest.mark.usefixtures("as_root")
def test_root_reads_no_store_of_others(place: Path) -> None:
    """Neither one that belongs to them, nor one in a place of theirs, nor one that a list lets them write."""
    fill_store(place, [1])
    os.chown(place, ANN, -1)
    with pytest.raises(RefusedError, match=f"account {ANN} owns a part of its path"):
        open_local(str(place))
    os.chown(place, 0, -1)
    os.chown(place.parent, ANN, -1)
    with pytest.raises(RefusedError, match=f"account {ANN} owns a part of its path"):
        open_local(str(place))
    os.chown(place.parent, 0, -1)
    assert [1] == found_in(place, [1])
    name_ann(place, 7)
    with pytest.raises(RefusedError, match="others may write"):
        open_local(str(place))


@pytest.mark.usefixtures("as_root")
def test_root_makes_no_store_in_a_place_of_others(place: Path) -> None:
    """Nothing is made there, either."""
    os.chown(place.parent, ANN, -1)
    with pytest.raises(RefusedError, match=f"account {ANN} owns a part of its path"):
        open_local(str(place), create=True)
    assert not place.exists()


def test_a_link_is_not_followed(place: Path) -> None:
    """Whoever made it may lead it elsewhere the next time."""
    fill_store(place, [1])
    (place.parent / "link").symlink_to(place)
    with pytest.raises(OSError, match=r"Too many levels of symbolic links|Not a directory"):
        open_local(str(place.parent / "link"))


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("mode", [0o755, 0o700])
def test_others_read_roots_store_if_they_may(place: Path, mode: int) -> None:
    """They write nothing into it, and mark nothing; another account's is refused."""
    place.mkdir()
    place.chmod(mode)
    fill_store(place, range(3))
    open_way_to(place.parent)
    # Root's own use of it is counted.
    before = {path: path.stat().st_mtime_ns for path in place.iterdir() if path.name != "counts.json"}
    with with_rights_of(ANN):
        if mode == 0o700:
            with pytest.raises(PermissionError):
                open_local(str(place))
            return
        with open_local(str(place)) as store:
            assert ([0, 1, 2, None], False) == (reading(store, range(4)), store.is_private)
            store.put([code(3)])
            assert (0, None) == (store.use.kept, store.use.notice)
        with _RightsOfRoot(), open_local(str(place)) as store:
            store.put([code(3)])
        assert [3] == found_in(place, [3])
    assert before.items() <= {path: path.stat().st_mtime_ns for path in place.iterdir() if path in before}.items()
    os.chown(place, ANN + 1, -1)
    with with_rights_of(ANN), pytest.raises(RefusedError, match=f"belongs to account {ANN + 1}"):
        open_local(str(place))


class _RightsOfRoot:
    """Meanwhile this process is root again."""

    def __enter__(self) -> None:
        os.seteuid(0)

    def __exit__(self, *_: object) -> None:
        os.seteuid(ANN)


def test_what_only_its_owner_can_enter_stays_so(place: Path) -> None:
    """Also if somebody opens the directory later: what was kept there until then is for nobody else."""
    fill_store(place, [1])
    place.chmod(0o755)
    fill_store(place, [2])
    modes = {path.stat().st_mode & 0o777 for path in place.glob("*.data")}
    assert {0o600, 0o644} == modes
    with open_local(str(place)) as store:
        assert not store.is_private


def test_a_read_only_mount_is_read(place: Path) -> None:
    """A jail or a build chroot has one; nothing is said about what it doesn't keep."""
    fill_store(place, range(3))
    mount = Mount(place)
    mount.turn(read_only=True)
    store = LocalStore(os.dup(mount.directory), writes=True, max_size=ROOM)
    assert [0, 1, 2, None] == reading(store, range(4))
    store.put([code(3)])
    assert (0, None) == (store.use.kept, store.use.notice)
    store.close()
    mount.close()
    assert [None] == found_in(place, [3])


def test_a_full_disk_costs_what_is_not_kept(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line says why; what is there is found as before."""
    fill_store(place, range(3))

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with open_local(str(place)) as store:
        store.put([code(3)])
        monkeypatch.setattr(os, "write", full)
        store.put(map(code, range(4, 2000)))
        assert [0, 1, 2] == reading(store, range(3))
        assert "the store keeps nothing more: No space left on device" == store.use.notice
        store.put([code(2000)])
    monkeypatch.undo()
    assert [0, None, None] == found_in(place, [0, 3, 2000])
    fill_store(place, [3])
    assert [3] == found_in(place, [3])


def test_a_directory_that_vanishes_is_no_error(place: Path) -> None:
    """While a run reads and writes it."""
    fill_store(place, range(3))
    store = open_local(str(place))
    assert [0] == reading(store, [0])
    shutil.rmtree(place)
    time.sleep(local._LOOK_AGAIN)
    assert [0, None] == reading(store, [0, 9])
    store.put([code(9)])
    assert "the store keeps nothing more: No such file or directory" == store.use.notice
    store.close()


def test_use_is_kept_once_an_hour(place: Path) -> None:
    """Not with each run, and for what was read only."""
    fill_store(place, range(4))
    (index,) = files(place, ".index")
    os.utime(place / index, (3600, 3600))
    for numbers, written in (([1], True), ([1], False), ([1, 3], True), ([], False)):
        before = files(place, ".used") and (place / files(place, ".used")[0]).stat().st_ino
        with open_local(str(place)) as store:
            assert numbers == reading(store, numbers)
        after = files(place, ".used") and (place / files(place, ".used")[0]).stat().st_ino
        assert written is (before != after)
    directory = os.open(place, os.O_RDONLY)
    segment = segments.Segment(index.partition(".")[0], directory)
    used = {record.key: hour for record, hour in zip(segment.records(), segment.hours())}
    segment.close()
    os.close(directory)
    assert {key_of(1), key_of(3)} == {key for key, hour in used.items() if hour > 1}
    assert {1} == {hour for key, hour in used.items() if key in (key_of(0), key_of(2))}


def test_a_store_says_what_it_has_and_was_asked(place: Path) -> None:
    """In all runs together; what can't be read counts for nothing."""
    fill_store(place, range(10))
    for _ in range(2):
        with open_local(str(place)) as store:
            assert [0, 1, None] == reading(store, [0, 1, 10])
            assert Flaw.OVERSIZED in store.get([key_of(2)], 10)
    with open_local(str(place)) as store:
        contents = store.describe()
    assert (10, {"hits": 4, "absent": 2, "kept": 10, "oversized": 2}) == (contents.codes, contents.counts)
    assert sum(path.stat().st_size for path in place.iterdir() if path.stem not in ("counts", "lock")) == contents.size
    for damage in (b"", b"[]", b"{", b"[" * 5000, b'{"hits": "x", "kept": 7, "more": 1}'):
        (place / "counts.json").write_bytes(damage)
        with open_local(str(place)) as store:
            assert ({"kept": 7} if b"kept" in damage else {}) == store.describe().counts


#: How long another one has the lock when a run ends, how long that waits, and whether its counts are kept.
HELD = [(0.05, 5.0, True), (5.0, 0.05, False)]


@pytest.mark.parametrize(("seconds", "patience", "is_kept"), HELD)
def test_counts_wait_a_moment_for_those_of_others(
    place: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, patience: float, is_kept: bool
) -> None:
    """Lanes end at the same time; nobody waits for long."""
    assert 0.05 < local._END_PATIENCE < 1
    monkeypatch.setattr(local, "_END_PATIENCE", patience)
    fill_store(place, range(3))
    directory = os.open(place, os.O_RDONLY)
    store = open_local(str(place))
    assert [0, 1] == reading(store, [0, 1])
    has_lock, may_go = threading.Event(), threading.Event()

    def hold() -> None:
        with lock(directory) as is_locked:
            assert is_locked
            has_lock.set()
            may_go.wait(seconds)

    holder = threading.Thread(target=hold)
    holder.start()
    has_lock.wait()
    begun = time.monotonic()
    store.close()
    taken = time.monotonic() - begun
    may_go.set()
    holder.join()
    os.close(directory)
    with open_local(str(place)) as again:
        assert (2 if is_kept else 0) == again.describe().counts["hits"]
    assert taken < 4


def test_everything_is_checked_on_request(place: Path) -> None:
    """What is damaged goes; what is right stays."""
    fill_store(place, range(10))
    (data,) = place.glob("*.data")
    flip(data, 100)
    with open_local(str(place)) as store:
        compacted = store.gc(1.0)
        assert (1, 0) == (compacted.damaged, compacted.removed)
        assert 9 == store.describe().codes
    assert [None, *range(1, 10)] == found_in(place, range(10))


def test_what_a_fork_finds_is_right(place: Path) -> None:
    """A lane opens its own store."""
    fill_store(place, range(100))
    child = os.fork()
    if not child:
        try:
            with open_local(str(place)) as store:
                store.put([code(100)])
                os._exit(0 if reading(store, range(101)) == [*range(101)] else 1)
        finally:
            os._exit(2)
    assert 0 == os.waitpid(child, 0)[1]
    assert [5, None, 7] == [right(each, number) for number, each in zip((5, -5, 7), _get(place, (5, -5, 7)))]


def _get(place: Path, numbers: tuple[int, ...]) -> list[StoredCode | Flaw | None]:
    with open_local(str(place)) as store:
        return store.get([key_of(number) for number in numbers])
