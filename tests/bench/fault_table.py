"""How many of the thirty faults each tool mends: `python tests/bench/fault_table.py [--python PATH]`.

Each tool gets a package of its own for each fault. A fault is mended if the module's pyc is again the regular file with
the bytes that it had, and nothing beside it has changed. A tool that hangs is ended, and mended nothing. Nothing here
decides whether a test passes.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "support"))

from faults import SOURCES, Place, faults_of, unprotect
from interpreters import find_interpreters, one_per_flavour
from packages import snapshot, write_tree

#: Seconds that a tool gets for two modules.
PATIENCE = 30


class Peer(NamedTuple):
    """A tool, and how it is brought to mend a directory."""

    name: str
    command: list[str]


def main() -> int:
    """Do every fault to every tool, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    newest = [each for each in one_per_flavour(find_interpreters()) if each.implementation == "cpython"][-1]
    parser.add_argument("--python", default=newest.path, help="the target (default: the newest CPython here)")
    options = parser.parse_args()
    target = next((each for each in find_interpreters() if each.path == options.python), newest)
    faults = faults_of(target)
    with tempfile.TemporaryDirectory(prefix="pyctrigger-bench-") as scratch:
        peers = _peers(target.path)
        print(f"{target.flavour}: {len(faults)} faults\n{'':46}" + "".join(f"{peer.name:>18}" for peer in peers))
        sums = [0] * len(peers)
        for number, fault in enumerate(faults):
            said = []
            for position, peer in enumerate(peers):
                place = Place(
                    Path(scratch) / f"{number}-{position}" / "site/package",
                    target,
                    Path(scratch) / f"{number}-{position}" / "outside",
                )
                place.outside.mkdir(parents=True)
                write_tree(place.package, SOURCES)
                _run(peers[-1], place)
                whole = place.pyc().read_bytes()
                fault.damage(place)
                before = snapshot(place.outside)
                code = _run(peer, place)
                if fault.protected:
                    unprotect(place.pycache)
                mended = _is_mended(place, whole) and snapshot(place.outside) == before
                sums[position] += mended
                said.append("mended" if mended else "hangs" if code is None else f"no, exit {code}")
            print(f"{fault.name:46}" + "".join(f"{each:>18}" for each in said))
        print(f"{'mended':46}" + "".join(f"{each:>18}" for each in sums))
    return 0


def _peers(python: str) -> list[Peer]:
    ours = [sys.executable, "-m", "pyctrigger"]
    return [
        Peer("compileall", [python, "-m", "compileall", "-q"]),
        Peer("compileall -f", [python, "-m", "compileall", "-q", "-f"]),
        Peer("pyctrigger run", [*ours, "run", "--python", python]),
        Peer("pyctrigger repair", [*ours, "repair", "--python", python]),
    ]


def _run(peer: Peer, place: Place) -> int | None:
    """The exit code; None if it had to be ended."""
    command = list(peer.command)
    if "pyctrigger" in command:
        command += ["--site-dir", str(place.package.parent), "--state-dir", str(place.package.parent.parent / "state")]
    else:
        command.append(str(place.package))
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        return child.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
        return None


def _is_mended(place: Place, whole: bytes) -> bool:
    pyc = place.pyc()
    if place.pycache.is_symlink() or pyc.is_symlink() or not pyc.is_file():
        return False
    return pyc.read_bytes() == whole


if __name__ == "__main__":
    sys.exit(main())
