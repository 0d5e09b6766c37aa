"""How pieces are cut and dealt, and what becomes of those whose lane ends; the lanes' side is scripted."""

from __future__ import annotations

import contextlib
import pickle
import socket
import struct
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from pyctrigger.errors import InterpreterError, ShortageError
from pyctrigger.outcome.outcome import Tally
from pyctrigger.run.apply.lane import Outcome
from pyctrigger.run.apply.lanes import Lanes
from pyctrigger.run.apply.pieces import AHEAD, Dealt, Key, pieces_of
from pyctrigger.run.apply.team import LaneAtWork, Team
from pyctrigger.run.apply.workers import ITS_OWN_WAY, LARGEST_FIRST, Order
from pyctrigger.run.plan.steps import Removal, Stale, Step, all_missing
from pyctrigger.run.scope.forked import DeathError
from pyctrigger.tree.directory import Tree
from pyctrigger.tree.layout import Layout
from pyctrigger.workers.pool import Apart, Duty
from pyctrigger.workers.wire import Setup
from unit.run.apply.test_execution import execution_of
from unit.run.plan.trees import wanted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SUFFIXES = wanted().suffixes
_LENGTH = struct.Struct("<I")


def step_of(relative: str, *sizes: int, **facts: Any) -> Step:
    """A directory that needs sources of these sizes compiled: m0, m1, …"""
    stale = [Stale(f"m{number}", size, all_missing(SUFFIXES), None) for number, size in enumerate(sizes)]
    return Step.of(relative)._replace(stale=stale, **facts)


# -- pieces ----------------------------------------------------------------------------------------------------------

KIB = 1 << 10
#: A step, and the sizes of the sources in each of its pieces.
CUTS: dict[str, tuple[Step, list[list[int]]]] = {
    "nothing to compile": (step_of("d"), [[]]),
    "small": (step_of("d", 1, 2, 3), [[1, 2, 3]]),
    "just one": (step_of("d", 64 * KIB), [[64 * KIB]]),
    "large ones": (step_of("d", 70 * KIB, 70 * KIB, 1), [[70 * KIB], [70 * KIB], [1]]),
    "tiny ones": (step_of("d", *[1] * 130), [[1] * 64, [1] * 64, [1, 1]]),
    "many": (step_of("d", *[30 * KIB] * 7), [[30 * KIB] * 3, [30 * KIB] * 3, [30 * KIB]]),
    "in the way": (step_of("d", *[60 * KIB] * 3, obstacle="link"), [[60 * KIB] * 3]),
}


@pytest.mark.parametrize("case", CUTS)
def test_a_step_is_cut_where_a_piece_is_full(case: str) -> None:
    """What concerns the directory itself goes with the first."""
    step, expected = CUTS[case]
    step = step._replace(removals=[Removal("gone.pyc", "orphan")])

    pieces = list(pieces_of(3, step))

    assert expected == [[each.size for each in piece.step.stale] for piece in pieces]
    assert [sum(max(size, KIB) for size in sizes) for sizes in expected] == [piece.work for piece in pieces]
    assert [1, *[0] * (len(pieces) - 1)] == [len(piece.step.removals) for piece in pieces]
    assert {(3, "d")} == {piece.key for piece in pieces}


@pytest.mark.parametrize("facts", [{}, {"removals": [Removal("gone.pyc", "orphan")]}, {"is_closed": True}])
def test_a_lane_gets_the_whole_step(facts: dict[str, Any]) -> None:
    """Although only names and sizes are sent of what has no pyc."""
    step = step_of("d", 5, 6, **facts)
    (piece,) = pieces_of(0, step)

    dealt: Dealt = pickle.loads(pickle.dumps(piece.dealt(all_missing(SUFFIXES))))

    assert step == dealt.step(all_missing(SUFFIXES))
    assert (dealt.more is None) == (not facts)


def test_another_try_is_only_about_what_is_left() -> None:
    """Without what concerns the directory, once that is done."""
    (piece,) = pieces_of(0, step_of("d", 5, 6, removals=[Removal("gone.pyc", "orphan")]))
    piece.left -= {"", "m1"}

    again = piece.retry()

    assert (["m0"], [], True) == ([each.name for each in again.step.stale], again.step.removals, again.is_retry)


# -- dealing ---------------------------------------------------------------------------------------------------------


#: What sources need, by name, and those that are slow.
Lefts = tuple[dict[str, Apart], set[str]]


