"""The parts of a site directory that a run records for the next hook."""

from __future__ import annotations

import collections
import errno
import itertools
import os
import shutil
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

import pytest

from acting import ANN, let_act
from own_mount import Mount
from pyctrigger import aside
from pyctrigger.aside import Aside
from pyctrigger.errors import name_few
from pyctrigger.interpreter.scope import SiteDirectory
from pyctrigger.outcome.observer import Observer
from pyctrigger.run.plan import glance
from pyctrigger.run.plan.glance import Notes, Overview
from pyctrigger.run.plan.results import Results
from pyctrigger.run.plan.steps import SeenPart
from pyctrigger.run.plan.survey import Survey
from pyctrigger.run.scope.paths import Unit
from pyctrigger.run.scope.request import Request, Running, Scope, Work
from pyctrigger.run.scope.sites import OpenSites
from pyctrigger.run.scope.target import Assignment, Target
from pyctrigger.state.records.parts import Part, Parts
from pyctrigger.tree.directory import Tree
from pyctrigger.tree.identity import ForeignPlaceError
from pyctrigger.tree.layout import Layout
from pyctrigger.tree.opened import Opened
from unit.interpreter.made_up import interpreter
from unit.run.plan.trees import EVERYTHING, TEXT, Link, cached, in_memory, knowledge_of, make, plan, pyc, wanted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

FRESH = {"p/m.py": TEXT, f"p/__pycache__/{cached('m')}": pyc()}
GONE = f"p/__pycache__/{cached('gone')}"
MODULES = Unit("", deep=False)

#: A tree, options, and for each part whether it is done, and the directories that the next glance compares.
CASES: dict[str, tuple[Mapping[str, Any], dict[str, Any], dict[str, tuple[bool, list[str]]]]] = {
    "fresh": (FRESH, {}, {"": (True, ["."]), "p": (True, ["p", "p/__pycache__"])}),
    "two packages": (
        {**FRESH, "q/r/data": b""},
        {},
        {"": (True, ["."]), "p": (True, ["p", "p/__pycache__"]), "q": (True, ["q", "q/r"])},
    ),
    "a module is missing": ({**FRESH, "m.py": TEXT}, {}, {"": (False, []), "p": (True, ["p", "p/__pycache__"])}),
    "a package is stale": ({**FRESH, "p/n.py": TEXT}, {}, {"": (True, ["."]), "p": (False, [])}),
    "an orphan": ({**FRESH, GONE: pyc()}, {}, {"": (True, ["."]), "p": (False, [])}),
    "an orphan of a package": (
        {**FRESH, GONE: pyc()},
        {"owned": GONE},
        {"": (True, ["."]), "p": (True, ["p", "p/__pycache__"])},
    ),
    "an excluded source": (
        {"p/m.py": TEXT},
        {"exclude": ("*/m.py",)},
        {"": (True, ["."]), "p": (True, ["p"])},
    ),
    "a refused source": ({"p/m.py": Link("/etc/passwd")}, {}, {"": (True, ["."]), "p": (False, [])}),
    "directories that are too deep": (
        {f"{'p/' * 201}m.py": TEXT},
        {},
        {"": (True, ["."]), "p": (False, [])},
    ),
    "one unit": (FRESH, {"units": [Unit("p", deep=True)]}, {"p": (True, ["p", "p/__pycache__"])}),
    "the modules": (FRESH, {"units": [MODULES]}, {"": (True, ["."])}),
    "a package that is gone": (FRESH, {"units": [Unit("q", deep=True)]}, {}),
    "a file that was a package": ({"q": b""}, {"units": [Unit("q", deep=True)]}, {}),
}


@pytest.fixture
def top() -> Iterator[Path]:
    """A tree's directory, in memory."""
    with in_memory() as top:
        yield top


@pytest.mark.parametrize("case", CASES)
def test_parts_are_recorded(top: Path, case: str) -> None:
    """With every directory, from the top down."""
    entries, options, expected = CASES[case]
    make(top, entries)
    time.sleep(0.03)  # or everything is too young
    options = dict(options)
    owned = [f"{top}/{options.pop('owned')}"] if "owned" in options else []
    seen = [step.part for step in plan(top, owned=owned, is_noted=True, **options) if step.part]
    found = {name: (is_done, os.fsdecode(part.names).split("\0") if part.names else []) for name, part, is_done in seen}
    assert (expected, owned) == (found, [path for _, part, _ in seen for path in part.owned])


