"""Magic numbers: which release of which interpreter wrote a pyc.

Sources: the lists in CPython's `Lib/importlib/_bootstrap_external.py` (up to 3.13) and
`Include/internal/pycore_magic_number.h` (from 3.14 on), where each number has the first release, or pre-release, that
has it; from 3.11 on the numbers of 3.n start at 2900 + 50n. PyPy's are `pypy_incremental_magic` in its
`pypy/interpreter/pycode.py`: multiples of 16 below 3000, at first CPython's plus 7. PyPy 3.8 and 3.9 up to 7.3.9 wrote
CPython's numbers (PyPy issue 3782), so a cache tag says more about the implementation than a number does.
"""

from __future__ import annotations

from typing import NamedTuple

_END = b"\r\n"
#: Of each minor version of CPython 3: the numbers that its pre-releases introduced, each with the first that has it,
#: and those of its final releases.
_CPYTHON: dict[int, tuple[dict[int, str], dict[int, str]]] = {
    0: ({3000: "a1", 3111: "a4", 3131: "b1"}, {3131: "3.0"}),
    1: ({3141: "a1"}, {3151: "3.1"}),
    2: ({3160: "a1", 3170: "a2", 3180: "a3"}, {3180: "3.2"}),
    3: ({3190: "a1", 3220: "a2", 3230: "a4"}, {3230: "3.3"}),
    4: ({3250: "a1", 3290: "a4", 3310: "rc2"}, {3310: "3.4"}),
    # CPython's list says that 3.5.2 has 3351; it was released with 3350.
    5: ({3320: "a1", 3330: "b1", 3340: "b2", 3350: "b3"}, {3350: "3.5.0 to 3.5.2", 3351: "3.5.3 and later"}),
    6: ({3360: "a1", 3370: "a2", 3373: "b1", 3378: "b2", 3379: "rc1"}, {3379: "3.6"}),
    7: ({3390: "a1", 3391: "a2", 3392: "a4", 3393: "b1", 3394: "b5"}, {3394: "3.7"}),
    8: ({3400: "a1", 3411: "b2", 3413: "b4"}, {3413: "3.8"}),
    9: ({3420: "a1", 3423: "a2"}, {3425: "3.9"}),
    10: ({3430: "a1", 3432: "a2", 3434: "a6", 3435: "a7", 3436: "b1"}, {3439: "3.10"}),
    11: (
        {3450: "a1", 3462: "a2", 3463: "a3", 3466: "a4", 3475: "a5", 3486: "a6", 3492: "a7", 3495: "b4"},
        {3495: "3.11"},
    ),
    12: ({3500: "a1", 3510: "a2", 3513: "a4", 3515: "a5", 3518: "a6", 3521: "a7", 3525: "b1"}, {3531: "3.12"}),
    13: ({3550: "a1", 3569: "a5", 3570: "a6", 3571: "b1"}, {3571: "3.13"}),
    14: (
        {
            3600: "a1",
            3609: "a2",
            3610: "a4",
            3614: "a5",
            3617: "a6",
            3621: "a7",
            3624: "b1",
            3625: "b3",
            3626: "rc2",
            3627: "rc3",
        },
        {3627: "3.14"},
    ),
    15: ({3650: "a1"}, {3666: "3.15"}),
}
_PYPY = {
    64: "3.3",
    112: "3.5",
    160: "3.6",
    192: "3.6",
    224: "3.7",
    240: "3.7",
    256: "3.8",
    320: "3.9",
    336: "3.9",
    384: "3.10",
    416: "3.11",
    432: "3.11",
    3187: "3.2",
}
#: From here (3.11) on, each version has a range of its own.
_RANGED = 3450
#: The first numbers whose headers have the size of the source (3.3), and flags (PEP 552, 3.7), of CPython and PyPy.
_WITH_SIZE, _WITH_FLAGS = 3210, 3392
_PYPY_WITH_FLAGS = 224
_PYPY_TOP = 3000
#: Numbers from here on are Python 1's and 2's, whose headers have only an mtime.
_PYTHON_2 = 20000


class Release(NamedTuple):
    """The interpreter and release that a magic number belongs to."""

    implementation: str
    """cpython or pypy; empty if unknown."""
    version: tuple[int, int]
    """(3, 14), for example; (0, 0) if unknown."""
    text: str
    """For people: `CPython 3.14`, `CPython 3.14b3 (before 3.14rc2)`."""
    is_final: bool
    """Whether a final release writes it."""


def is_magic(head: bytes) -> bool:
    """Whether a file starts like a pyc: a number of two bytes, then a carriage return and a line feed."""
    return head[2:4] == _END


def number_of(magic_number: bytes) -> int:
    """Returns the number as people write it: 3571 for `f30d0d0a`."""
    return int.from_bytes(magic_number[:2], "little")


def header_size(number: int) -> int:
    """Returns the size of the header in pycs with this magic number: 8, 12 or 16."""
    if number >= _PYTHON_2:
        return 8
    if number < _PYPY_TOP:
        return 16 if number >= _PYPY_WITH_FLAGS else 12
    return 16 if number >= _WITH_FLAGS else 12 if number >= _WITH_SIZE else 8


def release_of(number: int) -> Release:
    """Returns the release that this magic number belongs to. Any number gets an answer."""
    if number >= _PYTHON_2:
        return Release("cpython", (2, 7), "CPython 2.7", True) if number == 62211 else _unknown("Python 2 or older")
    if number < _PYPY_TOP or number in _PYPY:
        return _pypy_release(number)
    return _cpython_release(number)


def _pypy_release(number: int) -> Release:
    version = _PYPY.get(number)
    if version is not None:
        return Release("pypy", (3, int(version[2:])), f"PyPy {version}", True)
    if number and number % 16 == 0:
        return Release("pypy", (0, 0), "PyPy, an unknown release", False)
    return _unknown("no known interpreter")


def _cpython_release(number: int) -> Release:
    if number >= _RANGED:
        minor = (number - 2900) // 50
    else:
        minor = max(minor for minor, (stages, _) in _CPYTHON.items() if min(stages) <= number)
    if minor > 99:
        return _unknown("no known interpreter")
    stages, finals = _CPYTHON.get(minor, ({}, {}))
    version = f"3.{minor}"
    if number in finals:
        return Release("cpython", (3, minor), f"CPython {finals[number]}", True)
    if number > max(finals, default=0):
        return Release("cpython", (3, minor), f"CPython {version}, newer than this pyctrigger knows", False)
    following = [stage for first, stage in stages.items() if first > number]
    if not following:
        return Release("cpython", (3, minor), f"CPython {version}, a pre-release", False)
    stage = [stage for first, stage in stages.items() if first <= number][-1]
    return Release("cpython", (3, minor), f"CPython {version}{stage} (before {version}{following[0]})", False)


def _unknown(text: str) -> Release:
    return Release("", (0, 0), text, False)
