"""The process that acts as others: what it passes on to its parent."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from pyctrigger.outcome.observer import Observer
from pyctrigger.run.scope import forked
from pyctrigger.run.scope.forked import Relay

#: All that an observer may be told, each with values for it.
EVENTS = {
    name: tuple(range(method.__code__.co_argcount - 1)) for name, method in vars(Observer).items() if callable(method)
}


@pytest.mark.parametrize("noted", EVENTS)
def test_what_an_observer_notes_is_passed_on(noted: str) -> None:
    """Each kind of event that there is; what nobody notes isn't sent."""
    observer = type("Noting", (Observer,), {noted: lambda self, *values: None})()
    ours, theirs = socket.socketpair()
    messages: list[tuple[Any, ...]] = []
    with ours, theirs:
        relay = Relay(theirs, observer)
        for name, values in EVENTS.items():
            getattr(relay, name)(*values)
        relay.send("done")
        relay.flush()
        while ("done",) not in messages:
            messages += forked._receive(ours)
    assert [("event", noted, *EVENTS[noted]), ("done",)] == messages
