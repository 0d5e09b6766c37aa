"""What becomes of each file in the tally, and places that can't be written."""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from acting import ANN, let_act, with_rights_of
from own_mount import Mount
from pyctrigger.outcome.observer import Observer
from pyctrigger.outcome.outcome import Failure, Finding, Link
from pyctrigger.run.plan.results import Denial, Results
from pyctrigger.run.plan.steps import Removal, Step
from pyctrigger.state.records.manifest import Manifest
from pyctrigger.state.records.record import UNSEEN, Record, identity_of
from pyctrigger.tree import mounts
from pyctrigger.tree.directory import Tree
from pyctrigger.tree.layout import Layout, Place
from pyctrigger.tree.opened import Opened
from pyctrigger.tree.source import SourceRefused
from unit.run.plan.trees import TEXT, cached, in_memory, knowledge_of, make, pyc

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STEP = Step.of("p")


class Told(Observer):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def skipped(self, path: str, reason: str) -> None:
        self.told.append((path, reason))

    removed = skipped


@pytest.fixture
def top() -> Iterator[Path]:
    """A tree in memory."""
    with in_memory({"p/m.py": TEXT, f"p/__pycache__/{cached('m')}": pyc(), "q/m.py": TEXT}) as top:
        yield top


@pytest.fixture
def layout(top: Path) -> Iterator[Layout]:
    """It, opened."""
    with Layout(Tree.open(str(top))) as layout:
        yield layout


#: A step, and what of the tally isn't as it was: with what is known, without if it differs.
NOTES: dict[str, tuple[Step, dict[str, Any], dict[str, Any]]] = {
    "nothing": (STEP, {}, {}),
    "skipped": (STEP._replace(skipped=[("m.py", "excluded"), ("n.py", "why")]), {"skipped": 2}, {"skipped": 2}),
    "uncompilable": (
        STEP._replace(skipped=[("m.py", "uncompilable")]),
        {"skipped": 1, "findings": [Finding("uncompilable", None, "p/m.py", known=True)]},
        {"skipped": 1, "findings": [Finding("uncompilable", None, "p/m.py", known=True)]},
    ),
    "owned": (
        STEP._replace(owned=[("a.pyc", "m.py"), ("b.pyc", "m.py"), ("c.pyc", "n.py")]),
        *(
            {
                "skipped": 2,
                "findings": [
                    Finding("stale", f"p/__pycache__/{pyc}", f"p/{source}", True, "a package owns it")
                    for pyc, source in (("a.pyc", "m.py"), ("b.pyc", "m.py"), ("c.pyc", "n.py"))
                ],
            },
        )
        * 2,
    ),
    "refused": (
        STEP._replace(refused=[("m.py", "why"), ("n.py", "because")]),
        {"failed": 2, "failures": [Failure("p/m.py", "refused", "why"), Failure("p/n.py", "refused", "because")]},
        {"failures": [Failure("p/m.py", "refused", "why"), Failure("p/n.py", "refused", "because")]},
    ),
    "links": (STEP._replace(links=[("l", "/goal")]), *({"links": [Link("p/l", "/goal")]},) * 2),
    "forbidden": (STEP._replace(forbidden="why"), *({"failures": [Failure("p", "refused", "why")]},) * 2),
    "unexamined": (STEP._replace(unexamined="why"), *({"unexamined": [Failure("p", "io", "why")]},) * 2),
}


@pytest.mark.parametrize("case", NOTES)
def test_steps_are_reported(top: Path, layout: Layout, case: str) -> None:
    """All but what is changed, each time; that a link is refused is learned if somebody wants to know."""
    step, known, unknown = NOTES[case]
    for knowledge, expected in ((knowledge_of(), known), (None, unknown)):
        observer = Told()
        results = Results(observer)
        for _ in range(2):
            results.note(layout, step, knowledge)
        tally = results.tally
        found = {"skipped": tally.counts.skipped, "failed": tally.counts.failed, "links": tally.links}
        found.update({"findings": tally.findings, "failures": tally.failures, "unexamined": tally.unexamined})
        assert {name: value for name, value in found.items() if value} == {
            name: 2 * (value if isinstance(value, int) else [each._replace(**_below(top, each)) for each in value])
            for name, value in expected.items()
        }
        told = [(f"{top}/p/{name}", why) for name, why in step.skipped if why != "uncompilable"]
        assert 2 * told == observer.told


