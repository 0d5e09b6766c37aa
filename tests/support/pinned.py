"""The locks: every release that the tests, the checks, the tour and the benchmark install, with its hashes.

`nox -s lock` writes them. One file serves every host: what differs by Python's version has a marker.
"""

from __future__ import annotations

import re
from pathlib import Path

LOCKS = Path(__file__).resolve().parent.parent / "locks"

#: pip's arguments for a project of ours: its build backend is what the lock `run` brought, and no other is fetched.
UNBUILT = ("--no-index", "--no-deps", "--no-build-isolation")


def locked(name: str) -> list[str]:
    """pip's arguments for what a lock names, and nothing else."""
    return ["--require-hashes", "--no-deps", "--requirement", str(LOCKS / f"{name}.txt")]


def hashes_in(name: str) -> frozenset[str]:
    """Every sha256 in a lock, in hexadecimal."""
    return frozenset(re.findall(r"--hash=sha256:([0-9a-f]{64})", (LOCKS / f"{name}.txt").read_text(encoding="utf-8")))
