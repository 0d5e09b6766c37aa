"""pyctrigger beside an earlier commit of itself, as root: `nox -s earlier -- COMMIT [--page docs/performance.md]`.

Both are laid out as a package does, each works on a copy of one tree on tmpfs, in places of its own for locks and
state, and each row runs the two in turn. What is compared is processor time, children included: it changes less than
the time of day on a shared machine, which stands beside it. Nothing here decides whether a test passes.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Callable, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "support"))

import page
from peers import CHECKOUT, remove_bytecode, sources

if TYPE_CHECKING:
    from collections.abc import Iterator

_ALONE = "PYCTRIGGER_BENCH_ALONE"
_HEADER = 16
#: That the median lies within its interval.
_CONFIDENCE = 0.95
_PLACES = ("/run/pyctrigger", "/var/lib/pyctrigger")


class Cost(NamedTuple):
    """What one run took."""

    processor: float
    wall: float


class Side(NamedTuple):
    """One of the two: its application, and what it works on."""

    application: Path
    tree: Path
    state: Path

    def command(self, target: str, *arguments: str) -> list[str]:
        """A run over its tree, as a hook or the launcher starts it."""
        host = os.path.realpath(sys.executable)
        scope = ["--python", target, "--site-dir", str(self.tree), "--state-dir", str(self.state)]
        return [host, "-I", "-S", "-B", str(self.application), "run", "-q", "--no-progress", *scope, *arguments]


Before = Callable[[Side], object]
Command = Callable[[Side], "list[str]"]


def main() -> int:
    """Measure, print, and write the page's table."""
    options = _options()
    if os.geteuid() != 0:
        sys.exit("as root: it is root's trees that are compared")
    if not os.environ.get(_ALONE):
        return _alone()
    with tempfile.TemporaryDirectory(dir=options.scratch, prefix="pyctrigger-bench-") as name:
        scratch = Path(name)
        scratch.chmod(0o755)
        earlier, today = _staged(scratch, options.commit)
        lines = ["| tree, interpreter | work | before | now | ratio | wall before | wall now |", "|---" * 7 + "|"]
        for kind, target, owner in _kinds(options):
            pair = [
                Side(application, _copy(options.tree, scratch / kind / name / "tree", options.sources, owner), state)
                for name, application in (("earlier", earlier), ("today", today))
                for state in [scratch / kind / name / "state"]
            ]
            for work, before, command, rounds in _rows(target, options.rounds):
                lines.append(_line(kind, work, _measure(pair, before, command, rounds)))
                print(lines[-1], flush=True)
            if not owner:
                ways = (pair[0], _in_place), (pair[1], _anew)
                calls = [[_bare(side.tree, way) for _ in range(options.rounds)] for side, way in ways]
                lines.append(_line(kind, "the bare calls of a refresh: in place, anew", calls))
                print(lines[-1], flush=True)
            shutil.rmtree(scratch / kind)
    if options.page:
        page.replace_between(Path(options.page), "earlier", [_about(options), "", *lines])
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("commit")
    parser.add_argument("--python", default="/usr/bin/python3", help="the target of root's own and of the user's tree")
    parser.add_argument("--private-python", help="one below root's home, which nobody else can reach")
    parser.add_argument("--account", type=int, default=1, help="the owner of the user's tree, an account with an entry")
    parser.add_argument("--tree", default=os.path.dirname(os.__file__), help="where the sources are copied from")
    parser.add_argument("--sources", type=int, default=2500)
    parser.add_argument(
        "--rounds", type=int, default=5, help="rounds of the long rows; short ones have four times more"
    )
    parser.add_argument("--page", help="write the table into this page")
    parser.add_argument("--scratch", default="/dev/shm")
    return parser.parse_args()


def _alone() -> int:
    """The same in a mount namespace with places of its own, so that nobody's lock is waited for."""
    for place in _PLACES:
        os.makedirs(place, exist_ok=True)
    mounts = "; ".join(f"mount -t tmpfs -o mode=0700 none {place}" for place in _PLACES)
    again = ["unshare", "-m", "--propagation", "private", "sh", "-c", f'set -e; {mounts}; exec "$@"', "sh"]
    return subprocess.run([*again, sys.executable, *sys.argv], env={**os.environ, _ALONE: "1"}, check=False).returncode


