"""Asking an executable what Python it is."""

from __future__ import annotations

import contextlib
import os
import select
import time
from typing import TYPE_CHECKING

from ..errors import InterpreterError, RefusedError
from .accounts import lease
from .answer import is_complete, parse_answer, require_modest
from .child import describe_death, kill, printable, start
from .loading import examine_loading
from .witness import Probed, Witness, environment_of, facts_of, is_unchanged

if TYPE_CHECKING:
    import subprocess

    from .interpreter import Account
    from .trust import Holders

#: An answer is a few kilobytes; what says more than this is no Python.
_MOST_BYTES = 1 << 20
#: Seconds. A start takes 10 ms, on an emulated machine a hundred times that.
PROBE_TIMEOUT = 30.0
#: Seconds between two looks at whether it has ended.
_LOOK_AFTER = 0.1


def probe(executable: str, *, root: str | None = None, timeout: float = PROBE_TIMEOUT) -> Probed:
    """Run `executable` and return what it is. `root` is a directory to enter first, `timeout` is in seconds.

    Raises InterpreterError for what is missing, no Python, silent or broken, and RefusedError where root shouldn't
    run it.
    """
    seen = (root or "") + executable
    # A root that is trusted (`--trust-root`) is trusted as a whole; its links mean something else out here.
    loading = examine_loading(seen) if root is None else None
    account = loading.account if loading else None
    said = _ask(executable, account, root, timeout)
    if loading is not None and not all(map(is_unchanged, loading.witnesses)):
        raise RefusedError(f"{executable}, or what it loads, changed while it was asked", mend="run it again")
    answer = parse_answer(executable, said)
    interpreter = answer.interpreter._replace(account=account, root=root, environment=environment_of(seen))
    if loading is None:
        paths = [seen, *((root or "") + path for path in answer.witnesses)]
        return Probed(
            interpreter, tuple(Witness(path, facts_of(os.stat(path))) for path in paths if os.path.exists(path))
        )
    if account is not None:
        require_modest(interpreter)
        return Probed(interpreter, loading.witnesses)  # what it says that it loads proves nothing
    return Probed(interpreter, (*loading.witnesses, *_loaded(executable, answer.witnesses, loading.holders)))


def _loaded(executable: str, paths: tuple[str, ...], holders: Holders) -> list[Witness]:
    """What an interpreter says it has loaded: nobody else may hold that either."""
    known = set(holders.kept)
    for path in paths:
        holders.follow_existing(path)
        if holders.account is not None:
            raise RefusedError(
                f"{executable} loads {path}, which somebody other than root owns",
                mend="run as that account, or name another interpreter",
            )
    return [Witness(path, facts_of(status)) for path, status in holders.kept.items() if path not in known]


def _ask(executable: str, account: Account | None, root: str | None, timeout: float) -> bytes:
    given = lease(None) if root is not None else None
    account = given.account if given is not None else account
    child = start(
        executable,
        "probe",
        account=account,
        root=root,
        is_leased=given is not None,
        is_confined=account is not None,
    )
    try:
        assert child.stdin is not None
        child.stdin.close()
        said, noise = _hear(child, timeout, executable)
        if child.returncode != 0 or not is_complete(said):
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
        if given is not None:
            given.end()


def _hear(child: subprocess.Popen[bytes], timeout: float, executable: str) -> tuple[bytes, bytes]:
    """Both streams, until the answer is there or the child has ended; others may hold their ends for longer."""
    assert child.stdout is not None
    assert child.stderr is not None
    heard = {child.stdout.fileno(): bytearray(), child.stderr.fileno(): bytearray()}
    output, noise = heard.values()
    poller = select.poll()
    for descriptor in heard:
        poller.register(descriptor, select.POLLIN)
    open_ends = set(heard)
    deadline = time.monotonic() + timeout
    while open_ends and not is_complete(output):
        left = deadline - time.monotonic()
        if left <= 0:
            raise InterpreterError(f"{executable} did not answer within {timeout:g} s")
        has_ended = child.poll() is not None
        ready = poller.poll(0 if has_ended else min(left, _LOOK_AFTER) * 1000)
        if has_ended and not ready:
            break
        for descriptor, _ in ready:
            piece = os.read(descriptor, 65536)
            heard[descriptor] += piece
            if not piece:
                poller.unregister(descriptor)
                open_ends.discard(descriptor)
            if len(heard[descriptor]) > _MOST_BYTES:
                raise InterpreterError(f"{executable} is no Python: it says too much")
    try:
        child.wait(max(0.1, deadline - time.monotonic()))
    except Exception as error:  # subprocess is imported lazily, TimeoutExpired with it
        raise InterpreterError(f"{executable} did not end within {timeout:g} s") from error
    return bytes(output), bytes(noise)
