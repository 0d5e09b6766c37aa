"""Where a pyc's code is from, by the records: whether we have written it, and which store had it.

A record says nothing about a pyc that has other bytes by now.
"""

from __future__ import annotations

import os

from ...state.records.manifest import Manifest
from ...state.records.record import Record, identity_of
from ...tree.layout import Layout
from ...tree.source import LARGEST_SOURCE, PycDigest
from .verdicts import digest_pyc_of


def is_recorded(manifest: Manifest, layout: Layout, relative: str, name: str, status: os.stat_result) -> bool:
    """Whether a pyc is what we have written, by the file or, where it was copied back or linked, by its bytes."""
    record = manifest.pycs.get(layout.describe_pyc(relative), name)
    if record is None or not record.microseconds:
        return False  # without a time it is of somebody else's pyc, which a run has looked at
    if record.pyc == identity_of(status):
        return True
    found = _digest(layout, relative, name, record)
    return found is not None and (found.header, found.digest) == (record.header, record.body_digest)


def stored_record(manifest: Manifest, layout: Layout, relative: str, name: str) -> Record | None:
    """Returns the record of a pyc whose code came from a store; None for any other."""
    record = manifest.pycs.get(layout.describe_pyc(relative), name)
    if record is None or not record.store:
        return None
    found = _digest(layout, relative, name, record)
    return record if found is not None and found.digest == record.body_digest else None


def describe_origin(record: Record) -> str:
    """Returns for people which store the code of a pyc came from."""
    return f"its code came from the store {record.store}" + (f", signed by {record.signer}" if record.signer else "")


def _digest(layout: Layout, relative: str, name: str, record: Record) -> PycDigest | None:
    return digest_pyc_of(layout, relative, name, LARGEST_SOURCE, len(record.header))
