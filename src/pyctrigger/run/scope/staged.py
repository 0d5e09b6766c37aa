"""Staged roots: a chroot, jail, image or package build seen from outside, with `--root`.

Nothing inside is executed, since root would run what others put there; an interpreter of the host with the same magic
number compiles instead. Where that can't be shown to be the same, nothing is done.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable
from functools import partial

from ...errors import InterpreterError, UsageError
from ...interpreter.flavour import Flavour
from ...interpreter.interpreter import Interpreter
from ...interpreter.scope import SiteDirectory, existing, is_library
from ...state.locations import BSD, LINUX
from ...state.probed import ProbedInterpreters
from ...state.roots import state_of_root
from ...state.store import Store
from ...tree.directory import identity_in_root, open_in_root
from .request import Request

_MAGIC = re.compile(rb"^MAGIC_NUMBER = \(([0-9]+)\)\.to_bytes\(2, 'little'\)", re.MULTILINE)
_PREFIXES = ("/usr", "/usr/local", "/usr/pkg", "/opt/local", "")
_MOST_SOURCE = 1 << 20


def staged_interpreter(
    flavour: Flavour, candidates: list[str], root: str, probed: ProbedInterpreters, *, execute: bool
) -> Interpreter:
    """The interpreter to compile for a staged root with. Raises InterpreterError, UsageError and RefusedError.

    `candidates` are this machine's executables, best first. With `execute` (`--trust-root`) it is the root's own
    instead, run after a chroot(2).
    """
    if execute:
        return _inside(flavour, root, probed)
    problem: Exception | None = None
    for path in candidates:
        try:
            interpreter = probed.ask(path)
            interpreter.require(flavour)
            _require_same_magic(interpreter, root)
            return interpreter
        except InterpreterError as error:
            problem = error
    if isinstance(problem, InterpreterError):
        raise problem
    raise InterpreterError(
        f"no {flavour.name} on this machine can compile for {root}",
        hint="install it, name it with --python PATH, or let the root's own run with --trust-root",
    )


def staged_site_directories(interpreter: Interpreter, root: str) -> list[SiteDirectory]:
    """The scope inside a root, from what stands there: no `sysconfig` of the root's can be asked."""
    return existing(map(SiteDirectory, staged_places(interpreter, root)), partial(identity_in_root, root))


def staged_places(interpreter: Interpreter, root: str) -> list[str]:
    """Where site directories may be inside a root."""
    return [
        f"{prefix}/{library}/{directory}"
        for prefix in _standing(interpreter, root) or ["/usr"]
        for library in ("lib", "lib64")
        for directory in (
            "python3/dist-packages",
            f"{interpreter.library}/site-packages",
            f"{interpreter.library}/dist-packages",
        )
    ]


def staged_library(interpreter: Interpreter, root: str) -> list[SiteDirectory]:
    """The directories of the standard library inside a root; none where it has none for this interpreter."""
    paths = [
        f"{prefix}/{library}/{interpreter.library}"
        for prefix in _standing(interpreter, root) or ["/usr"]
        for library in ("lib", "lib64")
    ]
    found = [path for path in paths if identity_in_root(root, path)]
    if not any(is_library(path, partial(identity_in_root, root)) for path in found):
        return []
    return [SiteDirectory(path, is_stdlib=True) for path in found]


def stands_in(interpreter: Interpreter, root: str) -> bool:
    """Whether a root has an interpreter of this flavour, too."""
    return bool(_standing(interpreter, root))


def store_of_root(base: str, request: Request, notice: Callable[[str], None], *, create: bool) -> Store:
    """The state of a root, below this system's state directory `base`. Raises RefusedError."""
    assert request.scope.root is not None
    state = None
    try:
        state = state_of_root(base, request.scope.root)
        if create:
            state.claim(notice, partial(_has_old_state, request.scope.root))
        else:
            state.look()
            if not state.is_known:
                return Store(None, notice, create=False, stateless=True, root=state)
    except OSError as error:
        store = Store(base, notice, create=create)
        store.give_up(error)
        return store
    return Store(state.directory, notice, create=create, hurries=request.running.hook, root=state)


