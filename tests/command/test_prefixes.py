"""Environments with interpreters of their own, the standard library, and the trees of `sys.pycache_prefix`."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conftest import absent
from installations import make_prefix
from interpreters import tag_of
from packages import not_fresh, pycs_below, snapshot, sources_below, write_tree

if TYPE_CHECKING:
    from command import Command, Outcome
    from interpreters import Interpreter


def make_venv(interpreter: Interpreter, directory: Path) -> Path:
    """A virtual environment with a package in it; its site directory."""
    command = [interpreter.path, "-m", "venv", "--without-pip", str(directory)]
    child = subprocess.run(command, capture_output=True, check=False)
    if child.returncode != 0:
        absent(f"venv of {interpreter.flavour}: {child.stderr.decode()[-200:]}")
    (site,) = directory.glob("lib/*/site-packages")
    return write_tree(site, {"package/__init__.py": "", "package/module.py": "x = 1\n", "single.py": ""})


def by_flavour(outcome: Outcome) -> dict[str, dict[str, int]]:
    """The numbers of each flavour."""
    return {run["flavour"]: run["counts"] for run in outcome.document["runs"]}


@pytest.fixture
def pair(interpreters: list[Interpreter]) -> list[Interpreter]:
    """An old and a new interpreter that make virtual environments."""
    cpythons = [each for each in interpreters if each.implementation == "cpython"]
    if len(cpythons) < 2:
        absent("a second CPython")
    return [next((each for each in cpythons if each.version[:2] == (3, 8)), cpythons[0]), cpythons[-1]]


# -- environments ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("how", ["--prefix", "--python", "--prefix through a link", "both"])
def test_a_virtual_environment_is_served_under_each_of_its_names(
    pyctrigger: Command, pair: list[Interpreter], tmp_path: Path, which: int, how: str
) -> None:
    """By its directory or by its interpreter it is the same three sources, fresh by that interpreter's word."""
    site = make_venv(pair[which], tmp_path / "venv")
    (tmp_path / "link").symlink_to("venv")
    arguments = {
        "--prefix": ["--prefix", str(tmp_path / "venv")],
        "--python": ["--python", str(tmp_path / "venv/bin/python")],
        "--prefix through a link": ["--prefix", str(tmp_path / "link")],
        "both": ["--prefix", str(tmp_path / "venv"), "--python", pair[which].path],
    }[how]

    outcome = pyctrigger.json("run", *arguments)

    assert {pair[which].flavour: 3} == {flavour: counts["compiled"] for flavour, counts in by_flavour(outcome).items()}
    assert 0 == outcome.code
    assert 3 == len(pycs_below(tmp_path / "venv"))
    through = Path(str(site).replace("venv", "link", 1)) if "link" in how else site
    assert [] == not_fresh(pair[which], sources_below(through))
    (site / "single.py").unlink()
    assert 1 == pyctrigger.json("sweep", *arguments).counts["removed"]
    assert 0 == pyctrigger.json("verify", *arguments).code


def test_several_environments_are_each_served_by_their_own_interpreter(
    pyctrigger: Command, pair: list[Interpreter], tmp_path: Path
) -> None:
    """One run, two flavours, and a third environment whose interpreter is gone costs only itself."""
    sites = [make_venv(each, tmp_path / each.flavour) for each in pair]
    broken = make_venv(pair[1], tmp_path / "broken")
    for name in ("python", "python3"):
        (tmp_path / "broken/bin" / name).unlink()
    prefixes = [part for name in (pair[0].flavour, "broken", pair[1].flavour) for part in ("--prefix", tmp_path / name)]

    outcome = pyctrigger.json("run", *prefixes)

    assert 2 == outcome.code
    assert [f"{tmp_path}/broken has no interpreter in its bin"] == [
        error["message"] for error in outcome.document["errors"]
    ]
    assert {each.flavour: 3 for each in pair} == {key: each["compiled"] for key, each in by_flavour(outcome).items()}
    for interpreter, site in zip(pair, sites):
        assert 3 == len(pycs_below(site))
        assert [] == not_fresh(interpreter, sources_below(site))
    assert [] == pycs_below(broken)


def test_a_path_in_one_environment_leaves_the_other_alone(
    pyctrigger: Command, pair: list[Interpreter], tmp_path: Path
) -> None:
    """A PATH is outside only if it is in none of them."""
    sites = [make_venv(each, tmp_path / each.flavour) for each in pair]
    prefixes = [part for each in pair for part in ("--prefix", tmp_path / each.flavour)]

    outcome = pyctrigger.json("run", *prefixes, sites[1] / "package")

    assert 0 == outcome.code
    assert ([], 3) == (pycs_below(sites[0]), len(pycs_below(sites[1])))
    assert 2 == pyctrigger.json("run", *prefixes, tmp_path).code


