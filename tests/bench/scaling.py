"""How time and memory grow with the number of sources, with one worker and with two."""

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


class Scaled(NamedTuple):
    """One size."""

    sources: int
    one_worker: float
    two_workers: float
    idle: float
    """Seconds, each of the three."""
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
        one = timed(at_size.ours("run", "--jobs", "1", state=f"one{size}"))
        remove_bytecode(at_size.tree)
        two = timed(at_size.ours("run", "--jobs", "2", state=f"two{size}"))
        command = at_size.ours("run", state=f"two{size}")
        timed(command)
        idle = timed(command)
        found.append(
            Scaled(size, one.seconds, two.seconds, idle.seconds, max(one.peak, two.peak) // 1024, idle.peak // 1024)
        )
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
