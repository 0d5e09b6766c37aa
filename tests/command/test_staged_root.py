"""Staged roots seen from outside: package builds, images, chroots. Names are those inside, and so is what is done."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from command import Outcome
from conftest import absent
from installations import make_prefix
from interpreters import find_interpreters, tag_of
from packages import not_fresh, pycs_below, snapshot, sources_below, write_tree
from pyctrigger.interpreter.flavour import directories

if TYPE_CHECKING:
    from command import Argument, Command
    from interpreters import Interpreter

PACKAGE = {
    "package/__init__.py": "",
    "package/sub/module.py": "def name():\n    return __file__\n",
    "single.py": "x = 1\n",
}


def library_name(interpreter: Interpreter) -> str:
    """The name of its library's directory: `python3.13`."""
    stem = "pypy" if interpreter.implementation == "pypy" else "python"
    return "{}{}.{}".format(stem, *interpreter.version) + ("t" if interpreter.free_threaded else "")


def inside(interpreter: Interpreter) -> str:
    """Its site directory, as seen inside a root."""
    return f"/usr/lib/{library_name(interpreter)}/site-packages"


def make_root(top: Path, interpreter: Interpreter) -> Path:
    """A root with a package in it and no interpreter, as rpmbuild has it."""
    write_tree(top / inside(interpreter)[1:], PACKAGE)
    return top


def perform(pyctrigger: Command, verb: str, *arguments: Argument, cwd: Path | None = None) -> Outcome:
    """Run a command, its state below a state directory of the test's own."""
    return pyctrigger.json(verb, *arguments, cwd=cwd)


def names_in(interpreter: Interpreter, pycs: list[bytes]) -> set[str]:
    """The file names of all code in these pycs, functions included, as the target itself unmarshals them."""
    size = 12 if interpreter.version < (3, 7) else 16
    program = (
        "import marshal, sys, types\n"
        "def names(code):\n"
        "    print(code.co_filename)\n"
        "    for each in code.co_consts:\n"
        "        if isinstance(each, types.CodeType): names(each)\n"
        f"for path in sys.argv[1:]: names(marshal.loads(open(path, 'rb').read()[{size}:]))\n"
    )
    child = subprocess.run([interpreter.path, "-I", "-S", "-c", program, *pycs], capture_output=True, check=True)
    return set(child.stdout.decode().splitlines())


def magic_number(interpreter: Interpreter) -> bytes:
    """What the first four bytes of its pycs are."""
    program = "import importlib.util, sys; sys.stdout.buffer.write(importlib.util.MAGIC_NUMBER)"
    return subprocess.run([interpreter.path, "-I", "-S", "-c", program], capture_output=True, check=True).stdout


def traces(pyctrigger: Command) -> list[Path]:
    """What this machine keeps of roots."""
    return list(pyctrigger.state.glob("*"))


# -- what is written -------------------------------------------------------------------------------------------------


@pytest.mark.few_targets
def test_the_bytecode_of_a_buildroot_is_that_of_the_installed_system(
    pyctrigger: Command, interpreter: Interpreter, tmp_path: Path
) -> None:
    """Fresh by the target's own word, and the names in the code are without the root."""
    root = make_root(tmp_path / "root", interpreter)

    outcome = perform(pyctrigger, "run", "--root", root, "--python", interpreter.path)

    assert (0, 3) == (outcome.code, outcome.counts["compiled"])
    assert [] == not_fresh(interpreter, sources_below(root))
    assert {f"{inside(interpreter)}/{name}" for name in PACKAGE} == names_in(interpreter, pycs_below(root))
    again = perform(pyctrigger, "run", "--root", root, "--python", interpreter.path)
    assert (0, 3) == (again.code, again.counts["fresh"])
    assert 0 == perform(pyctrigger, "verify", "--root", root, "--python", interpreter.path).code