def test_an_environment_of_another_interpreter_is_none(
    pyctrigger: Command, pair: list[Interpreter], tmp_path: Path
) -> None:
    """Its directory has another name: exit 2, with the one that was looked for, and nothing done."""
    site = make_venv(pair[0], tmp_path / "venv")
    before = snapshot(site)
    version = "python{}.{}".format(*pair[1].version)

    outcome = pyctrigger.text("run", "--prefix", tmp_path / "venv", "--python", pair[1].path)

    assert 2 == outcome.code
    assert outcome.err.startswith(f"pyctrigger: {tmp_path}/venv is not an environment of {pair[1].flavour}; ")
    assert f"{tmp_path}/venv/lib/{version}/site-packages" in outcome.err
    assert snapshot(site) == before


def test_a_prefix_with_an_interpreter_of_its_own_is_served(
    pyctrigger: Command, newest: Interpreter, tmp_path: Path
) -> None:
    """As conda makes them: no pyvenv.cfg, its own installation; its standard library only when asked for."""
    library = make_prefix(newest, tmp_path / "prefix")
    site = library / "site-packages"

    outcome = pyctrigger.json("run", "--prefix", tmp_path / "prefix")

    assert (0, 2) == (outcome.code, outcome.counts["compiled"])
    assert str(tmp_path / "prefix/bin/python") == outcome.run["interpreter"]["executable"]
    assert pycs_below(library) == pycs_below(site)
    assert [] == not_fresh(newest, sources_below(site))


# -- the standard library --------------------------------------------------------------------------------------------


def test_the_standard_library_is_compiled_and_swept_on_request(
    pyctrigger: Command, site: Path, newest: Interpreter, tmp_path: Path
) -> None:
    """All of it, nothing of the packages inside, and no directory that holds nothing else."""
    library = make_prefix(newest, tmp_path / "prefix")
    python = tmp_path / "prefix/bin/python"
    dead = f"dead/__pycache__/gone.{tag_of(newest)}.pyc"
    write_tree(library, {f"json/__pycache__/gone.{tag_of(newest)}.pyc": "", f"site-packages/{dead}": "", dead: ""})
    before = snapshot(library / "site-packages")
    own = [path for path in sources_below(library) if b"/site-packages/" not in path]

    outcome = pyctrigger.json("run", "--python", python, "--site-dir", site, "--stdlib")

    assert (0, len(own)) == (outcome.code, outcome.counts["compiled"])
    assert (2, 2) == (outcome.counts["removed"], outcome.counts["removed_directories"])
    assert snapshot(library / "site-packages") == before
    assert [] == not_fresh(newest, own)
    # With --prefix the packages are the scope's other half, and no source is counted twice.
    both = pyctrigger.json("run", "--prefix", tmp_path / "prefix", "--stdlib")
    assert (2, len(own)) == (both.counts["compiled"], both.counts["fresh"])
    assert not (library / "site-packages/dead").exists()
    purged = pyctrigger.json("purge", "-y", "--python", python, "--site-dir", site, "--stdlib")
    assert len(own) == purged.counts["removed"]
    assert pycs_below(library) == pycs_below(library / "site-packages")


# -- the tree of a pycache prefix ------------------------------------------------------------------------------------


@pytest.fixture
def scope(site: Path, tmp_path: Path, newest: Interpreter) -> list[str]:
    """The newest CPython on the site directory, with a tree for its pycs elsewhere."""
    (tmp_path / "elsewhere").mkdir()
    return ["--python", newest.path, "--site-dir", str(site), "--pycache-prefix", str(tmp_path / "elsewhere")]


def tree_of(tmp_path: Path, site: Path) -> Path:
    """Where the pycs of the site directory lie."""
    return tmp_path / "elsewhere" / site.relative_to("/")


def pycs_of_tree(tree: Path) -> set[str]:
    """Every file there, relative to it."""
    return {str(path.relative_to(tree)) for path in tree.rglob("*") if not path.is_dir()}


