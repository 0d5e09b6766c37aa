"""How time and memory grow with the number of sources, in one lane and in several."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, NamedTuple

from peers import remove_bytecode, sources
from timing import timed

if TYPE_CHECKING:
    from pathlib import Path

    from peers import Bench

#: Bytes. Small sources, so that what isn't compilation shows.
_LARGEST = 4096
_IN_ONE_DIRECTORY = 40
#: In how many lanes each size is compiled: beyond the processors there is nothing to win.
LANES = (1, 2, 4)


class Scaled(NamedTuple):
    """One size."""

    sources: int
    cold: tuple[float, ...]
    """Seconds, in one lane and in more (LANES)."""
    idle: float
    """Seconds."""
    cold_peak: int
    idle_peak: int
    """MiB that the host held at most."""


def scale(bench: Bench, sizes: list[int]) -> list[Scaled]:
    """Measure each size once."""
    originals = small_sources(bench.tree)
    found = []
    for size in sizes:
        at_size = bench._replace(tree=bench.scratch / f"tree{size}")
        grow(at_size.tree, originals, size)
        cold = []
        for lanes in LANES:
            remove_bytecode(at_size.tree)
            cold.append(timed(at_size.ours("run", "--jobs", str(lanes), state=f"lanes{lanes}-{size}")))
        command = at_size.ours("run", state=f"lanes{LANES[-1]}-{size}")
        timed(command)
        idle = timed(command)
        peak, seconds = max(each.peak for each in cold), tuple(each.seconds for each in cold)
        found.append(Scaled(size, seconds, idle.seconds, peak // 1024, idle.peak // 1024))
        print(found[-1], flush=True)
        shutil.rmtree(at_size.tree)
    return found


def small_sources(tree: Path) -> list[Path]:
    """What a tree of any size is made of."""
    return [path for path in sources(tree) if 0 < path.stat().st_size <= _LARGEST]


def grow(tree: Path, originals: list[Path], size: int) -> None:
    """Make a tree of so many copies, forty in a directory."""
    for number in range(size):
        directory = tree / f"package{number // 2000}" / f"part{number // _IN_ONE_DIRECTORY}"
        if number % _IN_ONE_DIRECTORY == 0:
            directory.mkdir(parents=True)
        shutil.copy(originals[number % len(originals)], directory / f"module{number}.py")
