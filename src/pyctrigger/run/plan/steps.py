"""The steps of a plan, as values: what a directory needs, what the removals empty, what couldn't be looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Union

from ...tuples import NamedTuple

if TYPE_CHECKING:
    import os

    from ...pyc.header import Verdict


class LevelState(NamedTuple):
    """One optimization level of a source that isn't fresh."""

    level: int
    pyc: str
    verdict: Verdict
    source_hash: bytes | None = None
    """The hash in its header, if it is hash-based."""


class Stale(NamedTuple):
    """A source with bytecode to write, or to prove."""

    name: str
    status: os.stat_result
    levels: tuple[LevelState, ...]


class Unwanted(NamedTuple):
    """A pyc of a level that isn't asked for, beside its source."""

    pyc: str
    stale: Stale
    """Its source, and what is wrong with it: no level if it is fresh."""
    is_recorded: bool
    """Whether its level was asked for before: a run has made the pyc, or taken note of it."""
    is_owned: bool
    """Whether a package owns it."""


class Removal(NamedTuple):
    """A file among the pycs that should go."""

    name: str
    kind: str
    """orphan, residue, unwanted or pyc (a purge)."""
    source: str | None = None


class DirectoryPlan(NamedTuple):
    """What one directory needs; a large one has several plans in a row, one that needs nothing has none."""

    relative: str
    stale: list[Stale]
    removals: list[Removal]
    skipped: list[tuple[str, str]]
    """Sources that bytecode isn't written for, with the reason."""
    refused: list[tuple[str, str]]
    """Sources that must not be read, with the reason."""
    owned: list[tuple[str, str]]
    """Stale pycs that a package owns and that so stay as they are, each with its source."""
    links: list[tuple[str, str]]
    """Links to directories with sources, and where they lead: nothing is compiled through them."""
    unwanted: list[Unwanted]
    """Pycs of levels that aren't asked for; only who looks is told of them."""
    obstacle: str | None = None
    """What stands in the way of the `__pycache__`."""
    is_closed: bool = False
    """Whether who may read its sources may not enter its `__pycache__`."""
    goes_on: bool = False
    """Whether another part came before: what holds for the directory itself was said with that."""

    @classmethod
    def nothing(cls, relative: str) -> DirectoryPlan:
        """A plan to be filled."""
        return cls(relative, [], [], [], [], [], [], [])

    def rest(self) -> DirectoryPlan:
        """The next part, to be filled."""
        return self.nothing(self.relative)._replace(obstacle=self.obstacle, goes_on=True)

    def joined(self, rest: DirectoryPlan) -> DirectoryPlan:
        """This and the next part in one."""
        if not rest.goes_on:
            return rest
        return self._replace(
            stale=self.stale + rest.stale,
            removals=self.removals + rest.removals,
            skipped=self.skipped + rest.skipped,
            refused=self.refused + rest.refused,
            owned=self.owned + rest.owned,
            links=self.links + rest.links,
            unwanted=self.unwanted + rest.unwanted,
        )

    @property
    def is_needed(self) -> bool:
        """Whether there is anything in it."""
        of_itself = (self.obstacle or self.is_closed) and not self.goes_on
        lists = (self.stale, self.removals, self.skipped, self.refused, self.owned, self.links, self.unwanted)
        return any(lists) or bool(of_itself)


class Emptied(NamedTuple):
    """A directory that the removals leave empty."""

    relative: str
    pycache: bool
    """The directory of its pycs, or the directory itself."""


class Unexamined(NamedTuple):
    """A directory that could not be looked at."""

    relative: str
    reason: str


class Foreign(NamedTuple):
    """A directory where somebody else may rename: it is for the process that acts as that account."""

    relative: str
    deep: bool
    """With everything below it, or that directory alone."""
    if_dead: bool = False
    """Only if there is nothing but bytecode in it."""


class Refused(NamedTuple):
    """A directory where nothing can be done as the account whose place it is."""

    relative: str
    reason: str


class Totals(NamedTuple):
    """What was seen, in all: the last step of a plan."""

    sources: int = 0
    fresh: int = 0
    source_bytes: int = 0
    pyc_bytes: int = 0
    """Of this cache tag; 0 unless the bytes were to be measured."""


Step = Union[DirectoryPlan, Emptied, Unexamined, Foreign, Refused, Totals]
