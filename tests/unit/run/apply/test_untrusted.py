"""Which directories may be changed, by whose they are and who may write them, and what is said of the others."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING, Any

import pytest

from acting import ANN, let_act, name_ann, with_rights_of
from pyctrigger.outcome.outcome import Failure, Tally
from pyctrigger.pyc.header import Verdict
from pyctrigger.run.apply import untrusted as module
from pyctrigger.run.apply.untrusted import Gatekeeper
from pyctrigger.run.plan.steps import LevelState, Removal, Stale, Step
from pyctrigger.run.scope.request import Work
from pyctrigger.tree.directory import Tree
from pyctrigger.tree.layout import Layout
from unit.run.plan.trees import TEXT, in_memory, make, wanted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BOB, CAT = 12346, 12347
CACHE = "p/__pycache__"
PERMITTED = 'or untrusted_directories = "allow" in the configuration permits it'
OPEN = f"everybody may write here, without a sticky bit; chmod o-w it, {PERMITTED}"


@pytest.fixture
def top() -> Iterator[Path]:
    """Two packages in memory, one without a source."""
    with in_memory({"p/m.py": TEXT, f"{CACHE}/x": b"", "q/__pycache__/x": b""}) as top:
        for path in [top, *filter(os.path.isdir, top.rglob("*"))]:
            path.chmod(0o755)
        yield top


@pytest.fixture
def layout(top: Path) -> Iterator[Layout]:
    """They, opened."""
    with Layout(Tree.open(str(top))) as layout:
        yield layout


def gate(**options: Any) -> tuple[Gatekeeper, Tally]:
    """One for these options, and where it says what it refuses."""
    tally = Tally()
    return Gatekeeper(tally, wanted(**options)), tally


def strangers(owner: int, account: int) -> str:
    """What is said of a directory of one account with sources of another."""
    whose = f"it belongs to account {owner}, and its sources to account {account}"
    return f"{whose}; chown it to the owner of its sources or to root, {PERMITTED}"


#: Modes, options, what is refused where a package's pycs are to be changed, and where its entries are.
MODES: dict[str, tuple[dict[str, int], dict[str, Any], list[str], list[str]]] = {
    "ours": ({}, {}, [], []),
    "everybody's": ({"p": 0o777}, {}, ["p"], ["p"]),
    "everybody's, sticky": ({"p": 0o1777, CACHE: 0o1777}, {}, [], []),
    "everybody's pycs": ({CACHE: 0o757}, {}, [CACHE], []),
    "everybody's, which is configured": ({"p": 0o777, CACHE: 0o777}, {"trust_all_directories": True}, [], []),
}


@pytest.mark.parametrize("case", MODES)
def test_what_everybody_may_write_is_refused(top: Path, layout: Layout, case: str) -> None:
    """And said once; whoever may rename entries of a directory matters for itself alone."""
    modes, options, refused, alone = MODES[case]
    for name, mode in modes.items():
        (top / name).chmod(mode)
    for source_only, expected in ((False, refused), (True, alone)):
        keeper, tally = gate(**options)
        for _ in range(2):
            assert (not expected) == keeper.permits(layout, "p", source_only=source_only)
        assert [Failure(f"{top}/{name}", "refused", OPEN) for name in expected] == tally.failures


#: Who works (root, root acting as Ann, or another account), the owners of places that aren't its own, which directory
#: is to be changed, and which one is refused, and why.
OWNERS: dict[str, tuple[str, dict[str, int], str, dict[str, str]]] = {
    "root's own": ("root", {}, "p", {}),
    "another's": ("cat", {"p": ANN, "p/m.py": BOB}, "p", {"p": strangers(ANN, BOB)}),
    "its sources' owner's": ("cat", {"p": ANN, "p/m.py": ANN}, "p", {}),
    "its sources' owner's pycs": ("cat", {CACHE: ANN, "p/m.py": ANN}, "p", {}),
    "another's pycs": ("cat", {CACHE: ANN}, "p", {CACHE: strangers(ANN, CAT)}),
    "another's pycs without sources": (
        *("cat", {"q/__pycache__": ANN}, "q"),
        {"q/__pycache__": strangers(ANN, CAT)},
    ),
    "an account's": ("ann", {"p": ANN, CACHE: ANN, "p/m.py": ANN}, "p", {}),
    "an account's without sources": ("ann", {"q": ANN, "q/__pycache__": ANN}, "q", {}),
    "an account's, with another's sources": (
        *("ann", {"p": ANN, CACHE: ANN, "p/m.py": BOB}, "p"),
        {"p": strangers(ANN, BOB)},
    ),
    "another's in an account's": (
        *("ann", {"p": ANN, CACHE: BOB, "p/m.py": BOB, "p/n.py": ANN}, "p"),
        {CACHE: f"it belongs to account {BOB}, and is in a directory of account {ANN}; chown -R {ANN} it, {PERMITTED}"},
    ),
}


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("case", OWNERS)
def test_a_directory_of_somebody_elses_is_refused(top: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    """Unless the sources are that account's as well."""
    doer, owners, relative, expected = OWNERS[case]
    make(top, {"p/n.py": TEXT} if "p/n.py" in owners else {})
    for path in [top, *top.rglob("*")] if doer == "cat" else []:
        os.chown(path, CAT, CAT)
    for name, owner in owners.items():
        os.chown(top / name, owner, owner)
    if doer == "ann":
        let_act(monkeypatch)
    keeper, tally = gate()
    with with_rights_of(CAT) if doer == "cat" else contextlib.nullcontext(), Layout(Tree.open(str(top))) as layout:
        assert (not expected) == keeper.permits(layout, relative)
    assert [Failure(f"{top}/{name}", "refused", why) for name, why in expected.items()] == tally.failures


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize(("owner", "inner", "expected"), [(ANN, ANN, None), (ANN, BOB, strangers(BOB, ANN))])
def test_below_a_prefix_its_owner_counts(top: Path, owner: int, inner: int, expected: str | None) -> None:
    """Whoever has the sources."""
    os.chown(top, CAT, CAT)
    below = f"cache{top}/site/p"
    make(top, {"site/p/m.py": TEXT, f"{below}/x": b""})
    os.chown(top / "site/p", BOB, BOB)
    os.chown(top / "cache", owner, owner)
    os.chown(top / below, inner, inner)
    keeper, tally = gate()
    with with_rights_of(CAT), Layout(Tree.open(f"{top}/site"), Tree.open(f"{top}/cache")) as layout:
        assert (expected is None) == keeper.permits(layout, "p")
        assert keeper.permits(layout, "gone")
    assert ([Failure(f"{top}/{below}", "refused", expected)] if expected else []) == tally.failures