def test_importing_with_the_prefix_reads_what_was_written_there_and_adds_nothing(
    pyctrigger: Command, site: Path, tmp_path: Path, newest: Interpreter, scope: list[str]
) -> None:
    """Proven by the target at every level: it compiles none of them and writes nothing."""
    write_tree(site, {"package/__init__.py": "", "package/sub/module.py": "x = 1\n", "single.py": "", "ümläut.py": ""})
    before = snapshot(site)

    outcome = pyctrigger.json("run", *scope, "--optimize", "0,1,2")

    assert (0, 4) == (outcome.code, outcome.counts["compiled"])
    tree = tree_of(tmp_path, site)
    assert 12 == len(pycs_of_tree(tree))
    filled = snapshot(tree)
    program = (
        "import builtins, sys; sys.path.insert(0, sys.argv[1]); compiled = []\n"
        "from importlib.machinery import SourceFileLoader as Loader; genuine = Loader.source_to_code\n"
        "Loader.source_to_code = lambda self, data, path: compiled.append(path) or genuine(self, data, path)\n"
        "import package.sub.module, single, ümläut\n"
        "assert package.sub.module.__spec__.cached.startswith(sys.pycache_prefix), package.sub.module.__spec__\n"
        "print(compiled)\n"
    )
    for flags in ([], ["-O"], ["-OO"]):
        command = [
            newest.path,
            *flags,
            "-I",
            "-S",
            "-X",
            f"pycache_prefix={tmp_path}/elsewhere",
            "-c",
            program,
            str(site),
        ]
        child = subprocess.run(command, capture_output=True, env={"LC_ALL": "C.UTF-8"}, check=False)
        assert (b"[]\n", b"") == (child.stdout, child.stderr)
    assert snapshot(site) == before
    assert snapshot(tree) == filled
    assert 0 == pyctrigger.json("verify", *scope, "--optimize", "0,1,2").code


def test_a_sweep_of_the_prefix_takes_what_is_its_own_and_the_directories_that_this_empties(
    pyctrigger: Command, site: Path, tmp_path: Path, newest: Interpreter, scope: list[str]
) -> None:
    """Never what other sources, flavours or tools left there, and never anything outside the site directory's tree."""
    tag = tag_of(newest)
    write_tree(
        site, {"gone/__init__.py": "", "gone/sub/deep/m.py": "", "kept/m.py": "", "kept/gone.py": "", "s.py": ""}
    )
    pyctrigger.json("run", *scope, "--optimize", "0,2")
    tree = tree_of(tmp_path, site)
    foreign = [f"kept/gone.{tag}.nbi", "kept/gone.cpython-36.pyc", "gone/sub/note.txt", f"kept/t.{tag}-pytest-8.0.pyc"]
    write_tree(tree, dict.fromkeys([*foreign, f"kept/never.{tag}.pyc"], ""))
    write_tree(tree.parent, {f"neighbour/gone.{tag}.pyc": "", f"gone.{tag}.pyc": ""})
    (tree / "empty/inside").mkdir(parents=True)
    neighbours = {path for path in pycs_of_tree(tree.parent) if not path.startswith("site/")}
    shutil.rmtree(site / "gone")
    (site / "kept/gone.py").unlink()
    (site / "s.py").unlink()

    outcome = pyctrigger.json("sweep", *scope)

    assert (0, 9, 1) == (outcome.code, outcome.counts["removed"], outcome.counts["removed_directories"])
    assert {*foreign, f"kept/m.{tag}.pyc", f"kept/m.{tag}.opt-2.pyc"} == pycs_of_tree(tree)
    assert (tree / "empty/inside").is_dir()
    assert neighbours == {path for path in pycs_of_tree(tree.parent) if not path.startswith("site/")}
    (site / "kept/m.py").unlink()
    for name in foreign:
        (tree / name).unlink()
    last = pyctrigger.json("sweep", *scope)
    assert (2, 1) == (last.counts["removed"], last.counts["removed_directories"])
    assert {"empty", "gone"} == set(os.listdir(tree))
    assert tree.is_dir()


def test_a_hook_makes_the_prefix(pyctrigger: Command, site: Path, tmp_path: Path, scope: list[str]) -> None:
    """A cache that was emptied: for a person it is wrong usage."""
    write_tree(site, {"package/m.py": ""})
    (tmp_path / "elsewhere").rmdir()
    assert 2 == pyctrigger.text("run", *scope).code

    assert 1 == pyctrigger.json("run", "--hook", *scope, site).counts["compiled"]

    assert 1 == len(pycs_of_tree(tree_of(tmp_path, site)))


@pytest.mark.parametrize("touched", ["other", "gone", ""])
def test_bytecode_in_the_prefix_of_a_package_that_is_gone_goes_when_anything_is_touched(
    pyctrigger: Command, site: Path, tmp_path: Path, scope: list[str], touched: str
) -> None:
    """Without its sources the package has no directory any more, except the one in the prefix."""
    write_tree(site, {"gone/__init__.py": "", "gone/sub/m.py": "", "other/m.py": ""})
    pyctrigger.json("run", *scope)
    shutil.rmtree(site / "gone")

    outcome = pyctrigger.json("run", *scope, "--manager", "pkg", f"{site}/{touched}")

    assert (0, 2, 2) == (outcome.code, outcome.counts["removed"], outcome.counts["removed_directories"])
    assert ["other"] == os.listdir(tree_of(tmp_path, site))


