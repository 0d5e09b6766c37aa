"""A push: all that may be sent and isn't there, sealed, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pyctrigger.errors import UsageError
from pyctrigger.store import push as pushing
from pyctrigger.store.container import NO_ORIGIN, Packing, StoredCode, pack, unpack
from pyctrigger.store.local import open_local
from pyctrigger.store.push import Push, Pushed
from pyctrigger.store.seal import SealFlaw, Seals
from pyctrigger.store.signing import SigningKey
from pyctrigger.zstd import zstd_module
from unit.store.shelves import PEM, PUBLIC, code, fill_store, key_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

SIGNER = SigningKey.from_pem(PEM)


class Shelf:
    """A store of other machines, in memory."""

    def __init__(self, fails_after: int = 1 << 30) -> None:
        self.kept: dict[bytes, bytes] = {}
        self.requests: list[int] = []
        self.asked: list[int] = []
        self._left = fails_after

    def has(self, keys: Sequence[bytes]) -> list[bool]:
        self.asked.append(len(keys))
        return [key in self.kept for key in keys]

    def put(self, pairs: Sequence[tuple[bytes, bytes]]) -> None:
        if not self._left:
            raise UsageError("it is full", hint="make room")
        self._left -= 1
        self.requests.append(len(pairs))
        self.kept.update(pairs)

    def opened(self) -> list[StoredCode]:
        """What a reader makes of all of it, by key."""
        seals, found = Seals([PUBLIC]), []
        for key, sealed in sorted(self.kept.items()):
            opened = seals.open(sealed, key)
            assert not isinstance(opened, SealFlaw)
            entry = unpack(opened[0], key)
            assert isinstance(entry, StoredCode)
            assert PUBLIC == opened[1]
            found.append(entry)
        return found


def own(numbers: Iterable[int], origin: bytes, size: int = 100) -> list[StoredCode]:
    return [code(number, size)._replace(origin=origin) for number in numbers]


def fill(path: Path, numbers: Iterable[int], origin: bytes | None = None, size: int = 100) -> list[StoredCode]:
    """Put code into a store, by default of its own installation. Returns it by key."""
    with open_local(str(path), create=True) as store:
        codes = own(numbers, store.origin if origin is None else origin, size)
        store.put(codes)
    return sorted(codes)


def push(path: Path, shelf: Shelf, *, again: bool = False) -> Pushed:
    with open_local(str(path), writes=False) as store:
        return Push(store, shelf, SIGNER, again=again).run()


def numbers(pushed: Pushed) -> tuple[int, int]:
    """What was sent, and what was there."""
    return pushed.sent, pushed.present


def test_all_of_ours_is_sent_once(tmp_path: Path) -> None:
    """Signed and packed; what is there isn't sent again, unless somebody wants it, as after a change of keys."""
    codes, shelf = fill(tmp_path / "store", range(20), size=1000), Shelf()
    first = push(tmp_path / "store", shelf)
    assert codes == shelf.opened()
    assert Pushed(20, sum(map(len, shelf.kept.values()))) == first
    assert Pushed(present=20) == push(tmp_path / "store", shelf)
    added = fill(tmp_path / "store", range(15, 25), size=1000)
    assert (5, 20) == numbers(push(tmp_path / "store", shelf))
    assert sorted({*codes, *added}) == shelf.opened()
    assert (25, 0) == numbers(push(tmp_path / "store", shelf, again=True))


def test_what_others_compiled_is_withheld(tmp_path: Path) -> None:
    """Of another installation, as from another store; and what not everybody may read, which has no origin."""
    fill(tmp_path / "store", range(5), origin=b"of another store")
    fill(tmp_path / "store", range(5, 8), origin=NO_ORIGIN)
    codes, shelf = fill(tmp_path / "store", range(8, 10)), Shelf()
    pushed = push(tmp_path / "store", shelf)
    assert (2, 8) == (pushed.sent, pushed.withheld)
    assert codes == shelf.opened()


