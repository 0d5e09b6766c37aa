"""pyctrigger beside its peers: `nox -s bench`, or `python tests/bench/performance.py` in an environment that has it.

It installs pinned packages and uv into a scratch directory on tmpfs, runs each row and its peer in turn, several times,
and prints medians, spread, and the median of the ratios pair by pair. With `--page` it writes `docs/performance.md` and
its chart. Whole processes are timed, start included. Nothing here decides whether a test passes.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "support"))

import headline
import page
import store
from peers import (
    BARE_LOOP,
    CORPORA,
    WORKERS,
    Bench,
    Side,
    clean,
    lay_out,
    prepare,
    remove_bytecode,
    sources,
    uv_seconds,
)
from scaling import scale
from timing import Figure, Sample, timed

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What has a process of its own, as it needs what the tests need.
DEBIAN = "debian"
TABLES = ["peers", "headline", "store", DEBIAN]
#: What `--only` calls the audit on a cluster, which comes after the third table.
CLUSTER = "cluster"
TOUCHED = 20
ORPHANS = 12_000


def main() -> int:
    """Measure, print, and write the page."""
    options = _options()
    if {*options.tables} != {DEBIAN}:
        _on_trees(options)
    if DEBIAN in options.tables and not options.only:
        _in_a_process("debian.py", options, *(["--packages", str(options.packages)] if options.packages else []))
    return 0


def _on_trees(options: argparse.Namespace) -> None:
    """The tables whose work is done on installed trees."""
    with tempfile.TemporaryDirectory(dir=options.scratch, prefix="pyctrigger-bench-") as scratch:
        tools = prepare(Path(scratch), options.python)
        trees = {name: lay_out(tools, name) for name in options.corpus}
        if "peers" in options.tables and "large" in trees:
            _beside_peers(trees["large"], options)
        if "headline" in options.tables:
            _table("headline", trees, headline.measure(trees, options.rounds, options.only), options.page)
        if "store" in options.tables:
            _table("store", trees, store.measure(trees, options.rounds, options.only), options.page)
            if not options.only or CLUSTER in options.only:
                _in_a_process("cluster.py", options)  # what Dask costs an audit, and what it brings


def _beside_peers(bench: Bench, options: argparse.Namespace) -> None:
    """The first table, and how a growing tree is compiled."""
    machine = page.machine(bench, len(sources(bench.tree)))
    print(machine, flush=True)
    figures = []
    for name, peer, limit, ours, theirs, rounds in _rows(bench, options.rounds):
        if options.only and name not in options.only:
            continue
        figures.append(_measure(name, peer, limit, ours, theirs, rounds))
        print(page.line(figures[-1]), flush=True)
    if not options.only:
        figures += _on_disk(bench, options.disk)
    scaled = scale(bench, options.sizes) if options.sizes else []
    if options.page:
        page.write(Path(options.page), machine, figures, scaled)


def _table(mark: str, trees: dict[str, Bench], rows: Iterator[headline.Row | headline.Serial], to: str | None) -> None:
    """The second table, where the time goes, or the third, what a store does."""
    about = page.headline_machine(trees)
    print(about, flush=True)
    found = []
    for row in rows:
        found.append(row)
        print(*page.headline_lines([row])[2:], sep="\n", flush=True)
    if to and found:
        page.replace_between(Path(to), mark, [about, "", *page.headline_lines(found)])


def _in_a_process(script: str, options: argparse.Namespace, *arguments: str) -> None:
    """One of the scripts beside this one."""
    command = [sys.executable, str(Path(__file__).with_name(script)), "--rounds", str(options.rounds), *arguments]
    subprocess.run([*command, *(["--page", options.page] if options.page else [])], check=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--python", default=sys.executable, help="the target; the corpus has wheels for 3.13")
    parser.add_argument(
        "--rounds", type=int, default=3, help="rounds of the long rows; short ones have three times more"
    )
    parser.add_argument("--corpus", nargs="+", choices=CORPORA, default=list(CORPORA), help="the trees")
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=TABLES)
    groups = ", ".join([*headline.GROUPS, *store.GROUPS, CLUSTER])
    parser.add_argument("--only", nargs="+", help=f"rows of the first table, groups of the others: {groups}")
    parser.add_argument("--packages", type=int, help="of the table debian: so many of the list, not all")
    parser.add_argument("--sizes", nargs="*", type=int, default=[1000, 4000, 12_000, 40_000, 120_000])
    parser.add_argument("--page", help="write the page here, and its chart beside it")
    parser.add_argument("--scratch", default="/dev/shm" if os.path.isdir("/dev/shm") else None)
    parser.add_argument("--disk", default="/var/tmp", help="where one cold run is tried on a disk")
    return parser.parse_args()


def _measure(name: str, peer: str, limit: float | None, ours: Side, theirs: Side, rounds: int) -> Figure:
    one, other = [], []
    for _ in range(rounds):
        one.append(ours())
        other.append(theirs())
    peak = max(sample.peak for sample in one) // 1024
    return Figure(name, peer, [each.seconds for each in one], [each.seconds for each in other], limit, peak)


def _rows(bench: Bench, rounds: int) -> Iterator[tuple[str, str, float, Side, Side, int]]:
    """Name, peer, ratio to reach, the two sides, and how often; each leaves the next what it needs."""
    bare = [bench.target, "-I", "-S", "-c", BARE_LOOP, str(bench.tree)]
    two = ("--jobs", str(WORKERS))
    cold, everything = bench.ours("run", *two), bench.ours("run", *two, "--optimize", "0,1,2", state="levels")
    three = bench.compileall("-j2", *(word for level in "012" for word in ("-o", level)))
    yield "cold, one level", "bare loop", 1.05, clean(bench, cold), clean(bench, bare), rounds
    yield "cold, one level ", "uv", 0.93, clean(bench, cold), lambda: Sample(uv_seconds(bench)), rounds
    yield (
        "cold, levels 0, 1, 2",
        "compileall -j2",
        0.72,
        clean(bench, everything),
        clean(bench, three),
        max(1, rounds - 1),
    )

    remove_bytecode(bench.tree)
    timed(cold)
    rerun = bench.compileall("-j2")
    yield "every mtime changed", "compileall -j2", 0.08, _touched(bench, cold, cold), _touched(bench, rerun), rounds
    timed(cold)
    often = 3 * rounds
    timed(cold)
    yield "idle, whole tree", "compileall", 0.40, lambda: timed(cold), lambda: timed(bench.compileall()), often
    find = ["find", str(bench.tree)]
    yield "idle, whole tree ", "find", 2.5, lambda: timed(cold), lambda: timed(find), often
    yield from _small_rows(bench, often)


def _small_rows(bench: Bench, often: int) -> Iterator[tuple[str, str, float, Side, Side, int]]:
    debian = bench._replace(target="/usr/bin/python3")
    if shutil.which("py3compile") and os.path.exists(debian.target):
        package = _package(bench.tree)
        timed(debian.ours("run", state="debian"))
        hook = debian.ours("run", "--hook", str(package), state="debian")
        peer = ["py3compile", *map(str, sources(package))]
        name = f"{len(sources(package))} sources changed, as a hook"
        yield name, "py3compile", 0.9, _edited(package, hook), _edited(package, peer, {"PATH": "/usr/bin:/bin"}), often
    nothing = bench.ours("run", "--hook", "--paths-from", os.devnull)
    bare = [os.path.realpath(sys.executable), "-I", "-S", "-c", "pass"]
    yield "hook, nothing to do", "python -I -S -c pass", 5, lambda: timed(nothing), lambda: timed(bare), 3 * often
    orphaned = bench._replace(tree=bench.scratch / "orphans")
    sweep = orphaned.ours("sweep", state="orphans-state")
    delete = ["find", str(orphaned.tree), "-name", "*.pyc", "-delete"]
    yield f"{ORPHANS} orphans", "find -delete", 2.5, _orphaned(orphaned, sweep), _orphaned(orphaned, delete), often


def _on_disk(bench: Bench, directory: str) -> Iterator[Figure]:
    """One cold run and its peer, each on a fresh copy: after many deletions ext4's allocator is what is timed."""
    with tempfile.TemporaryDirectory(dir=directory, prefix="pyctrigger-bench-") as scratch:
        kind = subprocess.run(["stat", "-f", "-c", "%T", scratch], capture_output=True, text=True, check=False).stdout
        remove_bytecode(bench.tree)
        one, other = (bench._replace(tree=Path(scratch) / name) for name in ("one", "other"))
        for copy in (one, other):
            shutil.copytree(bench.tree, copy.tree, symlinks=True)
        os.sync()
        ours, theirs = one.ours("run", state="disk"), [bench.target, "-I", "-S", "-c", BARE_LOOP, str(other.tree)]
        name = f"cold, one level, on {kind.strip()}, synced to the disk"
        figure = _measure(name, "bare loop, not synced", None, lambda: timed(ours), lambda: timed(theirs), 1)
        print(page.line(figure), flush=True)
        yield figure


