"""What is known about a target's tree before it is examined: the manifest's records, and the packages' files."""

from __future__ import annotations

import os

from ...packages.ownership import Ownership
from ...state.records.manifest import Manifest, Uncompilable
from ...state.records.record import identity_of
from ...tree.layout import Layout
from ...typed import TYPE_CHECKING, NamedTuple
from ..scope.request import Request
from ..scope.target import Target
from .steps import Step
from .wanted import Wanted

if TYPE_CHECKING:
    from ...workers.pool import Lost
    from .glance import Notes


class Knowledge:
    """What one run knows. `records` is the manifest that pycs are compared with, or None to believe their headers.

    By default, verify and status compare with any manifest, and a run only with one that it can save: where nothing is
    ever recorded, every run would compile everything. If the manifest is only busy, this one run does.
    """

    def __init__(
        self, manifest: Manifest, wanted: Wanted, ownership: Ownership, *, compares_records: bool | None = None
    ) -> None:
        self.manifest = manifest
        self._magic_number = wanted.header.magic_number
        self._limits = wanted.limits
        self.ownership = ownership
        if compares_records is None:
            compares_records = not wanted.work.writes or manifest.keeps_records or manifest.is_busy
        self.records = manifest if compares_records else None

    def failure_of(self, path: str, digest: bytes | None = None) -> Uncompilable | None:
        """Returns why a source didn't compile, if the same content, or this content, would fail again."""
        known = self.manifest.uncompilable.get(path)
        if known is None or not known.holds(self._magic_number, self._limits):
            return None
        return known if digest in (None, known.digest) else None

    def is_uncompilable(self, path: str, status: os.stat_result) -> bool:
        """Whether a source is known, in just this state, not to compile."""
        known = self.failure_of(path)
        return known is not None and known.identity == identity_of(status)

    def learn_failure(
        self, path: str, identity: bytes, digest: bytes, kind: str, reason: str, limit: float = 0
    ) -> None:
        """Record that a source doesn't compile, or that a link isn't followed: in this state it was reported."""
        self.manifest.learn(path, Uncompilable(identity, digest, self._magic_number, kind, reason, limit))

    def learn(self, layout: Layout, step: Step) -> None:
        """Keep what a step has proven; it is saved at the end of a run, or once it is much."""
        self.manifest.save_if_full()
        if self.records is None:
            return
        if step.records:
            directory = layout.describe_pyc(step.relative)
            for pyc, record in step.records:
                self.records.pycs.note(directory, pyc, record)
        if step.note is not None:
            directory_key, unchanged, gone = step.note
            self.records.directories.forget(directory_key, gone)
            if unchanged is not None:
                self.records.directories.note(directory_key, unchanged)

    def drop_out_of_scope(self, target: Target, request: Request) -> list[str]:
        """Drop what the manifest has about directories outside of all site directories. Returns these directories."""
        if self.records is None or not target.sites:
            return []
        elsewhere = [request.scope.pycache_prefix] if request.scope.pycache_prefix is not None else []
        self.records.work_on([*(site.path for site in target.sites), *elsewhere])
        return self.records.drop_out_of_scope() if request.transaction.paths is None else []

    def find_exceeding(self) -> tuple[dict[bytes, Lost], set[bytes]]:
        """Returns the sources that exceed a limit, by digest, under whatever name.

        Those that would exceed these limits again, with the answer to each, and those that exceeded tighter ones.
        """
        from ...workers.pool import Lost  # it brings the workers, which an idle run never needs

        exceeded, suspects = {}, set()
        for known in self.manifest.uncompilable.values():
            if known.kind in self._limits and known.holds(self._magic_number, self._limits):
                exceeded[known.digest] = Lost(known.kind, known.message, known.tried_with)
            elif known.kind in self._limits and known.magic_number == self._magic_number:
                suspects.add(known.digest)
        return exceeded, suspects


class PlannedSite(NamedTuple):
    """A site directory to plan, and what is known about it."""

    layout: Layout
    wanted: Wanted
    knowledge: Knowledge
    others: frozenset[tuple[int, int]] = frozenset()
    """The other site directories, by device and inode."""
    is_library: bool = False
    notes: Notes | None = None
    """Where its parts are recorded for the next hook."""