def test_a_store_without_an_origin_sends_nothing(tmp_path: Path) -> None:
    """Where it can't keep one, all that it has is as if from nowhere."""
    fill(tmp_path / "store", range(3), origin=NO_ORIGIN)
    (tmp_path / "store/origin").unlink(missing_ok=True)
    (tmp_path / "store/origin").mkdir()
    shelf = Shelf()
    assert Pushed(withheld=3) == push(tmp_path / "store", shelf)
    assert {} == shelf.kept


def test_what_is_damaged_is_not_sent(tmp_path: Path) -> None:
    """Nobody vouches for it; the rest is sent."""
    fill(tmp_path / "store", range(10))
    (data,) = (tmp_path / "store").glob("*.data")
    content = bytearray(data.read_bytes())
    content[-40] ^= 1
    data.write_bytes(content)
    shelf = Shelf()
    pushed = push(tmp_path / "store", shelf)
    assert (9, 1) == (pushed.sent, pushed.damaged)
    assert 9 == len(shelf.opened())


def test_code_of_several_segments_is_sent_once(tmp_path: Path) -> None:
    """Runs that didn't see each other may have kept the same."""
    for some in (range(6), range(3, 9), range(12)):
        store = tmp_path / "store"
        moved = tmp_path / "moved"
        moved.mkdir(exist_ok=True)
        for path in store.glob("*.*") if store.exists() else ():
            path.rename(moved / path.name)
        fill(store, some)
    for path in moved.iterdir():
        path.rename(store / path.name)
    shelf = Shelf()
    assert Pushed(12, sum(map(len, shelf.kept.values()))) != push(store, shelf)
    assert (12, [12]) == (len(shelf.opened()), shelf.requests)


def test_memory_and_requests_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A push is sent when it is large enough, by number or by size, and each of its requests, too."""
    fill(tmp_path / "store", range(50), size=10_000)
    for name, most in (("_MAX_CODES", 20), ("_READ", 3), ("_MAX_PAIRS", 7)):
        monkeypatch.setattr(pushing, name, most)
    shelf = Shelf()
    assert 50 == push(tmp_path / "store", shelf).sent
    assert [7, 7, 6, 7, 7, 6, 7, 3] == shelf.requests
    assert 3 == len({sealed[104:136] for sealed in shelf.kept.values()})
    assert [20, 20, 10] == shelf.asked
    monkeypatch.setattr(pushing, "_MAX_BYTES", 100_000)
    monkeypatch.setattr(pushing, "_MAX_REQUEST", 30_000)
    shelf = Shelf()
    assert 50 == push(tmp_path / "store", shelf).sent
    assert [2] * 25 == shelf.requests
    assert 5 == len({sealed[104:136] for sealed in shelf.kept.values()})  # each a push of 100 kB
    assert 50 == len(shelf.opened())


def test_what_was_sent_before_an_error_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next push sends the rest."""
    fill(tmp_path / "store", range(30))
    monkeypatch.setattr(pushing, "_MAX_PAIRS", 10)
    shelf = Shelf(fails_after=2)
    with open_local(str(tmp_path / "store"), writes=False) as store:
        begun = Push(store, shelf, SIGNER)
        with pytest.raises(UsageError, match="it is full"):
            begun.run()
        assert 20 == begun.pushed.sent == len(shelf.opened())
    shelf._left = 2
    assert (10, 20) == numbers(push(tmp_path / "store", shelf))


def test_containers_are_packed_if_there_is_something_to_pack(tmp_path: Path) -> None:
    """By zstd where this Python has it; a twin has no code."""
    with open_local(str(tmp_path / "store"), create=True) as store:
        twin = StoredCode(key_of(-1), None, 1, 7, store.origin)
        store.put([*own([1], store.origin, 2000), twin])
    shelf = Shelf()
    push(tmp_path / "store", shelf)
    assert shelf.kept[twin.key].endswith(pack(twin))
    packed = pack(own([1], twin.origin, 2000)[0], Packing.ZSTD if zstd_module() else Packing.ZLIB)
    assert shelf.kept[key_of(1)].endswith(packed)
    assert 2 == len(shelf.opened())


def test_an_empty_store_sends_nothing(tmp_path: Path) -> None:
    fill_store(tmp_path / "store", [])
    shelf = Shelf()
    assert Pushed() == push(tmp_path / "store", shelf)
    assert [] == shelf.requests
