"""A team: lanes with the same duty, as their host knows them, and the pieces that wait for them."""

from __future__ import annotations

import heapq
import select
import socket

from ...typed import Any
from ...workers.pool import Duty
from ..scope.forked import Child, packed
from .pieces import AHEAD, Key, Piece
from .workers import Order

#: Work that waits until it is enough to choose from.
_MOST_WAITING = 1 << 20
#: Work that a lane has ahead of it at the end: they end together, since none has much that another could do.
_LEAST_AHEAD = 96 << 10


class LaneAtWork:
    """What is known of a lane here."""

    def __init__(self, team: Team, child: Child) -> None:
        self.team = team
        self.child = child
        self.pieces: dict[Key, list[Piece]] = {}
        self.is_retrying = False
        self.ahead = 0
        #: Whose trees it works on; None while it has none.
        self.owner: int | None = None
        #: Whether it waits for more, whatever it has kept for later.
        self.is_idle = False
        #: What it was just given, and is sent next.
        self.given: list[Piece] = []
        self._unsent = bytearray()

    def give(self, piece: Piece) -> None:
        """Give it another piece."""
        self.is_idle = False
        self.ahead += piece.work
        self.pieces.setdefault(piece.key, []).append(piece)
        self.given.append(piece)

    @property
    def events(self) -> int:
        """What to wait for."""
        return select.POLLIN | (select.POLLOUT if self._unsent else 0)

    def send(self, *messages: Any) -> None:
        """Send as much as its socket takes, and the rest with the next call: it may wait until it is heard itself."""
        self._unsent += b"".join(map(packed, messages))
        try:
            del self._unsent[: self.child.channel.send(self._unsent, socket.MSG_DONTWAIT)]
        except BlockingIOError:
            pass
        except OSError:
            self._unsent.clear()  # it has ended, as reading will show

    def finish(self, key: Key, names: list[str]) -> None:
        """Note that these sources of a directory are done, and for each "" a step."""
        pieces = self.pieces.pop(key)
        done = {*names}
        if len(pieces) == 1 and pieces[0].left == done:  # nearly always
            self.ahead -= pieces[0].work
            return
        for _ in range(names.count("")):  # those of one directory are done in their order
            next(each for each in pieces if "" in each.left).left.remove("")
        done -= {""}
        left = []
        for piece in pieces:
            piece.left -= done
            if piece.left:
                left.append(piece)
            else:
                self.ahead -= piece.work
        if left:
            self.pieces[key] = left


def _least_ahead(lane: LaneAtWork) -> tuple[bool, int]:
    """Orders lanes: those that wait, and then those with the least work."""
    return not lane.is_idle, lane.ahead


class Team:
    """Up to `count` lanes with the same duty, and the pieces that wait for them."""

    def __init__(self, duty: Duty, count: int, order: Order) -> None:
        self.duty = duty
        self.count = count
        self._order = order
        self.lanes: list[LaneAtWork] = []
        self.unexplained = self.lost = 0
        self.have_worked = False
        self.waiting: list[tuple[float, int, Piece]] = []
        #: The work that waits, its sources, and pieces to be dealt alone.
        self.work = self.sources = 0
        self.retries: list[Piece] = []
        self._number = 0

    @property
    def has_waiting(self) -> bool:
        """Whether pieces wait."""
        return bool(self.waiting or self.retries)

    @property
    def has_enough(self) -> bool:
        """Whether there are enough to choose from."""
        is_random, most_sources = self._order
        return self.sources >= most_sources if is_random else self.work >= _MOST_WAITING

    @property
    def is_busy(self) -> bool:
        """Whether something is still to be done."""
        return self.has_waiting or any(lane.pieces for lane in self.lanes)

    def put(self, pieces: list[Piece]) -> None:
        """Add what is to be done."""
        for piece in pieces:
            self._number += 1
            self.work += piece.work
            self.sources += len(piece.step.stale)
            heapq.heappush(self.waiting, (self._order.rank(piece.work), self._number, piece))

    def take_all(self) -> list[Piece]:
        """Returns all that waits; none of it waits any more."""
        left = [*(piece for _, _, piece in self.waiting), *self.retries]
        self.waiting, self.work, self.sources, self.retries = [], 0, 0, []
        return left

    def deal(self, *, is_over: bool) -> None:
        """Give what waits to lanes that have too little ahead. If nothing more comes, in small portions at the end."""
        for lane in self.lanes:
            if not lane.pieces:
                lane.is_retrying, lane.ahead = bool(self.retries), 0
                if self.retries:
                    lane.give(self.retries.pop())
        able = [lane for lane in self.lanes if not lane.is_retrying]
        while self.waiting and able:
            lane = min(able, key=_least_ahead)
            enough = min(AHEAD, max(_LEAST_AHEAD, self.work // (2 * len(able)))) if is_over else AHEAD
            if lane.ahead >= enough and not lane.is_idle:
                break
            piece = heapq.heappop(self.waiting)[2]
            self.work -= piece.work
            self.sources -= len(piece.step.stale)
            lane.give(piece)
