"""Which interpreters a request means: the named ones, those of its environments, or every one found."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Union

from ...errors import InterpreterError, NoEnvironmentError, PyctriggerError, RefusedError, UsageError
from ...interpreter.flavour import Flavour, installed, not_found
from ...interpreter.interpreter import Interpreter
from ...interpreter.scope import has_packages
from ...state.probed import ProbedInterpreters
from .config import Settings
from .places import locate
from .request import Request, Work

Found = Union[Interpreter, PyctriggerError]


def find_interpreters(request: Request, settings: Settings, probed: ProbedInterpreters) -> Iterator[Found]:
    """Every interpreter that the request means, once; in the place of one that can't be used, the error."""
    scope = request.scope
    if scope.pythons:
        for text in scope.pythons:
            yield _answer(_find, text, request, settings, probed)
    elif scope.cache_tag is not None:
        yield from _with_cache_tag(scope.cache_tag, probed)
    elif scope.prefixes and scope.root is None:
        for prefix in scope.prefixes:
            yield _answer(_of_environment, prefix, probed)
    else:
        yield from _every_one(request, probed)


def _answer(ask: Callable[..., Interpreter], *arguments: object, **options: object) -> Found:
    try:
        return ask(*arguments, **options)
    except (InterpreterError, RefusedError, UsageError) as error:
        return error


def _find(text: str, request: Request, settings: Settings, probed: ProbedInterpreters) -> Interpreter:
    """The interpreter behind one `--python`. Raises UsageError, InterpreterError and RefusedError."""
    scope = request.scope
    flavour = Flavour.parse(text)
    own = _own_of_environment(flavour, request, probed)
    if own is not None and _answers(flavour, own):
        return own
    configured = settings.flavours.get(flavour.dotted) if flavour.path is None else None
    candidates = flavour.candidates(configured.executable if configured else None)
    if scope.root is not None:
        from .staged import staged_interpreter

        return staged_interpreter(flavour, candidates, scope.root, probed, execute=scope.trust_root)
    problem: PyctriggerError | None = None
    if own is not None:
        is_another = f"{scope.prefixes[0]} is an environment of {own.flavour}, not of {flavour.name}"
        problem = NoEnvironmentError(is_another, hint=f"use --python {own.flavour}, or leave it out")
    for path in candidates:
        try:
            interpreter = probed.ask(path)
            interpreter.require(flavour)
            if own is None or has_packages(interpreter, scope.prefixes[0], lambda place: locate(None, place)):
                return interpreter
        except (InterpreterError, RefusedError) as error:
            problem = problem or error
    may_be_gone = request.work is Work.PURGE or (
        request.work is Work.RUN and request.running.hook and not request.running.defer
    )
    if may_be_gone and not any(os.path.lexists(path) for path in candidates):
        from . import absent

        try:
            return absent.gone(text, probed, request.transaction.manager)
        except UsageError:
            if request.work is Work.PURGE:
                raise
    raise problem or not_found(flavour.name)


def _with_cache_tag(tag: str, probed: ProbedInterpreters) -> Iterator[Found]:
    from . import absent

    try:
        yield from absent.with_cache_tag(tag, probed)
    except UsageError as error:
        yield error


def _own_of_environment(flavour: Flavour, request: Request, probed: ProbedInterpreters) -> Interpreter | None:
    """An environment's own interpreter, where a flavour is wanted, or what it calls by that name, and it can be had."""
    scope = request.scope
    if scope.root is not None or not scope.prefixes or (flavour.path is not None and flavour.called is None):
        return None
    try:
        if flavour.called is None:
            return _of_environment(scope.prefixes[0], probed)
        named = os.path.join(scope.prefixes[0], "bin", flavour.called)
        return probed.ask(named) if os.path.isfile(named) else None
    except (InterpreterError, RefusedError, UsageError):
        return None  # another of its flavour may do


def _answers(flavour: Flavour, interpreter: Interpreter) -> bool:
    try:
        interpreter.require(flavour)
    except InterpreterError:
        return False
    return True


def _of_environment(prefix: str, probed: ProbedInterpreters) -> Interpreter:
    broken = None
    for name in ("python", "python3", "pypy3"):
        path = os.path.join(prefix, "bin", name)
        if os.path.isfile(path):
            return probed.ask(path)
        broken = broken or (path if os.path.islink(path) else None)
    if broken is not None:
        raise _broken(broken)
    raise UsageError(f"{prefix} has no interpreter in its bin", hint="name one with --python PATH")


def _broken(link: str) -> InterpreterError:
    """The error for an environment's interpreter that can't be reached: it went, or this account may not."""
    goal = os.path.realpath(link)
    try:
        os.stat(goal)
    except PermissionError as error:
        reason = f"{link} leads to {goal}: {error.strerror}"
        return InterpreterError(reason, hint="run it as an account that may, or name an interpreter with --python PATH")
    except OSError:
        pass
    return InterpreterError(
        f"{link} leads to {goal}, which isn't there",
        hint="make the environment anew, or name an interpreter with --python PATH",
    )


def _every_one(request: Request, probed: ProbedInterpreters) -> Iterator[Found]:
    scope = request.scope
    seen = set()
    is_told = False
    for found in _all_installed(request, probed):
        if isinstance(found, PyctriggerError):
            is_told = True
            yield found
        elif found.installation not in seen:
            seen.add(found.installation)
            yield found
    if scope.root is None and (request.work is Work.PURGE or (request.running.hook and not request.running.defer)):
        from . import absent

        for gone in absent.remembered(probed):
            seen.add(gone.installation)
            yield gone
    if is_told and scope.root is not None:
        return
    if not seen and scope.prefixes:
        message = f"{scope.prefixes[0]} in {scope.root}: no environment of an interpreter of this system"
        yield UsageError(message, hint="install that Python here, or let the root's own run with --trust-root")
    elif not seen and scope.root is not None:
        message = f"--root {scope.root}: it contains no packages of this system's Pythons"
        yield InterpreterError(message, hint="name a Python with --python V, and let the root's run with --trust-root")
    elif not seen:
        yield InterpreterError("no interpreter was found", hint="name one with --python PATH")


def _all_installed(request: Request, probed: ProbedInterpreters) -> Iterator[Found]:
    """Every installed interpreter; for a staged root one of each flavour that it has anything of."""
    scope = request.scope
    stand_ins: dict[Flavour, list[str]] = {}
    for path in installed():
        found = _answer(probed.ask, path)
        if scope.root is None or isinstance(found, PyctriggerError):
            yield found
        elif _has_scope(found, request, scope.root):
            stand_ins.setdefault(found.kind, []).append(path)
    if scope.root is None:
        return
    from .staged import staged_interpreter

    for flavour, paths in stand_ins.items():
        yield _answer(staged_interpreter, flavour, paths, scope.root, probed, execute=scope.trust_root)


def _has_scope(interpreter: Interpreter, request: Request, root: str) -> bool:
    """Whether a staged root has anything for an interpreter of this machine; unasked, the others don't matter."""
    scope = request.scope
    if scope.site_dirs:
        return True
    from .staged import staged_library, staged_site_directories

    if scope.prefixes:
        return has_packages(interpreter, scope.prefixes[0], lambda path: locate(root, path))
    if staged_site_directories(interpreter, root):
        return True
    return scope.stdlib and bool(staged_library(interpreter, root))
