"""Whom a monitor asks about: the interpreters that are named, else those that runs have served and that are there."""

from __future__ import annotations

import os
from collections.abc import Iterator

from ...errors import PyctriggerError
from ...interpreter.interpreter import Interpreter
from ...run.operation import divided
from ...run.scope.config import Settings
from ...run.scope.interpreters import find_interpreters
from ...run.scope.places import real_prefix
from ...run.scope.request import Request
from ...run.scope.target import Target
from ...stamps import inode_of
from ...state.probed import ProbedInterpreters
from ...state.store import Store


def find_watched(
    request: Request, settings: Settings, probed: ProbedInterpreters, store: Store
) -> Iterator[tuple[Target, PyctriggerError | None]]:
    """Yields each of them once, and what is wrong with it. Raises PyctriggerError for what is named and isn't there."""
    scope = request.scope
    root = None if scope.root is None else inode_of(os.stat(scope.root))
    named = scope.pythons or scope.prefixes or scope.prefixes_below
    seen = set()
    for interpreter, error, prefix in _named(request, settings, probed) if named else _served(request, probed, store):
        environment = None if prefix is None else real_prefix(scope.root, prefix)
        target = Target(interpreter, (), root, prefix, environment)
        if target.installation not in seen:
            seen.add(target.installation)
            yield target, error


#: An interpreter, what is wrong with it, and the environment that it serves.
_Found = tuple[Interpreter, "PyctriggerError | None", "str | None"]


def _named(request: Request, settings: Settings, probed: ProbedInterpreters) -> Iterator[_Found]:
    errors: list[PyctriggerError] = []
    for part in divided(request, lambda _: None, errors):
        for found in find_interpreters(part, settings, probed):
            if isinstance(found, PyctriggerError):
                raise found
            own = found.environment if not (part.scope.site_dirs or part.scope.root) else None
            yield found, None, part.scope.prefixes[0] if part.scope.prefixes else own
    for error in errors:
        raise error


def _served(request: Request, probed: ProbedInterpreters, store: Store) -> Iterator[_Found]:
    root = None if request.scope.root is None else os.path.realpath(request.scope.root)
    # Of an environment's interpreter and the one that it borrows from, that one is meant by what both have in common.
    for known in sorted(probed.known(), key=lambda each: each.environment is not None):
        if known.is_gone or known.root not in (None, root):
            continue
        if known.environment and not os.path.isdir(os.path.join(store.base or "", known.installation)):
            continue  # it serves its environment alone
        yield (*_ask(known, probed), None)
    executables = {known.executable: known for known in probed.known()}
    for each in store.environments() if root is None else ():
        if each.executable in executables and os.path.lexists(each.prefix):
            yield (*_ask(executables[each.executable], probed), each.prefix)


def _ask(known: Interpreter, probed: ProbedInterpreters) -> tuple[Interpreter, PyctriggerError | None]:
    try:
        return probed.ask(known.executable, root=known.root), None
    except PyctriggerError as error:
        return known, error
