"""Starting a program of ours in the target: isolated, with an environment of our own, in `/`, deaf to users and sites.

Facts: `-I` alone still runs the `.pth` files of a virtual environment; `-I -S` with an absolute path, our own
environment and cwd `/` was the only combination that ran nobody's code. `-B` keeps the start from writing bytecode,
and `-W ignore` keeps a SyntaxWarning from telling a line of source (PEP 370, `python3 -h`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import TYPE_CHECKING

from ..errors import InterpreterError
from .confinement import confined

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .interpreter import Account

#: 3.6 and PyPy think in ASCII without a locale.
_ENVIRONMENT = {"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin", "HOME": "/"}
_FLAGS = ("-I", "-S", "-B", "-W", "ignore")
#: The order of a frozenset in a pyc follows from the seed of the hashes up to 3.10, and `-I` would ignore the only way
#: to set it. What else `-I` does is done: no other variable is there, and the bootstrap drops the current directory.
_SEEDED_FLAGS = ("-s", "-S", "-B", "-W", "ignore")
_SEED = {"PYTHONHASHSEED": "0"}
#: What a stranger's interpreter may need to start, where it is a script; a worker bounds itself to fewer.
_MOST_PROCESSES = 64

#: What to do about an interpreter that the account which it has to run as can't run.
MEND_FOR_ACCOUNT = (
    "let that account read and execute it and its standard library, or name another interpreter with --python PATH"
)
#: And about one that an account which nobody has ever heard of can't run.
MEND_FOR_EVERYBODY = (
    "let everybody read and execute it and its standard library, or name another interpreter with --python PATH"
)

#: The first words of whatever we start: ignored and blocked signals survive execve(2), and we may be part of a program
#: that needs its own as they are. Python ignores SIGPIPE and SIGXFSZ by itself. A session of its own makes a Ctrl-C at
#: the terminal the host's to answer; `Popen` would start nothing at all where setsid(2) is refused.
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
#: The program comes through descriptors: an account with fewer rights than ours may not reach our own files.
BOOTSTRAP = f"""\
{FRESH_START}
import sys
sys.path[:] = [path for path in sys.path if path]
for descriptor in sys.argv[1].split(","):
    exec(compile(open(int(descriptor), 'rb').read(), '<pyctrigger>', 'exec'))
"""
#: The files below `remote/` that make a program, in their order.
PROGRAMS = {
    "probe": ("probe",),
    "compile": ("powerless", "serve", "compile"),
    "compile-3.10": ("powerless", "serve", "sets", "compile"),
    "compare": ("powerless", "serve", "compare"),
    "start": ("start",),
}


def start(  # noqa: PLR0913 - each one is a fact about the child, and most have a default
    executable: str,
    program: str,
    arguments: Sequence[str] = (),
    *,
    account: Account | None = None,
    root: str | None = None,
    keep: Sequence[int] = (),
    seeded: bool = False,
    bound: Callable[[int], None] | None = None,
    is_strangers: bool = False,
    is_leased: bool = False,
    is_confined: bool = False,
) -> subprocess.Popen[bytes]:
    """Start one of the programs in `executable`, with pipes for its three streams.

    `keep` are descriptors that the child inherits; `seeded`: its hashes have no random seed. With `bound` it is a
    worker: that is called with its process id, by what has its rights, before anybody asks it something. What
    `is_strangers` is bound before it starts; so is the number of processes of an account that `is_leased`.

    Raises InterpreterError where it can't be started at all.
    """
    sources: list[int] = []
    is_watched = root is not None or (is_strangers and bound is not None)

    def popen(left: Account | None) -> subprocess.Popen[bytes]:
        named = None if is_watched else left
        child = subprocess.Popen(
            [
                executable,
                *(_SEEDED_FLAGS if seeded else _FLAGS),
                "-c",
                BOOTSTRAP,
                ",".join(map(str, sources)),
                *arguments,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            cwd=None if root else "/",
            env={**_ENVIRONMENT, **_SEED} if seeded else _ENVIRONMENT,
            pass_fds=(*sources, *keep),
            user=named.uid if named else None,
            group=named.gid if named else None,
            extra_groups=[] if named else None,
            preexec_fn=_enter(root, left, _MOST_PROCESSES if is_leased else 0) if is_watched else None,  # noqa: PLW1509 - no other thread holds a lock
        )
        if bound is not None:
            bound(child.pid)
        return child

    try:
        sources += map(open_file, PROGRAMS[program])  # by us: an account without rights may not reach our files
        if bound is None and not is_confined:
            return popen(account)
        # A stranger's interpreter could do something to a thread that has its account.
        script = _is_script((root or "") + executable)
        if is_watched or is_confined:
            return confined(lambda _: popen(account), is_script=script)
        return confined(popen, account, is_script=script)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        if account and is_leased:
            raise InterpreterError(f"{executable} can't be started: {reason}", mend=MEND_FOR_EVERYBODY) from error
        if account:
            raise InterpreterError(
                f"{executable} can't be started as account {account.uid}: {reason}", mend=MEND_FOR_ACCOUNT
            ) from error
        raise InterpreterError(f"{executable} can't be started: {reason}") from error
    finally:
        for source in sources:
            os.close(source)


def open_file(name: str) -> int:
    """A descriptor of one file of a program. Raises OSError."""
    return os.open(os.path.join(os.path.dirname(__file__), "remote", name + ".py"), os.O_RDONLY | os.O_CLOEXEC)


def _is_script(executable: str) -> bool:
    """Whether it becomes the interpreter later; also where nobody can tell."""
    try:
        with open(executable, "rb", buffering=0) as file:
            return file.read(2) == b"#!"
    except OSError:
        return True


def _enter(root: str | None, account: Account | None, processes: int) -> Callable[[], None]:
    """What the child does before it becomes the interpreter: rights go after chroot(2), which needs them."""
    from .remote.powerless import become, bound

    with contextlib.suppress(ImportError):
        import resource  # noqa: F401 - no child of a program with several threads should have to

    def enter() -> None:
        if root is not None:
            os.chroot(root)
            os.chdir("/")
        if account:
            bound(processes)
            become(account.uid, account.gid)

    return enter


def kill(child: subprocess.Popen[bytes]) -> None:
    """End a child now, and what it has forked, which is in its session: it makes that itself, and may not have yet."""
    if child.poll() is None:
        with contextlib.suppress(OSError):
            os.killpg(child.pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            child.kill()


def describe_death(returncode: int) -> str:
    """How a child ended, in words."""
    if returncode >= 0:
        return f"exit status {returncode}"
    try:
        return f"killed by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"killed by signal {-returncode}"


def printable(noise: bytes, limit: int = 300) -> str:
    """What a child said on standard error, fit for a message: one line, no control characters."""
    text = " ".join(noise.decode("utf-8", "replace").split())
    text = "".join(character if character.isprintable() else "?" for character in text)
    return text[-limit:]
