"""Starting one of our programs in the target interpreter: isolated, in `/`, with a fixed environment, without `site`.

Facts: `-I` alone still runs the `.pth` files of a virtual environment; `-I -S` with an absolute path, our own
environment and cwd `/` was the only combination that ran no foreign code. `-B` keeps the start from writing bytecode,
and `-W ignore` keeps a SyntaxWarning from revealing a line of source (PEP 370, `python3 -h`).
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence

from ..bounded import regular_status
from ..errors import InterpreterError, ShortageError
from ..typed import Any
from .confinement import confined
from .interpreter import Account
from .remote.powerless import become, bound
from .rights import Rights

_OUR_RIGHTS = Rights()
#: Why a process may not start although its interpreter is all right.
_SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN})

#: Without a locale 3.6 and PyPy use ASCII. PyPy's nursery is half the processor's last cache, hundreds of megabytes
#: where that is shared by many (doc.pypy.org/en/latest/gc_info.html); here it is what PyPy takes if it knows no cache.
_ENVIRONMENT = {"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin", "HOME": "/", "PYPY_GC_NURSERY": "4M"}
_FLAGS = ("-I", "-S", "-B", "-W", "ignore")
#: Up to 3.10 the order of a frozenset in a pyc depends on the hash seed, and `-I` would ignore the variable that sets
#: it. The rest of `-I` is done by other means: there are no other variables, and the bootstrap drops the current
#: directory.
_SEEDED_FLAGS = ("-s", "-S", "-B", "-W", "ignore")
_SEED = {"PYTHONHASHSEED": "0"}
#: Processes that another account's interpreter may need to start if it is a script. A worker limits itself to fewer.
_MAX_PROCESSES = 64

#: The first code of each child. Ignored and blocked signals survive execve(2), and a program that uses the library may
#: have some. Python itself ignores SIGPIPE and SIGXFSZ. With a session of its own only the host gets a Ctrl-C at the
#: terminal; `Popen` would start nothing at all where setsid(2) is refused.
FRESH_START = """\
import _signal, posix
for number in range(1, _signal.NSIG):
    if _signal.getsignal(number) == _signal.SIG_IGN and number not in (_signal.SIGPIPE, _signal.SIGXFSZ):
        try:
            _signal.signal(number, _signal.SIG_DFL)
        except (OSError, ValueError):
            pass
for fresh in (lambda: _signal.pthread_sigmask(_signal.SIG_SETMASK, ()), posix.setsid):
    try:
        fresh()
    except OSError:
        pass
"""
#: The program is read from descriptors: an account with fewer rights may not be able to open our files. Each file may
#: have its bytecode with it, `SOURCE/PYC`, which spares 3 to 5 ms of compiling it; it is judged as an import does
#: (PEP 552), but for hashes, which are always compared.
BOOTSTRAP = f"""\
{FRESH_START}
import sys
sys.path[:] = [path for path in sys.path if path]
def _own_code(source, pyc=None):
    status, text = posix.stat(source), open(source, 'rb').read()
    if pyc is not None:
        import _imp, marshal
        from importlib._bootstrap_external import MAGIC_NUMBER
        found = open(pyc, 'rb').read()
        proof = b''.join((number & 0xFFFFFFFF).to_bytes(4, 'little') for number in (int(status.st_mtime), len(text)))
        if found[4:5] in (b'\\1', b'\\3'):
            proof = _imp.source_hash(int.from_bytes(MAGIC_NUMBER, 'little'), text)
        if found[:4] == MAGIC_NUMBER and found[8:16] == proof:
            return marshal.loads(found[16:])
    return compile(text, '<pyctrigger>', 'exec')
for file in sys.argv[1].split(","):
    exec(_own_code(*map(int, file.split("/"))))