def _staged(scratch: Path, commit: str) -> Iterator[Path]:
    """Both applications, each with bytecode of its own."""
    checkout = scratch / "checkout"
    subprocess.run(["git", "clone", "--quiet", CHECKOUT, checkout], check=True)
    subprocess.run(["git", "-C", checkout, "checkout", "--quiet", commit], check=True)
    for name, root in (("earlier", checkout), ("today", CHECKOUT)):
        stage = [sys.executable, str(root / "ports/build"), "--stage", "deb", str(scratch / "stage" / name)]
        subprocess.run(stage, check=True, stdout=subprocess.DEVNULL)
        application = scratch / "stage" / name / "usr/lib/pyctrigger"
        own = [os.path.realpath(sys.executable), "-I", "-S", "-B", str(application), "--own-bytecode"]
        subprocess.run(own, check=True)
        yield application


def _kinds(options: argparse.Namespace) -> Iterator[tuple[str, str, int]]:
    """Whose tree, with what interpreter, and the number of its owner."""
    yield "root's own", options.python, 0
    if options.private_python:
        yield "root's own, interpreter below a 0700 home", options.private_python, 0
    yield "a user's", options.python, options.account


def _copy(origin: str, tree: Path, most: int, owner: int) -> Path:
    """So many sources, in a tree of this owner's."""
    found = [path for path in sources(Path(origin)) if not {"bad", "data"} & set(path.stem.split("_"))]
    for source in found[:most]:
        goal = tree / source.relative_to(origin)
        goal.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, goal)
    if owner:
        subprocess.run(["chown", "-R", f"{owner}:{owner}", tree], check=True)
    return tree


def _rows(target: str, rounds: int) -> Iterator[tuple[str, Before, Command, int]]:
    """What is measured: its name, what is done before each run, the run, and how often."""

    def nothing(side: Side) -> None:
        pass

    def run(*arguments: str) -> Command:
        return lambda side: side.command(target, *arguments)

    def hook(side: Side) -> list[str]:
        return side.command(target, "--hook", str(sources(side.tree)[0]))

    yield "cold, --jobs 2", _clean, run("--jobs", "2"), rounds
    yield "every mtime changed", _touch, run(), rounds
    often = 4 * rounds
    yield "idle", lambda side: [_cost(side.command(target)) for _ in range(2)], run(), often
    yield "hook, nothing to do", nothing, hook, often
    yield "hook, an empty list", nothing, run("--hook", "--paths-from", os.devnull), often
    yield "one source changed", _edit, run(), often
    yield "one source changed, as a hook", _edit, hook, often


def _clean(side: Side) -> None:
    remove_bytecode(side.tree)
    shutil.rmtree(side.state, ignore_errors=True)


def _touch(side: Side) -> None:
    now = time.time_ns()
    for number, source in enumerate(sources(side.tree)):
        os.utime(source, ns=(now, now - 10**9 * (1 + number % 1000) - now % 10**9))


def _edit(side: Side) -> None:
    with sources(side.tree)[0].open("ab") as file:
        file.write(b"#\n")


def _measure(pair: list[Side], before: Before, command: Command, rounds: int) -> list[list[Cost]]:
    """Both in turn, each the first one as often as the other."""
    found: list[list[Cost]] = [[], []]
    for number in range(rounds):
        for each in (0, 1) if number % 2 else (1, 0):
            before(pair[each])
            found[each].append(_cost(command(pair[each])))
    return found


def _cost(command: list[str]) -> Cost:
    """Run a command to its end, and its children with it. Raises CalledProcessError where it ends with more than 1."""
    begun = time.perf_counter()
    null = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in range(3)]
    child = os.posix_spawn(command[0], command, os.environ, file_actions=null)
    _, status, usage = os.wait4(child, 0)
    wall = time.perf_counter() - begun
    if not os.WIFEXITED(status) or os.WEXITSTATUS(status) > 1:
        raise subprocess.CalledProcessError(status, command)
    return Cost(usage.ru_utime + usage.ru_stime, wall)


