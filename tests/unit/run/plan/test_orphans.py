"""What is removed from a directory of pycs, and what has to stay."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from pyctrigger.pyc.names import temporary_names
from pyctrigger.run.plan import orphans
from pyctrigger.run.plan.knowledge import PlannedSite
from pyctrigger.run.plan.orphans import RemovalFinder
from pyctrigger.run.plan.steps import Removal, Seen, Step
from pyctrigger.run.scope.request import Work
from pyctrigger.tree.directory import Tree
from pyctrigger.tree.layout import Layout
from pyctrigger.tree.listing import list_pycs, list_sources
from unit.run.plan.trees import (
    TAG,
    TEXT,
    WRITER,
    Link,
    cached,
    in_memory,
    knowledge_of,
    make,
    plan,
    pyc,
    said,
    wanted,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GONE, OPTIMIZED = cached("gone"), cached("gone", 2)
PYCACHE = "p/__pycache__"
TEMPORARY = next(temporary_names(WRITER))
THEIRS = next(temporary_names("cpython-311-ffffffff"))
RESIDUE = f"{GONE}.140245"
ONE = {"bound": frozenset({1})}
#: That long ago everything was made, in seconds; None: a moment ago.
AGED = -10

#: A name in the `__pycache__` beside the source m.py and its pyc, what it is, options, and what becomes of it.
CASES: dict[str, tuple[str, Any, dict[str, Any], str | None]] = {
    "of this source": (cached("m"), pyc(), {}, None),
    "its source is gone": (GONE, pyc(), {}, "orphan"),
    "empty": (GONE, b"", {}, "orphan"),
    "a link": (GONE, Link("/etc/passwd"), {}, "orphan"),
    "a directory": (GONE, None, {}, None),
    "of a dotted name": (cached("a.b"), pyc(), {}, "orphan"),
    "of a level": (OPTIMIZED, pyc(), {}, "orphan"),
    "of a level that no run writes": (f"gone.{TAG}.opt-x.pyc", pyc(), {}, None),
    "of another Python": ("gone.cpython-312.pyc", pyc(), {}, None),
    "of a longer tag": (f"gone.{TAG}d.pyc", pyc(), {}, None),
    "of a tag in capitals": (f"gone.{TAG.upper()}.pyc", pyc(), {}, None),
    "pytest's": (f"gone.{TAG}-pytest-8.0.0.pyc", pyc(), {}, None),
    "Numba's": (f"gone.f-1.py311.{TAG}.nbi", b"", {}, None),
    "without a tag": ("gone.pyc", pyc(), {}, None),
    "no pyc": ("gone.txt", b"", {}, None),
    "a sweep of its level": (GONE, pyc(), {"bound": frozenset({0})}, "orphan"),
    "a sweep of another level": (GONE, pyc(), ONE, None),
    "a level nobody asks for": (cached("m", 1), pyc(), {}, None),
    "that level is swept": (cached("m", 1), pyc(), {"sweeps_unwanted": True}, "unwanted"),
    "another one is": (cached("m", 2), pyc(), {"sweeps_unwanted": True, **ONE}, None),
    "who looks tells of it": (cached("m", 1), pyc(), {"work": Work.VERIFY}, "unwanted"),
    "a purge takes what has a source": (cached("m", 1), pyc(), {"work": Work.PURGE}, "pyc"),
    "a purge of another level": (cached("m", 2), pyc(), {"work": Work.PURGE, **ONE}, None),
    "a purge keeps other Pythons'": ("m.cpython-312.pyc", pyc(), {"work": Work.PURGE}, None),
    "our own residue": (TEMPORARY, b"", {}, "residue"),
    "our own, and a sweep of one level": (TEMPORARY, b"", ONE, None),
    "another run's, young": (THEIRS, b"", {}, None),
    "another run's, old": (THEIRS, b"", {"aged": AGED}, "residue"),
    "an importer's, young": (RESIDUE, b"", {}, None),
    "an importer's, old": (RESIDUE, b"", {"aged": AGED}, "residue"),
    "an importer's, of another level": (RESIDUE, b"", {"aged": AGED, **ONE}, None),
    "a link like an importer's": (RESIDUE, Link("x"), {"aged": AGED}, None),
    "a package's": (GONE, pyc(), {"owns": GONE}, None),
    "another file is a package's": (GONE, pyc(), {"owns": OPTIMIZED}, "orphan"),
    "a package's, and a purge": (cached("m", 1), pyc(), {"work": Work.PURGE, "owns": cached("m", 1)}, None),
    "a package's level nobody asks for": (
        *(cached("m", 1), pyc()),
        {"sweeps_unwanted": True, "owns": cached("m", 1)},
        None,
    ),
}


@pytest.fixture
def top() -> Iterator[Path]:
    """A package with one source, in memory."""
    with in_memory({"p/m.py": TEXT, f"{PYCACHE}/{cached('m')}": pyc()}) as top:
        yield top


@pytest.mark.parametrize("case", CASES)
def test_a_name_goes_for_this_reason(top: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    """Exactly what is this Python's, has no source any more, and no package's."""
    name, content, options, kind = CASES[case]
    if name != cached("m"):
        make(top / PYCACHE, {name: content})
    options = dict(options)
    # No file can be made whose ctime lies an hour back.
    monkeypatch.setattr(orphans, "RESIDUE_AGE", options.pop("aged", orphans.RESIDUE_AGE))
    owned = [f"{top}/{PYCACHE}/{options.pop('owns')}"] if "owns" in options else []
    found = [line.split() for line in said(plan(top, owned=owned, **options)) if line.endswith(f" {name}")]
    assert ([] if kind is None else [["p:", kind, name]]) == found


@pytest.mark.parametrize("kind", ["source", "link", "directory", "fifo"])
def test_whatever_has_the_sources_name_keeps_its_pyc(top: Path, kind: str) -> None:
    """A pyc is an orphan when nothing has that name."""
    gone = make(top, {f"{PYCACHE}/{GONE}": pyc()}) / "p/gone.py"
    if kind == "source":
        gone.write_bytes(TEXT)
    elif kind == "link":
        gone.symlink_to("nowhere")
    elif kind == "directory":
        gone.mkdir()
    else:
        os.mkfifo(gone)
    assert [] == [line for line in said(plan(top)) if "orphan" in line]


#: A directory's tree, what will be removed from it and whether something keeps its `__pycache__`, which of its
#: directories become empty, and what becomes empty then: the `__pycache__`, and the directory.
EMPTIED: dict[str, tuple[str, dict[str, Any], tuple[int, bool], set[str], Work, tuple[bool, bool] | None]] = {
    "nothing goes": ("p", {"p/__pycache__/x": b""}, (0, False), set(), Work.RUN, None),
    "all goes": ("p", {"p/__pycache__/x": b""}, (1, False), set(), Work.RUN, (True, True)),
    "some of it": ("p", {"p/__pycache__/x": b"", "p/__pycache__/y": b""}, (1, False), set(), Work.RUN, None),
    "another one comes": ("p", {"p/__pycache__/x": b""}, (1, True), set(), Work.RUN, None),
    "a directory in it": ("p", {"p/__pycache__/x": b"", "p/__pycache__/d": None}, (1, False), set(), Work.RUN, None),
    "beside data": ("p", {"p/__pycache__/x": b"", "p/t": b""}, (1, False), set(), Work.RUN, (True, False)),
    "beside a directory": ("p", {"p/__pycache__/x": b"", "p/d": None}, (1, False), set(), Work.RUN, (True, False)),
    "beside one that goes": ("p", {"p/__pycache__/x": b"", "p/d": None}, (1, False), {"d"}, Work.RUN, (True, True)),
    "one of two goes": ("p", {"p/d": None, "p/e": None}, (0, False), {"d"}, Work.RUN, None),
    "both go": ("p", {"p/d": None, "p/e": None}, (0, False), {"d", "e"}, Work.RUN, (False, True)),
    "and data stays": ("p", {"p/d": None, "p/t": b""}, (0, False), {"d"}, Work.RUN, None),
    "and pycs stay": ("p", {"p/d": None, "p/__pycache__/x": b""}, (0, False), {"d"}, Work.RUN, None),
    "and no pycs are left": ("p", {"p/d": None, "p/__pycache__": None}, (0, False), {"d"}, Work.RUN, (True, True)),
    "an empty one": ("p", {"p/__pycache__": None}, (0, False), set(), Work.RUN, (True, True)),
    "an empty one, and more comes": ("p", {"p/__pycache__": None}, (0, True), set(), Work.RUN, None),
    "an empty one beside data": ("p", {"p/__pycache__": None, "p/t": b""}, (0, False), set(), Work.RUN, None),
    "the same, purged": ("p", {"p/__pycache__": None, "p/t": b""}, (0, False), set(), Work.PURGE, (True, False)),
    "an empty one, purged": ("p", {"p/__pycache__": None}, (0, False), set(), Work.PURGE, (True, True)),
    "without any": ("p", {"p": None}, (0, False), set(), Work.PURGE, None),
    "the site directory's": ("", {"__pycache__/x": b""}, (1, False), set(), Work.RUN, (True, False)),
    "the site directory's, empty": ("", {"__pycache__": None}, (0, False), set(), Work.RUN, None),
    "the same, purged, empty": ("", {"__pycache__": None}, (0, False), set(), Work.PURGE, (True, False)),
    "of the site directory a package": ("", {"d": None}, (0, False), {"d"}, Work.RUN, None),
}
#: The same of a directory below a pycache prefix, which itself is the `__pycache__`.
EMPTIED_BELOW_A_PREFIX: dict[str, tuple[str, dict[str, Any], tuple[int, bool], set[str], Work, bool]] = {
    "nothing goes": ("p", {"p/x": b""}, (0, False), set(), Work.RUN, False),
    "all goes": ("p", {"p/x": b""}, (1, False), set(), Work.RUN, True),
    "some of it": ("p", {"p/x": b"", "p/y": b""}, (1, False), set(), Work.RUN, False),
    "another one comes": ("p", {"p/x": b""}, (1, True), set(), Work.RUN, False),
    "beside a directory": ("p", {"p/x": b"", "p/d": None}, (1, False), set(), Work.RUN, False),
    "beside one that goes": ("p", {"p/x": b"", "p/d": None}, (1, False), {"d"}, Work.RUN, True),
    "a directory that goes": ("p", {"p/d": None}, (0, False), {"d"}, Work.RUN, True),
    "one of two": ("p", {"p/d": None, "p/e": None}, (0, False), {"d"}, Work.RUN, False),
    "an empty one": ("p", {"p": None}, (0, False), set(), Work.RUN, False),
    "an empty one, purged": ("p", {"p": None}, (0, False), set(), Work.PURGE, True),
    "another one comes, purged": ("p", {"p": None}, (0, True), set(), Work.PURGE, False),
    "none": ("p", {}, (0, False), set(), Work.PURGE, False),
    "none, and one goes": ("p", {}, (0, False), {"d"}, Work.RUN, False),
    "the site directory's": ("", {"x": b""}, (1, False), set(), Work.RUN, False),
}


def emptied(layout: Layout, case: tuple[Any, ...], top: Path) -> Step | None:
    """What becomes empty in a directory: the pycs' is `top`."""
    relative, _, (removals, keeps), gone, work, _ = case
    with layout.sources.entered(relative) as directory:
        listing = list_sources(directory, frozenset())
    pycs = None
    if top.is_dir():
        with Tree.open(str(top)) as tree, tree.entered("") as directory:
            pycs = list_pycs(directory)
    finder = RemovalFinder(PlannedSite(layout, wanted(work=work), knowledge_of()))
    return finder.emptied(relative, Seen(listing, pycs, removals, keeps), gone)