def _below(top: Path, value: Any) -> dict[str, str]:
    names = ("path", "pyc", "source", "link")
    fields = {name: getattr(value, name) for name in names if getattr(value, name, None)}
    return {name: f"{top}/{path}" for name, path in fields.items()}


def test_refused_links_are_learned(top: Path, layout: Layout) -> None:
    """As they are, unless they are too young; what is gone isn't."""
    (top / "p/l").symlink_to("goal")
    time.sleep(0.03)
    results, knowledge = Results(Observer()), knowledge_of()
    (top / "p/young").symlink_to("goal")
    step = STEP._replace(refused=[("m.py", "why"), ("gone.py", "why")], links=[("l", "/goal"), ("young", "/goal")])
    results.note(layout, step, knowledge)
    learned = knowledge.manifest.uncompilable
    identities = [identity_of((top / "p" / name).lstat()) for name in ("m.py", "l")]
    expected = [("m.py", identities[0], "refused", "why"), ("l", identities[1], "link", "/goal")]
    expected.append(("young", UNSEEN, "link", "/goal"))
    assert {f"{top}/p/{name}": tuple(rest) for name, *rest in expected} == {
        path: (each.identity, each.kind, each.message) for path, each in learned.items()
    }
    assert {b""} == {each.digest for each in learned.values()}


@pytest.mark.parametrize("is_whole", [True, False])
def test_what_fails_is_reported(top: Path, layout: Layout, is_whole: bool) -> None:
    """Each by itself, but of what isn't permitted in a tree only the first."""
    results = Results(Observer())
    codes = (errno.EIO, errno.ENOSPC, errno.EACCES, errno.EPERM)
    for number, code in enumerate(codes):
        error = OSError(code, os.strerror(code))
        results.io_failure(layout, "p", f"{top}/p/{number}", error, source=is_whole)
    results.io_failure(layout, "p", f"{top}/p/odd", OSError("odd"), source=is_whole)
    more = f" (what else may not be written below {top} is counted, not listed)"
    texts = [os.strerror(codes[0]), os.strerror(codes[1]), os.strerror(codes[2]) + more]
    expected = [Failure(f"{top}/p/{number}", "io", text) for number, text in enumerate(texts)]
    assert [*expected, Failure(f"{top}/p/odd", "io", "odd")] == results.tally.failures
    assert 5 * is_whole == results.tally.counts.failed


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("is_mount", [True, False])
def test_what_an_account_may_not_do_is_a_refusal(top: Path, monkeypatch: pytest.MonkeyPatch, is_mount: bool) -> None:
    """In its own place, root being able to mend it, or the account where it has a mount of its own."""
    os.chown(top / "p", ANN, ANN)
    os.chown(top / "p/__pycache__", ANN, ANN)
    let_act(monkeypatch)
    monkeypatch.setattr(mounts, "lies_on_fuse", lambda path: is_mount and path == "path")
    with Layout(Tree.open(str(top))) as layout:
        results = Results(Observer())
        results.io_failure(layout, "p", "path", PermissionError(errno.EACCES, "no"))
    why = f"account {ANN}, which owns this place, can't do it (no): chown -R {ANN} what others have there"
    why = f"{mounts.KEPT_OUT}; {mounts.HINT_FOR_FUSE}" if is_mount else why
    why += f" (what else may not be written below {top} is counted, not listed)"
    assert [Failure("path", "refused", why)] == results.tally.failures


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (SourceRefused("why"), ("refused", "why")),
        (OSError(errno.EIO, "why"), ("io", "why")),
        (OSError("why"), ("io", "why")),
        (FileNotFoundError(errno.ENOENT, "gone"), None),
        (ValueError("why"), None),
    ],
)
def test_sources_that_cant_be_read(error: Exception, expected: tuple[str, str] | None) -> None:
    """One that is gone is no failure."""
    results = Results(Observer())
    results.unreadable("path", error)
    assert ([Failure("path", *expected)] if expected else []) == results.tally.failures
    assert int(expected is not None) == results.tally.counts.failed


