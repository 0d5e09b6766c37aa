"""What Debian's transactions take with each way to compile: the table `debian` of the page.

`python tests/bench/debian.py`, as root, installs pinned packages (`debian-packages.txt`) in a Debian 13, installs them
again, installs one more, and purges them: with Debian's own programs, with pyctrigger and its takeover, and without
bytecode. Each way has a copy of one system in memory, whose state at each step is the same in every round. apt is
measured, with all that it starts. `--packages 8` is quick.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

TOP = Path(__file__).resolve().parents[1]
sys.path += [str(TOP), str(TOP / "support"), str(TOP / "support/systems")]  # as pytest has it

from debian_chroot import room  # noqa: E402
from debian_packages import DIST_PACKAGES  # noqa: E402
from headline import Row, Serial, ratio  # noqa: E402
from page import headline_lines, replace_between, system, today  # noqa: E402
from peers import CHECKOUT  # noqa: E402
from stocked_debian import Stock, stocked_debian  # noqa: E402
from timing import Sample, timed  # noqa: E402

#: Installed among all the others: the smallest there is, one source.
SMALL = "python3-docopt"
#: The ways to compile.
PLAIN, FLOOR, TAKEOVER, STORED = "py3compile", "no bytecode at all", "takeover", "takeover, all in a local store"
#: What is to be reached beside `PLAIN`: processor time and clock, by step and way.
LIMITS = {
    ("install", TAKEOVER): (0.88, 0.65),
    ("install", STORED): (0.50, 0.45),
    ("upgrade", TAKEOVER): (1.0, 1.0),
    ("small", TAKEOVER): (1.0, 1.0),
    ("purge", TAKEOVER): (1.0, 1.0),
}
#: The rows: step, the way that is measured; each beside `PLAIN`.
ROWS = (*LIMITS, *((step, FLOOR) for step in ("install", "upgrade", "small", "purge")))
#: The part of all sources, at most, that maintainer scripts import: Python writes their bytecode by itself.
_IMPORTED = 0.2
#: How often the short step is measured in each round.
_SHORT = 5
_STORE = "/var/cache/pyctrigger-store"
_LOG = "srv/log"


def work(step: str, packages: int, sources: int) -> str:
    """What the page calls a step."""
    return {
        "install": f"install of {packages:,} packages",
        "upgrade": "all of them installed again, as an upgrade does",
        "small": f"install of one source more, among {sources:,}",
        "purge": "purge of all",
    }[step]


class Debian(NamedTuple):
    """One system in memory."""

    top: Path
    stock: Stock

    def run(self, *command: str) -> str:
        """What an administrator types, and what that says."""
        child = subprocess.run(
            self.stock.entering(self.top, *command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if child.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {child.stdout[-1000:]}")
        return child.stdout

    def timed(self, *command: str) -> Sample:
        """The same, measured; what it says is in the log."""
        logged = ("sh", "-c", f'exec "$@" >/{_LOG} 2>&1', "sh")
        try:
            return timed(self.stock.entering(self.top, *logged, *command))
        except subprocess.CalledProcessError:
            sys.stderr.write(self.log[-3000:])
            raise

    @property
    def log(self) -> str:
        """What the last measured command said."""
        return (self.top / _LOG).read_text(errors="replace")

    def copy(self, top: Path) -> Debian:
        """The same once more."""
        subprocess.run(["cp", "-a", str(self.top), str(top)], check=True)
        other = self._replace(top=top)
        if (top / "usr/lib/pyctrigger-takeover").exists():
            # It leaves nothing to a trigger that has never run with these files.
            other.run("sh", "-c", "dpkg-trigger --no-await pyctrigger && dpkg --triggers-only -a")
        return other

    def files(self, suffix: str) -> set[str]:
        """Sources or pycs of the public modules."""
        site = self.top / DIST_PACKAGES.lstrip("/")
        return {str(path.relative_to(site)) for path in site.rglob(f"*{suffix}")}

    def packages(self) -> set[str]:
        """All that are installed."""
        return set(self.run("dpkg-query", "--show", "--showformat=${Package}\n").split())


def main() -> int:
    """Measure, print, and write the page."""
    options = _options()
    if os.geteuid() != 0:
        print("the table of Debian needs root: it is measured in a chroot", file=sys.stderr)
        return 1
    names = package_names()
    stock = stocked_debian([*names, SMALL])
    with tempfile.TemporaryDirectory(prefix="pyctrigger-debian-", dir=room()) as scratch:
        lines = measure(Path(scratch), stock, names[: options.packages], options.rounds)
    if options.page:
        replace_between(Path(options.page), "debian", lines)
    return 0


def package_names() -> list[str]:
    """The pinned list."""
    lines = (Path(__file__).with_name("debian-packages.txt")).read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--packages", type=int, help="only so many names of the list, and what they need")
    parser.add_argument("--page", help="write the table into this page")
    return parser.parse_args()


def measure(scratch: Path, stock: Stock, names: list[str], rounds: int) -> list[str]:
    """The lines of the table."""
    systems = _systems(scratch, stock, names)
    found: dict[tuple[str, str], list[Sample]] = {}
    for number in range(rounds):
        with tempfile.TemporaryDirectory(dir=scratch) as directory:
            copies = {way: each.copy(Path(directory) / each.top.name) for way, each in systems.items()}
            before = copies[PLAIN].packages()
            _step(found, "install", copies, ["install", *names])
            new = sorted(copies[PLAIN].packages() - before)
            count, about = len(copies[PLAIN].files(".py")), _machine(copies[PLAIN], new)
            del copies[STORED]
            _step(found, "upgrade", copies, ["install", "--reinstall", *new])
            for often in range(1 + _SHORT):
                # Directories that were written a moment ago are examined once more, by whichever transaction is next.
                _step(found if often else {}, "small", copies, ["install", SMALL])
                for debian in copies.values():
                    debian.run("apt-get", "-q", "-y", "purge", SMALL)
            _step(found, "purge", copies, ["purge", *new])
        print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    rows: list[Row | Serial] = [
        row for step, way in ROWS for row in _rows(found, step, way, work(step, len(new), count))
    ]
    lines = [about, "", *headline_lines(rows)]
    print(*lines, sep="\n")
    return lines


def _systems(scratch: Path, stock: Stock, names: list[str]) -> dict[str, Debian]:
    """Each way's system, to be copied."""
    plain = Debian(scratch / "plain", stock)
    subprocess.run(["cp", "-a", str(stock.system), str(plain.top)], check=True)
    floor = plain.copy(scratch / "floor")
    for name in ("py3compile", "py3clean"):
        program = floor.top / "usr/bin" / name
        program.unlink()
        program.symlink_to("true")
    takeover = plain.copy(scratch / "takeover")
    build = [sys.executable, str(CHECKOUT / "ports/build"), "deb", str(takeover.top / "srv")]
    subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
    takeover.run("sh", "-c", "dpkg --install /srv/pyctrigger*.deb")
    stored = takeover.copy(scratch / "stored")
    with (stored.top / "etc/pyctrigger.toml").open("a") as file:
        file.write(f'\n[store]\nurl = "{_STORE}"\n')
    full = stored.copy(scratch / "full")
    full.timed("apt-get", "-q", "-y", "install", *names)
    shutil.move(full.top / _STORE.lstrip("/"), stored.top / _STORE.lstrip("/"))
    shutil.rmtree(full.top)
    return {TAKEOVER: takeover, PLAIN: plain, STORED: stored, FLOOR: floor}


