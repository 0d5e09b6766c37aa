"""The result of a command, as a value: the numbers, failures and findings of every flavour."""

from __future__ import annotations

import os
from collections.abc import Iterable

from ..errors import PyctriggerError
from ..interpreter.interpreter import Interpreter
from ..typed import Any, NamedTuple
from .outcome import Action, Failure, Finding, Tally, path_fields

#: The version of the JSON object; it may grow without a new number.
SCHEMA = 1

#: Results of the work as a whole, worst first: of several, the first counts.
OUTCOMES = (
    *("error", "refused", "interrupted", "locked", "failed", "incomplete", "read-only", "deferred"),
    *("done", "looked", "nothing-to-do"),
)
_OUTCOMES_OF_ERRORS = {75: "locked", 77: "refused", 130: "interrupted"}


class Taking(NamedTuple):
    """What a purge removes from one site directory."""

    site: str
    pycs: int = 0
    """Bytecode, and temporary files of killed writers."""
    bytes: int = 0
    by_others: int = 0
    """How many of the files pyctrigger didn't write, as far as its records show."""

    def as_dict(self) -> dict[str, Any]:
        """Returns the site directory's part of the JSON object."""
        numbers = {"pycs": self.pycs, "bytes": self.bytes, "by_others": self.by_others}
        return {**path_fields("site_directory", self.site), **numbers}


class FlavourReport:
    """The result for one flavour. `interpreter` is None if it is gone, as it may be for a purge."""

    def __init__(
        self,
        flavour: str,
        installation: str,
        interpreter: Interpreter | None,
        prefix: str | None = None,
        *,
        called: str | None = None,
    ) -> None:
        self.flavour = flavour
        #: The interpreter's name for people: its flavour, unless there are two of it.
        self._called = flavour if called is None else called
        self.installation = installation
        self.interpreter = interpreter
        #: The environment, if it is one.
        self.prefix = prefix
        self.tally = Tally()
        self.elapsed_seconds = 0.0
        #: The error that ended its work early; the report has it as well.
        self.error: PyctriggerError | None = None
        #: Whether its work was left in the journal, by request or configuration.
        self.deferred = False
        #: Whether an error costs a hook nothing: its work is in the journal, or there was none.
        self.is_safe = False
        #: How many of other runs' entries in the journal it did.
        self.taken_over = 0
        #: The numbers of a run that only read: sources, and pycs by what is wrong with them.
        self.summary: dict[str, Any] | None = None
        #: What a purge removes, by site directory.
        self.takings: list[Taking] = []
        #: What `status` shows: reasons, bytes, journal, lock.
        self.status: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        """Its name for people: an environment's path, or else the flavour."""
        return shown(self._called) if self.prefix is None else f"{shown(self.prefix)} ({shown(self._called)})"

    @property
    def outcome(self) -> str:
        """The result of its work as a whole: one of `OUTCOMES`."""
        tally = self.tally
        if self.error is not None:
            return _outcome_of(self.error)
        if self.deferred:
            return "deferred"
        if tally.failures or tally.counts.failed:
            return "failed"
        if tally.unexamined:
            return "incomplete"
        if self.summary is not None:
            return "looked"
        if tally.left_read_only:
            return "read-only"
        return "done" if tally.counts.changes else "nothing-to-do"

    def as_dict(self) -> dict[str, Any]:
        """Returns the flavour's part of the JSON object."""
        tally = self.tally
        document: dict[str, Any] = {
            "flavour": self.flavour,
            "installation": self.installation,
            **path_fields("prefix", self.prefix),
            "outcome": self.outcome,
            "interpreter": interpreter_fields(self.interpreter),
            "counts": tally.counts.as_dict(),
            "failures": [_failure(failure) for failure in tally.failures],
            "findings": [_finding(finding) for finding in tally.findings],
            "unexamined": [_failure(failure) for failure in tally.unexamined],
            "actions": [_action(action) for action in tally.actions],
            "links": [{**path_fields("path", path), **path_fields("leads_to", goal)} for path, goal in tally.links],
            "notices": [printable(notice) for notice in tally.notices],
            "elapsed_seconds": round(self.elapsed_seconds, 6),
        }
        if self.takings:
            document["takings"] = [taking.as_dict() for taking in self.takings]
        if self.status is not None:
            document["status"] = as_printable(self.status)
        return document


