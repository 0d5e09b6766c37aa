"""What steps do to a tree: removals, directories, modes, headers and code, and what is left afterwards."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from acting import ANN, let_act, with_rights_of
from pyctrigger.run.apply import execution as module
from pyctrigger.run.apply.execution import Execution
from pyctrigger.run.plan.knowledge import PlannedSite
from pyctrigger.run.plan.results import Results
from pyctrigger.run.plan.walk import Planner
from pyctrigger.run.scope.request import Work
from pyctrigger.state.records.manifest import Manifest
from pyctrigger.tree.directory import Tree
from pyctrigger.tree.layout import Layout
from pyctrigger.tree.writer import Writer
from pyctrigger.workers.wire import BODY, TWIN, Compiled, LevelAnswer
from unit.run.apply.test_compile import Workers
from unit.run.calls import Listener
from unit.run.plan.trees import EVERYTHING, TAG, TEXT, cached, in_memory, knowledge_of, make, pyc, record, wanted

if TYPE_CHECKING:
    from pathlib import Path

    from unit.run.plan.trees import Entries

M, A = f"__pycache__/{cached('m')}", f"__pycache__/{cached('a')}"


def execution_of(options: dict[str, Any]) -> tuple[Execution, Results, list[str], Workers]:
    """One with these options, its results, what it says, and its workers."""
    heard: list[str] = []
    results, workers = Results(Listener(heard)), Workers({})
    held: Any = workers
    return Execution(wanted(**options), knowledge_of(), held, results), results, heard, workers


def executed(top: Path, prefix: str | None, options: dict[str, Any]) -> list[str]:
    """What is said, counted and left in a tree once its steps are done."""
    execution, results, heard, workers = execution_of(options)
    with Layout(Tree.open(str(top / "site")), Tree.open(str(top / prefix)) if prefix else None) as layout:
        planner = Planner(PlannedSite(layout, wanted(**options), knowledge_of()))
        steps = [(layout, step) for step in planner.plan(EVERYTHING)]
        for source, code in execution.run(steps):
            execution.writer.store(source, code)
        results.tell_places()
    tally = results.tally
    lines = [*heard, *(f"failure {each.kind} {each.path}: {each.message}" for each in tally.failures)]
    lines += [f"{name} {count}" for name, count in tally.counts.as_dict().items() if count]
    lines += [f"asked {name}" for name in workers.asked]
    lines += [f"is {path}" for path in sorted(top.rglob("*")) if not path.is_dir() or not any(path.iterdir())]
    return [line.replace(f"{top}/", "").replace(TAG, "TAG").replace("__pycache__", "cache") for line in lines]


def mode_of(directory: Path) -> int:
    """The rights that a directory of these cases has, by its name."""
    parent = directory.parent.name if directory.name == "__pycache__" else ""
    return {"closed": 0o700, "shared": 0o777}.get(parent, 0o777 if directory.name == "open" else 0o755)


OPEN = "everybody may write here, without a sticky bit; chmod o-w it"
PERMITTED = 'or untrusted_directories = "allow" in the configuration permits it'
#: Files below `site` and others (`{}`: where all of this is), the prefix, options, and what is said, counted and left.
CASES: dict[str, tuple[Entries, str | None, dict[str, Any], list[str]]] = {
    "fresh": ({"site/m.py": TEXT, "site/" + M: pyc()}, None, {}, ["is site/cache/m.TAG.pyc", "is site/m.py"]),
    "missing": (
        {"site/m.py": TEXT, "site/p/a.py": b"x"},
        None,
        {},
        [
            "compiled site/m.py: missing",
            "compiled site/p/a.py: missing",
            "compiled 2",
            "asked m.py",
            "asked a.py",
            "is site/cache/m.TAG.pyc",
            "is site/m.py",
            "is site/p/cache/a.TAG.pyc",
            "is site/p/a.py",
        ],
    ),
    "stale": (
        {"site/m.py": TEXT, "site/" + M: pyc(mtime=5)},
        None,
        {},
        ["compiled site/m.py: mtime", "compiled 1", "asked m.py", "is site/cache/m.TAG.pyc", "is site/m.py"],
    ),
    "orphans": (
        {"site/m.py": TEXT, "site/" + M: pyc(), "site/" + A: pyc()},
        None,
        {},
        ["removed site/cache/a.TAG.pyc: orphan", "removed 1", "is site/cache/m.TAG.pyc", "is site/m.py"],
    ),
    "dead packages": (
        {"site/m.py": TEXT, "site/p/q/" + A: pyc(), "site/p/" + A: pyc()},
        None,
        {},
        [
            "removed site/p/cache/a.TAG.pyc: orphan",
            "removed site/p/cache: emptied",
            "removed site/p/q/cache/a.TAG.pyc: orphan",
            "removed site/p/q/cache: emptied",
            "removed site/p/q: emptied",
            "removed site/p: emptied",
            "compiled site/m.py: missing",
            "compiled 1",
            "removed 2",
            "removed_directories 4",
            "asked m.py",
            "is site/cache/m.TAG.pyc",
            "is site/m.py",
        ],
    ),
    "a dead package beside data": (
        {"site/p/data": b"", "site/p/" + A: pyc()},
        None,
        {},
        [
            "removed site/p/cache/a.TAG.pyc: orphan",
            "removed site/p/cache: emptied",
            "removed 1",
            "removed_directories 1",
            "is site/p/data",
        ],
    ),
    "a dead package, and another's pyc": (
        {"site/p/" + A: pyc(), "site/p/__pycache__/a.cpython-39.pyc": b""},
        None,
        {},
        ["removed site/p/cache/a.TAG.pyc: orphan", "removed 1", "is site/p/cache/a.cpython-39.pyc"],
    ),
    "a purge": (
        {"site/m.py": TEXT, "site/" + M: pyc(), "site/p/" + A: pyc()},
        None,
        {"work": Work.PURGE},
        [
            "removed site/cache/m.TAG.pyc: pyc",
            "removed site/cache: emptied",
            "removed site/p/cache/a.TAG.pyc: pyc",
            "removed site/p/cache: emptied",
            "removed site/p: emptied",
            "removed 2",
            "removed_directories 3",
            "is site/m.py",
        ],
    ),
    "a closed directory": (
        {"site/closed/m.py": TEXT, "site/closed/" + M: pyc()},
        None,
        {},
        ["opened site/closed/cache", "is site/closed/cache/m.TAG.pyc", "is site/closed/m.py"],
    ),
    "in a prefix": (
        {"site/m.py": TEXT, "pre/x": b""},
        "pre",
        {},
        ["compiled site/m.py: missing", "compiled 1", "asked m.py", "is presite/m.TAG.pyc", "is pre/x", "is site/m.py"],
    ),
    "a package that is gone, in a prefix": (
        {"site/m.txt": b"", f"pre{{}}/site/p/{cached('a')}": pyc()},
        "pre",
        {},
        [
            "removed presite/p/a.TAG.pyc: orphan",
            "removed presite/p: emptied",
            "removed 1",
            "removed_directories 1",
            "is presite",
            "is site/m.txt",
        ],
    ),
    "a package of nothing": (
        {"site/m.txt": b"", "site/p/__pycache__": None},
        None,
        {},
        ["removed site/p/cache: emptied", "removed site/p: emptied", "removed_directories 2", "is site/m.txt"],
    ),
    "a dead package where everybody may write": (
        {"site/open/open/x": b"", "site/open/open/p/" + A: pyc()},
        None,
        {},
        [
            "removed site/open/open/p/cache/a.TAG.pyc: orphan",
            "removed site/open/open/p/cache: emptied",
            f"failure refused site/open/open: {OPEN}, {PERMITTED}",
            "removed 1",
            "removed_directories 1",
            "is site/open/open/p",
            "is site/open/open/x",
        ],
    ),
    "a dead package further below": (
        {"site/open/a/b/x": b"", "site/open/a/b/p/" + A: pyc()},
        None,
        {},
        [
            "removed site/open/a/b/p/cache/a.TAG.pyc: orphan",
            "removed site/open/a/b/p/cache: emptied",
            "removed site/open/a/b/p: emptied",
            "removed 1",
            "removed_directories 2",
            "is site/open/a/b/x",
        ],
    ),
    "a dead package beside pycs that everybody may write": (
        {"site/shared/m.py": TEXT, "site/shared/" + M: pyc(), "site/shared/p/" + A: pyc()},
        None,
        {},
        [
            "removed site/shared/p/cache/a.TAG.pyc: orphan",
            "removed site/shared/p/cache: emptied",
            "removed site/shared/p: emptied",
            "removed 1",
            "removed_directories 2",
            "is site/shared/cache/m.TAG.pyc",
            "is site/shared/m.py",
        ],
    ),
    "an obstacle": (
        {"site/m.py": TEXT, "site/__pycache__": b"", "site/p/a.py": b"x"},
        None,
        {},
        [
            "compiled site/p/a.py: missing",
            "failure refused site/cache: it is a link or a file; pyctrigger repair replaces it",
            "compiled 1",
            "failed 1",
            "asked a.py",
            "is site/cache",
            "is site/m.py",
            "is site/p/cache/a.TAG.pyc",
            "is site/p/a.py",
        ],
    ),
    "an obstacle for a repair": (
        {"site/m.py": TEXT, "site/__pycache__": b""},
        None,
        {"work": Work.REPAIR},
        ["compiled site/m.py: missing", "compiled 1", "asked m.py", "is site/cache/m.TAG.pyc", "is site/m.py"],
    ),
    "a sweep": (
        {"site/m.py": TEXT, "site/" + A: pyc()},
        None,
        {"work": Work.SWEEP},
        [
            "removed site/cache/a.TAG.pyc: orphan",
            "removed site/cache: emptied",
            "removed 1",
            "removed_directories 1",
            "is site/m.py",
        ],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_done(case: str) -> None:
    """In the order of the steps."""
    entries, prefix, options, expected = CASES[case]
    with in_memory() as top:
        make(top, {name.format(top): content for name, content in entries.items()})
        for path in [top, *top.rglob("*")]:
            if path.is_dir():
                path.chmod(mode_of(path))
        assert expected == executed(top, prefix, options)


@pytest.mark.usefixtures("as_root")
def test_a_directory_that_may_not_be_removed_is_named() -> None:
    """By the one above it, in which its owner has no right to write."""
    with in_memory({"site/p/x": b"", f"site/p/q/{A}": pyc()}) as top:
        for path in [top, *top.rglob("*")]:
            os.chown(path, ANN, ANN)
        (top / "site/p").chmod(0o555)
        with with_rights_of(ANN):
            found = executed(top, None, {})
    assert [
        "removed site/p/q/cache/a.TAG.pyc: orphan",
        "removed site/p/q/cache: emptied",
        "failure refused site/p: its owner has no right to write here: chmod u+w it",
        *("removed 1", "removed_directories 1", "is site/p/q", "is site/p/x"),
    ] == found


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize(("place", "name"), [(Writer, "open_pycache"), (module, "remove_directory")])
def test_what_fails_in_an_accounts_place_is_a_refusal(
    monkeypatch: pytest.MonkeyPatch, place: object, name: str
) -> None:
    """With what helps."""

    def fail(*_: object) -> None:
        raise PermissionError(13, "no")

    monkeypatch.setattr(place, name, fail)
    with in_memory({"site/p/m.py": TEXT, f"site/p/{M}": pyc(), f"site/p/q/{A}": pyc()}) as top:
        for path in [top / "site/p", *(top / "site/p").rglob("*")]:
            os.chown(path, ANN, ANN)
        (top / "site/p").chmod(0o755)
        (top / "site/p/__pycache__").chmod(0o700)
        let_act(monkeypatch)
        failures = [line.split(":")[0] for line in executed(top, None, {}) if line.startswith("failure")]
    named = "site/p/cache" if name == "open_pycache" else "site/p/q/cache"
    assert [f"failure refused {named}"] == failures


@pytest.mark.parametrize(("entries", "is_warmed"), [({"m.py": TEXT}, True), ({A: pyc()}, False)])
def test_a_worker_is_started_for_a_first_source(entries: Entries, is_warmed: bool) -> None:
    """Of the tree's owner, and not for a sweep."""
    execution, _, _, workers = execution_of({})
    warmed: list[int] = []
    held: Any = workers
    held.warm_up = warmed.append
    with in_memory(entries) as top, Layout(Tree.open(str(top))) as layout:
        planner = Planner(PlannedSite(layout, wanted(), knowledge_of()))
        execution.warm_up((layout, next(iter(planner.plan(EVERYTHING)))))
    assert [os.geteuid()] * is_warmed == warmed


