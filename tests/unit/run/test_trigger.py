"""Whole calls: what each kind of work says and does of a tree, of what was touched, and of what others left."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

import pytest

from packages import wait_for_the_next_tick
from pyctrigger.run.scope.request import Work
from unit.run.calls import SOURCE, Tree
from unit.run.expected_calls import EXPECTED

if TYPE_CHECKING:
    from pathlib import Path

    from interpreters import Interpreter

SOURCES: dict[str, str] = {"a": SOURCE, "p/m": SOURCE, "p/q/n": SOURCE, "r/m": SOURCE}
NOWHERE = "/nowhere/python3"


def edit(tree: Tree, *names: str) -> None:
    """Write other sources of another size and mtime."""
    for name in names:
        source = tree.site / f"{name}.py"
        source.write_text("NEW = 1\n")
        os.utime(source, (2e9, 2e9))
    wait_for_the_next_tick(tree.site)


def lose(tree: Tree, *names: str) -> None:
    """Remove sources, or whole packages without their bytecode's directories."""
    for name in names:
        (tree.site / f"{name}.py").unlink()


def wear(tree: Tree) -> None:
    """Have everything that can be wrong once."""
    for name in ("missing", "older", "longer", "magic", "cut", "other", "gone", "shut"):
        (tree.site / f"{name}.py").write_text(SOURCE)
        os.utime(tree.site / f"{name}.py", (1e9, 1e9))
    (tree.site / "bad.py").write_text("x = (\n")
    os.utime(tree.site / "bad.py", (1e9, 1e9))
    wait_for_the_next_tick(tree.site)
    tree(Work.RUN)
    tree.pyc("missing").unlink()
    os.utime(tree.site / "older.py", (2e9, 2e9))
    (tree.site / "longer.py").write_text(SOURCE * 2)
    os.utime(tree.site / "longer.py", (1e9, 1e9))
    data = {name: tree.pyc(name).read_bytes() for name in ("magic", "cut", "other")}
    tree.pyc("magic").write_bytes(b"3\r\r\n" + data["magic"][4:])
    tree.pyc("cut").write_bytes(data["cut"][:20])
    tree.pyc("other").write_bytes(data["other"].replace(b"a text", b"A text"))
    lose(tree, "gone")
    tree.pyc("a").with_name(f"{tree.pyc('a').name}.123456").write_bytes(b"")
    os.utime(tree.pyc("a").with_name(f"{tree.pyc('a').name}.123456"), (1e9, 1e9))
    tree.pyc("shut").chmod(0o600)
    (tree.site / "obst").mkdir()
    (tree.site / "obst/m.py").write_text(SOURCE)
    (tree.site / "obst/__pycache__").write_text("")
    (tree.top / "elsewhere").mkdir()
    (tree.top / "elsewhere/x.py").write_text("")
    (tree.site / "link").symlink_to(tree.top / "elsewhere")


def configure(tree: Tree, text: str) -> str:
    """A configuration file."""
    path = tree.top / "pyctrigger.toml"
    path.write_text(text)
    path.chmod(0o600)
    return str(path)


class Call(NamedTuple):
    """What is done to a compiled tree, and then asked."""

    work: Work
    names: tuple[str, ...] = ()
    options: dict[str, Any] = {}  # noqa: RUF012 - never changed
    before: Callable[[Tree], object] = lambda tree: None
    configuration: str | None = None

    def made(self, tree: Tree) -> dict[str, Any]:
        """What it says, what waits afterwards, and whether all bytecode is fresh."""
        self.before(tree)
        options = dict(self.options)
        if self.configuration is not None:
            options["config"] = configure(tree, self.configuration)
        told = tree.told(self.work, *self.names, **options)
        pending = tree.pending()
        return {**told, "pending": pending} if pending else told


def defer(*names: str, **options: Any) -> Callable[[Tree], object]:
    """Leave work in the journal."""

    def prepare(tree: Tree) -> None:
        edit(tree, *(name[:-3] for name in names))
        tree(Work.RUN, *names, defer=True, **options)

    return prepare


