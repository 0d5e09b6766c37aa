"""Writes the pycs of a source: whole files, each with a record of what it was made from.

The code is new, or that of the existing pyc with a new header. A reinstalled package, an upgrade and a copied tree
change the times of all sources, and the contents of few. If the manifest knows that a body was made from just these
bytes, compiling again would only give the same body.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from itertools import repeat

from ...buffers import Buffer
from ...outcome.outcome import LASTING_KINDS, Failure
from ...pyc.header import NO_PYC, InvalidationMode, Verdict
from ...state.records.record import UNSEEN, Record, digest_of, identity_at, identity_of, identity_written, learn_clock
from ...tree.layout import Layout, Place
from ...tree.permission.readers import Readers
from ...tree.source import SourceRefused, SourceText, is_unchanged, read_pyc, source_rights, source_status
from ...tree.writer import Writer, WriteRefused
from ...typed import NamedTuple
from ...workers import wire
from ..plan.knowledge import Knowledge
from ..plan.results import Results
from ..plan.steps import LevelState, Removal, Stale
from ..plan.verdicts import digest_pyc_of, record_of
from ..plan.wanted import Wanted

#: How often a `__pycache__` may vanish while a pyc is written, by another flavour's sweep, before that is a failure.
_RETRIES = 3
#: For each try: whether it is the last one.
_TRIES = (*[False] * _RETRIES, True)
#: The header fits; whether the code does is known after a new compilation. A program that imports while files are
#: replaced writes the code of one version with the header of the next, if both have the same mtime and size.
_UNVOUCHED = (Verdict.UNKNOWN, Verdict.SUSPECT)
#: Removed even if there is nothing to replace it with.
_NEVER_KEPT = frozenset({Verdict.OTHER_CONTENT, Verdict.EXPOSED})

_WITH_CODE = (wire.BODY, wire.TWIN)

#: A pyc to write, and its record but for the identity that it will have.
Pyc = tuple[LevelState, Record]


class SourceRead(NamedTuple):
    """A source that was read, on its way through a worker."""

    place: Place
    stale: Stale
    path: str
    """Its full path."""
    text: SourceText
    digest: bytes
    whole_digest: bytes = b""
    """What `digest` is the beginning of."""


class StoredAnswer(NamedTuple):
    """What a store has for a source that was read."""

    code: wire.Compiled
    store: str
    """What the store is called."""
    signers: tuple[str, ...]
    """Who signed the code of each level."""


#: A source to compile, in its directory.
Task = tuple[Place, Stale]


class SourceTurn(NamedTuple):
    """What is done with a source when it is its turn to be looked for in a store."""

    read: Callable[[Place, Stale], SourceRead | None]
    """Returns it, or None after reporting why there is nothing to compile."""
    use: Callable[[SourceRead], bool]
    """Returns whether the store has it, and writes its code then."""
    is_busy: Callable[[], bool]
    """Whether a worker has work."""


class PycWriter:
    """Writes the pycs of a request, and adds what became of them to `results`."""

    def __init__(self, wanted: Wanted, knowledge: Knowledge, results: Results) -> None:
        self._wanted = wanted
        self._manifest = knowledge.manifest
        self._owns = knowledge.ownership.owns
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

    def store(self, source: SourceRead, code: wire.Compiled, stored: StoredAnswer | None = None) -> None:
        """Write the pycs of a source, except those that turn out to be right already.

        `stored` is where the code came from, if that is a store.
        """
        place, path, header = source.place, source.path, self._header(source.text.status, code)
        changed: list[Verdict] = []
        try:
            for body, pycs in self._group_by_code(source, code, header, stored):
                for is_last in _TRIES:
                    try:
                        readers = place.layout.readers(place.relative, source.text.rights)
                        self._put(place, source.stale, pycs, (header, body), readers)
                        break
                    except FileNotFoundError:
                        if is_last:
                            raise
                        _reopen(place, source.stale.name)
                changed += [state.verdict for state, _ in pycs]
        except FileNotFoundError:
            return  # the directory is gone, and its sources with it
        except WriteRefused as refusal:
            self.remove_code(source, "refused")
            self._results.tally.fail(Failure(path, "refused", str(refusal), has_remedy=refusal.has_remedy))
            return
        except OSError as error:
            self._results.io_failure(place.layout, place.relative, path, error, source=True)
            return
        self._manifest.unlearn(path)
        if changed and stored is not None:
            self._results.tally.counts.stored += 1
            self._results.observer.stored(path, changed)
        elif changed:
            self._results.tally.counts.compiled += 1
            self._results.observer.compiled(path, changed)
        else:
            self._results.tally.counts.fresh += 1

    def _group_by_code(
        self, source: SourceRead, code: wire.Compiled, header: bytes, stored: StoredAnswer | None
    ) -> list[tuple[Buffer, list[Pyc]]]:
        """Returns the pycs to write, grouped by their code."""
        groups: list[tuple[Buffer, list[Pyc]]] = []
        seen = identity_at(source.text.status, source.text.when)
        body: Buffer = b""
        digest = b""
        store = "" if stored is None else stored.store
        signers = repeat("") if stored is None else stored.signers
        for state, level, signer in zip(source.stale.levels, code.levels, signers):
            if level.body:
                body, digest = level.body, digest_of(level.body)
            if level.state not in _WITH_CODE:
                continue
            if state.verdict not in _UNVOUCHED or not self._is_there(source, state, header, digest):
                if not groups or groups[-1][0] is not body:
                    groups.append((body, []))
                record = Record(seen, source.digest, UNSEEN, digest, header, level.microseconds, store, signer)
                groups[-1][1].append((state, record))
        return groups

    def remove_code(self, source: SourceRead, kind: str) -> None:
        """Remove the pycs of a source that has no code: `import` would take an earlier version's if its header fits.

        Where it failed for the moment, or exceeded a limit of ours, those go that are known to be another source's, or
        that show it to others.
        """
        place = source.place
        pycs = [
            source.stale.pyc(state)
            for state in source.stale.levels
            if state.verdict in _NEVER_KEPT or (kind in LASTING_KINDS and state.verdict not in NO_PYC)
        ]
        doomed = [Removal(pyc, "uncompilable") for pyc in pycs if not self._owns(place.pyc_directory, pyc)]
        if doomed:
            self._results.remove(place, doomed, self._manifest)

    def _header(self, source: os.stat_result, code: wire.Compiled) -> bytes:
        if self._wanted.mode is InvalidationMode.TIMESTAMP:
            return self._wanted.expected_header(source)
        return self._wanted.header.hashed(self._wanted.mode, code.source_hash)

    def _is_there(self, source: SourceRead, state: LevelState, header: bytes, digest: bytes) -> bool:
        """Whether a pyc without a valid record turns out to have just these bytes. If so, record it."""
        place, pyc = source.place, source.stale.pyc(state)
        found = digest_pyc_of(place.layout, place.relative, pyc, len(source.text.data), len(header))
        if found is None or (found.header, found.digest) != (header, digest):
            return False
        self._manifest.pycs.note(place.pyc_directory, pyc, record_of(source.text, source.digest, found))
        return True

    # -- files ---------------------------------------------------------------------------------------------------

    def _put(
        self, place: Place, stale: Stale, pycs: list[Pyc], content: tuple[bytes, Buffer], readers: Readers
    ) -> None:
        """Write the same code for some levels, and record each file. Raises OSError and WriteRefused."""
        writer = self.in_tree(place.layout)
        files: list[tuple[os.stat_result, Record, list[str]]] = []
        try:
            for state, record in pycs:
                pyc = stale.pyc(state)
                if files and self._wanted.links_twins:
                    status, _, names = files[-1]
                    if writer.link(place.pycache, names[0], pyc, status):
                        names.append(pyc)
                        continue
                if state.verdict is Verdict.OBSTRUCTED or not place.layout.pycs.is_open(place.pycache):
                    _make_room(writer, place, pyc, state.verdict)
                now = time.time_ns()
                written = writer.replace(place.pycache, pyc, content, readers)
                self._results.wrote(place.layout)
                if written is not None:  # nobody else had this file before it got its name
                    learn_clock(written, now)
                    files.append((written, record, [pyc]))
        finally:
            for status, record, names in files:
                identity = identity_written(status) if len(names) == 1 else _identity_now(place, names[0], status)
                for name in names:
                    self._manifest.pycs.note(place.pyc_directory, name, record.of_pyc(identity))

    # -- the same code, a new header -----------------------------------------------------------------------------

    def refresh(self, place: Place, stale: Stale) -> Stale | None:
        """Give the pycs of a source new headers. Returns what has to be compiled after all, or None.

        The same code goes into a new file, with the rights that its source has now: the one that is there may be read
        at this moment, and have more names than ours.
        """
        if stale.status is None:
            return stale  # there are no pycs
        header = self._wanted.expected_header(stale.status)
        seen = identity_at(stale.status, self._results.began)
        left: list[LevelState] = []
        by_code: dict[bytes, list[LevelState]] = {}
        for state in stale.levels:
            by_code.setdefault(state.record.body_digest if state.record else b"", []).append(state)
        try:
            readers = _readers_now(place, stale.name, stale.status)
            for states in by_code.values():
                body = self._recorded_body(place, stale, states[0])
                renewed = [(each, each.record._replace(source=seen, header=header)) for each in states if each.record]
                try:
                    if readers is None or body is None:
                        left += states
                    else:
                        self._put(place, stale, renewed, (header, body), readers)
                except WriteRefused:  # compiling it will report the reason
                    left += states
        except OSError as error:
            path = place.source(stale.name)
            self._results.io_failure(place.layout, place.relative, path, error, source=True)
            return None
        if left:
            return stale._replace(levels=tuple(sorted(left, key=lambda state: state.level)))
        self._results.tally.counts.refreshed += 1
        self._results.observer.refreshed(place.source(stale.name))
        return None

    def _recorded_body(self, place: Place, stale: Stale, state: LevelState) -> memoryview | None:
        """Returns the code of a pyc; None where it isn't the recorded one."""
        try:
            found, status = read_pyc(place.layout.pycs, place.pycache, stale.pyc(state), stale.size)
        except (OSError, SourceRefused):
            return None
        record, body = state.record, memoryview(found)[self._wanted.header.size :]
        if record is None or (identity_of(status) != record.pyc and digest_of(body) != record.body_digest):
            return None
        return body


def _make_room(writer: Writer, place: Place, pyc: str, verdict: Verdict) -> None:
    """Make the directory of the pycs, if need be, and clear what is in the way. Raises OSError and WriteRefused."""
    if place.layout.has_prefix:
        path = ""
        for part in place.pycache.split("/"):
            path = writer.ensure_directory(path, part)
    else:
        writer.ensure_pycache(place.relative)
    if verdict is Verdict.OBSTRUCTED:
        with contextlib.suppress(FileNotFoundError):
            writer.make_way(place.pycache, pyc)


def _readers_now(place: Place, name: str, judged: os.stat_result) -> Readers | None:
    """Returns who may read a source, or None if it has changed since it was looked at."""
    try:
        rights = source_rights(place.layout.sources, place.relative, name)
        readers = place.layout.readers(place.relative, rights)
        return readers if is_unchanged(judged, rights.status) else None
    except (OSError, SourceRefused):
        return None


def _identity_now(place: Place, name: str, written: os.stat_result) -> bytes:
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
