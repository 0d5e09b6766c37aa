"""What becomes of doubts: which questions are asked, and what their answers prove."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from pyctrigger.pyc.header import Verdict
from pyctrigger.run.plan.proof import Prover, UnprovenError
from pyctrigger.run.plan.steps import LevelState, Stale
from pyctrigger.state.records.record import digest_of
from pyctrigger.tree.directory import Tree
from pyctrigger.tree.layout import Layout
from pyctrigger.workers import wire
from pyctrigger.workers.pool import Answer, Lost
from unit.run.plan.trees import BODY, TEXT, Link, cached, in_memory, knowledge_of, pyc, wanted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pyctrigger.workers.worker import Job

UNKNOWN, SUSPECT, UNPROVEN = Verdict.UNKNOWN, Verdict.SUSPECT, Verdict.UNPROVEN
HASH, OTHER = b"h" * 8, b"g" * 8


class Asked:
    """Workers that give these answers; the last one again and again."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.questions: list[bytes] = []
        self.owners: list[int] = []

    def __call__(self, owner: int) -> Any:
        self.owners.append(owner)
        return self

    def ask(self, job: Job) -> Answer:
        """Note the question."""
        assert job.context is None
        self.questions.append(b"".join(map(bytes, job.request)))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def answer(*states: int) -> wire.Compiled:
    """One with these states of levels."""
    return wire.Compiled(bytes(8), tuple(wire.LevelAnswer(state, b"", 5) for state in states))


@pytest.fixture
def top() -> Iterator[Path]:
    """A package with a source and its bytecode at two levels."""
    files = {f"p/__pycache__/{cached('m', level)}": pyc(body=BODY + b"%d" % level) for level in (0, 1)}
    with in_memory({"p/m.py": TEXT, **files}) as top:
        yield top


def stale(top: Path, *states: tuple[int, Verdict, bytes | None]) -> Stale:
    """These doubts about the source."""
    levels = (LevelState(level, cached("", level), verdict, found) for level, verdict, found in states)
    return Stale.of("m.py", os.stat(top / "p/m.py"), tuple(levels))


def prover_for(asked: Asked) -> Prover:
    """One that asks these."""
    return Prover(asked, wanted(), knowledge_of())


def proven(top: Path, asked: Asked, *states: tuple[int, Verdict, bytes | None]) -> list[tuple[int, Verdict]]:
    """What is left of these doubts: levels and verdicts."""
    with Layout(Tree.open(str(top))) as layout:
        found = prover_for(asked).prove(layout, "p", stale(top, *states))
    assert {os.stat(top).st_uid} >= set(asked.owners)
    return [(each.level, each.verdict) for each in found]


CRASH, SLOW = Lost("crash", "it crashed"), Lost("timeout", "too slow")
LIMIT, UNTRIED = Lost("memory", "too much", 9), Lost("timeout", "not tried", is_tried=False)
SYNTAX = wire.Failed("syntax", 1, "SyntaxError")
#: A doubt about a body, the answer, and what it proves; None: that it is fresh; an error: nothing.
BODIES: list[tuple[Verdict, Answer, Verdict | Lost | None]] = [
    *((verdict, answer(wire.SAME), None) for verdict in (UNKNOWN, SUSPECT)),
    *((verdict, answer(wire.CHANGED), Verdict.MISMATCHED) for verdict in (UNKNOWN, SUSPECT)),
    *((verdict, answer(wire.BROKEN), Verdict.CORRUPT) for verdict in (UNKNOWN, SUSPECT)),
    *((verdict, answer(wire.SAME, wire.SAME), Verdict.CORRUPT) for verdict in (UNKNOWN, SUSPECT)),
    *((verdict, answer(), Verdict.CORRUPT) for verdict in (UNKNOWN, SUSPECT)),
    *((verdict, SYNTAX, Verdict.MISMATCHED) for verdict in (UNKNOWN, SUSPECT)),
    *((verdict, CRASH, Verdict.CORRUPT) for verdict in (UNKNOWN, SUSPECT)),
    *((verdict, SLOW, SLOW) for verdict in (UNKNOWN, SUSPECT)),
    *((verdict, UNTRIED, UNTRIED) for verdict in (UNKNOWN, SUSPECT)),
    (UNKNOWN, LIMIT, Verdict.CORRUPT),
    (SUSPECT, LIMIT, LIMIT),
]


@pytest.mark.parametrize(("verdict", "given", "expected"), BODIES)
def test_what_an_answer_proves_of_a_body(
    top: Path, verdict: Verdict, given: Answer, expected: Verdict | Lost | None
) -> None:
    """A worker loads it, and compares it with its source if it isn't the recorded one."""
    asked = Asked(given)
    if isinstance(expected, Lost):
        with pytest.raises(UnprovenError, match=expected.message) as caught:
            proven(top, asked, (1, verdict, None))
        assert (expected, False) == (caught.value.lost, caught.value.known)
    else:
        assert ([(1, expected)] if expected else []) == proven(top, asked, (1, verdict, None))
    compares = verdict is SUSPECT
    path, source = os.fsencode(f"{top}/p/m.py"), TEXT if compares else b""
    question = b"".join(map(bytes, wire.question([1], path, source, [BODY + b"1"], compare=compares)))
    assert [question] == asked.questions


