"""What a Dask cluster costs `audit` on one machine, and what a second node brings where each request takes 20 ms.

`python tests/bench/cluster.py`, best as root, prints two rows, and with `--page docs/performance.md` puts them there.
Wheels and sdists are made of the packages beside this Python, with their bytecode, and served by nginx where that is.
"""

from __future__ import annotations

import argparse
import compileall
import os
import resource
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

TOP = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TOP), str(TOP / "support")]  # as pytest has it

from archive_server import archive_server, nginx  # noqa: E402
from archives import sdist_of, wheel_of  # noqa: E402
from dask_cluster import DaskCluster, dask_cluster  # noqa: E402
from page import replace_between, system  # noqa: E402
from timing import spread  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Seconds before each answer, for the second row.
_LATENCY = 0.02
_MOST_OVERHEAD, _LEAST_GAIN = 1.15, 1.8
#: Files of a package; larger ones would be all that is measured.
_MOST_FILES = 150


def main() -> int:
    """Measure, print, and write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--archives", type=int, default=1200, help="of the first row")
    parser.add_argument("--slow-archives", type=int, default=300, help="of the second row")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", nargs="+", choices=["overhead", "gain"], default=["overhead", "gain"])
    parser.add_argument("--page", type=Path)
    parser.add_argument("--scratch", default="/dev/shm" if os.path.isdir("/dev/shm") else None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pyctrigger-cluster-", dir=options.scratch) as made:
        top = Path(made) / "top"
        names = make_archives(top, options.archives if "overhead" in options.rows else 0)
        size = sum((top / name).stat().st_size for name in names) / 2**20
        host = f"{sys.implementation.name} {sys.version.split()[0]}"
        count = f"{options.archives:,} archives of {size:.0f} MiB, and {options.slow_archives:,} small ones"
        lines = [
            f"{system()}, host {host}; {count}.",
            "",
            "| work | pyctrigger | peer | | ratio | to reach | | of processor time |",
            "|---|---|---|---|---|---|---|---|",
        ]
        if "overhead" in options.rows:
            lines.append(overhead(top, names, options.rounds, Path(made) / "nginx"))
        if "gain" in options.rows:
            lines.append(gain(Path(made) / "small", options.slow_archives, options.rounds))
    print("\n".join(lines))
    if options.page is not None:
        replace_between(options.page, "cluster", lines)
    return 0


def overhead(top: Path, names: Sequence[str], rounds: int, state: Path) -> str:
    """As many nodes as processors, against as many readers."""
    count = len(os.sched_getaffinity(0))
    with nginx(top, state) as (url, _), dask_cluster(count) as cluster:
        urls = [f"{url}{name}" for name in names]
        pairs = [(on(cluster, urls), audit("--jobs", str(count), *urls)) for _ in range(rounds)]
    return _row(f"audit on {count} nodes here", f"{count} readers", pairs, _MOST_OVERHEAD)


def on(cluster: DaskCluster, urls: list[str]) -> tuple[float, float]:
    """Seconds of an audit on a cluster."""
    return audit("--scheduler", cluster.address, *urls, cluster=cluster)


def gain(top: Path, count: int, rounds: int) -> str:
    """Two nodes against one, where each request takes some time: of small archives, which cost little else."""
    names = make_archives(top, count, 4)
    with archive_server(top, delay=_LATENCY) as server, dask_cluster(1) as one, dask_cluster(2) as two:
        urls = list(map(server.url, names))
        pairs = [(on(one, urls), on(two, urls)) for _ in range(rounds)]
    return _row("audit on one node, 20 ms a request", "two nodes", pairs, _LEAST_GAIN)


def _row(work: str, peer: str, pairs: list[tuple[tuple[float, float], tuple[float, float]]], limit: float) -> str:
    clock, processor = (statistics.median(ours[which] / theirs[which] for ours, theirs in pairs) for which in range(2))
    is_reached = clock <= limit if limit == _MOST_OVERHEAD else clock >= limit
    # The page's chart takes what looks like its own cells, and is of other rows.
    cells = [spread([each[side][0] for each in pairs]).replace(" s ", " seconds ") for side in range(2)]
    verdict = "reached" if is_reached else "**missed**"
    return f"| {work} | {cells[0]} | {peer} | {cells[1]} | {clock:.2f} | {limit:g} | {verdict} | {processor:.2f} |"


def audit(*arguments: str, cluster: DaskCluster | None = None) -> tuple[float, float]:
    """Seconds of a whole call, start included: by the clock, and of processors, those of the cluster as well."""
    command = [sys.executable, "-m", "pyctrigger", "audit", "-q", *arguments]
    before = _processor_seconds(cluster)
    since = time.perf_counter()  # `timing` would wait for the nodes, which are children as well
    child = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False)
    assert child.returncode in (0, 1), child.returncode
    return time.perf_counter() - since, _processor_seconds(cluster) - before


def _processor_seconds(cluster: DaskCluster | None) -> float:
    """Those of all calls until now, and of a cluster with all that it has started."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = used.ru_utime + used.ru_stime
    for each in cluster.processes if cluster is not None else ():
        process = psutil.Process(each.pid)
        seconds += sum(sum(one.cpu_times()[:4]) for one in (process, *process.children(recursive=True)))
    return seconds


def make_archives(top: Path, count: int, most: int = _MOST_FILES) -> list[str]:
    """So many archives of real packages, each a bit different, in turn a wheel, a wheel and an sdist."""
    top.mkdir()
    directories = sorted(Path(sysconfig.get_path("purelib")).iterdir())
    packages = [files for files in (_files_of(path, most) for path in directories) if files]
    names = []
    for number in range(count):
        files = {**packages[number % len(packages)], "demo/number.py": f"x = {number}\n".encode()}
        if number % 3 == 2:
            suffix, data = "tar.gz", sdist_of(files, time.time())
        else:
            suffix, data = "whl", wheel_of(files, time.time(), zipfile.ZIP_DEFLATED)
        names.append(f"demo-{number}.{suffix}")
        (top / names[-1]).write_bytes(data)
    return names


def _files_of(package: Path, most: int) -> dict[str, bytes]:
    """The sources of a package, and their bytecode, which is made if it isn't there."""
    if not (package / "__init__.py").is_file():
        return {}
    sources = sorted(package.rglob("*.py"))[:most]
    for source in sources:
        compileall.compile_file(source, quiet=2)
    found = {*sources, *(pyc for source in sources for pyc in source.parent.glob(f"__pycache__/{source.stem}.*.pyc"))}
    return {str(path.relative_to(package.parent)): path.read_bytes() for path in sorted(found)}


if __name__ == "__main__":
    sys.exit(main())
