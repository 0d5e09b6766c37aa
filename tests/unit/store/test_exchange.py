"""What a run asks of a store: a worker's answer at several levels, for a file of another name."""

from __future__ import annotations

import hashlib
import marshal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pyctrigger.interpreter.probe import probe
from pyctrigger.store.container import NAMES_ITSELF, NO_SUCH_TWIN, TOO_LONG, StoredCode
from pyctrigger.store.exchange import NOT_WRITTEN_AS_EXPECTED, Exchange
from pyctrigger.store.holes import cut, new_stand_in
from pyctrigger.store.key import CodeKeys
from pyctrigger.store.local import open_local
from pyctrigger.store.signing import public_text
from pyctrigger.workers import wire
from pyctrigger.workers.allowance import Limits
from pyctrigger.workers.pool import Pool
from pyctrigger.workers.worker import Job

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from interpreters import Interpreter
    from pyctrigger.store.container import Flaw
    from pyctrigger.store.local import LocalStore

KEYS = CodeKeys(["a test"])
ROOM = 1 << 20
DIGEST = hashlib.sha256(b"a source").digest()
PATH, OTHER = b"/usr/lib/module.py", "/h\u00e9/module.py".encode()
STAND_IN = new_stand_in()
BODY, TWIN, SAME = wire.BODY, wire.TWIN, wire.SAME


def body(name: bytes, number: int) -> bytes:
    """Code of a file."""
    text = name.decode("utf-8", "surrogateescape")
    return marshal.dumps(compile(f"def f(): return {number}", text, "exec"))


def answer(name: bytes, *states: tuple[int, int]) -> wire.Compiled:
    """A worker's answer: state and number of the code at each level."""
    levels = [
        wire.LevelAnswer(state, body(name, number) if state == BODY else b"", 10 * number) for state, number in states
    ]
    return wire.Compiled(bytes(8), tuple(levels))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalStore]:
    """An empty one."""
    with open_local(str(tmp_path / "store"), create=True) as opened:
        yield opened


#: Levels that were compiled, what the worker said of each, those that are asked for, and what is said then.
ANSWERS: list[tuple[Sequence[int], list[tuple[int, int]], Sequence[int], list[tuple[int, int]] | None]] = [
    ((0,), [(BODY, 1)], (0,), [(BODY, 1)]),
    ((0,), [(BODY, 1)], (1,), None),
    ((0,), [(BODY, 1)], (0, 1), None),
    ((0, 1, 2), [(BODY, 1), (TWIN, 0), (BODY, 2)], (0, 1, 2), [(BODY, 1), (TWIN, 0), (BODY, 2)]),
    ((0, 1, 2), [(BODY, 1), (TWIN, 0), (BODY, 2)], (1,), [(BODY, 1)]),
    ((0, 1, 2), [(BODY, 1), (TWIN, 0), (BODY, 2)], (1, 2), [(BODY, 1), (BODY, 2)]),
    ((0, 1, 2), [(BODY, 1), (TWIN, 0), (TWIN, 0)], (1, 2), [(BODY, 1), (TWIN, 0)]),
    ((0, 1, 2), [(BODY, 1), (BODY, 2), (TWIN, 0)], (0, 2), [(BODY, 1), (BODY, 2)]),
    ((0, 1, 2), [(BODY, 1), (BODY, 2), (TWIN, 0)], (2,), [(BODY, 2)]),
    ((0, 2), [(BODY, 1), (TWIN, 0)], (0, 2), [(BODY, 1), (TWIN, 0)]),
    ((0, 1), [(SAME, 0), (BODY, 2)], (1,), [(BODY, 2)]),
    ((0, 1), [(SAME, 0), (BODY, 2)], (0, 1), None),
]


