"""Run by the target: frames, limits and main loop of all workers; the file that follows defines the answers.

Contract: Python 3.6 to 3.15 and PyPy; standard library only, nothing of ours imported. Both directions carry frames: a
32-bit little-endian length, then as many bytes. Their layout is in `pyctrigger/workers/wire.py`. `powerless.py` comes
before it in the same namespace; `compile.py` or `compare.py` follows and calls `serve`.

A source arrives as bytes and its code is returned as marshalled bytes; the host reads and writes the files. So this
process needs no privileges, and its limits (memory, CPU time, no files) are set before the first source arrives. Under
an account of its own it opens no file after that: it has loaded the usual codecs, and for any other one it refers the
host to a worker that has loaded it.
"""

# The imports of `signal` and `importlib.util` (enum, collections, functools) take a fifth of a worker's start.
import _signal as signal  # type: ignore[import-not-found]
import errno
import gc
import importlib
import os
import struct
import sys
from importlib._bootstrap_external import MAGIC_NUMBER
from importlib.machinery import PathFinder, SourceFileLoader

try:
    import resource
except ImportError:  # not in Debian's python3.15-minimal; the host sets the limits
    resource = None  # type: ignore[assignment]

TYPE_CHECKING = False  # importing `typing` would change marshal's flags
if TYPE_CHECKING:
    import types
    from typing import Callable

    from pyctrigger.interpreter.remote.powerless import become, bound, die_with_host, require_powerless

RETIRING = 0x80
COMPILED, FAILED, NEEDS_FORK, NEEDS_CODEC = 0, 1, 2, 3
SAME, BODY, CHANGED, BROKEN, TWIN = 0, 1, 2, 3, 4
KINDS = ("syntax", "encoding", "recursion", "memory", "unmarshallable", "unreadable", "crash")
#: What compile() raises because of a source. Any other exception, and all from our own code, may be temporary.
REASONS = (SyntaxError, ValueError, LookupError, RecursionError, OverflowError, SystemError, MemoryError)
#: Bytes. With less, a source that compiles elsewhere may be nested too deeply here, or be too large.
USUAL_STACK, USUAL_MEMORY = 8 << 20, 2 << 30
#: The codecs of nearly all sources. They are loaded before the first source arrives.
USUAL_CODECS = ("ascii", "latin_1", "utf_8_sig", "cp1252", "iso8859_15")
#: Refused system calls that would have stopped an endless compilation, or a worker whose host is gone.
REFUSED_CALLS = set()  # type: set[str]


class Library:
    """What this process can still load of the standard library."""

    #: The codecs that existed when it was closed; None while it is open.
    closed = None  # type: frozenset[str] | None
    #: Whether all of it could be read.
    readable = True


def read_exactly(count: int) -> bytes:
    """Returns `count` bytes of standard input. Exits at its end: the host is gone, or has no more work."""
    data = sys.stdin.buffer.read(count)
    if len(data) < count:
        os._exit(0)
    return data


def read_frame() -> bytes:
    (length,) = struct.unpack("<I", read_exactly(4))
    return read_exactly(length)


def write_frame(payload: bytes, descriptor: int) -> None:
    data = memoryview(struct.pack("<I", len(payload)) + payload)
    while data:
        data = data[os.write(descriptor, data) :]


def limit(memory: int, processes: int = 0) -> int:
    """Set resource limits of this process. `memory` is its address space in bytes.

    Returns the address space that it actually has: our caller may have set a lower limit.
    """
    if "resource" not in sys.modules:
        return memory
    if not bound(processes, memory):
        REFUSED_CALLS.add("setrlimit")
    left = soft_limit("RLIMIT_AS")
    return min(memory, left) if memory and left else memory


def set_clock(seconds: float) -> None:
    """Kill this process after that much more CPU time; 0 disables it. Without it only the host's time-out applies."""
    try:
        signal.setitimer(signal.ITIMER_PROF, seconds)
    except OSError:
        REFUSED_CALLS.add("setitimer")


