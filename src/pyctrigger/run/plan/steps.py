"""The steps of a plan: what a directory needs, and what was proven about it. Values only."""

from __future__ import annotations

import os
from collections.abc import Iterable

from ...pyc.header import Verdict
from ...state.records.directories import UnchangedDirectory
from ...state.records.parts import Part
from ...state.records.record import Record
from ...tree.listing import PycListing, SourceListing
from ...typed import Any, NamedTuple

#: The header fits, or may fit; whether the code does isn't known yet.
DOUBTS = frozenset({Verdict.UNPROVEN, Verdict.UNKNOWN, Verdict.SUSPECT})
#: Sources and pycs in one step: more than the names is kept in memory of no more, however large a directory is.
AT_ONCE = 1024
#: Sources that are held at most so that a watcher knows how many there are: some 50 MB of names and status.
MOST_COUNTED = 50_000
#: Bytes. A source costs as much as one of this size, however small it is.
_LEAST_WORK = 1 << 10


class LevelState(NamedTuple):
    """One optimization level of a source that isn't fresh."""

    level: int
    suffix: str
    """What the name of its pyc has instead of `.py`."""
    verdict: Verdict
    source_hash: bytes | None = None
    """The hash in its header, if it is hash-based."""
    record: Record | None = None
    """The manifest's record, if a new header is all that it needs."""

    def pyc(self, source: str) -> str:
        """Returns the name of the pyc of a source with this name."""
        return source[:-3] + self.suffix


class Stale(NamedTuple):
    """A source whose bytecode has to be written or proven."""

    name: str
    size: int
    """Bytes."""
    levels: tuple[LevelState, ...]
    status: os.stat_result | None
    """What it was when its pycs were judged; None where it has none, and in lanes."""

    @property
    def work(self) -> int:
        """What compiling it costs, in bytes of a large source."""
        return max(self.size, _LEAST_WORK)

    @classmethod
    def of(cls, name: str, status: os.stat_result, levels: tuple[LevelState, ...]) -> Stale:
        """Returns a source with this status."""
        return cls(name, status.st_size, levels, status)

    def pyc(self, state: LevelState) -> str:
        """Returns the name of the pyc of one of its levels."""
        return state.pyc(self.name)


def all_missing(suffixes: Iterable[tuple[int, str]]) -> tuple[LevelState, ...]:
    """Returns the levels of any source without a pyc: those of these suffixes."""
    return tuple([LevelState(level, suffix, Verdict.MISSING) for level, suffix in suffixes])


class Unwanted(NamedTuple):
    """A pyc of a level that isn't asked for, beside its source."""

    pyc: str
    stale: Stale
    """Its source, and what is wrong with it: no level if it is fresh."""
    is_recorded: bool
    """Whether its level was wanted before: a run has made or recorded the pyc."""
    is_owned: bool
    """Whether a package owns it."""


class Removal(NamedTuple):
    """A file to remove from a directory of pycs."""

    name: str
    kind: str
    """orphan, residue, unwanted or pyc (a purge)."""
    source: str | None = None
    was_tried: bool = False
    """Whether a lane that has ended may have removed it."""


class ForeignPlace(NamedTuple):
    """A place where another account may rename, for a process that acts as that account."""

    relative: str
    deep: bool
    """Whether everything below it is meant as well."""
    if_dead: bool = False
    """Only if it contains nothing but bytecode."""


class Totals(NamedTuple):
    """What was seen in a site directory, added up."""

    sources: int = 0
    fresh: int = 0
    source_bytes: int = 0
    pyc_bytes: int = 0
    """Of this cache tag; 0 unless they were to be measured."""
    stored: int = 0
    """Fresh pycs whose code came from a store, as recorded."""

    def plus(self, other: Totals) -> Totals:
        """Returns the sum."""
        return Totals(*map(sum, zip(self, other)))


class DirectoryNote(NamedTuple):
    """What was proven about a directory, for the next run."""

    directory: bytes
    """Its key in the records."""
    unchanged: UnchangedDirectory | None
    """None if it needs something now or will later."""
    gone: tuple[bytes, ...]
    """Its subdirectories that are gone."""


