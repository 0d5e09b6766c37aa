"""Run by the target: compiles what comes in on standard input, answers on standard output, touches no file.

Contract: Python 3.6 to 3.15 and PyPy; standard library only, nothing of ours imported. Both directions carry frames:
a 32-bit little-endian length, then as many bytes. The layouts stand in `pyctrigger/workers/wire.py`.

A source goes in as bytes and its code objects come out as marshalled bytes; the host reads and writes the files. So
this process needs no rights at all, and its limits (memory, CPU time, no files) are set before the first source comes.
"""

import gc
import importlib.util
import io
import marshal
import os
import struct
import sys
from importlib.machinery import SourceFileLoader

TYPE_CHECKING = False  # `typing` itself would be one more module that marshal's flags depend on
if TYPE_CHECKING:
    import types
    from typing import Any, Callable

if sys.version_info < (3, 11):
    # marshal flags a string as shared when anything else in the process holds it. What py_compile brings along is
    # therefore part of what py_compile writes: without it 371 of Django's 885 pycs differ on 3.8, on 3.11 none do.
    import py_compile  # noqa: F401

CHECK_ONLY, LOAD, COMPARE = 1, 2, 4
SAME, BODY, CHANGED, BROKEN = 0, 1, 2, 3
COMPILED, FAILED = 0, 1
RETIRING = 0x80
KINDS = ("syntax", "encoding", "recursion", "memory", "unmarshallable", "unreadable")


def read_exactly(count: int) -> bytes:
    """`count` bytes of standard input; ends the process at its end: the host is gone or has no more work."""
    data = sys.stdin.buffer.read(count)
    if len(data) < count:
        os._exit(0)
    return data


def read_frame() -> bytes:
    (length,) = struct.unpack("<I", read_exactly(4))
    return read_exactly(length)


def write_frame(payload: bytes) -> None:
    data = memoryview(struct.pack("<I", len(payload)) + payload)
    while data:
        data = data[os.write(OUTPUT, data) :]


