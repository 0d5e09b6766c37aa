"""The journal: announced transactions that aren't done yet.

An entry is on the disk before the lock is tried, so a run that is killed, or doesn't get the lock, loses nothing: the
next run of any kind does its work. An entry that failed three times is parked: kept and shown, but not retried.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterable, Iterator

from ..typed import TYPE_CHECKING, Any, NamedTuple
from . import own_files

if TYPE_CHECKING:
    from .quota import Quota

_FORMAT = 1
#: Bytes of paths in an entry for a foreign root. With more paths than that the entry stands for the whole scope.
MOST_FOREIGN_PATHS = 1 << 20
#: Failed attempts after which an entry is parked.
MOST_ATTEMPTS = 3


class Entry(NamedTuple):
    """One transaction, with everything that another run needs to do its work."""

    name: str
    """Its file's name, or "" before it is written."""
    since: float
    """Seconds since the epoch."""
    event: str
    paths: tuple[str, ...] | None
    """None for the whole scope."""
    options: dict[str, Any]
    """Its scope and kind of bytecode: root, site directories, levels, mode."""
    attempts: int = 0

    @property
    def parked(self) -> bool:
        """Whether it has failed too often to be retried automatically."""
        return self.attempts >= MOST_ATTEMPTS

    def covers(self, paths: tuple[str, ...] | None) -> bool:
        """Whether this entry's work includes these paths."""
        return self.paths is None or (paths is not None and set(paths) <= set(self.paths))


def union(paths: tuple[str, ...] | None, entries: Iterable[Entry]) -> tuple[str, ...] | None:
    """Returns these paths and those of entries; None for the whole scope."""
    found: set[str] = set(paths or ())
    for each in (paths, *(entry.paths for entry in entries)):
        if each is None:
            return None
        found.update(each)
    return tuple(sorted(found))


class Journal:
    """The journal of one installation, below its state directory; without one, an empty journal that keeps nothing."""

    def __init__(self, directory: str | None, quota: Quota | None = None) -> None:
        #: Whether entries can be written.
        self.is_kept = directory is not None
        self._directory = os.path.join(directory or "", "journal")
        self._quota = quota

    def write(
        self,
        event: str,
        paths: tuple[str, ...] | None,
        options: dict[str, Any],
        attempts: int = 0,
        since: float | None = None,
    ) -> Entry:
        """Write a new entry to the disk. `since` is when its work was announced, if not now. Raises OSError."""
        if self._quota is not None:
            if sum(map(len, paths or ())) > MOST_FOREIGN_PATHS:
                paths = None
            self._quota.spend(2 * sum(map(len, paths or ())))
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        name = f"{time.time_ns():020d}-{os.getpid()}-{os.urandom(4).hex()}.json"
        entry = Entry(name, time.time() if since is None else since, event, paths, options, attempts)
        self._write_entry(entry)
        return entry

    def entries(self) -> Iterator[Entry]:
        """Yields all entries, oldest first.

        What can't be read now, or is another release's, is left out and stays. A damaged one says nothing of its work:
        whoever tries to do it drops it, and says so.
        """
        try:
            names = (
                sorted(name for name in os.listdir(self._directory) if name.endswith(".json")) if self.is_kept else []
            )
        except OSError:
            return  # no journal was ever written here
        for name in names:
            with contextlib.suppress(OSError):
                entry = _load_entry(name, own_files.read_bytes(os.path.join(self._directory, name)))
                if entry is not None:
                    yield entry

    def alike(self, options: dict[str, Any]) -> list[Entry]:
        """Returns the entries with these options: they differ in their paths alone."""
        return [entry for entry in self.entries() if entry.options == options]

    def done(self, entry: Entry) -> None:
        """Remove an entry whose work is done."""
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(self._directory, entry.name))

    def failed(self, entry: Entry) -> Entry:
        """Count a failed attempt."""
        counted = entry._replace(attempts=entry.attempts + 1)
        with contextlib.suppress(OSError):
            self._write_entry(counted)
        return counted

    def _write_entry(self, entry: Entry) -> None:
        fields = entry._asdict()
        del fields["name"]
        fields["paths"] = None if entry.paths is None else [os.fsencode(path).hex() for path in entry.paths]
        own_files.write_durably(os.path.join(self._directory, entry.name), {"format": _FORMAT, **fields})


def _load_entry(name: str, data: bytes) -> Entry | None:
    """Returns what a file says, or None if it is another release's."""
    try:
        stored = json.loads(data)
        if stored["format"] != _FORMAT:
            return None
        paths = stored["paths"]
        return Entry(
            name,
            float(stored["since"]),
            str(stored["event"]),
            None if paths is None else tuple(os.fsdecode(bytes.fromhex(path)) for path in paths),
            dict(stored["options"]),
            int(stored["attempts"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError):
        written = name.partition("-")[0]
        return Entry(name, int(written) / 1e9 if written.isdecimal() else 0.0, "unknown", None, {})
