"""The bytes of a pyc depend on its source alone: not on the number of workers, the order, or what came before."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

import corpus
from bytes_of_workers import bodies, differing, write_pairs
from packages import sources_below
from pyctrigger.interpreter import child

if TYPE_CHECKING:
    from pathlib import Path

    from interpreters import Interpreter

#: Marshals, in a process of its own for each, what compile() makes of the sources on standard input; their digests.
_FRESH = r"""
import hashlib, os, py_compile, sys
for line in sys.stdin.buffer.read().split(b"\0"):
    path = os.fsdecode(line)
    sys.stdout.flush()
    if not os.fork():
        pyc = f"{path}.{os.getpid()}"
        try:
            py_compile.compile(path, pyc, doraise=True, optimize=0)
        except py_compile.PyCompileError:
            print("syntax")
        else:
            with open(pyc, "rb") as file:
                print(hashlib.sha256(file.read()[16:]).hexdigest())
            os.remove(pyc)
        sys.stdout.flush()
        os._exit(0)
    os.wait()
"""


@pytest.fixture(scope="module")
def real_sources(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Some hundred sources of Django's."""
    return sources_below(corpus.django(tmp_path_factory))[::9]


def test_bytes_depend_on_the_source_alone(interpreter: Interpreter, tmp_path: Path) -> None:
    """One, two and five workers, two orders, two runs, of sources that would show it. (For real ones see
    test_real_packages.py.)
    """
    sources = write_pairs(os.fsencode(tmp_path))

    compared, wrong = differing(interpreter.path, sources)

    assert (len(sources), []) == (compared, wrong)


def test_bytes_are_those_of_a_process_that_has_done_nothing_else(
    interpreter: Interpreter, real_sources: list[bytes], tmp_path: Path
) -> None:
    """From 3.11 on; before, names that the compiler met first in another source are flagged differently."""
    if interpreter.version < (3, 11) or interpreter.implementation != "cpython":
        return
    sources = [*write_pairs(os.fsencode(tmp_path)), *real_sources, *copies_of_what_it_imports(interpreter, tmp_path)]
    fresh = subprocess.run(
        [interpreter.path, "-I", "-S", "-B", "-W", "ignore", "-c", _FRESH],
        input=b"\0".join(sources),
        stdout=subprocess.PIPE,
        check=True,
    )
    expected = dict(zip(sources, fresh.stdout.decode().split()))

    assert expected == bodies(interpreter.path, sources, workers=2)


def copies_of_what_it_imports(interpreter: Interpreter, directory: Path) -> list[bytes]:
    """The sources that a process with py_compile has loaded, and which we may write nothing beside."""
    told = "import py_compile, sys; print(*(getattr(each, '__file__', '') for each in sys.modules.values()), sep='\\n')"
    importer = subprocess.run([interpreter.path, "-I", "-S", "-c", told], capture_output=True, text=True, check=True)
    found = [path for path in importer.stdout.split("\n") if path.endswith(".py")]
    assert len(found) > 10
    return [os.fsencode(shutil.copy(path, directory / f"imported{number}.py")) for number, path in enumerate(found)]


def test_what_starting_a_worker_leaves_behind_does_not_show(interpreter: Interpreter, tmp_path: Path) -> None:
    """Names of what a worker imports, met by itself as the first source, and behind many others."""
    late, *many = [os.fsencode(tmp_path / f"{number}.py") for number in range(60)]
    names = ["builtinify", "pid", "prlimit", "ru", "ru_stime", "structseqtype", "resource", "limits", "fd", "cmd"]
    with open(late, "w", encoding="ascii") as source:
        source.write("".join(f"def f(): {name} = 1\n" for name in names))
    for path in many:
        with open(path, "w", encoding="ascii") as source:
            source.write("def f(x): return [x, {'y': x.z}]\n" * 50)

    alone = bodies(interpreter.path, [late], workers=1)

    assert alone[late] == bodies(interpreter.path, [*many, late], workers=1)[late]


def test_bytecode_of_the_worker_itself_does_not_show(
    interpreter: Interpreter, real_sources: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It starts a third faster with it, as it does where our own Python is the target."""
    sources = [*write_pairs(os.fsencode(tmp_path)), *real_sources[::2]]
    expected = bodies(interpreter.path, sources, workers=1)
    remote = shutil.copytree(os.path.join(os.path.dirname(child.__file__), "remote"), tmp_path / "remote")
    shutil.rmtree(remote / "__pycache__", ignore_errors=True)
    names = [str(path) for path in remote.glob("*.py")]
    subprocess.run([interpreter.path, "-I", "-m", "py_compile", *names], check=True)
    monkeypatch.setattr(child, "__file__", str(tmp_path / "child.py"))
    opened: list[int | None] = []
    open_pyc = child._open_pyc

    def spy(name: str, tag: str) -> int | None:
        opened.append(open_pyc(name, tag))
        return opened[-1]

    monkeypatch.setattr(child, "_open_pyc", spy)

    found = bodies(interpreter.path, sources, workers=1)

    assert expected == found
    assert None not in opened
    is_seeded = interpreter.implementation == "cpython" and interpreter.version < (3, 11)
    assert is_seeded == (not opened)


def test_what_compiling_leaves_behind_does_not_show(interpreter: Interpreter, tmp_path: Path) -> None:
    """Whenever the collector comes: strings that are names as well, one after the other."""
    source, *others = [os.fsencode(tmp_path / f"{number}.py") for number in range(8)]
    for path in (source, *others):
        with open(path, "w", encoding="ascii") as file:
            file.write("".join(f"def f(): g({{'x{n}': 1, 'y{n}': 2}}, x{n}=1, y{n}=2)\n" for n in range(100)))

    found = {bodies(interpreter.path, [*others[:count], source], workers=1)[source] for count in (0, 1, 3, 7)}

    assert 1 == len(found)
