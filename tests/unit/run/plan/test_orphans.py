"""What is removed from a directory of pycs, and what has to stay."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from pyctrigger.pyc.names import temporary_names
from pyctrigger.run.plan import orphans
from pyctrigger.run.scope.request import Work
from unit.run.plan.trees import TAG, TEXT, WRITER, Link, cached, in_memory, make, plan, pyc, said

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
