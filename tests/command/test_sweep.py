"""The sweep: orphans are removed, with the directories that this empties; everything else stays."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING, Optional

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from command import Command, hours_later
from conftest import absent
from corpus import room
from interpreters import tag_of
from packages import pycs_below, snapshot, write_tree
from pyctrigger.run.scope.request import Request, Running, Scope, Work
from pyctrigger.run.trigger import perform
from pyctrigger.state.locations import lock_directory

if TYPE_CHECKING:
    from interpreters import Interpreter

    Names = list[tuple[str, str]]
    Drawn = dict[str, tuple[Names, Optional[Names]]]


def names_below(top: Path) -> set[str]:
    """Everything below `top`, relative to it; directories end in `/`."""
    return {
        str(path.relative_to(top)) + ("/" if path.is_dir() and not path.is_symlink() else "") for path in top.rglob("*")
    }


@pytest.fixture
def later(pyctrigger: Command) -> Command:
    """The command two hours from now, with the same state."""
    return hours_later(pyctrigger)


@pytest.fixture
def scope(site: Path, newest: Interpreter) -> list[str]:
    """The newest CPython on the empty site directory."""
    return ["--python", newest.path, "--site-dir", str(site)]


# -- which files -----------------------------------------------------------------------------------------------------


@pytest.mark.few_targets
def test_an_orphan_goes_at_every_level(pyctrigger: Command, site: Path, interpreter: Interpreter) -> None:
    """Also at levels that this run wouldn't write, for every flavour; the neighbour keeps all of its bytecode."""
    write_tree(site, {"package/gone.py": "", "package/stays.py": ""})
    arguments = ["--python", interpreter.path, "--site-dir", str(site)]
    pyctrigger.json("run", *arguments, "--optimize", "0,1,2")
    (site / "package/gone.py").unlink()

    outcome = pyctrigger.json("sweep", *arguments)

    assert (0, 3) == (outcome.code, outcome.counts["removed"])
    tag = tag_of(interpreter)
    assert {f"stays.{tag}.pyc", f"stays.{tag}.opt-1.pyc", f"stays.{tag}.opt-2.pyc"} == {
        os.path.basename(os.fsdecode(path)) for path in pycs_below(site)
    }


def test_a_name_that_is_not_to_the_letter_an_own_pyc_stays(
    pyctrigger: Command, site: Path, newest: Interpreter, scope: list[str]
) -> None:
    """Other tags, Numba's caches, pytest's, and names that only look alike belong to others."""
    tag = tag_of(newest)
    pycache = site / "package/__pycache__"
    foreign = [
        "gone.cpython-36.pyc",
        f"gone.{tag}t.pyc",
        f"gone.{tag}0.pyc",
        "gone.pypy39.pyc",
        "gone.pypy39.opt-1.pyc",
        f"gone.function-12.{tag.replace('cpython-', 'py')}.nbi",
        f"gone.function-12.{tag.replace('cpython-', 'py')}.1.nbc",
        f"gone.{tag}.nbi",
        f"test_gone.{tag}-pytest-8.3.4.pyc",
        f"gone.{tag}.opt-.pyc",
        f"gone.{tag}.opt-x.pyc",
        f"gone.{tag}.pyc.bak",
        f"gone.{tag}.pyc\n",
        f"gone.{tag}.pyo",
        f"gone.{tag}.PYC",
        f"gone-{tag}.pyc",
        f".{tag}.pyc",
        f"{tag}.pyc",
        "gone.pyc",
        "README",
    ]
    write_tree(pycache, dict.fromkeys([*foreign, f"gone.{tag}.pyc", f"*.{tag}.pyc", f"gone.{tag}.opt-1.pyc"], "x"))
    write_tree(site, {"package/sourceless.pyc": "x", "sourceless.pyc": "x"})

    outcome = pyctrigger.json("sweep", *scope)

    assert (3, 0) == (outcome.counts["removed"], outcome.counts["removed_directories"])
    assert sorted(foreign) == sorted(os.listdir(pycache))
    assert {"package/", "package/__pycache__/", "package/sourceless.pyc", "sourceless.pyc"} <= names_below(site)


