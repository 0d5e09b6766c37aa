"""The bytecode that every source of a target should have."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import os

    from ..pyc.header import HeaderFormat, InvalidationMode


class Wanted(NamedTuple):
    """What is wanted of a tree, and how much of what stands there is to be believed."""

    cache_tag: str
    header: HeaderFormat
    levels: tuple[int, ...]
    mode: InvalidationMode
    writer: str
    """The id in our temporary names; residue of this writer is known to be dead once the lock is ours."""
    exclude: tuple[str, ...] = ()
    create_missing: bool = True
    source_date_epoch: int | None = None
    """No timestamp in a pyc is later than this (seconds): the sources' own will be clamped to it."""
    trust_nothing: bool = False
    """A repair: every pyc is compared with a new compilation."""
    compare_code: bool = False
    """A thorough look: the same, and nothing is written."""
    after_interruption: bool = False
    """A run didn't come to its end: what nobody recorded may be its work, from an earlier source of the same times."""
    sweep_only: bool = False
    purge: bool = False
    """Every pyc of this cache tag goes, its source or not."""
    trust_all_directories: bool = False
    """Also those that everybody, or an account that owns none of the sources, may write into."""
    links_twins: bool = True
    """Equal code at several levels is one file with several names."""
    keep_owned: bool = True
    """A package's own pyc stays as it is, stale or not."""
    measure: bool = False
    """Count the bytes of the pycs, which costs a call for each."""

    def mtime(self, status: os.stat_result) -> int:
        """The mtime that belongs into a pyc, as importlib computes it: `int()` of the float, not the nanoseconds."""
        mtime = int(status.st_mtime)
        return mtime if self.source_date_epoch is None else min(mtime, self.source_date_epoch)
