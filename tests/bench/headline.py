"""Where the time goes, on the tree of uv's own headline figure and on the large one: the second table of the page.

Each row stands beside its peer, and both run in turn. What is compared is clock, processor time of the process with
all that it started, or that of the parent alone, which leaves its workers out.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Callable, NamedTuple

import floor
from glance import fill
from lanes import ceiling, parent_and_lane, standing_in, watch
from peers import BARE_LOOP, WORKERS, clean, remove_bytecode, sources, uv_seconds
from scaling import grow, small_sources
from timing import Sample, timed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from peers import Bench, Side

#: Sources of the tree whose records are settled, and of the one for PyPy.
MANY, FEW = 120_000, 1800
#: uv's own figure for the first tree: so many times as fast on so many threads (its pull request 2086).
UV_SPEEDUP, UV_THREADS = 11.9, 32
THREADS = (1, 8, 32, 128)

#: What is to be reached: corpus, peer, kind of time, ratio. uv's clock is what it prints for its bytecode alone.
COLD = (
    ("headline", "bare loop", "seconds", 1.12),
    ("headline", "bare loop", "processor", 1.12),
    ("headline", "uv", "seconds", 0.92),
    ("large", "bare loop", "seconds", 1.04),
    ("large", "bare loop", "processor", 1.03),
    ("large", "uv", "seconds", 1.06),
)
#: The same for the parent: milliseconds a source beyond its start, and seconds that no thread shares.
PARENT, SERIAL = {"headline": 0.025}, {"headline": 0.4}
#: A hook's processor time above the bare interpreter, in starts of that; and the modules that it imports beyond it.
HOOKS = {"nothing to do": (3.4, 90), "one unchanged package, in a tree of 12,000 sources": (5.6, 113)}

#: Compiles each source at each level, by turns the first, and says what took how long: the longest source at level 0,
#: each level alone, and what has to be compiled where equal code is compiled once. Seconds of processor time.
LEVELS = r"""
import gc, json, marshal, sys, time, warnings
warnings.simplefilter("ignore")
gc.disable()
longest, alone, needed = 0.0, [0.0, 0.0, 0.0], 0.0
for number, path in enumerate(json.load(sys.stdin)):
    with open(path, "rb") as file:
        data = file.read()
    took, bodies = [0.0] * 3, [b""] * 3
    try:
        for turn in range(3):
            level = (number + turn) % 3
            begun = time.process_time()
            bodies[level] = marshal.dumps(compile(data, path, "exec", dont_inherit=True, optimize=level))
            took[level] = time.process_time() - begun
    except (SyntaxError, ValueError):
        continue
    longest = max(longest, took[0])
    alone = [before + each for before, each in zip(alone, took)]
    needed += sum(took[level] for level in range(3) if bodies[level] not in bodies[:level])
print(json.dumps([longest, alone, needed]))
"""


class Row(NamedTuple):
    """One line of the table."""

    work: str
    ours: str
    peer: str
    theirs: str
    value: float
    """What follows from both."""
    limit: float | None
    """The value to reach, if there is one."""
    unit: str = ""


class Serial(NamedTuple):
    """What no number of threads makes shorter, and what they share. Seconds of processor time."""

    start: float
    """A whole run of one source."""
    parent: float
    longest: float
    work: float
    """What all workers take."""

    @property
    def share(self) -> float:
        """The part of each run that isn't shared."""
        return self.start + self.parent + self.longest

    def seconds(self, threads: int, efficiency: float = 1) -> float:
        """How long a run takes, at most, with so many threads: as if nothing of the share overlapped with the work."""
        return self.share + self.work / max(1, threads * efficiency)


def measure(bench: dict[str, Bench], rounds: int, only: list[str] | None) -> Iterator[Row | Serial]:
    """All rows, one group after the other, of the corpora that are there."""
    for name, (group, corpora) in GROUPS.items():
        if not only or name in only:
            for corpus in corpora:
                if corpus in bench:
                    yield from group(bench[corpus], corpus, rounds)


def in_turn(rounds: int, *sides: Side) -> list[list[Sample]]:
    """The samples of each side, which ran one after the other in every round."""
    return [list(each) for each in zip(*([side() for side in sides] for _ in range(rounds)))]


