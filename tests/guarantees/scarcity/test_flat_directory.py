"""One directory with very many sources: only their names are kept in memory."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from command import Command

SOURCES = 12_000
#: Bytes that the host may need for each source, and for the records that it holds until they may be kept: 100,000
#: sources and the program itself stay below 100 MB.
MOST_FOR_ONE = 400
MOST_FOR_ALL = 11 << 20
#: Runs the program, and leaves the peak of this process in a file; the children's isn't in it.
PEAK_OF_HOST = """
import os, re, sys
from pyctrigger.cli.main import main
code = main(sys.argv[2:])
with open("/proc/self/status") as status, open(sys.argv[1], "w") as peak:
    peak.write(re.search(r"VmHWM:\\s+([0-9]+)", status.read())[1])
sys.exit(code)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_sources_of_one_directory(
    pyctrigger: Command, site: Path, scope: list[str]
) -> None:
    """Compiling, looking at what is fresh, repairing and sweeping hold little more than the names."""
    probe = site.parent / "peak"
    pyctrigger.program = [sys.executable, "-c", PEAK_OF_HOST, str(probe)]

    def peak(verb: str) -> int:
        assert pyctrigger.json(verb, *scope).code == 0
        return int(probe.read_text()) << 10

    small = site / "small"
    small.mkdir()
    (small / "one.py").touch()
    most = max(peak("run"), peak("repair")) + MOST_FOR_ALL + MOST_FOR_ONE * SOURCES
    flat = site / "flat"
    flat.mkdir()
    for number in range(SOURCES):
        (flat / f"module_{number:06}.py").touch()
    peaks = {
        "cold": peak("run"),
        "records": peak("run"),
        "settled": peak("run"),
        "verify": peak("verify"),
        "repair": peak("repair"),
    }
    assert SOURCES == len(list((flat / "__pycache__").iterdir()))
    for source in flat.iterdir():
        if source.suffix == ".py":
            source.unlink()
    peaks["sweep"] = peak("sweep")
    assert not flat.exists()
    assert {} == {what: found for what, found in peaks.items() if found > most}
