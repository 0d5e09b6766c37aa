"""Interpreters whose workers do what each source says: real processes, which start in ten milliseconds."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from frames import READY, framed
from pyctrigger.interpreter.interpreter import Interpreter
from pyctrigger.workers import wire
from pyctrigger.workers.worker import Job

if TYPE_CHECKING:
    from pathlib import Path

#: What a worker that is ready says.
HANDSHAKE = framed(READY + b"magitag\0unshare")
#: Sources: what the worker that gets it does.
COMPILES, RETIRES = b"compiled()", b"compiled(first=0x80); os._exit(0)"
TELLS_ARGUMENTS = (
    b"compiled(repr(((descriptors.count(','), warmed), os.environ.get('PYTHONHASHSEED'), *arguments)).encode())"
)
TELLS_PID = b"compiled(b'%d' % os.getpid())"
NEEDS_FORK, NEEDS_MEMORY, RUBBISH = b"send(b'\\2')", b"failed(3, b'MemoryError')", b"send(b'rubbish')"
CRASHES = b"os.kill(os.getpid(), 11)"

_PROGRAM = """\
#!{executable} -IS
import os, sys, time
# Of what follows the bootstrap's program: descriptors, lifeline, memory, time, hashes, leased, codec, forks.
descriptors, lifeline, *arguments = sys.argv[-8:]
{beginning}
os.write(1, {handshake})

def send(payload):
    os.write(1, len(payload).to_bytes(4, "little") + payload)

def compiled(body=b"code", microseconds=5, first=0):
    level = b"\\1" + microseconds.to_bytes(4, "little") + len(body).to_bytes(4, "little") + body
    send(bytes([first]) + bytes(8) + b"\\1" + level)

def failed(kind, name):
    send(bytes([1, kind, 7, 0, 0, 0]) + name)

def first_time(name):
    try:
        os.close(os.open({directory!r} + "/" + name, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True

requests, warmed = open(0, "rb"), 0
while True:
    length = requests.read(4)
    if not length:
        break
    request = requests.read(int.from_bytes(length, "little"))
    if request[0] & 2:
        warmed += 1
    else:
        exec(request[16:].partition(b"#")[0])
"""


def scripted(directory: Path, beginning: str = "", handshake: bytes = HANDSHAKE, **fields: Any) -> Interpreter:
    """One whose workers first do what `beginning` says. `first_time` remembers names in the directory."""
    executable = directory / "python3"
    text = _PROGRAM.format(
        executable=os.path.realpath(sys.executable),
        beginning=beginning,
        handshake=repr(handshake),
        directory=str(directory),
    )
    executable.write_text(text)
    executable.chmod(0o755)
    known = Interpreter(
        str(executable), "cpython", (3, 13, 0), "3.13.0", "tag", b"magi", "", False, "/usr", {}, "posix_prefix", ()
    )
    return known._replace(**fields)


def job(source: bytes, context: object = None, size: int = 0) -> Job:
    """A request for one level; with a comment that makes the source as long as `size`."""
    source += b"#" * (size - len(source))
    return Job(wire.request([wire.LevelRequest(0)], b"", source), context)


def bodies(answer: object) -> list[bytes]:
    """The code in an answer."""
    assert isinstance(answer, wire.Compiled), answer
    return [bytes(level.body) for level in answer.levels]
