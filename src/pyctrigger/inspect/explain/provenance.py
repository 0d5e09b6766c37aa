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
from ...pyc.names import PYCACHE
from ...run.operation import Operation
from ...run.scope.forked import look_as_others
from ...run.scope.request import Request
from ...run.scope.root_files import files_of
from ...run.scope.target import Target
from ...run.trigger import prepare
from ...tree.directory import Tree
from ...tree.listing import list_pycs
from ...tree.source import look_at_pyc
from .examiner import Examiner
from .naming import PycPath, clean_paths, is_source, read_name
from .rules import decide


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
        owner, source = self.owner(each), each.pyc.source
        return {
            **path_fields("pyc", each.pyc.path),
            **({"source": None} if source is None else path_fields("source", source)),
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
    pycs: list[PycPath] = []
    for path in clean_paths(request.transaction.paths):
        pyc = read_name(path, tags, scope.pycache_prefix)
        if pyc is not None:
            pycs.append(pyc)
        elif is_source(path):
            pycs += _of_source(path, operation, tags, report)
        else:
            hint = "name a source or a pyc; explain takes directories, too"
            report.errors.append(UsageError(f"{path} is neither a source nor a pyc", hint=hint))
    pycs = list(dict.fromkeys(pycs))
    found = _judged(operation, [pyc for pyc in pycs if pyc.kind == "pyc"])
    for pyc in pycs:
        report.found += found.get(pyc) or [_by_name(pyc, operation)]
    asked = [path for pyc in pycs for path in (pyc.source, pyc.path) if path is not None]
    report.owners = owners_of(asked, files_of(scope.root), observer.notice)
    return report


def _of_source(path: str, operation: Operation, tags: list[str], report: WhichReport) -> list[PycPath]:
    """The pycs that a source has, of whatever interpreter, and those that it should have."""
    directory = os.path.dirname(path)
    prefix = operation.request.scope.pycache_prefix
    there = [f"{path}c"] if _exists(f"{path}c", operation.request) else []
    place = os.path.join(directory, PYCACHE) if prefix is None else prefix + directory
    with contextlib.suppress(OSError, ValueError), Tree.open(place, operation.request.scope.root) as tree:
        there += [os.path.join(place, each) for each in _names_in(tree)]
    for target in operation.targets:
        with Examiner(target, operation) as examiner, contextlib.suppress(OSError):
            if examiner.site_of(path) is None:
                continue  # nothing is wanted there
            look = examiner.source(path)
            there += [os.path.join(place, level.name) for level in look.levels]
    named = (read_name(each, tags, prefix) for each in there)
    found = list(dict.fromkeys(pyc for pyc in named if pyc is not None and pyc.source == path))
    if not found:
        report.notices.append(f"{path} has no bytecode, and isn't in the scope of any interpreter that was found")
    return found


def _judged(operation: Operation, pycs: list[PycPath]) -> dict[PycPath, list[Provenance]]:
    """Those of which an interpreter is here, for each that has their cache tag."""
    found: dict[PycPath, list[Provenance]] = {}
    for target, own, _ in operation.assignments:
        asked = set(clean_paths(own.transaction.paths or ()))
        with Examiner(target, operation) as examiner:
            for pyc in sorted(pycs):
                is_asked = pyc.path in asked or pyc.source in asked
                if is_asked and pyc.cache_tag == target.interpreter.cache_tag:
                    found.setdefault(pyc, []).append(_judge(pyc, target, examiner))
    return {pyc: _telling(answers) for pyc, answers in found.items()}


def _telling(answers: list[Provenance]) -> list[Provenance]:
    """Each answer once; and where it is in somebody's scope, nobody else's counts."""
    return list(dict.fromkeys([each for each in answers if each.in_scope] or answers))


def _judge(pyc: PycPath, target: Target, examiner: Examiner) -> Provenance:
    assert pyc.source is not None
    flavour = target.interpreter.flavour
    try:
        if through := examiner.through_link(pyc.path):
            return Provenance(pyc, flavour, "unknown", through, in_scope=True)
        seen = examiner.directory(pyc.directory)
        look = examiner.source(pyc.source)
    except OSError as error:
        state = "gone" if isinstance(error, FileNotFoundError) else "unknown"
        return Provenance(pyc, flavour, state, error.strerror, examiner.site_of(pyc.source) is not None)
    in_scope = seen.in_scope
    for level in look.levels:
        if level.level == pyc.level:
            decision = decide(examiner, seen, look, level)
            return Provenance(pyc, flavour, decision.state, decision.reason, in_scope)
    if os.path.basename(pyc.path) in seen.names:
        return Provenance(pyc, flavour, "unknown", f"no interpreter has a level {pyc.level}", in_scope)
    return Provenance(pyc, flavour, "gone", "and its source with it" if look.status is None else None, in_scope)


def _by_name(pyc: PycPath, operation: Operation) -> Provenance:
    """What can be said of one for which there is no interpreter."""
    head = _head(pyc.path, operation.request)
    if head is None:
        return Provenance(pyc, _flavour(pyc), "gone")
    if pyc.kind == "legacy":
        assert pyc.source is not None
        has_source = _exists(pyc.source, operation.request)
        flavours = [
            target.interpreter.flavour for target in operation.targets if target.interpreter.magic_number == head[:4]
        ]
        flavour = ", ".join(flavours) or None
        if has_source:
            return Provenance(pyc, flavour, "legacy", "import takes the source beside it")
        return Provenance(pyc, flavour, "sourceless", "import takes it, for want of a source")
    if pyc.kind != "pyc":
        return Provenance(pyc, _flavour(pyc), pyc.kind)
    is_orphan = pyc.source is not None and not _exists(pyc.source, operation.request)
    return Provenance(pyc, _flavour(pyc), "orphan" if is_orphan else "unknown", _why_unknown(pyc, operation))


def _why_unknown(pyc: PycPath, operation: Operation) -> str:
    """Why no interpreter answers for a pyc: that of its environment can't, or none has its cache tag."""
    for request, error in operation.unserved:
        asked = clean_paths(request.transaction.paths or ()) if request.scope.prefixes else ()
        if pyc.path in asked or pyc.source in asked:
            return error.message
    return f"no interpreter has the cache tag {pyc.cache_tag}"


def _flavour(pyc: PycPath) -> str | None:
    flavour = Flavour.of_cache_tag(pyc.cache_tag or "")
    return flavour and flavour.name


def _names_in(tree: Tree) -> list[str]:
    with tree.entered("") as directory:
        return sorted(list_pycs(directory).names)


def _head(path: str, request: Request) -> bytes | None:
    """The first bytes of a file; None where there is nothing of its name."""
    directory, name = os.path.split(path)
    try:
        with Tree.open(directory, request.scope.root) as tree:
            tree.lstat("", name)
            with tree.entered("") as descriptor:
                return look_at_pyc(descriptor, name, 16)[0]
    except (OSError, ValueError):
        return None


def _exists(path: str, request: Request) -> bool:
    return _head(path, request) is not None
