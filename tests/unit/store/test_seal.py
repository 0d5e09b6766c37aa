"""The seal: what was sealed comes out with its signer, and whatever else is found is a reason, each its own."""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyctrigger.store.container import Flaw, Packing, StoredCode, pack
from pyctrigger.store.holes import OpenCode
from pyctrigger.store.seal import LARGEST_SEAL, LARGEST_SEALED, MAX_LEAVES, SealFlaw, Seals, seal
from pyctrigger.store.signing import SigningKey, verifier_of
from unit.store.shelves import PEM, PUBLIC

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SIGNER, OTHER_SIGNER = SigningKey.from_pem(PEM), SigningKey.generate()
KEYS = [bytes([number]) * 32 for number in range(7)]
CONTAINERS = [b"container %d" % number for number in range(7)]
PUSH = list(zip(KEYS, CONTAINERS))
#: Where the fields are.
SIGNATURE, ROOT, ITS_KEY, COUNT, INDEX, SIZE, SIBLINGS = 40, 104, 136, 168, 172, 176, 180
#: Of the fifth of seven: it has three levels, and a sibling on each.
SEALED = dict(seal(PUSH, SIGNER))[KEYS[4]]
#: Its neighbour; the same of a push of five; and the same of another signer.
NEIGHBOUR = dict(seal(PUSH, SIGNER))[KEYS[3]]
OF_FIVE = dict(seal(PUSH[:5], SIGNER))[KEYS[4]]
STRANGE = dict(seal(PUSH, OTHER_SIGNER))[KEYS[4]]
END = len(SEALED)


def opened(sealed: bytes, key: bytes = KEYS[4], largest: int = 100, trusted: bytes = PUBLIC) -> object:
    return Seals([trusted]).open(sealed, key, largest)


