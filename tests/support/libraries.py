"""Standard libraries: where an interpreter's is, its sources, and which of them its own installation leaves out."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from pyctrigger.interpreter.probe import probe
from pyctrigger.interpreter.scope import own_directories

if TYPE_CHECKING:
    from collections.abc import Iterable

    from interpreters import Interpreter

PACKAGES = ("site-packages", "dist-packages")
_PATTERN = re.compile(r"-x '([^']*bad_coding[^']*)'")
#: For an interpreter that comes without its Makefile: all that any version leaves out.
_EVERY = "bad_coding|badsyntax|lib2to3/tests/data|test/test_lib2to3/data"


def library_of(interpreter: Interpreter) -> Path:
    """The directory of its standard library."""
    libraries = map(Path, own_directories(probe(interpreter.path).interpreter).library)
    return next(path for path in libraries if (path / "encodings").is_dir())


def sources_of(library: Path) -> list[str]:
    """The sources of a standard library, by their paths in it."""
    found = []
    for directory, directories, names in os.walk(library):
        directories[:] = [name for name in directories if name not in PACKAGES]
        found += [os.path.relpath(os.path.join(directory, name), library) for name in names if name.endswith(".py")]
    return found


def left_out(library: Path, sources: Iterable[str]) -> set[str]:
    """Those that the Makefile which it was installed by doesn't compile.

    Its pattern is meant for paths in the library; the directory that this one happens to lie in says nothing.
    """
    makefiles = sorted(library.glob("config-*/Makefile"))
    pattern = _PATTERN.search(makefiles[0].read_text()) if makefiles else None
    return {path for path in sources if re.search(pattern[1] if pattern else _EVERY, path)}


def copy_sources(library: Path, sources: Iterable[str], prefix: Path) -> Path:
    """Make a prefix with these sources of a standard library, and room for packages."""
    copy = prefix / "lib" / library.name
    for path in {*sources, "encodings/__init__.py"}:
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(library / path, copy / path)
    for name in PACKAGES:
        (copy / name).mkdir(exist_ok=True)
    return copy
