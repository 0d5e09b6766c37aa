"""What namcap finds in the package for pacman: nothing but what is argued. `nox -s namcap`, on Arch; no Debian has it.

Exit 1: it says something else, which is named. Exit 2: there is no namcap.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
FILTERS = CHECKOUT / "ports/arch/namcap-filters"


def main() -> int:
    """The exit code."""
    namcap = shutil.which("namcap")
    if namcap is None:
        print("error: there is no namcap (Arch package namcap)", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="pyctrigger-namcap-") as scratch:
        build = [sys.executable, str(CHECKOUT / "ports/build"), "arch", scratch]
        package = subprocess.run(build, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
        found = _said(namcap, package)
    filters = [re.compile(line) for line in FILTERS.read_text().splitlines() if line and not line.startswith("#")]
    left = [line for line in found if not any(each.fullmatch(line) for each in filters)]
    print("\n".join(left) if left else f"{len(found)} lines, all of them argued")
    return int(bool(left) or not found)


def _said(namcap: str, path: str) -> list[str]:
    """The lines that namcap prints about a file, without the package's name. Raises CalledProcessError."""
    child = subprocess.run([namcap, path], capture_output=True, text=True, check=True)
    lines = [*child.stdout.splitlines(), *child.stderr.splitlines()]
    return [line.partition("pyctrigger W: ")[2] or line for line in lines]


if __name__ == "__main__":
    sys.exit(main())
