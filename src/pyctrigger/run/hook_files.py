"""The hooks of a system: which there are for a flavour, what stands in them; put them there, take them away."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import PyctriggerError, RefusedError, UsageError
from ..interpreter.flavour import Flavour, installed
from ..interpreter.scope import own_directories
from ..outcome.outcome import path_fields
from ..outcome.report import Report
from ..packages.every import HOOKS, MANAGERS
from ..packages.hook import HookFile, Subject
from ..packages.owners import owners_of
from ..state.before import ABSENT, Past, Record, Standing
from ..state.interpreters import ProbedInterpreters
from ..state.locations import state_directory
from ..tree.identity import ForeignPlaceError
from .hook_place import HookPlace
from .scope.root_files import files_of
from .scope.target import require_root
from .standing_hooks import StandingHook, is_first_of_version, is_ours, rivals, standing_hooks

if TYPE_CHECKING:
    from collections.abc import Iterator


class HookRequest(NamedTuple):
    """One call of `pyctrigger hooks`."""

    action: str
    program: tuple[str, ...]
    """What the hooks are to start."""
    manager: str | None = None
    pythons: tuple[str, ...] = ()
    root: str | None = None
    site_dirs: tuple[str, ...] = ()
    dry_run: bool = False
    state_dir: str | None = None
    """Where it is remembered what was there before; None: where all state is."""
    stateless: bool = False
    force: bool = False
    """Replace what isn't ours, and install a hook beside another one."""


class Hook(NamedTuple):
    """One hook file of a system, as it should be and as it is."""

    manager: str
    flavour: str
    file: HookFile
    state: str
    """absent, installed, or different: a file of this name that says something else."""
    done: str = ""
    """What this call did: installed, removed, restored (removed, and what was there before is back), or nothing; kept:
    it was changed since it was installed, or a package owns it, and stays; refused: somebody else's file is there, or
    another hook does the same."""
    owner: str | None = None
    """The package that owns it, and that it so was kept for."""
    reason: str | None = None
    """Why it was refused."""
    served: str = ""
    """For which Python it is: its flavour, or the path of another interpreter of it."""

    def as_dict(self) -> dict[str, Any]:
        """The hook's part of the JSON object."""
        return {
            "manager": self.manager,
            "flavour": self.flavour,
            **path_fields("path", self.file.path),
            "state": self.state,
            "done": self.done,
            "owner": self.owner,
            "reason": self.reason,
            "text": self.file.text,
        }


class HookReport(Report):
    """What became of the hooks."""

    def __init__(self, action: str, *, dry_run: bool) -> None:
        super().__init__("hooks", dry_run=dry_run)
        self.action = action
        self.hooks: list[Hook] = []
        #: For `list`: all that the system has, also those that aren't made here.
        self.standing: list[StandingHook] = []

    @property
    def exit_code(self) -> int:
        """1 where something that was to go, or was in the way, had to stay."""
        return max(super().exit_code, any(hook.done in ("kept", "refused") for hook in self.hooks))

    def as_dict(self) -> dict[str, Any]:
        return {
            **super().as_dict(),
            "action": self.action,
            "hooks": [hook.as_dict() for hook in self.hooks],
            "standing": [hook.as_dict() for hook in self.standing],
        }


def manage_hooks(request: HookRequest) -> HookReport:
    """Do what is asked for. Raises UsageError, InterpreterError, RefusedError, LockTimeoutError."""
    try:
        return _manage(request)
    except ForeignPlaceError as foreign:
        from ..outcome.observer import Observer
        from .scope.forked import Apart, DeathError, NoProcessError

        try:
            report: HookReport = Apart(Observer()).perform(lambda line, relay: _manage(request))
        except (NoProcessError, DeathError) as error:
            raise RefusedError(
                f"account {foreign.uid} may rename in --root {request.root}, and no process can be had that acts as it "
                f"({error})",
                mend="run it as that account",
            ) from error
        return report


def _manage(request: HookRequest) -> HookReport:
    _check(request)
    report = HookReport(request.action, dry_run=request.dry_run)
    subjects = list(_subjects(request))
    past = Past(None if request.stateless else request.state_dir or state_directory())
    changes = request.action in ("install", "uninstall") and not request.dry_run
    with past.held() if changes else contextlib.nullcontext():
        places = []
        for name in [request.manager] if request.manager else _managers_of(request.root):
            for subject in subjects:
                for file in HOOKS[name](subject):
                    place = HookPlace(request.root, file.path, past)
                    found = file if request.action == "install" else _as_it_stands(place, file, name, subject, request)
                    state = _state(place.look(), found)
                    places.append((Hook(name, subject.flavour, found, state, served=subject.served), place))
        if request.action in ("list", "install"):
            standing = standing_hooks(request.root, report.notices.append)
            if request.action == "list":
                _list_standing(report, request, standing, [subject.served for subject in subjects])
            elif not request.force:
                places = [(_checked(hook, place, past, standing), place) for hook, place in places]
        if any(hook.done == "refused" for hook, _ in places):
            report.hooks += [hook for hook, _ in places]  # half of a hook would be worse than none
            return report
        report.hooks += [_serve(request, hook, place, past) for hook, place in places]
    return report