@pytest.mark.parametrize(
    ("manager", "path", "compiled"),
    [
        ([], "{site}/package", 3),
        ([], "{site}/package/sub/module.py", 3),
        ([], "{site}/", 3),
        (["--manager", "pkg"], "{site}", 1),
        (["--manager", "pacman"], "{relative}/package/", 3),
        (["--manager", "dpkg"], "{site}", 3),
        ([], "{relative}/package", 3),
        ([], "", 0),
    ],
)
def test_paths_are_as_seen_inside(
    pyctrigger: Command, newest: Interpreter, tmp_path: Path, manager: list[str], path: str, compiled: int
) -> None:
    """Relative ones start at the root: there is no current directory inside but its own."""
    root, site = make_root(tmp_path / "root", newest), inside(newest)
    path = path.format(site=site, relative=site[1:])

    outcome = perform(pyctrigger, "run", "--root", root, "--python", newest.path, *manager, path, cwd=tmp_path)

    assert (0, compiled) == (outcome.code, outcome.counts["compiled"])


@pytest.mark.parametrize(
    "path",
    ["{root}{site}/package", "{site}/../../../../../..{tmp}/victim", "/victim", "{tmp}/victim", "{tmp}/alias/package"],
)
def test_a_path_as_seen_outside_lies_outside(
    pyctrigger: Command, newest: Interpreter, tmp_path: Path, path: str
) -> None:
    """The root's own name means nothing inside of it, no `..` leads out, and no link of this machine's leads in."""
    root = make_root(tmp_path / "root", newest)
    victim = write_tree(tmp_path / "victim", PACKAGE)
    (tmp_path / "alias").symlink_to(inside(newest))  # this machine's links say nothing about the root
    path = path.format(root=root, site=inside(newest), tmp=tmp_path)
    before = snapshot(root), snapshot(victim)

    outcome = perform(pyctrigger, "run", "--stateless", "--root", root, "--python", newest.path, path)

    assert 2 == outcome.code
    # Inside there is nothing of these names; where there is, it is outside the scope.
    assert f"{path}: no such file or directory" == outcome.document["errors"][0]["message"]
    assert before == (snapshot(root), snapshot(victim))


def test_a_sweep_of_a_root_ends_at_its_site_directory(pyctrigger: Command, newest: Interpreter, tmp_path: Path) -> None:
    """Orphans inside are removed, and nothing of the same name on the host."""
    root = make_root(tmp_path / "root", newest)
    site = root / inside(newest)[1:]
    arguments = ["--root", str(root), "--python", newest.path]
    perform(pyctrigger, "run", *arguments)
    for name in PACKAGE:
        (site / name).unlink()

    outcome = perform(pyctrigger, "run", *arguments, "--event", "remove", f"{inside(newest)}/package")

    assert (0, 3, 5) == (outcome.code, outcome.counts["removed"], outcome.counts["removed_directories"])
    assert [] == os.listdir(site)


def test_environments_prefixes_and_site_directories_are_named_as_seen_inside(
    pyctrigger: Command, newest: Interpreter, tmp_path: Path
) -> None:
    """An application in an image: its environment, any directory of it, and a pycache prefix."""
    root = tmp_path / "root"
    environment = f"opt/app/lib/{library_name(newest)}/site-packages"
    write_tree(root / environment, PACKAGE)
    write_tree(root / "srv/code", PACKAGE)
    (root / "var/cache/python").mkdir(parents=True)
    base = ["--stateless", "--root", str(root), "--python", newest.path]

    for scope in (["--prefix", "/opt/app"], ["--site-dir", "/srv/code"]):
        assert (0, 3) == ((done := perform(pyctrigger, "run", *base, *scope)).code, done.counts["compiled"])
    elsewhere = ["--site-dir", "/srv/code", "--pycache-prefix", "/var/cache/python"]
    assert 3 == perform(pyctrigger, "run", *base, *elsewhere).counts["compiled"]

    tag = tag_of(newest)
    assert 3 == len(pycs_below(root / environment))
    assert {"__init__", "module"} == {path.name.split(".")[0] for path in root.glob("opt/app/**/package/**/*.pyc")}
    assert (root / f"var/cache/python/srv/code/package/sub/module.{tag}.pyc").exists()
    assert {f"/srv/code/{name}" for name in PACKAGE} == names_in(newest, pycs_below(root / "srv"))


