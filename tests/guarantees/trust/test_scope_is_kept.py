"""Nothing outside the scope is written or removed, whatever is in the tree and whoever changes it meanwhile."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from conftest import absent
from interpreters import tag_of
from packages import not_fresh, pycs_below, snapshot, write_tree

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from command import Command
    from interpreters import Interpreter

SECRET = "hunter2_is_the_password"
#: A host that dawdles before it touches anything, so that whoever swaps names meanwhile gets the time to.
_SLOW = """
import os, sys, time
def dawdling(call):
    def slow(*arguments, **options):
        time.sleep(0.0003)
        return call(*arguments, **options)
    return slow
for name in ("open", "unlink", "rmdir", "rename", "mkdir"):
    setattr(os, name, dawdling(getattr(os, name)))
from pyctrigger.cli import main
sys.exit(main())
"""
VERBS = ("run", "repair", "sweep", "purge", "verify", "status")


def on(interpreter: Interpreter, *sites: Path) -> list[str]:
    """The options that put this interpreter on these site directories."""
    return ["--python", interpreter.path, *(part for site in sites for part in ("--site-dir", str(site)))]


def tempting(tag: str) -> dict[str, str]:
    """A package that gives every verb something to write and to remove."""
    return {
        "module.py": f"password = '{SECRET}'\n",
        "__init__.py": "",
        f"__pycache__/module.{tag}.pyc": "stale",
        f"__pycache__/gone.{tag}.pyc": "orphan",
        f"__pycache__/gone.{tag}.opt-1.pyc": "orphan",
        "__pycache__/.pyctrigger-stateless-0123456789abcdef.tmp": "residue",
        f"dead/__pycache__/gone.{tag}.pyc": "orphan",
        "sub/inner.py": "",
    }


@pytest.fixture
def world(tmp_path: Path, newest: Interpreter) -> Path:
    """A site directory with links in and out, and neighbours that anything careless would change."""
    tag = tag_of(newest)
    world = tmp_path / "world"
    for neighbour in ("victim", "site-packages2", "lib/site", "site-packages.old"):
        write_tree(world / neighbour, tempting(tag))
    site = world / "site-packages"
    write_tree(site / "package", tempting(tag))
    write_tree(site, {"single.py": "", "plain/module.py": "", f"__pycache__/gone.{tag}.pyc": "orphan"})
    (site / "linked").symlink_to("../victim")
    (site / "absolute").symlink_to(world / "victim")
    (site / "up").symlink_to("..")
    (site / "loop").symlink_to(".")
    (site / "package/link.py").symlink_to("../../victim/module.py")
    (site / "package/deep").symlink_to(world / "victim/sub")
    (site / "through").mkdir()
    (site / "through/module.py").write_text("")
    (site / "through/__pycache__").symlink_to("../../victim/__pycache__")
    (site / "dead").mkdir()
    (site / "dead/__pycache__").symlink_to("../../victim/dead/__pycache__")
    (world / "victim/back").symlink_to("../site-packages")
    return world


def outside(world: Path) -> dict[bytes, tuple[Any, ...]]:
    """All of the world but its site directory."""
    site = os.fsencode(world / "site-packages")
    return {path: state for path, state in snapshot(world).items() if path != site and not path.startswith(site + b"/")}


# -- links -----------------------------------------------------------------------------------------------------------


def options_of(verb: str, options: list[str]) -> list[str]:
    """Those that the verb takes: no mode where no header is written or judged."""
    return [] if verb in ("sweep", "purge") and "--invalidation-mode" in options else options


@pytest.mark.parametrize("options", [[], ["--optimize", "0,1,2"], ["--invalidation-mode", "checked-hash"]])
def test_no_verb_changes_anything_beside_the_site_directory(
    pyctrigger: Command, world: Path, newest: Interpreter, options: list[str]
) -> None:
    """Links out of it are neither followed nor removed; its own sources are compiled."""
    site = world / "site-packages"
    links = {path: os.readlink(path) for path in site.rglob("*") if path.is_symlink()}
    before = outside(world)

    for verb in ("run", "sweep", "verify", "status", "run"):
        outcome = pyctrigger.json(verb, *on(newest, site), *options_of(verb, options))
        assert outcome.code in (0, 1)
        assert outside(world) == before
        assert links == {path: os.readlink(path) for path in site.rglob("*") if path.is_symlink()}
    own = [site / name for name in ("single.py", "plain/module.py", "package/module.py", "package/sub/inner.py")]
    assert [] == not_fresh(newest, [os.fsencode(path) for path in own])
    assert not (site / "package/dead").exists()
    assert SECRET.encode() not in b"".join(path.read_bytes() for path in site.glob("__pycache__/*"))

    for verb, *answer in (("repair",), ("purge", "-y"), ("run",)):
        pyctrigger.json(verb, *answer, *on(newest, site), *options_of(verb, options))
        assert outside(world) == before


def test_a_touched_path_that_leads_through_a_link_changes_nothing_behind_it(
    pyctrigger: Command, world: Path, newest: Interpreter
) -> None:
    """Each name is in the site directory, but its target isn't."""
    site = world / "site-packages"
    before = outside(world)
    paths = ["linked", "linked/module.py", "absolute/sub", "up/victim", "loop/up/victim", "through/__pycache__", "dead"]

    for verb in ("run", "repair", "sweep", "purge -y"):
        pyctrigger.json(*verb.split(), *on(newest, site), *(f"{site}/{path}" for path in paths))
        assert outside(world) == before


