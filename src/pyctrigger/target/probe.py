"""Asking an executable what Python it is."""

from __future__ import annotations

import contextlib
import os
import select
import time
from typing import TYPE_CHECKING, Any

from ..errors import InterpreterError, RefusedError
from .child import describe_death, kill, printable, start
from .interpreter import Interpreter
from .trust import account_for, account_for_interpreter
from .witness import Probed, Witness, environment_of, identity

if TYPE_CHECKING:
    import subprocess

_MARK = b"\npyctrigger-probe:"
#: An answer is a few kilobytes; what says more than this is no Python.
_MOST_BYTES = 1 << 20
#: Seconds. A start takes 10 ms, on an emulated machine a hundred times that.
PROBE_TIMEOUT = 30.0


def probe(executable: str, *, root: str | None = None, timeout: float = PROBE_TIMEOUT) -> Probed:
    """Run `executable` and return what it is. `root` is a directory to enter first, `timeout` is in seconds.

    Raises InterpreterError for what is missing, no Python, silent or broken, and RefusedError where root shouldn't
    run it.
    """
    seen = (root or "") + executable
    # A root that is trusted (`--trust-root`) is trusted as a whole; its links mean something else out here.
    account = None if root else account_for_interpreter(seen)
    before = identity(seen)
    answer = _parse(executable, _ask(executable, account, root, timeout))
    interpreter = _interpreter(executable, answer)._replace(
        account=account, root=root, environment=environment_of(seen)
    )
    _require_sane(interpreter)
    witnesses = [Witness(seen, before)] if before else []
    for path in _witnesses(executable, answer):
        known = identity((root or "") + path)
        if known:
            witnesses.append(Witness((root or "") + path, known))
    if account is None and root is None:
        for witness in witnesses:
            if account_for(witness.path, "interpreter") is not None:
                raise RefusedError(
                    f"{executable} loads {witness.path}, which somebody other than root owns",
                    mend="run as that account, or name another interpreter",
                )
    return Probed(interpreter, tuple(witnesses))


def _ask(executable: str, account: Any, root: str | None, timeout: float) -> bytes:
    child = start(executable, "probe", account=account, root=root)
    try:
        assert child.stdin is not None
        child.stdin.close()
        said, noise = _read_both(child, timeout, executable)
        if child.returncode != 0 or _MARK not in said:
            complaint = printable(noise)
            raise InterpreterError(
                f"{executable} is no working Python: {describe_death(child.returncode)}"
                + (f", it said: {complaint}" if complaint else "")
            )
        return said
    except OSError as error:  # a system that refuses what waiting for an answer takes
        raise InterpreterError(f"{executable} can't be asked: {error.strerror}") from error
    finally:
        kill(child)
        with contextlib.suppress(OSError):  # where nobody may wait for a child, it ends all the same
            child.wait()
        for stream in (child.stdout, child.stderr):
            if stream:
                stream.close()


def _read_both(child: subprocess.Popen[bytes], timeout: float, executable: str) -> tuple[bytes, bytes]:
    assert child.stdout is not None
    assert child.stderr is not None
    heard = {child.stdout.fileno(): bytearray(), child.stderr.fileno(): bytearray()}
    output, noise = heard.values()
    poller = select.poll()
    for descriptor in heard:
        poller.register(descriptor, select.POLLIN)
    still_open = set(heard)
    deadline = time.monotonic() + timeout
    while still_open:
        left = deadline - time.monotonic()
        if left <= 0:
            raise InterpreterError(f"{executable} did not answer within {timeout:g} s")
        for descriptor, _ in poller.poll(left * 1000):
            piece = os.read(descriptor, 65536)
            heard[descriptor] += piece
            if not piece:
                poller.unregister(descriptor)
                still_open.discard(descriptor)
            if len(heard[descriptor]) > _MOST_BYTES:
                raise InterpreterError(f"{executable} is no Python: it says too much")
    try:
        child.wait(max(0.1, deadline - time.monotonic()))
    except Exception as error:  # subprocess is imported lazily, TimeoutExpired with it
        raise InterpreterError(f"{executable} did not end within {timeout:g} s") from error
    return bytes(output), bytes(noise)


def _parse(executable: str, said: bytes) -> dict[str, Any]:
    import json

    try:
        answer = json.loads(said.split(_MARK, 1)[1].split(b"\n", 1)[0])
    except ValueError as error:
        raise InterpreterError(f"{executable} gave no readable answer") from error
    if not isinstance(answer, dict):
        raise InterpreterError(f"{executable} gave no readable answer")
    return answer


def _witnesses(executable: str, answer: dict[str, Any]) -> list[str]:
    paths = answer.get("witnesses")
    if not isinstance(paths, list) or not all(isinstance(path, str) and "\0" not in path for path in paths):
        raise InterpreterError(f"{executable} gave no complete answer: it doesn't say what it loads")
    return paths


def _interpreter(executable: str, answer: dict[str, Any]) -> Interpreter:
    try:
        major, minor, micro = (int(number) for number in answer["version"])
        return Interpreter(
            executable=executable,
            implementation=str(answer["implementation"]),
            version=(major, minor, micro),
            release=str(answer["release"]),
            cache_tag=str(answer["cache_tag"] or ""),
            magic_number=bytes.fromhex(answer["magic_number"]),
            abi_flags=str(answer["abi_flags"]),
            free_threaded=bool(answer["free_threaded"]),
            prefix=str(answer["prefix"]),
            schemes=dict(answer["schemes"]),
            default_scheme=str(answer["default_scheme"]),
            inside=tuple(answer["inside"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InterpreterError(f"{executable} gave no complete answer: {error!r}") from error


def _require_sane(interpreter: Interpreter) -> None:
    if interpreter.version < (3, 6, 0):
        raise InterpreterError(f"{interpreter.executable} is Python {interpreter.release}; 3.6 is the oldest target")
    if not interpreter.cache_tag:
        # gh-144278: such a build writes no bytecode at all, and cache_from_source raises.
        raise InterpreterError(
            f"{interpreter.executable} has no cache tag (sys.implementation.cache_tag is None): it can't use bytecode"
        )
    if "/" in interpreter.cache_tag or len(interpreter.magic_number) != 4:
        raise InterpreterError(f"{interpreter.executable} has an unusable cache tag or magic number")
