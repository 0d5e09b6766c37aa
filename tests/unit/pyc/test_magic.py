"""Magic numbers: which release of which interpreter wrote a pyc."""

from __future__ import annotations

import re

import pytest

from pyctrigger.pyc.magic import header_size, is_magic, number_of, release_of

NOBODY = "no known interpreter"
#: Number, implementation, version, what people read, and whether a final release has it.
RELEASES = [
    (0, "", (0, 0), NOBODY, False),
    (1, "", (0, 0), NOBODY, False),
    (64, "pypy", (3, 3), "PyPy 3.3", True),
    (112, "pypy", (3, 5), "PyPy 3.5", True),
    (160, "pypy", (3, 6), "PyPy 3.6", True),
    (240, "pypy", (3, 7), "PyPy 3.7", True),
    (336, "pypy", (3, 9), "PyPy 3.9", True),
    (416, "pypy", (3, 11), "PyPy 3.11", True),
    (448, "pypy", (0, 0), "PyPy, an unknown release", False),
    (449, "", (0, 0), NOBODY, False),
    (2992, "pypy", (0, 0), "PyPy, an unknown release", False),
    (2999, "", (0, 0), NOBODY, False),
    (3000, "cpython", (3, 0), "CPython 3.0a1 (before 3.0a4)", False),
    (3131, "cpython", (3, 0), "CPython 3.0", True),
    (3187, "pypy", (3, 2), "PyPy 3.2", True),
    (3188, "cpython", (3, 2), "CPython 3.2, newer than this pyctrigger knows", False),
    (3310, "cpython", (3, 4), "CPython 3.4", True),
    (3330, "cpython", (3, 5), "CPython 3.5b1 (before 3.5b2)", False),
    (3340, "cpython", (3, 5), "CPython 3.5b2 (before 3.5b3)", False),
    (3350, "cpython", (3, 5), "CPython 3.5.0 to 3.5.2", True),
    (3351, "cpython", (3, 5), "CPython 3.5.3 and later", True),
    (3379, "cpython", (3, 6), "CPython 3.6", True),
    (3380, "cpython", (3, 6), "CPython 3.6, newer than this pyctrigger knows", False),
    (3394, "cpython", (3, 7), "CPython 3.7", True),
    (3413, "cpython", (3, 8), "CPython 3.8", True),
    (3423, "cpython", (3, 9), "CPython 3.9, a pre-release", False),
    (3425, "cpython", (3, 9), "CPython 3.9", True),
    (3439, "cpython", (3, 10), "CPython 3.10", True),
    (3440, "cpython", (3, 10), "CPython 3.10, newer than this pyctrigger knows", False),
    (3449, "cpython", (3, 10), "CPython 3.10, newer than this pyctrigger knows", False),
    (3450, "cpython", (3, 11), "CPython 3.11a1 (before 3.11a2)", False),
    (3494, "cpython", (3, 11), "CPython 3.11a7 (before 3.11b4)", False),
    (3495, "cpython", (3, 11), "CPython 3.11", True),
    (3499, "cpython", (3, 11), "CPython 3.11, newer than this pyctrigger knows", False),
    (3500, "cpython", (3, 12), "CPython 3.12a1 (before 3.12a2)", False),
    (3530, "cpython", (3, 12), "CPython 3.12, a pre-release", False),
    (3531, "cpython", (3, 12), "CPython 3.12", True),
    (3571, "cpython", (3, 13), "CPython 3.13", True),
    (3626, "cpython", (3, 14), "CPython 3.14rc2 (before 3.14rc3)", False),
    (3627, "cpython", (3, 14), "CPython 3.14", True),
    (3650, "cpython", (3, 15), "CPython 3.15, a pre-release", False),
    (3666, "cpython", (3, 15), "CPython 3.15", True),
    (3667, "cpython", (3, 15), "CPython 3.15, newer than this pyctrigger knows", False),
    (3700, "cpython", (3, 16), "CPython 3.16, newer than this pyctrigger knows", False),
    (7899, "cpython", (3, 99), "CPython 3.99, newer than this pyctrigger knows", False),
    (7900, "", (0, 0), NOBODY, False),
    (19999, "", (0, 0), NOBODY, False),
    (20000, "", (0, 0), "Python 2 or older", False),
    (62211, "cpython", (2, 7), "CPython 2.7", True),
    (65535, "", (0, 0), "Python 2 or older", False),
]


@pytest.mark.parametrize(("number", "implementation", "version", "text", "is_final"), RELEASES)
def test_release_of_a_number(
    number: int, implementation: str, version: tuple[int, int], text: str, is_final: bool
) -> None:
    """Final, a pre-release, newer than this table, and unknown."""
    assert (implementation, version, text, is_final) == release_of(number)


def test_any_number_gets_an_answer() -> None:
    """Two bytes of a file that anybody may have written."""
    for number in range(1 << 16):
        found = release_of(number)
        assert found.implementation in ("", "cpython", "pypy")
        assert bool(found.implementation) or not found.is_final
        assert re.match("CPython [23]|PyPy|Python 2|no known interpreter", found.text)


@pytest.mark.parametrize(
    ("number", "size"),
    [
        (64, 12),
        (223, 12),
        (224, 16),
        (2999, 16),
        (3000, 8),
        (3209, 8),
        (3210, 12),
        (3391, 12),
        (3392, 16),
        (3666, 16),
        (19999, 16),
        (20000, 8),
        (62211, 8),
    ],
)
def test_bytes_of_a_header(number: int, size: int) -> None:
    """The size of the source came with 3.3, the flags with 3.7."""
    assert size == header_size(number)


@pytest.mark.parametrize(
    ("head", "expected"),
    [(b"\xa7\r\r\n", True), (b"\xa7\r\r\n\0\0", True), (b"\xa7\r\r", False), (b"\xa7\r\n\r", False), (b"", False)],
)
def test_a_pyc_begins_with_a_number_and_a_line_end(head: bytes, expected: bool) -> None:
    """So a file that was sent as text shows."""
    assert expected is is_magic(head)


@pytest.mark.parametrize(("magic", "number"), [("f30d0d0a", 3571), ("a70d0d0a", 3495), ("40000d0a", 64)])
def test_number_as_people_write_it(magic: str, number: int) -> None:
    """Little-endian, from the first two bytes."""
    assert number == number_of(bytes.fromhex(magic))