def test_two_builds_of_the_same_sources_give_the_same_bytes(
    pyctrigger: Command, newest: Interpreter, tmp_path: Path
) -> None:
    """On any number of workers, whatever the clock says: `--source-date-epoch` bounds every timestamp."""
    built = []
    for number, jobs in enumerate(("1", "2")):
        root = make_root(tmp_path / f"build{number}", newest)
        site = root / inside(newest)[1:]
        write_tree(
            site, {f"package/m{each:02}.py": f"x = {{'a', 'b', {each}}}\ny = 'shared', x\n" for each in range(40)}
        )
        for each, path in enumerate(sources_below(root)):
            os.utime(path, (1, 900_000_000 + each if each % 2 else 1_700_000_000 + number))
        options = ["--optimize", "0,1,2", "--jobs", jobs, "--source-date-epoch", "1000000000"]
        outcome = perform(pyctrigger, "run", "--stateless", "--root", root, "--python", newest.path, *options)
        assert (0, 43) == (outcome.code, outcome.counts["compiled"])
        built.append(
            {path[len(os.fsencode(root)) :]: Path(os.fsdecode(path)).read_bytes() for path in pycs_below(root)}
        )

    assert 43 * 3 == len(built[0])
    assert built[0] == built[1]
    epochs = {int.from_bytes(content[8:12], "little") for content in built[0].values()}
    assert max(epochs) == 1_000_000_000
    assert min(epochs) == 900_000_001


# -- without state ---------------------------------------------------------------------------------------------------


def test_without_state_nothing_but_bytecode_is_left_anywhere(
    pyctrigger: Command, newest: Interpreter, tmp_path: Path
) -> None:
    """A layer of an image, or a package's payload: no lock, no journal, no manifest, not even of a bad source."""
    root = make_root(tmp_path / "root", newest)
    write_tree(root / inside(newest)[1:], {"package/bad.py": "x = = 1\n"})
    before = snapshot(root)
    arguments = ["--stateless", "--root", str(root), "--python", newest.path]

    for verb in ("run", "verify", "status", "repair", "sweep"):
        perform(pyctrigger, verb, *arguments)
        assert [] == traces(pyctrigger)
    added = {path for path in snapshot(root) if path not in before}
    assert {path for path in added if not path.endswith(b"/__pycache__")} == set(pycs_below(root))
    assert 3 == len(pycs_below(root))
    perform(pyctrigger, "purge", "-y", *arguments)
    assert {path: state[0] for path, state in before.items()} == {
        path: state[0] for path, state in snapshot(root).items()
    }
    # The control: with state there is something to be seen.
    perform(pyctrigger, "run", *arguments[1:])
    assert [] != traces(pyctrigger)


# -- links inside ----------------------------------------------------------------------------------------------------


def test_an_absolute_link_in_the_root_means_a_place_in_the_root(
    pyctrigger: Command, newest: Interpreter, tmp_path: Path
) -> None:
    """The same name exists on this machine, with a package that anything careless would compile."""
    victim = write_tree(tmp_path / "victim", PACKAGE)
    root = tmp_path / "root"
    write_tree(root / str(victim)[1:], {"inner/module.py": "x = 1\n"})
    link = root / inside(newest)[1:]
    link.parent.mkdir(parents=True)
    link.symlink_to(victim)
    before = snapshot(victim)

    outcome = perform(pyctrigger, "run", "--stateless", "--root", root, "--python", newest.path)

    assert (0, 1) == (outcome.code, outcome.counts["compiled"])
    assert {f"{inside(newest)}/inner/module.py"} == names_in(newest, pycs_below(root))
    assert before == snapshot(victim)


@pytest.mark.parametrize("goal", ["{victim}", "../../../../../../../../../../..{victim}", "../../../../victim", "."])
def test_a_site_directory_that_leads_nowhere_in_the_root_is_not_looked_for_outside(
    pyctrigger: Command, newest: Interpreter, tmp_path: Path, goal: str
) -> None:
    """Absolute, or with more `..` than there are directories: inside a root both end at the root."""
    victim = write_tree(tmp_path / "victim", PACKAGE)
    root = tmp_path / "root"
    link = root / inside(newest)[1:]
    link.parent.mkdir(parents=True)
    link.symlink_to(goal.format(victim=victim) if goal != "." else link.name)
    before = snapshot(tmp_path)

    for scope in ([], ["--site-dir", inside(newest)]):
        outcome = perform(pyctrigger, "run", "--stateless", "--root", root, "--python", newest.path, *scope)
        assert (2 if scope else 0) == outcome.code
    assert before == snapshot(tmp_path)


