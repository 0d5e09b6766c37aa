"""The verdict on the pycs of a source: first by their headers, and then, where there is a manifest, by its records.

A header says which mtime and size a source had, not that this is the code of that source. So a header that fits is
believed only where the record says so, or where there are no records at all; else source and body are compared by
digest, and what then still isn't known to fit is left to whoever can compile.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Container, Iterable, Iterator

from ...pyc.header import InvalidationMode, Verdict
from ...pyc.names import PycNames, pyc_suffix
from ...state.records.manifest import Manifest
from ...state.records.pycs import PycRecords
from ...state.records.record import Record, digest_of, digest_of_pieces, identity_at, identity_of
from ...tree.layout import Layout
from ...tree.opened import Opened, account_of_owner
from ...tree.permission.access_lists import takes_lists
from ...tree.permission.readers import are_alike
from ...tree.source import (
    PycDigest,
    SourceRefused,
    SourceText,
    digest_pyc,
    is_unchanged,
    largest_pyc,
    look_at_pyc,
    pyc_rights,
    read_source,
    source_rights,
    source_status,
)
from .knowledge import Knowledge
from .steps import LevelState, Stale, Unwanted
from .wanted import Wanted

#: Those of a pyc that is kept, or may be: what is written anew gets the rights that it should have.
_MAY_FIT = frozenset({Verdict.FRESH, Verdict.UNPROVEN, Verdict.UNKNOWN, Verdict.SUSPECT})
#: The byte behind a header: that of a pyc with a record was followed by code.
_SOME = b"\0"


class Judge:
    """Judges the pycs of one tree. `manifest` is None where headers are all there is."""

    def __init__(self, layout: Layout, wanted: Wanted, manifest: Manifest | None) -> None:
        self._layout = layout
        self._wanted = wanted
        self._manifest = manifest
        self._suffixes = [(level, pyc_suffix(wanted.cache_tag, level)) for level in wanted.levels]
        self._doubts_all = wanted.trust_nothing or wanted.compare_code
        self._by_time = wanted.mode is InvalidationMode.TIMESTAMP
        self._relative = self._directory = ""
        self._names: dict[str, bool] = {}
        self._links: Container[str] = ()
        self._records: PycRecords | None = None
        self._pycs: Opened | None = None
        #: The pycs of this directory that are as they were recorded.
        self.proven: list[os.stat_result] = []
        #: What was proven of pycs of this directory: the records to keep, None for one to forget.
        self.records: list[tuple[str, Record | None]] = []

    def enter(self, relative: str, names: dict[str, bool], links: Container[str]) -> None:
        """Go on with another directory: `names` is everything in the directory of its pycs."""
        self._relative, self._names, self._links, self._pycs = relative, names, links, None
        if names:
            self._reopen()
        self._directory = self._layout.describe_pyc(relative)
        self.proven, self.records = [], []
        reads = self._manifest is not None and names and not self._doubts_all
        self._records = self._manifest.pycs if self._manifest is not None and reads else None

    def states(self, name: str, status: os.stat_result) -> list[LevelState]:
        """What the levels of a source need; none if that is nothing."""
        states: list[LevelState] = []
        header = self._wanted.header
        expected = header.timestamp(self._wanted.mtime(status), status.st_size)
        identity = ""
        text: SourceText | None = None
        for level, suffix in self._suffixes:
            pyc = name[:-3] + suffix
            record = self._records.get(self._directory, pyc) if self._records is not None else None
            identity = identity_of(status) if record is not None and not identity else identity
            # The way of an idle run: source and pyc are what they were when they fitted each other.
            known = self._untouched(record, pyc) if record is not None and self._names.get(pyc) else None
            if (
                record is not None
                and known is not None
                and record.source == identity
                and self._fits(record.header, expected)
                and (self._are_alike(name, status, known) or not self._wrong_rights(name, status, pyc, record))
            ):
                self.proven.append(known)
                continue
            regular = self._names.get(pyc)
            if regular is None:
                if self._wanted.create_missing:
                    states.append(LevelState(level, pyc, Verdict.MISSING))
                continue
            if not regular:
                states.append(LevelState(level, pyc, Verdict.OBSTRUCTED))
                continue
            refreshable = None
            head, size = self._look(pyc, header.size + 1, record, known)
            verdict = header.judge(head, self._wanted.mode, expected)
            if size > largest_pyc(status.st_size):
                verdict = Verdict.CORRUPT
            elif verdict in (Verdict.FRESH, Verdict.UNPROVEN):
                if not self._doubts_all and self._manifest is not None and text is None:
                    text = self._read(name)
                verdict = self._believed(verdict, record, pyc, text)
            elif verdict is Verdict.OTHER_MTIME and record is not None and not self._doubts_all:
                text = text or self._read(name)
                refreshable = self._refreshable(record, pyc, status, text, is_untouched=known is not None)
                verdict = Verdict.OTHER_MTIME if refreshable is None else Verdict.REFRESHABLE
            if (verdict in _MAY_FIT or not head) and (wrong := self._wrong_rights(name, status, pyc, record)):
                verdict = wrong
                if record is not None:
                    self.records.append((pyc, None))
            if verdict is not Verdict.FRESH:
                source_hash = None if self._by_time else header.source_hash(head)
                states.append(LevelState(level, pyc, verdict, source_hash, refreshable))
        return states

    def _are_alike(self, name: str, source: os.stat_result, pyc: os.stat_result) -> bool:
        """Whether source and pyc, with the lists that they had when they were recorded, have the same readers."""
        return not (self._layout.has_prefix or name in self._links) and are_alike(source, pyc)

    def _wrong_rights(self, name: str, source: os.stat_result, pyc: str, record: Record | None) -> Verdict | None:
        """The verdict on a pyc that others can read than its source, and that we would write with other rights."""
        try:
            rights = source_rights(self._layout.sources, self._relative, name)
            readers = self._layout.readers(self._relative, rights)
        except (OSError, SourceRefused):
            return None
        finally:
            self._reopen()
        if self._pycs is None:
            return None
        with contextlib.suppress(OSError), self._pycs as directory:
            status, acl = pyc_rights(directory, pyc)
            if readers.are_fewer_than_of(status, acl):
                return Verdict.EXPOSED
            seen = (identity_of(source), identity_of(status))
            if record and record.microseconds and (record.source, record.pyc) == seen and not readers.have_ways:
                return None  # as we wrote it: the file system allows no more
            uid = os.geteuid() or account_of_owner(directory, os.fstat(directory))
            if status.st_size and readers.are_more_than_of(status, acl, uid, takes_lists=takes_lists(directory)):
                return Verdict.UNREADABLE
        return None

    def _believed(self, verdict: Verdict, record: Record | None, pyc: str, text: SourceText | None) -> Verdict:
        """What a header that fits is worth."""
        if self._doubts_all:
            return Verdict.SUSPECT
        return verdict if self._manifest is None else self._compare(record, pyc, text)

    def _refreshable(
        self, record: Record, pyc: str, status: os.stat_result, text: SourceText | None, *, is_untouched: bool
    ) -> Record | None:
        """The record, if only the times have changed since the pyc was made; its body has to be just as it was then."""
        if text is None or not is_unchanged(status, text.status) or digest_of(text.data) != record.source_digest:
            return None
        if is_untouched:
            return record
        found = self._digest(pyc, text)
        if found is None or found.digest != record.body_digest:
            return None
        # Somebody else has written what we would have: from now on that file is the recorded one.
        renewed = record._replace(pyc=identity_at(found.status, found.when), header=found.header)
        self.records.append((pyc, renewed))
        return renewed

    def adopt(self, source: str, pyc: str) -> None:
        """Record a pyc that somebody else wrote as it is: from now on a change of it is noticed.

        What can't be read meanwhile is left to the next run.
        """
        text = self._read(source) if self._manifest is not None else None
        found = self._digest(pyc, text) if text is not None else None
        if text is None or found is None:
            return
        seen, identity = identity_at(text.status, text.when), identity_at(found.status, found.when)
        self.records.append((pyc, Record(seen, digest_of(text.data), identity, found.digest, found.header)))

    def _reopen(self) -> None:
        """Following a source's link may have opened so many directories that the one of the pycs was given back."""
        try:
            self._pycs = self._layout.pycs.entered(self._layout.pycache(self._relative))
        except OSError:
            self._pycs = None  # swept away meanwhile: then nothing in it can be read

    def _status(self, pyc: str) -> os.stat_result:
        if self._pycs is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        with self._pycs as directory:
            return os.stat(pyc, dir_fd=directory, follow_symlinks=False)

    def _look(self, pyc: str, size: int, record: Record | None, untouched: os.stat_result | None) -> tuple[bytes, int]:
        """The first bytes of a pyc, and how large it is; one that is as it was recorded isn't opened for that."""
        if record is not None and untouched is not None:
            return record.header + _SOME, untouched.st_size
        if self._pycs is None:
            return b"", 0
        with self._pycs as directory:
            return look_at_pyc(directory, pyc, size)

    def _untouched(self, record: Record, pyc: str) -> os.stat_result | None:
        """The status of a pyc that is as it was recorded, header included: a row of the manifest may hold anything."""
        try:
            status = self._status(pyc)
        except OSError:
            return None
        return status if record.pyc == identity_of(status) and isinstance(record.header, bytes) else None

    def _fits(self, header: bytes, expected: bytes) -> bool:
        if self._by_time:
            return header == expected
        # Of the source's hash in it nothing has to be known: it was right for this very source.
        return header[:4] == expected[:4] and header[4:8] == self._wanted.mode.flags.to_bytes(4, "little")

    def _compare(self, record: Record | None, pyc: str, text: SourceText | None) -> Verdict:
        """The verdict on a pyc whose header fits, by the bytes of both files."""
        if text is None:
            return Verdict.SUSPECT
        if record is None:
            return Verdict.UNKNOWN
        source, found = digest_of(text.data), self._digest(pyc, text)
        if found is None:
            return Verdict.SUSPECT
        is_recorded = found.digest == record.body_digest
        if source != record.source_digest:
            # Still the code of the other source; or both are new, and somebody else has compiled.
            return Verdict.OTHER_CONTENT if is_recorded else Verdict.UNKNOWN
        if not (is_recorded and self._fits(found.header, self._expected(text))):
            return Verdict.SUSPECT
        seen, identity = identity_at(text.status, text.when), identity_at(found.status, found.when)
        self.records.append((pyc, record._replace(source=seen, pyc=identity, header=found.header)))
        return Verdict.FRESH

    def _expected(self, text: SourceText) -> bytes:
        return self._wanted.header.timestamp(self._wanted.mtime(text.status), text.status.st_size)

    def _read(self, name: str) -> SourceText | None:
        try:
            return read_source(self._layout.sources, self._relative, name)
        except (OSError, SourceRefused):
            return None
        finally:
            self._reopen()

    def _digest(self, pyc: str, text: SourceText) -> PycDigest | None:
        pycache, size = self._layout.pycache(self._relative), self._wanted.header.size
        try:
            return digest_pyc(self._layout.pycs, pycache, pyc, len(text.data), size, digest_of_pieces)
        except (OSError, SourceRefused):
            return None


