"""The steps of all site directories of a target: which are planned, which are for others, and what is kept of them."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from acting import ANN, let_act, with_rights_of
from own_mount import Mount
from pyctrigger.errors import ManagerError
from pyctrigger.interpreter.scope import SiteDirectory
from pyctrigger.outcome.observer import Observer
from pyctrigger.outcome.outcome import Failure, Link
from pyctrigger.packages.ownership import Ownership
from pyctrigger.run.plan.glance import Overview
from pyctrigger.run.plan.knowledge import Knowledge
from pyctrigger.run.plan.results import Results
from pyctrigger.run.plan.steps import ForeignPlace, Totals
from pyctrigger.run.plan.survey import Survey, are_read_only, find_denials, touched_places
from pyctrigger.run.scope.paths import Unit
from pyctrigger.run.scope.request import Request, Running, Scope, Work
from pyctrigger.run.scope.sites import OpenSites
from pyctrigger.run.scope.target import Assignment, Target
from pyctrigger.state.records.manifest import Manifest
from pyctrigger.state.records.parts import Parts
from pyctrigger.tree.directory import Tree
from pyctrigger.tree.identity import IdentityRefusedError
from pyctrigger.tree.layout import Layout
from pyctrigger.tree.opened import Opened
from unit.interpreter.made_up import interpreter
from unit.packages.stand_in import FilesInMemory
from unit.run.plan.trees import (
    EVERYTHING,
    TEXT,
    cached,
    in_memory,
    knowledge_of,
    make,
    pyc,
    said,
    wanted,
)
from unit.run.plan.trees import (
    Link as LinkTo,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pyctrigger.run.plan.steps import Step
    from pyctrigger.run.plan.survey import Places
    from pyctrigger.run.scope.paths import Units

FRESH = {"p/m.py": TEXT, f"p/__pycache__/{cached('m')}": pyc()}
#: Two site directories: each with what is fresh and what isn't.
TREES = {
    **{f"a/{name}": content for name, content in FRESH.items()},
    "a/q/m.py": TEXT,
    "b/m.py": TEXT,
    "b/n.py": TEXT,
    f"b/__pycache__/{cached('n')}": pyc(),
}
WRITES_Q, WRITES_M = "q: write m.py: 0 missing", ".: write m.py: 0 missing"


class Watcher(Observer):
    """Keeps how many sources were examined."""

    def __init__(self, *, is_watched: bool) -> None:
        self.is_watched = is_watched
        self.seen: list[int] = []

    def looked(self, sources: int) -> None:
        self.seen.append(sources)


class Sites:
    """Site directories of an interpreter, and what a hook's glance knows of them."""

    def __init__(self, top: Path, *names: str, hook: bool = True, libraries: Sequence[str] = ()) -> None:
        self.paths = {name: f"{top}/{name}" for name in names}
        found = tuple(SiteDirectory(path, name in libraries) for name, path in self.paths.items())
        self.target = Target(interpreter("3.11", "/opt/python"), found, None)
        self.request = Request(Work.RUN, Scope(), running=Running(hook=hook))
        self.parts = Parts(None)

    def opened(self) -> OpenSites:
        """What a survey works in."""
        return OpenSites(self.target, self.request)

    def overview(self) -> Overview:
        """What is known of their parts."""
        return Overview(Assignment.of(self.target, self.request), wanted(), self.parts)

    def units(self, **units: Sequence[Unit]) -> Units:
        """By path: what is given by name, everything where nothing is."""
        return {path: list(units.get(name, EVERYTHING)) for name, path in self.paths.items()}

    def survey(self, sites: OpenSites, units: Units | None = None, **options: Any) -> Survey:
        """The survey of these units, by default of everything."""
        knowledge = options.pop("knowledge", None) or knowledge_of()
        return Survey(sites, self.units() if units is None else units, wanted(), knowledge, **options)


@pytest.fixture
def top() -> Iterator[Path]:
    """Both trees in memory."""
    with in_memory(TREES) as top:
        yield top


