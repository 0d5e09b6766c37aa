"""The plan of whole trees: what is looked at, what is left out, and what becomes empty."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import time
from typing import TYPE_CHECKING, Any

import pytest

from acting import ANN, let_act, with_rights_of
from pyctrigger.run.plan.glance import Notes
from pyctrigger.run.plan.knowledge import PlannedSite
from pyctrigger.run.plan.steps import ForeignPlace, Totals
from pyctrigger.run.plan.walk import Planner
from pyctrigger.run.scope.paths import Unit
from pyctrigger.run.scope.request import Work
from pyctrigger.stamps import stamp_of
from pyctrigger.state.records.directories import key_of
from pyctrigger.state.records.manifest import Manifest
from pyctrigger.tree import mounts
from pyctrigger.tree.directory import Tree
from pyctrigger.tree.layout import Layout
from unit.run.plan.trees import (
    EVERYTHING,
    TEXT,
    Link,
    cached,
    in_memory,
    knowledge_of,
    make,
    plan,
    pyc,
    record,
    said,
    wanted,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from pyctrigger.run.plan.knowledge import Knowledge
    from pyctrigger.run.plan.steps import Step

ORPHAN = cached("gone")
FRESH = {"p/m.py": TEXT, f"p/__pycache__/{cached('m')}": pyc()}
MODULES, PACKAGE_P = Unit("", deep=False), Unit("p", deep=True)
DEEP = "/".join(["d"] * 201)

#: A tree, what is asked for, and what a plan says.
CASES: dict[str, tuple[Mapping[str, Any], dict[str, Any], list[str]]] = {
    "nothing": ({}, {}, []),
    "fresh": (FRESH, {}, []),
    "fresh, in another one": ({f"p/{name}": content for name, content in FRESH.items()}, {}, []),
    "a module of the site directory": ({"m.py": TEXT}, {}, [".: write m.py: 0 missing"]),
    "packages in their order": (
        {"b/m.py": TEXT, "a/z.py": TEXT, "a/b/m.py": TEXT},
        {},
        ["a: write z.py: 0 missing", "a/b: write m.py: 0 missing", "b: write m.py: 0 missing"],
    ),
    "no source": ({"p/data.txt": b"", "p/m.pyi": b"", "p/.py": TEXT, "p/m.PY": TEXT}, {}, []),
    "a name that no import has": ({"p/a-b c.py": TEXT}, {}, ["p: write a-b c.py: 0 missing"]),
    "sources in a __pycache__": ({"p/__pycache__/m.py": TEXT, "p/m.py": TEXT}, {}, ["p: write m.py: 0 missing"]),
    "only the modules": ({"m.py": TEXT, "p/m.py": TEXT}, {"units": [MODULES]}, [".: write m.py: 0 missing"]),
    "only a package": ({"m.py": TEXT, "p/m.py": TEXT}, {"units": [PACKAGE_P]}, ["p: write m.py: 0 missing"]),
    "nothing asked for": ({"m.py": TEXT}, {"units": []}, []),
    "a package that is gone": ({"q/m.py": TEXT}, {"units": [PACKAGE_P]}, []),
    "a file where a package was": ({"p": b""}, {"units": [PACKAGE_P]}, []),
    "a package that is a link": (
        {"q/m.py": TEXT, "p": Link("q")},
        {},
        ["q: write m.py: 0 missing"],
    ),
    "a link in a circle": ({"p/m.py": TEXT, "p/q": Link("."), "r": Link("r")}, {}, ["p: write m.py: 0 missing"]),
    "too deep": (
        {f"{DEEP}/m.py": TEXT},
        {},
        [f"{DEEP[:-2]}: unexamined: more than 200 directories deep"],
    ),
    "a __pycache__ that is a file": (
        {"p/m.py": TEXT, "p/__pycache__": b""},
        {},
        ["p: obstacle: is a link or a file", "p: write m.py: 0 missing"],
    ),
    "a __pycache__ that is a link": (
        {"p/m.py": TEXT, "p/__pycache__": Link("../q"), f"q/{cached('m')}": pyc()},
        {},
        ["p: obstacle: is a link or a file", "p: write m.py: 0 missing"],
    ),
    "excluded": (
        {"p/m.py": TEXT, "p/q/m.py": TEXT},
        {"exclude": ("*/p/q/*",)},
        ["p: write m.py: 0 missing", "p/q: skip m.py: excluded"],
    ),
    "nothing is added": ({"p/m.py": TEXT}, {"create_missing": False}, []),
    "what is there is kept right": (
        {"p/m.py": TEXT, f"p/__pycache__/{cached('m')}": pyc(size=1)},
        {"create_missing": False},
        ["p: write m.py: 0 size"],
    ),
    "a name without room for a pyc's": (
        {f"p/{'n' * 240}.py": TEXT},
        {},
        [f"p: skip {'n' * 240}.py: its name is too long for a pyc's"],
    ),
    "packages of the library": (
        {"m.py": TEXT, "site-packages/p.py": TEXT, "dist-packages/p.py": TEXT, "q/site-packages/r.py": TEXT},
        {"is_library": True},
        [".: write m.py: 0 missing", "q/site-packages: write r.py: 0 missing"],
    ),
    "a source that is a link": (
        {"p/m.py": TEXT, "p/n.py": Link("m.py"), "p/dangling.py": Link("nowhere.py")},
        {},
        ["p: write m.py: 0 missing", "p: write n.py: 0 missing"],
    ),
    "a source that leads to a device": ({"p/m.py": Link("/dev/null")}, {}, []),
    "a directory with a source's name": ({"p/m.py/n.py": TEXT}, {}, ["p/m.py: write n.py: 0 missing"]),
    "an orphan, and a source": (
        {**FRESH, f"p/__pycache__/{ORPHAN}": pyc()},
        {},
        [f"p: orphan {ORPHAN}"],
    ),
    "an orphan, and a stale source": (
        {"p/m.py": TEXT, f"p/__pycache__/{ORPHAN}": pyc()},
        {},
        ["p: write m.py: 0 missing", f"p: orphan {ORPHAN}"],
    ),
    "an orphan alone beside data": (
        {"p/data.txt": b"", f"p/__pycache__/{ORPHAN}": pyc()},
        {},
        [f"p: orphan {ORPHAN}", "p: empty __pycache__"],
    ),
    "orphans alone, one in the other": (
        {f"p/q/__pycache__/{ORPHAN}": pyc(), f"p/__pycache__/{ORPHAN}": pyc()},
        {},
        [
            f"p: orphan {ORPHAN}",
            f"p/q: orphan {ORPHAN}",
            *("p/q: empty __pycache__", "p/q: empty", "p: empty __pycache__", "p: empty"),
        ],
    ),
    "an orphan of the site directory": (
        {f"__pycache__/{ORPHAN}": pyc()},
        {},
        [f".: orphan {ORPHAN}", ".: empty __pycache__"],
    ),
    "a directory that was never ours": ({"p": None}, {}, []),
    "an empty __pycache__": ({"p/__pycache__": None}, {}, ["p: empty __pycache__", "p: empty"]),
    "an empty __pycache__ beside a source": ({"p/m.txt": b"", "p/__pycache__": None}, {}, []),
    "a package of bytecode that nobody named": (
        {f"p/__pycache__/{ORPHAN}": pyc(), f"q/__pycache__/{ORPHAN}": pyc(), "q/m.txt": b""},
        {"units": [MODULES]},
        [f"p: orphan {ORPHAN}", "p: empty __pycache__", "p: empty"],
    ),
    "a sweep": (
        {"p/m.py": TEXT, f"p/__pycache__/{ORPHAN}": pyc()},
        {"work": Work.SWEEP},
        [f"p: orphan {ORPHAN}", "p: empty __pycache__"],
    ),
    "a purge": (
        {**FRESH, "q/__pycache__": None, f"r/__pycache__/{cached('m').replace('311', '312')}": pyc()},
        {"work": Work.PURGE},
        [f"p: pyc {cached('m')}", "p: empty __pycache__", "q: empty __pycache__", "q: empty"],
    ),
    "who may read the sources may not enter": (
        {**FRESH},
        {"closed": "p/__pycache__"},
        ["p: open __pycache__"],
    ),
}


@pytest.fixture
def top() -> Iterator[Path]:
    """A tree's directory, in memory."""
    with in_memory() as top:
        yield top


