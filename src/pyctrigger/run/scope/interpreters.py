"""Which interpreters a request means: the named ones, those of its environments, every one found, and absent ones.

Bytecode of an interpreter that is gone may still be there. What a purge needs to know of the interpreter was kept when
it was probed, or follows from its cache tag.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain

from ...errors import InterpreterError, NoEnvironmentError, PyctriggerError, RefusedError, UsageError
from ...interpreter.flavour import Flavour, installed, not_found
from ...interpreter.interpreter import Interpreter
from ...interpreter.scope import has_packages
from ...state.probed import ProbedInterpreters
from ...typed import Union
from .config import Settings
from .places import locate
from .request import Request, Work

#: What an environment's interpreter is called in its `bin`.
_NAMES = ("python", "python3", "pypy3")

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


def _answer(ask: Callable[..., Interpreter], *arguments: object) -> Found:
    try:
        return ask(*arguments)
    except (InterpreterError, RefusedError, UsageError) as error:
        return error


def _find(text: str, request: Request, settings: Settings, probed: ProbedInterpreters) -> Interpreter:
    """The interpreter behind one `--python`. Raises UsageError, InterpreterError and RefusedError."""
    flavour = Flavour.parse(text)
    scope, own = request.scope, None
    if scope.root is None and scope.prefixes and (flavour.path is None or flavour.called is not None):
        # An environment's own, or what it calls by that name; if it can't be had, another of its flavour may do.
        names = (flavour.called,) if flavour.called else _NAMES
        answer = _answer(_of_environment, scope.prefixes[0], probed, names)
        own = answer if isinstance(answer, Interpreter) else None
    if own is not None and (flavour.path is not None or flavour == own.kind):
        return own
    candidates = settings.candidates(flavour)
    try:
        return _pick(flavour, candidates, request, probed, own)
    except PyctriggerError:
        if scope.root is not None or not _serves_absent(request) or any(map(os.path.lexists, candidates)):
            raise
        absent = _find_absent(flavour, probed, request.transaction.manager)
        if absent is not None:
            return absent
        if request.work is Work.PURGE:
            message = f"{flavour.path} is gone and was never probed"
            raise UsageError(message, hint="name its --cache-tag") from None
        raise


def _pick(
    flavour: Flavour, paths: list[str], request: Request, probed: ProbedInterpreters, own: Interpreter | None = None
) -> Interpreter:
    """The first of these executables that can compile what is asked for, where an environment's `own` can't.

    For a staged root that is one with the same magic number, or with `--trust-root` the root's own. Raises UsageError,
    InterpreterError and RefusedError.
    """
    scope = request.scope
    problem: PyctriggerError | None = None
    if scope.root is not None:
        from .staged import interpreter_inside, require_same_magic

        if scope.trust_root:
            return interpreter_inside(flavour, scope.root, probed)
    if own is not None:
        is_another = f"{scope.prefixes[0]} is an environment of {own.flavour}, not of {flavour.name}"
        problem = NoEnvironmentError(is_another, hint=f"use --python {own.flavour}, or leave it out")
    for path in paths:
        try:
            interpreter = probed.ask(path)
            interpreter.require(flavour)
            if scope.root is not None:
                require_same_magic(interpreter, scope.root)
            if own is None or has_packages(interpreter, scope.prefixes[0], partial(locate, None)):
                return interpreter
        except (InterpreterError, RefusedError) as error:
            problem = problem or error
    if problem is None and scope.root is not None:
        problem = InterpreterError(
            f"no {flavour.name} on this machine can compile for {scope.root}",
            hint="install it, name it with --python PATH, or let the root's own run with --trust-root",
        )
    raise problem or not_found(flavour.name)


def _of_environment(prefix: str, probed: ProbedInterpreters, names: tuple[str, ...] = _NAMES) -> Interpreter:
    paths = [os.path.join(prefix, "bin", name) for name in names]
    for path in filter(os.path.isfile, paths):
        return probed.ask(path)
    for path in filter(os.path.islink, paths):
        raise _broken(path)
    raise UsageError(f"{prefix} has no interpreter in its bin", hint="name one with --python PATH")


def _broken(link: str) -> InterpreterError:
    """The error for an environment's interpreter that can't be reached: it went, or this account may not."""
    goal = os.path.realpath(link)
    reason, hint = f"{link} leads to {goal}, which isn't there", "make the environment anew"
    try:
        os.stat(goal)
    except PermissionError as error:
        reason, hint = f"{link} leads to {goal}: {error.strerror}", "run it as an account that may"
    except OSError:
        pass
    return InterpreterError(reason, hint=f"{hint}, or name an interpreter with --python PATH")


def _every_one(request: Request, probed: ProbedInterpreters) -> Iterator[Found]:
    scope = request.scope
    seen = set()
    has_errors = False
    absent = _remembered(probed) if scope.root is None and _serves_absent(request) else ()
    for found in chain(_all_installed(request, probed), absent):
        if isinstance(found, PyctriggerError):
            has_errors = True
        elif found.installation in seen:
            continue
        else:
            seen.add(found.installation)
        yield found
    if seen or (has_errors and scope.root is not None):
        return
    if scope.root is None:
        yield InterpreterError("no interpreter was found", hint="name one with --python PATH")
    elif scope.prefixes:
        message = f"{scope.prefixes[0]} in {scope.root}: no environment of an interpreter of this system"
        yield UsageError(message, hint="install that Python here, or let the root's own run with --trust-root")
    else:
        message = f"--root {scope.root}: it contains no packages of this system's Pythons"
        yield InterpreterError(message, hint="name a Python with --python V, and let the root's run with --trust-root")


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
    for flavour, paths in stand_ins.items():
        yield _answer(_pick, flavour, paths, request, probed)


def _has_scope(interpreter: Interpreter, request: Request, root: str) -> bool:
    """Whether a staged root has anything for an interpreter of this machine; unasked, the others don't matter."""
    scope = request.scope
    if scope.site_dirs:
        return True
    if scope.prefixes:
        return has_packages(interpreter, scope.prefixes[0], partial(locate, root))
    from .staged import staged_directories

    own = staged_directories(interpreter, root)
    return any(locate(root, path) for path in own.packages) or (scope.stdlib and bool(own.library))