class Script:
    """The child of a lane, in this process: it does what it is dealt, or ends over it."""

    def __init__(
        self, play: Callable[[list[Dealt]], None], log: list[list[str]], lefts: Lefts, *, is_special: bool
    ) -> None:
        self.channel, self._far = socket.socketpair()
        self._far.setblocking(False)
        self._far.send(b"x")  # there is always something to hear
        self._play, self._log = play, log
        self._special, self._slow = lefts
        self._is_special = is_special

    def receive(self) -> list[tuple[Any, ...]]:
        """What it says of all that was sent to it."""
        dealt: list[Dealt] = []
        with contextlib.suppress(BlockingIOError):
            while head := self._far.recv(_LENGTH.size):
                message = pickle.loads(self._far.recv(*_LENGTH.unpack(head)))
                dealt += map(Dealt._make, message) if isinstance(message, list) else []
        if dealt:
            self._log.append([each.relative for each in dealt])
        try:
            self._play(dealt)
        except (InterpreterError, ShortageError) as error:
            return [("error", error)]
        done: dict[Key, list[str]] = {}
        apart: dict[Key, dict[str, Apart]] = {}
        slow: dict[Key, list[str]] = {}
        for each in dealt:
            key = each.number, each.relative
            for name in ["", *(name for name, _ in each.missing)]:
                if name in self._special and not self._is_special:
                    apart.setdefault(key, {})[name] = self._special[name]
                elif name in self._slow:
                    slow.setdefault(key, []).append(name)
                else:
                    done.setdefault(key, []).append(name)
        return [("did", Outcome(Tally(), [], {}, [], set(), {}, {}, done, apart, slow, is_idle=not dealt))]

    def says_more(self, seconds: float) -> bool:
        """Nothing that matters."""
        return False

    def has_ended(self) -> bool:
        """Its receive() says so."""
        return False

    def __enter__(self) -> Script:
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()
        self._far.close()


class Stage(Lanes):
    """Lanes that follow a script: called with what a lane is dealt, which raises what ends it."""

    def __init__(
        self,
        count: int,
        layout: Layout,
        play: Callable[[list[Dealt]], None],
        most: int = 99,
        order: Order = LARGEST_FIRST,
    ) -> None:
        execution, self.results, *_ = execution_of({})
        workers: Any = SimpleNamespace(order=order)
        super().__init__(count, [layout], execution, workers, [])
        self.play, self.log, self.most = play, list[list[str]](), most
        self.special_log: list[list[str]] = []
        self.lefts: Lefts = {}, set()

    def _start(self, team: Team) -> None:
        self.most -= 1
        if self.most < 0:
            team.count = len(team.lanes)
        else:
            is_special = team is self._special
            log = self.special_log if is_special else self.log
            child: Any = Script(self.play, log, self.lefts, is_special=is_special)
            team.lanes.append(LaneAtWork(team, child))

    def do(self, *steps: Step) -> list[tuple[str, str]]:
        """Make these changes. Returns the failures."""
        with self:
            self.run((self._layouts[0], step) for step in steps)
        top = self._layouts[0].sources.path
        return [(each.path.removeprefix(f"{top}/"), each.message) for each in self.results.tally.failures]


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[Layout]:
    """An empty tree: nothing of it is looked at here."""
    with Layout(Tree.open(str(tmp_path))) as layout:
        yield layout


def nothing(_: list[Dealt]) -> None:
    """A lane that does all that it gets."""


def test_the_largest_pieces_are_dealt_first(layout: Layout) -> None:
    """Each to the lane with the least before it."""
    stage = Stage(2, layout, nothing)

    assert [] == stage.do(*[step_of(f"d{number}", number * 10 * KIB) for number in range(1, 8)])

    assert [["d7", "d4"], ["d6", "d5"], ["d3"], ["d2", "d1"]] == stage.log
    assert 7 == sum(map(len, stage.log))


#: Work that waits, whether more comes, and how much each of two lanes is given at once.
PORTIONS: list[tuple[int, bool, list[int]]] = [
    (64 * KIB, False, [64 * KIB, 0]),
    (4096 * KIB, False, [AHEAD, AHEAD]),
    (4096 * KIB, True, [704 * KIB] * 2),
    (1024 * KIB, True, [192 * KIB] * 2),
    (192 * KIB, True, [128 * KIB, 64 * KIB]),
    (64 * KIB, True, [64 * KIB, 0]),
]


