"""What all installations of one call share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...outcome.observer import Observer
    from ...packages.ownership import Ownership
    from ...state.probed import ProbedInterpreters
    from ...state.store import Store
    from .config import Settings


class Service(NamedTuple):
    """What all installations of one call share."""

    settings: Settings
    store: Store
    probed: ProbedInterpreters
    observer: Observer
    ownership: Ownership
    begin: Callable[[], None]
    """To be called before the first change."""

    def apart(self, observer: Observer) -> Service:
        """The same in a process that was forked: it has read nothing yet, and tells what it has to by its parent."""
        self.store.tell_to(observer.notice)
        return self._replace(observer=observer, ownership=self.ownership.anew(observer.notice))