def test_a_directory_in_the_place_of_a_pyc_stays_and_a_link_goes_without_its_goal(
    pyctrigger: Command, site: Path, tmp_path: Path, newest: Interpreter, scope: list[str]
) -> None:
    """What is removed is the entry itself: never a directory, never what a link leads to."""
    tag = tag_of(newest)
    pycache = write_tree(site, {f"package/__pycache__/directory.{tag}.pyc/inside": "x"}) / "package/__pycache__"
    (tmp_path / "goal.pyc").write_text("kept")
    (pycache / f"link.{tag}.pyc").symlink_to(tmp_path / "goal.pyc")

    outcome = pyctrigger.json("sweep", *scope)

    assert 1 == outcome.counts["removed"]
    assert [f"directory.{tag}.pyc"] == os.listdir(pycache)
    assert "kept" == (tmp_path / "goal.pyc").read_text()


def test_anything_under_the_name_of_the_source_keeps_the_pyc(
    pyctrigger: Command, site: Path, newest: Interpreter, scope: list[str]
) -> None:
    """A link that leads nowhere (a file system that isn't mounted yet), and even a directory, is no missing source."""
    tag = tag_of(newest)
    write_tree(site, {"package/directory.py/inside.txt": "x"})
    (site / "package/dangling.py").symlink_to("/nonexistent/dangling.py")
    pycache = site / "package/__pycache__"
    write_tree(pycache, {f"dangling.{tag}.pyc": "x", f"directory.{tag}.pyc": "x"})
    before = snapshot(site)

    outcome = pyctrigger.json("sweep", *scope)

    assert (0, 0) == (outcome.code, outcome.counts["removed"])
    assert snapshot(site) == before


def test_who_only_looks_calls_no_pyc_an_orphan_whose_source_is_there(
    pyctrigger: Command, site: Path, newest: Interpreter, scope: list[str]
) -> None:
    """Whatever has its name, neither `verify` nor a dry run considers it gone."""
    tag = tag_of(newest)
    write_tree(site, {f"package/__pycache__/{name}.{tag}.pyc": "" for name in ("link", "directory", "fifo", "gone")})
    (site / "package/link.py").symlink_to("nowhere")
    (site / "package/directory.py").mkdir()
    os.mkfifo(site / "package/fifo.py")

    found = pyctrigger.json("verify", *scope).findings
    actions = pyctrigger.json("run", "--dry-run", *scope).run["actions"]

    orphan = f"{site}/package/__pycache__/gone.{tag}.pyc"
    assert [orphan] == [each["pyc"] for each in found if each["kind"] == "orphan"]
    assert [orphan] == [each["path"] for each in actions if each["action"] == "remove"]


def test_an_empty_pycache_beside_an_excluded_source_stays(pyctrigger: Command, site: Path, scope: list[str]) -> None:
    """Nothing was removed from it, and it is somebody's."""
    write_tree(site, {"package/a.py": ""})
    (site / "package/__pycache__").mkdir()
    assert 0 == pyctrigger.json("run", *scope, "--exclude", "*/package/*").counts["removed_directories"]
    assert (site / "package/__pycache__").is_dir()


@pytest.mark.parametrize("neighbour", ["gone.so", "gone.c", "gone.pyi", "gone.pyx", "gone.pyc", "gone_1", "gone"])
def test_a_neighbour_of_a_similar_name_is_no_source(
    pyctrigger: Command, site: Path, scope: list[str], neighbour: str
) -> None:
    """A module that became an extension, or a stub that stayed, doesn't keep the old bytecode."""
    write_tree(site, {"package/gone.py": "", f"package/{neighbour}": "x"})
    pyctrigger.json("run", *scope)
    (site / "package/gone.py").unlink()

    outcome = pyctrigger.json("sweep", *scope)

    assert 1 == outcome.counts["removed"]
    assert {"package/", f"package/{neighbour}"} == names_below(site)


