"""What a hook costs that has nothing to do, beside a bare Python: `python3 tests/bench/startup.py [--runs N]`.

The program is laid out as a package has it, with its own bytecode; both are started in turns, and each figure is a
median of wall times in milliseconds. Run it with the interpreter that is to be the host.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent.parent


def main() -> int:
    """Measure; print one line for each command, and their ratio."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=40)
    options = parser.parse_args()
    shared_memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared_memory if os.access(shared_memory, os.W_OK) else None) as scratch:
        subprocess.run([sys.executable, CHECKOUT / "ports/build", "--stage", "deb", scratch], check=True)
        application = f"{scratch}/usr/lib/pyctrigger"
        python = os.path.realpath(sys.executable)
        start = [python, "-I", "-S", "-B", application]
        subprocess.run([*start, "--own-bytecode"], check=True)
        hook = ["run", "--hook", "--python", python, "--paths-from", os.devnull, "--state-dir", f"{scratch}/state"]
        commands = {
            "python -I -S -c pass": [python, "-I", "-S", "-c", "pass"],
            "hook with nothing to do": [*start, *hook],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for number in range(options.runs + 3):
            for name, command in commands.items():
                began = time.perf_counter()
                subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
                if number >= 3:  # the first ones fill caches
                    times[name].append((time.perf_counter() - began) * 1000)
    print(f"{sys.implementation.name} {sys.version.split()[0]}, {options.runs} pairs")
    for name, measured in times.items():
        print(f"{name:26} {statistics.median(measured):7.1f} ms  ({min(measured):.1f}-{max(measured):.1f})")
    bare, ours = (statistics.median(measured) for measured in times.values())
    print(f"{'ratio':26} {ours / bare:7.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
