"""Directories that needed no work: which changes are seen by stat alone."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from typing import TYPE_CHECKING, Any, Callable

import pytest

from pyctrigger.run.plan.knowledge import PlannedSite
from pyctrigger.run.plan.unchanged import Snapshot, UnchangedFinder
from pyctrigger.run.scope.request import Work
from pyctrigger.stamps import inode_of, stamp_of
from pyctrigger.state.records.directories import UnchangedDirectory, key_of
from pyctrigger.state.records.manifest import Manifest
from pyctrigger.state.records.record import PACKED, identity_of
from pyctrigger.tree.directory import Tree
from pyctrigger.tree.layout import Layout
from pyctrigger.tree.listing import list_sources
from unit.run.plan.trees import (
    MTIME,
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
    from collections.abc import Iterator
    from pathlib import Path

PYC = f"p/__pycache__/{cached('m')}"


@pytest.fixture(scope="module")
def trees() -> Iterator[Path]:
    """For each row a package with a fresh source, and one in it; all in memory, and old enough to be noted."""
    with in_memory() as place:
        for number, entries in enumerate([{} for _ in CHANGES] + [row[0] for row in PROOFS.values()] + [{}]):
            tree = {"p/m.py": TEXT, PYC: pyc(), "p/q/n.py": TEXT, f"p/q/__pycache__/{cached('n')}": pyc()}
            tree.update({"p/q/a o.py": TEXT, f"p/q/__pycache__/{cached('a o')}": pyc(), "p/d d/e/t": b""})
            make(place / str(number), {**tree, **entries})
        time.sleep(0.03)
        yield place


@pytest.fixture
def manifest() -> Iterator[Manifest]:
    """A manifest in memory."""
    with in_memory() as place, contextlib.closing(Manifest(str(place))) as manifest:
        yield manifest


def noted(top: Path, manifest: Manifest) -> set[str]:
    """The directories that are noted as needing nothing."""
    directories = [top, *(path for path in top.rglob("*") if path.is_dir() and path.name != "__pycache__")]
    found = {path for path in directories if manifest.directories.of(key_of(str(path))) is not None}
    return {str(path.relative_to(top)) for path in found}


#: All of a tree's directories.
NOTED = {".", "p", "p/q", "p/d d", "p/d d/e"}
Deed = Callable[["Path"], Any]
#: A change, and the directories of which it makes the note worthless.
CHANGES: dict[str, tuple[Deed, set[str]]] = {
    "nothing": (lambda top: None, set()),
    "a new source": (lambda top: make(top, {"p/new.py": TEXT}), {"p"}),
    "a new file": (lambda top: make(top, {"p/data.txt": b""}), {"p"}),
    "a new directory": (lambda top: make(top, {"p/r": None}), {"p"}),
    "a name that went": (lambda top: (top / "p/q/n.py").unlink(), {"p/q"}),
    "a file that was renamed": (lambda top: (top / "p/m.py").rename(top / "p/l.py"), {"p"}),
    "a source rewritten in place": (lambda top: (top / "p/q/n.py").write_bytes(b"x = 2\n"), {"p/q"}),
    "a source touched": (lambda top: os.utime(top / "p/m.py", (MTIME, MTIME)), {"p"}),
    "a source closed": (lambda top: (top / "p/m.py").chmod(0o600), {"p"}),
    "a pyc rewritten in place": (lambda top: (top / PYC).write_bytes(pyc(body=b"d")), {"p"}),
    "a pyc that went": (lambda top: (top / PYC).unlink(), {"p"}),
    "an orphan": (lambda top: make(top, {f"p/__pycache__/{cached('gone')}": pyc()}), {"p"}),
    "another level's pyc": (lambda top: make(top, {f"p/__pycache__/{cached('m', 1)}": pyc()}), {"p"}),
    "a __pycache__ closed": (lambda top: (top / "p/__pycache__").chmod(0o700), {"p"}),
    "a directory closed": (lambda top: (top / "p").chmod(0o700), {"p"}),
    "a directory replaced": (lambda top: _replace(top / "p/q"), {"p", "p/q"}),
    "a directory that is a link now": (lambda top: _link(top / "p/q"), {"p", "."}),
    "a __pycache__ replaced": (lambda top: _replace(top / "p/__pycache__"), {"p"}),
    "a file beside no source": (lambda top: make(top, {"p/d d/e/u": b""}), {"p/d d/e"}),
    "a directory without sources that went": (lambda top: shutil.rmtree(top / "p/d d/e"), {"p/d d"}),
    "in the site directory": (lambda top: make(top, {"m.txt": b""}), {"."}),
}


def _replace(path: Path) -> None:
    copy = path.with_name("copy")
    shutil.copytree(path, copy)
    shutil.rmtree(path)
    copy.rename(path)


def _link(path: Path) -> None:
    path.rename(path.parents[1] / "elsewhere")
    path.symlink_to("../elsewhere")


@pytest.mark.parametrize("case", CHANGES)
def test_a_change_is_seen_by_status_alone(trees: Path, manifest: Manifest, case: str) -> None:
    """What was changed is looked at again; all else is passed over."""
    top = trees / str(list(CHANGES).index(case))
    record(top, manifest)
    plan(top, manifest=manifest, learns=True)
    assert NOTED == noted(top, manifest)

    deed, changed = CHANGES[case]
    deed(top)
    looked_at = {step.note.directory for step in plan(top, manifest=manifest) if step.note}
    new = {key_of(str(top / "p/r"))}  # noted as soon as it is a tick old
    assert {key_of(str(top / name)) for name in changed} == looked_at - new


#: What stands in the package as well, options, and whether it is noted as needing nothing.
PROOFS: dict[str, tuple[dict[str, Any], dict[str, Any], bool]] = {
    "fresh": ({}, {}, True),
    "data": ({"p/data.txt": b""}, {}, True),
    "a link to a source": ({"p/l.py": Link("m.py")}, {}, False),
    "a stale source": ({"p/n.py": TEXT}, {}, False),
    "an orphan": ({f"p/__pycache__/{cached('gone')}": pyc()}, {}, False),
    "residue that is young": ({f"p/__pycache__/{cached('m')}.123": b""}, {}, False),
    "a level nobody asks for": ({f"p/__pycache__/{cached('m', 1)}": pyc()}, {}, False),
    "another Python's pyc": ({"p/__pycache__/m.cpython-312.pyc": pyc()}, {}, True),
    "an excluded source": ({}, {"exclude": ("*/m.py",)}, False),
    "a repair": ({}, {"work": Work.REPAIR}, False),
    "bytes are counted": ({}, {"work": Work.STATUS}, False),
    "a sweep": ({}, {"work": Work.SWEEP}, False),
}


@pytest.mark.parametrize("case", PROOFS)
def test_only_what_needs_nothing_is_noted(trees: Path, manifest: Manifest, case: str) -> None:
    """Now, and by and by."""
    _, options, expected = PROOFS[case]
    top = trees / str(len(CHANGES) + list(PROOFS).index(case))
    record(top, manifest)
    plan(top, manifest=manifest, learns=True, **options)
    assert expected == ("p" in noted(top, manifest))


def test_other_options_look_again(trees: Path, manifest: Manifest) -> None:
    """What needed nothing at level 0 may need something at another."""
    top = trees / str(len(CHANGES) + len(PROOFS))
    record(top, manifest)
    plan(top, manifest=manifest, learns=True)
    expected = ["p: write m.py: 1 missing", "p/q: write a o.py: 1 missing", "p/q: write n.py: 1 missing"]
    assert expected == said(plan(top, manifest=manifest, levels=(0, 1)))


SIZE = PACKED.size
#: What happened to the note of p, with that note as it was, and whether the directory is looked at again.
DAMAGES: dict[str, tuple[Callable[[UnchangedDirectory], UnchangedDirectory], bool]] = {
    "nothing": (lambda note: note, False),
    "other terms": (lambda note: note._replace(terms=f"{note.terms} "), True),
    "no identities": (lambda note: note._replace(seen=b""), True),
    "some identities": (lambda note: note._replace(seen=note.seen[:-SIZE]), True),
    "half an identity": (lambda note: note._replace(seen=note.seen[:-1]), True),
    "more identities": (lambda note: note._replace(seen=note.seen + note.seen[:SIZE]), True),
    "more sources": (lambda note: note._replace(sources=note.sources + b"/m.py"), True),
    "no sources": (lambda note: note._replace(sources=b""), True),
    "no sources, and its own identity": (lambda note: note._replace(sources=b"", seen=note.seen[:SIZE]), False),
    "a source with a NUL": (lambda note: note._replace(sources=b"m\0py"), True),
    "another source": (lambda note: note._replace(sources=b"o.py"), True),
    "the directory below twice": (lambda note: note._replace(below=b"q/q"), False),
    "a NUL below": (lambda note: note._replace(below=b"a\0b"), True),
    **{
        f"{name!r} below": (lambda note, name=name: note._replace(below=b"q/" + name), True)  # type: ignore[misc]
        for name in (b"", b".", b"..", b"__pycache__")
    },
}


@pytest.mark.parametrize("case", DAMAGES)
def test_a_damaged_note_is_worth_nothing(manifest: Manifest, case: str) -> None:
    """The directory is looked at as if there were none."""
    damage, is_seen = DAMAGES[case]
    with in_memory({"p/m.py": TEXT, PYC: pyc(), "p/q/t": b""}) as top:
        record(top, manifest)
        time.sleep(0.03)
        plan(top, manifest=manifest, learns=True)
        key = key_of(str(top / "p"))
        note = manifest.directories.of(key)
        assert note is not None
        manifest.directories.note(key, damage(note))
        looked_at = {step.note.directory for step in plan(top, manifest=manifest) if step.note}
    assert ({key} if is_seen else set()) == looked_at


def test_what_is_gone_from_a_directory_is_told(manifest: Manifest) -> None:
    """By name; what is there stays noted."""
    tree = {"m.py": TEXT, f"__pycache__/{cached('m')}": pyc(), **{f"{name}/t": b"" for name in ("a", "b b", "c")}}
    with in_memory(tree) as top:
        record(top, manifest)
        time.sleep(0.03)
        first = [step.note for step in plan(top, manifest=manifest, learns=True) if step.note]
        assert [(), (), (), ()] == [note.gone for note in first]
        assert [b"a/b b/c", b"", b"", b""] == [note.unchanged and note.unchanged.below for note in first]
        for name in ("a", "b b"):
            shutil.rmtree(top / name)
        (again,) = [step.note for step in plan(top, manifest=manifest) if step.note]
        assert (key_of(str(top)), {b"a", b"b b"}) == (again.directory, set(again.gone))
        assert again.unchanged is None or again.unchanged.below == b"c"  # the change may be a tick old already


def test_a_library_is_looked_at_again_as_packages(manifest: Manifest) -> None:
    """What is left out differs."""
    with in_memory({"m.py": TEXT, f"__pycache__/{cached('m')}": pyc(), "site-packages/t": b""}) as top:
        record(top, manifest)
        time.sleep(0.03)
        plan(top, manifest=manifest, learns=True, is_library=True)
        assert {"."} == noted(top, manifest)
        keys = [step.note.directory for step in plan(top, manifest=manifest) if step.note]
        assert [key_of(str(top)), key_of(str(top / "site-packages"))] == keys
        assert [] == plan(top, manifest=manifest, is_library=True)


def test_parts_are_the_same_whether_looked_at_or_not(manifest: Manifest) -> None:
    """A hook's glance compares every directory."""
    tree = {"m.py": TEXT, f"__pycache__/{cached('m')}": pyc(), "p/q/t": b"", "p/t": b"", "r/m.py": TEXT}
    with in_memory({**tree, f"r/__pycache__/{cached('m')}": pyc()}) as top:
        record(top, manifest)
        time.sleep(0.03)
        first = [step.part for step in plan(top, manifest=manifest, learns=True, is_noted=True) if step.part]
        assert NOTED_PARTS == [(part.name, os.fsdecode(part.part.names)) for part in first]
        assert first == [step.part for step in plan(top, manifest=manifest, is_noted=True) if step.part]


