"""What a target can't do as it was asked: known before anything is looked at."""

from __future__ import annotations

import os
import stat

from ...errors import RightsError, UsageError
from ...interpreter.interpreter import Interpreter
from ...pyc.header import InvalidationMode
from ...tree.identity import ForeignPlaceError
from .request import Request
from .target import Target


def check_target(target: Target, request: Request) -> list[str]:
    """Notices about what this target can't do as it was asked. Raises UsageError where it can't be done at all."""
    scope = request.scope
    notices = []
    if scope.pycache_prefix is not None:
        notices += _check_pycache_prefix(target, request, scope.pycache_prefix)
    if scope.root is not None and not (scope.site_dirs or scope.prefixes):
        notices += _tell_mounts(target.interpreter, scope.root)
    mode = request.bytecode.invalidation_mode
    if mode not in (None, InvalidationMode.TIMESTAMP) and not target.header.has_modes:
        flavour = target.interpreter.flavour
        notices.append(f"{flavour} knows no hash-based bytecode (it came with 3.7); timestamps are written")
    return notices


def _make(prefix: str) -> None:
    from ...tree.making import make_directories  # most runs have no prefix

    try:
        make_directories(prefix)
    except ForeignPlaceError:
        from ...outcome.observer import Observer
        from .forked import Apart, DeathError, NoProcessError

        try:
            Apart(Observer()).perform(lambda line, relay: make_directories(prefix))
        except (DeathError, NoProcessError) as error:
            raise OSError(0, f"no process can be had that acts as whose place it is ({error})") from error


def _tell_mounts(interpreter: Interpreter, root: str) -> list[str]:
    """A site directory below a mount isn't there for us, and somebody misses it."""
    from .places import HINT_FOR_MOUNT, lies_on_mount
    from .staged import staged_places

    found = [path for path in staged_places(interpreter, root) if lies_on_mount(root, path)]
    return [f"{', '.join(found)}: mounts below a root aren't entered; {HINT_FOR_MOUNT}"] if found else []


def _check_pycache_prefix(target: Target, request: Request, prefix: str) -> list[str]:
    if target.interpreter.version < (3, 8, 0):
        raise UsageError(
            f"--pycache-prefix: {target.interpreter.flavour} knows no pycache prefix", hint="it came with Python 3.8"
        )
    if (
        request.running.hook and request.scope.root is None and not request.running.dry_run
    ):  # a person's has to be there
        try:
            _make(prefix)
        except OSError as error:
            if isinstance(error, PermissionError) and os.geteuid() != 0:
                raise RightsError(f"--pycache-prefix {prefix}: {error.strerror}") from error
            raise UsageError(
                f"--pycache-prefix {prefix}: {error.strerror}", hint="name a directory to write"
            ) from error
    try:
        status = os.stat((request.scope.root or "") + prefix)
    except OSError:
        return []
    if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
        return [f"{prefix} is writable by all: whoever writes there decides what every importer runs; chmod o-w it"]
    return []
