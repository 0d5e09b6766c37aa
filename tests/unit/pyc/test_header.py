"""The header of a pyc: its bytes, and the verdict on any bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyctrigger.outcome.states import STATES
from pyctrigger.pyc.header import NO_PYC, HeaderFormat, InvalidationMode, Verdict

PY36 = HeaderFormat.of(bytes.fromhex("330d0d0a"), (3, 6, 15))
PY311 = HeaderFormat.of(bytes.fromhex("a70d0d0a"), (3, 11, 7))

TIMESTAMP = InvalidationMode.TIMESTAMP
CHECKED = InvalidationMode.CHECKED_HASH
UNCHECKED = InvalidationMode.UNCHECKED_HASH

formats = st.builds(
    HeaderFormat.of, st.binary(min_size=4, max_size=4), st.sampled_from([(3, 6), (3, 7), (3, 9), (3, 15)])
)
modes = st.sampled_from(InvalidationMode)
#: Far beyond 32 bits, and before 1970.
numbers = st.integers(-(2**70), 2**70)


def test_bytes_of_each_header() -> None:
    """Little-endian, in the order of PEP 552; 12 bytes up to 3.6, which knows no flags."""
    source_hash = bytes.fromhex("0123456789abcdef")
    assert PY36.timestamp(0x5F5E0FF0, 0x1234).hex() == "330d0d0af00f5e5f34120000"
    assert PY311.timestamp(0x5F5E0FF0, 0x1234).hex() == "a70d0d0a00000000f00f5e5f34120000"
    assert PY311.hashed(CHECKED, source_hash).hex() == "a70d0d0a030000000123456789abcdef"
    assert PY311.hashed(UNCHECKED, source_hash).hex() == "a70d0d0a010000000123456789abcdef"
    assert (PY36.size, PY36.has_modes, PY311.size, PY311.has_modes) == (12, False, 16, True)


@pytest.mark.parametrize(
    ("mtime", "field"),
    [(-1, "ffffffff"), (2**31, "00000080"), (2**32 - 1, "ffffffff"), (2**32, "00000000"), (2**32 + 7, "07000000")],
)
def test_times_before_1970_and_past_2106_are_masked(mtime: int, field: str) -> None:
    """To 32 bits, as importlib masks them."""
    assert PY311.timestamp(mtime, 0)[8:12].hex() == field
    assert PY36.timestamp(mtime, 0)[4:8].hex() == field


@given(formats, numbers, numbers)
def test_own_timestamp_header_is_fresh(header: HeaderFormat, mtime: int, size: int) -> None:
    """With a body behind it; without one it is corrupt, since importlib answers with an EOFError for ever."""
    expected = header.timestamp(mtime, size)
    assert len(expected) == header.size
    assert header.judge(expected + b"\xe3", TIMESTAMP, expected) is Verdict.FRESH
    assert header.judge(expected, TIMESTAMP, expected) is Verdict.CORRUPT


@given(formats, modes, numbers, numbers, st.binary(max_size=40))
def test_any_bytes_get_a_verdict(
    header: HeaderFormat, mode: InvalidationMode, mtime: int, size: int, found: bytes
) -> None:
    """And never that of a pyc that isn't there."""
    expected = header.timestamp(mtime, size)
    verdict = header.judge(found, mode, expected)
    stale = [each for each, state in STATES.items() if state.name == "stale"]
    assert verdict in {Verdict.FRESH, Verdict.UNPROVEN, Verdict.CORRUPT, Verdict.FOREIGN_MAGIC, *stale}
    if verdict is Verdict.FRESH:
        assert found.startswith(expected)


@given(formats, modes, numbers, numbers, st.integers(0, 15), st.integers(1, 255))
def test_any_changed_byte_of_a_header_is_seen(
    header: HeaderFormat, mode: InvalidationMode, mtime: int, size: int, place: int, change: int
) -> None:
    """Peers compare the first 12 bytes; here the size counts as well."""
    expected = header.timestamp(mtime, size)
    damaged = bytearray(expected + b"\xe3")
    place %= header.size
    damaged[place] ^= change
    assert header.judge(bytes(damaged), mode, expected) is not Verdict.FRESH


