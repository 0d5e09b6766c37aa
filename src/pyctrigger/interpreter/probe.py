"""Probing an executable: running it to find out which Python it is."""

from __future__ import annotations

import contextlib
import os
import select
import time
from typing import TYPE_CHECKING

from ..errors import InterpreterError, RefusedError
from .answer import is_complete, parse_answer, require_modest
from .child import describe_death, kill, printable, start
from .interpreter import Account
from .loading import examine_loading
from .rights import Rights
from .trust import Holders
from .witness import Probed, Witness, environment_of, facts_of, is_unchanged
from .worker_accounts import lease

if TYPE_CHECKING:
    import subprocess

#: Bytes. An answer has a few kilobytes.
_MAX_BYTES = 1 << 20
#: Seconds. A start takes 10 ms, and a hundred times that on an emulated machine.
PROBE_TIMEOUT = 30.0
#: Seconds between two checks whether the child has ended.
_POLL = 0.1


def probe(executable: str, *, root: str | None = None, timeout: float = PROBE_TIMEOUT) -> Probed:
    """Run `executable` and return what it is. `root` is a directory to chroot into first, `timeout` is in seconds.

    Raises InterpreterError if it is missing, broken, no Python or doesn't answer, and RefusedError if root shouldn't
    run it.
    """
    seen = (root or "") + executable
    # A trusted root (`--trust-root`) is trusted as a whole, and its links lead elsewhere out here.
    loading = examine_loading(seen) if root is None else None
    account = loading.account if loading else None
    output = _run_probe(executable, account, root, timeout)
    if loading is not None and not all(map(is_unchanged, loading.witnesses)):
        raise RefusedError(f"{executable}, or what it loads, changed while it was probed", hint="run it again")
    answer = parse_answer(executable, output)
    interpreter = answer.interpreter._replace(account=account, root=root, environment=environment_of(seen))
    if loading is None:
        paths = [seen, *((root or "") + path for path in answer.witnesses)]
        return Probed(
            interpreter, tuple(Witness(path, facts_of(os.stat(path))) for path in paths if os.path.exists(path))
        )
    if account is not None:
        require_modest(interpreter)
        return Probed(interpreter, loading.witnesses)  # its own list of loaded files proves nothing
    return Probed(interpreter, (*loading.witnesses, *_judge_loaded(executable, answer.witnesses, loading.holders)))


def _judge_loaded(executable: str, paths: tuple[str, ...], holders: Holders) -> list[Witness]:
    """Returns witnesses for the files that an interpreter has loaded. Raises RefusedError if they aren't root's."""
    known = set(holders.kept)
    for path in paths:
        holders.follow_existing(path)
        if holders.account is not None:
            raise RefusedError(
                f"{executable} loads {path}, which somebody other than root owns",
                hint="run as that account, or name another interpreter",
            )
    return [Witness(path, facts_of(status)) for path, status in holders.kept.items() if path not in known]


def _run_probe(executable: str, account: Account | None, root: str | None, timeout: float) -> bytes:
    leased = lease(None) if root is not None else None
    rights = Rights(account, -1, root, account is not None)
    if leased is not None:
        rights = rights._replace(account=leased.account, leased=leased.account.uid)
    child = start(executable, "probe", rights=rights)
    try:
        assert child.stdin is not None
        child.stdin.close()
        output, stderr = _read_streams(child, timeout, executable)
        if child.returncode != 0 or not is_complete(output):
            complaint = printable(stderr)
            raise InterpreterError(
                f"{executable} is not a working Python: {describe_death(child.returncode)}"
                + (f", it said: {complaint}" if complaint else "")
            )
        return output
    except OSError as error:  # the system refuses poll(2) or read(2)
        raise InterpreterError(f"{executable} can't be probed: {error.strerror}") from error
    finally:
        kill(child)
        with contextlib.suppress(OSError):  # SIGCHLD is ignored: the child ends anyway
            child.wait()
        for stream in (child.stdout, child.stderr):
            if stream:
                stream.close()
        if leased is not None:
            leased.end()


def _read_streams(child: subprocess.Popen[bytes], timeout: float, executable: str) -> tuple[bytes, bytes]:
    """Read both streams until the answer is complete or the child has ended: others may keep them open for longer."""
    assert child.stdout is not None
    assert child.stderr is not None
    received = {child.stdout.fileno(): bytearray(), child.stderr.fileno(): bytearray()}
    output, stderr = received.values()
    poller = select.poll()
    for descriptor in received:
        poller.register(descriptor, select.POLLIN)
    open_ends = set(received)
    deadline = time.monotonic() + timeout
    while open_ends and not is_complete(output):
        left = deadline - time.monotonic()
        if left <= 0:
            raise InterpreterError(f"{executable} did not answer within {timeout:g} s")
        has_ended = child.poll() is not None
        ready = poller.poll(0 if has_ended else min(left, _POLL) * 1000)
        if has_ended and not ready:
            break
        for descriptor, _ in ready:
            piece = os.read(descriptor, 65536)
            received[descriptor] += piece
            if not piece:
                poller.unregister(descriptor)
                open_ends.discard(descriptor)
            if len(received[descriptor]) > _MAX_BYTES:
                raise InterpreterError(f"{executable} is not a Python: its answer is too long")
    try:
        child.wait(max(0.1, deadline - time.monotonic()))
    except Exception as error:  # subprocess is imported lazily, TimeoutExpired with it
        raise InterpreterError(f"{executable} did not end within {timeout:g} s") from error
    return bytes(output), bytes(stderr)
