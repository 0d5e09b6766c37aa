"""The header of a pyc: its bytes, and the verdict on any bytes."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyctrigger.outcome.states import STATES
from pyctrigger.pyc.header import HeaderFormat, InvalidationMode, Verdict

if TYPE_CHECKING:
    from pathlib import Path

    from interpreters import Interpreter

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

#: Has the target's own py_compile write a pyc in each mode that it knows, and its answer to what importlib sees.
_WRITE = """
import importlib.util, json, py_compile, sys
source = sys.argv[1]
said = {"magic": importlib.util.MAGIC_NUMBER.hex(), "version": list(sys.version_info[:3])}
if hasattr(py_compile, "PycInvalidationMode"):
    said["hash"] = importlib.util.source_hash(open(source, "rb").read()).hex()
    modes = {mode.name: {"invalidation_mode": mode} for mode in py_compile.PycInvalidationMode}
else:
    modes = {"TIMESTAMP": {}}
for name, options in modes.items():
    said[name] = open(py_compile.compile(source, doraise=True, **options), "rb").read(17).hex()
print(json.dumps(said))
"""


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


@pytest.mark.parametrize("mtime", [0, 1_600_000_000, 2**31 - 1])
def test_header_is_what_the_target_writes(interpreter: Interpreter, tmp_path: Path, mtime: int) -> None:
    """In every mode that it knows, byte for byte; and we judge what it wrote as fresh."""
    source = tmp_path / "module.py"
    source.write_bytes(b"x = 1\n")
    os.utime(source, (mtime, mtime))
    child = subprocess.run(
        [interpreter.path, "-I", "-S", "-c", _WRITE, str(source)], capture_output=True, timeout=60, check=False
    )
    assert child.returncode == 0, child.stderr.decode()
    said: dict[str, Any] = json.loads(child.stdout)
    header = HeaderFormat.of(bytes.fromhex(said["magic"]), tuple(said["version"]))
    expected = header.timestamp(mtime, 6)
    written = {mode: bytes.fromhex(said[mode.name]) for mode in InvalidationMode if mode.name in said}

    assert written[TIMESTAMP][: header.size] == expected
    assert header.judge(written[TIMESTAMP], TIMESTAMP, expected) is Verdict.FRESH
    assert set(written) == (set(InvalidationMode) if header.has_modes else {TIMESTAMP})
    for mode in set(written) - {TIMESTAMP}:
        assert written[mode][:16] == header.hashed(mode, bytes.fromhex(said["hash"]))
        assert header.judge(written[mode], mode, expected) is Verdict.UNPROVEN
        assert header.source_hash(written[mode]).hex() == said["hash"]


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
    """A changed mode takes effect without force; whether the hash fits only the target can tell."""
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
