"""What a hook's glance costs: `python tests/bench/glance.py` in an environment that has pyctrigger.

A settled site directory of 12,000 sources in 800 directories. A hook, and the same call without `--hook`, which looks
only at what it is told of, are timed in turn; printed are both medians and the median of the ratios pair by pair, with
the ratio to reach. Nothing here decides whether a test passes.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "support"))

from timing import timed

PACKAGES = 80
INNER = 9
SOURCES = 15
LIMIT = 1.3


def main() -> int:
    """Make the tree, settle it, measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--python", default=sys.executable, help="the target")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--scratch", default="/dev/shm" if os.path.isdir("/dev/shm") else None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.scratch, prefix="pyctrigger-bench-") as scratch:
        site = Path(scratch) / "site"
        fill(site)
        state = ["--state-dir", f"{scratch}/state"]
        program = [sys.executable, "-m", "pyctrigger", "run", *state]
        scope = ["--python", options.python, "--site-dir", str(site)]
        timed([*program, *scope])
        for _ in range(2):
            time.sleep(0.1)  # what is younger than a tick isn't taken down
            timed([*program, "--hook", *scope, "/nowhere"])
        for name, path in (("one package, unchanged", site / "package0"), ("nothing of ours", site.parent / "other")):
            hook, run = [*program, "--hook", *scope, str(path)], [*program, *scope, str(path)]
            if path.parent != site:  # a person's run refuses a path outside; what it then does is the start alone
                run = [*program, *scope, "--paths-from", os.devnull]
            print(_measure(name, hook, run, options.rounds), flush=True)
    return 0


def fill(site: Path) -> None:
    """Make 80 packages of 150 sources."""
    for package in range(PACKAGES):
        for inner in ("", *(f"inner{number}" for number in range(INNER))):
            directory = site / f"package{package}" / inner
            directory.mkdir(parents=True)
            for number in range(SOURCES):
                (directory / f"module{number}.py").write_text("VALUE = 1\n")


def _measure(name: str, hook: list[str], run: list[str], rounds: int) -> str:
    pairs = [(timed(hook).seconds, timed(run).seconds) for _ in range(rounds)]
    one, other = (statistics.median(side) for side in zip(*pairs))
    ratio = statistics.median(ours / theirs for ours, theirs in pairs)
    return f"{name}: {1000 * one:.0f} ms, without the glance {1000 * other:.0f} ms; ratio {ratio:.2f}, limit {LIMIT}"


if __name__ == "__main__":
    sys.exit(main())