def ratio(work: str, peer: str, pair: list[list[Sample]], limit: float | None, of: str = "seconds") -> Row:
    """A row of one kind of time: the median of the ratios pair by pair."""
    ours, theirs = ([getattr(sample, of) for sample in side] for side in pair)
    value = statistics.median(one / other for one, other in zip(ours, theirs))
    return Row(f"{work}, {_NAMES[of]}", duration(ours), peer, duration(theirs), value, limit)


_NAMES = {"seconds": "clock", "processor": "processor time", "own": "processor time of the parent"}


def duration(seconds: list[float]) -> str:
    """The median, with the least and the most where there are several."""
    middle = statistics.median(seconds)
    unit, factor, digits = ("ms", 1000, 1) if middle < 0.1 else ("s", 1, 2)
    low, high = (f"{factor * each:.{digits}f}" for each in (min(seconds), max(seconds)))
    return f"{factor * middle:.{digits}f} {unit}" + (f", {low} to {high}" if len(seconds) > 1 else "")


def middle(samples: list[Sample], of: str = "processor") -> float:
    """The median of one kind of time."""
    return float(statistics.median(getattr(sample, of) for sample in samples))


def _cold(bench: Bench, corpus: str, rounds: int) -> Iterator[Row | Serial]:
    """Everything compiled: beside the bare loop and uv, and what the parent takes of it."""
    command = bench.ours("run", "--jobs", str(WORKERS), state=f"cold-{corpus}")
    bare = [bench.target, "-I", "-S", "-c", BARE_LOOP, str(bench.tree)]
    single = bench._replace(tree=bench.scratch / f"single-{corpus}")
    grow(single.tree, small_sources(bench.tree), 1)
    one = single.ours("run", "--jobs", str(WORKERS), state=f"single-{corpus}")
    needed = partial(floor.floor, os.path.realpath(sys.executable), bench.target, str(bench.tree))
    ours, loop, least, most, uv, start = in_turn(
        rounds,
        clean(bench, command),
        clean(bench, bare),
        clean(bench, needed()),
        clean(bench, needed(*floor.PROMISES)),
        lambda: Sample(uv_seconds(bench)),
        clean(single, one),
    )
    theirs = {"bare loop": loop, "uv": uv}
    for tree, peer, of, limit in COLD:
        if tree == corpus:
            yield ratio(f"{corpus}: cold", peer, [ours, theirs[peer]], limit, of)
    for of in ("seconds", "processor"):
        yield ratio(f"{corpus}: cold, only what a proof needs", "bare loop", [least, loop], None, of)
        yield ratio(f"{corpus}: cold, each promise in a few lines", "bare loop", [most, loop], None, of)
        yield ratio(f"{corpus}: cold", "each promise in a few lines", [ours, most], None, of)
    yield from _parent(bench, corpus, ours, start)


def _parent(bench: Bench, corpus: str, ours: list[Sample], start: list[Sample]) -> Iterator[Row | Serial]:
    """What the parent takes of a cold run, beside one of a single source; and what that means for more threads."""
    parent = middle(ours, "own") - middle(start, "own")
    texts = [duration([sample.own for sample in side]) for side in (ours, start)]
    each = 1000 * parent / len(sources(bench.tree))
    limit = PARENT.get(corpus)
    yield Row(f"{corpus}: parent's processor time", texts[0], "one source", texts[1], each, limit, " ms a source")
    if corpus in SERIAL:
        longest, _, _ = _levels_of(bench, 1)
        serial = Serial(middle(start), parent, longest, middle(ours) - middle(ours, "own"))
        text = f"{1000 * serial.start:.0f} ms + {parent:.2f} s + {1000 * longest:.0f} ms"
        work = f"{corpus}: what isn't shared: start, parent, longest source"
        yield Row(work, text, "", "", serial.share, SERIAL[corpus], " s")
        yield serial


def _lanes(bench: Bench, corpus: str, rounds: int) -> Iterator[Row]:
    """How much the parent does for what a lane does, and what lanes hold."""
    answering = standing_in(bench)
    single = answering._replace(tree=bench.scratch / "single-lanes")
    grow(single.tree, small_sources(bench.tree), 1)
    found = list(parent_and_lane(answering, single, WORKERS, rounds))
    parents, lanes = map(list, zip(*found))
    value = statistics.median(one / other for one, other in found)
    work = f"{corpus}: workers that answer at once: parent's processor time"
    yield Row(work, duration(parents), "as one lane for all sources", duration(lanes), value, 0.25)
    most = ceiling(bench, statistics.median(parents))
    yield Row(f"{corpus}: what the parent can deal out", "", "", "", most, None, " sources a second")
    for count in (2, 8):
        remove_bytecode(bench.tree)
        family = watch(bench.ours("run", "--jobs", str(count), state=f"lanes-{count}"))
        own = statistics.median(lane.own_memory for lane in family.lanes) / 1024
        yield Row(f"{corpus}: own memory of a lane, of {count}", "", "", "", own, 10, " MiB")
        parent, most = f"parent {family.parent.own_memory / 1024:.1f} MiB", family.memory / 1024
        yield Row(f"{corpus}: all processes with {count} lanes", parent, "", "", most, None, " MiB")
    remove_bytecode(bench.tree)


