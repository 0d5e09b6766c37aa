"""The verdict on a pyc: by its header, and where there is a manifest, by its record."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

import pytest

from pyctrigger.pyc.header import InvalidationMode, Verdict
from pyctrigger.run.plan.steps import LevelState
from pyctrigger.run.plan.verdicts import Judge
from pyctrigger.run.scope.request import Work
from pyctrigger.state.records.manifest import Manifest
from pyctrigger.state.records.record import UNSEEN, Record, digest_of, identity_of
from pyctrigger.tree.directory import Tree
from pyctrigger.tree.layout import Layout
from pyctrigger.tree.listing import list_pycs, list_sources
from pyctrigger.tree.permission.access_lists import (
    GROUP_OBJ,
    MASK,
    OTHER,
    READ,
    USER,
    USER_OBJ,
    WRITE,
    AccessEntry,
    give_list,
)
from pyctrigger.tree.source import largest_pyc, source_status
from unit.run.plan.trees import MTIME, TEXT, Link, cached, in_memory, knowledge_of, make, plan, pyc, wanted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyctrigger.run.plan.steps import Step

PYC = f"p/__pycache__/{cached('m')}"
CHECKED, UNCHECKED = InvalidationMode.CHECKED_HASH, InvalidationMode.UNCHECKED_HASH


def verdicts(steps: list[Step]) -> dict[int, str]:
    """The verdicts on the source of these trees, by level; fresh ones have none."""
    return {state.level: state.verdict.value for step in steps for stale in step.stale for state in stale.levels}


@pytest.fixture
def top() -> Iterator[Path]:
    """A package with one source, in memory."""
    with in_memory({"p/m.py": TEXT, "p/__pycache__": None}) as top:
        yield top


#: What stands in the place of the pyc, options, and the verdict; None: it is fresh.
BY_HEADER: dict[str, tuple[Any, dict[str, Any], str | None]] = {
    "fits": (pyc(), {}, None),
    "another mtime": (pyc(mtime=MTIME + 1), {}, "mtime"),
    "another size": (pyc(size=len(TEXT) + 1), {}, "size"),
    "both": (pyc(mtime=1, size=1), {}, "mtime"),
    "another magic number": (pyc(magic=b"\xa6\r\r\n"), {}, "foreign-magic"),
    "empty": (b"", {}, "corrupt"),
    "half a header": (pyc()[:8], {}, "corrupt"),
    "no code": (pyc(body=b""), {}, "corrupt"),
    "unknown flags": (pyc(flags=4), {}, "corrupt"),
    "checks what is no hash": (pyc(flags=2), {}, "corrupt"),
    "hash-based": (pyc(flags=1), {}, "mode"),
    "far too large for its source": (pyc(body=bytes(largest_pyc(len(TEXT)))), {}, "corrupt"),
    "a link": (Link("/dev/null"), {}, "obstructed"),
    "a directory": (None, {}, "obstructed"),
    "hash-based, as wanted": (pyc(flags=3), {"mode": CHECKED}, "unproven"),
    "checked, unchecked is wanted": (pyc(flags=3), {"mode": UNCHECKED}, "mode"),
    "timestamp, hash-based is wanted": (pyc(), {"mode": CHECKED}, "mode"),
    "an epoch before the source": (pyc(), {"source_date_epoch": MTIME - 1}, "mtime"),
    "clamped to the epoch": (pyc(mtime=5), {"source_date_epoch": 5}, None),
    "an epoch after the source": (pyc(), {"source_date_epoch": MTIME + 1}, None),
    "as large as it may be": (pyc(body=bytes(largest_pyc(len(TEXT)) - 16)), {}, None),
    "a directory, and nothing is added": (None, {"create_missing": False}, "obstructed"),
    "a repair": (pyc(), {"work": Work.REPAIR}, "suspect"),
    "a repair, another mtime": (pyc(mtime=1), {"work": Work.REPAIR}, "mtime"),
    "code is compared": (pyc(), {"compare_code": True}, "suspect"),
}


@pytest.mark.parametrize("case", BY_HEADER)
def test_a_header_says_this(top: Path, case: str) -> None:
    """Without a manifest it is all there is."""
    content, options, expected = BY_HEADER[case]
    make(top, {PYC: content})
    assert ({} if expected is None else {0: expected}) == verdicts(plan(top, **options))


@pytest.mark.parametrize(
    ("levels", "there", "expected"),
    [
        ((0,), [], {0: "missing"}),
        ((0, 1, 2), [], {0: "missing", 1: "missing", 2: "missing"}),
        ((0, 1, 2), [0, 2], {1: "missing"}),
        ((1,), [0], {1: "missing"}),
        ((), [0], {}),
    ],
)
def test_each_level_has_a_verdict(top: Path, levels: tuple[int, ...], there: list[int], expected: Any) -> None:
    """Only those that are wanted."""
    make(top, {f"p/__pycache__/{cached('m', level)}": pyc() for level in there})
    assert expected == verdicts(plan(top, levels=levels))


Deed = Callable[["Path", "Path"], Any]


def both(*deeds: Deed) -> Deed:
    """One after the other."""

    def do(source: Path, found: Path) -> None:
        for deed in deeds:
            deed(source, found)

    return do


def write(path: Path, content: bytes) -> None:
    """Other content with the mtime of a source."""
    path.write_bytes(content)
    os.utime(path, (MTIME, MTIME))


def edit(source: Path, _: Path) -> None:
    """Other content of the same size."""
    write(source, b"x = 2\n")


def touch(source: Path, _: Path) -> None:
    """Other times."""
    os.utime(source, (1, 1))


def empty(_: Path, found: Path) -> None:
    """No header."""
    write(found, b"")


def open_pyc(_: Path, found: Path) -> None:
    """Everybody may write the pyc."""
    found.chmod(0o666)


def recompile(_: Path, found: Path) -> None:
    """Other code with the same header."""
    write(found, pyc(body=b"other"))


#: What somebody does to a source and its pyc, the verdict with the record of both as they were, and whether the pyc is
#: as it was recorded ("proven"), or a new record is kept, or the old one dropped.
BY_RECORD: dict[str, tuple[Deed, str | None, str]] = {
    "nothing": (lambda source, found: None, None, "proven"),
    "touches the source": (touch, "mtime only", ""),
    "touches the pyc": (lambda source, found: os.utime(found, (1, 1)), None, "recorded"),
    "rewrites the source as it was": (lambda source, found: write(source, TEXT), None, "recorded"),
    "other content, same size and mtime": (edit, "content", ""),
    "other content": (both(edit, touch), "mtime", ""),
    "other content and size": (lambda source, found: write(source, b"x = 22\n"), "size", ""),
    "rewrites the pyc as it was": (lambda source, found: write(found, pyc()), None, "recorded"),
    "another body": (recompile, "suspect", ""),
    "another header": (lambda source, found: write(found, pyc(mtime=1)), "mtime only", "recorded"),
    "another header and body": (lambda source, found: write(found, pyc(mtime=1, body=b"other")), "mtime", ""),
    "both are new": (both(edit, recompile), "unknown", ""),
    "touches the source, and another body": (both(touch, recompile), "mtime", ""),
    "removes the pyc": (lambda source, found: found.unlink(), "missing", ""),
    "cuts it": (lambda source, found: write(found, pyc()[:16]), "corrupt", ""),
    "empties it": (lambda source, found: write(found, b""), "corrupt", ""),
    "closes the source": (lambda source, found: source.chmod(0o600), "rights", "dropped"),
    "closes the pyc": (lambda source, found: found.chmod(0o600), "unreadable", "dropped"),
    "opens the pyc": (open_pyc, "rights", "dropped"),
    "opens the pyc, and touches the source": (both(touch, open_pyc), "mtime only", "recorded"),
    "opens the pyc, and empties it": (both(empty, open_pyc), "rights", "dropped"),
    "closes both": (
        both(lambda source, found: source.chmod(0o600), lambda source, found: found.chmod(0o600)),
        None,
        "recorded",
    ),
}


@pytest.fixture
def manifest() -> Iterator[Manifest]:
    """A manifest in memory."""
    with in_memory() as place, contextlib.closing(Manifest(str(place))) as manifest:
        yield manifest


def record(top: Path, manifest: Manifest, place: str = PYC) -> None:
    """Record the pyc as made from its source."""
    source, path = os.stat(top / "p/m.py"), top / place
    header, body = path.read_bytes()[:16], path.read_bytes()[16:]
    fields = identity_of(source), digest_of(TEXT), identity_of(os.stat(path)), digest_of(body), header, 1000
    manifest.pycs.note(str(path.parent), cached("m"), Record(*fields))


def judged(
    top: Path, manifest: Manifest, meanwhile: Deed | None = None, prefix: Path | None = None, **options: Any
) -> tuple[list[LevelState], str]:
    """The states of the source of these trees, and what becomes of its record; `meanwhile` comes after the listing."""
    with Layout(Tree.open(str(top)), Tree.open(str(prefix)) if prefix else None) as layout:
        judge = Judge(layout, wanted(**options), knowledge_of(manifest))
        links = list_sources(layout.sources.directory("p"), frozenset()).links
        status = source_status(layout.sources, "p", "m.py")
        judge.enter("p", list_pycs(layout.pycs.directory(layout.pycache("p"))).names, links)
        found = Path(layout.describe_pyc("p", cached("m")))
        if meanwhile:
            meanwhile(top / "p/m.py", found)
        states = judge.states("m.py", status)
        for name, kept in judge.records:
            assert cached("m") == name
            if kept is not None:
                data = found.read_bytes()
                expected = digest_of((top / "p/m.py").read_bytes()), digest_of(data[16:]), data[:16], 1000
                assert expected == (kept.source_digest, kept.body_digest, kept.header, kept.microseconds)
    kinds = ["recorded" if kept else "dropped" for kept in dict(judge.records).values()] + [
        "proven" for _ in judge.proven
    ]
    return states, " ".join(kinds)


@pytest.mark.parametrize("case", BY_RECORD)
def test_a_record_says_this(top: Path, manifest: Manifest, case: str) -> None:
    """The bytes of both files decide, where one of them isn't what it was."""
    deed, expected, kept = BY_RECORD[case]
    make(top, {PYC: pyc()})
    record(top, manifest)
    before = manifest.pycs.get(str(top / "p/__pycache__"), cached("m"))
    deed(top / "p/m.py", top / PYC)
    found = verdicts(plan(top, manifest=manifest))
    states, done = judged(top, manifest)
    assert ({} if expected is None else {0: expected}, kept) == (found, done)
    assert [(0, cached(""), expected, None)] * len(found) == [(*each[:2], each[2].value, each[3]) for each in states]
    refreshed = [each.record.body_digest if each.record else None for each in states]
    assert before is not None
    assert [before.body_digest if expected == "mtime only" else None] * len(found) == refreshed