def test_a_sweep_compiles_nothing(pyctrigger: Command, site: Path, newest: Interpreter, scope: list[str]) -> None:
    """Missing and stale pycs stay as they are."""
    write_tree(site, {"package/missing.py": "", "package/stale.py": ""})
    write_tree(site, {f"package/__pycache__/stale.{tag_of(newest)}.pyc": "stale"})
    before = snapshot(site)

    outcome = pyctrigger.json("sweep", *scope)

    assert (0, dict.fromkeys(outcome.counts, 0)) == (outcome.code, outcome.counts)
    assert snapshot(site) == before


def test_a_source_that_comes_back_is_compiled_again(
    pyctrigger: Command, site: Path, newest: Interpreter, scope: list[str]
) -> None:
    """Removing and reinstalling a package are two transactions like any others."""
    write_tree(site, {"package/module.py": "x = 1\n"})
    pyctrigger.json("run", *scope)
    (site / "package/module.py").rename(site / "away")
    assert 1 == pyctrigger.json("run", *scope).counts["removed"]
    (site / "package").mkdir()
    (site / "away").rename(site / "package/module.py")

    outcome = pyctrigger.json("run", *scope)

    assert (1, 0) == (outcome.counts["compiled"], outcome.counts["removed"])
    assert (site / f"package/__pycache__/module.{tag_of(newest)}.pyc").exists()


