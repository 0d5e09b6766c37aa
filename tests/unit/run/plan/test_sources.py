"""The sources of a directory: which need something, which are left, and why."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from pyctrigger.interpreter.broken import BROKEN_ON_PURPOSE
from pyctrigger.packages.bcep import Exclusion
from pyctrigger.pyc.header import HeaderFormat
from pyctrigger.run.plan.glance import Notes
from pyctrigger.run.plan.knowledge import PlannedSite
from pyctrigger.run.plan.sources import LEFT_OUT, SourceJudge
from pyctrigger.run.plan.steps import Step
from pyctrigger.run.plan.unchanged import Snapshot
from pyctrigger.run.scope.request import Work
from pyctrigger.state.records.manifest import Manifest
from pyctrigger.state.records.record import identity_of
from pyctrigger.tree.directory import Tree
from pyctrigger.tree.layout import Layout
from pyctrigger.tree.listing import list_pycs, list_sources
from unit.run.plan.trees import MAGIC, TEXT, Link, cached, in_memory, knowledge_of, make, pyc, record, said, wanted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from pyctrigger.run.plan.knowledge import Knowledge

PYC = f"p/__pycache__/{cached('m')}"
FRESH = {"p/m.py": TEXT, PYC: pyc()}
STALE = {"p/m.py": TEXT, PYC: pyc(size=1)}
MISSING = "write m.py: 0 missing"
OUT = "a link that leads out of the site directory"
TOO_LONG = "its name is too long for a pyc's"
TOO_OLD = "Python 3.6 accepts no bytecode for a source from before 1970 or after 2106"
#: 3.6's headers.
OLD = HeaderFormat(MAGIC, 12)
EXCLUDED = {"exclude": ("*/other/*", "*/m.py")}
LEFT = "skip m.py: excluded"

#: A tree, options, what is said of the directory p, and how many sources there are, and are fresh.
CASES: dict[str, tuple[Mapping[str, Any], dict[str, Any], list[str], tuple[int, int]]] = {
    "none": ({"p/t": b""}, {}, [], (0, 0)),
    "fresh": (FRESH, {}, [], (1, 1)),
    "missing": ({"p/m.py": TEXT, "p/n.py": TEXT}, {}, [MISSING, "write n.py: 0 missing"], (2, 0)),
    "stale": (STALE, {}, ["write m.py: 0 size"], (1, 0)),
    "one of two": ({**FRESH, "p/n.py": TEXT}, {}, ["write n.py: 0 missing"], (2, 1)),
    "one of two levels": (FRESH, {"levels": (0, 1)}, ["write m.py: 1 missing"], (1, 0)),
    "excluded": ({**STALE, "p/n.py": TEXT}, EXCLUDED, ["write n.py: 0 missing", LEFT], (2, 0)),
    "excluded by the second pattern": (STALE, {"exclude": ("*/x", "*/p/*")}, [LEFT], (1, 0)),
    "not excluded": (FRESH, {"exclude": ("m.py", "*/p", "p/*")}, [], (1, 1)),
    "excluded, though fresh": (FRESH, EXCLUDED, [LEFT], (1, 0)),
    "left out": (
        {"p/m.py": TEXT, "p/n.py": TEXT},
        {"left_out": (Exclusion("re", "/", ".*/p/m"),)},
        [MISSING.replace("m.py", "n.py"), f"skip m.py: {LEFT_OUT}"],
        (2, 0),
    ),
    "left out, though stale": (STALE, {"left_out": (Exclusion("dir", "/"),)}, [f"skip m.py: {LEFT_OUT}"], (1, 0)),
    "not left out": (STALE, {"left_out": (Exclusion("file", "/p/m.py"),)}, ["write m.py: 0 size"], (1, 0)),
    "a link": ({**FRESH, "p/a.py": Link("m.py")}, {}, ["write a.py: 0 missing"], (2, 1)),
    "links among sources": (
        {"p/a.py": Link("m.py"), "p/m.py": TEXT, "p/z.py": Link("m.py"), "p/b.py": TEXT},
        {},
        [f"write {name}.py: 0 missing" for name in "abmz"],
        (4, 0),
    ),
    "a link that leads out": (
        {**FRESH, "p/a.py": Link("/etc/passwd"), "p/b.py": Link("/etc/passwd"), "p/z.py": Link("m.py")},
        {},
        ["write z.py: 0 missing", f"refuse a.py: {OUT}", f"refuse b.py: {OUT}"],
        (4, 1),
    ),
    "the same, excluded": (
        {**FRESH, "p/a.py": Link("/etc/passwd")},
        {"exclude": ("*/a.py",)},
        ["skip a.py: excluded"],
        (1, 1),
    ),
    "a link to nothing": (
        {**FRESH, "p/a.py": Link("nothing"), "p/z.py": Link("m.py")},
        {},
        ["write z.py: 0 missing"],
        (2, 1),
    ),
    "a name that leaves room for some": (
        {f"p/{'n' * 237}.py": TEXT},
        {"levels": (0, 1)},
        [f"write {'n' * 237}.py: 0 missing"],
        (1, 0),
    ),
    "the longest": ({f"p/{'n' * 239}.py": TEXT}, {}, [f"write {'n' * 239}.py: 0 missing"], (1, 0)),
    "a longer one": (
        {f"p/{'n' * 240}.py": TEXT, "p/z.py": TEXT},
        {},
        ["write z.py: 0 missing", f"skip {'n' * 240}.py: {TOO_LONG}"],
        (2, 0),
    ),
    "in bytes": ({f"p/{'𝛂' * 60}.py": TEXT}, {}, [f"skip {'𝛂' * 60}.py: {TOO_LONG}"], (1, 0)),
    "a package's": (STALE, {"owned": [cached("m")]}, [f"owned {cached('m')}"], (1, 0)),
    "a package's, and another": (
        {**STALE, "p/n.py": TEXT},
        {"owned": [cached("m")]},
        ["write n.py: 0 missing", f"owned {cached('m')}"],
        (2, 0),
    ),
    "a package's that is missing": ({"p/m.py": TEXT}, {"owned": [cached("m")]}, [MISSING], (1, 0)),
    "a package's level": (
        {**STALE, f"p/__pycache__/{cached('m', 1)}": pyc(size=1)},
        {"owned": [cached("m")], "levels": (0, 1)},
        ["write m.py: 1 size", f"owned {cached('m')}"],
        (1, 0),
    ),
    "a package's, replaced": (STALE, {"owned": [cached("m")], "keep_owned": False}, ["write m.py: 0 size"], (1, 0)),
    "a package's, unproven": (FRESH, {"owned": [cached("m")], "is_recorded": True}, [], (1, 0)),
    "unproven": (FRESH, {"is_recorded": True}, ["write m.py: 0 unknown"], (1, 0)),
    "uncompilable": ({"p/m.py": TEXT}, {"failed": "m.py"}, ["skip m.py: uncompilable"], (1, 0)),
    "uncompilable, with a pyc": (STALE, {"failed": "m.py"}, ["write m.py: 0 size"], (1, 0)),
    "uncompilable, with one of two": (
        STALE,
        {"failed": "m.py", "levels": (0, 1)},
        ["write m.py: 0 size, 1 missing"],
        (1, 0),
    ),
    "uncompilable, with a directory": (
        {"p/m.py": TEXT, f"{PYC}/x": b""},
        {"failed": "m.py"},
        ["skip m.py: uncompilable"],
        (1, 0),
    ),
    "uncompilable, tried again": ({"p/m.py": TEXT}, {"failed": "m.py", "work": Work.REPAIR}, [MISSING], (1, 0)),
    "another one": ({"p/m.py": TEXT, "p/n.py": TEXT}, {"failed": "n.py"}, [MISSING, "skip n.py: uncompilable"], (2, 0)),
    "a link that leads out, reported": (
        {"p/m.py": Link("/etc/passwd"), "p/n.py": Link("/etc/passwd")},
        {"failed": "m.py"},
        ["skip m.py: uncompilable", f"refuse n.py: {OUT}"],
        (1, 0),
    ),
}


@pytest.fixture
def top() -> Iterator[Path]:
    """A tree's directory, in memory."""
    with in_memory() as top:
        yield top


