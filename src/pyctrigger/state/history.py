"""The history: what the last runs were called with and did, a row for each in one SQLite file.

A run adds its row before it changes anything, and says in it what it did when it ends: one that was killed in between
is seen to have begun. The file is a hint, like all state: a row that can't be believed is left out by who reads it, and
a damaged file begins anew.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Callable, Iterable, Iterator

from ..typed import Any, NamedTuple
from .sqlite import connect, database_error, has_sqlite, is_busy, is_damaged

_NAME = "history.sqlite"
#: Where release 0.1.0 kept it: a JSON object a line.
FORMER_NAMES = ("history.jsonl.1", "history.jsonl")
#: Rows that are kept: most have one kilobyte, none more than a hundred.
MOST_RUNS = 500
_SCHEMA = 1
#: Seconds of waiting for another program that has locked the file, and of processor time for reading it.
_PATIENCE, _TIME_TO_READ = 0.2, 5.0


class PastFlavour(NamedTuple):
    """What a past run did for one flavour."""

    flavour: str
    installation: str
    counts: dict[str, int]
    """Those of the contract that aren't 0."""
    failures: tuple[tuple[str, str, str], ...]
    """Path, kind and message of the first of them."""
    failure_count: int
    exit_code: int
    """0 done; what the contract's table says else."""
    elapsed_seconds: float
    deferred: bool = False
    """Its work was left in the journal."""
    taken_over: int = 0
    """Entries of other runs in the journal whose work it did."""
    prefix: str | None = None
    """The environment that was served."""
    is_denied: bool = False
    """All that failed may only be written by root."""


class PastRun(NamedTuple):
    """One run, as far as it was recorded."""

    number: int
    began: float
    """Seconds since the epoch."""
    ended: float | None
    """None: it didn't come to its end, or hasn't yet."""
    pid: int
    birth: str
    """When its process began, in the system's own words; with the pid it distinguishes the process from later ones."""
    command: str
    event: str
    manager: str | None
    hook: bool
    options: dict[str, Any]
    """Those that weren't left at their defaults."""
    paths: tuple[str, ...] | None
    """The first of them; None: the whole scope."""
    path_count: int
    flavours: tuple[PastFlavour, ...] = ()
    errors: tuple[tuple[int, str], ...] = ()
    """Exit code and message of what ended a flavour's work, or all of it."""
    exit_code: int = 0

    @property
    def outcome(self) -> str:
        """In one word: done, failed (some files), error, deferred, interrupted or running."""
        if self.ended is None:
            return "running" if self.birth == birth_of(self.pid) else "interrupted"
        if self.errors:
            return "error"
        if self.exit_code:
            return "failed"
        return "deferred" if any(each.deferred for each in self.flavours) else "done"

    @property
    def changes(self) -> int:
        """How many sources and pycs it changed."""
        kinds = ("compiled", "stored", "refreshed", "removed", "removed_directories")
        return sum(each.counts.get(kind, 0) for each in self.flavours for kind in kinds)


class History:
    """The history in one state directory."""

    def __init__(self, directory: str) -> None:
        self._path = os.path.join(directory, _NAME)

    def add(self, run: PastRun) -> int:
        """Add a run, or, under the number that it has already, what else is known of it.

        Returns its number, 0 without sqlite3. Raises OSError.
        """
        if not has_sqlite():
            return 0
        try:
            try:
                return self._write_row(run)
            except database_error() as error:
                if not is_damaged(error):
                    raise
                os.unlink(self._path)
                return self._write_row(run)
        except database_error() as error:
            raise OSError(errno.EIO, str(error)) from error

    def runs(self, notice: Callable[[str], None] = lambda message: None) -> list[PastRun]:
        """The recorded runs, oldest first; if they can't be read there are none, and `notice` gets the reason."""
        from ..packages.databases import confine  # a run only writes

        if not os.path.lexists(self._path):
            return []
        try:
            with contextlib.closing(connect(self._path, _PATIENCE)) as database:
                confine(database, ("runs",), _TIME_TO_READ)
                rows = database.execute("select number, record from runs order by number desc limit ?", (MOST_RUNS,))
                return list(_runs_of(rows))[::-1]
        except database_error() as error:
            advice = "" if is_busy(error) else "; move it away, and the next run begins a new one"
            notice(f"{self._path} can't be read: {error}{advice}")
            return []

    def _write_row(self, run: PastRun) -> int:
        with contextlib.closing(connect(self._path, _PATIENCE)) as database:
            database.isolation_level = None
            # A power failure may cost the history; waiting for the disk would cost every hook.
            database.execute("pragma synchronous = off")
            database.execute("begin immediate")
            if database.execute("pragma user_version").fetchone()[0] != _SCHEMA:
                database.execute("drop table if exists runs")
                database.execute("create table runs (number integer primary key, record text not null)")
                database.execute(f"pragma user_version = {_SCHEMA}")
            row = (run.number or None, json.dumps(_fields_of(run)))
            number = int(database.execute("insert or replace into runs values (?, ?)", row).lastrowid)
            database.execute("delete from runs where number <= ?", (number - MOST_RUNS,))
            database.execute("commit")
        return number