def test_a_link_to_the_site_directory_is_another_name_for_it(
    pyctrigger: Command, world: Path, newest: Interpreter
) -> None:
    """`/lib` and `/usr/lib` are one directory: a path through either is inside."""
    site = world / "site-packages"
    before = outside(world)

    outcome = pyctrigger.json("run", *on(newest, site), world / "victim/back/plain/module.py")

    assert (0, 2) == (outcome.code, outcome.counts["compiled"])
    assert (site / f"plain/__pycache__/module.{tag_of(newest)}.pyc").exists()
    assert outside(world) == before


def test_a_site_directory_that_is_a_link_is_followed_once(
    pyctrigger: Command, tmp_path: Path, newest: Interpreter
) -> None:
    """The administrator's own link, named as the scope: the code carries the name that was given."""
    real = write_tree(tmp_path / "real", {"package/module.py": "x = 1\n"})
    (tmp_path / "named").symlink_to(real)

    outcome = pyctrigger.json("run", *on(newest, tmp_path / "named"))

    assert (0, 1) == (outcome.code, outcome.counts["compiled"])
    assert [] == not_fresh(newest, [os.fsencode(tmp_path / "named/package/module.py")])


# -- paths -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "victim",
        "victim/module.py",
        "site-packages/../victim",
        "site-packages/package/../../victim/module.py",
        "site-packages/./../victim//sub",
        "site-packages/..",
        "site-packages2",
        "site-packages2/module.py",
        "site-packages.old",
        "lib/site",
        "",
        "../..",
    ],
)
def test_a_path_outside_is_named_and_nothing_is_done(
    pyctrigger: Command, world: Path, newest: Interpreter, path: str
) -> None:
    """Not even for the paths that lie inside."""
    site = world / "site-packages"
    before = snapshot(world)
    named = f"{world}/{path}"

    for verb in VERBS:
        outcome = pyctrigger.text(verb, *on(newest, site), site / "plain", named)
        assert (2, "") == (outcome.code, outcome.out)
        assert outcome.err == (
            f"pyctrigger: outside the scope of {newest.flavour}: {named}; "
            f"the scope is {site}; name its directory with --site-dir as well\n"
        )
    assert snapshot(world) == before


def test_a_hook_leaves_a_path_outside_out_and_serves_the_others(
    pyctrigger: Command, world: Path, newest: Interpreter
) -> None:
    """Exit 0, the path named, its neighbour in the list compiled."""
    site = world / "site-packages"
    before = outside(world)

    outcome = pyctrigger.text("run", "--hook", *on(newest, site), f"{site}/../victim", site / "plain")

    assert 0 == outcome.code
    assert f"outside the scope of {newest.flavour}: {site}/../victim; " in outcome.err
    assert (site / f"plain/__pycache__/module.{tag_of(newest)}.pyc").exists()
    assert outside(world) == before


def test_a_newline_in_a_list_makes_no_path_of_its_own(pyctrigger: Command, world: Path, newest: Interpreter) -> None:
    """With `--null` the name is one path inside; without, its second line is outside and refused."""
    site = world / "site-packages"
    before = outside(world)
    odd = f"{site}/plain\n{world}/victim".encode()

    whole = pyctrigger.json("run", *on(newest, site), "--paths-from", "-", "--null", stdin=odd + b"\0")
    lines = pyctrigger.json("run", *on(newest, site), "--paths-from", "-", stdin=odd)

    assert (0, 2) == (whole.code, lines.code)
    assert outside(world) == before


@pytest.mark.parametrize("cwd", ["site-packages/plain", "victim"])
def test_a_relative_path_starts_where_the_caller_stands(
    pyctrigger: Command, world: Path, newest: Interpreter, cwd: str
) -> None:
    """The same words mean inside here and outside there."""
    site = world / "site-packages"
    before = outside(world)

    outcome = pyctrigger.json("run", *on(newest, site), "module.py", cwd=world / cwd)

    assert (2 if cwd == "victim" else 0) == outcome.code
    assert (cwd != "victim") == (site / f"plain/__pycache__/module.{tag_of(newest)}.pyc").exists()
    assert outside(world) == before


# -- site directories within each other ------------------------------------------------------------------------------


