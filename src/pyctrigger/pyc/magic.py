"""Magic numbers: which release of which interpreter wrote a pyc.

Sources: the lists in CPython's `Lib/importlib/_bootstrap_external.py` (up to 3.13) and
`Include/internal/pycore_magic_number.h` (from 3.14 on), where each number has the first release, or pre-release, that
has it; from 3.11 on the numbers of 3.n start at 2900 + 50n. PyPy's are `pypy_incremental_magic` in its
`pypy/interpreter/pycode.py`: multiples of 16 below 3000, at first CPython's plus 7. PyPy 3.8 and 3.9 up to 7.3.9 wrote
CPython's numbers (PyPy issue 3782), so a cache tag says more about the implementation than a number does.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import NamedTuple

_END = b"\r\n"
#: The first number of each group, and the release or pre-release that introduced it. A version's last group is final.
_CPYTHON = (
    (3000, "3.0a1"),
    (3111, "3.0a4"),
    (3131, "3.0b1"),
    (3141, "3.1a1"),
    (3160, "3.2a1"),
    (3170, "3.2a2"),
    (3180, "3.2a3"),
    (3190, "3.3a1"),
    (3220, "3.3a2"),
    (3230, "3.3a4"),
    (3250, "3.4a1"),
    (3290, "3.4a4"),
    (3310, "3.4rc2"),
    (3320, "3.5a1"),
    (3330, "3.5b1"),
    (3340, "3.5b2"),
    (3350, "3.5b3"),
    (3351, "3.5.3"),  # CPython's list says 3.5.2, which was released with 3350
    (3360, "3.6a1"),
    (3370, "3.6a2"),
    (3373, "3.6b1"),
    (3378, "3.6b2"),
    (3379, "3.6rc1"),
    (3390, "3.7a1"),
    (3391, "3.7a2"),
    (3392, "3.7a4"),
    (3393, "3.7b1"),
    (3394, "3.7b5"),
    (3400, "3.8a1"),
    (3411, "3.8b2"),
    (3413, "3.8b4"),
    (3420, "3.9a1"),
    (3423, "3.9a2"),
    (3430, "3.10a1"),
    (3432, "3.10a2"),
    (3434, "3.10a6"),
    (3435, "3.10a7"),
    (3436, "3.10b1"),
    (3450, "3.11a1"),
    (3462, "3.11a2"),
    (3463, "3.11a3"),
    (3466, "3.11a4"),
    (3475, "3.11a5"),
    (3486, "3.11a6"),
    (3492, "3.11a7"),
    (3495, "3.11b4"),
    (3500, "3.12a1"),
    (3510, "3.12a2"),
    (3513, "3.12a4"),
    (3515, "3.12a5"),
    (3518, "3.12a6"),
    (3521, "3.12a7"),
    (3525, "3.12b1"),
    (3550, "3.13a1"),
    (3569, "3.13a5"),
    (3570, "3.13a6"),
    (3571, "3.13b1"),
    (3600, "3.14a1"),
    (3609, "3.14a2"),
    (3610, "3.14a4"),
    (3614, "3.14a5"),
    (3617, "3.14a6"),
    (3621, "3.14a7"),
    (3624, "3.14b1"),
    (3625, "3.14b3"),
    (3626, "3.14rc2"),
    (3627, "3.14rc3"),
    (3650, "3.15a1"),
)
#: The numbers of final releases.
_FINAL = {
    3131: "3.0",
    3151: "3.1",
    3180: "3.2",
    3230: "3.3",
    3310: "3.4",
    3350: "3.5.0 to 3.5.2",
    3351: "3.5.3 and later",
    3379: "3.6",
    3394: "3.7",
    3413: "3.8",
    3425: "3.9",
    3439: "3.10",
    3495: "3.11",
    3531: "3.12",
    3571: "3.13",
    3627: "3.14",
    3666: "3.15",
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


def _parse_version(label: str) -> tuple[int, int]:
    found = re.match(r"3\.([0-9]+)", label)
    assert found
    return 3, int(found[1])


_STARTS = [number for number, _ in _CPYTHON]
#: The last number of each version.
_NEWEST = {_parse_version(label): number for number, label in _FINAL.items()}
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
        return Release("pypy", _parse_version(version), f"PyPy {version}", True)
    if number and number % 16 == 0:
        return Release("pypy", (0, 0), "PyPy, an unknown release", False)
    return _unknown("no known interpreter")


def _cpython_release(number: int) -> Release:
    place = bisect_right(_STARTS, number) - 1
    version = _parse_version(_CPYTHON[place][1])
    if number >= _RANGED:
        version = (3, (number - 2900) // 50)
        if version[1] > 99:
            return _unknown("no known interpreter")
    if number in _FINAL:
        return Release("cpython", version, f"CPython {_FINAL[number]}", True)
    name = f"{version[0]}.{version[1]}"
    if number > _NEWEST.get(version, 0):
        return Release("cpython", version, f"CPython {name}, newer than this pyctrigger knows", False)
    following = _CPYTHON[place + 1][1] if place + 1 < len(_CPYTHON) else ""
    if not following or _parse_version(following) != version:
        return Release("cpython", version, f"CPython {name}, a pre-release", False)
    return Release("cpython", version, f"CPython {_CPYTHON[place][1]} (before {following})", False)


def _unknown(text: str) -> Release:
    return Release("", (0, 0), text, False)