def _touched(bench: Bench, command: list[str], before: list[str] | None = None) -> Side:
    """With new times for every source; `before` is run first, so that each side finds bytecode of its own."""

    def run() -> Sample:
        if before:
            timed(before)
        now = time.time_ns()
        for number, source in enumerate(sources(bench.tree)):
            os.utime(source, ns=(now, now - 10**9 * (1 + number % 1000) - now % 10**9))
        return timed(command)

    return run


#: Of edits, since the epoch.
_SECONDS = itertools.count(10**9)


def _edited(package: Path, command: list[str], environment: dict[str, str] | None = None) -> Side:
    """With another line in every source, each time of another second: py3compile looks at nothing else."""

    def run() -> Sample:
        began = time.time_ns()
        for source in sources(package):
            with source.open("ab") as file:
                file.write(b"#\n")
            second = next(_SECONDS)
            os.utime(source, (second, second))
        sample = timed(command, environment)
        if not any(pyc.stat().st_mtime_ns > began for pyc in package.rglob("*.pyc")):
            raise RuntimeError(f"{command[0]} has compiled nothing")
        return sample

    return run


def _orphaned(bench: Bench, command: list[str]) -> Side:
    tag = subprocess.run(
        [bench.target, "-I", "-c", "import sys; print(sys.implementation.cache_tag)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()

    def run() -> Sample:
        shutil.rmtree(bench.tree, ignore_errors=True)
        for number in range(ORPHANS // 100):
            pycache = bench.tree / f"package{number}/__pycache__"
            pycache.mkdir(parents=True)
            for module in range(100):
                (pycache / f"module{module}.{tag}.pyc").write_bytes(bytes(1000))
        return timed(command)

    return run


def _package(tree: Path) -> Path:
    packages = [path for path in tree.iterdir() if (path / "__init__.py").is_file()]
    return min(packages, key=lambda path: (abs(len(sources(path)) - TOUCHED), path.name))


if __name__ == "__main__":
    sys.exit(main())
