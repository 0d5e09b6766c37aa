"""Thirty ways in which the bytecode of a module is no good, each as something that is done to one package.

The package has two modules, `victim` and `other`, compiled at level 0; a fault is done to the pyc of `victim`, or to
what stands around it. The test and the benchmark beside other tools share this table.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from interpreters import Interpreter
from system_tools import find_tool

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: The sources of a package. Every value and every name of its own: whoever runs the wrong code says something else.
SOURCES = {
    "victim.py": "def value():\n    return 'victim'\n\n\nTABLE = [('a', 1), ('b', 2.5)]\nVALUE = value()\n",
    "other.py": "def worth():\n    return 'other'\n\n\nLIST = {'x': (1, 2), 'y': (3, 4)}\nVALUE = worth()\n",
}


@dataclass(frozen=True)
class Place:
    """Where a fault is done."""

    package: Path
    interpreter: Interpreter
    outside: Path
    """A directory that nobody may change anything in."""

    @property
    def tag(self) -> str:
        """The cache tag (PEP 3147)."""
        digits = "".join(map(str, self.interpreter.version[:2]))
        return f"pypy{digits}" if self.interpreter.implementation == "pypy" else f"cpython-{digits}"

    @property
    def header(self) -> int:
        """The size of a pyc's header (PEP 552)."""
        return 12 if self.interpreter.version < (3, 7) else 16

    @property
    def pycache(self) -> Path:
        """The directory of the pycs."""
        return self.package / "__pycache__"

    def pyc(self, module: str = "victim") -> Path:
        """The pyc of a module."""
        return self.pycache / f"{module}.{self.tag}.pyc"


@dataclass(frozen=True)
class Fault:
    """One kind of damage."""

    name: str
    kinds: frozenset[str]
    """The kinds of finding that name it rightly."""
    damage: Callable[[Place], None]
    obstacle: bool = False
    """Something stands there that isn't ours: a run names it, and a repair takes it away."""
    protected: bool = False
    """Nothing can be written there: also a repair can only say so."""
    flags: bool = False
    """Of a field that 3.6 doesn't have."""


def protect(directory: Path) -> bool:
    """Keep everybody, root included, from writing into a directory. Returns whether that worked."""
    directory.chmod(0o555)
    return os.geteuid() != 0 or change_attribute("+i", directory)


def unprotect(directory: Path) -> None:
    """Take that back."""
    if os.geteuid() == 0:
        change_attribute("-i", directory)
    directory.chmod(0o755)


def change_attribute(how: str, path: Path) -> bool:
    """Whether chattr could do this to a file: it is there, and the file system has the attribute."""
    program = find_tool("chattr")
    if program is None:
        return False
    return subprocess.run([program, how, path], capture_output=True, check=False).returncode == 0


def _rewritten(change: Callable[[bytes, int], bytes]) -> Callable[[Place], None]:
    """Other bytes in the same file, with the same times: `change` gets all bytes and the size of the header."""

    def damage(place: Place) -> None:
        pyc = place.pyc()
        before, status = pyc.read_bytes(), pyc.stat()
        after = change(before, place.header)
        assert before != after
        pyc.write_bytes(after)
        os.utime(pyc, ns=(status.st_atime_ns, status.st_mtime_ns))

    return damage


def flipped(data: bytes, position: int, bit: int = 2) -> bytes:
    """The same bytes, but for one bit."""
    return data[:position] + bytes([data[position] ^ 1 << bit]) + data[position + 1 :]


def _flags(value: int) -> Callable[[Place], None]:
    return _rewritten(lambda data, header: data[:4] + value.to_bytes(4, "little") + data[8:])


def _others_code(place: Place) -> None:
    body = place.pyc("other").read_bytes()[place.header :]
    place.pyc().write_bytes(place.pyc().read_bytes()[: place.header] + body)


def _instead_of_pycache(make: Callable[[Place], None]) -> Callable[[Place], None]:
    def damage(place: Place) -> None:
        shutil.rmtree(place.pycache)
        make(place)

    return damage


def _instead_of_pyc(make: Callable[[Place], None]) -> Callable[[Place], None]:
    def damage(place: Place) -> None:
        place.pyc().unlink()
        make(place)

    return damage


def _locked_out(place: Place) -> None:
    place.pyc().unlink()
    protect(place.pycache)


