"""The private trees of a measurement: one of bytecode for each state, filled from what a first run has left behind.

The sources stay where they are, with all that lies beside them, and only the bytecode is looked for elsewhere
(`sys.pycache_prefix`): nothing is copied, nothing of the installation's is opened for writing, and what the trees don't
hold is absent, whatever is in the installation's own `__pycache__`. So they hold the standard library's as well.
A run that may write repairs what it doesn't accept: that finds the sources, and proves each state.
"""

from __future__ import annotations

import contextlib
import enum
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial
from itertools import groupby
from typing import NamedTuple

from ...buffers import Buffer
from ...errors import MeasurementError
from ...interpreter.interpreter import Interpreter
from ...interpreter.scope import PACKAGE_DIRECTORIES, own_directories
from ...outcome.observer import Observer
from ...outcome.outcome import Failure
from ...pyc.header import HeaderFormat, InvalidationMode
from ...pyc.names import PycNames
from ...run.scope.forked import look_as_others
from ...tree.directory import Tree
from ...tree.source import SourceRefused, read_source
from ...workers import wire
from ...workers.pool import Answer, Lost, Pool
from ...workers.worker import Job

#: Bytes. No pyc is larger.
_LARGEST = 128 << 20
STATES = ("stale", "absent", "fresh")


class Kind(enum.Enum):
    """What makes bytecode stale."""

    MAGIC = "magic"
    """The magic number of another release, as after an upgrade of the interpreter in place."""
    MTIME = "mtime"
    """The source's time has changed, as in a tree that was copied, or whose times were rewritten (ostree)."""
    HASH = "hash"
    """A checked hash that isn't the source's (PEP 552)."""

    def spoil(self, content: bytes, header: HeaderFormat) -> bytes:
        """Returns a fresh pyc, with a timestamp, made stale."""
        if self is Kind.MAGIC:
            return foreign_magic(header.magic_number) + content[4:]
        if self is Kind.MTIME:
            start = header.size - 8
            mtime = int.from_bytes(content[start : start + 4], "little") + 1 & 0xFFFFFFFF
            return content[:start] + mtime.to_bytes(4, "little") + content[start + 4 :]
        return header.hashed(InvalidationMode.CHECKED_HASH, bytes(8)) + content[header.size :]


def foreign_magic(own: bytes) -> bytes:
    """Returns the number before: that of the release candidate before."""
    return (int.from_bytes(own[:2], "little") - 1 & 0xFFFF).to_bytes(2, "little") + own[2:]


class Pyc(NamedTuple):
    """One pyc in a tree."""

    path: str
    """Relative to the tree."""
    source: str
    """Absolute path of its source, as the target knows it."""
    level: int
    """Optimization level."""


class _Asked(NamedTuple):
    """What a worker was asked for: the pycs of one source, as it was when it was read."""

    pycs: list[Pyc]
    status: os.stat_result


