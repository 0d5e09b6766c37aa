"""A scratch root in which a package manager's hooks really run: programs, their libraries, interpreters below /usr."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from conftest import absent
from interpreters import find_interpreters
from system_tools import find_tool

if TYPE_CHECKING:
    from collections.abc import Iterable

    from interpreters import Interpreter

_SECONDS = 120
#: What hooks, scriptlets and the tests themselves start inside.
PROGRAMS = ("sh", "cat", "chmod", "env", "find", "grep", "mkdir", "mktemp", "rm", "rmdir", "sed", "true")
_MERGED = ("bin", "sbin", "lib", "lib64")
_DEVICES = {"null": 3, "zero": 5, "urandom": 9}
#: Parts of the standard library that nothing here needs: nine tenths of it.
_WASTE = {"test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3", "pydoc_data", "site-packages"}
_WASTE |= {"dist-packages", "unittest", "distutils", "venv", "msilib"}
_ACCOUNTS = {"etc/passwd": "root:x:0:0:root:/root:/bin/sh\n", "etc/group": "root:x:0:\n"}


class ScratchRoot:
    """A directory that is the root of a small system."""

    def __init__(self, top: Path) -> None:
        self.top = top

    def outside(self, path: str) -> Path:
        """A path inside, as seen from here."""
        return self.top / path.lstrip("/")

    def enter(self, *command: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run a program inside."""
        chroot = find_tool("chroot")
        assert chroot is not None
        return subprocess.run(
            [chroot, str(self.top), *command],
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
            timeout=_SECONDS,
            check=False,
        )

    def put(self, path: str, content: str | bytes) -> Path:
        """Write a file inside."""
        file = self.outside(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return file

    def add_program(self, path: str, inside: str) -> None:
        """A program of this machine's, and the libraries that it is linked with where they are here."""
        target = self.outside(inside)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
        self.add_libraries([path])

    def add_libraries(self, binaries: Iterable[str]) -> None:
        """What these binaries are linked with."""
        said = subprocess.run(["ldd", *binaries], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False).stdout
        words = {word for word in said.decode().split() if word.startswith("/") and not word.endswith(":")}
        for library in sorted(words):
            target = self.outside(library)
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(library, target)


def new_root(top: Path, programs: Iterable[str] = PROGRAMS) -> ScratchRoot:
    """A root with these programs, /dev/null and root's account, and no interpreter."""
    if os.geteuid() != 0 or find_tool("chroot") is None:
        absent("needs root, and chroot")
    root = ScratchRoot(top)
    for name in _MERGED:
        (top / "usr" / name).mkdir(parents=True)
        (top / name).symlink_to(f"usr/{name}")
    for name in ("dev", "etc", "root", "run", "tmp", "var/lib"):
        (top / name).mkdir(parents=True)
    for name, minor in _DEVICES.items():
        os.mknod(top / "dev" / name, 0o020666, os.makedev(1, minor))
        (top / "dev" / name).chmod(0o666)
    for path, text in _ACCOUNTS.items():
        root.put(path, text)
    for name in programs:
        program = find_tool(name)
        if program is None:
            absent(f"no {name} on this machine")
        root.add_program(os.path.realpath(program), f"/usr/bin/{name}")
    return root


def relocatable(count: int) -> list[Interpreter]:
    """So many CPythons of different flavours, each able to run pyctrigger, newest first; fewer where there are not."""
    found: dict[str, Interpreter] = {}
    # A system's own looks for its library at home; a version manager's finds it wherever it is put.
    for each in sorted(find_interpreters(), key=lambda each: (each.prefix != "/usr", each.version), reverse=True):
        if each.implementation == "cpython" and not each.free_threaded and each.version >= (3, 9) and _has_sqlite(each):
            found.setdefault(each.flavour, each)
    return list(found.values())[:count]


def library_of(interpreter: Interpreter) -> str:
    """The name of its library's directory: python3.11."""
    return f"python{interpreter.version[0]}.{interpreter.version[1]}"


def lay_out(interpreter: Interpreter, top: Path) -> None:
    """An interpreter as a package has it: its executable in usr/bin, its library with bytecode in usr/lib."""
    name = library_of(interpreter)
    executable = top / "usr/bin" / name
    executable.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(interpreter.path, executable)
    library = top / "usr/lib" / name
    shutil.copytree(Path(interpreter.prefix) / "lib" / name, library, ignore=not_needed)
    strip = find_tool("strip")
    if strip is not None:  # two thirds of every copy of the root would be symbols
        subprocess.run([strip, "--strip-debug", executable, *library.glob("lib-dynload/*.so")], check=True)


def binaries_of(interpreter: Interpreter) -> list[str]:
    """What of an interpreter is linked with libraries."""
    modules = Path(interpreter.prefix) / "lib" / library_of(interpreter) / "lib-dynload"
    return [interpreter.path, *(str(path) for path in modules.glob("*.so"))]


def _has_sqlite(interpreter: Interpreter) -> bool:
    command = [interpreter.path, "-I", "-S", "-c", "import sqlite3, zlib"]
    return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0


def not_needed(directory: str, names: list[str]) -> set[str]:
    """For `shutil.copytree`: what of a library nothing here needs."""
    if os.path.basename(directory) == "__pycache__":
        return {name for name in names if ".opt-" in name}
    return {name for name in names if name in _WASTE or name.startswith("config-") or name.endswith(".a")}