def test_what_was_seen_before_the_wait_for_the_lock_is_looked_at_again(
    pyctrigger: Command, site: Path, newest: Interpreter, scope: list[str]
) -> None:
    """What another transaction brings back meanwhile keeps its bytecode, and what it adds gets some."""
    write_tree(site, {"package/module.py": "x = 1\n"})
    installation = pyctrigger.json("run", *scope).run["installation"]
    (site / "package/module.py").rename(site / "package/away")
    lock = os.open(os.path.join(lock_directory() or "", installation + ".lock"), os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pyctrigger.start("run", *scope) as child:
            assert child.stderr
            assert child.stderr.readline().startswith(b"waiting for the lock, held by ")
            (site / "package/away").rename(site / "package/module.py")
            write_tree(site, {"package/new.py": ""})
            fcntl.flock(lock, fcntl.LOCK_UN)
            out, err = child.communicate(timeout=60)
    finally:
        os.close(lock)

    assert (0, b"") == (child.returncode, err)
    assert f"{newest.flavour}: 1 compiled, 0 removed, 0 failed in ".encode() in out
    tag = tag_of(newest)
    assert [f"module.{tag}.pyc", f"new.{tag}.pyc"] == sorted(os.listdir(site / "package/__pycache__"))


def test_the_source_is_looked_for_at_the_moment_of_removal(
    pyctrigger: Command, site: Path, newest: Interpreter, scope: list[str]
) -> None:
    """What comes back between the look at the directory and the removal, even as a dangling link, keeps its pyc."""
    tag = tag_of(newest)
    count = 1500
    pycs = [f"{'long_name_' * 5}{number:04}.{tag}.pyc" for number in range(count)]
    write_tree(site / "package/__pycache__", dict.fromkeys([*pycs, f"y.{tag}.pyc", f"z.{tag}.pyc"], ""))
    with pyctrigger.start("sweep", *scope, "--json", "-v", bufsize=0) as child:
        assert child.stderr
        next(line for line in child.stderr if line.startswith(b"removed "))
        # Its lines are more than a pipe holds: until somebody reads on, the sweep can't come to the last names.
        (site / "package/y.py").touch()
        (site / "package/z.py").symlink_to("/nonexistent/z.py")
        _, err = child.communicate(timeout=60)

    assert (0, count - 1) == (child.returncode, err.count(b"removed "))
    assert [f"y.{tag}.pyc", f"z.{tag}.pyc"] == sorted(os.listdir(site / "package/__pycache__"))


# -- residue ---------------------------------------------------------------------------------------------------------


def test_residue_of_an_importer_needs_an_hour(
    pyctrigger: Command, later: Command, site: Path, newest: Interpreter, scope: list[str]
) -> None:
    """Importers take no lock: what looks like their residue may be a pyc being written, whatever its mtime."""
    tag = tag_of(newest)
    pycache = write_tree(site, {"package/module.py": ""}) / "package/__pycache__"
    pyctrigger.json("run", *scope)
    residue = [f"module.{tag}.pyc.140234567890", f"gone.{tag}.pyc.1", f"module.{tag}.opt-2.pyc.77"]
    foreign = ["module.cpython-36.pyc.140234567890", f"module.{tag}.pyc.12ab", f"module.{tag}.pyc.", "module.py.12"]
    write_tree(pycache, dict.fromkeys(residue + foreign, ""))
    for name in residue:
        os.utime(pycache / name, (1, 1))

    assert 0 == pyctrigger.json("run", *scope).counts["removed"]
    outcome = later.json("run", *scope)

    assert len(residue) == outcome.counts["removed"]
    assert sorted([*foreign, f"module.{tag}.pyc"]) == sorted(os.listdir(pycache))


def test_own_residue_goes_at_once_and_another_installations_when_it_is_old(
    pyctrigger: Command, later: Command, site: Path, newest: Interpreter, scope: list[str]
) -> None:
    """The lock proves its own writer dead; a writer under another lock, or under none, may be at work."""
    pycache = write_tree(site, {"package/module.py": ""}) / "package/__pycache__"
    installation = pyctrigger.json("run", *scope).run["installation"]
    own = f".pyctrigger-{installation}-0123456789abcdef.tmp"
    others = [
        ".pyctrigger-cpython-399-3f2a9c1d-0123456789abcdef.tmp",
        f".pyctrigger-{installation}0-0123456789abcdef.tmp",
        ".pyctrigger-stateless-0123456789abcdef.tmp",
    ]
    foreign = [".pyctrigger-.tmp", f".pyctrigger-{installation}-0123456789abcdef.tmp.orig", f"{own[1:]}"]
    write_tree(pycache, dict.fromkeys([own, *others, *foreign], "half a pyc"))

    assert 1 == pyctrigger.json("sweep", *scope).counts["removed"]
    pyc = f"module.{tag_of(newest)}.pyc"
    assert sorted([*others, *foreign, pyc]) == sorted(os.listdir(pycache))

    assert len(others) == later.json("sweep", *scope).counts["removed"]
    assert sorted([*foreign, pyc]) == sorted(os.listdir(pycache))


def test_residue_of_a_run_without_state_is_no_own_residue_of_the_next(
    pyctrigger: Command, site: Path, scope: list[str]
) -> None:
    """Without a lock nothing proves that another such run isn't writing this very file."""
    write_tree(site, {"package/__pycache__/.pyctrigger-stateless-0123456789abcdef.tmp": ""})
    before = snapshot(site)

    outcome = pyctrigger.json("sweep", *scope, "--stateless")

    assert (0, 0) == (outcome.code, outcome.counts["removed"])
    assert snapshot(site) == before


# -- which directories -----------------------------------------------------------------------------------------------


def test_the_directories_that_a_removal_empties_go_up_to_the_site_directory(
    pyctrigger: Command, site: Path, scope: list[str]
) -> None:
    """The site directory itself, and what holds anything else, stays."""
    write_tree(site, {"a/b/c/module.py": "", "single.py": "", "kept/sub/module.py": "", "kept/data.txt": "x"})
    pyctrigger.json("run", *scope)
    for source in ("a/b/c/module.py", "single.py", "kept/sub/module.py"):
        (site / source).unlink()

    outcome = pyctrigger.json("sweep", *scope)

    assert (3, 7) == (outcome.counts["removed"], outcome.counts["removed_directories"])
    assert {"kept/", "kept/data.txt"} == names_below(site)


def test_a_directory_that_was_empty_before_stays_with_those_above_it(
    pyctrigger: Command, site: Path, scope: list[str]
) -> None:
    """An empty directory may be a package's own; only what the sweep emptied is the sweep's to remove."""
    write_tree(site, {"package/module.py": "", "other/module.py": ""})
    pyctrigger.json("run", *scope)
    for path in ("empty/inside", "package/empty", "other/__pycache__/empty"):
        (site / path).mkdir(parents=True)
    (site / "package/module.py").unlink()
    (site / "other/module.py").unlink()

    outcome = pyctrigger.json("sweep", *scope)

    assert (2, 1) == (outcome.counts["removed"], outcome.counts["removed_directories"])
    assert {
        "empty/",
        "empty/inside/",
        "package/",
        "package/empty/",
        "other/",
        "other/__pycache__/",
        "other/__pycache__/empty/",
    } == names_below(site)


def test_a_flavour_leaves_a_shared_directory_to_the_other_one(
    pyctrigger: Command, site: Path, interpreters: list[Interpreter], newest: Interpreter
) -> None:
    """Each removes its own orphans, and only the last one finds the directories empty."""
    other = next((each for each in interpreters if each != newest), None)
    if other is None:
        absent("a second flavour")
    write_tree(site, {"package/module.py": ""})
    for each in (newest, other):
        pyctrigger.json("run", "--python", each.path, "--site-dir", site)
    (site / "package/module.py").unlink()

    first = pyctrigger.json("sweep", "--python", newest.path, "--site-dir", site)

    assert (1, 0) == (first.counts["removed"], first.counts["removed_directories"])
    assert {"package/", "package/__pycache__/", f"package/__pycache__/module.{tag_of(other)}.pyc"} == names_below(site)
    second = pyctrigger.json("sweep", "--python", other.path, "--site-dir", site)
    assert (1, 2) == (second.counts["removed"], second.counts["removed_directories"])
    assert set() == names_below(site)


def test_a_pycache_that_is_written_to_in_the_same_run_is_not_removed_first(
    pyctrigger: Command, site: Path, newest: Interpreter, scope: list[str]
) -> None:
    """A module was renamed: its old pyc is removed, and the directory stays for the new one."""
    write_tree(site, {"package/old.py": ""})
    pyctrigger.json("run", *scope)
    (site / "package/old.py").rename(site / "package/new.py")
    tag = tag_of(newest)

    announced = pyctrigger.json("run", *scope, "--dry-run").run["actions"]
    outcome = pyctrigger.json("run", *scope)

    assert [("compile", "new.py"), ("remove", f"old.{tag}.pyc")] == [
        (each["action"], os.path.basename(each["path"])) for each in announced
    ]
    assert {"compiled": 1, "removed": 1, "removed_directories": 0} == {
        key: outcome.counts[key] for key in ("compiled", "removed", "removed_directories")
    }
    assert [f"new.{tag}.pyc"] == os.listdir(site / "package/__pycache__")


# -- what a touched path stands for ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "touched", ["foo", "foo/", "foo/sub/deep", "foo/__pycache__", "foo/no/such/place", "foo/new.py"]
)
def test_a_touched_path_sweeps_its_whole_top_level_package(
    pyctrigger: Command, site: Path, scope: list[str], touched: str
) -> None:
    """pkg doesn't report a directory that only the old version had: any touched path in `foo` means all of `foo`."""
    write_tree(
        site, {"foo/__init__.py": "", "foo/sub/deep/a.py": "", "foo/old/only.py": "", "foo/new.py": "", "bar/b.py": ""}
    )
    pyctrigger.json("run", *scope)
    (site / "foo/old/only.py").unlink()

    outcome = pyctrigger.json("run", *scope, "--manager", "pkg", "--event", "upgrade", f"{site}/{touched}")

    assert (1, 2) == (outcome.counts["removed"], outcome.counts["removed_directories"])
    assert not (site / "foo/old").exists()


