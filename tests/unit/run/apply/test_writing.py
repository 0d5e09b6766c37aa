"""Which bytes each level's pyc has, whatever was there before."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Union

import pytest

from acting import ANN, let_act
from own_mount import Mount
from pyctrigger.outcome.observer import Observer
from pyctrigger.outcome.outcome import Failure
from pyctrigger.pyc.header import InvalidationMode, Verdict
from pyctrigger.pyc.names import writer_of
from pyctrigger.run.apply.writing import PycWriter, SourceRead
from pyctrigger.run.plan.results import Results
from pyctrigger.run.plan.steps import LevelState, Stale
from pyctrigger.run.scope.request import Work
from pyctrigger.state.records.manifest import Manifest
from pyctrigger.state.records.record import UNSEEN, Record, digest_of, identity_of
from pyctrigger.tree.directory import Tree
from pyctrigger.tree.layout import Layout, Place
from pyctrigger.tree.opened import Opened
from pyctrigger.tree.writer import Writer, WriteRefused
from pyctrigger.workers.wire import BODY, SAME, TWIN, Compiled, LevelAnswer
from unit.run.plan.trees import BODY as CODE
from unit.run.plan.trees import MAGIC, MTIME, TEXT, WRITER, cached, in_memory, knowledge_of, make, pyc, wanted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pyctrigger.tree.source import SourceText

A, B, OLD = b"code a", b"code b", b"old"
MISSING, UNKNOWN, SIZE = Verdict.MISSING, Verdict.UNKNOWN, Verdict.OTHER_SIZE
#: By level: the verdict, the body that is there, and the answer; and then the body that each level has.
Row = tuple[list[tuple[Verdict, Union[bytes, None], int, bytes]], list[bytes]]
ROWS: dict[str, Row] = {
    "one level": ([(MISSING, None, BODY, A)], [A]),
    "different code": ([(MISSING, None, BODY, A), (MISSING, None, BODY, B)], [A, B]),
    "the same code": ([(MISSING, None, BODY, A), (MISSING, None, TWIN, b"")], [A, A]),
    "the same, then another": ([(SIZE, OLD, BODY, A), (SIZE, OLD, TWIN, b""), (SIZE, OLD, BODY, B)], [A, A, B]),
    "the last two": ([(SIZE, OLD, BODY, A), (SIZE, OLD, BODY, B), (SIZE, OLD, TWIN, b"")], [A, B, B]),
    "it is there": ([(UNKNOWN, A, BODY, A)], [A]),
    "something else is there": ([(UNKNOWN, OLD, BODY, A)], [A]),
    "the first of two is there": ([(UNKNOWN, A, BODY, A), (MISSING, None, TWIN, b"")], [A, A]),
    "the second of two is there": ([(MISSING, None, BODY, A), (UNKNOWN, A, TWIN, b"")], [A, A]),
    "the twin's code is there": (
        [(MISSING, None, BODY, A), (UNKNOWN, B, BODY, B), (MISSING, None, TWIN, b"")],
        [A, B, B],
    ),
    "its hash is right": ([(Verdict.UNPROVEN, OLD, SAME, b""), (MISSING, None, BODY, B)], [OLD, B]),
}


def source_read(place: Place, stale: Stale, text: SourceText, digest: bytes) -> SourceRead:
    """A source, as `compile` reads it."""
    return SourceRead(place, stale, place.source(stale.name), text, digest)


@pytest.fixture
def top() -> Iterator[Path]:
    """A package with one source, in memory."""
    with in_memory({"p/m.py": TEXT}) as top:
        yield top


@pytest.mark.parametrize("links_twins", [True, False])
@pytest.mark.parametrize("case", ROWS)
def test_each_level_has_its_code(top: Path, case: str, links_twins: bool) -> None:
    """And its record says so."""
    levels, expected = ROWS[case]
    pycs = [top / "p/__pycache__" / cached("m", level) for level in range(len(levels))]
    for path, (_, body, _, _) in zip(pycs, levels):
        if body is not None:
            make(path.parent, {path.name: pyc(body=body)})
    states = tuple(LevelState(level, cached("", level), row[0]) for level, row in enumerate(levels))
    answer = Compiled(b"", tuple(LevelAnswer(state, body, 7) for _, _, state, body in levels))
    manifest, results = Manifest(str(top)), Results(Observer())
    counts = results.tally.counts
    counts.compiled = counts.fresh = 5
    (top / "p/m.py").chmod(0o640)
    (top / "p").chmod(0o700)
    time.sleep(0.03)  # or the source is too young to be recorded
    with Layout(Tree.open(str(top))) as layout:
        text = layout.read_source("p", "m.py")
        stale = Stale.of("m.py", text.status, states)
        writer = PycWriter(wanted(links_twins=links_twins), knowledge_of(manifest), results)
        writer.store(source_read(Place(layout, "p"), stale, text, digest_of(text.data)), answer)

    assert [pyc(body=body) for body in expected] == [path.read_bytes() for path in pycs]
    written = [not (row[2] == SAME or row[1] == body) for row, body in zip(levels, expected)]
    records = [manifest.pycs.get(str(path.parent), path.name) for path in pycs]
    seen = identity_of((top / "p/m.py").stat())
    for path, record, is_new in zip(pycs, records, written):
        if record:
            found = record.source_digest, record.source, record.header, record.microseconds
            assert (digest_of(TEXT), seen, path.read_bytes()[:16], 7 * is_new) == found
            assert record.pyc in (UNSEEN, identity_of(path.stat()))
    digests = [record.body_digest if record else None for record in records]
    assert [digest_of(body) if row[2] != SAME else None for row, body in zip(levels, expected)] == digests
    assert (5 + any(written), 5 + (not any(written))) == (counts.compiled, counts.fresh)
    assert [0o640] * sum(written) == [path.stat().st_mode & 0o777 for path, is_new in zip(pycs, written) if is_new]
    manifest.close()


@pytest.mark.parametrize(("links_twins", "files"), [(True, 1), (False, 3)])
def test_equal_code_is_one_file_where_links_are_wanted(top: Path, links_twins: bool, files: int) -> None:
    """With a name for each level."""
    levels = [LevelState(level, cached("", level), MISSING) for level in range(3)]
    answer = Compiled(b"", (LevelAnswer(BODY, A), LevelAnswer(TWIN, b""), LevelAnswer(TWIN, b"")))
    with Layout(Tree.open(str(top))) as layout:
        text = layout.read_source("p", "m.py")
        stale = Stale.of("m.py", text.status, tuple(levels))
        source = source_read(Place(layout, "p"), stale, text, digest_of(text.data))
        PycWriter(wanted(links_twins=links_twins), knowledge_of(), Results(Observer())).store(source, answer)
    assert files == len({os.stat(top / "p/__pycache__" / stale.pyc(state)).st_ino for state in levels})


@pytest.mark.parametrize("bodies", [[A], [A, A], [A, B], [A, B, B]])
@pytest.mark.parametrize("is_seen", [True, False])
def test_a_new_header_leaves_each_level_its_code(top: Path, bodies: list[bytes], is_seen: bool) -> None:
    """Also where files are too young for their identities to be recorded."""
    pycs = make(top / "p/__pycache__", {cached("m", level): pyc(body=body) for level, body in enumerate(bodies)})
    os.utime(top / "p/m.py", (MTIME + 1, MTIME + 1))
    (top / "p/m.py").chmod(0o640)
    (top / "p").chmod(0o700)
    time.sleep(0.03)  # or it is too young to be recorded
    told = Told()
    states, results, manifest = [], Results(told), Manifest(str(top))
    results.tally.counts.refreshed = 5
    for level, body in enumerate(bodies):
        identity = identity_of(os.stat(pycs / cached("m", level))) if is_seen else UNSEEN
        record = Record(UNSEEN, digest_of(TEXT), identity, digest_of(body), pyc()[:16], 7)
        states.append(LevelState(level, cached("", level), Verdict.REFRESHABLE, None, record))
    with Layout(Tree.open(str(top))) as layout:
        stale = Stale.of("m.py", os.stat(top / "p/m.py"), tuple(states))
        assert PycWriter(wanted(), knowledge_of(manifest), results).refresh(Place(layout, "p"), stale) is None

    expected = [pyc(MTIME + 1, body=body) for body in bodies]
    assert expected == [(pycs / cached("m", level)).read_bytes() for level in range(len(bodies))]
    found = [manifest.pycs.get(str(pycs), cached("m", level)) for level in range(len(bodies))]
    seen = identity_of(os.stat(top / "p/m.py"))
    for level, each in enumerate(found):
        assert each is not None
        data, status = (pycs / cached("m", level)).read_bytes(), os.stat(pycs / cached("m", level))
        assert (seen, identity_of(status), data[:16], 7) == (each.source, each.pyc, each.header, each.microseconds)
        assert 0o640 == status.st_mode & 0o777
    assert [digest_of(body) for body in bodies] == [record.body_digest if record else None for record in found]
    assert (6, 0) == (results.tally.counts.refreshed, results.tally.counts.failed)
    assert [f"refreshed {top}/p/m.py"] == told.lines
    manifest.close()


def test_code_that_was_changed_is_left_to_the_compiler(top: Path) -> None:
    """It isn't given a header that fits."""
    path = make(top / "p/__pycache__", {cached("m"): pyc(body=OLD)}) / cached("m")
    record = Record(UNSEEN, digest_of(TEXT), UNSEEN, digest_of(A), pyc()[:16], 7)
    state = LevelState(0, cached(""), Verdict.REFRESHABLE, None, record)
    with Layout(Tree.open(str(top))) as layout:
        stale = Stale.of("m.py", os.stat(top / "p/m.py"), (state,))
        assert stale == PycWriter(wanted(), knowledge_of(), Results(Observer())).refresh(Place(layout, "p"), stale)
    assert pyc(body=OLD) == path.read_bytes()