def _with_cache_tag(tag: str, probed: ProbedInterpreters) -> list[Found]:
    """The interpreters of a cache tag: those installed, else one probed before it went, else what the tag itself says.

    For a tag that says nothing an error.
    """
    known = [each for each in _installed(probed) if each.cache_tag == tag]
    known = known or [each for each in _remembered(probed) if each.cache_tag == tag][:1]
    if known:
        return [*known]
    flavour = Flavour.of_cache_tag(tag)
    unknown = UsageError(f"--cache-tag {tag}: not known", hint="use a tag such as cpython-311 or pypy311")
    return [unknown if flavour is None else _as_named(flavour)]


def _serves_absent(request: Request) -> bool:
    """Whether an interpreter may be gone: for a purge, and for a hook, which then purges."""
    return request.work is Work.PURGE or (request.running.hook and not request.running.defer)


def _remembered(probed: ProbedInterpreters) -> Iterator[Interpreter]:
    """The interpreters of this system that were probed before they went, and haven't come back by another path."""
    # An environment's has the environment's packages, and says nothing of the installation that it borrows. What
    # another account's has said of itself is that account's word.
    known = [each for each in probed.known() if each.root is None and not each.environment and each.account is None]
    here = {each.installation for each in (*_installed(probed), *known) if not each.is_gone}
    yield from (each for each in known if each.is_gone and each.installation not in here)


def _find_absent(flavour: Flavour, probed: ProbedInterpreters, manager: str | None) -> Interpreter | None:
    """An interpreter that is gone. None for a path that was never probed.

    `manager` is the package manager that kept its packages, where that is known.
    """
    if flavour.path is not None:
        return next((each for each in probed.known() if each.executable == flavour.path), None)
    return next((each for each in _remembered(probed) if each.kind == flavour), None) or _as_named(flavour, manager)


def sharing(interpreter: Interpreter, probed: ProbedInterpreters, root: str | None) -> list[Interpreter]:
    """Other installed interpreters with the same cache tag: 3.13 and 3.13t share pycs where they share a directory.

    Of a staged root, those that it has as well; which installation of a flavour compiles for it is all the same there.
    """
    from .staged import prefixes_with

    return [
        each
        for each in _installed(probed)
        if each.cache_tag == interpreter.cache_tag
        and each.installation != interpreter.installation
        and (root is None or (each.flavour != interpreter.flavour and prefixes_with(each, root)))
    ]


def _installed(probed: ProbedInterpreters) -> Iterator[Interpreter]:
    answers = (_answer(probed.ask, path) for path in installed())
    return (each for each in answers if isinstance(each, Interpreter))  # what can't run uses no bytecode


def _as_named(flavour: Flavour, manager: str | None = None) -> Interpreter:
    """What the name of a flavour says of an interpreter: no `sysconfig` is left to say where its packages are."""
    from ...packages.every import MANAGERS  # only where one is gone

    kinds = [MANAGERS[manager]] if manager else [kind for kind in MANAGERS.values() if kind().is_present]
    sites = [site for kind in kinds for site in kind.site_directories(flavour.library)]
    sites = sites or [f"/usr/lib/{flavour.library}/site-packages"]
    library = f"/usr/lib/{flavour.library}"
    return Interpreter(
        executable="",
        implementation=flavour.implementation,
        version=(*flavour.version, 0),
        release="",
        cache_tag=flavour.cache_tag,
        magic_number=bytes(4),
        abi_flags="",
        free_threaded=flavour.free_threaded,
        prefix="/usr",
        schemes={"posix_prefix": {"purelib": sites[0], "platlib": sites[-1], "stdlib": library}},
        default_scheme="posix_prefix",
        inside=(f"/@/lib/{flavour.library}/site-packages",),
    )
