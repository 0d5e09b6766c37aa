"""Paths that aren't there: an error where a person typed them, and what to expect of a package manager."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from interpreters import tag_of
from packages import snapshot, write_tree
from pyctrigger.cli.presence import require_there
from pyctrigger.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from command import Command
    from interpreters import Interpreter

VERBS = ("run", "repair", "verify", "sweep", "purge", "status", "explain", "which")
#: Below the site directory: nothing of the name, and nothing that was made of it.
ABSENT = (
    "NOSUCH",
    "NOSUCH.py",
    "NOSUCH/",
    "package/nosuch/module.py",
    "package/module.py/below",
    "package/__pycache__/NOSUCH.cpython-311.pyc",
    "n" * 300,
)
#: What there is, or was, some of.
PRESENT = (
    "package",
    "package/",
    "package/module.py",
    "package/gone.py",
    "package/dangling.py",
    "package/__pycache__",
    "package/__pycache__/gone.{tag}.pyc",
    "package/__pycache__/module.{tag}.opt-2.pyc",
)
ERROR = "no such file or directory; check the path; --paths-from takes paths that may be gone"


@pytest.fixture
def tree(pyctrigger: Command, site: Path, scope: list[str]) -> Path:
    """A package with an orphan."""
    write_tree(site, {"package/module.py": "", "package/gone.py": ""})
    pyctrigger.json("run", *scope)
    (site / "package/gone.py").unlink()
    (site / "package/dangling.py").symlink_to("nowhere")
    return site


@pytest.mark.parametrize("verb", VERBS)
def test_a_path_that_a_person_typed_and_that_is_not_there_is_an_error(
    pyctrigger: Command, tree: Path, scope: list[str], tmp_path: Path, verb: str
) -> None:
    """All missing paths are named as they were typed; nothing is done for existing paths given with them."""
    before = snapshot(tmp_path)
    absent = ABSENT[:3]

    outcome = pyctrigger.text(verb, *scope, "package", *absent, cwd=tree)
    document = pyctrigger.json(verb, *scope, *ABSENT, cwd=tree).document

    assert (2, "", before) == (outcome.code, outcome.out, snapshot(tmp_path))
    assert f"pyctrigger: {', '.join(absent)}: {ERROR}\n" == outcome.err
    assert [2] == [error["code"] for error in document["errors"]]
    assert (
        f"{', '.join(ABSENT[:3])} and {len(ABSENT) - 3} more: no such file or directory"
        == (document["errors"][0]["message"])
    )


def test_one_name_is_enough(pyctrigger: Command, tree: Path, newest: Interpreter) -> None:
    """Of any kind of name: either the file exists, or bytecode made from it, or its source."""
    present = [name.format(tag=tag_of(newest)) for name in PRESENT]

    for name in ABSENT:
        with pytest.raises(UsageError, match=f"^{name}: no such file or directory"):
            require_there([name], [f"{tree}/{name}"], root=None, prefix=None)
    require_there(present, [f"{tree}/{name}" for name in present], root=None, prefix=None)


def test_an_orphan_is_swept_by_the_name_of_its_source(
    pyctrigger: Command, tree: Path, scope: list[str], newest: Interpreter
) -> None:
    """The source is gone, and its name means what is left of it."""
    assert (0, 1) == ((run := pyctrigger.json("run", *scope, tree / "package/gone.py")).code, run.counts["removed"])
    assert not (tree / "package/__pycache__" / f"gone.{tag_of(newest)}.pyc").exists()


@pytest.mark.parametrize(
    "options",
    [["run", "--hook"], ["run", "--event", "remove"], *([verb, "--paths-from", "-"] for verb in VERBS)],
    ids=" ".join,
)
def test_what_a_program_names_may_be_gone(
    pyctrigger: Command, tree: Path, scope: list[str], options: list[str]
) -> None:
    """A hook's paths, those of an event, and those of a list."""
    path = f"{tree}/package/__pycache__/nosuch.cpython-311.pyc"
    arguments = [] if "--paths-from" in options else [path]

    outcome = pyctrigger.text(*options, *scope, *arguments, stdin=os.fsencode(path))

    assert (0 if options[0] != "verify" else 1) == outcome.code
    assert "no such file" not in outcome.err


def test_a_path_in_a_root_is_one_inside(pyctrigger: Command, tmp_path: Path, newest: Interpreter) -> None:
    """What this system has of the name doesn't count, and a link inside leads to where it does inside."""
    library = f"usr/lib/python{newest.version[0]}.{newest.version[1]}/site-packages"
    root = write_tree(tmp_path / "root", {f"{library}/module.py": "", f"{library}/gone.py": ""})
    (root / "lib").symlink_to("/usr/lib")
    here = tmp_path / "here.py"
    here.touch()
    arguments = ["--python", newest.path, "--root", str(root), "--stateless"]
    pyctrigger.json("run", *arguments)
    (root / library / "gone.py").unlink()

    through_link = f"/lib/{library[len('usr/lib/') :]}/module.py"
    codes = {
        path: pyctrigger.text("explain", *arguments, path).code
        for path in (f"/{library}/module.py", f"/{library}/gone.py", through_link, f"/{library}/NOSUCH.py", str(here))
    }

    assert [0, 0, 0, 2, 2] == list(codes.values())


def test_bytecode_elsewhere_counts(pyctrigger: Command, tree: Path, scope: list[str], tmp_path: Path) -> None:
    """With a pycache prefix the orphan is there, and so may be a whole package that is gone."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    write_tree(tree, {"left/module.py": "", "whole/module.py": ""})
    arguments = [*scope, "--pycache-prefix", str(elsewhere)]
    pyctrigger.json("run", *arguments)
    (tree / "left/module.py").unlink()
    (tree / "whole/module.py").unlink()
    (tree / "whole").rmdir()

    names = ("left/module.py", "whole", "whole/module.py", "NOSUCH", "package/gone.py")
    codes = [pyctrigger.text("explain", *arguments, tree / name).code for name in names]

    assert [0, 0, 0, 2, 2] == codes


@pytest.mark.parametrize("verb", ["explain", "which"])
def test_an_empty_path_asks_for_nothing(pyctrigger: Command, verb: str) -> None:
    """There is always an answer; for an unset variable of a shell it is that nothing was given."""
    said = pyctrigger.text(verb, "", "")

    assert (2, "", True) == (said.code, said.out, said.err.startswith("pyctrigger: nothing to "))


def test_an_environment_to_measure_that_is_not_there(pyctrigger: Command, tmp_path: Path) -> None:
    """It isn't one without an interpreter."""
    said = pyctrigger.text("measure", "--prefix", tmp_path / "gone", "os")

    assert (2, f"pyctrigger: --prefix {tmp_path}/gone: no such directory; name a directory that exists\n") == (
        said.code,
        said.err,
    )
