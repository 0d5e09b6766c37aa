"""Writing the pycs of one source: whole files in their places, and a record of what each was made from."""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from ...buffers import Buffer
from ...outcome.outcome import LASTING_KINDS, Failure
from ...pyc.header import NO_PYC, InvalidationMode, Verdict
from ...state.records.manifest import Manifest
from ...state.records.record import (
    UNSEEN,
    Record,
    digest_of,
    digest_of_pieces,
    identity_at,
    identity_written,
    learn_clock,
)
from ...tree.layout import Layout, Place
from ...tree.source import PycDigest, SourceRefused, digest_pyc, source_status
from ...tree.writer import Writer, WriteRefused
from ...workers import wire
from ..plan.results import Results
from ..plan.steps import LevelState
from ..plan.wanted import Wanted
from .queue import Asked

#: How often a `__pycache__` may vanish while a source's pycs are written, by another flavour's sweep, before that is a
#: failure.
_TRIES = 4
#: The header fits, and whether the code does is known once there is a new compilation. Who imports while files are
#: replaced writes the code of one version behind the header of the next, if both have the same mtime and size.
_UNVOUCHED = frozenset({Verdict.UNKNOWN, Verdict.SUSPECT})
#: What is removed where there is nothing to replace it with.
_NEVER_KEPT = frozenset({Verdict.OTHER_CONTENT, Verdict.EXPOSED})


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

    def __init__(
        self,
        wanted: Wanted,
        manifest: Manifest,
        results: Results,
        owns: Callable[[str, str], bool] = lambda directory, name: False,
    ) -> None:
        self._wanted = wanted
        self._manifest = manifest
        self.results = results
        self._owns = owns
        self._writers: dict[int, Writer] = {}

    def store(self, asked: Asked, code: wire.Compiled) -> None:
        """Write the pycs of a source, but for those that turn out to be there."""
        place, stale = asked.task
        path, header = place.source(stale.name), self._header(asked.text.status, code)
        written: list[Written] = []
        changed: list[Verdict] = []
        body: Buffer = b""
        left = deque(zip(stale.levels, code.levels))
        tries = _TRIES
        try:
            writer = self.in_tree(place.layout)
            while left:
                state, level = left[0]
                body = level.body or body
                if level.state in (wire.BODY, wire.TWIN) and not self._is_there(asked, state, header, body):
                    try:
                        is_twin = level.state == wire.TWIN and written
                        if not (is_twin and self._link(place, state.pyc, written[-1])):
                            self._make_room(writer, place, state)
                            now, readers = time.time_ns(), place.layout.readers(place.relative, asked.text.rights)
                            status = writer.replace(place.pycache, state.pyc, (header, body), readers)
                            self.results.wrote(place.layout)
                            if status is not None:  # nobody else had this file before it got its name
                                learn_clock(status, now)
                                written.append(Written(status, header, body, level.microseconds, [state.pyc]))
                    except FileNotFoundError:
                        tries -= 1
                        if not tries:
                            raise
                        _reopen(place, stale.name)
                        continue
                    changed.append(state.verdict)
                left.popleft()
        except FileNotFoundError:
            return  # the whole directory is gone, and its sources with it
        except WriteRefused as refusal:
            self.remove_code(asked, "refused")
            self.results.tally.fail(Failure(path, "refused", str(refusal)))
            return
        except OSError as error:
            self.results.io_failure(place.layout, place.relative, path, error, source=True)
            return
        finally:
            self._record(asked, written)
        self._manifest.unlearn(path)
        if changed:
            self.results.tally.counts.compiled += 1
            self.results.observer.compiled(path, changed)
        else:
            self.results.tally.counts.fresh += 1

    def in_tree(self, layout: Layout) -> Writer:
        """What writes the pycs of a tree."""
        writer = self._writers.get(id(layout))
        if writer is None:
            writer = Writer(layout.pycs, self._wanted.writer, clear_obstacles=self._wanted.trust_nothing)
            self._writers[id(layout)] = writer
        return writer

    def remove_code(self, asked: Asked, kind: str) -> None:
        """Remove the pycs of a source that has no code: `import` would take an earlier version's if its header fits.

        Where it failed for the moment, or exceeded a limit of ours, those go that are known to be another source's, or
        that show it to others.
        """
        place, stale = asked.task
        doomed = [
            (state.pyc, None)
            for state in stale.levels
            if state.verdict in _NEVER_KEPT or (kind in LASTING_KINDS and state.verdict not in NO_PYC)
            if not self._owns(place.pyc_directory, state.pyc)
        ]
        if doomed:
            self.results.remove(place, doomed, self._manifest, {pyc: "uncompilable" for pyc, _ in doomed})

    def _header(self, source: os.stat_result, answer: wire.Compiled) -> bytes:
        wanted = self._wanted
        if wanted.mode is InvalidationMode.TIMESTAMP:
            return wanted.header.timestamp(wanted.mtime(source), source.st_size)
        return wanted.header.hashed(wanted.mode, answer.source_hash)

    def _is_there(self, asked: Asked, state: LevelState, header: bytes, body: Buffer) -> bool:
        """Whether a pyc that no record vouches for turns out to hold just these bytes; then it stays."""
        if state.verdict not in _UNVOUCHED:
            return False
        place, text = asked.task.place, asked.text
        found, digest = self._digest(place, state.pyc, len(text.data)), digest_of(body)
        if found is None or (found.header, found.digest) != (header, digest):
            return False
        seen = identity_at(text.status, text.when)
        identity = identity_at(found.status, found.when)
        record = Record(seen, asked.digest, identity, digest, header)
        self._manifest.pycs.note(place.pyc_directory, state.pyc, record)
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

    def _record(self, asked: Asked, written: list[Written]) -> None:
        """Remember of which source pycs were made, and how both look."""
        if not written:
            return
        place, text = asked.task.place, asked.text
        seen, source_digest = identity_at(text.status, text.when), asked.digest
        for status, header, body, microseconds, names in written:
            identity = identity_written(status) if len(names) == 1 else self._identity_now(place, names[0], status)
            record = Record(seen, source_digest, identity, digest_of(body), header, microseconds)
            for name in names:
                self._manifest.pycs.note(place.pyc_directory, name, record)

    def _identity_now(self, place: Place, name: str, written: os.stat_result) -> str:
        """A link changes the ctime of what it links to."""
        try:
            status = place.layout.pycs.lstat(place.pycache, name)
        except OSError:
            return UNSEEN
        return identity_written(status) if status.st_ino == written.st_ino else UNSEEN

    def _digest(self, place: Place, pyc: str, source_size: int) -> PycDigest | None:
        size = self._wanted.header.size
        try:
            return digest_pyc(place.layout.pycs, place.pycache, pyc, source_size, size, digest_of_pieces)
        except (OSError, SourceRefused):
            return None


def _reopen(place: Place, source: str) -> None:
    """Another flavour shares the directory, and has swept it away under our descriptor.

    Raises FileNotFoundError where the source is gone.
    """
    place.layout.pycs.forget(place.pycache)
    place.layout.sources.forget(place.relative)
    source_status(place.layout.sources, place.relative, source)
