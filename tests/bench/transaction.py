"""Cold, idle and one-package runs beside `python -m compileall`, in one go: `python tests/bench/transaction.py`.

Run it with an environment that has pyctrigger (`.venv/bin/python` after `tests/all.py`). It installs real packages
without bytecode into a scratch directory on tmpfs, then runs each row and its peer in turn, several times, and prints
the medians, the spread, and the median of the ratios pair by pair: a machine's speed drifts, and both sides drift with
it. Whole processes are timed, start included. Nothing here decides whether a test passes.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

PACKAGES = ("numpy", "pandas", "scipy", "sympy", "django", "jupyterlab", "matplotlib", "scikit-learn", "sqlalchemy")
TOUCHED = 20


class Sample(NamedTuple):
    """One run of one command."""

    seconds: float
    peak: int
    """KiB that the started process itself held at most; 0 where the system doesn't say."""


class Row(NamedTuple):
    """One kind of work, done by us and by the peer."""

    name: str
    ours: list[str]
    peer: list[str]
    prepare: str
    """cold: no bytecode; idle: nothing to do; package: twenty sources changed."""


def main() -> int:
    """Measure, and print a table."""
    options = _options()
    with tempfile.TemporaryDirectory(dir=options.scratch, prefix="pyctrigger-bench-") as scratch:
        tree = Path(options.tree) if options.tree else _install(Path(scratch) / "site", options.packages)
        package = _package_of_size(tree, TOUCHED)
        print(f"{sys.implementation.name} {sys.version.split()[0]} host, {_version(options.python)} target,")
        print(f"{len(os.sched_getaffinity(0))} CPUs, {len(_sources(tree))} sources on {_file_system(tree)}, ", end="")
        print(f"one package: {package.name} ({len(_sources(package))} sources); {options.runs} runs each, in turn\n")
        print(f"{'work':12} {'pyctrigger':>22} {'compileall':>22} {'ratio':>7} {'host peak':>10}")
        for row in _rows(options, tree, package, Path(scratch) / "state"):
            if not options.only or row.name in options.only:
                _measure(row, tree, package, options.runs)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--python", default=sys.executable, help="the target; it is the peer's interpreter, too")
    parser.add_argument("--tree", help="measure on this directory of sources; its __pycache__ are removed")
    parser.add_argument("--packages", nargs="+", default=list(PACKAGES))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", nargs="+", help="the rows to measure, by the first column of the table")
    parser.add_argument("--scratch", default="/dev/shm" if os.path.isdir("/dev/shm") else None)
    return parser.parse_args()


def _install(site: Path, packages: list[str]) -> Path:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--target", str(site)]
    subprocess.run([*pip, *packages], check=True)
    return site


def _rows(options: argparse.Namespace, tree: Path, package: Path, state: Path) -> list[Row]:
    ours = [sys.executable, "-I", "-m", "pyctrigger", "run", "-q", "--no-progress", "--python", options.python]
    ours += ["--site-dir", str(tree), "--state-dir", str(state)]
    peer = [options.python, "-m", "compileall", "-q"]
    levels = [flag for level in "012" for flag in ("-o", level)]
    return [
        Row("cold", ours, [*peer, "-j2", str(tree)], "cold"),
        Row("cold, 0,1,2", [*ours, "--optimize", "0,1,2"], [*peer, "-j2", *levels, str(tree)], "cold"),
        Row("idle", ours, [*peer, str(tree)], "idle"),
        Row("one package", [*ours, str(package)], [*peer, str(package)], "package"),
    ]


def _measure(row: Row, tree: Path, package: Path, runs: int) -> None:
    samples: tuple[list[Sample], list[Sample]] = ([], [])
    for round_number in range(runs + (row.prepare != "cold")):
        for side, command in enumerate((row.ours, row.peer)):
            _prepare(row.prepare, tree, package)
            sample = _time(command)
            if row.prepare == "cold" or round_number:  # the first round of the others brings the tree up to date
                samples[side].append(sample)
    ours, peer = ([sample.seconds for sample in each] for each in samples)
    ratio = statistics.median(one / other for one, other in zip(ours, peer))
    peak = max(sample.peak for sample in samples[0]) / 1024
    print(f"{row.name:12} {_spread(ours)} {_spread(peer)} {ratio:7.2f} {peak:7.0f} MiB", flush=True)


def _prepare(kind: str, tree: Path, package: Path) -> None:
    if kind == "cold":
        for directory, names, _ in os.walk(tree):
            if "__pycache__" in names:
                shutil.rmtree(os.path.join(directory, "__pycache__"))
    elif kind == "package":
        now = time.time_ns()
        for number, path in enumerate(_sources(package)):
            path.touch()
            os.utime(path, ns=(now + number, now - 10**9 * (1 + now % 1000)))


def _time(command: list[str]) -> Sample:
    start = time.perf_counter()
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak = 0
    while child.poll() is None:
        peak = max(peak, _peak_of(child.pid))
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(0.02)
    return Sample(time.perf_counter() - start, peak)


def _peak_of(pid: int) -> int:
    """The most memory that one process alone has held; what the system keeps for its children would be a worker's."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return 0


def _package_of_size(tree: Path, wanted: int) -> Path:
    packages = [path for path in tree.iterdir() if (path / "__init__.py").is_file()]
    return min(packages, key=lambda path: (abs(len(_sources(path)) - wanted), path.name))


def _sources(top: Path) -> list[Path]:
    return sorted(path for path in top.rglob("*.py") if path.is_file())


def _spread(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):6.2f} s ({min(seconds):5.2f}-{max(seconds):5.2f})"


def _version(python: str) -> str:
    code = "import sys; print(sys.implementation.name, sys.version.split()[0])"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def _file_system(path: Path) -> str:
    child = subprocess.run(["stat", "-f", "-c", "%T", str(path)], capture_output=True, text=True, check=False)
    return child.stdout.strip() or "an unknown file system"


if __name__ == "__main__":
    sys.exit(main())
