"""rpm's headers: a package's files, picked from three lists."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from pyctrigger.packages.rpm_header import PackageHeader
from unit.packages.headers import BASENAMES, DIRINDEXES, DIRNAMES, INT32, NAME, STRING, STRING_ARRAY, header, package

ONE = package(b"one", [b"/usr/a/", b"/usr/b/"], [(0, b"m.py"), (1, b"m.pyc"), (0, b"n.pyc"), (0, b"\xff.pyc")])


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        ([], [b"/usr/a/m.py", b"/usr/b/m.pyc", b"/usr/a/n.pyc", b"/usr/a/\xff.pyc"]),
        ([b".pyc"], [b"/usr/b/m.pyc", b"/usr/a/n.pyc", b"/usr/a/\xff.pyc"]),
        ([b"m.pyc"], [b"/usr/b/m.pyc"]),
    ],
)
def test_files_of_a_package(ending: list[bytes], expected: list[bytes]) -> None:
    """Directory and base name, whatever bytes they have."""
    found = PackageHeader(header(ONE))
    assert (b"one", expected) == (found.name, list(found.files(*ending)))


@pytest.mark.parametrize("entries", [{}, {NAME: (STRING, b"about.pyc")}])
def test_a_package_without_files(entries: dict[int, tuple[int, Any]]) -> None:
    """It has none of the lists, and may have nothing at all."""
    assert [] == list(PackageHeader(header(entries)).files(b".pyc"))


def without(tag: int) -> dict[int, tuple[int, Any]]:
    """The first package, less one of its lists."""
    return {key: value for key, value in ONE.items() if key != tag}


def with_(tag: int, kind: int, value: Any) -> dict[int, tuple[int, Any]]:
    """The first package with another list."""
    return {**ONE, tag: (kind, value)}


MISMATCH = "a package's files and directories don't match"
CUT = "a package's list of names is incomplete"
NOWHERE, TYPE = "a package's file is in no directory", "a package's header has numbers of the wrong type"
SIZE = len(header(ONE))
#: A header, and what is wrong with it.
DAMAGED: dict[str, tuple[bytes, str]] = {
    "too short": (b"\0\0.pyc", "unpack_from requires a buffer"),
    "bytes behind its end": (header(ONE, tail=b"x"), f"a package's header has {SIZE + 1} bytes instead of {SIZE}$"),
    "a size of more than four gigabytes": (
        struct.pack(">2I", 0xFFFFFFFF, 40) + bytes(24),
        f"a package's header has 32 bytes instead of {8 + 16 * 0xFFFFFFFF + 40}$",
    ),
    "no directories": (header(without(DIRNAMES)), NOWHERE),
    "no numbers": (header(without(DIRINDEXES)), MISMATCH),
    "a number too few": (header(with_(DIRINDEXES, INT32, [0, 1, 0])), MISMATCH),
    "a number too many": (header(with_(DIRINDEXES, INT32, [0, 1, 0, 0, 0])), MISMATCH),
    "no such directory": (header(with_(DIRINDEXES, INT32, [0, 2, 0, 0])), NOWHERE),
    "numbers of another type": (header(with_(DIRINDEXES, STRING, [b"0"])), TYPE),
    "numbers of another width": (header(with_(DIRINDEXES, 3, [0, 1, 0, 0])), TYPE),
    "names of another type": (header(with_(BASENAMES, STRING, [b"m.pyc"])), CUT),
    "directories of another type": (header(with_(DIRNAMES, 9, [b"/a/"])), CUT),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_header_is_an_error(name: str) -> None:
    """With the reason."""
    blob, message = DAMAGED[name]
    with pytest.raises((ValueError, struct.error), match=f"^{message}"):
        list(PackageHeader(blob).files(b".pyc"))


def test_a_list_that_ends_in_the_middle_is_an_error() -> None:
    """Its last name has no end."""
    blob = header(
        {NAME: (STRING, b"n"), DIRINDEXES: (INT32, [0]), DIRNAMES: (STRING_ARRAY, [b"/"]), BASENAMES: (8, [b"m.pyc"])}
    )
    size = struct.unpack_from(">I", blob, 4)[0]
    cut = PackageHeader(blob[:4] + struct.pack(">I", size - 1) + blob[8:-1])
    with pytest.raises(ValueError, match=CUT):
        list(cut.files())


def test_a_name_is_one_text() -> None:
    """No list, and not missing."""
    with pytest.raises(ValueError, match=r"^a package's name isn't text"):
        assert PackageHeader(header(with_(NAME, STRING_ARRAY, [b"x"]))).name
    with pytest.raises(LookupError):
        assert PackageHeader(header(without(NAME))).name