def link_to(goal: str, mode: int = 0o755) -> Deed:
    """The source is a link into another directory, which has this mode."""

    def deed(source: Path, _: Path) -> None:
        place = source.parent / "elsewhere"
        place.mkdir()
        source.rename(place / goal)
        place.chmod(mode)
        source.symlink_to(f"elsewhere/{goal}")

    return deed


def grant(*places: int) -> Deed:
    """Of source and pyc these have a list by which one account may read them, beside their owner."""
    may = [AccessEntry(USER, READ, 12345), AccessEntry(GROUP_OBJ, 0), AccessEntry(MASK, READ), AccessEntry(OTHER, 0)]

    def deed(*paths: Path) -> None:
        for number, path in enumerate(paths):
            path.chmod(0o600)
            with path.open() as file:
                if number in places:
                    give_list(file.fileno(), [AccessEntry(USER_OBJ, READ | WRITE), *may])

    return deed


def move_away(source: Path, found: Path) -> None:
    """The pyc has another name, and a link to it its own."""
    found.rename(found.with_name("moved"))
    found.symlink_to("moved")


def close_pyc(_: Path, found: Path) -> None:
    """Only its owner may read the pyc."""
    found.chmod(0o600)


HASHED, OTHER_MAGIC = pyc(flags=3), pyc(flags=3, magic=b"\xa6\r\r\n")
#: What stands in the place of the pyc; what is done before both are recorded; what is done while they are looked at;
#: options; and the verdict, and what becomes of the record.
AS_RECORDED: dict[str, tuple[bytes, Deed | None, Deed | None, dict[str, Any], str | None, str]] = {
    "a hash-based one": (HASHED, None, None, {"mode": CHECKED}, None, "proven"),
    "of another mode": (pyc(flags=1), None, None, {"mode": CHECKED}, "mode", ""),
    "of another magic number": (OTHER_MAGIC, None, None, {"mode": CHECKED}, "foreign-magic", ""),
    "of another size": (pyc(size=1), None, None, {}, "size", ""),
    "a repair": (pyc(), None, None, {"work": Work.REPAIR}, "suspect", ""),
    "all code is compared": (pyc(), None, None, {"compare_code": True}, "suspect", ""),
    "a link": (pyc(), link_to("n.py"), None, {}, None, "proven"),
    "a link into a closed directory": (pyc(), link_to("n.py", 0o700), None, {}, "rights", "dropped"),
    "in a closed directory": (pyc(), lambda source, found: source.parent.chmod(0o700), None, {}, None, "proven"),
    "the file system allowed no more": (pyc(), close_pyc, None, {}, None, "proven"),
    "the same list": (pyc(), grant(0, 1), None, {}, None, "proven"),
    "a list only for the source": (pyc(), grant(0), close_pyc, {}, "unreadable", "dropped"),
    "a list only for the pyc": (pyc(), grant(1), None, {}, "rights", "dropped"),
    "it goes meanwhile": (pyc(), None, lambda source, found: found.unlink(), {}, "corrupt", ""),
    "it moves meanwhile": (pyc(), None, move_away, {}, "corrupt", ""),
    "the source goes meanwhile": (pyc(), None, both(recompile, lambda source, _: source.unlink()), {}, "suspect", ""),
    "the source goes, of another mtime": (pyc(mtime=1), None, lambda source, _: source.unlink(), {}, "mtime", ""),
}


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("case", AS_RECORDED)
def test_what_is_as_it_was_recorded(top: Path, manifest: Manifest, case: str) -> None:
    """Isn't always right."""
    content, before, meanwhile, options, expected, kept = AS_RECORDED[case]
    make(top, {PYC: content})
    if before:
        before(top / "p/m.py", top / PYC)
    record(top, manifest)
    states, done = judged(top, manifest, meanwhile, **options)
    assert (expected, kept) == (states[0].verdict.value if states else None, done)
    assert [content[8:16] if "mode" in options else None] * len(states) == [each.source_hash for each in states]
    (top / "p").chmod(0o755)


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize(
    ("deed", "expected"),
    [
        (lambda source, found: source.parent.chmod(0o700), {}),
        (grant(0, 1), {}),
        (grant(0), {0: "unreadable"}),
        (grant(1), {0: "rights"}),
    ],
)
def test_readers_are_those_of_the_source(top: Path, deed: Deed, expected: dict[int, str]) -> None:
    """Also where there is no record."""
    make(top, {PYC: pyc()})
    deed(top / "p/m.py", top / PYC)
    assert expected == verdicts(plan(top))


