"""Where bytecode comes from: its source, flavour, level and state, and the package that owns the source."""

from __future__ import annotations

import contextlib
import os
from typing import Any, NamedTuple

from ...errors import UsageError
from ...interpreter.flavour import Flavour
from ...outcome.observer import Observer
from ...outcome.outcome import path_fields
from ...outcome.report import Report, printable
from ...packages.ownership import Owner, owners_of
from ...run.operation import Operation
from ...run.scope.forked import look_as_others
from ...run.scope.request import Request
from ...run.scope.root_files import files_of
from ...run.trigger import prepare
from .bytecode import files_in, head_of
from .decisions import decide
from .examiner import Examiner
from .naming import PycPath, clean_paths, is_source, pycache_of, read_name


class Provenance(NamedTuple):
    """What is known of one pyc, for one flavour."""

    pyc: PycPath
    flavour: str | None
    """None: of no interpreter's name."""
    state: str
    """As `explain` has it; and gone, residue, legacy, sourceless, foreign, unknown (no such interpreter is here)."""
    reason: str | None = None
    in_scope: bool = False


class WhichReport(Report):
    """The answer to `which`."""

    def __init__(self) -> None:
        super().__init__("which")
        self.found: list[Provenance] = []
        self.owners: dict[str, Owner] = {}

    @property
    def has_answer(self) -> bool:
        return bool(self.found) or not self.errors

    def owner(self, each: Provenance) -> Owner | None:
        """The package that owns the source, or, of a pyc without one, the pyc."""
        return self.owners.get(each.pyc.source or each.pyc.path) or self.owners.get(each.pyc.path)

    def as_dict(self) -> dict[str, Any]:
        return {**super().as_dict(), "pycs": [self._fields(each) for each in self.found]}

    def _fields(self, each: Provenance) -> dict[str, Any]:
        owner = self.owner(each)
        return {
            **path_fields("pyc", each.pyc.path),
            **path_fields("source", each.pyc.source),
            "flavour": each.flavour,
            "cache_tag": each.pyc.cache_tag,
            "level": each.pyc.level if each.pyc.cache_tag is not None else None,
            "state": each.state,
            "reason": each.reason,
            "in_scope": each.in_scope,
            "package": None if owner is None else printable(owner.package),
            "manager": None if owner is None else owner.manager,
        }


def trace(request: Request, observer: Observer) -> WhichReport:
    """Look at each pyc, and at all that a source has. Raises UsageError, ConfigurationError and RefusedError."""
    return look_as_others(lambda listener: _trace(request, listener), observer)


def _trace(request: Request, observer: Observer) -> WhichReport:
    scope = request.scope
    if request.transaction.paths is None or not any(request.transaction.paths):
        raise UsageError("nothing to look at", hint="name a source, or a pyc such as __pycache__/six.cpython-311.pyc")
    operation = prepare(request, observer)
    report = WhichReport()
    # Names can be read where no interpreter is left; who names one is told that it isn't there, and what else is wrong.
    # Why an environment in which a path lies can't be asked is the reason of its pycs' state.
    reasons = [error for own, error in operation.unserved if own.scope.prefixes != scope.prefixes]
    errors = [error for error in operation.report.errors if error not in reasons]
    report.errors += [error for error in errors if scope.pythons or isinstance(error, UsageError)]
    tags = [target.interpreter.cache_tag for target in operation.targets]
    paths = clean_paths(request.transaction.paths)
    named = {path: read_name(path, tags, scope.pycache_prefix) for path in paths}
    of_sources = _pycs_of_sources([path for path in paths if named[path] is None and is_source(path)], operation, tags)
    pycs: dict[PycPath, None] = {}
    for path, pyc in named.items():
        found = [pyc] if pyc is not None else of_sources.get(path)
        if found is None:
            hint = "name a source or a pyc; explain takes directories, too"
            report.errors.append(UsageError(f"{path} is neither a source nor a pyc", hint=hint))
        elif not found:
            report.notices.append(f"{path} has no bytecode, and isn't in the scope of any interpreter that was found")
        pycs.update(dict.fromkeys(found or ()))
    judged = _judge_all(operation, [pyc for pyc in pycs if pyc.kind == "pyc"])
    for pyc in pycs:
        report.found += judged.get(pyc) or [_judge_name(pyc, operation)]
    asked = [path for pyc in pycs for path in (pyc.source, pyc.path) if path is not None]
    report.owners = owners_of(asked, files_of(scope.root), observer.notice)
    return report