def lines(top: Path, steps: Sequence[tuple[Layout, Step]]) -> dict[str, list[str]]:
    """What steps say, by site directory."""
    found: dict[str, list[str]] = {}
    for layout, step in steps:
        found.setdefault(os.path.relpath(layout.sources.path, top), []).extend(said([step]))
    return found


def test_every_site_directory_is_planned(top: Path) -> None:
    """By its units; totals are those of each, and of all together."""
    here = Sites(top, "a", "b")
    with here.opened() as sites:
        survey = here.survey(sites)
        assert Totals() == survey.total
        assert {"a": [WRITES_Q], "b": [WRITES_M]} == lines(top, list(survey.steps()))
        a, b = survey.totals.values()
        assert ((2, 1), (2, 1), (4, 2)) == (a[:2], b[:2], survey.total[:2])
        assert survey.total == a.plus(b)
        survey = here.survey(sites, {here.paths["a"]: [Unit("p", deep=True)]})
        assert {} == lines(top, list(survey.steps()))
        assert {here.paths["a"]: 1, here.paths["b"]: 0} == {path: each.sources for path, each in survey.totals.items()}


@pytest.mark.parametrize("is_watched", [True, False])
def test_progress_adds_up(top: Path, is_watched: bool) -> None:
    """Over all site directories, for who watches it."""
    here, watcher = Sites(top, "a", "b"), Watcher(is_watched=is_watched)
    with here.opened() as sites:
        list(here.survey(sites, observer=watcher).steps())
    assert ([0, 1, 2, 4] if is_watched else []) == watcher.seen


def test_what_is_a_site_directory_or_a_librarys_is_left_out(top: Path) -> None:
    """Inside another one it is planned once, as itself."""
    make(top, {"a/site-packages/m.py": TEXT})
    here = Sites(top, "a", "a/q", libraries=["a"])
    with here.opened() as sites:
        assert {"a/q": [WRITES_M]} == lines(top, list(here.survey(sites).steps()))


def closed(top: Path, monkeypatch: pytest.MonkeyPatch) -> Sites:
    """One directory that is there, one that isn't, and one that refuses us."""
    from pyctrigger.run.scope import sites as module

    real = module.open_layout

    def open_layout(site: SiteDirectory, request: Request) -> Layout:
        if site.path.endswith("/no"):
            raise IdentityRefusedError(errno.EPERM, "not us")
        return real(site, request)

    monkeypatch.setattr(module, "open_layout", open_layout)
    return Sites(top, "b", "gone", "no")