def _has_old_state(root: str) -> bool:
    """Whether an earlier release, or a pyctrigger inside, has kept state in a root. Only that is asked."""
    for place in (LINUX.state, BSD.state):
        try:
            descriptor = open_in_root(root, place)
        except OSError:
            continue
        try:
            with os.scandir(descriptor) as entries:
                if next(entries, None) is not None:
                    return True
        except OSError:
            continue
        finally:
            os.close(descriptor)
    return False


def _standing(interpreter: Interpreter, root: str) -> list[str]:
    return [prefix for prefix in _PREFIXES if _interpreter_stands(interpreter, root, prefix)]


def _interpreter_stands(interpreter: Interpreter, root: str, prefix: str) -> bool:
    """Whether an interpreter of this flavour is installed below a prefix of the root."""
    name = interpreter.library
    return any(
        _read_inside(root, f"{prefix}/{directory}", wanted, 1) is not None
        for directory, wanted in (("bin", name), (f"lib/{name}", "os.py"), (f"lib64/{name}", "os.py"))
    )


def _require_same_magic(interpreter: Interpreter, root: str) -> None:
    """Raise InterpreterError unless the root's interpreter, if it has one, is seen to have the same magic number."""
    standing = _standing(interpreter, root)
    if not standing:
        return  # a package's payload: the installed system's interpreter is, by its version, the host's
    for prefix in standing:
        magic = _magic_of(interpreter, root, prefix)
        if magic != interpreter.magic_number:
            reason = "can't be seen" if magic is None else f"is {magic.hex()}"
            raise InterpreterError(
                f"the magic number of {interpreter.flavour} in {root} {reason}, "
                f"that of {interpreter.executable} is {interpreter.magic_number.hex()}",
                hint="let the root's own interpreter run with --trust-root",
            )


def _magic_of(interpreter: Interpreter, root: str, prefix: str) -> bytes | None:
    """The magic number of the root's interpreter: from its import system's source (up to 3.13), or its own pycs."""
    for library in ("lib", "lib64"):
        home = f"{prefix}/{library}/{interpreter.library}"
        source = _read_inside(root, f"{home}/importlib", "_bootstrap_external.py", _MOST_SOURCE)
        match = _MAGIC.search(source) if source else None
        if match:
            return int(match[1]).to_bytes(4, "little")[:2] + b"\r\n"
        for module in ("os", "re", "abc", "io", "stat"):
            head = _read_inside(root, f"{home}/__pycache__", f"{module}.{interpreter.cache_tag}.pyc", 4)
            if head and len(head) == 4:
                return head
    return None


def _read_inside(root: str, directory: str, name: str, most: int) -> bytes | None:
    try:
        at = open_in_root(root, directory)
    except OSError as error:
        # What is mounted there isn't looked at: then an interpreter may stand in it, and nobody sees which.
        return b"" if error.errno == errno.EXDEV else None
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
    except OSError:
        # Debian's bin/python3.11 is a file, Arch's bin/python3 a link: that it stands there is enough.
        return b"" if name in _names(at) else None
    finally:
        os.close(at)
    try:
        return os.read(descriptor, most) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _names(directory: int) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


def _inside(flavour: Flavour, root: str, probed: ProbedInterpreters) -> Interpreter:
    if os.geteuid() != 0:
        raise UsageError("--trust-root needs root's rights, for chroot(2)", hint="run as root, or leave it out")
    names = (
        [f"{prefix}/bin/{flavour.called}" for prefix in _PREFIXES]
        if flavour.called is not None
        else [flavour.path]
        if flavour.path is not None
        else [f"{prefix}/bin/{flavour.library}" for prefix in _PREFIXES]
    )
    for path in names:
        if os.path.isfile(os.path.realpath(root) + path) or os.path.islink(os.path.realpath(root) + path):
            interpreter = probed.ask(path, root=os.path.realpath(root))
            interpreter.require(flavour)
            return interpreter
    raise InterpreterError(f"{root} has no {flavour.name}", hint="name it with --python PATH, as seen inside")