def _levels(bench: Bench, corpus: str, rounds: int) -> Iterator[Row]:
    """Three levels, and how much compilation that is at least."""
    if corpus == "headline":
        ours = bench.ours("run", "--jobs", str(WORKERS), "--optimize", "0,1,2", state="levels-headline")
        theirs = bench.compileall(f"-j{WORKERS}", *(word for level in "012" for word in ("-o", level)))
        pair = in_turn(max(1, rounds - 1), clean(bench, ours), clean(bench, theirs))
        for of in ("seconds", "processor"):
            yield ratio(f"{corpus}: levels 0, 1, 2", f"compileall -j{WORKERS}", pair, 0.8, of)
        remove_bytecode(bench.tree)
    _, alone, needed = _levels_of(bench, 1 if corpus == "headline" else 10)
    each, one = " + ".join(f"{seconds:.2f}" for seconds in alone) + " s", f"{alone[0]:.2f} s"
    yield Row(f"{corpus}: compile() at levels 0, 1, 2", each, "level 0", one, sum(alone) / alone[0], None)
    yield Row(f"{corpus}: equal code compiled once", f"{needed:.2f} s", "level 0", one, needed / alone[0], None)


def _levels_of(bench: Bench, step: int) -> tuple[float, list[float], float]:
    """What LEVELS says of every n-th source."""
    paths = json.dumps([str(path) for path in sources(bench.tree)[::step]])
    command = [bench.target, "-I", "-S", "-c", LEVELS]
    done = subprocess.run(command, input=paths, capture_output=True, text=True, check=True)
    longest, alone, needed = json.loads(done.stdout)
    return longest, alone, needed


def _many(bench: Bench, _corpus: str, rounds: int) -> Iterator[Row]:
    """Memory and idle runs of a tree that a whole distribution has. Each second run finds the state of the first."""
    grown = bench._replace(tree=bench.scratch / "many")
    grow(grown.tree, small_sources(bench.tree), MANY)
    command = grown.ours("run", "--jobs", str(WORKERS), state="many-state")
    peak = timed(command).peak / 1024
    yield Row(f"{MANY:,} sources: parent's memory", "", "", "", peak, 48, " MiB")
    state, first = bench.scratch / "many-state", bench.scratch / "many-first"
    shutil.copytree(state, first)

    def second() -> Sample:
        shutil.rmtree(state)
        shutil.copytree(first, state)
        time.sleep(0.1)  # what is younger than a tick isn't taken down
        return timed(command)

    def least(*promises: str) -> Sample:
        notes = bench.scratch / "many-notes"
        notes.unlink(missing_ok=True)
        (manifest,) = first.glob("*/manifest.sqlite")
        tag = next(grown.tree.rglob("*.pyc")).name.split(".", 1)[1]
        python = os.path.realpath(sys.executable)
        sample = timed(floor.second(python, str(grown.tree), str(manifest), f".{tag}", str(notes), *promises))
        with contextlib.closing(sqlite3.connect(notes)) as database:
            ((count,),) = database.execute("select count(*) from settled where sources != ''")
        assert count > 0.9 * len({path.parent for path in sources(grown.tree)})
        return sample

    bare = _always([os.path.realpath(sys.executable), "-I", "-S", "-c", "pass"])
    *pair, needed, promised, start, started = in_turn(
        rounds,
        second,
        lambda: timed(command),
        least,
        lambda: least(*floor.SECOND_PROMISES),
        _settled_start(bench),
        bare,
    )
    for of in ("seconds", "processor"):
        yield ratio(f"{MANY:,} sources: second run", "third run", pair, 1.3, of)
    for peer, peers in (("only what a second run needs", needed), ("each promise in a few lines", promised)):
        yield ratio(f"{MANY:,} sources: second run", peer, [pair[0], peers], None, "processor")
    floors = [one._replace(processor=one.processor + middle(start) - middle(started)) for one in promised]
    work = f"{MANY:,} sources: each promise in a few lines, with our start"
    yield ratio(work, "third run", [floors, pair[1]], None, "processor")
    texts = [duration([sample.processor for sample in side]) for side in (pair[1], start)]
    each = 1e6 * (middle(pair[1]) - middle(start)) / MANY
    yield Row(f"{MANY:,} sources: third run, processor time", texts[0], "one source", texts[1], each, 7, " us a source")
    shutil.rmtree(grown.tree)


