"""What an interpreter loads before its first line of Python, found without running it, and who could change that.

Root may not start an interpreter to ask where its library is: code of whoever controls the library would have run by
then. So the search of getpath is done here (CPython's Modules/getpath.py, up to 3.10 getpath.c; PEP 405; PyPy's
initpath):

- the executable, all links and directories on the way to it, and the interpreter of a script;
- its loader, and the libraries that DT_RPATH and DT_RUNPATH lead to; those in the system's own directories aren't
  examined: all of root's programs load them;
- a `pyvenv.cfg` next to it or one level above, whose `home` replaces its own directory, and a `._pth` next to it;
- from there upwards `lib/pythonX.Y/os.py`, `lib/pythonXY.zip`, the same in `lib64`, and if none of them exists, the
  prefix that the executable was built with: an absolute path in its bytes that has such a library;
- in the library found, all files except packages and tests, and the libraries that extension modules need.

If it is uncertain which one is loaded, all count: for an executable whose version is unknown every library does. What
doesn't exist, but could be created by anybody, as `/tmp/lib` for an executable below `/tmp`, is checked again after the
start, and whenever a cached answer is used.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import re
import stat
from collections.abc import Iterable

from ..bounded import read_regular
from ..errors import InterpreterError
from .elf import read_needs
from .interpreter import ancestors
from .trust import Holders

#: Bytes. No Python makes a larger one.
_MAX_CONFIGURATION = 1 << 16
#: Limits. A standard library has 4,000 files and a handful of shared libraries.
_MAX_ENTRIES = 100_000
_MAX_LIBRARIES = 512
_MAX_EXECUTABLE = 256 << 20
_LIBRARY_DIRECTORIES = ("lib", "lib64")
#: Name of an executable that contains its version.
_NAMED = re.compile(r"(python|pypy)3\.([0-9]{1,3})", re.ASCII)
_LIBRARY_NAME = re.compile(r"(?:(?:python|pypy)3\.[0-9]{1,3}t?|python3[0-9]{1,3}t?\.zip)\Z", re.ASCII)
_PATH = re.compile(rb"\0(/[!-~]{1,255})(?=\0)")
#: Directories of a library from which a start without `site` imports nothing.
_NEVER_LOADED = frozenset(
    {"site-packages", "dist-packages", "test", "tests", "idlelib", "tkinter", "turtledemo", "lib2to3", "ensurepip"}
)
#: Directories of a library that every start reads. They are checked again whenever a cached answer is used.
_ALWAYS_READ = ("encodings", "importlib", "lib-dynload", "__pycache__", "encodings/__pycache__", "collections", "json")
_BUILD_MARKS = ("pybuilddir.txt", "Modules/Setup.local")


def examine_loading(executable: str) -> Holders:
    """Find out what the answer of `executable` depends on, and, as root, who could change what it loads.

    Raises InterpreterError if it can't be an interpreter, and RefusedError if root shouldn't run it under any account.
    """
    holders = Holders("interpreter", executable)
    if os.path.exists(executable) and not os.path.isfile(executable):
        is_environment = os.path.lexists(os.path.join(executable, "bin", "python"))
        hint = f"for an environment use --prefix {executable}" if is_environment else None
        reason = "it is a directory" if os.path.isdir(executable) else "not a regular file"
        raise InterpreterError(f"{executable} can't be started: {reason}", hint=hint)
    real = holders.follow(executable)
    status = holders.steps[real]
    if status.st_mode & (stat.S_ISUID | stat.S_ISGID):
        holders.refuse("it is set-user-ID or set-group-ID", f"chmod ug-s {executable}")
    homes: list[str] = []
    for beside in (os.path.dirname(os.path.dirname(executable)), os.path.dirname(executable)):
        homes += _read_homes(os.path.join(beside, "pyvenv.cfg"), holders)
    if os.geteuid() == 0:
        _LibrarySearch(holders, executable, real).look(homes)
    return holders


def _read_homes(configuration: str, holders: Holders) -> list[str]:
    """Returns the base interpreter's directories in a `pyvenv.cfg`. Relative ones start at `/`, where we start it.

    Raises InterpreterError if Python can't read it.
    """
    reason = text = ""
    try:
        if stat.S_ISREG(os.stat(configuration).st_mode):  # opening a device may do something
            text = read_regular(configuration, _MAX_CONFIGURATION).decode("utf-8", "surrogateescape")
        else:
            reason = "not a regular file"
    except OSError as error:
        if error.errno == errno.EFBIG:
            reason = "too large for a pyvenv.cfg"
    if reason:
        raise InterpreterError(f"{configuration} is {reason}", hint="create the environment again")
    if holders.follow_existing(configuration) is None:
        holders.kept.setdefault(configuration, None)
    pairs = [
        (key.strip().lower(), value.strip()) for key, _, value in (line.partition("=") for line in text.splitlines())
    ]
    return [os.path.join("/", value) for key, value in pairs if key == "home" and value and "\0" not in value]


def _read_head(path: str) -> str:
    """Returns the beginning of a file; nothing if it can't be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            return file.read(_MAX_CONFIGURATION).decode("utf-8", "surrogateescape")
    except OSError:
        return ""


