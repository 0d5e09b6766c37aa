"""A pyctrigger of which something can't be loaded: a disk that fails, a transaction that was broken off."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pyctrigger
from environment import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Callable


def place_link(path: Path) -> Path:
    """A link beside it to what can be opened, and not read."""
    link = path.with_suffix(".link")
    link.symlink_to("/proc/self/mem")
    return link


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "lost": (Path.unlink, "ModuleNotFoundError: No module named 'pyctrigger.{module}'"),
    "empty": (lambda path: path.write_bytes(b""), ""),
    "torn": (lambda path: path.write_bytes(path.read_bytes()[:700] + b"\n  ("), ""),
    "zeros": (lambda path: path.write_bytes(bytes(4096)), ""),
    "unreadable": (lambda path: os.replace(place_link(path), path), "OSError: "),
}


@pytest.mark.parametrize("way", BROKEN)
@pytest.mark.parametrize("module", ["outcome.report", "cli.commands.run"])
@pytest.mark.parametrize("hook", [False, True], ids=["command", "hook"])
@pytest.mark.parametrize("packaged", [False, True], ids=["installed", "packaged"])
def test_a_module_that_cant_be_loaded_is_one_line(
    tmp_path: Path, way: str, module: str, hook: bool, packaged: bool
) -> None:
    """What is wrong and what to do, in a sentence; a hook breaks nothing. One that is imported at the start, and a
    verb's.
    """
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(pyctrigger.__file__).parent, tmp_path / "pyctrigger", ignore=ignored)
    deed, reason = BROKEN[way]
    deed(tmp_path / f"pyctrigger/{module.replace('.', '/')}.py")
    program = [sys.executable, "-I", "-c", "import sys; sys.path.insert(0, sys.argv.pop(1)); " + ENTER]

    if packaged:
        lay_out(tmp_path)
        program = [sys.executable, "-I", "-S", "-B"]

    requires_one_line([*program, str(tmp_path)], hook, reason.format(module=module))


@pytest.mark.parametrize("way", BROKEN)
@pytest.mark.parametrize("hook", [False, True], ids=["command", "hook"])
def test_nor_is_the_one_that_starts_a_package(tmp_path: Path, way: str, hook: bool) -> None:
    """Which isn't a module of the program itself."""
    lay_out(tmp_path)
    deed, reason = BROKEN[way]
    deed(tmp_path / "start.py")
    requires_one_line(
        [sys.executable, "-I", "-S", "-B", str(tmp_path)], hook, reason.replace("pyctrigger.{module}", "start")
    )


def lay_out(directory: Path) -> None:
    """What a package starts, but for the words in it."""
    for path in (CHECKOUT / "ports/application").glob("*.py"):
        shutil.copy(path, directory)


def requires_one_line(program: list[str], hook: bool, reason: str) -> None:
    """Start it, and compare what it says."""
    line = [*program, "run", *(["--hook"] if hook else [])]
    ended = subprocess.run(line, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C.UTF-8"})

    assert (0 if hook else 70, "") == (ended.returncode, ended.stdout)
    (told,) = ended.stderr.splitlines()
    assert told.startswith(f"pyctrigger: can't load its own modules: {reason}")
    repair = "pyctrigger did not run; once that is mended: pyctrigger repair"
    assert told.endswith(f"; {repair if hook else 'try again, or install it anew'}")


#: As the installed command enters.
ENTER = "from pyctrigger.__main__ import main; sys.exit(main())"