def test_owners_have_workers_of_their_own() -> None:
    """One after the other, and what both have is done."""
    execution, results, _, workers = execution_of({})
    owners: list[int] = []
    held: Any = workers
    real = workers.pool_for

    def pool_for(owner: int) -> Any:
        owners.append(owner)
        return real(owner)

    held.pool_for = pool_for
    with in_memory({f"{name}/m.py": TEXT for name in ("a", "b", "c")}) as top:
        layouts = [Layout(Tree.open(str(top / name))) for name in ("a", "b", "c")]
        steps = []
        for owner, layout in zip((1, 1, 2), layouts):
            steps += [
                (layout, step) for step in Planner(PlannedSite(layout, wanted(), knowledge_of())).plan(EVERYTHING)
            ]
            layout.sources.owner = owner
        for source, code in execution.run(steps):
            execution.writer.store(source, code)
        for layout in layouts:
            layout.__exit__()
    assert ([1, 2], 3) == (owners, results.tally.counts.compiled)


@pytest.mark.parametrize("is_left", [True, False])
def test_the_last_removal_takes_what_became_empty(is_left: bool) -> None:
    """Also where another flavour's pyc was there when it was planned, up to what isn't empty."""
    execution, results, heard, _ = execution_of({})
    other = "__pycache__/a.cpython-39.pyc"
    with in_memory({f"a/b/c/{A}": pyc(), f"a/b/c/{other}": b"", "a/x": b""}) as top:
        with Layout(Tree.open(str(top))) as layout:
            planner = Planner(PlannedSite(layout, wanted(), knowledge_of()))
            steps = [(layout, step) for step in planner.plan(EVERYTHING)]
            if not is_left:
                (top / "a/b/c" / other).unlink()
            assert [] == list(execution.run(steps))
        emptied = [line for line in heard if line.endswith(": emptied")]
        places = [] if is_left else [f"{top}/a/b/c/__pycache__", f"{top}/a/b/c", f"{top}/a/b"]
        assert [f"removed {place}: emptied" for place in places] == emptied
        assert len(places) == results.tally.counts.removed_directories
        assert (top / "a/x").exists()


