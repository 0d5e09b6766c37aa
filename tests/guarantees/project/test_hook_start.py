"""What a hook imports: every module is paid for in every transaction of a system.

`nox -s oldest` and `nox -s newest` run it with other releases of what pyctrigger depends on.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from packages import pycs_below, write_tree

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Packages with much below them, for what a hook never does. sqlite3 is the manifest's.
NEVER = {"asyncio", "concurrent", "email", "hashlib", "http", "multiprocessing", "rich", "socket", "ssl", "unittest"}
NEVER |= {"xml"}

#: What only people's commands need.
FOR_PEOPLE = {"argparse", "pyctrigger.run.scope.environments", "pyctrigger.state.served", "shutil"}

#: As the launcher of a package starts it, without the site's own imports.
START = "import sys; sys.path[:0] = sys.argv.pop(1).split(':'); from pyctrigger.cli import main; sys.exit(main())"


#: The same, and the lines with which Python asked for something to be compiled.
COUNTING = "import builtins, sys; compile_ = compile\n"
COUNTING += (
    "builtins.compile = lambda text, *more, **options: print(text) or compile_(text, *more, **options)\n" + START
)


def run_hook(
    site: Path, state: Path, python: str, *touched: Path, start: Sequence[str]
) -> subprocess.CompletedProcess[str]:
    """Run a hook for the touched paths."""
    found = [importlib.util.find_spec(name) for name in ("pyctrigger", "filelock", "platformdirs", "tomli")]
    places = [str(Path(spec.origin).parent.parent) for spec in found if spec and spec.origin]
    scope = ["--python", python, "--site-dir", str(site), "--state-dir", str(state)]
    hook = ["run", "--hook", "--quiet", "--event", "install", *scope, *map(str, touched)]
    return subprocess.run(
        [sys.executable, "-I", "-S", *start, ":".join(dict.fromkeys(places)), *hook],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )


def imported_by_hook(site: Path, state: Path, python: str, *touched: Path) -> set[str]:
    """Run a hook, and return the modules that it imported, also those it forgot again."""
    child = run_hook(site, state, python, *touched, start=["-X", "importtime", "-c", START])
    lines = child.stderr.splitlines()
    assert [] == [line for line in lines if not line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines}


def imported_by_platformdirs() -> set[str]:
    """What it imports to say where an ordinary account's files are."""
    program = "import platformdirs; platformdirs.user_state_dir(), platformdirs.user_runtime_dir()"
    child = subprocess.run(
        [sys.executable, "-I", "-X", "importtime", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return {line.rpartition("|")[2].strip() for line in child.stderr.splitlines()}


@pytest.fixture
def served(site: Path, tmp_path: Path, scope: list[str]) -> Path:
    """The state after a first hook: no later one has to look at everything."""
    write_tree(site, {"old.py": "x = 1\n"})
    imported_by_hook(site, tmp_path / "state", scope[1], site / "old.py")
    assert pycs_below(site)
    return tmp_path / "state"


#: By what is touched: the most modules, and how many of these may be ours. Python's own differ by release.
MOST = [("README", 149, 89), ("new.py", 205, 121)]


@pytest.mark.parametrize(("touched", "most", "most_of_ours"), MOST)
def test_hook_imports_little(
    site: Path, served: Path, scope: list[str], touched: str, most: int, most_of_ours: int
) -> None:
    """With nothing to do, and with one file to compile: nothing for networks or terminals, and no event loop."""
    (site / touched).write_text("x = 22\n")
    before = pycs_below(site)
    names = imported_by_hook(site, served, scope[1], site / touched)

    assert (touched == "new.py") == (pycs_below(site) != before)
    assert set() == {name for name in names if name.partition(".")[0] in NEVER}
    others = set() if os.geteuid() == 0 else imported_by_platformdirs()
    assert set() == (names - others) & FOR_PEOPLE
    assert len(names - others) <= most, sorted(names)
    assert len(ours := {name for name in names if name.startswith("pyctrigger")}) <= most_of_ours, sorted(ours)
    assert "typing" not in names
    assert set() == {name for name in names if name.startswith("filelock")}  # who has to wait for the lock imports it


def test_hook_with_an_empty_list_imports_nothing_of_the_tree(site: Path, served: Path, scope: list[str]) -> None:
    """Each flavour's hook has one in each transaction that touched only another's."""
    names = imported_by_hook(site, served, scope[1], Path("--paths-from=/dev/null"))
    others = set() if os.geteuid() == 0 else imported_by_platformdirs()
    ours = {name for name in names if name.startswith("pyctrigger")}

    assert set() == {name for name in ours if name.startswith(("pyctrigger.tree", "pyctrigger.packages"))}
    assert len(ours) <= 53, sorted(ours)
    assert len(names - others) <= 110, sorted(names)
    assert set() == names & {"argparse", "struct"}


def test_hook_over_unchanged_directories_imports_nothing_that_examines_one(
    site: Path, served: Path, scope: list[str]
) -> None:
    """Nor datetime, which the module sqlite3 imports for converters that nobody here uses."""
    write_tree(site, {f"package/part{number}/__init__.py": "" for number in range(100)})  # it isn't kept of fewer
    for _ in range(4):  # compiled, seen, taken down once it is old enough, and passed over
        time.sleep(0.02)
        names = imported_by_hook(site, served, scope[1], site / "package")
    others = set() if os.geteuid() == 0 else imported_by_platformdirs()
    ours = {name for name in names if name.startswith("pyctrigger")}

    examining = ("run.plan.sources", "run.plan.verdicts", "run.plan.orphans", "tree.source", "tree.permission")
    assert set() == {name for name in ours if name.startswith(tuple(f"pyctrigger.{each}" for each in examining))}
    assert set() == (names - others) & {"datetime", "sqlite3"}
    assert len(ours) <= 81, sorted(ours)
    assert len(names - others) <= 142, sorted(names)


@pytest.mark.parametrize("touched", ["README", "gone", "linked", "package", "old.py"])
def test_idle_hook_leaves_its_notes_alone(site: Path, served: Path, scope: list[str], touched: str) -> None:
    """Whatever its paths are: a file, a missing one, a link, or a known source."""
    (site / "README").write_text("")
    (site / "linked").symlink_to(site.parent)
    write_tree(site, {"package/__init__.py": "x = 1\n"})
    for _ in range(3):  # compiled, seen, and taken down once it is old enough
        time.sleep(0.02)
        imported_by_hook(site, served, scope[1], site / touched)
    (notes,) = served.rglob("parts")
    before = notes.stat()

    imported_by_hook(site, served, scope[1], site / touched)

    assert before == notes.stat()


def test_idle_hook_compiles_nothing(site: Path, served: Path, scope: list[str]) -> None:
    """No annotation either, as typing does with each of a NamedTuple's and a Union's that is a text."""
    child = run_hook(site, served, scope[1], site / "README", start=["-c", COUNTING])

    assert ("", "") == (child.stdout, child.stderr)


def test_bcep_files_are_read_without_what_reads_foreign_roots(tmp_path: Path) -> None:
    """Each hook of a Debian with such files would import it, for a few lines."""
    program = (
        "import sys; sys.path[:0] = sys.argv.pop(1).split(':'); from types import SimpleNamespace as Some\n"
        "from pyctrigger.run.plan import wanted; wanted.BCEP = sys.argv[1]\n"
        "print(wanted._left_out(Some(interpreter=Some(version=(3, 99))), None))\n"
        "print('pyctrigger.run.scope.root_files' in sys.modules)"
    )
    source = str(Path(str(importlib.util.find_spec("pyctrigger").origin)).parent.parent)  # type: ignore[union-attr]

    child = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, source, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ("()\nFalse\n", "") == (child.stdout, child.stderr)
