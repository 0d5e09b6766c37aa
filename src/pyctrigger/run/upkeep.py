"""What administrators do with a store: see what it has, clean it up, send it to others, and make keys that sign."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import LockTimeoutError, PyctriggerError, RightsError, UnexaminedError, UsageError
from ..outcome.outcome import path_fields
from ..outcome.report import Report
from ..store.compaction import Compacted
from ..store.key_files import read_signing_key, write_signing_key
from ..store.local import LocalStore, StoreContents, open_local
from ..store.opening import local_path
from ..store.push import Push, Pushed
from ..store.signing import SigningKey, public_text
from .scope.config import Settings, load

if TYPE_CHECKING:
    from ..store.remote.asking import RemoteSettings

#: What can be done.
ACTIONS = ("status", "gc", "push", "keygen")
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


class Sent(NamedTuple):
    """A push."""

    to: str
    """The store, without any secret of its URL."""
    signer: str
    """As `trusted_keys` takes it."""
    pushed: Pushed

    def as_dict(self) -> dict[str, Any]:
        """Returns its part of the JSON object."""
        return {"to": self.to, "signer": self.signer, **self.pushed._asdict()}


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
        self.sent: Sent | None = None

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
        if self.action == "gc" and self.path is not None:
            collected = self.collected or Compacted(0, has_room=True)  # there is no such directory yet
            fields["removed"] = {"old": collected.removed, "damaged": collected.damaged}
        if self.key is not None:
            fields["key"] = self.key.as_dict()
        if self.sent is not None:
            fields["push"] = self.sent.as_dict()
        return fields


def keep_up(action: str, places: Sequence[str], config: str | None, *, again: bool = False) -> StoreReport:
    """Do what is asked for. Raises PyctriggerError.

    `places` is the file of a new key, or the URL of a store that is sent to; with `again` also what that has is sent.
    """
    settings = load(config)
    report = StoreReport(action)
    if again and action != "push":
        raise UsageError("--again is for store push", hint="leave it out")
    if action == "keygen":
        place = _only(places, action, "one FILE for the key")
        report.key = _make_key(os.path.abspath(place) if place else settings.store_signing_key)
        return report
    if action == "push":
        _push(report, _only(places, action, "one URL"), settings, again=again)
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
            raise _unreadable(report.path, error) from error
    return report


def _only(places: Sequence[str], action: str, wanted: str) -> str:
    if len(places) > 1:
        raise UsageError(f"store {action} takes {wanted}", hint="see pyctrigger store --help")
    return places[0] if places else ""


def _make_key(path: str) -> NewKey:
    if not path:
        raise UsageError("store keygen needs a FILE for the key", hint="name one, or set signing_key in [store]")
    key = SigningKey.generate()
    write_signing_key(path, key)
    return NewKey(path, public_text(key.public))


def _local_path(settings: Settings) -> str:
    if not settings.store_url:
        raise UsageError("no store is configured", hint="set url in the table [store] of the configuration")
    if settings.has_remote_store:
        hint = 'run it where url in [store] is "local" or a directory'
        raise UsageError("the store that is configured is on another machine", hint=hint)
    path = local_path(settings.store_url)
    if path is None:
        raise UsageError("this account has no cache directory", hint="name a directory as url in [store]")
    return path


def _push(report: StoreReport, url: str, settings: Settings, *, again: bool) -> None:
    """Send what a store has; what was sent before an error is in the report, with the error. Raises PyctriggerError."""
    remote = _remote_settings(url, settings)
    if not settings.store_signing_key:
        raise UsageError("no signing key is configured", hint="set signing_key in [store]; store keygen makes one")
    report.path, report.limit = _local_path(settings), settings.store_max_size
    signer = read_signing_key(settings.store_signing_key)
    store = _open(report.path, settings)
    if store is None:
        raise UsageError(f"store {report.path} doesn't exist yet", hint="let a run fill it first")
    from ..store.remote.writing import RemoteWriter

    with store, RemoteWriter(remote) as writer:
        push = Push(store, writer, signer, again=again)
        try:
            report.contents = store.describe()
            push.run()
        except OSError as error:
            report.errors.append(_unreadable(report.path, error))
        except PyctriggerError as error:
            report.errors.append(error)
        report.sent = Sent(writer.name, public_text(signer.public), push.pushed)


def _remote_settings(url: str, settings: Settings) -> RemoteSettings:
    from ..store.remote.address import parse_address
    from ..store.remote.asking import RemoteSettings

    try:
        has_password = parse_address(url).password is not None
    except ValueError as error:
        reason = f": {error}" if url else ""
        raise UsageError(f"store push needs a URL{reason}", hint="write redis://HOST or https://HOST/PATH") from None
    if has_password:
        raise UsageError(
            "everybody sees a command line, and this one has a password in it", hint="set password_file in [store]"
        )
    return RemoteSettings(url, (), settings.store_password_file, settings.store_timeout)


def _unreadable(path: str, error: OSError) -> UnexaminedError:
    return UnexaminedError(f"store {path}: {error.strerror}", hint="check the disk, and retry")


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
