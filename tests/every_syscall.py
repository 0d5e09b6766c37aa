"""Every system call of a transaction may be the last, or fail once: each is tried, and judged, one after the other.

`python tests/every_syscall.py` kills the process that works on a transaction at its first, second, … last system call,
and lets each fail with EIO, ENOSPC, EINTR and EMFILE where it can, in a fresh copy each. Then it does the same with a
larger transaction, which has lanes: to their host, and to a lane. After each one plain run has to leave nothing torn,
lost or left over, and exit code and line have to be true: see `support/syscalls.py`. All of them take an hour:
`--count 500 --seed 7` draws so many of both together, and `--log FILE` goes on where it ended.

`--stages work` takes a process that is forked after Python's start and our imports, `--stages start` only these, and
`--stages lanes` only the larger transaction, which is forked always. Exit 1: something was wrong, and each such fault
is named; `--only "read 7 EIO lane"` is that one alone.
"""

from __future__ import annotations

import argparse
import collections
import ctypes
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent / "support"))

from command import Command
from interpreters import find_interpreters, one_per_flavour
from separation import have_few_packages, separable, separate
from syscalls import ENVIRONMENT, Fault, Stage, Transaction, Verdict, draw, faults_of
from system_tools import find_tool

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_STAGES = {
    "all": tuple(Stage),
    "start": (Stage.PYTHON, Stage.IMPORTS),
    "work": tuple(Stage),
    "lanes": tuple(Stage),
}
_HAVE_LANES = ("all", "lanes")
#: Packages that dpkg knows, where this process may have mounts of its own. Each is four calls more, always the same.
_PACKAGES = 12
#: Seconds between two lines about how far it is.
_PROGRESS = 30.0
#: sys/prctl.h
_PR_SET_CHILD_SUBREAPER = 36


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 if nothing was wrong, 2 if nothing could be tried."""
    options = _parse(arguments)
    strace = find_tool("strace")
    if strace is None:
        print("error: there is no strace (Debian package strace)", file=sys.stderr)
        return 2
    os.environ.update(ENVIRONMENT)
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    top = Path(tempfile.mkdtemp(prefix="pyctrigger-syscalls-", dir=options.directory)).resolve()
    (top / "run").mkdir(mode=0o700)
    if separable():
        separate(str(top / "run"))
        if os.geteuid() == 0:
            have_few_packages(top / "lists", _PACKAGES)
    newest = [each for each in one_per_flavour(find_interpreters()) if each.implementation == "cpython"][-1]
    try:
        transactions = []
        for lanes in (False, True):
            if options.stages in _HAVE_LANES if lanes else options.stages != "lanes":
                place = top / ("lanes" if lanes else "one")
                place.mkdir()
                warm = lanes or options.stages == "work"
                transactions.append(Transaction(place, Command(place), newest, strace, warm=warm, lanes=lanes))
        return 1 if _try_all(transactions, options) else 0
    finally:
        shutil.rmtree(top)


def _try_all(transactions: Sequence[Transaction], options: argparse.Namespace) -> bool:
    """Whether anything was wrong."""
    calls, of_process = [], {}
    for transaction in transactions:
        found = [call for call in transaction.calls() if call.stage in _STAGES[options.stages]]
        of_process.update(dict.fromkeys([call.process for call in found], transaction))
        calls += found
    stages = {(call.process, call.name, call.nth): call.stage for call in calls}
    every = faults_of(calls)
    faults = draw(calls, options.count or len(every), options.seed)
    if options.only:
        faults = [Fault.read(each) for each in options.only]
    first, parts = map(int, options.part.split("/"))
    known = _read_log(options.log)
    faults = [fault for fault in faults[first - 1 :: parts] if fault not in known]
    for process in of_process:
        names = [call.name for call in calls if call.process == process]
        possible, drawn = (sum(fault.process == process for fault in each) for each in (every, faults))
        shown = f"{len(names)} calls of {len(set(names))} names, {possible} faults, {drawn} to try"
        print(f"{process}: {shown}", flush=True)
    counts: collections.Counter[str] = collections.Counter(known.values())
    said = time.monotonic()
    for number, fault in enumerate(faults, 1):
        stage = stages.get((fault.process, fault.name, fault.nth), Stage.WORK)
        verdict = of_process[fault.process].suffer(fault, stage)
        for line in _shown(fault, verdict, options.verbose):
            print(line, flush=True)
        counts[_kind(verdict)] += 1
        if options.log:
            with options.log.open("a", encoding="utf-8") as log:
                log.write(f"{fault}: {_kind(verdict)}\n")
        if time.monotonic() > said + _PROGRESS:
            said = time.monotonic()
            print(f"{number} of {len(faults)}: {_listed(counts)}", flush=True)
    wrong = [each for transaction in transactions for each in transaction.end()]
    print("\n".join([*wrong, f"{_listed(counts)}; seed {options.seed}"]))
    return bool(wrong or counts["wrong"])


def _kind(verdict: Verdict) -> str:
    if verdict.wrong:
        return "wrong"
    if not verdict.reached:
        return "not reached"
    return verdict.limit or "right"


def _listed(counts: collections.Counter[str]) -> str:
    return ", ".join(f"{count} {what}" for what, count in counts.most_common())


def _shown(fault: Fault, verdict: Verdict, verbose: bool) -> Iterator[str]:
    for what in verdict.wrong:
        yield f"{fault}: {what}".encode(errors="backslashreplace").decode()
    if verbose and not verdict.wrong:
        yield f"{fault}: exit {verdict.code} {verdict.limit}"


def _read_log(log: Path | None) -> dict[Fault, str]:
    """What an earlier call has tried, with what was found."""
    if log is None or not log.exists():
        return {}
    lines = (line.partition(": ") for line in log.read_text(encoding="utf-8").splitlines())
    return {Fault.read(fault): kind for fault, _, kind in lines}


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, help="draw so many; without it, all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--part", default="1/1", metavar="I/N", help="of those, each N-th, from the I-th on")
    parser.add_argument("--stages", choices=list(_STAGES), default="all")
    parser.add_argument("--only", action="append", metavar="FAULT", help="this one, as it was named")
    parser.add_argument("--log", type=Path, metavar="FILE", help="note what was tried, and leave out what is noted")
    parser.add_argument("--directory", help="where the tree is, instead of the temporary directory")
    parser.add_argument("--verbose", action="store_true", help="name each fault")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