def test_a_site_directory_within_another_is_served_once_and_never_removed(
    pyctrigger: Command, tmp_path: Path, newest: Interpreter
) -> None:
    """Each source is counted once, and a sweep that empties the inner one leaves its directory."""
    outer = write_tree(tmp_path / "outer", {"a/m.py": "", "inner/b/m.py": "", "inner/single.py": ""})
    sites = on(newest, outer, outer / "inner", outer)

    first = pyctrigger.json("run", *sites)

    assert (0, 3) == (first.code, first.counts["compiled"])
    (outer / "inner/b/m.py").unlink()
    (outer / "inner/single.py").unlink()
    second = pyctrigger.json("run", *sites, outer)
    assert (0, 0) == (second.code, second.counts["removed"])
    third = pyctrigger.json("run", *sites, outer / "inner")
    assert (0, 2, 3) == (third.code, third.counts["removed"], third.counts["removed_directories"])
    assert [] == os.listdir(outer / "inner")
    assert 1 == len(pycs_below(outer))


def test_only_what_the_named_site_directory_holds_is_touched(
    pyctrigger: Command, tmp_path: Path, newest: Interpreter
) -> None:
    """The inner one alone: nothing above it changes, though its neighbour there has an orphan."""
    tag = tag_of(newest)
    outer = write_tree(tmp_path / "outer", {f"a/__pycache__/gone.{tag}.pyc": "", "a/m.py": "", "inner/b/m.py": ""})
    before = snapshot(outer / "a")

    for verb in ("run", "repair", "sweep", "purge -y"):
        assert 0 == pyctrigger.json(*verb.split(), *on(newest, outer / "inner")).code
        assert snapshot(outer / "a") == before
    assert {"a", "inner"} == set(os.listdir(outer))


# -- races -----------------------------------------------------------------------------------------------------------

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def exchanger() -> Callable[[Path, Path], None]:
    """What swaps two names in one step (renameat2(2)): there is never a moment without either of them."""
    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "renameat2"):
        absent("renameat2")

    def exchange(one: Path, other: Path) -> None:
        if library.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    return exchange


class Swapping:
    """A thread that swaps pairs of names to and fro, thousands of times, until the end of the `with`."""

    def __init__(self, pairs: list[tuple[Path, Path]]) -> None:
        self.rounds = 0
        self._pairs = pairs
        self._exchange = exchanger()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._swap)
        self._error: OSError | None = None

    def __enter__(self) -> Swapping:
        self._exchange(*self._pairs[0])
        self._exchange(*self._pairs[0])
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _swap(self) -> None:
        while not self._stop.is_set():
            for pair in self._pairs:
                try:
                    self._exchange(*pair)
                except FileNotFoundError:  # a sweep may have removed one of them for a good reason
                    continue
            self.rounds += 1
            time.sleep(0.0001)  # three times as often as the host looks, without taking a CPU from it


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("what", ["package", "sub", "pycache", "source"])
def test_a_name_swapped_for_a_link_at_any_moment_leads_nobody_out(
    pyctrigger: Command, tmp_path: Path, newest: Interpreter, what: str
) -> None:
    """Root works on a tree that somebody else may write: between two system calls a directory becomes a link."""
    tag = tag_of(newest)
    modules = [f"module{number}.py" for number in range(12)]
    files = {**tempting(tag), **dict.fromkeys(modules, f"password = '{SECRET}'\n")}
    victim = write_tree(tmp_path / "victim/package", files).parent
    (victim / "package/hollow/__pycache__").mkdir(parents=True)
    site, away = tmp_path / "site", tmp_path / "away"
    away.mkdir()
    inside = {**files, **dict.fromkeys([*modules, "module.py"], "x = 1\n"), f"hollow/__pycache__/gone.{tag}.pyc": ""}
    inside.update({f"sub/{each}": text for each, text in inside.items() if what == "sub"})
    write_tree(site / "package", inside)
    # What is swapped for a link to the victim's; "sub" for its whole package.
    names = {"package": [""], "sub": ["sub"], "pycache": ["__pycache__"], "source": modules}[what]
    pairs = [(site / "package" / name, away / f"link{number}") for number, name in enumerate(names)]
    for name, (_, link) in zip(names, pairs):
        link.symlink_to(victim / "package" / ("" if what == "sub" else name))
    pyctrigger.program = [sys.executable, "-c", _SLOW]
    before = snapshot(victim)
    seen = set()

    for verb in ("run", "sweep", "repair", "run", "purge -y"):
        for pair in pairs:
            if pair[0].is_symlink():
                exchanger()(*pair)
        # Everything is at rest, and in the scope: the tree gets its faults anew.
        write_tree(site / "package", inside)
        with Swapping(pairs) as swapping:
            seen.add(pyctrigger.json(*verb.split(), *on(newest, site)).code)
        assert swapping.rounds > 0
        assert snapshot(victim) == before
        assert [] == leaks(site, away, pyctrigger.state)

    assert seen <= {0, 1, 3}


def leaks(*tops: Path) -> list[Path]:
    """Bytecode, or state, that holds a word of the victim's source."""
    found = []
    for top in tops:
        for directory, _, names in os.walk(top):
            for name in names:
                path = os.path.join(directory, name)
                if not os.path.islink(path) and not name.endswith(".py"):
                    with open(path, "rb") as file:
                        if SECRET.encode() in file.read():
                            found.append(top)
    return found
