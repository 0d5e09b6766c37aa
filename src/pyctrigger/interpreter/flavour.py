"""Flavours: what users call an interpreter (`3.11`, `pypy3.11`, `py313t`, `python3`, a path), and where it is found."""

from __future__ import annotations

import os
import re
import sys

from ..errors import InterpreterError, UsageError
from ..stamps import inode_of
from ..typed import NamedTuple

#: The only directories that are searched, in this order: absolute, never PATH, which a user's shell may have changed.
STANDARD_DIRECTORIES = ("/usr/local/bin", "/usr/bin", "/bin", "/usr/pkg/bin", "/opt/local/bin")

# Texts that `re` compiles when they are first used: a hook needs one or two of them.
_DOTTED = r"(?:(cpython|python|pypy|py)-?)?3\.([0-9]{1,3})(t?)\Z"
_SHORT = r"(pypy|py)3([0-9]{1,3})(t?)\Z"
#: Names that are looked up as executables: only those of interpreters.
_NAME = r"(?:python|pypy)[A-Za-z0-9._+-]*\Z"
_ALIASES = {"3": "python3", "py3": "python3"}
#: Other spellings of a version: 3.11.7, 311, cpython-311.
_MISSPELLED = r"(?:c?python-?|py-?|(pypy)-?)?3\.?([0-9]{1,2})(?:\.[0-9]+)?(t?)\Z"
#: No target, in any of these spellings.
_TOO_OLD = r"(?:c?python-?|py-?|pypy-?)?(?:2(?:\.?[0-9]{1,2})?|3\.?[0-5])(?:\.[0-9]+)?\Z"
#: Interpreters that an error lists if the wanted one isn't found.
_MAX_LISTED = 8
#: The cache tags of interpreters that may have come and gone (PEP 3147).
TAGS = "cpython-3[0-9]+|pypy3[0-9]+"
_EXECUTABLE = r"(?:python3\.[0-9]+t?|pypy3(?:\.[0-9]+)?)\Z"
#: How they begin: of the thousands of names in /usr/bin, few are worth a regular expression.
_STEMS = ("python3", "pypy3")


class Flavour(NamedTuple):
    """A kind of interpreter, given by its version, or one executable."""

    implementation: str
    version: tuple[int, int]
    free_threaded: bool
    path: str | None = None
    called: str | None = None
    """The name by which the path was found in the standard directories."""

    @property
    def name(self) -> str:
        """The short name, or the path."""
        return self._spelled("py", "") if self.path is None else self.path

    @property
    def dotted(self) -> str:
        """The version as the configuration's `[flavours."3.11"]` spells it."""
        return self._spelled("", ".")

    @property
    def library(self) -> str:
        """Name of its library directory, and of its executable: python3.11, python3.13t, pypy3.11."""
        return self._spelled("python", ".")

    @property
    def cache_tag(self) -> str:
        """The cache tag of its pycs (PEP 3147), which free-threaded ones share: cpython-311, pypy311."""
        return self._replace(free_threaded=False)._spelled("cpython-", "")

    def _spelled(self, stem: str, dot: str) -> str:
        """The version after its implementation, which is `stem` for CPython."""
        stem = stem if self.implementation == "cpython" else self.implementation
        return f"{stem}{self.version[0]}{dot}{self.version[1]}{'t' if self.free_threaded else ''}"

    @classmethod
    def of_version(cls, text: str) -> Flavour | None:
        """The flavour that is named by its version: 3.11, py311, cpython-3.11, python3.11; None for anything else."""
        match = re.match(_DOTTED, text, re.ASCII) or re.match(_SHORT, text, re.ASCII)
        if not match:
            return None
        return cls("pypy" if match[1] == "pypy" else "cpython", (3, int(match[2])), bool(match[3]))

    @classmethod
    def of_cache_tag(cls, tag: str) -> Flavour | None:
        """The flavour that a cache tag is of by itself; None for tags of others."""
        if not re.fullmatch(TAGS, tag, re.ASCII):
            return None
        stem, _, minor = tag.partition("3")
        return cls(stem.rstrip("-"), (3, int(minor)), False)

    @classmethod
    def parse(cls, text: str) -> Flavour:
        """Parse the value of `--python`. Raises UsageError with the accepted forms, and InterpreterError.

        A name such as `python3` means what it currently is in the standard directories; `3` means `python3`.
        """
        if "/" in text and "\0" not in text:
            return cls("", (0, 0), False, os.path.abspath(text))
        flavour = cls.of_version(text)
        if flavour is not None and not re.match(_TOO_OLD, text.lower(), re.ASCII):
            return flavour
        name = _ALIASES.get(text, text)
        if re.match(_NAME, name, re.ASCII):
            for path in _executables(name):
                return cls("", (0, 0), False, path, name)
            raise not_found(name)
        raise _unknown_flavour(text)

    def candidates(self, configured: str | None = None) -> list[str]:
        """Returns absolute paths to try, best first."""
        if self.path is not None:
            return [self.path]
        if configured is not None:
            return [configured]
        names = [self.library]
        if self.implementation != "cpython":
            names.append(f"{self.implementation}{self.version[0]}")
        return _executables(*names)