def judge(
    top: Path, relative: str = "p", *, knowledge: Knowledge | None = None, others: Sequence[Path] = (), **options: Any
) -> tuple[SourceJudge, list[Step], list[tuple[str, str]], Notes, Snapshot]:
    """Judge one directory. Returns the judge, its steps, the links that lead elsewhere, and what was noted."""
    library = options.pop("is_library", False)
    with Layout(Tree.open(str(top))) as layout:
        identities = frozenset((path.stat().st_dev, path.stat().st_ino) for path in others)
        notes = Notes(layout, time.time_ns())
        notes.begin(relative)
        site = PlannedSite(layout, wanted(**options), knowledge or knowledge_of(), identities, library, notes)
        judge = SourceJudge(site)
        with layout.sources.entered(relative) as directory:
            listing, snapshot = list_sources(directory), Snapshot(os.fstat(directory))
        listing.sources.append("vanished.py")
        listing.names.add("vanished.py")
        names = {}
        if listing.has_pycache:
            with layout.pycs.entered(layout.pycache(relative)) as directory:
                names = list_pycs(directory).entries
        steps = []
        work = judge.judge(Step.of(relative), listing, names, snapshot)
        while True:
            try:
                steps.append(next(work))
            except StopIteration as end:
                steps.append(end.value)
                break
        assert "vanished.py" not in listing.names
        links = list(judge.links_elsewhere(relative, listing.linked))
    return judge, steps, links, notes, snapshot


