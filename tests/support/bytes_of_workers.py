"""What workers of a target answer: the body of every source, by any number of them, in any order."""

from __future__ import annotations

import hashlib
import os
from functools import cache
from typing import TYPE_CHECKING

from pyctrigger.interpreter.probe import probe
from pyctrigger.workers import wire
from pyctrigger.workers.allowance import Limits
from pyctrigger.workers.pool import Pool
from pyctrigger.workers.worker import Job

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pyctrigger.interpreter.interpreter import Interpreter

#: Sources whose bytes depend on what the process holds, unless somebody sees to it. Each first one has names that the
#: second has only as strings, or the other way round; the last ones have sets in an order that follows from addresses.
PAIRS = {
    "sets-1": "engine = arpack = lobpcg = 1\n",
    "sets-2": "def f(x): return x in {'engine', 'lobpcg'}\ndef g(x): return x in {'engine', 'lobpcg'}\n",
    "sets-3": "def g(x): return x in {'engine', 'arpack'}\nclass C:\n    def h(x): return x in {'engine', 'arpack'}\n",
    "names-1": "normalize = decimal = lineno = offset = text = print_file_and_line = 1\n",
    "names-2": "import normalize, decimal\nlineno = normalize.offset.text(print_file_and_line=1)\n",
    "letters-1": "\u00e9t\u00e9 = normalize = 1\n",
    "letters-2": "x = '\\N{LATIN SMALL LETTER E WITH ACUTE}', getcode, _getcode, name\n",
    "letters-3": "\u00f1 = \u00df = \u00c0 = f.\u00ff = 1\ndef f(\u00fe): pass\n",
    "letters-4": "x = '\u00f1', '\\xdf', '\u00fe', y in {'\u00c0', '\\xff'}\n",
    "annotated-1": "from __future__ import annotations\ndef f(x: f'{x!r:>{x}} {{}}'): pass\n",
    "annotated-2": "x = '{', '}', '{{', '}}', '(', ')', '[', ']', ':', '.'\n",
    "codec-1": "# coding: cp1250\nx = 'a'\n",
    "codec-2": "Codec = IncrementalEncoder = StreamReader = getregentry = decoding_table = encoding_table = 1\n",
    "code-1": "x = '<module>', '<lambda>', '<listcomp>', 'f.<locals>.<lambda>'\n",
    "code-2": "def f(): return lambda: 0, lambda: [a for a in b]\n",
    "addresses-1": "x in {" + ", ".join(f"(None, {n << 12}), (..., {n << 12}, 'n{n}')" for n in range(60)) + "}\n",
    "addresses-2": "a = ('b', None), 'c'\nassert d in {('b', None), (('e', None), 'c'), ('c', ...), 'e', (..., 'd')}\n"
    "def f(g): return g in {('b', None), (('e', None), 'c'), ('c', ...), 'e', (..., 'd')}\nh = ('e', None)\n",
    "addresses-3": "x in {1e999 - 1e999, (1e999 - 1e999, 1), 2, (1e999j - 1e999j, 3), 4, 5.5, 'y', b'z', (6, None)}\n",
    "classes-1": "def cmp_to_key():\n class K: pass\nclass finalize:\n class _Info: pass\n",
    "classes-2": "def f(): return 'cmp_to_key.<locals>.K', 'finalize._Info'\n",
    "bad": "x = (\n",
}


@cache
def _probed(executable: str) -> Interpreter:
    """What it is, asked once: PyPy takes longer to answer than to compile what tests give it."""
    return probe(executable).interpreter


def bodies(executable: str, sources: Sequence[bytes], *, workers: int, level: int = 0) -> dict[bytes, str]:
    """The digest of each source's body, or what became of it, by path; `sources` are given out in their order."""
    levels = [wire.LevelRequest(level)]

    def jobs() -> Iterator[Job]:
        for path in sources:
            with open(path, "rb") as source:
                yield Job(wire.request(levels, path, source.read()), path)

    found = {}
    with Pool(_probed(executable), Limits(), workers) as pool:
        for job, answer in pool.map(jobs()):
            assert isinstance(job.context, bytes)
            found[job.context] = (
                hashlib.sha256(answer.levels[0].body).hexdigest()
                if isinstance(answer, wire.Compiled)
                else getattr(answer, "kind", "lost")
            )
    return found


def bodies_of_levels(
    executable: str, sources: Sequence[bytes], *, together: bool = True
) -> dict[tuple[bytes, int], str]:
    """The digest of each source's body at each level: asked for at once, so that equal ones are compiled once, or not
    `together`, one after the other.
    """
    asked = [(0, 1, 2)] if together else [(0,), (1,), (2,)]

    def jobs() -> Iterator[Job]:
        for levels in asked:
            requests = [wire.LevelRequest(level) for level in levels]
            for path in sources:
                with open(path, "rb") as source:
                    yield Job(wire.request(requests, path, source.read()), (path, levels))

    found: dict[tuple[bytes, int], str] = {}
    with Pool(_probed(executable), Limits(), 2) as pool:
        for job, answer in pool.map(jobs()):
            assert isinstance(job.context, tuple)
            path, levels = job.context
            body: bytes | memoryview = b""
            for number, level in enumerate(levels):
                kind = getattr(answer, "kind", "lost")
                if isinstance(answer, wire.Compiled):
                    body = answer.levels[number].body or body
                    kind = hashlib.sha256(body).hexdigest()
                found[path, level] = kind
    return found


def differing(executable: str, sources: list[bytes], *, most_workers: int = 5) -> tuple[int, list[bytes]]:
    """How many bodies were compared, and the sources where 1, 2 and more workers, two orders and two runs differ."""
    expected = bodies(executable, sources, workers=1)
    wrong = set()
    for workers, order in ((1, sources), (1, sources[::-1]), (2, sources), (most_workers, sources[::-1])):
        found = bodies(executable, order, workers=workers)
        wrong |= {path for path in sources if found[path] != expected[path]}
    return len(expected), sorted(wrong)


def write_pairs(directory: bytes) -> list[bytes]:
    """Write the sources that depend on each other's order; their paths."""
    paths = []
    for name, text in PAIRS.items():
        paths.append(os.path.join(directory, os.fsencode(f"{name}.py")))
        with open(paths[-1], "wb") as source:
            source.write(text.encode())
    return paths