@pytest.mark.parametrize("case", CASES)
def test_a_tree_has_this_plan(top: Path, case: str) -> None:
    """A line for each thing to be done or reported, in the order of a walk."""
    entries, options, expected = CASES[case]
    make(top, entries)
    top.chmod(0o755)
    options = dict(options)
    if closed := options.pop("closed", None):
        (top / closed).chmod(0o700)
    assert expected == said(plan(top, options.pop("units", EVERYTHING), **options))


@pytest.mark.parametrize("length", [3, 4])
def test_a_package_of_bytecode_that_nobody_named_is_only_so_deep(
    top: Path, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    """As deep as any that is examined; nothing is said of one that isn't."""
    monkeypatch.setattr("pyctrigger.run.plan.walk._DEEPEST", 4)
    places = ["/".join("d" * number) for number in range(length, 0, -1)]
    make(top, {f"{places[0]}/__pycache__/{ORPHAN}": pyc()})
    lines = [f"{places[0]}: orphan {ORPHAN}", f"{places[0]}: empty __pycache__"]
    lines += [f"{place}: empty" for place in places]
    assert (lines if length == 3 else []) == said(plan(top, [MODULES]))


#: A tree of sources, what lies below a pycache prefix for it, and what a plan says.
PREFIXED: dict[str, tuple[Mapping[str, Any], Mapping[str, Any], dict[str, Any], list[str]]] = {
    "fresh": ({"p/m.py": TEXT}, {f"p/{cached('m')}": pyc()}, {}, []),
    "missing": ({"p/m.py": TEXT}, {}, {}, ["p: write m.py: 0 missing"]),
    "pycs beside the sources are not looked at": (
        {**FRESH, f"p/__pycache__/{ORPHAN}": pyc()},
        {},
        {},
        ["p: write m.py: 0 missing"],
    ),
    "an orphan of a package that is gone": (
        {"m.py": TEXT},
        {cached("m"): pyc(), f"p/q/{ORPHAN}": pyc()},
        {"units": [MODULES]},
        [f"p/q: orphan {ORPHAN}", "p/q: empty __pycache__", "p: empty __pycache__"],
    ),
    "orphans of two packages, one of which is gone": (
        {"m.py": TEXT, f"d/__pycache__/{ORPHAN}": pyc()},
        {cached("m"): pyc(), f"d/{ORPHAN}": pyc(), f"q/{ORPHAN}": pyc()},
        {"units": [MODULES]},
        [f"d: orphan {ORPHAN}", "d: empty __pycache__", f"q: orphan {ORPHAN}", "q: empty __pycache__"],
    ),
    "no directory of pycs, only the modules": ({"p/m.py": TEXT}, {}, {"units": [MODULES]}, []),
    "directories below the library's": (
        {"q/m.py": TEXT},
        {f"q/{cached('m')}": pyc(), f"q/site-packages/{ORPHAN}": pyc()},
        {"is_library": True},
        [f"q/site-packages: orphan {ORPHAN}", "q/site-packages: empty __pycache__"],
    ),
    "packages of the library": ({}, {f"site-packages/{ORPHAN}": pyc()}, {"is_library": True}, []),
    "packages of the library that weren't named": (
        {},
        {f"site-packages/{ORPHAN}": pyc()},
        {"is_library": True, "units": [MODULES]},
        [],
    ),
    "an orphan beside what is no pyc": (
        {"p/m.py": TEXT},
        {f"p/{cached('m')}": pyc(), f"p/{ORPHAN}": pyc(), "p/notes.txt": b""},
        {},
        [f"p: orphan {ORPHAN}"],
    ),
    "a purge keeps the sources' tree": ({"p/m.py": TEXT}, {f"p/{cached('m')}": pyc()}, {"work": Work.PURGE}, []),
}
PREFIXED["a purge keeps the sources' tree"][3].extend([f"p: pyc {cached('m')}", "p: empty __pycache__"])


@pytest.mark.parametrize("case", PREFIXED)
def test_a_pycache_prefix_has_this_plan(top: Path, case: str) -> None:
    """Only that tree's own directories become empty."""
    entries, cache, options, expected = PREFIXED[case]
    site, prefix = top / "site", top / "cache"
    make(site, entries)
    make(prefix / str(site).strip("/"), cache)
    site.mkdir(exist_ok=True)
    prefix.mkdir(exist_ok=True)
    options = dict(options)
    assert expected == said(plan(site, options.pop("units", EVERYTHING), prefix=prefix, **options))


def look(
    top: Path,
    units: Sequence[Unit] = EVERYTHING,
    *,
    prefix: Path | None = None,
    knowledge: Knowledge | None = None,
    others: Sequence[Path] = (),
    notes: bool = False,
    places: Sequence[ForeignPlace] | None = None,
    **options: Any,
) -> tuple[list[Step], Planner, list[int]]:
    """The steps of a plan, the planner, and how many sources it told of each time."""
    looked: list[int] = []
    known = knowledge or knowledge_of()
    with Layout(Tree.open(str(top)), Tree.open(str(prefix)) if prefix else None) as layout:
        identities = frozenset((path.stat().st_dev, path.stat().st_ino) for path in others)
        noted = Notes(layout, time.time_ns()) if notes else None
        planner = Planner(PlannedSite(layout, wanted(**options), known, identities, notes=noted))
        planner.looked = looked.append
        found = planner.plan(list(units)) if places is None else planner.plan_places(list(places))
        steps = list(found)
        for step in steps:
            known.learn(layout, step)
    return steps, planner, looked


@pytest.fixture
def recorded() -> Iterator[Knowledge]:
    """A manifest in memory that is compared with."""
    with in_memory() as place, contextlib.closing(Manifest(str(place))) as manifest:
        yield knowledge_of(manifest)


def test_unchanged_directories_are_counted_and_passed_over(top: Path, recorded: Knowledge) -> None:
    """Also those above one that goes, which are examined then."""
    names = ["a/l.py", "a/m.py", "b/m.py", "p/m.py", "p/q/m.py", "p/q/n.py", "r/s/t/m.py", "z/m.py"]
    made = [f"{os.path.dirname(name)}/__pycache__/{cached(os.path.basename(name)[:-3])}" for name in names]
    make(top, {**dict.fromkeys(names, TEXT), **dict.fromkeys(made, pyc())})
    record(top, recorded.manifest)
    time.sleep(0.03)
    _, planner, looked = look(top, knowledge=recorded)
    assert (Totals(8, 8), [0, 2, 3, 4, 6, 6, 6, 7, 8]) == (planner.totals, looked)
    steps, planner, looked = look(top, knowledge=recorded)
    assert ([], Totals(8, 8), []) == (steps, planner.totals, looked)
    steps, planner, _ = look(top, knowledge=recorded, notes=True)
    names = ["p", "p/__pycache__", "p/q", "p/q/__pycache__"]
    found = next(step.part.part.names for step in steps if step.part and step.part.name == "p")
    assert names == os.fsdecode(found).split("\0")

    make(top, {"p/new.py": TEXT, "z/new.py": TEXT})
    (top / "r/s/t/m.py").unlink()
    steps, planner, looked = look(top, knowledge=recorded)
    gone = ["r/s/t: empty __pycache__", "r/s/t: empty", "r/s: empty", "r: empty"]
    expected = ["p: write new.py: 0 missing", f"r/s/t: orphan {cached('m')}", *gone, "z: write new.py: 0 missing"]
    assert expected == said(steps)
    assert (Totals(9, 7), [5, 7, 7, 7, 9]) == (planner.totals, looked)


@pytest.mark.parametrize("options", [{"compare_code": True}, {"work": Work.REPAIR}, {"prefix": "cache"}])
def test_nothing_is_passed_over_where_all_is_compared(top: Path, recorded: Knowledge, options: dict[str, Any]) -> None:
    """Nor where the pycs are elsewhere."""
    prefix = top / options["prefix"] if "prefix" in options else None
    place = f"cache{top}/site/p" if prefix else "site/p/__pycache__"
    make(top, {"site/p/m.py": TEXT, f"{place}/{cached('m')}": pyc()})
    record(top / "site", recorded.manifest)
    time.sleep(0.03)
    for _ in range(2):
        looked = look(top / "site", knowledge=recorded, **{**options, "prefix": prefix})[2]
        assert [0, 1] == looked


#: What is counted, and the bytes of the sources, and of the pycs.
SIZES: dict[str, tuple[Mapping[str, Any], dict[str, Any], Totals]] = {
    "nothing": ({}, {}, Totals()),
    "fresh": (FRESH, {}, Totals(1, 1, 6, 20)),
    "several": (
        {
            **FRESH,
            "p/n.py": b"",
            f"p/__pycache__/{cached('m', 1)}": b"123",
            "m.py": TEXT,
            f"__pycache__/{ORPHAN}": b"1",
        },
        {},
        Totals(3, 1, 12, 24),
    ),
    "one level": ({**FRESH, f"p/__pycache__/{cached('m', 1)}": b"123"}, {"bound": frozenset({1})}, Totals(1, 1, 6, 3)),
    "what isn't ours": (
        {
            **FRESH,
            "p/__pycache__/m.cpython-312.pyc": pyc(),
            "p/__pycache__/x": b"1",
            f"p/__pycache__/{ORPHAN}": Link("x"),
        },
        {},
        Totals(1, 1, 6, 20),
    ),
    "that isn't asked for": (FRESH, {"work": Work.RUN}, Totals(1, 1)),
}


@pytest.mark.parametrize("case", SIZES)
def test_what_is_there_is_measured(top: Path, case: str) -> None:
    """Of one Python, and of regular files."""
    entries, options, expected = SIZES[case]
    make(top, entries)
    assert expected == look(top, **{"work": Work.STATUS, **options})[1].totals


def test_a_name_of_the_same_pyc_counts_once(top: Path) -> None:
    """Levels of equal code are one file."""
    make(top, FRESH)
    os.link(top / "p/__pycache__" / cached("m"), top / "p/__pycache__" / cached("m", 1))
    assert Totals(1, 1, 6, 20) == look(top, work=Work.STATUS)[1].totals


@pytest.mark.parametrize(
    ("levels", "work", "expected"),
    [(1, Work.RUN, []), (1, Work.VERIFY, [2, 2, 1]), (None, Work.RUN, [2, 2, 1]), (None, Work.VERIFY, [2, 2, 1])],
)
def test_a_large_directory_has_several_steps(
    top: Path, monkeypatch: pytest.MonkeyPatch, levels: int | None, work: Work, expected: list[int]
) -> None:
    """One after the other: orphans, and pycs of levels that aren't asked for."""
    monkeypatch.setattr("pyctrigger.run.plan.walk.AT_ONCE", 2)
    names = list("abcde")
    make(top, {"m.py": TEXT, f"__pycache__/{cached('m')}": pyc()})
    if levels:
        make(top, {f"{name}.py": TEXT for name in names})
        make(top, {f"__pycache__/{cached(name)}": pyc() for name in names})
    make(top, {f"__pycache__/{cached(name, levels or 0)}": pyc() for name in names})
    steps = look(top, work=work)[0]
    found = [[each.name for each in step.removals] or [each.pyc for each in step.unwanted] for step in steps]
    assert expected == [len(each) for each in found]
    assert [cached(name, levels or 0) for name in (names if expected else "")] == list(itertools.chain(*found))


def test_another_site_directory_is_left_to_its_own_plan(top: Path) -> None:
    """Only below: a site directory is never another one for itself."""
    make(top, {"m.py": TEXT, "p/m.py": TEXT, "p/q/m.py": TEXT, "r/m.py": TEXT})
    lines = [f"{place}: write m.py: 0 missing" for place in (".", "p", "p/q", "r")]
    for others, expected in {(): lines, ("",): lines, ("p",): [lines[0], lines[3]], ("p/q", "r"): lines[:2]}.items():
        steps, planner, _ = look(top, others=[top / name for name in others])
        assert (expected, []) == (said(steps), planner.foreign)


#: Whose a place is, the modes of places, what is asked for, and what a plan says and leaves to another process.
FOREIGN: dict[str, tuple[list[str], dict[str, Any], list[str], list[ForeignPlace]]] = {
    "a package": (["p"], {}, [".: write m.py: 0 missing", "q: write m.py: 0 missing"], [ForeignPlace("p", deep=True)]),
    "a directory in one": (
        ["p/q"],
        {"units": [PACKAGE_P]},
        ["p: write m.py: 0 missing"],
        [ForeignPlace("p/q", deep=True)],
    ),
    "its pycs": (
        ["p/__pycache__"],
        {"units": [PACKAGE_P]},
        [f"p/q: orphan {ORPHAN}", "p/q: empty __pycache__", "p/q: empty"],
        [ForeignPlace("p", deep=False)],
    ),
    "a package that wasn't named": (
        ["dead/r"],
        {"units": [MODULES]},
        [".: write m.py: 0 missing"],
        [ForeignPlace("dead", deep=True, if_dead=True)],
    ),
    "one that was": (
        ["dead/r"],
        {"units": [MODULES, Unit("dead", deep=True)]},
        [".: write m.py: 0 missing", f"dead: orphan {ORPHAN}", "dead: empty __pycache__"],
        [ForeignPlace("dead/r", deep=True)],
    ),
    "another one, beside it": (
        ["dead", "p"],
        {"units": [PACKAGE_P]},
        [],
        [ForeignPlace("p", deep=True), ForeignPlace("dead", deep=True, if_dead=True)],
    ),
}


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("case", FOREIGN)
def test_places_of_other_accounts_are_left_out(top: Path, case: str) -> None:
    """And named for a process that may go there; whatever is above them isn't done."""
    theirs, options, expected, foreign = FOREIGN[case]
    dead = {f"dead/__pycache__/{ORPHAN}": pyc(), f"dead/r/__pycache__/{ORPHAN}": pyc()}
    make(top, {"m.py": TEXT, "p/m.py": TEXT, "p/__pycache__/x": b"", "q/m.py": TEXT, **dead})
    if case == "its pycs":
        make(top, {f"p/q/__pycache__/{ORPHAN}": pyc()})
        (top / "p/m.py").unlink()
    else:
        make(top, {"p/q/m.txt": b""})
    if case in ("a package", "a directory in one", "its pycs"):
        shutil.rmtree(top / "dead")
    for name in theirs:
        for path in [top / name, *(top / name).rglob("*")]:
            os.chown(path, ANN, ANN)
    steps, planner, _ = look(top, options.get("units", EVERYTHING), notes=True)
    assert (expected, foreign) == (said(steps), planner.foreign)
    parts = {step.part.name: step.part.is_done for step in steps if step.part}
    assert not any(parts.get(place.relative.partition("/")[0]) for place in foreign)


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ([], []),
        ([ForeignPlace("p", deep=True)], ["p: write m.py: 0 missing", "p/q: write m.py: 0 missing"]),
        ([ForeignPlace("p", deep=False)], ["p: write m.py: 0 missing"]),
        ([ForeignPlace("p", deep=True, if_dead=True)], []),
        ([ForeignPlace("dead", deep=True, if_dead=True)], ["orphan", "empty __pycache__", "empty"]),
        ([ForeignPlace("p/q", deep=True), ForeignPlace("", deep=False)], ["p/q: write m.py: 0 missing"]),
    ],
)
def test_places_are_planned_alone(top: Path, places: list[ForeignPlace], expected: list[str]) -> None:
    """Some only if there is nothing but bytecode."""
    make(top, {"p/m.py": TEXT, "p/q/m.py": TEXT, f"dead/__pycache__/{ORPHAN}": pyc()})
    lines = said(look(top, places=places)[0])
    assert expected == [line.replace("dead: ", "").replace(f" {ORPHAN}", "") for line in lines]


