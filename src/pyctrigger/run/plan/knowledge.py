"""What is known of a target's tree before anybody looks at it: the manifest's records, and what packages own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...state.records.record import identity_of
from ..scope.request import Work
from .adoption import adopt

if TYPE_CHECKING:
    import os
    from collections.abc import Container, Mapping

    from ...packages.ownership import Ownership
    from ...state.records.manifest import Manifest
    from ...tree.layout import Layout
    from ..scope.request import Request
    from ..scope.service import Service
    from ..scope.target import Target


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

    def adopt(self, layout: Layout, relative: str, source: str, pyc: str, header_size: int) -> None:
        """Take a pyc as its package made it."""
        if self.records is not None:
            adopt(self.records, layout, relative, source, pyc, header_size)

    def drop_strangers(self, target: Target, request: Request) -> list[str]:
        """What the manifest names outside of the site directories: it is forgotten, and should be told."""
        if self.records is None or not target.sites:
            return []
        elsewhere = [request.scope.pycache_prefix] if request.scope.pycache_prefix is not None else []
        self.records.serve([*(site.path for site in target.sites), *elsewhere])
        return self.records.drop_strangers() if request.transaction.paths is None else []

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


def knowledge_of(target: Target, request: Request, service: Service, manifest: Manifest) -> Knowledge:
    """Who only looks compares with what there is; who writes, where it will be there next time, too.

    Where nothing is ever recorded, every run would compile everything; where that is so for once, one does.
    """
    compares = request.work in (Work.VERIFY, Work.STATUS) or manifest.keeps_records or manifest.is_busy
    magic, limits = target.interpreter.magic_number, service.settings.limits
    return Knowledge(manifest, magic, service.ownership, limits=limits, compares_records=compares)