def test_packages_inside_the_standard_library_are_no_part_of_it_in_the_prefix_either(
    pyctrigger: Command, site: Path, tmp_path: Path, newest: Interpreter
) -> None:
    """Their pycs lie below the standard library's, and stay as they are."""
    library = make_prefix(newest, tmp_path / "prefix")
    elsewhere = tmp_path / "elsewhere"
    tag = tag_of(newest)
    kept = [f"site-packages/package/module.{tag}.pyc", f"site-packages/gone/module.{tag}.pyc"]
    tree = write_tree(elsewhere / library.relative_to("/"), dict.fromkeys([*kept, f"gone/module.{tag}.pyc"], ""))
    arguments = ["--python", str(tmp_path / "prefix/bin/python"), "--site-dir", str(site), "--stdlib"]

    for paths in ([], [str(library / "json")]):
        write_tree(tree, {f"gone/module.{tag}.pyc": ""})
        outcome = pyctrigger.json("sweep", *arguments, "--pycache-prefix", elsewhere, *paths)
        assert (0, 1, 1) == (outcome.code, outcome.counts["removed"], outcome.counts["removed_directories"])
        assert set(kept) == pycs_of_tree(tree)


def test_a_purge_of_the_prefix_leaves_the_pycs_beside_the_sources(
    pyctrigger: Command, site: Path, tmp_path: Path, newest: Interpreter, scope: list[str]
) -> None:
    """The two trees are two: each command is about one of them."""
    write_tree(site, {"package/m.py": "", "single.py": ""})
    beside = ["--python", newest.path, "--site-dir", str(site)]
    for arguments in (scope, beside):
        assert 2 == pyctrigger.json("run", *arguments).counts["compiled"]
    before = snapshot(site)

    assert 2 == pyctrigger.json("purge", *scope).counts["removed"]

    assert snapshot(site) == before
    assert set() == pycs_of_tree(tmp_path / "elsewhere")
    assert 2 == pyctrigger.json("purge", *beside).counts["removed"]


@pytest.mark.parametrize("place", ["at the site directory", "below it", "above it"])
def test_a_link_in_the_prefix_is_not_followed(
    pyctrigger: Command, site: Path, tmp_path: Path, newest: Interpreter, scope: list[str], place: str
) -> None:
    """Otherwise another account could make root write and remove in a directory of its choice."""
    write_tree(site, {"package/m.py": "x = 1\n"})
    tag = tag_of(newest)
    victim = write_tree(
        tmp_path / "victim", {f"gone.{tag}.pyc": "", f"package/gone.{tag}.pyc": "", "site/package/f": ""}
    )
    tree = tree_of(tmp_path, site)
    link = {"at the site directory": tree, "below it": tree / "package", "above it": tree.parent}[place]
    link.parent.mkdir(parents=True)
    link.symlink_to(victim)
    before = snapshot(victim)

    for verb in ("run", "sweep", "purge -y", "repair"):
        outcome = pyctrigger.json(*verb.split(), *scope)
        assert outcome.code in (0, 1, 3)
        assert snapshot(victim) == before


@pytest.mark.usefixtures("as_root")
def test_the_prefix_belongs_to_its_owner(
    pyctrigger: Command, site: Path, tmp_path: Path, newest: Interpreter, scope: list[str]
) -> None:
    """Directories are like the one above them, and a private source stays private in a tree of another account."""
    owner = 64501
    elsewhere = tmp_path / "elsewhere"
    os.chown(elsewhere, owner, owner)
    elsewhere.chmod(0o755)
    write_tree(site, {"package/public.py": "", "package/private.py": ""})
    (site / "package/private.py").chmod(0o600)

    outcome = pyctrigger.json("run", *scope, preexec_fn=lambda: os.umask(0o077))

    assert [(f"{site}/package/private.py", "refused")] == [(each["path"], each["kind"]) for each in outcome.failures]
    tree = tree_of(tmp_path, site)
    assert {f"public.{tag_of(newest)}.pyc"} == pycs_of_tree(tree / "package")
    for path in [tree, tree / "package", *tree.parents]:
        if path == tmp_path:
            break
        assert (owner, owner, 0o40755) == (path.stat().st_uid, path.stat().st_gid, path.stat().st_mode)
    pyc = (tree / f"package/public.{tag_of(newest)}.pyc").stat()
    assert (owner, owner, 0o100644) == (pyc.st_uid, pyc.st_gid, pyc.st_mode)
