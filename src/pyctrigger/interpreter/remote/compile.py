"""Run by the target: compiles sources, each level that differs once, to bytes that depend on the source alone.

Contract: Python 3.6 to 3.15 and PyPy; standard library only, nothing of ours imported. Runs in the namespace that
`serve.py` has made.

What marshal writes depends on what the process holds: up to 3.10 a name is flagged as shared if anything else holds it,
from 3.12 on equal frozensets are one or two (codeobject.c, `intern_constants`: one whose strings were interned before
becomes a copy). So before 3.11 a process that has compiled everything once is warmed up by the host and stays as it is,
and from 3.12 on the few sources where it can matter are compiled in a fork of a process that has compiled nothing.
The order of some sets depends on the process as well, up to 3.10: `sets.py` comes along there and sees to it.
"""

import _signal as signal  # type: ignore[import-not-found]
import gc
import marshal
import os
import select
import struct
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import types
    from typing import Any

    from pyctrigger.interpreter.remote.serve import (
        BODY,
        LACKING,
        RETIRING,
        SAME,
        TWIN,
        UNSETTLED,
        Request,
        Unmarshallable,
        clock,
        code_of,
        die_with_host,
        failed,
        reply,
        serve,
        set_clock,
    )
    from pyctrigger.interpreter.remote.sets import settled

#: Seconds. What takes longer is timed by the processor's clock, which may tick in hundredths: that on the wall says
#: of a busy machine how busy it is.
COARSE = 0.1
if sys.version_info < (3, 11):
    # What py_compile brings along is part of what py_compile writes: without it 371 of Django's 885 pycs differ on 3.8,
    # on 3.11 none do.
    import py_compile  # noqa: F401

WARM_UP = 2

#: From 3.11 on names are always flagged as shared, and sets are sorted (bpo-34093, bpo-37596).
HOLDS_NAMES = sys.version_info < (3, 11)
#: Sets are written in the order of their hashes; PyPy keeps the order of the source.
ORDERS_BY_ADDRESS = sys.implementation.name == "cpython" and HOLDS_NAMES
SPLITS_SETS = sys.implementation.name == "cpython" and sys.version_info >= (3, 12)
#: marshal flags what more than one reference is held to. In py_compile there are two to a module's code, up to 3.14.
#: Functions of 3.14 borrow their arguments, so there ours would hold one; in 3.15 those of py_compile do so, too.
FLAGS_MODULE = sys.version_info < (3, 15)
#: PyPy flags a string as interned if any equal one is, also one that compiling has left and nothing holds any more.
FLAGS_BY_GARBAGE = sys.implementation.name == "pypy"
#: Whether this process only forks, and so has compiled nothing whenever it is asked.
APART = FLAGS_BY_GARBAGE or "apart" in sys.argv[6:]
if HOLDS_NAMES or APART:
    # What py_compile brings along shows in what these write: its names are interned.
    import importlib.util  # noqa: F401
    import signal
LIFE = int(sys.argv[2]) if len(sys.argv) > 2 else -1
OURS, THEIRS = os.pipe() if APART else (-1, -1)
#: inspect.CO_OPTIMIZED: the code of a function, whose first constant is its docstring or None. From 3.14 on it may be
#: any other constant, and a flag tells: inspect.CO_HAS_DOCSTRING.
MAY_HAVE_DOCSTRING = 0x4000000 if sys.version_info >= (3, 14) else 1


class State:
    """What this process has loaded that later answers may show."""

    modules = 0


def marshalled(code: "types.CodeType") -> bytes:
    held = [code] if FLAGS_MODULE else []
    try:
        return marshal.dumps(code)
    except ValueError as error:
        raise Unmarshallable(error) from None
    finally:
        held.clear()


# -- levels that are equal --------------------------------------------------------------------------------------------


def may_assert(source: bytes) -> bool:
    """Whether levels 0 and 1 can differ: by `assert`, or by `__debug__`, in whatever letters (PEP 3131: NFKC)."""
    if has_word(source, b"assert") or b"__debug__" in source:
        return True
    head = source.split(b"\n", 2)[:2]
    if any(b"coding" in line and b"utf-8" not in line for line in head):
        return True  # an encoding may spell it otherwise
    try:
        foreign = set(source.decode("utf-8")).difference(map(chr, range(128)))
    except UnicodeError:
        return True
    if not foreign:
        return False
    try:
        from unicodedata import normalize
    except ImportError:
        return True
    return any(letter in "_debug" for letter in normalize("NFKC", "".join(sorted(foreign))))


def has_word(source: bytes, word: bytes) -> bool:
    """Whether a word stands in a source by itself, at least for whoever reads ASCII."""
    at = source.find(word)
    while at >= 0:
        end = at + len(word)
        around = source[max(0, at - 1) : at], source[end : end + 1]
        if not any(each.isalnum() or each == b"_" for each in around):
            return True
        at = source.find(word, end)
    return False


def may_document(code: "types.CodeType") -> bool:
    """Whether levels 1 and 2 can differ: by a docstring of a module, a class or a function."""
    if "__doc__" in code.co_names:
        return True
    if code.co_flags & MAY_HAVE_DOCSTRING and code.co_consts and isinstance(code.co_consts[0], str):
        return True
    return any(hasattr(constant, "co_names") and may_document(constant) for constant in code.co_consts)


# -- bytes that depend on the source alone ----------------------------------------------------------------------------


def may_be_split(code: "types.CodeType") -> bool:
    """Whether there are two equal frozensets in a code: in another process they might be one, flagged as shared."""
    found = []  # type: list[frozenset[object]]
    kind, codes = type(code), [code]
    for each in codes:  # more of them come meanwhile
        for constant in each.co_consts:
            its_kind = constant.__class__
            if its_kind is kind:
                codes.append(constant)
            elif its_kind is frozenset:
                found.append(constant)
    return len(found) > 1 and len({id(each) for each in found}) > len(set(found))