def elapsed(since: float, now: float) -> float:
    """Seconds between two moments of a clock that may have been set back in between: never less than none."""
    return max(0.0, now - since)


def birth_of(pid: int) -> str:
    """When a process began, in clock ticks since the boot and with the boot's id; "" for one that isn't there.

    Without a Linux /proc it is only known whether there is one.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            ticks = file.read(4096).rpartition(b")")[2].split()[19].decode("ascii")
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return f"{ticks}@{file.read(64).strip()}"
    except (OSError, IndexError, UnicodeDecodeError):
        pass
    try:
        os.kill(pid, 0)
    except PermissionError:
        return "alive"
    except (OSError, OverflowError):
        return ""
    return "alive"


def _fields_of(run: PastRun) -> dict[str, Any]:
    return {**run._asdict(), "flavours": [each._asdict() for each in run.flavours]}


def _runs_of(rows: Iterable[tuple[Any, Any]]) -> Iterator[PastRun]:
    for number, record in rows:
        with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError, RecursionError):
            yield PastRun(**_convert_fields({**json.loads(record), "number": number}, PastRun._fields))


def _convert_fields(stored: Any, names: Iterable[str]) -> dict[str, Any]:
    return {name: _CONVERTERS[name](stored[name]) for name in names}


def _or_none(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else convert(value)


def _require_text(value: Any) -> str:
    """Text that a path can be made of. Raises ValueError."""
    if not isinstance(value, str):
        raise ValueError
    os.fsencode(value)  # half of a surrogate pair stands for no byte
    return value


def _require_natural(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 53:
        raise ValueError
    return value


def _require_time(value: Any) -> float:
    """Seconds that a clock can show. Raises ValueError."""
    if type(value) not in (int, float) or not 0 <= value < 1 << 36:
        raise ValueError
    return float(value)


def _convert_failure(value: Any) -> tuple[str, str, str]:
    path, kind, message = map(_require_text, value)
    return path, kind, message


#: What makes of a stored field what it has to be. They raise what `_runs_of` suppresses.
_CONVERTERS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("birth", "command", "event", "flavour", "installation"), _require_text),
    **dict.fromkeys(("manager", "prefix"), _or_none(_require_text)),
    **dict.fromkeys(("number", "pid", "path_count", "exit_code", "failure_count", "taken_over"), _require_natural),
    **dict.fromkeys(("began", "elapsed_seconds"), _require_time),
    **dict.fromkeys(("hook", "deferred", "is_denied"), bool),
    "ended": _or_none(_require_time),
    "options": lambda value: {_require_text(name): each for name, each in value.items()},
    "paths": _or_none(lambda value: tuple(map(_require_text, value))),
    "counts": lambda value: {_require_text(name): _require_natural(count) for name, count in value.items()},
    "failures": lambda value: tuple(map(_convert_failure, value)),
    "flavours": lambda value: tuple(PastFlavour(**_convert_fields(each, PastFlavour._fields)) for each in value),
    "errors": lambda value: tuple((_require_natural(code), _require_text(message)) for code, message in value),
}