@pytest.mark.parametrize("touched", ["living", "gone.py", ""])
def test_a_package_that_only_bytecode_is_left_of_goes_when_anything_is_touched(
    pyctrigger: Command, site: Path, scope: list[str], touched: str
) -> None:
    """pkg reports no package that was renamed, and `import` still finds what is left as a namespace package."""
    write_tree(site, {"living/__init__.py": "", "renamed/__init__.py": "", "renamed/sub/deep/a.py": "", "n/b/a.py": ""})
    pyctrigger.json("run", *scope)
    for source in ("renamed/__init__.py", "renamed/sub/deep/a.py", "n/b/a.py"):
        (site / source).unlink()
    (site / "mine").mkdir()

    outcome = pyctrigger.json("run", *scope, "--manager", "pkg", "--event", "remove", f"{site}/{touched}")

    assert (3, 8) == (outcome.counts["removed"], outcome.counts["removed_directories"])
    assert {"living", "mine"} == set(os.listdir(site))


@pytest.mark.parametrize("manager", [[], ["--manager", "dpkg"], ["--manager", "rpm"]])
def test_the_site_directory_itself_stands_for_everything_below(
    pyctrigger: Command, site: Path, scope: list[str], manager: list[str]
) -> None:
    """dpkg names nothing else; only pkg means the modules directly in it."""
    write_tree(site, {"foo/__init__.py": "", "foo/sub/gone.py": ""})
    pyctrigger.json("run", *scope)
    (site / "foo/sub/gone.py").unlink()

    outcome = pyctrigger.json("run", *scope, *manager, site)

    assert (1, 2) == (outcome.counts["removed"], outcome.counts["removed_directories"])