class Told(Observer):
    """Keeps what a run reports."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def compiled(self, path: str, verdicts: Sequence[Verdict]) -> None:
        """As a line."""
        self.lines.append(f"compiled {os.path.basename(path)}: {', '.join(each.value for each in verdicts)}")

    def refreshed(self, path: str) -> None:
        """As a line."""
        self.lines.append(f"refreshed {path}")

    def removed(self, path: str, reason: str) -> None:
        """As a line."""
        self.lines.append(f"removed {os.path.basename(path)}: {reason}")


def stored(layout: Layout, states: list[LevelState], meanwhile: Callable[[], object], **options: Any) -> Told:
    """Write a pyc for each of these levels; `meanwhile` comes before. Returns what is reported."""
    results = Results(Told())
    text = layout.read_source("p", "m.py")
    source = source_read(Place(layout, "p"), Stale.of("m.py", text.status, tuple(states)), text, digest_of(text.data))
    meanwhile()
    answer = Compiled(b"12345678", tuple(LevelAnswer(BODY, body) for body, _ in zip((A, B), states)))
    PycWriter(wanted(**options), knowledge_of(), results).store(source, answer)
    told = results.observer
    assert isinstance(told, Told)
    told.lines += [f"{kind} {os.path.basename(path)}: {why}" for path, kind, why, *_ in results.tally.failures]
    told.lines += [f"{name} {count}" for name, count in results.tally.counts.as_dict().items() if count]
    return told


def remove_from_package(top: Path, *names: str) -> None:
    """Remove its pycs, and these files."""
    shutil.rmtree(top / "p/__pycache__")
    for name in names:
        (top / "p" / name).unlink()


def replace_package(top: Path) -> None:
    """Let another directory with the same source have its name."""
    shutil.rmtree(top / "p")
    make(top, {"p/m.py": TEXT})


ONE, OTHER = LevelState(0, cached(""), MISSING), LevelState(1, cached("", 1), Verdict.OTHER_CONTENT)
IN_THE_WAY = LevelState(0, cached(""), Verdict.OBSTRUCTED)
REFUSED = "refused m.py: a directory has the name of its pyc; pyctrigger repair removes it"
#: What there is in the directory of pycs, levels to write, what happens before, options, and what is reported.
STORED: dict[str, tuple[dict[str, Any], list[LevelState], Callable[[Path], Any], dict[str, Any], list[str]]] = {
    "two levels": (
        *({}, [ONE, OTHER], lambda top: None, {}),
        ["compiled m.py: missing, content", "compiled 1"],
    ),
    "the directory is swept": (
        *({cached("gone"): b""}, [ONE], lambda top: shutil.rmtree(top / "p/__pycache__"), {}),
        ["compiled m.py: missing", "compiled 1"],
    ),
    "the package is replaced": (
        *({cached("gone"): b""}, [ONE], replace_package, {}),
        ["compiled m.py: missing", "compiled 1"],
    ),
    "the source goes": ({cached("gone"): b""}, [ONE], lambda top: remove_from_package(top, "m.py"), {}, []),
    "the package goes": ({}, [ONE], lambda top: shutil.rmtree(top / "p"), {}, []),
    "a directory is in the way": (
        *({cached("m"): None, cached("m", 1): pyc()}, [IN_THE_WAY, OTHER], lambda top: None, {}),
        [f"removed {cached('m', 1)}: uncompilable", REFUSED, "failed 1", "removed 1"],
    ),
    "a repair removes it": (
        *({cached("m"): None}, [IN_THE_WAY], lambda top: None, {"work": Work.REPAIR}),
        ["compiled m.py: obstructed", "compiled 1"],
    ),
    "it has gone": ({}, [IN_THE_WAY], lambda top: None, {}, ["compiled m.py: obstructed", "compiled 1"]),
    "something that takes a pyc's place": (
        *({}, [ONE], lambda top: (top / "p/__pycache__" / cached("m")).mkdir(parents=True), {}),
        [REFUSED, "failed 1"],
    ),
}


@pytest.mark.parametrize("case", STORED)
def test_what_becomes_of_a_source(top: Path, case: str) -> None:
    """Is reported once."""
    entries, states, meanwhile, options, expected = STORED[case]
    make(top / "p/__pycache__", entries)
    with Layout(Tree.open(str(top))) as layout:
        layout.pycs.nearest("p/__pycache__")
        assert expected == stored(layout, states, lambda: meanwhile(top), **options).lines


@pytest.mark.parametrize(("times", "expected"), [(3, ["compiled m.py: missing", "compiled 1"]), (4, [])])
def test_a_directory_that_is_swept_again_and_again(
    top: Path, monkeypatch: pytest.MonkeyPatch, times: int, expected: list[str]
) -> None:
    """Is made anew three times; then it is left to whoever sweeps it."""
    real, tries = Writer.replace, []

    def sweep_first(self: Writer, *args: Any) -> object:
        tries.append(args)
        if len(tries) <= times:
            shutil.rmtree(top / "p/__pycache__")
        return real(self, *args)

    monkeypatch.setattr(Writer, "replace", sweep_first)
    make(top / "p/__pycache__", {})
    with Layout(Tree.open(str(top))) as layout:
        assert expected == stored(layout, [ONE], lambda: None).lines
    assert (4, len(expected) > 0) == (len(tries), (top / "p/__pycache__").exists())


def test_a_directory_in_the_way_is_refused_before_anything_is_written(top: Path) -> None:
    """So the times of the directory stay as they were."""
    pycs = make(top / "p/__pycache__", {cached("m"): None})
    os.utime(pycs, (1, 1))
    with Layout(Tree.open(str(top))) as layout:
        assert [REFUSED, "failed 1"] == stored(layout, [IN_THE_WAY], lambda: None).lines
    assert 1 == os.stat(pycs).st_mtime


def test_temporary_names_tell_who_writes(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One writer of a tree has them all."""
    renamed: list[tuple[str | None, str]] = []
    real = os.rename

    def rename(name: str, *args: Any, **options: Any) -> None:
        renamed.append((writer_of(name), name))
        real(name, *args, **options)

    monkeypatch.setattr(os, "rename", rename)
    writer = PycWriter(wanted(), knowledge_of(), Results(Observer()))
    with Layout(Tree.open(str(top))) as layout, Layout(Tree.open(str(top))) as other:
        text = layout.read_source("p", "m.py")
        for name in ("m.py", "n.py"):
            stale = Stale.of(name, text.status, (LevelState(0, cached(""), MISSING),))
            writer.store(source_read(Place(layout, "p"), stale, text, b""), Compiled(b"", (LevelAnswer(BODY, A),)))
        assert (True, False) == tuple(writer.in_tree(layout) is writer.in_tree(each) for each in (layout, other))
    assert ([WRITER] * 2, 2) == ([found for found, _ in renamed], len({name for _, name in renamed}))


