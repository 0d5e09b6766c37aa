"""Why bytecode is as it is: for a source, a pyc or a directory, flavour by flavour and level by level."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from ...errors import UsageError
from ...outcome.observer import Observer
from ...outcome.outcome import path_fields
from ...outcome.report import Report, as_printable
from ...packages.ownership import Owner, owners_of
from ...run.scope.forked import look_as_others
from ...run.scope.request import Request, Scope
from ...run.scope.root_files import files_of
from ...run.scope.target import display_names
from ...run.trigger import prepare
from ...state.history import History
from .bytecode import is_directory
from .decisions import Decision, Item, decide, items_of, obstacle_in
from .examiner import Examiner
from .naming import PycPath, clean_paths, directory_of, is_source, read_name

#: Files that are named one by one; the numbers count all.
_MOST_ITEMS = 100
_NOTES = {
    "legacy": "it lies beside its source, without a cache tag: the import system uses it only where there is no source,"
    " and no run touches it",
    "residue": "a killed writer left it behind: a run removes it, or CPython's own once it is an hour old",
    "foreign": "its name matches no interpreter: something else made it, and runs leave it alone",
}


class Branch(NamedTuple):
    """What a run would find in a directory and all below it."""

    sources: int
    fresh: int
    actions: dict[str, int]
    """How often each action."""
    items: tuple[Item, ...]
    """The first of them."""
    obstacle: str | None
    """Why nothing would be written directly into the directory."""

    def as_dict(self) -> dict[str, Any]:
        """Returns the directory's part of the JSON object."""
        return {**self._asdict(), "items": [each.as_dict() for each in self.items]}


class LastFailure(NamedTuple):
    """The last time that compiling a source failed."""

    kind: str
    message: str
    when: float | None
    run: int | None
    """Its number in the history; None where only the manifest remembers."""


class FlavourView(NamedTuple):
    """One path for one flavour."""

    flavour: str
    installation: str
    site_directory: str | None
    """The site directory of the scope that it lies in."""
    package: str | None = None
    """The top-level package in there: what a transaction that touches the path has looked at."""
    levels: tuple[Decision, ...] = ()
    directory: Branch | None = None
    """What is in a directory."""
    last_failure: LastFailure | None = None
    note: str | None = None
    """Why there is nothing more to say."""
    status: os.stat_result | None = None
    """That of the source."""
    called: str = ""
    """What people call the interpreter: its flavour, unless there are two of it."""

    def as_dict(self, owner_of: Callable[[str], dict[str, str] | None]) -> dict[str, Any]:
        """Returns the flavour's part of the JSON object."""
        fields = self._asdict()
        del fields["status"], fields["called"]
        return {
            **fields,
            **path_fields("site_directory", self.site_directory),
            "levels": [{**level.as_dict(), "owner": owner_of(level.pyc)} for level in self.levels],
            "directory": self.directory and self.directory.as_dict(),
            "last_failure": self.last_failure and self.last_failure._asdict(),
        }


class Explanation(NamedTuple):
    """One path."""

    path: str
    kind: str
    """source, pyc, directory, or other."""
    source: str | None
    directory: str
    """That of the source; or itself."""
    pyc: PycPath | None
    flavours: list[FlavourView]

    @property
    def status(self) -> os.stat_result | None:
        """The status of the source, or None if it is gone, or there is none."""
        return next((view.status for view in self.flavours if view.status is not None), None)


class ExplainReport(Report):
    """The answer to `explain`."""

    def __init__(self) -> None:
        super().__init__("explain")
        self.explanations: list[Explanation] = []
        self.owners: dict[str, Owner] = {}

    @property
    def has_answer(self) -> bool:
        return bool(self.explanations) or not self.errors

    def as_dict(self) -> dict[str, Any]:
        explanations = as_printable([self._fields(each) for each in self.explanations])
        return {**super().as_dict(), "explanations": explanations}

    def _fields(self, each: Explanation) -> dict[str, Any]:
        status = each.status
        return {
            **path_fields("path", each.path),
            "kind": each.kind,
            **path_fields("source", each.source),
            "source_mtime": status and int(status.st_mtime),
            "source_size": status and status.st_size,
            "owner": self._owner_of(each.source or each.path),
            "flavours": [view.as_dict(self._owner_of) for view in each.flavours],
        }

    def _owner_of(self, path: str) -> dict[str, str] | None:
        owner = self.owners.get(path)
        return owner and owner._asdict()


def explain(request: Request, observer: Observer) -> ExplainReport:
    """Explain each path. Raises UsageError, ConfigurationError and RefusedError."""
    return look_as_others(lambda listener: _explain(request, listener), observer)


