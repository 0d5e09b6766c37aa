"""What administrators do with a store: see what it has, clean it up, and make keys that sign."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..errors import LockTimeoutError, RightsError, UnexaminedError, UsageError
from ..outcome.outcome import path_fields
from ..outcome.report import Report
from ..store.compaction import Compacted
from ..store.key_files import write_signing_key
from ..store.local import LocalStore, StoreContents, open_local
from ..store.opening import local_path
from ..store.signing import SigningKey, public_text
from .scope.config import Settings, load

#: What can be done.
ACTIONS = ("status", "gc", "keygen")
#: Counts that are no misses.
_HITS, _KEPT = "hits", "kept"


class NewKey(NamedTuple):
    """A key that was made."""

    path: str
    public: str
    """As `trusted_keys` takes it."""

    def as_dict(self) -> dict[str, Any]:
        """Returns its part of the JSON object."""
        return {**path_fields("path", self.path), "public_key": self.public}


class StoreReport(Report):
    """What a store has, and what was done."""

    def __init__(self, action: str) -> None:
        super().__init__("store")
        self.action = action
        self.path: str | None = None
        #: Bytes that the store may have.
        self.limit = 0
        #: None if there is no such directory yet.
        self.contents: StoreContents | None = None
        self.collected: Compacted | None = None
        self.key: NewKey | None = None

    @property
    def misses(self) -> dict[str, int]:
        """How often something wasn't there, or couldn't be believed, by reason."""
        counts = self.contents.counts if self.contents else Counter[str]()
        return {reason: count for reason, count in counts.items() if count and reason not in (_HITS, _KEPT)}

    def as_dict(self) -> dict[str, Any]:
        fields: dict[str, Any] = {**super().as_dict(), "action": self.action, "store": None}
        if self.path is not None:
            contents = self.contents or StoreContents(0, 0, Counter())
            fields["store"] = {
                **path_fields("path", self.path),
                "entries": contents.codes,
                "bytes": contents.size,
                "limit": self.limit,
                "hits": contents.counts[_HITS],
                "misses": self.misses,
                "kept": contents.counts[_KEPT],
            }
        if self.collected is not None:
            fields["removed"] = {"old": self.collected.removed, "damaged": self.collected.damaged}
        if self.key is not None:
            fields["key"] = self.key.as_dict()
        return fields


def keep_up(action: str, places: Sequence[str], config: str | None) -> StoreReport:
    """Do what is asked for. Raises PyctriggerError.

    `places` is the file of a new key, and of nothing else.
    """
    settings = load(config)
    report = StoreReport(action)
    if action == "keygen":
        report.key = _make_key(_only(places, action, "one FILE for the key") or settings.store_signing_key)
        return report
    if places:
        raise UsageError(f"store {action} takes no more arguments: {' '.join(places)}", hint="leave them out")
    report.path, report.limit = _local_path(settings), settings.store_max_size
    store = _open(report.path, settings)
    if store is None:
        return report
    with store:
        try:
            if action == "gc":
                report.collected = _collect(store, report.path, settings)
            report.contents = store.describe()
        except OSError as error:
            raise UnexaminedError(f"store {report.path}: {error.strerror}", hint="check the disk, and retry") from error
    return report


def _only(places: Sequence[str], action: str, wanted: str) -> str:
    if len(places) > 1:
        raise UsageError(f"store {action} takes {wanted}", hint="see pyctrigger store --help")
    return os.path.abspath(places[0]) if places else ""


def _make_key(path: str) -> NewKey:
    if not path:
        raise UsageError("store keygen needs a FILE for the key", hint="name one, or set signing_key in [store]")
    key = SigningKey.generate()
    write_signing_key(path, key)
    return NewKey(path, public_text(key.public))


def _local_path(settings: Settings) -> str:
    if not settings.store_url:
        raise UsageError("no store is configured", hint="set url in the table [store] of the configuration")
    path = local_path(settings.store_url)
    if path is None:
        raise UsageError("this account has no cache directory", hint="name a directory as url in [store]")
    return path


def _open(path: str, settings: Settings) -> LocalStore | None:
    """Open a store for reading; None if there is none yet."""
    try:
        return open_local(path, writes=False, max_size=settings.store_max_size)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"store {path}: {error.strerror}", hint="name another directory as url in [store]") from error


def _collect(store: LocalStore, path: str, settings: Settings) -> Compacted:
    """Clean up. Raises OSError, and PyctriggerError if somebody else owns it, or another process takes too long."""
    owner = os.stat(path).st_uid
    if owner != os.geteuid():
        raise RightsError(f"store {path} belongs to account {owner}", hint="run it as that account")
    done = store.gc(settings.lock_timeout)
    if not done.is_done:
        raise LockTimeoutError(
            settings.lock_timeout, "another process that cleans the store up", hint="wait for it to end"
        )
    return done