def compiled(source: bytes, path: str, level: int, last: bool) -> "tuple[int, bytes, bool, bool]":
    """Microseconds, body, whether another level may differ by docstrings, and whether another process might differ.

    Nobody asks about docstrings when a level is the last.
    """
    begun, used = time.perf_counter(), time.process_time()
    # No name outlives this call: what an earlier code object shares with a later one changes marshal's flags.
    code = code_of(source, path, level)
    if HOLDS_NAMES and hasattr(sys, "_clear_type_cache"):
        sys._clear_type_cache()  # it holds names that were looked up long ago, until others take their places
    if FLAGS_BY_GARBAGE:
        gc.collect()  # or it would show when the last collection was
    body = marshalled(code)
    if ORDERS_BY_ADDRESS:
        body = settled(code, body)
    spent, used = time.perf_counter() - begun, time.process_time() - used
    if spent > COARSE:
        spent = max(COARSE, min(spent, used))
    return int(spent * 1e6), body, not last and level < 2 and may_document(code), SPLITS_SETS and may_be_split(code)


def hear(child: int) -> "tuple[bytes, int]":
    """What a fork answers, or nothing if that isn't whole, and how it ended.

    Its pipe is made once, since this process can open nothing more: so it has no end.
    """
    heard, status = b"", None  # type: bytes, int | None
    while True:
        if select.select([OURS], [], [], 0.05 if status is None else 0)[0]:
            heard += os.read(OURS, 1 << 20)
            if len(heard) >= 4 and len(heard) == 4 + struct.unpack_from("<I", heard)[0]:
                break
        elif status is not None:
            return b"", status
        else:
            status = ended(child, os.WNOHANG)
    whole = ended(child, 0) if status is None else status
    return heard[4:], whole or 0


def ended(child: int, options: int) -> "int | None":
    """How a child ended; None if it goes on."""
    try:
        found, status = os.waitpid(child, options)
    except ChildProcessError:
        return 0  # somebody else heard of its end; a whole answer says that it was a good one
    return status if found else None


def compiled_apart(source: bytes, path: str, level: int, last: bool, memory: int) -> "tuple[int, bytes, bool, bool]":
    """The same, from a process that has compiled nothing before; what ends that one ends this. Raises Failed."""
    left = clock()
    child = os.fork()
    if not child:
        try:
            die_with_host(LIFE)  # the kernel tells one process of a pipe's end
            set_clock(left)
            try:
                said: "tuple[bool, Any]" = (True, compiled(source, path, level, last))
            except Exception as error:
                said = (False, failed(error, source, memory))
            data = marshal.dumps(said)
            unsent = memoryview(struct.pack("<I", len(data)) + data)
            while unsent:
                unsent = unsent[os.write(THEIRS, unsent) :]
        finally:
            os._exit(0)  # an answer that isn't whole says how it went
    answered, status = hear(child)
    die_with_host(LIFE)
    # PyPy's own memory management aborts where it gets no more, and who gets none can't say so either.
    if os.WTERMSIG(status) == signal.SIGABRT if FLAGS_BY_GARBAGE and status else not (status or answered):
        raise MemoryError
    if status or not answered:
        os.kill(os.getpid(), os.WTERMSIG(status) or signal.SIGKILL)
    good, result = marshal.loads(answered)
    if not good:
        raise Failed(result)
    spent, body, documents, split = result
    return spent, body, documents, split


# -- answers ----------------------------------------------------------------------------------------------------------


class Unsettled(Exception):
    """What this process has loaded, or compiled before, may show in the bytes."""


class Failed(Exception):
    """The answer of another process to a source that can't be compiled."""


class Compiler:
    """Compiles one source at several levels, in their order."""

    def __init__(self, source: bytes, path: str, memory: int) -> None:
        self.source, self.path, self.memory = source, path, memory
        #: The level compiled last, and whether the next ones can differ from it.
        self.level = -1
        self.documents = True

    def body(self, level: int, last: bool) -> "tuple[int, int, bytes]":
        """A body, or TWIN: the same as that of the level before."""
        if self.level >= 0 and not self.differs(level):
            return TWIN, 0, b""
        if APART:
            spent, body, self.documents, _ = compiled_apart(self.source, self.path, level, last, self.memory)
        else:
            spent, body, self.documents, split = compiled(self.source, self.path, level, last)
            if split:
                raise Unsettled
        self.level = level
        return BODY, spent, body

    def differs(self, level: int) -> bool:
        if self.level == 0 and level > 0 and may_assert(self.source):
            return True
        return level == 2 and self.documents


def answer(request: "Request", memory: int) -> bytes:
    """Answer one request to compile."""
    source = request.rest
    source_hash = request.hash_of(source)
    compiler = Compiler(source, request.path, memory)
    answers = []
    said = b""
    try:
        for level, has_known, known in request.levels:
            if has_known and known == source_hash:
                answers.append((SAME, 0, b""))
            else:
                answers.append(compiler.body(level, level == request.levels[-1][0]))
        said = reply(source_hash, answers)
    except Unsettled:
        return bytes(bytearray([UNSETTLED]))
    except Failed as answered:
        (said,) = answered.args
    except Exception as error:
        said = failed(error, source, memory)
    if request.flags & WARM_UP:
        gc.collect()
        State.modules = len(sys.modules)
        return b""
    if said[0] == LACKING:
        return said
    if HOLDS_NAMES and not APART and len(sys.modules) != State.modules:
        return bytes(bytearray([said[0] | RETIRING])) + said[1:]  # a codec came along, and with it its names
    return said


if __name__ == "__main__":
    serve(answer)
