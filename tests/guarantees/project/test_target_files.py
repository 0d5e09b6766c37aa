"""The contract of the files that a target runs: oldest syntax, standard library, nothing of ours or of a site."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pyctrigger.interpreter import child, remote

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interpreters import Interpreter

REMOTE = Path(remote.__file__).parent
PROGRAMS = sorted(path for path in REMOTE.glob("*.py") if path.name != "__init__.py")

#: Compiles what comes in on standard input, and says what it took as a warning.
_COMPILE = """
import sys, warnings
warnings.simplefilter("error")
compile(sys.stdin.buffer.read(), "<target file>", "exec")
"""

#: Imports each module of the list on standard input, and says which of all modules are there afterwards.
_IMPORT = """
import json, sys
wanted = json.loads(sys.stdin.read())
for name in wanted:
    __import__(name)
files = {name: getattr(sys.modules[name], "__file__", None) or "" for name in wanted}
print(json.dumps([sorted(sys.modules), files]))
"""

#: Starts the program whose files are listed on standard input, up to its first frame; what it has loaded for that.
_LOAD = """
import sys
files, before, __name__ = sys.stdin.read().split("\\0"), set(sys.modules), "pyctrigger"
for path in files:
    with open(path, "rb") as file:
        exec(compile(file.read(), path, "exec"))
os.write(OUTPUT, "\\n".join(sorted(set(sys.modules) - before)).encode())
"""
#: What takes a fifth of a worker's start, and none needs.
_HEAVY = {"collections", "contextlib", "dataclasses", "enum", "functools", "importlib.util", "re", "signal", "typing"}


def seen_by_targets(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node outside of TYPE_CHECKING."""
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"):
            yield node
            yield from seen_by_targets(node)


def modules_imported(path: Path) -> list[str]:
    """Every module that a file imports, wherever the statement is, except those that no target sees."""
    found = set()
    for node in seen_by_targets(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}:{node.lineno}: a relative import"
            found.add(str(node.module))
    return sorted(found)


def ask(interpreter: Interpreter, question: str, text: bytes) -> subprocess.CompletedProcess[bytes]:
    """What the target answers, started as pyctrigger starts it."""
    return subprocess.run(
        [interpreter.path, "-I", "-S", "-B", "-c", question],
        input=text,
        capture_output=True,
        env={"LC_ALL": "C.UTF-8"},
        cwd="/",
        timeout=60,
        check=False,
    )


def test_files_of_all_programs() -> None:
    """Or the tests below hold for nothing."""
    names = ["compare.py", "compile.py", "interned.py", "powerless.py", "probe.py", "serve.py", "sets.py", "start.py"]
    assert [path.name for path in PROGRAMS] == names
    assert {f"{name}.py" for names in child.PROGRAMS.values() for name in names} == {path.name for path in PROGRAMS}


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.name)
def test_grammar_is_the_oldest(program: Path) -> None:
    """As far as a newer parser can show."""
    ast.parse(program.read_bytes(), feature_version=(3, 6))


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.name)
def test_every_target_compiles_it_without_a_warning(program: Path, interpreter: Interpreter) -> None:
    """The oldest by its own parser; the newest without a word about what will go."""
    answer = ask(interpreter, _COMPILE, program.read_bytes())
    assert (answer.returncode, answer.stderr) == (0, b"")


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.name)
def test_every_target_has_what_it_imports(program: Path, interpreter: Interpreter) -> None:
    """All of it from the standard library, and `site` doesn't come along: it would run the site's own code."""
    modules = modules_imported(program)
    answer = ask(interpreter, _IMPORT, json.dumps(modules).encode())

    assert answer.returncode == 0, answer.stderr.decode()
    loaded, files = json.loads(answer.stdout)
    assert not {"site", "sitecustomize", "usercustomize"} & set(loaded)
    assert [name for name, file in files.items() if "-packages" in file] == []


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.name)
def test_nothing_of_ours_is_imported(program: Path) -> None:
    """It comes through a descriptor, to an account that may not reach our files."""
    tops = {module.partition(".")[0] for module in modules_imported(program)}
    assert tops.isdisjoint({"pyctrigger", "site", "platformdirs", "filelock", "tomli", "rich"})
    if sys.version_info >= (3, 10):
        assert tops <= sys.stdlib_module_names


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.name)
def test_contract_stands_in_the_docstring(program: Path) -> None:
    """Who edits the file meets it first."""
    docstring = ast.get_docstring(ast.parse(program.read_bytes()))
    assert docstring
    assert docstring.startswith("Run by the target: ")
    assert "\n\nContract: Python 3.6 to 3.15 and PyPy; standard library only" in docstring


def test_a_worker_loads_little_before_its_first_source(interpreter: Interpreter) -> None:
    """But where what is loaded shows in the bytes that it writes: there it is as much as py_compile loads."""
    shows = interpreter.implementation == "cpython" and interpreter.version < (3, 11)
    files = "\0".join(str(REMOTE / f"{name}.py") for name in child.PROGRAMS["compile"])
    answer = ask(interpreter, _LOAD, files.encode())

    assert answer.returncode == 0, answer.stderr.decode()
    assert ({"enum", "functools", "importlib.util", "signal"} <= set(answer.stdout.decode().split())) == shows
    assert shows or _HEAVY.isdisjoint(answer.stdout.decode().split())
