"""Whole calls over a small real tree: with a real interpreter, and a state directory that knows it already."""

from __future__ import annotations

import functools
import json
import os
import re
import resource
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

import platformdirs  # noqa: F401 - as an account that may not be able to read it
import pytest

from acting import ANN, working_as
from children import public_directory
from conftest import absent
from interpreters import find_interpreters
from pyctrigger.errors import PyctriggerError
from pyctrigger.interpreter import flavour
from pyctrigger.outcome.observer import Observer
from pyctrigger.run.scope.request import Request, Work
from pyctrigger.run.trigger import perform
from pyctrigger.state.history import History
from pyctrigger.state.journal import Journal
from pyctrigger.state.locations import lock_directory
from pyctrigger.state.lock import InstallationLock
from pyctrigger.state.probed import ProbedInterpreters
from pyctrigger.state.store import Store
from unit.run.plan.trees import make, pyc

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyctrigger.outcome.report import FlavourReport, Report
    from pyctrigger.state.journal import Entry
    from unit.run.plan.trees import Entries


class Listener(Observer):
    """Notes what it hears."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines

    def notice(self, text: str) -> None:
        self.lines.append(f"! {text}")

    def found(self, interpreters: list[str]) -> None:
        self.lines.append(f"found {', '.join(interpreters)}")

    def compiled(self, path: str, verdicts: Any) -> None:
        self.lines.append(f"compiled {path}: {', '.join(each.value for each in verdicts)}")

    def refreshed(self, path: str) -> None:
        self.lines.append(f"refreshed {path}")

    def opened(self, path: str) -> None:
        self.lines.append(f"opened {path}")

    def removed(self, path: str, reason: str) -> None:
        self.lines.append(f"removed {path}: {reason}")

    def skipped(self, path: str, reason: str) -> None:
        self.lines.append(f"skipped {path}: {reason}")

    def looked(self, sources: int) -> None:
        if self.is_watched:
            self.lines.append(f"looked {sources}")

    def progress(self, done: int, known: int | None) -> None:
        if self.is_watched:
            self.lines.append(f"progress {done}/{known}")


class Caller:
    """Calls of pyctrigger about the tree `site` in a directory. Its paths are given and shown without what is above."""

    def __init__(self, top: Path, python: str) -> None:
        self.top, self.python = top, python
        self.state, self.site = top / "state", top / "site"
        self.site.mkdir()
        (self.state / "interpreters").mkdir(parents=True, mode=0o700)
        for name, entry in _known(python).items():
            (self.state / "interpreters" / name).write_bytes(entry)
        #: The real one that does the work, and what the state has about it.
        self.interpreter = ProbedInterpreters(str(self.state), keep=False).ask(python)
        self.config = top / "config.toml"
        self.config.touch(mode=0o600)
        self.lines: list[str] = []
        #: The environment whose state is looked at, if any.
        self.environment: Path | None = None
        #: Of the last call.
        self.report: Report

    @property
    def installation(self) -> Path:
        """The state of this tree's interpreter, or of the environment."""
        return self.state / self.interpreter.installation_in(None, str(self.environment) if self.environment else None)

    def tell(self, story: list[tuple[Callable[[Caller], Any], Any]]) -> None:
        """Do all acts of a story, and compare what each returns."""
        for act, expected in story:
            told = act(self)
            assert expected == told, told

    def make(self, entries: Entries) -> None:
        """Make these entries in the tree."""
        make(self.site, entries)

    def know_site(self, *names: str, python: str | None = None, **facts: Any) -> None:
        """Let the state say that an interpreter's own directories are these beside the tree."""
        purelib, platlib = (str(self.top / name) for name in (names[0], names[-1]))
        schemes = {"posix_prefix": {"purelib": purelib, "platlib": platlib, "stdlib": str(self.top / "library")}}
        self.know(python, schemes=schemes, default_scheme="posix_prefix", **facts)

    def within(self, *names: str, **fields: Any) -> list[str]:
        """Make a call about the environments of these names, not about the tree."""
        return self.call(site_dirs=(), prefixes=tuple(str(self.top / name) for name in names), **fields)

    def below(self, *names: str, **fields: Any) -> list[str]:
        """Make a call about the environments below these directories."""
        return self.call(site_dirs=(), prefixes_below=tuple(str(self.top / name) for name in names), **fields)

    def make_environment(self, name: str, entries: Entries) -> None:
        """Make an environment of the interpreter beside the tree, and these entries in its own."""
        self.environment = self.top / name
        (self.environment / "bin").mkdir(parents=True)
        (self.environment / "bin/python").symlink_to(self.python)
        (self.environment / "pyvenv.cfg").write_text(f"home = {os.path.dirname(self.python)}\n")
        make(Path(self.interpreter.inside[0].replace("/@", str(self.environment), 1)), entries)

    def give(self, name: str) -> None:
        """Let a directory of the tree be another account's, with everything in it."""
        for path in (self.site / name, *(self.site / name).rglob("*")):
            os.chown(path, 1234, 1234)

    def put(self, name: str, level: int = 0, **fields: Any) -> None:
        """Write a pyc whose header fits a source of these trees, but for what is named."""
        found = self.interpreter
        opt = f".opt-{level}" if level else ""
        make(
            self.site / os.path.dirname(name) / "__pycache__",
            {f"{os.path.basename(name)}.{found.cache_tag}{opt}.pyc": pyc(**{"magic": found.magic_number, **fields})},
        )

    def request(self, work: Work = Work.RUN, paths: tuple[str, ...] | None = None, **fields: Any) -> Request:
        """A request with these fields of its parts."""
        values: dict[str, Any] = {"pythons": (self.python,), "site_dirs": (str(self.site),)}
        values.update(state_dir=str(self.state), config=str(self.config), event="install", jobs=1)
        values.update(fields)
        values["paths"] = None if paths is None else tuple(os.path.join(self.site, path).rstrip("/") for path in paths)
        return Request(work).with_values(values)

    def call(self, work: Work = Work.RUN, paths: tuple[str, ...] | None = None, **fields: Any) -> list[str]:
        """Make a call. Returns what was heard and is reported, a line for each thing."""
        return self.perform(self.request(work, paths, **fields))

    def perform(self, request: Request, **options: Any) -> list[str]:
        """The same with a request that is made already."""
        lines: list[str] = []
        observer = Listener(lines)
        vars(observer).update(options)
        try:
            self.report = perform(request, observer)
        except PyctriggerError as error:
            lines.append(f"raised {error.exit_code}: {error}")
        else:
            lines += reported(self.report)
        # What is to be done about it has a line of its own.
        return [each for line in lines for each in self.short(line).replace("; ", "\n; ").splitlines()]

    def short(self, text: str) -> str:
        """A text with short paths, and the flavour's name for any."""
        interpreter = self.interpreter
        library = interpreter.kind.library
        text = text.replace(f"{self.top}/bin/{library}", "T/bin/LIB").replace(f"lib/{library}", "lib/LIB")
        text = text.replace(str(self.site), "S").replace(str(self.top), "T").replace(self.python, "PYTHON")
        text = text.replace(interpreter.magic_number.hex(), "MAGIC")
        return text.replace(interpreter.cache_tag, "TAG").replace(interpreter.flavour, "FLAVOUR")

    def announce(self, paths: tuple[str, ...] | None, attempts: int = 0, **fields: Any) -> None:
        """Write a transaction into the journal, as another run left it."""
        request = self.request(paths=paths, **fields)
        journal = Journal(str(self.installation))
        journal.write("remove", request.transaction.paths, request.replayable(), attempts)

    def know(self, python: str | None = None, **facts: Any) -> None:
        """Change what the state has about an interpreter."""
        for entry in (self.state / "interpreters").iterdir():
            known = json.loads(entry.read_text())
            if known["interpreter"]["executable"] == (python or self.python):
                known["interpreter"].update(facts)
                entry.write_text(json.dumps(known))

    def install(self, name: str, unless: str = "false", **facts: Any) -> str:
        """Install a script that starts the same interpreter, and let the state have other facts about it."""
        path = self.top / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f'#!/bin/sh\n{unless} && exit 3\nexec {self.python} "$@"\n')
        path.chmod(0o755)
        ProbedInterpreters(str(self.state)).ask(str(path))
        self.know(str(path), **facts)
        return str(path)

    def know_magic(self, number: bytes) -> None:
        """Let the tree's last run have been for this magic number."""
        Store(str(self.state), self.lines.append).learn_magic_number(self.interpreter.installation, number)

    def entry(self, options: dict[str, Any]) -> None:
        """Write an entry into the journal with these options and no others."""
        Journal(str(self.installation)).write("remove", (), options)

    def locks(self, call: Callable[[], list[str]]) -> list[str]:
        """Returns what a call says while another run has the lock."""
        directory, installation = lock_directory(str(self.state)), self.interpreter.installation
        lock = InstallationLock(str(directory), installation)
        lock.acquire(5, self.lines.append)
        try:
            return [re.sub(r"process \d+ .* since [\d:]+", "process N", line) for line in call()]
        finally:
            lock.release()

    def broken(self, call: Callable[[str], list[str]]) -> list[str]:
        """Returns what a call says about the path of an interpreter that doesn't answer."""
        path = self.top / "bin/python"
        path.parent.mkdir(exist_ok=True)
        path.write_text("#!/bin/sh\nexit 3\n")
        path.chmod(0o755)
        return call(str(path))

    def breaking(self, call: Callable[[str], list[str]], announced: tuple[str, ...] = ()) -> list[str]:
        """Returns what a call says about the path of an interpreter that answered before, and doesn't any more.

        Meanwhile another transaction was announced that has failed twice.
        """
        broken = self.top / "broken"
        path = self.install("python", f"test -e {broken}")
        if announced:
            self.announce(announced, 2, optimize=(1,))
        broken.touch()
        try:
            return call(path)
        finally:
            broken.unlink()

    def interrupted(self, paths: tuple[str, ...], **fields: Any) -> None:
        """Make a call that is interrupted after its first compilation."""

        def stop(*_: object) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            self.perform(self.request(paths=paths, **fields), compiled=stop)

    def cramped(self, call: Callable[[], list[str]]) -> list[str]:
        """Returns what a call says that can write no file of more than a megabyte."""
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
        try:
            return call()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    def library(self, call: Callable[[str], list[str]]) -> list[str]:
        """Returns what a call says about a path in the standard library."""
        library = self.interpreter.schemes[self.interpreter.default_scheme]["stdlib"]
        lines = call(os.path.relpath(f"{library}/os.py", self.site))
        return [line for line in lines if "the scope is" not in line and "outside" not in line]

    @property
    def magic(self) -> str:
        """The magic number of the last run, as the state has it."""
        return self.short((Store(str(self.state), print).magic_number(self.installation.name) or b"").hex())

    @property
    def tree(self) -> list[str]:
        """All files and links, and empty directories, in the tree."""
        found = []
        for path in sorted(self.site.rglob("*")):
            if not path.is_dir() or not any(path.iterdir()):
                found.append(self.short(str(path.relative_to(self.site))))
        return found

    @property
    def pending(self) -> list[str]:
        """What is in the journal of the tree's interpreter: paths, event and attempts."""
        return [self.short(_pending(each)) for each in Journal(str(self.installation)).entries()]

    @property
    def history(self) -> list[str]:
        """What the history has of all calls, newest first."""
        return [
            self.short(f"{run.command} {run.event} {run.exit_code} {'hook' if run.hook else 'person'} {run.path_count}")
            for run in History(str(self.state)).runs()
        ]


