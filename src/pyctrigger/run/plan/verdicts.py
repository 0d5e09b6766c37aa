"""The verdict on the pycs of a source: first by their headers, and then, where there is a manifest, by its records.

A header says which mtime and size a source had, not that this is the code of that source. So a header that fits is
believed only where the record says so, or where there are no records at all; else source and body are compared by
digest, and what still isn't known to fit is left to the compiler.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Container

from ...pyc.header import InvalidationMode, Verdict
from ...pyc.names import PycNames, pyc_suffix
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
from .steps import DOUBTS, LevelState, Stale, Unwanted
from .wanted import Wanted

#: The verdicts on a pyc that may be kept. One that is written anew gets the right permissions.
_MAY_FIT = DOUBTS | {Verdict.FRESH}
#: The byte after a header: a pyc with a record has code.
_SOME = b"\0"


class Judge:
    """Judges the pycs of a tree, directory by directory."""

    def __init__(self, layout: Layout, wanted: Wanted, knowledge: Knowledge) -> None:
        self._layout = layout
        self._wanted = wanted
        self._knowledge = knowledge
        self._manifest = knowledge.records
        self._names_of = PycNames(wanted.cache_tag)
        self._suffixes = wanted.suffixes
        self._doubts_all = wanted.trust_nothing or wanted.compare_code
        self._by_time = wanted.mode is InvalidationMode.TIMESTAMP
        self._relative = self._directory = ""
        self._names: dict[str, bool] = {}
        self._links: Container[str] = ()
        self._records: PycRecords | None = None
        self._pycs: Opened | None = None
        #: The identities of the pycs of this directory that are as they were recorded, and of their sources.
        self.proven: list[bytes] = []
        self.proving: list[bytes] = []
        #: How many of all pycs that were as recorded have code from a store.
        self.stored = 0
        #: What was proven about pycs of this directory: records to keep, or None for one to drop.
        self.records: list[tuple[str, Record | None]] = []

    def enter(self, relative: str, names: dict[str, bool], links: Container[str]) -> None:
        """Go to another directory: `names` are all entries of the directory of its pycs."""
        self._relative, self._names, self._links, self._pycs = relative, names, links, None
        if names:
            self._reopen()
        self._directory = self._layout.describe_pyc(relative)
        self.proven, self.proving, self.records = [], [], []
        is_known = self._manifest is not None and names and not self._doubts_all
        self._records = self._manifest.pycs if self._manifest and is_known else None

    def states(
        self, name: str, status: os.stat_result, suffixes: list[tuple[int, str]] | None = None
    ) -> list[LevelState]:
        """Returns what the levels of a source need, those that are wanted or these; none if that is nothing."""
        states: list[LevelState] = []
        header, expected = self._wanted.header, self._wanted.expected_header(status)
        identity = b""
        text: SourceText | None = None
        for level, suffix in suffixes or self._suffixes:
            pyc = name[:-3] + suffix
            record = self._records.get(self._directory, pyc) if self._records is not None else None
            identity = identity_of(status) if record is not None and not identity else identity
            # The path of an idle run: source and pyc are what they were when they matched.
            known = self._untouched(record, pyc) if record is not None and self._names.get(pyc) else None
            if (
                record is not None
                and known is not None
                and record.source == identity
                and self._fits(record.header, expected)
                and (self._are_alike(name, status, known) or not self._wrong_rights(name, status, pyc, record))
            ):
                self._take_proof(record, identity)
                continue
            regular = self._names.get(pyc)
            if not regular:
                if regular is not None or self._wanted.create_missing:
                    verdict = Verdict.MISSING if regular is None else Verdict.OBSTRUCTED
                    states.append(LevelState(level, suffix, verdict))
                continue
            refreshable = None
            head, size = self._look(pyc, header.size + 1, record, known)
            verdict = header.judge(head, self._wanted.mode, expected)
            if size > largest_pyc(status.st_size):
                verdict = Verdict.CORRUPT
            elif verdict in (Verdict.FRESH, Verdict.UNPROVEN):
                if self._doubts_all:
                    verdict = Verdict.SUSPECT
                elif self._manifest is not None:
                    text = text or self._read(name)
                    verdict = self._compare(record, pyc, text)
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
                states.append(LevelState(level, suffix, verdict, source_hash, refreshable))
        return states

    def _take_proof(self, record: Record, identity: bytes) -> None:
        if not self.proving or self.proving[-1] is not identity:  # another level of the same source
            self.proving.append(identity)
        self.proven.append(record.pyc)
        self.stored += bool(record.store)

    def _are_alike(self, name: str, source: os.stat_result, pyc: os.stat_result) -> bool:
        """Whether source and pyc have the same readers, with the access lists that they had when they were recorded."""
        return not (self._layout.has_prefix or name in self._links) and are_alike(source, pyc)

    def _wrong_rights(self, name: str, source: os.stat_result, pyc: str, record: Record | None) -> Verdict | None:
        """Returns the verdict on a pyc with other readers than its source, which we would write with other rights."""
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
                return None  # we wrote it like this: the file system allows no more
            uid = os.geteuid() or account_of_owner(directory, os.fstat(directory))
            if status.st_size and readers.are_more_than_of(status, acl, uid, takes_lists=takes_lists(directory)):
                return Verdict.UNREADABLE
        return None

    def _refreshable(
        self, record: Record, pyc: str, status: os.stat_result, text: SourceText | None, *, is_untouched: bool
    ) -> Record | None:
        """Returns the record if only times have changed since the pyc was made, and its body hasn't."""
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

    def judge_unwanted(self, pyc: str, source: str) -> Unwanted | None:
        """Judge a pyc of a level that isn't wanted, since nothing else would notice that it is stale."""
        try:
            status = source_status(self._layout.sources, self._relative, source)
        except (OSError, SourceRefused):
            return None  # it is gone, or must not be read, which is reported for the source
        finally:
            self._reopen()
        level = self._names_of.level_of(pyc)
        states = self.states(source, status, [(level, pyc_suffix(self._wanted.cache_tag, level))])
        is_recorded = self._manifest is not None and self._manifest.pycs.get(self._directory, pyc) is not None
        is_owned = self._knowledge.ownership.owns(self._directory, pyc)
        return Unwanted(pyc, Stale.of(source, status, tuple(states)), is_recorded, is_owned)

    def adopt(self, source: str, pyc: str) -> None:
        """Record a pyc that somebody else wrote as it is: from now on a change of it is noticed.

        What can't be read meanwhile is left to the next run.
        """
        text = self._read(source) if self._manifest is not None else None
        found = self._digest(pyc, text) if text is not None else None
        if text is not None and found is not None:
            self.records.append((pyc, record_of(text, digest_of(text.data), found)))

    def _reopen(self) -> None:
        """Open the directory of pycs again: following a link may have opened so many others that it was closed."""
        try:
            self._pycs = self._layout.pycs.entered(self._layout.pycache(self._relative))
        except OSError:
            self._pycs = None  # it is gone: then nothing in it can be read

    def _look(self, pyc: str, size: int, record: Record | None, untouched: os.stat_result | None) -> tuple[bytes, int]:
        """Returns the first bytes of a pyc, and its size; an unchanged one isn't opened for that."""
        if record is not None and untouched is not None:
            return record.header + _SOME, untouched.st_size
        if self._pycs is None:
            return b"", 0
        with self._pycs as directory:
            return look_at_pyc(directory, pyc, size)

    def _untouched(self, record: Record, pyc: str) -> os.stat_result | None:
        """Returns the status of a pyc that is as it was recorded, or None."""
        if self._pycs is None:
            return None
        try:
            with self._pycs as directory:
                status = os.stat(pyc, dir_fd=directory, follow_symlinks=False)
        except OSError:
            return None
        return status if record.pyc == identity_of(status) else None

    def _fits(self, header: bytes, expected: bytes) -> bool:
        if self._by_time:
            return header == expected
        # Its hash needn't be compared: it was right for this very source.
        return header[:4] == expected[:4] and header[4:8] == self._wanted.mode.flags.to_bytes(4, "little")

    def _compare(self, record: Record | None, pyc: str, text: SourceText | None) -> Verdict:
        """Returns the verdict on a pyc whose header fits, from the bytes of both files."""
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
        if not (is_recorded and self._fits(found.header, self._wanted.expected_header(text.status))):
            return Verdict.SUSPECT
        self.records.append((pyc, record_of(text, source, found, record.microseconds)))
        return Verdict.FRESH

    def _read(self, name: str) -> SourceText | None:
        try:
            return read_source(self._layout.sources, self._relative, name)
        except (OSError, SourceRefused):
            return None
        finally:
            self._reopen()

    def _digest(self, pyc: str, text: SourceText) -> PycDigest | None:
        return digest_pyc_of(self._layout, self._relative, pyc, len(text.data), self._wanted.header.size)


def digest_pyc_of(layout: Layout, relative: str, pyc: str, source_size: int, header_size: int) -> PycDigest | None:
    """Returns the digest of a pyc of the directory `relative`; None if it can't be read."""
    try:
        return digest_pyc(layout.pycs, layout.pycache(relative), pyc, source_size, header_size, digest_of_pieces)
    except (OSError, SourceRefused):
        return None


def record_of(text: SourceText, source_digest: bytes, found: PycDigest, microseconds: int = 0) -> Record:
    """Returns the record of a pyc that was made from this source."""
    seen, identity = identity_at(text.status, text.when), identity_at(found.status, found.when)
    return Record(seen, source_digest, identity, found.digest, found.header, microseconds)