@pytest.mark.parametrize("case", EMPTIED)
def test_this_becomes_empty(top: Path, case: str) -> None:
    """The directory of pycs, and the one that it is in."""
    relative, tree, *_, expected = EMPTIED[case]
    make(top / "site", tree)
    with Layout(Tree.open(f"{top}/site")) as layout:
        step = emptied(layout, EMPTIED[case], top / "site" / relative / "__pycache__")
        gone = RemovalFinder(PlannedSite(layout, wanted(), knowledge_of())).emptied(
            "p", Seen(None, None, 0, False), {"d"}
        )
    assert gone is None
    assert expected == (None if step is None else (step.emptied_pycache, step.emptied))
    assert step is None or step.relative == relative


@pytest.mark.parametrize("case", EMPTIED_BELOW_A_PREFIX)
def test_this_becomes_empty_below_a_prefix(top: Path, case: str) -> None:
    """Never the sources' own."""
    relative, tree, *_, expected = EMPTIED_BELOW_A_PREFIX[case]
    make(top, {"site/p": None, "cache/x": b""})
    place = make(top / "cache" / str(top)[1:] / "site", tree) / relative
    with Layout(Tree.open(f"{top}/site"), Tree.open(f"{top}/cache")) as layout:
        step = emptied(layout, EMPTIED_BELOW_A_PREFIX[case], place)
    assert (Step.of(relative)._replace(emptied_pycache=True) if expected else None) == step


