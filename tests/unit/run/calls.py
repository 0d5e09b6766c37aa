"""Whole calls in this process: a small tree, a real interpreter, a state directory, and all that was said and done."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packages import wait_for_the_next_tick, write_tree
from pyctrigger.errors import PyctriggerError
from pyctrigger.outcome.observer import Observer
from pyctrigger.outcome.outcome import Failure
from pyctrigger.run.scope.request import Request, Work
from pyctrigger.run.trigger import perform
from pyctrigger.state.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interpreters import Interpreter
    from pyctrigger.outcome.report import FlavourReport, Report
    from pyctrigger.pyc.header import Verdict

#: A source that compiles, and whose pyc is larger than its header.
SOURCE = "VALUE = 'a text'\n"


class Heard(Observer):
    """Every word of a call, with the paths from the tree."""

    def __init__(self, tree: Tree) -> None:
        self.said: list[str] = []
        self._tree = tree

    def notice(self, text: str) -> None:
        self.said.append(self._tree.short(text))

    def found(self, interpreters: list[str]) -> None:
        self.said.append(f"found {len(interpreters)}")

    def compiled(self, path: str, verdicts: Sequence[Verdict]) -> None:
        self.said.append(f"compiled {self._tree.short(path)}: {', '.join(each.name.lower() for each in verdicts)}")

    def refreshed(self, path: str) -> None:
        self.said.append(f"refreshed {self._tree.short(path)}")

    def opened(self, path: str) -> None:
        self.said.append(f"opened {self._tree.short(path)}")

    def removed(self, path: str, reason: str) -> None:
        self.said.append(f"removed {self._tree.short(path)}: {reason}")

    def skipped(self, path: str, reason: str) -> None:
        self.said.append(f"skipped {self._tree.short(path)}: {reason}")


class Tree:
    """A site directory with packages, compiled by a first run."""

    def __init__(self, top: Path, python: Interpreter, files: dict[str, str]) -> None:
        self.top, self.site, self.state = top, top / "site", top / "state"
        self.python = python
        kind = "pypy" if python.implementation == "pypy" else "py"
        self.tag = f"{'cpython-' if kind == 'py' else 'pypy'}{python.version[0]}{python.version[1]}"
        write_tree(self.site, {f"{name}.py": text for name, text in files.items()})
        for name in files:
            os.utime(self.site / f"{name}.py", (1e9, 1e9))
        wait_for_the_next_tick(self.site)
        assert self(Work.RUN).exit_code == 0

    def __call__(self, work: Work, *names: str, heard: Heard | None = None, **options: Any) -> Report:
        """What a call reports; `names` are what was touched below the site directory, none for all of it."""
        options = {
            "pythons": (self.python.path,),
            "site_dirs": (str(self.site),),
            "state_dir": str(self.state),
            **options,
        }
        if names:
            options["paths"] = tuple(str(self.site / name) for name in names)
        return perform(Request(work).with_values(options), heard)

    def short(self, text: str) -> str:
        """A text with paths from here, and this interpreter's tag as `TAG`."""
        text = text.replace(f"{self.site}/", "").replace(str(self.top), "TOP").replace(self.python.path, "PYTHON")
        return text.replace(self.tag, "TAG").replace(f"py{self.tag[8:]}", "FLAVOUR")

    def pyc(self, name: str, level: str = "") -> Path:
        """The pyc of a source."""
        source = self.site / f"{name}.py"
        return source.parent / f"__pycache__/{source.stem}.{self.tag}{level}.pyc"

    def told(self, work: Work, *names: str, **options: Any) -> dict[str, Any]:
        """All that a call says, without what is empty."""
        heard = Heard(self)
        try:
            report = self(work, *names, heard=heard, **options)
        except PyctriggerError as error:
            return {"raised": self._error(error)}
        told: dict[str, Any] = {"code": report.exit_code, "said": heard.said}
        told["errors"] = [self._error(error) for error in report.errors]
        told["notices"] = [self.short(text) for text in report.notices]
        for run in report.runs:
            told.update(self._run(run))
        return {key: value for key, value in told.items() if value}

    def _run(self, run: FlavourReport) -> dict[str, Any]:
        tally, short = run.tally, self.short
        counts = {name: number for name, number in tally.counts.as_dict().items() if number}
        return {
            "outcome": run.outcome,
            "counts": counts,
            "failures": [self._failure(each) for each in tally.failures],
            "unexamined": [self._failure(each) for each in tally.unexamined],
            "findings": sorted(
                (each.kind, short(each.pyc or ""), short(each.source or ""), each.known, short(each.reason or ""))
                for each in tally.findings
            ),
            "actions": sorted((each.action, short(each.path), each.reason, each.levels) for each in tally.actions),
            "words": [short(text) for text in tally.notices],
            "links": [(short(each.path), short(each.leads_to)) for each in tally.links],
            "deferred": run.deferred,
            "taken over": run.taken_over,
            "summary": run.summary and _nonzero(run.summary),
            "takings": [(short(each.site), each.pycs, each.by_others) for each in run.takings],
        }

    def _failure(self, each: Failure) -> tuple[Any, ...]:
        return (self.short(each.path), each.kind, self.short(each.message), each.is_remembered, each.needs_root)

    def _error(self, error: PyctriggerError) -> tuple[str, str, str]:
        return (type(error).__name__, self.short(error.message), self.short(error.hint or ""))

    def pending(self) -> list[tuple[tuple[str, ...] | None, int]]:
        """What waits in the journals of all installations, and how often each was tried."""
        found = []
        for directory in sorted(self.state.glob("*/journal")):
            for entry in Journal(str(directory.parent)).entries():
                paths = None if entry.paths is None else tuple(self.short(path) for path in entry.paths)
                found.append((paths, entry.attempts))
        return found


def _nonzero(numbers: dict[str, Any]) -> dict[str, Any]:
    """Without the bytes of bytecode, which has the path of its source in it."""
    inner = {name: _nonzero(value) if isinstance(value, dict) else value for name, value in numbers.items()}
    inner.pop("pyc_bytes", None)
    return {name: value for name, value in inner.items() if value}