def test_a_module_directly_in_the_site_directory_is_swept_with_it(
    pyctrigger: Command, site: Path, newest: Interpreter, scope: list[str]
) -> None:
    """The touched directory of a single module is the site directory."""
    write_tree(site, {"single.py": "", "other.py": ""})
    pyctrigger.json("run", *scope)
    (site / "single.py").unlink()

    outcome = pyctrigger.json("run", *scope, "--manager", "pkg", site)

    assert (1, 0) == (outcome.counts["removed"], outcome.counts["removed_directories"])
    assert [f"other.{tag_of(newest)}.pyc"] == os.listdir(site / "__pycache__")


def test_nothing_touched_sweeps_nothing(pyctrigger: Command, site: Path, scope: list[str]) -> None:
    """An empty list is no word about the tree."""
    write_tree(site, {"package/module.py": ""})
    pyctrigger.json("run", *scope)
    (site / "package/module.py").unlink()
    before = snapshot(site)

    for arguments in (["--paths-from", "-"], ["--paths-from", "-", "--null"], [""]):
        outcome = pyctrigger.json("sweep", *scope, *arguments)
        assert (0, 0) == (outcome.code, outcome.counts["removed"])
    assert snapshot(site) == before


# -- what is said ----------------------------------------------------------------------------------------------------


def test_each_removal_is_named_before_and_after(
    pyctrigger: Command, site: Path, newest: Interpreter, scope: list[str]
) -> None:
    """`--dry-run` says what would go and keeps it; `-v` says the same names once they have gone."""
    write_tree(site, {"package/sub/module.py": ""})
    pyctrigger.json("run", *scope)
    (site / "package/sub/module.py").unlink()
    before = snapshot(site)
    pyc = f"{site}/package/sub/__pycache__/module.{tag_of(newest)}.pyc"
    directories = [f"{site}/package/sub/__pycache__", f"{site}/package/sub", f"{site}/package"]

    announced = pyctrigger.text("sweep", *scope, "--dry-run").out.splitlines()

    flavour = newest.flavour
    assert [
        f"would remove {pyc} (orphan)",
        *(f"would remove-directory {path} (emptied)" for path in directories),
        f"{flavour}: 4 to do, nothing was done",
    ] == announced
    assert snapshot(site) == before
    *lines, last = pyctrigger.text("sweep", "-v", *scope).out.splitlines()
    assert [f"removed {path}" for path in (pyc, *directories)] == lines
    assert last.startswith(f"{flavour}: 1 removed, 3 directories, 0 failed in ")


# -- purge -----------------------------------------------------------------------------------------------------------


def two_flavours(pyctrigger: Command, site: Path, interpreters: list[Interpreter]) -> tuple[Interpreter, Interpreter]:
    """Two flavours' bytecode of one tree at all levels, with what a purge must leave alone."""
    if len(interpreters) < 2:
        absent("a second flavour")
    going, staying = interpreters[-1], interpreters[-2]
    write_tree(site, {"package/a.py": "", "package/sub/b.py": "", "single.py": ""})
    for each in (going, staying):
        pyctrigger.json("run", "--python", each.path, "--site-dir", site, "--optimize", "0,1,2")
    tag = tag_of(going)
    write_tree(
        site / "package/__pycache__",
        dict.fromkeys([f"orphan.{tag}.pyc", f"test.{tag}-pytest-8.0.pyc", f"a.{tag}.nbi", f"a.{tag}.pyc.orig"], "x"),
    )
    return going, staying