class _LibrarySearch:
    """Searches for everything that an executable loads, and adds it to its holders."""

    def __init__(self, holders: Holders, executable: str, real: str) -> None:
        self._holders = holders
        self._executable = executable
        self._real = real
        named = {
            match.groups() for path in (executable, real) for match in [_NAMED.match(os.path.basename(path))] if match
        }
        self._names = [name for implementation, minor in sorted(named) for name in _names_of(implementation, minor)]
        #: From 3.11 on a zip above the executable has precedence over all libraries.
        self._reads_zips = not named or any(int(minor) >= 11 for _, minor in named)
        self._needing: set[str] = set()
        self._entries = 0

    def look(self, homes: list[str]) -> None:
        """Examine all that a start would load. Raises RefusedError and InterpreterError."""
        head = _read_head(self._real)
        if not head.startswith("\x7fELF"):
            self._holders.follow_existing(_interpreter_of_script(head))
            return  # what a script starts can't be known
        self._examine_needs(self._real, ())
        if not self._needing:
            raise InterpreterError(f"{self._executable} can't be started: {os.strerror(errno.ENOEXEC)}")
        places = list(map(os.path.normpath, homes)) or [os.path.dirname(self._real)]
        libraries = []
        for place in places:
            self._holders.follow_existing(place)
            if any(os.path.lexists(os.path.join(place, mark)) for mark in _BUILD_MARKS):
                self._holders.refuse(f"{place} is a Python's build directory", "install that Python (make install)")
            libraries += self._search_up(place)
        for name in dict.fromkeys((self._executable, self._real)):
            libraries += self._read_path_file(f"{name}._pth")
        for library in dict.fromkeys(libraries or self._libraries_of_build()):
            self._examine_library(library)

    # -- where libraries are -----------------------------------------------------------------------------------------

    def _search_up(self, start: str) -> list[str]:
        """Returns the libraries found from a directory upwards."""
        found: list[str] = []
        for above in ancestors(start):
            is_done = bool(found)
            if is_done and not self._reads_zips:
                break
            places = [os.path.join(above, name) for name in _LIBRARY_DIRECTORIES]
            for path in (path for place in places for path in self._libraries_in(place, keeps=not is_done)):
                real = self._holders.follow_existing(path, keeps=not is_done)
                if real is not None and not is_done and _is_library(path):
                    found.append(path)
            if not is_done and not self._is_cpython:
                of_pypy = [os.path.join(above, name) for name in ("lib-python/3", "lib_pypy")]
                found += filter(os.path.isdir, of_pypy)
        return found

    @property
    def _is_cpython(self) -> bool:
        return bool(self._names) and not any(name.startswith("pypy") for name in self._names)

    def _libraries_in(self, place: str, *, keeps: bool = True) -> list[str]:
        """Returns what may be this interpreter's library in a `lib` directory."""
        if self._holders.follow_existing(place, keeps=keeps) is None:
            return []
        if self._names:
            return [path for path in (os.path.join(place, name) for name in self._names) if os.path.lexists(path)]
        return [os.path.join(place, name) for name in self._list_directory(place) if _LIBRARY_NAME.match(name)]

    def _list_directory(self, directory: str) -> list[str]:
        names: list[str] = []
        with contextlib.suppress(OSError):
            names = os.listdir(directory)
        self._entries += len(names)
        if self._entries > _MAX_ENTRIES:
            raise InterpreterError(f"{self._executable} has a library of more than {_MAX_ENTRIES} files")
        return names

    def _read_path_file(self, path_file: str) -> list[str]:
        """Returns the directories in a `._pth` file, which replaces all other searching."""
        if not os.path.lexists(path_file):
            return []
        text = _read_head(self._holders.follow_existing(path_file) or path_file)
        lines = [line.strip() for line in text.splitlines() if line.strip() and "\0" not in line]
        return [os.path.normpath(os.path.join(os.path.dirname(path_file), line)) for line in lines]

    def _libraries_of_build(self) -> list[str]:
        """Returns the libraries below the prefix that the executable, or its libpython, was built with."""
        found = []
        for program in [self._real, *self._needing]:
            for prefix in _absolute_paths_in(program):
                places = [os.path.join(prefix, name) for name in _LIBRARY_DIRECTORIES]
                found += [path for place in places if os.path.isdir(place) for path in self._libraries_in(place)]
        return [path for path in found if _is_library(path)]

    # -- whose they are ----------------------------------------------------------------------------------------------

    def _examine_library(self, library: str) -> None:
        """Examine a library: a directory of modules, or a zip."""
        top = self._holders.follow_existing(library)
        if top is None:
            return
        for name in ("os.py", *_ALWAYS_READ):
            self._holders.follow_existing(os.path.join(top, name))
        directories = [top]
        for directory in directories:  # grows in the loop
            names = self._list_directory(directory)
            if directory == top:
                names = [name for name in names if name not in _NEVER_LOADED]
            # Not kept for later checks: they are too many.
            for name, real in self._holders.follow_entries(directory, names):
                if stat.S_ISDIR(self._holders.steps[real].st_mode):
                    directories += [] if real in directories else [real]
                elif name.endswith(".so"):
                    self._examine_needs(real, (), keeps=False)

    def _examine_needs(self, program: str, inherited: tuple[str, ...], *, keeps: bool = True) -> None:
        """Examine the loader and libraries of a program, or of a library."""
        if program in self._needing or len(self._needing) >= _MAX_LIBRARIES:
            return
        needs = read_needs(program)
        if needs is None:
            return
        self._needing.add(program)
        if needs.loader is not None:
            self._holders.follow_existing(needs.loader, keeps=False)
        places = needs.runpath or (*needs.rpath, *inherited)
        for name in needs.libraries:
            paths = (os.path.join("/", place, name) for place in places) if "/" not in name else [f"/{name}"]
            found = next(filter(None, (self._holders.follow_existing(path, keeps=keeps) for path in paths)), None)
            if found is not None:
                self._examine_needs(found, () if needs.runpath else places, keeps=keeps)


def _names_of(implementation: str, minor: str) -> list[str]:
    if implementation == "pypy":
        return [f"pypy3.{minor}"]
    return [f"python3.{minor}", f"python3.{minor}t", f"python3{minor}.zip", f"python3{minor}t.zip"]


def _is_library(path: str) -> bool:
    return any(os.path.lexists(os.path.join(path, name)) for name in ("os.py", "os.pyc", "lib-dynload"))


def _interpreter_of_script(head: str) -> str:
    """Returns the interpreter in a script's `#!` line, or the shell if it has none."""
    words = head[2:].partition("\n")[0].partition("\0")[0].split()
    return os.path.join("/", words[0]) if head.startswith("#!") and words else "/bin/sh"


def _absolute_paths_in(program: str) -> Iterable[str]:
    """Returns all strings in a program that may be a directory's path."""
    try:
        descriptor = os.open(program, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        # Mapped: it may be large, and a page that was looked at costs no memory.
        with open(descriptor, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as content:
            size = min(len(content), _MAX_EXECUTABLE)
            return {os.fsdecode(match[1]) for match in _PATH.finditer(content, 0, size)}
    except (OSError, ValueError):
        return ()
