"""In which order sources are given to workers, what waits for what, and what becomes of each answer."""

from __future__ import annotations

import os
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import pytest

from pyctrigger.outcome.observer import Observer
from pyctrigger.outcome.outcome import LASTING_KINDS, Failure
from pyctrigger.pyc.header import Verdict
from pyctrigger.run.apply import compile as module
from pyctrigger.run.apply.compile import Compilation
from pyctrigger.run.apply.workers import LARGEST_FIRST
from pyctrigger.run.apply.writing import PycWriter, SourceRead, StoredAnswer
from pyctrigger.run.plan.knowledge import Knowledge
from pyctrigger.run.plan.results import Results
from pyctrigger.run.plan.steps import LevelState, Stale
from pyctrigger.run.scope.request import Work
from pyctrigger.state.records.manifest import Manifest
from pyctrigger.state.records.record import identity_of
from pyctrigger.tree.directory import Tree
from pyctrigger.tree.layout import Layout, Place
from pyctrigger.tree.source import largest_pyc
from pyctrigger.workers import wire
from pyctrigger.workers.pool import UNTRIED, Answer, Lost
from unit.run.plan.trees import cached, in_memory, knowledge_of, pyc, wanted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from pyctrigger.workers.worker import Job

LIMITS = {"timeout": 60.0, "memory": 1000.0}
SLOW, LARGE = Lost("timeout", "too slow", 60.0), Lost("memory", "too large", 1000.0)
HURRIED = Lost("timeout", "too slow", 6.0)
CODE = wire.Compiled(bytes(8), (wire.LevelAnswer(wire.BODY, b"code", 5),))
SYNTAX, ANYWHERE = wire.Failed("syntax", 3, "SyntaxError"), wire.Failed("encoding", 0, "LookupError")


class Workers:
    """Workers of one owner that hold so many requests, and what they were asked, by the source's name."""

    def __init__(self, answers: dict[str, Answer], room: int = 1) -> None:
        self.answers, self.room = answers, room
        self.asked: list[str] = []
        #: How often they waited although they had nothing to answer.
        self.idle = 0
        self.requests: list[bytes] = []
        self.lacks = frozenset[str]()
        self.owner = -1
        #: No store is configured.
        self.asks_store, self.store_trouble, self.arranged = False, None, LARGEST_FIRST.arrange
        self.store: Any = None

    def pool_for(self, owner: int) -> Any:
        """Returns itself."""
        self.owner = owner
        return self

    def map(self, jobs: Iterable[Job | None]) -> Iterator[tuple[Job, Answer]]:
        """Answer as there is room, and where nothing can be asked."""
        held: deque[Job] = deque()
        for job in jobs:
            if job is not None:
                held.append(job)
                self.asked.append(job.context.stale.name)  # type: ignore[attr-defined]
                self.requests.append(b"".join(map(bytes, job.request)))
            self.idle += job is None and not held
            if held and (job is None or len(held) >= self.room):
                yield self._answered(held.popleft())
        while held:
            yield self._answered(held.popleft())

    def _answered(self, job: Job) -> tuple[Job, Answer]:
        return job, self.answers.get(job.context.stale.name, CODE)  # type: ignore[attr-defined]


class Watcher(Observer):
    """Notes the progress."""

    def __init__(self, *, is_watched: bool) -> None:
        self.is_watched = is_watched
        self.seen: list[tuple[int, int | None]] = []

    def progress(self, done: int, known: int | None) -> None:
        self.seen.append((done, known))