@pytest.mark.parametrize(("compiled", "said", "wanted", "expected"), ANSWERS)
def test_levels_come_back_as_a_worker_gives_them(
    store: LocalStore,
    compiled: Sequence[int],
    said: list[tuple[int, int]],
    wanted: Sequence[int],
    expected: list[tuple[int, int]] | None,
) -> None:
    """Equal ones as twins of the one before, whichever are asked for; all of them, or none."""
    exchange = Exchange(store, KEYS)
    kept = exchange.keep(DIGEST, compiled, PATH, answer(exchange.name_for(PATH), *said))
    assert kept == answer(PATH, *said)
    found = Exchange(store, KEYS).find(DIGEST, wanted, OTHER, ROOM)
    if expected is None:
        assert found is None
        return
    assert found is not None
    assert [(each.state, bytes(each.body)) for each in answer(OTHER, *expected).levels] == [
        (each.state, bytes(each.body)) for each in found.answer.levels
    ]
    assert ("",) * len(wanted) == found.signers
    assert Exchange(store, KEYS).find(hashlib.sha256(b"another").digest(), wanted, OTHER, ROOM) is None
    assert Exchange(store, CodeKeys(["another"])).find(DIGEST, wanted, OTHER, ROOM) is None


def test_what_takes_no_code_gets_none(store: LocalStore, tmp_path: Path) -> None:
    """A worker compiles for the file itself then."""
    reader = open_local(str(tmp_path / "store"), writes=False)
    exchange = Exchange(reader, KEYS)
    said = answer(PATH, (BODY, 1))
    assert (PATH, said) == (exchange.name_for(PATH), exchange.keep(DIGEST, (0,), PATH, said))
    assert (store.use.kept, exchange.find(DIGEST, (0,), PATH, ROOM)) == (0, None)
    reader.close()


def test_a_store_that_takes_no_more_has_no_part_in_what_is_written(store: LocalStore) -> None:
    """What was asked for with the other name before comes with its own."""
    exchange = Exchange(store, KEYS)
    name = exchange.name_for(PATH)
    store._stop_writing("No space left on device")
    assert not store.is_writable
    assert answer(PATH, (BODY, 1)) == exchange.keep(DIGEST, (0,), PATH, answer(name, (BODY, 1)))
    assert exchange.name_for(OTHER) == name


def test_code_that_a_store_cannot_have(store: LocalStore) -> None:
    """Is asked of a worker again, and counted."""
    exchange = Exchange(store, KEYS)
    name = exchange.name_for(PATH)
    itself = wire.Compiled(bytes(8), (wire.LevelAnswer(BODY, marshal.dumps(compile("x = '/itself'", name, "exec"))),))
    assert exchange.keep(DIGEST, (0,), b"/itself", itself) is None
    assert exchange.keep(DIGEST, (1, 2), PATH, answer(PATH, (BODY, 1), (TWIN, 0))) is None
    assert {NAMES_ITSELF: 1, NOT_WRITTEN_AS_EXPECTED: 1} == exchange.refused
    assert exchange.find(DIGEST, (0,), b"/itself", ROOM) is None
    assert exchange.find(DIGEST, (0,), OTHER, ROOM) is not None
    assert exchange.find(DIGEST, (0,), b"/" + b"n" * 2000, 1000) is None
    assert exchange.find(DIGEST, (2,), PATH, ROOM) is None
    assert {NAMES_ITSELF: 2, NOT_WRITTEN_AS_EXPECTED: 1, TOO_LONG: 1} == exchange.refused
    # Of what was found, one was used; and the last one isn't there.
    assert (1, 1) == (store.use.hits, store.use.absent)
    assert {NAMES_ITSELF: 1, TOO_LONG: 1} == store.use.unusable


class Poisoned:
    """A backend in which twins go round in a circle."""

    is_writable = False
    name = "a poisoned one"
    origin = bytes(16)

    def get(self, keys: Sequence[bytes], largest: int) -> list[StoredCode | Flaw | None]:
        """Level 0 is as 1, 1 as 2, 2 as 0."""
        levels = {KEYS.of(DIGEST, level): (level + 1) % 3 for level in range(3)}
        return [StoredCode(key, None, levels[key]) for key in keys]

    def __init__(self) -> None:
        self.discarded: list[tuple[int, str]] = []

    def discard(self, count: int, reason: str) -> None:
        """Writes it down."""
        self.discarded.append((count, reason))

    def put(self, codes: object) -> None:
        """Keeps nothing."""


