"""Run by the target: loads doubtful bytecode and reports what it is. Loading it may crash this process.

Contract: Python 3.6 to 3.15 and PyPy; standard library only, nothing of ours imported. Runs in the namespace that
`serve.py` has made. A process that has loaded doubtful bytecode never compiles anything that is written.
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

LOAD, COMPARE = 4, 8


def are_equal(one: "Any", other: "Any") -> bool:
    """Whether two constants are the same in a pyc: `==` ignores types, signs of zero and line tables."""
    if type(one) is not type(other):
        return False
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(are_equal, one, other))
    if isinstance(one, frozenset):
        return len(one) == len(other) and all(map(are_equal, sorted(one, key=repr), sorted(other, key=repr)))
    if isinstance(one, (float, complex)):
        return repr(one) == repr(other)
    if hasattr(one, "co_filename"):
        names = [name for name in dir(one) if name.startswith(("co_", ADAPTIVE)) and name not in COMPUTED]
        return all(are_equal(getattr(one, name), getattr(other, name)) for name in names)
    return bool(one == other)


#: The code that runs from 3.11 on. `co_code` shows specialized instructions in their general form, and empty caches, so
#: a tampered pyc could do something else than it shows.
ADAPTIVE = "_co_code_adaptive"
#: Methods, and values that follow from others: `co_lnotab` gives a warning from 3.12 on.
COMPUTED = ("co_lines", "co_positions", "co_branches") + (("co_lnotab",) if sys.version_info >= (3, 10) else ())


def judge_body(data: bytes, path: str, level: int, body: bytes, compare: bool) -> int:
    """Returns what a body is: SAME, CHANGED (code, but not this source's) or BROKEN. May crash this process."""
    stream = io.BytesIO(body)
    try:
        # Loading from a stream takes many times as long, but only that shows whether bytes follow.
        code = marshal.load(stream) if compare else marshal.loads(body)
    except Exception:
        return BROKEN
    if not hasattr(code, "co_filename") or (compare and stream.read(1)):
        return BROKEN
    if compare:
        return SAME if are_equal(code, code_of(data, path, level)) else CHANGED
    # A tree may have been moved since, which doesn't change file names in code: only the base name counts.
    return SAME if os.path.basename(code.co_filename) == os.path.basename(path) else CHANGED


def answer(request: "Request", memory: int) -> bytes:
    """Answer one request to check bodies, or the hashes in their headers."""
    begun = time.perf_counter()
    source, states = request.rest, []
    bodies = []
    for _ in request.levels if request.flags & (LOAD | COMPARE) else ():
        (size,) = struct.unpack_from("<I", source, 0)
        bodies.append(source[4 : 4 + size])
        source = source[4 + size :]
    source_hash = request.hash_of(source)
    try:
        for number, (level, _, known) in enumerate(request.levels):
            if bodies:
                states.append(judge_body(source, request.path, level, bodies[number], bool(request.flags & COMPARE)))
            else:
                states.append(SAME if known == source_hash else CHANGED)
    except Exception as error:
        return failed(error, source, memory)
    spent = int((time.perf_counter() - begun) * 1e6)
    return reply(source_hash, [(state, 0 if number else spent, b"") for number, state in enumerate(states)])


if __name__ == "__main__":
    serve(answer)