class Trees:
    """All trees of one measurement, below a directory of its own."""

    def __init__(
        self, interpreter: Interpreter, base: str, kind: Kind, start_workers: Callable[[], Pool], *, stdlib: bool
    ) -> None:
        self._start_workers = start_workers
        self._base = base
        self._kind = kind
        self._names = PycNames(interpreter.cache_tag)
        self._header = HeaderFormat.of(interpreter.magic_number, interpreter.version)
        library = () if stdlib else tuple({os.path.realpath(at) for at in own_directories(interpreter).library})
        self._is_in_library = lru_cache(maxsize=None)(partial(_is_in_library, library))
        #: What is stale, absent or fresh in its tree.
        self.measured: dict[str, Pyc] = {}
        #: What is fresh in every tree: the standard library's, unless it is to be measured.
        self.others: dict[str, Pyc] = {}
        self.failures: dict[str, Failure] = {}

    def path(self, state: str) -> str:
        """Returns the tree of a state."""
        return os.path.join(self._base, state)

    def add(self, tree: str) -> int:
        """Give every source with bytecode in `tree` its own in the tree of each state; how many there were to give.

        Raises PyctriggerError and OSError.
        """
        known = self.measured.keys() | self.others.keys()
        found = [pyc for pyc in self._pycs(tree) if pyc.path not in known and pyc.source not in self.failures]
        failures = look_as_others(lambda _: self._compile(found), Observer())
        self.failures.update((failure.path, failure) for failure in failures)
        made = [pyc for pyc in found if os.path.isfile(os.path.join(self.path("fresh"), pyc.path))]
        for pyc in made:
            is_other = self._is_library(pyc.source)
            (self.others if is_other else self.measured)[pyc.path] = pyc
            fresh = os.path.join(self.path("fresh"), pyc.path)
            if is_other:
                for state in ("absent", "stale"):
                    os.link(fresh, _room(self.path(state), pyc.path))
                continue
            with open(fresh, "rb") as file:
                content = file.read(_LARGEST)
            with open(_room(self.path("stale"), pyc.path), "xb") as file:
                file.write(self._kind.spoil(content, self._header))
        return len(made)

    @property
    def left_out(self) -> list[Failure]:
        """The sources to be measured that are imported, and for which pyctrigger writes no bytecode."""
        return [failure for path, failure in self.failures.items() if not self._is_library(path)]

    def copy(self, state: str, name: str) -> str:
        """Copy a tree for a run that may write: importers put new files in place of old ones, so links are copies."""
        goal = os.path.join(self._base, name)
        shutil.copytree(self.path(state), goal, copy_function=os.link)
        return goal

    def require_accepted(self, tree: str) -> None:
        """Raise MeasurementError unless a run with a copy of the fresh tree left all of it as it was."""
        self._require_same("fresh", tree, {**self.measured, **self.others})

    def require_refused(self, tree: str) -> int:
        """How many pycs a run with a copy of the stale tree refused; the rest belongs to what only a first run imports.

        Raises MeasurementError unless the others were accepted, and any refused.
        """
        self._require_same("stale", tree, self.others)
        refused = sum(1 for _ in self._replaced("stale", tree, self.measured))
        if not refused:
            raise MeasurementError(
                "Python refused no stale bytecode: none of it was imported again", hint="measure something else"
            )
        return refused

    def _require_same(self, state: str, tree: str, pycs: dict[str, Pyc]) -> None:
        for path in self._replaced(state, tree, pycs):
            raise MeasurementError(
                f"{pycs[path].source}: the target doesn't accept the bytecode just made for it",
                hint="measure again while nothing changes the sources",
            )

    def _replaced(self, state: str, tree: str, paths: Iterable[str]) -> Iterator[str]:
        for path in paths:
            if not os.path.samefile(os.path.join(self.path(state), path), os.path.join(tree, path)):
                yield path

    def fingerprint(self) -> dict[str, tuple[int, int, int]]:
        """Returns what a write to the tree of any state would change."""
        found = {}
        for state in STATES:
            for directory, _, names in os.walk(self.path(state)):
                for name in names:
                    path = os.path.join(directory, name)
                    status = os.lstat(path)
                    found[path] = (status.st_ino, status.st_mtime_ns, status.st_size)
        return found

    def changed_since(self, moment: float) -> list[str]:
        """Returns the directories of sources and pycs that somebody has changed since then (seconds since 1970)."""
        directories = {os.path.dirname(pyc.source) for pyc in (*self.measured.values(), *self.others.values())}
        changed = []
        for directory in sorted(each for each in directories if not each.startswith(self._base + "/")):
            for path in (directory, os.path.join(directory, "__pycache__")):
                try:
                    status = os.stat(path)
                except OSError:
                    continue  # not every directory has one
                if max(status.st_mtime, status.st_ctime) >= moment:
                    changed.append(path)
        return changed

    def _compile(self, pycs: list[Pyc]) -> list[Failure]:
        """Compile the sources of these pycs into the fresh tree. Returns those that failed."""
        failures: list[Failure] = []
        with contextlib.ExitStack() as stack:
            workers = stack.enter_context(self._start_workers())
            for job, answer in workers.map(_jobs(pycs, failures, stack)):
                failures += self._write(job, answer)
        return failures

    def _write(self, job: Job, answer: Answer) -> Iterator[Failure]:
        asked = job.context
        assert isinstance(asked, _Asked)
        source = asked.pycs[0].source
        if isinstance(answer, wire.Failed):
            yield Failure(source, answer.kind, f"line {answer.line}, {answer.name}" if answer.line else answer.name)
        elif isinstance(answer, Lost):
            yield Failure(source, answer.kind, answer.message)
        elif not isinstance(answer, wire.Compiled) or len(answer.levels) != len(asked.pycs):
            yield Failure(source, "crash", "the worker's answer is incomplete")
        else:
            header = self._header.timestamp(int(asked.status.st_mtime), asked.status.st_size)
            body: Buffer = b""
            for pyc, level in zip(asked.pycs, answer.levels):
                body = level.body or body  # several levels may have the same code
                with open(_room(self.path("fresh"), pyc.path), "xb") as file:
                    file.write(header)
                    file.write(body)

    def _pycs(self, tree: str) -> Iterator[Pyc]:
        """Yields what a run has left in a tree: bytecode of this flavour, whose source is still there."""
        for directory, _, names in os.walk(tree):
            inside = os.path.relpath(directory, tree)
            for name in names:
                source = self._names.source_of(name)
                path = os.path.join("/", inside, source) if source else ""
                if source and os.path.isfile(path):
                    yield Pyc(os.path.join(inside, name), path, self._names.level_of(name))

    def _is_library(self, source: str) -> bool:
        return self._is_in_library(os.path.dirname(source))


def _is_in_library(library: tuple[str, ...], directory: str) -> bool:
    """Whether a directory is in a standard library, and not in a directory of packages below one."""
    real = os.path.realpath(directory)
    inside = [real[len(each) :] for each in library if f"{real}/".startswith(f"{each}/")]
    return any(not PACKAGE_DIRECTORIES & {*each.split("/")} for each in inside)


def _room(tree: str, path: str) -> str:
    goal = os.path.join(tree, path)
    os.makedirs(os.path.dirname(goal), exist_ok=True)
    return goal


def _jobs(pycs: list[Pyc], failures: list[Failure], stack: contextlib.ExitStack) -> Iterator[Job]:
    """A request for each source; what can't be read becomes a failure.

    A directory with all that lies below it, without a link between, is opened once.
    """
    tree, top = None, ""
    ordered = sorted(pycs, key=lambda pyc: (os.path.dirname(pyc.source).split("/"), pyc.source))
    for source, group in groupby(ordered, key=lambda pyc: pyc.source):
        wanted = list(group)
        directory, name = os.path.split(source)
        try:
            if tree is None or not _is_below(directory, top):
                tree, top = stack.enter_context(Tree.open(directory)), directory
            text = read_source(tree, directory[len(top) + 1 :], name)
        except SourceRefused as refusal:
            failures.append(Failure(source, "refused", str(refusal)))
        except OSError as error:
            failures.append(Failure(source, "io", error.strerror or str(error)))
        else:
            levels = [wire.LevelRequest(pyc.level) for pyc in wanted]
            yield Job(wire.request(levels, os.fsencode(source), text.data), _Asked(wanted, text.status))


def _is_below(directory: str, top: str) -> bool:
    if directory != top and not directory.startswith(top + "/"):
        return False
    return os.path.realpath(directory) == os.path.realpath(top) + directory[len(top) :]