REFUSED = "account 12345, which owns this place, can't do it (Permission denied): chown -R 12345 what others have there"


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("closed", ["p", "p/__pycache__"])
@pytest.mark.parametrize("acts", [True, False])
def test_a_place_that_may_not_be_entered(top: Path, monkeypatch: pytest.MonkeyPatch, closed: str, acts: bool) -> None:
    """Of its owner's it is a refusal, with what can be done."""
    make(top, {"p/m.py": TEXT, "p/__pycache__/x": b"", "q/m.py": TEXT})
    for path in [top, *top.rglob("*")]:
        os.chown(path, ANN, ANN)
    (top / closed).chmod(0)
    with contextlib.nullcontext() if acts else with_rights_of(ANN):
        if acts:
            let_act(monkeypatch)
        steps = look(top)[0]
    found = [(step.relative, step.forbidden, step.unexamined) for step in steps]
    assert [("p", *((REFUSED, None) if acts else (None, "Permission denied"))), ("q", None, None)] == found


#: What is the account's, where it may not enter, and the directory of sources that this concerns.
CLOSED = [
    ("site", "site/p", "p"),
    ("site/p", "site/p", "p"),
    ("cache", "cache{}/site/p", "p"),
    ("cache{}/site", "cache{}/site/p", "p"),
    ("cache{}/site/p", "cache{}/site/p/r", "p/r"),
]


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize(("theirs", "closed", "relative"), CLOSED)
def test_a_place_below_a_prefix_that_may_not_be_entered(
    top: Path, monkeypatch: pytest.MonkeyPatch, theirs: str, closed: str, relative: str
) -> None:
    """Is a refusal, whichever of both trees is the account's."""
    make(top, {"site/p/m.py": TEXT, f"cache{top}/site/p/r/x": b""})
    place = top / theirs.format(top)
    for path in [place, *place.rglob("*")]:
        os.chown(path, ANN, ANN)
    (top / closed.format(top)).chmod(0)
    let_act(monkeypatch)
    steps = look(top / "site", prefix=top / "cache")[0]
    assert [(relative, REFUSED)] == [(step.relative, step.forbidden) for step in steps if step.forbidden]