def _settled_start(bench: Bench) -> Side:
    """An idle run of one source."""
    single = bench._replace(tree=bench.scratch / "single-idle")
    grow(single.tree, small_sources(bench.tree), 1)
    command = single.ours("run", state="single-idle-state")
    for _ in range(3):
        timed(command)
        time.sleep(0.1)
    return lambda: timed(command)


def _hooks(bench: Bench, _corpus: str, rounds: int) -> Iterator[Row]:
    """What a transaction pays that changes nothing, in starts of the bare interpreter."""
    hooked = bench._replace(tree=bench.scratch / "hooked")
    fill(hooked.tree)
    commands = [
        hooked.ours("run", "--hook", *what, state="hooked-state")
        for what in (["--paths-from", os.devnull], [str(hooked.tree / "package0")])
    ]
    timed(hooked.ours("run", state="hooked-state"))
    for _ in range(2):
        time.sleep(0.1)
        timed(commands[1])
    bare = [os.path.realpath(sys.executable), "-I", "-S", "-c", "pass"]
    *samples, starts = in_turn(10 * rounds, *(_always(command) for command in [*commands, bare]))
    for (work, (limit, modules)), command, each in zip(HOOKS.items(), commands, samples):
        row = ratio(f"hook: {work}", "python -I -S -c pass", [each, starts], limit, "processor")
        yield row._replace(value=row.value - 1, unit=" starts more")
        counts = [_count_imports(line) for line in (command, bare)]
        texts = [f"{count} modules" for count in counts]
        yield Row(
            f"hook: {work}, imports",
            texts[0],
            "python -I -S -c pass",
            texts[1],
            counts[0] - counts[1],
            modules,
            " more",
        )


def _count_imports(command: list[str]) -> int:
    """How many modules a command's own interpreter imports."""
    python, *rest = command
    done = subprocess.run([python, "-X", "importtime", *rest], capture_output=True, text=True, check=True)
    return sum(line.startswith("import time:") for line in done.stderr.splitlines()) - 1  # the heading


def _pypy(bench: Bench, _corpus: str, rounds: int) -> Iterator[Row]:
    """PyPy, where it and Debian's compiler for it are installed."""
    pypy, compiler = shutil.which("pypy3"), shutil.which("pypy3compile")
    if not pypy or not compiler:
        return
    own = bench._replace(target=pypy, tree=bench.scratch / "pypy")
    found = sources(bench.tree)
    grow(own.tree, found[:: len(found) // FEW], FEW)
    peer = clean(own, [pypy, compiler, "-q", str(own.tree)])
    for jobs in (WORKERS, 1):
        ours = own.ours("run", "--jobs", str(jobs), state="pypy-state")
        pair = in_turn(max(1, rounds - 1), clean(own, ours), peer)
        for of in ("seconds", "processor"):
            yield ratio(f"PyPy, {FEW:,} sources: cold, --jobs {jobs}", "pypy3compile", pair, 1.1, of)
    loop = clean(own, [pypy, "-I", "-S", "-c", BARE_LOOP, str(own.tree)])
    pair = in_turn(max(1, rounds - 1), loop, peer)
    yield ratio(f"PyPy, {FEW:,} sources: bare loop in {WORKERS} processes", "pypy3compile", pair, None, "processor")


def _always(command: list[str]) -> Side:
    return lambda: timed(command)


#: Each group of rows, with the corpora that it is measured on.
GROUPS: dict[str, tuple[Callable[[Bench, str, int], Iterator[Row | Serial]], list[str]]] = {
    "cold": (_cold, ["headline", "large"]),
    "lanes": (_lanes, ["headline"]),
    "levels": (_levels, ["headline", "large"]),
    "many": (_many, ["headline"]),
    "hooks": (_hooks, ["headline"]),
    "pypy": (_pypy, ["headline"]),
}