"""
#: The files below `remote/` that make up each program, in order.
PROGRAMS = {
    "probe": ("interned", "probe"),
    "compile": ("powerless", "serve", "compile"),
    "compile-3.10": ("powerless", "serve", "sets", "compile"),
    "compare": ("powerless", "serve", "compare"),
    "start": ("start",),
}


def start(  # noqa: PLR0913 - each one is a fact about the child, and most have a default
    executable: str,
    program: str,
    arguments: Sequence[str] = (),
    rights: Rights = _OUR_RIGHTS,
    *,
    keep: Sequence[int] = (),
    seeded: bool = False,
    memory: int | None = None,
    tag: str | None = None,
) -> subprocess.Popen[bytes]:
    """Start one of our programs in `executable`, with pipes for its three streams.

    `keep` are descriptors that the child inherits; with `seeded` its hash seed is fixed. `memory` makes it a worker: it
    is the limit of its address space in bytes, 0 for none, which is set with all others before anything is sent to it.
    For another account's interpreter limits are set before it starts. With its cache `tag` it may be given bytecode of
    our program. Raises InterpreterError if it can't be started.
    """
    files: list[int] = []
    opened: list[str] = []
    # Another account's interpreter could signal or trace a thread that already has that account.
    is_watched = rights.root is not None or rights.is_foreign

    def popen(left: Account | None) -> subprocess.Popen[bytes]:
        account = rights.account if is_watched else left
        flags = _SEEDED_FLAGS if seeded else _FLAGS
        child = subprocess.Popen(
            [executable, *flags, "-c", BOOTSTRAP, ",".join(opened), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            cwd=None if rights.root else "/",
            env={**_ENVIRONMENT, **_SEED} if seeded else _ENVIRONMENT,
            pass_fds=(*files, *keep),
            preexec_fn=_prepare_child(rights, account, memory) if is_watched or account else None,  # noqa: PLW1509 - no other thread holds a lock
        )
        if memory is not None:
            bound(memory=memory, pid=child.pid)  # here, since this thread has the child's rights
        return child

    try:
        for name in PROGRAMS[program]:  # by us: the account may not be able to open our files
            own = [open_file(name)]
            files += own
            if tag is not None and not seeded and (pyc := _open_pyc(name, tag)) is not None:
                own.append(pyc)
                files.append(pyc)
            opened.append("/".join(map(str, own)))
        is_script = _is_script((rights.root or "") + executable)
        return confined(popen, None if is_watched else rights.account, is_script=is_script)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        if isinstance(error, subprocess.SubprocessError):
            reason = "the system doesn't let it drop its rights"
        is_short = getattr(error, "errno", None) in _SHORTAGES
        hint = ShortageError.usual_hint if is_short else rights.hint
        raise InterpreterError(f"{executable} can't be started{rights.suffix}: {reason}", hint=hint) from error
    finally:
        for file in files:
            os.close(file)


def start_own(
    module: str, settings: Sequence[object], *, network: bool = False, **streams: Any
) -> subprocess.Popen[bytes]:
    """Start this Python itself, isolated and confined, to call `serve(*settings)` of one of our modules.

    With a `network` it isn't confined, and has the caller's environment (proxies, credentials), but not root's.
    `streams` are Popen's options for the child's streams. The settings travel as JSON. Raises OSError and
    SubprocessError.
    """
    import json

    package = os.path.abspath(__file__)
    for _ in __name__.split("."):  # however deep this module lies
        package = os.path.dirname(package)
    # The child starts in `/`, and without a site.
    path = [package, *(each for each in sys.path if os.path.isabs(each) and each != package)]
    program = f"""\
{FRESH_START}
import json, sys
sys.path[:], settings = json.loads(sys.argv.pop())
from {module} import serve
serve(*settings)
"""
    command = [sys.executable, *_FLAGS, "-c", program, json.dumps([path, settings])]
    if network:
        environment = _ENVIRONMENT if os.geteuid() == 0 else {**os.environ, "LC_ALL": _ENVIRONMENT["LC_ALL"]}
        return subprocess.Popen(command, cwd="/", env=environment, **streams)
    return confined(lambda _: subprocess.Popen(command, cwd="/", env=_ENVIRONMENT, **streams))


def open_file(name: str) -> int:
    """Open one file of a program. Returns its descriptor. Raises OSError."""
    return os.open(os.path.join(os.path.dirname(__file__), "remote", name + ".py"), os.O_RDONLY | os.O_CLOEXEC)


def _open_pyc(name: str, tag: str) -> int | None:
    """Open the bytecode of a file of a program for this cache tag: where our own Python is one, there is some."""
    source = os.path.join(os.path.dirname(__file__), "remote", name + ".py")
    pyc = os.path.join(os.path.dirname(source), "__pycache__", f"{os.path.basename(name)}.{tag}.pyc")
    try:
        status = os.stat(source)
        descriptor = os.open(pyc, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with contextlib.suppress(OSError):
        if regular_status(descriptor).st_uid == status.st_uid:
            return descriptor
    os.close(descriptor)
    return None


def _is_script(executable: str) -> bool:
    """Whether the executable is a script. True also if it can't be read."""
    try:
        with open(executable, "rb", buffering=0) as file:
            return file.read(2) == b"#!"
    except OSError:
        return True


def _prepare_child(rights: Rights, account: Account | None, memory: int | None) -> Callable[[], None]:
    """Returns what the child does before execve(2): privileges are dropped after chroot(2), which needs them."""
    with contextlib.suppress(ImportError):
        import resource  # noqa: F401 - imported before the fork: another thread may hold the import lock

    def enter() -> None:
        if rights.root is not None:
            os.chroot(rights.root)
            os.chdir("/")
        if memory is not None or rights.root is not None:
            bound(_MAX_PROCESSES if rights.leased >= 0 else 0)
        if account:
            become(account.uid, account.gid)

    return enter


def kill(child: subprocess.Popen[bytes]) -> None:
    """Kill a child and its session, which includes all that it has forked. It may not have made its session yet."""
    if child.poll() is None:
        with contextlib.suppress(OSError):
            os.killpg(child.pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            child.kill()


def describe_death(returncode: int, stderr: bytes = b"", fault: str | None = None) -> str:
    """Returns how a child ended, in words, or the `fault` for which it was ended; and what it said."""
    reason = fault or f"exit status {returncode}"
    if returncode < 0 and not fault:
        known = [each.name for each in signal.Signals if each == -returncode]
        reason = f"killed by {known[0] if known else f'signal {-returncode}'}"
    return f"{reason}, it said: {printable(stderr)}" if stderr.strip() else reason


def printable(stderr: bytes, limit: int = 300) -> str:
    """Returns a child's standard error, fit for a message: on one line, and without control characters."""
    text = " ".join(stderr.decode("utf-8", "replace").split())
    text = "".join(character if character.isprintable() else "?" for character in text)
    return text[-limit:]