def clock() -> float:
    """Returns the CPU time that is left until then."""
    try:
        return float(signal.getitimer(signal.ITIMER_PROF)[0])
    except OSError:
        return 0.0


def used_memory() -> int:
    """Returns the peak memory of this process in bytes, or 0 if unknown."""
    try:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    except (AttributeError, OSError):
        pass
    try:
        with open("/proc/self/status", "rb") as status:
            return max(int(line.split()[1]) * 1024 for line in status if line.startswith(b"VmHWM:"))
    except (OSError, ValueError):
        return 0


def soft_limit(name: str) -> int:
    """Returns a soft limit of this process; 0 for none, or one that can't be read."""
    try:
        soft = resource.getrlimit(getattr(resource, name))[0]
    except (AttributeError, OSError, ValueError):
        return 0
    return 0 if soft == resource.RLIM_INFINITY else soft


def is_short_of_memory(memory: int) -> bool:
    """Whether a MemoryError may really be about memory, by any limit: ours, the caller's, or the machine's."""
    used = used_memory()
    bounds = [bound for bound in (soft_limit("RLIMIT_AS"), soft_limit("RLIMIT_DATA")) if bound]
    if not used or (memory and used > memory // 4) or any(bound < (memory or USUAL_MEMORY) for bound in bounds):
        return True  # if in doubt, don't blame the source, since that would be recorded
    try:
        bytes(1 << 26)
    except MemoryError:
        return True
    return False


def kind_of(error: Exception, data: bytes, memory: int) -> str:
    """Returns the kind of failure of a compile error. The source's text never leaves this function.

    CPython's parser also raises MemoryError when its own stack is full, which is due to the source, not to memory.
    """
    if isinstance(error, (MemoryError, RecursionError)):
        stack = soft_limit("RLIMIT_STACK")
        is_cramped = 0 < stack < USUAL_STACK
        is_cramped = is_cramped or (isinstance(error, MemoryError) and is_short_of_memory(memory))
        return "memory" if is_cramped else "recursion"
    if isinstance(error, (UnicodeError, LookupError)):
        return "encoding"
    if isinstance(error, SyntaxError):
        try:
            return "syntax" if is_text(data) else "encoding"
        except MemoryError:
            return "memory"
    return "syntax"


def cookie(data: bytes) -> "str | None":
    """Returns the encoding that a source declares in one of its first two lines (PEP 263), or None."""
    for line in data[: 1 << 16].split(b"\n", 2)[:2]:
        text = line.strip(b" \t\f\r")
        at = text.find(b"coding") if text.startswith(b"#") else -1
        while at >= 0:
            rest = text[at + 6 :]
            if rest[:1] in (b":", b"="):
                rest = rest[1:].lstrip(b" \t")
                name = rest[: len(rest) - len(rest.lstrip(NAME_OF_CODEC))]
                if name:
                    return name.decode("ascii")
            at = text.find(b"coding", at + 1)
        if text and not text.startswith(b"#"):
            return None
    return None


NAME_OF_CODEC = b"-_.abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def is_text(data: bytes) -> bool:
    """Whether a source can be decoded in its declared encoding, as found by `tokenize.detect_encoding`.

    Importing that module takes a third of a worker's start. Raises MemoryError.
    """
    name = cookie(data)
    if data.startswith(b"\xef\xbb\xbf"):
        if name is not None and modules_of(name)[-1] not in ("utf_8", "utf8", "utf_8_sig"):
            return False
        name = "utf-8"
    try:
        data.decode(name or "utf-8")
    except (UnicodeError, LookupError):
        return False
    return True


def modules_of(name: str) -> "list[str]":
    """Returns the modules in which `encodings` looks for a codec of that name, in order."""
    from encodings import aliases, normalize_encoding

    norm = normalize_encoding(name).lower()
    aliased = aliases.aliases.get(norm) or aliases.aliases.get(norm.replace(".", "_"))
    return [each for each in (aliased, norm) if each and "." not in each]


def missing_codec(data: bytes) -> "str | None":
    """Returns the codec that a source declares, if this process can't load it any more."""
    if Library.closed is None or b"coding" not in data[:400] or not Library.readable:
        return None
    name = cookie(data)
    names = [] if name is None else modules_of(name)
    if any("encodings." + each in sys.modules for each in names):
        return None
    return next((each for each in names if each in Library.closed), None)


def can_import(name: str) -> bool:
    """Whether a module can be imported, and do so. It may be unreadable, or not installed on this system."""
    try:
        importlib.import_module(name)
    except (ImportError, OSError):
        return False
    return True


def load(more: str) -> None:
    """Import what compiling may need, before the library is closed."""
    import encodings

    wanted = ["encodings." + name for name in (*USUAL_CODECS, *filter(None, [more]))]
    if not all([can_import(name) for name in (*wanted, "unicodedata")]):
        Library.readable = can_read_library()
    try:
        names = os.listdir(os.path.dirname(encodings.__file__ or ""))
    except OSError:
        names = []
    Library.closed = frozenset(name.partition(".")[0] for name in names if not name.startswith("_"))


def close_library() -> None:
    """Let this process open no more files.

    PathFinder is removed so that later imports raise ImportError, instead of the kernel's errors.
    """
    sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not PathFinder]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
    except (AttributeError, ValueError, OSError):
        pass  # its account still protects


