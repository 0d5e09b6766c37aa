"""Bodies with a file name put in, beside what workers and the target's own py_compile write for a file of that name."""

from __future__ import annotations

import os
import struct
import subprocess
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pyctrigger.interpreter.probe import probe
from pyctrigger.store.holes import FileName, cut, fill, new_stand_in
from pyctrigger.workers import wire
from pyctrigger.workers.allowance import Limits
from pyctrigger.workers.pool import Pool
from pyctrigger.workers.worker import Job

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from interpreters import Interpreter

#: What a file may be called. A name has to end in the source's path, and `exactly` has that many bytes.
NAMES: dict[str, Callable[[bytes], bytes]] = {
    "short": lambda path: path,
    "long": lambda path: b"/" + b"long/" * 60 + path,
    "UTF-8": lambda path: "/hé/中\U0001f600".encode() + path,
    "no UTF-8": lambda path: b"/\xff\xfe\xc3" + path,
    "255 bytes": lambda path: exactly(255, path),
    "256 bytes": lambda path: exactly(256, path),
}

#: Compares bodies with what py_compile writes, each in a fresh fork: 0 the same bytes, 1 equal code, 2 other code.
_JUDGE = r"""
import marshal, os, py_compile, struct, sys
pyc, level = sys.argv[1], int(sys.argv[2])
header = 12 if sys.version_info < (3, 7) else 16

def same(one, other):
    if type(one) is not type(other):
        return False
    if hasattr(one, "co_code"):
        names = [name for name in dir(one) if name.startswith("co_") and not callable(getattr(one, name))]
        return all(same(getattr(one, name), getattr(other, name)) for name in names)
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, frozenset):  # NaN equals nothing
        return sorted(map(repr, one)) == sorted(map(repr, other))
    return repr(one) == repr(other)

while True:
    head = sys.stdin.buffer.read(12)
    if not head:
        break
    source, name, body = (sys.stdin.buffer.read(size) for size in struct.unpack("<III", head))
    child = os.fork()
    if not child:
        code = 3
        try:
            called = name.decode("utf-8", "surrogateescape")
            py_compile.compile(os.fsdecode(source), cfile=pyc, dfile=called, doraise=True, optimize=level)
            with open(pyc, "rb") as file:
                written = file.read()[header:]
            code = 0 if written == body else 1 if same(marshal.loads(written), marshal.loads(body)) else 2
        finally:
            os._exit(code)
    print(os.waitpid(child, 0)[1] >> 8)
    sys.stdout.flush()
"""
_ANSWERS = {"0": "the same bytes", "1": "equal code", "2": "other code"}


class Filled(NamedTuple):
    """What became of some sources."""

    counts: Counter[str]
    """By name and outcome. `compiled` and `cut` are counted once for each source."""
    wrong: list[tuple[str, bytes, str]]
    """What differs: name, source, how."""


def exactly(length: int, path: bytes) -> bytes:
    """A name of that many bytes that ends in this path, or has at least its own."""
    return b"/" + b"x" * max(0, length - 1 - len(path)) + path[-(length - 1) :]


def compare(
    interpreter: Interpreter,
    sources: Sequence[bytes],
    names: Sequence[str],
    scratch: Path,
    level: int = 0,
    top: Path | None = None,
) -> Filled:
    """Compile each source with a stand-in, put each name in, and ask a worker and py_compile for the same.

    `top` is the directory that the interpreter sees as `/`.

    What py_compile writes depends on what its process holds, before 3.11 and with PyPy, so there the code has to be
    equal.
    """
    texts = {path: Path(os.fsdecode(path)).read_bytes() for path in sources}
    counts: Counter[str] = Counter()
    wrong = []
    stand_in = new_stand_in()
    codes = {path: cut(body, stand_in) for path, body in _bodies(interpreter, texts, lambda _: stand_in, level)}
    counts["compiled"] = len(codes)
    counts["cut"] = len([code for code in codes.values() if code])
    for kind in names:
        filled: list[tuple[bytes, bytes, bytes]] = []
        for path, expected in _bodies(interpreter, texts, NAMES[kind], level):
            code, name = codes[path], NAMES[kind](path)
            body = fill(code, FileName(name)) if code else None
            if body is None:
                counts[f"{kind}: not stored"] += 1
                continue
            if body != expected:
                wrong.append((kind, path, "not as a worker"))
            filled.append((path, name, body))
        inside = [(_seen_from(top, path), name, body) for path, name, body in filled]
        pyc = Path(os.fsdecode(_seen_from(top, os.fsencode(scratch / "x.pyc"))))
        for (path, _, _), answer in zip(filled, _judge(interpreter, inside, pyc, level)):
            counts[f"{kind}: {answer}"] += 1
            exact = interpreter.implementation == "cpython" and interpreter.version >= (3, 11)
            if answer == "other code" or (answer == "equal code" and exact):
                wrong.append((kind, path, answer))
    return Filled(counts, wrong)


def _seen_from(top: Path | None, path: bytes) -> bytes:
    return path if top is None else path[len(os.fsencode(top)) :]


def _bodies(
    interpreter: Interpreter, texts: dict[bytes, bytes], name: Callable[[bytes], bytes], level: int
) -> Iterator[tuple[bytes, bytes]]:
    """Each source that compiles, and its body under that name."""
    levels = [wire.LevelRequest(level)]
    with Pool(probe(interpreter.path).interpreter, Limits(), 2) as pool:
        jobs = (Job(wire.request(levels, name(path), text), path) for path, text in texts.items())
        for job, answer in pool.map(jobs):
            if isinstance(answer, wire.Compiled):
                assert isinstance(job.context, bytes)
                yield job.context, bytes(answer.levels[0].body)


def _judge(interpreter: Interpreter, filled: list[tuple[bytes, bytes, bytes]], pyc: Path, level: int) -> Iterator[str]:
    flags = ["-s", "-S", "-B", "-W", "ignore"]  # -I would ignore the seed
    environment = {"LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0"}
    command = [interpreter.path, *flags, "-c", _JUDGE, str(pyc), str(level)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, cwd="/") as child:
        assert child.stdin
        assert child.stdout

        def feed() -> None:
            assert child.stdin
            for pieces in filled:
                child.stdin.write(struct.pack("<III", *map(len, pieces)) + b"".join(pieces))
            child.stdin.close()

        feeder = threading.Thread(target=feed)
        feeder.start()
        answers = [_ANSWERS.get(line.decode().strip(), "failed") for line in child.stdout]
        feeder.join()
    assert len(filled) == len(answers)
    yield from answers
