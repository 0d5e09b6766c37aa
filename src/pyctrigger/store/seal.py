"""A sealed container: what leaves the machine, with the proof that a trusted signer sent it for this key.

One signature is for a whole push: for the root of a Merkle tree whose leaves are its containers, each with its key. A
sealed container has its own way to the root, so it is proven alone.

    "pyctsea1" signer:32s signature:64s root:32s key:32s count:u32 index:u32 size:u32 (sibling:32s)*steps container

    signature  ed25519, by the key `signer`, of   schema "push" count:u32 root
    root, siblings   nodes of the tree: SHA-256 of   schema "leaf" key container   or of   schema "node" left right
    count, index     leaves of the tree, at most 65,536, and which of them this is, from 0
    steps      levels where the node has a sibling. Each level pairs the nodes of the one below; an odd one moves up.
    container  `size` bytes, as they are transferred: packed

All numbers are little-endian; `schema` and the word after it have 12 bytes together. Only what decides how much to read
is looked at before the signature is checked, and nothing of the container at all. The key here only tells a container
that was put in another's place from a damaged one: the leaf is made of the key that was asked for.
"""

from __future__ import annotations

import enum
import hashlib
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Union

from .container import LARGEST_CONTAINER
from .signing import SigningKey, Verifier, verifier_of

_SCHEMA = b"pyctsea1"
#: What all versions begin with.
_FAMILY = _SCHEMA[:-1]
_LEAF, _NODE, _PUSH = _SCHEMA + b"leaf", _SCHEMA + b"node", _SCHEMA + b"push"
_HEAD = struct.Struct("<8s32s64s32s32sIII")
_NODE_SIZE = 32
_KEY_SIZE = 32
#: Leaves of one tree, so a way to its root has 16 steps at most.
MAX_LEAVES = 1 << 16
#: Bytes that a seal adds at most.
LARGEST_SEAL = _HEAD.size + _NODE_SIZE * (MAX_LEAVES - 1).bit_length()
LARGEST_SEALED = LARGEST_SEAL + LARGEST_CONTAINER
#: Roots whose signature is known to be right. A reader that meets more of them checks some again.
_MAX_KNOWN = 1 << 14


class SealFlaw(enum.Enum):
    """Why what was found for a key isn't believed."""

    UNSIGNED = "unsigned"
    UNKNOWN_FORMAT = "unknown format"
    UNKNOWN_SIGNER = "unknown signer"
    WRONG_SIGNATURE = "wrong signature"
    OTHER_KEY = "other key"
    TRUNCATED = "truncated"
    OVERSIZED = "oversized"
    FLIPPED = "flipped"
    MALFORMED = "malformed"


Unsealed = Union["tuple[bytes, bytes]", SealFlaw]


def seal(containers: Sequence[tuple[bytes, bytes]], signer: SigningKey) -> Iterator[tuple[bytes, bytes]]:
    """Sign a push of containers, each with its key. Yields each key and its sealed container, in this order.

    Takes 64 bytes of memory for each. Raises ValueError if there are more than `MAX_LEAVES`, or for another key's size.
    """
    count = len(containers)
    if count > MAX_LEAVES or any(len(key) != _KEY_SIZE for key, _ in containers):
        raise ValueError("not a push")
    if not count:
        return
    levels = _grow([_leaf(key, container) for key, container in containers])
    root = levels[-1][0]
    signature = signer.sign(_signed_text(count, root))
    for index, (key, container) in enumerate(containers):
        head = _HEAD.pack(_SCHEMA, signer.public, signature, root, key, count, index, len(container))
        siblings = [levels[level][(index >> level) ^ 1] for level, _ in _steps(count, index)]
        yield key, b"".join((head, *siblings, container))


class Seals:
    """Opens sealed containers, if a trusted key signed them."""

    def __init__(self, trusted: Iterable[bytes]) -> None:
        """`trusted` are public keys; without any nothing is believed. Raises PyctriggerError without the library."""
        self._verifiers: dict[bytes, Verifier] = {key: verifier_of(key) for key in trusted}
        self._known: set[tuple[bytes, bytes, int, bytes]] = set()

    def open(self, sealed: bytes, key: bytes, largest: int = LARGEST_CONTAINER) -> Unsealed:
        """Returns the container that was sealed for `key`, and its signer; or why it isn't believed. Raises nothing.

        `largest` bytes are the most that the container may have.
        """
        if not sealed.startswith(_SCHEMA):
            return SealFlaw.UNKNOWN_FORMAT if sealed.startswith(_FAMILY) else SealFlaw.UNSIGNED
        if len(sealed) < _HEAD.size:
            return SealFlaw.TRUNCATED
        _, signer, signature, root, its_key, count, index, size = _HEAD.unpack_from(sealed)
        if not index < count <= MAX_LEAVES:
            return SealFlaw.MALFORMED
        if size > largest:
            return SealFlaw.OVERSIZED
        steps = list(_steps(count, index))
        begin = _HEAD.size + _NODE_SIZE * len(steps)
        if len(sealed) != begin + size:
            return SealFlaw.TRUNCATED if len(sealed) < begin + size else SealFlaw.OVERSIZED
        if signer not in self._verifiers:
            return SealFlaw.UNKNOWN_SIGNER
        if its_key != key:
            return SealFlaw.OTHER_KEY
        container = sealed[begin:]
        node = _leaf(key, container)
        for place, (_, is_right) in zip(range(_HEAD.size, begin, _NODE_SIZE), steps):
            sibling = sealed[place : place + _NODE_SIZE]
            node = _join(sibling, node) if is_right else _join(node, sibling)
        if node != root:
            return SealFlaw.FLIPPED
        return (container, signer) if self._is_signed(signer, signature, count, root) else SealFlaw.WRONG_SIGNATURE

    def _is_signed(self, signer: bytes, signature: bytes, count: int, root: bytes) -> bool:
        """Whether a trusted signer signed this root. Checks it once."""
        push = signer, signature, count, root
        if push in self._known:
            return True
        if not self._verifiers[signer](signature, _signed_text(count, root)):
            return False
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        self._known.add(push)
        return True


def _leaf(key: bytes, container: bytes) -> bytes:
    digest = hashlib.sha256(_LEAF + key)
    digest.update(container)
    return digest.digest()


def _join(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(_NODE + left + right).digest()


def _grow(leaves: list[bytes]) -> list[list[bytes]]:
    """Returns all levels of the tree with these leaves, the root last."""
    levels = [leaves]
    while len(levels[-1]) > 1:
        below = levels[-1]
        level = [_join(left, right) for left, right in zip(below[::2], below[1::2])]
        levels.append(level + below[2 * len(level) :])
    return levels


def _steps(count: int, index: int) -> Iterator[tuple[int, bool]]:
    """Yields each level where the node above a leaf has a sibling, and whether the node is the right one."""
    last, level = count - 1, 0
    while last:
        if index & 1 or index < last:
            yield level, bool(index & 1)
        index, last, level = index >> 1, last >> 1, level + 1


def _signed_text(count: int, root: bytes) -> bytes:
    return _PUSH + struct.pack("<I", count) + root