def test_a_source_that_compiles_is_no_failure_any_more(top: Path) -> None:
    """What was learned of it is forgotten."""
    manifest, results = Manifest(str(top)), Results(Observer())
    knowledge = knowledge_of(manifest)
    for name in ("m", "n"):
        knowledge.learn_failure(f"{top}/p/{name}.py", UNSEEN, b"", "syntax", "why")
    with Layout(Tree.open(str(top))) as layout:
        text = layout.read_source("p", "m.py")
        source = source_read(Place(layout, "p"), Stale.of("m.py", text.status, (ONE,)), text, b"")
        PycWriter(wanted(), knowledge, results).store(source, Compiled(b"", (LevelAnswer(BODY, A),)))
    assert [f"{top}/p/n.py"] == list(manifest.uncompilable)
    manifest.close()


class _Replaced(Tree):
    """One in which another run replaces each file before it is looked at."""

    def lstat(self, relative: str, name: str) -> os.stat_result:
        path = Path(self.describe(relative, name))
        make(path.parent, {"new": path.read_bytes()})
        os.replace(path.parent / "new", path)
        return super().lstat(relative, name)


def test_anothers_file_isnt_recorded_as_ours(top: Path) -> None:
    """Where it took the place of ours while that got its second name."""
    manifest, states = Manifest(str(top)), (ONE, LevelState(1, cached("", 1), MISSING))
    with Layout(_Replaced(Opened(os.open(top, os.O_RDONLY), None), str(top))) as layout:
        text = layout.read_source("p", "m.py")
        source = source_read(Place(layout, "p"), Stale.of("m.py", text.status, states), text, b"")
        answer = Compiled(b"", (LevelAnswer(BODY, A), LevelAnswer(TWIN, b"")))
        PycWriter(wanted(), knowledge_of(manifest), Results(Observer())).store(source, answer)
    records = [manifest.pycs.get(f"{top}/p/__pycache__", source.stale.pyc(state)) for state in states]
    assert [UNSEEN] * 2 == [record.pyc if record else None for record in records]
    manifest.close()