#: What removing a directory or opening one raises or returns, and what is reported: a failure, a finding, or nothing.
TROUBLE: list[tuple[Any, list[tuple[str, str]], list[tuple[str, str | None, bool]]]] = [
    (PermissionError(13, "no"), [("io", "no")], []),
    (FileNotFoundError(2, "gone"), [], []),
    (False, [], [("unreadable", "CACHE", True)]),
    (True, [], []),
]


@pytest.mark.parametrize(("outcome", "failures", "findings"), TROUBLE)
def test_a_directory_that_cant_be_opened(
    monkeypatch: pytest.MonkeyPatch,
    outcome: Any,
    failures: list[tuple[str, str]],
    findings: list[tuple[str, str | None, bool]],
) -> None:
    """Is a failure, or a known finding where its mode can't be what it should be."""
    execution, results, heard, _ = execution_of({})

    def open_pycache(self: Writer, relative: str) -> bool:
        assert relative == "p"
        if isinstance(outcome, OSError):
            raise outcome
        return bool(outcome)

    monkeypatch.setattr(Writer, "open_pycache", open_pycache)
    with in_memory({"p/m.py": TEXT, f"p/{M}": pyc()}) as top, Layout(Tree.open(str(top))) as layout:
        top.chmod(0o755)
        (top / "p/__pycache__").chmod(0o700)
        planner = Planner(PlannedSite(layout, wanted(), knowledge_of()))
        assert [] == list(execution.run([(layout, step) for step in planner.plan(EVERYTHING)]))
        path = f"{top}/p/__pycache__"
    tally = results.tally
    assert [(path, kind) for kind, _ in failures] == [(each.path, each.kind) for each in tally.failures]
    assert [(kind, path, known) for kind, _, known in findings] == [
        (each.kind, each.pyc, each.known) for each in tally.findings
    ]
    assert ([f"opened {path}"] if outcome is True else []) == heard