def die_with_host(life: int) -> None:
    """Have the kernel end us when the host's end of the pipe `life` closes, also in the middle of compile().

    SIGIO's default action ends a process on Linux (fcntl(2), F_SETOWN); FreeBSD ignores SIGIO, but has procctl(2).
    """
    import fcntl
    import select
    import signal

    if sys.platform.startswith("freebsd"):
        import ctypes

        PROC_PDEATHSIG_CTL, P_PID = 11, 0
        wanted = ctypes.c_int(signal.SIGKILL)
        procctl = ctypes.CDLL(None, use_errno=True).procctl
        procctl.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int, ctypes.c_void_p]
        procctl(P_PID, 0, PROC_PDEATHSIG_CTL, ctypes.byref(wanted))
    else:
        signal.signal(signal.SIGIO, signal.SIG_DFL)
        fcntl.fcntl(life, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(life, fcntl.F_SETFL, fcntl.fcntl(life, fcntl.F_GETFL) | os.O_ASYNC)
    # The host may have died before the kernel knew whom to tell.
    poller = select.poll()
    poller.register(life, 0)
    if poller.poll(0):
        os._exit(0)


def limit(memory: int) -> None:
    """Bound this process: address space in bytes, no core file, no byte written to a file, few files open at once."""
    try:
        import resource
    except ImportError:  # Debian's python3.15-minimal has none; the host sees to it
        return

    for name, wanted in (("RLIMIT_CORE", 0), ("RLIMIT_FSIZE", 0), ("RLIMIT_NOFILE", 64), ("RLIMIT_AS", memory)):
        kind = getattr(resource, name, None)
        if kind is None or (name == "RLIMIT_AS" and not memory):
            continue
        hard = resource.getrlimit(kind)[1]
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        try:
            resource.setrlimit(kind, (allowed, allowed))
        except (ValueError, OSError):
            pass  # a system that refuses one limit still gets the others


def used_memory() -> int:
    """The most memory that this process ever held, in bytes; 0 where nothing here can tell."""
    try:
        import resource
    except ImportError:
        try:
            with open("/proc/self/status", "rb") as status:
                return max(int(line.split()[1]) * 1024 for line in status if line.startswith(b"VmHWM:"))
        except (OSError, ValueError):
            return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def kind_of(error: Exception, data: bytes, memory: int) -> str:
    """Which kind of failure a compile error is; the text of a source never leaves this function.

    CPython's parser says MemoryError, too, when its own stack is full: a fact about the source, and no memory is short.
    """
    if isinstance(error, MemoryError):
        used = used_memory()  # where nothing tells, it isn't blamed on the source: that would be remembered
        return "memory" if memory and (not used or used > memory // 4) else "recursion"
    if isinstance(error, RecursionError):
        return "recursion"
    if isinstance(error, (UnicodeError, LookupError)):
        return "encoding"
    if isinstance(error, SyntaxError):
        try:
            importlib.util.decode_source(data)
        except MemoryError:
            return "memory"
        except Exception:
            return "encoding"
    return "syntax"


def can_read_library() -> bool:
    """Whether this account may read what compile() loads as it needs it: codecs, and the names of characters.

    A codec that can't be read is "unknown encoding: cp1252" and says nothing about the source.
    """
    for directory in [path for entry in sys.path for path in (entry, os.path.join(entry, "encodings"))]:
        if not os.path.isdir(directory):
            continue
        if not os.access(directory, os.R_OK | os.X_OK):
            return False
        for name in os.listdir(directory):
            path = os.path.join(directory, name)
            if name.endswith((".py", ".so")) and os.path.exists(path) and not os.access(path, os.R_OK):
                return False
    return True


def code_of(data: bytes, path: str, level: int) -> "types.CodeType":
    """The code object as `py_compile` gets it: by the loader's own method, which differs between versions."""
    loader = SourceFileLoader("<py_compile>", path)
    return loader.source_to_code(data, path, _optimize=level)


def bodies(
    data: bytes, path: str, levels: "list[tuple[int, int, bytes]]", source_hash: bytes, check_only: bool
) -> "list[tuple[int, bytes]]":
    """The answer for each level: (state, body)."""
    answers = []
    for level, has_known, known in levels:
        if has_known and known == source_hash:
            answers.append((SAME, b""))
        elif check_only:
            answers.append((CHANGED, b""))
        else:
            # No name keeps the code object: what an earlier one shares with a later one changes marshal's flags.
            answers.append((BODY, marshalled(code_of(data, path, level))))
    return answers


class Unmarshallable(Exception):
    """marshal refused what compile accepted."""


def marshalled(code: "types.CodeType") -> bytes:
    try:
        return marshal.dumps(code)
    except ValueError:
        raise Unmarshallable from None


def judged(
    data: bytes, path: str, levels: "list[tuple[int, int, bytes]]", found: "list[bytes]", compare: bool
) -> "list[tuple[int, bytes]]":
    """What each existing body is: SAME, CHANGED (a code, and not this source's) or BROKEN. It may end this process."""
    answers = []
    for (level, _, _), body in zip(levels, found):
        stream = io.BytesIO(body)
        try:
            # From a stream it takes many times as long, and only that way it is seen whether anything follows.
            code = marshal.load(stream) if compare else marshal.loads(body)
        except Exception:
            code = None
        if not hasattr(code, "co_filename") or (compare and stream.read(1)):
            answers.append((BROKEN, b""))
        elif compare:
            answers.append((SAME if are_equal(code, code_of(data, path, level)) else CHANGED, b""))
        else:
            # Trees are moved, and the names of their files stay; only the last part tells one module from another.
            is_own = os.path.basename(code.co_filename) == os.path.basename(path)
            answers.append((SAME if is_own else CHANGED, b""))
    return answers


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


def serve(frame: bytes, hash_of: "Callable[[bytes], bytes]", memory: int) -> bytes:
    """Answer one request."""
    flags, count, length = struct.unpack_from("<BBI", frame, 0)
    offset = 6
    levels = []
    for _ in range(count):
        levels.append(struct.unpack_from("<BB8s", frame, offset))
        offset += 10
    path = frame[offset : offset + length].decode("utf-8", "surrogateescape")
    offset += length
    found = []
    for _ in levels if flags & (LOAD | COMPARE) else ():
        (size,) = struct.unpack_from("<I", frame, offset)
        found.append(frame[offset + 4 : offset + 4 + size])
        offset += 4 + size
    data = frame[offset:]
    source_hash = hash_of(data)
    try:
        if found:
            answers = judged(data, path, levels, found, bool(flags & COMPARE))
        else:
            answers = bodies(data, path, levels, source_hash, bool(flags & CHECK_ONLY))
    except Unmarshallable:
        return failure("unmarshallable", 0, "ValueError")
    except Exception as error:
        kind = kind_of(error, data, memory)
        if kind in ("syntax", "encoding") and not can_read_library():
            return failure("unreadable", 0, type(error).__name__)
        line = getattr(error, "lineno", None)
        return failure(kind, line if isinstance(line, int) else 0, type(error).__name__)
    pieces = [struct.pack("<B8sB", COMPILED, source_hash, len(answers))]
    for state, body in answers:
        pieces.append(struct.pack("<BI", state, len(body)))
        pieces.append(body)
    return b"".join(pieces)


def failure(kind: str, line: int, name: str) -> bytes:
    return struct.pack("<BBI", FAILED, KINDS.index(kind), max(0, min(line, 0xFFFFFFFF))) + name.encode(
        "ascii", "replace"
    )


def no_hash(data: bytes) -> bytes:
    return bytes(8)


def main() -> None:
    import signal

    life, memory, seconds, hashes = int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5])
    die_with_host(life)
    limit(memory)
    hash_of = importlib.util.source_hash if hashes else no_hash
    # CPU time, not time of day: an emulated or overloaded machine must not fail good files. The default action of
    # SIGPROF ends the process, also inside compile(), where no handler of Python's would run.
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    if hasattr(sys, "getrefcount"):
        gc.disable()  # CPython only: compiling makes no cycles worth the time; the memory check below bounds the rest
    tag = (sys.implementation.cache_tag or "").encode("utf-8")
    write_frame(b"pyctrigger-worker-1" + bytes(importlib.util.MAGIC_NUMBER) + tag)
    while True:
        frame = read_frame()
        if seconds:
            signal.setitimer(signal.ITIMER_PROF, seconds)
        answer = serve(frame, hash_of, memory)
        if seconds:
            signal.setitimer(signal.ITIMER_PROF, 0)
        del frame
        spent = answer[:2] == struct.pack("<BB", FAILED, KINDS.index("memory"))
        if spent or (memory and used_memory() > memory // 2):
            write_frame(bytes(bytearray([answer[0] | RETIRING])) + answer[1:])
            os._exit(0)
        write_frame(answer)


if __name__ == "__main__":
    # What anything prints goes to standard error; the frames have a descriptor of their own.
    OUTPUT = os.dup(1)
    os.dup2(2, 1)
    main()