def test_each_level_has_its_record(top: Path, manifest: Manifest) -> None:
    """That of one says nothing about another."""
    make(top, {PYC: pyc()})
    record(top, manifest)
    states, kept = judged(top, manifest, levels=(0, 1))
    assert ([LevelState(1, cached("", 1), Verdict.MISSING)], "proven") == (states, kept)


@pytest.mark.parametrize(("mode", "expected"), [(0o755, (None, "proven")), (0o700, ("rights", "dropped"))])
def test_with_a_prefix_the_sources_directories_count(
    top: Path, manifest: Manifest, mode: int, expected: tuple[str | None, str]
) -> None:
    """Who may not enter them may not read the pycs."""
    top.chmod(0o755)
    (top / "p").chmod(mode)
    with in_memory() as prefix:
        place = f"{prefix}{top}/p/{cached('m')}"
        make(prefix, {place: pyc()})
        record(top, manifest, place)
        states, kept = judged(top, manifest, prefix=prefix)
    assert expected == (states[0].verdict.value if states else None, kept)


def test_a_pyc_without_a_record_is_unknown(top: Path, manifest: Manifest) -> None:
    """Whoever wrote it: its header may fit the code of another version."""
    make(top, {PYC: pyc()})
    assert {0: "unknown"} == verdicts(plan(top, manifest=manifest))


