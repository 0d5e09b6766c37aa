"""How long compilations took, as the manifest recorded it, and so how long others will take."""

from __future__ import annotations

from ...pyc.names import pyc_suffix
from ...state.records.manifest import Manifest


class Estimate:
    """The times of one installation's compilations. One without is taken to need what others of its size do."""

    def __init__(self, manifest: Manifest | None, cache_tag: str, levels: tuple[int, ...]) -> None:
        self._manifest = manifest
        self._suffixes = {level: pyc_suffix(cache_tag, level) for level in (0, 1, 2)}
        self._levels = levels
        self.timed = self.untimed = 0
        self._seconds = 0.0
        self._timed_bytes = self._untimed_bytes = 0

    def add(self, pycs: str, source: str, size: int) -> None:
        """Count a source of so many bytes, whose pycs lie in the directory `pycs`, at every level that is wanted."""
        timed = {}
        for level, suffix in self._suffixes.items():
            record = self._manifest.pycs.get(pycs, source[:-3] + suffix) if self._manifest is not None else None
            if record is not None and record.microseconds:
                timed[level] = record
        if not timed:
            self.untimed += 1
            self._untimed_bytes += size
            return
        self.timed += 1
        self._timed_bytes += size
        if all(level in timed for level in self._levels):
            # Levels with equal code are compiled once.
            once = {timed[level].body_digest: timed[level].microseconds for level in self._levels}
            self._seconds += sum(once.values()) / 1e6
        else:
            times = [record.microseconds for record in timed.values()]
            self._seconds += sum(times) / len(times) * len(self._levels) / 1e6

    def merge(self, other: Estimate) -> None:
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