def test_what_exceeded_a_limit_isnt_asked_again(top: Path) -> None:
    """Nor what is known from an earlier run; what wasn't tried is asked."""
    asked = Asked(UNTRIED, LIMIT)
    doubt = stale(top, (0, SUSPECT, None))
    with Layout(Tree.open(str(top))) as layout:
        prover = prover_for(asked)
        for known in (False, False, True):
            with pytest.raises(UnprovenError) as caught:
                prover.prove(layout, "p", doubt)
            assert known is caught.value.known
        assert [] == prover_for(Asked(answer(wire.SAME))).prove(layout, "p", doubt)
        assert LIMIT == caught.value.lost
        assert 2 == len(asked.questions)
        knowledge = knowledge_of()
        knowledge.find_exceeding = lambda: ({digest_of(TEXT): LIMIT}, set())  # type: ignore[method-assign]
        for verdict in (SUSPECT, UNKNOWN):
            asked = Asked(answer(wire.SAME))
            prover = Prover(asked, wanted(), knowledge)
            if verdict is SUSPECT:
                with pytest.raises(UnprovenError):
                    prover.prove(layout, "p", doubt)
            else:
                assert [] == prover.prove(layout, "p", stale(top, (0, verdict, None)))
            assert int(verdict is UNKNOWN) == len(asked.questions)


@pytest.mark.parametrize("verdict", [UNKNOWN, SUSPECT])
@pytest.mark.parametrize("way", ["absent", "link", "large"])
def test_a_body_that_cant_be_read(top: Path, verdict: Verdict, way: str) -> None:
    """Is no bytecode, and nobody is asked."""
    path = top / "p/__pycache__" / cached("m")
    path.unlink()
    if way == "link":
        path.symlink_to("elsewhere")
    elif way == "large":
        path.write_bytes(bytes(50 << 20))
    asked = Asked(answer(wire.SAME))
    assert ([(0, Verdict.CORRUPT)], []) == (proven(top, asked, (0, verdict, None)), asked.questions)


#: Doubts about hashes and others by level, the answer, and what is left.
HASHES: list[tuple[list[tuple[int, Verdict, bytes | None]], Answer, list[tuple[int, Verdict]]]] = [
    ([(0, UNPROVEN, HASH)], answer(wire.SAME), []),
    ([(0, UNPROVEN, HASH)], answer(wire.BODY), [(0, Verdict.OTHER_HASH)]),
    (
        [(0, UNPROVEN, HASH), (1, UNPROVEN, OTHER)],
        answer(wire.SAME, wire.BODY),
        [(1, Verdict.OTHER_HASH)],
    ),
    (
        [(0, UNPROVEN, HASH), (1, UNPROVEN, OTHER)],
        CRASH,
        [(0, Verdict.OTHER_HASH), (1, Verdict.OTHER_HASH)],
    ),
    ([(0, UNPROVEN, HASH), (1, Verdict.MISSING, None)], SYNTAX, [(0, Verdict.OTHER_HASH), (1, Verdict.MISSING)]),
    ([(0, UNPROVEN, HASH)], LIMIT, [(0, Verdict.OTHER_HASH)]),
    ([(0, Verdict.OTHER_MODE, HASH)], answer(wire.SAME), [(0, Verdict.OTHER_MODE)]),
    ([(0, UNPROVEN, None)], answer(wire.SAME), []),
]


@pytest.mark.parametrize(("doubts", "given", "expected"), HASHES)
def test_which_hashes_are_another_sources(
    top: Path, doubts: list[tuple[int, Verdict, bytes | None]], given: Answer, expected: list[tuple[int, Verdict]]
) -> None:
    """All doubts about hashes are one question; without an answer they aren't believed."""
    asked = Asked(given)
    assert expected == proven(top, asked, *doubts)
    levels = [wire.LevelRequest(level, found) for level, verdict, found in doubts if found and verdict is UNPROVEN]
    path = os.fsencode(f"{top}/p/m.py")
    question = b"".join(map(bytes, wire.request(levels, path, TEXT)))
    assert ([question] if levels else []) == asked.questions


def test_a_hash_that_fits_says_nothing_of_the_body(top: Path) -> None:
    """That is asked next."""
    for verdict, given, expected in (
        (UNKNOWN, answer(wire.BROKEN), [(0, Verdict.CORRUPT)]),
        (UNKNOWN, answer(wire.SAME), []),
    ):
        asked = Asked(answer(wire.SAME), given)
        assert (expected, 2) == (proven(top, asked, (0, verdict, HASH)), len(asked.questions))


@pytest.mark.parametrize("given", [SLOW, UNTRIED])
def test_a_hash_that_nobody_has_compared(top: Path, given: Lost) -> None:
    """Proves nothing."""
    with pytest.raises(UnprovenError) as caught:
        proven(top, Asked(given), (0, UNPROVEN, HASH))
    assert (given, False) == (caught.value.lost, caught.value.known)


def test_a_source_that_cant_be_read_fits_no_hash(top: Path) -> None:
    """Nor a body."""
    doubt = stale(top, (0, UNPROVEN, HASH), (1, SUSPECT, None))
    (top / "p/m.py").unlink()
    (top / "p/m.py").symlink_to(Link("elsewhere"))
    asked = Asked(answer(wire.SAME))
    with Layout(Tree.open(str(top))) as layout:
        found = prover_for(asked).prove(layout, "p", doubt)
    assert [Verdict.OTHER_HASH, Verdict.CORRUPT] == [each.verdict for each in found]
    assert [] == asked.questions
