"""What a program of ELF's format needs before its first instruction."""

from __future__ import annotations

import os
import struct
import sys
from typing import TYPE_CHECKING

import pytest

from pyctrigger.interpreter.elf import Needs, read_needs
from unit.interpreter.elf_files import KINDS, NEEDED, RPATH, RUNPATH, Kind, program

if TYPE_CHECKING:
    from pathlib import Path


def needs(path: Path, data: bytes) -> Needs | None:
    """What is read of these bytes."""
    path.write_bytes(data)
    return read_needs(str(path))


@pytest.mark.parametrize("kind", KINDS)
def test_every_class_and_order_is_read(tmp_path: Path, kind: Kind) -> None:
    """Loader, libraries in their order, and both kinds of directories, with `$ORIGIN` filled in."""
    entries = [
        (NEEDED, b"libpython3.11.so.1.0"),
        (NEEDED, b"libc.so.6"),
        (RPATH, b"/a:$ORIGIN/../lib::relative"),
        (RUNPATH, b"${ORIGIN}/lib"),
    ]
    found = needs(tmp_path / "python", program(kind, b"/lib64/ld-linux-x86-64.so.2\0", entries))
    assert (
        Needs(
            "/lib64/ld-linux-x86-64.so.2",
            ("libpython3.11.so.1.0", "libc.so.6"),
            ("/a", f"{tmp_path}/../lib", "/relative"),
            (f"{tmp_path}/lib",),
        )
        == found
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_library_has_no_loader(tmp_path: Path, kind: Kind) -> None:
    """And may need nothing."""
    assert Needs(None, (), (), ()) == needs(tmp_path / "lib.so", program(kind, None, []))


GOOD = program(Kind(64, "<"), b"/ld\0", [(NEEDED, b"libc.so.6")])
NOTHING = Needs(None, (), (), ())


def edited(offset: int, data: bytes) -> bytes:
    """The good program with other bytes in one place."""
    return GOOD[:offset] + data + GOOD[offset + len(data) :]


def many(count: int) -> bytes:
    """The good program with so many headers, most of them empty, at its end."""
    table = GOOD[64 : 64 + 4 * 56].ljust(count * 56, b"\0")
    return GOOD[:32] + struct.pack("<Q", len(GOOD)) + GOOD[40:56] + struct.pack("<H", count) + GOOD[58:] + table


#: Files, and what is read of them.
FILES: dict[str, tuple[bytes, Needs | None]] = {
    "empty": (b"", None),
    "a script": (b"#!/bin/sh\n", None),
    "the magic alone": (b"\x7fELF", None),
    "cut in its head": (GOOD[:60], None),
    "no such class": (edited(4, b"\3"), None),
    "no such order is the other one": (edited(5, b"\7"), None),
    "no program headers": (edited(56, b"\0\0"), NOTHING),
    "256 program headers": (many(256), Needs("/ld", ("libc.so.6",), (), ())),
    "257 program headers": (many(257), None),
    "headers behind the end": (edited(32, b"\xff\xff"), None),
    "a table beyond all offsets": (edited(32, b"\xff" * 8), None),
    "static": (GOOD[:56] + b"\0\0" + GOOD[58:], NOTHING),
    "strings that lie nowhere": (
        program(Kind(64, "<"), None, [(NEEDED, b"libc.so.6")], 1 << 30),
        Needs(None, ("",), (), ()),
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_what_is_no_program_says_nothing(tmp_path: Path, name: str) -> None:
    """Or as much as can be read; never an error."""
    data, expected = FILES[name]
    assert expected == needs(tmp_path / "file", data)


def test_any_cut_of_a_program_is_read_without_an_error(tmp_path: Path) -> None:
    """By a reader while it is replaced."""
    for size in range(len(GOOD)):
        needs(tmp_path / "file", GOOD[:size])


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    """A FIFO, a directory, a name that isn't there."""
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path, tmp_path / "absent"):
        assert read_needs(str(path)) is None


def test_the_hosts_own_interpreter_is_read() -> None:
    """It has a loader, and the C library among its libraries or those of libpython."""
    found = read_needs(os.path.realpath(sys.executable))
    assert found is not None
    assert (True, True) == (
        os.path.isabs(found.loader or ""),
        any(name.startswith("libc.") for name in found.libraries),
    )


def test_descriptors_are_given_back(tmp_path: Path) -> None:
    """Also of files that are none of ours."""
    before = len(os.listdir("/proc/self/fd"))
    for data, _ in FILES.values():
        needs(tmp_path / "file", data)
    read_needs(str(tmp_path))
    assert len(os.listdir("/proc/self/fd")) <= before
