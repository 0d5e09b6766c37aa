"""The interpreters of this machine that pyctrigger can compile for: found by name, then asked who they are.

Nothing here is a path of one machine: the directories come from PATH, from the places that systems use, and from the
neighbours of what was found there (a version manager keeps `VERSIONS/3.9.18/bin`, `VERSIONS/3.13.0/bin`, … in a row).
`PYCTRIGGER_TEST_PYTHONS`, a list of executables separated like PATH, replaces the search.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

OLDEST = (3, 6)
NEWEST = (3, 15)

PROBE_SECONDS = 20

STANDARD_DIRECTORIES = ("/usr/local/bin", "/usr/bin", "/bin", "/opt/local/bin", "/usr/pkg/bin")

_NAME = re.compile(r"(?:python3(?:\.\d+t?)?|pypy3(?:\.\d+)?)\Z")

# Runs on 3.6 and on PyPy. `sys.abiflags` tells a free-threaded build from 3.13 on; PyPy has none on some versions.
_QUESTION = """
import json, platform, sys
print(json.dumps({
    "implementation": sys.implementation.name,
    "version": list(sys.version_info[:3]),
    "free_threaded": "t" in getattr(sys, "abiflags", ""),
    "prefix": sys.base_prefix,
}))
"""


class UnusableInterpreter(Exception):
    """An executable named in `PYCTRIGGER_TEST_PYTHONS` that is no interpreter for us."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


@dataclass(frozen=True, order=True)
class Interpreter:
    """One interpreter installation of this machine."""

    implementation: str
    """`cpython` or `pypy`."""
    version: tuple[int, ...]
    """Three numbers, of the Python language."""
    free_threaded: bool
    path: str
    """The executable, absolute, without links."""
    prefix: str

    @property
    def flavour(self) -> str:
        """Its short name: `py311`, `py313t`, `pypy311`."""
        stem = "pypy" if self.implementation == "pypy" else "py"
        return f"{stem}{self.version[0]}{self.version[1]}{'t' if self.free_threaded else ''}"

    @property
    def release(self) -> str:
        """Its version as people write it."""
        return ".".join(map(str, self.version))


def find_interpreters() -> list[Interpreter]:
    """Every usable interpreter, one for each installation, sorted by implementation and version.

    Raises `UnusableInterpreter` if `PYCTRIGGER_TEST_PYTHONS` names one that doesn't answer: silence would skip tests.
    """
    return list(_search(os.environ.get("PYCTRIGGER_TEST_PYTHONS"), os.environ.get("PATH", os.defpath)))


def tag_of(interpreter: Interpreter) -> str:
    """The cache tag that an interpreter has by PEP 3147."""
    digits = "".join(map(str, interpreter.version[:2]))
    return f"pypy{digits}" if interpreter.implementation == "pypy" else f"cpython-{digits}"


def search_again() -> None:
    """Forget what was found: something was installed since."""
    _search.cache_clear()


def one_per_flavour(interpreters: Iterable[Interpreter]) -> list[Interpreter]:
    """The newest installation of each flavour: for tests whose answer can't differ between two of the same."""
    newest: dict[str, Interpreter] = {}
    for interpreter in sorted(interpreters):
        newest[interpreter.flavour] = interpreter
    return sorted(newest.values())


def ends(interpreters: Iterable[Interpreter]) -> list[Interpreter]:
    """The oldest and the newest CPython, and the newest PyPy: between them nothing differs in what a host does."""
    found = sorted(interpreters)
    cpythons = [each for each in found if each.implementation == "cpython"]
    return [*dict.fromkeys([*cpythons[:1], *cpythons[-1:]]), *[each for each in found if each not in cpythons][-1:]]


def expected_flavours(interpreters: Iterable[Interpreter]) -> list[str]:
    """What a machine for continuous integration must have: `py36` … `py313` and PyPy.

    PyPy is named `pypy3`, whatever its version. Without a version manager only the CPythons that it has are expected.
    """
    found = list(interpreters)
    cpythons = {interpreter.flavour for interpreter in found if interpreter.implementation == "cpython"}
    if any(_neighbours(interpreter.path) for interpreter in found):
        cpythons |= {f"py3{minor}" for minor in range(6, 14)}
    return [*sorted(cpythons, key=lambda flavour: (len(flavour), flavour)), "pypy3"]