class Compiling:
    """One compilation of a directory of sources, and what came of it."""

    def __init__(self, top: Path, workers: Workers, *, is_watched: bool = False, **options: Any) -> None:
        self.top, self.workers = top, workers
        options = {"limits": LIMITS, **options}
        self.manifest = Manifest(str(top.parent / f"{top.name}-state"))
        self.watcher = Watcher(is_watched=is_watched)
        self.results = Results(self.watcher)
        found = wanted(**options)
        self.knowledge = Knowledge(self.manifest, found, knowledge_of().ownership)
        writer = PycWriter(found, self.knowledge, self.results)
        held: Any = workers
        self.compilation = Compilation(held, found, self.knowledge, writer, self.results)

    def run(
        self,
        *names: str,
        verdict: Verdict = Verdict.MISSING,
        source_hash: bytes | None = None,
        below: str = "",
        dealt: Callable[[list[Any]], Iterator[Any]] = iter,
    ) -> list[str]:
        """Compile these sources, as they are dealt. Returns the names of those whose code an answer has."""
        with Layout(Tree.open(str(self.top))) as layout:
            tasks = [
                (
                    Place(layout, below),
                    Stale.of(
                        name,
                        os.stat(self.top / below / name, follow_symlinks=False),
                        (LevelState(0, cached(""), verdict, source_hash),),
                    ),
                )
                for name in names
            ]
            return [source.stale.name for source, code in self.compilation.compile(7, dealt(tasks)) if code is CODE]

    @property
    def failures(self) -> list[Failure]:
        """What failed, by name."""
        return [each._replace(path=os.path.basename(each.path)) for each in self.results.tally.failures]

    @property
    def learned(self) -> list[tuple[str, str, str, float]]:
        """What is remembered: name, kind, reason and limit."""
        known = {os.path.basename(path): each for path, each in self.manifest.uncompilable.items()}
        return [(name, each.kind, each.message, each.tried_with) for name, each in sorted(known.items())]


