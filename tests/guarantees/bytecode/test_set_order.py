"""Constant sets whose order would follow from addresses: the bytes don't show them, and the code stays what it is."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import corpus
from bytes_of_workers import PAIRS, bodies_of_levels
from packages import sources_below, write_tree
from pyctrigger.interpreter import child

if TYPE_CHECKING:
    from command import Command
    from interpreters import Interpreter

SOURCES = {f"{name}.py": text for name, text in PAIRS.items() if name.startswith("addresses")}

#: Runs in a target, behind the program whose path is its argument: what is made of a code's bytes, for each
#: source on standard input, and for sets of every size and kind that marshal writes in a way of its own.
_JUDGE = r"""
import marshal, sys
with open(sys.argv[1], "rb") as program:
    exec(compile(program.read(), "sets.py", "exec"))
garbled = changed = sets = 0
texts = []
for line in sys.stdin.buffer.read().split(b"\0"):
    with open(line, "rb") as source:
        texts.append(source.read())
firsts = ["None", "...", "True", "0", "-1 << 70", "1.5", "2j", "''", "'a'", "'\\xe9' * 3", "'\\u20ac'", "'a b'", "b''"]
firsts += ["'%s'" % ("a" * 300), "'<lambda'", "()", "(None,)", "(1, (2, ...))", "1e999 - 1e999"]
for count in (1, 2, 3, 4, 8, 255, 256, 257, 512, 513, 4096):
    for first in firsts if count < 9 else firsts[:1]:
        items = [first] + ["%d" % (1000 + n) for n in range(count - 1)]
        texts.append("f = lambda: x in {{{0}, None}}\ng = {1}".format(", ".join(items), first))
        texts.append("f = lambda: x in {{None, {0}}}\ng = lambda: (2, x in {{None, {0}}})".format(", ".join(items)))
for name in ("lambda", "listcomp", "setcomp", "dictcomp", "genexpr", "module"):
    texts.append("f = lambda x: x.startswith('<%s') or x in {'a', None}" % name)
for text in texts:
    try:
        code = compile(text, "m.py", "exec", dont_inherit=True)
    except SyntaxError:
        continue
    body = marshal.dumps(code)
    tree = parse(body)
    garbled += serialize(tree, False) != body
    if has_order_of_addresses(code):
        sets += 1
        again = marshal.loads(serialize(tree, True))
        changed += again != code and "1e999" not in str(text)  # a NaN is equal to none
        changed += with_sorted_sets(code, b"?" + body) != b"?" + body  # as a vendor's marshal might write it
print(len(texts) > 60, sets > 20, garbled, changed)
"""


@pytest.fixture(scope="module")
def real_sources(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Some hundred sources of Django's."""
    return sources_below(corpus.django(tmp_path_factory))[::9]


def test_each_level_is_what_it_is_alone(interpreter: Interpreter, tmp_path: Path) -> None:
    """Also where only the first has such a set; each time in workers that lie elsewhere."""
    write_tree(tmp_path, SOURCES)
    sources = [os.fsencode(tmp_path / name) for name in SOURCES]

    together = bodies_of_levels(interpreter.path, sources)

    assert bodies_of_levels(interpreter.path, sources, together=False) == together
    assert together[sources[1], 0] != together[sources[1], 1] == together[sources[1], 2]


def test_code_is_what_the_target_makes_of_the_source(pyctrigger: Command, site: Path, interpreter: Interpreter) -> None:
    """Compiled again and compared, item by item."""
    write_tree(site, SOURCES)
    scope = ["--python", interpreter.path, "--site-dir", str(site), "--optimize", "0,1,2"]

    assert len(SOURCES) == pyctrigger.json("run", *scope).counts["compiled"]

    assert [] == pyctrigger.json("verify", "--compare-code", "--stateless", *scope).findings


def test_such_sets_are_sorted_and_nothing_else_moves(interpreter: Interpreter, real_sources: list[bytes]) -> None:
    """What is read of the bytes is written again as it was."""
    if interpreter.implementation != "cpython" or interpreter.version >= (3, 11):
        return
    program = Path(child.__file__).parent / "remote" / "sets.py"

    judged = subprocess.run(
        [interpreter.path, "-I", "-S", "-B", "-W", "ignore", "-c", _JUDGE, program],
        input=b"\0".join(real_sources),
        stdout=subprocess.PIPE,
        check=True,
    )

    assert judged.stdout.split() == [b"True", b"True", b"0", b"0"]
