"""`status`: a table of what there is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ..text import seconds, shown

if TYPE_CHECKING:
    import argparse

    from ...run.report import FlavourReport
    from ..table import Table

HELP = "show sources, bytecode, pending work and the lock"


def add_options(parser: argparse.ArgumentParser) -> None:
    """None of its own."""


def summary(run: FlavourReport) -> list[str | Table]:
    """A small table for one flavour."""
    from ..table import Table

    status, interpreter = run.status, run.interpreter
    if status is None or interpreter is None:
        return []
    stale = sum(status["stale"].values())
    reasons = ", ".join(f"{count} {reason}" for reason, count in status["stale"].items())
    pending = f"{status['pending']} pending, {status['parked']} parked"
    if status["oldest_pending_seconds"] is not None:
        pending += f", the oldest {seconds(status['oldest_pending_seconds'])} ago"
    rows = [
        ("interpreter", f"{shown(interpreter.executable)} ({interpreter.implementation} {interpreter.release})"),
        ("magic number", interpreter.magic_number.hex() + _changed(status["previous_magic_number"])),
        ("installation", run.installation),
        ("directories", ", ".join(map(shown, status["site_directories"])) or "none"),
        ("sources", f"{status['sources']} ({_bytes(status['source_bytes'])})"),
        ("fresh", str(status["fresh"])),
        ("stale", f"{stale} ({reasons})" if reasons else "0"),
        ("missing", str(status["missing"])),
        ("uncompilable", str(status["uncompilable"])),
        ("orphans", str(status["orphans"])),
        ("residue", str(status["residue"])),
        ("bytecode", _bytes(status["pyc_bytes"])),
        ("journal", pending),
        ("lock", _lock(status["lock"])),
    ]
    return [f"{run.flavour}:", Table((), [("", *row) for row in rows])]


def _changed(previous: str | None) -> str:
    return f" (it was {previous}: the next run compiles everything again)" if previous else ""


def _lock(lock: dict[str, object] | None) -> str:
    if lock is None:
        return "free"
    since = time.strftime("%H:%M:%S", time.localtime(float(str(lock["since"]))))
    return f"held by process {lock['pid']} ({lock['command']}) since {since}"


def _bytes(count: int) -> str:
    size, unit = float(count), "B"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            break
        size /= 1024
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
