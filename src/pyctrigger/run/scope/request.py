"""A request: the options of a command as one value."""

from __future__ import annotations

import enum
from collections.abc import Mapping

from ...errors import UsageError
from ...pyc.header import InvalidationMode
from ...typed import Any, NamedTuple
from .config import Settings
from .settings import EVENTS, MANAGERS, SETTINGS


class Work(enum.Enum):
    """What to do with the scope."""

    RUN = "run"
    REPAIR = "repair"
    SWEEP = "sweep"
    PURGE = "purge"
    VERIFY = "verify"
    STATUS = "status"
    EXPLAIN = "explain"
    WHICH = "which"

    @property
    def writes(self) -> bool:
        """Whether it changes anything."""
        return self in (Work.RUN, Work.REPAIR, Work.SWEEP, Work.PURGE)


#: What the journal keeps.
_KEPT = {setting.name: setting.kind for setting in SETTINGS if setting.kept}
#: What each of its entries has; a later release may have added what is kept beside it.
_ALWAYS_KEPT = frozenset(
    {
        *("manager", "site_dirs", "prefixes", "stdlib", "pycache_prefix", "exclude"),
        *("optimize", "invalidation_mode", "source_date_epoch"),
    }
)


class Scope(NamedTuple):
    """Which trees are meant, and of which interpreters."""

    pythons: tuple[str, ...] = ()
    """Versions or paths of targets; none: every one found, or those of `prefixes`."""
    cache_tag: str | None = None
    """For a purge: the tag of an interpreter that may be gone."""
    every: bool = False
    """For a purge: all flavours, those found and those that were seen before they went."""
    keep_system: bool = False
    """For a purge: sources keep the bytecode that the system's own tools would write; see `Manager.compiles`."""
    root: str | None = None
    trust_root: bool = False
    site_dirs: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    prefixes_below: tuple[str, ...] = ()
    """Directories with environments somewhere below them."""
    stdlib: bool = False
    pycache_prefix: str | None = None
    exclude: tuple[str, ...] = ()


class Bytecode(NamedTuple):
    """Which bytecode is wanted, and what becomes of the rest."""

    optimize: tuple[int, ...] | None = None
    invalidation_mode: InvalidationMode | None = None
    source_date_epoch: int | None = None
    replaces_owned: bool = False
    """Whether stale pycs that a package owns are rewritten, whatever the configuration says: for a program's own."""
    compare_code: bool = False
    """For a verification: compile everything again and compare the code, whatever headers and records say."""
    unwanted: bool = False
    """For a sweep: also levels that are no longer wanted."""

    def levels(self, settings: Settings, dotted: str) -> tuple[int, ...]:
        """The optimization levels for a flavour: the command line's, the flavour's, the defaults'."""
        if self.optimize is not None:
            return self.optimize
        flavour = settings.flavours.get(dotted)
        return flavour.optimize if flavour and flavour.optimize else settings.optimize


class Transaction(NamedTuple):
    """What was touched, and by whom."""

    paths: tuple[str, ...] | None = None
    """Absolute paths as the target sees them; None: the whole scope; empty: nothing was touched."""
    event: str = "unknown"
    manager: str | None = None


class Running(NamedTuple):
    """How the work is done."""

    hook: bool = False
    defer: bool = False
    """Only make it durable; the next run does it."""
    jobs: int | None = None
    lock_timeout: float | None = None
    """Seconds."""
    state_dir: str | None = None
    stateless: bool = False
    config: str | None = None
    dry_run: bool = False


class Request(NamedTuple):
    """One call of pyctrigger."""

    work: Work
    scope: Scope = Scope()
    bytecode: Bytecode = Bytecode()
    transaction: Transaction = Transaction()
    running: Running = Running()

    def about(self, paths: tuple[str, ...] | None) -> Request:
        """The same about other paths."""
        return self._replace(transaction=self.transaction._replace(paths=paths))

    def within(self, *prefixes: str) -> Request:
        """The same about other environments."""
        return self._replace(scope=self.scope._replace(prefixes=prefixes))

    def check(self) -> None:
        """Raise UsageError for options that don't go together."""
        scope, transaction, running = self.scope, self.transaction, self.running
        if transaction.event not in EVENTS:
            raise UsageError(f"--event {transaction.event}: not known", hint=f"use one of {', '.join(EVENTS)}")
        if transaction.manager is not None and transaction.manager not in MANAGERS:
            raise UsageError(f"--manager {transaction.manager}: not known", hint=f"use one of {', '.join(MANAGERS)}")
        if running.stateless and running.state_dir:
            raise UsageError("--stateless and --state-dir contradict each other", hint="leave one of them out")
        if running.defer and (running.stateless or running.dry_run):
            raise UsageError("--defer keeps state", hint="leave out --stateless and --dry-run")
        if scope.trust_root and not scope.root:
            raise UsageError("--trust-root needs --root", hint="name the root with --root DIR")
        flavours = {"--python": scope.pythons, "--cache-tag": scope.cache_tag, "--all": scope.every}
        named = [name for name, value in flavours.items() if value]
        if self.work is Work.PURGE and len(named) > 1:
            raise UsageError(f"{named[-1]} and {named[0]} contradict each other", hint="leave one of them out")
        if self.work is Work.PURGE and not named:
            raise UsageError("purge needs --python V, --cache-tag TAG or --all", hint="name what to remove")

    def values(self) -> dict[str, Any]:
        """All that is asked for, by the names of the settings, and the paths."""
        return {name: value for part in self[1:] for name, value in part._asdict().items()}

    def with_values(self, values: Mapping[str, Any]) -> Request:
        """This request with other values of some of its parts' fields; whatever else is named is left out."""

        def new(part: Any) -> Any:
            return part._replace(**{name: values[name] for name in part._fields if name in values})

        return Request(self.work, *map(new, self[1:]))

    def replayable(self) -> dict[str, Any]:
        """What another run needs, as JSON, to do this request's work."""
        return {name: _plain(value) for name, value in self.values().items() if name in _KEPT}

    def replaying(
        self, options: Mapping[str, Any], *, paths: tuple[str, ...] | None, event: str = "unknown"
    ) -> Request:
        """This request with what a journal entry says. Raises KeyError and ValueError.

        What an entry may lack came with a later release than it, and is as it is without being asked for.
        """
        found: dict[str, Any] = {"paths": paths, "event": event}
        for name, default in Request(self.work).values().items():
            if name in _KEPT:
                value = options[name] if name in _ALWAYS_KEPT else options.get(name, default)
                found[name] = value if value is default else _KEPT[name].convert(value)
        return self.with_values(found)


def _plain(value: Any) -> Any:
    """A value as TOML and JSON have it."""
    if isinstance(value, tuple):
        return list(value)
    return value.value if isinstance(value, enum.Enum) else value
