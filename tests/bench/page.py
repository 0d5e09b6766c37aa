"""What the benchmark says, as a page with a table and a chart."""

from __future__ import annotations

import datetime
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from chart import SCALING_TITLE, TITLE, draw_all, plural, scaling_chart
from headline import THREADS, UV_SPEEDUP, UV_THREADS, Row, Serial
from peers import CHECKOUT, sources
from scaling import LANES
from timing import spread

if TYPE_CHECKING:
    from peers import Bench
    from scaling import Scaled
    from timing import Figure

#: Bytes of a source that is all start-up and hardly any compilation.
_SMALL = 2048


def machine(bench: Bench, count: int) -> str:
    """What was measured, on what."""
    kind = subprocess.run(["stat", "-f", "-c", "%T", bench.tree], capture_output=True, text=True, check=False)
    return f"{_versions(bench)}; {count} sources on {kind.stdout.strip() or 'an unknown file system'}."


def headline_machine(trees: dict[str, Bench]) -> str:
    """The same with date, commit, and what each tree holds."""
    told = [f"{today()}; {_versions(next(iter(trees.values())))}."]
    for name, bench in trees.items():
        sizes = [path.stat().st_size for path in sources(bench.tree)]
        small = sum(size < _SMALL for size in sizes)
        told.append(f"{name}: {len(sizes):,} sources, {small:,} of them below 2 KiB, {sum(sizes) / 2**20:.0f} MiB.")
    return " ".join(told)


def today(*also: str) -> str:
    """The date, and the last commit of the sources; of these other paths, too."""
    last = ["git", "-C", str(CHECKOUT), "log", "-1", "--format=%h", "--", "src", *also]
    commit = subprocess.run(last, capture_output=True, text=True, check=False).stdout.strip()
    return f"{datetime.date.today().isoformat()}, {' and '.join(['src', *also])} of {commit or 'an unknown commit'}"


def _versions(bench: Bench) -> str:
    version = subprocess.run(
        [bench.target, "-c", "import sys; print(sys.implementation.name, sys.version.split()[0])"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    uv = subprocess.run([bench.uv, "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    host = f"{sys.implementation.name} {sys.version.split()[0]}"
    return f"{system()}, host {host}, target {version}, uv {uv}"


def system() -> str:
    """The machine and its system."""
    release = platform.release().split("-")[0]
    return f"{len(os.sched_getaffinity(0))} CPUs ({_processor()}), {platform.system()} {release}"


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


def headline_lines(found: list[Row | Serial]) -> list[str]:
    """The second table, and what it says for more threads. No cell looks like one that the chart draws."""
    rows = [each for each in found if isinstance(each, Row)]
    lines = [
        "| work | pyctrigger | peer | | is | to reach | |",
        "|---|---|---|---|---|---|---|",
        *(_headline_line(row) for row in rows),
    ]
    for serial in found:
        if isinstance(serial, Serial):
            lines += ["", "| threads | ideal | as well as uv shares them |", "|---|---|---|"]
            for threads in THREADS:
                both = [serial.seconds(threads, share) for share in (1, UV_SPEEDUP / UV_THREADS)]
                lines.append(f"| {threads} | {both[0]:.2f} s | {both[1]:.2f} s |")
    return lines


def _headline_line(row: Row) -> str:
    limit = verdict = ""
    if row.limit is not None:
        limit, verdict = f"{row.limit:g}{row.unit}", "reached" if row.value <= row.limit else "**missed**"
    return f"| {row.work} | {row.ours} | {row.peer} | {row.theirs} | {row.value:.3g}{row.unit} | {limit} | {verdict} |"


def write(path: Path, about: str, figures: list[Figure], scaled: list[Scaled]) -> None:
    """Put the tables between the page's marks, and the chart beside it; what is written around them stays."""
    table = [
        "| work | pyctrigger | peer | | ratio | to reach | | host's memory |",
        "|---|---|---|---|---|---|---|---|",
        *map(line, figures),
    ]
    sizes = [
        f"| sources | {' | '.join(f'cold, {plural(lanes)}' for lanes in LANES)} | idle | memory, cold | memory, idle |",
        f"|---{'|---' * len(LANES)}|---|---|---|",
        *(
            f"| {each.sources:,} | {' | '.join(f'{seconds:.2f} s' for seconds in each.cold)} | {each.idle:.2f} s "
            f"| {each.cold_peak} MiB | {each.idle_peak} MiB |"
            for each in scaled
        ),
        "",
        f"![{SCALING_TITLE}]({scaling_chart(path).name})",
    ]
    chart = f"![{TITLE}]({path.with_suffix('.svg').name})"
    new = replace_between(path, "measured", [about, "", *table, "", chart, "", *(sizes if scaled else [])])
    draw_all(path, new)


def replace_between(path: Path, mark: str, lines: list[str]) -> str:
    """Put these lines between two marks of a page; what is written around them stays. The whole page."""
    begin, end = f"<!-- {mark} -->", f"<!-- /{mark} -->"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    new = pattern.sub(lambda _: "\n".join([begin, "", *lines, "", end]), path.read_text(encoding="utf-8"))
    path.write_text(new, encoding="utf-8")
    return new