def _bare(tree: Path, renew: Callable[[str, int, int], None]) -> Cost:
    """What it takes to put a new header before each pyc, with nothing decided, recorded or reported."""
    pycs: dict[str, list[str]] = {}
    for pyc in tree.rglob("*.pyc"):
        pycs.setdefault(str(pyc.parent), []).append(pyc.name)
    processor, wall = time.process_time(), time.perf_counter()
    for pycache, names in pycs.items():
        directory, above = (os.open(path, os.O_RDONLY) for path in (pycache, os.path.dirname(pycache)))
        for name in names:
            renew(name, directory, above)
        os.close(directory)
        os.close(above)
    return Cost(time.process_time() - processor, time.perf_counter() - wall)


def _in_place(name: str, directory: int, _: int) -> None:
    pyc = os.open(name, os.O_WRONLY | os.O_NOFOLLOW, dir_fd=directory)
    os.fstat(pyc)
    os.pwrite(pyc, bytes(_HEADER), 0)
    os.fstat(pyc)
    os.close(pyc)


def _anew(name: str, directory: int, above: int) -> None:
    """A new file with the rights that the source has now: its list belongs to them."""
    source = os.open(name.partition(".")[0] + ".py", os.O_RDONLY | os.O_NOFOLLOW, dir_fd=above)
    os.fstat(source)
    with contextlib.suppress(OSError):
        os.getxattr(source, "system.posix_acl_access")
    os.close(source)
    old = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=directory)
    body = memoryview(os.read(old, os.fstat(old).st_size))[_HEADER:]
    os.close(old)
    new = os.open(".new", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=directory)
    os.writev(new, (bytes(_HEADER), body))
    os.fstat(new)
    os.close(new)
    os.rename(".new", name, src_dir_fd=directory, dst_dir_fd=directory)
    os.stat(name, dir_fd=directory)


def interval(ordered: list[float]) -> tuple[float, float]:
    """Returns the bounds of at least that confidence for the median: two order statistics, whatever the distribution.

    A sample below the k-th of n is as likely as fewer than k heads in n throws of a coin.
    """
    count = len(ordered)
    left, outside = 0, 0.5**count
    while left + 1 < count // 2:
        outside += math.comb(count, left + 1) / 2**count
        if 2 * outside > 1 - _CONFIDENCE:
            break
        left += 1
    return ordered[left], ordered[count - 1 - left]


def _line(kind: str, work: str, found: list[list[Cost]]) -> str:
    earlier, today = found
    processor = [statistics.median(cost.processor for cost in side) for side in found]
    wall = [statistics.median(cost.wall for cost in side) for side in found]
    ratios = sorted(now.processor / before.processor for before, now in zip(earlier, today))
    low, high = interval(ratios)
    shown = [f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.2f} s" for seconds in (*processor, *wall)]
    shown.append(f"{statistics.median(ratios):.3f} ({low:.3f} to {high:.3f})")
    return f"| {kind} | {work} | {shown[0]} | {shown[1]} | {shown[4]} | {shown[2]} | {shown[3]} |"


def _about(options: argparse.Namespace) -> str:
    versions = []
    for python in filter(None, (options.python, options.private_python)):
        said = subprocess.run([python, "-V"], capture_output=True, text=True, check=True).stdout.split()[1]
        versions.append(f"{said}{' (below a 0700 home)' if python == options.private_python else ''}")
    return (
        f"{page.system()}, host cpython {sys.version.split()[0]}, targets cpython {', '.join(versions)}; "
        f"{options.sources:,} sources on tmpfs, before: {options.commit}. Medians of processor time, of "
        f"{options.rounds} pairs for the long rows and {4 * options.rounds} for the short ones; the ratio is the "
        "median of those pair by pair, with its 95 % interval."
    )


if __name__ == "__main__":
    sys.exit(main())
