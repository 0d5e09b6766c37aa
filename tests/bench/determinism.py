"""Whether bytecode depends on anything but its source: `python tests/bench/determinism.py --tree DIR [--python PATH]`.

For each interpreter it compiles every source below DIR with one, two and five workers, in two orders, in two runs, and
counts the sources of which any two bodies differ. Then it compiles all three levels at once and each alone, and counts
again. It needs nothing installed: the workers are those of the checkout.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(CHECKOUT / "src"), str(CHECKOUT / "tests/support")]

from bytes_of_workers import bodies, bodies_of_levels, differing  # noqa: E402 - from the checkout, see above


def main() -> int:
    """Compare; exit 1 where anything differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--python", action="append", default=[], help="an interpreter; repeatable")
    parser.add_argument("--tree", required=True, help="the sources")
    parser.add_argument("--every", type=int, default=1, help="only every so many sources")
    options = parser.parse_args()
    found = [os.fsencode(path) for path in sorted(Path(options.tree).rglob("*.py")) if path.is_file()]
    sources = found[:: options.every]
    wrong = 0
    for python in options.python or [sys.executable]:
        begun = time.perf_counter()
        compared, different = differing(python, sources)
        together = bodies_of_levels(python, sources)
        unequal = [
            path
            for level in (0, 1, 2)
            for path, body in bodies(python, sources, workers=2, level=level).items()
            if together[path, level] != body
        ]
        wrong += len(different) + len(unequal)
        seconds = time.perf_counter() - begun
        print(f"{python}: {compared} sources, {len(different)} depend on more than that, ", end="")
        print(f"{len(unequal)} levels differ from the same alone; {seconds:.0f} s", flush=True)
        for path in [*different, *unequal][:10]:
            print(f"  {os.fsdecode(path)}")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