@given(st.binary(min_size=4, max_size=4), modes, modes, st.binary(min_size=8, max_size=8), numbers)
def test_hash_based_pyc_is_proven_only_in_its_own_mode(
    magic: bytes, written: InvalidationMode, wanted: InvalidationMode, source_hash: bytes, mtime: int
) -> None:
    """A changed mode takes effect without force; only the target can check whether the hash fits."""
    header = HeaderFormat.of(magic, (3, 8))
    expected = header.timestamp(mtime, 0)
    found = (expected if written is TIMESTAMP else header.hashed(written, source_hash)) + b"\xe3"
    verdict = header.judge(found, wanted, expected)
    if written is not wanted:
        assert verdict is Verdict.OTHER_MODE
    else:
        assert verdict is (Verdict.FRESH if wanted is TIMESTAMP else Verdict.UNPROVEN)


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        ("", Verdict.CORRUPT),
        ("a70d0d0a 00000000 0a000000", Verdict.CORRUPT),
        ("a70d0d0a 00000000 0a000000 14000000", Verdict.CORRUPT),
        ("a70d0d0a 00000000 0a000000 14000000 e3", Verdict.FRESH),
        ("a80d0d0a 00000000 0a000000 14000000 e3", Verdict.FOREIGN_MAGIC),
        ("a70d0d0b 00000000 0a000000 14000000 e3", Verdict.FOREIGN_MAGIC),
        ("a70d0d0a 01000000 0a000000 14000000 e3", Verdict.OTHER_MODE),
        ("a70d0d0a 03000000 0a000000 14000000 e3", Verdict.OTHER_MODE),
        ("a70d0d0a 02000000 0a000000 14000000 e3", Verdict.CORRUPT),
        ("a70d0d0a 04000000 0a000000 14000000 e3", Verdict.CORRUPT),
        ("a70d0d0a 00000080 0a000000 14000000 e3", Verdict.CORRUPT),
        ("a70d0d0a 00000000 0b000000 14000000 e3", Verdict.OTHER_MTIME),
        ("a70d0d0a 00000000 0a000000 15000000 e3", Verdict.OTHER_SIZE),
        ("a70d0d0a 00000000 0b000000 15000000 e3", Verdict.OTHER_MTIME),
    ],
)
def test_verdict_on_real_damage(found: str, verdict: Verdict) -> None:
    """Truncated, foreign, of another mode, of another source."""
    assert PY311.judge(bytes.fromhex(found), TIMESTAMP, PY311.timestamp(10, 20)) is verdict


@pytest.mark.parametrize(("mode", "flags"), [(TIMESTAMP, 0), (UNCHECKED, 1), (CHECKED, 3)])
def test_flags_of_each_mode(mode: InvalidationMode, flags: int) -> None:
    """As PEP 552 has them."""
    assert flags == mode.flags


@pytest.mark.parametrize(
    ("version", "size"), [((3, 5), 12), ((3, 6, 15), 12), ((3, 7), 16), ((3, 7, 0), 16), ((3, 10, 1), 16), ((4, 0), 16)]
)
def test_size_follows_the_version(version: tuple[int, ...], size: int) -> None:
    """3.7 brought the flags."""
    assert size == HeaderFormat.of(b"\x33\r\r\n", version).size


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        ("330d0d0a 0a000000 14000000", Verdict.CORRUPT),
        ("330d0d0a 0a000000 14000000 e3", Verdict.FRESH),
        ("340d0d0a 0a000000 14000000 e3", Verdict.FOREIGN_MAGIC),
        ("330d0d0a 0b000000 14000000 e3", Verdict.OTHER_MTIME),
        ("330d0d0a 0a000000 15000000 e3", Verdict.OTHER_SIZE),
        ("330d0d0a 0a000001 14000000 e3", Verdict.OTHER_MTIME),
        ("330d0d0a 0a000000 14000001 e3", Verdict.OTHER_SIZE),
    ],
)
def test_verdict_on_the_short_header_of_36(found: str, verdict: Verdict) -> None:
    """It has no flags, so whatever mode is wanted it is one with an mtime."""
    for mode in InvalidationMode:
        assert verdict is PY36.judge(bytes.fromhex(found), mode, PY36.timestamp(10, 20))


@pytest.mark.parametrize("mode", [CHECKED, UNCHECKED])
def test_hash_is_what_follows_the_flags(mode: InvalidationMode) -> None:
    """Eight bytes; the pyc's body isn't among them."""
    assert b"01234567" == PY311.source_hash(PY311.hashed(mode, b"01234567") + b"\xe3\0")


def test_only_two_verdicts_mean_that_there_is_no_pyc() -> None:
    """All others are about a file that is there."""
    assert {Verdict.MISSING, Verdict.OBSTRUCTED} == NO_PYC