def _pending(entry: Entry) -> str:
    paths = "everything" if entry.paths is None else " ".join(entry.paths)
    return f"{entry.event} {paths} ({entry.attempts})"


def reported(report: Report) -> list[str]:
    """What a report says."""
    lines = [line for run in report.runs for line in _of_flavour(run)]
    for error in report.errors:
        lines.append(f"error {error.exit_code}: {error.message}" + (f"; {error.hint}" if error.hint else ""))
    return [*lines, *(f"note: {each}" for each in report.notices), f"{report.outcome} {report.exit_code}"]


def _of_flavour(run: FlavourReport) -> Iterator[str]:
    tally = run.tally
    counts = {name: count for name, count in tally.counts.as_dict().items() if count}
    flags = ["deferred"] if run.deferred else []
    flags += [f"took over {run.taken_over}"] if run.taken_over else []
    flags += [name for name in ("left_read_only", "is_interrupted") if getattr(tally, name)]
    yield f"{run.name}: {' '.join([run.outcome, *flags])} {counts}"
    yield from (
        f"failure {each.kind} {each.path}: {each.message}"
        + (" (remembered)" if each.is_remembered else "")
        + (" (needs root)" if each.needs_root else "")
        for each in tally.failures
    )
    yield from (f"unexamined {each.kind} {each.path}: {each.message}" for each in tally.unexamined)
    yield from (
        f"{'known ' if each.known else ''}{each.kind} {each.pyc or each.source}: {each.reason}"
        + (f" [{each.source}]" if each.pyc and each.source else "")
        for each in tally.findings
    )
    yield from (f"{each.action} {each.path}: {each.reason} {list(each.levels) or ''}".strip() for each in tally.actions)
    yield from (f"link {path}: {goal}" for path, goal in tally.links)
    yield from (f"note {run.flavour}: {each}" for each in tally.notices)
    yield from (
        f"takes {each.site}: {each.pycs} of {each.bytes} bytes, {each.by_others} by others" for each in run.takings
    )


