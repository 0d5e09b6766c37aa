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


class Request(NamedTuple):
    """One call of pyctrigger."""

    work: Work
    pythons: tuple[str, ...] = ()
    """Versions or paths of targets; none: every one found, or those of `prefixes`."""
    paths: tuple[str, ...] | None = None
    """Absolute paths as the target sees them; None: the whole scope; empty: nothing was touched."""
    event: str = "unknown"
    manager: str | None = None
    hook: bool = False
    defer: bool = False
    """Only make it durable; the next run does it."""
    root: str | None = None
    trust_root: bool = False
    site_dirs: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    prefixes_below: tuple[str, ...] = ()
    """Directories with environments somewhere below them."""
    stdlib: bool = False
    pycache_prefix: str | None = None
    optimize: tuple[int, ...] | None = None
    invalidation_mode: InvalidationMode | None = None
    source_date_epoch: int | None = None
    exclude: tuple[str, ...] = ()
    jobs: int | None = None
    lock_timeout: float | None = None
    """Seconds."""
    state_dir: str | None = None
    stateless: bool = False
    config: str | None = None
    dry_run: bool = False
    replaces_owned: bool = False
    """Whether stale pycs that a package owns are rewritten, whatever the configuration says: for a program's own."""
    compare_code: bool = False
    """For a verification: compile everything again and compare the code, whatever headers and records say."""
    cache_tag: str | None = None
    """For a purge: the tag of an interpreter that may be gone."""
    unwanted: bool = False
    """For a sweep: also levels that are no longer wanted."""
    every: bool = False
    """For a purge: all flavours, those found and those that were seen before they went."""

    def check(self) -> None:
        """Raise UsageError for options that don't go together."""
        if self.event not in EVENTS:
            raise UsageError(f"--event {self.event}: not known", mend=f"say one of {', '.join(EVENTS)}")
        if self.manager is not None and self.manager not in MANAGERS:
            raise UsageError(f"--manager {self.manager}: not known", mend=f"say one of {', '.join(MANAGERS)}")
        if self.stateless and self.state_dir:
            raise UsageError("--stateless and --state-dir contradict each other", mend="leave one of them out")
        if self.defer and (self.stateless or self.dry_run):
            raise UsageError("--defer keeps state", mend="leave out --stateless and --dry-run")
        if self.trust_root and not self.root:
            raise UsageError("--trust-root goes with --root", mend="name the root with --root DIR")
        flavours = {"--python": self.pythons, "--cache-tag": self.cache_tag, "--all": self.every}
        named = [name for name, value in flavours.items() if value]
        if self.work is Work.PURGE and len(named) > 1:
            raise UsageError(f"{named[-1]} and {named[0]} contradict each other", mend="leave one of them out")
        if self.work is Work.PURGE and not named:
            raise UsageError("purge needs --python V, --cache-tag TAG or --all", mend="say whose bytecode is to go")

    def levels(self, settings: Settings, dotted: str) -> tuple[int, ...]:
        """The optimization levels for a flavour: the command line's, the flavour's, the defaults'."""
        if self.optimize is not None:
            return self.optimize
        flavour = settings.flavours.get(dotted)
        return flavour.optimize if flavour and flavour.optimize else settings.optimize

    def replayable(self) -> dict[str, Any]:
        """What another run needs, as JSON, to do this request's work."""
        return {
            "manager": self.manager,
            "site_dirs": list(self.site_dirs),
            "prefixes": list(self.prefixes),
            "stdlib": self.stdlib,
            "pycache_prefix": self.pycache_prefix,
            "optimize": list(self.optimize) if self.optimize is not None else None,
            "invalidation_mode": self.invalidation_mode.value if self.invalidation_mode else None,
            "source_date_epoch": self.source_date_epoch,
            "exclude": list(self.exclude),
        }

    def replaying(self, options: dict[str, Any]) -> Request:
        """This request with the options of a journal entry. Raises KeyError, TypeError or ValueError."""
        mode = options["invalidation_mode"]
        levels = options["optimize"]
        return self._replace(
            manager=_optional(options["manager"], str),
            site_dirs=_texts(options["site_dirs"]),
            prefixes=_texts(options["prefixes"]),
            stdlib=bool(options["stdlib"]),
            pycache_prefix=_absolute(options["pycache_prefix"]),
            optimize=None if levels is None else _levels(levels),
            invalidation_mode=None if mode is None else InvalidationMode(mode),
            source_date_epoch=_optional(options["source_date_epoch"], int),
            exclude=_texts(options["exclude"]),
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
