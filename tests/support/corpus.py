"""Real packages and really bad files to work on: Django from the package index, CPython's own tests of its compiler."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from conftest import absent
from pinned import locked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pytest

    from interpreters import Interpreter

PIP_SECONDS = 300
#: Bytes. All trees of one test module, for a dozen targets.
_ENOUGH_ROOM = 2 << 30
#: Bytes. Above it CPython's tests take long to compile and add nothing that the small ones don't have.
_LARGEST_TEST = 12 << 10
_MESSAGES = (".po", ".mo")
_BAD_FILES = ("lib2to3/tests/data/py2_test_grammar.py", "test/badsyntax_pep3120.py")


#: The sources on standard input, separated by NUL, that this interpreter's py_compile refuses, as hexadecimal names.
_REFUSED = r"""
import json, os, py_compile, sys, tempfile
with tempfile.TemporaryDirectory() as scratch:
    refused = []
    for line in sys.stdin.buffer.read().split(b"\0"):
        try:
            py_compile.compile(os.fsdecode(line), cfile=os.path.join(scratch, "x.pyc"), doraise=True)
        except Exception:
            refused.append(line.hex())
print("\nREFUSED" + json.dumps(refused))
"""

#: The file names in the code of each pyc on standard input and in its functions, as they stand there: importlib would
#: put the path that it loads from in their place.
_FILE_NAMES = r"""
import json, marshal, os, sys
found = []
for line in sys.stdin.buffer.read().split(b"\0"):
    with open(os.fsdecode(line), "rb") as file:
        file.seek(int(sys.argv[1]))
        code = marshal.loads(file.read())
    found.append([each.co_filename for each in (code,) + code.co_consts if hasattr(each, "co_filename")])
print("\nFOUND" + json.dumps(found))
"""


@contextlib.contextmanager
def room() -> Iterator[Path]:
    """A scratch directory for big trees, in memory where there is enough of it: disks take seconds for each copy."""
    with tempfile.TemporaryDirectory(prefix="pyctrigger-", dir=memory()) as scratch:
        yield Path(scratch)


def memory(*, programs: bool = False) -> str | None:
    """A directory in memory with room enough, or None; with `programs`, one where they and devices work."""
    directory = "/dev/shm"
    if not os.access(directory, os.W_OK | os.X_OK):
        return None
    status = os.statvfs(directory)
    if programs and status.f_flag & (os.ST_NOEXEC | os.ST_NODEV):
        return None
    return directory if status.f_bavail * status.f_frsize > _ENOUGH_ROOM else None


def django(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with Django and what it needs, without bytecode; installed once, for all processes of the session."""
    base: Path = tmp_path_factory.getbasetemp()
    scratch = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    site = scratch / "django"
    with (scratch / "django.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not site.exists():
            _install_django(site)
            for catalogue in site.rglob("*"):
                if catalogue.suffix in _MESSAGES:  # two thirds of Django's bytes, and no test looks at them
                    catalogue.unlink()
    return site


def bad_packages(interpreters: Iterable[Interpreter], scratch: Path) -> Path:
    """A directory below `scratch` with `lib2to3` and `test` of an interpreter that has their deliberately bad files."""
    site = scratch / "bad"
    if not site.exists():
        library = _library_with_tests(interpreters)
        for package in ("lib2to3", "test"):
            shutil.copytree(library / package, site / package, symlinks=True, ignore=_bytecode_and_large_files)
    return site


def real_site(site: Path, *packages: Path) -> Path:
    """A site directory with copies of these directories' contents."""
    for directory in packages:
        shutil.copytree(directory, site, symlinks=True, dirs_exist_ok=True)
    return site


def refused_by(interpreter: Interpreter, sources: list[bytes]) -> list[bytes]:
    """Those of `sources` that the target's own py_compile refuses."""
    child = subprocess.run(
        [interpreter.path, "-I", "-S", "-B", "-W", "ignore", "-c", _REFUSED],
        input=b"\0".join(sources),
        capture_output=True,
        env={"LC_ALL": "C.UTF-8"},
        timeout=300,
        check=True,
    )
    return [bytes.fromhex(name) for name in json.loads(child.stdout.decode().split("REFUSED")[1])]


def header_size(interpreter: Interpreter) -> int:
    """Bytes before the code (PEP 552 came with 3.7)."""
    return 12 if interpreter.version < (3, 7) else 16


def file_names(interpreter: Interpreter, pycs: list[bytes]) -> list[list[str]]:
    """The file names in the code of each pyc: the module's first, then those of its functions and classes."""
    child = subprocess.run(
        [interpreter.path, "-I", "-S", "-B", "-c", _FILE_NAMES, str(header_size(interpreter))],
        input=b"\0".join(pycs),
        capture_output=True,
        env={"LC_ALL": "C.UTF-8"},
        timeout=300,
        check=True,
    )
    found: list[list[str]] = json.loads(child.stdout.decode().split("FOUND")[1])
    return found


def _install_django(site: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--target", str(site)]
    environment = {**os.environ, "PIP_USER": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    child = subprocess.run(
        [*command, *locked("django")], capture_output=True, env=environment, timeout=PIP_SECONDS, check=False
    )
    if child.returncode != 0:
        shutil.rmtree(site, ignore_errors=True)
        _absent_because(child)


def _absent_because(child: subprocess.CompletedProcess[bytes]) -> NoReturn:
    complaint = child.stderr.decode("utf-8", "replace").strip().splitlines()
    absent(f"pip can't install Django: {complaint[-1] if complaint else f'exit {child.returncode}'}")


def _library_with_tests(interpreters: Iterable[Interpreter]) -> Path:
    """The newest standard library that still has lib2to3's bad files; Debian packages none of them."""
    newest_first = sorted(interpreters, key=lambda each: each.version, reverse=True)
    libraries = [Path(each.prefix) / f"lib/python{each.version[0]}.{each.version[1]}" for each in newest_first]
    whole = [library for library in libraries if all((library / name).is_file() for name in _BAD_FILES)]
    if whole:
        return whole[0]
    return absent(
        "no interpreter here has lib2to3's tests and CPython's own (those that pyenv builds, up to 3.11, have)"
    )


def _bytecode_and_large_files(directory: str, names: list[str]) -> set[str]:
    return {name for name in names if name == "__pycache__" or _is_large(os.path.join(directory, name))}


def _is_large(path: str) -> bool:
    return os.path.isfile(path) and not os.path.islink(path) and os.path.getsize(path) > _LARGEST_TEST
