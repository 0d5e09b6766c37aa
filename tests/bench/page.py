"""What the benchmark says, as a page with a table and a chart."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from timing import spread

if TYPE_CHECKING:
    from peers import Bench
    from scaling import Scaled
    from timing import Figure

_BEGIN, _END = "<!-- measured -->", "<!-- /measured -->"


def machine(bench: Bench, count: int) -> str:
    """What was measured, on what."""
    version = subprocess.run(
        [bench.target, "-c", "import sys; print(sys.implementation.name, sys.version.split()[0])"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    uv = subprocess.run([bench.uv, "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    kind = subprocess.run(["stat", "-f", "-c", "%T", bench.tree], capture_output=True, text=True, check=False)
    return (
        f"{len(os.sched_getaffinity(0))} CPUs ({_processor()}), "
        f"{platform.system()} {platform.release().split('-')[0]}, "
        f"host {sys.implementation.name} {sys.version.split()[0]}, target {version}, uv {uv}; "
        f"{count} sources on {kind.stdout.strip() or 'an unknown file system'}."
    )


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.machine()
    found = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    return found[1] if found else platform.machine()


def line(figure: Figure) -> str:
    """A row of the table."""
    verdict, limit = "", ""
    if figure.limit is not None:
        verdict, limit = "reached" if figure.ratio <= figure.limit else "**missed**", f"{figure.limit:g}"
    peak = f"{figure.peak} MiB" if figure.peak else ""
    return (
        f"| {figure.name.strip()} | {spread(figure.ours)} | {figure.peer} | {spread(figure.theirs)} "
        f"| {figure.ratio:.2f} | {limit} | {verdict} | {peak} |"
    )


def write(path: Path, about: str, figures: list[Figure], scaled: list[Scaled]) -> None:
    """Put the tables between the page's marks, and the chart beside it; what is written around them stays."""
    table = [
        "| work | pyctrigger | peer | | ratio | to reach | | host's memory |",
        "|---|---|---|---|---|---|---|---|",
        *map(line, figures),
    ]
    sizes = [
        "| sources | cold, one worker | cold, two workers | idle | memory, cold | memory, idle |",
        "|---|---|---|---|---|---|",
        *(
            f"| {each.sources:,} | {each.one_worker:.2f} s | {each.two_workers:.2f} s | {each.idle:.2f} s "
            f"| {each.cold_peak} MiB | {each.idle_peak} MiB |"
            for each in scaled
        ),
    ]
    has_chart = _draw(path.with_suffix(".svg"), figures)
    chart = [f"![Ratios to the peers]({path.with_suffix('.svg').name})", ""] if has_chart else []
    measured = "\n".join([_BEGIN, "", about, "", *table, "", *chart, *(sizes if scaled else []), "", _END])
    old = path.read_text(encoding="utf-8")
    pattern = re.compile(re.escape(_BEGIN) + ".*?" + re.escape(_END), re.DOTALL)
    path.write_text(pattern.sub(lambda _: measured, old), encoding="utf-8")


def _draw(path: Path, figures: list[Figure]) -> bool:
    """A bar for each row: its ratio, and a mark where it should be; False without matplotlib."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "pyctrigger"
    from matplotlib import pyplot

    judged = [(figure, figure.limit) for figure in figures[::-1] if figure.limit is not None]
    names = [f"{figure.name.strip()}, beside {figure.peer}" for figure, _ in judged]
    shares = [figure.ratio / limit for figure, limit in judged]
    drawing, axes = pyplot.subplots(figsize=(9, 0.45 * len(names) + 1.2))
    axes.barh(names, shares, color=["#3b7a57" if share <= 1 else "#b5523b" for share in shares])
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xlabel("ratio to the peer, as a share of the ratio to reach (less is better)")
    drawing.tight_layout()
    drawing.savefig(path, metadata={"Date": None})
    pyplot.close(drawing)
    return True
