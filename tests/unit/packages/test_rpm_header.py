"""rpm's headers: a package's files, picked from three lists."""

from __future__ import annotations

import sqlite3
import struct
from typing import Any

import pytest

from pyctrigger.errors import ManagerError
from pyctrigger.packages.rpm import Rpm
from unit.packages.stand_in import FilesInMemory

NAME, DIRINDEXES, BASENAMES, DIRNAMES = 1000, 1116, 1117, 1118
INT32, STRING, STRING_ARRAY = 4, 6, 8
PATH = "/var/lib/rpm/rpmdb.sqlite"


def header(entries: dict[int, tuple[int, Any]], *, size: int | None = None, tail: bytes = b"") -> bytes:
    """A header: each tag with its type and its value."""
    index, data = b"", b""
    for tag, (kind, value) in entries.items():
        count = len(value) if isinstance(value, list) else 1
        index += struct.pack(">4I", tag, kind, len(data), count)
        if isinstance(value, list) and value and isinstance(value[0], int):
            data += struct.pack(f">{count}I", *value)
        else:
            data += b"".join(each + b"\0" for each in (value if isinstance(value, list) else [value]))
    return struct.pack(">2I", len(entries), len(data) if size is None else size) + index + data + tail


def package(name: bytes, directories: list[bytes], files: list[tuple[int, bytes]]) -> dict[int, tuple[int, Any]]:
    """The entries of a package with these files, each in a directory by its number."""
    return {
        NAME: (STRING, name),
        DIRINDEXES: (INT32, [number for number, _ in files]),
        BASENAMES: (STRING_ARRAY, [base for _, base in files]),
        DIRNAMES: (STRING_ARRAY, directories),
    }


ONE = package(b"one", [b"/usr/a/", b"/usr/b/"], [(0, b"m.py"), (1, b"m.pyc"), (0, b"n.pyc"), (0, b"\xff.pyc")])
TWO = package(b"two", [b"/opt/"], [(0, b"m.pyc"), (0, b".pyc")])


def system(*blobs: Any) -> FilesInMemory:
    """A database with these headers."""
    database = sqlite3.connect(":memory:")
    database.execute("create table Packages (hnum integer primary key, blob blob)")
    database.execute("create table Basenames (key text, hnum integer)")
    for number, blob in enumerate(blobs, 1):
        database.execute("insert into Packages values (?, ?)", (number, blob))
        for base in (b"m.py", b"m.pyc", b"n.pyc"):
            database.execute("insert into Basenames values (cast(? as text), ?)", (base, number))
    return FilesInMemory({PATH: b""}, database=database)


def pycs(*blobs: Any) -> list[bytes]:
    """All that is found in these headers."""
    return [path for path, _ in Rpm(system(*blobs)).find_owned(None)]


def test_pycs_of_all_packages() -> None:
    """Directory and base name, whatever bytes they have."""
    assert [b"/usr/b/m.pyc", b"/usr/a/n.pyc", b"/usr/a/\xff.pyc", b"/opt/m.pyc", b"/opt/.pyc"] == pycs(
        header(ONE), header(TWO)
    )
    assert [] == pycs()


def test_owners_by_base_name() -> None:
    """And then by the whole path."""
    files = system(header(ONE), header(TWO))
    asked = [b"/usr/a/m.py", b"/opt/m.pyc", b"/usr/a/m.pyc", b"/absent/x"]
    assert {b"/usr/a/m.py": "one", b"/opt/m.pyc": "two"} == dict(Rpm(files).find_owned(asked))
    assert ["Packages", "Basenames"] == files.tables


def test_a_base_name_is_compared_whole() -> None:
    """A file whose name ends like it is another one."""
    files = system(header(package(b"p", [b"/a/"], [(0, b"am.py"), (0, b"m.py")])))
    assert {b"/a/m.py": "p"} == dict(Rpm(files).find_owned([b"/a/m.py"]))


def without(tag: int) -> dict[int, tuple[int, Any]]:
    """The first package, less one of its lists."""
    return {key: value for key, value in ONE.items() if key != tag}


def with_(tag: int, kind: int, value: Any) -> dict[int, tuple[int, Any]]:
    """The first package with another list."""
    return {**ONE, tag: (kind, value)}


MISMATCH = "a package's files and directories don't match"
CUT = "a package's list of names is incomplete"
#: A header, and what is wrong with it.
DAMAGED: dict[str, tuple[bytes, str]] = {
    "too short": (b"\0\0.pyc", "unpack_from requires"),
    "bytes behind its end": (header(ONE, tail=b"x"), "a package's header has"),
    "a larger size": (header(ONE, size=10_000), "a package's header has"),
    "no directories": (header(without(DIRNAMES)), "a package's file is in no directory"),
    "no numbers": (header(without(DIRINDEXES)), MISMATCH),
    "a number too few": (header(with_(DIRINDEXES, INT32, [0, 1, 0])), MISMATCH),
    "a number too many": (header(with_(DIRINDEXES, INT32, [0, 1, 0, 0, 0])), MISMATCH),
    "no such directory": (header(with_(DIRINDEXES, INT32, [0, 2, 0, 0])), "a package's file is in no directory"),
    "numbers of another type": (header(with_(DIRINDEXES, STRING, [b"0"])), "numbers of the wrong type"),
    "numbers of another width": (header(with_(DIRINDEXES, 3, [0, 1, 0, 0])), "numbers of the wrong type"),
    "names of another type": (header(with_(BASENAMES, STRING, [b"m.pyc"])), CUT),
    "directories of another type": (header(with_(DIRNAMES, 9, [b"/a/"])), CUT),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_header_is_an_error(name: str) -> None:
    """With the reason: what packages own isn't known then."""
    blob, message = DAMAGED[name]
    with pytest.raises(ManagerError, match=f"/root{PATH} can't be read: .*{message}"):
        pycs(header(TWO), blob)


def test_a_list_that_ends_in_the_middle_is_an_error() -> None:
    """Its last name has no end."""
    blob = header(
        {NAME: (STRING, b"n"), DIRINDEXES: (INT32, [0]), DIRNAMES: (STRING_ARRAY, [b"/"]), BASENAMES: (8, [b"m.pyc"])}
    )
    size = struct.unpack_from(">I", blob, 4)[0]
    cut = blob[:4] + struct.pack(">I", size - 1) + blob[8:-1]
    with pytest.raises(ManagerError, match=CUT):
        pycs(cut)


def test_a_package_without_files_may_speak_of_bytecode() -> None:
    """In its description."""
    assert [] == pycs(header({NAME: (STRING, b"about.pyc")}))


@pytest.mark.parametrize(
    ("entries", "message"),
    [(without(NAME), "1000"), (with_(NAME, STRING_ARRAY, [b"x"]), "a package's name isn't text")],
)
def test_a_package_without_a_name_owns_nothing_for_sure(entries: dict[int, tuple[int, Any]], message: str) -> None:
    """It is an error when owners are looked up."""
    with pytest.raises(ManagerError, match=message):
        dict(Rpm(system(header(entries))).find_owned([b"/usr/a/m.py"]))


def test_a_header_that_is_no_blob_is_an_error() -> None:
    """As an attacker may have made it."""
    with pytest.raises(ManagerError, match="can't be read"):
        pycs("text with .pyc")