def test_site_directories_that_cant_be_opened(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Are reported, unless they are none of the places."""
    here = closed(top, monkeypatch)
    gone, no = Failure(f"{top}/gone", "io", os.strerror(errno.ENOENT)), Failure(f"{top}/no", "refused", "not us")
    results = Results(Observer())
    with here.opened() as sites:
        survey = here.survey(sites)
        assert ([gone], [no], {}) == (survey.unexamined, survey.refused, survey.foreign)
        assert {"b": [WRITES_M]} == lines(top, list(survey.changes(results)))
        assert ([gone], [no], 1) == (results.tally.unexamined, results.tally.failures, results.tally.counts.fresh)
        some = here.survey(sites, places={f"{top}/gone": None})
        assert ([gone], []) == (some.unexamined, some.refused)


def test_only_places_of_others(top: Path) -> None:
    """All of a site directory, or some of it; the others aren't opened a second time."""
    make(top, {"a/m.py": TEXT, "a/q/r/m.py": TEXT, "c/m.py": TEXT})
    here = Sites(top, "a", "b", "c")
    write = "write m.py: 0 missing"
    #: Places, and what is planned.
    cases: list[tuple[Places, dict[str, list[str]]]] = [
        ({}, {}),
        ({here.paths["a"]: None}, {"a": [f".: {write}", f"q: {write}", f"q/r: {write}"]}),
        (
            {here.paths["a"]: [ForeignPlace("q/r", deep=True), ForeignPlace("", deep=False)], here.paths["b"]: None},
            {"a": [f"q/r: {write}", f".: {write}"], "b": [f".: {write}"]},
        ),
        ({here.paths["a"]: [ForeignPlace("q", deep=False)]}, {"a": [f"q: {write}"]}),
        ({here.paths["a"]: []}, {}),
    ]
    with here.opened() as sites:
        for places, expected in cases:
            survey = here.survey(sites, places=places)
            assert expected == lines(top, list(survey.steps()))
            assert sorted(places) == sorted(survey.totals)


#: Places in a site directory, and the parts that are known after them.
NOTED: dict[str, tuple[list[ForeignPlace] | None, list[str]]] = {
    "everything": (None, ["", "p"]),
    "a package": ([ForeignPlace("p", deep=True)], ["p"]),
    "the modules": ([ForeignPlace("", deep=False)], [""]),
    "all": ([ForeignPlace("", deep=True)], ["", "p"]),
    "inside a package": ([ForeignPlace("p/r", deep=True)], []),
    "one directory": ([ForeignPlace("p", deep=False)], []),
    "a package, and inside another": ([ForeignPlace("p", deep=True), ForeignPlace("q/r", deep=True)], []),
}


@pytest.mark.parametrize("case", NOTED)
def test_what_is_known_after_places_of_others(top: Path, case: str) -> None:
    """What lies inside a part says nothing about the whole of it."""
    places, expected = NOTED[case]
    make(top, {"c/p/r/m.txt": b""})
    time.sleep(0.03)
    here = Sites(top, "c")
    with here.opened() as sites:
        overview = here.overview()
        survey = here.survey(sites, overview=overview, places={here.paths["c"]: places})
        list(survey.changes(Results(Observer())))
    assert expected == sorted(here.parts.of(here.paths["c"], overview._terms[here.paths["c"]]))


def test_without_an_overview_no_part_is_known(top: Path) -> None:
    """Nor is anything looked at again."""
    here = Sites(top, "a")
    with here.opened() as sites:
        survey = here.survey(sites)
        assert [] == [step.part for _, step in survey.steps() if step.part]
        survey.look_again()


class Unreadable(FilesInMemory):
    """Lists of packages that can't be read."""

    def read_below(self, directory: str, ending: str) -> Iterator[tuple[str, bytes]]:
        """Says so."""
        raise ManagerError("they are broken")


@pytest.mark.parametrize("kind", [FilesInMemory, Unreadable])
def test_nothing_is_left_for_good_to_packages_that_cant_be_asked(top: Path, kind: type[FilesInMemory]) -> None:
    """From then on no part is known."""
    make(top, {f"a/p/__pycache__/{cached('gone')}": pyc()})
    time.sleep(0.03)
    texts = {"/var/lib/dpkg/status": b"", "/var/lib/dpkg/info/x.list": b"/a.pyc\n"}
    knowledge = Knowledge(Manifest(None), wanted(), Ownership(kind(texts), lambda _: None))
    here = Sites(top, "a")
    with here.opened() as sites:
        overview = here.overview()
        survey = here.survey(sites, overview=overview, knowledge=knowledge)
        list(survey.changes(Results(Observer())))
        survey.look_again()
    known = sorted(here.parts.of(here.paths["a"], overview._terms[here.paths["a"]]))
    assert ([""] if kind is Unreadable else ["", "p", "q"]) == known


def test_what_is_left_is_looked_at_again(top: Path) -> None:
    """In each site directory, and only the parts that needed something; the modules alone are one."""
    time.sleep(0.03)
    here = Sites(top, "a", "b")
    with here.opened() as sites:
        overview = here.overview()
        survey = here.survey(sites, overview=overview)
        list(survey.changes(Results(Observer())))
        assert {here.paths["a"]: ["q"], here.paths["b"]: [""]} == overview.unfinished
        make(top, {"b/r/m.py": TEXT})
        survey.look_again()
    known = [sorted(here.parts.of(path, overview._terms[path])) for path in here.paths.values()]
    assert [["", "p", "q"], []] == known
    assert {here.paths["a"]: ["q"], here.paths["b"]: ["", ""]} == overview.unfinished


def test_what_steps_prove_and_report_is_kept(top: Path) -> None:
    """Also of those that change nothing: what is proven of a pyc, and which links aren't followed."""
    make(top, {"c/m.py": LinkTo("/etc/passwd"), "c/p": LinkTo("../other"), "c/q/m.py": TEXT, "other/m.py": TEXT})
    manifest = Manifest(str(top / "state"))
    make(top, {"state": None})
    here, results = Sites(top, "c", "a"), Results(Observer())
    knowledge = knowledge_of(manifest)
    with here.opened() as sites:
        steps = here.survey(sites, knowledge=knowledge).changes(results)
        assert {"c": [WRITES_Q], "a": ["p: write m.py: 0 unknown", WRITES_Q]} == lines(top, list(steps))
    tally = results.tally
    (failure,) = tally.failures
    assert (f"{top}/c/m.py", "refused", 1, 0) == (*failure[:2], tally.counts.failed, tally.counts.fresh)
    assert [Link(f"{top}/c/p", f"{top}/other")] == tally.links
    assert manifest.uncompilable.get(f"{top}/c/m.py") is not None


@pytest.mark.usefixtures("as_root")
def test_steps_that_may_not_be_done(top: Path) -> None:
    """Are counted by their sources, and their place is reported once."""
    make(top, {"b/p/m.py": TEXT, "b/p/n.py": TEXT})
    top.chmod(0o755)
    os.chown(top / "b/p", ANN, ANN)
    os.chown(top / "b", 1, 1)
    here, results = Sites(top, "b"), Results(Observer())
    with with_rights_of(ANN), here.opened() as sites:
        steps = list(here.survey(sites).changes(results))
    assert {"b": ["p: write m.py: 0 missing", "p: write n.py: 0 missing"]} == lines(top, steps)
    results.tell_places()
    reason = "you have no right to write here, account 1 has; sources that were left: 1"
    assert [Failure(f"{top}/b", "refused", reason, needs_root=True)] == results.tally.failures


# -- places of others -------------------------------------------------------------------------------------------------


def give(place: Path) -> None:
    """Give a directory and all in it to Ann."""
    for path in [place, *place.rglob("*")]:
        os.chown(path, ANN, ANN, follow_symlinks=False)


@pytest.mark.usefixtures("as_root")
def test_site_directories_of_others(top: Path) -> None:
    """Are for another process, if anything is asked of them."""
    give(top / "a")
    here = Sites(top, "a", "b")
    with here.opened() as sites:
        survey = here.survey(sites)
        assert ({here.paths["a"]: None}, [], []) == (survey.foreign, survey.unexamined, survey.refused)
        assert {"b": [WRITES_M]} == lines(top, list(survey.steps()))
        assert {here.paths["a"]: None} == survey.foreign
        for units in ({here.paths["b"]: EVERYTHING}, here.units(a=[])):
            assert {} == here.survey(sites, units).foreign


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize(("glances", "hook"), [(True, True), (True, False), (False, True)])
def test_packages_of_others(top: Path, glances: bool, hook: bool) -> None:
    """Are for another process; what may be dead, only where no glance has found it unchanged."""
    give(top / "a/p")
    make(top, {f"a/r/__pycache__/{cached('m')}": pyc()})
    give(top / "a/r")
    here = Sites(top, "a", "b", hook=hook)
    with here.opened() as sites:
        overview = here.overview() if glances else None
        survey = here.survey(sites, overview=overview)
        list(survey.steps())
        packages = [ForeignPlace("p", deep=True), ForeignPlace("r", deep=True)]
        assert {here.paths["a"]: packages} == survey.foreign
        survey = here.survey(sites, here.units(a=[Unit("p", deep=True)]), overview=overview)
        list(survey.steps())
        dead = ForeignPlace("r", deep=True, if_dead=True)
        assert {here.paths["a"]: [packages[0]] if glances and hook else [packages[0], dead]} == survey.foreign
        survey = here.survey(sites, here.units(a=[Unit("q", deep=True)]), overview=overview)
        list(survey.steps())
        assert (here.paths["a"] in survey.foreign) is not (glances and hook)


@pytest.mark.usefixtures("as_root")
def test_who_acts_as_others_plans_their_places(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And has none to leave."""
    give(top / "a/q")
    let_act(monkeypatch)
    here = Sites(top, "a")
    with here.opened() as sites:
        survey = here.survey(sites, places={here.paths["a"]: [ForeignPlace("q", deep=True)]})
        assert ({"a": [WRITES_Q]}, {}) == (lines(top, list(survey.steps())), survey.foreign)


# -- whether any place can be written ---------------------------------------------------------------------------------


def test_touched_places_are_those_that_are_there(top: Path) -> None:
    """By units."""
    here = Sites(top, "a", "gone", "b")
    p, q = Unit("p", deep=True), Unit("q", deep=True)
    with here.opened() as sites:
        (a, in_a), (_, also_in_a) = touched_places(sites, {here.paths["a"]: [p, q], here.paths["gone"]: EVERYTHING})
        assert (here.paths["a"], p, q) == (a.sources.path, in_a, also_in_a)


@contextlib.contextmanager
def opened(*places: Path) -> Iterator[list[Layout]]:
    """These trees."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Layout(Tree.open(str(place)))) for place in places]


@pytest.mark.usefixtures("as_root")
def test_whether_all_places_are_read_only(top: Path) -> None:
    """Where there is any."""
    mount = Mount(top)
    mount.turn(read_only=True)
    tree = Tree(Opened(os.dup(mount.directory), None), str(top))
    with Layout(tree) as there, opened(top) as (here,):
        closed, plain = (there, Unit("a", deep=True)), (here, Unit("a", deep=True))
        cases = [[], [closed], [closed, closed], [plain], [closed, plain], [plain, closed]]
        assert [False, True, True, False, False, False] == [are_read_only(each) for each in cases]
    mount.close()
    os.close(mount.directory)


#: Whose the top and its packages are, units, and the places that are denied.
DENIED: dict[str, tuple[dict[str, int], list[Unit], list[str]]] = {
    "one": ({}, [Unit("p", deep=True)], [""]),
    "two in one place": ({}, [Unit("p", deep=True), Unit("q", deep=True)], [""]),
    "two places": ({".": ANN, "p": 0, "q": 0}, [Unit("p", deep=True), Unit("q", deep=True)], ["/p", "/q"]),
    "another one's": ({"p": ANN}, [Unit("q", deep=True)], [""]),
    "some": ({"q": ANN}, [Unit("p", deep=True), Unit("q", deep=True)], []),
    "all": ({"q": ANN}, [Unit("", deep=True)], []),
    "all, and none is": ({}, [Unit("", deep=True)], [""]),
    "the modules": ({"q": ANN}, [Unit("", deep=False)], [""]),
    "a package": ({"p/r": ANN}, [Unit("p", deep=True)], [""]),
    "nothing": ({}, [], []),
}


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("case", DENIED)
def test_why_nothing_may_be_written(case: str) -> None:
    """Where all is denied, also below a whole site directory."""
    owners, units, expected = DENIED[case]
    with in_memory({"p/m.py": TEXT, "p/r/m.py": TEXT, "q/m.py": TEXT}) as top:
        top.chmod(0o755)
        for name, owner in owners.items():
            os.chown(top / name, owner, owner)
        with with_rights_of(ANN), opened(top) as (layout,):
            found = find_denials([(layout, unit) for unit in units])
    reason = "you have no right to write here, account 0 has"
    assert [Failure(f"{top}{place}", "refused", reason, needs_root=True) for place in expected] == found


@pytest.mark.usefixtures("as_root")
def test_what_cant_be_listed_may_not_be_written(top: Path) -> None:
    """Nor what is in it."""
    top.chmod(0o700)
    with opened(top) as (layout,), with_rights_of(ANN):  # opened as root, who has the right to
        (found,) = find_denials([(layout, Unit("", deep=True))])
    assert str(top) == found.path
