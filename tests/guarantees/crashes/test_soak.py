"""The soak, for a minute; and that it would notice what it is there for."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import soak
from conftest import absent
from interpreters import tag_of
from soaking import invariants
from soaking.package import release
from soaking.site import FileChange, Site
from soaking.steps import Changes, GoBack, KeepCopy, Round, Step, Strangers
from soaking.transaction import Drawing
from soaking.witnesses import Judge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from interpreters import Interpreter

SEED = 16
#: As many as come in less than a minute on two quiet processors. Each kind of step is among them.
MINUTES, TRANSACTIONS = 1, 40


@pytest.mark.timeout(1200)
def test_a_minute_of_the_soak_breaks_nothing(tmp_path: Path) -> None:
    """Always the same transactions, as many as there is time for."""
    if len(soak.choose(3)) < 3:
        absent("three interpreters with different cache tags")
    bounds = ["--minutes", str(MINUTES), "--transactions", str(TRANSACTIONS)]
    command = [sys.executable, soak.__file__, "--seed", str(SEED), *bounds, "--directory", str(tmp_path)]

    child = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=1100)

    assert (0, b"") == (child.returncode, child.stderr), child.stdout.decode()[-8000:]
    done = re.search(rb"([0-9]+) transactions", child.stdout)
    assert done, child.stdout
    assert int(done[1]) >= 4
    assert [] == list(tmp_path.iterdir())


# -- what is drawn ---------------------------------------------------------------------------------------------------


def carried_out(seed: int, place: Path, count: int) -> list[Step]:
    """The steps of so many transactions, with only the package manager's carried out."""
    site = Site(place / "site")
    site.top.mkdir(parents=True)
    drawing = Drawing(seed, 3, can_fill=True)
    steps: list[Step] = []
    copy = None
    for number in range(1, count + 1):
        for step in drawing.draw(number, site).steps:
            steps.append(step)
            if isinstance(step, (Changes, Round)):
                site.change(step.changes)
            elif isinstance(step, Strangers):
                for path, data in step.files:
                    site.add_stranger(path, data)
            elif isinstance(step, KeepCopy) and step.of == "tree":
                copy = site.snapshot(place / "copy")
            elif isinstance(step, GoBack) and step.of == "tree":
                assert copy
                site.go_back(copy, synchronise=step.synchronised)
        assert [] == list(invariants.tree_faults(site))
    return steps


def test_a_seed_always_has_the_same_transactions(tmp_path: Path) -> None:
    """All of them, after each other's changes; and another seed has others."""
    once, again = (carried_out(3, tmp_path / name, 60) for name in ("once", "again"))

    assert once == again
    assert once != carried_out(4, tmp_path / "other", 10)


# -- what is noticed -------------------------------------------------------------------------------------------------


class Tree:
    """A package with its pycs as they should be, and something of another program's."""

    def __init__(self, top: Path, interpreter: Interpreter) -> None:
        self.site = Site(top)
        files = {
            path: file._replace(data=b"VALUE = 1234567\n") for path, file in release(random.Random(8), "pkg").items()
        }
        self.site.change([FileChange(path, file) for path, file in files.items()])
        self.source = top / os.fsdecode(next(path for path in files if path.endswith(b".py") and b"/" in path))
        self.site.add_stranger(os.fsencode((self.source.parent / "__pycache__/README").relative_to(top)), b"stranger")
        command = [interpreter.path, "-I", "-S", "-m", "compileall", "-q", str(top)]
        subprocess.run(command, check=True, capture_output=True)
        self.pyc = self.source.parent / "__pycache__" / f"{self.source.stem}.{tag_of(interpreter)}.pyc"

    def rewrite(self, change: Callable[[bytes], bytes]) -> None:
        """Other bytes in the pyc."""
        self.pyc.write_bytes(change(self.pyc.read_bytes()))

    def edit(self, text: str) -> None:
        """Another source at the same time, as if the model knew of it."""
        status = self.source.stat()
        path = os.fsencode(self.source.relative_to(self.site.top))
        file = self.site.files[path]._replace(data=text.encode())
        self.site.files[path] = file
        self.source.write_text(text, encoding="utf-8")
        os.utime(self.source, ns=(status.st_mtime_ns, status.st_mtime_ns))


FAULTS: dict[str, tuple[Callable[[Tree], object], str]] = {
    "nothing": (lambda _: None, ""),
    "another size": (lambda tree: tree.edit("VALUE = 1\n"), "stale"),
    "a change in disguise": (lambda tree: tree.edit("VALUE = 7654321\n"), "other code"),
    "a source that can't be compiled": (lambda tree: tree.edit("def broken(:   \n"), "code of a source"),
    "no pyc": (lambda tree: tree.pyc.unlink(), "missing"),
    "half a pyc": (lambda tree: tree.rewrite(lambda data: data[: len(data) // 2]), "torn"),
    "more than a pyc": (lambda tree: tree.rewrite(lambda data: data + b"x"), "more behind the code"),
    "another file's name": (
        lambda tree: tree.rewrite(lambda data: data.replace(b"/pkg", b"/qkg")),
        "other co_filename",
    ),
    "a pyc without a source": (
        lambda tree: shutil.copy(tree.pyc, tree.pyc.with_name(f"gone{tree.pyc.suffixes[0]}.pyc")),
        "orphan",
    ),
    "residue": (lambda tree: (tree.pyc.parent / ".pyctrigger-x-0123456789abcdef.tmp").touch(), "residue"),
    "an empty directory": (lambda tree: (tree.site.top / "empty").mkdir(), "has no file"),
    "an empty __pycache__": (lambda tree: (tree.site.top / "empty/__pycache__").mkdir(parents=True), "has no file"),
    "another program's file": (lambda tree: (tree.pyc.parent / "README").write_text("ours"), "README' was changed"),
    "a source that is gone": (lambda tree: tree.source.unlink(), "is gone"),
}


@pytest.fixture
def judge(newest: Interpreter) -> Iterator[Judge]:
    """One of the newest CPython."""
    judge = Judge(newest)
    yield judge
    judge.close()


@pytest.mark.parametrize(("damage", "expected"), FAULTS.values(), ids=FAULTS)
def test_each_fault_of_a_tree_is_named(
    site: Path, newest: Interpreter, judge: Judge, damage: Callable[[Tree], object], expected: str
) -> None:
    """By the judge or by those who look at files; and where there is none, none is."""
    tree = Tree(site, newest)
    damage(tree)
    judge.ask(tree.site)

    faults = [kind for kind, _ in judge.answer().findings] + list(invariants.tree_faults(tree.site))

    if expected:
        assert [] != [fault for fault in faults if expected in fault], faults
    else:
        assert [] == faults


def test_a_process_that_is_left_over_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that is known isn't."""
    monkeypatch.setattr(invariants, "_GRACE", 0.1)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert [] == list(invariants.process_faults([child.pid]))
        (fault,) = invariants.process_faults([])
        child.communicate(b"\n")

    assert f"process {child.pid} is left over" in fault