def _as_it_stands(place: HookPlace, file: HookFile, manager: str, subject: Subject, request: HookRequest) -> HookFile:
    """The hook for the same interpreter that was made for it under its other name, if that is what stands there."""
    if _state(place.look(), file) == "different":
        for text in _other_names(subject):
            with contextlib.suppress(PyctriggerError):  # nothing was made for what can't be asked
                for other in HOOKS[manager](_subject(text, request)):
                    if other.path == file.path and _state(place.look(), other) == "installed":
                        return other
    return file


def _other_names(subject: Subject) -> list[str]:
    """The path of a version's first executable, and that version of such a path."""
    return [subject.version] if subject.path else Flavour.parse(subject.version).candidates()[:1]


def _list_standing(report: HookReport, request: HookRequest, standing: list[StandingHook], served: list[str]) -> None:
    """Of what the system has, that which the request is about, and where two of these fire for one Python."""
    if request.manager is not None:
        standing = [hook for hook in standing if hook.manager == request.manager]
    pairs = rivals(standing)
    if request.pythons:
        report.standing = [hook for hook in standing if any(map(hook.is_for, served))]
        pairs = iter(dict.fromkeys(pair for python in served for pair in rivals(standing, python=python)))
    else:
        report.standing = standing
    report.notices += map(_doubled, pairs)


def _checked(hook: Hook, place: HookPlace, past: Past, standing: list[StandingHook]) -> Hook:
    """The hook, refused if there is somebody else's file in its place, or if another one does the same."""
    if hook.state == "installed":
        return hook
    if hook.state == "different" and not _may_replace(place, past):
        return hook._replace(done="refused", reason="a file that isn't ours stands there")
    own = StandingHook(hook.manager, hook.file.path, None, (hook.served,))
    owned = next((each for each in standing if each.path == own.path and each.package is not None), None)
    others = [each for each in standing if each.path != own.path]
    other = next((first for first, second in rivals([*others, own], python=hook.served) if second == own), None)
    masked = next((each for each in others if _masks(own, each)), None)
    found = owned or other or masked
    if found is None:
        return hook
    return hook._replace(done="refused", reason=f"{_named(found)} does the same for {hook.served}")


def _may_replace(place: HookPlace, past: Past) -> bool:
    """Whether a hook of ours stands in a place: as it was installed, of another version, or with other options."""
    standing, known = place.look(), past.hook(place.key)
    return _is_ours(standing) or (known is not None and standing.is_like(known.put))


def _masks(own: StandingHook, other: StandingHook) -> bool:
    """Whether a manager would take our file in the place of the other, which a package has under the same name."""
    return (
        own.manager == other.manager
        and other.package is not None
        and other.masked_by is None
        and os.path.basename(own.path) == os.path.basename(other.path)
    )


def _named(hook: StandingHook) -> str:
    return f"the hook of {hook.origin} ({hook.path})" if hook.package else f"the hook {hook.path}"


def _doubled(pair: tuple[StandingHook, StandingHook]) -> str:
    first, second = pair
    pythons = ", ".join([each for each in second.pythons if first.serves(each)] or first.pythons) or "every Python"
    return (
        f"{first.manager} calls pyctrigger twice for {pythons}: {_named(first)} and {_named(second)}; one is enough: "
        "pyctrigger hooks uninstall removes what hooks install made"
    )


def _check(request: HookRequest) -> None:
    if request.action != "list" and not (request.manager and request.pythons):
        raise UsageError(f"hooks {request.action} needs --manager M and --python V", mend="say for what the hook is")
    kind = MANAGERS.get(request.manager or "")
    package = kind.package_with_hooks if kind else None
    if package is not None and request.action in ("install", "uninstall"):
        verb = "install" if request.action == "install" else "remove"
        raise UsageError(
            f"{request.manager} takes hooks from packages only", mend=f"{verb} the package {package}, which has them"
        )
    if request.root is not None:
        require_root(request.root)


def _managers_of(root: str | None) -> list[str]:
    """Those that run the system, or all of them where none does."""
    present = [name for name, kind in MANAGERS.items() if kind(files_of(root)).is_present]
    return [name for name in present or MANAGERS if MANAGERS[name].package_with_hooks is None]