@pytest.mark.parametrize(("mode", "flags"), [(InvalidationMode.CHECKED_HASH, 3), (InvalidationMode.UNCHECKED_HASH, 1)])
def test_a_hash_based_pyc_has_its_sources_hash(top: Path, mode: InvalidationMode, flags: int) -> None:
    """As the target has computed it."""
    with Layout(Tree.open(str(top))) as layout:
        stored(layout, [ONE], lambda: None, mode=mode)
    assert MAGIC + flags.to_bytes(4, "little") + b"12345678" + A == (top / "p/__pycache__" / cached("m")).read_bytes()


def test_directories_are_made_below_a_prefix(top: Path) -> None:
    """Each in the one above it."""
    with in_memory() as prefix:
        with Layout(Tree.open(str(top)), Tree.open(str(prefix))) as layout:
            assert ["compiled m.py: missing", "compiled 1"] == stored(layout, [ONE], lambda: None).lines
        assert pyc(body=A) == Path(f"{prefix}{top}/p/{cached('m')}").read_bytes()


#: Why there is no code, the verdict on the pyc, whether a package owns it, and whether it goes.
KEPT: list[tuple[str, Verdict, bool, bool]] = [
    ("syntax", SIZE, False, True),
    ("syntax", SIZE, True, False),
    ("encoding", UNKNOWN, False, True),
    ("timeout", SIZE, False, False),
    ("timeout", Verdict.OTHER_CONTENT, False, True),
    ("crash", Verdict.EXPOSED, False, True),
    ("crash", Verdict.EXPOSED, True, False),
    ("syntax", MISSING, False, False),
    ("syntax", Verdict.OBSTRUCTED, False, False),
]