def test_what_isnt_there_is_left_to_whoever_opens_it(top: Path, layout: Layout) -> None:
    """Also what is no directory."""
    make(top, {"file": b""})
    keeper, tally = gate()
    assert [True] * 3 == [keeper.permits(layout, name) for name in ("gone", "file", "p/m.py")]
    assert [] == tally.failures


def test_what_was_judged_is_remembered(top: Path, layout: Layout) -> None:
    """The last directory that may be changed, and each one that may not."""
    keeper, tally = gate()
    assert keeper.permits(layout, "p")
    (top / "p").chmod(0o777)
    assert (True, False) == (keeper.permits(layout, "p"), keeper.permits(layout, "p", source_only=True))
    (top / "p").chmod(0o755)
    assert not keeper.permits(layout, "p", source_only=True)
    assert (True, False) == (keeper.permits(layout, "q"), keeper.permits(layout, "p"))
    (top / "q").chmod(0o777)
    with Layout(Tree.open(str(top))) as other:
        assert (True, False) == (keeper.permits(layout, "q"), keeper.permits(other, "q"))
    assert [Failure(f"{top}/{name}", "refused", OPEN) for name in "pq"] == tally.failures


def test_a_directory_that_cant_be_examined(top: Path, layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """Isn't changed."""

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "why")

    monkeypatch.setattr(module, "reason_to_distrust", fail)
    keeper, tally = gate()
    assert not keeper.permits(layout, "p")
    assert [Failure(f"{top}/p", "refused", f"it can't be examined (why), {PERMITTED}")] == tally.failures


@pytest.mark.usefixtures("as_root")
def test_a_way_that_everybody_may_change(top: Path) -> None:
    """Is as bad as such a directory."""
    make(top, {"open/x": b""})
    (top / "open").chmod(0o777)
    (top / "open/site").symlink_to("..")
    keeper, tally = gate()
    with Layout(Tree.open(f"{top}/open/site")) as layout:
        assert not keeper.permits(layout, "p")
        on_way = layout.sources.exposed
    why = f"everybody may write {on_way} on the way to it, without a sticky bit; chmod o-w {on_way}, {PERMITTED}"
    assert [Failure(f"{top}/open/site/p", "refused", why)] == tally.failures


def full_step(relative: str) -> Step:
    """One that does everything to files."""
    states = (LevelState(0, ".pyc", Verdict.MISSING),)
    stale = [Stale.of(name, os.stat(__file__), states) for name in ("m.py", "n.py")]
    return Step.of(relative)._replace(stale=stale, removals=[Removal("x", "residue")], is_closed=True)