def tried(times: int) -> Callable[[Tree], object]:
    """Leave work that was tried so often."""

    def prepare(tree: Tree) -> None:
        defer("p/m.py")(tree)
        (entry,) = tree.state.glob("*/journal/*.json")
        document = json.loads(entry.read_text())
        entry.write_text(json.dumps({**document, "attempts": times}))

    return prepare


def another_magic(tree: Tree) -> None:
    """Remember another magic number than the interpreter's."""
    (known,) = tree.state.glob("cpython-*/magic_number")
    known.write_text("cb0d0d0a\n" if known.read_text().endswith("\n") else "cb0d0d0a")


def damaged_entry(tree: Tree) -> None:
    """An entry that is no request."""
    defer("p/m.py")(tree)
    (entry,) = tree.state.glob("*/journal/*.json")
    document = json.loads(entry.read_text())
    document["options"]["optimize"] = {"no": "number"}
    entry.write_text(json.dumps(document))


def edited(*names: str) -> Callable[[Tree], object]:
    """Other sources."""
    return lambda tree: edit(tree, *names)


def without_package(tree: Tree) -> None:
    """A package whose sources are gone, as a manager leaves it."""
    lose(tree, "p/q/n")
    edit(tree, "r/m")


def stale_level(tree: Tree) -> None:
    """A level that isn't asked for any more, of a source that has changed since."""
    tree(Work.RUN, optimize=(0, 1))
    edit(tree, "a")
    tree(Work.RUN)


