"""What is known of a target's tree before anybody looks at it: the manifest's records, and what packages own."""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Mapping
from typing import TYPE_CHECKING

from ...packages.files import Files
from ...packages.ownership import Ownership
from ...state.records.manifest import Manifest, Uncompilable
from ...state.records.record import identity_of
from ...tree.layout import Layout
from ..scope.config import Settings
from ..scope.request import Request, Work
from ..scope.target import Target
from .steps import Step

if TYPE_CHECKING:
    from ...workers.pool import Lost


class Knowledge:
    """Answers for one run. `records` is the manifest that pycs are compared with, None where headers are believed."""

    def __init__(
        self,
        manifest: Manifest,
        magic_number: bytes,
        ownership: Ownership,
        *,
        limits: Mapping[str, float],
        compares_records: bool,
    ) -> None:
        self._manifest = manifest
        self._magic_number = magic_number
        self._limits = limits
        self._ownership = ownership
        self.records = manifest if compares_records else None

    def is_uncompilable(self, path: str, status: os.stat_result) -> bool:
        """Whether a source is known, in just this state, not to compile."""
        fact = self._manifest.uncompilable.get(path)
        return (
            fact is not None and fact.holds(self._magic_number, self._limits) and fact.identity == identity_of(status)
        )

    def learn(self, layout: Layout, step: Step) -> None:
        """Keep what a step has proven; it is saved at the end of a run, or once it is much."""
        self._manifest.save_if_full()
        if self.records is None:
            return
        if step.records:
            directory = layout.describe_pyc(step.relative)
            for pyc, record in step.records:
                self.records.pycs.note(directory, pyc, record)
        if step.note is not None:
            directory_key, unchanged, gone = step.note
            self.records.unchanged.forget(directory_key, gone)
            if unchanged is not None:
                self.records.unchanged.note(directory_key, unchanged)

    def learn_refusal(self, path: str, seen: str, kind: str, reason: str) -> None:
        """Remember of a link that isn't followed that this was told; it is told again when the link itself changes."""
        self._manifest.learn(path, Uncompilable(seen, b"", self._magic_number, kind, reason))

    def drop_out_of_scope(self, target: Target, request: Request) -> list[str]:
        """What the manifest names outside of the site directories: it is forgotten, and should be told."""
        if self.records is None or not target.sites:
            return []
        elsewhere = [request.scope.pycache_prefix] if request.scope.pycache_prefix is not None else []
        self.records.serve([*(site.path for site in target.sites), *elsewhere])
        return self.records.drop_out_of_scope() if request.transaction.paths is None else []

    @property
    def knows_owners(self) -> bool:
        """Whether packages could be asked what they own, as far as that was needed."""
        return not self._ownership.is_unreadable

    def is_owned(self, directory: str, name: str) -> bool:
        """Whether a package owns a pyc."""
        return self._ownership.owns(directory, name)

    def owned_in(self, directory: str) -> Container[str]:
        """The names of the pycs in a directory that packages own."""
        return self._ownership.owned_in(directory)


def knowledge_of(
    target: Target, request: Request, settings: Settings, ownership: Ownership, manifest: Manifest
) -> Knowledge:
    """Who only looks compares with what there is; who writes, where it will be there next time, too.

    Where nothing is ever recorded, every run would compile everything; where that is so for once, one does.
    """
    compares = request.work in (Work.VERIFY, Work.STATUS) or manifest.keeps_records or manifest.is_busy
    magic, limits = target.interpreter.magic_number, settings.limits
    return Knowledge(manifest, magic, ownership, limits=limits, compares_records=compares)


def known_to_exceed(
    manifest: Manifest, magic_number: bytes, limits: Mapping[str, float]
) -> tuple[dict[bytes, Lost], set[bytes]]:
    """Sources that take more than a limit, by their digests, under whatever name.

    What would exceed these limits again, with the answer to it, and what exceeded tighter ones.
    """
    from ...workers.pool import Lost  # it brings the workers, which an idle run never needs

    exceeded, suspects = {}, set()
    for fact in manifest.uncompilable.values():
        if fact.kind in limits and fact.holds(magic_number, limits):
            exceeded[fact.digest] = Lost(fact.kind, fact.message, fact.tried_with)
        elif fact.kind in limits and fact.magic_number == magic_number:
            suspects.add(fact.digest)
    return exceeded, suspects


def ownership_in(root: str | None, notice: Callable[[str], None]) -> Ownership:
    """What packages own, on this system or in a root."""
    if root is None:
        return Ownership(Files(), notice)
    from ..scope.root_files import files_of  # not for this system's own hooks

    return Ownership(files_of(root), notice)