@pytest.mark.parametrize("deed", ["rewrites the source as it was", "rewrites the pyc as it was", "another header"])
def test_what_was_proven_is_recorded(top: Path, manifest: Manifest, deed: str) -> None:
    """The next check uses the status of both files again, and reads no bytes."""
    make(top, {PYC: pyc()})
    record(top, manifest)
    BY_RECORD[deed][0](top / "p/m.py", top / PYC)
    time.sleep(0.03)  # or both are too young to be recorded
    plan(top, manifest=manifest, learns=True)
    found = manifest.pycs.get(str(top / "p/__pycache__"), cached("m"))
    assert found is not None
    statuses = identity_of(os.stat(top / "p/m.py")), identity_of(os.stat(top / PYC))
    assert (*statuses, 1000) == (found.source, found.pyc, found.microseconds)


@pytest.mark.parametrize(
    ("content", "options", "expected"),
    [
        (pyc(mtime=1), {}, ["owned"]),
        (pyc(magic=b"\xa6\r\r\n"), {}, ["owned"]),
        (pyc(mtime=1), {"keep_owned": False}, ["write"]),
        (pyc(), {}, []),
    ],
)
def test_what_a_package_owns_is_reported(top: Path, content: bytes, options: dict[str, Any], expected: Any) -> None:
    """It is the package's, stale or not."""
    make(top, {PYC: content})
    steps = plan(top, owned=[str(top / PYC)], **options)
    assert expected == [*["owned" for step in steps for _ in step.owned], *["write" for step in steps if step.stale]]