@pytest.mark.parametrize(("waiting", "is_over", "expected"), PORTIONS)
def test_portions_are_small_at_the_end(waiting: int, is_over: bool, expected: list[int]) -> None:
    """While more comes, a lane has enough ahead for the time that we need to hear it."""
    team = Team(Duty.USUAL, 2, LARGEST_FIRST)
    for number in range(waiting // (64 * KIB)):
        team.put(list(pieces_of(0, step_of(f"d{number}", 64 * KIB))))
    child: Any = None
    team.lanes += [LaneAtWork(team, child), LaneAtWork(team, child)]
    team.deal(is_over=is_over)
    assert (expected, waiting - sum(expected)) == ([lane.ahead for lane in team.lanes], team.work)
    for lane in team.lanes:
        lane.is_idle = True
        before, left = lane.ahead, team.work
        team.deal(is_over=is_over)
        assert (lane.ahead > before) == (left > 0)


def test_runs_that_fill_a_store_deal_in_orders_of_their_own(layout: Layout) -> None:
    """All pieces, in an order that nothing foretells.

    A lane that is idle gets the eight that the plan has come to: two orders agree on one in eight by chance.
    """
    steps = [step_of(f"d{number}", 64 * KIB) for number in range(100)]
    orders = []
    for _ in range(2):
        stage = Stage(1, layout, nothing, order=ITS_OWN_WAY)
        assert [] == stage.do(*steps)
        orders.append([name for dealt in stage.log for name in dealt])
    assert [sorted(each.relative for each in steps)] * 2 == [sorted(each) for each in orders]
    assert sum(one == other for one, other in zip(*orders)) < 50


#: The order, how many directories wait, the sizes of the sources in each, and whether that is enough to choose from.
ENOUGH: list[tuple[Order, int, list[int], bool]] = [
    (LARGEST_FIRST, 15, [64 * KIB], False),
    (LARGEST_FIRST, 16, [64 * KIB], True),
    (LARGEST_FIRST, 16, [1] * 64, True),
    (ITS_OWN_WAY, 16, [64 * KIB] * 2, False),
    (ITS_OWN_WAY, 255, [1] * 64, False),
    (ITS_OWN_WAY, 256, [1] * 64, True),
]


@pytest.mark.parametrize(("order", "count", "sizes", "expected"), ENOUGH)
def test_the_plan_is_read_until_there_is_enough_to_choose_from(
    order: Order, count: int, sizes: list[int], expected: bool
) -> None:
    """By work, or by sources; once they are dealt there isn't."""
    team = Team(Duty.USUAL, 1, order)
    for number in range(count):
        team.put(list(pieces_of(0, step_of(f"d{number}", *sizes))))
    assert expected == team.has_enough
    team.take_all()
    assert not team.has_enough


class Deadly:
    """Lanes end over these directories, as often as a number says."""

    def __init__(self, times: int, *names: str, error: type[Exception] = DeathError) -> None:
        self.times, self.names, self.error = times, set(names), error

    def __call__(self, dealt: list[Dealt]) -> None:
        """Raise the error, if it is one of them."""
        if self.times and self.names & {each.relative for each in dealt}:
            self.times -= 1
            raise self.error("killed")


STEPS = [step_of(f"d{number}", 1, 2) for number in range(6)]
REASON = "the process that worked on it ended: killed"
#: What lanes end over, how many may be started, the failures, and the directories that are left to the host.
ENDS: dict[str, tuple[tuple[int, type[Exception]], int, list[tuple[str, str]], list[str]]] = {
    "none": ((0, DeathError), 99, [], []),
    "once": ((1, DeathError), 99, [], []),
    "twice": ((2, DeathError), 99, [("d3/m0", REASON), ("d3/m1", REASON)], []),
    "again and again": ((99, DeathError), 99, [("d3/m0", REASON), ("d3/m1", REASON)], []),
    "no processes": ((0, DeathError), 0, [], [f"d{number}" for number in range(6)]),
    "no more processes": ((1, DeathError), 1, [], [f"d{number}" for number in range(6)]),
    "no worker in one": ((1, InterpreterError), 99, [], []),
    "no worker in any": ((99, InterpreterError), 99, [], ["d3"]),
    "no memory in one": ((1, ShortageError), 99, [], []),
}


@pytest.mark.parametrize("case", ENDS)
@pytest.mark.parametrize("count", [1, 2])
def test_what_a_lane_had_is_done_by_another(layout: Layout, case: str, count: int) -> None:
    """Each piece alone, and once more; what ends two lanes has failed, and a lack of processes blames no source."""
    (times, error), most, failures, apart = ENDS[case]
    stage = Stage(count, layout, Deadly(times, "d3", error=error), most)

    assert failures == stage.do(*STEPS)

    left = {step.relative for _, step in stage.apart}
    assert {*apart} <= left
    assert {each.relative for each in STEPS} == {*left, *(name for dealt in stage.log for name in dealt)}
    if times > 1 and error is DeathError:
        assert [["d3"]] == [dealt for dealt in stage.log if "d3" in dealt][1:]
    if error is DeathError and most > 1:
        assert not left


@pytest.mark.parametrize("count", [1, 2, 5])
def test_where_no_lane_lives_the_host_does_the_work(layout: Layout, count: int) -> None:
    """After eight that did nothing; few directories have had two of them."""
    steps = [step_of(f"d{number}", 200 * KIB) for number in range(40)]
    stage = Stage(count, layout, Deadly(99, *(step.relative for step in steps)))

    failed = stage.do(*steps)

    assert 99 - stage.most <= 8 + count
    assert len(failed) <= 8
    assert 40 == len({step.relative for _, step in stage.apart}) + len(failed)


def test_lanes_that_end_without_work_are_not_started_for_ever(layout: Layout) -> None:
    """Whatever kills them: those that have work go on with fewer."""

    def end(dealt: list[Dealt]) -> None:
        if not dealt:
            raise DeathError("killed")

    stage = Stage(5, layout, end)

    assert [] == stage.do(*STEPS)
    assert 6 == sum(map(len, stage.log))
    assert stage.most >= 99 - 5 - 3


# -- what needs a worker of its own, or more time ------------------------------------------------------------------

FORKS, RETRY = Apart(Setup(forks=True), is_retry=False), Apart(Setup(), is_retry=True)


def test_one_lane_does_for_all_what_needs_a_worker_of_its_own(layout: Layout) -> None:
    """As soon as it is known, with what is known; the host does what is slow, and nothing else."""
    seen: list[dict[str, Apart]] = []
    stage = Stage(2, layout, lambda dealt: seen.extend(each.needs for each in dealt if each.needs))
    stage.lefts = {"m0": FORKS, "m2": RETRY}, {"m1"}

    assert [] == stage.do(step_of("d1", 5, 6, 7), step_of("d2", 8), step_of("d3", 1, 2))

    assert ["d1", "d2", "d3"] == sorted(name for dealt in stage.special_log for name in dealt)
    assert [{"m0": FORKS}, {"m0": FORKS}, {"m0": FORKS, "m2": RETRY}] == sorted(seen, key=len)
    assert [("d1", ["m1"]), ("d3", ["m1"])] == sorted(
        (step.relative, [each.name for each in step.stale]) for _, step in stage.apart
    )


#: How often the lane for it ends over d3, how many lanes may be started, the failures, and what is left to the host.
SPECIAL_ENDS: dict[str, tuple[int, int, list[tuple[str, str]], list[str]]] = {
    "never": (0, 99, [], []),
    "once": (1, 99, [], []),
    "twice": (2, 99, [("d3/m0", REASON)], []),
    "never started": (0, 2, [], ["d1", "d3"]),
}


@pytest.mark.parametrize("case", SPECIAL_ENDS)
def test_if_that_lane_ends_its_work_is_done_by_another(layout: Layout, case: str) -> None:
    """It keeps what is known of it; without such a lane the host does it."""
    times, most, failures, left = SPECIAL_ENDS[case]
    seen: list[dict[str, Apart]] = []

    def play(dealt: list[Dealt]) -> None:
        needs = {each.relative: each.needs for each in dealt if each.needs}
        seen.extend(needs.values())
        deadly(dealt if "d3" in needs else [])

    deadly = Deadly(times, "d3")
    stage = Stage(2, layout, play, most)
    stage.lefts = {"m0": FORKS}, set()

    assert failures == stage.do(step_of("d1", 5), step_of("d3", 6))
    assert left == sorted(step.relative for _, step in stage.apart)
    assert all(needs == {"m0": FORKS} for needs in seen)
    assert (0 if left else 2) <= len(seen)
