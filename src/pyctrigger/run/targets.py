"""What a request is about: the targets that it means, each with the paths that lie in its scope."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..errors import InterpreterError, NoEnvironmentError, OutsideScopeError, PyctriggerError
from ..interpreter.scope import own_directories
from ..outcome.observer import Observer
from ..outcome.report import Report
from ..state.probed import ProbedInterpreters
from ..state.store import Store
from .backlog import KEPT, Unidentified
from .scope.config import Settings
from .scope.interpreters import find_interpreters
from .scope.paths import home_of
from .scope.request import Request, Work
from .scope.target import Assignment, Target, find_target, keep_shared, told_apart


def divided(request: Request, notice: Callable[[str], None], errors: list[PyctriggerError]) -> list[Request]:
    """The request, or one for each environment that it means; what keeps one from being found goes to `errors`."""
    scope = request.scope
    names_one = len(scope.prefixes) < 2 and not scope.prefixes_below
    if names_one and (request.running.hook or scope.site_dirs or scope.prefixes or not request.transaction.paths):
        return [request]
    from .scope.environments import divide  # not for a hook of the system's

    return divide(request, notice, errors)


def find_assignments(
    request: Request, settings: Settings, store: Store, probed: ProbedInterpreters, report: Report
) -> list[Assignment]:
    """The targets of a request about one environment, or about none."""
    scope = request.scope
    assignments: list[Assignment] = []
    errors: list[PyctriggerError] = []
    for number, found in enumerate(find_interpreters(request, settings, probed)):
        try:
            if isinstance(found, InterpreterError) and scope.pythons:
                _keep_unserved(scope.pythons[number], request, settings, store, found)
            if isinstance(found, PyctriggerError):
                raise found
            target = find_target(found, request, settings)
            if (request.work is Work.PURGE and scope.pythons) or target.interpreter.is_gone:
                target = _spare_shared(target, request, settings, probed, report)
            # Under two names, as `3.13` and `python3`, it is served once.
            others = [each.target for each in assignments]
            if all((target.installation, target.sites) != (each.installation, each.sites) for each in others):
                assignments.append(Assignment.of(target, request))
        except PyctriggerError as error:
            errors.append(error)
    # An environment is of one of the flavours that were named, not of all; and one that was found may be of none.
    is_served = bool(assignments) or bool(scope.prefixes_below)
    report.errors += [error for error in errors if not (is_served and isinstance(error, NoEnvironmentError))]
    return assignments


def _keep_unserved(text: str, request: Request, settings: Settings, store: Store, error: InterpreterError) -> None:
    """A hook's work for an interpreter that is there and can't be started now: the next run does it."""
    if (
        not (request.work is Work.RUN and (request.running.hook or request.running.defer))
        or request.running.dry_run
        or request.scope.root
    ):
        return
    if Unidentified(store).keep(text, request, settings):
        error.hint = KEPT


def _spare_shared(
    target: Target, request: Request, settings: Settings, probed: ProbedInterpreters, report: Report
) -> Target:
    """A purge of one flavour leaves the directories whose pycs another flavour of the same cache tag uses."""
    scope = request.scope
    from .scope import absent

    if scope.site_dirs or scope.prefixes:
        return target  # they are no other interpreter's own
    sharing = absent.sharing(target.interpreter, probed, scope.root)
    spared, shared = keep_shared(target, [find_target(each, request, settings) for each in sharing], scope.root)
    for path in shared:
        report.notices.append(f"{path} is left as it is: another interpreter with this cache tag uses its bytecode")
    return spared


def lie_inside(request: Request, assignments: list[Assignment], report: Report, observer: Observer) -> bool:
    """Name the paths that lie in no flavour's scope: an error, but for a hook, which leaves them out."""
    if not request.transaction.paths or not assignments:
        return True
    outside: set[str] = set()
    inside: set[str] = set()
    for _, own, touched in assignments:
        strangers = set(touched.outside)
        outside |= strangers
        inside.update(path for path in own.transaction.paths or () if path not in strangers)
    outside -= inside
    if not outside:
        return True
    concerned = [each.target for each in assignments if not outside.isdisjoint(each.request.transaction.paths or ())]
    sites = list(dict.fromkeys(site.path for target in concerned for site in target.sites))
    error = OutsideScopeError(
        sorted(outside), ", ".join(told_apart(concerned)), sites, hint=_widening(request, outside, concerned)
    )
    if request.running.hook:
        observer.notice(str(error))
        return True
    report.errors.append(error)
    return False


def _widening(request: Request, outside: Iterable[str], targets: Iterable[Target]) -> str:
    """What takes the paths into the scope."""
    scope = request.scope
    if scope.prefixes or scope.prefixes_below:
        return "leave out --prefix, or name paths inside it"
    if scope.site_dirs:
        return "name their directory with --site-dir as well"
    library = [path for target in targets for path in own_directories(target.interpreter).library]
    is_library = not scope.stdlib and all(home_of(path, library) for path in outside)
    return "add --stdlib" if is_library else "name their directory with --site-dir, or their environment with --prefix"