class Looker:
    """Looks at site directories, keeps what a look has seen, and glances at them as a hook does."""

    def __init__(self, *sites: Path, prefix: Path | None = None, is_library: bool = False, hook: bool = True) -> None:
        found = tuple(SiteDirectory(str(site), is_library) for site in sites)
        self.target = Target(interpreter("3.11", "/opt/python"), found, None)
        scope = Scope(pycache_prefix=str(prefix) if prefix else None)
        self.request = Request(Work.RUN, scope, running=Running(hook=hook))
        self.parts = Parts(None)
        #: For each package that the last glance found changed: the owner of its site directory.
        self.told: list[int] = []

    def overview(self, **options: Any) -> Overview:
        """What is known now, and wanted with these options."""
        return Overview(Assignment.of(self.target, self.request), wanted(**options), self.parts)

    def look(self, *, owned: Sequence[str] = (), units: Sequence[Unit] = EVERYTHING, **options: Any) -> Overview:
        """Look at these units as a run does, which changes nothing, and then once more."""
        time.sleep(0.03)  # or everything is too young
        overview, found = self.overview(**options), {site.path: list(units) for site in self.target.sites}
        with OpenSites(self.target, self.request) as sites:
            survey = Survey(sites, found, wanted(**options), knowledge_of(owned=owned), overview=overview)
            collections.deque(survey.changes(Results(Observer())), maxlen=0)
            survey.look_again()
        return overview

    def glance(self, **options: Any) -> dict[str, list[str]] | None:
        """By site directory: which parts are to be examined; None for everything."""
        self.told = []
        with OpenSites(self.target, self.request) as sites:
            found = self.overview(**options).changed(sites, self.told.append)
        for unit in [] if found is None else itertools.chain(*found.values()):
            assert unit.deep == (unit.relative != "")
        return None if found is None else {site: [unit.relative for unit in units] for site, units in found.items()}

    def names(self, **options: Any) -> dict[str, list[str]]:
        """By site directory: the parts that are known."""
        paths = [site.path for site in self.target.sites]
        return {path: sorted(self.parts.of(path, self.terms(path, **options))) for path in paths}

    def terms(self, site: str | None = None, **options: Any) -> str:
        """The terms of a site directory, by default the first."""
        return self.overview(**options)._terms[site or self.target.sites[0].path]


#: A package with a link to a source elsewhere, and one that leads nowhere; one in another; one without sources.
TREE: Mapping[str, Any] = {
    **FRESH,
    f"p/__pycache__/{cached('l')}": pyc(),
    "p/l.py": Link("../data/l.txt"),
    "p/n.py": Link("../data/n.txt"),
    "q/r/m.py": TEXT,
    f"q/r/__pycache__/{cached('m')}": pyc(),
    "data/l.txt": TEXT,
    "m.py": TEXT,
    f"__pycache__/{cached('m')}": pyc(),
    "l.py": Link("data/l.txt"),
    f"__pycache__/{cached('l')}": pyc(),
}
Deed = Callable[["Path"], Any]
#: What happens to the site directory, and the parts that a glance finds changed.
CHANGES: dict[str, tuple[Deed, list[str]]] = {
    "nothing": (lambda site: None, []),
    "a source rewritten in place": (lambda site: (site / "p/m.py").write_bytes(b"x = 3\n"), []),
    "a module": (lambda site: make(site, {"new.py": TEXT}), [""]),
    "a module's pyc that went": (lambda site: (site / "__pycache__" / cached("m")).unlink(), [""]),
    "a source of a package": (lambda site: make(site, {"p/new.py": TEXT}), ["", "p"]),
    "a pyc that went": (lambda site: (site / "p/__pycache__" / cached("m")).unlink(), ["", "p"]),
    "a directory of pycs that went": (lambda site: shutil.rmtree(site / "p/__pycache__"), ["", "p"]),
    "a source further down": (lambda site: make(site, {"q/r/new.py": TEXT}), ["", "q"]),
    "a pyc further down": (lambda site: make(site, {f"q/r/__pycache__/{cached('n')}": pyc()}), ["", "q"]),
    "two packages": (lambda site: make(site, {"q/r/new.py": TEXT, "p/new.py": TEXT}), ["", "p", "q"]),
    "a directory of pycs that came": (lambda site: make(site, {"data/__pycache__": None}), ["", "data"]),
    "a new package": (lambda site: make(site, {"new/m.py": TEXT}), ["", "new"]),
    "a package that went": (lambda site: shutil.rmtree(site / "p"), [""]),
    "a package that is a link now": (lambda site: _link(site / "p"), [""]),
    "what links lead to": (lambda site: (site / "data/l.txt").write_bytes(b"x = 30\n"), ["", "p"]),
    "what links led to, gone": (lambda site: (site / "data/l.txt").unlink(), ["", "data", "p"]),
    "what a link now leads to": (lambda site: make(site, {"data/n.txt": TEXT}), ["", "data", "p"]),
    "what a link now can't lead to": (lambda site: make(site, {"data/n.txt": Link("/dev/null")}), ["", "data"]),
}