def is_open(path: str, mode: int) -> bool:
    """Whether this account may access a file. A sandbox may refuse access(2) itself."""
    if os.access(path, mode):
        return True
    try:
        os.close(os.open(path, os.O_RDONLY))
    except OSError as error:
        return error.errno == errno.ENOENT  # a dangling link
    return True


def lacks_module(error: Exception) -> bool:
    """Whether compile() failed for lack of a module: some systems don't install codecs or character names."""
    said = getattr(error, "msg", None) or str(error)  # without the source's text
    if "unicodedata" in said and not can_import("unicodedata"):
        return True
    if "encoding" not in said:
        return False
    from encodings import aliases

    name = next(iter(modules_of(said.rpartition(":")[2].strip())), "")
    return name in aliases.aliases.values() and not can_import("encodings." + name)


def can_read_library() -> bool:
    """Whether this account may read what compile() imports on demand: codecs, and character names.

    An unreadable codec gives "unknown encoding: cp1252", which isn't the source's fault.
    """
    if Library.closed is not None:
        return Library.readable
    for directory in [path for entry in sys.path for path in (entry, os.path.join(entry, "encodings"))]:
        if not os.path.isdir(directory):
            continue
        if not is_open(directory, os.R_OK | os.X_OK):
            return False
        for name in os.listdir(directory):
            path = os.path.join(directory, name)
            if name.endswith((".py", ".so")) and not is_open(path, os.R_OK):
                return False
    return True


class Refusal(Exception):
    """The compiler rejected a source: the only failure that is recorded. `args` is its exception."""


class Answered(Exception):
    """The answer is known, and is `args`: another worker has to compile the source, or marshal rejected its code."""


def code_of(data: bytes, path: str, level: int) -> "types.CodeType":
    """Returns the code object as `py_compile` gets it, by the loader's method, which differs between versions.

    Raises Refusal and Answered.
    """
    codec = missing_codec(data)
    if codec is not None:
        raise Answered(bytes([NEEDS_CODEC]) + codec.encode("ascii"))
    loader = SourceFileLoader("<py_compile>", path)
    try:
        return loader.source_to_code(data, path, _optimize=level)
    except REASONS as error:
        raise Refusal(error) from None


class Request:
    """A request about a source. `rest` is the source, with bodies before it if there are some to check."""

    def __init__(self, frame: bytes, hash_of: "Callable[[bytes], bytes]") -> None:
        self.flags, count, length = struct.unpack_from("<BBI", frame, 0)
        path = 6 + 10 * count
        #: (level, whether the hash in its pyc is known, that hash)
        self.levels = [struct.unpack_from("<BB8s", frame, offset) for offset in range(6, path, 10)]
        self.path = frame[path : path + length].decode("utf-8", "surrogateescape")
        self.rest = frame[path + length :]
        self.hash_of = hash_of


