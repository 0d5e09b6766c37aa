"""Compiles the program's directory for the Python that runs it: as pycs, and as the one file that `start.py` reads."""

from __future__ import annotations

import contextlib
import marshal
import os
import sys
from _frozen_importlib_external import MAGIC_NUMBER
from collections.abc import Iterator

from start import TYPE_CHECKING, OwnCode, file_of, stamp_of

from pyctrigger.errors import PyctriggerError
from pyctrigger.pyc.header import InvalidationMode
from pyctrigger.run.scope.request import Bytecode, Request, Running, Scope, Work
from pyctrigger.run.trigger import perform
from pyctrigger.state.own_files import write_bytes
from pyctrigger.state.records.record import whole_digest_of

if TYPE_CHECKING:
    from start import Index


def keep(directory: str) -> None:
    """Compile all of it. Without bytecode a start takes longer, and that is all.

    The pycs have checked hashes: systems that set all times to 0, or unpack an upgrade with the times of before, can't
    make such bytecode stale, and no wrong one is ever taken.
    """
    own = Request(
        Work.RUN,
        Scope(pythons=(sys.executable,), site_dirs=(os.path.abspath(directory),)),
        Bytecode(optimize=(0,), invalidation_mode=InvalidationMode.CHECKED_HASH, replaces_owned=True),
        running=Running(stateless=True, jobs=1),
    )
    with contextlib.suppress(PyctriggerError):
        perform(own)
    renew(directory)


def renew(directory: str) -> None:
    """Write the code of all modules into one file. It has no docstrings: nobody reads them while the program runs.

    What the file has already, of equal sources, isn't compiled again.
    """
    with contextlib.suppress(OSError, SyntaxError, ValueError):  # an upgrade may be half done
        _write_file(directory, OwnCode.of(directory))


def _write_file(directory: str, known: OwnCode | None) -> None:
    index: Index = {}
    pieces: list[bytes] = []
    at = 0
    for name, source, is_package in _modules_in(directory):
        with open(source, "rb") as file:
            stamp, text = stamp_of(os.fstat(file.fileno())), file.read()
        code = _known_code(known, name, text)
        if code is None:
            code = marshal.dumps(compile(text, source, "exec", dont_inherit=True, optimize=2))
        pieces.append(code)
        index[name] = is_package, at, len(code), whole_digest_of(text + code), stamp
        at += len(code)
    found = marshal.dumps(index)
    path = file_of(directory)
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    write_bytes(path, b"".join([MAGIC_NUMBER, len(found).to_bytes(4, "little"), found, *pieces]))
    os.chmod(path, 0o644)  # for everybody


def _known_code(known: OwnCode | None, name: str, text: bytes) -> bytes | None:
    """Returns a module's code from the file, if it was made from this source, and is whole."""
    if known is None or name not in known.index:
        return None
    try:
        code = known.code_of(name)
    except OSError:
        return None
    return code if whole_digest_of(text + code) == known.index[name][3] else None


def _modules_in(directory: str) -> Iterator[tuple[str, str, bool]]:
    """Yields the name of each module, its source, and whether it is a package."""
    for here, directories, names in os.walk(directory):
        directories[:] = sorted(name for name in directories if name.isidentifier() and name != "__pycache__")
        for stem in sorted(name[:-3] for name in names if name.endswith(".py")):
            path = os.path.join(here, stem)
            is_package = stem == "__init__"
            name = os.path.relpath(here if is_package else path, directory).replace("/", ".")
            yield name, f"{path}.py", is_package