def assert_purged(site: Path, going: str, before: set[str]) -> None:
    """All pycs of one tag have gone, at every level, and nothing else."""
    exact = {
        name
        for name in before
        if name.endswith((f".{going}.pyc", f".{going}.opt-1.pyc", f".{going}.opt-2.pyc")) and "__pycache__" in name
    }
    assert len(exact) == 10
    assert before - exact == names_below(site)


def test_a_purge_takes_all_bytecode_of_one_flavour_and_only_that(
    pyctrigger: Command, site: Path, interpreters: list[Interpreter]
) -> None:
    """Sources, the other flavour's bytecode and everybody's oddly named files stay."""
    going, _ = two_flavours(pyctrigger, site, interpreters)
    before = names_below(site)

    outcome = pyctrigger.json("purge", "-y", "--python", going.path, "--site-dir", site)

    assert (0, 10, 0) == (outcome.code, outcome.counts["removed"], outcome.counts["removed_directories"])
    assert_purged(site, tag_of(going), before)


def test_a_purge_of_the_only_flavour_leaves_the_sources_alone(
    pyctrigger: Command, site: Path, scope: list[str]
) -> None:
    """The emptied `__pycache__` is removed, but the directory of the sources isn't."""
    write_tree(site, {"package/a.py": "", "package/sub/b.py": "", "single.py": ""})
    before = names_below(site)
    pyctrigger.json("run", *scope, "--optimize", "0,2")

    outcome = pyctrigger.json("purge", *scope)

    assert (0, 6, 3) == (outcome.code, outcome.counts["removed"], outcome.counts["removed_directories"])
    assert before == names_below(site)


def test_a_purge_of_one_path_leaves_the_others(
    pyctrigger: Command, site: Path, newest: Interpreter, scope: list[str]
) -> None:
    """A purge is bounded by the PATHs like every other command."""
    write_tree(site, {"one/a.py": "", "two/b.py": ""})
    pyctrigger.json("run", *scope)

    outcome = pyctrigger.json("purge", *scope, site / "one")

    assert 1 == outcome.counts["removed"]
    assert {"one/", "one/a.py", "two/", "two/b.py", "two/__pycache__/", f"two/__pycache__/b.{tag_of(newest)}.pyc"} == (
        names_below(site)
    )


def test_a_purge_must_be_told_whose_bytecode(pyctrigger: Command, site: Path) -> None:
    """An unknown name selects no bytecode, not all bytecode."""
    write_tree(site, {"package/__pycache__/a.cpython-311.pyc": ""})
    before = snapshot(site)

    outcome = pyctrigger.text("purge", "--site-dir", site)

    assert (2, "") == (outcome.code, outcome.out)
    assert "pyctrigger: purge needs --python V, --cache-tag TAG or --all; name what to remove\n" == outcome.err
    assert snapshot(site) == before


def test_a_purge_by_cache_tag_needs_no_interpreter(
    pyctrigger: Command, site: Path, interpreters: list[Interpreter]
) -> None:
    """The interpreter may be gone; what it left has its tag, and no other flavour loses anything."""
    going, _ = two_flavours(pyctrigger, site, interpreters)
    before = names_below(site)

    outcome = pyctrigger.json("purge", "-y", "--cache-tag", tag_of(going), "--site-dir", site)

    assert (0, 10) == (outcome.code, sum(run["counts"]["removed"] for run in outcome.document["runs"]))
    assert_purged(site, tag_of(going), before)


def test_a_purge_by_an_unknown_cache_tag_removes_nothing(
    pyctrigger: Command, site: Path, interpreters: list[Interpreter]
) -> None:
    """No flavour replaces one that was never installed."""
    two_flavours(pyctrigger, site, interpreters)
    before = snapshot(site)

    outcome = pyctrigger.json("purge", "--cache-tag", "cpython-399", "--site-dir", site)

    assert (0, 0) == (outcome.code, sum(run["counts"]["removed"] for run in outcome.document["runs"]))
    assert snapshot(site) == before