@pytest.mark.usefixtures("as_root")
def test_a_package_that_cant_be_listed_isnt_known_to_be_dead(top: Path) -> None:
    """So it is left alone where nobody named it."""
    make(top, {f"{name}/__pycache__/{ORPHAN}": pyc() for name in ("closed", "dead")})
    for path in [top, *top.rglob("*")]:
        os.chown(path, ANN, ANN)
    (top / "closed").chmod(0)
    with with_rights_of(ANN):
        steps = look(top, [MODULES])[0]
    assert [f"dead: orphan {ORPHAN}", "dead: empty __pycache__", "dead: empty"] == said(steps)


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("mount", ["p", "p/__pycache__"])
def test_an_accounts_mount_keeps_root_out(top: Path, monkeypatch: pytest.MonkeyPatch, mount: str) -> None:
    """That is said, with what helps."""
    make(top, {"p/m.py": TEXT, "p/__pycache__/x": b""})
    for path in [top, *top.rglob("*")]:
        os.chown(path, ANN, ANN)
    (top / "p").chmod(0)
    let_act(monkeypatch)
    monkeypatch.setattr(mounts, "lies_on_fuse", lambda path: path == f"{top}/{mount}")
    (step,) = look(top)[0]
    assert f"{mounts.KEPT_OUT}; {mounts.HINT_FOR_FUSE}" == step.forbidden


