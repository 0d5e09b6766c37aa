"""Run by the target: the order in which a constant set is marshalled, where its own follows from addresses.

Contract: Python 3.6 to 3.15 and PyPy; standard library only, nothing of ours imported. Runs in the namespace that
`serve.py` has made, before `compile.py`, in CPython 3.6 to 3.10, which alone have a use for it.

Up to 3.10 marshal writes a frozenset as it lies in its table, so by the hashes of its items (bpo-37596). Those of
numbers and strings follow from the value and the seed. That of `None` and of `...` is the object's address, from 3.10
on a NaN's as well (bpo-43475), and a tuple's is made of those of its items; nothing else can be in a constant set. The
address is another one in each process: it follows from the kernel's dice (ASLR), and without them from the limit of the
stack, the kernel, and every library. So the bytes are read as the tree that they are, and written again the way marshal
does, with such sets sorted by what is written of each item, as marshal itself does from 3.11 on.
"""

import re
import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import types
    from typing import Callable

#: The names of code objects that end like the beginning of a set, with their lengths before them: a line follows.
NAMES = (rb"\x08<module", rb"\x08<lambda", rb"\x0a<listcomp", rb"\x09<setcomp", rb"\x0a<dictcomp", rb"\x09<genexpr")
#: Whatever may be a frozenset of two items or more, but for its first byte: their number, and the first of an item.
SEVERAL = rb"(?![\0\1]\0)..\0\0[NTF.iglyzZaAstu)(r\xe9\xe7\xec\xf9\xfa\xda\xe1\xc1\xf3\xf4\xf5\xa8\xa9]"
#: The common one, and one that more than one place refers to.
OWN_SET = re.compile(rb"(?s)>" + SEVERAL + b"".join(rb"(?<!" + name + rb">.....)" for name in NAMES))
SHARED_SET = re.compile(rb"(?s)\xbe" + SEVERAL)
#: The bytes that a set takes at least whose number of items needs a third byte: two for each.
THIRD_BYTE = 1 << 17

SHARED = 0x80
REFERENCE, CODE, SET, NONE, ELLIPSIS, FLOAT, COMPLEX = b"r", b"c", b">", b"N", b".", b"g", b"y"
#: What follows the first byte, in bytes (marshal.c).
SIZES = {NONE: 0, ELLIPSIS: 0, b"T": 0, b"F": 0, b"i": 4, FLOAT: 8, COMPLEX: 16}
SHORT_TEXTS, LONG_TEXTS = (b"z", b"Z"), (b"s", b"t", b"u", b"a", b"A")
#: How many numbers a code object begins with (3.8: arguments by position only), and how many parts follow; the last but
#: one is the number of the first line.
NUMBERS = 5 if sys.version_info < (3, 8) else 6
PARTS = 10


class Foreign(Exception):
    """Bytes of a kind that marshal never writes for a code object."""


class Piece:
    """What marshal writes of one object: its own bytes without the flag of a shared one, and its parts."""

    __slots__ = ("head", "is_shared", "parts")

    def __init__(self, head: bytes, is_shared: bool = False) -> None:
        self.head = head
        self.is_shared = is_shared
        self.parts = []  # type: list[Piece]

    def follows_address(self) -> bool:
        """Whether its hash follows from an address."""
        kind = self.head[:1]
        if kind in (FLOAT, COMPLEX):
            return any(number != number for (number,) in struct.iter_unpack("<d", self.head[1:]))
        return kind in (NONE, ELLIPSIS) or any(part.follows_address() for part in self.parts)


def extent(body: bytes, at: int, kind: bytes) -> "tuple[int, int]":
    """Where the own bytes of the object at `at` end, and how many parts follow. Raises Foreign."""
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


def read(body: bytes) -> Piece:
    """The tree of a marshalled object, in which a shared one is one piece at several places. Raises Foreign."""
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


def as_they_are(piece: Piece) -> "list[Piece]":
    return piece.parts


def by_bytes(piece: Piece) -> "list[Piece]":
    """The parts of a piece, in an order that follows from no address."""
    if piece.head[:1] != SET or not piece.follows_address():
        return piece.parts
    return sorted(piece.parts, key=lambda part: written(part, as_they_are))


def written(top: Piece, parts_of: "Callable[[Piece], list[Piece]]") -> bytes:
    """The bytes of a tree: a shared object stands where it comes first, and is referred to from then on."""
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
        ahead += reversed(parts_of(piece))
    return b"".join(found)


def may_hold_set(body: bytes) -> bool:
    """Whether a set of several items may be in a body: a quick look, to spare nearly all sources the long one."""
    if len(body) >= THIRD_BYTE or OWN_SET.search(body):
        return True
    at = body.find(b"\xbe")  # rare, and `find` is many times as fast as `re`
    while at >= 0 and not SHARED_SET.match(body, at):
        at = body.find(b"\xbe", at + 1)
    return at >= 0


def has_order_of_addresses(code: "types.CodeType") -> bool:
    """Whether a constant of a code is a set of several items whose order follows from an address."""
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


def settled(code: "types.CodeType", body: bytes) -> bytes:
    """What marshal has written of a code, with its sets in an order that follows from no address.

    A body that isn't laid out as marshal.c does it is left as it is: a vendor's interpreter may have its own ways.
    """
    if not may_hold_set(body) or not has_order_of_addresses(code):
        return body
    try:
        tree = read(body)
        return written(tree, by_bytes) if written(tree, as_they_are) == body else body
    except (Foreign, IndexError, struct.error):
        return body