def test_removals_are_counted_and_told(top: Path, layout: Layout) -> None:
    """Their records go; an orphan whose source has come back stays; what is gone counts if a lane may have done it."""
    names = [cached(name) for name in ("m", "gone", "other", "vanished", "tried")]
    make(top / "p/__pycache__", dict.fromkeys(names[1:3], pyc()))
    observer, manifest = Told(), Manifest(str(top / "state"))
    results = Results(observer)
    directory = f"{top}/p/__pycache__"
    for name in names:
        manifest.pycs.note(directory, name, Record(UNSEEN, b"", UNSEEN, b"", b""))
    kinds = [Removal(names[0], "orphan", "m.py"), Removal(names[1], "orphan", "gone.py")]
    kinds += [Removal(names[2], "pyc", "m.py"), Removal(names[3], "residue")]
    kinds.append(Removal(names[4], "orphan", "tried.py", was_tried=True))
    results.remove(Place(layout, "p"), kinds, manifest)
    assert [names[0]] == [name for name in names if os.path.exists(f"{directory}/{name}")]
    told = [(names[1], "orphan"), (names[2], "pyc"), (names[4], "orphan")]
    assert [(f"{directory}/{name}", kind) for name, kind in told] == observer.told
    assert (3, []) == (results.tally.counts.removed, results.tally.failures)
    assert [None] * 4 == [manifest.pycs.get(directory, name) for name in names[1:]]
    manifest.close()


def test_each_removal_that_fails_is_reported(top: Path, layout: Layout) -> None:
    """And the next one is tried."""
    make(top / "p/__pycache__", {"a": None, "b": None, "c": b""})
    results, manifest = Results(Observer()), Manifest(str(top / "state"))
    results.remove(Place(layout, "p"), [Removal(name, "residue") for name in "abc"], manifest)
    why = os.strerror(errno.EISDIR)
    assert [Failure(f"{top}/p/__pycache__/{name}", "io", why) for name in "ab"] == results.tally.failures
    assert (1, 0) == (results.tally.counts.removed, results.tally.counts.failed)
    manifest.close()


class _Mounted(Tree):
    """One with a mount in the place of one of its directories."""

    def __init__(self, path: Path, place: str, mount: Mount) -> None:
        super().__init__(Opened(os.open(path, os.O_RDONLY | os.O_DIRECTORY), None), str(path))
        self._place, self._mounted = place, Opened(mount.directory, None)

    def entered(self, relative: str) -> Opened:
        return self._mounted if relative == self._place else super().entered(relative)


@pytest.fixture(params=["p", "p/__pycache__"])
def mounted(request: pytest.FixtureRequest, top: Path) -> Iterator[tuple[Layout, Mount, str]]:
    """A tree with a mount in it, the mount, and its place."""
    make(top, {"p/r/m.py": TEXT, "p.q/m.py": TEXT, f"p/__pycache__/{cached('n')}": pyc()})
    mount = Mount(top / request.param)
    with Layout(_Mounted(top, request.param, mount)) as layout:
        yield layout, mount, request.param
    os.close(mount.directory)
    mount.close()