def failed(knowledge: Knowledge, path: Path) -> None:
    """Record that a source doesn't compile."""
    knowledge.learn_failure(str(path), identity_of(path.lstat()), b"", "syntax", "invalid syntax")


@pytest.mark.parametrize("case", CASES)
def test_sources_need_this(top: Path, case: str) -> None:
    """Or nothing, or they are left for a reason."""
    entries, options, expected, counts = CASES[case]
    make(top, entries)
    options = dict(options)
    owned = [f"{top}/p/__pycache__/{name}" for name in options.pop("owned", ())]
    manifest = Manifest(str(top / "state")) if options.pop("is_recorded", False) else None
    knowledge = knowledge_of(manifest, owned)
    if name := options.pop("failed", None):
        failed(knowledge, top / "p" / name)
    judged, steps, links, _, _ = judge(top, knowledge=knowledge, **options)
    assert (expected, counts, []) == ([line[3:] for line in said(steps)], (judged.sources, judged.fresh), links)
    assert judged.has_stale == bool(steps[-1].stale)
    assert judged.bytes == 0
    if manifest:
        manifest.close()


@pytest.mark.parametrize("mtime", [-1, 0, 1, 0xFFFFFFFF, 0x100000000])
@pytest.mark.parametrize("header", [OLD, HeaderFormat(MAGIC, 16)])
def test_old_headers_have_no_room_for_some_times(top: Path, mtime: int, header: HeaderFormat) -> None:
    """Unless they are clamped."""
    make(top, {"p/m.py": TEXT})
    os.utime(top / "p/m.py", (mtime, mtime))
    is_left = header is OLD and mtime in (-1, 0x100000000)
    for epoch, expected in ((None, f"skip m.py: {TOO_OLD}" if is_left else MISSING), (5, MISSING)):
        if mtime >= 0 or epoch is None:
            steps = judge(top, header=header, source_date_epoch=epoch)[1]
            assert [f"p: {expected}"] == said(steps)


@pytest.mark.parametrize(("work", "expected"), [(Work.STATUS, 6 + 6 + 3), (Work.VERIFY, 0)])
def test_sources_are_measured(top: Path, work: Work, expected: int) -> None:
    """If that is asked for; links aren't."""
    make(top, {"p/m.py": TEXT, "p/n.py": TEXT, "p/o.py": b"1\n\n", "p/l.py": Link("m.py")})
    assert expected == judge(top, work=work)[0].bytes


