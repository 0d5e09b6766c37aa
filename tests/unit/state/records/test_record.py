"""What distinguishes one state of a file from another, and when that is proof."""

from __future__ import annotations

import hashlib
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from pyctrigger.state.records import record as module
from pyctrigger.state.records.record import (
    PACKED,
    UNSEEN,
    Record,
    Sha256,
    digest_of,
    digest_of_pieces,
    identity_at,
    identity_of,
    identity_written,
    is_coarse,
    is_older,
    learn_clock,
)

SECOND = 1_000_000_000
FINE, COARSE = 20_000_000, 2 * SECOND + 20_000_000
NOW = 1000 * SECOND + 5


class Status:
    """The fields of a status that count."""

    def __init__(self, mtime: int = 5, ctime: int = 5, device: int = 1, inode: int = 2, size: int = 3) -> None:
        self.st_mtime_ns, self.st_ctime_ns = mtime, ctime
        self.st_dev, self.st_ino, self.st_size = device, inode, size


def status(*fields: int, **named: int) -> Any:
    """One of them."""
    return Status(*fields, **named)


@pytest.fixture(autouse=True)
def clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """No file system's clock is known."""
    monkeypatch.setattr(module, "_lags", {})


def test_identity_has_five_parts() -> None:
    """Device, inode, size and both times."""
    assert (1, 2, 3, 4, 5) == PACKED.unpack(identity_of(status(4, 5)))
    fields = {"mtime": 9, "ctime": 9, "device": 9, "inode": 9, "size": 9}
    assert 6 == len({identity_of(status()), *(identity_of(status(**{name: value})) for name, value in fields.items())})


@pytest.mark.parametrize(("ctime", "expected"), [(0, True), (SECOND, True), (SECOND + 1, False), (SECOND - 1, False)])
def test_whole_seconds_may_be_all_that_is_kept(ctime: int, expected: bool) -> None:
    """By the ctime alone: archives set an mtime, but nothing sets a ctime."""
    assert expected is is_coarse(status(0, ctime))


#: Both times before now, and whether a change would show.
AGES = [
    (FINE + 1, FINE + 1, True),
    (FINE, FINE + 1, False),
    (FINE + 1, FINE, False),
    (0, 0, False),
    (-SECOND, FINE + 1, False),  # a time of tomorrow
    (FINE + 1, -SECOND, False),
]


@pytest.mark.parametrize(("mtime", "ctime", "expected"), AGES)
def test_what_is_young_can_change_once_more_and_look_the_same(mtime: int, ctime: int, expected: bool) -> None:
    """Within a tick of its file system's clock."""
    found = status(NOW - mtime, NOW - ctime)
    assert expected is is_older(found, NOW)
    assert (identity_of(found) if expected else UNSEEN) == identity_at(found, NOW)


@pytest.mark.parametrize(("age", "expected"), [(COARSE + 1, True), (COARSE, False), (SECOND, False)])
def test_of_whole_seconds_two_have_to_pass(age: int, expected: bool) -> None:
    """As FAT keeps every second one."""
    assert expected is is_older(status(0, 1000 * SECOND), 1000 * SECOND + age)


def test_a_clock_that_is_behind_is_learned() -> None:
    """Its newest files look old; more than a tick counts, and of that file system alone."""
    learn_clock(status(0, NOW - FINE), NOW)
    assert {} == module._lags
    learn_clock(status(0, NOW - SECOND), NOW)
    assert {1: SECOND} == module._lags
    old = NOW - SECOND - FINE
    assert (False, True) == (is_older(status(old, old), NOW), is_older(status(old - 1, old - 1), NOW))
    assert is_older(status(old, old, device=7), NOW) is True


@pytest.mark.parametrize("mtime", [-(1 << 63) - 1, 1 << 63])
def test_times_of_other_centuries_differ_too(mtime: int) -> None:
    """They fit into no stamp."""
    assert 3 == len({UNSEEN, identity_of(status(mtime, 5)), identity_of(status(mtime, 6))})


@pytest.mark.parametrize(("ctime", "expected"), [(NOW, PACKED.pack(1, 2, 3, 5, NOW)), (SECOND, UNSEEN)])
def test_what_we_wrote_ourselves_is_young_by_nature(ctime: int, expected: bytes) -> None:
    """Nothing else can change it within a fine tick."""
    assert expected == identity_written(status(5, ctime))


def test_a_record_of_a_pyc_that_was_renamed() -> None:
    """All else is as it was."""
    record = Record(b"s", b"sd", b"p", b"bd", b"h", 7, "store", "signer")
    assert Record(b"s", b"sd", b"q", b"bd", b"h", 7, "store", "signer") == record.of_pyc(b"q")


@pytest.mark.parametrize("pieces", [[], [b""], [b"abc"], [b"a", b"", memoryview(b"bc")]])
def test_digests_are_of_all_bytes(pieces: list[Any]) -> None:
    """Twenty bytes of a SHA-256."""
    expected = hashlib.sha256(b"".join(pieces)).digest()[:20]
    assert (expected, expected) == (digest_of_pieces(pieces), digest_of(b"".join(pieces)))


#: How many bytes Python's own code digests, the modules that can't be imported, whether OpenSSL's is loaded, and
#: whether it is asked for each of three times four bytes.
DIGESTS: list[tuple[int, list[str], bool, list[bool]]] = [
    (0, [], False, [True, True, True]),
    (9, [], False, [False, False, True]),
    (8, [], False, [False, True, True]),
    (99, [], False, [False, False, False]),
    (99, [], True, [True, True, True]),
    (99, ["_sha2", "_sha256"], False, [True, True, True]),
    (8, ["hashlib"], False, [False, False, False]),
]


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="PyPy has no such module in C")
@pytest.mark.parametrize(("own", "absent", "is_loaded", "expected"), DIGESTS)
def test_openssl_is_loaded_where_there_is_much_to_digest(
    monkeypatch: pytest.MonkeyPatch, own: int, absent: list[str], is_loaded: bool, expected: list[bool]
) -> None:
    """And where it can be loaded, or is; the digests are the same."""
    right, asked = hashlib.sha256, list[bool]()

    def counted(data: bytes) -> Any:
        asked[-1] = True
        return right(data)

    monkeypatch.setattr(hashlib, "sha256", counted)
    for name in absent:
        monkeypatch.setitem(sys.modules, name, None)
    loaded = {"hashlib": hashlib} if is_loaded else {}
    monkeypatch.setattr(module, "sys", SimpleNamespace(**{**vars(sys), "modules": loaded}))
    sha256 = Sha256(own)
    for data in (b"abcd", memoryview(b"efgh"), b"ijkl"):
        asked.append(False)
        assert right(data).digest() == sha256.digest(data)

    assert expected == asked


def test_without_any_sha256_nothing_is_digested(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is Python's own."""
    for name in ("_sha2", "_sha256", "hashlib"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError):
        Sha256(99).digest(b"")
