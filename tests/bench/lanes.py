"""What lanes take: memory of each and of all, and how much the parent does for what a lane does.

For the second a stand-in takes the compiler's place: it answers at once, with as many bytes as the source has.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from peers import remove_bytecode, sources
from processes import children_of, line_of
from timing import own_time, timed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from peers import Bench

#: Seconds between two looks at the processes.
_STEP = 0.02
_COMPILES = "    code = code_of(source, path, level)\n"
#: The answer of the stand-in, in `compile_level`.
_ANSWERS = "    return 0, bytes(len(source)), False\n"


class Process(NamedTuple):
    """What one process took."""

    seconds: float = 0
    """Of processor time."""
    own_memory: int = 0
    """KiB that nobody shares, at most (Private_Dirty)."""


class Family(NamedTuple):
    """What a run and its lanes took."""

    parent: Process
    lanes: list[Process]
    memory: int
    """KiB of all together at once, at most; what they share counts once (Pss)."""


def standing_in(bench: Bench) -> Bench:
    """The same, with a copy of pyctrigger whose workers answer at once."""
    application = bench.scratch / "standing-in"
    shutil.copytree(bench.application, application)
    (program,) = application.rglob("interpreter/remote/compile.py")
    text = program.read_text(encoding="utf-8")
    if text.count(_COMPILES) != 1:
        raise RuntimeError(f"{program} has changed: tests/bench/lanes.py must know where it compiles")
    program.write_text(text.replace(_COMPILES, _ANSWERS + _COMPILES), encoding="utf-8")
    subprocess.run([sys.executable, "-I", "-S", "-B", application, "--own-bytecode"], check=True)
    return bench._replace(application=application)


def parent_and_lane(bench: Bench, single: Bench, jobs: int, rounds: int) -> Iterator[tuple[float, float]]:
    """Yields the processor time of the parent beyond a run of one source, and that of a lane for the same sources."""
    command, start = (
        each.ours("run", "--jobs", str(jobs), state=f"standing-in-{each.tree.name}") for each in (bench, single)
    )
    timed(start)  # the interpreter is asked once
    for _ in range(rounds):
        remove_bytecode(single.tree)
        begun = timed(start).own
        remove_bytecode(bench.tree)
        family = watch(command)
        yield family.parent.seconds - begun, sum(lane.seconds for lane in family.lanes)
    remove_bytecode(bench.tree)


def ceiling(bench: Bench, parent: float) -> float:
    """Sources a second that the parent deals out at most."""
    return len(sources(bench.tree)) / parent


def watch(command: list[str]) -> Family:
    """Run a command, and look at it and its lanes again and again. A lane is a child with the same command line."""
    seen: dict[int, Process] = {}
    most = 0
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    child = subprocess.Popen(command, **quiet)  # type: ignore[call-overload]
    waiter = threading.Thread(target=child.wait)
    waiter.start()
    while waiter.is_alive():
        lanes = [each for each in children_of(child.pid) if line_of(each) == line_of(child.pid)]
        workers = [worker for lane in lanes for worker in children_of(lane)]
        together = 0
        for pid in [child.pid, *lanes, *workers]:
            memory = _memory(pid)
            together += memory.get("Pss", 0)
            before = seen.get(pid, Process())
            own = max(before.own_memory, memory.get("Private_Dirty", 0))
            if pid not in workers:
                seen[pid] = Process(own_time(pid) or before.seconds, own)
        most = max(most, together)
        time.sleep(_STEP)
    waiter.join()
    if child.returncode not in (0, 1):
        raise subprocess.CalledProcessError(child.returncode, command)
    parent = seen.pop(child.pid)
    return Family(parent, list(seen.values()), most)


def _memory(pid: int) -> dict[str, int]:
    """KiB by name."""
    with contextlib.suppress(OSError):
        lines = [line.split() for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]]
        return {words[0].rstrip(":"): int(words[1]) for words in lines}
    return {}