#: An answer, and what is reported and remembered of it.
ANSWERS: dict[str, tuple[Answer, list[Failure], list[tuple[str, str, float]]]] = {
    "code": (CODE, [], []),
    "an error": (
        SYNTAX,
        [Failure("", "syntax", "line 3, SyntaxError")],
        [("syntax", "line 3, SyntaxError", 0)],
    ),
    "an error without a line": (ANYWHERE, [Failure("", "encoding", "LookupError")], [("encoding", "LookupError", 0)]),
    "a lack of memory": (wire.Failed("memory", 0, "MemoryError"), [Failure("", "memory", "MemoryError")], []),
    "too slow": (SLOW, [Failure("", "timeout", "too slow", is_remembered=True)], [("timeout", "too slow", 60.0)]),
    "too large": (LARGE, [Failure("", "memory", "too large", is_remembered=True)], [("memory", "too large", 1000.0)]),
    "too slow for less": (HURRIED, [Failure("", "timeout", "too slow")], [("timeout", "too slow", 6.0)]),
    "a crash": (Lost("crash", "signal 9"), [Failure("", "crash", "signal 9")], []),
    "not tried": (
        UNTRIED,
        [Failure("", "timeout", "not tried: slow sources have used up their time")],
        [],
    ),
    "half an answer": (
        wire.Compiled(bytes(8), ()),
        [Failure("", "crash", "the worker's answer is incomplete")],
        [],
    ),
    "the largest body": (
        wire.Compiled(bytes(8), (wire.LevelAnswer(wire.BODY, bytes(largest_pyc(6) - 16), 5),)),
        [],
        [],
    ),
    "a larger one": (
        wire.Compiled(bytes(8), (wire.LevelAnswer(wire.BODY, bytes(largest_pyc(6) - 15), 5),)),
        [Failure("", "unmarshallable", "its bytecode is too large to be read back")],
        [("unmarshallable", "its bytecode is too large to be read back", 0)],
    ),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_what_becomes_of_an_answer(case: str) -> None:
    """A failure is reported once, and remembered if it says something of the source; a repair asks again."""
    answer, failures, learned = ANSWERS[case]
    with in_memory({"a.py": b"x = 1\n", f"__pycache__/{cached('a')}": pyc()}) as top:
        first = Compiling(top, Workers({"a.py": answer}))
        found = first.run("a.py", verdict=Verdict.OTHER_MTIME)
        old = top / "__pycache__" / cached("a")
        is_lasting = bool(failures) and failures[0].kind in LASTING_KINDS
        assert is_lasting is not old.exists()
        old.touch()
        assert ["a.py"] * (answer is CODE) == found
        assert [each._replace(path="a.py") for each in failures] == first.failures
        assert [("a.py", *each) for each in learned] == first.learned
        assert (["a.py"], 7, len(failures)) == (
            first.workers.asked,
            first.workers.owner,
            first.results.tally.counts.failed,
        )
        again = Compiling(top, Workers({"a.py": answer}))
        again.manifest.uncompilable.update(first.manifest.uncompilable)
        again.compilation = Compiling(top, again.workers).compilation if not learned else again.compilation
        again.run("a.py", verdict=Verdict.OTHER_MTIME)
        lasts = bool(learned) and learned[0][2] in (0, 60.0, 1000.0)
        assert [] == again.workers.asked if lasts else ["a.py"] == again.workers.asked
        if lasts:
            assert (1, 0, []) == (again.results.tally.counts.skipped, again.results.tally.counts.failed, again.failures)
            assert [f"{top}/a.py"] == [each.source for each in again.results.tally.findings]
            assert first.learned == again.learned
            assert is_lasting is not old.exists()
        repair = Compiling(top, Workers({"a.py": answer}), work=Work.REPAIR)
        repair.manifest.uncompilable.update(first.manifest.uncompilable)
        repair.run("a.py")
        assert ["a.py"] == repair.workers.asked
        assert len(failures) - lasts == repair.results.tally.counts.failed


SAME = b"x = 1\n" * 30
BIG, QUICK = b"#" * (33 << 10), b"#" * (32 << 10)
#: Sources, what workers answer, how many requests they hold, and which they are asked for, in this order.
ORDERS: dict[str, tuple[dict[str, bytes], dict[str, Answer], int, list[str]]] = {
    "the largest first": ({"a.py": b"1", "b.py": b"333", "c.py": b"22"}, {}, 1, ["b.py", "c.py", "a.py"]),
    "small twins": ({"a.py": b"1", "b.py": b"1", "c.py": b"1"}, {}, 3, ["a.py", "b.py", "c.py"]),
    "twins": ({"a.py": SAME, "b.py": SAME, "c.py": b"x"}, {}, 3, ["a.py", "c.py", "b.py"]),
    "twins that are too slow": ({"a.py": SAME, "b.py": SAME, "c.py": b"x"}, {"a.py": SLOW}, 3, ["a.py", "c.py"]),
    "twins that are broken": ({"a.py": SAME, "b.py": SAME}, {"a.py": SYNTAX, "b.py": SYNTAX}, 3, ["a.py", "b.py"]),
    "what is large waits once time was lost": (
        {"a.py": BIG + b"12", "b.py": BIG + b"1", "c.py": BIG, "d.py": b"x"},
        {"a.py": SLOW},
        1,
        ["a.py", "d.py", "b.py", "c.py"],
    ),
    "twins of the size that isn't waited for": (
        {"a.py": b"1" * 128, "b.py": b"1" * 128, "c.py": b"x"},
        {},
        3,
        ["a.py", "b.py", "c.py"],
    ),
    "what is quick doesn't wait": (
        {"a.py": BIG, "b.py": QUICK, "c.py": b"x"},
        {"a.py": SLOW},
        1,
        ["a.py", "b.py", "c.py"],
    ),
    "what is too large loses time": (
        {"a.py": BIG + b"1", "b.py": BIG, "c.py": b"x"},
        {"a.py": LARGE},
        1,
        ["a.py", "c.py", "b.py"],
    ),
    "so does what others slowed": (
        {"a.py": BIG + b"1", "b.py": BIG, "c.py": b"x"},
        {"a.py": Lost("timeout", "too slow")},
        1,
        ["a.py", "c.py", "b.py"],
    ),
    "a crash loses no time": (
        {"a.py": BIG + b"1", "b.py": BIG, "d.py": b"x"},
        {"a.py": Lost("crash", "9")},
        1,
        ["a.py", "b.py", "d.py"],
    ),
}


@pytest.mark.parametrize("is_watched", [False, True])
@pytest.mark.parametrize("case", ORDERS)
def test_the_order_of_requests(case: str, is_watched: bool) -> None:
    """All are done, and a watcher sees each once."""
    sources, answers, room, expected = ORDERS[case]
    with in_memory(sources) as top:
        compiling = Compiling(top, Workers(answers, room), is_watched=is_watched)
        found = compiling.run(*sources)
        assert expected == compiling.workers.asked
        assert len(sources) == len(found) + compiling.results.tally.counts.failed
        total = len(sources) if is_watched else None
        assert [(number, total) for number in range(1, len(sources) + 1)] == compiling.watcher.seen
        texts = [sources[name] for name in expected]
        path = os.fsencode(f"{top}/")
        questions = [
            b"".join(map(bytes, wire.request([wire.LevelRequest(0)], path + name.encode(), text)))
            for name, text in zip(expected, texts)
        ]
        assert questions == compiling.workers.requests


def test_a_failure_goes_with_its_source() -> None:
    """What is known of one path isn't believed of other content, and is of another time."""
    with in_memory({"p/a.py": b"x = (\n"}) as top:
        first = Compiling(top, Workers({"a.py": SYNTAX}))
        assert [] == first.run("a.py", below="p")
        (known,) = first.manifest.uncompilable.values()
        for when, text, is_asked in ((5, b"x = (\n", False), (5, b"x = [\n", True), (6, b"x = 1\n", True)):
            again = Compiling(top, Workers({} if when == 6 else {"a.py": SYNTAX}))
            again.manifest.uncompilable.update({f"{top}/p/a.py": known})
            (top / "p/a.py").write_bytes(text)
            os.utime(top / "p/a.py", (when, when))
            time.sleep(0.03)  # or it is too young to be recorded
            again.run("a.py", below="p")
            assert ["a.py"] * is_asked == again.workers.asked
            (learned,) = again.manifest.uncompilable.values()
            expected = known.identity if when == 6 else identity_of(os.stat(top / "p/a.py"))
            assert expected == learned.identity


def test_a_tree_that_became_read_only() -> None:
    """Is left, and said once for all that is in it."""
    with in_memory({"p/a.py": b"x", "p/b.py": b"y"}) as top:
        compiling = Compiling(top, Workers({}))
        left: list[tuple[str, str, int]] = []
        results: Any = compiling.results
        results.still_writes = lambda layout, relative: layout.sources.path == str(top) and relative != "p"
        results.leave = lambda layout, relative, sources: left.append((layout.sources.path, relative, sources))
        assert [] == compiling.run("a.py", "b.py", below="p")
        assert ([(str(top), "p", 1)] * 2, []) == (left, compiling.workers.asked)


@pytest.mark.parametrize(("verdict", "is_asked"), [(Verdict.UNPROVEN, True), (Verdict.OTHER_MODE, False)])
def test_a_hash_that_may_fit_is_compared(verdict: Verdict, is_asked: bool) -> None:
    """And no other."""
    with in_memory({"a.py": b"x"}) as top:
        compiling = Compiling(top, Workers({}))
        compiling.run("a.py", verdict=verdict, source_hash=b"h" * 8)
        level = wire.LevelRequest(0, b"h" * 8 if is_asked else None)
        assert [
            b"".join(map(bytes, wire.request([level], os.fsencode(top / "a.py"), b"x")))
        ] == compiling.workers.requests


def test_what_was_too_slow_in_a_hurry_comes_last() -> None:
    """Under whatever name, after all others."""
    with in_memory({"a.py": b"xyz", "b.py": b"x", "c.py": b"yz"}) as top:
        first = Compiling(top, Workers({"a.py": HURRIED}))
        first.run("a.py")
        assert [("a.py", "timeout", "too slow", 6.0)] == first.learned
        os.rename(top / "a.py", top / "d.py")
        workers = Workers({})
        again = Compiling(top, workers)
        again.manifest.uncompilable.update(first.manifest.uncompilable)
        held: Any = workers
        again.compilation = Compilation(
            held,
            wanted(limits=LIMITS),
            again.knowledge,
            PycWriter(wanted(), again.knowledge, again.results),
            again.results,
        )
        assert ["c.py", "b.py", "d.py"] == again.run("d.py", "b.py", "c.py")
        assert ["c.py", "b.py", "d.py"] == workers.asked


def test_what_isnt_tried_is_reported_once() -> None:
    """With their number, which counts as failed."""
    with in_memory({"a.py": b"333", "b.py": b"22", "c.py": b"1"}) as top:
        compiling = Compiling(top, Workers({"a.py": UNTRIED, "b.py": UNTRIED}))
        for count in (2, 4):
            assert ["c.py"] == compiling.run("a.py", "b.py", "c.py")
            message = "not tried, nor 1 other: slow sources have used up their time"
            assert [Failure("a.py", "timeout", message)] * (count // 2) == compiling.failures
            assert count == compiling.results.tally.counts.failed


def test_sources_that_cant_be_read() -> None:
    """Are failures unless they are gone, and nobody is asked."""
    with in_memory({"a.py": b"x", "b.py": b"y"}) as top:
        os.mkfifo(top / "c.py")
        (top / "d.py").symlink_to("nowhere")
        compiling = Compiling(top, Workers({}), is_watched=True)
        assert ["b.py"] == compiling.run("b.py", "c.py", "d.py")
        assert (["b.py"], ["c.py"]) == (compiling.workers.asked, [each.path for each in compiling.failures])
        assert [(1, 3), (2, 3), (3, 3)] == compiling.watcher.seen


def test_what_the_system_refuses_is_said_once() -> None:
    """And what is new of it."""
    with in_memory({"a.py": b"x"}) as top:
        compiling = Compiling(top, Workers({}))
        said = "this system refuses {}: a source that needs too much is stopped later"
        for lacks, expected in (("", []), ("ba", ["a, b"]), ("ab", ["a, b"]), ("abc", ["a, b", "c"])):
            compiling.workers.lacks = frozenset(lacks)
            compiling.run("a.py")
            assert [said.format(each) for each in expected] == compiling.results.tally.notices


@pytest.mark.parametrize(("most", "known"), [(3, 2), (2, None)])
def test_a_watcher_knows_how_many_unless_they_are_too_many(
    monkeypatch: pytest.MonkeyPatch, most: int, known: int | None
) -> None:
    """All are done."""
    monkeypatch.setattr(module, "MOST_COUNTED", most)
    with in_memory({"a.py": b"x", "b.py": b"y"}) as top:
        compiling = Compiling(top, Workers({}), is_watched=True)
        assert ["a.py", "b.py"] == compiling.run("a.py", "b.py")
        assert [(1, known), (2, known)] == compiling.watcher.seen


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        (2, ["a.py", "d.py", "b.py", "c.py"]),
        (1, ["a.py", "c.py", "d.py", "b.py"]),
        (0, ["a.py", "b.py", "c.py", "d.py"]),
    ],
)
def test_no_more_than_so_many_wait(monkeypatch: pytest.MonkeyPatch, held: int, expected: list[str]) -> None:
    """The others are asked for at once."""
    monkeypatch.setattr(module, "_MOST_HELD", held)
    with in_memory({**dict.fromkeys(("a.py", "b.py", "c.py"), SAME), "d.py": b"x"}) as top:
        compiling = Compiling(top, Workers({}, 9))
        compiling.run("a.py", "b.py", "c.py", "d.py")
        assert expected == compiling.workers.asked