_CORRUPT = frozenset({"corrupt"})
_FOREIGN = frozenset({"foreign-magic"})
_STALE = frozenset({"stale"})
#: Where one bit decides whether it still loads.
_EITHER = frozenset({"corrupt", "mismatched"})
_OBSTRUCTED = frozenset({"obstructed"})

FAULTS = (
    # the header
    Fault("empty", _CORRUPT, _rewritten(lambda data, header: b"")),
    Fault("a header of 12 bytes", _CORRUPT, _rewritten(lambda data, header: data[: header - 4])),
    Fault("a header of 15 bytes", _CORRUPT, _rewritten(lambda data, header: data[: header - 1])),
    Fault("magic number", _FOREIGN, _rewritten(lambda data, header: b"\xb8\x0b" + data[2:])),
    Fault("line ends in the magic number", _FOREIGN, _rewritten(lambda data, header: data[:2] + b"\n\n" + data[4:])),
    Fault("unknown flag", _CORRUPT, _flags(0b100), flags=True),
    Fault("check without hash", _CORRUPT, _flags(0b10), flags=True),
    Fault("unchecked hash", _STALE, _flags(0b01), flags=True),
    Fault("mtime", _STALE, _rewritten(lambda data, header: flipped(data, header - 8))),
    Fault("size", _STALE, _rewritten(lambda data, header: flipped(data, header - 4))),
    # the body
    Fault("no body", _CORRUPT, _rewritten(lambda data, header: data[:header])),
    Fault("one byte of the body", _CORRUPT, _rewritten(lambda data, header: data[: header + 1])),
    Fault("half of the body", _CORRUPT, _rewritten(lambda data, header: data[: (header + len(data)) // 2])),
    Fault("all but the last byte", _CORRUPT, _rewritten(lambda data, header: data[:-1])),
    Fault("zeroed", _CORRUPT, _rewritten(lambda data, header: data[:header] + bytes(len(data) - header))),
    Fault("garbage", _CORRUPT, _rewritten(lambda data, header: data[:header] + b"\xa5" * (len(data) - header))),
    Fault("a bit of the first byte", _EITHER, _rewritten(flipped)),
    Fault("a bit in the middle", _EITHER, _rewritten(lambda data, header: flipped(data, (header + len(data)) // 2))),
    Fault("a bit near the end", _EITHER, _rewritten(lambda data, header: flipped(data, len(data) - 2))),
    Fault("another module's code", frozenset({"mismatched"}), _others_code),
    Fault("no code but a number", _CORRUPT, _rewritten(lambda data, header: data[:header] + b"i\x07\0\0\0")),
    Fault("more behind the body", _EITHER, _rewritten(lambda data, header: data + b"more")),
    # what stands around it
    Fault(
        "__pycache__ is a file",
        _OBSTRUCTED,
        _instead_of_pycache(lambda place: place.pycache.touch()),
        obstacle=True,
    ),
    Fault(
        "__pycache__ is a dangling link",
        _OBSTRUCTED,
        _instead_of_pycache(lambda place: place.pycache.symlink_to("nowhere")),
        obstacle=True,
    ),
    Fault(
        "__pycache__ is a link into another directory",
        _OBSTRUCTED,
        _instead_of_pycache(lambda place: place.pycache.symlink_to(place.outside)),
        obstacle=True,
    ),
    Fault("__pycache__ is read-only", frozenset({"missing"}), _locked_out, protected=True),
    Fault("the pyc is a directory", _OBSTRUCTED, _instead_of_pyc(lambda place: place.pyc().mkdir()), obstacle=True),
    Fault("the pyc is a dangling link", _OBSTRUCTED, _instead_of_pyc(lambda place: place.pyc().symlink_to("nowhere"))),
    Fault(
        "the pyc is a link to another module's",
        _OBSTRUCTED,
        _instead_of_pyc(lambda place: place.pyc().symlink_to(place.pyc("other").name)),
    ),
    Fault("the pyc is a FIFO", _OBSTRUCTED, _instead_of_pyc(lambda place: os.mkfifo(place.pyc()))),
)


def faults_of(interpreter: Interpreter) -> list[Fault]:
    """Those that this interpreter can have."""
    return [fault for fault in FAULTS if not (fault.flags and interpreter.version < (3, 7))]