@pytest.mark.parametrize(("kind", "verdict", "is_owned", "goes"), KEPT)
def test_a_pyc_without_code_goes(top: Path, kind: str, verdict: Verdict, is_owned: bool, goes: bool) -> None:
    """Where it is known to be wrong, and not a package's."""
    path = make(top / "p/__pycache__", {cached("m"): pyc()}) / cached("m")
    results = Results(Told())
    with Layout(Tree.open(str(top))) as layout:
        text, stale = layout.read_source("p", "m.py"), LevelState(0, cached(""), verdict)
        source = source_read(Place(layout, "p"), Stale.of("m.py", text.status, (stale,)), text, b"")
        PycWriter(wanted(), knowledge_of(owned=[str(path)] if is_owned else []), results).remove_code(source, kind)
    assert (not goes, int(goes)) == (path.exists(), results.tally.counts.removed)


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("verdict", [SIZE, Verdict.REFRESHABLE])
def test_what_cant_be_written_is_left(top: Path, verdict: Verdict) -> None:
    """Where the file system has become read-only."""
    make(top / "p/__pycache__", {cached("m"): pyc()})
    record = Record(UNSEEN, digest_of(TEXT), UNSEEN, digest_of(CODE), pyc()[:16], 7)
    state, results, mount = LevelState(0, cached(""), verdict, None, record), Results(Observer()), Mount(top)
    with Layout(Tree(Opened(mount.directory, None), str(top))) as layout:
        text = layout.read_source("p", "m.py")
        place, stale = Place(layout, "p"), Stale.of("m.py", text.status, (state,))
        assert results.can_write(layout, "p")
        mount.turn(read_only=True)
        writer = PycWriter(wanted(), knowledge_of(), results)
        if verdict is SIZE:
            writer.store(source_read(place, stale, text, b""), Compiled(b"", (LevelAnswer(BODY, A),)))
        else:
            assert writer.refresh(place, stale) is None
        results.tell_places()
        mount.close()
    why = "it became read-only during the run; sources that were left: 1"
    assert [Failure(str(top), "io", why)] == results.tally.failures
    assert (1, 0) == (results.tally.counts.failed, results.tally.counts.skipped)


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("verdict", [SIZE, Verdict.REFRESHABLE])
def test_what_an_account_may_not_write_is_a_failure(
    top: Path, monkeypatch: pytest.MonkeyPatch, verdict: Verdict
) -> None:
    """Of the source, with what helps."""
    make(top / "p/__pycache__", {cached("m"): pyc()})
    os.chown(top / "p", ANN, ANN)
    record = Record(UNSEEN, digest_of(TEXT), UNSEEN, digest_of(CODE), pyc()[:16], 7)
    state, results = LevelState(0, cached(""), verdict, None, record), Results(Observer())
    let_act(monkeypatch)
    with Layout(Tree.open(str(top))) as layout:
        text = layout.read_source("p", "m.py")
        place, stale = Place(layout, "p"), Stale.of("m.py", text.status, (state,))
        writer = PycWriter(wanted(), knowledge_of(), results)
        if verdict is SIZE:
            writer.store(source_read(place, stale, text, b""), Compiled(b"", (LevelAnswer(BODY, A),)))
        else:
            assert writer.refresh(place, stale) is None
    why = (
        f"account {ANN}, which owns this place, can't do it (Permission denied): chown -R {ANN} what others have there"
    )
    why += f" (what else may not be written below {top} is counted, not listed)"
    assert ([Failure(f"{top}/p/m.py", "refused", why)], 1) == (results.tally.failures, results.tally.counts.failed)