class Shelf:
    """A store of a run's own: it has what was kept, by its content."""

    holds_some = False

    def __init__(self) -> None:
        self.kept: set[bytes] = set()

    def missing(self, tasks: Iterator[Any], _turn: object) -> Iterator[Any]:
        """All of them."""
        return tasks

    def take(self, _path: str) -> None:
        """Nothing is read ahead."""

    def find(self, source: SourceRead) -> StoredAnswer | None:
        """What was kept."""
        return StoredAnswer(CODE, "shelf", ("",)) if source.digest in self.kept else None

    def name_for(self, _source: SourceRead) -> bytes:
        """Another one."""
        return b"stand-in"

    def keep(self, source: SourceRead, answer: wire.Compiled) -> wire.Compiled:
        """Keep it."""
        self.kept.add(source.digest)
        return answer

    def take_notices(self) -> list[str]:
        """Nothing is wrong."""
        return []


def test_nobody_waits_for_an_answer_after_the_store_had_all_that_waited() -> None:
    """A lane that does would hear of more work after a second only; it says that it has none."""
    names = [f"{letter}.py" for letter in "abcdefgh"]
    with in_memory(dict.fromkeys(names, SAME)) as top:
        compiling = Compiling(top, Workers({}, 9))
        compiling.workers.store = Shelf()
        compilation = compiling.compilation

        def dealt(tasks: list[Any]) -> Iterator[Any]:
            yield from tasks
            while compilation.has_more:
                yield None

        assert ["a.py"] == compiling.run(*names, dealt=dealt)
        assert (["a.py"], 0) == (compiling.workers.asked, compiling.workers.idle)
        assert 7 == compiling.results.tally.counts.stored