#: The level of a pyc that isn't asked for, whether it is recorded and owned; and what is known about it.
UNWANTED: dict[str, tuple[bytes, bool, bool, list[str]]] = {
    "fresh": (pyc(), False, False, []),
    "recorded": (pyc(), True, False, []),
    "of a package": (pyc(), False, True, []),
    "stale": (pyc(mtime=1), False, False, ["mtime"]),
}


@pytest.mark.parametrize("case", UNWANTED)
@pytest.mark.parametrize("is_compared", [True, False])
def test_a_level_that_isnt_asked_for_is_judged(top: Path, manifest: Manifest, case: str, is_compared: bool) -> None:
    """Nothing else would notice that it is stale."""
    content, is_recorded, is_owned, expected = UNWANTED[case]
    name, directory = cached("m", 2), str(top / "p/__pycache__")
    make(top, {f"p/__pycache__/{name}": content})
    if is_recorded:
        manifest.pycs.note(directory, name, Record(UNSEEN, b"", UNSEEN, b"", b""))
    knowledge = knowledge_of(manifest if is_compared else None, [f"{directory}/{name}"] if is_owned else [])
    with Layout(Tree.open(str(top))) as layout:
        judge = Judge(layout, wanted(), knowledge)
        judge.enter("p", {name: True}, ())
        found, gone = judge.judge_unwanted(name, "m.py"), judge.judge_unwanted(name, "gone.py")
    assert found is not None
    assert found.stale.status is not None
    assert gone is None
    assert (name, "m.py", is_recorded and is_compared, is_owned) == (found.pyc, found.stale.name, *found[2:])
    assert identity_of(os.stat(top / "p/m.py")) == identity_of(found.stale.status)
    doubts = ["unknown"] if is_compared and not expected else expected
    assert [(2, cached("", 2), doubt) for doubt in doubts] == [
        (*each[:2], each[2].value) for each in found.stale.levels
    ]


@pytest.mark.parametrize(
    ("is_compared", "gone", "expected"), [(True, None, 1), (True, "m.py", 0), (True, PYC[2:], 0), (False, None, 0)]
)
def test_what_is_adopted(top: Path, manifest: Manifest, is_compared: bool, gone: str | None, expected: int) -> None:
    """What can't be read meanwhile is left to the next run."""
    make(top, {PYC: pyc()})
    with Layout(Tree.open(str(top))) as layout:
        judge = Judge(layout, wanted(), knowledge_of(manifest if is_compared else None))
        judge.enter("p", {cached("m"): True}, ())
        if gone:
            (top / "p" / gone).unlink()
        judge.adopt("m.py", cached("m"))
    assert expected == len(judge.records)
    for name, kept in judge.records:
        assert kept is not None
        found = kept.source_digest, kept.body_digest, kept.header, kept.microseconds
        assert (cached("m"), digest_of(TEXT), digest_of(pyc()[16:]), pyc()[:16], 0) == (name, *found)


def test_a_packages_pyc_is_recorded_as_it_is(top: Path, manifest: Manifest) -> None:
    """From then on a change of it is noticed."""
    make(top, {PYC: pyc(body=b"theirs")})
    time.sleep(0.03)
    assert [] == [step for step in plan(top, manifest=manifest, owned=[str(top / PYC)], learns=True) if step.is_needed]
    found = manifest.pycs.get(str(top / "p/__pycache__"), cached("m"))
    assert found is not None
    assert (digest_of(TEXT), digest_of(b"theirs"), 0) == (found.source_digest, found.body_digest, found.microseconds)
