"""What a user calls an interpreter, and where it may be found: `3.11`, `3.13t`, `pypy3.11`, `py311`, or a path."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, NamedTuple

from ..errors import InterpreterError, UsageError

if TYPE_CHECKING:
    from .interpreter import Interpreter

#: The only directories that are searched, in this order: absolute, never PATH, which a user's shell may have changed.
STANDARD_DIRECTORIES = ("/usr/local/bin", "/usr/bin", "/bin", "/usr/pkg/bin", "/opt/local/bin")

_DOTTED = re.compile(r"(?:(cpython|python|pypy|py)-?)?3\.([0-9]{1,3})(t?)\Z", re.ASCII)
_SHORT = re.compile(r"(pypy|py)3([0-9]{1,3})(t?)\Z", re.ASCII)
_TAG = re.compile(r"(cpython-|pypy)3([0-9]+)\Z", re.ASCII)
_EXECUTABLE = re.compile(r"(?:python3\.[0-9]+t?|pypy3(?:\.[0-9]+)?)\Z", re.ASCII)


class Flavour(NamedTuple):
    """A kind of interpreter that was asked for by version, or one executable."""

    implementation: str
    version: tuple[int, int]
    free_threaded: bool
    path: str | None = None

    @property
    def name(self) -> str:
        """The short name, or the path."""
        if self.path is not None:
            return self.path
        stem = "py" if self.implementation == "cpython" else self.implementation
        return f"{stem}{self.version[0]}{self.version[1]}{'t' if self.free_threaded else ''}"

    @property
    def dotted(self) -> str:
        """The version as the configuration's `[flavours."3.11"]` spells it."""
        stem = "" if self.implementation == "cpython" else self.implementation
        return f"{stem}{self.version[0]}.{self.version[1]}{'t' if self.free_threaded else ''}"

    @property
    def library(self) -> str:
        """The name of its library's directory: python3.11, python3.13t, pypy3.11."""
        stem = "python" if self.implementation == "cpython" else self.implementation
        return f"{stem}{self.version[0]}.{self.version[1]}{'t' if self.free_threaded else ''}"

    @property
    def cache_tag(self) -> str:
        """The cache tag of its pycs (PEP 3147): cpython-311, pypy311."""
        dash = "-" if self.implementation == "cpython" else ""
        return f"{self.implementation}{dash}{self.version[0]}{self.version[1]}"

    @classmethod
    def parse(cls, text: str) -> Flavour:
        """Read what stands behind `--python`. Raises UsageError with the accepted forms."""
        if "/" in text and "\0" not in text:
            return cls("", (0, 0), False, os.path.abspath(text))
        match = _DOTTED.match(text) or _SHORT.match(text)
        if not match:
            raise UsageError(
                f"--python {text}: no version and no path",
                mend="say 3.11, 3.13t, pypy3.11, py311, or the absolute path of an executable",
            )
        implementation = "pypy" if match[1] == "pypy" else "cpython"
        return cls(implementation, (3, int(match[2])), bool(match[3]))

    def candidates(self, configured: str | None = None) -> list[str]:
        """Absolute paths to try, best first."""
        if self.path is not None:
            return [self.path]
        if configured is not None:
            return [configured]
        major, minor = self.version
        names = (
            [f"python{major}.{minor}{'t' if self.free_threaded else ''}"]
            if self.implementation == "cpython"
            else [f"{self.implementation}{major}.{minor}", f"{self.implementation}{major}"]
        )
        return [path for path in (os.path.join(at, name) for at in directories() for name in names) if _runs(path)]

    def require(self, interpreter: Interpreter) -> None:
        """Raise InterpreterError unless the interpreter is what was asked for."""
        if self.path is not None:
            return
        answered = (interpreter.implementation, interpreter.version[:2], interpreter.free_threaded)
        if answered != (self.implementation, self.version, self.free_threaded):
            raise InterpreterError(
                f"{interpreter.executable} was asked for as {self.name} and answers as {interpreter.flavour}",
                mend=f"say --python {interpreter.flavour}, or mend the executable of {self.name} in the configuration",
            )


def flavour_of_tag(cache_tag: str) -> str | None:
    """The short name of the flavour that a cache tag is of by itself: py311 for cpython-311; None for other tags."""
    match = _TAG.match(cache_tag)
    return f"{'py' if match[1] == 'cpython-' else match[1]}3{match[2]}" if match else None


def directories() -> list[str]:
    """The standard directories, and the one that the host's own interpreter came from."""
    own = os.path.dirname(os.path.realpath(sys.executable)) if sys.executable else ""
    return [*STANDARD_DIRECTORIES, *([own] if own and own not in STANDARD_DIRECTORIES else [])]


def installed() -> list[str]:
    """Every executable in the standard directories that is named like an interpreter; one path for each file."""
    found: dict[tuple[int, int], str] = {}
    for at in directories():
        try:
            names = sorted(name for name in os.listdir(at) if _EXECUTABLE.match(name))
        except OSError:
            continue  # not every system has every directory
        for name in names:
            path = os.path.join(at, name)
            if _runs(path):
                status = os.stat(path)
                found.setdefault((status.st_dev, status.st_ino), path)
    return list(found.values())


def _runs(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)