def test_parts_are_noted_on_the_way(top: Path) -> None:
    """Each directory, each directory of pycs, and one that isn't there any more, from the top down."""
    residue = f"p/__pycache__/{cached('m')}.123"
    make(top, {**FRESH, residue: b"", "p/q/data": b"", "p/q/r/data": b"", f"q/__pycache__/{ORPHAN}": pyc()})
    time.sleep(0.03)
    owned = f"{top}/q/__pycache__/{ORPHAN}"
    steps, _, _ = look(top, notes=True, knowledge=knowledge_of(owned=[owned]))
    parts = {step.part.name: step.part for step in steps if step.part}
    assert ["", "p", "q"] == [step.relative for step in steps]
    assert [[""], ["p"], ["q"]] == [[name] for name in parts]
    names = {name: os.fsdecode(seen.part.names).split("\0") for name, seen in parts.items()}
    assert {"": ["."], "p": ["p", "p/__pycache__", "p/q", "p/q/r"], "q": ["q", "q/__pycache__"]} == names
    until = (top / residue).stat().st_ctime + 3600
    assert [None, until, None] == [seen.part.until for seen in parts.values()]
    assert [(), (), (owned,)] == [seen.part.owned for seen in parts.values()]
    for seen in parts.values():
        assert [tuple(stamp_of(os.lstat(top / os.fsdecode(name)))) for name, _ in seen.part.entries()] == [
            identity for _, identity in seen.part.entries()
        ]


