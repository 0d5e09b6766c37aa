"""Tuples with fields: as typing's are, and cheap for who makes few."""

from __future__ import annotations

import copy
import pickle
import typing
from typing import TYPE_CHECKING, Any

import pytest

from pyctrigger import typed
from pyctrigger.typed import NamedTuple

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


def test_a_constructor_is_compiled_once_many_were_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """That is most of what a class costs, and an idle hook makes few tuples of most classes."""
    compiled: list[str] = []
    compile_constructor = typed._compile_constructor  # type: ignore[attr-defined]

    def counted(kind: type) -> object:
        compiled.append(kind.__name__)
        return compile_constructor(kind)

    monkeypatch.setattr(typed, "_compile_constructor", counted)

    class Late(NamedTuple):
        """Made for this."""

        number: int
        size: int = 0

    assert [(1, 0), (2, 3)] == [Late(1), Late(number=2, size=3)]
    assert [] == compiled
    assert [(each, 0) for each in range(200)] == [Late(each) for each in range(200)]
    assert [(1, 0), (2, 3)] == [Late(1), Late(number=2, size=3)]
    assert ["Late"] == compiled


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_they_are_so_with_a_compiled_constructor_too(use: Callable[[Any], Any]) -> None:
    """Made by Python's own rules for arguments."""
    for _ in range(200):
        Ours("a")
    assert outcome(use, Ours) == outcome(use, Theirs)
