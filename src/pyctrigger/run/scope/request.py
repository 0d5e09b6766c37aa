"""What somebody asks for: the options of a command as one value."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any

from ...errors import UsageError
from ...pyc.header import InvalidationMode
from ...tuples import NamedTuple

if TYPE_CHECKING:
    from .config import Settings


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


#: The events that a package manager may name; all of them are handled alike, and "unknown" is always safe.
EVENTS = ("install", "upgrade", "remove", "configure", "unknown")
MANAGERS = ("pkg", "dpkg", "rpm", "pacman", "apk")


class Scope(NamedTuple):
    """Which trees are meant, and of which interpreters."""

    pythons: tuple[str, ...] = ()
    """Versions or paths of targets; none: every one found, or those of `prefixes`."""
    cache_tag: str | None = None
    """For a purge: the tag of an interpreter that may be gone."""
    every: bool = False
    """For a purge: all flavours, those found and those that were seen before they went."""
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
            raise UsageError(f"--event {transaction.event}: not known", mend=f"say one of {', '.join(EVENTS)}")
        if transaction.manager is not None and transaction.manager not in MANAGERS:
            raise UsageError(f"--manager {transaction.manager}: not known", mend=f"say one of {', '.join(MANAGERS)}")
        if running.stateless and running.state_dir:
            raise UsageError("--stateless and --state-dir contradict each other", mend="leave one of them out")
        if running.defer and (running.stateless or running.dry_run):
            raise UsageError("--defer keeps state", mend="leave out --stateless and --dry-run")
        if scope.trust_root and not scope.root:
            raise UsageError("--trust-root goes with --root", mend="name the root with --root DIR")
        flavours = {"--python": scope.pythons, "--cache-tag": scope.cache_tag, "--all": scope.every}
        named = [name for name, value in flavours.items() if value]
        if self.work is Work.PURGE and len(named) > 1:
            raise UsageError(f"{named[-1]} and {named[0]} contradict each other", mend="leave one of them out")
        if self.work is Work.PURGE and not named:
            raise UsageError("purge needs --python V, --cache-tag TAG or --all", mend="say whose bytecode is to go")

    def replayable(self) -> dict[str, Any]:
        """What another run needs, as JSON, to do this request's work."""
        scope, bytecode = self.scope, self.bytecode
        return {
            "manager": self.transaction.manager,
            "site_dirs": list(scope.site_dirs),
            "prefixes": list(scope.prefixes),
            "stdlib": scope.stdlib,
            "pycache_prefix": scope.pycache_prefix,
            "optimize": list(bytecode.optimize) if bytecode.optimize is not None else None,
            "invalidation_mode": bytecode.invalidation_mode.value if bytecode.invalidation_mode else None,
            "source_date_epoch": bytecode.source_date_epoch,
            "exclude": list(scope.exclude),
        }

    def replaying(self, options: dict[str, Any], *, paths: tuple[str, ...] | None, event: str = "unknown") -> Request:
        """This request with what a journal entry says. Raises KeyError, TypeError or ValueError."""
        mode = options["invalidation_mode"]
        levels = options["optimize"]
        return self._replace(
            scope=self.scope._replace(
                site_dirs=_texts(options["site_dirs"]),
                prefixes=_texts(options["prefixes"]),
                stdlib=bool(options["stdlib"]),
                pycache_prefix=_absolute(options["pycache_prefix"]),
                exclude=_texts(options["exclude"]),
            ),
            bytecode=self.bytecode._replace(
                optimize=None if levels is None else _levels(levels),
                invalidation_mode=None if mode is None else InvalidationMode(mode),
                source_date_epoch=_optional(options["source_date_epoch"], int),
            ),
            transaction=Transaction(paths, event, _optional(options["manager"], str)),
        )


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise TypeError("no list of texts")
    return tuple(value)


def _absolute(value: Any) -> str | None:
    if value is not None and not (isinstance(value, str) and value.startswith("/")):
        raise TypeError("no absolute path")
    return value


def _levels(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or not value or not all(type(each) is int and 0 <= each <= 2 for each in value):
        raise TypeError("no list of optimization levels")
    return tuple(value)


def _optional(value: Any, kind: type) -> Any:
    if value is not None and type(value) is not kind:
        raise TypeError(f"no {kind.__name__}")
    return value
