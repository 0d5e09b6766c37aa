"""Stores for tests: code to keep, the keys of numbers, and what is found for them."""

from __future__ import annotations

import base64
import hashlib
import os
from typing import TYPE_CHECKING

from pyctrigger.store.container import Flaw, StoredCode
from pyctrigger.store.holes import OpenCode
from pyctrigger.store.local import open_local

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from pyctrigger.store.local import LocalStore

ROOM = 1 << 30
#: RFC 8032, 7.1, TEST 1: a private key, as a file has it, and its public one.
_SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
PEM = b"".join(
    (
        b"-----BEGIN PRIVATE KEY-----\n",
        base64.b64encode(bytes.fromhex("302e020100300506032b657004220420") + _SEED),
        b"\n-----END PRIVATE KEY-----\n",
    )
)
PUBLIC = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")


def key_of(number: int) -> bytes:
    """A key, different for each number."""
    return hashlib.sha256(str(number).encode()).digest()


def code(number: int, size: int = 100) -> StoredCode:
    """What is kept for a number: always the same."""
    rest = hashlib.shake_128(str(number).encode()).digest(size)
    return StoredCode(key_of(number), OpenCode(b"\xfa", (number % size,), rest), 0, number, b"origin of a test")


def fill_store(path: Path, numbers: Iterable[int], size: int = 100, max_size: int = ROOM) -> None:
    """Put code into a store, as one run does."""
    with open_local(str(path), create=True, max_size=max_size) as store:
        store.put([code(number, size) for number in numbers])


def found_in(path: Path, numbers: Iterable[int], size: int = 100) -> list[int | Flaw | None]:
    """What a run that only reads finds: the number if all is right, or what it is told."""
    with open_local(str(path), writes=False) as store:
        return [right(each, number, size) for number in numbers for each in store.get([key_of(number)])]


def right(found: StoredCode | Flaw | None, number: int, size: int = 100) -> int | Flaw | None:
    """The number if its code was found; fails for any other code."""
    if not isinstance(found, StoredCode):
        return found
    assert code(number, size) == found
    return number


def files(path: Path, suffix: str = "") -> list[str]:
    """The files of a store, those of its segments."""
    return sorted(
        name for name in os.listdir(path) if name.endswith(suffix) and name not in ("lock", "origin", "counts.json")
    )


def reading(store: LocalStore, numbers: Iterable[int]) -> list[int | Flaw | None]:
    """The same for an open store."""
    return [right(each, number) for number in numbers for each in store.get([key_of(number)])]