def test_a_directory_that_cant_be_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Is a failure of its own, and nothing above it is tried."""
    execution, results, _, _ = execution_of({})
    tried: list[str] = []

    def refuse(tree: Tree, directory: str) -> bool:
        tried.append(directory)
        raise PermissionError(13, "no")

    monkeypatch.setattr(module, "remove_directory", refuse)
    with in_memory({f"p/q/{A}": pyc(), "p/x": b""}) as top, Layout(Tree.open(str(top))) as layout:
        planner = Planner(PlannedSite(layout, wanted(), knowledge_of()))
        steps = [(layout, step) for step in planner.plan(EVERYTHING)]
        assert [] == list(execution.run(steps))
        found = [each.path.replace(f"{top}/", "") for each in results.tally.failures]
    # After the last removal, and then by the steps for what is empty.
    assert (["p/q/__pycache__"], ["p/q/__pycache__", "p/q/__pycache__", "p/q"]) == (found, tried)
    assert 0 == results.tally.counts.removed_directories


@pytest.mark.parametrize(("levels", "asked"), [((0,), []), ((0, 1), ["m.py"])])
def test_a_source_that_was_touched_gets_new_headers(levels: tuple[int, ...], asked: list[str]) -> None:
    """And no worker is asked, unless a level is missing: then all are compiled."""
    _, results, heard, workers = execution_of({})
    if asked:
        twins = LevelAnswer(BODY, b"code"), LevelAnswer(TWIN, b"")
        workers.answers["m.py"] = Compiled(bytes(8), twins)
    with in_memory({"p/m.py": TEXT, f"p/{M}": pyc(mtime=5)}) as top:
        manifest = Manifest(str(top.parent / f"{top.name}-state"))
        os.utime(top / "p/m.py", (5, 5))
        record(top, manifest)
        os.utime(top / "p/m.py", (6, 6))
        knowledge = knowledge_of(manifest)
        held: Any = workers
        execution = Execution(wanted(levels=levels), knowledge, held, results)
        with Layout(Tree.open(str(top))) as layout:
            planner = Planner(PlannedSite(layout, wanted(levels=levels), knowledge))
            compiled = list(execution.run([(layout, step) for step in planner.plan(EVERYTHING)]))
        verdicts = [[state.verdict.value for state in source.stale.levels] for source, _ in compiled]
        assert [["mtime only", "missing"]] * len(asked) == verdicts
        assert [f"refreshed {top}/p/m.py"] * (not asked) == heard
        assert (asked, pyc(mtime=5 if asked else 6)) == (workers.asked, (top / "p" / M).read_bytes())
        manifest.close()


@pytest.mark.parametrize("others", range(4))
def test_another_lane_may_come_to_a_directory_first(others: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it has removed by then, and where it failed before: no directory stays that the last removal emptied."""
    with in_memory({f"site/gone/deep/__pycache__/{cached('gone')}": pyc(), "site/m.txt": b""}) as top:
        execution, results, _, _ = execution_of({})
        theirs = ["gone/deep/__pycache__", "gone/deep", "gone"][:others]
        remove = results.remove

        def remove_beside_another(*arguments: Any) -> None:
            remove(*arguments)
            for name in theirs:
                (top / "site" / name).rmdir()

        monkeypatch.setattr(results, "remove", remove_beside_another)
        with Layout(Tree.open(str(top / "site"))) as layout:
            planner = Planner(PlannedSite(layout, wanted(), knowledge_of()))
            steps = [(layout, step) for step in planner.plan(EVERYTHING) if step.removals]
            assert [] == list(execution.run(steps))

        assert ["m.txt"] == os.listdir(top / "site")
        assert (1, 3 - others) == (results.tally.counts.removed, results.tally.counts.removed_directories)
