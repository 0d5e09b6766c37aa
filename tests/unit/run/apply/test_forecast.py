"""What a forecast leaves of a plan, and what it says of the rest."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

import pytest

from acting import ANN, with_rights_of
from own_mount import Mount
from pyctrigger.run.apply.forecast import Forecast
from pyctrigger.run.plan.steps import Step
from pyctrigger.run.scope.request import Work
from pyctrigger.tree.directory import Tree
from pyctrigger.tree.layout import Layout
from pyctrigger.tree.opened import Opened
from pyctrigger.tree.source import LARGEST_SOURCE
from unit.run.plan.trees import TEXT, Link, cached, in_memory, make, pyc, said, steps_in, wanted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

GONE, OPEN = cached("gone"), 0o777
EVERYBODY = "everybody may write here, without a sticky bit"
FRESH = {"p/m.py": TEXT, f"p/__pycache__/{cached('m')}": pyc()}
#: Nothing but bytecode, in two packages, one in the other.
DEAD = {f"p/__pycache__/{GONE}": pyc(), f"p/q/__pycache__/{GONE}": pyc()}

#: A tree, the modes of its places, options, what a run would do, and what it would say of the rest: what it would leave
#: or refuse, and how many sources fail.
CASES: dict[str, tuple[Mapping[str, Any], dict[str, int], dict[str, Any], list[str], list[str], int]] = {
    "all is as in the plan": (
        {"m.py": TEXT, **DEAD},
        {},
        {},
        [
            *(".: write m.py: 0 missing", f"p: orphan {GONE}", f"p/q: orphan {GONE}"),
            *("p/q: empty __pycache__", "p/q: empty", "p: empty __pycache__", "p: empty"),
        ],
        [],
        0,
    ),
    "everybody may write": ({"p/m.py": TEXT, "p/n.py": TEXT}, {"p": OPEN}, {}, [], [f"p: {EVERYBODY}"], 2),
    "the same, and that is permitted": (
        {"p/m.py": TEXT},
        {"p": OPEN},
        {"trust_all_directories": True},
        ["p: write m.py: 0 missing"],
        [],
        0,
    ),
    "everybody may write pycs": (
        {"p/data": b"", "q/m.py": TEXT, f"p/__pycache__/{GONE}": pyc()},
        {"p/__pycache__": OPEN},
        {},
        ["q: write m.py: 0 missing"],
        [f"p/__pycache__: {EVERYBODY}"],
        0,
    ),
    "what stays keeps the directories above": (
        DEAD,
        {"p/q": OPEN},
        {},
        [f"p: orphan {GONE}", "p: empty __pycache__"],
        [f"p/q: {EVERYBODY}"],
        0,
    ),
    "what stays keeps none beside it": (
        {f"p/__pycache__/{GONE}": pyc(), f"pq/__pycache__/{GONE}": pyc(), "pq/data": b""},
        {"p": OPEN},
        {},
        [f"pq: orphan {GONE}", "pq: empty __pycache__"],
        [f"p: {EVERYBODY}"],
        0,
    ),
    "a directory stays where everybody may write above": (
        {f"p/q/r/__pycache__/{GONE}": pyc()},
        {"p/q": OPEN},
        {},
        [f"p/q/r: orphan {GONE}", "p/q/r: empty __pycache__"],
        [f"p/q: {EVERYBODY}"],
        0,
    ),
    "no mode is changed where everybody may write": (
        FRESH,
        {"p": OPEN, "p/__pycache__": 0o700},
        {},
        [],
        [f"p: {EVERYBODY}"],
        0,
    ),
    "where everybody may write, an empty __pycache__ stays": (
        {"p/__pycache__": None, "p/data": b"", "q/__pycache__": None, "q/data": b""},
        {"p": OPEN},
        {"work": Work.PURGE},
        ["q: empty __pycache__"],
        [f"p: {EVERYBODY}"],
        0,
    ),
    "pycs beside a directory say nothing of it": (
        {f"p/q/__pycache__/{GONE}": pyc(), "p/__pycache__/data": b""},
        {"p/__pycache__": OPEN},
        {},
        [f"p/q: orphan {GONE}", "p/q: empty __pycache__", "p/q: empty"],
        [],
        0,
    ),
    "a __pycache__ is opened": (FRESH, {"p/__pycache__": 0o700}, {}, ["p: open __pycache__"], [], 0),
    "a file has the name of a __pycache__": (
        {"p/m.py": TEXT, "p/__pycache__": b""},
        {},
        {},
        ["p: obstacle: is a link or a file"],
        ["p/__pycache__: it is a link or a file"],
        1,
    ),
    "the same, and a repair": (
        {"p/m.py": TEXT, "p/__pycache__": b""},
        {},
        {"work": Work.REPAIR},
        ["p: obstacle: is a link or a file", "p: write m.py: 0 missing"],
        [],
        0,
    ),
    "a directory has the name of a pyc": (
        {"p/m.py": TEXT, f"p/__pycache__/{cached('m')}": None, "p/n.py": TEXT},
        {},
        {},
        ["p: write n.py: 0 missing"],
        ["p/m.py: a directory has the name of its pyc"],
        1,
    ),
    "that one, and a repair": (
        {"p/m.py": TEXT, f"p/__pycache__/{cached('m')}": None},
        {},
        {"work": Work.REPAIR},
        ["p: write m.py: 0 obstructed"],
        [],
        0,
    ),
    "one with something in it, and a repair": (
        {"p/m.py": TEXT, f"p/__pycache__/{cached('m')}/data": b""},
        {},
        {"work": Work.REPAIR},
        [],
        ["p/m.py: a directory that isn't empty has the name of its pyc"],
        1,
    ),
    "a link has the name of a pyc": (
        {"p/m.py": TEXT, f"p/__pycache__/{cached('m')}": Link("data")},
        {},
        {},
        ["p: write m.py: 0 obstructed"],
        [],
        0,
    ),
    "the plan refuses a source": (
        {"p/m.py": Link(__file__)},
        {},
        {},
        ["p: refuse m.py: a link that leads out of the site directory"],
        [],
        1,
    ),
    "a source is too large to be read": (
        {"p/m.py": None, "p/n.py": TEXT},
        {},
        {},
        ["p: write n.py: 0 missing"],
        ["p/m.py: larger than 64 MiB"],
        1,
    ),
}


@pytest.fixture
def top() -> Iterator[Path]:
    """A tree's directory, in memory, that everybody may enter."""
    with in_memory() as top:
        top.chmod(0o755)
        yield top


