"""Why bytecode is as it is: for a source, a pyc or a directory, flavour by flavour and level by level."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from ...errors import UsageError
from ...outcome.observer import Observer
from ...outcome.outcome import path_fields
from ...outcome.report import Report, printable
from ...packages.ownership import Owner, owners_of
from ...run.operation import Operation
from ...run.scope.forked import look_as_others
from ...run.scope.request import Request
from ...run.scope.root_files import files_of
from ...run.scope.target import Target, told_apart
from ...run.trigger import prepare
from ...state.history import History
from ...tree.directory import open_in_root
from .branch import Branch, look_below
from .examiner import Examiner, Level, SourceLook
from .naming import PycPath, clean_paths, is_source, read_name
from .rules import Decision, HeaderFields, decide, read_header


class LevelView(NamedTuple):
    """One level of a source for one flavour."""

    level: int
    pyc: str
    decision: Decision
    header: HeaderFields | None

    def as_dict(self) -> dict[str, Any]:
        """The level's part of the JSON object."""
        return {
            "level": self.level,
            **path_fields("pyc", self.pyc),
            **self.decision._asdict(),
            "rule": printable(self.decision.rule),
            "because": printable(self.decision.because),
            "header": None if self.header is None else self.header.as_dict(),
        }


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
    site: str | None
    """The site directory of the scope that it lies in."""
    package: str | None = None
    """The top-level package in there: what a transaction that touches the path has looked at."""
    levels: tuple[LevelView, ...] = ()
    branch: Branch | None = None
    """Of a directory."""
    failed: LastFailure | None = None
    note: str | None = None
    """Why there is nothing more to say."""
    called: str = ""
    """What people call the interpreter: its flavour, unless there are two of it."""

    def as_dict(self) -> dict[str, Any]:
        """The flavour's part of the JSON object."""
        return {
            "flavour": self.flavour,
            "installation": self.installation,
            **({"site_directory": None} if self.site is None else path_fields("site_directory", self.site)),
            "package": None if self.package is None else printable(self.package),
            "levels": [level.as_dict() for level in self.levels],
            "directory": None if self.branch is None else self.branch.as_dict(),
            "last_failure": None
            if self.failed is None
            else {**self.failed._asdict(), "message": printable(self.failed.message)},
            "note": None if self.note is None else printable(self.note),
        }


class Explanation(NamedTuple):
    """One path."""

    path: str
    kind: str
    """source, pyc, directory, or other."""
    source: str | None
    flavours: tuple[FlavourView, ...]
    status: os.stat_result | None = None
    """Of the source; None: it is gone, or there is none."""


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
        return {**super().as_dict(), "explanations": [self._explanation(each) for each in self.explanations]}

    def _explanation(self, each: Explanation) -> dict[str, Any]:
        status = each.status
        flavours = [view.as_dict() for view in each.flavours]
        for view, fields in zip(each.flavours, flavours):
            for level, described in zip(view.levels, fields["levels"]):
                described["owner"] = self._owner(level.pyc)
        return {
            **path_fields("path", each.path),
            "kind": each.kind,
            **({"source": None} if each.source is None else path_fields("source", each.source)),
            "source_mtime": None if status is None else int(status.st_mtime),
            "source_size": None if status is None else status.st_size,
            "owner": self._owner(each.source or each.path),
            "flavours": flavours,
        }

    def _owner(self, path: str) -> dict[str, str] | None:
        owner = self.owners.get(path)
        return None if owner is None else {key: printable(text) for key, text in owner._asdict().items()}


def explain(request: Request, observer: Observer) -> ExplainReport:
    """Explain each path. Raises UsageError, ConfigurationError and RefusedError."""
    return look_as_others(lambda listener: _explain(request, listener), observer)


def _explain(request: Request, observer: Observer) -> ExplainReport:
    if request.transaction.paths is None or not any(request.transaction.paths):
        raise UsageError("nothing to explain", hint="name a source, a pyc or a directory")
    operation = prepare(request, observer)
    report = ExplainReport()
    report.errors += operation.report.errors
    places = {path: [path] for path in clean_paths(request.transaction.paths)}
    for target, own, _ in operation.assignments:
        named = {
            path: target.sites_below(path, request.scope.root) for path in clean_paths(own.transaction.paths or ())
        }
        places.update({path: sites for path, sites in named.items() if sites})
    views: dict[str, list[FlavourView]] = {each: [] for path in places for each in places[path]}
    statuses: dict[str, os.stat_result] = {}
    tags = [target.interpreter.cache_tag for target in operation.targets]
    pycs = {path: read_name(path, tags, request.scope.pycache_prefix) for path in views}
    failures = _past_failures(operation)
    for (target, own, _), called in zip(operation.assignments, told_apart(operation.targets)):
        asked = {each for path in clean_paths(own.transaction.paths or ()) for each in places[path]}
        with Examiner(target, operation) as examiner:
            for path, pyc in pycs.items():
                if path not in asked:
                    continue
                observer.started(called)
                view, status = _View(examiner, target, failures, observer).of(path, pyc, operation)
                observer.finished()
                views[path].append(view._replace(called=called))
                if status is not None:
                    statuses[path] = status
    for path, pyc in pycs.items():
        source = pyc.source if pyc else path if is_source(path) else None
        kind = "pyc" if pyc else "source" if source else "directory" if _is_directory(request, path) else "other"
        report.explanations.append(Explanation(path, kind, source, tuple(views[path]), statuses.get(path)))
    # A directory may be of many packages, and that it is says nothing about what is in it.
    files = [each.source or each.path for each in report.explanations if each.kind != "directory"]
    files += [level.pyc for each in report.explanations for view in each.flavours for level in view.levels]
    report.owners = owners_of(files, files_of(request.scope.root), observer.notice)
    return report


