"""Code that was stored without its file name is, with another one, what the target writes for a file of that name."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

import corpus
from bytes_of_workers import write_pairs
from filled import NAMES, compare
from packages import sources_below

if TYPE_CHECKING:
    from pathlib import Path

    from interpreters import Interpreter

#: Sources that name themselves, by the directory that they lie in, in each way that comes to the same string.
SELVES = {
    "itself": "here = {path!r}\n",
    "itself-folded": "def f(): return {begin!r} + {end!r}\n",
    "itself-joined": "def f(): return {begin!r} {end!r}\n",
    "itself-inside": "'''This is {path}.'''\n",
}
#: Sources with little around the name, or much that refers to it.
SMALL = {
    "empty": "",
    "one": "x = 1\n",
    "function": "def f(): pass\n",
    "nested": "def f():\n def g():\n  def h(): return lambda: [i for i in (j for j in k)]\n  return h\n return g\n",
    "many": "".join(f"def f{number}(): return {number}, '<module>', 'f{number}', __file__\n" for number in range(300)),
    "names": "__file__ = __name__ = co_filename = '<string>', 'z\\x20', b'\\xfa\\x20'\n",
    "hexadecimal": "x = '0123456789abcdef0123456789abcdef', 'ffffffffffffffffffffffffffffffff'\n",
    "documented": "'''Doc.'''\nclass C:\n '''Doc.'''\n def f(self):\n  '''Doc.'''\n  assert self, 'no'\n",
}


@pytest.fixture(scope="module")
def real_sources(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Some forty sources of Django's."""
    return sources_below(corpus.django(tmp_path_factory))[::23]


@pytest.mark.parametrize("level", [0, 2])
def test_another_name_gives_the_same_bytes(
    interpreter: Interpreter, real_sources: list[bytes], tmp_path: Path, level: int
) -> None:
    """Short, long, around the length where the form changes, and with other letters than ASCII's."""
    sources = [*write_pairs(os.fsencode(tmp_path)), *write_small(tmp_path)]
    sources += real_sources if level == 0 else []

    filled = compare(interpreter, sources, list(NAMES), tmp_path, level)

    assert [] == filled.wrong
    compiled = filled.counts["compiled"]
    assert (compiled, True) == (filled.counts["cut"], compiled > 20)
    assert {} == {kind: count for kind, count in filled.counts.items() if kind.endswith(("not stored", "failed"))}


def test_a_source_that_names_itself_is_not_stored(interpreter: Interpreter, tmp_path: Path) -> None:
    """For its own name; for any other it is."""
    sources = []
    for name, text in SELVES.items():
        path = str(tmp_path / f"{name}.py")
        sources.append(os.fsencode(path))
        (tmp_path / f"{name}.py").write_text(text.format(path=path, begin=path[:9], end=path[9:]))

    filled = compare(interpreter, sources, ["short", "long"], tmp_path)

    assert [] == filled.wrong
    adds = interpreter.implementation == "cpython"  # PyPy's compiler adds no strings
    assert (4, 4 if adds else 3) == (filled.counts["cut"], filled.counts["short: not stored"])
    assert 0 == filled.counts["long: not stored"]  # it ends in the short one; the code has no more than that


def write_small(directory: Path) -> list[bytes]:
    """Write the small sources; their paths."""
    for name, text in SMALL.items():
        (directory / f"{name}.py").write_text(text)
    return [os.fsencode(directory / f"{name}.py") for name in SMALL]
