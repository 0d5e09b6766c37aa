"""Run by the target: a reproducible order for marshalled constant sets, whose own order depends on addresses.

Contract: Python 3.6 to 3.15 and PyPy; standard library only, nothing of ours imported. Runs in the namespace that
`serve.py` has made, before `compile.py`, and only in CPython 3.6 to 3.10, which need it.

Up to 3.10 marshal writes a frozenset in the order of its hash table, so by the hashes of its items (bpo-37596). Hashes
of numbers and strings depend on the value and the seed. Those of `None` and `...` are the object's address, from 3.10
on a NaN's as well (bpo-43475), and a tuple's is computed from its items'; nothing else can be in a constant set.
Addresses differ between processes: they depend on the kernel's randomization (ASLR), and without it on the stack limit,
the kernel, and every library. So the bytes are parsed into a tree, and written again the way marshal does, with such
sets sorted by the bytes of each item, as marshal itself does from 3.11 on.
"""

import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import types

SHARED = 0x80
REFERENCE, CODE, SET, NONE, ELLIPSIS, FLOAT, COMPLEX = b"r", b"c", b">", b"N", b".", b"g", b"y"
#: Bytes that follow the first one (marshal.c).
SIZES = {NONE: 0, ELLIPSIS: 0, b"T": 0, b"F": 0, b"i": 4, FLOAT: 8, COMPLEX: 16}
SHORT_TEXTS, LONG_TEXTS = (b"z", b"Z"), (b"s", b"t", b"u", b"a", b"A")
#: How many numbers a code object begins with (3.8 added positional-only arguments), and how many parts follow; the last
#: but one is the first line number.
NUMBERS = 5 if sys.version_info < (3, 8) else 6
PARTS = 10


class Foreign(Exception):
    """Bytes of a kind that marshal never writes for a code object."""


class Piece:
    """What marshal writes for one object: its own bytes, without the flag for a shared one, and its parts."""

    __slots__ = ("head", "is_shared", "parts")

    def __init__(self, head: bytes, is_shared: bool = False) -> None:
        self.head = head
        self.is_shared = is_shared
        self.parts = []  # type: list[Piece]

    def depends_on_address(self) -> bool:
        """Whether its hash depends on an address."""
        kind = self.head[:1]
        if kind in (FLOAT, COMPLEX):
            return any(number != number for (number,) in struct.iter_unpack("<d", self.head[1:]))
        return kind in (NONE, ELLIPSIS) or any(part.depends_on_address() for part in self.parts)


def extent(body: bytes, at: int, kind: bytes) -> "tuple[int, int]":
    """Returns where the own bytes of the object at `at` end, and how many parts follow. Raises Foreign."""
    if kind in SIZES:
        return at + 1 + SIZES[kind], 0
    if kind in SHORT_TEXTS:
        return at + 2 + body[at + 1], 0
    if kind == b")":
        return at + 2, body[at + 1]
    if kind == CODE:
        return at + 1 + 4 * NUMBERS, PARTS
    (size,) = struct.unpack_from("<i", body, at + 1)
    if kind in LONG_TEXTS:
        return at + 5 + size, 0
    if kind == b"l":
        return at + 5 + 2 * abs(size), 0
    if kind in (b"(", SET):
        return at + 5, size
    raise Foreign(kind)


def parse(body: bytes) -> Piece:
    """Returns the tree of a marshalled object. A shared object is the same piece at several places. Raises Foreign."""
    top, at = Piece(b""), 0
    shared = []  # type: list[Piece]
    unfinished = [(top, 1)]
    while unfinished:
        whole, missing = unfinished.pop()
        if missing > 1:
            unfinished.append((whole, missing - 1))
        kind = bytes([body[at] & ~SHARED])
        if missing == 2 and whole.head[:1] == CODE:
            end, count = at + 4, 0
            piece = Piece(body[at:end])
        elif kind == REFERENCE:
            end, count = at + 5, 0
            piece = shared[struct.unpack_from("<i", body, at + 1)[0]]
        else:
            end, count = extent(body, at, kind)
            piece = Piece(kind + body[at + 1 : end], bool(body[at] & SHARED))
            if piece.is_shared:
                shared.append(piece)
        whole.parts.append(piece)
        if count:
            unfinished.append((piece, count))
        at = end
    return top.parts[0]


def serialize(top: Piece, sorts: bool) -> bytes:
    """Returns the bytes of a tree. A shared object is written where it first occurs, and referred to later.

    With `sorts` the order of sets doesn't depend on addresses.
    """
    found = []
    shared = {}  # type: dict[Piece, int]
    ahead = [top]
    while ahead:
        piece = ahead.pop()
        head = piece.head
        if piece in shared:
            found.append(REFERENCE + struct.pack("<i", shared[piece]))
            continue
        if piece.is_shared:
            shared[piece] = len(shared)
            head = bytes([head[0] | SHARED]) + head[1:]
        found.append(head)
        parts = piece.parts
        if sorts and piece.head[:1] == SET and piece.depends_on_address():
            parts = sorted(parts, key=lambda part: serialize(part, False))
        ahead += reversed(parts)
    return b"".join(found)


def has_order_of_addresses(code: "types.CodeType") -> bool:
    """Whether code has a constant set of several items whose order depends on an address."""
    kind, codes = type(code), [code]
    while codes:
        for constant in codes.pop().co_consts:
            if constant.__class__ is kind:
                codes.append(constant)
            elif constant.__class__ is frozenset and len(constant) > 1 and any(map(is_hashed_by_address, constant)):
                return True
    return False


def is_hashed_by_address(constant: object) -> bool:
    if isinstance(constant, tuple):
        return any(map(is_hashed_by_address, constant))
    return constant is None or constant is ... or constant != constant


def with_sorted_sets(code: "types.CodeType", body: bytes) -> bytes:
    """Returns marshalled code with its sets in an order that doesn't depend on addresses.

    A body that differs from marshal.c's format is returned unchanged: a vendor's interpreter may have its own.
    """
    if not has_order_of_addresses(code):
        return body
    try:
        tree = parse(body)
        return serialize(tree, True) if serialize(tree, False) == body else body
    except (Foreign, IndexError, struct.error):
        return body
