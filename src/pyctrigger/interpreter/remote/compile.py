"""Run by the target: compiles sources, each distinct level once, to bytes that depend only on the source.

Contract: Python 3.6 to 3.15 and PyPy; standard library only, nothing of ours imported. Runs in the namespace that
`serve.py` has made.

What marshal writes depends on the state of the process: up to 3.10 a name is flagged as shared if anything else refers
to it, from 3.12 on equal frozensets are one or two (codeobject.c, `intern_constants`: one whose strings were interned
before becomes a copy), and up to 3.12 a string of one letter from U+0080 to U+00FF, of which there is one object
only, is interned once that was any source's name. So before 3.11 the host warms a process up until its state doesn't
change any more, and from 3.11 on the few sources where it can matter are compiled in a fork of a process that has
compiled nothing. Up to 3.10 the order of some sets depends on the process as well: `sets.py` is loaded there and
corrects it. PyPy writes a string as shared if the process holds an interned one that is equal, so there every string
of a source's code is interned.
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

    from pyctrigger.interpreter.remote.powerless import die_with_host
    from pyctrigger.interpreter.remote.serve import (
        BODY,
        NEEDS_CODEC,
        NEEDS_FORK,
        RETIRING,
        SAME,
        TWIN,
        Answered,
        Request,
        clock,
        code_of,
        failed,
        failure,
        reply,
        serve,
        set_clock,
        write_frame,
    )
    from pyctrigger.interpreter.remote.sets import with_sorted_sets

#: Seconds. Longer times are CPU time, whose clock may tick in hundredths: on a busy machine wall-clock time measures
#: other processes.
COARSE = 0.1
WARM_UP = 2

#: PyPy keeps the order of a set in the source.
IS_PYPY = sys.implementation.name == "pypy"
#: From 3.11 on names are always flagged as shared, and sets are sorted (bpo-34093, bpo-37596).
HOLDS_NAMES = not IS_PYPY and sys.version_info < (3, 11)
if HOLDS_NAMES:
    # The modules that py_compile imports show in what it writes: without it 371 of Django's 885 pycs differ on 3.8,
    # none on 3.11.
    import py_compile  # noqa: F401
SPLITS_SETS = not IS_PYPY and sys.version_info >= (3, 12)
#: 3.13 interns these letters when it starts. In what marshal writes for one of them, as a string: its length, and the
#: first of its two bytes; those that begin with another one are no names as they are (PEP 3131, NFKC).
INTERNS_LETTERS = not IS_PYPY and (3, 11) <= sys.version_info < (3, 13)
LETTER = b"\x02\0\0\0\xc3"
#: marshal flags objects with more than one reference. Up to 3.14 py_compile has two to a module's code. Functions of
#: 3.14 borrow their arguments, so ours would have only one; in 3.15 those of py_compile borrow, too.
FLAGS_MODULE = sys.version_info < (3, 15)
#: Whether this process forks for each source, and never compiles itself.
FORKS = sys.argv[8:9] == ["1"]
if HOLDS_NAMES or FORKS:
    # The modules that py_compile imports show in what these write: their names are interned.
    import importlib.util  # noqa: F401
    import signal
#: Names that a process with py_compile has interned, whose equals compile() of 3.13 and later doesn't intern.
CLASS_NAMES = tuple(map(sys.intern, sys.argv[9:]))
LIFELINE = int(sys.argv[2]) if len(sys.argv) > 2 else -1
OURS, THEIRS = os.pipe() if FORKS else (-1, -1)
#: inspect.CO_OPTIMIZED: the code of a function, whose first constant is its docstring or None. From 3.14 on it may be
#: any other constant, and inspect.CO_HAS_DOCSTRING flags a docstring.
MAY_HAVE_DOCSTRING = 0x4000000 if sys.version_info >= (3, 14) else 1


class State:
    """Modules loaded by this process, which may show in later answers."""

    modules = 0


def marshal_code(code: "types.CodeType") -> bytes:
    held = [code] if FLAGS_MODULE else []
    interned = interned_strings(code) if IS_PYPY else ()
    try:
        return marshal.dumps(code)
    except ValueError:
        raise Answered(failure("unmarshallable")) from None
    finally:
        held.clear()
        del interned


def interned_strings(code: "types.CodeType") -> "tuple[str, ...]":
    """Intern all strings that marshal writes for code. They are interned as long as the result is held.

    PyPy's marshal looks each string up among those that the process has interned, garbage included. Names and constants
    that look like names are interned by the compiler; a local variable, and any other constant, only if another source
    happened to have that name, or a module that this process has loaded. So py_compile itself writes other bytes after
    other sources, and with another size of the processor's cache, which decides when garbage is collected.
    """
    kind, codes, strings = type(code), [code], []  # type: type, list[types.CodeType], list[str]
    seen = set()  # a folded `(((0,) * 9,) * 9,) * 9` is three tuples, with 729 places
    for each in codes:  # grows in the loop, as do the constants
        strings += each.co_varnames + each.co_freevars + each.co_cellvars
        strings += (each.co_filename, each.co_name, getattr(each, "co_qualname", ""))
        constants = list(each.co_consts)
        for constant in constants:
            its_kind = constant.__class__
            if its_kind is str:
                strings.append(constant)
            elif its_kind is kind:
                codes.append(constant)
            elif (its_kind is tuple or its_kind is frozenset) and id(constant) not in seen:
                seen.add(id(constant))
                constants += constant
    return tuple(map(sys.intern, strings))  # a list of strings keeps their text, and not the objects


# -- levels that are equal --------------------------------------------------------------------------------------------


def may_assert(source: bytes) -> bool:
    """Whether levels 0 and 1 can differ: by `assert`, or by `__debug__`, also in letters that NFKC maps (PEP 3131)."""
    if has_word(source, b"assert") or b"__debug__" in source:
        return True
    head = source.split(b"\n", 2)[:2]
    if any(b"coding" in line and b"utf-8" not in line for line in head):
        return True  # other encodings may encode it differently
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
    """Whether a source contains a word, in ASCII."""
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
    """Whether code has two equal frozensets, which in another process might be one, flagged as shared."""
    found = []  # type: list[frozenset[object]]
    kind, codes = type(code), [code]
    for each in codes:  # grows in the loop
        for constant in each.co_consts:
            its_kind = constant.__class__
            if its_kind is kind:
                codes.append(constant)
            elif its_kind is frozenset:
                found.append(constant)
    return len(found) > 1 and len({id(each) for each in found}) > len(set(found))


def compile_level(source: bytes, path: str, level: int, last: bool) -> "tuple[int, bytes, bool]":
    """Returns microseconds, body, and whether the next level may differ by docstrings; for the last it isn't checked.

    Raises Refusal, and Answered if the bytes may depend on what this process has compiled before.
    """
    begun, used = time.perf_counter(), time.process_time()
    # No reference outlives this call: objects that an earlier code shares with a later one change marshal's flags.
    code = code_of(source, path, level)
    if HOLDS_NAMES:
        sys._clear_type_cache()  # it refers to names that were looked up long ago
    body = marshal_code(code)
    if HOLDS_NAMES:
        body = with_sorted_sets(code, body)
    spent, used = time.perf_counter() - begun, time.process_time() - used
    if spent > COARSE:
        spent = max(COARSE, min(spent, used))
    if not FORKS and ((SPLITS_SETS and may_be_split(code)) or (INTERNS_LETTERS and LETTER in body)):
        raise Answered(bytes([NEEDS_FORK]))
    return int(spent * 1e6), body, not last and level < 2 and may_document(code)


def read_child_answer(child: int) -> "tuple[bytes, int]":
    """Returns the answer of a forked child, or nothing if it is incomplete, and its exit status.

    The pipe was made at the start, since this process can't open more files: so end of file never comes.
    """
    received, status = b"", None  # type: bytes, int | None
    while True:
        if select.select([OURS], [], [], 0.05 if status is None else 0)[0]:
            received += os.read(OURS, 1 << 20)
            if len(received) >= 4 and len(received) == 4 + struct.unpack_from("<I", received)[0]:
                break
        elif status is not None:
            return b"", status
        else:
            status = exit_status_of(child, os.WNOHANG)
    whole = exit_status_of(child, 0) if status is None else status
    return received[4:], whole or 0


def exit_status_of(child: int, options: int) -> "int | None":
    """Returns a child's exit status, or None while it runs."""
    try:
        found, status = os.waitpid(child, options)
    except ChildProcessError:
        return 0  # it was reaped elsewhere; a complete answer shows that all was well
    return status if found else None


