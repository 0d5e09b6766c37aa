"""Root's command imports nothing of its caller's: no module of the current directory, of `PYTHON*` or of a user's site.

What Python itself imports before the first line of a program, only `-I` keeps from there: hooks are started with it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pyctrigger
from children import public_directory
from command import Command
from conftest import absent
from packages import write_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

ALICE = 64611
SCRIPT = Path(sysconfig.get_path("scripts")) / "pyctrigger"

#: What a command of ours imports, of the standard library's and of others': some at once, some late.
MODULES = (
    *("__future__", "typing", "json", "argparse", "subprocess", "signal", "shutil", "select", "binascii", "sqlite3"),
    *("fcntl", "resource", "csv", "socket", "ctypes", "threading", "tempfile", "platformdirs", "tomli", "rich", "pwd"),
    *("filelock/__init__", "filelock/_unix", "tomllib", "importlib/metadata", "logging", "gzip", "lzma", "zipfile"),
)

pytestmark = pytest.mark.usefixtures("as_root")


class Hostile:
    """Alice's directory, full of modules that leave a mark."""

    def __init__(self, top: Path) -> None:
        self.directory = top / "theirs"
        self.mark = top / "mark"
        mark = f"import posix\nposix.close(posix.open({str(self.mark)!r}, 1089, 438))\nraise SystemExit(7)\n"
        write_tree(self.directory, {f"{name}.py": mark for name in MODULES})
        os.chown(self.directory, ALICE, ALICE)

    def environment(self, *names: str) -> dict[str, str]:
        """No variable of Python's but the named ones, which lead here."""
        others = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        return {**others, **dict.fromkeys(names, str(self.directory))}


@pytest.fixture
def hostile() -> Iterator[Hostile]:
    """One of this test's own."""
    with public_directory() as top:
        yield Hostile(top)


def ways() -> dict[str, list[str]]:
    """How people start it."""
    return {"module": [sys.executable, "-m", "pyctrigger"], "script": [str(SCRIPT)]}


@pytest.mark.parametrize("way", ["module", "script"])
@pytest.mark.parametrize(
    "variables",
    [
        (),
        ("PYTHONUNBUFFERED",),
        ("PYTHONPATH",),
        ("PYTHONPATH", "PYTHONSTARTUP", "PYTHONPYCACHEPREFIX", "PYTHONINSPECT"),
    ],
)
def test_nothing_of_the_callers_is_imported(
    tmp_path: Path, hostile: Hostile, scope: list[str], site: Path, way: str, variables: tuple[str, ...]
) -> None:
    """As root in somebody's directory, with the variables that sudo may have kept: each verb does its work."""
    command = Command(tmp_path / "state")
    command.program = ways()[way]
    if not Path(command.program[0]).exists():
        absent(f"no {SCRIPT}: pyctrigger isn't installed here")
    write_tree(site, {"module.py": "x = 1\n"})
    environment = hostile.environment(*variables)
    for verb in ("run", "status", "verify", "history"):
        line = command.command_line(verb, scope if verb != "history" else [])
        child = subprocess.run(line, env=environment, cwd=hostile.directory, capture_output=True, check=False)
        assert (0, b"") == (child.returncode, child.stderr), verb
        assert not hostile.mark.exists(), verb
    assert 1 == len(list(site.rglob("*.pyc")))


@pytest.mark.parametrize("where", ["current directory", "PYTHONPATH"])
def test_the_traps_work(hostile: Hostile, where: str) -> None:
    """A program of root's that takes no care steps into one; with `-I` into none."""
    names, cwd = (("PYTHONPATH",), Path("/")) if where == "PYTHONPATH" else ((), hostile.directory)
    for option, is_caught in (("-I", False), ("-s", True)):
        line = [sys.executable, option, "-c", "import json"]
        subprocess.run(line, env=hostile.environment(*names), cwd=cwd, capture_output=True, check=False)
        assert is_caught == hostile.mark.exists()


def test_what_was_started_goes_on(hostile: Hostile, tmp_path: Path) -> None:
    """The same package from the same place, the same arguments to the byte, and no bytecode if none was wanted."""
    told = "ascii(sys.argv[1:]), sys.dont_write_bytecode, sys.flags.isolated, json.__file__"
    package = {
        "__init__.py": "",
        "__main__.py": (Path(pyctrigger.__file__).parent / "__main__.py").read_text(),
        "interruption.py": "def watch(): pass\n",
        "cli.py": f"import json, sys\ndef main():\n    print({told})\n    return 5\n",
    }
    beside = write_tree(tmp_path / "beside", {f"pyctrigger/{name}": text for name, text in package.items()})
    line: list[str | bytes] = [sys.executable, "-B", "-m", "pyctrigger", b"a b", b"", b"\xff\n", b"-c", b"--hook"]
    environment = {**hostile.environment(), "PYTHONPATH": str(beside)}
    child = subprocess.run(line, env=environment, cwd=hostile.directory, capture_output=True, check=False)

    assert (5, "") == (child.returncode, child.stderr.decode())
    said = "['a b', '', '\\udcff\\n', '-c', '--hook'] True 1"
    assert f"{said} {os.path.realpath(json.__file__)}\n" == child.stdout.decode()
    assert not list(beside.rglob("__pycache__"))


def test_importing_it_starts_nothing(hostile: Hostile) -> None:
    """A library call and a tool that looks at every module run on in their own process."""
    program = "import os, sys; before = os.getpid(), sys.flags.isolated; import pyctrigger.__main__, pyctrigger.cli; "
    program += "print(before == (os.getpid(), sys.flags.isolated), sys.flags.isolated)"
    child = subprocess.run(
        [sys.executable, "-c", program], env=hostile.environment(), cwd="/", capture_output=True, check=False
    )
    assert (b"True 0\n", b"") == (child.stdout, child.stderr)