class _View:
    """Makes the view of one flavour."""

    def __init__(
        self, examiner: Examiner, target: Target, failures: dict[str, LastFailure], observer: Observer
    ) -> None:
        self._examiner = examiner
        self._target = target
        self._failures = failures
        self._observer = observer

    def of(self, path: str, pyc: PycPath | None, operation: Operation) -> tuple[FlavourView, os.stat_result | None]:
        """The view of a path, and the status of its source where it has one."""
        interpreter = self._target.interpreter
        directory = pyc.directory if pyc else path if _is_directory(operation.request, path) else os.path.dirname(path)
        home = self._examiner.site_of(path if pyc is None else os.path.join(directory, "x"))
        view = FlavourView(interpreter.flavour, self._target.installation, home[0] if home else None)
        if home:
            view = view._replace(package=home[1].split("/")[0] or None)
        if home is None:
            sites = ", ".join(site.path for site in self._target.sites) or "nothing that exists"
            view = view._replace(note=f"outside the scope, which is {sites}: runs leave it alone")
        try:
            through = self._examiner.through_link(path)
        except OSError:
            through = None
        if through is not None:
            return view._replace(note=through), None
        if pyc is not None and pyc.kind != "pyc":
            return view._replace(note=_NOTES[pyc.kind]), None
        if pyc is not None and pyc.cache_tag != interpreter.cache_tag:
            note = f"its cache tag is {pyc.cache_tag}, that of {interpreter.flavour} is {interpreter.cache_tag}"
            return view._replace(note=note), None
        source = pyc.source if pyc else path if is_source(path) else None
        try:
            if source is not None:
                return self._source(view, source, None if pyc is None else pyc.level)
            if home and _is_directory(operation.request, path):
                return view._replace(branch=look_below(self._examiner, path, home, self._observer.looked)), None
        except OSError as error:
            return view._replace(note=view.note or f"{directory}: {error.strerror or error}"), None
        return view._replace(note=view.note or "neither a source, nor bytecode, nor a directory"), None

    def _source(self, view: FlavourView, path: str, only: int | None) -> tuple[FlavourView, os.stat_result | None]:
        examiner = self._examiner
        seen = examiner.directory(os.path.dirname(path))
        look = examiner.source(path)
        levels = tuple(self._level(look, level) for level in look.levels if only in (None, level.level))
        note = view.note
        if look.refused is not None:
            note = note or f"the source may not be read: {look.refused}"
        elif look.status is None and not levels:
            note = note or "there is no such source, and no bytecode of it"
        elif only is not None and not levels:
            note = note or f"there is no such pyc, and runs don't write level {only}"
        elif seen.problem is not None:
            note = note or f"a run can't examine its directory: {seen.problem}"
        return view._replace(levels=levels, note=note, failed=self._failed(path, look)), look.status

    def _level(self, look: SourceLook, level: Level) -> LevelView:
        seen = self._examiner.directory(os.path.dirname(look.path))
        header = read_header(level.head, self._examiner.wanted.header)
        pyc = seen.layout.describe_pyc(seen.relative, level.name)
        return LevelView(level.level, pyc, decide(self._examiner, seen, look, level), header)

    def _failed(self, path: str, look: SourceLook) -> LastFailure | None:
        seen = self._examiner.directory(os.path.dirname(path))
        described = seen.layout.describe_source(seen.relative, os.path.basename(path))
        past = self._failures.get(f"{self._target.installation}\0{described}")
        if past is None and look.uncompilable is not None:
            return LastFailure(look.uncompilable.kind, look.uncompilable.message, None, None)
        return past


_NOTES = {
    "legacy": "it lies beside its source, without a cache tag: the import system uses it only where there is no source,"
    " and no run touches it",
    "residue": "a killed writer left it behind: a run removes it, or CPython's own once it is an hour old",
    "foreign": "its name matches no interpreter: something else made it, and runs leave it alone",
}


def _past_failures(operation: Operation) -> dict[str, LastFailure]:
    """The last failure of each path in the history, by installation and path."""
    base = operation.store.base
    found = {}
    for run in History(base).runs() if base is not None else ():
        for each in run.flavours:
            for path, kind, message in each.failures:
                found[f"{each.installation}\0{path}"] = LastFailure(kind, message, run.ended, run.number)
    return found


def _is_directory(request: Request, path: str) -> bool:
    if request.scope.root is None:
        return os.path.isdir(path)
    try:
        os.close(open_in_root(request.scope.root, path))
    except (OSError, ValueError):
        return False
    return True
