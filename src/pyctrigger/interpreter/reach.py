"""Whether an unprivileged account can run an interpreter, from its modes: a trial run may fail for other reasons."""

from __future__ import annotations

import functools
import os
import stat

from .elf import read_needs
from .interpreter import Interpreter

#: Links that the kernel follows in one path (path_resolution(7)).
_MAX_LINKS = 40
_READ_AND_SEARCH = stat.S_IROTH | stat.S_IXOTH


def is_for_everybody(interpreter: Interpreter) -> bool:
    """Whether modes let everybody execute it, load the libraries in its RPATH, and list its standard library."""
    scheme = interpreter.schemes.get(interpreter.default_scheme, {})
    paths = [interpreter.executable, *(scheme[key] for key in ("stdlib", "platstdlib") if key in scheme)]
    if not all(_is_open((interpreter.root or "") + path) for path in paths):
        return False
    return interpreter.root is not None or all(map(_is_open, _named_libraries(interpreter.executable)))


@functools.lru_cache(maxsize=16)
def _named_libraries(executable: str) -> tuple[str, ...]:
    """Returns the libraries in a program's RPATH, as libpython may be; everybody can read the system's."""
    needs = read_needs(os.path.realpath(executable))
    if needs is None:
        return ()
    places = [(place, name) for name in needs.libraries for place in needs.runpath or needs.rpath]
    return tuple(path for path in (os.path.join(place, name) for place, name in places) if os.path.exists(path))


@functools.lru_cache(maxsize=256)  # needed for each worker, and a path takes ten system calls
def _is_open(path: str) -> bool:
    pending = [part for part in path.split("/") if part][::-1]
    current, links = "/", 0
    try:
        status = os.lstat(current)
        while pending:
            part = pending.pop()
            if part == "..":
                current = os.path.dirname(current)
            elif part != ".":
                if not os.lstat(current).st_mode & stat.S_IXOTH:
                    return False
                step = os.path.join(current, part)
                status = os.lstat(step)
                if stat.S_ISLNK(status.st_mode):
                    destination = os.readlink(step)
                    links += 1
                    current = "/" if destination.startswith("/") else current
                    pending += [piece for piece in destination.split("/") if piece][::-1]
                else:
                    current = step
            if links > _MAX_LINKS:
                return False
    except OSError:
        return False
    return status.st_mode & _READ_AND_SEARCH == _READ_AND_SEARCH
