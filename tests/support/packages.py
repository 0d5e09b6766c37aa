"""Trees of sources to work on, and the target's own word about the bytecode in them."""

from __future__ import annotations

import json
import os
import subprocess
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from interpreters import Interpreter

#: Asks the target's own import system, source by source: is there a pyc that it accepts as it stands? For levels that
#: are arguments one process is enough: of the level of the process itself only the name of the pyc depends.
_JUDGE = r"""
import functools, importlib.util, json, os, sys
from importlib.machinery import SourceFileLoader
import importlib._bootstrap_external as external

class Judge(SourceFileLoader):
    compiled = False
    def source_to_code(self, data, path, *more, **options):
        self.compiled = True
        return SourceFileLoader.source_to_code(self, data, path, *more, **options)
    def _cache_bytecode(self, source_path, bytecode_path, data):
        pass
    def set_data(self, path, data, **options):
        pass

sys.dont_write_bytecode = True
stale = []
lines = [line for line in sys.stdin.buffer.read().split(b"\0") if line]
cache_from_source = external.cache_from_source
for level in sys.argv[1:] or [None]:
    if level is not None:
        external.cache_from_source = functools.partial(cache_from_source, optimization=level.strip("0"))
    for line in lines:
        judge = Judge("judged", os.fsdecode(line))
        try:
            judge.get_code("judged")
        except Exception as error:
            stale.append([line.hex(), type(error).__name__, level])
            continue
        if judge.compiled:
            stale.append([line.hex(), "compiled", level])
print("\nJUDGED" + json.dumps(stale))
"""

#: Compiles each source in a process of its own with py_compile, and compares with the pyc that stands there. A fork is
#: as good as a new process: nothing has been compiled in it before. From 3.11 on the bytes have to be equal; before,
#: marshal's reference flags and the order of a frozenset depend on the process, and the code has to be equal in all
#: its parts.
_COMPARE = r"""
import json, marshal, os, py_compile, sys, types
from importlib.util import cache_from_source

scratch, optimization, mode = sys.argv[1:]
level = int(optimization or 0)
exact = sys.implementation.name == "cpython" and sys.version_info >= (3, 11)
has_modes = sys.version_info >= (3, 7)
header = 16 if has_modes else 12

def parts(value):
    if isinstance(value, types.CodeType):
        names = sorted(name for name in dir(value) if name.startswith("co_") and not callable(getattr(value, name)))
        return ["code"] + [(name, parts(getattr(value, name))) for name in names]
    if isinstance(value, tuple):
        return ["tuple"] + [parts(each) for each in value]
    if isinstance(value, frozenset):
        return ["frozenset"] + sorted(map(repr, map(parts, value)))
    return [type(value).__name__, repr(value)]

def compare(path):
    options = {"invalidation_mode": getattr(py_compile.PycInvalidationMode, mode)} if has_modes else {}
    own = os.path.join(scratch, "own.pyc")
    py_compile.compile(path, cfile=own, doraise=True, optimize=level, **options)
    with open(own, "rb") as file:
        expected = file.read()
    with open(cache_from_source(path, optimization=optimization), "rb") as file:
        found = file.read()
    if found == expected:
        return 0
    if exact or found[:header] != expected[:header]:
        return 1
    return int(parts(marshal.loads(found[header:])) != parts(marshal.loads(expected[header:])))

differing = []
for line in sys.stdin.buffer.read().split(b"\0"):
    child = os.fork()
    if not child:
        status = 2
        try:
            status = compare(os.fsdecode(line))
        finally:
            os._exit(status)
    status = os.waitpid(child, 0)[1]
    if status:
        differing.append([line.hex(), status >> 8])
print("\nCOMPARED" + json.dumps(differing))
"""

LEVEL_FLAGS: dict[int, list[str]] = {0: [], 1: ["-O"], 2: ["-OO"]}


def write_tree(top: Path, files: dict[str, str]) -> Path:
    """Write sources below `top`, by their relative paths."""
    for name, text in files.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return top


def sources_below(top: Path) -> list[bytes]:
    """Every regular `.py` below `top`, as bytes, sorted."""
    found = []
    for directory, _, names in os.walk(os.fsencode(top)):
        found += [os.path.join(directory, name) for name in names if name.endswith(b".py") and name != b".py"]
    return sorted(path for path in found if os.path.isfile(path) and not os.path.islink(path))


