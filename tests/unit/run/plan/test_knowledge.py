"""What is known of a tree: failures, records, and whether pycs are compared with them."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import pytest

from pyctrigger.interpreter.scope import SiteDirectory
from pyctrigger.packages.ownership import Ownership
from pyctrigger.run.plan.knowledge import Knowledge
from pyctrigger.run.plan.steps import DirectoryNote, Step
from pyctrigger.run.scope.request import Request, Scope, Transaction, Work
from pyctrigger.run.scope.target import Target
from pyctrigger.state.records.directories import UnchangedDirectory, key_of
from pyctrigger.state.records.manifest import Manifest, Uncompilable
from pyctrigger.state.records.record import DIGEST_SIZE, UNSEEN, Record, identity_of
from pyctrigger.tree.directory import Tree
from pyctrigger.tree.layout import Layout
from pyctrigger.workers.pool import Lost
from unit.interpreter.made_up import interpreter
from unit.packages.stand_in import FilesInMemory
from unit.run.plan.trees import MAGIC, TEXT, cached, in_memory, wanted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RECORD = Record(UNSEEN, b"1" * DIGEST_SIZE, UNSEEN, b"2" * DIGEST_SIZE, b"3")
UNCHANGED = UnchangedDirectory("terms", b"", b"", bytes(40))


def knowledge_of(
    manifest: Manifest, work: Work = Work.RUN, limits: dict[str, float] | None = None, *, compares: bool | None = None
) -> Knowledge:
    """What a run of this kind knows."""
    ownership = Ownership(FilesInMemory({}), print)
    return Knowledge(manifest, wanted(work=work, limits=limits or {}), ownership, compares_records=compares)


@pytest.fixture
def top() -> Iterator[Path]:
    """A tree with a source, in memory."""
    with in_memory({"p/m.py": TEXT, "p/n.py": TEXT, "state": None}) as top:
        yield top


@pytest.fixture
def manifest(top: Path) -> Iterator[Manifest]:
    """A manifest in memory."""
    with contextlib.closing(Manifest(str(top / "state"))) as manifest:
        yield manifest


@pytest.mark.parametrize(
    ("work", "keeps", "is_busy", "asked", "expected"),
    [
        (Work.RUN, True, False, None, True),
        (Work.RUN, False, False, None, False),
        (Work.RUN, False, True, None, True),
        (Work.VERIFY, False, False, None, True),
        (Work.STATUS, False, False, None, True),
        (Work.VERIFY, True, False, False, False),
        (Work.RUN, False, False, True, True),
    ],
)
def test_pycs_are_compared_with_records_that_are_kept(
    top: Path, work: Work, keeps: bool, is_busy: bool, asked: bool | None, expected: bool
) -> None:
    """Or when nothing would be written; unless that is said."""
    with contextlib.closing(Manifest(str(top / "state") if keeps else None)) as manifest:
        manifest.is_busy = is_busy
        known = knowledge_of(manifest, work, compares=asked)
    assert (manifest, manifest if expected else None) == (known.manifest, known.records)


def test_failures_are_known_while_nothing_has_changed(top: Path, manifest: Manifest) -> None:
    """The file, its content, the interpreter, and the limit."""
    path, status = str(top / "p/m.py"), os.stat(top / "p/m.py")
    known = knowledge_of(manifest, limits={"timeout": 3.0})
    assert (None, False) == (known.failure_of(path), known.is_uncompilable(path, status))
    known.learn_failure(path, identity_of(status), b"d", "syntax", "why")
    failure = Uncompilable(identity_of(status), b"d", MAGIC, "syntax", "why", 0)
    assert {path: failure} == manifest.uncompilable
    assert [failure, failure, None] == [known.failure_of(path, each) for each in (None, b"d", b"e")]
    assert (True, False) == tuple(known.is_uncompilable(path, os.stat(top / "p" / each)) for each in ("m.py", "n.py"))
    for limit, tried, expected in ((3.0, 3.0, True), (3.0, 2.0, False), (3.0, 4.0, True)):
        known = knowledge_of(manifest, limits={"timeout": limit})
        known.learn_failure(path, identity_of(status), b"d", "timeout", "why", tried)
        assert expected == (known.failure_of(path) is not None) == known.is_uncompilable(path, status)
    manifest.learn(path, failure._replace(magic_number=b"othr"))
    assert (None, False) == (known.failure_of(path), known.is_uncompilable(path, status))


def test_what_exceeds_limits_is_found(manifest: Manifest) -> None:
    """Those that would exceed them again, and those that exceeded tighter ones; by whatever name."""
    known = knowledge_of(manifest, limits={"timeout": 3.0, "memory": 5.0})
    rows = [("again", "timeout", 3.0), ("tighter", "timeout", 2.0), ("large", "memory", 9.0), ("small", "memory", 4.0)]
    for digest, kind, tried in [*rows, ("error", "syntax", 0.0), ("unlimited", "other", 7.0)]:
        known.learn_failure(f"/{digest}", b"", digest.encode(), kind, f"why {digest}", tried)
    for digest in ("again", "tighter"):
        other = manifest.uncompilable[f"/{digest}"]._replace(magic_number=b"othr", digest=b"other")
        manifest.learn(f"/other/{digest}", other)
    exceeded = {b"again": Lost("timeout", "why again", 3.0), b"large": Lost("memory", "why large", 9.0)}
    assert (exceeded, {b"tighter", b"small"}) == known.find_exceeding()


@pytest.mark.parametrize("compares", [True, False])
def test_what_steps_prove_is_kept(top: Path, manifest: Manifest, compares: bool) -> None:
    """The records of pycs, also of wrong ones, and the notes of directories; of those that are gone none."""
    known, key = knowledge_of(manifest, compares=compares), key_of(str(top / "p"))
    directory = str(top / "p/__pycache__")
    manifest.directories.note(key + b"q\0", UNCHANGED)
    manifest.directories.note(key + b"r\0", UNCHANGED)
    manifest.pycs.note(directory, cached("wrong"), RECORD)
    manifest.save()
    records: list[tuple[str, Record | None]] = [(cached("m"), RECORD), (cached("wrong"), None)]
    step = Step.of("p")._replace(note=DirectoryNote(key, UNCHANGED, (b"q",)))
    step.records.extend(records)
    with Layout(Tree.open(str(top))) as layout:
        known.learn(layout, step)
        manifest.save()
        found = [manifest.directories.of(each) for each in (key, key + b"q\0", key + b"r\0")]
        pycs = [manifest.pycs.get(directory, name) for name, _ in records]
        expected = [UNCHANGED, None, UNCHANGED] if compares else [None, UNCHANGED, UNCHANGED]
        assert (expected, [RECORD, None] if compares else [None, RECORD]) == (found, pycs)
        known.learn(layout, Step.of("p"))
        known.learn(layout, Step.of("p")._replace(note=DirectoryNote(key, None, ())))
        assert manifest.directories.of(key) is None
        assert expected[2] == manifest.directories.of(key + b"r\0")


@pytest.mark.parametrize(
    ("sites", "prefix", "paths", "compares", "expected"),
    [
        (["a"], None, None, True, ["b", "c"]),
        (["a", "b"], None, None, True, ["c"]),
        (["a"], "c", None, True, ["b"]),
        ([], None, None, True, []),
        (["a"], None, (), True, []),
        (["a"], None, None, False, []),
    ],
)
def test_records_outside_the_scope_are_dropped(
    top: Path, sites: list[str], prefix: str | None, paths: tuple[str, ...] | None, compares: bool, expected: list[str]
) -> None:
    """By a run about everything."""
    with contextlib.closing(Manifest(str(top / "state"))) as manifest:
        for name in "abc":
            manifest.pycs.note(f"{top}/{name}/p/__pycache__", cached("m"), RECORD)
        manifest.save()
    found = tuple(SiteDirectory(f"{top}/{name}") for name in sites)
    target = Target(interpreter("3.11", "/opt/python"), found, None)
    scope = Scope(pycache_prefix=f"{top}/{prefix}" if prefix else None)
    with contextlib.closing(Manifest(str(top / "state"))) as manifest:
        known = knowledge_of(manifest, compares=compares)
        dropped = known.drop_out_of_scope(target, Request(Work.RUN, scope, transaction=Transaction(paths)))
    assert [f"{top}/{name}/p/__pycache__" for name in expected] == sorted(dropped)
