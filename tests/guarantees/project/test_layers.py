"""The house's floors: imports point down, everywhere; and what else holds for every file of the package."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pyctrigger
from environment import CHECKOUT
from house import circles, draw, floors, goals_of_modules, imports, lines_of_code, names_of_two_meanings, sources

if TYPE_CHECKING:
    pass

PACKAGE = Path(pyctrigger.__file__).parent

#: A package imports only from floors below its own. A folder inside another one is a package of its own.
FLOORS = {
    "cli": 14,
    "cli/commands": 13,
    "cli/output": 12,
    "inspect": 10,
    "inspect/audit": 11,
    "inspect/explain": 11,
    "inspect/status": 11,
    "run": 9,
    "run/apply": 8,
    "run/plan": 7,
    "run/scope": 6,
    "outcome": 5,
    "store": 5,
    "workers": 4,
    "state": 4,
    "tree": 4,
    "interpreter": 3,
    "pyc": 3,
    "packages": 1,
    "aside": 1,
    "bounded": 0,
    "buffers": 0,
    "clibrary": 0,
    "errors": 0,
    "forking": 0,
    "interruption": 0,
    "links": 0,
    "namespaces": 0,
    "stamps": 0,
    "suggestions": 0,
    "typed": -1,
    "version": 0,
    "zstd": 0,
}
#: The two doors: they show the API and start the command line, and are on no floor.
DOORS = {"__init__", "__main__"}
#: The command line's part that has to be there before the rest of it is imported.
EARLY = "interruption"
#: They fork, and a child ends without what its parent has to do at its own end.
_FORKING = ("run/scope/database_reader.py", "run/scope/forked.py", "store/remote/serving.py", "tree/account.py")
FORKING = dict.fromkeys(_FORKING, "os._exit")

#: What the package may import beside itself and the standard library, and which files may do so.
THIRD_PARTY = {
    "platformdirs": {"state/locations.py"},
    "filelock": {"state/lock.py"},
    "tomli": {"run/scope/config.py"},
    "rich": {"cli/output/progress.py", "cli/output/table.py"},  # an extra
    "backports": {"zstd.py"},  # an extra
    "cryptography": {"store/signing.py"},  # an extra, as are the next ones
    "redis": {"store/remote/by_redis.py"},
    "aiohttp": {"inspect/audit/fetcher.py"},
    "fsspec": {"inspect/audit/fetcher.py"},
    "dask": {"inspect/audit/cluster/dealer.py"},
    "distributed": {"inspect/audit/cluster/dealer.py", "inspect/audit/cluster/node.py"},
}
#: In the standard library of every host, or guarded by the host's version.
LATER_MODULES = {"tomllib", "compression"}

MOST_LINES = 500
#: In a folder directly.
MOST_FILES = 16
#: That a module imports from, of ours.
MOST_GOALS = 15


def wing_of(parts: tuple[str, ...]) -> str:
    """The package of a module: of nested folders, the innermost that has a floor of its own."""
    names = ("/".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((name for name in names if name in FLOORS), parts[0] if parts else "__init__")


def wrong_imports(package: Path, files: list[Path] | None = None) -> list[str]:
    """Every import of these files, or of all, that doesn't point down, and every one of a module not for that file."""
    found = []
    for path in sources(package) if files is None else files:
        relative = path.relative_to(package)
        wing = wing_of(relative.with_suffix("").parts)
        for goal in imports(path, package):
            top, *rest = goal.module.split(".")
            if top == "pyctrigger":
                wrong = not _points_down(wing, wing_of(tuple(rest)))
            elif top in THIRD_PARTY:
                wrong = relative.as_posix() not in THIRD_PARTY[top]
            else:
                wrong = top not in known_modules()
            if wrong:
                found.append(f"{relative.as_posix()}:{goal.line}: {goal.module}")
    return found


def _points_down(wing: str, goal: str) -> bool:
    if wing in DOORS or wing == goal:
        return True
    return goal in FLOORS and FLOORS[goal] < FLOORS[wing]


def known_modules() -> frozenset[str]:
    """The names of the standard library's modules."""
    if sys.version_info >= (3, 10):
        return frozenset({*sys.stdlib_module_names, *LATER_MODULES})
    import importlib.util
    import sysconfig

    class Standard(frozenset):  # type: ignore[type-arg]
        """3.9 has no list; there a module of the standard library is one that lies in its directory."""

        def __contains__(self, name: object) -> bool:
            if name in LATER_MODULES or name in sys.builtin_module_names:
                return True
            spec = importlib.util.find_spec(str(name))
            origin = str(spec.origin) if spec else ""
            inside = origin.startswith(sysconfig.get_path("stdlib"))
            return origin == "frozen" or (inside and "-packages" not in origin)

    return Standard()