class Seen(NamedTuple):
    """The contents of one directory, and what will become of them."""

    sources: SourceListing | None
    """None where, with a pycache prefix, only the pycs are left."""
    pycs: PycListing | None
    removals: int
    """How many of the pycs will be removed."""
    keeps_pycache: bool
    """Whether pycs will be written to the `__pycache__`, or something else has its name."""


class SeenPart(NamedTuple):
    """What was seen of a part of a site directory, for the next hook's glance."""

    name: str
    part: Part
    is_done: bool
    """Whether nothing more can be done for it."""


class Step(NamedTuple):
    """What one directory needs; a large one has several steps in a row, one that needs nothing has none."""

    relative: str
    stale: list[Stale]
    removals: list[Removal]
    skipped: list[tuple[str, str]]
    """Sources that bytecode isn't written for, with the reason."""
    refused: list[tuple[str, str]]
    """Sources that must not be read, with the reason."""
    owned: list[tuple[str, str]]
    """Stale pycs that stay because a package owns them, each with its source."""
    links: list[tuple[str, str]]
    """Links to directories with sources, and where they lead: nothing is compiled through them."""
    unwanted: list[Unwanted]
    """Pycs of levels that aren't wanted; found only when nothing will be written."""
    records: list[tuple[str, Record | None]]
    """What was proven about pycs, by name; None if a record is wrong."""
    obstacle: str | None = None
    """What has the name of the `__pycache__` instead."""
    is_closed: bool = False
    """Whether accounts that may read its sources can't enter its `__pycache__`."""
    goes_on: bool = False
    """Whether an earlier step has what concerns the directory itself."""
    emptied_pycache: bool = False
    """Whether the removals leave the directory of its pycs empty."""
    emptied: bool = False
    """Whether they leave the directory itself empty."""
    unexamined: str | None = None
    """Why it can't be examined."""
    forbidden: str | None = None
    """Why nothing can be done here as the account that owns it."""
    note: DirectoryNote | None = None
    """What was proven about it, for the next run."""
    part: SeenPart | None = None
    """The part of the site directory that ends with this step."""
    is_bare: bool = False
    """Whether it has no `__pycache__`."""

    @classmethod
    def of(cls, relative: str, *, is_bare: bool = False) -> Step:
        """Returns an empty step."""
        return cls(relative, [], [], [], [], [], [], [], [], is_bare=is_bare)

    def rest(self) -> Step:
        """Returns the next step about the same directory, empty."""
        return self.of(self.relative, is_bare=self.is_bare)._replace(obstacle=self.obstacle, goes_on=True)

    def joined(self, rest: Step) -> Step:
        """Returns this and a later step about the same directory as one."""
        fields: Any = zip(self, rest)
        both = (mine + more if isinstance(mine, list) else mine or more for mine, more in fields)
        return Step(*both)._replace(goes_on=self.goes_on)

    @property
    def work(self) -> int:
        """What compiling its sources costs, in bytes of a large one."""
        return sum([max(_LEAST_WORK, size) for _, size, _, _ in self.stale])

    @property
    def place(self) -> str:
        """The directory whose entries it changes."""
        is_directory_alone = self.emptied and not self.emptied_pycache
        return self.relative.rpartition("/")[0] if is_directory_alone else self.relative

    @property
    def opens_pycache(self) -> bool:
        """Whether its `__pycache__` should get another mode."""
        return self.is_closed and not self.goes_on

    @property
    def would_change(self) -> bool:
        """Whether something has to be changed."""
        return bool(self.stale or self.changes_more)

    @property
    def changes_more(self) -> bool:
        """Whether something other than pycs of sources has to be changed."""
        return bool(self.removals or self.emptied_pycache or self.emptied or self.opens_pycache)

    @property
    def reports(self) -> bool:
        """Whether something is to be reported that no change mends."""
        of_itself = self.unexamined or self.forbidden
        return bool(self.skipped or self.refused or self.owned or self.links or of_itself)

    @property
    def is_needed(self) -> bool:
        """Whether the directory isn't as it should be."""
        return bool(self.would_change or self.reports or self.unwanted or (self.obstacle and not self.goes_on))

    @property
    def says_something(self) -> bool:
        """Whether it isn't empty."""
        return bool(self.is_needed or self.records or self.note or self.part)