#: What stands in a package beside a fresh source, options, and whether the next walk looks at it again.
NEEDS: dict[str, tuple[Mapping[str, Any], dict[str, Any], bool]] = {
    "nothing": ({}, {}, False),
    "an orphan": ({f"p/__pycache__/{ORPHAN}": pyc()}, {}, True),
    "an orphan, verified": ({f"p/__pycache__/{ORPHAN}": pyc()}, {"work": Work.VERIFY}, True),
    "an unwanted level": ({f"p/__pycache__/{cached('m', 1)}": pyc()}, {}, True),
    "an unwanted level, verified": ({f"p/__pycache__/{cached('m', 1)}": pyc()}, {"work": Work.VERIFY}, True),
    "young residue": ({f"p/__pycache__/{cached('m')}.1": b""}, {}, True),
    "a missing pyc": ({"p/n.py": TEXT}, {}, True),
    "an excluded source": ({}, {"exclude": ("*/m.py",)}, True),
}


@pytest.mark.parametrize("case", NEEDS)
def test_what_needs_something_is_looked_at_again(top: Path, recorded: Knowledge, case: str) -> None:
    """Now, or later."""
    more, options, expected = NEEDS[case]
    make(top, {**FRESH, **more})
    record(top, recorded.manifest)
    time.sleep(0.03)
    first, second = (look(top, [PACKAGE_P], knowledge=recorded, **options) for _ in range(2))
    assert (True, expected) == (bool(first[2]), bool(second[2]))
    notes = [step.note for step in first[0] if step.note]
    assert ([] if expected else [key_of(str(top / "p"))]) == [note.directory for note in notes]


def test_a_link_to_sources_elsewhere_is_reported(top: Path) -> None:
    """With its goal."""
    make(top, {"site/p/away": Link("../../out"), "out/m.py": TEXT})
    assert [f"p: link away: {top}/out"] == said(look(top / "site")[0])


def test_directories_below_a_prefix_are_noted(top: Path) -> None:
    """Also those that aren't there."""
    base = str(top)[1:]
    make(top, {"site/p/m.py": TEXT, "site/q/t": b"", f"cache/{base}/site/p/{cached('m')}": pyc()})
    time.sleep(0.03)
    steps = look(top / "site", notes=True, prefix=top / "cache")[0]
    names = {step.part.name: os.fsdecode(step.part.part.names).split("\0") for step in steps if step.part}
    pycs = f"/pycs/{base}/site"
    assert {"": [".", pycs], "p": ["p", f"{pycs}/p"], "q": ["q", f"{pycs}/q"]} == names