#: Names in a `__pycache__`, options, and what goes: the name, why, and its source.
SEVERAL: dict[str, tuple[list[str], dict[str, Any], list[Removal]]] = {
    "orphans, and unwanted levels": (
        [GONE, cached("m", 1), OPTIMIZED],
        {"sweeps_unwanted": True},
        [
            Removal(OPTIMIZED, "orphan", "gone.py"),
            Removal(GONE, "orphan", "gone.py"),
            Removal(cached("m", 1), "unwanted", "m.py"),
        ],
    ),
    "a purge": (
        [cached("m", 1), GONE, cached("lib")],
        {"work": Work.PURGE},
        [
            Removal(GONE, "pyc", "gone.py"),
            Removal(cached("lib"), "pyc", "lib.py"),
            Removal(cached("m", 1), "pyc", "m.py"),
            Removal(cached("m"), "pyc", "m.py"),
        ],
    ),
    "after what isn't meant": (
        [GONE, OPTIMIZED],
        {"bound": frozenset({2})},
        [Removal(OPTIMIZED, "orphan", "gone.py")],
    ),
    "several wanted levels": (
        [cached("m", 1), cached("m", 2), cached("m.a")],
        {"levels": (0, 1), "sweeps_unwanted": True},
        [Removal(cached("m.a"), "orphan", "m.a.py"), Removal(cached("m", 2), "unwanted", "m.py")],
    ),
}


