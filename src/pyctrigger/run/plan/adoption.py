"""Adopting a pyc that somebody else wrote: from now on there is a record of it, and a change of it is noticed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...state.records.record import Record, digest_of, digest_of_pieces, identity_at
from ...tree.source import SourceRefused, digest_pyc, read_source

if TYPE_CHECKING:
    from ...state.records.manifest import Manifest
    from ...tree.layout import Layout


def adopt(manifest: Manifest, layout: Layout, relative: str, source: str, pyc: str, header_size: int) -> None:
    """Record source and pyc as they are. What can't be read meanwhile is left to the next run."""
    try:
        text = read_source(layout.sources, relative, source)
        code = digest_pyc(layout.pycs, layout.pycache(relative), pyc, len(text.data), header_size, digest_of_pieces)
    except (OSError, SourceRefused):
        return
    seen, identity = identity_at(text.status, text.when), identity_at(code.status, code.when)
    record = Record(seen, digest_of(text.data), identity, code.digest, code.header)
    manifest.record(layout.describe_pyc(relative), pyc, record)
