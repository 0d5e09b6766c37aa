"""Refreshing: a new header for the same code.

A reinstalled package, an upgrade and a copied tree change the times of sources, and few of their contents. Where the
manifest knows that a body was made from just these bytes, compiling again would only give that body again.
"""

from __future__ import annotations

from ...pyc.header import Verdict
from ...state.records.manifest import Manifest
from ...state.records.record import UNSEEN, Record, digest_of, identity_at, identity_of, identity_written
from ...tree.permission.readers import Readers
from ...tree.source import SourceRefused, is_unchanged, read_pyc, source_rights
from ...tree.writer import WriteRefused
from ..plan.steps import LevelState
from ..plan.wanted import Wanted
from .queue import Task
from .writing import PycWriter


class Refresher:
    """Refreshes the pycs of one flavour."""

    def __init__(self, wanted: Wanted, manifest: Manifest, writer: PycWriter, began: int) -> None:
        self._wanted = wanted
        #: Nanoseconds since the epoch: before any source was read.
        self._began = began
        self._manifest = manifest
        self._writer = writer

    def refresh(self, task: Task) -> Task | None:
        """Refresh those levels of a source that can be; what is left to compile, None if that is nothing.

        What has changed since it was looked at is left to be compiled. Raises OSError where the file system doesn't
        take it.
        """
        place, stale = task
        left = [state for state in stale.levels if state.verdict is not Verdict.REFRESHABLE]
        header = self._wanted.header.timestamp(self._wanted.mtime(stale.status), stale.status.st_size)
        source = identity_at(stale.status, self._began)
        readers = _readers(task)
        for states in _by_file(stale.levels):
            record = states[0].record
            identity = self._rewrite(task, states, header, record, readers) if readers and record else None
            if record is None or identity is None:
                left += states
                continue
            for state in states:
                renewed = record._replace(source=source, pyc=identity, header=header)
                self._manifest.pycs.note(place.pyc_directory, state.pyc, renewed)
        left.sort(key=lambda state: state.level)
        return task._replace(stale=stale._replace(levels=tuple(left))) if left else None

    def _rewrite(
        self, task: Task, states: list[LevelState], header: bytes, record: Record, readers: Readers
    ) -> str | None:
        """Write the same code into a new file, with the rights that its source has now; its identity then.

        Never into the one that is there: it may be read at this moment, and have more names than ours. None where its
        code isn't the recorded one.
        """
        place = task.place
        try:
            found, status = read_pyc(place.layout.pycs, place.pycache, states[0].pyc, task.stale.status.st_size)
        except (OSError, SourceRefused):
            return None
        body = memoryview(found)[self._wanted.header.size :]
        if identity_of(status) != record.pyc and digest_of(body) != record.body_digest:
            return None
        writer = self._writer.in_tree(place.layout)
        try:
            first = writer.replace(place.pycache, states[0].pyc, (header, body), readers)
            if first is None:
                return None
            for state in states[1:]:
                links = self._wanted.links_twins
                if not (links and writer.link(place.pycache, states[0].pyc, state.pyc, first)):
                    writer.replace(place.pycache, state.pyc, (header, body), readers)
        except WriteRefused:  # who compiles it says why
            return None
        # Each link changes the ctime of all, and what isn't linked is another file.
        return identity_written(first) if len(states) == 1 else UNSEEN


def _by_file(levels: tuple[LevelState, ...]) -> list[list[LevelState]]:
    """The levels to refresh; those that are names of one file together."""
    files: dict[str, list[LevelState]] = {}
    for state in levels:
        if state.verdict is Verdict.REFRESHABLE:
            files.setdefault(state.record.pyc if state.record else state.pyc, []).append(state)
    return list(files.values())


def _readers(task: Task) -> Readers | None:
    """Who may read a source; None where it isn't the one any more that was looked at."""
    layout, relative = task.place.layout, task.place.relative
    try:
        rights = source_rights(layout.sources, relative, task.stale.name)
        return layout.readers(relative, rights) if is_unchanged(task.stale.status, rights.status) else None
    except (OSError, SourceRefused):
        return None