LEVELS = {"optimize": (0, 1)}
HOOK = {"hook": True}
CALLS: dict[str, Call] = {
    "verify": Call(Work.VERIFY, before=wear),
    "verify, comparing": Call(Work.VERIFY, options={"compare_code": True}, before=wear),
    "status": Call(Work.STATUS, before=wear),
    "run, dry": Call(Work.RUN, options={"dry_run": True}, before=wear),
    "repair, dry": Call(Work.REPAIR, options={"dry_run": True}, before=wear),
    "sweep, dry": Call(Work.SWEEP, options={"dry_run": True}, before=wear),
    "purge, dry": Call(Work.PURGE, options={"dry_run": True}, before=wear),
    "run": Call(Work.RUN, before=wear),
    "repair": Call(Work.REPAIR, before=wear),
    "sweep": Call(Work.SWEEP, before=wear),
    "purge": Call(Work.PURGE, before=wear),
    "run without state": Call(Work.RUN, options={"state_dir": None, "stateless": True}, before=wear),
    "verify without state": Call(Work.VERIFY, options={"state_dir": None, "stateless": True}, before=wear),
    "a second level": Call(Work.RUN, options=LEVELS),
    "a level that isn't wanted": Call(Work.VERIFY, before=lambda tree: tree(Work.RUN, optimize=(0, 1))),
    "stale, and not wanted": Call(Work.VERIFY, before=stale_level),
    "sweep what isn't wanted": Call(
        Work.SWEEP, options={"unwanted": True}, before=lambda tree: tree(Work.RUN, optimize=(0, 1))
    ),
    "touched": Call(Work.RUN, ("p/m.py",), {"event": "upgrade"}, edited("a", "p/m", "p/q/n", "r/m")),
    "touched below": Call(Work.RUN, ("p/q/n.py",), {"event": "install"}, edited("a", "p/m", "p/q/n", "r/m")),
    "verify what was touched": Call(Work.VERIFY, ("r/m.py",), {}, edited("a", "p/m", "r/m")),
    "dry of what was touched": Call(Work.RUN, ("r/m.py",), {"dry_run": True}, edited("a", "p/m", "r/m")),
    "hook": Call(Work.RUN, ("p/m.py",), HOOK, edited("a", "p/m", "r/m")),
    "removed": Call(Work.RUN, ("p/q/n.py",), {"event": "remove"}, without_package),
    "removed, by a hook": Call(Work.RUN, ("p/q/n.py",), {"event": "remove", **HOOK}, without_package),
    "nothing was touched": Call(Work.RUN, (), {"paths": ()}, edited("a")),
    "nothing was touched, hook": Call(Work.RUN, (), {"paths": (), **HOOK}, edited("a")),
    "deferred": Call(Work.RUN, ("p/m.py",), {"defer": True}, edited("p/m")),
    "deferred, nothing": Call(Work.RUN, (), {"paths": (), "defer": True}),
    "deferred, all": Call(Work.RUN, (), {"defer": True}),
    "takes over": Call(Work.RUN, ("r/m.py",), {}, defer("p/m.py")),
    "takes over, hook": Call(Work.RUN, ("r/m.py",), HOOK, defer("p/m.py")),
    "takes over with other options": Call(Work.RUN, ("r/m.py",), LEVELS, defer("p/m.py")),
    "takes over nothing": Call(Work.RUN, (), {"paths": ()}, defer("p/m.py")),
    "repair takes over": Call(Work.REPAIR, ("r/m.py",), {}, defer("p/m.py")),
    "verify leaves it": Call(Work.VERIFY, ("r/m.py",), {}, defer("p/m.py")),
    "sweep leaves it": Call(Work.SWEEP, ("r/m.py",), {}, defer("p/m.py")),
    "purge leaves it": Call(Work.PURGE, (), {}, defer("p/m.py")),
    "tried twice": Call(Work.RUN, ("r/m.py",), {}, tried(2)),
    "parked": Call(Work.RUN, ("r/m.py",), {}, tried(3)),
    "parked, all": Call(Work.RUN, (), {}, tried(3)),
    "parked, repair": Call(Work.REPAIR, (), {}, tried(3)),
    "an entry that can't be read": Call(Work.RUN, ("r/m.py",), {}, damaged_entry),
    "another magic number": Call(Work.RUN, ("r/m.py",), {}, another_magic),
    "another magic number, hook": Call(Work.RUN, ("r/m.py",), HOOK, another_magic),
    "another magic number, all": Call(Work.RUN, (), {}, another_magic),
    "another magic number, verify": Call(Work.VERIFY, ("r/m.py",), {}, another_magic),
    "outside": Call(Work.RUN, (), {"paths": ("/nowhere/x.py",)}),
    "outside, hook": Call(Work.RUN, (), {"paths": ("/nowhere/x.py",), **HOOK}),
    "hooks off": Call(Work.RUN, ("a.py",), HOOK, edited("a"), "[hooks]\nenabled = false\n"),
    "hooks off, by hand": Call(Work.RUN, ("a.py",), {}, edited("a"), "[hooks]\nenabled = false\n"),
    "hooks off, nothing": Call(Work.RUN, (), {"paths": (), **HOOK}, edited("a"), "[hooks]\nenabled = false\n"),
    "no configuration": Call(Work.RUN, ("a.py",), {}, edited("a"), "optimize = ["),
    "no configuration, hook": Call(Work.RUN, ("a.py",), HOOK, edited("a"), "optimize = ["),
    "no configuration, dry hook": Call(Work.RUN, ("a.py",), {"dry_run": True, **HOOK}, edited("a"), "optimize = ["),
    "no interpreter": Call(Work.RUN, ("a.py",), {"pythons": (NOWHERE,)}),
    "no interpreter, hook": Call(Work.RUN, ("a.py",), {"pythons": (NOWHERE,), **HOOK}),
    "no interpreter, deferred": Call(Work.RUN, ("a.py",), {"pythons": (NOWHERE,), "defer": True}),
    "no interpreter, dry hook": Call(Work.RUN, ("a.py",), {"pythons": (NOWHERE,), "dry_run": True, **HOOK}),
    "no site directory": Call(Work.RUN, (), {"site_dirs": ("/nowhere/site",)}),
    "excluded": Call(Work.RUN, (), {"exclude": ("*/p/*",)}, edited("a", "p/m")),
    "created only where it is": Call(
        Work.RUN, (), {}, lambda tree: tree.pyc("a").unlink(), "[defaults]\ncreate_missing = false\n"
    ),
    "by hashes": Call(
        Work.RUN, (), {"invalidation_mode": None}, edited("a"), '[defaults]\ninvalidation_mode = "checked-hash"\n'
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_what_a_call_says_and_leaves(tmp_path: Path, newest: Interpreter, name: str) -> None:
    """Everything, as far as it doesn't depend on the machine or the clock."""
    tree = Tree(tmp_path, newest, SOURCES)
    assert EXPECTED[name] == CALLS[name].made(tree)