def missing_flavours(interpreters: Iterable[Interpreter], wanted: Iterable[str]) -> list[str]:
    """Those of `wanted` that aren't among `interpreters`; `pypy3` means any PyPy."""
    flavours = {interpreter.flavour for interpreter in interpreters}
    if any(flavour.startswith("pypy3") for flavour in flavours):
        flavours.add("pypy3")
    return [flavour for flavour in wanted if flavour not in flavours]


@lru_cache(maxsize=4)  # each pytest module asks at collection, and each answer costs a start of every interpreter
def _search(named: str | None, search_path: str) -> tuple[Interpreter, ...]:
    if named:
        return tuple(sorted({_ask(os.path.realpath(path)) for path in named.split(os.pathsep) if path}))
    found: dict[tuple[str, str], Interpreter] = {}
    for executable in _executables(search_path):
        try:
            interpreter = _ask(executable)
        except UnusableInterpreter:  # the search goes by names, and names promise nothing
            continue
        # A version manager's `python3.6` and `python3.6m` are two files and one installation.
        found.setdefault((interpreter.prefix, interpreter.flavour), interpreter)
    return tuple(sorted(found.values()))


def _executables(search_path: str) -> Iterator[str]:
    """Executables that look like interpreters, links resolved, each once, in the order of the search."""
    seen: set[str] = set()
    queue = [sys.base_prefix + "/bin", *search_path.split(os.pathsep), *STANDARD_DIRECTORIES]
    asked: set[str] = set()
    while queue:
        directory = os.path.realpath(queue.pop(0) or ".")
        if directory in asked:
            continue
        asked.add(directory)
        queue.extend(_managed_by(directory))
        for executable in _interpreters_in(directory):
            if executable not in seen:
                seen.add(executable)
                queue.extend(_neighbours(executable))
                yield executable


def _interpreters_in(directory: str) -> list[str]:
    try:
        names = sorted(os.listdir(directory))
    except OSError:  # PATH may name anything
        return []
    paths = [os.path.realpath(os.path.join(directory, name)) for name in names if _NAME.match(name)]
    return [path for path in paths if os.path.isfile(path) and os.access(path, os.X_OK) and not _is_script(path)]


def _is_script(path: str) -> bool:
    """Whether `path` is a shim of a version manager, which starts whatever version a file in the cwd names."""
    try:
        with open(path, "rb") as executable:
            return executable.read(2) == b"#!"
    except OSError:
        return True


def _managed_by(directory: str) -> list[str]:
    """The `bin` directories whose programs the shims in `directory` start: pyenv's `versions`, asdf's `installs`."""
    if os.path.basename(directory) != "shims":
        return []
    home = Path(directory).parent
    if not os.access(home, os.R_OK | os.X_OK):
        return []  # on the PATH of whoever became somebody else
    return [str(found) for pattern in ("versions/*/bin", "installs/python/*/bin") for found in home.glob(pattern)]


def _neighbours(executable: str) -> list[str]:
    """The `bin` directories of the versions next to this one's prefix."""
    directory = Path(executable).parent
    prefix = directory.parent
    if directory.name != "bin" or len(prefix.parts) < 3:  # the neighbours of /usr are no versions of anything
        return []
    beside = [str(found) for found in prefix.parent.glob("*/bin") if found != directory]
    return [found for found in beside if _interpreters_in(found)]


def _ask(executable: str) -> Interpreter:
    """What `executable` says of itself. Raises `UnusableInterpreter` with the reason."""
    try:
        answer = json.loads(_answer(executable))
        interpreter = Interpreter(
            implementation=answer["implementation"],
            version=tuple(answer["version"]),
            free_threaded=answer["free_threaded"],
            path=executable,
            prefix=os.path.realpath(answer["prefix"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise UnusableInterpreter(executable, "doesn't answer like a Python 3 interpreter") from error
    if interpreter.implementation not in {"cpython", "pypy"}:
        raise UnusableInterpreter(executable, f"is {interpreter.implementation}, which pyctrigger doesn't know")
    if not OLDEST <= interpreter.version[:2] <= NEWEST:
        raise UnusableInterpreter(executable, f"is {interpreter.release}, outside 3.{OLDEST[1]} … 3.{NEWEST[1]}")
    return interpreter


def _answer(executable: str) -> bytes:
    # -S and an empty environment: no site's code, no user's, and the same answer for everybody.
    command = [executable, "-I", "-S", "-c", _QUESTION]
    try:
        child = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, check=False, cwd="/", env={}, timeout=PROBE_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise UnusableInterpreter(executable, f"did not answer within {PROBE_SECONDS} s") from error
    except OSError as error:
        raise UnusableInterpreter(executable, f"can't be started: {error.strerror}") from error
    return child.stdout