def compile_in_fork(source: bytes, path: str, level: int, last: bool, memory: int) -> "tuple[int, bytes, bool]":
    """Like `compile_level`, in a fork that has compiled nothing. What kills the fork kills us, too. Raises Answered."""
    left = clock()
    child = os.fork()
    if not child:
        try:
            die_with_host(LIFELINE)  # the signal goes to one process only
            set_clock(left)
            try:
                said: "tuple[bool, Any]" = (True, compile_level(source, path, level, last))
            except Exception as error:
                said = (False, failed(error, source, memory))
            write_frame(marshal.dumps(said), THEIRS)
        finally:
            os._exit(0)  # an incomplete answer shows a failure
    answered, status = read_child_answer(child)
    die_with_host(LIFELINE)
    if not (status or answered):
        raise MemoryError  # without memory a child can't answer
    if status or not answered:
        os.kill(os.getpid(), os.WTERMSIG(status) or signal.SIGKILL)
    good, result = marshal.loads(answered)
    if not good:
        raise Answered(result)
    spent, body, documents = result
    return spent, body, documents


# -- answers ----------------------------------------------------------------------------------------------------------


def answer(request: "Request", memory: int) -> bytes:
    """Answer one request to compile."""
    source = request.rest
    source_hash = request.hash_of(source)
    answers = []
    # The level compiled last, and whether the next ones may differ from it by docstrings.
    compiled, documents = -1, True
    try:
        for level, has_known, known in request.levels:
            if has_known and known == source_hash:
                answers.append((SAME, 0, b""))
                continue
            differs = (compiled == 0 and level > 0 and may_assert(source)) or (level == 2 and documents)
            if compiled >= 0 and not differs:
                answers.append((TWIN, 0, b""))
                continue
            last = level == request.levels[-1][0]
            if FORKS:
                spent, body, documents = compile_in_fork(source, request.path, level, last, memory)
            else:
                spent, body, documents = compile_level(source, request.path, level, last)
            compiled = level
            answers.append((BODY, spent, body))
        said = reply(source_hash, answers)
    except Exception as error:
        said = failed(error, source, memory)
    if request.flags & WARM_UP:
        gc.collect()
        State.modules = len(sys.modules)
        return b""
    if said[0] == NEEDS_CODEC:
        return said
    if HOLDS_NAMES and not FORKS and len(sys.modules) != State.modules:
        return bytes([said[0] | RETIRING]) + said[1:]  # a codec was loaded, which added names
    return said


if __name__ == "__main__":
    serve(answer)
