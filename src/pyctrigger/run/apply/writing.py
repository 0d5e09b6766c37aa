"""Writing the pycs of one source: whole files in their places, and a record of what each was made from.

The code is new, or it is that of the pyc that is there, with a new header. A reinstalled package, an upgrade and a
copied tree change the times of sources, and few of their contents. Where the manifest knows that a body was made from
just these bytes, compiling again would only give that body again.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from typing import NamedTuple

from ...buffers import Buffer
from ...outcome.outcome import LASTING_KINDS, Failure
from ...pyc.header import NO_PYC, InvalidationMode, Verdict
from ...state.records.record import UNSEEN, Record, digest_of, identity_at, identity_of, identity_written, learn_clock
from ...tree.layout import Layout, Place
from ...tree.permission.readers import Readers
from ...tree.source import SourceRefused, SourceText, is_unchanged, read_pyc, source_rights, source_status
from ...tree.writer import Writer, WriteRefused
from ...workers import wire
from ..plan.knowledge import Knowledge
from ..plan.results import Results
from ..plan.steps import LevelState, Removal, Stale
from ..plan.verdicts import digest_pyc_of, record_of
from ..plan.wanted import Wanted

#: How often a `__pycache__` may vanish while a source's pycs are written, by another flavour's sweep, before that is a
#: failure.
_TRIES = 4
#: The header fits, and whether the code does is known once there is a new compilation. Who imports while files are
#: replaced writes the code of one version behind the header of the next, if both have the same mtime and size.
_UNVOUCHED = frozenset({Verdict.UNKNOWN, Verdict.SUSPECT})
#: What is removed where there is nothing to replace it with.
_NEVER_KEPT = frozenset({Verdict.OTHER_CONTENT, Verdict.EXPOSED})


class SourceRead(NamedTuple):
    """A source that was read, on its way through a worker."""

    place: Place
    stale: Stale
    text: SourceText
    digest: bytes

    @property
    def path(self) -> str:
        """Its full path."""
        return self.place.source(self.stale.name)


class Written(NamedTuple):
    """A pyc in its place, and what of it will be recorded."""

    status: os.stat_result
    header: bytes
    body: Buffer
    microseconds: int
    names: list[str]
    """One for each level that has this code."""


class PycWriter:
    """Writes the pycs of a request. What became of them goes into `results`."""

    def __init__(self, wanted: Wanted, knowledge: Knowledge, results: Results) -> None:
        self._wanted = wanted
        self._manifest = knowledge.manifest
        self._is_owned = knowledge.is_owned
        self._results = results
        self._writers: dict[int, Writer] = {}

    def in_tree(self, layout: Layout) -> Writer:
        """Returns what writes the pycs of a tree."""
        writer = self._writers.get(id(layout))
        if writer is None:
            writer = Writer(layout.pycs, self._wanted.writer, clear_obstacles=self._wanted.trust_nothing)
            self._writers[id(layout)] = writer
        return writer

    # -- new code ------------------------------------------------------------------------------------------------

    def store(self, source: SourceRead, code: wire.Compiled) -> None:
        """Write the pycs of a source, except those that turn out to be there."""
        place, path, header = source.place, source.path, self._header(source.text.status, code)
        written: list[Written] = []
        changed: list[Verdict] = []
        body: Buffer = b""
        left = deque(zip(source.stale.levels, code.levels))
        tries = _TRIES
        try:
            writer = self.in_tree(place.layout)
            while left:
                state, level = left[0]
                body = level.body or body
                if level.state in (wire.BODY, wire.TWIN) and not self._is_there(source, state, header, body):
                    try:
                        is_twin = level.state == wire.TWIN and written
                        if not (is_twin and self._link(place, state.pyc, written[-1])):
                            self._make_room(writer, place, state)
                            now, readers = time.time_ns(), place.layout.readers(place.relative, source.text.rights)
                            status = writer.replace(place.pycache, state.pyc, (header, body), readers)
                            self._results.wrote(place.layout)
                            if status is not None:  # nobody else had this file before it got its name
                                learn_clock(status, now)
                                written.append(Written(status, header, body, level.microseconds, [state.pyc]))
                    except FileNotFoundError:
                        tries -= 1
                        if not tries:
                            raise
                        _reopen(place, source.stale.name)
                        continue
                    changed.append(state.verdict)
                left.popleft()
        except FileNotFoundError:
            return  # the whole directory is gone, and its sources with it
        except WriteRefused as refusal:
            self.remove_code(source, "refused")
            self._results.tally.fail(Failure(path, "refused", str(refusal)))
            return
        except OSError as error:
            self._results.io_failure(place.layout, place.relative, path, error, source=True)
            return
        finally:
            self._record(source, written)
        self._manifest.unlearn(path)
        if changed:
            self._results.tally.counts.compiled += 1
            self._results.observer.compiled(path, changed)
        else:
            self._results.tally.counts.fresh += 1

    def remove_code(self, source: SourceRead, kind: str) -> None:
        """Remove the pycs of a source that has no code: `import` would take an earlier version's if its header fits.

        Where it failed for the moment, or exceeded a limit of ours, those go that are known to be another source's, or
        that show it to others.
        """
        place = source.place
        doomed = [
            Removal(state.pyc, "uncompilable")
            for state in source.stale.levels
            if state.verdict in _NEVER_KEPT or (kind in LASTING_KINDS and state.verdict not in NO_PYC)
            if not self._is_owned(place.pyc_directory, state.pyc)
        ]
        if doomed:
            self._results.remove(place, doomed, self._manifest)

    def _header(self, source: os.stat_result, code: wire.Compiled) -> bytes:
        if self._wanted.mode is InvalidationMode.TIMESTAMP:
            return self._wanted.expected_header(source)
        return self._wanted.header.hashed(self._wanted.mode, code.source_hash)

    def _is_there(self, source: SourceRead, state: LevelState, header: bytes, body: Buffer) -> bool:
        """Whether a pyc that no record vouches for turns out to hold just these bytes; then it stays."""
        if state.verdict not in _UNVOUCHED:
            return False
        place = source.place
        found = digest_pyc_of(place.layout, place.relative, state.pyc, len(source.text.data), len(header))
        if found is None or (found.header, found.digest) != (header, digest_of(body)):
            return False
        self._manifest.pycs.note(place.pyc_directory, state.pyc, record_of(source.text, source.digest, found))
        return True

    def _make_room(self, writer: Writer, place: Place, state: LevelState) -> None:
        """Make the directory of the pycs, if need be, and clear what is in the way. Raises OSError and WriteRefused."""
        if place.layout.has_prefix:
            path = ""
            for part in place.pycache.split("/"):
                path = writer.ensure_directory(path, part)
        else:
            writer.ensure_pycache(place.relative)
        if state.verdict is Verdict.OBSTRUCTED:
            with contextlib.suppress(FileNotFoundError):
                writer.make_way(place.pycache, state.pyc)

    def _link(self, place: Place, pyc: str, first: Written) -> bool:
        """Give a pyc that was just written the name of one more level; False where that has to be a file of its own."""
        if not self._wanted.links_twins:
            return False
        if not self.in_tree(place.layout).link(place.pycache, first.names[0], pyc, first.status):
            return False
        first.names.append(pyc)
        return True

    def _record(self, source: SourceRead, written: list[Written]) -> None:
        """Record of which source pycs were made, and how both look."""
        if not written:
            return
        place, seen = source.place, identity_at(source.text.status, source.text.when)
        for status, header, body, microseconds, names in written:
            identity = identity_written(status) if len(names) == 1 else _identity_now(place, names[0], status)
            record = Record(seen, source.digest, identity, digest_of(body), header, microseconds)
            for name in names:
                self._manifest.pycs.note(place.pyc_directory, name, record)

    # -- the same code, a new header -----------------------------------------------------------------------------

    def refresh(self, place: Place, stale: Stale) -> Stale | None:
        """Give all pycs of a source new headers. Returns what is left to compile, since it has changed meanwhile."""
        left: list[LevelState] = []
        try:
            readers = _readers_now(place, stale)
            files: dict[str, list[LevelState]] = {}
            for state in stale.levels:
                files.setdefault(state.record.pyc if state.record else state.pyc, []).append(state)
            for states in files.values():  # the levels of which one file has the names
                record = states[0].record
                renewed = self._rewrite(place, stale, states, record, readers) if readers and record else None
                if renewed is None:
                    left += states
                    continue
                for state in states:
                    self._manifest.pycs.note(place.pyc_directory, state.pyc, renewed)
        except OSError as error:
            path = place.source(stale.name)
            self._results.io_failure(place.layout, place.relative, path, error, source=True)
            return None
        self._results.wrote(place.layout)
        if left:
            return stale._replace(levels=tuple(sorted(left, key=lambda state: state.level)))
        self._results.tally.counts.refreshed += 1
        self._results.observer.refreshed(place.source(stale.name))
        return None

    def _rewrite(
        self, place: Place, stale: Stale, states: list[LevelState], record: Record, readers: Readers
    ) -> Record | None:
        """Write the same code into a new file, with the rights that its source has now. Returns its record.

        Never into the one that is there: it may be read at this moment, and have more names than ours. None where its
        code isn't the recorded one.
        """
        try:
            found, status = read_pyc(place.layout.pycs, place.pycache, states[0].pyc, stale.status.st_size)
        except (OSError, SourceRefused):
            return None
        header, body = self._wanted.expected_header(stale.status), memoryview(found)[self._wanted.header.size :]
        if identity_of(status) != record.pyc and digest_of(body) != record.body_digest:
            return None
        writer, links = self.in_tree(place.layout), self._wanted.links_twins
        try:
            first = writer.replace(place.pycache, states[0].pyc, (header, body), readers)
            if first is None:
                return None
            for state in states[1:]:
                if not (links and writer.link(place.pycache, states[0].pyc, state.pyc, first)):
                    writer.replace(place.pycache, state.pyc, (header, body), readers)
        except WriteRefused:  # who compiles it says why
            return None
        # Each link changes the ctime of all, and what isn't linked is another file.
        identity = identity_written(first) if len(states) == 1 else UNSEEN
        return record._replace(source=identity_at(stale.status, self._results.began), pyc=identity, header=header)


def _readers_now(place: Place, stale: Stale) -> Readers | None:
    """Returns who may read a source, or None if it has changed since it was looked at."""
    try:
        rights = source_rights(place.layout.sources, place.relative, stale.name)
        readers = place.layout.readers(place.relative, rights)
        return readers if is_unchanged(stale.status, rights.status) else None
    except (OSError, SourceRefused):
        return None


def _identity_now(place: Place, name: str, written: os.stat_result) -> str:
    """Returns the identity of a pyc after it was linked, which changes its ctime."""
    try:
        status = place.layout.pycs.lstat(place.pycache, name)
    except OSError:
        return UNSEEN
    return identity_written(status) if status.st_ino == written.st_ino else UNSEEN


def _reopen(place: Place, source: str) -> None:
    """Reopen a directory that another flavour, which shares it, has swept away under our descriptor.

    Raises FileNotFoundError where the source is gone.
    """
    place.layout.pycs.forget(place.pycache)
    place.layout.sources.forget(place.relative)
    source_status(place.layout.sources, place.relative, source)