def pycs_below(top: Path) -> list[bytes]:
    """Every file in every `__pycache__` below `top`, as bytes, sorted."""
    found = []
    for directory, _, names in os.walk(os.fsencode(top)):
        if os.path.basename(directory) == b"__pycache__":
            found += [os.path.join(directory, name) for name in names]
    return sorted(found)


def not_fresh(interpreter: Interpreter, sources: list[bytes], level: int = 0) -> list[tuple[bytes, str]]:
    """The sources whose pyc the target's own importlib doesn't accept, with its reason."""
    said = _judged(interpreter, sources, _JUDGE, "JUDGED", flags=LEVEL_FLAGS[level])
    return [(bytes.fromhex(path), reason) for path, reason, _ in said]


def not_fresh_at(interpreter: Interpreter, sources: list[bytes], levels: Sequence[int]) -> list[tuple[int, bytes, str]]:
    """The same at several levels, by one process, each with its level."""
    said = _judged(interpreter, sources, _JUDGE, "JUDGED", list(map(str, levels)))
    return [(int(level), bytes.fromhex(path), reason) for path, reason, level in said]


def unlike_py_compile(
    interpreter: Interpreter, sources: Sequence[bytes], scratch: Path, level: int = 0, mode: str = "timestamp"
) -> list[tuple[bytes, str]]:
    """The sources whose pyc isn't what the target's py_compile writes, with what is the matter.

    `scratch` is a directory, as the target sees it.
    """
    arguments = [str(scratch), str(level or ""), mode.replace("-", "_").upper()]
    said = _judged(interpreter, sources, _COMPARE, "COMPARED", arguments)
    return [(bytes.fromhex(name), "differs" if status == 1 else "can't be compared") for name, status in said]


def _judged(
    interpreter: Interpreter,
    sources: Sequence[bytes],
    program: str,
    mark: str,
    arguments: Sequence[str] = (),
    flags: Sequence[str] = (),
) -> list[Any]:
    """What a program in the target says of sources, behind its mark."""
    child = subprocess.run(
        [interpreter.path, *flags, "-I", "-S", "-B", "-W", "ignore", "-c", program, *arguments],
        input=b"\0".join(sources),
        capture_output=True,
        env={"LC_ALL": "C.UTF-8"},
        timeout=300,
        check=False,
    )
    assert child.returncode == 0, child.stderr.decode()
    said: list[Any] = json.loads(child.stdout.decode().split(mark)[1])
    return said


def assert_none_torn(interpreter: Interpreter, pycs: list[bytes]) -> None:
    """Every pyc can be unmarshalled by the target, to its last byte."""
    program = (
        "import io, marshal, sys\n"
        "for path in sys.stdin.buffer.read().split(b'\\0'):\n"
        "    stream = io.BytesIO(open(path, 'rb').read())\n"
        "    stream.seek(16)\n"
        "    marshal.load(stream)\n"
        "    assert not stream.read(), path\n"
    )
    command = [interpreter.path, "-I", "-S", "-c", program]
    child = subprocess.run(command, input=b"\0".join(pycs), capture_output=True, check=False)
    assert (0, b"") == (child.returncode, child.stderr)


def snapshot(top: Path) -> dict[bytes, tuple[Any, ...]]:
    """Every entry below `top` with all that a write would change."""
    found = {}
    for directory, directories, names in os.walk(os.fsencode(top)):
        for name in [*directories, *names]:
            path = os.path.join(directory, name)
            status = os.lstat(path)
            content: Any = None
            if os.path.islink(path):
                content = os.readlink(path)
            elif os.path.isfile(path):
                with open(path, "rb") as file:
                    content = file.read()
            found[path] = (status.st_mode, status.st_uid, status.st_gid, status.st_ino, status.st_mtime_ns, content)
    return found


def wait_for_the_next_tick(site: Path) -> None:
    """Wait until new files get other times than existing ones."""
    probe = site.parent / "clock"
    newest = max(os.lstat(directory).st_ctime_ns for directory, _, _ in os.walk(site))
    while True:
        probe.write_text("")
        if probe.stat().st_ctime_ns > newest + 50_000_000:
            return
        time.sleep(0.005)