def test_a_header_that_is_refused_is_left_to_the_compiler(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which says why. All levels are left, in their order."""

    def refuse(*_: object) -> None:
        raise WriteRefused("why")

    monkeypatch.setattr(Writer, "replace", refuse)
    bodies = [A, B, A]
    make(top / "p/__pycache__", {cached("m", level): pyc(body=body) for level, body in enumerate(bodies)})
    states = tuple(
        LevelState(
            level, cached("m", level), Verdict.REFRESHABLE, None, Record(UNSEEN, b"", UNSEEN, digest_of(body), b"")
        )
        for level, body in enumerate(bodies)
    )
    results = Results(Observer())
    with Layout(Tree.open(str(top))) as layout:
        stale = Stale.of("m.py", os.stat(top / "p/m.py"), states)
        found = PycWriter(wanted(), knowledge_of(), results).refresh(Place(layout, "p"), stale)
    assert (stale, 0, []) == (found, results.tally.counts.refreshed, results.tally.failures)


def test_a_source_that_changed_is_left_to_the_compiler(top: Path) -> None:
    """Its levels in their order; nothing is given a header."""
    path = make(top / "p/__pycache__", {cached("m"): pyc(), cached("m", 1): pyc(), cached("m", 2): pyc(body=A)})
    states = [
        LevelState(
            level, cached("m", level), Verdict.REFRESHABLE, None, Record(UNSEEN, b"", UNSEEN, digest_of(body), b"")
        )
        for level, body in ((0, CODE), (1, A), (2, CODE))
    ]
    before = os.stat(top / "p/m.py")
    os.utime(top / "p/m.py", (1, 1))
    with Layout(Tree.open(str(top))) as layout:
        stale = Stale.of("m.py", before, tuple(states))
        assert stale == PycWriter(wanted(), knowledge_of(), Results(Observer())).refresh(Place(layout, "p"), stale)
    assert [pyc(), pyc(), pyc(body=A)] == [(path / cached("m", level)).read_bytes() for level in range(3)]