@functools.cache
def _known(python: str) -> dict[str, bytes]:
    """What a state directory has of an interpreter that was asked, by file."""
    with tempfile.TemporaryDirectory() as top:
        ProbedInterpreters(top).ask(python)
        return {path.name: path.read_bytes() for path in Path(top, "interpreters").iterdir()}


@pytest.fixture
def caller(newest: Any, tmp_path: Path) -> Caller:
    """Calls about a tree, for the newest CPython."""
    return Caller(tmp_path, newest.path)


@pytest.fixture
def only(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> Caller:
    """The same where no interpreter is found but those that are installed for the test."""
    monkeypatch.setattr(flavour, "STANDARD_DIRECTORIES", (f"{caller.top}/bin",))
    monkeypatch.setattr(sys, "executable", "")
    return caller


@pytest.fixture
def public(as_root: None, newest: Any) -> Iterator[Caller]:
    """The same about a tree that everybody reaches."""
    with public_directory() as top:
        yield Caller(top, newest.path)


@pytest.fixture
def anns(as_root: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Caller]:
    """Calls for Ann, with an interpreter that she can start, about a tree of root's with a compiled `q/b.py`."""
    cpythons = [each.path for each in find_interpreters() if each.implementation == "cpython"]
    found = [path for path in cpythons if _is_everybodys(path)]
    if not found:
        absent("no interpreter that everybody may start")
    with public_directory() as top:
        monkeypatch.setenv("XDG_RUNTIME_DIR", f"{top}/run")
        (top / "run").mkdir()
        caller = Caller(top, found[-1])
        caller.make({"q/b.py": b""})
        caller.call()  # imports what Ann may not be able to read
        for path in (caller.config, top / "run", caller.state, *caller.state.rglob("*")):
            os.chown(path, ANN, ANN)
        yield caller


def _is_everybodys(path: str) -> bool:
    with working_as("ann"):
        return os.access(path, os.X_OK, effective_ids=True)