@pytest.mark.usefixtures("as_root")
def test_a_read_only_mount_in_a_tree_is_left_out(top: Path, mounted: tuple[Layout, Mount, str]) -> None:
    """It alone, however much else was seen to be writable before."""
    layout, mount, place = mounted
    mount.turn(read_only=True)
    results, inside = Results(Observer()), ["p", "p/r"] if place == "p" else ["p"]
    assert all(results.may_write(layout, name) for name in ("p.q", "q"))
    for _ in range(2):
        assert not any(results.may_write(layout, name, 2) for name in inside)
        assert all(results.may_write(layout, name, 2) for name in ("p.q", "q"))
        assert all(results.still_writes(layout, name) for name in ("p", "p/r", "p.q", "q"))
    results.tell_places()
    notice = f"{top}/{place} is on a read-only file system; nothing was changed there"
    assert ([notice], []) == (results.tally.notices, results.tally.failures)
    assert (4 * len(inside), 0) == (results.tally.counts.skipped, results.tally.counts.failed)


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("by", ["looking", "leaving", "failing", "removing"])
def test_a_mount_in_a_tree_becomes_read_only(top: Path, mounted: tuple[Layout, Mount, str], by: str) -> None:
    """It alone is given up, whatever shows it, and without a further try."""
    layout, mount, place = mounted
    results, manifest, directory = Results(Observer()), Manifest(str(top / "state")), f"{top}/p/__pycache__"
    assert all(results.may_write(layout, name) for name in ("p", "p.q", "q"))
    mount.turn(read_only=True)
    names = [cached(name) for name in "mn"]
    for name in names:
        manifest.pycs.note(directory, name, Record(UNSEEN, b"", UNSEEN, b"", b""))
    if by == "looking":
        assert not results.can_write(layout, "p")
    elif by == "leaving":
        results.leave(layout, "p", 3)
    elif by == "failing":
        results.io_failure(layout, "p", "path", OSError(errno.EROFS, ""), source=True)
    else:
        results.remove(Place(layout, "p"), [Removal(name, "pyc") for name in names], manifest)
    assert [by == "removing", False] == [manifest.pycs.get(directory, name) is None for name in names]
    inside = ["p", "p/r"] if place == "p" else ["p"]
    assert not any(results.still_writes(layout, name) or results.can_write(layout, name) for name in inside)
    assert all(results.still_writes(layout, name) and results.can_write(layout, name) for name in ("p.q", "q"))
    results.tell_places()
    left = {"looking": 0, "leaving": 3, "failing": 1, "removing": 0}[by]
    why = f"it became read-only during the run; sources that were left: {left}"
    assert [Failure(f"{top}/{place}", "io", why)] == results.tally.failures
    mount.turn(read_only=False)
    assert not any(results.can_write(layout, name) for name in inside)
    assert (left, 0, []) == (results.tally.counts.failed, results.tally.counts.skipped, results.tally.notices)
    manifest.close()


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("at_first", [True, False])
def test_a_read_only_file_system_is_said_once(top: Path, at_first: bool) -> None:
    """Skipped where it was from the start; else it is a failure. Each place counts what it has left."""
    mount = Mount(top)
    with Layout(Tree(Opened(mount.directory, None), str(top))) as layout:
        results = Results(Observer())
        if not at_first:
            assert (results.may_write(layout, "p"), results.can_write(layout, "q")) == (True, True)
        mount.turn(read_only=True)
        assert [False, False] == [results.may_write(layout, name, 3) for name in ("p", "q")]
        results.io_failure(layout, "q", "path", OSError(errno.EROFS, ""), source=True)
        results.io_failure(layout, "q", "path", OSError(errno.EROFS, ""))
        assert not results.can_write(layout, "p")
        assert at_first == results.still_writes(layout, "p")
        results.tell_places()
    mount.close()
    tally = results.tally
    why = "it became read-only during the run; sources that were left: 7"
    assert ([] if at_first else [Failure(str(top), "io", why)]) == tally.failures
    notice = f"{top} is on a read-only file system; nothing was changed there"
    assert ([notice] if at_first else []) == tally.notices
    assert (7 * (not at_first), 7 * at_first) == (tally.counts.failed, tally.counts.skipped)
    assert (at_first, not at_first) == (tally.left_read_only, tally.is_interrupted)