def _pycs_of_sources(sources: list[str], operation: Operation, tags: list[str]) -> dict[str, list[PycPath]]:
    """Returns the pycs that each source has, of whatever interpreter, and those that it should have."""
    scope, names = operation.request.scope, _names_wanted(sources, operation)
    found = {}
    for path in sources:
        place = pycache_of(os.path.dirname(path), scope.pycache_prefix)
        there = [f"{path}c"] if head_of(f"{path}c", scope.root) is not None else []
        there += [*files_in(place, scope.root), *(os.path.join(place, name) for name in names[path])]
        read = (read_name(each, tags, scope.pycache_prefix) for each in there)
        found[path] = list(dict.fromkeys(pyc for pyc in read if pyc is not None and pyc.source == path))
    return found


def _names_wanted(sources: list[str], operation: Operation) -> dict[str, list[str]]:
    """Returns the names of the pycs that each source should have; outside of the scope nothing is wanted."""
    names: dict[str, list[str]] = {path: [] for path in sources}
    for target in operation.targets if sources else ():
        with Examiner(target, operation, sources) as examiner:
            for path in filter(examiner.site_of, sources):
                with contextlib.suppress(OSError):
                    names[path] += [level.pyc for level in examiner.source(path).levels]
    return names


def _judge_all(operation: Operation, pycs: list[PycPath]) -> dict[PycPath, list[Provenance]]:
    """Judge those of which an interpreter is here, for each that has their cache tag.

    Each answer is given once; and where a pyc is in somebody's scope, nobody else's counts.
    """
    found: dict[PycPath, list[Provenance]] = {}
    for target, own, _ in operation.assignments:
        asked, tag = set(clean_paths(own.transaction.paths or ())), target.interpreter.cache_tag
        mine = [pyc for pyc in pycs if pyc.cache_tag == tag and not asked.isdisjoint((pyc.path, pyc.source))]
        with Examiner(target, operation, [str(pyc.source) for pyc in mine]) as examiner:
            for pyc in sorted(mine):
                found.setdefault(pyc, []).append(_judge(pyc, examiner))
    return {
        pyc: list(dict.fromkeys([each for each in answers if each.in_scope] or answers))
        for pyc, answers in found.items()
    }


def _judge(pyc: PycPath, examiner: Examiner) -> Provenance:
    flavour, path = examiner.target.interpreter.flavour, str(pyc.source)
    try:
        if through := examiner.describe_link(pyc.path):
            return Provenance(pyc, flavour, "unknown", through, in_scope=True)
        seen = examiner.directory(pyc.directory)
        source, decisions = decide(examiner, path)
    except OSError as error:
        state = "gone" if isinstance(error, FileNotFoundError) else "unknown"
        return Provenance(pyc, flavour, state, error.strerror, examiner.site_of(path) is not None)
    for each in decisions:
        if each.level == pyc.level:
            return Provenance(pyc, flavour, each.state, each.reason, seen.in_scope)
    if os.path.basename(pyc.path) in seen.names:
        return Provenance(pyc, flavour, "unknown", f"no interpreter has a level {pyc.level}", seen.in_scope)
    return Provenance(pyc, flavour, "gone", "and its source with it" if source.status is None else None, seen.in_scope)


def _judge_name(pyc: PycPath, operation: Operation) -> Provenance:
    """Say what can be said of a pyc for which there is no interpreter."""
    root = operation.request.scope.root
    head = head_of(pyc.path, root)
    found = Flavour.of_cache_tag(pyc.cache_tag or "")
    flavour = found and found.name
    if head is None:
        return Provenance(pyc, flavour, "gone")
    has_source = pyc.source is not None and head_of(pyc.source, root) is not None
    if pyc.kind == "legacy":
        interpreters = [target.interpreter for target in operation.targets]
        flavour = ", ".join(each.flavour for each in interpreters if each.magic_number == head[:4]) or None
        if has_source:
            return Provenance(pyc, flavour, "legacy", "import takes the source beside it")
        return Provenance(pyc, flavour, "sourceless", "import takes it, for want of a source")
    if pyc.kind != "pyc":
        return Provenance(pyc, flavour, pyc.kind)
    return Provenance(pyc, flavour, "unknown" if has_source else "orphan", _why_unknown(pyc, operation))


def _why_unknown(pyc: PycPath, operation: Operation) -> str:
    """Returns why no interpreter answers for a pyc: that of its environment can't, or none has its cache tag."""
    for request, error in operation.unserved:
        asked = clean_paths(request.transaction.paths or ()) if request.scope.prefixes else ()
        if pyc.path in asked or pyc.source in asked:
            return error.message
    return f"no interpreter has the cache tag {pyc.cache_tag}"