def test_imports_point_down() -> None:
    """Also inside functions, and for types only; what comes from outside comes in by one file."""
    assert wrong_imports(PACKAGE) == []


def test_every_wing_stands_on_a_floor() -> None:
    """A new folder needs a floor before anything can be said about its imports."""
    wings = {wing_of(path.relative_to(PACKAGE).with_suffix("").parts) for path in sources(PACKAGE)}
    assert wings - DOORS <= set(FLOORS)
    assert {"cli", "run", "workers", "state", "tree", "interpreter", "pyc", "errors", "version"} <= wings


@pytest.mark.parametrize(
    ("file", "planted", "named"),
    [
        ("tree/sweep.py", "from ..run.plan import walk\n", "pyctrigger.run.plan.walk"),
        ("run/scope/paths.py", "from ..plan import walk\n", "pyctrigger.run.plan.walk"),
        ("run/plan/walk.py", "if TYPE_CHECKING:\n    from ..installation import X\n", "pyctrigger.run.installation.X"),
        ("tree/sweep.py", "from ..workers.pool import Pool\n", "pyctrigger.workers.pool.Pool"),
        ("pyc/header.py", "def late() -> None:\n    import pyctrigger.state.lock\n", "pyctrigger.state.lock"),
        (
            "errors.py",
            "if TYPE_CHECKING:\n    from .interpreter.interpreter import Account\n",
            "pyctrigger.interpreter.interpreter.Account",
        ),
        ("outcome/report.py", "from .. import cli\n", "pyctrigger.cli"),
        ("outcome/report.py", "from pyctrigger.cli.output.text import shown\n", "pyctrigger.cli.output.text.shown"),
        ("state/lock.py", "import pyctrigger\n", "pyctrigger"),
        ("cli/printer.py", "import rich\n", "rich"),
        ("cli/commands/run.py", "if TYPE_CHECKING:\n    from ..parser import parse\n", "pyctrigger.cli.parser.parse"),
        ("workers/pool.py", "import setuptools\n", "setuptools"),
        ("state/journal.py", "from filelock import FileLock\n", "filelock.FileLock"),
    ],
)
def test_planted_import_is_found(tmp_path: Path, file: str, planted: str, named: str) -> None:
    """Each kind of import that the rule forbids, in a copy of a file."""
    copy = tmp_path / "pyctrigger" / file
    copy.parent.mkdir(parents=True)
    copy.write_bytes((PACKAGE / file).read_bytes() + planted.encode())

    found = wrong_imports(tmp_path / "pyctrigger", [copy])
    assert [finding.rpartition(": ")[2] for finding in found] == [named]
    assert found[0].startswith(f"{file}:")


def test_every_file_can_be_read_in_one_sitting() -> None:
    """A file that outgrows that is two concepts."""
    lengths = {path.relative_to(PACKAGE).as_posix(): path.read_bytes().count(b"\n") for path in sources(PACKAGE)}
    assert {name: length for name, length in lengths.items() if length > MOST_LINES} == {}


def test_no_modules_import_each_other() -> None:
    """Nor do they for types only: of two that need each other, one knows too much."""
    assert circles(goals_of_modules(PACKAGE)) == []


def test_a_folder_can_be_taken_in_at_a_glance() -> None:
    """One with more files is two."""
    folders = [path.parent.relative_to(PACKAGE).as_posix() for path in sources(PACKAGE)]
    assert {name for name in folders if folders.count(name) > MOST_FILES} == set()


def test_no_module_knows_half_of_the_house() -> None:
    """One that imports from more does more than one thing."""
    goals = goals_of_modules(PACKAGE)
    assert {module: len(of_it) for module, of_it in goals.items() if len(of_it) > MOST_GOALS} == {}


def test_a_name_means_one_thing() -> None:
    """Who reads a class's or a module's name knows which one it is."""
    assert names_of_two_meanings(PACKAGE) == (set(), set())


