"""The cache of probed interpreters: believed as long as all that was looked at for it is as it was."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from pyctrigger.interpreter.interpreter import Account, Interpreter, Probed, Witness, facts_of
from pyctrigger.interpreter.probe import probe
from pyctrigger.state.probed import ProbedInterpreters

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from interpreters import Interpreter as Found


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, newest: Found, tmp_path: Path) -> list[str]:
    """The interpreters that were started; their answers depend on one file of ours."""
    answer, started = probe(newest.path).interpreter, list[str]()
    (tmp_path / "witness").touch()

    def ask(executable: str, *, root: str | None = None, meanwhile: Callable[[], None] | None = None) -> Probed:
        if meanwhile is not None:
            meanwhile()
        started.append(executable)
        witness = Witness(str(tmp_path / "witness"), facts_of(os.lstat(tmp_path / "witness")))
        interpreter = answer._replace(executable=executable, root=root, account=Account(7, 8))
        return Probed(interpreter, (witness, Witness("/absent", None)))

    monkeypatch.setattr("pyctrigger.interpreter.probe.probe", ask)
    return started


def test_an_interpreter_is_started_once(asked: list[str], tmp_path: Path) -> None:
    """By each name, and for each root; without a directory each time."""
    for _ in range(2):
        cache = ProbedInterpreters(str(tmp_path))
        found = [cache.ask("/a"), cache.ask("/b\udcff"), cache.ask("/a", root="/r"), cache.ask("/a", root="/s")]
    assert ["/a", "/b\udcff", "/a", "/a"] == asked
    assert sorted(map(repr, found)) == sorted(map(repr, cache.known()))
    assert {Account(7, 8)} == {each.account for each in cache.known()}
    for _ in range(2):
        ProbedInterpreters(None).ask("/a")
    assert (6, []) == (len(asked), list(ProbedInterpreters(None).known()))


def test_an_answer_comes_back_whole(asked: list[str], tmp_path: Path) -> None:
    """With each of its fields."""
    first = ProbedInterpreters(str(tmp_path)).ask("/a")
    (known,) = ProbedInterpreters(str(tmp_path)).known()
    assert isinstance(known, Interpreter)
    assert (first, first, ["/a"]) == (known, ProbedInterpreters(str(tmp_path)).ask("/a"), asked)


def test_what_can_be_done_meanwhile(asked: list[str], tmp_path: Path) -> None:
    """It is done while an interpreter runs, and not where what it is is known."""
    cache, done = ProbedInterpreters(str(tmp_path)), list[int]()
    cache.meanwhile = lambda: done.append(len(asked))
    for path in ("/a", "/a", "/b"):
        cache.ask(path)
    assert [0, 1] == done


@pytest.mark.parametrize("change", ["touched", "replaced", "removed"])
def test_what_has_changed_is_asked_again(asked: list[str], tmp_path: Path, change: str) -> None:
    """Any file that the answer depends on."""
    cache, witness = ProbedInterpreters(str(tmp_path)), tmp_path / "witness"
    cache.ask("/a")
    if change == "touched":
        os.utime(witness, (1, 1))
    elif change == "replaced":
        (tmp_path / "other").touch()
        os.replace(tmp_path / "other", witness)
    else:
        (path,) = (tmp_path / "interpreters").iterdir()
        path.write_text(path.read_text().replace("/absent", str(tmp_path)))  # what wasn't there is there
    cache.ask("/a")
    cache.ask("/a")
    assert ["/a", "/a"] == asked


WITNESSES: list[Any] = [[], None, 7, [7], [[]], [["/", [7]]], [[[], None]]]
#: What is changed in an entry, or stands in its place.
DAMAGE: list[dict[str, Any] | str] = [
    {"format": 1},
    {"format": 2},
    {"format": None},
    {"asked_by": -1},
    {"asked_by": None},
    *({"witnesses": value} for value in WITNESSES),
    {"interpreter": {}},
    {"interpreter": None},
    *("", "{", "7", "[]", "null"),
]


@pytest.mark.parametrize("damage", DAMAGE)
def test_an_entry_that_cannot_be_believed_is_none(
    asked: list[str], tmp_path: Path, damage: dict[str, Any] | str
) -> None:
    """The interpreter is started, and has its entry anew."""
    cache = ProbedInterpreters(str(tmp_path))
    cache.ask("/a")
    (path,) = (tmp_path / "interpreters").iterdir()
    whole = path.read_text()
    path.write_text(damage if isinstance(damage, str) else json.dumps({**json.loads(whole), **damage}))
    list(cache.known())
    cache.ask("/a")
    assert (["/a", "/a"], whole) == (asked, path.read_text())


def test_nothing_is_kept_by_who_only_looks(asked: list[str], tmp_path: Path) -> None:
    """And what turned out to be wrong is forgotten."""
    ProbedInterpreters(str(tmp_path), keep=False).ask("/a")
    assert ["witness"] == os.listdir(tmp_path)
    cache = ProbedInterpreters(str(tmp_path))
    for root in (None, None, "/r"):
        found = cache.ask("/a", root=root)
        cache.forget(found)
        cache.forget(found)
    assert (4, []) == (len(asked), list(cache.known()))


def test_the_cache_is_its_owners_alone(asked: list[str], tmp_path: Path) -> None:
    """Where it can't be made, each interpreter is asked each time."""
    before = os.umask(0)
    try:
        ProbedInterpreters(str(tmp_path)).ask("/a")
    finally:
        os.umask(before)
    assert 0o700 == (tmp_path / "interpreters").stat().st_mode & 0o777
    for _ in range(2):
        ProbedInterpreters(str(tmp_path / "witness")).ask("/b")
    assert ["/a", "/b", "/b"] == asked