def hashed(word: bytes, *pieces: bytes) -> bytes:
    return hashlib.sha256(b"pyctsea1" + word + b"".join(pieces)).digest()


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The root as RFC 6962 defines it, from above."""
    if len(leaves) == 1:
        return leaves[0]
    half = 1 << ((len(leaves) - 1).bit_length() - 1)
    return hashed(b"node", root_of(leaves[:half]), root_of(leaves[half:]))


def with_number(at: int, number: int) -> bytes:
    return SEALED[:at] + struct.pack("<I", number) + SEALED[at + 4 :]


def with_bytes(at: int, data: bytes) -> bytes:
    return SEALED[:at] + data + SEALED[at + len(data) :]


@given(st.integers(1, 70))
@settings(max_examples=40)
def test_each_container_of_a_push_comes_out(count: int) -> None:
    """Whatever their number; with the public key of who sealed them."""
    push = [(bytes([number]) * 32, b"x" * number) for number in range(count)]
    seals, sealed = Seals([OTHER_SIGNER.public, PUBLIC]), list(seal(push, SIGNER))
    assert [key for key, _ in push] == [key for key, _ in sealed]
    assert [(container, PUBLIC) for _, container in push] == [seals.open(each, key) for key, each in sealed]
    assert (
        count == len({each[SIBLINGS:-number] if number else b"" for number, (_, each) in enumerate(sealed)})
        or count < 3
    )


@pytest.mark.parametrize("count", [*range(1, 18), 255, 256, 257])
def test_the_root_is_that_of_a_merkle_tree(count: int) -> None:
    """As RFC 6962 builds one, with words of ours in front; so leaves are no nodes, and their number is signed."""
    push = [(number.to_bytes(32, "big"), b"%d" % number) for number in range(count)]
    root = root_of([hashed(b"leaf", key, container) for key, container in push])
    for _, sealed in seal(push, SIGNER):
        assert root == sealed[ROOT:ITS_KEY]
        assert SIGNER.sign(b"pyctsea1push" + struct.pack("<I", count) + root) == sealed[SIGNATURE:ROOT]


def test_bytes_of_a_seal() -> None:
    """They are in stores that other releases read."""
    leaves = [hashed(b"leaf", *each) for each in PUSH]
    pairs = [hashed(b"node", *leaves[at : at + 2]) for at in (0, 2, 4)]
    head = b"pyctsea1" + PUBLIC + SEALED[SIGNATURE:ROOT] + root_of(leaves) + KEYS[4] + struct.pack("<III", 7, 4, 11)
    assert head + leaves[5] + leaves[6] + hashed(b"node", *pairs[:2]) + b"container 4" == SEALED
    assert hashlib.sha256(SEALED).hexdigest() == "10be99be4b9a04c8d257971c7f96694989645336339e40f3fced39294a261af9"


#: One thing wrong with what a store answers, and what is said of it.
FLAWS: list[tuple[str, bytes, SealFlaw]] = [
    ("nothing", b"", SealFlaw.UNSIGNED),
    ("a bare container", pack(StoredCode(KEYS[4], OpenCode(b"\xfa", (1,), b"\xe3N"))), SealFlaw.UNSIGNED),
    ("a page", b"<html>404 Not Found</html>", SealFlaw.UNSIGNED),
    ("a later form", b"pyctsea2" + SEALED[8:], SealFlaw.UNKNOWN_FORMAT),
    ("a part of its head", SEALED[: SIBLINGS - 1], SealFlaw.TRUNCATED),
    ("a part of its siblings", SEALED[: SIBLINGS + 40], SealFlaw.TRUNCATED),
    ("all but a byte", SEALED[:-1], SealFlaw.TRUNCATED),
    ("a byte more", SEALED + b"\0", SealFlaw.OVERSIZED),
    ("a larger size", with_number(SIZE, 101), SealFlaw.OVERSIZED),
    ("the largest size", with_number(SIZE, 2**32 - 1), SealFlaw.OVERSIZED),
    ("a size that isn't there", with_number(SIZE, 12), SealFlaw.TRUNCATED),
    ("a smaller size", with_number(SIZE, 10), SealFlaw.OVERSIZED),
    ("no leaf", with_number(COUNT, 0), SealFlaw.MALFORMED),
    ("a leaf beyond the last", with_number(INDEX, 7), SealFlaw.MALFORMED),
    ("too many leaves", with_number(COUNT, MAX_LEAVES + 1), SealFlaw.MALFORMED),
    ("another leaf", with_number(INDEX, 5), SealFlaw.FLIPPED),
    ("another number of leaves", with_number(COUNT, 8), SealFlaw.WRONG_SIGNATURE),
    ("a signer that isn't trusted", STRANGE, SealFlaw.UNKNOWN_SIGNER),
    ("another's signature", with_bytes(SIGNATURE, STRANGE[SIGNATURE:ROOT]), SealFlaw.WRONG_SIGNATURE),
    ("another entry of the push", NEIGHBOUR, SealFlaw.OTHER_KEY),
    ("another entry under this key", NEIGHBOUR[:ITS_KEY] + KEYS[4] + NEIGHBOUR[COUNT:], SealFlaw.FLIPPED),
    ("a byte of the container", with_bytes(END - 1, b"5"), SealFlaw.FLIPPED),
    ("a byte of a sibling", with_bytes(SIBLINGS + 70, b"\0\0"), SealFlaw.FLIPPED),
    ("a byte of the root", with_bytes(ROOT, b"\0\0"), SealFlaw.FLIPPED),
    ("a byte of the signature", with_bytes(SIGNATURE, b"\0\0"), SealFlaw.WRONG_SIGNATURE),
    ("the signature of another push", with_bytes(SIGNATURE, OF_FIVE[SIGNATURE:ROOT]), SealFlaw.WRONG_SIGNATURE),
]


@pytest.mark.parametrize(("sealed", "flaw"), [row[1:] for row in FLAWS], ids=[row[0] for row in FLAWS])
def test_what_is_wrong_has_a_name(sealed: bytes, flaw: SealFlaw) -> None:
    """And the first thing that can be seen, if several are; a right one beside it is believed."""
    assert flaw is opened(sealed)
    assert (CONTAINERS[4], PUBLIC) == opened(SEALED)


@pytest.mark.parametrize("at", range(0, END, 5))
def test_no_byte_can_be_another(at: int) -> None:
    """Each bit counts; that of the highest in a signature's number, too, which some libraries ignore."""
    for bit in range(8):
        assert isinstance(opened(with_bytes(at, bytes([SEALED[at] ^ 1 << bit]))), SealFlaw), (at, bit)