@pytest.fixture
def small_house(tmp_path: Path) -> Path:
    """A package that breaks each of those rules."""
    package = tmp_path / "pyctrigger"
    for name, text in {
        "one/first.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..two.second import X\n",
        "two/second.py": "class X: ...\ndef late():\n    from . import third\n",
        "two/third.py": "from ..one.first import Y\nfrom ..two import second\n",
        "two/first.py": "class _P: ...\nclass X: ...\n",
        "remote/second.py": "class X: ...\n",
        "__init__.py": "",
        "one/__init__.py": "class _P: ...\n",
        "two/__init__.py": "",
    }.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    return package


def test_what_breaks_these_rules_is_found(small_house: Path) -> None:
    """A circle of three, by way of a type and of a function; a class and a module with two meanings."""
    assert goals_of_modules(small_house)["two.third"] == {"one.first", "two.second"}
    assert circles(goals_of_modules(small_house)) == [{"one.first", "two.second", "two.third"}]
    assert names_of_two_meanings(small_house) == ({"X"}, {"first"})


def test_only_code_counts_as_code(tmp_path: Path) -> None:
    """Not blank lines, comments and docstrings; a text over several lines does."""
    source = tmp_path / "counted.py"
    source.write_text(
        '"""One.\n\nMore.\n"""\n\n# why\nX = """a\n\nb"""  # here\n\n\ndef f():\n    """Two."""\n    return X\n'
    )
    assert lines_of_code(source) == 5


def speaks(path: Path) -> list[str]:
    """Where a file prints, writes to a standard stream, or ends the process."""
    found = []
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("print", "exit", "quit"):
            found.append(f"{path.name}:{node.lineno}: {node.func.id}()")
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            name = f"{node.value.id}.{node.attr}"
            if name == "os._exit" and b"fork()" in path.read_bytes():
                continue  # how a child ends that is a copy of this process
            if name in ("sys.exit", "sys.stdout", "sys.stderr", "os._exit", "os.abort"):
                found.append(f"{path.name}:{node.lineno}: {name}")
        elif isinstance(node, ast.Name) and node.id == "SystemExit":
            found.append(f"{path.name}:{node.lineno}: SystemExit")
    return found


def test_only_the_command_line_prints_or_exits() -> None:
    """`run_trigger` is a library call; what the target runs has standard streams of its own, and a fork an end."""
    silent = [
        path
        for path in sources(PACKAGE)
        if path.stem not in {*DOORS, EARLY} and not {"cli", "remote"} & set(path.relative_to(PACKAGE).parts)
    ]
    assert len(silent) > 20
    found = [(path.relative_to(PACKAGE).as_posix(), finding) for path in silent for finding in speaks(path)]
    assert [each for each in found if FORKING.get(each[0]) != each[1].rpartition(" ")[2]] == []


def test_what_speaks_is_found(tmp_path: Path) -> None:
    """Or the test above would hold for any package."""
    source = tmp_path / "loud.py"
    source.write_text("import os, sys\nprint(1)\nsys.stderr.write('x')\nos._exit(1)\nraise SystemExit\n")
    assert sorted(speaks(source)) == [
        "loud.py:2: print()",
        "loud.py:3: sys.stderr",
        "loud.py:4: os._exit",
        "loud.py:5: SystemExit",
    ]


def test_package_shows_its_api_and_does_nothing() -> None:
    """What `import pyctrigger` offers is what the contract names."""
    assert sorted(pyctrigger.__all__) == ["PyctriggerError", "Report", "__version__", "run_trigger"]
    assert all(hasattr(pyctrigger, name) for name in pyctrigger.__all__)
    assert not hasattr(pyctrigger, "main")
    code = "import sys, pyctrigger; print([name for name in sys.modules if name.startswith('pyctrigger')])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "['pyctrigger']\n"


def test_picture_shows_the_packages_as_they_are() -> None:
    """`python tests/bench/house.py docs/packages.svg` draws it."""
    assert draw(goals_of_modules(PACKAGE)) == (CHECKOUT / "docs/packages.svg").read_text(encoding="utf-8")


def test_a_circle_of_packages_is_found() -> None:
    """It has no floor that it could be drawn on."""
    with pytest.raises(ValueError, match="a circle: state > tree > state"):
        floors({"state.lock": {"tree.sweep"}, "tree.sweep": {"state.lock"}})


def test_what_tests_share_imports_no_test() -> None:
    """A helper in a test file would be imported twice: by pytest, and by its plain name."""
    shared = [*(CHECKOUT / "tests/support").rglob("*.py"), *(CHECKOUT / "tests/bench").rglob("*.py")]
    assert shared
    assert [] == [
        (path.name, name)
        for path in shared
        for name in re.findall(r"^\s*(?:from|import) (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