def test_a_large_directory_is_judged_in_parts(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step for each part that needs something; what is proven is in all of them."""
    monkeypatch.setattr("pyctrigger.run.plan.sources.AT_ONCE", 2)
    make(top, {f"p/{name}.py": TEXT for name in "abcdefgi"})
    make(top, {f"p/__pycache__/{cached(name)}": pyc() for name in "cd"})
    make(top, {"p/h.py": Link("a.py")})
    judged, steps, *_ = judge(top)
    parts = [[stale.name for stale in step.stale] for step in steps]
    assert [["a.py", "b.py"], ["e.py", "f.py"], ["g.py", "h.py"], ["i.py"]] == parts
    assert [False, True, True, True] == [step.goes_on for step in steps]
    assert (9, 2, True) == (judged.sources, judged.fresh, judged.has_stale)


def test_what_is_known_to_be_fresh_proves_a_directory(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of its sources, in parts."""
    monkeypatch.setattr("pyctrigger.run.plan.sources.AT_ONCE", 2)
    make(top, {f"p/{name}.py": TEXT for name in "abc"})
    make(top, {f"p/__pycache__/{cached(name)}": pyc() for name in "abc"})
    manifest = Manifest(str(top / "state"))
    time.sleep(0.03)
    record(top, manifest)
    for levels, is_proven in ((0,), True), ((0, 1), False):
        *_, snapshot = judge(top, knowledge=knowledge_of(manifest), levels=levels)
        with Layout(Tree.open(str(top))) as layout, layout.sources.entered("p") as directory:
            snapshot.enter_pycache(layout.pycs.directory("p/__pycache__"))
            assert is_proven == (snapshot.packed(list_sources(directory)) is not None)
    manifest.close()


def test_links_are_noted(top: Path) -> None:
    """With the file that each leads to, or with none."""
    make(top, {"p/m.py": TEXT, "p/a.py": Link("m.py"), "p/b.py": Link("nowhere"), "p/c.py": Link("/etc/passwd")})
    time.sleep(0.03)
    with Layout(Tree.open(str(top))) as layout:
        again = Notes(layout, time.time_ns())
        site = PlannedSite(layout, wanted(), knowledge_of(), notes=again)
        again.begin("p")
        again.directory("p", (top / "p").stat())
        with layout.sources.entered("p") as directory:
            listing = list_sources(directory)
        for _ in SourceJudge(site).judge(Step.of("p"), listing, {}, None):
            pass
        seen = again.end()
    assert seen
    status = (top / "p/m.py").stat()
    stamp = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    assert [(b"/link/p/a.py", stamp), (b"/link/p/b.py", (0,) * 5)] == list(seen.part.entries())[1:]


def test_the_library_has_sources_that_are_broken_on_purpose(top: Path) -> None:
    """By their path inside of it."""
    make(top, {"lib2to3/tests/data/bom.py": TEXT, "lib2to3/tests/data/l.py": Link("/etc/passwd"), "p/bom.py": TEXT})
    place, why = "lib2to3/tests/data", BROKEN_ON_PURPOSE
    expected = [f"{place}: skip l.py: {why}", f"{place}: skip bom.py: {why}"]
    assert expected == said(judge(top, place, is_library=True)[1])
    assert ["p: write bom.py: 0 missing"] == said(judge(top, is_library=True)[1])
    assert [f"{place}: write bom.py: 0 missing", f"{place}: refuse l.py: {OUT}"] == said(judge(top, place)[1])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["away", "gone"]),
        ({"failed": "p/away"}, ["gone"]),
        ({"failed": "p/away", "work": Work.REPAIR}, ["away", "gone"]),
        ({"others": "out"}, []),
    ],
)
def test_links_to_directories_with_sources_are_reported(
    top: Path, options: dict[str, Any], expected: list[str]
) -> None:
    """Once, and only where they lead out of all site directories."""
    options = dict(options)
    make(
        top,
        {"site/p/away": Link("../../out/a"), "site/p/gone": Link("../../out/b"), "site/p/data": Link("../../out/c")},
    )
    make(
        top,
        {
            "site/p/inside": Link("q"),
            "site/p/q/m.py": TEXT,
            "site/p/file": Link("t"),
            "site/p/t": b"",
            "site/p/x": Link("y"),
        },
    )
    make(top, {"out/a/m.py": TEXT, "out/b/m.py": TEXT, "out/c/t": b""})
    knowledge = knowledge_of()
    if name := options.pop("failed", None):
        failed(knowledge, top / "site" / name)
    others = [top / options.pop("others")] if "others" in options else []
    links = judge(top / "site", knowledge=knowledge, others=others, **options)[2]
    goals = {"away": f"{top}/out/a", "gone": f"{top}/out/b"}
    assert [(name, goals[name]) for name in expected] == sorted(links)
