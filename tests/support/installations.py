"""Installations of an interpreter that lie where no system looks for one."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from conftest import absent
from packages import write_tree

if TYPE_CHECKING:
    from interpreters import Interpreter

#: What an interpreter needs of its standard library to start, answer and compile; the rest only costs time here.
_NEEDED = {"collections", "encodings", "importlib", "json", "re", "lib-dynload", "sysconfig", "ctypes", "email"}


def make_prefix(interpreter: Interpreter, directory: Path) -> Path:
    """A prefix as conda makes them, with an interpreter and a library of its own; the library's directory."""
    version = "python{}.{}".format(*interpreter.version)
    source = Path(interpreter.prefix, "lib", version)
    library = directory / "lib" / version

    def unneeded(where: str, names: list[str]) -> set[str]:
        if where != str(source):
            return {name for name in names if name in {"__pycache__", "test", "tests"}}
        return {name for name in names if os.path.isdir(os.path.join(where, name)) and name not in _NEEDED}

    shutil.copytree(source, library, ignore=unneeded)
    (directory / "bin").mkdir()
    shutil.copy2(interpreter.path, directory / "bin" / version)
    (directory / "bin/python").symlink_to(version)
    child = subprocess.run(
        [directory / "bin/python", "-I", "-S", "-B", "-c", "import sys; print(sys.prefix)"],
        capture_output=True,
        check=False,
    )
    if child.stdout.decode().strip() != str(directory):
        absent(f"a copy of {interpreter.flavour} that runs")
    write_tree(library / "site-packages", {"package/__init__.py": "", "package/module.py": "x = 1\n"})
    return library