def _unknown_flavour(text: str) -> UsageError:
    """Returns the error for a value of `--python` that names no Python."""
    hint = "use 3.11, 3.13t, pypy3.11, py311, python3, or the path of an executable"
    if text and os.path.isdir(text):
        hint = f"{text} is a directory; for an environment use --prefix {text}"
    if re.match(_TOO_OLD, text.lower(), re.ASCII):
        return UsageError(f"--python {text}: older than any target", hint="the oldest is Python 3.6")
    match = re.match(_MISSPELLED, text.lower(), re.ASCII)
    likely = f" (did you mean {match[1] or ''}3.{match[2]}{match[3]}?)" if match else ""
    return UsageError(f"--python {text}: not a version, name or path of a Python{likely}", hint=hint)


def not_found(called: str) -> InterpreterError:
    """Returns the error for an interpreter that isn't in the standard directories, with those that are."""
    asked = Flavour.of_version(called)
    kind = "PyPy" if asked and asked.implementation == "pypy" else "Python"
    wanted = f"{kind} {asked.dotted.removeprefix('pypy')}" if asked else called
    found = [f"{_label(path)} {path}" for path in installed()]
    more = f" and {len(found) - _MAX_LISTED} more" if len(found) > _MAX_LISTED else ""
    others = f"found: {', '.join(found[:_MAX_LISTED])}{more}; " if found else ""
    message = f"no {wanted} was found in the standard directories"
    return InterpreterError(message, hint=f"{others}name another one with --python PATH")


def _label(path: str) -> str:
    """Returns the short name that follows from an executable's name: py311 for python3.11."""
    flavour = Flavour.of_version(os.path.basename(path))
    return flavour.name if flavour else "pypy3"


def directories() -> list[str]:
    """Returns the standard directories, and that of the host's own interpreter."""
    own = os.path.dirname(os.path.realpath(sys.executable)) if sys.executable else ""
    return [*STANDARD_DIRECTORIES, *([own] if own and own not in STANDARD_DIRECTORIES else [])]


def installed() -> list[str]:
    """Returns the executables in the standard directories that have an interpreter's name, one path for each file."""
    found: dict[tuple[int, int], str] = {}
    looked_at = set()
    for at in directories():
        try:
            place = inode_of(os.stat(at))
            if place in looked_at:
                continue  # /bin leads to /usr/bin on most systems
            looked_at.add(place)
            likely = sorted(name for name in os.listdir(at) if name.startswith(_STEMS))
        except OSError:
            continue  # not all systems have all of them
        for name in likely:
            path = os.path.join(at, name)
            if re.match(_EXECUTABLE, name, re.ASCII) and _is_executable(path):
                found.setdefault(inode_of(os.stat(path)), path)
    return list(found.values())


def _executables(*names: str) -> list[str]:
    paths = (os.path.join(at, name) for at in directories() for name in names)
    return list(filter(_is_executable, paths))


def _is_executable(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)
