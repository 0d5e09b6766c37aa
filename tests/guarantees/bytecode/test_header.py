"""The header of a pyc, byte for byte what the target's own py_compile writes."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from pyctrigger.pyc.header import HeaderFormat, InvalidationMode, Verdict

if TYPE_CHECKING:
    from pathlib import Path

    from interpreters import Interpreter

TIMESTAMP = InvalidationMode.TIMESTAMP

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