def reply(source_hash: bytes, answers: "list[tuple[int, int, bytes]]") -> bytes:
    """Returns the answer for all levels: (state, microseconds, body)."""
    pieces = [struct.pack("<B8sB", COMPILED, source_hash, len(answers))]
    for state, microseconds, body in answers:
        pieces.append(struct.pack("<BII", state, min(microseconds, 0xFFFFFFFF), len(body)))
        pieces.append(body)
    return b"".join(pieces)


def failure(kind: str, line: "object" = 0, name: str = "ValueError") -> bytes:
    number = max(0, min(line, 0xFFFFFFFF)) if isinstance(line, int) else 0
    return struct.pack("<BBI", FAILED, KINDS.index(kind), number) + name.encode("ascii", "replace")


def failed(error: Exception, source: bytes, memory: int) -> bytes:
    """Returns the answer for a source that can't be compiled, for a reason of its own or a temporary one."""
    if isinstance(error, Answered):
        return bytes(error.args[0])
    if not isinstance(error, Refusal):
        kind = "memory" if isinstance(error, MemoryError) else "crash"
        if isinstance(error, (PermissionError, ImportError)) and not can_read_library():
            kind = "unreadable"
        return failure(kind, 0, type(error).__name__)
    (reason,) = error.args
    kind = kind_of(reason, source, memory)
    if kind in ("syntax", "encoding") and not can_read_library():
        kind = "unreadable"
    elif kind in ("syntax", "encoding") and lacks_module(reason):
        kind = "crash"
    return failure(kind, getattr(reason, "lineno", 0), type(reason).__name__)


def no_hash(data: bytes) -> bytes:
    return bytes(8)


def serve(answer: "Callable[[Request, int], bytes]") -> None:
    """Answer requests with `answer(request, memory)` until the host is gone. An empty answer isn't sent."""
    lifeline, memory, hashes, account = (int(sys.argv[at]) for at in (2, 3, 5, 6))
    seconds, codec = float(sys.argv[4]), sys.argv[7]
    try:
        die_with_host(lifeline)
    except OSError:
        REFUSED_CALLS.add("fcntl(F_SETOWN)")
    memory = limit(memory, 2 if account > 0 else 0)
    hash_of = importlib.import_module("importlib.util").source_hash if hashes else no_hash
    # CPU time, not wall-clock time: an emulated or overloaded machine must not fail good sources. The default action of
    # SIGPROF kills the process even inside compile(), where no Python handler would run.
    if seconds:
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        set_clock(seconds)
        set_clock(0)
    if sys.implementation.name == "pypy":
        importlib.import_module("pypyjit").set_param("off")  # tracing our own loops takes longer than they do
    else:
        gc.disable()  # compiling makes few cycles; the memory check below bounds them
    if account > 0:
        load(codec)
        close_library()
        if os.getuid() == account:
            require_powerless(account, account)
        else:
            become(account, account)
    tag = (sys.implementation.cache_tag or "").encode("utf-8")
    lacks = "".join("\0" + each for each in sorted(REFUSED_CALLS)).encode("ascii")
    write_frame(b"pyctrigger-worker-1" + bytes(MAGIC_NUMBER) + tag + lacks, OUTPUT)
    while True:
        frame = read_frame()
        if seconds:
            set_clock(seconds)
        said = answer(Request(frame, hash_of), memory)
        if seconds:
            set_clock(0)
        del frame
        if not said:
            continue
        spent = said[:2] == struct.pack("<BB", FAILED, KINDS.index("memory"))
        if spent or said[0] & RETIRING or (memory and used_memory() > memory // 2):
            write_frame(bytes([said[0] | RETIRING]) + said[1:], OUTPUT)
            os._exit(0)
        write_frame(said, OUTPUT)


# Anything printed goes to standard error; frames have a descriptor of their own.
OUTPUT = os.dup(1)
os.dup2(2, 1)