def test_sources_that_are_links_are_resolved_inside(pyctrigger: Command, newest: Interpreter, tmp_path: Path) -> None:
    """An absolute link to a module of the same site directory is compiled; what the host alone has isn't there."""
    root, site = make_root(tmp_path / "root", newest), inside(newest)
    outside = write_tree(tmp_path / "victim", {"secret.py": "password = 'hunter2'\n"})
    package = root / f"{site[1:]}/package"
    (package / "good.py").symlink_to(f"{site}/single.py")
    (package / "bad.py").symlink_to(outside / "secret.py")
    (package / "host.py").symlink_to(root / f"{site[1:]}/single.py")

    outcome = perform(pyctrigger, "run", "--stateless", "--root", root, "--python", newest.path)

    assert (0, [], 4) == (outcome.code, outcome.failures, outcome.counts["compiled"])
    assert f"{site}/package/good.py" in names_in(newest, pycs_below(root))
    assert not any(b"hunter2" in Path(os.fsdecode(path)).read_bytes() for path in pycs_below(root))


def test_lib64_that_is_a_link_to_lib_is_no_second_site_directory(
    pyctrigger: Command, newest: Interpreter, tmp_path: Path
) -> None:
    """Each source is counted once, and a package in a real lib64 is found as well."""
    for name, link in (("merged", True), ("apart", False)):
        root = make_root(tmp_path / name, newest)
        if link:
            (root / "usr/lib64").symlink_to("lib")
        else:
            write_tree(root / inside(newest)[1:].replace("lib", "lib64", 1), {"binary/__init__.py": ""})

        outcome = perform(pyctrigger, "run", "--stateless", "--root", root, "--python", newest.path)

        assert (0, 3 if link else 4) == (outcome.code, outcome.counts["compiled"])


# -- interpreters inside ---------------------------------------------------------------------------------------------


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """What a program inside a root makes when it is run."""
    return tmp_path / "executed"


def put_interpreter(root: Path, interpreter: Interpreter, magic: bytes | None, trap: Path) -> None:
    """An interpreter that must not be run, with a library that shows this magic number."""
    name = library_name(interpreter)
    programs = {f"usr/bin/{each}": f"#!/bin/sh\necho $0 >>{trap}\n" for each in (name, "python3", "python")}
    write_tree(root, {**programs, f"usr/lib/{name}/os.py": "", f"usr/lib/{name}/importlib/__init__.py": ""})
    for each in programs:
        (root / each).chmod(0o755)
    if magic is not None:
        pycache = root / f"usr/lib/{name}/__pycache__"
        pycache.mkdir()
        (pycache / f"os.{tag_of(interpreter)}.pyc").write_bytes(magic + bytes(12))


def test_an_interpreter_of_the_same_magic_number_inside_is_served_and_not_run(
    pyctrigger: Command, newest: Interpreter, tmp_path: Path, trap: Path
) -> None:
    """Its own pycs show that it takes what an interpreter of this machine writes."""
    root = make_root(tmp_path / "root", newest)
    put_interpreter(root, newest, magic_number(newest), trap)
    arguments = ["--root", str(root), "--python", newest.path]

    outcomes = [perform(pyctrigger, verb, *arguments) for verb in ("run", "verify", "status", "repair", "sweep")]

    assert [0] * 5 == [outcome.code for outcome in outcomes]
    assert 3 == outcomes[0].counts["compiled"]
    assert not trap.exists()


@pytest.mark.parametrize("magic", [b"\x01\x02\r\n", None])
@pytest.mark.parametrize("verb", ["run", "repair", "verify", "sweep"])
def test_an_interpreter_of_another_magic_number_inside_ends_in_69(
    pyctrigger: Command, newest: Interpreter, tmp_path: Path, trap: Path, verb: str, magic: bytes | None
) -> None:
    """Or one whose number can't be seen: nothing is run, nothing written, and the message says what to do."""
    root = make_root(tmp_path / "root", newest)
    put_interpreter(root, newest, magic, trap)
    before = snapshot(root)

    outcome = perform(pyctrigger, verb, "--stateless", "--root", root, "--python", newest.path)

    seen = "can't be seen" if magic is None else "is 01020d0a"
    (error,) = outcome.document["errors"]
    assert (69, 69) == (outcome.code, error["code"])
    assert error["message"] == (
        f"the magic number of {newest.flavour} in {root} {seen}, that of {newest.path} is {magic_number(newest).hex()}"
    )
    assert "let the root's own interpreter run with --trust-root" == error["mend"]
    assert before == snapshot(root)
    assert not trap.exists()