#: Whose the tree is, and the package p; what is said of the place that an account may not write, and whether root may.
DENIED: dict[str, tuple[int, int, str, str, bool]] = {
    "its own": (ANN, ANN, "", "its owner has no right to write here: chmod u+w it", False),
    "another's": (0, 0, "", "you have no right to write here, account 0 has", True),
    "another's in its own": (ANN, 0, "p", "you have no right to write here, account 0 has", True),
}


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("case", DENIED)
@pytest.mark.parametrize("left", [0, 2])
def test_a_place_that_may_not_be_written_is_said_once(top: Path, case: str, left: int) -> None:
    """With what is left, and what to do about it."""
    owner, inner, place, why, needs_root = DENIED[case]
    for path in [top, *top.rglob("*")]:
        os.chown(path, owner, owner)
    for path in [top / "p", *(top / "p").rglob("*")]:
        os.chown(path, inner, inner)
    if owner == inner:
        for path in [top, *filter(os.path.isdir, top.rglob("*"))]:
            os.chmod(path, 0o555)
    with with_rights_of(ANN), Layout(Tree.open(str(top))) as layout:
        results = Results(Observer())
        assert [False, False] == [results.may_write(layout, "p", left) for _ in range(2)]
        assert (Denial(layout, "p").path, Denial(layout, "p").left) == (str(top / place), 0)
        results.tell_places()
        results.tell_places()
    why += f"; sources that were left: {2 * left}" if left else ""
    assert [Failure(str(top / place), "refused", why, needs_root=needs_root)] == results.tally.failures
    assert 2 * left == results.tally.counts.failed


#: What is root's in a place of Ann's, what there may not be written, the place that is named, and why.
ACTING: dict[str, tuple[str, str, str, str]] = {
    "her own": ("", "p p/__pycache__", "p", "account {0}, whose it is, has no right to write here: chmod u+w it"),
    "root's in hers": (
        "p/__pycache__",
        "",
        "p/__pycache__",
        "it belongs to account 0, and account {0}, in whose directory it lies, may not write here: chown -R {0} it",
    ),
}


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("case", ACTING)
def test_what_an_account_may_not_write_is_hers_to_mend(top: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    """Each place by itself; nothing is counted where no source is left."""
    roots, closed, place, why = ACTING[case]
    for path in [top / "p", *(top / "p").rglob("*"), top / "q"]:
        os.chown(path, ANN, ANN)
    for name in roots.split():
        os.chown(top / name, 0, 0)
    for name in ["q", *closed.split()]:
        (top / name).chmod(0o555)
    let_act(monkeypatch)
    with Layout(Tree.open(str(top))) as layout:
        results = Results(Observer())
        assert [False] * 3 == [results.may_write(layout, "p", 2), *(results.may_write(layout, "q") for _ in range(2))]
        results.tell_places()
    first = Failure(f"{top}/{place}", "refused", f"{why.format(ANN)}; sources that were left: 2")
    second = Failure(f"{top}/q", "refused", ACTING["her own"][3].format(ANN))
    assert ([first, second], 2) == (results.tally.failures, results.tally.counts.failed)


def test_what_was_written_is_synced_once(top: Path, layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """By file system; a failure is reported."""
    synced: list[int] = []
    monkeypatch.setattr("pyctrigger.clibrary.sync_file_system", synced.append)
    results = Results(Observer())
    assert (True, []) == (results.sync(), synced)
    with Layout(Tree.open(f"{top}/p")) as other:
        results.wrote(other)
    results.wrote(layout)
    assert (True, True, [layout.pycs.directory("")]) == (results.sync(), results.sync(), synced)

    codes = [errno.EIO, errno.EPERM]

    def fail(_: int) -> None:
        raise OSError(codes[0], "why")

    monkeypatch.setattr("pyctrigger.clibrary.sync_file_system", fail)
    whys = ["why", f"why (what else may not be written below {top} is counted, not listed)"]
    while codes:
        results.wrote(layout)
        assert not results.sync()
        codes.pop(0)
    assert [Failure(str(top), "io", why) for why in whys] == results.tally.failures