def _link(path: Path) -> None:
    path.rename(path.parents[1] / "gone")
    path.symlink_to("../gone")


@pytest.mark.parametrize("case", CHANGES)
def test_changes_are_seen_at_a_glance(top: Path, case: str) -> None:
    """In any directory, or of what a link leads to; a part that is gone is forgotten."""
    deed, expected = CHANGES[case]
    looker = Looker(make(top / "site", TREE))
    assert looker.glance() is None
    looker.look()
    assert {} == looker.glance()
    deed(top / "site")
    assert ({f"{top}/site": expected} if expected else {}) == looker.glance()
    assert [os.geteuid()] * len([name for name in expected if name]) == looker.told
    is_gone = case.startswith("a package that")
    assert {f"{top}/site": ["", "data", *([] if is_gone else ["p"]), "q"]} == looker.names()


#: What another process does that is to look: answers, dies, or can't be started.
ASIDE: dict[str, Callable[[Callable[[], Any]], Aside]] = {
    "answers": Aside,
    "dies": lambda ask: Aside(lambda: os.kill(os.getpid(), signal.SIGKILL)),
    "is refused": lambda ask: _refuse(),
}


def _refuse() -> Aside:
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))


@pytest.mark.parametrize("is_new", [True, False])
@pytest.mark.parametrize("processors", [1, 2])
@pytest.mark.parametrize("does", ASIDE)
def test_another_process_may_look(
    top: Path, monkeypatch: pytest.MonkeyPatch, does: str, processors: int, *, is_new: bool
) -> None:
    """Where there is something to start meanwhile, and a processor for it; what is found is the same."""
    started: list[str] = []

    def start(ask: Callable[[], Any]) -> Aside:
        started.append(does)
        return ASIDE[does](ask)

    looker = Looker(make(top / "site", TREE), make(top / "second", FRESH), make(top / "third", FRESH))
    looker.look()
    entries = {"site/q/r/new.py": TEXT, "second/p/new.py": TEXT, **({"site/new/m.py": TEXT} if is_new else {})}
    make(top, entries)
    monkeypatch.setattr(aside, "Aside", start)
    monkeypatch.setattr(glance, "_MANY", 10)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(processors)))
    expected = {f"{top}/site": ["", *(["new"] if is_new else []), "q"], f"{top}/second": ["", "p"]}
    assert expected == looker.glance()
    assert ([does] if is_new and processors == 2 else []) == started
    assert looker.told
    monkeypatch.setattr(glance, "_MANY", 100)
    assert (expected, [does] if started else []) == (looker.glance(), started)


#: What is changed below a pycache prefix, or beside the sources, and the parts that a glance finds changed.
ELSEWHERE: dict[str, tuple[Deed, Mapping[str, Any], list[str]]] = {
    "nothing": (lambda top: None, {}, []),
    "a source": (lambda top: make(top, {"site/p/n.py": TEXT}), {}, ["", "p"]),
    "a pyc": (lambda top: make(top, {f"cache{top}/site/p/{cached('n')}": pyc()}), {}, ["", "p"]),
    "a module's pyc": (lambda top: make(top, {f"cache{top}/site/{cached('n')}": pyc()}), {}, [""]),
    "a package of pycs": (lambda top: make(top, {f"cache{top}/site/gone/{cached('n')}": pyc()}), {}, ["", "gone"]),
    "a directory of pycs that isn't used": (lambda top: make(top, {"site/p/__pycache__/x": b""}), {}, ["", "p"]),
    "all pycs": (lambda top: shutil.rmtree(top / "cache" / str(top)[1:]), {}, ["", "p"]),
}