NOTED_PARTS = [("", ".\0__pycache__"), ("p", "p\0p/q"), ("r", "r\0r/__pycache__")]


#: The sources and pycs that are added at a time, of how many levels, and whether all identities are proven then.
ADDED: dict[str, tuple[list[tuple[str, str]], int, bool]] = {
    "at once": ([("mn", "mn")], 1, True),
    "in parts": ([("m", "m"), ("n", "n")], 1, True),
    "a pyc too few": ([("mn", "m")], 1, False),
    "a pyc too few, and then one too many": ([("m", ""), ("n", "mn")], 1, False),
    "two levels": ([("mn", "mmnn")], 2, True),
    "a level too few": ([("mn", "mn")], 2, False),
    "a source too few": ([("m", "m")], 1, False),
    "a time that can't be packed": ([("m", "o"), ("n", "n")], 1, False),
    "the same, of a source": ([("o", "m"), ("n", "n")], 1, False),
    "and then all": ([("o", "m"), ("mn", "mn")], 1, False),
    "nothing": ([], 1, False),
}


@pytest.mark.parametrize("case", ADDED)
def test_a_snapshot_is_of_everything_or_of_no_use(case: str) -> None:
    """Identities of the directories, the sources, and the pycs, in that order."""
    parts, levels, is_whole = ADDED[case]
    with in_memory({"p/m.py": TEXT, "p/n.py": TEXT, "p/__pycache__": None, "o": b""}) as top:
        os.utime(top / "o", (2**34, 2**34))
        statuses = {name: os.stat(top / (f"p/{name}.py" if name != "o" else name)) for name in "mno"}
        time.sleep(0.03)
        snapshot = Snapshot(os.stat(top / "p"))
        with Layout(Tree.open(str(top))) as layout, layout.sources.entered("p") as directory:
            snapshot.enter_pycache(layout.pycs.directory("p/__pycache__"))
            for sources, pycs in parts:
                proving, proven = ([identity_of(statuses[name]) for name in names] for names in (sources, pycs))
                snapshot.add(proving, proven, len(sources), levels)
            found = snapshot.packed(list_sources(directory))
            linked = snapshot.packed(list_sources(directory)._replace(links=["l.py"]))
        stamps = [os.stat(top / "p"), os.stat(top / "p/__pycache__")]
        for names in ("".join(part[0] for part in parts), "".join(part[1] for part in parts)):
            stamps += [statuses[name] for name in names]
    assert (b"".join(PACKED.pack(*stamp_of(status)) for status in stamps) if is_whole else None) == found
    assert linked is None


def test_another_site_directory_is_never_unchanged(manifest: Manifest) -> None:
    """It may have become one since."""
    with in_memory({"p/t": b"", "q/t": b""}) as top:
        time.sleep(0.03)
        plan(top, manifest=manifest, learns=True)
        with Layout(Tree.open(str(top))) as layout:
            others = frozenset({inode_of(os.stat(top / "p")), inode_of(os.stat(top))})
            site = PlannedSite(layout, wanted(), knowledge_of(manifest), others)
            finder = UnchangedFinder(site, manifest.directories)
            assert [(["p", "q"], 0), None, ([], 0)] == [finder.find(name) for name in ("", "p", "q")]