@given(st.binary(max_size=400))
def test_any_bytes_are_a_reason(data: bytes) -> None:
    """Also such that begin as they should."""
    assert isinstance(opened(data), SealFlaw)
    assert isinstance(opened(SEALED[:8] + data), SealFlaw)
    assert isinstance(opened(SEALED[:COUNT] + data), SealFlaw)


def test_a_container_of_the_largest_size_is_opened() -> None:
    """And none that is larger by a byte."""
    assert (CONTAINERS[4], PUBLIC) == opened(SEALED, largest=len(CONTAINERS[4]))
    assert SealFlaw.OVERSIZED is opened(SEALED, largest=len(CONTAINERS[4]) - 1)


def test_without_trusted_keys_nothing_is_believed() -> None:
    """Not even what is right; and a key that is no longer trusted is a stranger's."""
    assert SealFlaw.UNKNOWN_SIGNER is Seals([]).open(SEALED, KEYS[4])
    assert SealFlaw.UNKNOWN_SIGNER is Seals([OTHER_SIGNER.public]).open(SEALED, KEYS[4])


def test_nothing_of_a_container_is_read_before_it_is_proven() -> None:
    """A node of the tree can't be given out as a container, nor a container's bytes as a node's."""
    leaves = [hashed(b"leaf", *each) for each in PUSH[:2]]
    (_, sealed), _ = seal(PUSH[:2], SIGNER)
    forged = sealed[:COUNT] + struct.pack("<III", 1, 0, 64) + b"".join(leaves)
    assert SealFlaw.FLIPPED is opened(forged, KEYS[0])
    assert SealFlaw.UNKNOWN_FORMAT.value == Flaw.UNKNOWN_FORMAT.value


def test_a_root_is_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as it is right; and what is known is bounded."""
    checked: list[bytes] = []

    def counting(public: bytes) -> Callable[[bytes, bytes], bool]:
        verify = verifier_of(public)

        def verify_and_count(signature: bytes, text: bytes) -> bool:
            checked.append(text)
            return verify(signature, text)

        return verify_and_count

    monkeypatch.setattr("pyctrigger.store.seal.verifier_of", counting)
    monkeypatch.setattr("pyctrigger.store.seal._MAX_KNOWN", 2)
    seals = Seals([PUBLIC])
    for key, sealed in seal(PUSH, SIGNER):
        assert isinstance(seals.open(sealed, key), tuple)
    assert 1 == len(checked)
    for expected in (2, 3):
        assert SealFlaw.WRONG_SIGNATURE is seals.open(with_bytes(SIGNATURE, bytes(64)), KEYS[4])
        assert expected == len(checked)
    for expected, number in ((4, 1), (5, 2), (6, 3)):
        for _ in range(2):
            for key, sealed in seal(PUSH[:number], SIGNER):
                assert isinstance(seals.open(sealed, key), tuple)
        assert expected == len(checked)


@pytest.mark.parametrize(
    "push",
    [[(b"short", b"")], [(bytes(33), b"")], [(bytes(32), b"")] * (MAX_LEAVES + 1)],
    ids=["short key", "long key", "too many"],
)
def test_what_no_reader_could_open_is_not_sealed(push: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(ValueError, match="not a push"):
        next(seal(push, SIGNER))


def test_a_push_of_nothing_and_one_of_the_most() -> None:
    """Its ways to the root are bounded, and so are the bytes around a container."""
    assert [] == list(seal([], SIGNER))
    key, sealed = next(seal([(bytes(32), b"x")] * MAX_LEAVES, SIGNER))
    assert len(sealed) == LARGEST_SEAL + 1
    assert (b"x", PUBLIC) == Seals([PUBLIC]).open(sealed, key)
    assert LARGEST_SEALED > 128 << 20


def test_a_packed_container_is_sealed_as_it_is() -> None:
    """Packing comes first, so nothing is unpacked before the signature is right."""
    container = pack(StoredCode(KEYS[0], OpenCode(b"\xfa", (1,), b"\xe3N" * 500)), Packing.ZLIB)
    ((key, sealed),) = seal([(KEYS[0], container)], SIGNER)
    assert container == sealed[-len(container) :]
    assert (container, PUBLIC) == opened(sealed, key, 1 << 20)