def test_a_purge_is_about_the_interpreter_of_the_flavour_whichever_installation_compiles_for_it(
    pyctrigger: Command, tmp_path: Path, trap: Path
) -> None:
    """Another installation on this machine, found in the standard directories, uses nothing of the root's."""
    standard = [each for each in find_interpreters() if os.path.dirname(each.path) in directories()]
    system = next((each for each in standard if each.implementation == "cpython"), None)
    if system is None:
        absent("a CPython in the standard directories")
    library = make_prefix(system, tmp_path / "prefix")
    root = make_root(tmp_path / "root", system)
    put_interpreter(root, system, magic_number(system), trap)
    arguments = ["--root", str(root), "--python", str(tmp_path / "prefix/bin" / library.name)]
    assert 0 == perform(pyctrigger, "run", *arguments).code

    outcome = perform(pyctrigger, "purge", "--yes", *arguments)

    assert (0, 3, []) == (outcome.code, outcome.counts["removed"], outcome.document["notices"])


def test_a_root_that_is_none_is_named(pyctrigger: Command, newest: Interpreter, tmp_path: Path) -> None:
    """A missing directory, and a file: exit 2."""
    (tmp_path / "file").write_text("")
    for name, reason in (("missing", "no such directory"), ("file", "not a directory")):
        outcome = perform(pyctrigger, "run", "--stateless", "--root", tmp_path / name, "--python", newest.path)
        assert 2 == outcome.code
        assert f"--root {tmp_path}/{name}: {reason}" == outcome.document["errors"][0]["message"]


# -- mounts below it -------------------------------------------------------------------------------------------------


def mounting(pyctrigger: Command, command: str) -> Command:
    """The command, after a mount that ends with it and that no other process sees."""
    words = ["unshare", "-m", "sh", "-c", f'{command} && exec "$@"', "sh"]
    if os.geteuid() != 0 or subprocess.run([*words[:2], "true"], capture_output=True, check=False).returncode:
        absent("no mounts of one's own here")
    pyctrigger.program = [*words, *pyctrigger.program]
    return pyctrigger


@pytest.mark.parametrize("place", ["/usr", "{site}", "{site}/package"])
def test_a_mount_below_a_root_is_not_entered(
    pyctrigger: Command, newest: Interpreter, tmp_path: Path, place: str
) -> None:
    """A directory of this machine that is bound there, on the same file system: nothing is written, and it is said."""
    root, site = make_root(tmp_path / "root", newest), inside(newest)
    victim = write_tree(tmp_path / "victim", PACKAGE)
    before = snapshot(victim)
    place = place.format(site=site)
    mounting(pyctrigger, f"mount --bind {victim} {root}{place}")

    outcome = perform(pyctrigger, "run", "--stateless", "--root", root, "--python", newest.path)

    assert before == snapshot(victim)
    if place == f"{site}/package":  # the rest is done
        assert (3, 1) == (outcome.code, outcome.counts["compiled"])
        assert [f"{place}: Invalid cross-device link"] == [
            f"{each['path']}: {each['message']}" for each in outcome.run["unexamined"]
        ]
    elif place == site:
        assert [f"{site}: mounts below a root aren't entered; run pyctrigger inside the root (chroot)"] == outcome.run[
            "notices"
        ]
    else:
        assert 69 == outcome.code
        assert "can't be seen" in outcome.document["errors"][0]["message"]
    (victim / "pyvenv.cfg").touch()
    below = perform(pyctrigger, "run", "--stateless", "--root", root, "--prefix-below", "/")
    assert ([2], "no environment below it") == (
        [error["code"] for error in below.document["errors"]],
        below.document["errors"][0]["message"].rpartition(": ")[2],
    )
    (victim / "pyvenv.cfg").unlink()
    before = snapshot(victim)
    named = perform(pyctrigger, "run", "--stateless", "--root", root, "--python", newest.path, "--site-dir", site)
    assert (3 if place == f"{site}/package" else 2) == named.code
    assert before == snapshot(victim)