def _subjects(request: HookRequest) -> Iterator[Subject]:
    seen = set()
    for text in request.pythons or [os.path.basename(path) for path in installed()]:
        try:
            subject = _subject(text, request)
        except PyctriggerError:
            if request.pythons:
                raise
            continue  # found by its name, but what it is can't be told from that
        if subject.name not in seen:
            seen.add(subject.name)
            yield subject


def _subject(text: str, request: HookRequest) -> Subject:
    """What a hook is for, with the path that it is to name, if any.

    By a version alone nothing is started, so that a hook looks the same wherever it is made. A name such as `python3`
    is the version that it has now: a hook's own name and paths are one flavour's. Another executable than the first of
    its version is asked for its own directories, and its hook has a name of its own.
    """
    flavour = Flavour.parse(text)
    if flavour.path is None:
        return _subject_of(flavour, request)
    interpreter = ProbedInterpreters(None).ask(flavour.path)
    found = Flavour(interpreter.implementation, interpreter.version[:2], interpreter.free_threaded)
    is_first = is_first_of_version(flavour.path, found)
    if is_first and flavour.called is not None:
        return _subject_of(found, request)
    own = own_directories(interpreter)
    installation = interpreter.installation_in(None, interpreter.environment)
    return _subject_of(found, request)._replace(
        site_directories=request.site_dirs or _distinct(own.packages),
        libraries=_distinct(own.library),
        path=flavour.path,
        digest="" if is_first else installation.rpartition("-")[2],
    )


def _distinct(paths: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(paths))


def _subject_of(flavour: Flavour, request: HookRequest) -> Subject:
    return Subject(flavour.name, flavour.dotted, flavour.library, flavour.cache_tag, request.program, request.site_dirs)


def _serve(request: HookRequest, hook: Hook, place: HookPlace, past: Past) -> Hook:
    if request.action == "install" and hook.state != "installed":
        if not request.dry_run:
            _install(hook, place, past)
        return hook._replace(done="installed")
    if request.action == "uninstall":
        owner = _owner(request, hook.file.path) if hook.state != "absent" else None
        if owner is not None:
            return hook._replace(done="kept", owner=owner)
        return hook._replace(done=_uninstall(hook, place, past, dry_run=request.dry_run))
    return hook


def _install(hook: Hook, place: HookPlace, past: Past) -> None:
    """Put it there; what stood there is remembered first, or stays."""
    standing, known = place.look(), past.hook(place.key)
    if standing.kind == "other":
        raise place.unusable(OSError(errno.EEXIST, "something that is no file stands there"))
    replaces = known is None or not (_is_ours(standing) or standing.is_like(known.put) or standing == ABSENT)
    before = standing if known is None or replaces else known.before
    if _is_ours(before):
        before = ABSENT  # of another version, or made with other options
    wanted = _wanted(hook.file)
    try:
        past.remember_hook(place.key, Record(wanted, before))
    except OSError as error:
        if before != ABSENT:
            raise UsageError(
                f"{place.seen} is there already, and what it says can't be remembered: {error.strerror}",
                mend="move it away",
            ) from error
    try:
        place.put(wanted)
    except PyctriggerError:
        if known is None:
            past.forget_hook(place.key)
        place.tidy()
        raise


def _uninstall(hook: Hook, place: HookPlace, past: Past, *, dry_run: bool) -> str:
    """Take it away, and put back what stood there before; what was changed since stays. What became of it."""
    standing, known = place.look(), past.hook(place.key)
    done = ""
    if hook.state == "installed" or (known is not None and standing.is_like(known.put)):
        done = "removed" if known is None or known.before == ABSENT else "restored"
    elif _is_ours(standing) or (known is not None and standing not in (ABSENT, known.before)):
        return "kept"
    if dry_run:
        return done
    if done == "restored" and known is not None:
        place.put(known.before, as_it_was=True)
    elif done:
        place.remove()
    past.forget_hook(place.key)
    place.tidy()
    return done


def _owner(request: HookRequest, path: str) -> str | None:
    """The package that a file belongs to, or why nobody knows whether there is one."""
    unknown: list[str] = []
    owner = owners_of([path], files_of(request.root), unknown.append).get(path)
    return str(owner) if owner is not None else next(iter(unknown), None)


def _wanted(file: HookFile) -> Standing:
    return Standing("file", file.text.encode(), file.mode)


def _state(standing: Standing, file: HookFile) -> str:
    if standing == ABSENT:
        return "absent"
    return "installed" if standing.is_like(_wanted(file)) else "different"


def _is_ours(standing: Standing) -> bool:
    """Whether a file that nobody remembers is one of our hooks all the same: the state may be gone."""
    return standing.kind == "file" and is_ours(standing.content)
