"""Code with its file name cut out and others put in: two thousand sources of every interpreter and of a Debian sid.

`nox -s names` compiles sources of each standard library, and of others where it has fewer, with a stand-in for their
names, puts three kinds of name in, and compares the bytes with what a worker, and py_compile in a fresh fork, write for
a file of that name. Exit 1: other bytes (before 3.11: other code), or too much that can't be stored.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent / "support"))
sys.path.insert(1, str(Path(__file__).resolve().parent / "support/systems"))

import corpus
from debian_chroot import EXECUTABLES, sid_chroot
from filled import compare
from interpreters import find_interpreters, one_per_flavour
from libraries import library_of

if TYPE_CHECKING:
    from interpreters import Interpreter

SOURCES = 2500
KINDS = ("short", "long", "UTF-8")
#: What has to be stored of what compiles.
_SHARES = {"cpython": 0.99, "pypy": 0.95}


def main() -> int:
    """The exit code."""
    installed = one_per_flavour(find_interpreters())
    libraries = [library_of(interpreter) for interpreter in installed]
    codes = []
    for interpreter, library in zip(installed, libraries):
        with tempfile.TemporaryDirectory(dir=corpus.memory()) as scratch:
            codes.append(_check(interpreter, _draw([library, *libraries]), Path(scratch)))
    with sid_chroot(application=False) as sid, tempfile.TemporaryDirectory() as doors:
        copies = sid.outside("/sources")
        copies.mkdir()
        for executable in EXECUTABLES:
            sources = [
                os.fsencode(shutil.copy(os.fsdecode(source), copies / f"{number}.py"))
                for number, source in enumerate(_draw([sid.outside("/usr/lib") / Path(executable).name, *libraries]))
            ]
            codes.append(_check(sid.interpreter(executable, Path(doors)), sources, copies, sid.top))
    return max(codes)


def _draw(libraries: list[Path]) -> list[bytes]:
    """Enough sources of these, the first ones first."""
    found: list[str] = []
    for library in libraries:
        paths = sorted(str(path) for path in library.rglob("*.py") if path.is_file())
        random.Random(1).shuffle(paths)
        found += paths
    return [os.fsencode(path) for path in list(dict.fromkeys(found))[:SOURCES]]


def _check(interpreter: Interpreter, sources: list[bytes], scratch: Path, top: Path | None = None) -> int:
    """Compare all of them, and print what came of it."""
    filled = compare(interpreter, sources, KINDS, scratch, top=top)
    compiled, stored = filled.counts["compiled"], filled.counts["cut"]
    stored -= max(filled.counts[f"{kind}: not stored"] for kind in KINDS)
    print(f"{interpreter.flavour}: {stored:,} of {compiled:,} can be stored", flush=True)
    for outcome, count in sorted(filled.counts.items()):
        print(f"  {outcome}: {count:,}", flush=True)
    for kind, source, problem in filled.wrong:
        print(f"  {problem}: {os.fsdecode(source)} ({kind})", flush=True)
    is_enough = compiled >= SOURCES * 0.8 and stored >= compiled * _SHARES[interpreter.implementation]
    return int(bool(filled.wrong) or not is_enough)


if __name__ == "__main__":
    sys.exit(main())
