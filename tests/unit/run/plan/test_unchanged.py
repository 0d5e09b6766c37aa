"""Directories that needed no work: which changes are seen by stat alone."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from typing import TYPE_CHECKING, Any, Callable

import pytest

from pyctrigger.run.scope.request import Work
from pyctrigger.state.records.directories import key_of
from pyctrigger.state.records.manifest import Manifest
from unit.run.plan.trees import MTIME, TEXT, Link, cached, in_memory, make, plan, pyc, record, said

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


Deed = Callable[["Path"], Any]
#: A change, and the directories of which it makes the note worthless.
CHANGES: dict[str, tuple[Deed, set[str]]] = {
    "nothing": (lambda top: None, set()),
    "a new source": (lambda top: make(top, {"p/new.py": TEXT}), {"p"}),
    "a new file": (lambda top: make(top, {"p/data.txt": b""}), {"p"}),
    "a new directory": (lambda top: make(top, {"p/r": None}), {"p"}),
    "a name that went": (lambda top: (top / "p/q/n.py").unlink(), {"p/q", "p"}),
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
    assert {".", "p", "p/q"} == noted(top, manifest)

    deed, changed = CHANGES[case]
    deed(top)
    looked_at = {step.note.directory for step in plan(top, manifest=manifest) if step.note}
    assert {key_of(str(top / name)) for name in changed} == looked_at


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
    expected = ["p: write m.py: 1 missing", "p/q: write n.py: 1 missing"]
    assert expected == said(plan(top, manifest=manifest, levels=(0, 1)))
