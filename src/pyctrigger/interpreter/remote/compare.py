"""Run by the target: loads bytecode that nobody vouches for and says what it is; loading it may end this process.

Contract: Python 3.6 to 3.15 and PyPy; standard library only, nothing of ours imported. Runs in the namespace that
`serve.py` has made. No process that has loaded a doubtful body compiles anything that is written.
"""

import io
import marshal
import os
import struct
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyctrigger.interpreter.remote.serve import BROKEN, CHANGED, SAME, Request, code_of, failed, reply, serve

CHECK_ONLY, LOAD, COMPARE = 1, 4, 8


def are_equal(one: "Any", other: "Any") -> bool:
    """Whether two constants are the same in all that a pyc keeps: `==` ignores types, signs of zero and line tables."""
    if type(one) is not type(other):
        return False
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(are_equal, one, other))
    if isinstance(one, frozenset):
        return len(one) == len(other) and all(map(are_equal, sorted(one, key=order), sorted(other, key=order)))
    if isinstance(one, (float, complex)):
        return repr(one) == repr(other)
    if hasattr(one, "co_filename"):
        names = [name for name in dir(one) if name.startswith(("co_", ADAPTIVE)) and name not in COMPUTED]
        return all(are_equal(getattr(one, name), getattr(other, name)) for name in names)
    return bool(one == other)


#: What runs from 3.11 on: `co_code` shows specialized instructions as their general form, and their caches as empty, so
#: a tampered pyc can do something else than it says.
ADAPTIVE = "_co_code_adaptive"
#: Methods, and what the others say already: `co_lnotab` warns from 3.12 on.
COMPUTED = ("co_lines", "co_positions", "co_branches") + (("co_lnotab",) if sys.version_info >= (3, 10) else ())


def order(constant: object) -> "tuple[str, str]":
    return type(constant).__name__, repr(constant)


def judged(data: bytes, path: str, level: int, body: bytes, compare: bool) -> int:
    """What an existing body is: SAME, CHANGED (a code, and not this source's) or BROKEN. It may end this process."""
    stream = io.BytesIO(body)
    try:
        # From a stream it takes many times as long, and only that way it is seen whether anything follows.
        code = marshal.load(stream) if compare else marshal.loads(body)
    except Exception:
        return BROKEN
    if not hasattr(code, "co_filename") or (compare and stream.read(1)):
        return BROKEN
    if compare:
        return SAME if are_equal(code, code_of(data, path, level)) else CHANGED
    # Trees are moved, and the names of their files stay; only the last part tells one module from another.
    return SAME if os.path.basename(code.co_filename) == os.path.basename(path) else CHANGED


def answer(request: "Request", memory: int) -> bytes:
    """Answer one question about bodies, or about the hashes in their headers."""
    begun = time.perf_counter()
    bodies, source = [], request.rest
    for _ in request.levels if request.flags & (LOAD | COMPARE) else ():
        (size,) = struct.unpack_from("<I", source, 0)
        bodies.append(source[4 : 4 + size])
        source = source[4 + size :]
    source_hash = request.hash_of(source)
    try:
        if request.flags & CHECK_ONLY:
            states = [SAME if known == source_hash else CHANGED for _, _, known in request.levels]
        else:
            compare = bool(request.flags & COMPARE)
            levels = [level for level, _, _ in request.levels]
            states = [judged(source, request.path, level, body, compare) for level, body in zip(levels, bodies)]
    except Exception as error:
        return failed(error, source, memory)
    spent = int((time.perf_counter() - begun) * 1e6)
    return reply(source_hash, [(state, 0 if number else spent, b"") for number, state in enumerate(states)])


if __name__ == "__main__":
    serve(answer)
