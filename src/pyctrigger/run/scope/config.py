"""The configuration: a TOML file read into one frozen value, every fault in it reported at once."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Container, Mapping

from ...bounded import read_regular
from ...errors import ConfigurationError, PyctriggerError, UsageError
from ...interpreter.flavour import Flavour
from ...interpreter.trust import require_own
from ...pyc.header import InvalidationMode
from ...state.locations import configuration_files
from ...typed import Any, NamedTuple
from .settings import DEFAULTS, FLAVOUR, HOOKS, STORE, Setting

#: Bytes.
_LARGEST = 1 << 20
_BARE_KEY = r"[A-Za-z0-9_-]+\Z"
#: The lines that begin a table, as a package writes them.
_TABLES = frozenset({"[defaults]", "[store]", "[hooks]"})


class FlavourSettings(NamedTuple):
    """What the configuration says about one flavour, `[flavours."3.11"]`; None means: as in `[defaults]`."""

    executable: str | None = None
    optimize: tuple[int, ...] | None = None
    site_dirs: tuple[str, ...] | None = None


class Settings(NamedTuple):
    """The configuration's values, or their defaults."""

    optimize: tuple[int, ...] = (0,)
    """Optimization levels (PEP 488)."""
    invalidation_mode: InvalidationMode = InvalidationMode.TIMESTAMP
    exclude: tuple[str, ...] = ()
    """Shell patterns of full paths that are not compiled; `*` crosses `/`."""
    create_missing: bool = True
    owned_stale: str = "keep"
    untrusted_directories: str = "refuse"
    duplicates: str = "hardlink"
    jobs: int = 0
    """Workers; 0: what the machine allows."""
    file_timeout: float = 60
    """CPU seconds for one source."""
    memory_limit: int = 2 << 30
    """Bytes of address space for one worker."""
    lock_timeout: float = 300
    """Seconds."""
    log: str = "none"
    hooks_enabled: bool = True
    store_url: str = ""
    """Nothing, `local`, or a directory."""
    store_write: bool = True
    store_trusted_keys: tuple[str, ...] = ()
    """Public keys, and absolute paths of files with such."""
    store_signing_key: str = ""
    """A file, or nothing."""
    store_password_file: str = ""
    """A file, or nothing."""
    store_max_size: int = 1 << 30
    """Bytes."""
    store_timeout: float = 1.0
    """Seconds."""
    flavours: Mapping[str, FlavourSettings] = {}

    @property
    def compiles_all(self) -> bool:
        """Whether hooks write the bytecode of level 0 for every source that a package installs."""
        flavours = self.flavours.values()
        has_levels = 0 in self.optimize and all(0 in (each.optimize or (0,)) for each in flavours)
        has_sites = all(each.site_dirs is None for each in flavours)
        return self.hooks_enabled and self.create_missing and not self.exclude and has_levels and has_sites

    @property
    def has_remote_store(self) -> bool:
        """Whether the store is another machine's."""
        return "://" in self.store_url and not self.store_url.startswith("/")

    @property
    def limits(self) -> dict[str, float]:
        """What one source may use, by the kind of failure of one that needs more; 0: whatever it needs."""
        return {"timeout": self.file_timeout, "memory": self.memory_limit}

    def candidates(self, flavour: Flavour) -> list[str]:
        """Returns absolute paths to try for a flavour, best first: the one that is configured, or the usual ones."""
        configured = self.flavours.get(flavour.dotted)
        return flavour.candidates(configured.executable if configured else None)


def load(path: str | None = None, *, hook: bool = False) -> Settings:
    """Read the configuration: `path`, or the first that exists of the places the contract names, or the defaults.

    Raises ConfigurationError with every fault, UsageError if a file that was named can't be read, and RefusedError if
    root is asked to trust a file that somebody else can change.
    """
    chosen = path or next((each for each in configuration_files(hook=hook) if os.path.exists(each)), None)
    if chosen is None:
        return Settings()
    if not os.path.exists(chosen):
        raise UsageError(f"configuration {chosen}: no such file", hint="name a readable file")
    require_own(os.path.abspath(chosen), "configuration")
    try:
        text = read_regular(chosen, _LARGEST)
    except OSError as error:
        raise UsageError(f"configuration {chosen}: {error.strerror}", hint="name a readable file") from error
    return parse(text, chosen)


