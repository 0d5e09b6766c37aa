"""Pieces: parts of what directories need, bounded in bytes, as they are dealt out to lanes."""

from __future__ import annotations

from collections.abc import Iterator

from ...typed import NamedTuple
from ...workers.pool import Apart
from ..plan.steps import LevelState, Stale, Step

#: Work in a piece, and work that a lane has ahead of it.
_MOST, AHEAD = 64 << 10, 1 << 20

#: A directory: the number of its tree, and its path there.
Key = tuple[int, str]


class Dealt(NamedTuple):
    """A piece, as a lane gets it."""

    number: int
    """Of its tree."""
    relative: str
    missing: list[tuple[str, int]]
    """The names and sizes of sources without any pyc: nearly all, where there is much to do."""
    more: Step | None
    """What else the directory needs."""
    needs: dict[str, Apart]
    """The workers that sources need, by name, where a lane has found out."""

    def step(self, bare: tuple[LevelState, ...]) -> Step:
        """Returns the whole step; `bare` are the levels of a source without any pyc."""
        step = self.more or Step.of(self.relative)
        step.stale.extend(Stale(name, size, bare, None) for name, size in self.missing)
        return step


class Piece:
    """A part of a directory's step. `is_retry` if a lane has ended over it."""

    def __init__(self, number: int, step: Step, work: int, *, is_retry: bool = False) -> None:
        self.key: Key = number, step.relative
        self.step = step
        self.is_retry = is_retry
        #: The work in it.
        self.work = work
        #: The names of sources that are to be done, and "" for the directory itself.
        self.left = {"", *[each.name for each in step.stale]}
        #: What a lane has found out about sources that it left to another.
        self.needs: dict[str, Apart] = {}

    def part(self, names: set[str]) -> Step:
        """Returns the step with these sources only, and what concerns the directory itself if "" is among them."""
        step = self.step if "" in names else self.step.rest()
        return step._replace(stale=[each for each in self.step.stale if each.name in names])

    def retry(self) -> Piece:
        """Returns what is left of it, for another try."""
        part = self.part(self.left)
        removals = [each._replace(was_tried=True) for each in part.removals]
        again = Piece(self.key[0], part._replace(removals=removals), self.work, is_retry=True)
        again.needs = self.needs
        return again

    def apart(self, needs: dict[str, Apart]) -> Piece | None:
        """Returns a piece of those of its sources that need a worker of their own, if there are some."""
        part = self.part(self.left.intersection(needs) - {""})
        if not part.stale:
            return None
        piece = Piece(self.key[0], part, sum(each.work for each in part.stale), is_retry=self.is_retry)
        piece.needs = needs
        return piece

    def dealt(self, bare: tuple[LevelState, ...]) -> Dealt:
        """Returns what is sent to a lane; `bare` as in `Dealt.step`."""
        step, missing, others = self.step, [], []
        for each in step.stale:
            if each.levels == bare:
                missing.append((each.name, each.size))
            else:
                others.append(each)
        more = None
        if others or step.changes_more or step.obstacle:
            more = step._replace(stale=others, records=[], note=None, part=None)
        return Dealt(*self.key, missing, more, self.needs)


def pieces_of(number: int, step: Step) -> Iterator[Piece]:
    """Yields the pieces of a step in the tree of this number."""
    work = step.work
    if work <= _MOST or step.obstacle:  # what is in the way goes once
        yield Piece(number, step, work)
        return
    part, work = step._replace(stale=[]), 0
    for stale in step.stale:
        if work >= _MOST:
            yield Piece(number, part, work)
            part, work = step.rest(), 0
        part.stale.append(stale)
        work += stale.work
    yield Piece(number, part, work)