def _step(
    found: dict[tuple[str, str], list[Sample]], step: str, copies: dict[str, Debian], arguments: list[str]
) -> None:
    """The same transaction in each copy, in turn; each time another one comes first."""
    ways = list(copies)
    first = len(found.get((step, PLAIN), ())) % len(ways)
    for way in [*ways[first:], *ways[:first]]:
        debian = copies[way]
        sample = debian.timed("apt-get", "-q", "-y", *arguments)
        found.setdefault((step, way), []).append(sample)
        print(f"{step}, {way}: {sample.processor:.2f} s, {sample.seconds:.2f} s", file=sys.stderr, flush=True)
    expected = copies[PLAIN].files(".pyc")
    for way, debian in copies.items():
        pycs = debian.files(".pyc")
        if way == FLOOR:
            if step == "install" and len(pycs) > len(expected) * _IMPORTED:
                raise RuntimeError(f"{step}, {way}: {len(pycs)} pycs")
        elif pycs != expected:
            raise RuntimeError(f"{step}, {way}: other bytecode than py3compile's: {sorted(pycs ^ expected)[:5]}")


def _rows(found: dict[tuple[str, str], list[Sample]], step: str, way: str, name: str) -> list[Row]:
    pair = [found[step, way], found[step, PLAIN]]
    limits = LIMITS.get((step, way), (None, None))
    return [ratio(f"{name}: {way}", PLAIN, pair, limit, of) for of, limit in zip(("processor", "seconds"), limits)]


def _machine(plain: Debian, new: list[str]) -> str:
    """What was measured, on what."""
    release = (plain.top / "etc/debian_version").read_text().strip()
    show = ("dpkg-query", "--show", "--showformat=${Version}")
    python, dpkg = (plain.run(*show, name) for name in ("python3.13", "dpkg"))
    lists = (plain.top / "var/lib/dpkg/info").glob("*.list")
    source = re.compile(f"^{DIST_PACKAGES}/.*\\.py$", re.MULTILINE)
    owners = {path.stem.partition(":")[0] for path in lists if source.search(path.read_text())}
    count = len(plain.files(".py"))
    when = today("ports/application", "ports/debian")
    return (
        f"{when}; {system()}; Debian {release} with python3.13 {python} and dpkg {dpkg}, on tmpfs; "
        f"{len(new)} packages, {len(owners & set(new))} of them with Python modules; {count:,} sources."
    )


if __name__ == "__main__":
    sys.exit(main())