def judge_unwanted(
    layout: Layout,
    wanted: Wanted,
    knowledge: Knowledge,
    relative: str,
    pycs: Iterable[tuple[str, str]],
    names: dict[str, bool],
) -> Iterator[Unwanted]:
    """Judge pycs of levels that nobody asks for: without it, one that is stale would be seen by nobody.

    They lie in one directory, each is given with its source, and `names` is everything that lies there.
    """
    names_of = PycNames(wanted.cache_tag)
    directory = layout.describe_pyc(relative)
    manifest = knowledge.records
    by_level: dict[int, list[tuple[str, str]]] = {}
    for pyc, source in pycs:
        by_level.setdefault(names_of.level_of(pyc), []).append((pyc, source))
    for level, found in sorted(by_level.items()):
        judge = Judge(layout, wanted._replace(levels=(level,)), manifest)
        judge.enter(relative, names, [source for _, source in found])
        for pyc, source in found:
            try:
                status = source_status(layout.sources, relative, source)
            except (OSError, SourceRefused):
                continue  # gone meanwhile, or never to be read, which is told of the source
            stale = Stale(source, status, tuple(judge.states(source, status)))
            is_recorded = manifest is not None and manifest.pycs.get(directory, pyc) is not None
            yield Unwanted(pyc, stale, is_recorded, knowledge.is_owned(directory, pyc))
