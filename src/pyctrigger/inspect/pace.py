"""How long compilations took, as the manifest recorded it, and so how long others will take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..pyc.names import pyc_suffix

if TYPE_CHECKING:
    from ..state.manifest import Manifest
    from ..state.record import Record


def recorded_microseconds(record: Record | None) -> int:
    """How long this pyc's compilation took; 0 where nobody knows."""
    return int(getattr(record, "microseconds", 0)) if record is not None else 0


class Pace:
    """The times of one installation's compilations. One without is taken to need what others of its size do."""

    def __init__(self, manifest: Manifest | None, cache_tag: str, levels: int) -> None:
        self._manifest = manifest
        self._suffixes = [pyc_suffix(cache_tag, level) for level in (0, 1, 2)]
        self._levels = levels
        self.timed = self.untimed = 0
        self._seconds = 0.0
        self._timed_bytes = self._untimed_bytes = 0

    def add(self, pycs: str, source: str, size: int) -> None:
        """Count a source of so many bytes, whose pycs lie in the directory `pycs`, at every level that is wanted."""
        records = {} if self._manifest is None else self._manifest.records(pycs)
        times = [recorded_microseconds(records.get(source[:-3] + suffix)) for suffix in self._suffixes]
        known = [each for each in times if each]
        if known:
            self.timed += 1
            self._timed_bytes += size
            self._seconds += sum(known) / len(known) * self._levels / 1e6
        else:
            self.untimed += 1
            self._untimed_bytes += size

    def merge(self, other: Pace) -> None:
        """Take in what another one counted."""
        self.timed += other.timed
        self.untimed += other.untimed
        self._seconds += other._seconds
        self._timed_bytes += other._timed_bytes
        self._untimed_bytes += other._untimed_bytes

    @property
    def seconds(self) -> float | None:
        """What all of them need, one after the other; None where no time at all is known."""
        if not self.untimed:
            return self._seconds
        if not self._timed_bytes:
            return None
        return self._seconds * (1 + self._untimed_bytes / self._timed_bytes)
