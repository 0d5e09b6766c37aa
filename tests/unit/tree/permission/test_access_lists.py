"""Access lists: their bytes, and which files have one."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

import pytest

from conftest import absent
from pyctrigger.tree.permission.access_lists import (
    GROUP,
    GROUP_OBJ,
    MASK,
    OTHER,
    USER,
    USER_OBJ,
    AccessEntry,
    access_list,
    drop_list,
    give_list,
    has_default_list,
    has_list,
    parse_list,
    takes_lists,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NO_ID = 0xFFFFFFFF
ENTRIES = [
    AccessEntry(USER_OBJ, 6),
    AccessEntry(USER, 4, 1000),
    AccessEntry(GROUP_OBJ, 0),
    AccessEntry(GROUP, 4, 50),
    AccessEntry(MASK, 4),
    AccessEntry(OTHER, 0),
]


def packed(entries: list[AccessEntry], version: int = 2) -> bytes:
    """The bytes of a list."""
    return struct.pack("<I", version) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


@pytest.mark.parametrize("entries", [ENTRIES, ENTRIES[:1], []])
def test_entries_are_read_back(entries: list[AccessEntry]) -> None:
    """As many as there are."""
    assert entries == parse_list(packed(entries))


@pytest.mark.parametrize("data", [b"", b"\2", b"\2\0\0\0x", packed(ENTRIES)[:-1], packed(ENTRIES, 1), packed([], 3)])
def test_bytes_that_are_no_list(data: bytes) -> None:
    """Of another version, or cut short."""
    with pytest.raises(ValueError, match="not an access list"):
        parse_list(data)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    """An open file that can have a list."""
    descriptor = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT, 0o644)
    directory = os.open(tmp_path, os.O_RDONLY)
    try:
        if not takes_lists(directory):
            absent("not an access lists on this file system")
        yield descriptor
    finally:
        os.close(descriptor)
        os.close(directory)


def test_a_list_is_given_and_taken_away(file: int) -> None:
    """Its mode shows the mask then; without one its mode says it all."""
    assert access_list(file, os.fstat(file)) is None
    give_list(file, ENTRIES)
    assert ENTRIES == parse_list(access_list(file, os.fstat(file)) or b"")
    assert 0o640 == os.fstat(file).st_mode & 0o777
    drop_list(file)
    assert access_list(file, os.fstat(file)) is None


def test_what_nobody_but_the_owner_may_isnt_asked_for(file: int) -> None:
    """The mask is empty then, whatever the list says."""
    give_list(file, ENTRIES)
    os.fchmod(file, 0o600)
    assert access_list(file, os.fstat(file)) is None


def test_a_directory_has_two_lists(tmp_path: Path, file: int) -> None:
    """Its own, and the one for what is made in it."""
    directory = os.open(tmp_path, os.O_RDONLY)
    assert (False, False) == (has_list(directory), has_default_list(directory))
    os.setxattr(directory, "system.posix_acl_default", packed(ENTRIES))
    assert (True, True) == (has_list(directory), has_default_list(directory))
    os.removexattr(directory, "system.posix_acl_default")
    os.setxattr(directory, "system.posix_acl_access", packed(ENTRIES))
    assert (True, False) == (has_list(directory), has_default_list(directory))
    os.close(directory)


def test_a_file_system_without_lists() -> None:
    """As /proc; files there have none, and it isn't an error."""
    directory = os.open("/proc/self", os.O_RDONLY)
    assert (False, False, None) == (
        takes_lists(directory),
        has_list(directory),
        access_list(directory, os.fstat(directory)),
    )
    os.close(directory)


def test_an_entry_about_no_account_has_no_id() -> None:
    """As the kernel has it."""
    assert NO_ID == AccessEntry(OTHER, 4).account
