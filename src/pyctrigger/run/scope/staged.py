"""Staged roots: a chroot, jail, image or package build seen from outside, with `--root`.

Nothing inside is executed, since root would run what others put there; an interpreter of the host with the same magic
number compiles instead. Where that can't be shown to be the same, nothing is done.
"""

from __future__ import annotations

import contextlib
import os
import re
from functools import partial

from ...errors import InterpreterError, UsageError
from ...interpreter.flavour import Flavour
from ...interpreter.interpreter import Interpreter
from ...interpreter.scope import OwnDirectories, is_library
from ...state.probed import ProbedInterpreters
from .files_inside import files_inside
from .places import locate

_MAGIC = re.compile(rb"^MAGIC_NUMBER = \(([0-9]+)\)\.to_bytes\(2, 'little'\)", re.MULTILINE)
_PREFIXES = ("/usr", "/usr/local", "/usr/pkg", "/opt/local", "")
_LIBRARIES = ("lib", "lib64")


def prefixes_with(interpreter: Interpreter, root: str) -> list[str]:
    """Returns the prefixes inside a root below which an interpreter of this flavour is installed."""
    files, name = files_inside(root), interpreter.library
    marks = (f"bin/{name}", *(f"{library}/{name}/os.py" for library in _LIBRARIES))
    return [prefix for prefix in _PREFIXES if any(files.has(f"{prefix}/{mark}") for mark in marks)]


def staged_directories(interpreter: Interpreter, root: str) -> OwnDirectories:
    """Returns an interpreter's directories inside a root, from what is there: no `sysconfig` in it can be asked.

    Those of packages may be missing; the standard library has none where the root has none for this interpreter.
    """
    name = interpreter.library
    tops = [f"{prefix}/{library}" for prefix in prefixes_with(interpreter, root) or ["/usr"] for library in _LIBRARIES]
    packages = ("python3/dist-packages", f"{name}/site-packages", f"{name}/dist-packages")
    library = tuple(path for path in (f"{top}/{name}" for top in tops) if locate(root, path))
    has_library = any(is_library(path, partial(locate, root)) for path in library)
    return OwnDirectories(
        tuple(f"{top}/{directory}" for top in tops for directory in packages), library if has_library else ()
    )


def require_same_magic(interpreter: Interpreter, root: str) -> None:
    """Raise InterpreterError unless the root's interpreter, if it has one, is seen to have the same magic number."""
    # A package's payload has none: the installed system's interpreter is, by its version, the host's.
    for prefix in prefixes_with(interpreter, root):
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
    files = files_inside(root)
    for library in _LIBRARIES:
        home = f"{prefix}/{library}/{interpreter.library}"
        with contextlib.suppress(OSError):
            match = _MAGIC.search(files.read(f"{home}/importlib/_bootstrap_external.py"))
            if match:
                return int(match[1]).to_bytes(4, "little")[:2] + b"\r\n"
        for module in ("os", "re", "abc", "io", "stat"):
            with contextlib.suppress(OSError):
                head = files.read(f"{home}/__pycache__/{module}.{interpreter.cache_tag}.pyc")[:4]
                if len(head) == 4:
                    return head
    return None


def interpreter_inside(flavour: Flavour, root: str, probed: ProbedInterpreters) -> Interpreter:
    """Returns the root's own interpreter, run after a chroot(2).

    Raises InterpreterError, UsageError and RefusedError.
    """
    if os.geteuid() != 0:
        raise UsageError("--trust-root needs root's rights, for chroot(2)", hint="run as root, or leave it out")
    top = os.path.realpath(root)
    named = [f"{prefix}/bin/{flavour.called or flavour.library}" for prefix in _PREFIXES]
    for path in [flavour.path] if flavour.path is not None and flavour.called is None else named:
        if os.path.isfile(top + path) or os.path.islink(top + path):
            interpreter = probed.ask(path, root=top)
            interpreter.require(flavour)
            return interpreter
    raise InterpreterError(f"{root} has no {flavour.name}", hint="name it with --python PATH, as seen inside")
