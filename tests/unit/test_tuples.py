"""Tuples with fields: as typing's are, and cheap for who makes none."""

from __future__ import annotations

import copy
import pickle
import typing
from typing import TYPE_CHECKING, Any

import pytest

from pyctrigger import tuples
from pyctrigger.tuples import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable


class Ours(NamedTuple):
    """What a source has."""

    name: str
    size: int = 0
    parts: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is in it."""
        return self.size == 0


class Theirs(typing.NamedTuple):
    """The same, by typing."""

    name: str
    size: int = 0
    parts: tuple[str, ...] = ()


USES: dict[str, Callable[[Any], Any]] = {
    "positions": lambda kind: tuple(kind("a", 1, ("b",))),
    "names": lambda kind: tuple(kind(parts=("b",), name="a")),
    "defaults": lambda kind: tuple(kind("a")),
    "fields": lambda kind: (kind._fields, kind._field_defaults, kind("a").size, kind("a", 3).size),
    "replaced": lambda kind: tuple(kind("a")._replace(size=3)),
    "dictionary": lambda kind: kind("a", 1)._asdict(),
    "made": lambda kind: tuple(kind._make(["a", 1, ()])),
    "text": lambda kind: repr(kind("a", 1)).partition("(")[2],
    "equal": lambda kind: (kind("a") == kind("a", 0), kind("a") == ("a", 0, ()), hash(kind("a")) == hash(("a", 0, ()))),
    "pickled": lambda kind: pickle.loads(pickle.dumps(kind("a", 1))) == kind("a", 1),
    "copied": lambda kind: (type(copy.deepcopy(kind("a"))) is kind, copy.copy(kind("a")) == kind("a")),
    "too few": lambda kind: kind(),
    "too many": lambda kind: kind("a", 1, (), 2),
    "twice": lambda kind: kind("a", name="b"),
    "unknown": lambda kind: kind("a", colour=1),
}


def outcome(use: Callable[[Any], Any], kind: type) -> object:
    """What comes of it, or that it's a TypeError."""
    try:
        return use(kind)
    except TypeError:
        return TypeError


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_they_are_what_typings_are(use: Callable[[Any], Any]) -> None:
    """With all that is made of them."""
    assert outcome(use, Ours) == outcome(use, Theirs)


def test_a_property_is_kept_and_an_unknown_field_isnt_replaced() -> None:
    """As of any class."""
    assert (Ours("a").is_empty, Ours("a", 1).is_empty) == (True, False)
    with pytest.raises((TypeError, ValueError), match="unexpected field names"):
        Ours("a")._replace(colour=1)  # type: ignore[call-arg]


def test_nothing_is_compiled_before_one_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """And then once: that is most of what a class costs, and an idle hook makes no tuple of most classes."""
    compiled: list[str] = []
    make = tuples.namedtuple  # type: ignore[attr-defined]

    def counted(name: str, *more: Any, **options: Any) -> type:
        compiled.append(name)
        made: type = make(name, *more, **options)
        return made

    monkeypatch.setattr(tuples, "namedtuple", counted)

    class Late(NamedTuple):
        """Made for this."""

        number: int

    assert [] == compiled
    assert [(1,), (2,)] == [Late(1), Late(number=2)]
    assert ["Late"] == compiled