@pytest.mark.parametrize("case", SEVERAL)
def test_several_go(top: Path, case: str) -> None:
    """In the order of their names, with the source that each was of."""
    names, options, expected = SEVERAL[case]
    make(top / PYCACHE, dict.fromkeys(names, pyc()))
    assert expected == [removal for step in plan(top, **options) for removal in step.removals]


#: Names in a `__pycache__`, with how many seconds from now each was made; a package's; and what waits.
WAITING: dict[str, tuple[dict[str, int], list[str], tuple[bool, int | None, list[str]]]] = {
    "nothing": ({}, [], (False, None, [])),
    "an orphan": ({GONE: 0}, [], (False, None, [])),
    "a package's": ({GONE: 0, OPTIMIZED: 0}, [GONE], (True, None, [GONE])),
    "young residue": ({RESIDUE: 100}, [], (True, 3700, [])),
    "some of it is younger": ({RESIDUE: 300, f"{RESIDUE}1": 100, f"{RESIDUE}2": 200}, [], (True, 3700, [])),
    "a package's, and young residue": ({GONE: 0, RESIDUE: 100, OPTIMIZED: 0}, [OPTIMIZED], (True, 3700, [OPTIMIZED])),
    "young residue, and an orphan": ({f"a.{TAG}.pyc.1": 100, GONE: 0}, [], (True, 3700, [])),
}


@pytest.mark.parametrize("case", WAITING)
def test_what_stays_may_go_later(top: Path, case: str) -> None:
    """When the first of it is old enough; what packages own at any time. The next directory is judged anew."""
    ages, owned, (waits, until, spared) = WAITING[case]
    now = int(time.time()) + 10
    for name, age in ages.items():
        make(top / PYCACHE, {name: b""})
        os.utime(top / PYCACHE / name, (now + age, now + age) if age else None)
    names = {**dict.fromkeys(ages, True), "vanished": True, f"vanished.{TAG}.pyc.1": False}
    with Layout(Tree.open(str(top))) as layout:
        knowledge = knowledge_of(owned=[f"{top}/{PYCACHE}/{name}" for name in owned])
        finder = RemovalFinder(PlannedSite(layout, wanted(), knowledge))
        assert (False, None, [], []) == (finder.waits, finder.waits_until, finder.spared, finder.unwanted)
        finder.removals("p", {"m.py"}, names)
        due = finder.waits_until and finder.waits_until - now
        assert (waits, until, spared, []) == (finder.waits, due, finder.spared, finder.unwanted)
        vanished = {f"vanished.{TAG}.pyc.1": True}
        assert ([], True, None) == (finder.removals("p", {"m.py"}, vanished), finder.waits, finder.waits_until)
        for names in ({}, {cached("m"): True}):
            assert [] == finder.removals("p", {"m.py"}, names)
            assert (False, None, []) == (finder.waits, finder.waits_until, finder.spared)
        assert [] == finder.removals("p", {"m.py"}, {cached("m", 1): True})
        assert [(cached("m", 1), "m.py")] == finder.unwanted
