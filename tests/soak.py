"""The soak: random transactions of three interpreters over one site directory, judged by them after each.

`python tests/soak.py --seed 7 --minutes 120` installs, upgrades, breaks off, kills, imports, repairs, loses and rolls
back; a killed hook's paths are never told again, and of a transaction that failed nothing is ever told. After each one
more hook for each interpreter is told of something harmless, and then all has to be as it should: see
`soaking/invariants.py` and `soaking/judge_inside.py`.

All is drawn from the seed, but for how far a process has come when it is killed. `--replay N` carries out the first N
transactions of a seed and shows each step. Exit 1: an invariant is broken; the tree, the state and the log are kept.
"""

from __future__ import annotations

import argparse
import collections
import ctypes
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent / "support"))

from command import Command
from interpreters import find_interpreters, one_per_flavour
from separation import separable, separate
from soaking.runner import BrokenInvariant, Places, Runner
from soaking.site import Site
from soaking.transaction import Drawing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interpreters import Interpreter

#: The steps shown when an invariant is broken.
_SHOWN = 60
_TREE_SIZE = "16m"
#: sys/prctl.h
_PR_SET_CHILD_SUBREAPER = 36


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 as long as nothing is broken."""
    options = _parse(arguments)
    work = Path(tempfile.mkdtemp(prefix="pyctrigger-soak-", dir=options.directory)).resolve()
    filled = _prepare_system(work)
    soak = Soak(options.seed, choose(options.pythons), work, loud=options.replay is not None, verbose=options.verbose)
    drawing = Drawing(
        options.seed, len(soak.interpreters), can_fill=filled, without=options.without, thorough=options.thorough
    )
    last = options.replay or options.transactions
    deadline = None if options.minutes is None else time.monotonic() + 60 * options.minutes
    broken = soak.run(drawing, last, deadline)
    if broken is None:
        if filled:
            subprocess.run(["umount", str(work / "tree")], check=True)
        shutil.rmtree(work)
    return 0 if broken is None else 1


def choose(count: int) -> list[Interpreter]:
    """PyPy, the oldest and the newest CPython, or as many of other flavours as there are."""
    found = one_per_flavour(find_interpreters())
    cpythons = [each for each in found if each.implementation == "cpython"]
    pypys = [each for each in found if each.implementation == "pypy"]
    return [*cpythons[-1:], *cpythons[:1], *pypys[-1:], *cpythons[1:-1]][:count]


class Soak:
    """One soak in one directory."""

    def __init__(self, seed: int, interpreters: list[Interpreter], work: Path, *, loud: bool, verbose: bool) -> None:
        self.seed = seed
        self.interpreters = interpreters
        self._places = Places(work, Path("/run/pyctrigger") if os.geteuid() == 0 else work / "run/pyctrigger")
        self._loud = loud
        self._verbose = verbose
        self._shown: collections.deque[str] = collections.deque(maxlen=_SHOWN)
        self._log = open(work / "log.txt", "w", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
        self._places.outside.mkdir()
        (self._places.outside / "module.py").write_text("VALUE = 1\n", encoding="utf-8")
        self._site = Site(self._places.tree / "site")
        self._site.top.mkdir(parents=True)
        os.symlink(self._places.outside, self._site.top / "linked")
        command = Command(self._places.state)
        self._runner = Runner(command, self._places, self._site, interpreters, self._note)

    def run(self, drawing: Drawing, last: int | None, deadline: float | None) -> BrokenInvariant | None:
        """Transactions until the last one or the deadline; what was broken."""
        flavours = " ".join(each.flavour for each in self.interpreters)
        self._say(f"seed {self.seed}: {flavours} share {self._site.top}")
        broken, number = None, 0
        while (last is None or number < last) and (deadline is None or time.monotonic() < deadline):
            number += 1
            try:
                self._runner.transact(number, drawing)
            except BrokenInvariant as error:
                broken = error
                self._tell(error, number)
                break
        self._runner.close()
        self._say(", ".join(f"{count} {what}" for what, count in self._runner.counts.items()) + f"; seed {self.seed}")
        self._log.close()
        return broken

    def _tell(self, broken: BrokenInvariant, number: int) -> None:
        """Say what is broken, and keep the tree, whose file system ends with this process."""
        kept = self._places.work / "kept"
        # As root the tree is a mount of this process's own.
        shutil.copytree(self._site.top, kept, symlinks=True)
        if not self._loud:
            for line in self._shown:
                print(line)
        self._say(f"broken by transaction {number} of seed {self.seed}:")
        for fault in broken.faults:
            self._say(f"  {fault}")
        self._say(f"kept: {self._places.work} (log.txt, state, and the tree in {kept.name})")
        self._say(f"again: python tests/soak.py --seed {self.seed} --replay {number}")

    def _note(self, line: str) -> None:
        self._log.write(f"{time.strftime('%H:%M:%S')} {line}\n")
        self._log.flush()
        self._shown.append(line)
        if self._loud or (self._verbose and line.startswith("transaction")):
            self._print(line)

    def _say(self, line: str) -> None:
        self._log.write(line + "\n")
        self._print(line)

    def _print(self, line: str) -> None:
        print(line.encode(errors="backslashreplace").decode(), flush=True)


def _prepare_system(work: Path) -> bool:
    """Prepare locks of our own, and as root a small file system for the tree; returns whether that can be filled."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    runtime, tree = work / "run", work / "tree"
    runtime.mkdir(mode=0o700)
    tree.mkdir()
    if not separable():
        return False
    separate(str(runtime))
    if os.geteuid() != 0:
        return False
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_TREE_SIZE}", "none", str(tree)]
    return subprocess.run(mount, check=False).returncode == 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--minutes", type=float, help="end after so long")
    parser.add_argument("--transactions", type=int, help="end after so many")
    parser.add_argument("--replay", type=int, metavar="N", help="carry out the first N, and show each step")
    parser.add_argument("--without", action="append", default=[], metavar="KIND", help="leave a kind out")
    thorough = "the last hooks look at everything: what is broken then isn't the glance's fault"
    parser.add_argument("--thorough", action="store_true", help=thorough)
    parser.add_argument("--pythons", type=int, default=3, help="how many interpreters share the tree")
    parser.add_argument("--directory", help="where the soak has its files, instead of the temporary directory")
    parser.add_argument("--verbose", action="store_true", help="name each transaction")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