@pytest.mark.parametrize("case", ELSEWHERE)
def test_changes_below_a_prefix_are_seen(top: Path, case: str) -> None:
    """Also where only the pycs are left."""
    deed, more, expected = ELSEWHERE[case]
    pycs = {f"cache{top}/site/p/{cached('m')}": pyc(), f"cache{top}/site/{cached('m')}": pyc()}
    make(top, {"site/p/m.py": TEXT, "site/m.py": TEXT, "site/q/data": b"", **pycs, **more})
    looker = Looker(top / "site", prefix=top / "cache")
    looker.look()
    assert {} == looker.glance()
    deed(top)
    assert ({f"{top}/site": expected} if expected else {}) == looker.glance()


def test_everything_or_too_much_is_all(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in no site directory counts for nothing, nor does one that is gone."""
    sites = [make(top / name, {"p/m.txt": b"", "q/m.txt": b""}) for name in ("a", "b")]
    looker = Looker(*sites, top / "gone")
    looker.look()
    assert {} == looker.glance()
    make(top, {"a/p/n.txt": b"", "a/q/n.txt": b"", "b/p/n.txt": b"", "b/q/n.txt": b""})
    every = {str(site): ["", "p", "q"] for site in sites}
    assert every == looker.glance()
    monkeypatch.setattr(glance, "_MOST_PARTS", 4)
    assert every == looker.glance()
    monkeypatch.setattr(glance, "_MOST_PARTS", 3)
    assert looker.glance() is None
    monkeypatch.undo()
    make(top, {"a/new": b"", "b/new": b""})
    assert looker.glance() is None


@pytest.mark.parametrize(
    "options",
    [
        {"levels": (1,)},
        {"keep_owned": False},
        {"trust_all_directories": True},
        {"limits": {"memory": 3.0}},
        {"create_missing": False},
    ],
)
def test_other_options_examine_everything(top: Path, options: dict[str, Any]) -> None:
    """And a person's don't change what the next hook goes by; a hook's do."""
    make(top, FRESH)
    looker, person = Looker(top), Looker(top, hook=False)
    person.parts = looker.parts
    looker.look()
    assert looker.glance(**options) is None
    person.look(**options)
    assert ({}, None) == (looker.glance(), looker.glance(**options))
    looker.look(**{"levels": (0,), **options})
    assert looker.glance() is None


def test_the_terms_of_a_site_directory(top: Path) -> None:
    """The order of limits doesn't count; the prefix, and site directories below it, do."""
    make(top, {"a/b/c": None, "a/d": None, "ab": None, "cache": None})
    first = Looker(top / "a").terms(limits={"timeout": 1.0, "memory": 2.0})
    assert first == Looker(top / "a", top / "ab", top).terms(limits={"memory": 2.0, "timeout": 1.0})
    assert first != Looker(top / "a", prefix=top / "cache").terms(limits={"memory": 2.0, "timeout": 1.0})
    nested = Looker(top / "a", top / "a/d", top / "a/b/c").terms()
    assert nested == Looker(top / "a", top / "a/b/c", top / "a/d").terms()
    assert nested != Looker(top / "a", top / "a/b/c").terms() != Looker(top / "a").terms()
    trees = [Looker(top.parent / "a", top.parent / each) for each in ("a/b", "ab", "b")]
    assert [False, True, True] == [tree.terms() == trees[2].terms() for tree in trees]
    root = Looker(Path("/"), top / "a")
    assert root.terms() == Looker(Path("/"), top / "a").terms() != Looker(Path("/")).terms()


def test_site_directories_of_their_own_are_no_parts(top: Path) -> None:
    """Neither are a library's directories of packages; each is a part wherever that isn't so."""
    make(top, {"a/b/m.txt": b"", "a/c/m.txt": b"", "a/site-packages/m.txt": b"", "a/__pycache__/x": b""})
    nested, library, plain = Looker(top / "a", top / "a/b"), Looker(top / "a", is_library=True), Looker(top / "a")
    for looker in (nested, library, plain):
        looker.look()
        assert {} == looker.glance()
    packages = "site-packages"
    assert {f"{top}/a": ["", "c", packages], f"{top}/a/b": [""]} == nested.names()
    assert [["", "b", "c"], ["", "b", "c", packages]] == [each.names()[f"{top}/a"] for each in (library, plain)]
    make(top, {"a/b/n.txt": b"", "a/site-packages/n.txt": b""})
    assert [
        {f"{top}/a": ["", packages], f"{top}/a/b": [""]},
        {f"{top}/a": ["", "b"]},
        {f"{top}/a": ["", "b", packages]},
    ] == [
        nested.glance(),
        library.glance(),
        plain.glance(),
    ]


@pytest.mark.parametrize(("ages", "later", "is_due"), [([0], 3000, False), ([0], 3700, True), ([900, 0], 3700, True)])
def test_residue_is_due(
    top: Path, monkeypatch: pytest.MonkeyPatch, ages: list[int], later: float, is_due: bool
) -> None:
    """An hour after it was made: the oldest counts."""
    make(top, {**FRESH, "q/m.txt": b""})
    for number, age in enumerate(ages):
        name, made = f"{'p/' * (number + 1)}__pycache__/{cached('m')}.1", time.time() + age
        make(top, {name: b""})
        os.utime(top / name, (made, made))
    looker, now = Looker(top), time.time()
    looker.look()
    monkeypatch.setattr(time, "time", lambda: now + later)
    assert ({str(top): ["", "p"]} if is_due else {}) == looker.glance()


@pytest.mark.parametrize(
    "damage",
    [
        lambda part: part._replace(seen=b"zz"),
        lambda part: part._replace(seen=part.seen[:-2]),
        lambda part: part._replace(names=part.names + b"\0q"),
        lambda part: part._replace(names=b"q"),
        lambda part: part._replace(names=b"a\0b"),
        lambda part: part._replace(names=b"/other/p\0/other/q"),
        lambda part: part._replace(names=b"/link/p\0/link/q"),
        lambda part: part._replace(names=b"/closed/p\0/closed/p"),
    ],
)
def test_a_note_that_makes_no_sense_examines(top: Path, damage: Callable[[Part], Part]) -> None:
    """As if there were none."""
    make(top, FRESH)
    looker = Looker(top)
    looker.look()
    part = looker.parts.of(str(top), looker.terms())["p"]
    looker.parts.note(str(top), looker.terms(), "p", damage(part))
    assert {str(top): ["", "p"]} == looker.glance()


def test_what_stays_is_reported_once(top: Path) -> None:
    """Pycs of packages: by name, and until there are others."""
    names = [*(cached(name) for name in ("a", "b", "c", "d")), cached("m")]
    make(top, {"p/m.py": TEXT, **{f"p/__pycache__/{name}": pyc(size=1) for name in names}})
    make(top, {"q/m.py": TEXT, f"q/__pycache__/{names[4]}": pyc(size=1)})
    paths = [f"{top}/p/__pycache__/{name}" for name in names]
    looker = Looker(top)
    text = (
        "stale or without a source, stay as their packages made them: {}; a package's next version brings new ones, "
        'and owned_stale = "replace" in the configuration has stale ones rewritten'
    )
    other = f"{top}/q/__pycache__/{names[4]}"
    first = looker.look(owned=[other], units=[Unit("q", deep=True)]).left_to_packages()
    assert f"1 pyc, {text.format(other)}" == first
    second = looker.look(owned=[other, *paths]).left_to_packages()
    assert second == f"5 pycs, {text.format(name_few(paths, 3))}"
    third = looker.look(owned=[other, *paths])
    assert (None, {}, {}) == (third.left_to_packages(), third.unfinished, looker.glance())


def test_parts_that_need_something_are_looked_at_again(top: Path) -> None:
    """What a run couldn't do is done, unless something was changed since it began."""
    make(top, {**FRESH, "q/m.py": TEXT, "r/m.py": TEXT, GONE: pyc()})
    looker = Looker(top)
    assert {str(top): ["p", "q", "r"]} == looker.look().unfinished
    assert {} == looker.glance()
    late = looker.overview()
    with OpenSites(looker.target, looker.request) as sites:
        survey = Survey(sites, {str(top): list(EVERYTHING)}, wanted(), knowledge_of(), overview=late)
        for _, step in survey.changes(Results(Observer())):
            if step.relative == "q":
                make(top, {"q/n.py": TEXT})
        survey.look_again()
    assert {str(top): ["p", "q", "r", "q"]} == late.unfinished
    assert {str(top): ["", "q"]} == looker.glance()


@pytest.mark.usefixtures("as_root")
def test_a_directory_that_cant_be_written_is_done_while_that_is_so(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that can be written again has it examined."""
    make(top, {**FRESH, "q/r/m.py": TEXT, "m.py": TEXT})
    mount = Mount(top)

    def layout(*_: object) -> Layout:
        return Layout(Tree(Opened(os.dup(mount.directory), None), str(top)))

    monkeypatch.setattr("pyctrigger.run.scope.sites.open_layout", layout)
    looker = Looker(top)
    mount.turn(read_only=True)
    looker.look()
    assert {} == looker.glance()
    mount.turn(read_only=False)
    assert {str(top): ["", "q"]} == looker.glance()
    mount.close()
    os.close(mount.directory)


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("place", ["p", ""])
def test_only_an_account_can_glance_at_its_own(top: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """What another account may rename is for a process that acts as it."""
    make(top / "site", {**FRESH, "q/r/m.txt": b""})
    for path in [top / "site" / place, *(top / "site" / place).rglob("*")]:
        os.chown(path, ANN, ANN)
    looker = Looker(top / "site")
    with monkeypatch.context() as acting:
        let_act(acting)
        looker.look()
        assert {} == looker.glance()
    with pytest.raises(ForeignPlaceError) as caught:
        looker.glance()
    assert caught.value.uid == ANN


def test_parts_as_paths() -> None:
    """As a hook would have named them; the modules by a name that is no package's."""
    units = {"/a/": [MODULES, Unit("p", deep=True)], "/b": [Unit("q", deep=True)]}
    assert ("/a/__pycache__", "/a/p", "/b/q") == glance.paths_of(units)


@pytest.mark.parametrize(
    ("limit", "value", "expected"),
    [
        ("_MOST_HELD", 94, (True, ["p", "p/__pycache__"])),
        ("_MOST_HELD", 93, (False, [])),
        ("_MOST_HELD", 40, (False, [])),
        ("_LONGEST", 14, (True, ["p", "p/__pycache__"])),
        ("_LONGEST", 13, (True, ["p"])),
    ],
)
def test_only_so_much_is_noted(
    top: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int, expected: tuple[bool, list[str]]
) -> None:
    """A part with more is examined each time; longer paths aren't compared."""
    monkeypatch.setattr(glance, limit, value)
    make(top, FRESH)
    time.sleep(0.03)
    (seen,) = [step.part for step in plan(top, units=[Unit("p", deep=True)], is_noted=True) if step.part]
    assert expected == (seen.is_done, os.fsdecode(seen.part.names).split("\0") if seen.part.names else [])


@pytest.mark.parametrize("place", ["p", "p/q", "p/q/__pycache__"])
@pytest.mark.parametrize("when", [time.time() + 1000, 2**34], ids=["soon", "never"])
def test_times_that_prove_nothing(top: Path, place: str, when: float) -> None:
    """What is younger than the look may change unseen, and a time that is too late can't be stored."""
    make(top, {"p/q/m.py": TEXT, f"p/q/__pycache__/{cached('m')}": pyc(), "p/r/t": b""})
    os.utime(top / place, (when, when))
    time.sleep(0.03)
    (seen,) = [step.part for step in plan(top, units=[Unit("p", deep=True)], is_noted=True) if step.part]
    assert (False, Part()) == (seen.is_done, seen.part)
    looker = Looker(top)
    looker.look()
    assert {str(top): ["", "p"]} == looker.glance()


@pytest.mark.parametrize("young", ["p/m.py", "p/n.py", "p/q/m.py"])
def test_sources_that_changed_during_a_run_are_looked_at_again(top: Path, young: str) -> None:
    """Any of those that it couldn't do."""
    make(top, {"p/m.py": TEXT, "p/n.py": TEXT, "p/q/m.py": TEXT, "p/r/m.py": TEXT})
    looker, later = Looker(top), time.time() + 1000
    os.utime(top / young, (later, later))
    assert {str(top): ["p", "p"]} == looker.look().unfinished


def test_an_unchanged_directory_is_noted_by_its_record(top: Path) -> None:
    """With its `__pycache__`'s identity, if it has one."""
    make(top, {"p": None})
    with Layout(Tree.open(str(top))) as layout:
        notes = Notes(layout, time.time_ns())
        notes.unchanged("", bytes(80))
        notes.begin("p")
        notes.unchanged("p", b"a" * 40 + b"b" * 40)
        notes.unchanged("p/q", b"c" * 40)
        seen = notes.end()
    entries = {"p": b"a" * 40, "p/__pycache__": b"b" * 40, "p/q": b"c" * 40}
    assert seen == SeenPart("p", Part.of(entries, None, ()), is_done=True)
    with Layout(Tree.open(str(top))) as layout:
        notes = Notes(layout, time.time_ns())
        notes.unchanged("", b"a" * 40 + b"b" * 40)
        assert notes.end() == SeenPart("", Part.of({".": b"a" * 40, "__pycache__": b"b" * 40}, None, ()), is_done=True)