def _explain(request: Request, observer: Observer) -> ExplainReport:
    if request.transaction.paths is None or not any(request.transaction.paths):
        raise UsageError("nothing to explain", hint="name a source, a pyc or a directory")
    operation = prepare(request, observer)
    scope, report = request.scope, ExplainReport()
    report.errors += operation.report.errors
    places = {path: [path] for path in clean_paths(request.transaction.paths)}
    asked = [clean_paths(own.transaction.paths or ()) for _, own, _ in operation.assignments]
    for target, paths in zip(operation.targets, asked):
        named = {path: target.sites_below(path, scope.root) for path in paths}
        places.update({path: sites for path, sites in named.items() if sites})
    tags = [target.interpreter.cache_tag for target in operation.targets]
    subjects = {path: _read_path(path, tags, scope) for each in places for path in places[each]}
    report.explanations += subjects.values()
    failures = _past_failures(operation.store.base)
    for target, paths, called in zip(operation.targets, asked, display_names(operation.targets)):
        here = {place for path in paths for place in places[path]}
        own = [subject for path, subject in subjects.items() if path in here]
        with Examiner(target, operation, [os.path.join(each.directory, "x") for each in own]) as examiner:
            viewer = _Viewer(examiner, failures, observer)
            for subject in own:
                observer.started(called)
                subject.flavours.append(viewer.look(subject)._replace(called=called))
                observer.finished()
    # A directory may be of many packages, and that it is says nothing about what is in it.
    files = [each.source or each.path for each in report.explanations if each.kind != "directory"]
    files += [level.pyc for each in report.explanations for view in each.flavours for level in view.levels]
    report.owners = owners_of(files, files_of(scope.root), observer.notice)
    return report


def _read_path(path: str, tags: list[str], scope: Scope) -> Explanation:
    """Returns what a path is, to be explained."""
    pyc = read_name(path, tags, scope.pycache_prefix)
    if pyc is not None:
        return Explanation(path, "pyc", pyc.source, pyc.directory, pyc, [])
    is_there = is_directory(path, scope.root)
    directory = path if is_there else os.path.dirname(path)
    if is_source(path):
        return Explanation(path, "source", path, os.path.dirname(path), None, [])
    return Explanation(path, "directory" if is_there else "other", None, directory_of(directory), None, [])


class _Viewer:
    """Makes the views of one flavour."""

    def __init__(self, examiner: Examiner, failures: dict[str, LastFailure], observer: Observer) -> None:
        self._examiner = examiner
        self._failures = failures
        self._observer = observer

    def look(self, subject: Explanation) -> FlavourView:
        """Returns the view of a path."""
        examiner, target = self._examiner, self._examiner.target
        interpreter, pyc = target.interpreter, subject.pyc
        home = examiner.site_of(subject.path if pyc is None else os.path.join(subject.directory, "x"))
        view = FlavourView(interpreter.flavour, target.installation, home[0] if home else None)
        if home is None:
            sites = ", ".join(site.path for site in target.sites) or "nothing that exists"
            view = view._replace(note=f"outside the scope, which is {sites}: runs leave it alone")
        else:
            # The name of a pyc's directory is replaced by another one: there may be no source beside it.
            package = home[1].partition("/")[0]
            view = view._replace(package=None if pyc is not None and package == home[1] else package or None)
            with contextlib.suppress(OSError):
                if note := examiner.describe_link(subject.path):
                    return view._replace(note=note)
        if pyc is not None and pyc.kind != "pyc":
            return view._replace(note=_NOTES[pyc.kind])
        if pyc is not None and pyc.cache_tag != interpreter.cache_tag:
            note = f"its cache tag is {pyc.cache_tag}, that of {interpreter.flavour} is {interpreter.cache_tag}"
            return view._replace(note=note)
        try:
            if subject.source is not None:
                return self._look_at_source(view, subject.source, None if pyc is None else pyc.level)
            if home and subject.kind == "directory":
                return view._replace(directory=self._look_below(home[0], subject.directory))
        except OSError as error:
            return view._replace(note=view.note or f"{subject.directory}: {error.strerror or error}")
        return view._replace(note=view.note or "neither a source, nor bytecode, nor a directory")

    def _look_at_source(self, view: FlavourView, path: str, only: int | None) -> FlavourView:
        source, decisions = decide(self._examiner, path)
        seen = self._examiner.directory(os.path.dirname(path))
        levels = tuple(each for each in decisions if only in (None, each.level))
        note = view.note
        if source.refused is not None:
            note = note or f"the source may not be read: {source.refused}"
        elif source.status is None and not levels:
            note = note or "there is no such source, and no bytecode of it"
        elif only is not None and not levels:
            note = note or f"there is no such pyc, and runs don't write level {only}"
        elif seen.plan.unexamined is not None:
            note = note or f"a run can't examine its directory: {seen.plan.unexamined}"
        described = seen.layout.describe_source(seen.relative, source.name)
        failed = self._failures.get(f"{view.installation}\0{described}")
        if failed is None and (fact := self._examiner.manifest.uncompilable.get(described)):
            failed = LastFailure(fact.kind, fact.message, None, None)
        return view._replace(levels=levels, note=note, last_failure=failed, status=source.status)

    def _look_below(self, site: str, path: str) -> Branch:
        """Look at a directory, and all below it."""
        examiner = self._examiner
        seen = examiner.directory(path)
        survey = examiner.survey(site, seen.relative, self._observer)
        actions: Counter[str] = Counter()
        items: list[Item] = []
        for layout, step in survey.steps():
            if not seen.relative or f"{step.relative}/".startswith(f"{seen.relative}/"):
                found = list(items_of(examiner, layout, step))
                actions.update(item.action for item in found)
                items += found[: _MOST_ITEMS - len(items)]
        total, obstacle = survey.total, obstacle_in(examiner, seen.layout, seen.plan)
        return Branch(total.sources, total.fresh, dict(actions), tuple(items), obstacle)


def _past_failures(base: str | None) -> dict[str, LastFailure]:
    """Returns the last failure of each path in the history, by installation and path."""
    return {
        f"{each.installation}\0{path}": LastFailure(kind, message, run.ended, run.number)
        for run in (History(base).runs() if base is not None else ())
        for each in run.flavours
        for path, kind, message in each.failures
    }