def foretold(layout: Layout, **options: Any) -> tuple[list[str], list[str], int]:
    """What a run would do, what it would leave or refuse, and how many sources fail."""
    forecast, top = Forecast(wanted(**options)), layout.sources.path
    steps = [forecast.reduce(layout, step) for step in steps_in(layout, **options)]
    tally = forecast.settle()
    failures = [f"{os.path.relpath(path, top)}: {why.partition(';')[0]}" for path, _, why, *_ in tally.failures]
    return said(steps), [*failures, *(line.partition(";")[2].strip() for line in tally.notices)], tally.counts.failed


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("case", CASES)
def test_a_run_would_do_this(top: Path, case: str) -> None:
    """And say the rest."""
    entries, modes, options, *expected = CASES[case]
    if entries.get("p/m.py", b"") is None:
        make(top, {"p/m.py": TEXT})
        os.truncate(top / "p/m.py", LARGEST_SOURCE + 1)
    make(top, {name: content for name, content in entries.items() if not (top / name).exists()})
    for name, mode in modes.items():
        (top / name).chmod(mode)
    with Layout(Tree.open(str(top))) as layout:
        assert tuple(expected) == foretold(layout, **options)


@contextlib.contextmanager
def on_a_mount(top: Path) -> Iterator[tuple[Layout, Mount]]:
    """A tree by way of a mount of its own."""
    mount = Mount(top)
    try:
        with Layout(Tree(Opened(mount.directory, None), str(top))) as layout:
            yield layout, mount
    finally:
        mount.close()


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("account", [0, ANN])
def test_on_a_read_only_mount_nothing_would_be_done(top: Path, account: int) -> None:
    """Which is said once."""
    make(top, {"m.py": TEXT, **FRESH, **{f"dead/{name}": content for name, content in DEAD.items()}})
    (top / "p/__pycache__").chmod(0o700)
    with on_a_mount(top) as (layout, mount):
        assert len(foretold(layout)[0]) == 9
        mount.turn(read_only=True)
        with with_rights_of(account):
            assert ([], ["nothing was changed there"], 0) == foretold(layout)