# -- any tree --------------------------------------------------------------------------------------------------------

_STEMS = st.sampled_from(["a", "b", "a.b", "é", "*", "OWN", "a.opt-1"])
_ENDINGS = st.sampled_from(
    [
        ".OWN.pyc",
        ".OWN.opt-1.pyc",
        ".OWN.opt-2.pyc",
        ".OWN.opt-12.pyc",
        ".OTHER.pyc",
        ".OWN.nbi",
        ".OWN-pytest-8.0.pyc",
        ".OWN.pyc.123",
        ".pyc",
        ".txt",
    ]
)
_SOURCES = st.lists(st.tuples(_STEMS, st.sampled_from([".py", ".py", ".so", "abc", ".txt", ".pyc"])), max_size=2)
_PYCS = st.none() | st.lists(st.tuples(_STEMS, _ENDINGS), max_size=4)
_DIRECTORIES = st.dictionaries(
    st.lists(st.sampled_from(["p", "q"]), max_size=3).map("/".join),
    st.tuples(_SOURCES, _PYCS),
    min_size=1,
    max_size=6,
)


def build(top: Path, directories: Drawn, tag: str) -> None:
    """Make the drawn directories, each with its files and perhaps a `__pycache__`."""
    for relative, (sources, pycs) in directories.items():
        directory = top / relative
        directory.mkdir(parents=True, exist_ok=True)
        for stem, ending in sources:
            (directory / (stem + ending)).write_text(stem)
        if pycs is None:
            continue
        (directory / "__pycache__").mkdir(exist_ok=True)
        for stem, ending in pycs:
            name = (stem + ending).replace("OWN", tag).replace("OTHER", "cpython-36")
            (directory / "__pycache__" / name).write_text(name)


def is_orphan(path: Path, tag: str) -> bool:
    """Whether this is a pyc of the tag whose source is gone, determined without our own parser."""
    if path.parent.name != "__pycache__" or path.suffix != ".pyc":
        return False
    stem, _, optimization = path.stem.rpartition(".opt-")
    if not (stem and optimization.isdigit()):
        stem = path.stem
    if not stem.endswith("." + tag) or stem == "." + tag:
        return False
    return not os.path.lexists(path.parent.parent / (stem[: -len(tag) - 1] + ".py"))


def files_below(top: Path) -> dict[Path, str]:
    """Every file below `top`, and its contents."""
    return {path: path.read_text() for path in top.rglob("*") if path.is_file()}


def empty_directories(top: Path) -> set[Path]:
    """Every directory below `top` without an entry."""
    return {path for path in top.rglob("*") if path.is_dir() and not any(path.iterdir())}


@settings(max_examples=250, deadline=None)
@given(directories=_DIRECTORIES)
def test_on_any_tree_the_sweep_takes_exactly_the_orphans_and_what_they_leave_empty(
    newest: Interpreter, tmp_path_factory: pytest.TempPathFactory, directories: Drawn
) -> None:
    """It never removes a live pyc or a foreign file, leaves no orphan, and no directory that it emptied."""
    tag = tag_of(newest)
    with room() as site:
        build(site, directories, tag)
        before, empty_before = files_below(site), empty_directories(site)
        orphans = {path for path in before if is_orphan(path, tag)}

        request = Request(
            Work.SWEEP,
            Scope(pythons=(newest.path,), site_dirs=(str(site),)),
            running=Running(state_dir=str(tmp_path_factory.getbasetemp() / "sweep-state")),
        )
        report = perform(request)

        after = files_below(site)
        assert (0, len(orphans)) == (report.exit_code, report.runs[0].tally.counts.removed)
        assert {path: text for path, text in before.items() if path not in orphans} == after
        assert empty_directories(site) <= empty_before
        # Of what was empty before, only a lone `__pycache__` is nobody's.
        assert {path for path in empty_before if path.name != "__pycache__"} <= empty_directories(site)
        again = perform(request)
        assert (0, 0) == (again.runs[0].tally.counts.removed, again.runs[0].tally.counts.removed_directories)