def test_twins_without_code_are_a_miss() -> None:
    """However they refer to one another."""
    backend = Poisoned()
    exchange = Exchange(backend, KEYS)
    for levels in ((0,), (0, 1), (2, 1, 0)):
        assert exchange.find(DIGEST, levels, PATH, ROOM) is None
    assert {NO_SUCH_TWIN: 3} == exchange.refused
    assert [NO_SUCH_TWIN] * 3 == [reason for _, reason in backend.discarded]


class Signed(Poisoned):
    """A backend whose code two have signed: that of level 0 one of them, that of the others the other one."""

    def get(self, keys: Sequence[bytes], largest: int) -> list[StoredCode | Flaw | None]:
        """Level 1 is as 0, and 2 is another."""
        code = [cut(body(name, number), name) for name, number in ((STAND_IN, 1), (STAND_IN, 2))]
        known = [
            StoredCode(KEYS.of(DIGEST, 0), code[0], signer=b"one"),
            StoredCode(KEYS.of(DIGEST, 1), None, 0, signer=b"other"),
            StoredCode(KEYS.of(DIGEST, 2), code[1], signer=b"other"),
        ]
        return [next(each for each in known if each.key == key) for key in keys]


def test_who_signed_the_code_of_a_level_is_known() -> None:
    """Of a twin's that is whoever signed the code, since that is what is written."""
    one, other = public_text(b"one"), public_text(b"other")
    for levels, signers in (((0, 1, 2), (one, one, other)), ((1,), (one,)), ((2,), (other,))):
        taken = Exchange(Signed(), KEYS).find(DIGEST, levels, PATH, ROOM)
        assert taken is not None
        assert signers == taken.signers


def test_a_store_has_one_name(tmp_path: Path) -> None:
    """It is drawn, and stays; whoever can't write gets it, too."""
    with open_local(str(tmp_path / "a"), create=True) as one, open_local(str(tmp_path / "b"), create=True) as other:
        origins = [one.origin, other.origin]
    assert 2 == len({*origins, bytes(16)} - {bytes(16)})
    with open_local(str(tmp_path / "a"), writes=False) as again:
        assert origins[0] == again.origin
    (tmp_path / "a/origin").write_bytes(b"short")
    with open_local(str(tmp_path / "a")) as again:
        assert again.origin not in (*origins, bytes(16))


def test_a_worker_is_not_needed_twice(interpreter: Interpreter, store: LocalStore) -> None:
    """A source that differs between levels, and one that doesn't, compiled for one name and written for another."""
    target = probe(interpreter.path).interpreter
    levels = (0, 1, 2)
    sources = [b"x = 1\n", b"def f():\n    'Doc.'\n    assert x, 'no'\n    return lambda: [y for y in x]\n"]
    exchange = Exchange(store, KEYS)

    def compiled(source: bytes, name: bytes) -> wire.Compiled:
        request = wire.request([wire.LevelRequest(level) for level in levels], name, source)
        with Pool(target, Limits(), 1) as pool:
            ((_, found),) = pool.map([Job(request, None)])
        assert isinstance(found, wire.Compiled)
        return found

    for source in sources:
        digest = hashlib.sha256(source).digest()
        kept = exchange.keep(digest, levels, PATH, compiled(source, exchange.name_for(PATH)))
        assert kept is not None
        taken = exchange.find(digest, levels, OTHER, ROOM)
        assert taken is not None
        for path, found in ((PATH, kept), (OTHER, taken.answer)):
            expected = compiled(source, path)
            assert [(each.state, bytes(each.body)) for each in expected.levels] == [
                (each.state, bytes(each.body)) for each in found.levels
            ]
    assert {} == exchange.refused