WRITE = {"p/m.py": TEXT, f"q/__pycache__/{GONE}": pyc(), "q/data": b""}
WRITTEN, SWEPT = ["p: write m.py: 0 missing"], [f"q: orphan {GONE}", "q: empty __pycache__"]
NO_RIGHT = "its owner has no right to write here: chmod u+w it"
DEEP = {f"p/q/r/__pycache__/{GONE}": pyc()}
#: A tree, its owner, where that one may not write, and what is foretold to an account.
RIGHTS: dict[str, tuple[Mapping[str, Any], int, str | None, tuple[list[str], list[str], int]]] = {
    "root's, and so as root's run will do it": (WRITE, 0, None, ([*WRITTEN, *SWEPT], [], 0)),
    "its own": (WRITE, ANN, None, ([*WRITTEN, *SWEPT], [], 0)),
    "its own, with a source": (WRITE, ANN, "p", (SWEPT, [f"p: {NO_RIGHT}"], 1)),
    "its own, with an orphan": (WRITE, ANN, "q/__pycache__", (WRITTEN, [f"q/__pycache__: {NO_RIGHT}"], 0)),
    "its own, the directory above": (
        *(DEEP, ANN, "p/q"),
        ([f"p/q/r: orphan {GONE}", "p/q/r: empty __pycache__"], [f"p/q: {NO_RIGHT}"], 0),
    ),
    "its own, the one above that": (
        *(DEEP, ANN, "p"),
        ([f"p/q/r: orphan {GONE}", "p/q/r: empty __pycache__", "p/q/r: empty"], [f"p: {NO_RIGHT}"], 0),
    ),
}


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("case", RIGHTS)
def test_what_an_account_may_not_write_is_foretold(top: Path, case: str) -> None:
    """As a run of root's, or else as refused."""
    entries, owner, closed, expected = RIGHTS[case]
    make(top, entries)
    for path in [*top.rglob("*"), top]:
        os.chown(path, owner, owner)
    if closed:
        (top / closed).chmod(0o555)
    with with_rights_of(ANN), Layout(Tree.open(str(top))) as layout:
        found = foretold(layout)
    assert expected == found


@pytest.mark.parametrize(
    ("place", "modes", "expected"),
    [("p", {}, True), ("p", {"p": OPEN}, False), ("file", {}, False), ("absent", {}, True)],
)
def test_whether_pycs_would_be_written(top: Path, place: str, modes: dict[str, int], expected: bool) -> None:
    """Into a directory of pycs, whatever is or isn't there."""
    make(top, {"p/m.py": TEXT, "file/__pycache__": b""})
    for name, mode in modes.items():
        (top / name).chmod(mode)
    obstacle = "is a file" if place == "file" else None
    with Layout(Tree.open(str(top))) as layout:
        forecast = Forecast(wanted())
        assert expected is forecast.permits(layout, Step.of(place)._replace(obstacle=obstacle))
    assert expected is not forecast.settle().left_something


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize(("place", "expected"), [("p", False), ("q", True)])
def test_whether_pycs_would_be_written_as_an_account(top: Path, place: str, expected: bool) -> None:
    """That place counts, not the tree's top."""
    make(top, {"p/m.py": TEXT, "q/m.py": TEXT})
    os.chown(top / "q", ANN, ANN)
    with with_rights_of(ANN), Layout(Tree.open(str(top))) as layout:
        found = Forecast(wanted()).permits(layout, Step.of(place))
    assert expected is found


@pytest.mark.parametrize(
    ("name", "expected"),
    [("m.py", (True, 0)), ("absent.py", (False, 0)), ("open.py", (False, 1)), ("directory.py", (False, 1))],
)
def test_whether_a_source_could_be_read(top: Path, name: str, expected: tuple[bool, int]) -> None:
    """One that is gone is no failure."""
    make(top, {"p/m.py": TEXT, "p/open.py": Link(__file__), "p/directory.py": None})
    with Layout(Tree.open(str(top))) as layout:
        forecast = Forecast(wanted())
        assert expected == (forecast.can_read(layout, "p", name), forecast.settle().counts.failed)
