"""Adopting a pyc that somebody else wrote: from now on there is a record of it, and a change of it is noticed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..state.record import Record, digest_of, identity_at
from ..tree.source import SourceRefused, read_pyc, read_source

if TYPE_CHECKING:
    from ..state.manifest import Manifest
    from ..tree.layout import Layout


def adopt(manifest: Manifest, layout: Layout, relative: str, source: str, pyc: str, header_size: int) -> None:
    """Record source and pyc as they are. What can't be read meanwhile is left to the next run."""
    try:
        text = read_source(layout.sources, relative, source)
        code = read_pyc(layout.pycs, layout.pycache(relative), pyc)
    except (OSError, SourceRefused):
        return
    seen, identity = (identity_at(file.status, file.when) for file in (text, code))
    header, body = code.data[:header_size], memoryview(code.data)[header_size:]
    record = Record(seen, digest_of(text.data), identity, digest_of(body), header)
    manifest.record(layout.describe_pyc(relative), pyc, record)