class Report:
    """The result of a command: one `FlavourReport` for each flavour, and the errors that ended some of them."""

    def __init__(self, command: str, *, dry_run: bool = False) -> None:
        self.command = command
        self.dry_run = dry_run
        self.runs: list[FlavourReport] = []
        self.errors: list[PyctriggerError] = []
        #: Whether all of it was requested, also rows without content.
        self.is_whole = False
        #: Lines for people that aren't about one flavour.
        self.notices: list[str] = []

    def show_undone(self, preview: Report) -> None:
        """Take over what a preview has found, none of which was done."""
        self.runs = preview.runs
        for run in self.runs:
            run.tally = Tally()

    @property
    def has_answer(self) -> bool:
        """Whether there is something to show besides the errors."""
        return type(self) is not Report or bool(self.runs)

    @property
    def outcome(self) -> str:
        """The worst of all flavours; for a verb without flavours `done`, unless there are errors."""
        found = {*map(_outcome_of, self.errors), *(run.outcome for run in self.runs)}
        return next((each for each in OUTCOMES if each in found), "done")

    @property
    def exit_code(self) -> int:
        """The highest of all flavours (the contract's table)."""
        codes = [error.exit_code for error in self.errors]
        return max([0, *codes, *(run.tally.exit_code for run in self.runs)])

    @property
    def hints(self) -> dict[str, str]:
        """What to do about files that failed, by the kind of failure; for those that need root an error says it."""
        failures = (failure for run in self.runs for failure in run.tally.listed)
        kinds = dict.fromkeys(failure.kind for failure in failures if not failure.has_remedy)
        if not kinds:
            return {}
        from .hints import HINTS  # nobody pays for it whose files are fine

        return {kind: HINTS[kind] for kind in kinds if kind in HINTS}

    def add_notices(self, heard: Iterable[str]) -> None:
        """Add the notices that an observer heard, before the others and each once."""
        known = {*self.notices, *(notice for run in self.runs for notice in run.tally.notices)}
        self.notices[:0] = [notice for notice in dict.fromkeys(heard) if notice not in known]

    def as_dict(self) -> dict[str, Any]:
        """Returns the JSON object of the contract."""
        from ..version import VERSION  # a hook prints no JSON

        return {
            "schema": SCHEMA,
            "command": self.command,
            "version": VERSION,
            "exit_code": self.exit_code,
            "outcome": self.outcome,
            "dry_run": self.dry_run,
            "errors": [error_fields(each) for error in self.errors for each in error.parts()],
            "hints": self.hints,
            "notices": [printable(notice) for notice in self.notices],
            "runs": [run.as_dict() for run in self.runs],
        }


def _outcome_of(error: PyctriggerError) -> str:
    return _OUTCOMES_OF_ERRORS.get(error.exit_code, "error")


def error_fields(error: PyctriggerError) -> dict[str, Any]:
    """Returns an error for JSON."""
    fields: dict[str, Any] = {"code": error.exit_code, "message": printable(error.message)}
    if error.hint:
        fields["hint"] = fields["mend"] = printable(error.hint)
    return fields


def printable(text: str) -> str:
    """Returns text that any stream can carry: bytes that aren't UTF-8 become U+FFFD."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def shown(path: str) -> str:
    """Returns a path fit for one line: unprintable characters, and bytes that aren't UTF-8, are escaped."""
    text = os.fsencode(path).decode("utf-8", "surrogateescape")
    if text.isprintable():
        return text
    return "".join(
        character
        if character.isprintable()
        else f"\\x{ord(character) - 0xDC00:02x}"
        if 0xDC80 <= ord(character) <= 0xDCFF
        else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def as_printable(value: Any) -> Any:
    """Returns a JSON value in which every text is printable."""
    if isinstance(value, dict):
        return {key: as_printable(each) for key, each in value.items()}
    if isinstance(value, list):
        return [as_printable(each) for each in value]
    return printable(value) if isinstance(value, str) else value


def interpreter_fields(interpreter: Interpreter | None) -> dict[str, Any] | None:
    """An interpreter for JSON; None for one that is gone."""
    if interpreter is None or not interpreter.executable:
        return None
    return {
        **path_fields("executable", interpreter.executable),
        "implementation": interpreter.implementation,
        "version": interpreter.release,
        "cache_tag": interpreter.cache_tag,
        "magic_number": interpreter.magic_number.hex(),
    }


def _failure(failure: Failure) -> dict[str, Any]:
    return {**path_fields("path", failure.path), "kind": failure.kind, "message": printable(failure.message)}


def _finding(finding: Finding) -> dict[str, Any]:
    from .states import why  # nobody pays for it who found nothing

    paths = {**path_fields("pyc", finding.pyc), **path_fields("source", finding.source)}
    fields: dict[str, Any] = {"kind": finding.kind, **paths, "reason": why(finding), "known": finding.known}
    if finding.store is not None:
        fields.update(reason=printable(fields["reason"]), store=printable(finding.store), signer=finding.signer)
    return fields


def _action(action: Action) -> dict[str, Any]:
    fields: dict[str, Any] = {"action": action.action, **path_fields("path", action.path), "reason": action.reason}
    if action.levels:
        fields["levels"] = list(action.levels)
    return fields