def test_of_a_step_nothing_is_left_where_nothing_may_be_changed(top: Path, layout: Layout) -> None:
    """Its sources are counted each time; one that only goes on opens no directory anyway."""
    keeper, tally = gate()
    good = full_step("p")
    assert (good, Step.of("p")) == (keeper.permitted(layout, good), keeper.permitted(layout, Step.of("p")))
    (top / "q").chmod(0o777)
    bad = full_step("q")
    nothing = Step.of("q")
    for part in (bad, bad._replace(removals=[]), bad._replace(stale=[]), bad._replace(is_closed=False)):
        assert nothing == keeper.permitted(layout, part)
    assert nothing._replace(goes_on=True, is_closed=True) == keeper.permitted(layout, bad._replace(goes_on=True))
    assert ([Failure(f"{top}/q", "refused", OPEN)], 8) == (tally.failures, tally.counts.failed)


@pytest.mark.parametrize("part", ["removals", "stale", "is_closed"])
def test_each_part_of_a_step_is_judged(top: Path, layout: Layout, part: str) -> None:
    """And a step that changes no file isn't."""
    (top / "q").chmod(0o777)
    keeper, tally = gate()
    empty = Step.of("q")
    assert (empty, []) == (keeper.permitted(layout, empty), tally.failures)
    assert empty == keeper.permitted(layout, empty._replace(**{part: getattr(full_step("q"), part)}))
    assert 1 == len(tally.failures)


#: What is in the way of a directory of pycs, whether an earlier step said so, the work, whether pycs may be written,
#: and whether it is said.
OBSTACLES = [
    (None, False, Work.RUN, True, False),
    (None, True, Work.REPAIR, True, False),
    ("why", False, Work.RUN, False, True),
    ("why", True, Work.RUN, False, False),
    ("why", False, Work.REPAIR, True, False),
]


@pytest.mark.parametrize(("obstacle", "goes_on", "work", "expected", "is_said"), OBSTACLES)
def test_what_is_in_the_way_is_left_to_a_repair(
    top: Path, layout: Layout, obstacle: str | None, goes_on: bool, work: Work, expected: bool, is_said: bool
) -> None:
    """And said once for a directory."""
    keeper, tally = gate(work=work)
    assert expected == keeper.permits_pycs(layout, Step.of("p")._replace(obstacle=obstacle, goes_on=goes_on))
    said = [Failure(f"{top}/{CACHE}", "refused", "it why; pyctrigger repair replaces it", has_remedy=True)] * is_said
    assert said == tally.failures


#: What lanes have found that a group may write, and what is said of it.
SHARED = {
    "with the directory of its pycs, or without": (["/a", "/a/__pycache__", "/b"], "/a and 1 more"),
    "only the directory of its pycs": (["/a/__pycache__"], "/a/__pycache__"),
    "a directory below": (["/a", "/a/b"], "/a and 1 more"),
}


@pytest.mark.parametrize("case", SHARED)
def test_a_pycache_is_not_told_beside_its_directory(case: str) -> None:
    """Whether it was there when it was judged depends on which lane came first."""
    paths, expected = SHARED[case]
    keeper, tally = gate()
    for path in paths:
        keeper.add_shared({"group 50": {path}})
    keeper.report_shared()
    assert [f"group 50 may write {expected}"] == [notice.partition(", which")[0] for notice in tally.notices]


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("is_reported", [True, False])
def test_who_shares_roots_directories_is_reported_once(top: Path, layout: Layout, is_reported: bool) -> None:
    """By account or group, where something was changed; not what isn't root's, nor what root's own group may write."""
    make(top, {"r/m.py": TEXT, "s/m.py": TEXT, "t/m.py": TEXT})
    for name, group, mode in (("q", 50, 0o775), ("p", 50, 0o775), ("r", 0, 0o775), ("s", 50, 0o755)):
        os.chown(top / name, 0, group)
        (top / name).chmod(mode)
    name_ann(top / "t", 7)
    keeper, tally = gate(reports_shared=is_reported)
    assert [True] * 5 == [keeper.permits(layout, name) for name in ("q", "p", "r", "s", "t")]
    assert [] == tally.notices
    for _ in range(2):
        keeper.report_shared()
    root = "may write {}, which is root's: {} what root imports from there; chmod g-w it unless that is meant"
    staff = "group 50 " + root.format(f"{top}/p and 1 more", "its members decide")
    account = f"account {ANN} " + root.format(f"{top}/t", "it decides")
    assert ([staff, account] if is_reported else []) == tally.notices


@pytest.mark.usefixtures("as_root")
def test_what_isnt_roots_is_shared_by_its_owner(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is no concern of root's."""
    for path in [top / "p", *(top / "p").rglob("*")]:
        os.chown(path, ANN, 50)
    (top / "p").chmod(0o775)
    let_act(monkeypatch)
    keeper, tally = gate(reports_shared=True)
    with Layout(Tree.open(str(top))) as layout:
        assert keeper.permits(layout, "p")
    keeper.report_shared()
    assert [] == tally.notices