def parse(text: bytes, path: str) -> Settings:
    """Read the bytes of a configuration file. Raises ConfigurationError."""
    if _sets_nothing(text):
        return Settings()
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        document = tomllib.loads(text.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ConfigurationError(path, [(f"byte {error.start} isn't UTF-8", "save the file as UTF-8")]) from error
    except (ValueError, RecursionError) as error:  # TOMLDecodeError is one, and so is a number of 5,000 digits
        raise ConfigurationError(path, [(f"not valid TOML: {error}", None)]) from error
    return _Reader(path).read(document)


def _sets_nothing(text: bytes) -> bool:
    """Whether a file has only comments, and tables of its own without a key, as a package brings it.

    Python's TOML takes 4 ms to import, with typing: a tenth of a hook with little to do.
    """
    lines = text.decode("latin-1").split("\n")
    tables = [line for line in lines if line and not line.startswith("#")]
    is_plain = text.isascii() and all(map(str.isprintable, lines))
    return is_plain and len(tables) == len({*tables}) and _TABLES.issuperset(tables)


class _Reader:
    """Collects values and faults."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._problems: list[tuple[str, str]] = []

    def read(self, document: dict[str, Any]) -> Settings:
        self._only(document, "", ("defaults", "store", "hooks", "flavours"), elsewhere=DEFAULTS)
        values = self._values(document.get("defaults", {}), "defaults", DEFAULTS)
        values.update(self._values(document.get("store", {}), "store", STORE))
        values.update(self._values(document.get("hooks", {}), "hooks", HOOKS))
        flavours = {}
        for name, table in self._table(document.get("flavours", {}), "flavours").items():
            if _is_version(name):
                flavours[name] = FlavourSettings(**self._values(table, f'flavours."{name}"', FLAVOUR))
            else:
                self._problems.append((f"flavours.{_key(name)} is not a version", 'write "3.11" or "pypy3.11", quoted'))
        if self._problems:
            raise ConfigurationError(self._path, self._problems)
        return Settings(**values, flavours=flavours)

    def _table(self, value: Any, shown: str) -> dict[str, Any]:
        if isinstance(value, dict):
            return value
        self._problems.append((f"{shown} is not a table", f"write [{shown}]"))
        return {}

    def _only(self, table: dict[str, Any], shown: str, known: tuple[str, ...], elsewhere: Container[str] = ()) -> None:
        for key in table:
            if key not in known:
                from ...suggestions import did_you_mean

                where = f"{shown}.{_key(key)}" if shown else _key(key)
                likely = " (it belongs in [defaults])" if key in elsewhere else did_you_mean(key, known)
                self._problems.append((f"{where} is not known{likely}", f"known keys: {', '.join(known)}"))

    def _values(self, value: Any, shown: str, known: Mapping[str, Setting]) -> dict[str, Any]:
        table, values = self._table(value, shown), {}
        self._only(table, shown, tuple(known))
        for name, setting in known.items():
            if name in table:
                try:
                    values[setting.name] = setting.kind.convert(table[name])
                except ValueError as error:
                    self._problems.append((f"{shown}.{name} can't be {_short(table[name])}", str(error)))
        return values


def _is_version(name: str) -> bool:
    """Whether a flavour can have this name: a table that nothing reads would be a silent fault."""
    with contextlib.suppress(PyctriggerError):
        return Flavour.parse(name).dotted == name
    return False


def _key(key: str) -> str:
    """A key as the file has it, on one line."""
    return key if re.match(_BARE_KEY, key, re.ASCII) else _short(key)


def _short(value: object) -> str:
    if isinstance(value, str) and "://" in value:
        return "a URL"  # it may have a secret in it
    try:
        text = repr(value)
    except ValueError:
        return "a number of thousands of digits"
    return text if len(text) <= 60 else text[:57] + "..."
