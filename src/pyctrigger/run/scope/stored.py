"""What is stored for a request: its configuration, its state, and the interpreters that were asked before."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from functools import partial

from ...errors import PyctriggerError, UsageError
from ...outcome.observer import Observer
from ...state.locations import BSD, LINUX, require_private, state_directory
from ...state.probed import ProbedInterpreters
from ...state.store import Store
from . import config as configuration
from .config import Settings
from .places import is_inside, require_named
from .request import Request


def open_state(request: Request) -> tuple[Settings, Store, ProbedInterpreters]:
    """What is known before anything is looked at. Raises UsageError, ConfigurationError and RefusedError."""
    return (load_settings(request)[0], *open_known(request))


def load_settings(request: Request) -> tuple[Settings, PyctriggerError | None]:
    """The configuration; a hook that can't have it notes its work for a time when it can, so its trouble is a value."""
    running = request.running
    try:
        return configuration.load(running.config, hook=running.hook), None
    except PyctriggerError as error:
        if not running.hook or running.stateless or running.dry_run:
            raise
        return configuration.Settings(), error


def open_known(request: Request, observer: Observer | None = None) -> tuple[Store, ProbedInterpreters]:
    """Its state, and the interpreters that are known. Raises UsageError and RefusedError."""
    require_named(request)
    changes = request.work.writes and not request.running.dry_run
    base, notice = _state_base(request), (observer or Observer()).notice
    if request.scope.root is not None and base is not None:
        store = _store_of_root(base, request, notice, create=changes)
    else:
        store = Store(base, notice, create=changes, hurries=request.running.hook, stateless=request.running.stateless)
    return store, ProbedInterpreters(store.base, keep=changes)


def _state_base(request: Request) -> str | None:
    """The directory of all state; that of a root is kept below it."""
    running = request.running
    if running.stateless:
        return None
    if running.state_dir is None:
        return state_directory()
    require_private(running.state_dir)
    if request.scope.root not in (None, "/") and is_inside(running.state_dir, str(request.scope.root)):
        raise UsageError(
            f"--state-dir {running.state_dir}: is in {request.scope.root}, and state there isn't trusted",
            hint="name a directory outside, or use --stateless",
        )
    return running.state_dir


def _store_of_root(base: str, request: Request, notice: Callable[[str], None], *, create: bool) -> Store:
    """The state of a root, below this system's state directory `base`. Raises RefusedError."""
    from ...state.roots import state_of_root  # not for this system's own hooks

    root = str(request.scope.root)
    try:
        state = state_of_root(base, root)
        if create:
            state.claim(notice, partial(_has_old_state, root))
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
    from ...tree.directory import open_in_root

    for place in (LINUX.state, BSD.state):
        with contextlib.suppress(OSError):
            descriptor = open_in_root(root, place)
            try:
                with os.scandir(descriptor) as entries:
                    if next(entries, None) is not None:
                        return True
            finally:
                os.close(descriptor)
    return False
